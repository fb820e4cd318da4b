"""Keras, started quietly, and the devices that it computes on: the CPU or GPUs of one machine or of several.

Several devices train as one: each computes its share of every batch, and sums over the batch are taken across all of
them (data parallelism by `keras.distribution`, with JAX only). With several machines, a process runs on each; they find
each other by the environment variables of `keras.distribution.initialize`.
"""

import atexit
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from utils import apart, files
from utils.checkpoint import sibling
from utils.errors import UserError

# The first of these that is installed is the backend, unless the variable names another.
BACKEND = os.environ.setdefault("KERAS_BACKEND", next(filter(find_spec, ("tensorflow", "jax", "torch")), "tensorflow"))
if not find_spec(BACKEND):
    raise UserError(f"There is no {BACKEND} to train with: pip install -r requirements.txt or -r requirements-jax.txt.")
TOGETHER = bool(os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES"))  # with other processes
if TOGETHER and BACKEND != "jax":
    raise UserError("Several machines can only train together with JAX: set KERAS_BACKEND=jax on each of them.")
# The heads' products are small and depend on nothing but the recurrent layers: two at once, each on half of the cores,
# take five sixths of the time of one after the other on all cores (EXPERIMENTS.md, 'Learning faster').
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(apart.CORES // 2, 1)))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # hides warnings, which mean nothing to a user

# The start-up notices of TensorFlow, which none of its settings turns off, would bury the output of train.py.
with files.nothing_on_stderr():
    import keras

    if TOGETHER:
        keras.distribution.initialize()  # before anything looks at the devices
    if BACKEND == "torch":  # Keras does not list its devices
        import torch

        NAMES = [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    else:
        # Listing the devices for the first time is not silent either.
        NAMES = keras.distribution.list_devices()

ON_GPU = not NAMES[0].lower().startswith("cpu")
PROCESSES, PROCESS = 1, 0
if BACKEND == "jax":
    import jax

    PROCESSES, PROCESS = jax.process_count(), jax.process_index()

# Windows in an update. Small batches learn most in a few minutes on a CPU; on a GPU an update takes as long with 16 as
# with 256 (EXPERIMENTS.md, 'On a GPU'). Eight times as many windows learn best with twice the rate.
BATCH_SIZE, BATCH_SIZE_ON_GPU, LEARNING_RATE = 16, 128, 0.004


def settle(args: SimpleNamespace) -> None:
    """Choose the `batch_size` and `learning_rate` that the settings of train.py leave open, to suit the device; make
    all devices train as one; and if this is not the first of several processes, let it `follow` that one. Raises
    UserError for a batch that the devices cannot share. Must be called before a network is built."""
    args.batch_size = args.batch_size or (BATCH_SIZE_ON_GPU if ON_GPU else BATCH_SIZE)
    if args.learning_rate is None:
        args.learning_rate = LEARNING_RATE * (args.batch_size / BATCH_SIZE) ** (1 / 3)
    keras.config.set_dtype_policy("mixed_bfloat16" if args.precision == "bfloat16" else "float32")
    if BACKEND == "jax" and len(NAMES) > 1:
        if args.batch_size % (count := len(NAMES)):
            raise UserError(f"{count} devices cannot share --batch-size {args.batch_size}: try a multiple of {count}.")
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=NAMES))
    if PROCESS:
        follow(args)


def told(args: SimpleNamespace) -> str:
    """A description of where and how a network is trained, which train.py prints."""
    where = ", ".join(NAMES) + f" in {PROCESSES} processes" * (PROCESSES > 1)
    return f"on {where} (Keras with {BACKEND}), {args.batch_size} windows in an update, {args.precision}"


def follow(args: SimpleNamespace) -> None:
    """Make this process act like the first one, but write to a temporary folder and print nothing. With --resume it
    reads the same files as the first, from a disk that all machines share."""
    scratch, weights = tempfile.mkdtemp(), Path(args.weights)
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    if args.resume:
        for path in (weights, sibling(args.weights, "last.weights.h5")):
            if path.exists():
                shutil.copy(path, scratch)
    args.weights, args.logs = str(Path(scratch, weights.name)), ""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (open until the end)


def agreed(*numbers: float) -> tuple[float, ...]:
    """The numbers of the first process, which all processes use: if each decided by its own clock whether to go on,
    they would wait for each other for ever."""
    if PROCESSES == 1:
        return numbers
    from jax.experimental import multihost_utils

    return tuple(multihost_utils.broadcast_one_to_all(np.array(numbers, np.float32)).tolist())


def own(batch: Any) -> Any:
    """The rows that this process trains on, of each array (B, ...) of a batch: all processes make the same batches, so
    that several machines learn what one would."""
    if PROCESSES == 1:
        return batch
    return keras.tree.map_structure(lambda array: np.array_split(array, PROCESSES)[PROCESS], batch)
