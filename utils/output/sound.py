"""Piece -> WAV file, by the synthesizer of symusic and a soundfont."""

import importlib.util
import wave
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.midi import Piece, seconds

RATE = 44_100  # samples a second
RING = 2.0  # seconds in which the last notes fade
PEAK = 0.89  # of the loudest sample: 1 dB below the most that 16 bits hold
LONGEST = 3600  # seconds of sound: an hour takes a gigabyte of memory


def default_soundfont() -> Path:
    """The General MIDI soundfont (TimGM6mb) that comes with pretty_midi, which is not imported for it. Raises UserError
    if that is not installed."""
    found = importlib.util.find_spec("pretty_midi")
    if found is None or found.origin is None:
        raise UserError("There is no soundfont: pip install pretty_midi, or name a .sf2 file with --soundfont.")
    return Path(found.origin).with_name("TimGM6mb.sf2")


def check_soundfont(path: Path) -> None:
    """Raises UserError for what is no soundfont (layout: SoundFont 2.04, a RIFF file of the form 'sfbk'), which the
    synthesizer would take for silence."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise UserError(f"The soundfont {path} cannot be read: {error.strerror}.") from None
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise UserError(f"{path} is no soundfont: name a .sf2 or .sf3 file with --soundfont.")


def samples(piece: Piece, soundfont: str = "") -> np.ndarray:
    """(S, 2) int16 samples of a piece, left and right, RATE a second; its last notes ring for RING seconds more.

    The loudest sample is always PEAK: how loud a soundfont plays an instrument says nothing about the music, and pieces
    that are heard one after another should not need the volume turned. Raises UserError for a soundfont that cannot be
    used ('': the default), and for a piece longer than LONGEST.
    """
    import symusic  # 0.1 s, for those who want to hear

    length = seconds(piece)
    if length > LONGEST:
        raise UserError(f"It lasts {length / 60:.0f} minutes: sound is written of {LONGEST // 60} at the most.")
    font = Path(soundfont) if soundfont else default_soundfont()
    check_soundfont(font)
    score = symusic.Score(piece.ticks_per_quarter)
    score.tempos.extend(symusic.Tempo(tick, mspq=tempo) for tick, tempo in sorted(piece.tempos))
    for program in np.unique(piece.program).tolist():
        played = piece.take(piece.program == program)
        times, keys = (played.onset, played.duration), (played.pitch, played.velocity)
        notes = symusic.Note.from_numpy(*(a.astype(np.int32) for a in times), *(a.astype(np.int8) for a in keys))
        score.tracks.append(symusic.Track(program=program, notes=notes))
    score = score.to("second")
    # The synthesizer ends every note at once. Those that end the piece go on, and fade.
    for track in score.tracks:
        for note in track.notes:
            if note.end > length - 0.001:
                note.duration += RING
    sound = symusic.Synthesizer(font, RATE).render(score, stereo=True)[:, : round((length + RING) * RATE)]
    tail = sound[:, round(length * RATE) :]
    tail *= np.linspace(1, 0, tail.shape[1], dtype=np.float32) ** 3
    loudest = max(float(sound.max(initial=0)), -float(sound.min(initial=0)))
    return (sound.T * (PEAK * 32767 / (loudest or 1))).astype("<i2")


def write(piece: Piece, path: Path, soundfont: str = "") -> None:
    """Write a piece as a stereo WAV file of 16 bits. Raises as `samples`, and OSError."""
    sound = samples(piece, soundfont)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())
