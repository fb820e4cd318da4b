"""Piece -> MusicXML, for notation programs (layout: MusicXML 4.0, score-partwise).

A part for each instrument, with a staff for each hand where the music needs two. Times are in steps, GRID to a quarter
note, which gives sixteenths and triplets of eighths, sixteenths and thirty-seconds; other lengths are tied from these.
"""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from utils.events import to_steps
from utils.instruments import INSTRUMENTS
from utils.midi import MAJOR, MINOR, Piece

GRID = 12
PLAIN = {3: ("16th", 0), 6: ("eighth", 0), 9: ("eighth", 1), 12: ("quarter", 0), 18: ("quarter", 1), 24: ("half", 0),
         36: ("half", 1), 48: ("whole", 0), 72: ("whole", 1)}  # fmt: skip
TRIPLET = {1: ("32nd", 0), 2: ("16th", 0), 4: ("eighth", 0), 8: ("quarter", 0)}
LENGTHS = sorted({**PLAIN, **TRIPLET}, reverse=True)
CLEARLY = 0.1  # share by which a tempo differs from the one before, so that it is written down
VOICES = 4  # in a staff at the most: as many as notation programs have
SPLITS = np.arange(52, 69)  # keys from which the right hand may play
# How often the degrees of the scale are heard, in major and in minor (B. Aarden, Dynamic melodic expectancy, 2003, from
# H. Essen's collection; music21's analysis uses the same).
PROFILES = (
    (17.7661, 0.145624, 14.9265, 0.160186, 19.8049, 11.3587, 0.291248, 22.062, 0.145624, 8.15494, 0.232998, 4.95122),
    (18.2648, 0.737619, 14.0499, 16.8599, 0.702494, 14.4362, 0.702494, 18.6161, 4.56621, 1.93186, 7.37619, 1.75623),
)


def key_of(piece: Piece) -> tuple[int, int]:
    """(sharps -5..6, 1 if minor) of the key that fits the notes best, by the correlation of the durations of its pitch
    classes with the profile of each key (Krumhansl and Schmuckler's method)."""
    heard = np.bincount(piece.pitch % 12, piece.duration, 12)
    if np.ptp(heard) == 0:  # all twelve are heard alike, or nothing is
        return 0, 0
    fits = [np.corrcoef(np.roll(profile, tonic), heard)[0, 1] for profile in PROFILES for tonic in range(12)]
    minor, tonic = divmod(int(np.argmax(fits)), 12)
    return (7 * (tonic + 3 * minor) + 5) % 12 - 5, minor


def key_name(piece: Piece) -> str:
    """The key of a piece in words, 'Eb major'."""
    sharps, minor = key_of(piece)
    return f"{MINOR[sharps + 7].removesuffix('m')} minor" if minor else f"{MAJOR[sharps + 7]} major"


def printable(name: str) -> str:
    """A name without what neither XML nor a font can show."""
    return "".join(filter(str.isprintable, name))


def spelling(pitch: int, sharps: int, minor: int) -> tuple[str, int, int]:
    """(step, alteration, octave) of a pitch in a key: of the names of its pitch class the one among twelve neighbours
    on the line of fifths (... Bb F C G D ...), which reach from Eb to G# in C major and from Bb to D# in A minor."""
    lowest = sharps - 3 + minor
    fifths = (7 * pitch - lowest) % 12 + lowest
    alteration = (fifths + 1) // 7
    return "FCGDAEB"[(fifths + 1) % 7], alteration, (pitch - alteration) // 12 - 1


