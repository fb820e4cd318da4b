"""A piece of music: arrays of onset, pitch, duration, velocity and part, in ticks. Shapes: N notes."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from utils import theory
from utils.instruments import INSTRUMENTS

SHOWN = 12  # parts that are named where more play
FINE = 960  # ticks of a quarter note that hold any moment to a quarter of a millisecond, at 120 a minute
COLUMNS = ("onset", "pitch", "duration", "velocity", "part")
CHANGES = ("tempos", "time_signatures", "key_signatures")


class Part(NamedTuple):
    """Who plays: what a track of a MIDI file, or a staff of a score, says of itself."""

    name: str = ""
    program: int = 0  # General MIDI instrument, 0..127; of drums the kit
    drums: bool = False
    channel: int = -1  # 0..15, on which it was in its file; -1: any
    twin: int = 0  # how many parts of its piece before it are otherwise the same, such as the hands of an unnamed piano

    def called(self) -> str:
        """Its name, or else that of its instrument."""
        return self.name or ("Drums" if self.drums else INSTRUMENTS[self.program])


def told_apart(parts: Iterable[Part]) -> list[Part]:
    """The parts, those that are otherwise the same with their numbers as twins."""
    alike, before = Counter(), []
    for part in parts:
        part = part._replace(twin=0)
        before.append(part._replace(twin=alike[part]))
        alike[part] += 1
    return before


def shortened(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def plural(count: int, noun: str) -> str:
    """'1 piece', '1,200 pieces'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass
