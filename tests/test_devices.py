"""Several devices and several processes learn what one device would; with JAX, on devices that one processor plays."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, one_line_error, run

from utils import checkpoint

pytest.importorskip("jax", reason="several devices train with JAX")

# Compiled without optimization, which takes longer than these tests compute.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK}
FOUR_DEVICES = """
import sys
import utils
import numpy as np
from types import SimpleNamespace
from utils import dataset, devices, events, network, settings
from utils.heads import Shape
from utils.vocabulary import build_vocabulary

args = settings.parse("train.py", sys.argv[1:])
form = events.Representation.of(vars(args))
sources, _ = dataset.read_folder(args.midi_dir, form)
corpus = dataset.encode(sources, build_vocabulary([s.events for s in sources], form, args.transpose), args.transpose)


def learnt(names):
    devices.NAMES, rng = names, np.random.default_rng(1)
    devices.settle(args)
    network.keras.utils.set_random_seed(1)
    trainer, _ = network.build(corpus.vocabulary, Shape.of(args))
    network.compile_trainer(trainer, args.streams, network.adamw(0.01, 0.1, 1.0))
    network.reseed(trainer, rng)
    nothing_heard, updates = Shape.of(args).silence(args.batch_size), 0
    while updates < 20:
        for inputs, weights in dataset.batches(corpus, args.sequence_length, args.batch_size, args.transpose, rng):
            losses = trainer.train_on_batch({**nothing_heard, **inputs}, weights, return_dict=True)
            updates += 1
    return trainer.get_weights(), float(losses["loss"])


names = devices.NAMES
one, first = learnt(names[:1])
four, second = learnt(names)
print(len(names), max(np.abs(a - b).max() for a, b in zip(one, four)), first, second)
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **JAX, "PYTHONPATH": str(ROOT), **more}


def test_four_devices_learn_the_same_as_one(music: Path):
    four = environment(XLA_FLAGS=f"{QUICK} --xla_force_host_platform_device_count=4")
    command = [sys.executable, "-c", FOUR_DEVICES, "--midi-dir", music, "--streams", "offset,part,note,duration", *TINY]
    done = subprocess.run(command, cwd=ROOT, env=four, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    devices, apart, first, second = map(float, done.stdout.split())
    assert devices == 4 and apart < 1e-4 and first == pytest.approx(second, abs=1e-4)


def train_together(processes: int, weights: Path, music: Path, *flags: object) -> list[str]:
    """Run train.py in several processes that find each other on this machine; what each of them says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "train.py", "--midi-dir", music, "--weights", weights, *TINY, "--dropout=0", *flags]
    together = {}
    if processes > 1:
        addresses = ",".join(f"127.0.0.1:{port + i}" for i in range(processes))
        together["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = addresses
        together["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(processes)
    running = []
    for i in range(processes):
        together |= {"KERAS_DISTRIBUTION_PROCESS_ID": str(i)} if processes > 1 else {}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment(**together), **pipes))
    said = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0] * processes, said
    return [out for out, _ in said]


def test_two_processes_resume_as_one_would(music: Path, tmp_path: Path):
    one, two = tmp_path / "one.weights.h5", tmp_path / "two" / "one.weights.h5"
    train_together(1, one, music, "--epochs=1")
    shutil.copytree(tmp_path, two.parent)
    train_together(1, one, music, "--epochs=2", "--resume")
    files = {path.name for path in two.parent.iterdir()}
    first, second = train_together(2, two, music, "--epochs=2", "--resume")
    assert "in 2 processes" in first and f"Wrote {two}" in first and not second.count("Wrote")
    assert {path.name for path in two.parent.iterdir()} == files
    for name in ("one.weights.h5", "one.last.weights.h5"):
        alone, together = (checkpoint.load(path.with_name(name)) for path in (one, two))
        for layer, arrays in alone.arrays.items():
            for a, b in zip(arrays, together.arrays[layer], strict=True):
                np.testing.assert_allclose(a, b, atol=1e-4)
        scores = [[row["score"] for row in kept.about["history"]] for kept in (alone, together)]
        assert len(scores[0]) == 2 and scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_what_devices_cannot_do_is_said(music: Path, tmp_path: Path, monkeypatch):
    for name, value in environment(XLA_FLAGS=f"{QUICK} --xla_force_host_platform_device_count=3").items():
        monkeypatch.setenv(name, value)
    flags = "--midi-dir", music, "--weights", tmp_path / "a.weights.h5", *TINY
    assert "3 devices cannot share --batch-size 4: take a multiple" in one_line_error(run("train.py", *flags))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", "127.0.0.1:1")
    assert "set KERAS_BACKEND=jax" in one_line_error(run("train.py", *flags))
