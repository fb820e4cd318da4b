"""Piece -> MusicXML, for notation programs (layout: MusicXML 4.0, score-partwise).

A score part for each player of `notation`. Each drum is an instrument, so that programs play it with their percussion.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from utils import files, theory, tonality
from utils.errors import UserError
from utils.instruments import drum
from utils.midi import DRUM_CHANNEL
from utils.output import notation
from utils.output.notation import TRIPLET, VALUES, VOICES, Chord, Clef, Player, cells, values
from utils.piece import Piece
from utils.theory import GRID, Bar, Metre, to_steps
from utils.tonality import LETTERS

Key = tuple[int, int]  # sharps, 1 if minor
LONGEST = 2**14  # quarter notes, and bars: hours of music; a MIDI file may have more than fits into memory as XML
BEATS = {3 * GRID // 4: ("eighth", True), GRID: ("quarter", False), 3 * GRID // 2: ("quarter", True)}
BEATS |= {2 * GRID: ("half", False)}  # steps -> note value in which tempos are given, and whether it is dotted
CLEARLY = 0.1  # a tempo that differs by this share from the one before is written down; a smaller change is rubato
# The staff position of each drum, and the shape of its note head if that is not round (as in MuseScore's drum set).
PLACES = {35: "E4", 36: "F4", 37: "C5 x", 38: "C5", 39: "D5 x", 40: "C5", 41: "G4", 42: "G5 x", 43: "A4", 44: "D4 x",
          45: "B4", 46: "G5 circle-x", 47: "D5", 48: "E5", 49: "A5 x", 50: "F5", 51: "F5 x", 52: "C6 x",
          53: "F5 diamond", 54: "D5 diamond", 55: "C6 diamond", 56: "E5 triangle", 57: "B5 x", 59: "E5 x"}  # fmt: skip
OTHER_PLACES = ("B4 diamond", "D5 triangle", "E5 diamond", "A4 triangle", "G4 diamond")  # of other drums, by their keys


class Head(NamedTuple):
    """What distinguishes a note from others of its length."""

    pitch: Element
    instrument: Element | None = None
    shape: Element | None = None


def tag(name: str, *content: object, **attributes: object) -> Element:
    """An element; content and attributes that are None are left out, and content that is not an element is its text."""
    element = Element(name, {key: str(value) for key, value in attributes.items() if value is not None})
    for part in content:
        if isinstance(part, Element):
            element.append(part)
        elif part is not None:
            element.text = str(part)
    return element


def spelling(pitch: int, sharps: int, minor: int) -> tuple[str, int, int]:
    """(step, alteration, octave) of a pitch in a key. Of the names of its pitch class this is the one among twelve
    neighbours on the line of fifths (... Bb F C G D ...), from Eb to G# in C major and from Bb to D# in A minor."""
    lowest = sharps - 3 + minor
    fifths = (7 * pitch - lowest) % 12 + lowest
    alteration, letter = divmod(fifths + 1, 7)
    return LETTERS[letter], alteration, (pitch - alteration) // 12 - 1


def head(pitch: int, key: Key | None, name: str) -> Head:
    """What is written for a pitch in a `key` (None for drums); the id of each drum begins with `name`, the id of its
    player."""
    if key is None:
        place, *shape = PLACES.get(pitch, OTHER_PLACES[pitch % len(OTHER_PLACES)]).split()
        where = tag("unpitched", tag("display-step", place[0]), tag("display-octave", place[1]))
        return Head(where, tag("instrument", id=f"{name}-I{pitch + 1}"), *(tag("notehead", form) for form in shape))
    step, alteration, octave = spelling(pitch, *key)
    alter = tag("alter", alteration) if alteration else None
    return Head(tag("pitch", tag("step", step), alter, tag("octave", octave)))


