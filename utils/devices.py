"""Keras, started without noise, and what it computes on: the processor or GPUs, of one machine or of several.

Several devices learn as one: each computes its share of every batch, and the sums over the batch go through all of them
(data parallelism, by `keras.distribution`, which does so with JAX). On several machines a process runs on each; they
find each other by the environment variables of `keras.distribution.initialize`.
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

from utils import files
from utils.checkpoint import sibling
from utils.errors import UserError

# The first of these that is installed trains, unless the variable names another.
BACKEND = os.environ.setdefault("KERAS_BACKEND", next(filter(find_spec, ("tensorflow", "jax", "torch")), "tensorflow"))
if not find_spec(BACKEND):
    raise UserError(f"There is no {BACKEND} to train with: pip install -r requirements.txt or -r requirements-jax.txt.")
TOGETHER = bool(os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES"))  # with other processes
if TOGETHER and BACKEND != "jax":
    raise UserError("Only with JAX do several machines train together: set KERAS_BACKEND=jax in each of them.")
# The heads' products are small and wait for nothing but the recurrent layers: two at once, each in half of the cores,
# take five sixths of the time of one after the other in all cores (EXPERIMENTS.md, 'Learning faster').
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max((os.cpu_count() or 1) // 2, 1)))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its warnings, at this level or below, say nothing to a user

# TensorFlow's notices on start, which no setting of its own turns off, would bury what train.py says.
with files.nothing_on_stderr():
    import keras

    if TOGETHER:
        keras.distribution.initialize()  # before anything looks at the devices
    if BACKEND == "torch":  # of whose devices Keras has no list
        import torch

        NAMES = [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    else:
        # The first look at the devices is not silent either.
        NAMES = keras.distribution.list_devices()

ON_GPU = not NAMES[0].lower().startswith("cpu")
PROCESSES, PROCESS = 1, 0
if BACKEND == "jax":
    import jax

    PROCESSES, PROCESS = jax.process_count(), jax.process_index()

# Windows in an update. Small batches learn most in a few minutes on a processor; on a GPU an update takes as long with
# 16 as with 256 (EXPERIMENTS.md, 'On a GPU'). Eight times as many learn best with twice the rate.
BATCH_SIZE, BATCH_SIZE_ON_GPU, LEARNING_RATE = 16, 128, 0.004


def settle(args: SimpleNamespace) -> None:
    """Choose what the settings of train.py leave open, `batch_size` and `learning_rate`, by what there is to compute
    on; let all devices learn as one; and if this is not the first of several processes, let it neither speak nor write.
    Raises UserError for a batch that the devices cannot share. To be called before a network is built."""
    args.batch_size = args.batch_size or (BATCH_SIZE_ON_GPU if ON_GPU else BATCH_SIZE)
    if args.learning_rate is None:
        args.learning_rate = LEARNING_RATE * (args.batch_size / BATCH_SIZE) ** (1 / 3)
    keras.config.set_dtype_policy("mixed_bfloat16" if args.precision == "bfloat16" else "float32")
    if BACKEND == "jax" and len(NAMES) > 1:
        if args.batch_size % len(NAMES):
            raise UserError(f"{len(NAMES)} devices cannot share --batch-size {args.batch_size}: take a multiple.")
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=NAMES))
    if PROCESS:
        follow(args)


def told(args: SimpleNamespace) -> str:
    """Where and how a network of these settings is trained, for a line of train.py."""
    where = ", ".join(NAMES) + f" in {PROCESSES} processes" * (PROCESSES > 1)
    return f"on {where} (Keras with {BACKEND}), {args.batch_size} windows in an update, {args.precision}"


def follow(args: SimpleNamespace) -> None:
    """Let this process write where nobody looks, as if it were the first one, and say nothing. What is there to go on
    from it reads like that one, from a disk that all machines share."""
    scratch, weights = tempfile.mkdtemp(), Path(args.weights)
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    if args.resume:
        for path in (weights, sibling(args.weights, "last.weights.h5")):
            if path.exists():
                shutil.copy(path, scratch)
    args.weights, args.logs = str(Path(scratch, weights.name)), ""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (until the end)


def agreed(*numbers: float) -> tuple[float, ...]:
    """The numbers of the first process, which all processes go by: whether to go on must not depend on the clock of
    each, or they would wait for each other for ever."""
    if PROCESSES == 1:
        return numbers
    from jax.experimental import multihost_utils

    return tuple(multihost_utils.broadcast_one_to_all(np.array(numbers, np.float32)).tolist())


def own(batch: Any) -> Any:
    """The rows that the devices of this process learn from, of the arrays (B, ...) of a batch: all processes cut the
    same batches, so that several machines learn what one would."""
    if PROCESSES == 1:
        return batch
    return keras.tree.map_structure(lambda array: np.array_split(array, PROCESSES)[PROCESS], batch)
