"""Traces: what is heard of the keys struck so far, written once for Keras (`traces_layer`) and for NumPy (`hearing`).

`xp` stands for `keras.ops` or `numpy`. Shapes: `...` is (B, T) in Keras, where all events of a window are heard at
once, and (B,) in NumPy, where it is one event of B pieces; F traces.
"""

from types import ModuleType
from typing import Any

import numpy as np

from utils.parts import MIDDLE_C, NOBODY
from utils.theory import KEYS

Array = Any  # of NumPy, or a tensor of Keras

# A trace of a key grows by 1 when the key is struck, and fades by the first factor with every event and by the second
# with every quarter note. Three are enough: one that forgets within a bar of fast notes, one that holds a phrase, and
# one that follows the clock (EXPERIMENTS.md, 'What it remembers': six were no better). The last never fades: only key
# and register in which the piece is at home are read of it, since by more the network would tell the training
# pieces apart, and learn them by heart (EXPERIMENTS.md, 'Home').
FADING = ((0.8, 1), (0.97, 1), (1, 0.3), (1, 1))
NEAR = 12  # semitones on either side of a note whose keys are read one by one
LEFT = len(FADING) + 2  # numbers of each key that events leave to those after them, see `traces_layer.Traces.follow`
MOMENT = 1e-3  # quarter notes: they tell held from just released, no matter how sums of float32 were rounded
# What fits each of the 24 keys, from the last note as the tonic up: profiles of mean 0 and length 1.
PROFILES = KEYS.astype(np.float32).T
PROFILES = (PROFILES - PROFILES.mean(axis=0)) / np.linalg.norm(PROFILES - PROFILES.mean(axis=0), axis=0)  # (12, 24)
FROM_MEAN = np.eye(12, dtype=np.float32) - np.float32(1 / 12)  # twelve numbers @ this: how far each is from their mean
# (128, 2) what a key counts, and how many semitones it lies above the middle C.
NUMBER_AND_HEIGHT = np.stack([np.ones(128), np.arange(-60, 68)], axis=1).astype(np.float32)
# Numbers read of the traces: of twelve pitch classes and of the keys nearby; how high the last note lies; and the key.
HEARD = (len(FADING) - 1) * (12 + 2 * NEAR + 1) + 1 + PROFILES.shape[1]
# By what traces that fade are multiplied when they are read: that of a key struck at each sixteenth grows to about 1.
SCALES = np.array([[1 - by_event * by_beat**0.25] for by_event, by_beat in FADING[:-1]], np.float32)  # (F - 1, 1)
# Numbers that say how a pitch class stands in the harmony: what fades of it, whether it is in the chord, and in its
# bass, and the same of the chord before.
HARMONY = len(FADING) - 1 + 4


def pitch_classes(xp: ModuleType, keys: Array) -> Array:
    """(..., 12) the numbers of keys (..., 128), those of all octaves summed, from C up."""
    octaves = xp.pad(keys, [*[(0, 0)] * (len(keys.shape) - 1), (0, 4)])  # 128 keys are ten octaves and eight keys
    return xp.sum(xp.reshape(octaves, (-1, *xp.shape(keys)[1:-1], 11, 12)), axis=-2)


def pitch_of(xp: ModuleType, origin: Array) -> Array:
    """(...) the pitch from which intervals count: where `origin` (...) is NOBODY the middle C."""
    return xp.where(xp.equal(origin, NOBODY), MIDDLE_C, origin)


def height(xp: ModuleType, struck: Array, pitch: Array | None = None) -> Array:
    """(..., 1) octaves from a note of some `pitch` (...), or from the middle C, up to the mean of the keys that were
    `struck` (..., 128) times in the piece so far."""
    sums = xp.matmul(struck, NUMBER_AND_HEIGHT)
    # From the middle C, for which the start token stands: 0 where nothing was struck.
    mean = sums[..., 1:] / xp.maximum(sums[..., :1], 1)
    return (mean if pitch is None else mean - xp.subtract(pitch, 60.0)[..., None]) / 12


def tonality(xp: ModuleType, struck: Array) -> Array:
    """(..., 24) how well each key, major from the last note up, then minor, fits the pitch classes, from the last note
    up, that were `struck` (..., 12) times in the piece so far: as by `theory.key_fits`, sharpened to shares of 1."""
    apart = xp.matmul(struck, FROM_MEAN)
    length = xp.sqrt(xp.sum(apart * apart, axis=-1, keepdims=True))
    fits = xp.exp(10 * xp.matmul(apart, PROFILES) / (length + 1e-6))
    return fits / xp.sum(fits, axis=-1, keepdims=True)
