"""Choosing: temperature and top-p, what must not be chosen, and the loop that makes new events one by one.

Shapes: B pieces side by side, V classes of a stream, E events.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from utils import recall, settings
from utils.errors import UserError
from utils.events import END_STREAM
from utils.states import Classes, State
from utils.stepper import Stepper

DRAWS = 8  # random numbers for an event: more than there are streams, so one more stream leaves those of the others

# A constraint takes the stream, its logits (B, V), the state after the last event and what was chosen for the next one,
# and gives the logits back with what must not be chosen at minus infinity.
Constraint = Callable[[str, np.ndarray, State, Classes], np.ndarray]


def nucleus(probability: np.ndarray, top_p: float) -> np.ndarray:
    """The fewest classes in each row (B, V) with at least the share `top_p` of it (Holtzman et al. 2020); 0 for all
    others."""
    order = np.argsort(-probability, axis=1, kind="stable")
    ranked = np.take_along_axis(probability, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    ranked[before >= top_p * ranked.sum(axis=1, keepdims=True)] = 0
    np.put_along_axis(probability, order, ranked, axis=1)
    return probability


def repeating_temperature(past: recall.Past) -> np.ndarray:
    """(B, 1) the lowest temperature for what repeats, and for whether it does. Below 1 because music that is made at 1
    repeats itself less than real music does, lower with parts, since with each event there is one more choice by which
    it may stop; a tenth higher with each doubling of the rounds, from half a round on, because what goes round and
    round would else go on (EXPERIMENTS.md, 'Loops')."""
    usual = 0.92 if past.viewpoint.vocabulary.players else 0.95
    return usual + 0.1 * np.log2(np.maximum(2 * past.rounds(), 1))[:, None]


def choose(
    logits: np.ndarray,
    temperature: float,
    top_p: float,
    uniform: np.ndarray,
    repeats: np.ndarray | bool = False,
    lowest: np.ndarray | float = 0,
) -> np.ndarray:
    """A class for each row of `logits` (B, V), by a number in 0..1 for each row (B,).

    Temperature divides the logits (0: the likeliest class), `top_p` keeps a `nucleus`. Both are for what is new: what
    `repeats` (B, V) something heard before has at least the temperature `lowest` (B, 1), and so has the choice between
    old and new. How often music repeats itself is what the network has learnt best, and a little more at each event
    adds up to a loop without end.
    """
    if temperature == 0:
        return logits.argmax(axis=1)
    below_top = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    probability = np.exp(below_top / np.maximum(temperature, lowest))  # of 1 in all only when divided by its sum
    if top_p < 1 or np.any(lowest > temperature):
        share = np.where(repeats, 0, probability)
        new = np.where(repeats, 0, np.exp(below_top / temperature))
        new = nucleus(new, top_p) if top_p < 1 else new
        new *= share.sum(axis=1, keepdims=True) / np.maximum(new.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        probability = np.where(repeats, probability, new)
    cumulative = np.cumsum(probability, axis=1)
    total = cumulative[:, -1:]
    # Classes without probability are never chosen, not even by a number of exactly 0 or 1.
    return np.minimum((cumulative <= uniform[:, None] * total).sum(axis=1), (cumulative < total).sum(axis=1))


# ---- what must not be chosen ----


def forbid(logits: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    """Logits with the `forbidden` classes (B, V) at minus infinity; a row that would lose its last class stays as it
    is."""
    if not forbidden.any():
        return logits
    nothing_left = (forbidden | np.isneginf(logits)).all(axis=1, keepdims=True)
    return np.where(forbidden & ~nothing_left, -np.inf, logits)


def forbidding(where: str, rule: Callable[[State, Classes], np.ndarray]) -> Constraint:
    """The constraint that forbids in the stream `where` the classes of a mask that `rule` gives, (B, V) or (1, V)."""

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        return forbid(logits, rule(state, chosen)) if stream == where else logits

    return constrain


def no_end_before(network: Stepper, length: int) -> Constraint:
    """A piece does not end before it has `length` events."""
    return forbidding(END_STREAM, lambda state, _: network.is_end[None] & (state.length < length))


def no_note_below_previous_in_chord(network: Stepper) -> list[Constraint]:
    """Notes of a part struck together come from the lowest up, as in the training music, so none comes twice."""
    vocabulary, notes = network.vocabulary, np.arange(network.vocabulary.size("note"))
    together = np.append(vocabulary.values[END_STREAM] == 0, False)  # (V,) offsets; the last is the end
    # Before the first event of a piece its last note is the start token, class len(notes).

    def nothing_above(state: State, chosen: Classes) -> np.ndarray:
        last = vocabulary.part_of(state.last) == vocabulary.parts - 1
        return (last & (state.last["note"] == notes[-1]))[:, None] & together

    def below(state: State, chosen: Classes) -> np.ndarray:
        in_chord = together[chosen[END_STREAM]] & (state.last["note"] < len(notes))
        in_chord &= vocabulary.part_of(chosen) == vocabulary.part_of(state.last)
        return in_chord[:, None] & (notes <= state.last["note"][:, None])

    return [forbidding(END_STREAM, nothing_above), forbidding("note", below)]


def only_parts(network: Stepper, allowed: np.ndarray) -> list[Constraint]:
    """Only the `allowed` parts (B, P) or (1, P) play, whatever happens; and as far as possible in a chord one after the
    other as in the training music, each within the range that it has there, and one that is `alone` there no two notes
    at once. Without parts there is nothing to keep."""
    vocabulary, notes = network.vocabulary, network.vocabulary.values["note"]
    known = list(vocabulary.players.values())
    if not known:
        return []
    classes, alone = np.arange(len(known)), np.array([one.alone for one in known])
    low, high = (np.array([getattr(one, name) for one in known])[:, None] for name in ("low", "high"))
    out_of_range = (notes < low) | (notes > high)  # (P, V)
    top = (~out_of_range * np.arange(len(notes))).max(axis=1)  # the class of each part's highest note

    def free(state: State, steps: np.ndarray) -> np.ndarray:
        """(B, P) which parts may play so many `steps` (B, 1) after the last event."""
        may = allowed & ~(alone & (state.voices.left > steps))
        if not state.length:
            return may
        last, note = vocabulary.part_of(state.last)[:, None], state.last["note"][:, None]
        return may & ((steps > 0) | (classes > last) | (classes == last) & (note < top))

    def too_early(state: State, chosen: Classes) -> np.ndarray:
        until = np.where(allowed, np.where(alone, state.voices.left, 0), 2**30).min(axis=1, keepdims=True)
        until = np.minimum(until, network.gaps.max())  # a part may sound for longer than any offset
        nobody = ~free(state, np.zeros((len(state.onset), 1))).any(axis=1, keepdims=True)
        return ~network.is_end & ((network.gaps[:-1] < until) | (network.gaps[:-1] == 0) & nobody)

    def not_free(state: State, chosen: Classes) -> np.ndarray:
        return ~free(state, network.steps(chosen[END_STREAM])[:, None])

    return [
        forbidding(END_STREAM, too_early),
        forbidding("part", lambda state, chosen: ~allowed),
        forbidding("part", not_free),
        forbidding("note", lambda state, chosen: out_of_range[chosen["part"]]),
    ]


def no_note_still_held(network: Stepper, until: np.ndarray) -> Constraint:
    """No part strikes a key before `until` (P, 128), in steps since the beginning: a prior still holds it down."""
    vocabulary, keys = network.vocabulary, network.vocabulary.keys[:-1]

    def held(state: State, chosen: Classes) -> np.ndarray:
        onset = state.onset + network.steps(chosen[END_STREAM])
        return (onset[:, None] < until[vocabulary.part_of(chosen)]) @ keys.T > 0

    return forbidding("note", held)


def no_onset_before(network: Stepper, steps: np.ndarray | float) -> Constraint:
    """No event comes before `steps`, (B,) or the same for all, since the beginning."""
    steps = np.reshape(steps, (-1, 1))
    return forbidding(END_STREAM, lambda state, _: network.next_onsets(state) < steps)


def first_onset_before(network: Stepper, steps: np.ndarray, length: int) -> Constraint:
    """What follows after `length` events is no end, and comes before `steps` (B,) since the beginning."""

    def late(state: State, chosen: Classes) -> np.ndarray:
        return (network.is_end | (network.next_onsets(state) >= steps[:, None])) & (state.length == length)

    return forbidding(END_STREAM, late)


def how_final(network: Stepper, finality: list[np.ndarray]) -> Constraint:
    """Forbids nothing: adds to `finality` the logarithms of the probability (B,) with which each next event would be
    the end."""

    def listen(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream == END_STREAM:
            finality.append(logits[:, network.vocabulary.end] - np.logaddexp.reduce(logits, axis=1))
        return logits

    return listen


def ends_at_bar_line(network: Stepper) -> list[Constraint]:
    """A piece ends in the last bar before `State.end`, and nothing sounds or begins after that. A next event that would
    come later means the end: else its probability would go to one more note in the last chord, and one more."""
    end, lengths = network.is_end, network.vocabulary.steps("duration")[:-1]

    def close(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != END_STREAM:
            return logits
        late = ~end & (network.next_onsets(state) >= state.end[:, None])
        over = np.logaddexp.reduce(np.where(late | end, logits, -np.inf), axis=1, keepdims=True)
        early = (state.onset < state.end - state.bar)[:, None]
        return forbid(np.where(end & ~early, over, logits), late | end & early)

    def too_long(state: State, chosen: Classes) -> np.ndarray:
        onset = state.onset + network.steps(chosen[END_STREAM])
        return onset[:, None] + lengths > state.end[:, None]

    return [close, forbidding("duration", too_long)]


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

    @property
    def is_safer(self) -> bool:
        """Whether likely notes are made likelier."""
        return 0 < self.temperature < 1 or self.top_p < 1

    def constrained(self, *more: Constraint) -> "Sampling":
        """The same with more constraints behind its own."""
        return replace(self, constraints=(*self.constraints, *more))


# ---- the loop ----


def generate(
    network: Stepper, state: State, events: int, sampling: Sampling, stop: np.ndarray | float = np.inf
) -> list[Classes]:
    """`events` new events after `state` for each of its B pieces, or fewer where a piece ends by itself or comes to
    `stop` (B,), in steps since its beginning.

    Each piece has its own random numbers, so the first piece of a seed is the same however many are made. Returns, for
    each piece, stream -> (E,) classes.
    """
    count = len(state.onset)
    rngs = [np.random.default_rng([sampling.seed, i]) for i in range(count)]
    uniform = np.stack([rng.random((events, DRAWS)) for rng in rngs], axis=1)
    made = {stream: np.zeros((events, count), np.int64) for stream in network.streams}
    length = np.full(count, events)
    # Where bars are wanted, nobody knows how many events that will be.
    total = None if state.end.any() or np.isfinite(stop).all() else events
    for n in tqdm(iter(range(events)), "composing", total, unit="event", delay=2, leave=False):
        output, state = network.step(state)
        lowest = repeating_temperature(state.past) if sampling.is_safer else 0
        chosen = {}
        for k, stream in enumerate(network.streams):
            logits, repeats = network.logits(stream, output, state, chosen)
            for constrain in sampling.constraints:
                logits = constrain(stream, logits, state, chosen)
            made[stream][n] = choose(logits, sampling.temperature, sampling.top_p, uniform[n, :, k], repeats, lowest)
            chosen |= network.known(stream, made[stream][n], state, chosen)
            output = network.turned(stream, output, state, chosen)
        over = chosen[END_STREAM] == network.vocabulary.end
        over |= state.onset + network.steps(chosen[END_STREAM]) >= stop
        length = np.where(over & (length == events), n, length)
        if (length <= n).all():
            break
        state = network.append(state, chosen)
    return [{stream: made[stream][: length[i], i] for stream in network.streams} for i in range(count)]
