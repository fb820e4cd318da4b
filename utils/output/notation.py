"""Piece -> its notation: who plays, on which staves, in which voices, and with which note values.

Times are in steps, GRID to a quarter note, which allows sixteenths and triplets of eighths, sixteenths and
thirty-seconds; other lengths are made of these with ties. Shapes: N notes.
"""

import re
from collections import defaultdict
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from utils.instruments import INSTRUMENTS, numbered, words
from utils.piece import Part, Piece
from utils.theory import GRID, Bar, to_steps

# Length -> note value and dots.
PLAIN = {3: ("16th", 0), 6: ("eighth", 0), 9: ("eighth", 1), 12: ("quarter", 0), 18: ("quarter", 1), 24: ("half", 0),
         36: ("half", 1), 48: ("whole", 0), 72: ("whole", 1)}  # fmt: skip
TRIPLET = {1: ("32nd", 0), 2: ("16th", 0), 4: ("eighth", 0), 8: ("quarter", 0)}
VALUES = PLAIN | TRIPLET
LENGTHS = sorted(VALUES, reverse=True)
ODD, ENOUGH = 0.25, 50  # above this share of odd times, among at least so many, a piece was performed, not notated
LONGEST_NAME = 24  # characters of a player's name, which stands left of the music, without its number
VOICES = 4  # at most in a staff: as many as notation programs allow
SPLITS = np.arange(52, 69)  # lowest keys that the right hand may have: from E3 to G#4, around middle C
KEYBOARDS = {*range(8), *range(16, 24), 46}  # programs that are notated for two hands: pianos, organs, harp
HAND = re.compile(r"\b(right|left|rechts?e?|links?e?|droite|gauche|upper|lower|hand|[rl]\.?h)\b\.?", re.I)
FEET = (35, 36, 44)  # the drums that are played with the feet
Chord = tuple[int, int, list[int]]  # notes of a staff that begin and end together: begin, end (in steps), pitches
Line = dict[int, list[Chord]]  # a voice: index of a bar -> chords that sound in it


class Clef(NamedTuple):
    sign: str
    line: int  # on which it stands, counted from below
    octaves: int = 0  # by which the notes sound higher than written

    def ledgers(self, pitch: np.ndarray) -> float:
        """The mean number of ledger lines of pitches (N,)."""
        middle = {"G": 71, "F": 50, "C": 60}[self.sign] + 12 * self.octaves  # the pitch on the middle line
        return float(np.maximum(np.abs(pitch - middle) - 9, 0).mean()) / 3.5


G, F, ALTO, DRUMS = Clef("G", 2), Clef("F", 4), Clef("C", 3), Clef("percussion", 3)
TENOR, BASS, HIGH = Clef("G", 2, -1), Clef("F", 4, -1), Clef("G", 2, 1)
ALTOS = (41, 44, 45, 48, 49, 50, 51)  # programs that read ALTO where others read TENOR: viola, strings
# Program -> the clef that is usual for it, where that is neither G nor F: viola, guitars, basses, bells and piccolo.
USUAL = {41: ALTO, **dict.fromkeys(range(24, 32), TENOR), **dict.fromkeys((*range(32, 40), 43), BASS),
         **dict.fromkeys((8, 9, 10, 13, 72, 78), HIGH)}  # fmt: skip
# Programs that read only G: violin and fiddle, trumpets, high reeds and flutes.
TREBLE = (40, 110, 56, 59, 64, 65, 68, 69, 71, *range(73, 78))
LOWEST = 49  # pitch that these can play; a part with a lower one is played by another instrument
RARE = 0.6  # mean ledger lines that readers accept to avoid a clef that is unusual for their instrument
TOO_MANY = 1.5  # mean ledger lines from which on a part is easier to read on two staves


class Player(NamedTuple):
    """A named player in the score, with one or more staves, each with its clef and its voices."""

    name: str
    part: Part
    staves: list[tuple[Clef, list[Line]]]


