"""train.py in this process, with networks that earlier runs compiled, since compiling takes most of a small run."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import keras
from conftest import ROOT, TINY

import train
from utils import network, settings
from utils.heads import Shape
from utils.measure import plots
from utils.vocabulary import Vocabulary

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
if ON_TENSORFLOW:
    import tensorflow as tf

build, compile_trainer, network_diagram = network.build, network.compile_trainer, plots.network_diagram  # the real ones
compiled: dict[tuple, tuple[keras.Model, keras.Model]] = {}  # by everything that they were made from
drawn: dict[tuple, bytes] = {}  # pictures, likewise


def optimize_graphs(wanted: bool) -> None:
    """Say whether TensorFlow optimizes its graphs in this process: that takes longer than a small run computes, and
    changes the last digits."""
    if ON_TENSORFLOW:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not wanted})


optimize_graphs(False)


def assign(cached: list[keras.Variable], new: list[keras.Variable]) -> None:
    for variable, value in zip(cached, new, strict=True):
        variable.assign(value)


def variables(model: keras.Model) -> list[keras.Variable]:
    return [variable for layer in model.layers for variable in layer.variables]


def build_once(vocabulary: Vocabulary, shape: Shape, way: network.Way | None = None) -> tuple[keras.Model, keras.Model]:
    """As `network.build`; if the same was built before, the earlier models with the values of the new ones."""
    models = build(vocabulary, shape, way)
    key = (json.dumps(vocabulary.to_json()), repr(shape), replace(way or network.Way(), clock=time.monotonic))
    cached = compiled.setdefault(key, models)
    assign(variables(cached[0]), variables(models[0]))
    return cached


def compile_once(trainer: keras.Model, streams: tuple[str, ...], optimizer: keras.Optimizer, *loss) -> None:
    """As `network.compile_trainer`; if the trainer is already compiled like this, only its optimizer is reset."""

    def constants(one: keras.Optimizer) -> dict:
        return {**one.get_config(), "learning_rate": None, "name": None}  # the rate is a variable

    if trainer.compiled and constants(trainer.optimizer) == constants(optimizer):
        optimizer.build(trainer.trainable_variables)
        assign(trainer.optimizer.variables, optimizer.variables)
    else:
        compile_trainer(trainer, streams, optimizer, *loss)


def diagram_once(vocabulary: Vocabulary, shape: Shape, path: Path) -> None:
    """As `plots.network_diagram`, which depends on these alone; a picture drawn before is written again."""
    key = (json.dumps(vocabulary.to_json()), repr(shape))
    if key in drawn:
        path.write_bytes(drawn[key])
    else:
        network_diagram(vocabulary, shape, path)
        drawn[key] = path.read_bytes()


@contextmanager
def traced_once() -> Iterator[None]:
    """Within it, train.py reuses what an earlier run compiled for a network of the same form."""
    # TensorFlow's own seed, which Keras does not use: setting it would throw away what is compiled.
    seed = patch.object(tf.random, "set_seed") if ON_TENSORFLOW else nullcontext()
    drawing = patch.object(plots, "network_diagram", diagram_once)
    with seed, drawing, patch.multiple(network, build=build_once, compile_trainer=compile_once):
        yield


def build_eager(*args) -> tuple[keras.Model, keras.Model]:
    models = build(*args)
    for model in models:
        model.run_eagerly = True
    return models


def compile_eager(trainer: keras.Model, *args) -> None:
    compile_trainer(trainer, *args)
    trainer.run_eagerly = True


@contextmanager
def eagerly() -> Iterator[None]:
    """Within it, train.py runs operation by operation, without tracing. An update then takes a tenth of the time that
    tracing a network takes, so this is for runs of a few updates of a network that no other test trains."""
    with patch.multiple(network, build=build_eager, compile_trainer=compile_eager):
        yield


def learn(*flags: object, way: network.Way | None = None, how: Callable = traced_once) -> None:
    """train.py with a tiny network, unless the flags say otherwise, within `traced_once` or `eagerly`."""
    with how():
        train.main(settings.parse(ROOT / "train.py", [*TINY, *map(str, flags)]), way)
