"""Music theory, known before anything is learnt: note names, the key of some notes, metres and bars."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from utils.errors import UserError

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# How often each degree is heard in major and in minor, from the tonic up by semitones (B. Aarden, Dynamic melodic
# expectancy, 2003, counted in the Essen folk song collection; music21's analysis uses the same numbers).
KEY_PROFILES = (
    (17.7661, 0.145624, 14.9265, 0.160186, 19.8049, 11.3587, 0.291248, 22.062, 0.145624, 8.15494, 0.232998, 4.95122),
    (18.2648, 0.737619, 14.0499, 16.8599, 0.702494, 14.4362, 0.702494, 18.6161, 4.56621, 1.93186, 7.37619, 1.75623),
)
# (24, 12) the same for the pitch classes from C up: the twelve major keys from C up, then the minor ones.
KEYS = np.array([np.roll(profile, tonic) for profile in KEY_PROFILES for tonic in range(12)])
TRIADS = {(0, 3), (0, 4), (0, 3, 6), (0, 3, 7), (0, 4, 7)}  # semitones above the root; the fifth may be missing
GRID = 12  # steps to a quarter note in notation: enough for sixteenths and for triplets of them
MOST_BEATS = 1020  # of a bar: the quarter notes of 255/1, the longest metre that a MIDI file can name
TEMPO = 500_000  # microseconds per quarter note where a file names no tempo, as MIDI specifies: 120 a minute
SLOWEST, FASTEST = 4, 1000  # tempos that new music may have, in quarter notes a minute
TEMPOS = range(round(60e6 / FASTEST), round(60e6 / SLOWEST) + 1)  # the same in microseconds per quarter note
Metre = tuple[int, int]  # numerator and denominator
Change = tuple[int, int, int]  # of metre: tick, numerator and denominator


def note_name(pitch: int) -> str:
    """60 -> 'C4'."""
    return f"{NOTES[pitch % 12]}{pitch // 12 - 1}"


def note_pitch(name: str) -> int:
    """'C4' -> 60."""
    letter = name.rstrip("-0123456789")
    return NOTES.index(letter) + 12 * (int(name[len(letter) :]) + 1)


def key_fits(pitch: np.ndarray, duration: np.ndarray) -> np.ndarray:
    """(24,) how well each key fits some notes (N,), the twelve major keys from C up, then the minor ones: the
    correlation of the time that each pitch class sounds with the key's profile (Krumhansl and Schmuckler, in Krumhansl
    1990). All 0 if all twelve classes sound equally long, or nothing sounds."""
    sounding = np.bincount(pitch % 12, duration, 12)
    if np.ptp(sounding) == 0:
        return np.zeros(24)
    return np.corrcoef(sounding, KEYS)[0, 1:]


def key_of(pitch: np.ndarray, duration: np.ndarray) -> tuple[int, int]:
    """(sharps from -5 to 6, 1 if minor) of the key that fits some notes (N,) best; C major if all fit equally well."""
    minor, tonic = divmod(int(key_fits(pitch, duration).argmax()), 12)
    return (7 * (tonic + 3 * minor) + 5) % 12 - 5, minor


def triad_root(pitch: Iterable[int]) -> int | None:
    """The pitch class of the root if some pitches are a major, minor or diminished triad, or the root and third of one,
    in any octaves; else None."""
    classes = {each % 12 for each in pitch}
    return next((r for r in classes if tuple(sorted((each - r) % 12 for each in classes)) in TRIADS), None)


def metre(text: str) -> Metre:
    """'3/4' -> (3, 4). Raises UserError if the text is not a metre, or not one in practical use."""
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip(), re.ASCII)
    numerator, denominator = map(int, found.groups()) if found else (0, 0)
    if not 1 <= numerator <= 32 or denominator not in (1, 2, 4, 8, 16, 32):
        raise UserError(
            f"--metre is {text!r}; it must be a metre such as 3/4 or 6/8: 1 to 32 over 1, 2, 4, 8, 16 or 32."
        )
    return numerator, denominator


def bar_length(metre: Metre, per_quarter: int) -> int:
    """The length of a bar, at least 1, in units of which a quarter note has `per_quarter`."""
    numerator, denominator = metre
    return max(round(4 * per_quarter * numerator / denominator), 1)


def metres_from_start(changes: Sequence[Change]) -> list[Change]:
    """The changes of metre of a piece, of which the last one at a tick holds. Without one at its beginning it starts in
    4/4, as MIDI specifies."""
    return [(0, 4, 4), *changes]


def microseconds(tempo: float) -> int:
    """Quarter notes a minute -> microseconds per quarter note, as in MIDI files. Raises UserError outside TEMPOS."""
    if not SLOWEST <= tempo <= FASTEST:
        raise UserError(f"--tempo is {tempo}; it must be from {SLOWEST} to {FASTEST} quarter notes a minute.")
    return round(60e6 / tempo)


def to_steps(ticks: np.ndarray, ticks_per_quarter: int, grid: int) -> np.ndarray:
    """Ticks to the nearest of `grid` steps per quarter note, in integer arithmetic, so that nothing drifts."""
    return (2 * ticks * grid + ticks_per_quarter) // (2 * ticks_per_quarter)


@dataclass(frozen=True)
class Bar:
    """A bar in notation, in steps since the beginning of the piece, GRID to a quarter note."""

    number: int  # from 1 on; a pickup is bar 0
    start: int
    begin: int  # where its music begins: in a pickup the first note, in any other bar `start`
    end: int
    metre: Metre

    @property
    def beat(self) -> int:
        """Steps in a beat: three units where eighths or shorter ones come in threes, else at most a quarter note."""
        numerator, denominator = self.metre
        unit = max(4 * GRID // denominator, 1)
        return 3 * unit if denominator >= 8 and numerator % 3 == 0 else min(unit, GRID)

    def beats(self) -> list[int]:
        """Where the beats begin, and the end of the bar. In a bar of more than MOST_BEATS beats, which nobody could
        count, they are longer; in a pickup they are counted back from its end."""
        step = max(self.beat, (self.end - self.start) // MOST_BEATS)
        if self.number == 0:
            return sorted({self.start, *range(self.end, self.start, -step)})
        return [*range(self.start, self.end, step), self.end]


def edges(lines: Sequence[Change], per_quarter: int) -> list[int]:
    """The ticks at which the bars begin, as `Piece.bars` gives them, and at which the last one ends."""
    last, *metre = lines[-1]
    return [*(tick for tick, *_ in lines), last + bar_length(metre, per_quarter)]


def bars(lines: Sequence[Change], onset: np.ndarray, per_quarter: int) -> list[Bar]:
    """The bars that begin at `lines`, as `Piece.bars` gives them, without those shorter than a step; the onsets (N,)
    are in ticks.

    The first bar is a pickup if notes begin both in it and after it, and either at least half of it is silent before
    them, since pieces are stored from a bar line on; or it is shorter than a bar of the next metre, and its own metre
    does not come again, as notation programs write pickups to MIDI files: then it takes the next metre.
    """
    ticks = [*edges(lines, per_quarter), onset.min(), onset.max()]
    *ends, first, latest = to_steps(np.array(ticks), per_quarter, GRID).tolist()
    ends[-1] = max(ends[-1], ends[-2] + 1)
    spans = [(span, metre) for span, (_, *metre) in zip(pairwise(ends), lines, strict=True) if span[0] < span[1]]
    (start, end), metre = spans[0]
    _, following = spans[:2][-1]
    short = end < bar_length(following, GRID) and metre not in [later for _, later in spans[1:]]
    pickup = (short or end <= 2 * first) and first < end <= latest and len(spans) > 1
    if pickup and short:
        spans[0] = (start, end), following
    numbered = enumerate(spans, 0 if pickup else 1)
    return [Bar(i, start, start if i else first, end, tuple(metre)) for i, ((start, end), metre) in numbered]
