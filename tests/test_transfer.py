"""Training that starts from the weights of another network."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import band_piece, make_piece, random_piece, save
from test_train import assert_same
from traced import eagerly, learn

from utils import checkpoint, events, transfer
from utils.checkpoint import Checkpoint
from utils.dataset import Source
from utils.errors import UserError
from utils.events import END_STREAM, Events, Representation
from utils.heads import Shape, shape_of, weights_of
from utils.measure import copying
from utils.piece import Part, Piece
from utils.stepper import Stepper
from utils.vocabulary import Block, Vocabulary, build_vocabulary, counted

NO_PARTS = ("offset", "note", "duration")


def network(vocabulary: Vocabulary, heads: str = "chained", cell: str = "gru") -> Checkpoint:
    """A small network with random weights."""
    sizes = {"layers": 2, "units": 12, "embedding": 6, "hidden": 10, "surroundings": 5, "dropout": 0.5, "cell": cell}
    shape, rng = Shape.of(SimpleNamespace(streams=vocabulary.streams, heads=heads, **sizes)), np.random.default_rng(1)
    weights = weights_of(vocabulary, shape).items()
    made = {name: [rng.normal(0, 0.5, shape_of(axes)).astype(np.float32) for axes in each] for name, each in weights}
    return Checkpoint({}, vocabulary, shape, made)


def started(vocabulary: Vocabulary, earlier: Checkpoint) -> Checkpoint:
    """The network that starts from an earlier one, before any update."""
    made = transfer.started(vocabulary, earlier.shape, earlier)
    return Checkpoint({}, vocabulary, earlier.shape, made)


def logits(weights: Checkpoint, heard: Events) -> list[dict[str, np.ndarray]]:
    """For each event of a piece: stream -> the logits (V,) of all its classes."""
    stepper, told = Stepper(weights), []
    classes, _ = weights.vocabulary.encode(heard)
    playing = np.isin(list(weights.vocabulary.players), list(weights.vocabulary.heard_as(heard).values()))
    state = stepper.start(1, (4, 4), playing)
    for i in range(len(heard)):
        output, state = stepper.step(state)
        chosen, of_event = {}, {}
        for stream in stepper.streams:
            of_event[stream] = stepper.logits(stream, output, state, chosen)[0][0]
            chosen |= stepper.known(stream, classes[stream][i : i + 1], state, chosen)
            stepper.tell(stream, output, state, chosen)
        told.append(of_event)
        state = stepper.append(state, chosen)
    return told


def other_players(piece: Piece) -> Piece:
    """The same music with other players, except for the drums."""
    parts = [Part("Oboe", 68), Part("", 41), Part("", 41), Part("Fretless", 35), piece.parts[-1]]
    return replace(piece, parts=parts)


def altered(piece: Piece) -> Piece:
    """The piece two thirds as fast, with notes a third as long, and a sixth higher except for the drums."""
    higher = piece.pitch + 9 * ~piece.is_drum
    return replace(piece, pitch=higher, onset=piece.onset * 3 // 2, duration=piece.duration // 3)


@pytest.mark.parametrize("heads", ["chained", "parallel"])
@pytest.mark.parametrize("how", [Representation(), Representation(NO_PARTS), Representation(chords="class")])
def test_known_values_are_played_as_before(how: Representation, heads: str):
    """Even though the vocabulary has grown by notes or chords, lengths and players."""
    old, new = (events.from_piece(piece, how) for piece in (band_piece(1), altered(other_players(band_piece(2)))))
    earlier = network(build_vocabulary([old], how, 1), heads, "lstm")
    grown = started(build_vocabulary([new], how, 2).joined(earlier.vocabulary), earlier)
    known, values = earlier.vocabulary.values, grown.vocabulary.values
    assert all(set(known[stream]) < set(values[stream]) for stream in how.streams)
    for before, after in zip(logits(earlier, old), logits(grown, old), strict=True):
        for stream in how.streams:
            where = np.searchsorted(values[stream], known[stream])
            if stream == END_STREAM:
                where = np.append(where, grown.vocabulary.end)
            np.testing.assert_allclose(after[stream][where], before[stream], atol=1e-5)


@pytest.mark.parametrize("heads", ["chained", "regression"])
def test_with_nothing_new_nothing_changes(heads: str):
    how = Representation()
    old = events.from_piece(band_piece(1), how)
    earlier = network(build_vocabulary([old], how, 1), heads)
    same = started(build_vocabulary([old], how, 0).joined(earlier.vocabulary), earlier)
    assert same.arrays.keys() == earlier.arrays.keys()
    for name, each in earlier.arrays.items():
        for before, after in zip(each, same.arrays[name], strict=True):
            np.testing.assert_array_equal(after, before)


def test_new_players_are_heard_as_the_nearest():
    """The earlier network, which takes new players for the nearest ones that it knows, gives the same logits."""
    how = Representation()
    old, new = events.from_piece(band_piece(1), how), events.from_piece(other_players(band_piece(1)), how)
    earlier = network(build_vocabulary([old], how, 1))
    grown = started(build_vocabulary([new], how, 1).joined(earlier.vocabulary), earlier)
    heard = earlier.vocabulary.heard_as(new)
    assert len(grown.vocabulary.players) == 9 and len(set(heard.values())) == 5
    order = list(grown.vocabulary.players)
    for before, after in zip(logits(earlier, new), logits(grown, new), strict=True):
        for stream in ("offset", "note", "duration"):
            np.testing.assert_allclose(after[stream], before[stream], atol=1e-4)
        for value, known in heard.items():
            nearest = list(earlier.vocabulary.players).index(known)
            assert after["part"][order.index(value)] == pytest.approx(before["part"][nearest], abs=1e-4)


def test_new_values_start_from_the_nearest():
    how = Representation(NO_PARTS)
    tune = [(0, 60, 240), (480, 64, 480)]
    old, new = (events.from_piece(make_piece(rows), how) for rows in (tune, [*tune, (960, 65, 960)]))
    earlier = network(build_vocabulary([old], how, 0))
    grown = started(build_vocabulary([new], how, 0).joined(earlier.vocabulary), earlier)
    for stream, value, near in (("note", 65, 64), ("duration", 24, 12)):
        there, here = (list(each.vocabulary.values[stream]) for each in (earlier, grown))
        assert value in here and value not in there
        embedding, kernel = grown.arrays[f"embed_{stream}"][0], grown.arrays[f"head_{stream}"][0]
        place = there.index(near)
        np.testing.assert_array_equal(embedding[here.index(value)], earlier.arrays[f"embed_{stream}"][0][place])
        np.testing.assert_array_equal(kernel[:, here.index(value)], earlier.arrays[f"head_{stream}"][0][:, place])


def test_values_without_a_relative_start_at_0():
    """New drums in a network without drums, and a block that the earlier network did not have at all."""
    how = Representation()
    tune, band = events.from_piece(random_piece(1), how), events.from_piece(band_piece(1), how)
    earlier = network(build_vocabulary([tune], how, 0))
    grown = started(build_vocabulary([band], how, 0).joined(earlier.vocabulary), earlier)
    assert list(grown.vocabulary.players)[0] == 0
    assert not grown.arrays["embed_part"][0][0].any() and grown.arrays["embed_part"][0][1].any()
    old, new = (counted("a", 2), counted("c", 1)), (counted("b", 2), counted("c", 1), Block("a", np.array([1, 9])))
    assert transfer.sources(new, old, {}).tolist() == [-1, -1, 2, 1, 1]
    np.testing.assert_array_equal(transfer.moved(np.array([1.0, 2, 3]), (new,), (old,), {}), [0, 0, 3, 2, 2])


def test_a_vocabulary_joined_with_another_keeps_what_it_knows_of_its_parts():
    how = Representation()
    first, second = band_piece(1), band_piece(2)
    second.parts[0] = Part("Flauto", 73)
    one, other = (build_vocabulary([events.from_piece(piece, how)], how, 1) for piece in (first, altered(second)))
    both = one.joined(other)
    assert both.players == one.players and other.joined(one).players == other.players
    for stream in how.streams:
        assert set(both.values[stream]) == {*one.values[stream], *other.values[stream]}
    with_twins = build_vocabulary([events.from_piece(other_players(first), how)], how, 1).joined(one)
    names = [known.name for known in with_twins.players.values()]
    assert len(set(names)) == len(names) == 9


# ---- the script ----


def test_training_starts_from_the_given_weights_and_can_be_resumed(music: Path, weights: Path, tmp_path: Path, capsys):
    """At a learning rate of 0 the weights stay as they were; the sizes are theirs too, whatever the settings say."""
    path = tmp_path / "a.weights.h5"
    flags = ["--midi-dir", music, "--weights", path, "--units", 48]
    learn(*flags, "--start-from", weights, "--epochs", 1, "--learning-rate", 0)
    assert_same(path, weights)
    said = capsys.readouterr().out
    assert f"The network has the sizes of {weights}: heads chained, cell gru, layers 1, units 16," in said
    assert "0 of note, 0 of duration" in said
    learn(*flags, "--resume", "--epochs", 2)
    about = checkpoint.load(tmp_path / "a.last.weights.h5").about
    assert about["settings"]["start_from"] == str(weights) and len(about["history"]) == 2
    with pytest.raises(UserError, match="give only one of them"):
        learn(*flags, "--start-from", weights, "--resume")


def test_it_learns_from_a_few_pieces(weights: Path, tmp_path: Path, capsys):
    """The pieces have other players; the new weights also name the pieces that the earlier network learnt from."""
    for seed in (30, 31, 32):
        save(other_players(band_piece(seed)), tmp_path / "midi" / f"{seed}.mid")
    path = tmp_path / "a.weights.h5"
    flags = ["--midi-dir", tmp_path / "midi", "--weights", path, "--start-from", weights, "--epochs", 2]
    learn(*flags, "--batch-size", 64, how=eagerly)
    assert "Oboe as Acoustic Grand Piano" in capsys.readouterr().out
    made = checkpoint.load(path)
    Stepper(made)
    before = checkpoint.load(weights)
    assert set(before.vocabulary.players) < set(made.vocabulary.players)
    known = before.about["split"]["train"]
    assert made.about["learnt_before"] == known
    pieces = [Source(name, 0.5, events.from_piece(random_piece(i))) for i, name in enumerate((known[0], "new.mid"))]
    assert copying.trained_on(made.about, [], pieces).tolist() == [True, False]


def test_training_starts_from_weights_older_than_parts_and_in_half_precision(music: Path, tmp_path: Path):
    old, path = tmp_path / "old.weights.h5", tmp_path / "a.weights.h5"
    flags = ["--midi-dir", music, "--weights", path, "--epochs", 1, "--batch-size", 64]
    learn(*flags, "--weights", old, "--no-parts", "--no-pedal", "--half", how=eagerly)
    with h5py.File(old, "r+") as file:
        about = json.loads(file["about"][()])
        about["format"] = 3
        for name in ("pedal", "parts", "metre", "start_from"):
            del about["settings"][name]
        for name in ("pedal", "metre", "players"):
            del about["vocabulary"][name]
        del file["about"], about["learnt_before"]
        file["about"] = json.dumps(about)
    with pytest.raises(UserError, match="was trained with --no-pedal --no-parts, not --pedal --parts: use its flags"):
        learn(*flags, "--start-from", old)
    learn(*flags, "--start-from", old, "--no-parts", "--no-pedal", "--learning-rate", 0, how=eagerly)
    assert_same(path, old)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--grid", 24], "was trained with --grid 12, not --grid 24: use its flags"),
        (["--no-parts"], "was trained with --parts, not --no-parts"),
        (["--metre", "3/4"], "was trained with --metre '', not --metre 3/4"),
        (["--streams", "offset,note,duration,velocity"], "--streams offset,note,duration, not --streams .*,velocity"),
        (["--chords", "class"], "--chords split --parts, not --chords class --no-parts"),
    ],
)
def test_another_representation_is_refused(music: Path, weights: Path, tmp_path: Path, flags: list, sentence: str):
    with pytest.raises(UserError, match=sentence):
        learn("--midi-dir", music, "--weights", tmp_path / "a.weights.h5", "--start-from", weights, *flags)


def test_missing_or_damaged_weights_to_start_from_are_refused(music: Path, weights: Path, tmp_path: Path):
    flags = ["--midi-dir", music, "--weights", tmp_path / "a.weights.h5", "--start-from"]
    with pytest.raises(UserError, match="no weights at .*none.weights.h5 to start from"):
        learn(*flags, tmp_path / "none.weights.h5")
    (tmp_path / "cut.weights.h5").write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(UserError, match="damaged"):
        learn(*flags, tmp_path / "cut.weights.h5")
