"""MIDI file <-> Piece: arrays of onset, pitch, duration, velocity and program, in ticks.

symusic reads (thousands of files a second); mido writes, because a single track that keeps several instruments needs a
channel for each, which symusic cannot place. Shapes: N notes.
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from utils import files, theory
from utils.errors import UserError

ENDINGS = (".mid", ".midi", ".kar")
BESIDE = (".wav", ".png", ".musicxml")  # what may stand beside a MIDI file of ours, under its name
COLUMNS = ("onset", "pitch", "duration", "velocity", "program")
CHANGES = ("tempos", "time_signatures", "key_signatures")
DRUM_CHANNEL = 9  # "channel 10" of the General MIDI standard, counted from 0
SHARED_CHANNEL = 15  # the last of the 16, for all instruments that find no channel of their own
TEMPO = re.compile(rb"\xff\x51\x03...", re.DOTALL)
TEXT = re.compile(rb"\xff[\0-\x7f][\x80-\xff]")  # the head of one that has at least 128 bytes
# Events of a track: its notes and the like, each a time (T), a status byte unless it goes on, and one or two data bytes
# (D); then, if there is one, the head of a text or system message: time, status, a text's type, and its length.
PATTERN = rb"(?:T(?:[\x80-\xbf\xe0-\xef]?DD|[\xc0-\xdf]D(?:TD)*))*(?:T(?:\xffD|[\xf0\xf7])(T))?"
EVENTS = re.compile(PATTERN.replace(b"T", rb"[\x80-\xff]*D").replace(b"D", rb"[\0-\x7f]"))


@dataclass
class Piece:
    """The notes of a piece, sorted by onset and then pitch, and what a notation program needs beside them."""

    onset: np.ndarray  # (N,) ticks since the beginning
    pitch: np.ndarray  # (N,) 0..127
    duration: np.ndarray  # (N,) ticks
    velocity: np.ndarray  # (N,) 1..127
    program: np.ndarray  # (N,) General MIDI instrument, 0..127
    ticks_per_quarter: int = 480
    tempos: list[tuple[int, int]] = field(default_factory=list)  # (tick, microseconds a quarter)
    time_signatures: list[tuple[int, int, int]] = field(default_factory=list)  # (tick, numerator, denominator)
    key_signatures: list[tuple[int, int, int]] = field(default_factory=list)  # (tick, sharps -7..7, 1 if minor)

    def __len__(self) -> int:
        return len(self.onset)

    def take(self, which: np.ndarray) -> "Piece":
        """The piece with the notes that `which` (indices or a mask) selects, in that order."""
        return replace(self, **{name: getattr(self, name)[which] for name in COLUMNS})

    def sorted(self) -> "Piece":
        """The piece with its notes by onset, then pitch, then duration."""
        return self.take(np.lexsort((self.duration, self.pitch, self.onset)))

    def joined(self, other: "Piece") -> "Piece":
        """The piece with the notes of `other`, which counts the same ticks, among its own."""
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in COLUMNS}
        return replace(self, **both).sorted()

    def finer(self, times: int) -> "Piece":
        """The same music with `times` as many ticks to a quarter."""
        scaled = {name: getattr(self, name) * times for name in ("onset", "duration", "ticks_per_quarter")}
        changes = {name: [(tick * times, *rest) for tick, *rest in getattr(self, name)] for name in CHANGES}
        return replace(self, **scaled, **changes)

    def bars(self, end: int | None = None) -> list[tuple[int, int, int]]:
        """(tick, numerator, denominator) of the bars that begin before `end`, by default the end of the last note. None
        is shorter than a 10,000th of that, since a file may name a metre in which it has millions of bars."""
        end = int((self.onset + self.duration).max(initial=1)) if end is None else end
        return list(theory.bar_lines(self.time_signatures, end, self.ticks_per_quarter, max(end // 10_000, 1)))

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
        return replace(chosen, onset=chosen.onset - origin, **changes)


def whole_chunks(data: bytes) -> bytes:
    """`data` up to the end of its last chunk. Raises ValueError for anything but a complete MIDI file.

    symusic 0.5 may crash the interpreter on a file that is cut short or damaged, so its chunks are walked first
    (layout: Standard MIDI Files 1.0, 'MThd' and 'MTrk', each followed by a four-byte length).
    """
    if data[:4] != b"MThd" or len(data) < 14:
        raise ValueError("it is not a MIDI file")
    end, tracks = 8 + int.from_bytes(data[4:8], "big"), []
    while end + 8 <= len(data) and len(tracks) < int.from_bytes(data[10:12], "big"):
        begin, end = end + 8, end + 8 + int.from_bytes(data[end + 4 : end + 8], "big")
        tracks.append(data[begin:end])
    if end > len(data) or not tracks:
        raise ValueError("it is cut short: copy or download it again")
    if data[12] & 0x80:
        raise ValueError("its time is in SMPTE frames instead of beats: export it again with ticks per quarter note")
    if data[12:14] == b"\0\0":
        raise ValueError("its header gives 0 ticks per quarter note")
    if are_damaged(tracks):
        raise ValueError("its contents are damaged")
    return data[:end]


def are_damaged(tracks: list[bytes]) -> bool:
    """Whether tracks may hold an event with which symusic 0.5 crashes: a key above 127, or a text or system message
    longer than its track. Each begins with a status byte before a byte above 127. So do a long rest and a long text,
    and only where something does are the events walked, which takes longer than all other reading."""
    data = TEMPO.sub(b"", b"".join(tracks))
    values = np.frombuffer(data, np.uint8)
    high = values >= 0x80
    if not (values[:-1][high[:-1] & high[1:]] < 0xF8).any() and not TEXT.search(data):
        return False
    for track in tracks:
        end = 0
        while (events := EVENTS.match(track, end))[0]:
            end = events.end() + functools.reduce(lambda size, byte: size << 7 | byte & 0x7F, events[1] or b"", 0)
        if end != len(track):
            return True
    return False


def parse(data: bytes) -> Piece:
    """The notes of all tracks in a MIDI file's bytes, without drums. Raises ValueError that says what is wrong."""
    import symusic  # takes 0.1 s, and not every script reads MIDI files

    try:
        score = symusic.Score.from_midi(whole_chunks(data))
    except RuntimeError:
        raise ValueError("its contents are damaged") from None
    tracks = [(track.notes.numpy(), track.program) for track in score.tracks if len(track.notes) and not track.is_drum]
    if not tracks:
        raise ValueError("it has only drums" if any(len(track.notes) for track in score.tracks) else "it has no notes")
    onset, pitch, duration, velocity = (
        np.concatenate([notes[name] for notes, _ in tracks]).astype(np.int64)
        for name in ("time", "pitch", "duration", "velocity")
    )
    program = np.repeat([program for _, program in tracks], [len(notes["time"]) for notes, _ in tracks])
    tempos = [(t.time, t.mspq) for t in score.tempos if t.mspq > 0]
    metres = [(t.time, t.numerator, t.denominator) for t in score.time_signatures if t.numerator and t.denominator]
    keys = [(k.time, k.key, int(k.tonality)) for k in score.key_signatures if -7 <= k.key <= 7]
    velocity = velocity.clip(1, 127)
    return Piece(onset, pitch, duration, velocity, program, score.ticks_per_quarter, tempos, metres, keys).sorted()


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises UserError that names it."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def read(path: Path, name: str = "") -> Piece:
    """The piece in a MIDI file. Raises UserError that says what is wrong with the file, by its path or as `name`."""
    try:
        return parse(read_bytes(path))
    except ValueError as error:
        raise UserError(f"{name or path} cannot be used: {error}.") from None


