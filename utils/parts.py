"""Who plays: the values of the part stream, and where each part was last heard.

A part is identified by its instrument and, where a piece has several of one instrument, by its rank among them, from
the highest down. Values rise from usually low parts to usually high ones, so that notes struck together are ordered
roughly as in a score, from the bottom up: the drums are 0, then come the General MIDI instruments from the last to the
first (that list has double basses after violins, and basses after guitars), and within an instrument the lowest part
comes first.

Shapes: E events of all pieces, B pieces side by side, P parts of a vocabulary.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from utils import instruments
from utils.instruments import numbered
from utils.piece import Part, Piece

DRUMS = 0  # the value of all drums
ALIKE = 16  # parts of one instrument that are told apart; if there are more, the lowest share a value
MOST = 129 * ALIKE  # number of values of the part stream
OTHER, FAMILY = 6, 12  # semitones of `distance` for another instrument, and for another family in addition
# By how much every free part must be further from a part of a piece for it to share the nearest one with another part:
# as much as another family. A third piano is no cello (EXPERIMENTS.md, 'Heard as others').
FURTHER = FAMILY
EQUAL = 1e-9  # semitones; costs that differ by less count as equal
NOBODY = -1  # in place of a pitch or an event: the pitch of a drum, or nothing heard yet
MIDDLE_C = 60  # the pitch from which intervals are counted if none has been heard
# The range of a part so far: mean, lowest and highest pitch, in half precision, as there may be millions of them.
RANGE, HALF = 3, np.float16
SIGNS = np.array([1.0, -1.0, 1.0])  # their signs in `Voices`, where the lowest is negated to be a maximum, too
# (128 + 1, 4) what a note of each pitch adds to the first four columns of `Voices`; the last row is for NOBODY.
STRUCK = np.array([*([1, pitch, -pitch, pitch] for pitch in range(128)), [0, 0, -127, 0]])
ZERO, ONE = np.array(0), np.array(1)  # NumPy computes with these in half the time that Python numbers take
SILENT, SOUNDING = -2.0, 4.0  # limits, in quarter notes, for how long a part has been silent or still sounds


def value_of(program: int, which: int = 0) -> int:
    """The value of the `which`-th part of an instrument, counted from 0, the highest."""
    return (128 - program) * ALIKE + ALIKE - 1 - min(which, ALIKE - 1)


def alike(value: int) -> list[int]:
    """The values of all parts of the same instrument, from the lowest part up; only itself for drums."""
    first = value // ALIKE * ALIKE
    return list(range(first, first + ALIKE)) if value != DRUMS else [value]


def program_of(value: int) -> int:
    """The program of a part that is not the drums."""
    return 128 - value // ALIKE


def values_of(piece: Piece) -> np.ndarray:
    """(parts,) the value of each part of a piece. Within an instrument, a higher mean pitch gets a higher value."""
    count = np.maximum(np.bincount(piece.part, minlength=len(piece.parts)), 1)
    mean = np.bincount(piece.part, piece.pitch, len(piece.parts)) / count
    values, alike = np.full(len(piece.parts), DRUMS), {}
    for i in np.argsort(-mean, kind="stable").tolist():
        part = piece.parts[i]
        if not part.drums:
            values[i] = value_of(part.program, alike.get(part.program, 0))
            alike[part.program] = alike.get(part.program, 0) + 1
    return values


class Class(NamedTuple):
    """What a vocabulary knows about a part: its usual name, and how it plays in the training pieces."""

    name: str
    low: int  # lowest and highest pitch (for drums, values of the note stream), not counting rare ones
    high: int
    mean: float  # mean pitch
    alone: bool  # it hardly ever has two notes at once


def as_part(value: int, name: str = "") -> Part:
    """The part of a new piece that a value of the part stream stands for."""
    return Part(name, 0 if value == DRUMS else program_of(value), value == DRUMS)


def family(value: int) -> int:
    """The General MIDI family of instruments that a part belongs to; -1 for the drums."""
    return instruments.family(program_of(value)) if value != DRUMS else -1


def distance(value: int, mean: float, known: int, its_mean: float) -> float:
    """How unlike two parts are: the semitones between their mean pitches, plus OTHER for another instrument, plus a
    further FAMILY for another `family`. A mean of NaN is unknown. Drums are like nothing else (inf)."""
    if DRUMS in (value, known):
        return 0 if value == known else np.inf
    program, other = program_of(value), program_of(known)
    register = abs(mean - its_mean)
    near = abs(program - other) / 100  # breaks ties: the nearer in the list of General MIDI
    unlike = near + OTHER * (program != other) + FAMILY * (family(value) != family(known))
    return unlike + (0 if np.isnan(register) else register)


def heard_as(means: dict[int, float], known: dict[int, float], further: float = np.inf) -> dict[int, int]:
    """For each part of a piece (`means`: value -> mean pitch), the part among the `known` ones (value -> mean pitch) as
    which it is heard: itself, or else the nearest by `distance` that no other part of the piece has; or, if none is
    free, or every free one is more than `further` from it than the nearest of all, that nearest one, which it then
    shares. Unknown drums are left out."""
    heard = {value: value for value in means if value in known}
    unknown = [value for value in means if value not in known and value != DRUMS]
    costs = {(value, k): distance(value, means[value], k, known[k]) for value in unknown for k in known if k != DRUMS}
    in_order = sorted(costs, key=lambda pair: (costs[pair], pair))
    nearest = dict(reversed(in_order))
    for value, k in in_order:
        near_enough = costs[value, k] - costs[value, nearest[value]] <= further
        if value not in heard and k not in heard.values() and near_enough:
            heard[value] = k
    # Swap two where that fits better, or equally well and the higher part is then heard as the higher one; a swap may
    # make another one useful.
    pairs, swapped = list(combinations([value for value in unknown if value in heard], 2)), True
    while swapped:
        swapped = False
        for a, b in pairs:
            one, other = heard[a], heard[b]
            gained = costs[a, one] + costs[b, other] - costs[a, other] - costs[b, one]
            above = (np.nan_to_num(means[a]), a) > (np.nan_to_num(means[b]), b)
            crossed = above != ((known[one], one) > (known[other], other))
            if gained > EQUAL or (gained > -EQUAL and crossed):
                heard[a], heard[b], swapped = other, one, True
    return heard | nearest | heard  # parts that share one come last


def names_of(values: Iterable[int], common: dict[int, str]) -> dict[int, str]:
    """A name for each part: that in `common`, or else the name of its instrument, numbered from the highest part down
    where several have the same name."""
    highest_first = sorted(values, reverse=True)
    names = numbered([as_part(value, common.get(value, "")).called() for value in highest_first])
    return dict(zip(highest_first, names, strict=True))


@dataclass
class Lines:
    """Where each part was last heard, in whole pieces one after another."""

    part: np.ndarray  # (E,) classes; start tokens have a class of their own
    pitch: np.ndarray  # (E,) pitch of each event, or NOBODY
    here: np.ndarray  # (E,) pitch of the last event up to each one that is not a drum, or NOBODY
    onset: np.ndarray  # (E,) steps, counted across all pieces
    until: np.ndarray  # (E,) the step at which all that the event's part has played so far is over
    begins: np.ndarray  # (E,) index of the start token of each event's piece
    order: np.ndarray  # (E,) indices sorted by part
    keys: np.ndarray  # (E,) part * E + index, in that order

    @classmethod
    def of(cls, part: np.ndarray, pitch: np.ndarray, onset: np.ndarray, end: np.ndarray, first: np.ndarray) -> "Lines":
        """`onset` and `end` (E,) say when each event begins and ends, `first` (pieces + 1,) where each piece begins."""
        size, index = len(part), np.arange(len(part))
        order = np.argsort(part, kind="stable")
        piece = np.repeat(np.arange(len(first) - 1), np.diff(first))
        # One running maximum serves all parts and pieces, since each of them is raised above all before it.
        apart = (piece + part.astype(np.int64) * len(first)) * (end.max(initial=0) + 1)
        until = np.empty_like(apart)
        until[order] = np.maximum.accumulate((end + apart)[order])
        begins = first[piece]
        here = pitch[np.maximum.accumulate(np.where((pitch != NOBODY) | (index == begins), index, 0))]
        keys = part[order].astype(np.int64) * size + order
        return cls(part, pitch, here, onset, until - apart, begins, order, keys)

    def last(self, part: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(...) the index of the last event of `part` (...) up to the event `at` (...) of its piece, or NOBODY."""
        key = np.multiply(part, len(self.keys), dtype=np.int64) + at
        place = np.searchsorted(self.keys, key, "right") - 1
        there = (place >= 0) & (self.keys[place] >= key - at + self.begins[at])
        return np.where(there, self.order[place], NOBODY)

    def origins(self, last: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(...) the pitch from which the interval of a note after the event `at` (...) is counted: the pitch of `last`
        (...), the last event of its part, or else of the last note of any part, or NOBODY."""
        pitch = np.where(last != NOBODY, self.pitch[last], NOBODY)
        return np.where(pitch != NOBODY, pitch, self.here[at])

    def left(self, index: np.ndarray, parts: int) -> np.ndarray:
        """(B, T, P) for how many steps each part still sounds after the onset of each of the events `index` (B, T),
        which are consecutive in each row; negative if it is silent."""
        last, rows, who = self.last(np.arange(parts), index[:, :1]), np.arange(len(index)), self.part[index]
        now = np.where(last == NOBODY, -(2**30), self.until[last])
        now = np.pad(now, ((0, 0), (0, 1)))  # the start token is one more part
        ends = np.empty((*index.shape, parts + 1), np.float32)
        for t, at in enumerate(index.T):
            now[rows, who[:, t]] = self.until[at]
            ends[:, t] = now - self.onset[at][:, None]
        return ends[..., :-1]

    def ranges(self, origin: np.ndarray) -> np.ndarray:
        """(E, RANGE) the mean, lowest and highest pitch that the part of each event has played before it in its piece,
        in octaves from `origin` (E,); 0 if it has played nothing, and for drums."""
        pitch, line = self.pitch[self.order].astype(np.int64), np.stack([self.part, self.begins])[:, self.order]
        first = np.append(True, (np.diff(line) != 0).any(axis=0))[: len(pitch)]
        line = np.cumsum(first) - 1  # each part of each piece has a number
        count = np.arange(len(pitch)) - np.flatnonzero(first)[line]  # notes before
        total = np.cumsum(pitch) - pitch
        total -= total[first][line]
        # One running maximum serves all lines, since each of them is raised above all before it.
        apart = 256 * line
        low, high = (np.maximum.accumulate(side * pitch + apart) - apart for side in (-1, 1))
        told = np.stack([total / np.maximum(count, 1), -np.roll(low, 1), np.roll(high, 1)], axis=1)
        known = (count > 0) & (pitch != NOBODY)
        ranges = np.empty(told.shape, HALF)
        ranges[self.order] = np.where(known[:, None], (told - origin[self.order][:, None]) / 12, 0)
        return ranges


@dataclass
class Voices:
    """The same for B pieces that grow event by event."""

    here: np.ndarray  # (B,) pitch of the last note of any part
    parts: np.ndarray  # (B, P + 1, TOLD + names) the columns below for each part; the start token is one more part
    last: tuple[str, ...]  # names of the classes of each part's last event that are told, in the columns from TOLD on

    # For a part: the number of its notes, the sum of their pitches, the lowest pitch negated, and the highest; steps
    # for which it still sounds after the last event, negative if it is silent; events since it last played; the pitch
    # of its last note, or NOBODY.
    NUMBER, TOTAL, DEPTH, HEIGHT, LEFT, WAITED, PITCH, TOLD = range(8)

    @classmethod
    def silent(cls, count: int, parts: int, start: dict[str, int]) -> "Voices":
        """The state before the first event; `start` is what is told about a part that has not played yet."""
        part = [0, 0, -127, 0, -(2**30), 2**30, NOBODY, *start.values()]
        return cls(np.full(count, NOBODY), np.tile(part, (count, parts + 1, 1)), tuple(start))

    @property
    def left(self) -> np.ndarray:
        """(B, P) steps for which each part still sounds after the last event; negative if it is silent."""
        return self.parts[:, :-1, self.LEFT]

    @cached_property
    def origin(self) -> np.ndarray:
        """(B, P + 1) the pitch from which the next interval of each part is counted."""
        pitch = self.parts[..., self.PITCH]
        return np.where(pitch >= ZERO, pitch, self.here[:, None])

    def origins(self, part: np.ndarray) -> np.ndarray:
        """As `Lines.origins`, for notes of `part` (B, K) after the last event."""
        return self.origin[np.arange(len(part))[:, None], part]

    def before(self, part: np.ndarray) -> dict[str, np.ndarray]:
        """What is told about the next note of `part` (B,) from what the part has played: `origin` and the `last`."""
        rows = np.arange(len(part))
        told = self.parts[rows, part, self.TOLD :].T
        return {"origin": self.origin[rows, part], **dict(zip(self.last, told, strict=True))}

    def ranges(self, part: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """As `Lines.ranges`, for notes of `part` (B,) after the last event, with intervals from `origin` (B,)."""
        struck = self.parts[np.arange(len(part)), part, self.NUMBER : self.LEFT].astype(np.float64)
        number, told = struck[:, :1], struck[:, 1:] * SIGNS
        told[:, :1] /= np.maximum(number, 1)
        return np.where(number > 0, (told - origin[:, None]) / 12, 0).astype(HALF)

    def later(self, steps: np.ndarray) -> "Voices":
        """The state when `steps` (B, 1) more have passed since the last event."""
        parts = self.parts.copy()
        parts[..., self.LEFT] -= steps
        return Voices(self.here, parts, self.last)

    def after(
        self, part: np.ndarray, pitch: np.ndarray, offset: np.ndarray, duration: np.ndarray, told: dict[str, np.ndarray]
    ) -> "Voices":
        """The state after a note of `part` (B,) that begins `offset` (B,) steps later and lasts `duration` (B,) steps;
        `told` is what the names `last` say of it. The pitch of a drum is NOBODY."""
        voices = self.later(offset[:, None])
        parts, voices.here = voices.parts, np.where(pitch >= ZERO, pitch, self.here)
        parts[..., self.WAITED] += ONE
        at = np.arange(len(part)), part
        rows, struck = parts[at], STRUCK.take(pitch, axis=0)
        rows[:, : self.DEPTH] += struck[:, : self.DEPTH]
        np.maximum(rows[:, self.DEPTH : self.LEFT], struck[:, self.DEPTH :], out=rows[:, self.DEPTH : self.LEFT])
        np.maximum(rows[:, self.LEFT], duration, out=rows[:, self.LEFT])
        rows[:, self.WAITED], rows[:, self.PITCH] = 0, pitch
        for column, name in enumerate(self.last, self.TOLD):
            rows[:, column] = told[name]
        parts[at] = rows
        return voices
