"""Styles: sub-folders of the training music that the network tells apart, plays when told, and recognises."""

import contextlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, call, make_piece, one_line_error, random_piece, save
from test_train import assert_same
from traced import learn

import train
from utils import checkpoint, compose, dataset, events, midi, network, settings, styles, training
from utils.errors import UserError
from utils.events import Representation
from utils.output import order
from utils.output.order import Order
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.vocabulary import Vocabulary, build_vocabulary
from utils.wanted import Wanted

QUIET = ("--no-wav", "--no-picture", "--no-copying")
WITHOUT_PARTS = Representation(("offset", "note", "duration"))


def bells(seed: int, length: int = 64) -> list[tuple[int, int, int]]:
    """Nothing like what `random_piece` makes: high notes, struck one at a time, a beat apart."""
    rng = np.random.default_rng(seed)
    return [(i * 480, int(rng.choice([84, 86, 88, 91, 93, 96])), 1920) for i in range(length)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Music in two styles, one of them in sub-folders, and a piece in neither."""
    folder = tmp_path_factory.mktemp("styles")
    for seed in range(24):  # many, as only at the beginning of a piece the style told is all there is to go by
        save(random_piece(seed, bars=3), folder / "tunes" / f"book {seed % 2}" / f"{seed}.mid")
        save(make_piece(bells(seed, 20)), folder / "bells" / f"{seed}.mid")
    save(random_piece(99), folder / "alone.mid")
    return folder


@pytest.fixture(scope="module")
def weights(folder: Path, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("learnt") / "toy.weights.h5"
    more = ("--epochs", 25, "--learning-rate", 0.014, "--dropout", 0.1, "--validation", 0, "--sequence-length", 16)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        learn("--midi-dir", folder, "--weights", path, *more)
    size = r"\d+ pieces?, \d+ notes"
    line = re.compile(rf"^styles: bells \({size}\), tunes \({size}\), no style \({size}\)$", re.MULTILINE)
    assert line.search(printed.getvalue())
    return path


@pytest.fixture(scope="module")
def toy(weights: Path) -> Stepper:
    return Stepper(checkpoint.load(weights))


def sources_in(*names: str) -> list[dataset.Source]:
    pieces = [events.from_piece(random_piece(i), WITHOUT_PARTS) for i in range(len(names))]
    return [dataset.Source(name, 0.5, piece) for name, piece in zip(names, pieces, strict=True)]


def corpus_in(*names: str) -> dataset.Corpus:
    sources = sources_in(*names)
    pieces = [source.events for source in sources]
    return dataset.encode(sources, build_vocabulary(pieces, WITHOUT_PARTS, 0, dataset.styles_of(sources)))


# ---- what is learnt ----


def test_the_style_of_a_piece_is_its_top_folder():
    assert dataset.styles_of(sources_in("b/x/1.mid", "a/2.mid", "b/3.mid", "4.mid")) == ("a", "b")
    assert dataset.styles_of(sources_in("a/2.mid", "4.mid")) == ()
    corpus = corpus_in("b/x/1.mid", "a/2.mid", "4.mid")
    assert corpus.style.tolist() == [[False, True], [True, False], [False, False]]


def test_the_style_is_told_in_half_of_the_windows_and_recognised_in_the_others():
    corpus = corpus_in(*(f"{i % 2}/{i}.mid" for i in range(20)), "of none.mid")
    inputs, weights = zip(*dataset.batches(corpus, 8, 16, 0, np.random.default_rng(1)), strict=True)
    told, wanted = (np.concatenate([batch[name] for batch in inputs]) for name in ("condition", "style"))
    known = (told + wanted).sum(axis=1)
    assert set(known.tolist()) == {0, 1} and (known == 0).mean() < 0.1
    assert 0.4 < told[known == 1].sum(axis=1).mean() < 0.6 and set(told.ravel()) == {0, 1}
    # Whether the end is told does not depend on it.
    remaining = np.concatenate([batch["remaining"] for batch in inputs])[:, 0] != events.NOT_TOLD["remaining"]
    assert abs(np.corrcoef(remaining, told.sum(axis=1))[0, 1]) < 0.2
    assert weights[0].shape[-1] == 4


def test_music_with_only_one_sub_folder_has_no_styles():
    corpus = corpus_in("a/1.mid", "a/2.mid", "3.mid")
    inputs, weights = next(dataset.batches(corpus, 8, 4, 0, np.random.default_rng(1)))
    assert not {"condition", "style"} & set(inputs) and weights.shape[-1] == 3


def test_the_styles_are_in_the_weights_file(weights: Path):
    kept = checkpoint.load(weights)
    assert kept.vocabulary.styles == ("bells", "tunes") and kept.about["format"] == checkpoint.FORMAT
    count = [sum(one["style"] == style for one in kept.about["openings"]) for style in ("bells", "tunes", "")]
    assert min(count[:2]) >= 12 and count[2] > 0
    history = kept.about["history"][-1]
    shares = [history[f"train_{stream}"] for stream in kept.vocabulary.streams]
    assert history["train"] == pytest.approx(sum(shares), rel=1e-4) and 0 < history["train_style"] < np.log(2) / 2


def test_a_style_added_later_is_reported(folder: Path, weights: Path):
    vocabulary = checkpoint.load(weights).vocabulary
    sources, _ = dataset.read_folder(folder, vocabulary.representation)
    corpus = dataset.encode(sources, vocabulary)
    (before,) = training.describe_styles(sources, corpus)
    again, more = training.describe_styles([*sources, replace(sources[0], name="jazz/a.mid")], corpus)
    assert again == before and more.startswith("styles that this network cannot tell apart") and more[-6:] == ": jazz"


def test_no_styles_are_learnt_if_they_are_not_wanted(folder: Path, weights: Path, tmp_path: Path, monkeypatch):
    with pytest.raises(UserError, match="--styles, not --no-styles"):
        learn("--midi-dir", folder, "--weights", weights, "--validation", "0", "--resume", "--no-styles")

    def not_built(vocabulary: Vocabulary, *more: object) -> None:
        raise UserError(f"known: {vocabulary.styles}")

    monkeypatch.setattr(network, "build", not_built)
    for flag, learnt in {"--no-styles": "()", "--styles": "('bells', 'tunes')"}.items():
        flags = ["--midi-dir", str(folder), "--weights", str(tmp_path / "a.weights.h5"), flag]
        with pytest.raises(UserError) as error:
            train.main(settings.parse(ROOT / "train.py", flags))
        assert str(error.value) == f"known: {learnt}"


def test_a_run_with_styles_gives_the_same_weights_in_two_parts(folder: Path, tmp_path: Path):
    for name, parts in {"whole": (["2"],), "parts": (["1"], ["2", "--resume"])}.items():
        for more in parts:
            learn("--midi-dir", folder, "--weights", tmp_path / f"{name}.weights.h5", "--no-parts", "--epochs", *more)
    assert_same(tmp_path / "whole.last.weights.h5", tmp_path / "parts.last.weights.h5")


# ---- what is told ----


def known(*names: str) -> Vocabulary:
    return corpus_in(*(f"{name}/1.mid" for name in names)).vocabulary


def test_the_shares_of_styles_add_up_to_1():
    vocabulary = known("bach", "haydn", "op. 1: early")
    assert styles.asked(vocabulary, "") == ()
    assert styles.asked(vocabulary, "haydn") == (0, 1, 0) == styles.named(vocabulary, "haydn")
    assert styles.asked(vocabulary, "haydn:3, bach") == (0.25, 0.75, 0)
    family = replace(vocabulary, styles=("Bach, J. S.", "Bach, C. P. E.", "haydn"))
    assert styles.asked(family, "Bach, J. S.,haydn:3") == (0.25, 0, 0.75)
    assert styles.asked(family, "Bach, C. P. E.:1, Bach, J. S.:3") == (0.75, 0.25, 0)
    assert styles.asked(vocabulary, "op. 1: early:2,bach:2") == (0.5, 0, 0.5)
    assert styles.asked(vocabulary, "op. 1: early") == (0, 0, 1)
    assert styles.named(vocabulary, "") == (0, 0, 0)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ("mozart", "--style names 'mozart'; these weights have learnt bach, haydn."),
        ("bach,mozart:2", "--style names 'mozart'; these weights have learnt bach, haydn."),
        ("bach:0", "--style bach:0: the share of bach must be a number above 0."),
        ("bach:-1,haydn", "--style bach:-1: the share of bach must be a number above 0."),
        ("bach:much", "--style bach:much: the share of bach must be a number above 0."),
        ("bach:nan", "--style bach:nan: the share of bach must be a number above 0."),
        ("bach:inf", "--style bach:inf: the share of bach must be a number above 0."),
        (",", "--style names ','; these weights have learnt bach, haydn."),
    ],
)
def test_a_wrong_style_is_refused_in_one_sentence(wish: str, sentence: str):
    with pytest.raises(UserError) as error:
        styles.asked(known("bach", "haydn"), wish)
    assert str(error.value) == sentence


def test_openings_are_in_the_style_asked_for(weights: Path):
    kept = checkpoint.load(weights)
    for shares, allowed in {(): {"bells", "tunes", ""}, (0.7, 0.3): {"bells"}, (0.5, 0.5): {"bells", "tunes"}}.items():
        begun = compose.openings(kept, 20, 1, wanted=Wanted(style=shares))
        assert {one["style"] for one in begun} == allowed
    assert {one["style"] for one in compose.openings(kept, 20, 1, "none")} == {""}


def test_the_network_plays_the_style_it_is_told(toy: Stepper, weights: Path):
    """Even from silence, with no passage to follow."""
    kept, high = checkpoint.load(weights), {}
    for name in toy.vocabulary.styles:
        wanted = Wanted(30, style=styles.named(toy.vocabulary, name))
        made = compose.new_pieces(toy, compose.openings(kept, 32, 1, "none", wanted), Sampling(0.5, seed=1), wanted)
        high[name] = np.mean([np.mean(one.piece.pitch >= 84) for one in made])
    assert high["bells"] > high["tunes"] + 0.2


def test_the_style_of_a_piece_is_recognised(toy: Stepper):
    for name, make in {"tunes": random_piece, "bells": lambda seed: make_piece(bells(seed))}.items():
        for seed in range(200, 204):
            shares, (sentence,) = styles.for_fragment(toy, "", make(seed), "it")
            assert shares == styles.named(toy.vocabulary, name)
            assert sentence.startswith(f"it sounds like {name} (") and sentence.endswith(" in that style.")


# ---- the scripts ----


def test_a_new_piece_follows_a_passage_in_its_style(weights: Path, tmp_path: Path):
    flags = ("--weights", weights, "--notes", 60, "--seed", 3, "--out", tmp_path, *QUIET)
    for wish in ("bells", "tunes:0.7,bells:0.3"):
        result = call("generate_music.py", *flags, "--style", wish)
        assert result.returncode == 0, result.stderr
        assert f"after a passage of {wish.split(':')[0]}/" in result.stdout
    assert len(list(tmp_path.glob("*.mid"))) == 2
    sentence = one_line_error(call("generate_music.py", *flags, "--style", "haydn"))
    assert "'haydn'; these weights have learnt bells, tunes." in sentence


def test_a_fragment_is_continued_in_its_style(weights: Path, tmp_path: Path):
    prior = save(make_piece(bells(77, 24)), tmp_path / "mine.mid")
    flags = ("--weights", weights, "--prior", prior, "--notes", 40, "--seed", 1, *QUIET)
    heard = call("predict_with_prior.py", *flags, "--out", tmp_path / "heard")
    assert heard.returncode == 0, heard.stderr
    assert f"{prior} sounds like bells (" in heard.stdout
    for wish in ("bells", "tunes"):
        result = call("predict_with_prior.py", *flags, "--out", tmp_path / wish, "--style", wish)
        assert result.returncode == 0 and "sounds like" not in result.stdout
    heard, bells_told, tunes_told = (
        midi.read(tmp_path / name / "mine-continued-001.mid").pitch.tolist() for name in ("heard", "bells", "tunes")
    )
    assert heard == bells_told != tunes_told


def test_weights_without_styles_refuse_one(music: Path, tmp_path: Path):
    path = checkpoint.BUNDLED
    for script in ("generate_music.py", "predict_with_prior.py"):
        sentence = one_line_error(call(script, "--weights", path, "--style", "bach", "--out", tmp_path))
        assert "--style bach: these weights have learnt no styles." in sentence


def test_evaluation_reports_how_well_styles_are_recognised_and_used(weights: Path, folder: Path, tmp_path: Path):
    result = call("evaluate.py", "--weights", weights, "--midi-dir", folder, "--no-baselines", "--json", tmp_path / "a")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "a").read_text())
    styles = found["styles"]
    assert set(styles["each"]) == {"bells", "tunes"} and styles["pieces"] == 48 and found["pieces"] == 49
    assert styles["recognised"] > 0.9
    for row in (styles, *styles["each"].values()):
        assert row["nats_per_note_told"] != row["nats_per_note"]
    assert f"recognised in {styles['recognised']:.0%} of 48 pieces" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("49 pieces that it learnt from.")


def test_the_page_continues_in_the_style_of_the_fragment_or_in_those_chosen(weights: Path, toy: Stepper):
    learnt = checkpoint.load(weights)
    wanted = Order(weights, prior=make_piece(bells(99)), notes=10, seed=1)
    sounds_like = re.compile(r"The fragment sounds like bells \(\d+ %\), so the new music is written in that style.")
    assert any(map(sounds_like.fullmatch, order.filled(wanted, learnt, toy).remarks))
    chosen = order.filled(replace(wanted, style="bells,tunes"), learnt, toy)
    assert chosen.made and not any("sounds like" in remark for remark in chosen.remarks)
