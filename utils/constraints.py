"""Constraints on the next event, as changes to its logits: what must not be chosen, and what is made likelier.

Shapes: B pieces side by side, V classes of a stream, P parts.
"""

from collections.abc import Callable

import numpy as np

from utils.events import END_STREAM
from utils.parts import Voices
from utils.states import Classes, State
from utils.stepper import Stepper

# Notes per part after which a part that has not played gains a nat, see `all_play`. With half or twice as many, all the
# parts asked for play as well (EXPERIMENTS.md, 'Those who do not play').
PATIENCE = 4
LIKELY = 0.2  # least probability that a note begins at an unusual position within a quarter note
SPARE = 8  # notes of imagined parts for each note that is heard; in music of a dozen parts there are about as many
LOWEST, TINY = -1e300, np.finfo(np.float64).tiny  # below all logits, even divided by a temperature; least above 0

# A constraint takes the stream, its logits (B, V), the state after the last event and what was chosen for the next one,
# and returns the logits with whatever must not be chosen at minus infinity.
Constraint = Callable[[str, np.ndarray, State, Classes], np.ndarray]


def log_sum(logits: np.ndarray) -> np.ndarray:
    """(...) the logarithm of the sum of the exponentials of each row of the logits (..., V), even if all are minus
    infinity. `np.logaddexp.reduce` computes the same, but takes six times as long for many pieces."""
    top = np.maximum(logits.max(axis=-1), LOWEST)
    return top + np.log(np.exp(logits - top[..., None]).sum(axis=-1) + TINY)


