"""Several devices, or processes, learn what one device would: with JAX, on devices simulated by one processor."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, one_line_error, run

from utils import checkpoint, devices
from utils.errors import UserError

# Compiled without optimization and in one piece: compiling would otherwise take longer than these tests compute.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
QUICK += "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def resumed(weights: Path, folder: Path, music: Path, processes: int = 1, each: int = 1) -> tuple[Path, list[str]]:
    """Train a copy of some weights for two more epochs (32 updates in all) with JAX, in several processes that find
    each other on this machine and have `each` devices. Returns the copy, and what each process printed."""
    shutil.copytree(weights.parent, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment["XLA_FLAGS"] = f"{QUICK} --xla_force_host_platform_device_count={each}"
    if processes > 1:
        environment["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = ",".join(f"127.0.0.1:{port + i}" for i in range(processes))
        environment["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(processes)
    path = folder / weights.name
    updates = ["--sequence-length=16", "--batch-size=4", "--epochs=4"]
    command = ["train.py", "--midi-dir", music, "--weights", path, *TINY, *updates, "--dropout=0", "--resume"]
    running = []
    for i in range(processes):
        environment |= {"KERAS_DISTRIBUTION_PROCESS_ID": str(i)} if processes > 1 else {}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=environment, **pipes))
    said = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0] * processes, said
    return path, [out for out, _ in said]


def history(path: Path) -> list[dict]:
    return checkpoint.load(path).about["history"]


@pytest.fixture(scope="module")
def alone(weights: Path, music: Path, tmp_path_factory) -> Path:
    """Weights that one device has trained on."""
    pytest.importorskip("jax", reason="several devices train with JAX")
    path, _ = resumed(weights, tmp_path_factory.mktemp("one") / "device", music)
    assert len(history(path)) == 4 and history(path)[-1]["updates"] - history(path)[1]["updates"] == 32
    return path


@pytest.mark.parametrize(("processes", "each"), [(1, 4), (2, 1)])
def test_several_learn_the_same_as_one(processes: int, each: int, alone: Path, weights: Path, music: Path, tmp_path):
    path, (first, *others) = resumed(weights, tmp_path / "several", music, processes, each)
    assert f"Wrote {path}" in first and not any("Wrote" in said for said in others)
    assert first.count("cpu:") == processes * each
    assert {file.name for file in path.parent.iterdir()} == {file.name for file in alone.parent.iterdir()}
    for ending in ("weights.h5", "last.weights.h5"):
        one, several = (checkpoint.load(checkpoint.sibling(str(file), ending)) for file in (alone, path))
        for layer, arrays in one.arrays.items():
            for a, b in zip(arrays, several.arrays[layer], strict=True):
                np.testing.assert_allclose(a, b, atol=1e-4)
    scores = [[row["score"] for row in history(file)] for file in (alone, path)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_what_devices_cannot_do_is_reported(monkeypatch):
    monkeypatch.setattr(devices, "BACKEND", "jax")
    monkeypatch.setattr(devices, "NAMES", ["gpu:0", "gpu:1", "gpu:2"])
    args = devices.SimpleNamespace(batch_size=4, learning_rate=None, precision="float32")
    with pytest.raises(UserError, match="^3 devices cannot share --batch-size 4: try a multiple of 3"):
        devices.settle(args)
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", "127.0.0.1:1")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert "set KERAS_BACKEND=jax" in one_line_error(run("-c", "from utils import settings\nimport train\n" + FAILING))


# Run as a script, as a user does, so that the error is one line.
FAILING = """
def main(args):
    from utils import devices

settings.run(main, "train.py")
"""
