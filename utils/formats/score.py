"""Score formats that music21 reads (MusicXML, ABC, Humdrum kern, MEI, ...) -> Piece.

Repeats are not expanded, grace notes and chord symbols are left out, and transposing instruments are at sounding pitch.
"""

import contextlib
import itertools
import os
import re
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from music21 import chord, clef, converter, corpus, harmony, instrument, note, stream
from music21.musicxml import xmlToM21
from music21.musicxml.xmlObjects import MusicXMLWarning

from utils import midi
from utils.errors import UserError
from utils.formats import SCORE_ENDINGS, measures
from utils.formats.measures import ticks
from utils.instruments import INSTRUMENTS
from utils.piece import VELOCITY, Part, Piece, plural
from utils.theory import FASTEST, SLOWEST

LARGEST = 100e6  # bytes of an unpacked archive: ten times a symphony
CHOIR = 52  # the program of every singer
# General MIDI's nearest to instruments that music21 does not know, or takes for others, by words in their names.
FOLK = {"fiddle": "Fiddle", "nyckelharpa": "Fiddle", "concertina": "Tango Accordion", "melodeon": "Accordion"}
FOLK |= dict.fromkeys(("mandolin", "bouzouki"), "Acoustic Guitar (steel)") | {"bass guitar": "Electric Bass (finger)"}
# Programs that scores in music21's corpus also give to other instruments: none, piano, strings, ... If the name of such
# a part says what plays, the name is right.
CARELESS = (None, 0, 6, 24, 40, 41, 42, 43, 48, 54, 68)
NEVER_SUNG = (24, 40, 41, 43, 48)  # of these: a "Bass" that has them is no singer
ABC_FIELD = re.compile(r"\[([KML]:[^]\n]*)\]")  # a change of key, metre or unit within a line of music
# Names of voices that music21 does not know.
VOICES = "cantus superius discantus altus bassus contratenor quintus quinto triplum motetus vocal gesang".split()


music21s_note = xmlToM21.MeasureParser.xmlToSimpleNote


def note_with_key(reader: xmlToM21.MeasureParser, element: Element, *args, **kwargs) -> note.NotRest:
    """A MusicXML note as music21 reads it, with the key of the drum and `is_cue` added. By itself music21 knows one
    instrument per part, but a drum kit has many, and each note names one by its id."""
    result, drum = music21s_note(reader, element, *args, **kwargs), element.find("instrument")
    result.is_cue = element.find("cue") is not None
    if isinstance(result, note.Unpitched) and drum is not None:
        result.storedInstrument = instrument.UnpitchedPercussion()
        for sound in reader.parent.mxScorePart.findall("midi-instrument"):
            if sound.get("id") == drum.get("id") and sound.findtext("midi-unpitched", "").strip().isdecimal():
                result.storedInstrument.percMapPitch = int(sound.findtext("midi-unpitched")) - 1  # counted from 1
    return result


xmlToM21.MeasureParser.xmlToSimpleNote = note_with_key


def program(player: instrument.Instrument, names: list[str]) -> int:
    """The program of a part's instrument, or of the instrument in its `names` if that program is CARELESS. Singers are
    a choir; an unknown instrument is a piano."""
    if player.midiProgram in CARELESS:
        for word, known in FOLK.items():
            if any(word in name.lower() for name in names):
                return INSTRUMENTS.index(known)
        for name in names:
            with contextlib.suppress(instrument.InstrumentException):
                named = instrument.fromString(name)
                sung = isinstance(named, instrument.Vocalist)
                player = player if sung and player.midiProgram in NEVER_SUNG else named
                break
        else:
            player = instrument.Choir() if any(voice in names[0].lower() for voice in VOICES) else player
    return CHOIR if isinstance(player, instrument.Vocalist) else player.midiProgram or 0


def key(element: note.NotRest, player: instrument.Instrument) -> tuple[int | None, bool]:
    """The MIDI pitch of a note or the key of a drum (None if the file does not say), and whether it is a drum."""
    if isinstance(element, note.Note) and not isinstance(player, instrument.UnpitchedPercussion):
        return element.pitch.midi, False
    return getattr(element.storedInstrument or player, "percMapPitch", None), True


def is_sounded(single: note.NotRest) -> bool:
    """Whether a note or a drum is to be heard: cues are what others play, slashes stand for a rhythm without notes."""
    return not getattr(single, "is_cue", False) and single.notehead != "slash"


def without_tablatures(parts: list[stream.Stream]) -> list[stream.Stream]:
    """The parts, less the tablatures that repeat another staff of the same player."""
    players = [str(part.id).partition("-Staff")[0] for part in parts]
    several = {player for player, count in Counter(players).items() if count > 1}
    is_tab = [
        player in several and bool(part.recurse().getElementsByClass(clef.TabClef))
        for part, player in zip(parts, players, strict=True)
    ]
    written = {player for player, tab in zip(players, is_tab, strict=True) if not tab}
    every = zip(parts, players, is_tab, strict=True)
    return [part for part, player, tab in every if not (tab and player in written)]