def note_tag(head: Head, length: int, place: tuple[int, int], ties: list[str], tuplet: str, chord: bool) -> Element:
    """A note or rest of one of LENGTHS; `place` is its voice and staff. `ties` holds 'stop', 'start', both or neither;
    `tuplet` is 'start' or 'stop' where a bracket begins or ends, else ''; `chord`: it sounds with the note before."""
    value, dots = VALUES[length]
    ratio = tag("time-modification", tag("actual-notes", 3), tag("normal-notes", 2)) if length in TRIPLET else None
    notations = [tag("tied", type=tie) for tie in ties] + [tag("tuplet", type=tuplet)] * (tuplet != "")
    what = [tag("chord")] * chord + [head.pitch, tag("duration", length), *(tag("tie", type=tie) for tie in ties)]
    shape = [tag("type", value), *(tag("dot") for _ in range(dots)), ratio, head.shape, tag("staff", place[1])]
    shape.append(tag("notations", *notations) if notations else None)
    return tag("note", *what, head.instrument, tag("voice", place[0]), *shape)


def voice_tags(bar: Bar, chords: list[Chord], place: tuple[int, int], key: Key | None, name: str) -> Iterator[Element]:
    """The notes and rests of a voice in a bar; `place` is its voice and staff, `key` and `name` are as for `head`.
    Rests are left blank in all voices but the first of a staff."""
    if not chords and bar.number:  # not in a pickup, since programs would make such a rest as long as a whole bar
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
                yield note_tag(Head(tag("rest")), length, place, [], tuplet, False)
            for i, (begin, until, pitch) in enumerate(sounding):
                ties = ["stop"] * (begin < at) + ["start"] * (after < until)
                yield note_tag(head(pitch, key, name), length, place, ties, "" if i else tuplet, i > 0)
            at = after


def attributes_tag(key: Key | None, metre: Metre | None, clefs: list[Clef]) -> Element:
    """The attributes where a part begins, with its `clefs`, or where `key` or `metre` changes (None: it does not)."""
    divisions = tag("divisions", GRID) if clefs else None
    time = tag("time", tag("beats", metre[0]), tag("beat-type", metre[1])) if metre else None
    signature = tag("key", tag("fifths", key[0]), tag("mode", "minor" if key[1] else "major")) if key else None
    braced = [tag("staves", len(clefs)), tag("part-symbol", "brace")] if len(clefs) > 1 else []
    signs = []
    for i, clef in enumerate(clefs, 1):
        octaves = tag("clef-octave-change", clef.octaves) if clef.octaves else None
        signs.append(tag("clef", tag("sign", clef.sign), tag("line", clef.line), octaves, number=i))
    return tag("attributes", divisions, signature, time, *braced, *signs)


def tempo_tags(piece: Piece, bars: list[Bar]) -> dict[int, list[Element]]:
    """Index of a bar -> its tempos. A rubato has hundreds: a metronome mark shows the first tempo, and each one that
    differs clearly from the last one shown and then holds for a bar; the others are only for playback."""
    tags, shown, starts = defaultdict(list), 0.0, [bar.start for bar in bars]
    ticks, lengths = np.array(piece.tempos, dtype=int).reshape(-1, 2).T
    changes = to_steps(ticks, piece.ticks_per_quarter, GRID)
    steps, last = np.unique(changes[::-1], return_index=True)  # of several at the same time the last one counts
    tempos = 60e6 / lengths[::-1][last]
    for n, (step, tempo) in enumerate(zip(steps.tolist(), tempos.tolist(), strict=True)):
        i = int(np.searchsorted(starts, step, "right")) - 1
        until = step + bars[i].end - bars[i].start
        bar = tempos[n : np.searchsorted(steps, until)]
        steady = until <= bars[-1].end and np.ptp(bar) <= CLEARLY * tempo
        mark = tag("words", "\u00a0")  # for playback only: without any words MuseScore would show the number
        if not shown or (steady and abs(tempo - shown) > CLEARLY * shown):
            shown = tempo
            beat = 2 * GRID if bars[i].metre[1] == 2 else bars[i].beat
            beat = beat if beat in BEATS else GRID
            unit, dot = BEATS[beat]
            per_minute = tag("per-minute", round(tempo * GRID / beat))
            mark = tag("metronome", tag("beat-unit", unit), tag("beat-unit-dot") if dot else None, per_minute)
        where = tag("direction-type", mark), tag("offset", max(step - bars[i].begin, 0))
        tags[i].append(tag("direction", *where, tag("sound", tempo=f"{tempo:.4g}"), placement="above"))
    return tags


