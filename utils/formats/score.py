"""Score formats that music21 reads (MusicXML, ABC, Humdrum kern, MEI, ...) -> Piece.

Repeats are not played out, grace notes and chord symbols are left out, and transposing instruments sound as they do.
"""

from pathlib import Path

import numpy as np
from music21 import chord, converter, corpus, harmony, instrument, note, stream

from utils.errors import UserError
from utils.formats import SCORE_ENDINGS
from utils.midi import Piece

TICKS_PER_QUARTER = 3360  # 2^5 * 3 * 5 * 7: triplets, quintuplets and septuplets fall on whole ticks
VELOCITY = 80  # of notes for which the score gives no dynamics


def ticks(quarters: float) -> int:
    """Quarter notes -> ticks."""
    return round(quarters * TICKS_PER_QUARTER)


def part_notes(part: stream.Stream) -> list[tuple[int, int, int, int, int]]:
    """(onset, pitch, duration, velocity, program) of the notes of a part, ties joined."""
    player = part.getInstrument(returnDefault=True)
    if isinstance(player, instrument.UnpitchedPercussion):
        return []
    program = player.midiProgram or 0
    rows = []
    for element in part.toSoundingPitch().stripTies().flatten().notes:
        # Not chord symbols, nor unpitched percussion in a pitched part.
        written = isinstance(element, note.Note | chord.Chord) and not isinstance(element, harmony.Harmony)
        length = ticks(element.quarterLength)
        if written and not element.duration.isGrace and length > 0:
            velocity = min(max(element.volume.velocity or VELOCITY, 1), 127)
            rows += [(ticks(element.offset), pitch.midi, length, velocity, program) for pitch in element.pitches]
    return [row for row in rows if 0 <= row[1] <= 127]


def to_piece(score: stream.Stream) -> Piece:
    """The notes of a music21 score, and its tempos, metres and keys. Raises ValueError if it has no notes."""
    parts = list(score.parts) if isinstance(score, stream.Score) and score.parts else [score]
    columns = np.array([row for part in parts for row in part_notes(part)]).T
    if not columns.size:
        raise ValueError("it has no notes")
    # With an upbeat the first measure lacks its beginning: all is moved later by that, so that bar lines stay in place.
    first = next(iter(parts[0].getElementsByClass(stream.Measure)), None)
    upbeat = ticks(first.paddingLeft) if first is not None else 0
    flat = parts[0].flatten()

    def moved(quarters: float) -> int:
        return ticks(quarters) + upbeat if quarters else 0

    marks = [(moved(start), mark.getQuarterBPM() or 120) for start, _, mark in score.metronomeMarkBoundaries()]
    columns[0] += upbeat
    return Piece(
        *columns,
        TICKS_PER_QUARTER,
        tempos=list({start: (start, round(60e6 / bpm)) for start, bpm in marks if 4 <= bpm <= 1000}.values()),
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
    ).sorted()


def read(path: Path) -> list[Piece]:
    """The pieces in a file, usually one; an ABC tune book has many. Raises UserError that names the file."""
    try:
        # forceSource: or else music21 reads a pickle of the file that an earlier run left in a temporary folder.
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
        raise UserError(f"music21's corpus has no scores by {composer!r}: try bach, mozart, beethoven or palestrina.")
    return sorted(paths)
