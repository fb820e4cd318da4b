"""The weights file: complete, readable by Keras, and refused in a sentence if it cannot be used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import damage_weights
import h5py
import numpy as np
import pytest
from conftest import ROOT

from utils import about, checkpoint, files, network, training
from utils.errors import UserError


def copy(weights: Path, folder: Path) -> Path:
    path = folder / "copy.weights.h5"
    path.write_bytes(weights.read_bytes())
    return path


def test_the_weights_file_holds_all_that_is_needed(weights: Path, music: Path):
    loaded = checkpoint.load(weights)
    about = loaded.about
    assert about["settings"]["midi_dir"] == str(music)
    assert about["settings"]["sequence_length"] == 8
    assert set(about["split"]) == {"train", "held_out"}
    assert len(about["split"]["train"]) + len(about["split"]["held_out"]) == 12
    assert len(about["openings"]) == 32
    assert [row["epoch"] for row in about["history"]][0] == 1
    assert {"keras", "numpy", "backend"} <= set(about["versions"])
    assert set(loaded.arrays) >= {"embed_offset", "gru_0", "head_note", "relative_note"}
    # The optimizer would more than double its size; it is for resuming, not for playing.
    with h5py.File(weights) as file:
        assert "optimizer" not in file


def test_keras_loads_the_weights_file(weights: Path):
    loaded = checkpoint.load(weights)
    trainer, _ = network.build(loaded.vocabulary, loaded.shape)
    trainer.load_weights(weights)
    for layer in trainer.layers:
        for mine, kept in zip(layer.weights, loaded.arrays.get(layer.name, []), strict=False):
            np.testing.assert_array_equal(np.asarray(mine), kept)


def test_each_layer_in_the_file_is_the_one_it_is_named_after(tmp_path: Path, weights: Path):
    loaded = checkpoint.load(weights)
    _, scorer = network.build(loaded.vocabulary, loaded.shape)
    checkpoint.save(tmp_path / "b.weights.h5", scorer, loaded.about)
    again = checkpoint.load(tmp_path / "b.weights.h5")
    for layer in scorer.layers:
        for mine, kept in zip(layer.get_weights(), again.arrays.get(layer.name, []), strict=False):
            np.testing.assert_array_equal(mine, kept)
    assert {layer.name for layer in scorer.layers if layer.trainable_weights} <= set(again.arrays)


def test_a_truncated_file_is_refused_at_any_length(weights: Path, tmp_path: Path):
    path = copy(weights, tmp_path)
    data = path.read_bytes()
    for size in np.linspace(0, len(data) - 1, 25).astype(int):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match="damaged|not written by") as error:
            checkpoint.load(path)
        assert str(path) in str(error.value)


def edit(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        edit_text(file, change)


def test_missing_foreign_newer_and_mismatched_files_are_refused(weights: Path, tmp_path: Path):
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


def edit_text(file: h5py.File, change) -> None:
    text = json.loads(file["about"][()])
    change(text)
    del file["about"]
    file["about"] = json.dumps(text)


def link(file: h5py.File, target: object) -> None:
    del file["network/head_note/0"]
    file["network/head_note/0"] = target


def numbers(file: h5py.File, values: object, **how: object) -> None:
    place = file.get("network/head_note/0", getlink=True).path
    shape = file[place].shape
    del file[place]
    file.create_dataset(place, shape, np.float32, **how) if values is None else file.create_dataset(place, data=values)


# What a hostile file may hold, and the place that the error names.
HOSTILE = {
    "a group": (lambda file: link(file, file.create_group("elsewhere")), "head_note is damaged"),
    "text as numbers": (lambda file: link(file, file["about"]), "head_note is damaged"),
    "another file": (lambda file: link(file, h5py.ExternalLink("/etc/passwd", "/")), "links to other files"),
    "another file elsewhere": (lambda file: file.__setitem__("x", h5py.ExternalLink("a.h5", "/")), "other files"),
    "a link to nothing": (lambda file: link(file, h5py.SoftLink("/nothing")), "damaged"),
    "a link to itself": (lambda file: link(file, h5py.SoftLink("/network/head_note/0")), "damaged"),
    "numbers of another file": (lambda file: numbers(file, None, external="/etc/passwd"), "head_note is damaged"),
    "compressed numbers": (lambda file: numbers(file, None, compression="gzip"), "head_note is damaged"),
    "missing numbers": (lambda file: numbers(file, None), "head_note is damaged"),
    "too many numbers": (lambda file: numbers(file, np.zeros((9, 9), np.float32)), "another network"),
    "not a number": (lambda file: file["network/head_note/1"].__setitem__(0, np.nan), "invalid weights"),
    "too large a number": (lambda file: file["network/head_note/1"].__setitem__(0, 1e30), "invalid weights"),
    "another network's ear": (
        lambda file: file.__setitem__("ear/hidden/0", np.zeros(9, np.float32)),
        "the ear belongs to another network",
    ),
    "an ear of text": (lambda file: file.__setitem__("ear/hidden/0", "0" * 16), "the ear is damaged"),
    "no network": (lambda file: file.pop("network"), "not written by this train.py"),
    "no text": (lambda file: (file.pop("about"), file.__setitem__("about", [1])), "about is not text"),
}
TEXTS = {
    "shape": lambda text: text.pop("shape"),
    "openings": lambda text: text.update(openings=[]),
    "settings": lambda text: text.update(settings=None),
    "vocabulary": lambda text: text.pop("vocabulary"),
    "format": lambda text: text.update(format="5"),
    "shape.layers": lambda text: text["shape"].update(layers=10**9),
    "shape.units": lambda text: text["shape"].update(units=0),
    "shape.sees.offset": lambda text: text["shape"]["sees"].update(offset=["note"]),
    "metre": lambda text: text.update(metre=[0, 4]),
    "openings[0].metre": lambda text: text["openings"][0].update(metre=[3, 5]),
    "openings[0].phase": lambda text: text["openings"][0]["phase"].__setitem__(0, 96),
    "openings[0].classes": lambda text: text["openings"][0]["classes"]["note"].__setitem__(0, 500),
    "openings[0].parts": lambda text: text["openings"][0].update(parts=[17]),
    "openings[0].style": lambda text: text["openings"][0].update(style="polka"),
    "vocabulary.values": lambda text: text["vocabulary"]["values"].pop("duration"),
    "vocabulary.values.note": lambda text: text["vocabulary"]["values"]["note"].reverse(),
    "vocabulary.values.duration": lambda text: text["vocabulary"]["values"]["duration"].__setitem__(0, 0),
    "vocabulary.players": lambda text: text["vocabulary"]["players"].append([17, ["x", 0, 9, 5.0, True]]),
    "vocabulary.players[0]": lambda text: text["vocabulary"]["players"][0][1].__setitem__(0, "\ud800"),
    "settings.transpose": lambda text: text["settings"].update(transpose=True),
    "history[0].score": lambda text: text["history"][0].update(score="1"),
    "it holds Infinity": lambda text: text["history"][0].update(train=float("inf")),
}
HOSTILE |= {f"wrong {place}": (lambda f, change=change: edit_text(f, change), place) for place, change in TEXTS.items()}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_and_the_error_names_the_place(weights: Path, tmp_path: Path, kind: str):
    path, (change, named) = copy(weights, tmp_path), HOSTILE[kind]
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError) as error:
        checkpoint.load(path)
    assert str(path) in str(error.value) and named in str(error.value) and len(str(error.value)) < 300


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_a_pipe_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "a.weights.h5")
    with pytest.raises(UserError, match="is not a file"):
        checkpoint.load(tmp_path / "a.weights.h5")


def test_huge_texts_and_numbers_are_refused(weights: Path, tmp_path: Path):
    for text in ("[" * 10**6, " " * (about.LONGEST + 1), "9" * 10**6, '{"format": 1e999}'):
        path = copy(weights, tmp_path)
        with h5py.File(path, "r+") as file:
            del file["about"]
            file["about"] = text
        with pytest.raises(UserError, match="damaged"):
            checkpoint.load(path)


def test_damaged_files_are_refused_or_play(weights: Path, band: Path, tmp_path: Path):
    """For many more: python tests/damage_weights.py 10000."""
    originals = [(data, damage_weights.places_of(data)) for data in (weights.read_bytes(), band.read_bytes())]
    outcomes = [damage_weights.survive(*originals[seed % 2], seed, tmp_path / "a.weights.h5") for seed in range(200)]
    assert 30 < outcomes.count("plays") < 120 and all(each == "plays" or each.endswith(".") for each in outcomes)


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
        files.check_writable(path / "inside" / "a.weights.h5", "--weights")


def no_space(*_: object) -> None:
    """Stands in for `os.fsync` on a full disk, and for `os.link` on a disk without links."""
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_files(weights: Path, tmp_path: Path, monkeypatch):
    path = copy(weights, tmp_path)
    before = path.read_bytes()
    _, scorer = network.build(checkpoint.load(path).vocabulary, checkpoint.load(path).shape)
    monkeypatch.setattr(os, "fsync", no_space)
    for write in (lambda: checkpoint.save(path, scorer, {}), lambda: training.set_aside(str(path))):
        with pytest.raises(UserError, match="No space left on device"):
            write()
        assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


# ---- several processes ----

HELD = """
import sys, time
from utils import files, training
with training.alone(sys.argv[1]), open(sys.argv[2], "ab") as scratch:
    files.lock(scratch)
    print("there", flush=True)
    time.sleep(60)
