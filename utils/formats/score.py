"""Score formats that music21 reads (MusicXML, ABC, Humdrum kern, MEI, ...) -> Piece.

Repeats are not expanded, grace notes and chord symbols are left out, and transposing instruments are at sounding pitch.
"""

import contextlib
import itertools
import os
import warnings
import zipfile
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from music21 import chord, converter, corpus, harmony, instrument, note, stream
from music21.musicxml import xmlToM21
from music21.musicxml.xmlObjects import MusicXMLWarning

from utils import midi
from utils.errors import UserError
from utils.formats import SCORE_ENDINGS
from utils.piece import VELOCITY, Part, Piece
from utils.theory import FASTEST, SLOWEST

TICKS_PER_QUARTER = 3360  # 2^5 * 3 * 5 * 7: triplets, quintuplets and septuplets fall on whole ticks
LARGEST = 100e6  # bytes of an unpacked archive: ten times a symphony
CHOIR = 52  # the program of every singer
# Programs that scores in music21's corpus also give to other instruments: none, piano, strings, ... If the name of such
# a part says what plays, the name is right.
CARELESS = (None, 0, 6, 24, 40, 41, 42, 43, 48, 54, 68)
# Names of voices that music21 does not know.
VOICES = "cantus superius discantus altus bassus contratenor quintus quinto triplum motetus vocal gesang".split()


def ticks(quarters: float) -> int:
    """Quarter notes -> ticks."""
    return round(quarters * TICKS_PER_QUARTER)


music21s_note = xmlToM21.MeasureParser.xmlToSimpleNote


def note_with_key(reader: xmlToM21.MeasureParser, element: Element, *args, **kwargs) -> note.NotRest:
    """A MusicXML note as music21 reads it, with the key of the drum added. By itself music21 knows one instrument per
    part, but a drum kit has many, and each note names one by its id."""
    result, drum = music21s_note(reader, element, *args, **kwargs), element.find("instrument")
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
        for name in names:
            with contextlib.suppress(instrument.InstrumentException):
                player = instrument.fromString(name)
                break
        else:
            player = instrument.Choir() if any(voice in names[0].lower() for voice in VOICES) else player
    return CHOIR if isinstance(player, instrument.Vocalist) else player.midiProgram or 0


def key(element: note.NotRest, player: instrument.Instrument) -> tuple[int | None, bool]:
    """The MIDI pitch of a note or the key of a drum (None if the file does not say), and whether it is a drum."""
    if isinstance(element, note.Note) and not isinstance(player, instrument.UnpitchedPercussion):
        return element.pitch.midi, False
    return getattr(element.storedInstrument or player, "percMapPitch", None), True


def read_part(part: stream.Stream, number: int) -> tuple[list[Part], list[tuple[int, int, int, int, int]]]:
    """Two parts, of pitched notes and of drums, numbered 2 * `number` and 2 * `number` + 1; and their notes as (onset,
    pitch, duration, velocity, part), with ties joined, which also changes `part`."""
    player = part.getInstrument(returnDefault=True)
    names = [name for name in (getattr(part, "partName", ""), player.partName, player.instrumentName) if name] or [""]
    name, rows = midi.readable(names[0]), []
    # In place: copying a part takes twice as long as reading it.
    part.toSoundingPitch(inPlace=True)
    part.stripTies(inPlace=True)
    for element in part.flatten().notes:
        length = ticks(element.quarterLength)
        if isinstance(element, harmony.Harmony) or element.duration.isGrace or length <= 0:  # chord symbols, graces
            continue
        velocity = min(max(element.volume.velocity or VELOCITY, 1), 127)
        for single in element.notes if isinstance(element, chord.ChordBase) else [element]:
            pitch, drums = key(single, player)
            if pitch in range(128):
                rows.append((ticks(element.offset), pitch, length, velocity, 2 * number + drums))
    return [Part(name, program(player, names)), Part(name, drums=True)], rows


def to_piece(score: stream.Stream) -> Piece:
    """The notes of a music21 score, and its tempos, metres and keys. Raises ValueError if it has no notes."""
    parts = list(score.parts) if isinstance(score, stream.Score) and score.parts else [score]
    players, rows = zip(*(read_part(part, number) for number, part in enumerate(parts)), strict=True)
    columns = np.array(list(itertools.chain(*rows))).T
    if not columns.size:
        raise ValueError("it has no notes")
    # With an upbeat the first measure lacks its beginning: all is moved later by that much, to keep bar lines in place.
    first = next(iter(parts[0].getElementsByClass(stream.Measure)), None)
    upbeat = ticks(first.paddingLeft) if first is not None else 0
    flat = parts[0].flatten()  # at sounding pitch, including the keys of transposing instruments

    def moved(quarters: float) -> int:
        return ticks(quarters) + upbeat if quarters else 0

    marks = [(moved(start), mark.getQuarterBPM() or 120) for start, _, mark in score.metronomeMarkBoundaries()]
    columns[0] += upbeat
    piece = Piece(
        *columns,
        list(itertools.chain(*players)),
        TICKS_PER_QUARTER,
        tempos=list({start: (start, round(60e6 / bpm)) for start, bpm in marks if SLOWEST <= bpm <= FASTEST}.values()),
        # A MIDI file has one byte for the numerator, and a power of two as denominator.
        time_signatures=[
            (moved(t.offset), t.numerator, t.denominator)
            for t in flat.getElementsByClass("TimeSignature")
            if t.numerator < 256 and t.denominator in (1, 2, 4, 8, 16, 32, 64)
        ],
        key_signatures=[
            (moved(k.offset), k.sharps, int(getattr(k, "mode", None) == "minor"))
            for k in flat.getElementsByClass("KeySignature")
            if k.sharps is not None and -7 <= k.sharps <= 7
        ],
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


def read(path: Path) -> list[Piece]:
    """The pieces in a file, usually one; an ABC tune book has many. Raises a UserError that names the file."""
    try:
        check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MusicXMLWarning)  # of drums that music21 has no name for
            # forceSource: otherwise music21 reads a pickle of the file that an earlier run left in a temporary folder.
            parsed = converter.parse(path, forceSource=True)
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
