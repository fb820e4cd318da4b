"""Piece <-> event streams <-> integers.

An event is a note, or in `chords="class"` the notes that start and end together. Its streams are `offset` (grid steps
since the event before it; 0 for notes struck together), `note`, `duration` (steps, at least 1) and, if asked for,
`velocity`. Beside them stands the `phase`: steps since the bar began. Shapes: N notes, E events, V values.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np

from utils.midi import Piece
from utils.theory import Metre, bar_length, metres_from_start, note_name, note_pitch, to_steps

KNOWN_STREAMS = ("offset", "note", "duration", "velocity")
END_STREAM = "offset"  # the stream in which the end of a piece is a class: it comes instead of a next onset
# What the network is also told of an event, each known as soon as the stream it follows from is chosen.
DERIVED = {"phase": "offset", "interval": "note", "remaining": "offset", "progress": "offset"}
REACH = 127  # the largest interval between two pitches; class of the interval 0
LONGEST_BAR = 8  # quarter notes; the phase starts again after so many in a longer bar
# How much is still to come, if that is told (see `outlook`): the bars after that of an event, in steps that widen, and
# the share of the piece's bars before it. Both have one class more, for what is not told.
REMAINING = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32])
SHARES = 8
NOT_TOLD = {"remaining": len(REMAINING), "progress": SHARES}
VELOCITY_STEP = 8  # velocities are kept in bins of this width: 16 classes


@dataclass(frozen=True)
class Representation:
    """How music is written as events: integers mean the same only where all of this is the same."""

    streams: tuple[str, ...] = ("offset", "note", "duration")  # in the order in which they are chosen
    grid: int = 12  # steps to a quarter note
    chords: str = "split"  # or "class": the notes that start and end together are one event
    max_beats: int = 16  # quarter notes; longer offsets and durations are clipped

    @classmethod
    def of(cls, settings: dict) -> "Representation":
        """From the settings of train.py, or what a weights file says."""
        return cls(tuple(settings["streams"]), *(settings[name] for name in ("grid", "chords", "max_beats")))


DEFAULT = Representation()


@dataclass
class Events:
    """The events of a piece. `streams[name]` and `phase` have shape (E,)."""

    streams: dict[str, np.ndarray]
    phase: np.ndarray  # steps since the bar began
    metres: np.ndarray  # (E, 2) numerator and denominator
    bar: np.ndarray  # number of the bar, from 0 on
    bars: int  # in the whole piece, to the end of its last note
    clipped: int = 0  # offsets and durations that were longer than allowed

    def __len__(self) -> int:
        return len(self.phase)

    def __getitem__(self, part: slice) -> "Events":
        """A passage; its first event keeps its offset."""
        streams = {stream: values[part] for stream, values in self.streams.items()}
        return Events(streams, self.phase[part], self.metres[part], self.bar[part], self.bars)

    def metre(self, event: int = -1) -> tuple[int, int]:
        """(numerator, denominator) of the bar that an event is in."""
        return tuple(self.metres[event].tolist())


def pitches(value: int | str) -> tuple[int, ...]:
    """The MIDI pitches of a value of the note stream: 60 -> (60,), 'C4.E4' -> (60, 64)."""
    return tuple(map(note_pitch, value.split("."))) if isinstance(value, str) else (int(value),)


def chord_name(chord: Iterable[int]) -> str:
    """(60, 64) -> 'C4.E4'."""
    return ".".join(map(note_name, sorted(chord)))


def bar_steps(metre: Metre, grid: int) -> int:
    """The length of a bar in grid steps, as far as the phase counts."""
    return min(bar_length(metre, grid), LONGEST_BAR * grid)


def outlook(bar: np.ndarray, bars: np.ndarray) -> dict[str, np.ndarray]:
    """Classes (E,) of 'remaining' and 'progress' in the bars (E,), numbered from 0 on, of pieces of so many `bars`."""
    remaining = np.searchsorted(REMAINING, np.maximum(bars - 1 - bar, 0), "right") - 1
    return {"remaining": remaining, "progress": np.clip(SHARES * bar // bars, 0, SHARES - 1)}


def places(onset: np.ndarray, piece: Piece, grid: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps since the bar began (E,), the metre (E, 2) and the number of the bar (E,), from 0 on, at the onsets (E,) in
    steps, by the piece's own metre."""
    changes = metres_from_start(piece.time_signatures)
    begins = to_steps(np.array([tick for tick, *_ in changes]), piece.ticks_per_quarter, grid)
    bars = np.array([bar_steps(metre, grid) for _, *metre in changes])
    before = np.cumsum([0, *(-(-np.diff(begins) // bars[:-1]))])  # bars before each change
    which = np.searchsorted(begins, onset, side="right") - 1
    bar, phase = np.divmod(onset - begins[which], bars[which])
    return phase, np.array(changes)[which, 1:].astype(np.uint8), before[which] + bar


def new_rows(*columns: np.ndarray) -> np.ndarray:
    """Indices of the rows in which any of the columns (N,), none of them negative, differs from the row before."""
    return np.flatnonzero(np.any([np.diff(column, prepend=-1) for column in columns], axis=0))


def without_doubles(piece: Piece) -> Piece:
    """The piece, sorted by onset and pitch, with only the longest of the notes that have both in common."""
    piece = piece.take(np.lexsort((-piece.duration, piece.pitch, piece.onset)))
    return piece.take(new_rows(piece.onset, piece.pitch))


def from_piece(piece: Piece, how: Representation = DEFAULT) -> Events:
    """The events of a piece, with the streams that `how` names.

    Onsets and ends move to the nearest grid step. Of notes with equal onset and pitch the longest stays. Offsets and
    durations above `max_beats` are clipped and counted. With `chords="class"` the notes that have the same onset and
    end are one event, named by their pitches ('C2.G3.E5').
    """
    onset, end = (to_steps(at, piece.ticks_per_quarter, how.grid) for at in (piece.onset, piece.onset + piece.duration))
    notes = without_doubles(replace(piece, onset=onset, duration=np.maximum(end - onset, 1)))
    if how.chords == "class":
        notes = notes.take(np.lexsort((notes.pitch, notes.duration, notes.onset)))
        first = new_rows(notes.onset, notes.duration)
        names = np.array([chord_name(chord) for chord in np.split(notes.pitch.tolist(), first[1:])])
        notes = replace(notes.take(first), pitch=names, velocity=np.maximum.reduceat(notes.velocity, first))
    end = (notes.onset + notes.duration).max(initial=1)
    phase, metres, bar = places(np.append(notes.onset, end - 1), piece, how.grid)  # and of the last step that sounds
    lengths = np.array([np.diff(notes.onset, prepend=0), notes.duration])
    longest = how.max_beats * how.grid
    # Four bytes a number, also below: seven million notes must fit a laptop.
    offset, duration = np.minimum(lengths, longest).astype(np.int32)
    pitch = notes.pitch if how.chords == "class" else notes.pitch.astype(np.int32)
    velocity = (notes.velocity // VELOCITY_STEP * VELOCITY_STEP + VELOCITY_STEP // 2).astype(np.int32)
    streams = {"offset": offset, "note": pitch, "duration": duration, "velocity": velocity}
    clipped = np.count_nonzero(lengths > longest)
    streams = {stream: streams[stream] for stream in how.streams}
    phase, bar, bars = phase[:-1].astype(np.int32), bar[:-1].astype(np.int32), int(bar[-1]) + 1
    return Events(streams, phase, metres[:-1], bar, bars, clipped)


def to_piece(
    streams: dict[str, np.ndarray],
    grid: int = 12,
    ticks_per_quarter: int = 480,
    start: int = 0,
    velocity: int = 80,
    program: int = 0,
) -> Piece:
    """The notes of events (E,) as a Piece. The first event's offset is counted from `start` (steps); `velocity` is that
    of all notes if there is no such stream."""
    chord = [pitches(value) for value in streams["note"].tolist()]
    size = np.array([len(notes) for notes in chord], int)
    onset = start + np.cumsum(streams["offset"].astype(np.int64))
    end = onset + streams["duration"]
    # A tick is a step of a finer grid.
    begins, ends = (np.repeat(to_steps(steps, grid, ticks_per_quarter), size) for steps in (onset, end))
    pitch = np.array([pitch for notes in chord for pitch in notes], int)
    velocities = np.repeat(streams.get("velocity", np.full(len(size), velocity)), size)
    programs = np.full(len(pitch), program)
    return Piece(begins, pitch, ends - begins, velocities, programs, ticks_per_quarter).sorted()


def let_go(piece: Piece) -> Piece:
    """The piece as a keyboard can play it: a key struck twice at once is struck once, for the longer of the two, and a
    note ends where its key is struck again."""
    released = without_doubles(piece)
    released = released.take(np.lexsort((released.onset, released.pitch)))
    same = np.flatnonzero(np.diff(released.pitch) == 0)
    released.duration[same] = np.minimum(released.duration[same], np.diff(released.onset)[same])
    return released.sorted()


def shifted(values: np.ndarray, semitones: int) -> np.ndarray:
    """Values of the note stream (V,) moved by `semitones`."""
    if values.dtype.kind != "U":
        return values + semitones
    return np.array([chord_name(pitch + semitones for pitch in pitches(value)) for value in values.tolist()])


def room(values: np.ndarray, semitones: int) -> tuple[int, int]:
    """How far down and up (at most `semitones`) the note values of a piece can move within 0..127."""
    used = [pitch for value in np.unique(values).tolist() for pitch in pitches(value)] or [60]
    return max(-semitones, -min(used)), min(semitones, 127 - max(used))


def keyboard(values: np.ndarray) -> np.ndarray:
    """(V, 128) bool: the keys of each value of the note stream."""
    table = np.zeros((len(values), 128), bool)
    for row, value in enumerate(values.tolist()):
        table[row, list(pitches(value))] = True
    return table


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

    def __post_init__(self):
        notes = self.values["note"]
        self.streams, self.grid = self.representation.streams, self.representation.grid
        self.end = len(self.values[END_STREAM])  # the class of the offset stream that ends a piece
        # Of each note class, and of the start token behind them: its keys (V + 1, 128), and its highest pitch (V + 1,).
        self.keys = np.pad(keyboard(notes), ((0, 1), (0, 0))).astype(np.float32)
        self.top = np.append(highest_key(self.keys[:-1]), 60)
        self.lowest, self.highest = int(self.top[:-1].min()), int(self.top[:-1].max())
        # What the network reads of an event, and the number of classes of each.
        self.inputs = {stream: self.size(stream) + 1 for stream in self.streams}
        self.inputs |= {"phase": LONGEST_BAR * self.grid, "interval": 2 * REACH + 1}
        self.inputs |= {name: last + 1 for name, last in NOT_TOLD.items()}
        self.start_token = {stream: self.size(stream) for stream in self.streams}  # what it reads before a piece
        self.start_token |= {"phase": 0, "interval": REACH, **NOT_TOLD}
        # What it is told of an event that it recalls: the streams, but the interval instead of the note.
        self.recalled = tuple("interval" if stream == "note" else stream for stream in self.streams)

    def steps(self, stream: str) -> np.ndarray:
        """Grid steps that each class of the offset or duration stream lasts; the end and the start token none."""
        return np.pad(self.values[stream].astype(np.int64), (0, 1 + (stream == END_STREAM)))

    def quarters(self, stream: str) -> np.ndarray:
        """The same in quarter notes, as float32."""
        return (self.steps(stream) / self.grid).astype(np.float32)

    def size(self, stream: str) -> int:
        """Number of classes that the stream's head chooses from."""
        return len(self.values[stream]) + (stream == END_STREAM)

    def intervals(self, note: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Classes of the interval from the notes `before` to the notes `note`, both as classes of the note stream; that
        of the interval 0 where either is the start token."""
        token = self.size("note")
        return np.where((before == token) | (note == token), 0, self.top[note] - self.top[before]) + REACH

    def encode(self, events: Events) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Classes (E,) of each stream, and how many values of each the vocabulary lacked: they become the nearest."""
        classes, moved = {}, {}
        for stream, values in self.values.items():
            wanted, where = np.unique(events.streams[stream], return_inverse=True)
            near = nearest(values, wanted)
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

    def to_json(self) -> dict:
        values = {stream: values.tolist() for stream, values in self.values.items()}
        return {**asdict(self.representation), "values": values}

    @classmethod
    def from_json(cls, data: dict) -> "Vocabulary":
        values = {stream: np.array(values) for stream, values in data["values"].items()}
        return cls(values, Representation.of({**data, "streams": values}))


def nearest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index into the ascending `values` (V,) of the one nearest to each of `wanted` (U,).

    Of two numbers that are equally near it is the lower. The nearest chord is the one with the fewest keys added or
    missing; of several such chords, the one whose highest pitch is nearest.
    """
    if values.dtype.kind != "U":
        return np.abs(wanted[:, None] - values).argmin(axis=1)
    ours, theirs = keyboard(wanted).astype(np.float32), keyboard(values).astype(np.float32)
    differing = ours.sum(axis=1)[:, None] + theirs.sum(axis=1) - 2 * ours @ theirs.T  # (U, V) keys
    return (differing * 128 + np.abs(highest_key(ours)[:, None] - highest_key(theirs))).argmin(axis=1)


def build_vocabulary(pieces: list[Events], how: Representation, transpose: int) -> Vocabulary:
    """The vocabulary of the training pieces and of all that transposing each by up to `transpose` makes of them."""
    seen = {stream: [np.unique(piece.streams[stream]) for piece in pieces] for stream in how.streams}
    for notes in list(seen["note"]):
        low, high = room(notes, transpose)
        seen["note"] += [shifted(notes, semitones) for semitones in range(low, high + 1)]
    return Vocabulary({stream: np.unique(np.concatenate(values)) for stream, values in seen.items()}, how)
