"""Event streams <-> integers: the values that each stream may take, and the tables that say what they are.

Shapes: E events, V values of a stream.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np

from utils import parts, traces
from utils.events import (
    END_STREAM,
    FIRST_DRUM,
    LAST,
    LONGEST_BAR,
    NOT_TOLD,
    Events,
    Representation,
    derived,
    pitches,
    room,
    shifted,
)

REACH = 127  # the largest interval between two pitches; class of the interval 0
# Share of the pieces, and number of them if there are FEW or more, that must have a part for it to have a class.
RARE, LEAST, FEW = 0.02, 2, 5
SELDOM = 0.01  # share of its notes that a part may begin while another of its own sounds, and be called alone; a tenth
# of it may lie below its range, and as much above


class Block(NamedTuple):
    """Places side by side along an axis of a weight, one for each of some values."""

    of: str  # what the values are of, such as a stream: a name that no other block of the axis has
    values: np.ndarray  # (V,)
    match: str = "nearest"  # what is like a new value: the nearest, as which a part is heard ('part'), or none ('same')
    rest: float = 0.0  # what the network reads there as long as a value does not occur


Axis = tuple[Block, ...]  # all its places, in order


def counted(of: str, count: int, match: str = "nearest") -> Block:
    """A block of so many places that stand for nothing but their number."""
    return Block(of, np.arange(count), match)


def length(axis: Axis) -> int:
    return sum(len(block.values) for block in axis)


def keyboard(values: np.ndarray) -> np.ndarray:
    """(V, 128) bool: the keys of each value of the note stream; a drum has none."""
    table = np.zeros((len(values), 2 * FIRST_DRUM), bool)
    for row, value in enumerate(values.tolist()):
        table[row, list(pitches(value))] = True
    return table[:, :FIRST_DRUM]


def highest_key(keys: np.ndarray) -> np.ndarray:
    """(V,) the highest of the keys in each row (V, 128)."""
    return 127 - keys[:, ::-1].argmax(axis=1)


@dataclass
class Vocabulary:
    """The values that each stream may take, in ascending order; a value's index is its class.

    Class `size(stream) - 1` of the offset stream is the end of the piece; `size(stream)` is the start token, which is
    an input in every stream and an output in none.
    """

    values: dict[str, np.ndarray]  # stream -> (V,)
    representation: Representation
    players: dict[int, parts.Class] = field(default_factory=dict)  # what is known of each value of the part stream
    styles: tuple[str, ...] = ()  # names of the styles of the training pieces
    told_form: bool = True  # the network is told of form, of the ranges of parts, and of the harmony around each key
    told_lines: bool = True  # and, once it knows who plays next and when, what is recalled of the line of that part
    # Values of parts that play together -> in how many of the pieces that the openings of a weights file are from.
    companies: dict[frozenset[int], int] = field(default_factory=dict)

    def __post_init__(self):
        notes = self.values["note"]
        self.streams, self.grid = self.representation.streams, self.representation.grid
        self.end = len(self.values[END_STREAM])  # the class of the offset stream that ends a piece
        self.parts = max(len(self.players), 1)
        self.registers = {value: known.mean for value, known in self.players.items()}  # of each part its mean pitch
        self.told_parts = len(self.players)  # of how many the network is told whether they play, and still sound
        self.conditions = self.told_parts + len(self.styles)  # numbers that it is told of the whole piece
        self.told_ranges = parts.RANGE * (self.told_form and self.told_parts > 0)  # numbers
        self.hints = 3 + bool(self.styles)  # which it gets each half of the time: the end, who plays, form, style
        # Of each note class, and of the start token behind them: its keys (V + 1, 128), and its highest pitch (V + 1,);
        # drums have no keys, and NOBODY plays them.
        self.keys = np.pad(keyboard(notes), ((0, 1), (0, 0))).astype(np.float32)
        self.top = np.append(highest_key(self.keys[:-1]), parts.MIDDLE_C)
        drums = np.flatnonzero(~self.keys[:-1].any(axis=1))
        self.top[drums] = parts.NOBODY
        pitched = self.top[:-1][self.top[:-1] != parts.NOBODY]
        self.lowest, self.highest = int(pitched.min(initial=127)), int(pitched.max(initial=0))
        self.highest = max(self.lowest, self.highest)  # where all are drums there is still a key
        # Classes of the intervals: from -REACH to REACH, and then one for each drum, which has none. That of a note is
        # `steady`, less the pitch from which it counts where it `moves`; (V + 1,) each.
        self.steady, self.moves = self.top + REACH, np.ones_like(self.top)
        self.steady[drums], self.moves[drums] = 2 * REACH + 1 + np.arange(len(drums)), 0
        # (128 + 1, V + 1) the same for each pitch from which it may count; the last row is for NOBODY's.
        self.interval_from = self.steady - self.moves * np.arange(129)[:, None]
        self.interval_from[parts.NOBODY] = np.where(self.moves == 1, REACH, self.steady)
        self.interval_axis = (Block("interval", np.append(np.arange(-REACH, REACH + 1), notes[drums].astype(int))),)
        self.intervals = length(self.interval_axis)
        # What the network reads of an event, the classes of each, and their number.
        self.axes = {stream: (*self.choices(stream), counted("start", 1)) for stream in self.streams}
        self.axes |= {"phase": (counted("phase", LONGEST_BAR * self.grid),), "interval": self.interval_axis}
        # Name -> stream, or interval, of the event before of the same part: what is told of that.
        self.last = {name: LAST[name] for name in derived(self.streams) if name in LAST}
        self.axes |= {"spacing": self.interval_axis} if self.players else {}
        self.axes |= {name: self.axes[source] for name, source in self.last.items()}
        not_told = {name: last for name, last in NOT_TOLD.items() if self.told_form or name != "form"}
        self.axes |= {name: (counted(name, last + 1),) for name, last in not_told.items()}
        self.inputs = {name: length(axis) for name, axis in self.axes.items()}
        self.start_token = {stream: self.size(stream) for stream in self.streams}  # what it reads before a piece
        self.start_token |= {"phase": 0, "interval": REACH, "origin": parts.NOBODY, **not_told}
        self.start_token |= {"spacing": REACH} if self.players else {}
        self.start_token |= {name: self.start_token[source] for name, source in self.last.items()}
        # What it is told of an event that it recalls: the streams, but the interval instead of the note.
        self.recalled = tuple("interval" if stream == "note" else stream for stream in self.streams)

    def pitch_classes(self) -> np.ndarray:
        """(V + 1, 12) how many keys of each pitch class, from C up, each note class has, and the start token."""
        return traces.pitch_classes(np, self.keys)

    def steps(self, stream: str) -> np.ndarray:
        """Grid steps that each class of the offset or duration stream lasts; the end and the start token none."""
        return np.pad(self.values[stream].astype(np.int64), (0, 1 + (stream == END_STREAM)))

    def quarters(self, stream: str) -> np.ndarray:
        """The same in quarter notes, as float32."""
        return (self.steps(stream) / self.grid).astype(np.float32)

    def size(self, stream: str) -> int:
        """Number of classes that the stream's head chooses from."""
        return length(self.choices(stream))

    def choices(self, stream: str) -> Axis:
        """These classes: the values, and in one stream the end of the piece."""
        match = "part" if stream == "part" else "nearest"
        return Block(stream, self.values[stream], match), counted("end", int(stream == END_STREAM))

    def told_of_parts(self, of: str, rest: float = 0.0) -> Block:
        """A place for each part of which the network is told."""
        return Block(of, np.array(list(self.players), int), "part", rest)

    @property
    def condition(self) -> Axis:
        """The places of what it is told of the whole piece: whether each part plays, and the share of each style."""
        return self.told_of_parts("playing"), Block("style", np.array(self.styles, str), "same")

    def interval(self, note: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """Classes of the intervals to the notes `note`, as classes of the note stream, from the pitches `origin`; that
        of the interval 0 from NOBODY."""
        return self.interval_from[origin, note]

    def part_of(self, classes: dict[str, np.ndarray]) -> np.ndarray:
        """The class of the part of some events, given those of their streams: 0 if there is no such stream, but that of
        the start token is always one of its own."""
        if "part" in self.streams:
            return classes["part"]
        return (classes["note"] == self.size("note")).astype(np.int64) if "note" in classes else 0 * classes[END_STREAM]

    def heard_as(self, events: Events) -> dict[int, int]:
        """Value of each part of a piece -> the value as which it is heard."""
        return parts.heard_as(means(events.streams), self.registers)

    def encode(self, events: Events) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Classes (E,) of each stream, and how many values of each the vocabulary lacked: they become the nearest."""
        classes, moved = {}, {}
        for stream, values in self.values.items():
            wanted, where = np.unique(events.streams[stream], return_inverse=True)
            if stream == "part":
                heard = self.heard_as(events)
                near = np.searchsorted(values, [heard.get(value, values[0]) for value in wanted.tolist()])
            else:
                near = nearest(values, wanted, drums=stream == "note")
            classes[stream] = near[where]
            moved[stream] = int((values[near] != wanted)[where].sum())
        return classes, moved

    def decode(self, classes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Values (E,) of each stream; the classes must not hold a start token or an end."""
        return {stream: values[classes[stream]] for stream, values in self.values.items()}

    def transpositions(self, semitones: int) -> np.ndarray:
        """(2 * semitones + 1, V + 1) table: class of each note class, moved by row - semitones; the start token stays.

        It holds for pieces of the training music moved within their `room`; other entries mean nothing.
        """
        notes = self.values["note"]
        table = [np.searchsorted(notes, shifted(notes, shift)) for shift in range(-semitones, semitones + 1)]
        return np.pad(np.minimum(table, len(notes) - 1), ((0, 0), (0, 1)), constant_values=len(notes))

    def joined(self, other: "Vocabulary") -> "Vocabulary":
        """The vocabulary of all values of both, which write music alike. Of a part that both know it says what this one
        does: with new pieces joined to an earlier network new music is made as theirs, and by their names."""
        players = dict(sorted((other.players | self.players).items()))
        names = parts.names_of(players, {value: known.name for value, known in players.items()})
        players = {value: known._replace(name=names[value]) for value, known in players.items()}
        values = {stream: np.union1d(values, other.values[stream]) for stream, values in self.values.items()}
        styles = tuple(sorted({*self.styles, *other.styles}))
        return Vocabulary(values, self.representation, players, styles)

    def to_json(self) -> dict:
        values = {stream: values.tolist() for stream, values in self.values.items()}
        about = {"players": list(self.players.items()), "styles": self.styles, "told_form": self.told_form}
        about |= {"told_lines": self.told_lines}
        return {**asdict(self.representation), "values": values, **about}

    @classmethod
    def from_json(cls, data: dict) -> "Vocabulary":
        values = {stream: np.array(values) for stream, values in data["values"].items()}
        players = {value: parts.Class(*known) for value, known in data.get("players", [])}
        how = Representation.of({**data, "streams": values})
        told = data.get("told_form", False), data.get("told_lines", False)  # as older files do not say
        return cls(values, how, players, tuple(data.get("styles", ())), *told)


def nearest(values: np.ndarray, wanted: np.ndarray, drums: bool = False) -> np.ndarray:
    """Index into the ascending `values` (V,) of the one nearest to each of `wanted` (U,).

    Of two numbers that are equally near it is the lower. Where some are `drums`, from FIRST_DRUM on, a drum is nearer
    to all drums than to a pitch. The nearest chord is the one with the fewest keys added or missing; of several such
    chords, the one whose highest pitch is nearest.
    """
    if values.dtype.kind != "U":
        apart = drums & ((wanted[:, None] >= FIRST_DRUM) != (values >= FIRST_DRUM))
        return (np.abs(wanted[:, None] - values) + 10**6 * apart).argmin(axis=1)
    ours, theirs = keyboard(wanted).astype(np.float32), keyboard(values).astype(np.float32)
    differing = ours.sum(axis=1)[:, None] + theirs.sum(axis=1) - 2 * ours @ theirs.T  # (U, V) keys
    return (differing * 128 + np.abs(highest_key(ours)[:, None] - highest_key(theirs))).argmin(axis=1)


def means(streams: dict[str, np.ndarray]) -> dict[int, float]:
    """Value of each part of some music, by the streams (E,) of its events -> the mean of its pitches."""
    if "part" not in streams:
        return {}
    values, where = np.unique(streams["part"], return_inverse=True)
    total = np.bincount(where, streams["note"], len(values)) / np.bincount(where, minlength=len(values))
    return dict(zip(values.tolist(), total.tolist(), strict=True))


def overlaps(onset: np.ndarray, end: np.ndarray) -> int:
    """How many notes of a part begin before those before them are over."""
    return int((onset[1:] < np.maximum.accumulate(end)[:-1]).sum())


def describe_parts(pieces: list[Events]) -> dict[int, parts.Class]:
    """What is known of the parts of the training pieces. Those that are RARE in them are left out, as they are heard as
    the nearest others; not drums, which no other part can play."""
    count = Counter(value for piece in pieces for value in np.unique(piece.streams["part"]).tolist())
    least = max(RARE * len(pieces), LEAST if len(pieces) >= FEW else 1)
    kept = sorted(v for v, times in count.items() if times >= least or v == parts.DRUMS)
    kept = kept if set(kept) - {parts.DRUMS} else sorted(count)
    names, doubled = {value: Counter() for value in kept}, Counter()
    struck = {value: np.zeros(2 * FIRST_DRUM, np.int64) for value in kept}  # how often each value of the note stream
    for piece in pieces:
        onset, part, note = np.cumsum(piece.streams["offset"]), piece.streams["part"], piece.streams["note"]
        for value in np.intersect1d(part, kept).tolist():
            mine = part == value
            names[value][piece.parts[value].name] += 1
            struck[value] += np.bincount(note[mine], minlength=2 * FIRST_DRUM)
            doubled[value] += overlaps(onset[mine], (onset + piece.streams["duration"])[mine])
    usual = {value: names[value].most_common(1)[0] for value in kept}
    called = parts.names_of(kept, {value: name for value, (name, times) in usual.items() if 2 * times > count[value]})
    known = {}
    for value, notes in struck.items():
        share = np.cumsum(notes) / notes.sum()
        low, high = np.searchsorted(share, [SELDOM / 10, 1 - SELDOM / 10]).tolist()
        mean = float(notes @ np.arange(len(notes)) / notes.sum())
        known[value] = parts.Class(called[value], low, high, mean, bool(doubled[value] <= SELDOM * notes.sum()))
    return known


def build_vocabulary(
    pieces: list[Events], how: Representation, transpose: int, styles: tuple[str, ...] = ()
) -> Vocabulary:
    """The vocabulary of the training pieces, which are of these `styles`, and of all that transposing each by up to
    `transpose` makes of them."""
    seen = {stream: [np.unique(piece.streams[stream]) for piece in pieces] for stream in how.streams}
    for notes in list(seen["note"]):
        low, high = room(notes, transpose)
        seen["note"] += [shifted(notes, semitones) for semitones in range(low, high + 1)]
    players = describe_parts(pieces) if how.has_parts else {}
    values = {stream: np.unique(np.concatenate(values)) for stream, values in seen.items()}
    return Vocabulary({**values, **({"part": np.array(list(players))} if players else {})}, how, players, styles)
