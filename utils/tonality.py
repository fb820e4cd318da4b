"""Keys and scales: their names, the notes that belong to them, and the key of some music.

Shapes: N notes.
"""

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from utils import theory
from utils.errors import UserError
from utils.piece import Piece

SURE = 0.7  # a fragment is in a key only if its correlation with the key's profile is above this
# What is added to the fit of the minor key if a signature names the major one, and if it names the minor one: it is
# right more often than the better fit is (EXPERIMENTS.md, 'Key').
SAID = {None: 0, 0: -0.1, 1: 0.2}
NEARLY = 0.1  # a key signature is believed if its key fits at most this much worse than the best key
MEANT = 0.25  # the same if it has sharps or flats, or says minor: programs that do not know the key write none


class Scale(NamedTuple):
    """A scale on any tonic."""

    steps: tuple[int, ...]  # semitones above its tonic
    sharps: int  # in its key signature, beyond those of the major key on the same tonic
    aside: tuple[int, ...] = ()  # those of its steps by which music leaves it for another key


SCALES = {
    "major": Scale((0, 2, 4, 5, 7, 9, 11), 0),
    # In real pieces in minor the sixth and seventh degrees may be raised or not, so both forms belong to the key; but
    # music with only the natural seventh is soon in the relative major (EXPERIMENTS.md, 'Key').
    "minor": Scale((0, 2, 3, 5, 7, 8, 9, 10, 11), -3, (10,)),
    "natural minor": Scale((0, 2, 3, 5, 7, 8, 10), -3),
    "harmonic minor": Scale((0, 2, 3, 5, 7, 8, 11), -3),
    "melodic minor": Scale((0, 2, 3, 5, 7, 9, 11), -3),
    "ionian": Scale((0, 2, 4, 5, 7, 9, 11), 0),
    "dorian": Scale((0, 2, 3, 5, 7, 9, 10), -2),
    "phrygian": Scale((0, 1, 3, 5, 7, 8, 10), -4),
    "lydian": Scale((0, 2, 4, 6, 7, 9, 11), 1),
    "mixolydian": Scale((0, 2, 4, 5, 7, 9, 10), -1),
    "aeolian": Scale((0, 2, 3, 5, 7, 8, 10), -3),
    "locrian": Scale((0, 1, 3, 5, 6, 8, 10), -5),
    "major pentatonic": Scale((0, 2, 4, 7, 9), 0),
    "minor pentatonic": Scale((0, 3, 5, 7, 10), -3),
    "blues": Scale((0, 3, 5, 6, 7, 10), -3),
    "whole tone": Scale((0, 2, 4, 6, 8, 10), 0),
    "chromatic": Scale(tuple(range(12)), 0),
}
LETTERS = "FCGDAEB"  # in order of fifths
TONIC = re.compile(r"([A-G])(#|b|[ -]sharp|[ -]flat)?(m?)(?: +(.*))?", re.IGNORECASE)


@dataclass(frozen=True)
class Tonality:
    """A key, or a scale on a tonic."""

    tonic: int | None  # in fifths above C: 1 is G, -1 F, -3 Eb; None: the tonic of the music before
    scale: str  # one of SCALES

    @property
    def name(self) -> str:
        """'Eb major'; without a tonic 'major'."""
        if self.tonic is None:
            return self.scale
        accidentals, letter = divmod(self.tonic + 1, len(LETTERS))
        return f"{LETTERS[letter]}{'#' * accidentals}{'b' * -accidentals} {self.scale}"

    @property
    def signature(self) -> tuple[int, int]:
        """(sharps from -7 to 7, 1 if minor), as in MIDI files."""
        sharps = self.tonic + SCALES[self.scale].sharps
        return sharps - 12 * (sharps > 7) + 12 * (sharps < -7), int(SCALES[self.scale].sharps == -3)

    @property
    def root(self) -> int:
        """The pitch class of the tonic, 0 for C."""
        return 7 * self.tonic % 12

    @property
    def pitch_classes(self) -> np.ndarray:
        """(12,) which pitch classes belong to it, from C up."""
        return np.isin((np.arange(12) - self.root) % 12, SCALES[self.scale].steps)

    @property
    def leading_away(self) -> np.ndarray:
        """(12,) which pitch classes lead away from it: those outside it, and those by which music leaves it."""
        return ~self.pitch_classes | np.isin((np.arange(12) - self.root) % 12, SCALES[self.scale].aside)

    @property
    def profile(self) -> np.ndarray:
        """(12,) the share of each pitch class in it: as in the major or minor key on its tonic, but only of the pitch
        classes that belong to it."""
        heard = theory.KEYS[self.root + 12 * (self.mode == "minor")] * self.pitch_classes
        return heard / heard.sum()

    @property
    def mode(self) -> str:
        """'major' or 'minor', by the third above the tonic; '' if the scale has both thirds."""
        thirds = [name for name, third in {"minor": 3, "major": 4}.items() if third in SCALES[self.scale].steps]
        return thirds[0] if len(thirds) == 1 else ""

    def after(self, heard: "Tonality | None") -> "Tonality | None":
        """Itself if it has a tonic, else its scale on the tonic of what was `heard` before; None if neither has one."""
        if self.tonic is not None:
            return self
        return heard and replace(self, tonic=heard.tonic)


