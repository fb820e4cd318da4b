"""Piece <-> event streams <-> integers.

An event is a note, or in `chords="class"` the notes that start and end together. Its streams are `offset` (grid steps
since the event before it; 0 for notes struck together), `note`, `duration` (steps, at least 1) and, if asked for,
`velocity`. Beside them stands the `phase`: steps since the bar began. Shapes: N notes, E events, V values.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np

from utils.midi import Piece
from utils.theory import Metre, bar_length, metres_from_start, note_name, note_pitch

KNOWN_STREAMS = ("offset", "note", "duration", "velocity")
END_STREAM = "offset"  # the stream in which the end of a piece is a class: it comes instead of a next onset
# What the network is also told of an event, each known as soon as the stream it follows from is chosen.
DERIVED = {"phase": "offset", "interval": "note"}
REACH = 127  # the largest interval between two pitches; class of the interval 0
LONGEST_BAR = 8  # quarter notes; the phase starts again after so many in a longer bar
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
        fields = {name: settings[name] for name in ("grid", "chords", "max_beats")}
        return cls(tuple(settings["streams"]), **fields)


DEFAULT = Representation()


@dataclass
class Events:
    """The events of a piece. `streams[name]` and `phase` have shape (E,)."""

    streams: dict[str, np.ndarray]
    phase: np.ndarray  # steps since the bar began
    metres: np.ndarray  # (E, 2) numerator and denominator
    clipped: int = 0  # offsets and durations that were longer than allowed

    def __len__(self) -> int:
        return len(self.phase)

    def __getitem__(self, part: slice) -> "Events":
        """A passage; its first event keeps its offset."""
        streams = {stream: values[part] for stream, values in self.streams.items()}
        return Events(streams, self.phase[part], self.metres[part])

    def metre(self, event: int = -1) -> tuple[int, int]:
        """(numerator, denominator) of the bar that an event is in."""
        return tuple(self.metres[event].tolist())


def pitches(value: int | str) -> tuple[int, ...]:
    """The MIDI pitches of a value of the note stream: 60 -> (60,), 'C4.E4' -> (60, 64)."""
    return tuple(map(note_pitch, value.split("."))) if isinstance(value, str) else (int(value),)


def chord_name(chord: Iterable[int]) -> str:
    """(60, 64) -> 'C4.E4'."""
    return ".".join(map(note_name, sorted(chord)))


def to_steps(ticks: np.ndarray, ticks_per_quarter: int, grid: int) -> np.ndarray:
    """Ticks to the nearest of `grid` steps a quarter note, in whole numbers, so that nothing drifts."""
    return (2 * ticks * grid + ticks_per_quarter) // (2 * ticks_per_quarter)


def to_ticks(steps: np.ndarray, ticks_per_quarter: int, grid: int) -> np.ndarray:
    """Grid steps to the nearest tick."""
    return (2 * steps * ticks_per_quarter + grid) // (2 * grid)


def bar_steps(metre: Metre, grid: int) -> int:
    """The length of a bar in grid steps, as far as the phase counts."""
    return min(bar_length(metre, grid), LONGEST_BAR * grid)


def phases(onset: np.ndarray, piece: Piece, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps since the bar began (E,), and the metre (E, 2), at the onsets (E,) in steps, by the piece's own metre."""
    changes = metres_from_start(piece.time_signatures)
    begins = to_steps(np.array([tick for tick, *_ in changes]), piece.ticks_per_quarter, grid)
    bars = np.array([bar_steps(metre, grid) for _, *metre in changes])
    which = np.searchsorted(begins, onset, side="right") - 1
    return (onset - begins[which]) % bars[which], np.array(changes)[which, 1:].astype(np.uint8)