"""


def test_only_one_process_trains_and_scratch_files_of_killed_ones_are_removed(tmp_path: Path):
    path, scratch = tmp_path / "a.weights.h5", tmp_path / files.SCRATCH.format(name="a.weights.h5", process=1)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HELD, str(path), str(scratch)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout.readline().strip() == b"there"
    with pytest.raises(UserError, match="is being trained by another process"), training.alone(str(path)):
        pass
    files.sweep(tmp_path)
    assert scratch.exists()  # its writer is still alive
    with training.alone(str(tmp_path / "b.weights.h5")):
        pass
    process.kill()
    process.communicate()
    with training.alone(str(path)):
        assert not scratch.exists()


def test_a_file_that_takes_the_name_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch):
    """Not even on disks without links."""
    for links in (True, False):
        folder = tmp_path / str(links)
        if not links:
            monkeypatch.setattr(os, "link", no_space)
        taken = iter([1, 1, 2, 3])
        monkeypatch.setattr(files, "first_free", lambda _, taken=taken: next(taken))
        names = lambda number, folder=folder: [folder / f"{number}.mid"]  # noqa: E731
        written = [files.write_new(names, b"first").name] + ([files.write_new(names, b"second").name] if links else [])
        assert written == ["1.mid", "2.mid"][: 1 + links]
        assert (folder / "1.mid").read_bytes() == b"first" and len(list(folder.iterdir())) == len(written)


def test_half_precision_hardly_changes_the_weights(tmp_path: Path, weights: Path):
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
