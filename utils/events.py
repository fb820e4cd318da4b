"""Piece <-> event streams.

An event is a note, or in `chords="class"` the notes that start and end together. Its streams are `offset` (grid steps
since the event before it; 0 for notes struck together), `part` (who plays, see `parts`), `note` (a pitch, or a drum),
`duration` (steps, at least 1) and, if asked for, `velocity`. Without `part` all is one part, and drums are left out.
Beside the streams stands the `phase`: steps since the bar began. Shapes: N notes, E events, V values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from utils import parts, theory
from utils.form import KINDS, form_of
from utils.piece import Part, Piece
from utils.theory import Metre, bar_length, metres_from_start, note_name, note_pitch, to_steps

KNOWN_STREAMS = ("offset", "part", "note", "duration", "velocity")
END_STREAM = "offset"  # the stream in which the end of a piece is a class: it comes instead of a next onset
# What the network is also told of an event, each known as soon as the stream it follows from is chosen. The interval
# counts from the last note of the same part, the spacing from the last note of all; LAST is what the part that plays
# did before. See `derived` for what of it there is.
DERIVED = {"phase": "offset", "interval": "note", "spacing": "note", "remaining": "offset", "progress": "offset"}
DERIVED |= {"form": "offset"}
LAST = {"last_interval": "interval", "last_duration": "duration", "last_velocity": "velocity"}
DERIVED |= dict.fromkeys(LAST, "part")
FIRST_DRUM = 128  # a drum's value of the note stream is this and its key; pitches are below
LONGEST_BAR = 8  # quarter notes; the phase starts again after so many in a longer bar
# How much is still to come, if that is told (see `outlook`): the bars after that of an event, in steps that widen, and
# the share of the piece's bars before it; and whether its bar comes again (see `form`). All have one class more, for
# what is not told.
REMAINING = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32])
SHARES = 8
NOT_TOLD = {"remaining": len(REMAINING), "progress": SHARES, "form": KINDS}
VELOCITY_STEP = 8  # velocities are kept in bins of this width: 16 classes


@dataclass(frozen=True)
class Representation:
    """How music is written as events: integers mean the same only where all of this is the same."""

    streams: tuple[str, ...] = ("offset", "part", "note", "duration")  # in the order in which they are chosen
    grid: int = 12  # steps to a quarter note
    chords: str = "split"  # or "class": the notes that start and end together are one event
    max_beats: int = 16  # quarter notes; longer offsets and durations are clipped
    pedal: bool = True  # notes last as long as the pedal makes them sound
    metre: str = ""  # in which the bars of all pieces are counted, '4/4'; '': each in its own

    def __post_init__(self):
        if self.chords == "class":  # a chord may have notes of several parts
            object.__setattr__(self, "streams", tuple(stream for stream in self.streams if stream != "part"))

    @classmethod
    def of(cls, settings: dict) -> "Representation":
        """From the settings of train.py, or what a weights file says."""
        names = ("grid", "chords", "max_beats")
        # Weights files of before parts say nothing of pedals, and those of then nothing of metres.
        later = settings.get("pedal", False), settings.get("metre", "")
        return cls(tuple(settings["streams"]), *(settings[name] for name in names), *later)

    @property
    def has_parts(self) -> bool:
        return "part" in self.streams

    def counted(self, piece: Piece) -> Piece:
        """A piece with its bars as they are counted."""
        return piece.in_metre(theory.metre(self.metre)) if self.metre else piece

    @property
    def drum_length(self) -> int:
        """Steps that each drum lasts: how long its key is down means nothing."""
        return max(self.grid // 4, 1)


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
    parts: dict[int, Part] = field(default_factory=dict)  # value of the part stream -> who that is
    left_out: int = 0  # notes of drums, where all is one part

    def __len__(self) -> int:
        return len(self.phase)

    def __getitem__(self, part: slice) -> "Events":
        """A passage; its first event keeps its offset."""
        streams = {stream: values[part] for stream, values in self.streams.items()}
        return replace(
            self, streams=streams, phase=self.phase[part], metres=self.metres[part], bar=self.bar[part], clipped=0
        )

    def form(self) -> np.ndarray:
        """(bars,) which bars come again, see `form`."""
        _, note = np.unique(self.streams["note"], return_inverse=True)
        who = self.streams.get("part", np.zeros(len(self), int)) + parts.MOST * self.phase.astype(np.int64)
        return form_of(self.bar, who * (len(self) + 1) + note, self.bars)

    def metre(self, event: int = -1) -> tuple[int, int]:
        """(numerator, denominator) of the bar that an event is in."""
        return tuple(self.metres[event].tolist())


def derived(streams: Iterable[str]) -> dict[str, str]:
    """What of DERIVED there is with these streams: without parts the spacing would be the interval, and nobody did
    anything last."""
    known = {*streams, *DERIVED}
    absent = {name for name, source in LAST.items() if source not in known}
    absent |= {"spacing", *LAST} if "part" not in known else set()
    return {name: source for name, source in DERIVED.items() if name not in absent}


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
    remaining = REMAINING.searchsorted(np.maximum(bars - 1 - bar, 0), "right") - 1
    return {"remaining": remaining, "progress": np.minimum(np.maximum(SHARES * bar // bars, 0), SHARES - 1)}


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
    """The piece, sorted by onset, part and pitch, with only the longest of the notes that have all three in common."""
    who = piece.part * 2 * FIRST_DRUM + piece.pitch
    order = np.lexsort((-piece.duration, who, piece.onset))
    return piece.take(order[new_rows(piece.onset[order], who[order])])


def by_value(piece: Piece, how: Representation, values: np.ndarray) -> Piece:
    """The piece with the values of the streams `part` and `note` as its parts and pitches, given the `values` of its
    parts, and with notes as long as they sound. Without parts 0 is the value of all, and there are no drums. Raises
    ValueError if no note is left."""
    piece = piece.sounding() if how.pedal else piece
    if how.has_parts:
        return replace(piece, part=values[piece.part], pitch=piece.pitch + FIRST_DRUM * piece.is_drum)
    if piece.is_drum.all():
        raise ValueError("it has only drums, which --no-parts leaves out")
    piece = piece.take(~piece.is_drum)
    return replace(piece, part=np.zeros_like(piece.part))


def from_piece(piece: Piece, how: Representation = DEFAULT) -> Events:
    """The events of a piece, with the streams that `how` names, by onset, part and pitch.

    Onsets and ends move to the nearest grid step. Of notes of a part with equal onset and pitch the longest stays.
    Offsets and durations above `max_beats` are clipped and counted. With `chords="class"` the notes that have the same
    onset and end are one event, named by their pitches ('C2.G3.E5'). Raises ValueError for a piece of only drums if
    there are no parts.
    """
    values = parts.values_of(piece)
    valued = by_value(piece, how, values)
    onset, end = (
        to_steps(at, piece.ticks_per_quarter, how.grid) for at in (valued.onset, valued.onset + valued.duration)
    )
    duration = np.where(valued.pitch < FIRST_DRUM, np.maximum(end - onset, 1), how.drum_length)
    notes = without_doubles(replace(valued, onset=onset, duration=duration))
    if how.chords == "class":
        notes = notes.take(np.lexsort((notes.pitch, notes.duration, notes.onset)))
        first = new_rows(notes.onset, notes.duration)
        names = np.array([chord_name(chord) for chord in np.split(notes.pitch.tolist(), first[1:])])
        notes = replace(notes.take(first), pitch=names, velocity=np.maximum.reduceat(notes.velocity, first))
    end = (notes.onset + notes.duration).max(initial=1)
    phase, metres, bar = places(np.append(notes.onset, end - 1), how.counted(piece), how.grid)  # and of the last step
    lengths = np.array([np.diff(notes.onset, prepend=0), notes.duration])
    longest = how.max_beats * how.grid
    # Four bytes a number, also below: seven million notes must fit a laptop.
    offset, duration = np.minimum(lengths, longest).astype(np.int32)
    pitch = notes.pitch if how.chords == "class" else notes.pitch.astype(np.int32)
    velocity = (notes.velocity // VELOCITY_STEP * VELOCITY_STEP + VELOCITY_STEP // 2).astype(np.int32)
    part = notes.part.astype(np.int32)
    streams = {"offset": offset, "part": part, "note": pitch, "duration": duration, "velocity": velocity}
    clipped = np.count_nonzero(lengths > longest)
    streams = {stream: streams[stream] for stream in how.streams}
    phase, bar, bars = phase[:-1].astype(np.int32), bar[:-1].astype(np.int32), int(bar[-1]) + 1
    players = dict(zip(values.tolist(), piece.parts, strict=True)) if how.has_parts else {}
    return Events(streams, phase, metres[:-1], bar, bars, clipped, players, len(piece) - len(valued))


def to_piece(
    streams: dict[str, np.ndarray],
    grid: int = 12,
    ticks_per_quarter: int = 480,
    start: int = 0,
    velocity: int = 80,
    players: dict[int, Part] | None = None,
) -> Piece:
    """The notes of events (E,) as a Piece. The first event's offset is counted from `start` (steps); `velocity` is that
    of all notes if there is no such stream. `players` says who each value of the part stream is (None: one that plays
    its instrument), and in which order they stand; without the stream the first of them plays all."""
    chord = [pitches(value) for value in streams["note"].tolist()]
    size = np.array([len(notes) for notes in chord], int)
    onset = start + np.cumsum(streams["offset"].astype(np.int64))
    end = onset + streams["duration"]
    # A tick is a step of a finer grid.
    begins, ends = (np.repeat(to_steps(steps, grid, ticks_per_quarter), size) for steps in (onset, end))
    pitch = np.array([pitch for notes in chord for pitch in notes], int) % FIRST_DRUM
    velocities = np.repeat(streams.get("velocity", np.full(len(size), velocity)), size)
    who = np.repeat(streams.get("part", np.zeros(len(size), int)), size)
    if players is None:
        players = {value: parts.as_part(value) for value in np.unique(who)[::-1].tolist()} if "part" in streams else {}
    players = players or {0: Part()}
    place = np.zeros(max(players) + 1, int)
    place[list(players)] = np.arange(len(players))
    columns = begins, pitch, ends - begins, velocities, place[who]
    return Piece(*columns, list(players.values()), ticks_per_quarter).sorted()


def let_go(piece: Piece) -> Piece:
    """The piece as its parts can play it: a key struck twice at once is struck once, for the longer of the two, and a
    note ends where its part strikes its key again."""
    released = without_doubles(piece)
    released = released.take(np.lexsort((released.onset, released.pitch, released.part)))
    same = np.flatnonzero((np.diff(released.pitch) == 0) & (np.diff(released.part) == 0))
    released.duration[same] = np.minimum(released.duration[same], np.diff(released.onset)[same])
    return released.sorted()


def shifted(values: np.ndarray, semitones: int) -> np.ndarray:
    """Values of the note stream (V,) moved by `semitones`; drums stay."""
    if values.dtype.kind != "U":
        return values + semitones * (values < FIRST_DRUM)
    return np.array([chord_name(pitch + semitones for pitch in pitches(value)) for value in values.tolist()])


def room(values: np.ndarray, semitones: int) -> tuple[int, int]:
    """How far down and up (at most `semitones`) the note values of a piece can move within 0..127."""
    used = [pitch for value in np.unique(values).tolist() for pitch in pitches(value) if pitch < FIRST_DRUM] or [60]
    return max(-semitones, -min(used)), min(semitones, 127 - max(used))
