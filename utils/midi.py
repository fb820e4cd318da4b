"""MIDI file <-> Piece: arrays of onset, pitch, duration, velocity and program, in ticks.

symusic reads (thousands of files a second); mido writes, because a single track that keeps several instruments needs a
channel for each, which symusic cannot place. Shapes: N notes.
"""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from utils.errors import UserError

ENDINGS = (".mid", ".midi", ".kar")
# Scores that convertmidis.py hands to music21, which also reads analyses, scales and .md: those are not music.
SCORE_ENDINGS = tuple(".xml .mxl .musicxml .abc .krn .mei .capx .nwc .nwctxt .musedata .vp .tntxt".split())
BESIDE = (".wav", ".png", ".musicxml")  # what may stand beside a MIDI file of ours, under its name
COLUMNS = ("onset", "pitch", "duration", "velocity", "program")
SHARED_CHANNEL = 15
DRUM_CHANNEL = 9  # "channel 10" of the General MIDI standard, counted from 0
MAJOR = "Cb Gb Db Ab Eb Bb F C G D A E B F# C#".split()  # by sharps, from -7 to 7
MINOR = "Abm Ebm Bbm Fm Cm Gm Dm Am Em Bm F#m C#m G#m D#m A#m".split()


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

        def later(changes: list[tuple]) -> list[tuple]:
            return [(tick * times, *rest) for tick, *rest in changes]

        return replace(
            self,
            onset=self.onset * times,
            duration=self.duration * times,
            ticks_per_quarter=self.ticks_per_quarter * times,
            tempos=later(self.tempos),
            time_signatures=later(self.time_signatures),
            key_signatures=later(self.key_signatures),
        )

    def bar_line(self, tick: int) -> int:
        """The last bar line at or before `tick`."""
        changes = [(0, 4, 4), *sorted(self.time_signatures)]
        begin, numerator, denominator = [change for change in changes if change[0] <= tick][-1]
        bar = max(4 * self.ticks_per_quarter * numerator // denominator, 1)
        return begin + (tick - begin) // bar * bar

    def bars(self) -> list[tuple[int, int, int]]:
        """(tick, numerator, denominator) of the bars from 0 to the end of the last note; a change of metre begins one.

        A bar lasts a 10,000th of the piece at the least: a file may name metres that nobody could count.
        """
        end = int((self.onset + self.duration).max(initial=1))
        metres = {tick: metre for tick, *metre in [(0, 4, 4), *sorted(self.time_signatures)] if tick < end}
        found = []
        for (tick, (numerator, denominator)), until in zip(metres.items(), [*metres, end][1:], strict=True):
            bar = max(4 * self.ticks_per_quarter * numerator // denominator, end // 10_000, 1)
            found += [(begin, numerator, denominator) for begin in range(tick, until, bar)]
        return found

    def span(self, start: int, end: int | None = None) -> "Piece":
        """The notes with start <= onset (< end), ticks, moved so that the last bar line at or before `start` is 0; the
        tempo, metre and key in force there hold."""
        origin = self.bar_line(start)

        def inside(changes: list[tuple]) -> list[tuple]:
            kept = [(max(tick - origin, 0), *rest) for tick, *rest in changes if end is None or tick < end]
            # Of the changes before the start only the last holds.
            return [change for i, change in enumerate(kept) if i + 1 == len(kept) or kept[i + 1][0] > 0]

        chosen = self.onset >= start
        if end is not None:
            chosen &= self.onset < end
        return replace(
            self.take(chosen),
            onset=self.onset[chosen] - origin,
            tempos=inside(self.tempos),
            time_signatures=inside(self.time_signatures),
            key_signatures=inside(self.key_signatures),
        )


def whole_chunks(data: bytes) -> bytes:
    """`data` up to the end of its last chunk. Raises ValueError for anything but a complete MIDI file.

    symusic 0.5 may crash the interpreter on a file that is cut short, so the lengths of the chunks are walked first
    (layout: Standard MIDI Files 1.0, 'MThd' and 'MTrk', each followed by a four-byte length).
    """
    if data[:4] != b"MThd" or len(data) < 14:
        raise ValueError("it is not a MIDI file")
    end = 8 + int.from_bytes(data[4:8], "big")
    tracks = 0
    while end + 8 <= len(data) and tracks < int.from_bytes(data[10:12], "big"):
        end += 8 + int.from_bytes(data[end + 4 : end + 8], "big")
        tracks += 1
    if end > len(data) or tracks == 0:
        raise ValueError("it is cut short: copy or download it again")
    if data[12] & 0x80:
        raise ValueError("its time is in SMPTE frames instead of beats: export it again with ticks per quarter note")
    if data[12:14] == b"\0\0":
        raise ValueError("its header gives 0 ticks per quarter note")
    if may_be_damaged(data[:end]) and not events_are_whole(data[:end]):
        raise ValueError("its contents are damaged")
    return data[:end]


def may_be_damaged(data: bytes) -> bool:
    """Whether a MIDI file's bytes could hold an event with which symusic 0.5 crashes: a key above 127, or a text or
    system message longer than its track. Only a status byte before a byte above 127 can begin one; the same bytes may
    be part of a tempo, which is looked for here, or of a long text or rest: `events_are_whole` tells."""
    found = np.frombuffer(data, np.uint8)
    suspect = (found[:-1] >= 0x80) & (found[:-1] < 0xF8) & (found[1:] >= 0x80)
    suspect[:-1] |= (found[:-2] == 0xFF) & (found[1:-1] < 0x80) & (found[2:] >= 0x80)
    return any(
        b"\xff\x51\x03" not in (data[at - 3 : at], data[at - 4 : at - 1], data[at - 5 : at - 2])
        for at in np.flatnonzero(suspect).tolist()
    )


def events_are_whole(data: bytes) -> bool:
    """Walk all events of a complete MIDI file (layout: Standard MIDI Files 1.0); False if one cannot be."""

    def number(at: int) -> tuple[int, int]:
        """A variable-length number and where it ends."""
        value = 0
        while data[at] > 127:
            value, at = (value | data[at] & 127) << 7, at + 1
        return value | data[at], at + 1

    at = 8 + int.from_bytes(data[4:8], "big")
    try:
        while at < len(data):
            end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
            at, status = at + 8, 0
            while at < end:
                _, at = number(at)
                if data[at] > 127:
                    status, at = data[at], at + 1
                if status == 0xFF or status in (0xF0, 0xF7):  # text and the like have a type; both have a length
                    length, at = number(at + (status == 0xFF))
                    at += length
                else:
                    size = 1 if 0xC0 <= status < 0xE0 else 2
                    if not 0x80 <= status < 0xF0 or max(data[at : at + size]) > 127:
                        return False
                    at += size
            if at != end:
                return False
    except (IndexError, ValueError):  # beyond the end of the file
        return False
    return True


def parse(data: bytes) -> Piece:
    """The notes of a MIDI file's bytes, all tracks, drums left out. Raises ValueError if there is none."""
    import symusic  # 0.1 s; a script may not need it

    try:
        score = symusic.Score.from_midi(whole_chunks(data))
    except RuntimeError:
        raise ValueError("its contents are damaged") from None
    tracks = [(track.notes.numpy(), track.program) for track in score.tracks if len(track.notes) and not track.is_drum]
    if not tracks:
        drums = any(track.is_drum and len(track.notes) for track in score.tracks)
        raise ValueError("it has only drums" if drums else "it has no notes")

    def joined(name: str) -> np.ndarray:
        return np.concatenate([notes[name] for notes, _ in tracks]).astype(np.int64)

    return Piece(
        onset=joined("time"),
        pitch=joined("pitch"),
        duration=joined("duration"),
        velocity=joined("velocity").clip(1, 127),
        program=np.concatenate([np.full(len(notes["time"]), program) for notes, program in tracks]),
        ticks_per_quarter=score.ticks_per_quarter,
        tempos=[(t.time, t.mspq) for t in score.tempos if t.mspq > 0],
        time_signatures=[
            (t.time, t.numerator, t.denominator) for t in score.time_signatures if t.numerator and t.denominator
        ],
        key_signatures=[(k.time, k.key, int(k.tonality)) for k in score.key_signatures if -7 <= k.key <= 7],
    ).sorted()


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises UserError that names it."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def read(path: Path) -> Piece:
    """The piece in a MIDI file. Raises UserError that names the file and says what is wrong."""
    try:
        return parse(read_bytes(path))
    except ValueError as error:
        raise UserError(f"{path} cannot be used: {error}.") from None


def find(folder: Path, endings: Iterable[str] = ENDINGS) -> list[Path]:
    """Files below `folder`, sub-folders included, whose name ends so (in any case), sorted. Raises UserError."""
    if not Path(folder).is_dir():
        what = "is a file, not a folder" if Path(folder).exists() else "does not exist: make it and put music into it"
        raise UserError(f"The folder {folder} {what}.")
    paths, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(parent) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(os.path.realpath(parent))
        paths += [Path(parent, name) for name in names if name.lower().endswith(tuple(endings)) and name[0] != "."]
    return sorted(path for path in paths if path.is_file())


def messages(piece: Piece) -> Iterator[tuple[int, int, object]]:
    """(tick, rank, mido message) of everything in a piece, not yet in order; the lower rank comes first at a tick.

    A program has a channel of its own, and a second one for a note struck while the same key of the same program is
    down: on one channel its end could not be told from the end of the note before it.
    """
    from mido import Message, MetaMessage

    for tick, microseconds in piece.tempos:
        yield tick, 0, MetaMessage("set_tempo", tempo=microseconds)
    for tick, numerator, denominator in piece.time_signatures:
        yield tick, 0, MetaMessage("time_signature", numerator=numerator, denominator=denominator)
    for tick, sharps, minor in piece.key_signatures:
        yield tick, 0, MetaMessage("key_signature", key=(MINOR if minor else MAJOR)[sharps + 7])
    free = [channel for channel in range(SHARED_CHANNEL - 1, -1, -1) if channel != DRUM_CHANNEL]
    channels: dict[tuple[int, int], int] = {}  # (program, lane) -> channel
    ends: dict[tuple[int, int], list[int]] = {}  # (program, pitch) -> tick at which each lane is free again
    columns = (piece.onset, piece.pitch, piece.duration, piece.velocity, piece.program)
    for onset, pitch, duration, velocity, program in zip(*(column.tolist() for column in columns), strict=True):
        end = onset + max(duration, 1)
        lanes = ends.setdefault((program, pitch), [])
        lane = next((i for i, until in enumerate(lanes) if until <= onset), len(lanes))
        lanes[lane : lane + 1] = [end]
        if (program, lane) not in channels:
            channels[program, lane] = free.pop() if free else SHARED_CHANNEL
            if channels[program, lane] != SHARED_CHANNEL:
                yield 0, 1, Message("program_change", program=program, channel=channels[program, lane])
        channel = channels[program, lane]
        if channel == SHARED_CHANNEL:  # with the fifteenth instrument and later ones: it changes with every note
            yield onset, 3, Message("program_change", program=program, channel=channel)
        yield onset, 3, Message("note_on", note=pitch, velocity=velocity, channel=channel)
        yield end, 2, Message("note_off", note=pitch, velocity=0, channel=channel)


def write(piece: Piece, file: object) -> None:
    """Write a piece to a binary file object as a MIDI file of type 0: one track, a channel for each instrument."""
    from mido import MidiFile, MidiTrack

    track = MidiTrack()
    before = 0
    for tick, _, message in sorted(messages(piece), key=lambda item: item[:2]):
        message.time = tick - before
        before = tick
        track.append(message)
    MidiFile(type=0, ticks_per_beat=piece.ticks_per_quarter, tracks=[track]).save(file=file)


def microseconds(tempo: float) -> int:
    """Quarter notes a minute -> microseconds a quarter, as MIDI files have it. Raises UserError outside 4..1000."""
    if not 4 <= tempo <= 1000:
        raise UserError(f"--tempo is {tempo}; it must be from 4 to 1000 quarter notes a minute.")
    return round(60e6 / tempo)


def seconds(piece: Piece) -> float:
    """How long a piece plays."""
    end = int((piece.onset + piece.duration).max(initial=0))
    changes = [(0, 500_000), *(change for change in sorted(piece.tempos) if change[0] < end), (end, 0)]
    spans = zip(changes, changes[1:], strict=False)
    return sum((after - before) * tempo for (before, tempo), (after, _) in spans) / 1e6 / piece.ticks_per_quarter


def clock(piece: Piece) -> str:
    """The playing time of a piece, '1:23'."""
    whole = round(seconds(piece))
    return f"{whole // 60}:{whole % 60:02d}"


def save_new(piece: Piece, folder: Path, stem: str) -> Path:
    """Write a piece as `folder/stem-001.mid`, or the first number that is not taken, also not by what may stand beside
    it; returns the path.

    Raises UserError if the folder cannot be made or written.
    """
    data = io.BytesIO()
    write(piece, data)
    number, path = 1, None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        while True:
            name = f"{stem}-{number:03d}"
            number += 1
            if any(Path(folder, name + ending).exists() for ending in BESIDE):
                continue
            try:
                with open(Path(folder, name + ".mid"), "xb") as file:
                    path = Path(file.name)
                    file.write(data.getvalue())
                return path
            except FileExistsError:
                continue
    except OSError as error:
        if path:
            path.unlink(missing_ok=True)
        raise UserError(f"The folder {folder} cannot be written ({error.strerror}): name another with --out.") from None
