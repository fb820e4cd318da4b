"""Piece -> MusicXML, for notation programs (layout: MusicXML 4.0, score-partwise).

A part for each instrument, with a staff for each hand where the music needs two. Times are in steps, GRID to a quarter
note, which gives sixteenths and triplets of eighths, sixteenths and thirty-seconds; other lengths are tied from these.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from utils import theory
from utils.instruments import INSTRUMENTS
from utils.midi import Piece
from utils.theory import GRID, Bar, to_steps

# Length -> note value and dots.
PLAIN = {3: ("16th", 0), 6: ("eighth", 0), 9: ("eighth", 1), 12: ("quarter", 0), 18: ("quarter", 1), 24: ("half", 0),
         36: ("half", 1), 48: ("whole", 0), 72: ("whole", 1)}  # fmt: skip
TRIPLET = {1: ("32nd", 0), 2: ("16th", 0), 4: ("eighth", 0), 8: ("quarter", 0)}
LENGTHS = sorted({**PLAIN, **TRIPLET}, reverse=True)
CLEFS = {"G": 2, "F": 4}  # the lines on which they stand, from below
CLEARLY = 0.1  # a tempo that differs by this share from the one before is written down; less is rubato
VOICES = 4  # at most in a staff: as many as notation programs have
SPLITS = np.arange(52, 69)  # lowest keys that the right hand may have: from E3 to G#4, around middle C
Chord = tuple[int, int, list[int]]  # notes of a staff that begin and end together: when, in steps, and their pitches

# ---- rhythm ----


def cells(start: int, end: int, points: list[int]) -> list[int]:
    """Where a beat is cut, so that between two cuts the `points` at which notes begin and end make either sixteenths or
    one triplet; `start` is among the cuts, `end` is not."""
    length = end - start
    inside = [point - start for point in points if start < point < end]
    triplet = length in (3, 6, 12) and all(point % (length // 3) == 0 for point in inside)
    if triplet or all(point % 3 == 0 for point in inside) or length not in (6, 9, 12, 18):
        return [start]
    part = length // 3 if length in (9, 18) else length // 2
    return [cut for begin in range(start, end, part) for cut in cells(begin, begin + part, points)]


def values(start: int, end: int, cuts: list[int], bar: Bar) -> list[int]:
    """Lengths of the tied notes as which a note from `start` to `end` within a bar is written."""
    spans: list[tuple[int, int]] = []
    for begin, until in pairwise([start, *(cut for cut in cuts if start < cut < end), end]):
        # From a beat on a note may last over the next ones, in a compound metre over whole ones.
        whole = until - spans[-1][0] if spans else 0
        if whole in PLAIN and spans[-1][0] in bar.beats() and (bar.beat != 18 or whole % 18 == 0 or whole < 18):
            begin, _ = spans.pop()
        spans.append((begin, until))
    lengths = []
    for begin, until in spans:
        while begin < until:
            lengths.append(next(length for length in LENGTHS if length <= until - begin))
            begin += lengths[-1]
    return lengths


# ---- hands and voices ----


def splits(onset: np.ndarray, pitch: np.ndarray, bar: np.ndarray) -> np.ndarray:
    """The lowest key of the right hand for each note (N,), the same throughout a `bar` (N,).

    Of all ways to choose one for each bar, the cheapest (by dynamic programming): a ledger line costs 1, and so does
    each semitone that a hand stretches beyond an octave or that the split moves from one bar to the next.
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


def voices(notes: np.ndarray, starts: np.ndarray) -> list[dict[int, list[Chord]]]:
    """The notes of a staff, rows (start, end, pitch), as voices in which nothing overlaps, upper notes first: index of
    a bar -> chords that sound in it; `starts` are where the bars begin.

    Only in the last of VOICES may chords overlap, where so much is held that there is no other way.
    """
    together = groupby(sorted(notes.tolist()), key=lambda note: note[:2])
    chords = [(start, end, [pitch for *_, pitch in group]) for (start, end), group in together]
    lines: list[dict[int, list[Chord]]] = []
    ends: list[int] = []  # of the voices so far
    for start, end, pitches in sorted(chords, key=lambda chord: (chord[0], -max(chord[2]))):
        voice = next((i for i, until in enumerate(ends) if until <= start), min(len(ends), VOICES - 1))
        if voice == len(ends):
            lines.append(defaultdict(list))
        ends[voice : voice + 1] = [end]
        first, last = np.searchsorted(starts, [start, end - 1], "right") - 1
        for i in range(first, last + 1):
            lines[voice][i].append((start, end, pitches))
    return lines


