"""Parts that play chords, divided into voices for networks that know no such part."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, call, make_piece, one_line_error, random_piece, save
from music21 import corpus

from utils import checkpoint, events, midi, voicing
from utils.events import Representation
from utils.formats import score
from utils.output import order
from utils.piece import Part, Piece
from utils.vocabulary import Vocabulary, build_vocabulary

CHORALES = ROOT / "weights" / "bach-chorales.weights.h5"
QUARTER = 480


@pytest.fixture(scope="module")
def chorales() -> Vocabulary:
    return checkpoint.load(CHORALES).vocabulary


def four_parts(name: str) -> Piece:
    """A chorale of music21's corpus, its parts numbered from the highest down."""
    (piece,) = score.read(Path(corpus.getWork(name)))
    mean = np.bincount(piece.part, piece.pitch) / np.bincount(piece.part)
    return replace(piece, part=np.argsort(np.argsort(-mean))[piece.part], parts=[Part("", 52)] * 4)


def on_staves(piece: Piece, staves: int) -> Piece:
    """A piece of four parts, as one or two pianos play it."""
    parts = [Part("Piano", 0, channel=3, twin=i) for i in range(staves)]
    return events.let_go(replace(piece, part=piece.part * staves // 4, parts=parts))


@pytest.mark.parametrize("name", ["bach/bwv269", "bach/bwv66.6", "bach/bwv253"])
def test_four_voices_are_found_as_they_were_written(name: str):
    whole = four_parts(name)
    piano = on_staves(whole, 1)
    found = voicing.voices(piano.onset, piano.onset + piano.duration, piano.pitch, 4)
    mine = {(at, pitch): voice for at, pitch, voice in zip(piano.onset, piano.pitch, found, strict=True)}
    same = [mine[at, pitch] == part for at, pitch, part in zip(whole.onset, whole.pitch, whole.part, strict=True)]
    assert np.mean(same) > 0.85  # of the wrong ones, some are unisons, which the piano plays once


def test_voices_neither_cross_nor_crowd():
    # A held note below a tune, a chord of more notes than voices, and two notes for the outer voices.
    rows = [(0, 48, 960), (0, 60, 240), (240, 64, 240), (480, 62, 480), (960, 40, 480), (960, 52, 480), (960, 67, 480)]
    onset, pitch, duration = np.array(rows).T
    assert voicing.voices(onset, onset + duration, pitch, 2).tolist() == [1, 0, 0, 0, 1, 0, 0]
    assert voicing.together(onset, onset + duration).tolist() == [2, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(("staves", "count"), [(1, [4]), (2, [2, 2])])
def test_a_hymn_becomes_four_parts(staves: int, count: list[int], chorales: Vocabulary):
    hymn = on_staves(four_parts("bach/bwv269"), staves)
    hymn.pedals = np.array([(0, 480, 0)])
    divided, said = voicing.divided(chorales, hymn, "hymn.mid")
    assert [int(sentence.split()[-2]) for sentence in said] == count
    names = ["Piano"] if staves == 1 else ["Piano 1", "Piano 2"]
    assert all(f"hymn.mid: {name} plays chords" in sentence for name, sentence in zip(names, said, strict=True))
    assert {(part.name, part.program) for part in divided.parts} == {("Piano", 0)} and len({*divided.parts}) == 4
    assert [part.channel for part in divided.parts].count(3) == staves  # the others may have any
    for name in ("onset", "pitch", "duration", "velocity"):
        assert (getattr(divided, name) == getattr(hymn, name)).all()
    mean = np.bincount(divided.part, divided.pitch) / np.bincount(divided.part)
    assert (np.diff(mean) < -2).all()
    assert divided.pedals.tolist() == [[0, 480, i] for i in range(4 // staves)]


def test_a_staff_for_two_singers_has_the_names_of_both(chorales: Vocabulary):
    hymn = on_staves(four_parts("bach/bwv269"), 2)
    hymn.parts = [Part("Soprano / Alto", 52), Part("Tenor, Bass", 52)]
    divided, _ = voicing.divided(chorales, hymn, "")
    assert [part.name for part in divided.parts] == ["Soprano", "Alto", "Tenor", "Bass"]
    hymn.parts = [Part("Grand Piano"), Part("Grand Piano", twin=1)]
    divided, _ = voicing.divided(chorales, hymn, "")
    assert [part.name for part in divided.parts] == ["Grand Piano"] * 4


def test_other_parts_stay_as_they_are(chorales: Vocabulary):
    tune = [(QUARTER * i, 67 + i % 5, QUARTER + 60) for i in range(16)]  # a little legato
    drums = [(QUARTER * i, key, 60, 80, 1) for i in range(16) for key in (36, 42)]
    piece = make_piece([(*row, 80, 0) for row in tune] + drums, parts=[Part("Flute", 73), Part("Kit", drums=True)])
    divided, said = voicing.divided(chorales, piece, "")
    assert divided is piece and not said


def test_as_many_voices_as_the_network_has_parts(chorales: Vocabulary):
    tune = [(QUARTER * i, 79, QUARTER, 80, 0) for i in range(16)]
    chords = [(QUARTER * i, pitch, QUARTER, 80, 1) for i in range(16) for pitch in (40, 45, 50, 55, 60)]
    piece = make_piece(tune + chords, parts=[Part("Flute", 73), Part("Organ", 19), Part("Rests", 60)])
    divided, said = voicing.divided(chorales, piece, "")
    assert len(said) == 1 and "3 voices" in said[0] and [part.name for part in divided.parts][-1] == "Rests"
    assert np.bincount(divided.part).tolist()[0] == 16 and len(np.unique(divided.part)) == 4


def test_a_network_that_knows_chords_hears_them_as_they_are():
    pieces = [random_piece(seed) for seed in range(2)]  # a piano with a tune over chords
    vocabulary = build_vocabulary([events.from_piece(piece) for piece in pieces], Representation(), 0)
    vocabulary = replace(vocabulary, companies={frozenset(vocabulary.players): 2})
    assert voicing.usual_voices(vocabulary) == 0
    assert voicing.divided(vocabulary, pieces[0], "")[0] is pieces[0]


def test_a_hymnal_is_converted_voice_by_voice(tmp_path: Path):
    hymn = on_staves(four_parts("bach/bwv269"), 2)
    hymn.parts = [Part("Soprano Alto", 52), Part("Tenor Bass", 52)]
    save(hymn, tmp_path / "hymns" / "269.mid")
    flags = ["--source", tmp_path / "hymns", "--out", tmp_path / "out"]
    assert "give one of them" in one_line_error(call("convertmidis.py", *flags, "--voices", "--merge"))
    assert call("convertmidis.py", *flags, "--voices").returncode == 0
    made = midi.read(tmp_path / "out" / "269.mid")
    assert [part.name for part in made.parts] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert made.pitch.tolist() == hymn.pitch.tolist()


def test_the_page_offers_the_voices_of_a_hymn(chorales: Vocabulary):
    hymn, network = on_staves(four_parts("bach/bwv269"), 1), SimpleNamespace(vocabulary=chorales)
    assert order.may_be_kept(hymn, network) == ["Piano", "Piano 1", "Piano 2", "Piano 3", "Piano 4"]
    choir = four_parts("bach/bwv269")
    choir.parts = [Part("Alto", 52, twin=i) for i in range(4)]
    assert order.may_be_kept(choir, network) == ["Alto"]


def test_chords_are_continued_in_all_voices(tmp_path: Path):
    hymn = save(on_staves(four_parts("bach/bwv269"), 2), tmp_path / "hymn.mid")
    flags = ["--weights", CHORALES, "--prior", hymn, "--prior-bars", 4, "--bars", 3, "--no-ending", "--seed", 1]
    result = call("predict_with_prior.py", *flags, "--out", tmp_path, "--no-wav", "--no-picture", "--no-copying")
    assert (
        "Piano 2 plays chords" in result.stdout
        and "Piano 4 is new to this network: it is heard as Bass" in result.stdout
    )
    (path,) = tmp_path.glob("hymn-continued-*.mid")
    made, before = midi.read(path), midi.read(hymn)
    kept = before.onset < 9 * QUARTER
    assert (made.pitch[: kept.sum()] == before.pitch[kept]).all() and len(made.parts) == 4
    assert (np.bincount(made.part[made.onset > 9 * QUARTER]) >= 3).all()  # all go on