def from_piece(piece: Piece, how: Representation = DEFAULT) -> Events:
    """The events of a piece; they have the streams that `how` names.

    Onsets and ends move to the nearest grid step. Of notes with equal onset and pitch the longest stays. Offsets and
    durations above `max_beats` are clipped and counted. With `chords="class"` the notes that have the same onset and
    end are one event, named by their pitches ('C2.G3.E5').
    """
    grid = how.grid
    onset = to_steps(piece.onset, piece.ticks_per_quarter, grid)
    duration = np.maximum(to_steps(piece.onset + piece.duration, piece.ticks_per_quarter, grid) - onset, 1)
    order = np.lexsort((-duration, piece.pitch, onset))
    onset, duration, pitch, velocity = (a[order] for a in (onset, duration, piece.pitch, piece.velocity))
    first = np.ones(len(onset), bool)
    first[1:] = (np.diff(onset) != 0) | (np.diff(pitch) != 0)
    onset, duration, pitch, velocity = (a[first] for a in (onset, duration, pitch, velocity))
    if how.chords == "class":
        order = np.lexsort((pitch, duration, onset))
        onset, duration, pitch, velocity = (a[order] for a in (onset, duration, pitch, velocity))
        starts = np.flatnonzero(np.r_[True, (np.diff(onset) != 0) | (np.diff(duration) != 0)][: len(onset)])
        pitch = np.array([chord_name(chord) for chord in np.split(pitch.tolist(), starts[1:])])
        onset, duration, velocity = onset[starts], duration[starts], np.maximum.reduceat(velocity, starts)
    offset = np.diff(onset, prepend=0)
    longest = how.max_beats * grid
    clipped = int((offset > longest).sum() + (duration > longest).sum())
    phase, metres = phases(onset, piece, grid)
    streams = {
        "offset": np.minimum(offset, longest),
        "note": pitch,
        "duration": np.minimum(duration, longest),
        "velocity": velocity // VELOCITY_STEP * VELOCITY_STEP + VELOCITY_STEP // 2,
    }
    return Events({stream: streams[stream] for stream in how.streams}, phase, metres, clipped)


def to_piece(
    streams: dict[str, np.ndarray],
    grid: int = 12,
    ticks_per_quarter: int = 480,
    start: int = 0,
    velocity: int = 80,
    program: int = 0,
) -> Piece:
    """The notes of events (E,) as a Piece; `start` (steps) is where the first event's offset is counted from.

    A stream of velocities, where there is one, stands before `velocity`.
    """
    chord = [pitches(value) for value in streams["note"].tolist()]
    size = np.array([len(notes) for notes in chord], int)
    onset = start + np.cumsum(streams["offset"].astype(np.int64))
    end = onset + streams["duration"]
    begins, ends = (np.repeat(to_ticks(a, ticks_per_quarter, grid), size) for a in (onset, end))
    velocities = streams.get("velocity", np.full(len(size), velocity))
    return Piece(
        onset=begins,
        pitch=np.array([pitch for notes in chord for pitch in notes], int),
        duration=ends - begins,
        velocity=np.repeat(velocities, size),
        program=np.full(len(begins), program),
        ticks_per_quarter=ticks_per_quarter,
    ).sorted()


def let_go(piece: Piece) -> Piece:
    """The piece as a keyboard can play it: a key struck twice at once is struck once, for the longer of the two, and a
    note ends where its key is struck again."""
    released = piece.take(np.lexsort((-piece.duration, piece.onset, piece.pitch)))
    new = np.r_[True, (np.diff(released.pitch) != 0) | (np.diff(released.onset) != 0)][: len(piece)]
    released = released.take(np.flatnonzero(new))
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


