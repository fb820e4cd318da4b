"""A part that plays chords -> voices, for a network that has learnt no such part, or to learn them one by one.

A hymn often comes on two staves, or as chords that one piano plays. Heard as one part each, it would be continued with
one note at a time. Shapes: N notes of a part, V voices, numbered from the highest down.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

import numpy as np

from utils import parts, theory
from utils.ensemble import names_of
from utils.instruments import FAMILIES
from utils.piece import Part, Piece, told_apart
from utils.vocabulary import Vocabulary

CHORDS = 0.1  # share of the notes of a part that sound with others before it counts as one that plays chords
SELDOM = 0.1  # share of the notes that may come where one more voice would be needed
LEGATO = 0.75  # share of a note after which another may begin in the same voice: players often let go late
BUSY = 12  # semitones that are no further than a voice that still sounds
MOST = 8  # voices of a part
SINGERS = ("Soprano", "Alto", "Tenor", "Bass")
# Families of instruments that play a single line, except for a few double stops.
LINES = [FAMILIES.index(name) for name in ("Bass", "Strings", "Brass", "Reed", "Pipe")]


def together(onset: np.ndarray, over: np.ndarray) -> np.ndarray:
    """(N,) how many notes sound when each begins, itself included; they begin at `onset` and are `over` then (N,)."""
    return np.searchsorted(np.sort(onset), onset, "right") - np.searchsorted(np.sort(over), onset, "right")


def voices(onset: np.ndarray, over: np.ndarray, pitch: np.ndarray, count: int) -> np.ndarray:
    """(N,) which of `count` voices has each note. The notes of a chord go to different voices without crossing, if
    there are enough, each to one that is near and free. Of four-part chorales 96 % come out as written
    (EXPERIMENTS.md, 'Heard as others')."""
    last = np.quantile(pitch, (np.arange(count)[::-1] + 0.5) / count)  # at first, equally many notes for each
    until, voice = np.zeros(count), np.zeros(len(onset), int)
    order = np.lexsort((-pitch, onset))
    for chord in np.split(order, np.flatnonzero(np.diff(onset[order])) + 1):
        size = len(chord)
        cost = np.abs(pitch[chord, None] - last) + BUSY * (until > onset[chord[0]])
        ways = list(combinations(range(count), size)) or [np.linspace(0, count - 1, size).round().astype(int)]
        mine = list(min(ways, key=lambda way: cost[np.arange(size), list(way)].sum()))
        voice[chord], last[mine], until[mine] = mine, pitch[chord], over[chord]
    return voice


def usual_voices(vocabulary: Vocabulary) -> int:
    """How many parts, without drums, a piece of the training music usually has; 0 if any of them plays chords."""
    chords = (not one.alone and parts.family(value) not in LINES for value, one in vocabulary.players.items())
    usual = max(vocabulary.companies, key=vocabulary.companies.get, default=frozenset())
    return 0 if any(chords) else len(usual - {parts.DRUMS})


def as_voice(part: Part, nth: int, count: int, known: set[str]) -> Part:
    """The `nth` of `count` voices of a part. Of a 'Soprano Alto' the second is the Alto, if both names are `known`."""
    words = re.findall(r"\w+", part.name)
    if len(words) == count > 1 and known.issuperset(word.casefold() for word in words):
        part = part._replace(name=words[nth])
    return part._replace(channel=-1) if nth else part


def in_voices(piece: Piece, grid: int, more: float = np.inf, known: Iterable[str] = SINGERS) -> tuple[Piece, dict]:
    """The piece with each part that plays chords divided into as many voices as it mostly needs, but at most so many
    `more` parts in all, with the names that are `known`; and index of each such part -> number of voices. Times are
    compared on a `grid` of so many steps to a quarter note."""
    voice, counts = np.zeros(len(piece), int), {}
    times = np.array([piece.onset, piece.onset + piece.duration])
    onset, end = theory.to_steps(times, piece.ticks_per_quarter, grid)
    over = onset + LEGATO * (end - onset)
    for i in np.unique(piece.part).tolist():
        mine = np.flatnonzero(piece.part == i)
        sounding = together(onset[mine], over[mine])
        count = int(min(np.quantile(sounding, 1 - SELDOM), more + 1, MOST))
        if count > 1 and not piece.parts[i].drums and (sounding > 1).mean() > CHORDS:
            voice[mine], counts[i] = voices(onset[mine], over[mine], piece.pitch[mine], count), count
            more -= count - 1
    if not counts:
        return piece, {}
    every = np.arange(len(piece.parts))  # parts that rest here stay
    both = np.array([[*piece.part, *every], [*voice, *0 * every]])
    (of_part, nth), index = np.unique(both, axis=1, return_inverse=True)
    known, numbered = {name.casefold() for name in known}, zip(of_part.tolist(), nth.tolist(), strict=True)
    own = [as_voice(piece.parts[i], n, counts.get(i, 1), known) for i, n in numbered]
    pedals = [(down, up, k) for down, up, i in piece.pedals.tolist() for k in np.flatnonzero(of_part == i)]
    pedals = np.array(pedals, int).reshape(-1, 3)
    return replace(piece, part=index.ravel()[: len(piece)], parts=told_apart(own), pedals=pedals), counts


def divided(vocabulary: Vocabulary, piece: Piece, name: str) -> tuple[Piece, list[str]]:
    """The piece `in_voices`, if the network knows no part that plays chords, with at most as many parts as there are in
    such music; and sentences on that, which call the piece `name`."""
    more = usual_voices(vocabulary) - sum(not piece.parts[i].drums for i in np.unique(piece.part))
    names = [one.name for one in vocabulary.players.values()]
    now, counts = in_voices(piece, vocabulary.grid, more, names)
    called, what = names_of(piece), "plays chords, which no part of this network does, so it is divided into"
    return now, [f"{name}: {called[i]} {what} {count} voices." for i, count in counts.items()]
