"""train.py: saving, being killed, resuming, ending early, bad input."""

import csv
import functools
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import ROOT, TINY, call, make_piece, one_line_error, random_piece, run, save
from traced import eagerly, learn, optimize_graphs

import train
from utils import checkpoint, network, settings, training
from utils.errors import UserError
from utils.output.tensorboard import Board, folder_of
from utils.run import Run


def arrays(path: Path) -> dict[str, np.ndarray]:
    return {f"{name}/{i}": a for name, layer in checkpoint.load(path).arrays.items() for i, a in enumerate(layer)}


def earlier_run(weights: Path, folder: Path) -> Path:
    """Copy the files of the two-epoch run that wrote `weights` into `folder` as a.*. Returns a.weights.h5."""
    for path in weights.parent.glob("tiny.*"):
        shutil.copy(path, folder / path.name.replace("tiny", "a"))
    return folder / "a.weights.h5"


def assert_same(one: Path, other: Path) -> None:
    first, second = arrays(one), arrays(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_what_a_run_leaves_behind(weights: Path, music: Path):
    stem = weights.name.removesuffix(".weights.h5")
    names = {path.name for path in weights.parent.iterdir()}
    assert {f"{stem}.{e}" for e in ("weights.h5", "last.weights.h5", "log.csv", "curve.png")} <= names
    assert "model_plot.png" in names
    assert (weights.parent / "model_plot.png").read_bytes()[:4] == b"\x89PNG"
    rows = list(csv.DictReader((weights.parent / f"{stem}.log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        for part in ("train", "held_out"):
            shares = [float(row[f"{part}_{stream}"]) for stream in ("offset", "note", "duration")]
            assert sum(shares) == pytest.approx(float(row[part]), rel=1e-3)


@pytest.fixture
def as_scripts() -> Iterator[None]:
    """Training computes the same, to the last digit, as in a process of its own."""
    optimize_graphs(True)
    yield
    optimize_graphs(False)


@pytest.mark.parametrize("more", [[], ["--chords", "class", "--heads", "parallel", "--layers", 2, "--dropout", 0.2]])
def test_training_in_two_parts_gives_the_same_weights(
    music: Path, weights: Path, tmp_path: Path, as_scripts, more: list
):
    common = ["--midi-dir", music, *more]
    if more:
        learn(*common, "--weights", tmp_path / "a.weights.h5", "--epochs", 2)
    else:  # that run has been made already, by another process
        earlier_run(weights, tmp_path)
    learn(*common, "--weights", tmp_path / "parts.weights.h5", "--epochs", 1)
    learn(*common, "--weights", tmp_path / "parts.weights.h5", "--epochs", 2, "--resume")
    assert_same(tmp_path / "a.weights.h5", tmp_path / "parts.weights.h5")
    assert_same(tmp_path / "a.last.weights.h5", tmp_path / "parts.last.weights.h5")
    logs = [list(csv.DictReader((tmp_path / f"{name}.log.csv").open())) for name in ("a", "parts")]
    for one, other in zip(*logs, strict=True):
        times = dict.fromkeys(("seconds", "notes_per_second"), 0)
        assert {**one, **times} == {**other, **times}


def test_resuming_needs_the_same_network(music: Path, weights: Path, tmp_path: Path):
    path = earlier_run(weights, tmp_path)
    with pytest.raises(
        UserError, match="with --layers 1 --hidden 16, not --layers 2 --hidden 128: resume with its flags"
    ):
        learn("--midi-dir", music, "--weights", path, "--epochs", 3, "--layers", 2, "--hidden", 128, "--resume")
    with pytest.raises(UserError, match="with --styles, not --no-styles: resume"):
        learn("--midi-dir", music, "--weights", path, "--epochs", 3, "--no-styles", "--resume")


def test_scores_before_resuming_with_other_music_do_not_count(music: Path, weights: Path, tmp_path: Path, capsys):
    path = earlier_run(weights, tmp_path)
    one = save(random_piece(99), tmp_path / "other" / "one.mid")
    # At such a rate the network forgets what it knew, but its score is the first on the piece that is held out now.
    learn("--midi-dir", one.parent, "--weights", path, "--epochs", 3, "--learning-rate", 20, "--resume")
    before, last = checkpoint.load(path).about["history"][-2:]
    assert last["kept"] and last["score"] > before["score"]
    assert f"of epoch 3: {last['score']:.3f} nats a note" in capsys.readouterr().out


def test_resuming_needs_an_earlier_run(music: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no .*a.last.weights.h5 to resume from"):
        learn("--midi-dir", music, "--weights", tmp_path / "a.weights.h5", "--resume")
    assert not list(tmp_path.iterdir())


def test_if_there_is_no_run_to_resume_the_one_set_aside_is_suggested(weights: Path, tmp_path: Path):
    path = earlier_run(weights, tmp_path)
    training.set_aside(str(path))  # as when --resume is forgotten and the run stops before its first epoch
    with pytest.raises(UserError, match=r"name the run with --weights, such as .*a\.old-1\.weights\.h5\.$"):
        training.check(settings.parse(ROOT / "train.py", [f"--weights={path}", "--resume"]))
    training.check(settings.parse(ROOT / "train.py", [f"--weights={tmp_path / 'a.old-1.weights.h5'}", "--resume"]))


def test_an_lstm_is_trained_and_resumed(music: Path, tmp_path: Path):
    path = tmp_path / "a.weights.h5"
    flags = ["--midi-dir", music, "--weights", path, "--batch-size", 256, "--warm-up", 0, "--cell", "lstm"]
    learn(*flags, "--epochs", 1, how=eagerly)
    with pytest.raises(UserError, match="--cell lstm, not --cell gru: resume"):
        learn(*flags[:-2], "--epochs", 2, "--resume")
    learn(*flags, "--epochs", 2, "--resume", how=eagerly)
    history = checkpoint.load(tmp_path / "a.last.weights.h5").about["history"]
    assert history[1]["train"] < history[0]["train"]
    result = call("generate_music.py", "--weights", path, "--out", tmp_path / "out", "--notes", 20)
    assert result.returncode == 0, result.stderr


def test_runs_stopped_before_their_first_epoch_leave_only_one_copy(weights: Path, tmp_path: Path):
    path = earlier_run(weights, tmp_path)
    for _ in range(3):
        training.set_aside(str(path))
    assert sorted(tmp_path.glob("*.weights.h5")) == sorted(
        tmp_path / f"a.{name}weights.h5" for name in ("", "old-1.", "old-1.last.")
    )
    path.write_bytes(b"other weights")
    training.set_aside(str(path))
    assert (tmp_path / "a.old-2.weights.h5").read_bytes() == b"other weights"


def test_an_earlier_run_is_kept(music: Path, weights: Path, tmp_path: Path):
    path = earlier_run(weights, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for seed in (5, 6):
        learn("--midi-dir", music, "--weights", path, "--epochs", 1, "--seed", seed)
    assert len(before) == 4
    for name, content in before.items():
        assert (tmp_path / name.replace("a.", "a.old-1.", 1)).read_bytes() == content
    kept = [checkpoint.load(tmp_path / name).about["settings"]["seed"] for name in
            ("a.old-1.weights.h5", "a.old-2.weights.h5", "a.weights.h5")]  # fmt: skip
    assert kept == [1, 5, 6]


def started(music: Path, weights: Path, line: str) -> subprocess.Popen:
    """Start train.py in a process of its own, stderr in errors.txt, and wait until it prints a line that begins so."""
    flags = ["--midi-dir", music, "--weights", weights, "--epochs", 3000, "--patience", 0, *TINY]
    command = [sys.executable, "train.py", *map(str, flags)]
    with (weights.parent / "errors.txt").open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    while not process.stdout.readline().startswith(line):
        assert process.poll() is None
    return process


def test_kill_9_at_any_moment_leaves_weights_that_load(music: Path, tmp_path: Path):
    path = tmp_path / "a.weights.h5"
    process = started(music, path, "epoch   5")
    with pytest.raises(UserError, match="is being trained by another process"):
        learn("--midi-dir", music, "--weights", path)
    time.sleep(np.random.default_rng().random() / 2)
    checkpoint.load(path)  # playing need not wait until training ends
    process.kill()
    process.communicate()
    for name in ("a.weights.h5", "a.last.weights.h5"):
        assert len(checkpoint.load(tmp_path / name).about["history"]) >= 1
    epochs = len(checkpoint.load(tmp_path / "a.last.weights.h5").about["history"])
    learn("--midi-dir", music, "--weights", path, "--epochs", epochs + 1, "--patience", 0, "--resume")
    assert len(checkpoint.load(tmp_path / "a.last.weights.h5").about["history"]) == epochs + 1
    assert not list(tmp_path.glob(".*.scratch"))

    # A new run that is killed before its first epoch leaves the weights of the run before.
    process = started(music, path, "The files of an earlier run")
    process.kill()
    process.communicate()
    assert len(checkpoint.load(path).about["history"]) >= 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_cleanly_and_keeps_what_was_learnt(music: Path, tmp_path: Path):
    path = tmp_path / "a.weights.h5"
    process = started(music, path, "epoch   2")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    errors = (tmp_path / "errors.txt").read_text()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert f"Wrote {path}" in out and re.search(r"Stopped in epoch \d+\. To go on, run .* --resume", out)
    assert checkpoint.load(path).about["history"]


def one_piece(folder: Path) -> list:
    """Flags for training on a single piece of three notes, with windows that are longer, and too long to unroll."""
    save(make_piece([(0, 60, 480), (480, 62, 480), (960, 64, 480)]), folder / "midi" / "one.mid")
    return ["--midi-dir", folder / "midi", "--sequence-length", 70]


def test_a_nonfinite_score_ends_training_before_anything_is_written(tmp_path: Path):
    """With one update per epoch the loss is still finite: it is measured before the weights go wrong."""
    path = tmp_path / "a.weights.h5"
    with pytest.raises(UserError, match="no longer a finite number"):
        learn(*one_piece(tmp_path), "--weights", path, "--learning-rate", 1e38, "--warm-up", 0, how=eagerly)
    assert not path.exists() and not (tmp_path / "a.last.weights.h5").exists()


def test_a_nonfinite_loss_ends_training_and_keeps_the_last_good_weights(music: Path, weights: Path, tmp_path: Path):
    path = earlier_run(weights, tmp_path)
    good = arrays(path)
    with pytest.raises(UserError, match="no longer a finite number .* last good weights are in"):
        learn("--midi-dir", music, "--weights", path, "--epochs", 4, "--resume", "--learning-rate", 1e38)
    again = arrays(path)
    assert all((good[name] == again[name]).all() for name in good)
    with pytest.raises(UserError, match="no weights were written"):
        learn("--midi-dir", music, "--weights", tmp_path / "b.weights.h5", "--learning-rate", 1e38, "--warm-up", 0)


def test_training_stops_when_held_out_pieces_stop_improving(music: Path, tmp_path: Path, capsys):
    path = tmp_path / "a.weights.h5"
    learn("--midi-dir", music, "--weights", path, "--patience", 2, "--learning-rate", 0.5, "--epochs", 200)
    history = checkpoint.load(tmp_path / "a.last.weights.h5").about["history"]
    best = min(row["held_out"] for row in history)
    assert [row["held_out"] for row in history].index(best) == len(history) - 3
    assert checkpoint.load(path).about["history"][-1]["held_out"] == best
    assert "have not improved for 2 epochs" in capsys.readouterr().out


def test_the_learning_rate_falls_to_0_by_the_time_limit_or_halves_without_improvement():
    args = settings.parse(ROOT / "train.py", ["--minutes", "3", "--learning-rate", "1", "--warm-up", "10"])

    def rate(progress: float, updates: int, kept: list[int]) -> float:
        now = SimpleNamespace(history=[{"kept": better} for better in kept])
        return train.learning_rate(
            SimpleNamespace(args=args, progress=lambda: progress, updates=updates, waits=lambda: Run.waits(now))
        )

    assert [rate(progress, 100, []) for progress in (0, 0.5, 1, 2)] == pytest.approx([1, 0.5, 0, 0])
    assert rate(0, 0, []) == pytest.approx(0.1)
    args.minutes, args.patience = 0, 4
    kept = [1, 1, 0, 0, 1, 0]
    assert [rate(0, 100, kept[:n]) for n in range(7)] == [1, 1, 1, 0.5, 0.25, 0.25, 0.125]
    args.patience = 0
    assert [rate(0, 100, kept[:n]) for n in range(7)] == [1] * 7


def test_scores_of_other_pieces_do_not_lower_the_learning_rate(music: Path, tmp_path: Path):
    """A run resumed with other, harder held-out pieces keeps its full rate as long as it improves on them."""
    path = tmp_path / "a.weights.h5"
    common = ("--midi-dir", music, "--weights", path, "--patience", 4, "--learning-rate", 1e-3, "--warm-up", 0)
    learn(*common, "--epochs", 2)
    last = tmp_path / "a.last.weights.h5"
    with h5py.File(last, "r+") as file:
        about = json.loads(file["about"][()])
        about["history"] = [{**row, "score": row["score"] - 100} for row in about["history"]]
        about["split"]["held_out"].pop()
        del file["about"]
        file["about"] = json.dumps(about)
    learn(*common, "--epochs", 5, "--resume")
    history = checkpoint.load(last).about["history"]
    assert [row["kept"] for row in history] == [1] * 5 and [row["learning_rate"] for row in history] == pytest.approx(
        [1e-3] * 5
    )


def test_the_time_limit_is_kept(music: Path, tmp_path: Path):
    path, ticks = tmp_path / "a.weights.h5", itertools.count(0, 0.1)
    way = network.Way(clock=functools.partial(next, ticks))  # it advances by a tenth of a second whenever it is read
    learn("--midi-dir", music, "--weights", path, "--minutes", 0.1, "--epochs", 100_000, "--patience", 0, way=way)
    history = checkpoint.load(path).about["history"]
    last = checkpoint.load(tmp_path / "a.last.weights.h5").about["history"][-1]
    assert history and last["learning_rate"] < 0.002 and 6 <= last["seconds"] < 7
    with pytest.raises(UserError, match="before its first update"):
        learn("--midi-dir", music, "--weights", tmp_path / "b.weights.h5", "--minutes", 1e-9)


def test_a_single_piece_shorter_than_a_window_can_be_learnt(tmp_path: Path, capsys):
    path = tmp_path / "a.weights.h5"
    learn(*one_piece(tmp_path), "--weights", path, "--epochs", 1, how=eagerly)
    assert "only one piece" in capsys.readouterr().out
    result = call("generate_music.py", "--weights", path, "--out", tmp_path / "out", "--notes", 20)
    assert result.returncode == 0, result.stderr


def test_training_works_without_held_out_pieces_and_dropout(music: Path, tmp_path: Path):
    path = tmp_path / "a.weights.h5"
    flags = ["--midi-dir", music, "--weights", path, "--epochs", 2, "--batch-size", 256]
    learn(*flags, "--validation", 0, "--dropout", 0, how=eagerly)
    about = checkpoint.load(path).about
    assert about["split"]["held_out"] == [] and len(about["history"]) == 2


def test_odd_files_are_read_and_bad_ones_skipped(tmp_path: Path):
    folder = tmp_path / "müsic"
    save(random_piece(1), folder / "sub folder" / "gööd 1.MID")
    save(random_piece(2), folder / "good.kar")
    save(make_piece([(0, 0, 1), (480, 127, 480), (480 * 7200, 60, 480)]), folder / "edges.midi")
    (folder / "bad.mid").write_text("no music")
    path = tmp_path / "a.weights.h5"
    with eagerly():
        result = call("train.py", "--midi-dir", folder, "--weights", path, "--epochs", 1, *TINY)
    assert result.returncode == 0, result.stderr
    assert "3 read, 1 skipped" in result.stdout
    assert "bad.mid: it is not a MIDI file" in result.stdout
    assert "rests and notes clipped to 16 beats: 1" in result.stdout
    assert f"python generate_music.py --weights {path}" in result.stdout.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--heads", "five"], "choose one of: chained, parallel"),
        (["--layers", "0"], "--layers is 0; it must be at least 1"),
        (["--dropout", "1"], "below 1"),
        (["--weights", "music.h5"], "must end in .weights.h5"),
        (["--streams", "note,duration"], "--streams must begin with offset"),
        (["--streams", "offset,note,part,duration"], "--streams must begin with offset"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(music: Path, flags: list[str], sentence: str):
    assert sentence in one_line_error(call("train.py", "--midi-dir", music, *flags))


def test_errors_are_reported_before_keras_starts():
    code = "import runpy, sys; sys.modules['keras'] = None; runpy.run_path('train.py', run_name='__main__')"
    assert "does not exist" in one_line_error(run("-c", code, "--midi-dir", "/no/such/folder"))


def test_a_missing_backend_is_reported_in_one_sentence(music: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    error = one_line_error(run("train.py", "--midi-dir", music, "--weights", tmp_path / "a.weights.h5"))
    assert "no theano to train with: pip install -r requirements.txt or" in error


@pytest.mark.skipif(not find_spec("jax"), reason="JAX is not installed")
def test_jax_trains_where_tensorflow_is_not_installed(monkeypatch):
    """And nothing that a script imports, at its start or for training, needs TensorFlow."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import benchmark, convertmidis, evaluate, experiments, generate_music, predict_with_prior, train\n"
        "from utils import network; from utils.measure import ancestors, ways\n"
        "print(network.keras.backend.backend())"
    )
    result = run("-c", code)
    assert result.stdout == "jax\n", result.stderr


def test_weights_that_cannot_be_written_are_reported(music: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        learn("--midi-dir", music, "--weights", tmp_path / "file" / "a.weights.h5")


def test_pieces_may_be_removed_and_added_before_resuming(music: Path, weights: Path, tmp_path: Path, capsys):
    """Values that the vocabulary lacks are replaced by the nearest."""
    folder = tmp_path / "midi"
    shutil.copytree(music, folder)
    path = earlier_run(weights, tmp_path)
    before = checkpoint.load(path).about["split"]["train"]
    (folder / before[0]).unlink()
    save(make_piece([(0, 20, 7 * 480), (480, 110, 480)]), folder / "new.mid")
    learn("--midi-dir", folder, "--weights", path, "--epochs", 3, "--resume")
    about = checkpoint.load(tmp_path / "a.last.weights.h5").about
    assert len(about["history"]) == 3
    # A piece that is gone still counts as learnt.
    assert set(before) <= set(about["split"]["train"])
    assert "new.mid" in about["split"]["train"] + about["split"]["held_out"]
    printed = capsys.readouterr().out
    assert "Continuing after epoch 2 of" in printed and f"from here on it trains on {folder}" in printed


def test_tensorboard_shows_losses_speed_and_samples(music: Path, tmp_path: Path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def shown(folder: str) -> EventAccumulator:
        return EventAccumulator(str(tmp_path / "logs" / folder)).Reload()

    flags = ["--midi-dir", music, "--weights", tmp_path / "a.weights.h5", "--logs", tmp_path / "logs"]
    flags += ["--sample-epochs", 2]
    learn(*flags, "--epochs", 1)
    learn(*flags, "--epochs", 3, "--resume")
    history = checkpoint.load(tmp_path / "a.last.weights.h5").about["history"]
    logged = shown("a")
    updates = [row["updates"] for row in history]
    for name in ("loss", "offset", "note", "duration"):
        key = "held_out" if name == "loss" else f"held_out_{name}"
        values = logged.Scalars(f"held_out/{name}")
        assert [value.step for value in values] == updates
        assert [value.value for value in values] == pytest.approx([row[key] for row in history])
        assert len(logged.Scalars(f"train/{name}")) >= 3
    for name in ("learning_rate", "notes_per_second"):
        assert [v.value for v in logged.Scalars(name)] == pytest.approx([row[name] for row in history])
        assert min(row[name] for row in history) > 0
    # There are samples after the first and the third epoch, and they differ, as the network has learnt in between.
    sounds, pictures = logged.Audio("sample/wav"), logged.Images("sample/png")
    assert [sound.step for sound in sounds] == [picture.step for picture in pictures] == [updates[0], updates[2]]
    with wave.open(io.BytesIO(sounds[0].encoded_audio_string)) as file:
        assert (file.getframerate(), file.getnchannels()) == (44_100, 2) and file.getnframes() > 44_100
    assert sounds[0].encoded_audio_string != sounds[1].encoded_audio_string
    assert pictures[0].encoded_image_string[:4] == b"\x89PNG" and pictures[0].width > pictures[0].height / 4 > 0

    assert "tensorboard --logdir" in capsys.readouterr().out


def test_the_logs_of_an_earlier_run_are_kept(tmp_path: Path):
    for number in (0, 1, 2):
        folder = folder_of(str(tmp_path), "weights/a.weights.h5", False)
        folder.mkdir()
        (folder / str(number)).touch()
    assert folder_of(str(tmp_path), "weights/a.weights.h5", True) == folder
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("[0-9]")} == {
        "a.old-1/0",
        "a.old-2/1",
        "a/2",
    }


def test_logs_that_cannot_be_written_do_not_stop_training(tmp_path: Path, monkeypatch, capsys):
    def refuse(*_) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    (tmp_path / "file").write_text("")
    (tmp_path / "a").mkdir()
    for logs, missing, message in (
        (tmp_path / "file", False, "cannot be written"),
        (tmp_path, False, "a of an earlier run cannot be set aside"),
        (tmp_path, True, "pip install"),
    ):
        if missing:
            monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
        board = Board(str(logs), "a.weights.h5", False)
        assert message in capsys.readouterr().out
        board.update(1, {"loss": 1.0})
        board.epoch({"updates": 1, "learning_rate": 1, "notes_per_second": 1})
        board.sample({}, tmp_path / "none.weights.h5")
        board.close()