def forbid(logits: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    """Logits with the `forbidden` classes (B, V) at minus infinity; a row that would lose its last class stays as it
    is."""
    if not np.count_nonzero(forbidden):  # in half the time of `any`
        return logits
    left = np.where(forbidden, -np.inf, logits)
    lost = np.maximum.reduce(left, axis=1) == -np.inf
    return np.where(lost[:, None], logits, left) if np.count_nonzero(lost) else left


def forbidding(where: str, rule: Callable[[State, Classes], np.ndarray]) -> Constraint:
    """The constraint that forbids, in the stream `where`, the classes in the mask (B, V) or (1, V) from `rule`."""

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        return forbid(logits, rule(state, chosen)) if stream == where else logits

    return constrain


def no_end_before(network: Stepper, length: int) -> Constraint:
    """A piece does not end before it has `length` events."""
    return forbidding(END_STREAM, lambda state, _: network.is_end[None] & (state.length < length))


def no_note_below_previous_in_chord(network: Stepper) -> list[Constraint]:
    """Notes that a part strikes together come from the lowest up, as in the training music, so none comes twice."""
    vocabulary, notes = network.vocabulary, np.arange(network.vocabulary.size("note"))
    together = np.append(vocabulary.values[END_STREAM] == 0, False)  # (V,) offsets; the last is the end
    # (V + 1, V) the notes that are not above each note; the last row is for the start token, which is below all notes.
    not_above = np.append(notes <= notes[:, None], np.zeros_like(notes[None], bool), axis=0)

    def nothing_above(state: State, chosen: Classes) -> np.ndarray:
        last = vocabulary.part_of(state.last) == vocabulary.parts - 1
        return (last & (state.last["note"] == notes[-1]))[:, None] & together

    def below(state: State, chosen: Classes) -> np.ndarray:
        same_part = vocabulary.part_of(chosen) == vocabulary.part_of(state.last)
        in_chord = together.take(chosen[END_STREAM]) & same_part
        return in_chord[:, None] & not_above.take(state.last["note"], axis=0)

    return [forbidding(END_STREAM, nothing_above), forbidding("note", below)]


class Players:
    """Only the `allowed` parts (B, P) or (1, P) play, without exception. As far as possible they also play as in the
    training music: in the same order within a chord, each within its range there, and one that is `alone` there never
    two notes at once. Without parts there are no such constraints."""

    def __init__(self, network: Stepper, allowed: np.ndarray):
        self.network, self.allowed = network, allowed
        known, notes = list(network.vocabulary.players.values()), network.vocabulary.values["note"]
        self.classes, alone = np.arange(len(known)), np.array([one.alone for one in known], bool)
        self.may_double = ~alone
        # Parts that wait until they are silent, and how long all others wait: not at all, or for ever if not allowed.
        self.waiting, self.others = allowed & alone, np.where(allowed, 0, 2**30)
        # (V,) steps of each offset, out of reach for the end; a part may sound for longer than the longest offset.
        self.gaps, self.longest = np.where(network.is_end, 2**30, network.gaps[:-1]), network.gaps.max()
        # (P, V) the notes outside the range of each part; the class of its highest note.
        self.out_of_range = np.array([(notes < one.low) | (notes > one.high) for one in known], bool)
        self.out_of_range = self.out_of_range.reshape(-1, len(notes))
        top = (~self.out_of_range * np.arange(len(notes))).max(axis=1, initial=0)
        # (P, V, P) the parts that may follow a note of a part in a chord: higher ones, and the same with a higher note.
        part, note = self.classes[:, None, None], np.arange(len(notes))[:, None]
        self.may_follow = (self.classes > part) | (self.classes == part) & (note < top)

    def free(self, state: State, steps: np.ndarray | int) -> np.ndarray:
        """(B, P) which parts may play `steps`, (B, 1) or the same for all, after the last event."""
        may = self.allowed & (self.may_double | (state.voices.left <= steps))
        if not state.length:
            return may
        part = self.network.vocabulary.part_of(state.last)
        return may & ((steps > 0) | self.may_follow[part, state.last["note"]])

    def too_early(self, state: State, chosen: Classes) -> np.ndarray:
        """(B, V) the offsets at which no part may play yet."""
        until = np.where(self.waiting, state.voices.left, self.others).min(axis=1, keepdims=True)
        nobody = ~np.logical_or.reduce(self.free(state, 0), axis=1, keepdims=True)
        return self.gaps < np.maximum(np.minimum(until, self.longest), nobody)

    def not_free(self, state: State, chosen: Classes) -> np.ndarray:
        return ~self.free(state, self.network.steps(chosen[END_STREAM])[:, None])

    def constraints(self) -> list[Constraint]:
        """The constraints on the offset and the part, and `in_range`."""
        rules = [
            forbidding(END_STREAM, self.too_early),
            forbidding("part", lambda state, chosen: ~self.allowed),
            forbidding("part", self.not_free),
        ]
        return [*rules, *self.in_range()] if len(self.classes) else []

    def in_range(self) -> list[Constraint]:
        """The constraint that each part stays within its range."""
        in_range = forbidding("note", lambda state, chosen: self.out_of_range[chosen["part"]])
        return [in_range] if len(self.classes) else []


def all_play(wanted: np.ndarray, length: int) -> Constraint:
    """Each of the `wanted` parts (B, P) or (1, P) becomes likelier the longer it has not played, counted from when the
    piece had `length` events: by one nat once every wanted part could have played `PATIENCE` notes, and from then on by
    the square of how many times that long it has waited."""
    patience = PATIENCE * wanted.sum(axis=1, keepdims=True)

    def prefer(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != "part":
            return logits
        waited = np.minimum(state.voices.parts[:, :-1, Voices.WAITED], state.length - length) / patience
        return logits + wanted * np.maximum(waited, waited**2)

    return prefer


def room_for_heard(length: int) -> Constraint:
    """Imagined parts have at most SPARE notes for each note that is heard, counted after `length` events: otherwise
    they might go on without the parts that are heard."""

    def too_many(state: State, chosen: Classes) -> np.ndarray:
        unheard = state.length - length - state.heard
        return state.imagined[:, :-1] & (unheard >= SPARE * (state.heard + 1))[:, None]

    return forbidding("part", too_many)


def no_note_still_held(network: Stepper, until: np.ndarray) -> Constraint:
    """No part strikes a key before `until` (P, 128), in steps since the beginning: until then the prior holds it."""
    vocabulary, keys = network.vocabulary, network.vocabulary.keys[:-1]

    def held(state: State, chosen: Classes) -> np.ndarray:
        onset = state.onset + network.steps(chosen[END_STREAM])
        return (onset[:, None] < until[vocabulary.part_of(chosen)]) @ keys.T > 0

    return forbidding("note", held)


def no_onset_before(network: Stepper, steps: np.ndarray | float) -> Constraint:
    """No event comes before `steps` since the beginning, (B,) or the same for all."""
    steps = np.reshape(steps, (-1, 1))
    return forbidding(END_STREAM, lambda state, _: network.next_onsets(state) < steps)


def first_onset_before(network: Stepper, steps: np.ndarray, length: int) -> Constraint:
    """The event after the first `length` ones is not the end, and comes before `steps` (B,) since the beginning."""

    def late(state: State, chosen: Classes) -> np.ndarray:
        return (network.is_end | (network.next_onsets(state) >= steps[:, None])) & (state.length == length)

    return forbidding(END_STREAM, late)


def over_by(network: Stepper, end: Callable[[State, np.ndarray], np.ndarray]) -> Constraint:
    """Each note is over by the time (B,) that `end` returns for its onset (B,), in steps since the beginning."""
    lengths = network.vocabulary.steps("duration")[:-1]

    def too_long(state: State, chosen: Classes) -> np.ndarray:
        onset = state.onset + network.steps(chosen[END_STREAM])
        return onset[:, None] + lengths > end(state, onset)[:, None]

    return forbidding("duration", too_long)


def ends_at_bar_line(network: Stepper) -> list[Constraint]:
    """A piece ends in the last bar before `State.end`, and nothing sounds or begins after that. The end gets the
    probability of all later events, which would otherwise go to more and more notes in the last chord."""
    end = network.is_end

    def close(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != END_STREAM:
            return logits
        late = ~end & (network.next_onsets(state) >= state.end[:, None])
        over = log_sum(np.where(late | end, logits, -np.inf))[:, None]
        early = (state.onset < state.end - state.bar)[:, None]
        return forbid(np.where(end & ~early, over, logits), late | end & early)

    return [close, over_by(network, lambda state, onset: state.end)]


def no_stray_position(network: Stepper) -> Constraint:
    """Notes begin where in a quarter note such music usually begins them (`State.positions`), and elsewhere only with a
    probability of at least LIKELY. Where a stray note begins, the network expects more of them: piece by piece the beat
    would be lost (EXPERIMENTS.md, 'Where notes begin')."""
    gaps, grid = network.gaps[:-1], network.vocabulary.grid

    def stray(state: State, logits: np.ndarray) -> np.ndarray:
        position = (state.last["phase"][:, None] + gaps) % state.bar[:, None] % grid  # (B, V)
        place = position + grid * np.arange(len(logits))[:, None]
        weight = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
        shares = np.bincount(place.ravel(), weight.ravel(), state.positions.size).reshape(-1, grid)
        unlikely = shares < LIKELY * np.add.reduce(weight, axis=1, keepdims=True)
        return (unlikely & ~state.positions).take(place) & ~network.is_end

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != END_STREAM or state.positions.all():
            return logits
        return forbid(logits, stray(state, logits))

    return constrain


def usual(network: Stepper, length: int) -> list[Constraint]:
    """What holds for all music: it has at least `length` events, chords in the order of the training music, and no
    stray positions."""
    split = network.vocabulary.representation.chords == "split"
    in_order = no_note_below_previous_in_chord(network) if split else []
    return [no_end_before(network, length), *in_order, no_stray_position(network)]