def find(folder: Path, endings: Iterable[str] = ENDINGS) -> list[Path]:
    """The files below `folder` (sub-folders too) with one of the endings, in any case, sorted. Raises UserError."""
    if not Path(folder).is_dir():
        what = "is a file, not a folder" if Path(folder).exists() else "does not exist: make it and put music into it"
        raise UserError(f"The folder {folder} {what}.")
    paths, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link led back to it
            folders[:] = names[:] = []
        seen.add(real)
        paths += [Path(parent, name) for name in names if name.lower().endswith(tuple(endings)) and name[0] != "."]
    return sorted(path for path in paths if path.is_file())


def messages(piece: Piece) -> Iterator[tuple[int, int, object]]:
    """(tick, rank, mido message) for everything in a piece, not sorted; at one tick the lower rank comes first.

    A program has a channel of its own, and a second one for a note struck while the same key of the same program is
    down: on one channel its end could not be told from the end of the note before it.
    """
    from mido import Message, MetaMessage

    yield from ((tick, 0, MetaMessage("set_tempo", tempo=tempo)) for tick, tempo in piece.tempos)
    for tick, numerator, denominator in piece.time_signatures:
        yield tick, 0, MetaMessage("time_signature", numerator=numerator, denominator=denominator)
    for tick, sharps, minor in piece.key_signatures:
        yield tick, 0, MetaMessage("key_signature", key=(theory.MAJOR_KEYS, theory.MINOR_KEYS)[minor][sharps + 7])
    free = [channel for channel in range(SHARED_CHANNEL - 1, -1, -1) if channel != DRUM_CHANNEL]
    channels: dict[tuple[int, int], int] = {}  # (program, lane) -> channel
    ends: dict[tuple[int, int], list[int]] = {}  # (program, pitch) -> tick at which each lane is free again
    rows = zip(*(getattr(piece, name).tolist() for name in COLUMNS), strict=True)
    for onset, pitch, duration, velocity, program in rows:
        end = onset + max(duration, 1)
        lanes = ends.setdefault((program, pitch), [])
        lane = next((i for i, until in enumerate(lanes) if until <= onset), len(lanes))
        lanes[lane : lane + 1] = [end]
        channel = channels.get((program, lane), SHARED_CHANNEL)
        if channel == SHARED_CHANNEL:  # where no channel is free, the instrument changes with every note
            place, channel = ((0, 1), free.pop()) if free else ((onset, 3), SHARED_CHANNEL)
            channels[program, lane] = channel
            yield *place, Message("program_change", program=program, channel=channel)
        yield onset, 3, Message("note_on", note=pitch, velocity=velocity, channel=channel)
        yield end, 2, Message("note_off", note=pitch, velocity=0, channel=channel)


