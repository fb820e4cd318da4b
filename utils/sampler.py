"""Choosing: temperature and top-p, what must not be chosen, and the loop that makes new events one by one.

Shapes: B pieces side by side, V classes of a stream, E events.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from utils import settings
from utils.errors import UserError
from utils.events import END_STREAM
from utils.recall import NOTHING
from utils.stepper import Classes, State, Stepper

DRAWS = 8  # random numbers for an event: more than there are streams, so one more stream leaves those of the others

# A constraint takes the stream, its logits (B, V), the state after the last event and what was chosen for the next one,
# and gives the logits back with what must not be chosen at minus infinity.
Constraint = Callable[[str, np.ndarray, State, Classes], np.ndarray]


def choose(logits: np.ndarray, temperature: float, top_p: float, uniform: np.ndarray) -> np.ndarray:
    """A class for each row of `logits` (B, V), by a number in 0..1 for each row (B,).

    Temperature divides the logits (0: the likeliest class). `top_p` keeps the fewest classes that hold at least that
    share of the probability (nucleus sampling, Holtzman et al. 2020).
    """
    if temperature == 0:
        return logits.argmax(axis=1)
    scaled = (logits.astype(np.float64) - logits.max(axis=1, keepdims=True)) / temperature
    probability = np.exp(scaled)
    probability /= probability.sum(axis=1, keepdims=True)
    if top_p < 1:
        order = np.argsort(-probability, axis=1, kind="stable")
        ranked = np.take_along_axis(probability, order, axis=1)
        ranked[np.cumsum(ranked, axis=1) - ranked >= top_p] = 0
        np.put_along_axis(probability, order, ranked, axis=1)
    cumulative = np.cumsum(probability, axis=1)
    total = cumulative[:, -1:]
    # Classes without probability are never chosen, not even by a number of exactly 0 or 1.
    return np.minimum((cumulative <= uniform[:, None] * total).sum(axis=1), (cumulative < total).sum(axis=1))


# ---- what must not be chosen ----


def forbid(logits: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    """Logits with the `forbidden` classes (B, V) at minus infinity; a row that would lose its last class stays as it
    is."""
    nothing_left = (forbidden | np.isneginf(logits)).all(axis=1, keepdims=True)
    return np.where(forbidden & ~nothing_left, -np.inf, logits)


def forbidding(where: str, rule: Callable[[State, Classes], np.ndarray]) -> Constraint:
    """The constraint that forbids in the stream `where` the classes of a mask that `rule` gives, (B, V) or (1, V)."""

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        return forbid(logits, rule(state, chosen)) if stream == where else logits

    return constrain


def no_end_before(network: Stepper, length: int) -> Constraint:
    """A piece does not end before it has `length` events."""
    end = np.arange(network.vocabulary.end + 1)[None] == network.vocabulary.end
    return forbidding(END_STREAM, lambda state, _: end & (state.length < length))


def no_note_below_previous_in_chord(network: Stepper) -> list[Constraint]:
    """Notes struck together come from the lowest up, as in the training music, so none comes twice."""
    notes = np.arange(network.vocabulary.size("note"))
    together = np.append(network.vocabulary.values[END_STREAM] == 0, False)  # (V,) offsets; the last is the end

    def nothing_above(state: State, chosen: Classes) -> np.ndarray:
        return (state.last["note"] == notes[-1])[:, None] & together

    def below(state: State, chosen: Classes) -> np.ndarray:
        # Before the first event of a piece its last note is the start token, class len(notes).
        in_chord = together[chosen[END_STREAM]] & (state.last["note"] < len(notes))
        return in_chord[:, None] & (notes <= state.last["note"][:, None])

    return [forbidding(END_STREAM, nothing_above), forbidding("note", below)]


def no_note_still_held(network: Stepper, until: np.ndarray) -> Constraint:
    """No key is struck before `until` (128,), in steps since the beginning: a prior still holds it down."""
    keys = network.vocabulary.keys[:-1]

    def held(state: State, chosen: Classes) -> np.ndarray:
        onset = state.onset + network.steps(chosen[END_STREAM])
        return (onset[:, None] < until) @ keys.T > 0

    return forbidding("note", held)


def no_onset_before(network: Stepper, steps: float) -> Constraint:
    """No event comes before `steps` since the beginning."""
    return forbidding(END_STREAM, lambda state, _: state.onset[:, None] + network.gaps[:-1] < steps)


def usual_constraints(network: Stepper, length: int) -> list[Constraint]:
    """What holds for all music: it has `length` events, and chords in the order of the training music."""
    split = network.vocabulary.representation.chords == "split"
    return [no_end_before(network, length), *(no_note_below_previous_in_chord(network) if split else [])]


@dataclass
class Sampling:
    """How to choose. Raises UserError for a number that makes no sense."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None  # None: a new one is drawn and stands here
    constraints: tuple[Constraint, ...] = ()  # applied in this order; where they cannot all hold, the first ones do

    def __post_init__(self):
        if not 0 <= self.temperature < np.inf:
            raise UserError(f"--temperature is {self.temperature}; it must be 0 (the likeliest note) or above.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top-p is {self.top_p}; it is a share of the probability, above 0 and at most 1.")
        if self.seed is None:
            self.seed = int(np.random.default_rng().integers(2**31))  # at most ten digits to type again
        settings.at_least("seed", self.seed, 0)

    def constrained(self, *more: Constraint) -> "Sampling":
        """The same with more constraints behind its own."""
        return replace(self, constraints=(*self.constraints, *more))


# ---- the loop ----


def break_loops(state: State) -> State:
    """The state with nothing recalled in pieces that repeat one figure again and again: each repetition that is
    recalled makes the next one likelier, without end. The network may still repeat it of its own accord."""
    stuck = state.past.loops()
    if not stuck.any():
        return state
    recalled = {name: np.where(stuck[:, None], NOTHING, classes) for name, classes in state.recalled.items()}
    return replace(state, recalled=recalled)


def generate(network: Stepper, state: State, events: int, sampling: Sampling) -> list[Classes]:
    """`events` new events after `state` for each of its B pieces, or fewer where a piece ends by itself.

    Each piece has its own random numbers, so the first piece of a seed is the same however many are made. Returns, for
    each piece, stream -> (E,) classes.
    """
    count = len(state.onset)
    rngs = [np.random.default_rng([sampling.seed, i]) for i in range(count)]
    uniform = np.stack([rng.random((events, DRAWS)) for rng in rngs], axis=1)
    made = {stream: np.zeros((events, count), np.int64) for stream in network.streams}
    length = np.full(count, events)
    for n in tqdm(range(events), desc="composing", unit="event", delay=2, leave=False):
        output, state = network.step(state)
        state = break_loops(state)
        chosen = {}
        for k, stream in enumerate(network.streams):
            logits = network.logits(stream, output, state, chosen)
            for constrain in sampling.constraints:
                logits = constrain(stream, logits, state, chosen)
            made[stream][n] = choose(logits, sampling.temperature, sampling.top_p, uniform[n, :, k])
            chosen |= network.known(stream, made[stream][n], state)
        length = np.where((chosen[END_STREAM] == network.vocabulary.end) & (length == events), n, length)
        if (length <= n).all():
            break
        state = network.append(state, chosen)
    return [{stream: made[stream][: length[i], i] for stream in network.streams} for i in range(count)]
