"""The form of a piece: which bars repeat earlier ones, and new music that follows a form."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from conftest import call, make_piece, one_line_error, random_piece, save, twice

from utils import checkpoint, compose, control, dataset, events, form, midi, network, sampler, training, transfer
from utils.errors import UserError
from utils.form import KINDS, LIKE_ANOTHER, NEW, SAME_AS_ANOTHER, UNTOLD
from utils.line_recall import LINE_CONTEXTS
from utils.measure import likelihood
from utils.stepper import Stepper
from utils.wanted import Wanted

QUIET = ("--no-wav", "--no-picture", "--no-copying")


def bars_of(*bars: list[int]) -> events.Events:
    """A piece in 4/4 with these bars of quarter notes; 0 is a rest."""
    notes = [(1920 * i + 480 * k, pitch, 480) for i, bar in enumerate(bars) for k, pitch in enumerate(bar) if pitch]
    return events.from_piece(make_piece(notes, time_signatures=[(0, 4, 4)]))


A, B, C = [60, 62, 64, 65], [71, 69, 67, 66], [48, 50, 52, 53]


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ((A, B, C), [0, 0, 0]),
        ((A, A, A), [0, 1, 1]),  # of several equally similar bars the nearest counts
        ((A, B, A, B, C), [0, 0, 2, 2, 0]),
        ((A, B, C, A, [71, 69, 67, 59]), [0, 0, 0, 3, -3]),  # three of five notes are in both
        ((A, B, [60, 62, 0, 0]), [0, 0, -2]),
        ((A, B, [60, 0, 0, 0]), [0, 0, 0]),  # one of four is not enough
        ((A, [0, 0, 0, 0], A), [0, 0, 2]),  # a bar without notes is new
        ((A, B, C, B, A, B), [0, 0, 0, 2, 4, 4]),  # the B that came after an A, not the B two bars ago
        (([72, 74, 76, 77], A), [0, 0]),  # an octave lower is another bar
    ],
)
def test_which_bars_repeat_earlier_ones(bars: tuple[list[int], ...], expected: list[int]):
    assert bars_of(*bars).form().tolist() == expected


def test_repeated_bars_are_not_looked_for_too_far_back(monkeypatch):
    monkeypatch.setattr(form, "FARTHEST", 2)
    assert bars_of(A, B, C, A, C).form().tolist() == [0, 0, 0, 0, 2]


def test_a_bar_taken_up_by_another_part_is_new():
    rows = [(1920 * i + 480 * k, pitch, 480, 80, i) for i in range(2) for k, pitch in enumerate(A)]
    assert events.from_piece(make_piece(rows)).form().tolist() == [0, 0]


def test_what_a_form_says_of_bars():
    told = np.array([0, 1, -1, UNTOLD])
    assert form.kinds(told).tolist() == [NEW, SAME_AS_ANOTHER, LIKE_ANOTHER, KINDS]
    bars = np.array([-1, 0, 1, 2, 3, 4])
    assert form.at(told, bars).tolist() == [UNTOLD, 0, 1, -1, UNTOLD, UNTOLD]
    assert form.again(told, bars).tolist() == [[0, 0], [0, 1], [1, 1], [1, 0], [0, 0], [0, 0]]
    side_by_side = form.table([told, told[::-1]])
    assert side_by_side[[0, 1], [1, 0], 1:].tolist() == [[1, 1], [0, 1]]
    assert (side_by_side[0, bars, 0] == form.kinds(form.at(told, bars))).all()
    assert (side_by_side[0, bars, 1:] == form.again(told, bars)).all()


def likeness_of(piece: events.Events, asked: list[int]) -> list[float]:
    """How much each bar of a piece is like the one that it should repeat in the `asked` form."""
    alike = form.likeness(piece.bar, piece.phase * 1000 + piece.streams["note"], max(piece.bars, len(asked)))
    return [float(alike[i, abs(ago)]) for i, ago in enumerate(asked[: piece.bars]) if 0 < abs(ago) < UNTOLD]


@pytest.mark.parametrize(("opening", "asked"), [([0, 0, 2, 2, 0, 5], None), ([0, 0, 0, 3, 0, 1], [0, 0, 2, 2, 0, 5])])
def test_new_music_has_the_form_of_its_opening_or_the_one_asked_for(weights: Path, opening, asked, monkeypatch):
    """With a FORM_STRENGTH so high that even a network that has learnt next to nothing follows the form."""
    loaded = checkpoint.load(weights)
    stepper, wanted = Stepper(loaded), Wanted(bars=6, ending=False, form=asked)
    openings = [{**one, "form": opening} for one in compose.openings(loaded, 24, 1, "none")]
    means = []
    for strength in (0, 50):
        monkeypatch.setattr(control, "FORM_STRENGTH", dict.fromkeys((LIKE_ANOTHER, SAME_AS_ANOTHER), strength))
        made = compose.new_pieces(stepper, openings, sampler.Sampling(seed=1), wanted)
        pieces = [events.from_piece(one.piece) for one in made]
        means.append(np.mean(sum([likeness_of(piece, asked or opening) for piece in pieces], [])))
    assert means[0] < 0.2 and means[1] > 0.8


def test_a_form_begins_with_the_new_music(weights: Path):
    """After an opening, its bars are counted from the first new one on."""
    loaded = checkpoint.load(weights)
    state = Stepper(loaded).start(2, (4, 4))
    told = control.with_forms(state, [[0, 1], [0, 0, -2]], np.array([96, 0])).form
    assert (told == form.table([[UNTOLD, UNTOLD, 0, 1], [0, 0, -2]])).all()


def test_openings_have_the_form_of_their_pieces(weights: Path):
    source = dataset.Source("it", 0.5, bars_of(A, B, A))
    vocabulary = checkpoint.load(weights).vocabulary
    (passage,) = dataset.passages([source], vocabulary, 4, 1, 1)
    assert passage["form"] == [0, 0, 2]
    assert control.form_named("", vocabulary) is None and control.form_named("none", vocabulary) == []


def test_music_is_written_in_the_form_of_a_file(weights: Path, tmp_path: Path):
    song = save(twice(random_piece(1)), tmp_path / "song.mid")
    expected = events.from_piece(midi.read(song)).form().tolist()
    vocabulary = checkpoint.load(weights).vocabulary
    assert control.form_named(str(song), vocabulary) == expected == [0] * 8 + [8] * 8
    flags = ("--weights", weights, "--form-of", song, "--bars", 6, "--seed", 1, "--out", tmp_path / "out", *QUIET)
    assert call("generate_music.py", *flags).returncode == 0
    for path in (song, "none"):
        more = ("--prior", song, "--prior-bars", 8, "--form-of", path)
        assert call("predict_with_prior.py", *flags, *more).returncode == 0
    assert len(list((tmp_path / "out").glob("*.mid"))) == 3


def test_forms_that_cannot_be_followed_are_refused(weights: Path, tmp_path: Path):
    once = save(make_piece([(480 * i, 40 + i, 480) for i in range(40)]), tmp_path / "once.mid")
    flags = ("--weights", weights, "--bars", 4, "--out", tmp_path, *QUIET)
    assert f"No bar of {once} is repeated" in one_line_error(call("generate_music.py", *flags, "--form-of", once))
    around = call("predict_with_prior.py", *flags, "--form-of", once, "--fill", "2")
    assert "--form-of is for music that follows a fragment" in one_line_error(around)
    around = call("predict_with_prior.py", *flags, "--prior", once, "--fill", "2")
    assert "--bars is for music that follows a fragment" in one_line_error(around)
    around = call("predict_with_prior.py", *flags[:2], "--versions", 4, "--prior", once, "--fill", "2")
    assert "--versions is for music that follows a fragment" in one_line_error(around)
    missing = one_line_error(call("generate_music.py", *flags, "--form-of", tmp_path / "no.mid"))
    assert "no.mid" in missing
    older = replace(checkpoint.load(weights).vocabulary, told_form=False)
    with pytest.raises(UserError, match="this one is older: train again"):
        control.form_named(str(once), older)


@pytest.fixture(params=[5, 6])
def older(request, weights: Path, tmp_path: Path) -> Path:
    """Weights of an older format: before 6, networks were not told the form, nor how far their parts have ranged;
    before 7, they were not told what is recalled of the line of the part that plays."""
    loaded, path, told_form = checkpoint.load(weights), tmp_path / "older.weights.h5", request.param == 6
    vocabulary, shape = replace(loaded.vocabulary, told_form=told_form, told_lines=False), loaded.shape
    if not told_form:
        sees = {stream: tuple(name for name in names if name != "form") for stream, names in shape.sees.items()}
        shape = replace(shape, sees=sees)
    about = {**loaded.about, "vocabulary": vocabulary.to_json(), "shape": vars(shape)}
    del about["vocabulary"]["told_lines"], about["format"]
    if not told_form:
        about["openings"] = [{name: one[name] for name in one if name != "form"} for one in about["openings"]]
        del about["vocabulary"]["told_form"]
    with patch.object(checkpoint, "FORMAT", request.param):
        checkpoint.save(path, network.build(vocabulary, shape)[1], about)
    return path


def test_older_networks_play_as_they_did(older: Path, tmp_path: Path):
    loaded = checkpoint.load(older)
    assert loaded.about["format"] in (5, 6) and ("embed_form" in loaded.arrays) == (loaded.about["format"] == 6)
    assert call("generate_music.py", "--weights", older, "--bars", 2, "--out", tmp_path, *QUIET).returncode == 0
    corpus = dataset.encode([dataset.Source("it", 0.5, events.from_piece(twice(random_piece(1))))], loaded.vocabulary)
    scorer = network.build(loaded.vocabulary, loaded.shape)[1]
    scorer.load_weights(older)
    nats = likelihood.score(Stepper(loaded), corpus).nats.sum(axis=0) / corpus.events
    np.testing.assert_allclose(nats, likelihood.held_out_nats(scorer, corpus, loaded.shape), atol=1e-4)


def test_older_networks_cannot_be_resumed_but_can_be_started_from(older: Path, monkeypatch):
    old = checkpoint.load(older)
    monkeypatch.setattr(checkpoint, "load", lambda path, with_optimizer: old)
    with pytest.raises(UserError, match="cannot be resumed. Train without --resume, .* --start-from the-best"):
        training.resumed(SimpleNamespace(**{**old.about["settings"], "weights": "the-best"}), older)
    vocabulary = replace(old.vocabulary, told_form=True, told_lines=True)
    untold = not old.vocabulary.told_form
    sees = {stream: (*names, *["form"] * (untold and "remaining" in names)) for stream, names in old.shape.sees.items()}
    arrays = transfer.started(vocabulary, replace(old.shape, sees=sees), old)
    for stream in vocabulary.streams:
        before, after = old.arrays[f"trust_{stream}"][0], arrays[f"trust_{stream}"][0]
        new = untold + LINE_CONTEXTS * (stream in ("note", "duration"))
        np.testing.assert_array_equal(after, np.pad(before, ((0, 0), (0, new))))
