"""The NumPy sampler and the Keras network are the same network."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import about_of, band_piece, random_piece, twice

from utils import checkpoint, control, dataset, events, network
from utils.cells import CELLS as STATES
from utils.events import END_STREAM, Representation
from utils.heads import Shape
from utils.measure import likelihood
from utils.states import ending
from utils.stepper import Stepper
from utils.traces import FADING, NEAR
from utils.vocabulary import build_vocabulary

CASES = [
    ("split", "chained", 1, ("offset", "note", "duration")),
    ("split", "chained", 3, ("offset", "note", "duration")),
    ("split", "parallel", 2, ("offset", "note", "duration")),
    ("class", "chained", 2, ("offset", "note", "duration")),
    ("class", "parallel", 1, ("offset", "note", "duration")),
    ("split", "chained", 1, ("offset", "note", "duration", "velocity")),
    ("split", "regression", 1, ("offset", "note", "duration")),
]
WITH_PARTS = ("split", "chained", 1, ("offset", "part", "note", "duration"))
CASES += [WITH_PARTS, ("split", "parallel", 1, WITH_PARTS[-1]), ("split", "chained", 2, (*WITH_PARTS[-1], "velocity"))]
CELLS = [(*case, "lstm", ("", "")) for case in CASES]
CELLS += [(*CASES[i], cell, ("", "")) for cell in network.LAYERS if cell != "lstm" for i in (1, 3)]
CELLS += [(*CASES[0], "lstm", ("one/", "other/")), (*WITH_PARTS, "gru", ("one/", "other/"))]


def build(
    chords: str, heads: str, layers: int, streams: tuple[str, ...], path: Path, cell: str = "lstm", folders=("", "")
):
    """A small network with random weights, the same read back from its file, and two pieces in these folders."""
    how = Representation(streams, chords=chords)
    make = band_piece if how.has_parts else random_piece
    pieces = [events.from_piece(twice(make(seed)), how) for seed in range(2)]  # so that bars repeat
    sources = [dataset.Source(f"{folders[i]}{i}", i / 9, pieces[i]) for i in range(2)]
    vocabulary = build_vocabulary(pieces, how, 3, dataset.styles_of(sources))
    sizes = {
        "layers": layers,
        "units": 24,
        "embedding": 6,
        "hidden": 20,
        "surroundings": 5,
        "dropout": 0.5,
        "cell": cell,
    }
    shape = Shape.of(SimpleNamespace(streams=streams, heads=heads, **sizes))
    network.keras.utils.set_random_seed(layers)
    trainer, scorer = network.build(vocabulary, shape)
    for weight in trainer.trainable_variables:  # larger than at the start, so that mistakes show
        weight.assign(np.random.default_rng(1).normal(0, 0.5, weight.shape))
    checkpoint.save(path, scorer, about_of(vocabulary, shape, sources))
    return trainer, scorer, shape, dataset.encode(sources, vocabulary), Stepper(checkpoint.load(path)), sources


@pytest.mark.parametrize(("chords", "heads", "layers", "streams", "cell", "folders"), CELLS)
def test_stepping_gives_the_same_distributions(chords, heads, layers, streams, cell, folders, tmp_path: Path):
    path = tmp_path / "a.weights.h5"
    _, scorer, shape, corpus, stepper, sources = build(chords, heads, layers, streams, path, cell, folders)
    length = int(np.diff(corpus.first).min()) - 1
    pieces = np.arange(2)
    told = np.zeros((2, corpus.vocabulary.hints), bool)
    told[0, 1:] = True  # who plays in the first piece, its form and its style
    inputs, weights = dataset.cut(corpus, pieces, corpus.first[:-1], length, told)
    scorer.run_eagerly = True  # once, which takes less time than tracing it
    nats, *_ = scorer.predict_on_batch({**inputs, **shape.silence(2)})
    state = stepper.start(2, (4, 4), inputs.get("condition", 0.0))
    state = control.with_forms(state, [sources[0].events.form(), ()], np.zeros(2, int))
    for t in range(1, length + 1):
        before = state.style
        output, state = stepper.step(state)
        if corpus.vocabulary.styles:
            recognised = inputs["style"] * np.exp(state.style - before)
            np.testing.assert_allclose(recognised[1].sum(), np.exp(-nats[1, t - 1, -1]), atol=1e-4)
            assert nats[0, t - 1, -1] == 0 and nats[1, t - 1, -1] > 0
        chosen = {}
        for k, stream in enumerate(streams):
            logits, _ = stepper.logits(stream, output, state, chosen)
            probability = np.exp(logits - logits.max(axis=1, keepdims=True))
            probability /= probability.sum(axis=1, keepdims=True)
            target = inputs[stream][:, t]
            valid = weights[:, t - 1, k] > 0
            expected = np.exp(-nats[:, t - 1, k])
            got = probability[pieces, np.minimum(target, logits.shape[1] - 1)]
            np.testing.assert_allclose(got[valid], expected[valid], atol=1e-4)
            if not valid.all():
                break
            chosen |= stepper.known(stream, target, state, chosen)
            stepper.tell(stream, output, state, chosen)
        if t == length:  # the shorter piece ends: it has no next note
            break
        # The stepper derives the same as the corpus has.
        assert all((chosen[name] == inputs[name][:, t]).all() for name in chosen)
        state = stepper.append(state, chosen)


def test_all_classes_have_the_probability_that_keras_gives_them(tmp_path: Path):
    """The whole distribution of one step, class by class."""
    _, scorer, shape, corpus, stepper, _ = build(*CASES[0], tmp_path / "a.weights.h5")
    inputs, _ = dataset.cut(corpus, np.array([0]), corpus.first[:1], 3)
    state = stepper.start(1, (4, 4))
    for t in (1, 2):
        _, state = stepper.step(state)
        event = {name: inputs[name][:, t] for name in (*corpus.inputs, *corpus.lines.recalled(np.zeros(1, int)))}
        state = stepper.append(state, event)
    output, state = stepper.step(state)
    logits = stepper.logits("offset", output, state, {})[0][0]
    for klass in range(len(logits)):
        inputs["offset"][0, 3] = klass
        nats, *_ = scorer.predict_on_batch({**inputs, **shape.silence(1)})
        probability = np.exp(logits[klass] - np.logaddexp.reduce(logits.astype(float)))
        assert abs(np.exp(-nats[0, 2, 0]) - probability) < 1e-4


def test_the_stepper_is_told_the_same_of_the_end_and_of_home_as_the_corpus(tmp_path: Path):
    """From the start token on, bar by bar; and a window in the middle of a piece begins with all keys that were struck
    before it."""
    *_, corpus, stepper, sources = build(*CASES[0], tmp_path / "a.weights.h5")
    first, length = corpus.first[:1], int(corpus.first[1]) - 1
    inputs, _ = dataset.cut(corpus, np.array([0]), first, length, told=True)
    assert len(set(inputs["remaining"][0])) > 3 and len(set(inputs["progress"][0])) > 3
    bars = sources[0].events.bars
    state = control.with_forms(stepper.start(1, (4, 4)), [sources[0].events.form()], np.zeros(1, int))
    assert state.last["remaining"] == events.NOT_TOLD["remaining"]
    state = ending(state, np.array([bars * 48]))
    for t in range(1, length):
        assert all(state.last[name] == inputs[name][0, t - 1] for name in events.NOT_TOLD), t
        _, state = stepper.step(state)
        event = {}
        for stream in stepper.streams:
            event |= stepper.known(stream, inputs[stream][:, t], state, event)
        state = stepper.append(state, event)
        inside, _ = dataset.cut(corpus, np.array([0]), first + t, 5)
        home = state.traces[0, -1, 12 + NEAR : -NEAR]
        np.testing.assert_array_equal(inside["traces"][0, len(FADING) - 1], home)
        assert (inside["remaining"] == events.NOT_TOLD["remaining"]).all()


def test_the_state_is_carried_from_chunk_to_chunk(tmp_path: Path, monkeypatch):
    _, scorer, shape, corpus, *_ = build(*CASES[1], tmp_path / "a.weights.h5")
    whole = likelihood.held_out_nats(scorer, corpus, shape)
    monkeypatch.setattr(likelihood, "AT_ONCE", (1, 7))
    np.testing.assert_allclose(likelihood.held_out_nats(scorer, corpus, shape), whole, rtol=1e-4)


def test_the_loss_counts_real_events_only(tmp_path: Path):
    trainer, scorer, shape, corpus, *_ = build(*CASES[0], tmp_path / "a.weights.h5")
    trainer.run_eagerly = scorer.run_eagerly = True  # once, which takes less time than tracing them
    length = int(np.diff(corpus.first).max()) + 30  # every window is padded
    inputs, weights = dataset.cut(corpus, np.arange(2), corpus.first[:-1], length)
    nats = trainer.predict_on_batch({**inputs, **shape.silence(2)})
    loss = float(network.nats_per_event(weights, nats))
    assert loss * weights[..., 0].sum() == pytest.approx(
        (likelihood.held_out_nats(scorer, corpus, shape) * corpus.events).sum(), rel=1e-4
    )


def test_the_ancestors_configuration_learns(tmp_path: Path):
    """Parallel heads, chords as classes: the loss falls."""
    trainer, _, shape, corpus, *_ = build("class", "parallel", 2, CASES[0][3], tmp_path / "a.weights.h5")
    network.compile_trainer(trainer, corpus.vocabulary.streams, network.adamw(0.01, 0, 1.0))
    inputs, weights = dataset.cut(corpus, np.arange(2), corpus.first[:-1], 4)
    batch = {**inputs, **shape.silence(2)}
    losses = [trainer.train_on_batch(batch, weights, return_dict=True) for _ in range(30)]
    assert losses[-1]["loss"] < 0.7 * losses[0]["loss"]
    assert sum(losses[-1][stream] for stream in CASES[0][3]) == pytest.approx(losses[-1]["loss"], rel=1e-4)


def test_heads_see_what_was_chosen_before_them():
    streams = ("offset", "note", "duration")

    def sees(heads: str) -> dict:
        sizes = dict.fromkeys(("layers", "units", "embedding", "hidden", "surroundings", "dropout"), 1)
        return Shape.of(SimpleNamespace(streams=streams, heads=heads, cell="lstm", **sizes)).sees

    assert sees("parallel") == {"offset": (), "note": (), "duration": ()}
    assert sees("chained") == {
        "offset": (),
        "note": ("offset", "phase", "remaining", "progress", "form"),
        "duration": ("offset", "note", "phase", "interval", "remaining", "progress", "form"),
    }
    assert streams[0] == END_STREAM


@pytest.mark.parametrize("cell", network.LAYERS)
def test_training_event_by_event_computes_the_same_as_the_keras_layer(cell: str, monkeypatch):
    rng = np.random.default_rng(1)
    layer = network.LAYERS[cell](6, return_sequences=True, return_state=True)
    layer.build((None, None, 5))
    layer.set_weights([rng.normal(0, 1, weight.shape) for weight in layer.weights])
    events, *state = (rng.normal(0, 1, size).astype("float32") for size in ((3, 7, 5), (3, 6), (3, 6)))
    state = state[: STATES[cell].states]
    usual = layer(events, initial_state=state)
    _, _, keras_layer, *_ = network.LAYERS[cell].__mro__  # after the class itself and `Unrolled`
    monkeypatch.setattr(keras_layer, "call", None)
    for learning, playing in zip(layer(events, initial_state=state, training=True), usual, strict=True):
        np.testing.assert_allclose(learning, playing, atol=1e-5)