@dataclass
class Bar:
    """A bar, in steps since the beginning."""

    start: int
    end: int
    numerator: int
    denominator: int

    @property
    def beat(self) -> int:
        """Steps in a beat: three eighths or sixteenths where they come in threes; a quarter at the most elsewhere."""
        unit = max(4 * GRID // self.denominator, 1)
        return 3 * unit if self.denominator >= 8 and self.numerator % 3 == 0 else min(unit, GRID)

    def beats(self) -> list[int]:
        """Where the beats begin, and the end of the bar."""
        return [*range(self.start, self.end, self.beat), self.end]


def bars_of(piece: Piece) -> list[Bar]:
    """The bars of a piece. Those that are shorter than a step are left out."""
    starts = piece.bars()
    tick, numerator, denominator = starts[-1]
    after = tick + 4 * piece.ticks_per_quarter * numerator // denominator
    edges = to_steps(np.array([bar[0] for bar in starts] + [after]), piece.ticks_per_quarter, GRID).tolist()
    edges[-1] = max(edges[-1], edges[-2] + 1)
    found = zip(edges, edges[1:], starts, strict=False)
    return [Bar(start, end, *metre) for start, end, (_, *metre) in found if end > start]


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
    """Lengths of the notes, tied, that a note from `start` to `end` within a bar is written as."""
    edges = [start, *(cut for cut in cuts if start < cut < end), end]
    spans = []
    for span in zip(edges, edges[1:], strict=False):
        begin = spans[-1][0] if spans else span[0]
        whole = span[1] - begin
        # From a beat on a note may last over the next ones, in a compound metre over whole ones.
        if spans and begin in bar.beats() and whole in PLAIN and (bar.beat != 18 or whole % 18 == 0 or whole < 18):
            spans[-1] = (begin, span[1])
        else:
            spans.append(span)
    lengths = []
    for begin, until in spans:
        left = until - begin
        while left:
            lengths.append(next(length for length in LENGTHS if length <= left))
            left -= lengths[-1]
    return lengths


# ---- hands and voices ----


@dataclass
class Chord:
    """Notes of a staff that begin and end together, in steps."""

    start: int
    end: int
    pitches: list[int]


def splits(onset: np.ndarray, pitch: np.ndarray, bar: np.ndarray) -> np.ndarray:
    """The lowest key of the right hand for each note (N,), the same throughout a `bar` (N,).

    Of all ways to choose one for each bar, the cheapest: a ledger line costs 1, and so does each semitone that a hand
    stretches beyond an octave or that the split moves from one bar to the next.
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


def voices(notes: list[tuple[int, int, int]]) -> list[list[Chord]]:
    """The (start, end, pitch) of a staff as voices in which nothing overlaps; upper notes come first.

    Only in the last of VOICES may chords overlap, where so much is held that there is no other way.
    """
    chords = [
        Chord(*times, [pitch for *_, pitch in group])
        for times, group in groupby(sorted(notes), key=lambda note: note[:2])
    ]
    found: list[list[Chord]] = []
    for chord in sorted(chords, key=lambda chord: (chord.start, -max(chord.pitches))):
        free = next((voice for voice in found if voice[-1].end <= chord.start), None)
        if free is None and len(found) < VOICES:
            free = []
            found.append(free)
        (found[-1] if free is None else free).append(chord)
    return found


# ---- XML ----


def add(parent: Element, name: str, text: object = None, **attributes: object) -> Element:
    """A child element; '-' in the name of an attribute is written '_'."""
    child = SubElement(parent, name, {key.replace("_", "-"): str(value) for key, value in attributes.items()})
    if text is not None:
        child.text = str(text)
    return child


@dataclass
class Staff:
    """A staff of a part: its clef, and its voices as bar -> chords that sound in it."""

    clef: str
    voices: list[dict[int, list[Chord]]]


def staves(notes: np.ndarray, bars: list[Bar]) -> list[Staff]:
    """The staves of a part: one if its notes, rows (start, end, pitch) in order, suit one clef, or one a hand."""
    starts = np.array([bar.start for bar in bars])
    onset, _, pitch = notes.T
    if pitch.min() >= 55:
        hands = {"G": notes}
    elif pitch.max() <= 64:
        hands = {"F": notes}
    else:
        right = pitch >= splits(onset, pitch, np.searchsorted(starts, onset, "right"))
        hands = {"G": notes[right], "F": notes[~right]}
    found = []
    for clef, played in hands.items():
        found.append(Staff(clef, []))
        for voice in voices([tuple(note) for note in played.tolist()]):
            sounding: dict[int, list[Chord]] = {}
            for chord in voice:
                first, last = np.searchsorted(starts, [chord.start, chord.end - 1], "right") - 1
                for i in range(first, last + 1):
                    sounding.setdefault(i, []).append(chord)
            found[-1].voices.append(sounding)
    return found


@dataclass
class Written:
    """What the notes of a chord, or a rest, have in common on paper."""

    length: int  # steps, one of LENGTHS
    voice: int
    staff: int
    tuplet: str = ""  # 'start' or 'stop' of a bracket


def add_note(
    measure: Element, how: Written, name: tuple | None = None, ties: tuple[str, ...] = (), chord: bool = False
) -> None:
    """A note named (step, alteration, octave), or a rest. `ties` holds 'stop' and 'start' as far as there are any;
    `chord`: it is struck together with the note before it."""
    note = add(measure, "note")
    if chord:
        add(note, "chord")
    inner = add(note, "pitch" if name else "rest")
    for part, value in zip(("step", "alter", "octave"), name or (), strict=False):
        if value or part != "alter":
            add(inner, part, value)
    add(note, "duration", how.length)
    for tie in ties:
        add(note, "tie", type=tie)
    add(note, "voice", how.voice)
    kind, dots = (PLAIN | TRIPLET)[how.length]
    add(note, "type", kind)
    for _ in range(dots):
        add(note, "dot")
    if how.length in TRIPLET:
        ratio = add(note, "time-modification")
        add(ratio, "actual-notes", 3)
        add(ratio, "normal-notes", 2)
    add(note, "staff", how.staff)
    notations = Element("notations")
    for tie in ties:
        add(notations, "tied", type=tie)
    if how.tuplet and not chord:
        add(notations, "tuplet", type=how.tuplet)
    if len(notations):
        note.append(notations)


def add_voice(measure: Element, bar: Bar, chords: list[Chord], voice: int, staff: int, key: tuple[int, int]) -> None:
    """The notes and rests of a voice in a bar. In all voices but the first of a staff rests are left blank."""
    if not chords:
        note = add(measure, "note")
        add(note, "rest", measure="yes")
        add(note, "duration", bar.end - bar.start)
        add(note, "voice", voice)
        add(note, "staff", staff)
        return
    within = {time for chord in chords for time in (chord.start, chord.end) if bar.start < time < bar.end}
    points = [bar.start, *sorted(within), bar.end]
    beats = bar.beats()
    cuts = [cut for beat in zip(beats, beats[1:], strict=False) for cut in cells(*beat, points)]
    for start, end in zip(points, points[1:], strict=False):
        sounding = [
            (chord, pitch) for chord in chords if chord.start <= start and end <= chord.end for pitch in chord.pitches
        ]
        lengths = values(start, end, cuts, bar)
        if not sounding and voice % VOICES != 1 and TRIPLET.keys().isdisjoint(lengths):
            add(add(measure, "forward"), "duration", end - start)
            continue
        at = start
        for length in lengths:
            how = Written(length, voice, staff)
            if length in TRIPLET:
                how.tuplet = "start" if at in cuts else "stop" if at + length in [*cuts, bar.end] else ""
            if not sounding:
                add_note(measure, how)
            for i, (chord, pitch) in enumerate(sounding):
                ties = ("stop",) * (chord.start < at) + ("start",) * (at + length < chord.end)
                add_note(measure, how, spelling(pitch, *key), ties, i > 0)
            at += length


def add_attributes(measure: Element, bar: Bar, first: bool, key: tuple[int, int], clefs: list[str]) -> None:
    """What stands at the beginning of the part, and where the metre changes."""
    attributes = add(measure, "attributes")
    if first:
        add(attributes, "divisions", GRID)
        signature = add(attributes, "key")
        add(signature, "fifths", key[0])
        add(signature, "mode", "minor" if key[1] else "major")
    time = add(attributes, "time")
    add(time, "beats", bar.numerator)
    add(time, "beat-type", bar.denominator)
    if first:
        add(attributes, "staves", len(clefs))
        add(attributes, "part-symbol", "brace")
        for number, sign in enumerate(clefs, 1):
            clef = add(attributes, "clef", number=number)
            add(clef, "sign", sign)
            add(clef, "line", {"G": 2, "F": 4}[sign])


def add_tempo(measure: Element, steps: int, tempo: str, seen: bool) -> None:
    """A tempo, in quarter notes a minute, so many steps after the beginning of a measure: a metronome mark if it is
    to be seen, and heard in any case."""
    parent = add(measure, "direction", placement="above") if seen else measure
    if seen:
        mark = add(add(parent, "direction-type"), "metronome")
        add(mark, "beat-unit", "quarter")
        add(mark, "per-minute", tempo)
        add(parent, "offset", steps)
    sound = add(parent, "sound", tempo=tempo)
    if steps and not seen:
        add(sound, "offset", steps)


def tempos_in(piece: Piece, bars: list[Bar]) -> dict[int, list[tuple[int, str, bool]]]:
    """Number of a bar -> its tempos, for `add_tempo`. A rubato has hundreds: one is seen where it differs clearly from
    the one that was seen last."""
    found, last, starts = {}, 0.0, [bar.start for bar in bars]
    for tick, microseconds in sorted(piece.tempos):
        tempo, step = 60e6 / microseconds, int(to_steps(np.array(tick), piece.ticks_per_quarter, GRID))
        i = max(int(np.searchsorted(starts, step, "right")) - 1, 0)
        seen = abs(tempo - last) > CLEARLY * last
        last = tempo if seen else last
        found.setdefault(i, []).append((step - starts[i], f"{tempo:.4g}", seen))
    return found


def add_part(part: Element, piece: Piece, bars: list[Bar], key: tuple[int, int], tempos: dict[int, list]) -> None:
    """The measures of one instrument, with the `tempos_in` some of them."""
    start, end = (to_steps(a, piece.ticks_per_quarter, GRID) for a in (piece.onset, piece.onset + piece.duration))
    start = np.minimum(start, bars[-1].end - 1)
    notes = np.stack([start, np.clip(end, start + 1, bars[-1].end), piece.pitch], axis=1)
    notes = notes[np.lexsort((-notes[:, 1], notes[:, 2], notes[:, 0]))]
    # Of notes on one key at one time the longest is written.
    notes = notes[np.r_[True, (np.diff(notes[:, [0, 2]], axis=0) != 0).any(axis=1)]]
    found = staves(notes, bars)
    for i, bar in enumerate(bars):
        measure = add(part, "measure", number=i + 1)
        if i == 0 or (bar.numerator, bar.denominator) != (bars[i - 1].numerator, bars[i - 1].denominator):
            add_attributes(measure, bar, i == 0, key, [staff.clef for staff in found])
        for tempo in tempos.get(i, []):
            add_tempo(measure, *tempo)
        for number, staff in enumerate(found):
            for voice, sounding in enumerate(staff.voices or [{}]):
                if voice and i not in sounding:
                    continue
                if number or voice:
                    add(add(measure, "backup"), "duration", bar.end - bar.start)
                add_voice(measure, bar, sounding.get(i, []), VOICES * number + voice + 1, number + 1, key)


def write(piece: Piece, path: Path, title: str) -> None:
    """Write a piece as MusicXML, on the GRID. Raises OSError."""
    root = Element("score-partwise", version="4.0")
    add(add(root, "work"), "work-title", printable(title))
    part_list = add(root, "part-list")
    bars, key = bars_of(piece), key_of(piece)
    tempos = tempos_in(piece, bars)
    for program in np.unique(piece.program).tolist():
        name = f"P{program + 1}"
        about = add(part_list, "score-part", id=name)
        add(about, "part-name", INSTRUMENTS[program])
        add(add(about, "score-instrument", id=f"{name}-I"), "instrument-name", INSTRUMENTS[program])
        add(add(about, "midi-instrument", id=f"{name}-I"), "midi-program", program + 1)
        add_part(add(root, "part", id=name), piece.take(piece.program == program), bars, key, tempos)
        tempos = {}  # they stand over the first part and hold for all
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, "utf-8", xml_declaration=True)
