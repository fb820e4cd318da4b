"""Choosing: temperature and top-p, what must not be chosen, and the loop that makes new events one by one.

Shapes: B pieces side by side, V classes of a stream, E events.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from utils.errors import UserError
from utils.events import END_STREAM, keyboard
from utils.recall import NOTHING
from utils.stepper import Classes, State, Stepper

DRAWS = 8  # random numbers for an event; more than there are streams, so one more stream changes no other's numbers


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
    # Classes of no probability are stepped over at both ends.
    return np.minimum((cumulative <= uniform[:, None] * total).sum(axis=1), (cumulative < total).sum(axis=1))


# A constraint takes the stream, its logits (B, V), the state after the last event and what was chosen for the next one,
# and gives the logits back with what must not be chosen at minus infinity.
Constraint = Callable[[str, np.ndarray, State, Classes], np.ndarray]


def forbid(logits: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    """Logits with the `forbidden` classes (B, V) at minus infinity; a row that would lose its last stays as it is."""
    nothing_left = (forbidden | np.isneginf(logits)).all(axis=1, keepdims=True)
    return np.where(forbidden & ~nothing_left, -np.inf, logits)


def no_end_before(stepper: Stepper, length: int) -> Constraint:
    """A piece goes on until it has `length` events."""

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream == END_STREAM and state.length < length:
            logits = logits.copy()
            logits[:, stepper.vocabulary.end] = -np.inf
        return logits

    return constrain


def no_note_below_previous_in_chord(stepper: Stepper) -> Constraint:
    """Notes struck together come from the lowest up, as in the training music, so none comes twice."""
    notes = stepper.vocabulary.size("note")

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream == END_STREAM:
            # Above the highest note of the vocabulary nothing can be struck together with it.
            at_top = (state.last["note"] == notes - 1)[:, None]
            here = (stepper.steps(np.arange(logits.shape[1])) == 0) & (np.arange(logits.shape[1]) < logits.shape[1] - 1)
            logits = forbid(logits, at_top & here)
        elif stream == "note":
            # A piece has not begun while its last event is the start token, class `notes`.
            together = (stepper.steps(chosen[END_STREAM]) == 0) & (state.last["note"] < notes)
            logits = forbid(logits, together[:, None] & (np.arange(notes) <= state.last["note"][:, None]))
        return logits

    return constrain


def no_note_still_held(stepper: Stepper, until: np.ndarray) -> Constraint:
    """No key is struck before `until` (128,), in steps since the beginning: a prior still holds it down."""
    keys = keyboard(stepper.vocabulary.values["note"]).astype(np.float32)

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != "note":
            return logits
        onset = state.onset + stepper.steps(chosen[END_STREAM])
        held = (onset[:, None] < until).astype(np.float32)  # (B, 128)
        return forbid(logits, held @ keys.T > 0)

    return constrain


def no_onset_before(stepper: Stepper, steps: float) -> Constraint:
    """No event comes before `steps` since the beginning."""
    gaps = stepper.steps(np.arange(stepper.vocabulary.end + 1))

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != END_STREAM:
            return logits
        return forbid(logits, state.onset[:, None] + gaps < steps)

    return constrain


def usual_constraints(stepper: Stepper, length: int) -> list[Constraint]:
    """What holds for all music: it has `length` events, and chords in the order of the training music."""
    constraints = [no_end_before(stepper, length)]
    if stepper.vocabulary.representation.chords == "split":
        constraints.append(no_note_below_previous_in_chord(stepper))
    return constraints


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
            self.seed = int(np.random.default_rng().integers(2**31))
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}; it must be 0 or above.")

    def constrained(self, *more: Constraint) -> "Sampling":
        """The same with more constraints behind its own."""
        return replace(self, constraints=(*self.constraints, *more))


def break_loops(state: State) -> State:
    """The state with nothing recalled where a figure goes on and on: each time that it is recalled makes the next time
    likelier, without end. The network may still repeat it of its own accord."""
    stuck = state.past.loops()
    if not stuck.any():
        return state
    recalled = {name: np.where(stuck[:, None], NOTHING, classes) for name, classes in state.recalled.items()}
    return replace(state, recalled=recalled)


def generate(stepper: Stepper, state: State, events: int, sampling: Sampling) -> list[Classes]:
    """`events` new events after `state` for each of its B pieces, or fewer where a piece ends by itself.

    Each piece has its own random numbers, so the first piece of a seed is the same however many are made. Returns, for
    each piece, stream -> (E,) classes.
    """
    count = len(state.onset)
    rngs = [np.random.default_rng([sampling.seed, i]) for i in range(count)]
    uniform = np.stack([rng.random((events, DRAWS)) for rng in rngs], axis=1)
    made = {stream: np.zeros((events, count), np.int64) for stream in stepper.streams}
    length = np.full(count, events)
    for n in tqdm(range(events), desc="composing", unit="event", delay=2, leave=False):
        output, state = stepper.step(state)
        state = break_loops(state)
        chosen = {}
        for k, stream in enumerate(stepper.streams):
            logits = stepper.logits(stream, output, state, chosen)
            for constrain in sampling.constraints:
                logits = constrain(stream, logits, state, chosen)
            made[stream][n] = choose(logits, sampling.temperature, sampling.top_p, uniform[n, :, k])
            chosen |= stepper.known(stream, made[stream][n], state)
        length = np.where((chosen[END_STREAM] == stepper.vocabulary.end) & (length == events), n, length)
        if (length <= n).all():
            break
        state = stepper.append(state, chosen)
    return [{stream: made[stream][: length[i], i] for stream in stepper.streams} for i in range(count)]