def read_part(part: stream.Stream, number: int) -> tuple[list[Part], list[tuple[int, int, int, int, int]], str]:
    """Two parts, of pitched notes and of drums, numbered 2 * `number` and 2 * `number` + 1; their notes as (onset,
    pitch, duration, velocity, part), with ties joined, which also changes `part`; and what is left out, if any is."""
    player = part.getInstrument(returnDefault=True)
    names = [name for name in (getattr(part, "partName", ""), player.partName, player.instrumentName) if name] or [""]
    name, rows, lost = midi.readable(names[0]), [], 0
    # In place: copying a part takes twice as long as reading it.
    part.toSoundingPitch(inPlace=True)
    part.stripTies(inPlace=True)
    for element in part.flatten().notes:
        length = ticks(element.quarterLength)
        if isinstance(element, harmony.Harmony) or element.duration.isGrace or length <= 0:  # chord symbols, graces
            continue
        velocity = min(max(element.volume.velocity or VELOCITY, 1), 127)
        for single in filter(is_sounded, element.notes if isinstance(element, chord.ChordBase) else [element]):
            pitch, drums = key(single, player)
            lost += pitch is None
            if pitch in range(128):
                rows.append((ticks(element.offset), pitch, length, velocity, 2 * number + drums))
    left_out = f"the score does not say which drum plays {plural(lost, 'note')} of {name or 'a part'}: left out"
    return [Part(name, program(player, names)), Part(name, drums=True)], rows, left_out * bool(lost)


def to_piece(score: stream.Stream) -> Piece:
    """The notes of a music21 score, and its tempos, metres and keys. Raises ValueError if it has no notes."""
    parts = list(score.parts) if isinstance(score, stream.Score) and score.parts else [score]
    parts = without_tablatures(parts)
    measures.put_in_step(parts)
    players, rows, left_out = zip(*(read_part(part, number) for number, part in enumerate(parts)), strict=True)
    columns = np.array(list(itertools.chain(*rows))).T
    if not columns.size:
        raise ValueError("it has no notes")
    # All is moved later by an upbeat, to keep bar lines in place.
    upbeat = measures.upbeat(parts)
    boundaries = score.metronomeMarkBoundaries()
    marks = [(measures.moved(start, upbeat), mark.getQuarterBPM() or 120) for start, _, mark in boundaries]
    columns[0] += upbeat
    piece = Piece(
        *columns,
        list(itertools.chain(*players)),
        measures.TICKS_PER_QUARTER,
        tempos=list({start: (start, round(60e6 / bpm)) for start, bpm in marks if SLOWEST <= bpm <= FASTEST}.values()),
        time_signatures=measures.metres(parts, upbeat),
        key_signatures=measures.keys(parts, upbeat),
        damage="; ".join(filter(None, left_out)),
    )
    return piece.played().sorted()


def check_archive(path: Path) -> None:
    """Raises ValueError if a file is a ZIP archive, as in some formats, that declares an unpacked size above `LARGEST`;
    more than it declares is never unpacked."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"it would unpack to {size / 1e6:.0f} MB; the limit is {LARGEST / 1e6:.0f} MB")


def with_both_fields(abc: str) -> str:
    """ABC music in which each change of key or metre names both, on lines of their own: music21 skips fields within a
    line of music, and takes one alone for a change of neither."""
    lines, now, header = [], {}, {}
    for line in ABC_FIELD.sub(r"\n\1\n", abc).splitlines():
        field, _, value = line.partition(":")
        if field in ("X", "V"):  # the next tune, whose header ends with its key, or another voice of the same
            now = {} if field == "X" else dict(header)
        changes = field in now and field in ("K", "M") and len(header) == 2
        now |= {field: value} if field in ("K", "M") else {}
        header = dict(now) if field == "K" and not changes else header
        lines += [f"{name}:{now[name]}" for name in ("K", "M")] if changes else [line]
    return "\n".join(lines)


def parse(path: Path) -> stream.Stream:
    """What music21 reads from a file."""
    if path.suffix.lower() == ".abc":
        return converter.parse(with_both_fields(path.read_bytes().decode(errors="replace")), format="abc")
    # forceSource: otherwise music21 reads a pickle of the file that an earlier run left in a temporary folder.
    return converter.parse(path, forceSource=True)


def read(path: Path) -> list[Piece]:
    """The pieces in a file, usually one; an ABC tune book has many. Raises a UserError that names the file."""
    try:
        check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MusicXMLWarning)  # of drums that music21 has no name for
            parsed = parse(path)
        scores = list(parsed.scores) if isinstance(parsed, stream.Opus) else [parsed]
        # A tune book may have an empty tune; a file of nothing else is an error.
        return [to_piece(score) for score in scores if score.recurse().notes] or [to_piece(scores[0])]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be used: {error}.") from None
    except Exception as error:  # music21's parsers raise errors of any kind on a damaged file
        raise UserError(f"{path} cannot be read by music21: {type(error).__name__}: {error}.") from None


def corpus_files(composer: str) -> list[Path]:
    """Paths of a composer's scores in music21's own corpus. Raises UserError if it has none."""
    paths = [Path(path) for path in corpus.getComposer(composer) if Path(path).suffix in SCORE_ENDINGS]
    if not paths:
        known = "bach, haydn, mozart, beethoven or palestrina"
        raise UserError(f"music21's corpus has no scores by {composer!r}: try {known}.")
    return sorted(paths)


def corpus_places(composers: list[str]) -> dict[Path, Path]:
    """Path of each of the composers' scores -> its path in the output folder. Several composers have a folder each, and
    so does a work in several movements. Raises UserError as `corpus_files` does."""
    places = {}
    for composer in composers:
        paths, folder = corpus_files(composer), composer if len(composers) > 1 else ""
        top = os.path.commonpath([path.parent for path in paths])
        places |= {path: Path(folder, path.relative_to(top)) for path in paths}
    return places