@dataclass
class Vocabulary:
    """The values that each stream may take, in ascending order; a value's index is its class.

    Class `size(stream) - 1` of the offset stream is the end of the piece; `size(stream)` is the start token, which is
    an input in every stream and an output in none.
    """

    values: dict[str, np.ndarray]  # stream -> (V,)
    representation: Representation
    top: np.ndarray = field(init=False)  # (V + 1,) highest pitch of each note class; 60 for the start token
    keys: np.ndarray = field(init=False)  # (V + 1, 128) 1 for the keys of each note class; none for the start token

    def __post_init__(self):
        self.top = np.array([max(pitches(value)) for value in self.values["note"].tolist()] + [60])
        self.keys = np.concatenate([keyboard(self.values["note"]), np.zeros((1, 128), bool)]).astype(np.float32)

    @property
    def streams(self) -> tuple[str, ...]:
        return self.representation.streams

    @property
    def grid(self) -> int:
        return self.representation.grid

    @property
    def lowest(self) -> int:
        """The lowest pitch that the network tells apart, and `highest` the highest."""
        return int(self.top[:-1].min())

    @property
    def highest(self) -> int:
        return int(self.top[:-1].max())

    def steps(self, stream: str) -> np.ndarray:
        """Grid steps that each class of the offset or duration stream lasts; the end and the start token none."""
        steps = np.zeros(self.size(stream) + 1, np.int64)
        steps[: len(self.values[stream])] = self.values[stream]
        return steps

    def quarters(self, stream: str) -> np.ndarray:
        """The same in quarter notes, as float32."""
        return (self.steps(stream) / self.grid).astype(np.float32)

    def size(self, stream: str) -> int:
        """Number of classes that the stream's head chooses from."""
        return len(self.values[stream]) + (stream == END_STREAM)

    @property
    def end(self) -> int:
        """The class of the offset stream that ends a piece."""
        return len(self.values[END_STREAM])

    @property
    def inputs(self) -> dict[str, int]:
        """Everything that the network reads of an event, and how many classes each has."""
        sizes = {stream: self.size(stream) + 1 for stream in self.streams}
        return {**sizes, "phase": LONGEST_BAR * self.grid, "interval": 2 * REACH + 1}

    @property
    def recalled(self) -> tuple[str, ...]:
        """What the network is told of an event that it recalls: its streams, but the interval instead of the note."""
        return tuple("interval" if stream == "note" else stream for stream in self.streams)

    def intervals(self, note: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Classes of the interval from the notes `before` to the notes `note`, all classes of the note stream."""
        interval = np.where(before == self.size("note"), 0, self.top[note] - self.top[before])
        return interval + REACH

    def encode(self, events: Events) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Classes (E,) of each stream, and how many values of each the vocabulary lacked: the nearest stands there."""
        classes, moved = {}, {}
        for stream, values in self.values.items():
            wanted, where = np.unique(events.streams[stream], return_inverse=True)
            near = nearest_chord(values, wanted) if values.dtype.kind == "U" else nearest_number(values, wanted)
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
        table = np.empty((2 * semitones + 1, len(notes) + 1), np.int64)
        table[:, -1] = len(notes)
        for row, shift in enumerate(range(-semitones, semitones + 1)):
            low, high = (np.array([f(pitches(v)) for v in notes.tolist()]) + shift for f in (min, max))
            fits = (low >= 0) & (high <= 127)
            table[row, :-1] = np.arange(len(notes))
            moved = shifted(notes[fits], shift)
            where = np.minimum(np.searchsorted(notes, moved), len(notes) - 1)
            table[row, :-1][fits] = where
        return table

    def to_json(self) -> dict:
        values = {stream: values.tolist() for stream, values in self.values.items()}
        return {**asdict(self.representation), "values": values}

    @classmethod
    def from_json(cls, data: dict) -> "Vocabulary":
        values = {stream: np.array(values) for stream, values in data["values"].items()}
        return cls(values, Representation.of({**data, "streams": values}))


def nearest_number(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index into the ascending `values` (V,) of the one nearest to each of `wanted` (U,); the lower of two."""
    right = np.searchsorted(values, wanted).clip(0, len(values) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(wanted - values[left]) <= np.abs(values[right] - wanted), left, right)


def nearest_chord(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index into `values` (V,) of the chord with the fewest keys added or missing, for each of `wanted` (U,); of equals
    the one whose highest pitch is nearest."""
    index = {value: i for i, value in enumerate(values.tolist())}
    near = np.array([index.get(value, -1) for value in wanted.tolist()], int)
    unknown = np.flatnonzero(near < 0)
    if len(unknown):
        known_keys, known_top = keyboard(values), np.array([max(pitches(value)) for value in values.tolist()])
        for i in unknown:
            keys = keyboard(wanted[i : i + 1])
            top = keys[0].nonzero()[0].max()
            near[i] = np.lexsort((np.abs(known_top - top), (known_keys != keys).sum(axis=1)))[0]
    return near


def build_vocabulary(pieces: list[Events], how: Representation, transpose: int) -> Vocabulary:
    """The vocabulary of the training pieces and of all that transposing each by up to `transpose` makes of them."""
    values = {
        stream: np.unique(np.concatenate([np.unique(piece.streams[stream]) for piece in pieces]))
        for stream in how.streams
    }
    moved = []
    for piece in pieces:
        notes = np.unique(piece.streams["note"])
        low, high = room(notes, transpose)
        moved += [shifted(notes, semitones) for semitones in range(low, high + 1)]
    values["note"] = np.unique(np.concatenate(moved))
    return Vocabulary(values, how)
