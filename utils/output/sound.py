"""Piece -> WAV file, with the synthesizer of symusic and a soundfont."""

import importlib.util
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils import files
from utils.errors import UserError
from utils.piece import Piece

RATE = 44_100  # samples a second
RING = 2.0  # seconds in which the last notes fade out: about as long as a piano's
PEAK = 0.89  # of the loudest sample: 1 dB below the maximum of 16 bits
LONGEST = 3600  # seconds of sound: an hour takes two and a half gigabytes of memory
CHUNK = 2**16  # samples that are converted to integers at once


def soundfont_file(name: str) -> Path:
    """The path of a soundfont; '' is the General MIDI soundfont (TimGM6mb) that comes with pretty_midi, which is not
    imported. Raises UserError if there is none, or if the file is not a soundfont (layout: SoundFont 2.04, a RIFF file
    of the form 'sfbk'), from which the synthesizer would make silence."""
    package = None if name else importlib.util.find_spec("pretty_midi")
    if not name and (package is None or package.origin is None):
        raise UserError("There is no soundfont: pip install pretty_midi, or name a .sf2 file with --soundfont.")
    path = Path(name) if name else Path(package.origin).with_name("TimGM6mb.sf2")
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise UserError(f"The soundfont {path} cannot be read: {error.strerror}.") from None
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise UserError(f"{path} is not a soundfont: name a .sf2 or .sf3 file with --soundfont.")
    return path


def kits(font: Path) -> set[int]:
    """The drum kits of a soundfont: the presets of bank 128 in its preset headers (SoundFont 2.04, 7.2), at the end of
    the file."""
    with font.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin = data.rfind(b"phdr") + 8
        headers = data[begin : begin + int.from_bytes(data[begin - 4 : begin], "little")]
    header = np.dtype([("name", "S20"), ("preset", "<u2"), ("bank", "<u2"), ("rest", "V14")])
    found = np.frombuffer(headers, header, len(headers) // header.itemsize)
    return set(found["preset"][found["bank"] == 128].tolist())


def rendered(piece: Piece, soundfont: str = "") -> np.ndarray:
    """(2, S) float32 samples of a piece, left and right, RATE a second. A note rings while its pedal is down; the last
    ones of the piece ring for RING seconds more. Raises UserError as `soundfont_file`, and for a piece longer than
    LONGEST."""
    import symusic  # takes 0.1 s, and not everybody wants sound

    piece = piece.sounding()
    length = piece.seconds()
    if length > LONGEST:
        raise UserError(f"The piece lasts {length / 60:.0f} minutes; for sound, make it at most {LONGEST // 60}.")
    font = soundfont_file(soundfont)
    score = symusic.Score(piece.ticks_per_quarter)
    score.tempos.extend(symusic.Tempo(tick, mspq=tempo) for tick, tempo in piece.tempos)
    known = kits(font)
    for number, part in enumerate(piece.parts):
        played = piece.take(piece.part == number)
        times = (a.astype(np.int32) for a in (played.onset, played.duration))
        notes = symusic.Note.from_numpy(*times, played.pitch.astype(np.int8), played.velocity.astype(np.int8))
        program = 0 if part.drums and part.program not in known else part.program  # an unknown kit would be silent
        score.tracks.append(symusic.Track(program=program, is_drum=part.drums, notes=notes))
    score = score.to("second")
    # The synthesizer cuts every note off at its end. Those that end the piece go on, and are faded out below.
    for track in score.tracks:
        for note in track.notes:
            if note.end > length - 0.001:
                note.duration += RING
    sound = symusic.Synthesizer(font, RATE).render(score, stereo=True)[:, : round((length + RING) * RATE)]
    tail = sound[:, round(length * RATE) :]
    tail *= np.linspace(1, 0, tail.shape[1], dtype=np.float32) ** 3
    return sound


def wav(sound: np.ndarray) -> Iterator[bytes]:
    """The content of a stereo WAV file of 16 bits (layout: RIFF/WAVE, Microsoft and IBM 1991) with the samples (2, S),
    in chunks, since memory might not hold a copy of a long piece.

    The loudest sample is always PEAK: how loud a soundfont plays an instrument says nothing about the music, and nobody
    should have to adjust the volume between two pieces.
    """
    frame = 4  # bytes of two samples
    size = frame * sound.shape[1]
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, RATE, RATE * frame, frame, 16)
    yield struct.pack("<4sI4s24s4sI", b"RIFF", 36 + size, b"WAVE", form, b"data", size)
    loudest = max(float(sound.max(initial=0)), -float(sound.min(initial=0)))
    for begin in range(0, sound.shape[1], CHUNK):
        louder = sound[:, begin : begin + CHUNK] * (PEAK * 32767 / (loudest or 1))
        yield louder.T.astype("<i2", order="C").tobytes()


def write(piece: Piece, path: Path, soundfont: str = "") -> None:
    """Write a piece as a WAV file. Raises UserError as `rendered` and `files.write`."""
    files.write(path, wav(rendered(piece, soundfont)))