# ---- rhythm ----


def cells(start: int, end: int, points: list[int]) -> list[int]:
    """Where to cut a beat so that between two cuts the `points` at which notes begin and end form either sixteenths or
    one triplet; `start` is among the cuts, `end` is not."""
    length = end - start
    inside = [point - start for point in points if start < point < end]
    triplet = length in (3, 6, 12) and all(point % (length // 3) == 0 for point in inside)
    if triplet or all(point % 3 == 0 for point in inside) or length not in (6, 9, 12, 18):
        return [start]
    part = length // 3 if length in (9, 18) else length // 2
    return [cut for begin in range(start, end, part) for cut in cells(begin, begin + part, points)]


def values(start: int, end: int, cuts: list[int], bar: Bar) -> list[int]:
    """The lengths of the tied notes that represent a note from `start` to `end` within a bar."""
    spans: list[tuple[int, int]] = []
    beats = bar.beats()
    for begin, until in pairwise([start, *(cut for cut in cuts if start < cut < end), end]):
        # A note that begins on a beat may extend over the next beats; in a compound metre, over whole beats only.
        whole = until - spans[-1][0] if spans else 0
        if whole in PLAIN and spans[-1][0] in beats and (bar.beat != 18 or whole % 18 == 0 or whole < 18):
            begin, _ = spans.pop()
        spans.append((begin, until))
    lengths = []
    for begin, until in spans:
        while begin < until:
            lengths.append(next(length for length in LENGTHS if length <= until - begin))
            begin += lengths[-1]
    return lengths


def odd(times: np.ndarray) -> bool:
    """Whether many of the times (N,), in steps, fit neither sixteenths nor triplets of eighths."""
    return len(times) >= ENOUGH and ((times % 3 > 0) & (times % 4 > 0)).mean() > ODD


def as_meant(start: np.ndarray, end: np.ndarray, part: np.ndarray, drums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """When notes begin (N,) and end (N,) in the score, in steps; `drums` (N,): which are drum strokes.

    The exact times of a performance say little about its notation. In a performance a note therefore lasts until the
    next one of its part, if that is near; and if many notes begin at odd times, those of each quarter note move to
    sixteenths, or to triplets if these are much nearer.
    """
    if not (odd(start) or odd(end[~drums])):
        return start, end
    off = [np.bincount(start // GRID, np.abs((start + n // 2) % n - n // 2), end.max() // GRID + 2) for n in (3, 4)]
    unit = np.where(off[0] - off[1] >= 2, 4, 3)  # steps, in each quarter note

    def nearest(times: np.ndarray) -> np.ndarray:
        n = unit[times // GRID]
        return (times + n // 2) // n * n

    start = nearest(start) if odd(start) else start
    until = np.maximum(nearest(end), start + unit[start // GRID])
    for number in np.unique(part):
        mine = part == number
        begin = np.unique(start[mine])
        after = np.searchsorted(begin, end[mine]).clip(1, max(len(begin) - 1, 1)) % len(begin)
        near = np.where(end[mine] - begin[after - 1] <= begin[after] - end[mine], begin[after - 1], begin[after])
        legato = (np.abs(near - end[mine]) <= GRID // 4) & (near > start[mine])
        until[mine] = np.where(legato, near, until[mine])
    return start, until


# ---- hands and voices ----


def splits(onset: np.ndarray, pitch: np.ndarray, bar: np.ndarray) -> np.ndarray:
    """The lowest key of the right hand for each note (N,), the same throughout a `bar` (N,).

    Dynamic programming finds the cheapest choice for all bars: a ledger line costs 1, and so does each semitone that a
    hand stretches beyond an octave or that the split moves from one bar to the next.
    """
    which, bar = np.unique(bar, return_inverse=True)
    costs = np.zeros((len(which), len(SPLITS)))
    right = pitch[:, None] >= SPLITS
    below, above = np.maximum(58 - pitch, 0)[:, None] / 3, np.maximum(pitch - 62, 0)[:, None] / 3
    np.add.at(costs, bar, np.where(right, below, above))
    first = np.flatnonzero(np.r_[True, np.diff(onset) != 0])
    for in_hand in (right, ~right):
        low = np.minimum.reduceat(np.where(in_hand, pitch[:, None], 127), first)
        high = np.maximum.reduceat(np.where(in_hand, pitch[:, None], 0), first)
        np.add.at(costs, bar[first], np.maximum(high - low - 12, 0))
    moves = np.abs(SPLITS[:, None] - SPLITS)
    back = np.zeros(costs.shape, int)
    for i in range(1, len(which)):
        total = costs[i - 1] + moves
        back[i] = total.argmin(axis=1)
        costs[i] += total.min(axis=1)
    best = [int(costs[-1].argmin())]
    for row in back[:0:-1]:
        best.append(row[best[-1]])
    return SPLITS[best[::-1]][bar]


def voices(notes: np.ndarray, starts: np.ndarray) -> list[Line]:
    """The notes of a staff, rows (start, end, pitch), as voices in which nothing overlaps, upper notes first; `starts`:
    where the bars begin. Chords may overlap only in the last of VOICES, where too much is held for so few voices."""
    together = groupby(sorted(notes.tolist()), key=lambda note: note[:2])
    chords = [(start, end, [pitch for *_, pitch in group]) for (start, end), group in together]
    lines: list[Line] = []
    ends: list[int] = []  # of the voices so far
    for start, end, pitches in sorted(chords, key=lambda chord: (chord[0], -max(chord[2]))):
        voice = next((i for i, until in enumerate(ends) if until <= start), min(len(ends), VOICES - 1))
        if voice == len(ends):
            lines.append(defaultdict(list))
        ends[voice : voice + 1] = [end]
        first, last = np.searchsorted(starts, [start, end - 1], "right") - 1
        for i in range(first, last + 1):
            lines[voice][i].append((start, end, pitches))
    return lines or [{}]


def clef_of(pitch: np.ndarray, part: Part) -> Clef:
    """Of the clefs that players of its instrument read, the one in which a part with these pitches (N,) has the fewest
    ledger lines; usual clefs are preferred."""
    usual = TENOR if "tenor" in part.name.lower() else USUAL.get(part.program)
    known = [usual or G, G, F]
    if part.program not in KEYBOARDS:
        known.append(ALTO if part.program in ALTOS else TENOR)
    return min(known, key=lambda clef: clef.ledgers(pitch) + RARE * (clef not in ([usual] if usual else [G, F])))


def staves(notes: np.ndarray, part: Part, starts: np.ndarray) -> dict[Clef, np.ndarray]:
    """Clef -> the notes of its staff. Most parts have one staff; there are two for the hands at a keyboard, and where
    there would be too many ledger lines. `notes` (N, 3): rows (start, end, pitch) in order."""
    start, end, pitch = notes.T
    if part.program in TREBLE and pitch.min() >= LOWEST:
        return {G: notes}
    clef = clef_of(pitch, part)
    chords = (start[1:] < end[:-1]).any()  # else it is a single voice, whatever plays it
    if clef.ledgers(pitch) < TOO_MANY and not (part.program in KEYBOARDS and chords):
        return {clef: notes}
    if pitch.min() >= 55 or pitch.max() <= 64:
        return {G if pitch.min() >= 55 else F: notes}
    right = pitch >= splits(start, pitch, np.searchsorted(starts, start, "right"))
    return {G: notes[right], F: notes[~right]}


def strokes(notes: np.ndarray, bars: list[Bar]) -> list[np.ndarray]:
    """The notes (N, 3) of drums, those of the hands and those of the feet. Each lasts until the next or the end of its
    beat, since a drummer does not decide how long a drum sounds."""
    beats, foot, limbs = np.unique(np.concatenate([bar.beats() for bar in bars])), np.isin(notes[:, 2], FEET), []
    for limb in (notes[~foot], notes[foot]):
        limits = np.union1d(limb[:, 0], beats)
        end = limits[np.searchsorted(limits, limb[:, 0], "right")]
        limbs.append(np.column_stack([limb[:, 0], end, limb[:, 2]]))
    return limbs


# ---- players ----


def by_player(parts: list[Part]) -> list[list[int]]:
    """The parts of each player: two of one keyboard whose names differ only in the hand, or a single part. A part with
    no name beyond a hand takes that of the part before it, if either names a hand or that one names the keyboard."""
    groups, before = defaultdict(list), {}  # program -> name of the part before
    for i, part in enumerate(parts):
        if part.drums or part.program not in KEYBOARDS:
            groups[i].append(i)
            continue
        name, last = HAND.sub("", part.name.lower()).strip(), before.get(part.program, "")
        if not name and (HAND.search(f"{last} {part.name}") or words(last) & words(INSTRUMENTS[part.program])):
            name = HAND.sub("", last.lower()).strip()
        before[part.program] = part.name
        groups[part.program, name].append(i)
    return sorted(hand for group in groups.values() for hand in ([group] if len(group) == 2 else [[i] for i in group]))


def on_paper(piece: Piece, bars: list[Bar]) -> list[np.ndarray]:
    """The notes of each part, rows (start, end, pitch) in steps and in order, each at least a step long. Of notes that
    begin on one key at the same time, only the longest is written."""
    start, end = (to_steps(a, piece.ticks_per_quarter, GRID) for a in (piece.onset, piece.onset + piece.duration))
    start, end = as_meant(start, end, piece.part, piece.is_drum)
    start = np.minimum(start, bars[-1].end - 1)
    notes = np.stack([start, np.clip(end, start + 1, bars[-1].end), piece.pitch], axis=1)
    order = np.lexsort((-notes[:, 1], notes[:, 2], notes[:, 0], piece.part))
    notes, part = notes[order], piece.part[order]
    first = np.r_[True, np.diff(notes[:, [0, 2]], axis=0).any(axis=1) | (np.diff(part) != 0)]
    return [notes[first & (part == i)] for i in range(len(piece.parts))]


def short(name: str) -> str:
    """The name of a player, cut off after LONGEST_NAME characters, but with the number at its end."""
    rest, number = re.fullmatch(r"(.*?)( \d{1,3})?", name, re.DOTALL).groups("")
    return name if len(rest) <= LONGEST_NAME else f"{rest[: LONGEST_NAME - 1].rstrip()}…{number}"


def players(piece: Piece, bars: list[Bar]) -> list[Player]:
    """The players of a piece: one for each part, or for both hands at a keyboard."""
    piece = piece.played()
    notes, starts, found = on_paper(piece, bars), np.array([bar.start for bar in bars]), []
    for group in by_player(piece.parts):
        part, name = piece.parts[group[0]], piece.parts[group[0]].called()
        if len(group) == 2:
            name = HAND.sub("", part.name).strip(" -,:()") or INSTRUMENTS[part.program]
            hands = sorted((notes[i] for i in group), key=lambda hand: -hand[:, 2].mean())
            clefs = [min((G, F), key=lambda clef: clef.ledgers(hand[:, 2])) for hand in hands]
            written = [(clef, voices(hand, starts)) for clef, hand in zip(clefs, hands, strict=True)]
        elif part.drums:
            lines = [line for limb in strokes(notes[group[0]], bars) for line in voices(limb, starts)]
            written = [(DRUMS, lines)]
        else:
            written = [(clef, voices(n, starts)) for clef, n in staves(notes[group[0]], part, starts).items()]
        found.append(Player(short(name), part, written))
    names = numbered([player.name for player in found])
    return [player._replace(name=name) for player, name in zip(found, names, strict=True)]
