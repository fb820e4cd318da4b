"""The weights file: whole, readable by Keras, and refused with a sentence when it cannot be used."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from utils import checkpoint, network
from utils.errors import UserError


def copy(weights: Path, folder: Path) -> Path:
    path = folder / "copy.weights.h5"
    path.write_bytes(weights.read_bytes())
    return path


def test_it_holds_all_that_is_needed(weights: Path, music: Path):
    loaded = checkpoint.load(weights)
    about = loaded.about
    assert about["settings"]["midi_dir"] == str(music)
    assert about["settings"]["sequence_length"] == 16
    assert set(about["split"]) == {"train", "held_out"}
    assert len(about["split"]["train"]) + len(about["split"]["held_out"]) == 12
    assert len(about["openings"]) == 32
    assert [row["epoch"] for row in about["history"]][0] == 1
    assert {"keras", "numpy", "backend"} <= set(about["versions"])
    assert set(loaded.arrays) >= {"embed_offset", "gru_0", "head_note", "relative_note"}
    # Half of it would be the optimizer's: that is for resuming, not for playing.
    with h5py.File(weights) as file:
        assert "optimizer" not in file


def test_keras_loads_it(weights: Path):
    loaded = checkpoint.load(weights)
    trainer, _ = network.build(loaded.vocabulary, loaded.shape)
    trainer.load_weights(weights)
    for layer in trainer.layers:
        for mine, kept in zip(layer.weights, loaded.arrays.get(layer.name, []), strict=False):
            np.testing.assert_array_equal(np.asarray(mine), kept)


def test_every_layer_of_the_file_is_the_layer_it_is_named_after(tmp_path: Path, weights: Path):
    loaded = checkpoint.load(weights)
    _, scorer = network.build(loaded.vocabulary, loaded.shape)
    checkpoint.save(tmp_path / "b.weights.h5", scorer, loaded.about)
    again = checkpoint.load(tmp_path / "b.weights.h5")
    for layer in scorer.layers:
        for mine, kept in zip(layer.get_weights(), again.arrays.get(layer.name, []), strict=False):
            np.testing.assert_array_equal(mine, kept)
    assert {layer.name for layer in scorer.layers if layer.trainable_weights} <= set(again.arrays)


def test_a_cut_short_file_is_refused_at_any_length(weights: Path, tmp_path: Path):
    path = copy(weights, tmp_path)
    data = path.read_bytes()
    for size in np.linspace(0, len(data) - 1, 25).astype(int):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match="damaged|not written by") as error:
            checkpoint.load(path)
        assert str(path) in str(error.value)


def edit(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        about = json.loads(file["about"][()])
        change(about)
        del file["about"]
        file["about"] = json.dumps(about)


def test_missing_foreign_newer_and_other_networks(weights: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no weights at .*train.py"):
        checkpoint.load(tmp_path / "none.weights.h5")
    with h5py.File(tmp_path / "foreign.weights.h5", "w") as file:
        file["data"] = [1, 2, 3]
    with pytest.raises(UserError, match="not written by this train.py"):
        checkpoint.load(tmp_path / "foreign.weights.h5")
    path = copy(weights, tmp_path)
    edit(path, lambda about: about.update(format=99))
    with pytest.raises(UserError, match="newer version"):
        checkpoint.load(path)
    for change in (
        lambda about: about["shape"].update(units=8),
        lambda about: about["shape"].update(layers=2),
        lambda about: about["vocabulary"]["values"]["note"].pop(),
    ):
        path = copy(weights, tmp_path)
        edit(path, change)
        with pytest.raises(UserError, match="another network"):
            checkpoint.load(path)


def test_a_failed_save_leaves_the_old_file(weights: Path, tmp_path: Path):
    path = copy(weights, tmp_path)
    before = path.read_bytes()
    loaded = checkpoint.load(path)
    _, scorer = network.build(loaded.vocabulary, loaded.shape)
    with pytest.raises(TypeError):
        checkpoint.save(path, scorer, {"not": {"json"}})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(UserError, match="cannot be written"):
        checkpoint.check_writable(path / "inside" / "a.weights.h5")


def test_half_the_precision_is_half_the_file(tmp_path: Path, weights: Path):
    whole = checkpoint.load(weights)
    _, scorer = network.build(whole.vocabulary, whole.shape)
    scorer.load_weights(weights)
    checkpoint.save(tmp_path / "half.weights.h5", scorer, whole.about, half=True)
    half = checkpoint.load(tmp_path / "half.weights.h5")
    for name, arrays in whole.arrays.items():
        for before, after in zip(arrays, half.arrays[name], strict=True):
            np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)
    scorer.load_weights(tmp_path / "half.weights.h5")  # Keras reads it too
    assert not list(tmp_path.glob("*.whole"))