def write(piece: Piece, file: BinaryIO) -> None:
    """Write a piece as a MIDI file of one track (type 0). Raises ValueError if a MIDI file cannot hold it."""
    from mido import MidiFile, MidiTrack

    track, before = MidiTrack(), 0
    for tick, _, message in sorted(messages(piece), key=lambda item: item[:2]):
        message.time, before = tick - before, tick
        track.append(message)
    MidiFile(type=0, ticks_per_beat=piece.ticks_per_quarter, tracks=[track]).save(file=file)


def save(piece: Piece, path: Path) -> None:
    """Write a piece to a file, whole or not at all. Raises UserError, or ValueError as `write` does."""
    with files.replacing(path) as scratch, open(scratch, "wb") as file:
        write(piece, file)


def save_new(piece: Piece, folder: Path, stem: str) -> Path:
    """Write a piece as `folder/stem-001.mid`, or under the first number that neither a MIDI file nor what may stand
    beside one has; returns the path. Raises UserError if the folder cannot be made or written."""

    def names(number: int) -> list[Path]:
        return [Path(folder, f"{stem}-{number:03d}{ending}") for ending in (".mid", *BESIDE)]

    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        while True:
            path = names(files.first_free(names))[0]
            with contextlib.suppress(FileExistsError):  # another process has just taken it: the next number, then
                path.touch(exist_ok=False)
                break
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be written ({error.strerror}): name another with --out.") from None
    try:
        save(piece, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def microseconds(tempo: float) -> int:
    """Quarter notes a minute -> microseconds a quarter, as MIDI files have it. Raises UserError outside 4..1000."""
    if not 4 <= tempo <= 1000:
        raise UserError(f"--tempo is {tempo}; it must be from 4 to 1000 quarter notes a minute.")
    return round(60e6 / tempo)


def tempos_from_start(piece: Piece) -> list[tuple[int, int]]:
    """(tick, microseconds a quarter) of the tempos of a piece in order. Where none stands at its beginning it is 120
    quarter notes a minute there, as MIDI has it."""
    return [(0, 500_000), *sorted(piece.tempos)]


def seconds(piece: Piece) -> float:
    """How long a piece plays, in seconds."""
    end = int((piece.onset + piece.duration).max(initial=0))
    tick, tempo = np.array(tempos_from_start(piece)).T
    return float(np.diff(tick.clip(max=end), append=end) @ tempo) / 1e6 / piece.ticks_per_quarter


def clock(piece: Piece) -> str:
    """The playing time of a piece, '1:23'."""
    minutes, rest = divmod(round(seconds(piece)), 60)
    return f"{minutes}:{rest:02d}"
