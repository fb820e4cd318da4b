"""Sampling, and what must not be chosen."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import random_piece
from test_transfer import network

from utils import checkpoint, constraints, events, recall, sampler
from utils.errors import UserError
from utils.events import Representation, usual_positions
from utils.stepper import Stepper
from utils.vocabulary import build_vocabulary


@pytest.fixture(scope="module")
def stepper(weights: Path) -> Stepper:
    return Stepper(checkpoint.load(weights))


def generate(stepper: Stepper, events: int, count: int = 1, more: tuple = (), **kwargs) -> list[dict]:
    how = sampler.Sampling(**{"seed": 1, "constraints": more, **kwargs})
    state = stepper.start(count, (4, 4))
    how = how.constrained(*constraints.usual(stepper, state.length + events))
    return sampler.generate(stepper, state, events, how)[0]


def test_choose_follows_the_probabilities():
    logits = np.log(np.tile([0.5, 0.3, 0.15, 0.05], (20_000, 1)))
    uniform = np.random.default_rng(1).random(len(logits))
    share = np.bincount(sampler.choose(logits, 1.0, 1.0, uniform), minlength=4) / len(logits)
    np.testing.assert_allclose(share, [0.5, 0.3, 0.15, 0.05], atol=0.02)
    cool = np.bincount(sampler.choose(logits, 0.5, 1.0, uniform), minlength=4) / len(logits)
    squares = np.array([0.25, 0.09, 0.0225, 0.0025])
    np.testing.assert_allclose(cool, squares / squares.sum(), atol=0.02)
    nucleus = np.bincount(sampler.choose(logits, 1.0, 0.7, uniform), minlength=4) / len(logits)
    np.testing.assert_allclose(nucleus, [0.625, 0.375, 0, 0], atol=0.02)
    assert set(sampler.choose(logits, 0, 1.0, uniform)) == {0}
    # Even at the edges nothing impossible is chosen.
    edge = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]] * 2)
    assert set(sampler.choose(edge, 1.0, 1.0, np.array([0.0, 1 - 1e-17]))) <= {1, 3}


def test_temperature_and_top_p_apply_to_new_material_only():
    """The first two of four classes repeat something: they keep the share that the network gives them."""
    logits = np.log(np.tile([0.4, 0.2, 0.3, 0.1], (20_000, 1)))
    uniform = np.random.default_rng(1).random(len(logits))
    gained = np.tile([1.0, -1.0, 0.0, 0.0], (len(logits), 1))

    def shares(temperature: float, top_p: float) -> np.ndarray:
        return np.bincount(sampler.choose(logits, temperature, top_p, uniform, gained, 1.0), minlength=4) / len(logits)

    np.testing.assert_allclose(shares(1.0, 1.0), [0.4, 0.2, 0.3, 0.1], atol=0.02)
    np.testing.assert_allclose(shares(0.5, 1.0), [0.4, 0.2, 0.36, 0.04], atol=0.02)
    np.testing.assert_allclose(shares(1.0, 0.7), [0.4, 0.2, 0.4, 0], atol=0.02)
    everything = np.ones((1, 4))
    assert sampler.choose(logits[:1], 0.5, 0.5, np.array([0.99]), everything, 1.0) == 3


def test_surprise_is_in_nats_for_each_stream():
    rng = np.random.default_rng(1)
    logits = [rng.normal(0, 50, (5, size)) for size in (3, 1, 20)]
    classes = [rng.integers(0, each.shape[1], 5) for each in logits]
    nats = sampler.surprise(logits, classes)
    for stream, (each, chosen) in enumerate(zip(logits, classes, strict=True)):
        expected = np.logaddexp.reduce(each, axis=1) - each[np.arange(5), chosen]
        np.testing.assert_allclose(nats[:, stream], expected, atol=1e-9)
    assert (nats[:, 1] == 0).all() and (nats[:, 2] > 0).any()


@pytest.mark.parametrize("chords", ["split", "class"])
def test_music_with_one_part_and_without_parts(chords: str):
    """With one part, who plays is no choice; where chords are classes there are no parts, and so no rules for them."""
    how = Representation(chords=chords)
    stepper = Stepper(network(build_vocabulary([events.from_piece(random_piece(1), how)], how, 0)))
    players = stepper.vocabulary.players
    rules = constraints.Players(stepper, np.ones((1, len(players)), bool)).constraints()
    assert len(players) == len(rules[:1]) == (chords == "split")
    (made,) = generate(stepper, 100, more=tuple(rules))
    assert {len(classes) for classes in made.values()} == {100}
    assert "part" not in made or not made["part"].any()


def test_the_temperature_rises_the_longer_music_repeats_itself(stepper: Stepper):
    past = stepper.start(4, (4, 4)).past
    past.recalled["back"] = np.full((4, recall.K), 8)
    past.recalled["streak"] = np.array([[0], [4], [8], [64]]) * np.ones((1, recall.K), int)
    np.testing.assert_allclose(sampler.repeating_temperature(past)[:, 0], [0.92, 0.92, 1.02, 1.32])
    alone = replace(past, viewpoint=SimpleNamespace(vocabulary=SimpleNamespace(players={})))  # without parts
    np.testing.assert_allclose(sampler.repeating_temperature(alone)[:, 0], [0.95, 0.95, 1.05, 1.35])


def test_a_seed_gives_the_same_piece_alone_or_among_others(stepper: Stepper):
    one = generate(stepper, 50)[0]
    again, other, _ = generate(stepper, 50, 3)
    assert all((one[stream] == again[stream]).all() for stream in one)
    assert any((one[stream] != other[stream]).any() for stream in one)
    assert any((one[stream] != generate(stepper, 50, seed=2)[0][stream]).any() for stream in one)


def test_no_audible_feature_is_a_denormal_number(stepper: Stepper):
    """Processors multiply such numbers many times more slowly than others."""
    state = stepper.start(1, (4, 4))
    traces = state.traces
    traces[:, :-1] = 1e-40
    audible = stepper.hearing.audible(traces)
    assert (traces[:, :-1] > 0).all() and not ((audible != 0) & (np.abs(audible) < np.finfo(np.float32).tiny)).any()


def test_exactly_as_many_events_are_made_as_asked_for(stepper: Stepper):
    for made in generate(stepper, 200, 4):
        assert {len(classes) for classes in made.values()} == {200}
        assert made["offset"].max() < stepper.vocabulary.end


def test_pieces_may_end_by_themselves(stepper: Stepper):
    """Unless it is constrained, the end is chosen sooner or later, since it has some probability."""
    state = stepper.start(64, (4, 4))
    made, nats, _ = sampler.generate(stepper, state, 400, sampler.Sampling(1.0, 1.0, 1))
    lengths = [len(classes["offset"]) for classes in made]
    assert min(lengths) < 400 and nats.shape == (64,) and (nats > 0).all()
    assert all(classes["offset"].max(initial=0) < stepper.vocabulary.end for classes in made)


def test_chords_are_built_from_the_lowest_note_up(stepper: Stepper):
    for temperature in (1.0, 5.0):
        for made in generate(stepper, 300, 4, temperature=temperature):
            together = stepper.steps(made["offset"][1:]) == 0
            assert (np.diff(made["note"])[together] > 0).all()


def test_notes_begin_at_usual_or_likely_positions_only(stepper: Stepper):
    gaps, grid = stepper.gaps[:-1], stepper.vocabulary.grid
    state = stepper.start(3, (4, 4))
    usual = np.arange(grid) % (grid // 2) == 0  # eighth notes
    phase = np.array([0, grid // 2, 3 * grid + grid // 2])
    state = replace(state, positions=np.tile(usual, (3, 1)), last={**state.last, "phase": phase})
    stray = np.flatnonzero(gaps % (grid // 2) != 0)
    assert len(stray) > 1
    # All stray offsets together have less than the least probability; then one of them alone has more.
    logits = np.zeros((3, len(gaps)))
    logits[:, stray] = np.log(constraints.LIKELY / 2 / len(stray))
    rule = constraints.no_stray_position(stepper)
    allowed = rule("offset", logits, state, {})
    assert (allowed[:, stray] == -np.inf).all() and (np.delete(allowed, stray, axis=1) == 0).all()
    logits[1, stray[0]] = 5.0
    allowed = rule("offset", logits, state, {})
    same = gaps % grid == gaps[stray[0]] % grid
    assert (allowed[1, same] == logits[1, same]).all()
    assert (allowed[1, stray[gaps[stray] % grid != gaps[stray[0]] % grid]] == -np.inf).all()
    assert (allowed[[0, 2]][:, stray] == -np.inf).all()
    # Nothing else changes, and nothing where it is not known what is usual.
    assert rule("note", logits, state, {}) is logits
    assert rule("offset", logits, replace(state, positions=np.ones_like(state.positions)), {}) is logits


def test_a_network_knows_where_notes_usually_begin_and_learns_it_from_what_it_reads(stepper: Stepper):
    grid = stepper.vocabulary.grid
    phases = [0] * 50 + [grid // 2] * 40 + [1]
    assert np.flatnonzero(usual_positions(phases, grid)).tolist() == [0, grid // 2]
    assert usual_positions(np.arange(3 * grid), grid).all()  # a performance keeps to none
    silent = replace(stepper.start(1, (4, 4)), positions=np.tile(usual_positions([0], grid), (1, 1)))
    classes = {stream: np.zeros(3, int) for stream in stepper.streams}
    read = stepper.read(silent, classes, [grid // 3, grid + grid // 3, 2 * grid])
    assert np.flatnonzero(read.positions).tolist() == [0, grid // 3]
    assert np.flatnonzero(silent.positions).tolist() == [0]
    nothing = stepper.read(silent, dict.fromkeys(stepper.streams, []), [])
    assert (nothing.positions == silent.positions).all()


def test_keys_that_are_held_are_not_struck(stepper: Stepper):
    until = np.zeros((1, 128))
    until[:, 50:90] = 96
    for made in generate(stepper, 100, 4, (constraints.no_note_still_held(stepper, until),), temperature=2.0):
        onset = np.cumsum(stepper.steps(made["offset"]))
        pitch = stepper.vocabulary.values["note"][made["note"]]
        assert not ((onset < 96) & (pitch >= 50) & (pitch < 90)).any()


def test_no_onset_comes_before_the_given_time(stepper: Stepper):
    for made in generate(stepper, 5, 8, (constraints.no_onset_before(stepper, 5.5),), temperature=2.0):
        assert stepper.steps(made["offset"])[0] >= 6


def test_offsets_beyond_the_last_bar_line_count_as_the_end(stepper: Stepper):
    """In the last bar the end takes the probability of all offsets that lead beyond it; before that bar it has none."""
    close, _ = constraints.ends_at_bar_line(stepper)
    gaps, end = stepper.gaps[:-1], stepper.vocabulary.end
    begun = stepper.start(2, (4, 4))
    state = replace(begun, onset=np.array([90, 40]), end=np.array([96, 96]))
    last, before = close("offset", np.zeros((2, len(gaps))), state, {})
    late = (90 + gaps >= 96) & (np.arange(len(gaps)) != end)
    assert late.any() and (last[late] == -np.inf).all() and (last[~late][:-1] == 0).all()
    assert last[end] == pytest.approx(np.log(1 + late.sum()))
    assert before[end] == -np.inf and (before[:end][40 + gaps[:end] < 96] == 0).all()


def test_a_row_that_would_lose_every_class_keeps_all():
    logits = np.zeros((2, 3))
    got = constraints.forbid(logits, np.array([[True, True, True], [True, False, True]]))
    assert got.tolist() == [[0, 0, 0], [-np.inf, 0, -np.inf]]


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"temperature": np.nan}, {"top_p": 0}, {"top_p": 2}, {"seed": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict):
    with pytest.raises(UserError, match="must be|share"):
        sampler.Sampling(**wrong)