def staves(notes: np.ndarray, bars: list[Bar]) -> dict[str, list[dict[int, list[Chord]]]]:
    """Clef -> `voices` of its staff: one staff if the notes of a part, rows (start, end, pitch) in order, suit one
    clef, else one for each hand."""
    starts = np.array([bar.start for bar in bars])
    onset, _, pitch = notes.T
    if pitch.min() >= 55:
        hands = {"G": notes}
    elif pitch.max() <= 64:
        hands = {"F": notes}
    else:
        right = pitch >= splits(onset, pitch, np.searchsorted(starts, onset, "right"))
        hands = {"G": notes[right], "F": notes[~right]}
    return {clef: voices(part, starts) or [{}] for clef, part in hands.items()}


# ---- XML ----


def tag(name: str, *content: object, **attributes: object) -> Element:
    """An element; content and attributes that are None are left out, and content that is no element is its text."""
    element = Element(name, {key: str(value) for key, value in attributes.items() if value is not None})
    for part in content:
        if isinstance(part, Element):
            element.append(part)
        elif part is not None:
            element.text = str(part)
    return element


def spelling(pitch: int, sharps: int, minor: int) -> tuple[str, int, int]:
    """(step, alteration, octave) of a pitch in a key: of the names of its pitch class the one among twelve neighbours
    on the line of fifths (... Bb F C G D ...), which reach from Eb to G# in C major and from Bb to D# in A minor."""
    lowest = sharps - 3 + minor
    fifths = (7 * pitch - lowest) % 12 + lowest
    alteration = (fifths + 1) // 7
    return "FCGDAEB"[(fifths + 1) % 7], alteration, (pitch - alteration) // 12 - 1


def note_tag(what: list[Element], length: int, place: tuple[int, int], ties: list[str], tuplet: str) -> Element:
    """A note or rest, which is `what`, of one of LENGTHS; `place` is its voice and staff. `ties` are 'stop' and 'start'
    as far as there are any; `tuplet` is 'start' or 'stop' where a bracket begins or ends, else ''."""
    value, dots = (PLAIN | TRIPLET)[length]
    ratio = tag("time-modification", tag("actual-notes", 3), tag("normal-notes", 2)) if length in TRIPLET else None
    shape = [tag("type", value), *(tag("dot") for _ in range(dots)), ratio, tag("staff", place[1])]
    tied = [tag("tie", type=tie) for tie in ties]
    notations = [tag("tied", type=tie) for tie in ties] + [tag("tuplet", type=tuplet)] * (tuplet != "")
    shape.append(tag("notations", *notations) if notations else None)
    return tag("note", *what, tag("duration", length), *tied, tag("voice", place[0]), *shape)


def voice_tags(bar: Bar, chords: list[Chord], place: tuple[int, int], key: tuple[int, int]) -> Iterator[Element]:
    """The notes and rests of a voice in a bar; `place` is its voice and staff. In all voices but the first of a staff
    rests are left blank."""
    if not chords and bar.number:  # programs would take such a rest for a whole bar in a pickup, too
        length = tag("duration", bar.end - bar.begin)
        yield tag("note", tag("rest", measure="yes"), length, tag("voice", place[0]), tag("staff", place[1]))
        return
    within = {time for begin, until, _ in chords for time in (begin, until) if bar.begin < time < bar.end}
    points = [bar.begin, *sorted(within), bar.end]
    cuts = [bar.begin, *(cut for beat in pairwise(bar.beats()) for cut in cells(*beat, points))]
    for start, end in pairwise(points):
        sounding = [(*chord[:2], pitch) for chord in chords if chord[0] <= start < chord[1] for pitch in chord[2]]
        lengths = values(start, end, cuts, bar)
        if not sounding and place[0] % VOICES != 1 and TRIPLET.keys().isdisjoint(lengths):
            yield tag("forward", tag("duration", end - start))
            continue
        at = start
        for length in lengths:
            after, tuplet = at + length, ""
            if length in TRIPLET:
                tuplet = "start" if at in cuts else "stop" if after in (*cuts, bar.end) else ""
            if not sounding:
                yield note_tag([tag("rest")], length, place, [], tuplet)
            for i, (begin, until, pitch) in enumerate(sounding):
                ties = ["stop"] * (begin < at) + ["start"] * (after < until)
                step, alteration, octave = spelling(pitch, *key)
                alter = tag("alter", alteration) if alteration else None
                what = [tag("chord")] * (i > 0) + [tag("pitch", tag("step", step), alter, tag("octave", octave))]
                yield note_tag(what, length, place, ties, "" if i else tuplet)
            at = after


