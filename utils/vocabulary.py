"""Event streams <-> integers: the values that each stream may take, and the tables that describe them.

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

REACH = 127  # the largest interval between two pitches; also the class of the interval 0
# A part has a class if at least a share of RARE of the pieces has it and, with FEW pieces or more, LEAST of them.
RARE, LEAST, FEW = 0.02, 2, 5
# A part counts as `alone` if at most this share of its notes begin while another one sounds. A tenth of the share may
# lie below the part's range, and a tenth above.
SELDOM = 0.01


class Block(NamedTuple):
    """Adjacent places along an axis of a weight array, one for each value."""

    of: str  # what the values belong to, such as a stream: a name that no other block of the axis has
    values: np.ndarray  # (V,)
    match: str = "nearest"  # how a new value starts: like the nearest, like the 'part' it is heard as, or ('same') at 0
    rest: float = 0.0  # what the network reads there while a value does not occur


Axis = tuple[Block, ...]  # its blocks, in order


def counted(of: str, count: int, match: str = "nearest") -> Block:
    """A block of `count` places, whose values are just their numbers."""
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
    players: dict[int, parts.Class] = field(default_factory=dict)  # what is known about each value of the part stream
    styles: tuple[str, ...] = ()  # names of the styles of the training pieces
    told_form: bool = True  # the network is told the form, the ranges of the parts, and the harmony around each key
    told_lines: bool = True  # and, once it knows who plays next and when, what is recalled of the line of that part
    # Set of parts (values) that play together -> number of pieces with it, among those of a weights file's openings.
    companies: dict[frozenset[int], int] = field(default_factory=dict)

    def __post_init__(self):
        notes = self.values["note"]
        self.streams, self.grid = self.representation.streams, self.representation.grid
        # (grid,) where in a quarter note the pieces of a weights file's openings usually begin notes; all: not known.
        self.positions = np.ones(self.grid, bool)
        self.end = len(self.values[END_STREAM])  # the class of the offset stream that ends a piece
        self.parts = max(len(self.players), 1)
        self.registers = {value: known.mean for value, known in self.players.items()}  # mean pitch of each part
        self.told_parts = len(self.players)  # parts for which the network is told whether they play and still sound
        self.conditions = self.told_parts + len(self.styles)  # size of what it is told about the whole piece
        self.told_ranges = parts.RANGE * (self.told_form and self.told_parts > 0)  # size of what it is told of ranges
        self.hints = 3 + bool(self.styles)  # each given in half of the training: the end, who plays, form, style
        # For each note class, and the start token after them: its keys (V + 1, 128) and its highest pitch (V + 1,).
        # Drums have no keys, and NOBODY in place of a pitch.
        self.keys = np.pad(keyboard(notes), ((0, 1), (0, 0))).astype(np.float32)
        self.top = np.append(highest_key(self.keys[:-1]), parts.MIDDLE_C)
        drums = np.flatnonzero(~self.keys[:-1].any(axis=1))
        self.top[drums] = parts.NOBODY
        pitched = self.top[:-1][self.top[:-1] != parts.NOBODY]
        self.lowest = int(pitched.min(initial=127))
        self.highest = int(pitched.max(initial=self.lowest))  # even if all notes are drums there is one key
        # Interval classes: from -REACH to REACH, then one for each drum, which has no interval. The class of a note is
        # `steady`, less the pitch from which the interval is counted where it `moves`; (V + 1,) each.
        self.steady, self.moves = self.top + REACH, np.ones_like(self.top)
        self.steady[drums], self.moves[drums] = 2 * REACH + 1 + np.arange(len(drums)), 0
        # (128 + 1, V + 1) the class for each pitch from which it may be counted; the last row is for NOBODY.
        self.interval_from = self.steady - self.moves * np.arange(129)[:, None]
        self.interval_from[parts.NOBODY] = np.where(self.moves == 1, REACH, self.steady)
        self.interval_axis = (Block("interval", np.append(np.arange(-REACH, REACH + 1), notes[drums].astype(int))),)
        self.intervals = length(self.interval_axis)
        # The network's inputs for an event, the axis of the classes of each, and their number.
        self.axes = {stream: (*self.choices(stream), counted("start", 1)) for stream in self.streams}
        self.axes |= {"phase": (counted("phase", LONGEST_BAR * self.grid),), "interval": self.interval_axis}
        # What is told about the previous event of the same part: name -> its stream, or interval.
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
        # What it is told about an event that it recalls: the streams, with the interval in place of the note.
        self.recalled = tuple("interval" if stream == "note" else stream for stream in self.streams)

    def pitch_classes(self) -> np.ndarray:
        """(V + 1, 12) the number of keys of each pitch class, from C up, in each note class and the start token."""
        return traces.pitch_classes(np, self.keys)

    def steps(self, stream: str) -> np.ndarray:
        """Length in grid steps of each class of the offset or duration stream; 0 for the end and the start token."""
        return np.pad(self.values[stream].astype(np.int64), (0, 1 + (stream == END_STREAM)))

    def quarters(self, stream: str) -> np.ndarray:
        """The same in quarter notes, as float32."""
        return (self.steps(stream) / self.grid).astype(np.float32)

    def size(self, stream: str) -> int:
        """Number of classes that the stream's head chooses from."""
        return length(self.choices(stream))

    def choices(self, stream: str) -> Axis:
        """The classes that the stream's head chooses from: its values and, in END_STREAM, the end of the piece."""
        match = "part" if stream == "part" else "nearest"
        return Block(stream, self.values[stream], match), counted("end", int(stream == END_STREAM))

    def told_of_parts(self, of: str, rest: float = 0.0) -> Block:
        """A block with one place for each part that the network is told about."""
        return Block(of, np.array(list(self.players), int), "part", rest)

    @property
    def condition(self) -> Axis:
        """What the network is told about the whole piece: whether each part plays, and the share of each style."""
        return self.told_of_parts("playing"), Block("style", np.array(self.styles, str), "same")

    def interval(self, note: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """Classes of the intervals from pitches `origin` to the note classes `note`; for NOBODY, that of interval 0."""
        return self.interval_from[origin, note]

    def part_of(self, classes: dict[str, np.ndarray]) -> np.ndarray:
        """The part class of events, given the classes of their streams: 0 if there is no part stream, except that the
        start token always has a class of its own."""
        if "part" in self.streams:
            return classes["part"]
        return (classes["note"] == self.size("note")).astype(np.int64) if "note" in classes else 0 * classes[END_STREAM]

    def heard_as(self, events: Events) -> dict[int, int]:
        """Value of each part of a piece -> the known value as which it is heard."""
        return parts.heard_as(means(events.streams), self.registers, parts.FURTHER)

    def encode(self, events: Events) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Classes (E,) of each stream, and how many of its values the vocabulary lacked: these become the nearest."""
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
        """(2 * semitones + 1, V + 1) table: what each note class becomes when moved by row - semitones; the start token
        stays. It is valid for training pieces moved within their `room`; other entries mean nothing."""
        notes = self.values["note"]
        table = [np.searchsorted(notes, shifted(notes, shift)) for shift in range(-semitones, semitones + 1)]
        return np.pad(np.minimum(table, len(notes) - 1), ((0, 0), (0, 1)), constant_values=len(notes))

    def joined(self, other: "Vocabulary") -> "Vocabulary":
        """The union of two vocabularies of the same representation. For a part that both know, this one's entry holds:
        when new pieces are added to an earlier network, new music follows the new pieces and uses their names."""
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
        told = data.get("told_form", False), data.get("told_lines", False)  # older files lack these
        return cls(values, how, players, tuple(data.get("styles", ())), *told)


def nearest(values: np.ndarray, wanted: np.ndarray, drums: bool = False) -> np.ndarray:
    """Index into the ascending `values` (V,) of the one nearest to each of `wanted` (U,).

    Of two equally near numbers, it is the lower one. With `drums`, values from FIRST_DRUM on are drums, and a drum is
    nearer to any drum than to a pitch. The nearest chord is the one with the fewest keys added or missing; of several
    such chords, the one whose highest pitch is nearest.
    """
    if values.dtype.kind != "U":
        apart = drums & ((wanted[:, None] >= FIRST_DRUM) != (values >= FIRST_DRUM))
        return (np.abs(wanted[:, None] - values) + 10**6 * apart).argmin(axis=1)
    ours, theirs = keyboard(wanted).astype(np.float32), keyboard(values).astype(np.float32)
    differing = ours.sum(axis=1)[:, None] + theirs.sum(axis=1) - 2 * ours @ theirs.T  # (U, V) keys
    return (differing * 128 + np.abs(highest_key(ours)[:, None] - highest_key(theirs))).argmin(axis=1)


def means(streams: dict[str, np.ndarray]) -> dict[int, float]:
    """Value of each part in the streams (E,) of some events -> its mean pitch."""
    if "part" not in streams:
        return {}
    values, where = np.unique(streams["part"], return_inverse=True)
    total = np.bincount(where, streams["note"], len(values)) / np.bincount(where, minlength=len(values))
    return dict(zip(values.tolist(), total.tolist(), strict=True))


def overlaps(onset: np.ndarray, end: np.ndarray) -> int:
    """How many notes of a part begin before all earlier ones are over."""
    return int((onset[1:] < np.maximum.accumulate(end)[:-1]).sum())


def describe_parts(pieces: list[Events]) -> dict[int, parts.Class]:
    """What is known about the parts of the training pieces. RARE parts are left out and heard as the nearest other
    part, but not drums, which no other part can play."""
    count = Counter(value for piece in pieces for value in np.unique(piece.streams["part"]).tolist())
    least = max(RARE * len(pieces), LEAST if len(pieces) >= FEW else 1)
    kept = sorted(v for v, times in count.items() if times >= least or v == parts.DRUMS)
    kept = kept if set(kept) - {parts.DRUMS} else sorted(count)
    names, doubled = {value: Counter() for value in kept}, Counter()
    struck = {value: np.zeros(2 * FIRST_DRUM, np.int64) for value in kept}  # how often, by value of the note stream
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
    """The vocabulary of the training pieces, whose styles are `styles`, and of their transpositions by up to
    `transpose` semitones."""
    seen = {stream: [np.unique(piece.streams[stream]) for piece in pieces] for stream in how.streams}
    for notes in list(seen["note"]):
        low, high = room(notes, transpose)
        seen["note"] += [shifted(notes, semitones) for semitones in range(low, high + 1)]
    players = describe_parts(pieces) if how.has_parts else {}
    values = {stream: np.unique(np.concatenate(values)) for stream, values in seen.items()}
    return Vocabulary({**values, **({"part": np.array(list(players))} if players else {})}, how, players, styles)
