"""Files that state a wrong metre: noticed, and re-barred in another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, call, make_piece, random_piece, save
from traced import eagerly, learn

from utils import checkpoint, events, fragment, midi, settings, theory
from utils.errors import UserError
from utils.events import Representation
from utils.measure import evaluation
from utils.vocabulary import Vocabulary, build_vocabulary

FOUR = Representation(metre="4/4")


@pytest.mark.parametrize(("text", "metre"), [("4/4", (4, 4)), (" 6/8", (6, 8)), ("32/32", (32, 32)), ("1/1", (1, 1))])
def test_a_metre_is_read(text: str, metre: theory.Metre):
    assert theory.metre(text) == metre


@pytest.mark.parametrize("text", ["", "4", "4/3", "0/4", "33/4", "4/64", "-3/4", "3/4/4", "a/b", "4:4", "²/4"])
def test_what_is_no_metre_is_refused(text: str):
    with pytest.raises(UserError, match="--metre is .*such as 3/4"):
        theory.metre(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([(0, 1, 4)], [(0, 4, 4)]),
        ([(0, 4, 4), (0, 1, 4)], [(0, 4, 4)]),  # as in files that were made in two steps
        ([], [(0, 4, 4)]),
        ([(0, 1, 4), (1920, 3, 4)], [(0, 4, 4)]),
        ([(0, 1, 8), (240, 4, 4), (9600, 3, 4)], [(0, 1, 8), (240, 4, 4)]),  # a pickup
    ],
)
def test_bars_are_counted_from_the_first_bar_line(before: list, after: list):
    piece = make_piece([(0, 60, 480)], time_signatures=before)
    assert piece.in_metre("4/4").time_signatures == after
    assert piece.in_metre("4/4").in_metre("4/4").time_signatures == after


def test_events_are_in_the_bars_of_the_given_metre():
    right = make_piece([(i * 480, 60 + i, 480) for i in range(9)], time_signatures=[(0, 4, 4)])
    wrong = replace(right, time_signatures=[(0, 1, 4)])
    heard, expected = events.from_piece(wrong, FOUR), events.from_piece(right)
    for name in ("phase", "bar", "metres"):
        np.testing.assert_array_equal(getattr(heard, name), getattr(expected, name))
    assert heard.bars == expected.bars == 3 and not events.from_piece(wrong).phase.any()


def test_a_weights_file_keeps_the_metre():
    vocabulary = build_vocabulary([events.from_piece(random_piece(1), FOUR)], FOUR, 0)
    data = vocabulary.to_json()
    assert Vocabulary.from_json(data).representation == vocabulary.representation
    del data["metre"]  # as written by earlier versions
    assert Vocabulary.from_json(data).representation == replace(vocabulary.representation, metre="")


def test_a_fragment_is_counted_in_the_metre_of_the_network(capsys):
    vocabulary = build_vocabulary([events.from_piece(random_piece(1), FOUR)], FOUR, 0)
    wrong = replace(random_piece(2), time_signatures=[(0, 1, 4)])
    piece, (sentence,) = fragment.counted(vocabulary, wrong, "a.mid")
    assert sentence == "a.mid is in 1/4; this network counts all music in 4/4, and so it is written"
    assert fragment.counted(vocabulary, piece, "a.mid") == (piece, [])
    plain = build_vocabulary([events.from_piece(random_piece(1))], events.DEFAULT, 0)
    _, (sentence,) = fragment.counted(plain, wrong, "a.mid")
    assert sentence == "a.mid says that its bars have one beat, which often means that its metre was not known"
    last = fragment.cut(piece, 0, 0, "a.mid", bars=-2)
    assert last.onset.max() > 1920 and not capsys.readouterr().out


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> Path:
    """A folder of pieces, two in three of which state a metre with one beat to the bar."""
    folder = tmp_path_factory.mktemp("songs")
    for seed in range(6):
        metre = (1, 4) if seed % 3 else (4, 4)
        save(replace(random_piece(seed), time_signatures=[(0, *metre)]), folder / f"{seed}.mid")
    return folder


def test_training_warns_of_bars_of_one_beat_and_counts_in_another_metre(songs: Path, tmp_path: Path, capsys):
    path = tmp_path / "a.weights.h5"
    flags = ["--midi-dir", songs, "--weights", path, "--validation", 0, "--batch-size", 64]
    learn(*flags, "--epochs", 1, how=eagerly)
    said = capsys.readouterr().out
    assert "bars of one beat: 4 of 6 pieces" in said and "train with --metre 4/4" in said
    with pytest.raises(UserError, match="--metre '', not --metre 4/4: resume with its flags"):
        learn(*flags, "--epochs", 2, "--resume", "--metre", "4/4")
    learn(*flags, "--epochs", 1, "--metre", "4/4", how=eagerly)
    assert "bars of one beat" not in capsys.readouterr().out
    about = checkpoint.load(path).about
    assert about["metre"] == [4, 4] and {tuple(opening["metre"]) for opening in about["openings"]} == {(4, 4)}
    assert {phase for opening in about["openings"] for phase in opening["phase"]} > {0, 12, 24, 36}

    # Music is re-barred in the same way when it is scored.
    train, scored, _ = evaluation.read_music(path, about, settings.parse(ROOT / "evaluate.py", [f"--midi-dir={songs}"]))
    assert {source.events.metre() for source in train + scored} == {(4, 4)}

    # A fragment is continued and written in that metre, too.
    flags = ["--prior", songs / "1.mid", "--prior-bars", 2, "--bars", 2, "--out", tmp_path, "--no-wav", "--no-picture"]
    result = call("predict_with_prior.py", "--weights", path, *flags)
    assert result.returncode == 0, result.stderr
    assert f"{songs / '1.mid'} is in 1/4; this network counts all music in 4/4" in result.stdout
    piece = midi.read(tmp_path / "1-continued-001.mid")
    assert piece.time_signatures == [(0, 4, 4)]
    three = call("predict_with_prior.py", "--weights", path, *flags, "--metre", "3/4")
    assert "is in 3/4; this network counts all music in 4/4" in three.stdout
    assert 3 * 1920 < (piece.onset + piece.duration).max() <= 4 * 1920


def test_a_wrong_metre_is_reported_before_any_music_is_read(tmp_path: Path):
    with pytest.raises(UserError, match="--metre is '4/5'"):
        learn("--midi-dir", tmp_path / "none", "--weights", tmp_path / "a.weights.h5", "--metre", "4/5")
