"""Where the bars, metres and keys of a score are, and which of its notes are heard."""

from pathlib import Path

import pytest
from conftest import make_piece

from utils import theory, tonality
from utils.formats import score
from utils.piece import Piece

FOUR = "<attributes><divisions>1</divisions>{}<time><beats>4</beats><beat-type>4</beat-type></time></attributes>"
REST = '<note><rest measure="yes"/><duration>{}</duration></note>'


def sung(letters: str, more: str = "") -> str:
    """Quarter notes C4, D4, ..."""
    one = "<note>{}<pitch><step>{}</step><octave>4</octave></pitch><duration>1</duration>{}</note>"
    return "".join(one.format("", letter, more) for letter in letters)


def read(path: Path, *parts: list[str], upbeat: bool = False) -> Piece:
    """The piece in a MusicXML score with the measures of each part, the first of which may be an `upbeat`."""
    names = "".join(f'<score-part id="P{i}"><part-name>P{i}</part-name></score-part>' for i in range(len(parts)))
    text = f'<score-partwise version="4.0"><part-list>{names}</part-list>'
    for i, measures in enumerate(parts):
        text += f'<part id="P{i}">'
        for n, measure in enumerate(measures, 1 - upbeat):
            text += f'<measure number="{n}" implicit="{"no" if n else "yes"}">{measure}</measure>'
        text += "</part>"
    path.write_text(f"{text}</score-partwise>", encoding="utf-8")
    (piece,) = score.read(path)
    return piece


def places(piece: Piece, part: int) -> list[float]:
    return (piece.onset[piece.part == part] / piece.ticks_per_quarter).tolist()


def test_parts_stay_in_step_where_one_rests_during_an_upbeat(tmp_path: Path):
    """music21 takes that rest for a whole bar."""
    time = FOUR.format("")
    parts = [time + REST.format(1), sung("CDEF")], [time + sung("G"), sung("CDEF")]
    piece = read(tmp_path / "a.musicxml", *parts, upbeat=True)
    assert places(piece, 0) == [4, 5, 6, 7] and places(piece, 1) == [3, 4, 5, 6, 7]


def test_parts_stay_in_step_after_a_bar_that_a_file_has_filled_badly(tmp_path: Path):
    first = FOUR.format("") + sung("CDEF")
    piece = read(tmp_path / "a.musicxml", [first, sung("CDE"), sung("G")], [first, sung("CDEF"), sung("G")])
    assert places(piece, 0)[-1] == places(piece, 1)[-1] == 8


def test_the_metre_is_counted_anew_after_a_short_bar(tmp_path: Path):
    """Such as a first ending before an upbeat; where both make a full bar, it goes on."""
    bars = [FOUR.format("") + sung("G"), sung("CDEF"), sung("CD"), sung("CDEF"), sung("CDE"), sung("G"), sung("CDEF")]
    piece = read(tmp_path / "a.musicxml", bars, upbeat=True)
    assert [tick / piece.ticks_per_quarter for tick, *_ in piece.time_signatures] == [0, 10]
    assert [tick / piece.ticks_per_quarter for tick, *_ in piece.bars()] == [0, 4, 8, 10, 14, 18]


def test_the_key_is_that_of_most_parts_that_have_one(tmp_path: Path):
    keys = ["", "<key><fifths>3</fifths><mode>minor</mode></key>", "<key><fifths>3</fifths></key>"]
    keys += ["<key><fifths>0</fifths></key>"]
    piece = read(tmp_path / "a.musicxml", *([FOUR.format(key) + sung("CDEF")] for key in keys))
    assert piece.key_signatures == [(0, 3, 1)]


def test_cues_and_slashes_are_not_heard(tmp_path: Path):
    bar = FOUR.format("") + sung("C") + sung("DE", "<notehead>slash</notehead>")
    bar += sung("F").replace("<note>", "<note><cue/>")
    assert read(tmp_path / "a.musicxml", [bar]).pitch.tolist() == [60]


