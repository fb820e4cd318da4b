"""Piece <-> event streams.

An event is a note, or with `chords="class"` all notes that start and end together. Its streams are `offset` (grid steps
since the event before it; 0 for notes struck together), `part` (who plays, see `parts`), `note` (a pitch, or a drum),
`duration` (steps, at least 1) and, if wanted, `velocity`. Without `part`, all notes are one part, and drums are left
out. Besides its streams, an event has a `phase`: steps since the bar began. Shapes: N notes, E events, V values.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from utils import parts
from utils.form import KINDS, form_of
from utils.piece import VELOCITY, Part, Piece
from utils.theory import Metre, bar_length, metres_from_start, note_name, note_pitch, to_steps

KNOWN_STREAMS = ("offset", "part", "note", "duration", "velocity")
END_STREAM = "offset"  # the stream with a class for the end of a piece, which takes the place of a next onset
# Further inputs for an event, each known as soon as the stream it depends on has been chosen. The interval is counted
# from the last note of the same part, the spacing from the last note of any part; LAST is what the part that plays did
# before. See `derived` for those that apply.
DERIVED = {"phase": "offset", "interval": "note", "spacing": "note", "remaining": "offset", "progress": "offset"}
DERIVED |= {"form": "offset"}
LAST = {"last_interval": "interval", "last_duration": "duration", "last_velocity": "velocity"}
DERIVED |= dict.fromkeys(LAST, "part")
FIRST_DRUM = 128  # in the note stream, a drum is this plus its key; pitches are below
LONGEST_BAR = 8  # quarter notes; in a longer bar, the phase starts again after this many
# How much is still to come (see `outlook`): the bars after the event's bar, in steps that widen, and the share of the
# piece's bars before it; and whether its bar comes again (see `form`). Each has one more class, for 'not told'.
REMAINING = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32])
SHARES = 8
NOT_TOLD = {"remaining": len(REMAINING), "progress": SHARES, "form": KINDS}
VELOCITY_STEP = 8  # velocities are kept in bins of this width: 16 classes


@dataclass(frozen=True)
class Representation:
    """How music is written as events. Integers mean the same only where all of these settings are the same."""

    streams: tuple[str, ...] = ("offset", "part", "note", "duration")  # in the order in which they are chosen
    grid: int = 12  # steps to a quarter note
    chords: str = "split"  # or "class": the notes that start and end together are one event
    max_beats: int = 16  # quarter notes; longer offsets and durations are clipped
    pedal: bool = True  # notes last as long as the pedal makes them sound
    metre: str = ""  # the metre in which all pieces are counted, such as '4/4'; '': each in its own

    def __post_init__(self):
        if self.chords == "class":  # a chord may have notes of several parts
            object.__setattr__(self, "streams", tuple(stream for stream in self.streams if stream != "part"))

    @classmethod
    def of(cls, settings: dict) -> "Representation":
        """From the settings of train.py, or those in a weights file."""
        names = ("grid", "chords", "max_beats")
        # Weights files older than parts lack the pedal setting, and newer ones may still lack the metre.
        later = settings.get("pedal", False), settings.get("metre", "")
        return cls(tuple(settings["streams"]), *(settings[name] for name in names), *later)

    @property
    def has_parts(self) -> bool:
        return "part" in self.streams

    @property
    def drum_length(self) -> int:
        """The duration of every drum in steps: how long its key is held means nothing."""
        return max(self.grid // 4, 1)


DEFAULT = Representation()


@dataclass
class Events:
    """The events of a piece. `streams[name]` and `phase` have shape (E,)."""

    streams: dict[str, np.ndarray]
    phase: np.ndarray  # steps since the bar began
    metres: np.ndarray  # (E, 2) numerator and denominator
    tempo: np.ndarray  # (E,) microseconds per quarter note
    bar: np.ndarray  # number of the bar, from 0
    bars: int  # number of bars in the whole piece, to the end of its last note
    clipped: int = 0  # number of offsets and durations that were longer than allowed
    parts: dict[int, Part] = field(default_factory=dict)  # value of the part stream -> part
    left_out: int = 0  # number of drum notes left out, where all notes are one part

    def __len__(self) -> int:
        return len(self.phase)

    def __getitem__(self, part: slice) -> "Events":
        """A passage; its first event keeps its offset."""
        streams = {stream: values[part] for stream, values in self.streams.items()}
        inside = {name: getattr(self, name)[part] for name in ("phase", "metres", "tempo", "bar")}
        return replace(self, streams=streams, **inside, clipped=0)

    def form(self) -> np.ndarray:
        """(bars,) which bars come again, see `form`."""
        _, note = np.unique(self.streams["note"], return_inverse=True)
        who = self.streams.get("part", np.zeros(len(self), int)) + parts.MOST * self.phase.astype(np.int64)
        return form_of(self.bar, who * (len(self) + 1) + note, self.bars)

    def metre(self, event: int = -1) -> tuple[int, int]:
        """(numerator, denominator) of the bar that an event is in."""
        return tuple(self.metres[event].tolist())


def derived(streams: Iterable[str]) -> dict[str, str]:
    """The entries of DERIVED that apply to these streams. Without parts, the spacing would equal the interval, and no
    part would have done anything before."""
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
    """The length of a bar in grid steps, at most LONGEST_BAR quarter notes."""
    return min(bar_length(metre, grid), LONGEST_BAR * grid)


def outlook(bar: np.ndarray, bars: np.ndarray) -> dict[str, np.ndarray]:
    """Classes (E,) of 'remaining' and 'progress' in the bars numbered `bar` (E,), from 0, of pieces of `bars` bars."""
    remaining = REMAINING.searchsorted(np.maximum(bars - 1 - bar, 0), "right") - 1
    return {"remaining": remaining, "progress": np.minimum(np.maximum(SHARES * bar // bars, 0), SHARES - 1)}


def places(onset: np.ndarray, piece: Piece, grid: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps since the bar began (E,), the metre (E, 2) and the number of the bar (E,), from 0, at the onsets (E,) in
    steps, according to the piece's time signatures."""
    changes = metres_from_start(piece.time_signatures)
    begins = to_steps(np.array([tick for tick, *_ in changes]), piece.ticks_per_quarter, grid)
    bars = np.array([bar_steps(metre, grid) for _, *metre in changes])
    before = np.cumsum([0, *(-(-np.diff(begins) // bars[:-1]))])  # bars before each change
    which = np.searchsorted(begins, onset, side="right") - 1
    bar, phase = np.divmod(onset - begins[which], bars[which])
    return phase, np.array(changes)[which, 1:].astype(np.uint8), before[which] + bar


def tempos_at(onset: np.ndarray, piece: Piece, grid: int) -> np.ndarray:
    """(E,) the tempo of the piece at the onsets (E,) in steps, in microseconds per quarter note."""
    tick, tempo = np.array(piece.tempos_from_start(), np.int64).T
    begins = to_steps(tick, piece.ticks_per_quarter, grid)
    return tempo[np.searchsorted(begins, onset, side="right") - 1]


def usual_positions(phase: Sequence[int] | np.ndarray, grid: int) -> np.ndarray:
    """(grid,) for each position within a quarter note, whether at least half as many of the events with these phases
    (E,) begin there as if they were spread evenly."""
    counts = np.bincount(np.asarray(phase, int) % grid, minlength=grid)
    return (counts > 0) & (counts * 2 * grid >= len(phase))


def new_rows(*columns: np.ndarray) -> np.ndarray:
    """Indices of the rows in which any of the columns (N,), which must not be negative, differs from the row before."""
    return np.flatnonzero(np.any([np.diff(column, prepend=-1) for column in columns], axis=0))


def without_doubles(piece: Piece) -> Piece:
    """The piece sorted by onset, part and pitch; of notes that agree in all three, only the longest is kept."""
    who = piece.part * 2 * FIRST_DRUM + piece.pitch
    order = np.lexsort((-piece.duration, who, piece.onset))
    return piece.take(order[new_rows(piece.onset[order], who[order])])


def by_value(piece: Piece, how: Representation, values: np.ndarray) -> Piece:
    """The piece with the values of the streams `part` and `note` in place of its parts and pitches, given the `values`
    of its parts, and with notes as long as they sound. Without parts, all notes have the part 0 and drums are left out.
    Raises ValueError if no note is left."""
    piece = piece.sounding() if how.pedal else piece
    if how.has_parts:
        return replace(piece, part=values[piece.part], pitch=piece.pitch + FIRST_DRUM * piece.is_drum)
    if piece.is_drum.all():
        raise ValueError("it has only drums, which --no-parts leaves out")
    piece = piece.take(~piece.is_drum)
    return replace(piece, part=np.zeros_like(piece.part))


def from_piece(piece: Piece, how: Representation = DEFAULT, values: np.ndarray | None = None) -> Events:
    """The events of a piece, with the streams that `how` names, sorted by onset, part and pitch.

    Onsets and ends move to the nearest grid step. Of notes of a part with equal onset and pitch, only the longest is
    kept. Offsets and durations above `max_beats` are clipped and counted. With `chords="class"`, notes with the same
    onset and end are one event, named by their pitches ('C2.G3.E5'). `values` (parts,) are those of the part stream
    (None: `parts.values_of`). Raises ValueError if there are no parts and the piece has only drums.
    """
    values = parts.values_of(piece) if values is None else values
    valued = by_value(piece, how, values)
    onset = to_steps(valued.onset, piece.ticks_per_quarter, how.grid)
    end = to_steps(valued.onset + valued.duration, piece.ticks_per_quarter, how.grid)
    duration = np.where(valued.pitch < FIRST_DRUM, np.maximum(end - onset, 1), how.drum_length)
    notes = without_doubles(replace(valued, onset=onset, duration=duration))
    if how.chords == "class":
        notes = notes.take(np.lexsort((notes.pitch, notes.duration, notes.onset)))
        first = new_rows(notes.onset, notes.duration)
        names = np.array([chord_name(chord) for chord in np.split(notes.pitch.tolist(), first[1:])])
        notes = replace(notes.take(first), pitch=names, velocity=np.maximum.reduceat(notes.velocity, first))
    end = (notes.onset + notes.duration).max(initial=1)
    at = np.append(notes.onset, end - 1)  # and the last step
    phase, metres, bar = places(at, piece.in_metre(how.metre), how.grid)
    lengths = np.array([np.diff(notes.onset, prepend=0), notes.duration])
    longest = how.max_beats * how.grid
    # Four bytes per number, here and below: seven million notes must fit into a laptop's memory.
    offset, duration = np.minimum(lengths, longest).astype(np.int32)
    pitch = notes.pitch if how.chords == "class" else notes.pitch.astype(np.int32)
    velocity = (notes.velocity // VELOCITY_STEP * VELOCITY_STEP + VELOCITY_STEP // 2).astype(np.int32)
    part = notes.part.astype(np.int32)
    streams = {"offset": offset, "part": part, "note": pitch, "duration": duration, "velocity": velocity}
    clipped = np.count_nonzero(lengths > longest)
    streams = {stream: streams[stream] for stream in how.streams}
    phase, bar, bars = phase[:-1].astype(np.int32), bar[:-1].astype(np.int32), int(bar[-1]) + 1
    tempo = tempos_at(notes.onset, piece, how.grid).astype(np.int32)
    players = dict(zip(values.tolist(), piece.parts, strict=True)) if how.has_parts else {}
    return Events(streams, phase, metres[:-1], tempo, bar, bars, clipped, players, len(piece) - len(valued))


def to_piece(
    streams: dict[str, np.ndarray],
    grid: int = 12,
    ticks_per_quarter: int = 480,
    start: int = 0,
    velocity: int = VELOCITY,
    players: dict[int, Part] | None = None,
) -> Piece:
    """The notes of events (E,) as a Piece. The first event's offset is counted from `start` (steps); all notes have
    this `velocity` if there is no such stream. `players` maps the values of the part stream to the parts of the piece,
    in their order (None: an unnamed part with the instrument of the value); without that stream, the first part plays
    all."""
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
    """The piece as its parts can play it: of notes that a part strikes on one key at once only the longest is kept, and
    a note ends where its part strikes the same key again."""
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
    """How far down and up (at most `semitones`) the note values of a piece can be moved within 0..127."""
    used = [pitch for value in np.unique(values).tolist() for pitch in pitches(value) if pitch < FIRST_DRUM] or [60]
    return max(-semitones, -min(used)), min(semitones, 127 - max(used))
