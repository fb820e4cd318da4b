"""MIDI file <-> Piece.

symusic does the reading (thousands of files a second), but not the writing: a part whose notes overlap on one key needs
a second channel, which symusic cannot assign. Shapes: N notes.
"""

import functools
import operator
import os
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils import chunks, files
from utils.errors import UserError
from utils.formats import OWN_ENDINGS, OWN_FORMAT, SCORE_ENDINGS
from utils.piece import COLUMNS, Part, Piece, told_apart

if TYPE_CHECKING:
    import symusic

ENDINGS = (".mid", ".midi", ".kar")
BESIDE = (".wav", ".png", ".musicxml")  # endings of files that go with a MIDI file we have written, under its name
DRUM_CHANNEL = 9  # "channel 10" of the General MIDI standard, counted from 0
SHARED_CHANNEL = 15  # the last of the 16, shared by all parts for which no other channel is left
PEDAL = 64  # controller number of the sustain pedal, down at values of 64 and above (MIDI 1.0, controllers 64 to 69)
LONGEST_NAME = 60  # characters of a part's name
FINEST = 128  # the largest denominator of a metre that is read; MIDI allows up to 2^255
DAMAGED = "it is cut short or damaged"


def readable(name: str) -> str:
    """A name without control characters, cut to LONGEST_NAME; a letter with its accent is one character."""
    composed = unicodedata.normalize("NFC", name)
    return " ".join("".join(c if c.isprintable() else " " for c in composed).split())[:LONGEST_NAME].rstrip()


def channels_of(track: bytes) -> dict[tuple[int, bool], int]:
    """(program, whether drums) -> the channel on which it first plays in a well-formed track."""
    programs, found = [0] * 16, {}
    for _, status, data in chunks.events(track):
        channel = status & 0xF
        if status >> 4 == 0xC:
            programs[channel] = data[0]
        elif status >> 4 == 0x9 and data[1]:
            found.setdefault((programs[channel], channel == DRUM_CHANNEL), channel)
    return found


