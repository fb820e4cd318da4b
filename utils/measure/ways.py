"""The ways of training that experiments.py compares, and the questions for which it compares them.

A way consists of flags of train.py and, for what no flag does, fields of `network.Way`. To try one of your own, add a
line to WAYS and its name to a question in QUESTIONS. Ideas that did not help stay here and out of train.py. Keras is
imported only when a way is used.
"""

from collections.abc import Callable
from functools import partial

from utils import dataset


def optimizer(name: str, **more) -> dict:
    """The Keras optimizer of this name, with `more` arguments."""
    from utils.network import keras

    def make(learning_rate: float, weight_decay: float, norm: float | None) -> keras.optimizers.Optimizer:
        kind = getattr(keras.optimizers, name)
        return kind(learning_rate, weight_decay=weight_decay, global_clipnorm=norm, **more)

    return {"optimizer": make}


def focal() -> dict:
    """Well-predicted events count less: (1 - p)^2 times their nats (Lin et al. 2017)."""
    from utils.network import nats_per_event, ops

    return {"loss": lambda weights, nats: nats_per_event(weights, nats * (1 - ops.exp(-nats)) ** 2)}


def smoothing() -> dict:
    """A tenth of each target is spread over all classes (Szegedy et al. 2016)."""
    from utils.network import cross_entropy, ops

    def cost(target, logits):
        return 0.9 * cross_entropy(target, logits) - 0.1 * ops.mean(ops.log_softmax(logits), axis=-1)

    return {"cost": cost}


def last_target_alone() -> dict:
    """Only the last event of a window is a target, as in the ancestors' method."""

    def batches(*how):
        for inputs, weights in dataset.batches(*how):
            weights[:, :-1] = 0
            yield inputs, weights

    return {"batches": batches}


def scalars() -> dict:
    """A class is read as its number, scaled to 0..1, instead of as a learnt vector."""
    from utils.network import layers, ops

    def ramp(shape, dtype=None):
        return ops.linspace(0, 1, shape[0])[:, None]

    return {"embedding": lambda size, _, name: layers.Embedding(size, 1, ramp, name=name, trainable=False)}


def averaged() -> dict:
    """The weights that are scored and kept are averages over about the last hundred updates, and training continues
    from them (Polyak & Juditsky 1992)."""

    def take_averages(trainer) -> None:
        from utils.network import keras

        trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
        for weight in trainer.trainable_variables:  # JAX cannot update a weight that shares its array with the average
            weight.assign(keras.ops.copy(weight))

    return optimizer("AdamW", use_ema=True, ema_momentum=0.99) | {"before_scoring": take_averages}


ANCESTORS = "the ancestors' network"  # trained with their method, see `ancestors`

# Name -> flags of train.py, and a function that makes those fields of the Way that differ from the defaults.
WAYS: dict[str, tuple[str, Callable[[], dict]]] = {
    "as it is": ("", dict),
    "offset and duration as numbers": ("--heads regression", dict),
    **{f"{n} units": (f"--units {n} --hidden {min(n, 256)}", dict) for n in (32, 64, 256, 384, 512)},
    "an LSTM": ("--cell lstm", dict),
    "all as one part": ("--no-parts", dict),
    "all as one style": ("--no-styles", dict),
    "the style recognised beside": ("", partial(dict, recognition=0)),
    "the style recognised at a tenth": ("", partial(dict, recognition=0.1)),
    "focal loss": ("", focal),
    "label smoothing": ("", smoothing),
    "Adam": ("", partial(optimizer, "Adam")),
    "RMSprop": ("--learning-rate 0.001", partial(optimizer, "RMSprop")),
    "Lion": ("--learning-rate 0.0004 --weight-decay 1", partial(optimizer, "Lion")),
    "averaged weights": ("", averaged),
    "parallel heads": ("--heads parallel", dict),
    "chords as classes": ("--chords class", dict),
    "one target a window": ("", last_target_alone),
    "scalar inputs": ("--embedding 1", scalars),
    "one key": ("--transpose 0", dict),
    **{f"windows of {n}": (f"--sequence-length {n}", dict) for n in (20, 64, 100)},
    ANCESTORS: ("", dict),
    "nothing dropped, one key": ("--dropout 0 --weight-decay 0 --transpose 0", dict),
}
# Question -> the ways that are compared to answer it.
QUESTIONS = {
    "regression": ("as it is", "offset and duration as numbers"),
    "sizes": ("32 units", "64 units", "as it is", "256 units", "384 units", "512 units"),
    "cells": ("as it is", "an LSTM"),
    "parts": ("as it is", "all as one part"),
    "styles": ("as it is", "all as one style", "the style recognised beside", "the style recognised at a tenth"),
    "losses": ("as it is", "focal loss", "label smoothing", "Adam", "RMSprop", "Lion", "averaged weights"),
    "choices": ("as it is", "parallel heads", "chords as classes", "one target a window", "scalar inputs", "one key"),
    "windows": ("windows of 20", "as it is", "windows of 64", "windows of 100"),
    "prior": ("as it is",),
    "copying": ("as it is", "nothing dropped, one key"),
    "ancestors": (ANCESTORS,),
}