def measures(
    player: Player, name: str, bars: list[Bar], keys: list[Key | None], tempos: dict[int, list]
) -> Iterator[Element]:
    """The measures of a player with the id `name`, each in its key (None for drums), with `tempos` as `tempo_tags`
    returns them."""
    before, lines = (None, None), {}
    for s, (_, staff) in enumerate(player.staves):
        lines |= {(VOICES * s + v + 1, s + 1): line for v, line in enumerate(staff)}
    for i, bar in enumerate(bars):
        measure = tag("measure", number=bar.number, implicit=None if bar.number else "yes")
        sharps = keys[i] and keys[i][0]
        new = keys[i] if sharps != before[0] else None, bar.metre if bar.metre != before[1] else None
        if any(new):
            measure.append(attributes_tag(*new, [clef for clef, _ in player.staves] if i == 0 else []))
        before = sharps, bar.metre
        measure.extend(tempos.get(i, []))
        for place, sounding in lines.items():
            if i not in sounding and place[0] % VOICES != 1:
                continue
            if place != (1, 1):
                measure.append(tag("backup", tag("duration", bar.end - bar.begin)))
            measure.extend(voice_tags(bar, sounding.get(i, []), place, keys[i], name))
        if bar is bars[-1]:
            measure.append(tag("barline", tag("bar-style", "light-heavy"), location="right"))
        yield measure


def printable(words: str) -> str:
    """Words without control characters, which XML does not allow."""
    return "".join(filter(str.isprintable, words))


def score_part(player: Player, name: str) -> Element:
    """The entry of a player with the id `name` in the list of parts: what it is called, and how it sounds."""
    program, called = tag("midi-program", player.part.program + 1), printable(player.name)
    word, number = re.fullmatch(r"(.*?)( \d+)?", called).groups("")
    short = word if len(word) < 7 else f"{word[:4].rstrip(' -.,:(')}."
    names = tag("part-name", called), tag("part-abbreviation", short + number)
    if not player.part.drums:
        instrument = tag("score-instrument", tag("instrument-name", called), id=f"{name}-I1")
        return tag("score-part", *names, instrument, tag("midi-instrument", program, id=f"{name}-I1"), id=name)
    chords = [chord for _, lines in player.staves for line in lines for some in line.values() for chord in some]
    struck = sorted({pitch for *_, pitches in chords for pitch in pitches})
    drums = {f"{name}-I{pitch + 1}": pitch for pitch in struck}
    listed = [tag("score-instrument", tag("instrument-name", drum(pitch)), id=i) for i, pitch in drums.items()]
    on = tag("midi-channel", DRUM_CHANNEL + 1)
    sounds = [tag("midi-instrument", on, program, tag("midi-unpitched", p + 1), id=i) for i, p in drums.items()]
    return tag("score-part", *names, *listed, *sounds, id=name)


def write(piece: Piece, path: Path, title: str, prior: Piece | None = None) -> None:
    """Write a piece, which may continue the fragment `prior`, as MusicXML, on the GRID. Raises UserError if it is too
    long or cannot be written."""
    bars = theory.bars(piece.bars(), piece.onset, piece.ticks_per_quarter)
    if max(len(bars), bars[-1].end / GRID) > LONGEST:
        raise UserError(f"it has more than {LONGEST:,} quarter notes or bars, which is too long for a score")
    tempos, listed, parts = tempo_tags(piece, bars), [], []
    signatures = tonality.signatures(piece, prior)
    begins = to_steps(np.array([tick for tick, *_ in signatures]), piece.ticks_per_quarter, GRID)
    written = [signatures[i][1:] for i in np.searchsorted(begins, [bar.start for bar in bars], "right") - 1]
    for number, player in enumerate(notation.players(piece, bars), 1):
        name = f"P{number}"
        keys = [None] * len(bars) if player.part.drums else written
        listed.append(score_part(player, name))
        parts.append(tag("part", *measures(player, name, bars, keys, tempos), id=name))
        tempos = {}  # they stand over the first part and apply to all
    work = tag("work", tag("work-title", printable(title)))
    root = tag("score-partwise", work, tag("part-list", *listed), *parts, version="4.0")
    ElementTree.indent(root)
    files.write(path, ElementTree.tostring(root, "utf-8", xml_declaration=True))
