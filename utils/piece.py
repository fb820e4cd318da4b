"""A piece of music: arrays of onset, pitch, duration, velocity and part, in ticks. Shapes: N notes."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from utils import theory
from utils.instruments import INSTRUMENTS

SHOWN = 12  # names that a message lists before it only counts the rest
FINE = 960  # ticks per quarter note: at 120 a minute, times are exact to a quarter of a millisecond
VELOCITY = 80  # of notes whose file does not say how loud they are
COLUMNS = ("onset", "pitch", "duration", "velocity", "part")
CHANGES = ("tempos", "time_signatures", "key_signatures")


class Part(NamedTuple):
    """A player, as described by a track of a MIDI file or a staff of a score."""

    name: str = ""
    program: int = 0  # General MIDI instrument, 0..127; for drums, the kit
    drums: bool = False
    channel: int = -1  # MIDI channel in its file, 0..15; -1: any
    twin: int = 0  # number of otherwise equal parts before it in its piece, such as the hands of an unnamed piano

    def called(self) -> str:
        """Its name, or else the name of its instrument."""
        return self.name or ("Drums" if self.drums else INSTRUMENTS[self.program])


def told_apart(parts: Iterable[Part]) -> list[Part]:
    """The parts, with those that are otherwise equal numbered by their `twin`."""
    alike, numbered = Counter(), []
    for part in parts:
        part = part._replace(twin=0)
        numbered.append(part._replace(twin=alike[part]))
        alike[part] += 1
    return numbered


def shortened(names: list[str]) -> str:
    """The first SHOWN names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def plural(count: int, noun: str) -> str:
    """'1 piece', '1,200 pieces'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass
class Piece:
    """The notes of a piece, sorted by onset and then pitch, its parts, and what else notation needs."""

    onset: np.ndarray  # (N,) ticks since the beginning
    pitch: np.ndarray  # (N,) 0..127; for drums, the key of the drum kit
    duration: np.ndarray  # (N,) ticks
    velocity: np.ndarray  # (N,) 1..127
    part: np.ndarray  # (N,) index into `parts`
    parts: list[Part] = field(default_factory=lambda: [Part()])
    ticks_per_quarter: int = 480
    # Changes in order of their ticks; of several at the same tick, the last one holds.
    tempos: list[tuple[int, int]] = field(default_factory=list)  # (tick, microseconds per quarter note)
    time_signatures: list[tuple[int, int, int]] = field(default_factory=list)  # (tick, numerator, denominator)
    key_signatures: list[tuple[int, int, int]] = field(default_factory=list)  # (tick, sharps -7..7, 1 if minor)
    # (M, 3) when a sustain pedal is pressed and released, in ticks, and the index of its part
    pedals: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    damage: str = ""  # what is wrong with its file, if it could not be read completely or as it stands

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def is_drum(self) -> np.ndarray:
        """(N,) mask of the drum notes."""
        return np.array([part.drums for part in self.parts], bool)[self.part]

    def take(self, which: np.ndarray) -> "Piece":
        """The piece with the notes that `which` (indices or a mask) selects, in that order."""
        return replace(self, **{name: getattr(self, name)[which] for name in COLUMNS})

    def sorted(self) -> "Piece":
        """The piece with its notes sorted by onset, then pitch, then part, then duration."""
        key = (self.onset * 128 + self.pitch) * len(self.parts) + self.part
        order = np.argsort(key, kind="stable")
        if (np.diff(key[order]) == 0).any():  # rare, and sorting by both takes three times as long
            order = np.lexsort((self.duration, key))
        return self.take(order)

    def played(self) -> "Piece":
        """The piece without the parts that have no notes."""
        used, part = np.unique(self.part, return_inverse=True)
        pedals = self.pedals[np.isin(self.pedals[:, 2], used)]
        pedals = np.column_stack([pedals[:, :2], np.searchsorted(used, pedals[:, 2])])
        return replace(self, part=part.ravel(), parts=[self.parts[i] for i in used], pedals=pedals)

    def sounding(self) -> "Piece":
        """The piece with each note as long as it sounds: one that ends while the pedal of its part is down goes on
        until the pedal is released or its key is struck again."""
        if not len(self.pedals):
            return self
        order = np.lexsort((self.onset, self.pitch, self.part))
        part, pitch, onset = self.part[order], self.pitch[order], self.onset[order]
        same = np.append((np.diff(part) == 0) & (np.diff(pitch) == 0), False)
        again = np.empty_like(onset)  # when the same key is struck again
        again[order] = np.where(same, np.append(onset[1:], 0), np.iinfo(np.int64).max)
        end = self.onset + self.duration
        longer = end.copy()
        for number in np.unique(self.pedals[:, 2]):
            down, up, _ = self.pedals[self.pedals[:, 2] == number].T
            which = np.maximum(np.searchsorted(down, end, "right") - 1, 0)
            held = (self.part == number) & (down[which] <= end) & (end < up[which])
            longer = np.where(held, np.maximum(np.minimum(up[which], again), end), longer)
        return replace(self, duration=longer - self.onset, pedals=np.zeros((0, 3), np.int64))

    def joined(self, other: "Piece") -> "Piece":
        """The piece with the notes of `other` added, which has the same ticks per quarter; equal parts are merged."""
        parts = [*self.parts, *(part for part in other.parts if part not in self.parts)]
        new_index = np.array([parts.index(part) for part in other.parts], int)
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in COLUMNS}
        both["part"] = np.concatenate([self.part, new_index[other.part]])
        return replace(self, **both, parts=parts).sorted()

    def moved(self, move: Callable[[np.ndarray], np.ndarray], ticks_per_quarter: int) -> "Piece":
        """The piece with `move` applied to all its times, which are in ticks."""
        onset = move(self.onset)
        changes = {name: [(int(move(tick)), *rest) for tick, *rest in getattr(self, name)] for name in CHANGES}
        pedals = np.column_stack([move(self.pedals[:, :2]), self.pedals[:, 2]])
        moments = {"onset": onset, "duration": move(self.onset + self.duration) - onset, "pedals": pedals}
        return replace(self, **moments, **changes, ticks_per_quarter=ticks_per_quarter)

    def finer(self, times: int) -> "Piece":
        """The same music with `times` as many ticks per quarter note."""
        return self.moved(lambda ticks: ticks * times, self.ticks_per_quarter * times)

    def in_beats(self, rate: float) -> "Piece":
        """A piece with `rate` ticks per second, whatever its tempos, converted to FINE ticks per quarter note of these
        tempos. Its timing in seconds stays the same."""
        tick, tempo = np.array(self.tempos_from_start()).T
        tick = np.append(tick, max(tick[-1], (self.onset + self.duration).max()) + 1)
        quarters = np.append(0, np.cumsum(np.diff(tick) / (rate * tempo / 1e6)))
        return self.moved(lambda at: np.rint(FINE * np.interp(at, tick, quarters)).astype(np.int64), FINE)

    def in_metre(self, text: str) -> "Piece":
        """The piece with all its bars in one metre, such as '3/4', counted from its first bar line: its beginning, or a
        change of metre that ends a shorter first bar, a pickup. If the text is empty, the piece as it is. Raises
        UserError for text that is no metre."""
        if not text:
            return self
        metre = theory.metre(text)
        longest = theory.bar_length(metre, self.ticks_per_quarter)
        begin = min((tick for tick, *_ in self.time_signatures if 0 < tick < longest), default=0)
        pickup = [change for change in self.time_signatures if change[0] < begin]
        return replace(self, time_signatures=[*pickup, (begin, *metre)])

    def bars(self, end: int | None = None) -> list[tuple[int, int, int]]:
        """(tick, numerator, denominator) of the bars that begin before `end`, by default the end of the last note. A
        change of metre begins a new bar. No bar is shorter than a 10,000th of `end`, since a file may name a metre that
        would give it millions of bars."""
        end, lines = int((self.onset + self.duration).max(initial=1)) if end is None else end, []
        metres = {tick: metre for tick, *metre in theory.metres_from_start(self.time_signatures) if tick < end}
        for (tick, metre), until in zip(metres.items(), [*metres, end][1:], strict=True):
            length = max(theory.bar_length(metre, self.ticks_per_quarter), end // 10_000)
            lines += [(begin, *metre) for begin in range(tick, until, length)]
        return lines

    def span(self, start: int, end: float = np.inf) -> "Piece":
        """The notes with start <= onset < end, in ticks, moved so that the last bar line at or before `start` is tick
        0; the tempo, metre and key in force there apply."""
        origin = self.bars(start + 1)[-1][0]

        def inside(changes: list[tuple]) -> list[tuple]:
            moved = [(max(tick - origin, 0), *rest) for tick, *rest in changes if tick < end]
            # Of the changes up to that bar line, only the last one applies.
            return [change for i, change in enumerate(moved) if i + 1 == len(moved) or moved[i + 1][0] > 0]

        chosen = self.take((self.onset >= start) & (self.onset < end))
        changes = {name: inside(getattr(self, name)) for name in CHANGES}
        down, up, _ = self.pedals.T
        pedals = self.pedals[(up > start) & (down < end)] - (origin, origin, 0)
        pedals[:, :2] = pedals[:, :2].clip(0, end - origin)
        return replace(chosen, onset=chosen.onset - origin, **changes, pedals=pedals)

    def tempos_from_start(self) -> list[tuple[int, int]]:
        """(tick, microseconds per quarter note) of its tempos. Without one at its beginning it starts at 120 quarter
        notes a minute, as MIDI specifies."""
        return [(0, theory.TEMPO), *self.tempos]

    def usual_tempo(self, begin: int = 0) -> int:
        """The median, in microseconds per quarter note, of the tempos in all the quarter notes after the tick `begin`,
        so that a fermata or a ritardando does not count."""
        tick, tempo = np.array(self.tempos_from_start()).T
        order, end = np.argsort(tempo, kind="stable"), int((self.onset + self.duration).max(initial=begin + 1))
        until = np.cumsum(np.diff(tick.clip(begin, end), append=end)[order])
        return int(tempo[order[np.searchsorted(until, until[-1] / 2)]])

    def seconds(self) -> float:
        """Its playing time in seconds."""
        end = int((self.onset + self.duration).max(initial=0))
        tick, tempo = np.array(self.tempos_from_start()).T
        return float(np.diff(tick.clip(max=end), append=end) @ tempo) / 1e6 / self.ticks_per_quarter

    def clock(self) -> str:
        """Its playing time as minutes and seconds, '1:23'."""
        minutes, rest = divmod(round(self.seconds()), 60)
        return f"{minutes}:{rest:02d}"