class Piece:
    """The notes of a piece, sorted by onset and then pitch, who plays them, and what notation needs beside."""

    onset: np.ndarray  # (N,) ticks since the beginning
    pitch: np.ndarray  # (N,) 0..127; of drums the key that stands for an instrument
    duration: np.ndarray  # (N,) ticks
    velocity: np.ndarray  # (N,) 1..127
    part: np.ndarray  # (N,) index among `parts`
    parts: list[Part] = field(default_factory=lambda: [Part()])
    ticks_per_quarter: int = 480
    # Changes by their ticks; of several at one tick the last holds.
    tempos: list[tuple[int, int]] = field(default_factory=list)  # (tick, microseconds a quarter)
    time_signatures: list[tuple[int, int, int]] = field(default_factory=list)  # (tick, numerator, denominator)
    key_signatures: list[tuple[int, int, int]] = field(default_factory=list)  # (tick, sharps -7..7, 1 if minor)
    # (M, 3) when a sustain pedal is pressed and lifted, in ticks, and of which part
    pedals: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    damage: str = ""  # what is wrong with its file, if it could not be read to the end or as it is

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def is_drum(self) -> np.ndarray:
        """(N,) which notes are drums'."""
        return np.array([part.drums for part in self.parts], bool)[self.part]

    def take(self, which: np.ndarray) -> "Piece":
        """The piece with the notes that `which` (indices or a mask) selects, in that order."""
        return replace(self, **{name: getattr(self, name)[which] for name in COLUMNS})

    def sorted(self) -> "Piece":
        """The piece with its notes by onset, then pitch, then part, then duration."""
        key = (self.onset * 128 + self.pitch) * len(self.parts) + self.part
        order = np.argsort(key, kind="stable")
        if (np.diff(key[order]) == 0).any():  # rare, and to sort by both takes three times as long
            order = np.lexsort((self.duration, key))
        return self.take(order)

    def played(self) -> "Piece":
        """The piece without the parts that have no notes."""
        used, part = np.unique(self.part, return_inverse=True)
        pedals = self.pedals[np.isin(self.pedals[:, 2], used)]
        pedals = np.column_stack([pedals[:, :2], np.searchsorted(used, pedals[:, 2])])
        return replace(self, part=part.ravel(), parts=[self.parts[i] for i in used], pedals=pedals)

    def sounding(self) -> "Piece":
        """The piece with each note as long as it sounds: while the pedal of its part is down it goes on, until its key
        is struck again."""
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
        """The piece with the notes of `other`, which counts the same ticks, among its own; who plays in both has one
        part."""
        parts = [*self.parts, *(part for part in other.parts if part not in self.parts)]
        there = np.array([parts.index(part) for part in other.parts], int)
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in COLUMNS}
        both["part"] = np.concatenate([self.part, there[other.part]])
        return replace(self, **both, parts=parts).sorted()

    def moved(self, move: Callable[[np.ndarray], np.ndarray], ticks_per_quarter: int) -> "Piece":
        """The piece with other times: `move` makes them of those in ticks."""
        onset = move(self.onset)
        changes = {name: [(int(move(tick)), *rest) for tick, *rest in getattr(self, name)] for name in CHANGES}
        pedals = np.column_stack([move(self.pedals[:, :2]), self.pedals[:, 2]])
        moments = {"onset": onset, "duration": move(self.onset + self.duration) - onset, "pedals": pedals}
        return replace(self, **moments, **changes, ticks_per_quarter=ticks_per_quarter)

    def finer(self, times: int) -> "Piece":
        """The same music with `times` as many ticks to a quarter."""
        return self.moved(lambda ticks: ticks * times, self.ticks_per_quarter * times)

    def in_beats(self, rate: float) -> "Piece":
        """The piece, of which so many ticks are a second whatever its tempos, with ticks of the quarter notes of these
        tempos, FINE of them in each; in seconds it is the same."""
        tick, tempo = np.array(self.tempos_from_start()).T
        tick = np.append(tick, max(tick[-1], (self.onset + self.duration).max()) + 1)
        quarters = np.append(0, np.cumsum(np.diff(tick) / (rate * tempo / 1e6)))
        return self.moved(lambda at: np.rint(FINE * np.interp(at, tick, quarters)).astype(np.int64), FINE)

    def in_metre(self, metre: theory.Metre) -> "Piece":
        """The piece with all its bars in one metre: from its first bar line on, which stands at its beginning, or where
        a change of metre ends a shorter bar, a pickup."""
        longest = theory.bar_length(metre, self.ticks_per_quarter)
        begin = min((tick for tick, *_ in self.time_signatures if 0 < tick < longest), default=0)
        pickup = [change for change in self.time_signatures if change[0] < begin]
        return replace(self, time_signatures=[*pickup, (begin, *metre)])

    def bars(self, end: int | None = None) -> list[tuple[int, int, int]]:
        """(tick, numerator, denominator) of the bars that begin before `end`, by default the end of the last note; a
        change of metre begins a bar. None is shorter than a 10,000th of that, since a file may name a metre in which it
        has millions of bars."""
        end, lines = int((self.onset + self.duration).max(initial=1)) if end is None else end, []
        metres = {tick: metre for tick, *metre in theory.metres_from_start(self.time_signatures) if tick < end}
        for (tick, metre), until in zip(metres.items(), [*metres, end][1:], strict=True):
            length = max(theory.bar_length(metre, self.ticks_per_quarter), end // 10_000)
            lines += [(begin, *metre) for begin in range(tick, until, length)]
        return lines

    def span(self, start: int, end: int | None = None) -> "Piece":
        """The notes with start <= onset (< end), ticks, moved so that the last bar line at or before `start` is 0; the
        tempo, metre and key in force there hold."""
        origin = self.bars(start + 1)[-1][0]

        def inside(changes: list[tuple]) -> list[tuple]:
            moved = [(max(tick - origin, 0), *rest) for tick, *rest in changes if end is None or tick < end]
            # Of the changes before the start only the last holds.
            return [change for i, change in enumerate(moved) if i + 1 == len(moved) or moved[i + 1][0] > 0]

        chosen = self.take((self.onset >= start) & (end is None or self.onset < end))
        changes = {name: inside(getattr(self, name)) for name in CHANGES}
        down, up, _ = self.pedals.T
        pedals = self.pedals[(up > start) & (end is None or down < end)] - (origin, origin, 0)
        pedals[:, :2] = pedals[:, :2].clip(0, None if end is None else end - origin)
        return replace(chosen, onset=chosen.onset - origin, **changes, pedals=pedals)

    def tempos_from_start(self) -> list[tuple[int, int]]:
        """(tick, microseconds a quarter) of its tempos. Where none stands at its beginning it is 120 quarter notes a
        minute there, as MIDI has it."""
        return [(0, 500_000), *self.tempos]

    def seconds(self) -> float:
        """How long it plays, in seconds."""
        end = int((self.onset + self.duration).max(initial=0))
        tick, tempo = np.array(self.tempos_from_start()).T
        return float(np.diff(tick.clip(max=end), append=end) @ tempo) / 1e6 / self.ticks_per_quarter

    def clock(self) -> str:
        """Its playing time, '1:23'."""
        minutes, rest = divmod(round(self.seconds()), 60)
        return f"{minutes}:{rest:02d}"