def attributes_tag(bar: Bar, first: bool, key: tuple[int, int], clefs: list[str]) -> Element:
    """What stands at the beginning of a part, and where the metre changes."""
    time = tag("time", tag("beats", bar.metre[0]), tag("beat-type", bar.metre[1]))
    if not first:
        return tag("attributes", time)
    signature = tag("key", tag("fifths", key[0]), tag("mode", "minor" if key[1] else "major"))
    braced = tag("staves", len(clefs)), tag("part-symbol", "brace")
    signs = [tag("clef", tag("sign", clef), tag("line", CLEFS[clef]), number=i) for i, clef in enumerate(clefs, 1)]
    return tag("attributes", tag("divisions", GRID), signature, time, *braced, *signs)


def tempo_tags(piece: Piece, bars: list[Bar]) -> dict[int, list[Element]]:
    """Index of a bar -> its tempos. A rubato has hundreds: a metronome mark shows one that differs clearly from the one
    that was shown last; the others are only heard."""
    tags, shown, starts = defaultdict(list), 0.0, [bar.start for bar in bars]
    for tick, microseconds in sorted(piece.tempos):
        tempo, step = 60e6 / microseconds, int(to_steps(tick, piece.ticks_per_quarter, GRID))
        i = max(int(np.searchsorted(starts, step, "right")) - 1, 0)
        offset, number = tag("offset", max(step - bars[i].begin, 0)), f"{tempo:.4g}"
        if abs(tempo - shown) > CLEARLY * shown:
            shown = tempo
            mark = tag("metronome", tag("beat-unit", "quarter"), tag("per-minute", number))
            heard = tag("sound", tempo=number)
            tags[i].append(tag("direction", tag("direction-type", mark), offset, heard, placement="above"))
        else:
            tags[i].append(tag("sound", offset if step > bars[i].begin else None, tempo=number))
    return tags


def measures(piece: Piece, bars: list[Bar], key: tuple[int, int], tempos: dict[int, list]) -> Iterator[Element]:
    """The measures of one instrument, with the `tempo_tags` in some of them."""
    start, end = (to_steps(a, piece.ticks_per_quarter, GRID) for a in (piece.onset, piece.onset + piece.duration))
    start = np.minimum(start, bars[-1].end - 1)
    notes = np.stack([start, np.clip(end, start + 1, bars[-1].end), piece.pitch], axis=1)
    notes = notes[np.lexsort((-notes[:, 1], notes[:, 2], notes[:, 0]))]
    # Of notes on one key at one time the longest is written.
    notes = notes[np.r_[True, (np.diff(notes[:, [0, 2]], axis=0) != 0).any(axis=1)]]
    written, metre = staves(notes, bars), None
    lines = {
        (VOICES * s + v + 1, s + 1): line for s, staff in enumerate(written.values()) for v, line in enumerate(staff)
    }
    for i, bar in enumerate(bars):
        measure = tag("measure", number=bar.number, implicit=None if bar.number else "yes")
        if bar.metre != metre:
            measure.append(attributes_tag(bar, i == 0, key, list(written)))
        metre = bar.metre
        measure.extend(tempos.get(i, []))
        for place, sounding in lines.items():
            if i not in sounding and place[0] % VOICES != 1:
                continue
            if place != (1, 1):
                measure.append(tag("backup", tag("duration", bar.end - bar.begin)))
            measure.extend(voice_tags(bar, sounding.get(i, []), place, key))
        yield measure


def write(piece: Piece, path: Path, title: str) -> None:
    """Write a piece as MusicXML, on the GRID. Raises OSError."""
    bars = theory.bars(piece.bars(), piece.onset, piece.ticks_per_quarter)
    key, tempos = theory.key_of(piece.pitch, piece.duration), tempo_tags(piece, bars)
    listed, parts = [], []
    for program in np.unique(piece.program).tolist():
        name, instrument = f"P{program + 1}", INSTRUMENTS[program]
        sounds = tag("score-instrument", tag("instrument-name", instrument), id=f"{name}-I")
        number = tag("midi-instrument", tag("midi-program", program + 1), id=f"{name}-I")
        listed.append(tag("score-part", tag("part-name", instrument), sounds, number, id=name))
        parts.append(tag("part", *measures(piece.take(piece.program == program), bars, key, tempos), id=name))
        tempos = {}  # they stand over the first part and hold for all
    work = tag("work", tag("work-title", "".join(filter(str.isprintable, title))))  # XML has no control characters
    root = tag("score-partwise", work, tag("part-list", *listed), *parts, version="4.0")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, "utf-8", xml_declaration=True)