def parsed(text: str, flag: str) -> Tonality:
    """'D minor', 'Eb', 'F#m', 'dorian', 'D dorian' -> Tonality; its scale is '' if the text has only a tonic. Raises a
    UserError that names the `flag` and the scales."""
    words = " ".join(text.split())
    found = TONIC.fullmatch(words)
    letter, accidental, minor, rest = found.groups(default="") if found else ("", "", "", words)
    scale = f"{'minor ' * bool(minor)}{rest}".lower().strip()
    if not words or (scale and scale not in SCALES):
        raise UserError(
            f"--{flag} {text!r} is not a {flag}: name a tonic (A to G, with # or b), a scale or both, as in 'D minor'; "
            f"the scales are {', '.join(SCALES)}."
        )
    sharps = {"": 0, "#": 1, "sharp": 1, "b": -1, "flat": -1}[accidental.lower().lstrip(" -")]
    return Tonality(LETTERS.index(letter.upper()) - 1 + 7 * sharps if letter else None, scale)


def of_notes(pitch: np.ndarray, duration: np.ndarray, least: float = 0) -> Tonality | None:
    """The key that fits some notes (N,) best; None if its fit is not above `least`."""
    if theory.key_fits(pitch, duration).max() <= least:
        return None
    sharps, minor = theory.key_of(pitch, duration)
    return Tonality(sharps + 3 * minor, ("major", "minor")[minor])


def nearly(key: Tonality, fits: np.ndarray, worse: float = NEARLY) -> bool:
    """Whether a major or minor key fits as well as the best one, or at most this much `worse`; `fits` (24,) is from
    `theory.key_fits`."""
    return fits[key.root + 12 * (key.mode == "minor")] >= fits.max() - worse


def as_written(sharps: int, fits: np.ndarray, minor: int | None = None) -> Tonality | None:
    """The major or minor key with this number of `sharps`, whichever fits better, if it fits `nearly` as well as any;
    else None. If a key signature names one of the two, that is likelier: `minor` is 1 or 0."""
    both = Tonality(sharps, "major"), Tonality(sharps + 3, "minor")
    of_major, of_minor = (fits[key.root + 12 * is_minor] for is_minor, key in enumerate(both))
    better = both[int(of_minor + SAID[minor] > of_major)]
    return better if nearly(better, fits, MEANT if sharps or minor else NEARLY) else None


def of_fragment(prior: Piece) -> Tonality | None:
    """The key of a fragment: the one that the key signature in force at its end says of the notes since, see
    `as_written`; else the key that fits them best. None if no key fits, as with drums, or a note or two without a
    signature."""
    pitched = prior.take(~prior.is_drum)
    begin, *signature = prior.key_signatures[-1] if prior.key_signatures else (0,)
    since = pitched.take(pitched.onset >= begin)
    since = since if len(since) else pitched
    best = of_notes(since.pitch, since.duration, SURE)
    if not len(pitched) or not signature or not (best or any(signature)):
        return best
    sharps, minor = signature
    return as_written(sharps, theory.key_fits(since.pitch, since.duration), minor) or best


def signatures(piece: Piece, prior: Piece | None = None) -> list[tuple[int, int, int]]:
    """(tick, sharps, 1 if minor) of the key signatures in which to notate a piece, from its beginning on: its own,
    except for those without sharps and flats that fit badly, since many programs write them whatever the key is. In
    their place, and before the first one, stands the key that fits the notes best. If the piece continues a fragment
    `prior`, its notes count as far as that reaches, since new music may leave the key; signatures it lacks count."""
    own = piece if prior is None else prior
    given, written = {tick: key for tick, *key in piece.key_signatures}, []
    pitched, last = piece.take(~piece.is_drum), own.onset.max(initial=-1)
    for begin, end in pairwise([*sorted({0, *given}), np.inf]):
        key = given.get(begin)
        if not key or not key[0] and (begin, *key) in own.key_signatures:
            here = (pitched.onset >= begin) & (pitched.onset < end)
            early = here & (pitched.onset <= last)
            counted = early if early.any() else here
            notes = pitched.pitch[counted], pitched.duration[counted]
            if not key:
                key = theory.key_of(*notes)
            elif better := as_written(0, theory.key_fits(*notes)) or of_notes(*notes, SURE):
                key = better.signature
        written.append((begin, *key))
    return written
