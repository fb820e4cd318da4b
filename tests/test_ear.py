"""The ear: trained on real music and on the network's own, kept in the weights file, used to compare versions."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import call, random_piece, save
from traced import eagerly, learn

from utils import checkpoint, compose, constraints, dataset, ear, ear_training, ensemble, sampler
from utils.measure import copying
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.wanted import BAR, LONG, Wanted, in_versions

EVENTS, VERSIONS = 48, 8


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    """Weights with an ear that have learnt almost nothing else; the training music is beside them."""
    folder = tmp_path_factory.mktemp("taught")
    for seed in range(60):
        save(random_piece(seed, 4), folder / "music" / f"{seed}.mid")
    path, updates = folder / "a.weights.h5", ["--epochs", 1, "--sequence-length", 64, "--batch-size", 32]
    learn("--midi-dir", folder / "music", "--weights", path, *updates, "--ear", 40, "--validation", 0.2, how=eagerly)
    return path


@pytest.fixture
def network(taught: Path) -> Stepper:
    """Their network, with an ear a hundred times as strong, since a few notes of a tiny network tell it little."""
    network = Stepper(checkpoint.load(taught))
    network.ear = 100 * network.ear
    return network


def made(network: Stepper, versions: int, *rules, is_over=None) -> tuple[list[dict], np.ndarray]:
    """What `sampler.generate` returns for two pieces, each in so many versions: their classes and nats."""
    how = Sampling(seed=1, constraints=(*rules, *constraints.usual(network, EVENTS)))
    return sampler.generate(network, network.start(2 * versions, (4, 4)), EVENTS, how, is_over, versions)[:2]


def heard(network: Stepper, pieces: list[dict]) -> float:
    """The mean verdict of the ear on the events of these pieces."""
    total, state = 0.0, network.start(len(pieces), (4, 4))
    for t in range(EVENTS):
        output, state = network.step(state)
        event = {}
        for stream in network.streams:
            event |= network.known(stream, np.array([piece[stream][t] for piece in pieces]), state, event)
            network.tell(stream, output, state, event)
        total += np.mean(ear.worth(network, output, state))
        state = network.append(state, event)
    return total / EVENTS


def test_the_ear_tells_real_from_own_music_that_it_has_not_heard(taught: Path, network: Stepper):
    weights = checkpoint.load(taught)
    _, held_out = copying.read_split(weights.about, taught.parent / "music")
    own = ear_training.own_music(network, weights, 24, EVENTS, seed=99)
    real = dataset.encode(held_out, weights.vocabulary)
    worth = [ear_training.means(network, corpus, EVENTS - 8, 100) @ network.ear[1:] for corpus in (own, real)]
    assert min(map(len, worth)) >= 3 and np.mean(worth[0][:, None] < worth[1]) > 0.9


def test_a_sample_of_pieces_is_spread_over_the_corpus(taught: Path, network: Stepper):
    weights = checkpoint.load(taught)
    train, _ = copying.read_split(weights.about, taught.parent / "music")
    corpus = dataset.encode(train, weights.vocabulary)
    every, some = (ear_training.means(network, corpus, 20, most) for most in (100, 3))
    assert len(every) == len(train) and len(some) == 3
    np.testing.assert_allclose(some[[0, -1]], every[[0, -1]], atol=1e-6)


def test_too_few_pieces_give_no_ear(weights: Path, music: Path):
    loaded = checkpoint.load(weights)
    assert loaded.ear is None and len(loaded.about["split"]["train"]) < ear_training.LEAST


def test_pieces_that_are_too_short_leave_the_ear_as_it_is(taught: Path, tmp_path: Path, capsys):
    weights, path = checkpoint.load(taught), tmp_path / "a.weights.h5"
    path.write_bytes(taught.read_bytes())
    train, _ = copying.read_split(weights.about, taught.parent / "music")
    short = [replace(source, events=source.events[:20]) for source in train]
    ear_training.learn(path, dataset.encode(short, weights.vocabulary), 64, 1)
    assert path.read_bytes() == taught.read_bytes() and "No ear was trained" in capsys.readouterr().out


def test_versions_that_nothing_could_compare_are_not_written(weights: Path, taught: Path, tmp_path: Path):
    flags = ["--prior", "samples/prior.mid", "--notes", 5, "--out", tmp_path, "--no-wav", "--no-picture"]
    for path, versions, remark in ((weights, 4, True), (weights, 1, False), (taught, 4, False)):
        result = call("predict_with_prior.py", "--weights", path, "--versions", versions, *flags)
        assert result.returncode == 0 and ("have no ear" in result.stdout) == remark


def test_versions_that_sound_like_real_music_are_continued(network: Stepper):
    with_it, _ = made(network, VERSIONS)
    whole, network.ear = network.ear, None
    without, _ = made(network, VERSIONS)
    network.ear = whole
    alone, _ = made(network, 1)
    assert heard(network, with_it) > heard(network, without)
    # A single version is as it would be without an ear, and versions are copied only within their piece.
    assert all(
        (mine[stream] == other[stream]).all()
        for mine, other in zip(alone[:1], without, strict=False)
        for stream in mine
    )
    beginnings = [
        {tuple(piece["note"][: sampler.RESAMPLE_EVERY]) for piece in some[:VERSIONS]} for some in (without, with_it)
    ]
    assert beginnings[1] < beginnings[0]


def test_versions_are_not_resampled_once_one_is_over(network: Stepper):
    """Those of the other piece still are."""

    def is_over(state, chosen):
        return (np.arange(2 * VERSIONS) == VERSIONS - 1) & (state.length == sampler.RESAMPLE_EVERY - 2)

    some, _ = made(network, VERSIONS, is_over=is_over)
    all_resampled, _ = made(network, VERSIONS)
    network.ear = None
    none_resampled, _ = made(network, VERSIONS, is_over=is_over)

    def same(those: list[dict], others: list[dict]) -> list[bool]:
        return [np.array_equal(one["note"], other["note"]) for one, other in zip(those, others, strict=True)]

    assert len(some[VERSIONS - 1]["note"]) == sampler.RESAMPLE_EVERY - 2
    assert all(same(some[:VERSIONS], none_resampled[:VERSIONS])) and not all(same(some, none_resampled))
    assert all(same(some[VERSIONS:], all_resampled[VERSIONS:])) and not all(same(some, all_resampled))


def test_resampled_versions_are_consistent(network: Stepper):
    """Each is a piece that the network could have written in one go, and costs as many nats as that would."""
    pieces, nats = made(network, VERSIONS)
    for piece, cost in list(zip(pieces, nats, strict=True))[:: VERSIONS // 2]:

        def same(stream, logits, state, chosen, piece=piece):
            return np.where(np.arange(logits.shape[1]) == piece[stream][state.length], logits, -np.inf)

        again, costs = made(network, 1, same)
        assert all((again[0][stream] == piece[stream]).all() for stream in piece)
        assert costs[0] == pytest.approx(cost, rel=1e-5)


def test_the_ear_has_a_say_in_which_ending_is_best(taught: Path, network: Stepper, monkeypatch):
    """Even in pieces that are over before any resampling."""
    monkeypatch.setattr(sampler, "RESAMPLE_EVERY", 1000)
    begun = compose.openings(checkpoint.load(taught), 8, 1, "none")

    def notes(strength: float | None) -> list[list[int]]:
        network.ear = None if strength is None else strength * usual_ear
        made = compose.new_pieces(network, begun, Sampling(seed=1), Wanted(bars=4))
        return [one.piece.pitch.tolist() for one in made]

    usual_ear = network.ear
    assert notes(None) == notes(0.0) != notes(10.0)


def test_pieces_of_a_given_number_of_notes_are_written_by_ear(taught: Path, network: Stepper):
    begun = compose.openings(checkpoint.load(taught), 2, 1, "none")

    def notes(**wanted) -> list[dict]:
        return [one.classes for one in compose.new_pieces(network, begun, Sampling(seed=1), Wanted(**wanted))]

    by_ear, by_bars = notes(notes=EVENTS), notes(bars=4, ending=False)
    assert in_versions(network, Wanted(notes=EVENTS)).versions == 16
    assert in_versions(network, Wanted(notes=EVENTS, versions=3)).versions == 3
    long = LONG * BAR
    assert in_versions(network, Wanted(notes=long)).versions == 1
    assert in_versions(network, Wanted(notes=long // 2)).versions == 2
    assert in_versions(network, Wanted(notes=0)).versions == 1  # how long it will be is not known
    whole, network.ear = network.ear, None
    assert in_versions(network, Wanted(notes=EVENTS)).versions == 1
    alone, cut_off = notes(notes=EVENTS), notes(bars=4, ending=False)
    network.ear = whole
    assert heard(network, by_ear) > heard(network, alone)
    assert not all(np.array_equal(a["note"], b["note"]) for a, b in zip(by_bars, cut_off, strict=True))


def test_music_that_is_cut_off_is_not_chosen_by_how_likely_its_last_note_is(network: Stepper):
    network.ear = 0 * network.ear  # it finds all versions equally good
    *_, ends_well = sampler.generate(network, network.start(16, (4, 4)), 5, Sampling(seed=1), versions=16)
    assert not ends_well.any()


def test_a_continuation_of_a_given_number_of_notes_has_one_version(network: Stepper):
    """Unless more are asked for: comparing them by ear takes twice as long."""

    def continued(versions: int | None) -> dict:
        wanted = Wanted(notes=EVENTS, versions=versions)
        (made,), _, _ = compose.continuations(network, random_piece(3, 4), Sampling(seed=1), wanted, 1)
        return made.classes

    usual, by_ear = continued(None), continued(16)
    assert heard(network, [by_ear]) > heard(network, [usual])
    network.ear = None
    assert all((made["note"] == usual["note"]).all() for made in (continued(None), continued(16)))


def test_resampled_versions_keep_count_of_their_notes():
    """With imagined parts, which do not count, versions reach the number of notes asked for at different times."""
    weights = checkpoint.load(checkpoint.BUNDLED)
    network = Stepper(weights)
    network.ear = 4 * network.ear
    players, _ = ensemble.asked(weights.vocabulary, "Soprano, Bass")
    wanted = Wanted(notes=50, players=players)
    begun = compose.openings(weights, 3, 1, "none", wanted)
    for one in compose.new_pieces(network, begun, Sampling(seed=1), wanted):
        heard = np.isin(np.array(list(weights.vocabulary.players))[one.classes["part"]], list(players))
        assert len(one.piece) == 50 == heard.sum() < len(heard)


def test_versions_are_resampled_by_their_weights():
    rngs = [np.random.default_rng(seed) for seed in range(3)]
    worth = np.array([0.0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 9, 9])
    assert not (sampler.resampled_each(worth, rngs, np.zeros(3, bool)) - np.arange(12)).any() and worth[5] == 99
    # In the last piece half of the versions carry the weight, which is enough.
    assert sampler.resampled_each(worth, rngs, np.ones(3, bool)).tolist() == [0, 1, 2, 3, 5, 5, 5, 5, 8, 9, 10, 11]
    assert worth.tolist() == [0] * 10 + [9, 9]
    # Here more than half do.
    assert sampler.resampled_each(np.log([4.0, 2, 1, 1]), rngs[:1], np.ones(1, bool)).tolist() == [0, 1, 2, 3]


def test_a_new_ear_replaces_the_old_one(taught: Path, tmp_path: Path):
    path = tmp_path / "b.weights.h5"
    path.write_bytes(taught.read_bytes())
    one = checkpoint.load(taught)
    checkpoint.add_ear(path, np.arange(one.ear.size))
    other = checkpoint.load(path)
    assert other.ear.tolist() == list(range(one.ear.size)) != one.ear.tolist()
    assert one.about == other.about
    assert all((a == b).all() for name in one.arrays for a, b in zip(one.arrays[name], other.arrays[name], strict=True))


def test_an_ear_from_an_earlier_version_of_the_program_is_ignored(taught: Path, tmp_path: Path):
    path = tmp_path / "b.weights.h5"
    path.write_bytes(taught.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["ear"]
        file["ear/0"] = np.zeros(16, np.float32)
    assert checkpoint.load(path).ear is None


def test_a_figure_that_keeps_repeating_gains_nothing(network: Stepper, monkeypatch):
    state = network.start(3, (4, 4))
    output, state = network.step(state)
    network.ear = np.zeros_like(network.ear)
    monkeypatch.setattr(type(state.past), "rounds", lambda past: np.array([0.5, 1, 2]))
    for constant, worth in ((3, [3, 3, 0]), (-3, [-3, -3, -3])):
        network.ear[0] = constant
        assert ear.worth(network, output, state).tolist() == worth


def test_an_ear_whose_training_was_stopped_is_trained_on_resuming(taught: Path, tmp_path: Path, monkeypatch, capsys):
    flags = ["--midi-dir", taught.parent / "music", "--weights", tmp_path / "a.weights.h5", "--epochs", 1, "--ear", 40]
    flags += ["--sequence-length", 64, "--batch-size", 32, "--validation", 0.2]

    def stop(*given) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(ear_training, "learn", stop)
        learn(*flags, how=eagerly)
    assert "Stopped before the ear was trained" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "a.weights.h5").ear is None
    learn(*flags, "--resume", how=eagerly)
    said = capsys.readouterr().out
    assert "No more was learnt: 1 epoch (" in said and "its ear, which was missing, was trained" in said
    assert checkpoint.load(tmp_path / "a.weights.h5").ear is not None