@pytest.mark.parametrize(("first", "notes"), [("G", 4), ("TAB", 8)])
def test_a_tablature_is_left_out_beside_its_staff_and_read_without_one(tmp_path: Path, first: str, notes: int):
    clefs = f"<staves>2</staves><clef number='1'><sign>{first}</sign></clef><clef number='2'><sign>TAB</sign></clef>"
    upper, lower = (sung("CDEF", f"<staff>{staff}</staff>") for staff in (1, 2))
    bar = FOUR.replace("</attributes>", f"{clefs}</attributes>").format("") + upper
    piece = read(tmp_path / "a.musicxml", [f"{bar}<backup><duration>4</duration></backup>{lower}"])
    assert len(piece) == notes


def test_drums_that_nobody_can_know_are_reported(tmp_path: Path):
    bar = FOUR.format("") + "<note><unpitched/><duration>1</duration></note>" * 2
    piece = read(tmp_path / "a.musicxml", [bar], [FOUR.format("") + sung("CDEF")])
    assert piece.damage == "the score does not say which drum plays 2 notes of P0: left out"
    assert len(piece) == 4


ABC = "X:1\nT:One\nM:4/4\nL:1/4\nK:C\n"


def abc(path: Path, text: str) -> Piece:
    path.write_text(text)
    return score.read(path)[0]


@pytest.mark.parametrize("change", ["[K:D]{}[M:3/4]", "\nK:D\n{}\nM:3/4\n"])
def test_a_change_of_key_or_metre_in_abc_is_heard(change: str, tmp_path: Path):
    """Also within a line of music, which music21 skips, or alone on a line, which it takes for no change."""
    piece = abc(tmp_path / "a.abc", f"{ABC}F C F C|{change.format(' F C F C|')} F2 C|]\n")
    assert piece.pitch.tolist() == [65, 60, 65, 60, 66, 61, 66, 61, 66, 61]
    quarter = piece.ticks_per_quarter
    assert piece.key_signatures == [(0, 0, 0), (4 * quarter, 2, 0)]
    assert piece.time_signatures == [(0, 4, 4), (8 * quarter, 3, 4)]


def test_the_first_metre_survives_a_bar_that_is_too_full(tmp_path: Path):
    """For which music21 inserts a metre, and moves the one object that it uses for both bars around it."""
    piece = abc(tmp_path / "a.abc", f"{ABC.replace('4/4', '2/4')}C D|E F G/|A B|c d|]\n")
    assert piece.time_signatures[0] == (0, 2, 4)


def test_a_key_signature_with_sharps_or_flats_is_believed():
    """Even if another key fits the first notes better: here A minor, the relative of the key that the piece is in."""
    piece = make_piece([(i * 480, pitch, 480) for i, pitch in enumerate((69, 72, 76, 69, 71, 72, 69, 69))])
    assert tonality.of_fragment(piece).name == "A minor"
    fits = theory.key_fits(piece.pitch, piece.duration)
    for signature, expected in {(0, 0, 0): "A minor", (0, 0, 1): "A minor", (0, -1, 0): "F major"}.items():
        piece.key_signatures = [signature]
        assert tonality.of_fragment(piece).name == expected, fits


def test_a_change_of_key_is_believed_for_the_notes_after_it():
    tune = (60, 62, 64, 65, 67, 67, 60, 60)
    rows = [(i * 480, pitch, 480) for i, pitch in enumerate((*tune, *tune, *(pitch + 2 for pitch in tune)))]
    changed = make_piece(rows, key_signatures=[(0, 0, 0), (16 * 480, 2, 0)])
    assert tonality.of_fragment(changed).name == "D major"
    changed.key_signatures = [(0, 0, 0), (24 * 480, 2, 0)]  # after the last note
    assert tonality.of_fragment(changed).name == "C major"