def pedals_of(controls: dict[str, np.ndarray]) -> np.ndarray:
    """(M, 2) when the sustain pedal is pressed and released, in ticks, from the control changes on one channel. symusic
    0.5 gets this wrong: its first pedal on every channel but the first begins at 0."""
    which = controls["number"] == PEDAL
    changes = np.flatnonzero(np.diff(controls["value"][which] >= 64, prepend=False))
    ticks = controls["time"][which][changes].astype(np.int64)
    return ticks[: len(ticks) // 2 * 2].reshape(-1, 2)


in_order = functools.partial(sorted, key=operator.itemgetter(0))  # by tick


def scores_of(data: bytes, careful: bool) -> tuple[list["symusic.Score"], list[bytes], bool]:
    """What symusic reads from each track of a MIDI file's bytes, the tracks, and whether they are the whole file.
    `careful` is as for `chunks.readable`; if no notes are found without it, it is turned on."""
    import symusic  # takes 0.1 s, and not every script reads MIDI files

    (tracks, whole), ticks = chunks.readable(data, careful), chunks.clock(data).ticks
    try:
        # symusic makes a track of its own of each program on each channel of a track.
        scores = [symusic.Score.from_midi(chunks.file(0, ticks, [track])) for track in tracks]
    except RuntimeError:  # symusic has lost its place in the file
        scores = []
    if any(len(track.notes) for score in scores for track in score.tracks) or (careful and chunks.LAST not in data):
        return scores, tracks, whole
    # A damaged file may have an end-of-track event too early.
    return scores_of(data.replace(chunks.LAST, chunks.EMPTY) if careful else data, careful=True)


def parse(data: bytes, channels: bool = False) -> Piece:
    """The piece in a MIDI file's bytes, or as much of it as can be read. A part is all that plays one program in one
    track; drums are parts of their own. With `channels` each part gets its channel, and the file is read event by
    event, which takes longer. Raises a ValueError that says what is wrong."""
    scores, tracks, whole = scores_of(data, careful=channels)
    parts, rows, numbers, pedals = [], [], [], []
    for score, data_of_track in zip(scores, tracks, strict=False):
        channel_of = channels_of(data_of_track) if channels else {}
        played = [track for track in score.tracks if len(track.notes)]
        players = list(dict.fromkeys((track.program, track.is_drum) for track in played))
        for track in played:
            who = track.program, track.is_drum
            numbers.append(len(parts) + players.index(who))
            rows.append(track.notes.numpy())
            if len(track.pedals) and not track.is_drum:  # a pedal does nothing for drums
                pairs = pedals_of(track.controls.numpy())
                pedals.append(np.column_stack([pairs, np.full(len(pairs), numbers[-1])]))
        # A name that several players share describes none, unless they are one who changes instruments on a channel.
        one = len({channel_of.get(who, who) for who in players}) == 1
        name = readable(played[0].name) if one else ""
        parts += [Part(name, *who, channel_of.get(who, -1)) for who in players]
    if not rows:
        raise ValueError("it has no notes" if whole else f"{DAMAGED} before its first note: copy or download it again")
    names = ("time", "pitch", "duration", "velocity")
    onset, pitch, duration, velocity = (np.concatenate([row[name] for row in rows]).astype(np.int64) for name in names)
    tempos = in_order((t.time, t.mspq) for s in scores for t in s.tempos if t.mspq > 0)
    usable = [m for s in scores for m in s.time_signatures if m.numerator and 0 < m.denominator <= FINEST]
    metres = in_order((m.time, m.numerator, m.denominator) for m in usable)
    keys = in_order((k.time, k.key, int(k.tonality != 0)) for s in scores for k in s.key_signatures if -7 <= k.key <= 7)
    part = np.repeat(numbers, [len(row["time"]) for row in rows])
    columns = onset, pitch, duration, (velocity & 0xFF).clip(1, 127), part
    pedals = np.concatenate([np.zeros((0, 3), np.int64), *pedals])
    if len(numbers) > len(parts):  # a part plays on several channels, all of which have its pedals
        pedals = np.unique(pedals, axis=0)
    clock = chunks.clock(data)
    read = "" if whole else f"{DAMAGED}: the {len(onset)} notes that can be read are used"
    damage = "; ".join(filter(None, (clock.remark, read)))
    piece = Piece(*columns, told_apart(parts), clock.ticks, tempos, metres, keys, pedals, damage)
    piece = piece.in_beats(clock.rate) if clock.rate else piece
    end = int((piece.onset + piece.duration).max())
    if min(onset.min(), duration.min()) < 0 or end > chunks.LONGEST * piece.ticks_per_quarter:
        raise ValueError(chunks.TOO_LONG)
    return piece.sorted()


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises a UserError that names the file if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def read(path: Path, name: str = "") -> Piece:
    """The piece in a MIDI file, with the channels of its parts. Raises a UserError that says what is wrong with the
    file, which it calls `name` (default: its path)."""
    try:
        return parse(read_bytes(path), channels=True)
    except ValueError as error:
        name, reason = name or str(path), str(error)
        if name.lower().endswith(SCORE_ENDINGS):
            command = f"python convertmidis.py --source {shlex.quote(name)} --out converted"
            reason = f"it is a score; convert it first, with '{command}', and name the MIDI file that this writes"
        elif name.lower().endswith(OWN_ENDINGS):
            reason = OWN_FORMAT
        raise UserError(f"{name} cannot be used: {reason}.") from None


def find(folder: Path, endings: Iterable[str] = ENDINGS) -> list[Path]:
    """The files below `folder`, sub-folders included, with one of the endings in upper or lower case, sorted. Hidden
    files and folders are skipped. Raises UserError if there is no such folder."""
    if not Path(folder).is_dir():
        what = "is a file, not a folder" if Path(folder).exists() else "does not exist: make it and put music into it"
        raise UserError(f"The folder {folder} {what}.")
    paths, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link has led back to it
            folders[:] = names[:] = []
        folders[:] = [name for name in folders if name[0] != "."]  # hidden folders, such as a bin, hold no music
        seen.add(real)
        paths += [Path(parent, name) for name in names if name.lower().endswith(tuple(endings)) and name[0] != "."]
    return sorted(path for path in paths if path.is_file())


def channels_for(parts: list[Part]) -> dict[tuple[int, int], int]:
    """(part, lane) -> channel. Each part has one, and further ones, taken when they are asked for, for notes struck
    while the part already holds the same key: on one channel, their ends could not be told apart. When no other channel
    is free, it is SHARED_CHANNEL."""
    wanted = Counter(part.channel for part in parts if not part.drums)
    kept = [channel for channel, count in wanted.items() if count == 1 and 0 <= channel != DRUM_CHANNEL]
    free = (channel for channel in range(SHARED_CHANNEL) if channel != DRUM_CHANNEL and channel not in kept)
    another = functools.partial(next, free, SHARED_CHANNEL)
    channels = defaultdict(another)
    for i, part in enumerate(parts):
        if part.drums:
            channels[i, 0] = DRUM_CHANNEL
        else:
            channels[i, 0] = part.channel if part.channel in kept else another()
    return channels


def lane_of(ends: list[int], onset: int, end: int) -> int:
    """The lane of a note among the notes of the same key that overlap: the lowest one that is free. `ends` holds when
    each lane becomes free, for no more lanes than there are channels, since all further lanes share one."""
    lane = next((i for i, until in enumerate(ends) if until <= onset), len(ends))
    if lane <= SHARED_CHANNEL:
        ends[lane : lane + 1] = [end]
    return lane


def messages(piece: Piece) -> Iterator[tuple[int, int, int, bytes]]:
    """(track, tick, rank, message) for everything in a piece, unsorted; at the same tick, lower ranks come first. Track
    0 holds the tempos, metres and keys; the parts follow, one track each."""
    for tick, tempo in piece.tempos:
        yield 0, tick, 0, chunks.text(chunks.TEMPO, tempo.to_bytes(3, "big"))
    for tick, numerator, denominator in piece.time_signatures:
        power = denominator.bit_length() - 1  # then 24 MIDI clocks to a click, and eight 32nd notes to a quarter note
        yield 0, tick, 0, chunks.text(chunks.METRE, bytes([numerator, power, 24, 8]))
    for tick, sharps, minor in piece.key_signatures:
        yield 0, tick, 0, chunks.text(chunks.KEY, bytes([sharps & 0xFF, minor]))
    channels, used = channels_for(piece.parts), defaultdict(list)  # part -> its channels, which have its program set
    for track, part in enumerate(piece.parts, 1):
        yield track, 0, 0, chunks.text(chunks.NAME, part.called().encode())
    ends = defaultdict(list)  # (part, pitch) -> when each of its lanes becomes free
    columns = (getattr(piece, name).tolist() for name in COLUMNS)
    for onset, pitch, duration, velocity, part in zip(*columns, strict=True):
        track, program, end = part + 1, piece.parts[part].program, onset + max(duration, 1)
        lane = 0 if piece.parts[part].drums else lane_of(ends[part, pitch], onset, end)
        channel = channels[part, lane]
        if channel == SHARED_CHANNEL:  # each note sets its own program
            yield track, onset, 3, bytes([chunks.PROGRAM | channel, program])
        elif channel not in used[part]:
            used[part].append(channel)
            yield track, 0, 1, bytes([chunks.PROGRAM | channel, program])
        yield track, onset, 3, bytes([chunks.NOTE_ON | channel, pitch, velocity])
        yield track, end, 2, bytes([chunks.NOTE_OFF | channel, pitch, 0])
    for down, up, part in piece.pedals.tolist():
        for channel in sorted(used[part]) or [channels[part, 0]]:
            yield part + 1, down, 1, bytes([chunks.CONTROL | channel, PEDAL, 127])
            yield part + 1, up, 1, bytes([chunks.CONTROL | channel, PEDAL, 0])


def as_bytes(piece: Piece, merge: bool = False) -> bytes:
    """A piece as the content of a MIDI file with one track for each part (type 1), or with `merge` one for all (type
    0). Raises ValueError if a MIDI file cannot hold it."""
    tracks = [[] for _ in range(1 if merge else 1 + len(piece.parts))]
    ordered = sorted(messages(piece), key=lambda item: item[1:3])
    if ordered[-1][1] > chunks.LONGEST * piece.ticks_per_quarter:
        raise ValueError(chunks.TOO_LONG)
    for track, tick, _, message in ordered:
        if not (merge and message[1:2] == chunks.NAME and message[0] == chunks.TEXT):
            tracks[0 if merge else track].append((tick, message))
    return chunks.file(int(not merge), piece.ticks_per_quarter, map(chunks.written, tracks))


def save(piece: Piece, path: Path, merge: bool = False) -> None:
    """Write a piece to a MIDI file, whole or not at all; see `as_bytes`. Raises UserError if it cannot be written."""
    files.write(path, as_bytes(piece, merge))


def save_new(piece: Piece, folder: Path, stem: str) -> Path:
    """Write a piece as `folder/stem-001.mid`, or with the first number that no MIDI file and no file that goes with one
    (BESIDE) has yet; returns the path. Raises UserError if the folder cannot be created or written to, or if the piece
    is too long to be read again."""
    if (piece.onset + piece.duration).max(initial=0) > chunks.LONGEST * piece.ticks_per_quarter:
        raise UserError(f"The new music is longer than {chunks.LONGEST:,} quarter notes: ask for less.")

    def names(number: int) -> list[Path]:
        return [Path(folder, f"{stem}-{number:03d}{ending}") for ending in (".mid", *BESIDE)]

    try:
        return files.write_new(names, as_bytes(piece))
    except UserError as error:
        raise UserError(f"{error} Name another folder with --out.") from None
