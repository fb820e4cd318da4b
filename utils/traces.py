"""Traces: features of the keys struck so far, in the code that Keras (`traces_layer`) and NumPy (`hearing`) share.

`xp` stands for `keras.ops` or `numpy`. Shapes: `...` is (B, T) in Keras, where all events of a window are heard at
once, and (B,) in NumPy, where it is one event of B pieces; F traces.
"""

from types import ModuleType
from typing import Any

import numpy as np

from utils.parts import MIDDLE_C, NOBODY
from utils.theory import KEYS

Array = Any  # a NumPy array or a Keras tensor

# A trace of a key grows by 1 when the key is struck, and is multiplied by the first factor with every event and by the
# second with every quarter note. Three are enough: one that forgets within a bar of fast notes, one that holds a
# phrase, and one that follows the clock (EXPERIMENTS.md, 'What it remembers': six were no better). A fourth never
# fades. Only the home key and register of the piece are read from it, since by more the network would tell the
# training pieces apart, and learn them by heart (EXPERIMENTS.md, 'Home').
FADING = ((0.8, 1), (0.97, 1), (1, 0.3), (1, 1))
NEAR = 12  # semitones on either side of a note within which keys are read one by one
LEFT = len(FADING) + 2  # numbers carried on for each key from event to event, see `traces_layer.Traces.follow`
MOMENT = 1e-3  # quarter notes: a tolerance that tells held from just released in spite of rounded float32 sums
# Profiles, of mean 0 and length 1, of the twelve major keys and then the minor ones.
PROFILES = KEYS.astype(np.float32).T  # (12, 24)
PROFILES = PROFILES - PROFILES.mean(axis=0)
PROFILES /= np.linalg.norm(PROFILES, axis=0)
FROM_MEAN = np.eye(12, dtype=np.float32) - np.float32(1 / 12)  # twelve numbers @ this: each less their mean
# (128, 2) 1 for each key, and how many semitones it lies above middle C.
NUMBER_AND_HEIGHT = np.stack([np.ones(128), np.arange(128) - MIDDLE_C], axis=1).astype(np.float32)
# Numbers read from the traces: twelve pitch classes and the keys nearby; how high the last note lies; and the tonality.
HEARD = (len(FADING) - 1) * (12 + 2 * NEAR + 1) + 1 + PROFILES.shape[1]
# Factors for reading the fading traces: the trace of a key that is struck at each sixteenth grows to about 1.
SCALES = np.array([[1 - by_event * by_beat**0.25] for by_event, by_beat in FADING[:-1]], np.float32)  # (F - 1, 1)
# Numbers that describe a pitch class in the harmony: its fading traces, whether it is in the chord and whether it is
# the bass, and these two for the chord before.
HARMONY = len(FADING) - 1 + 4


def pitch_classes(xp: ModuleType, keys: Array) -> Array:
    """(..., 12) the numbers of the keys (..., 128) summed over all octaves, from C up."""
    octaves = xp.pad(keys, [*[(0, 0)] * (len(keys.shape) - 1), (0, 4)])  # 128 keys are ten octaves and eight keys
    return xp.sum(xp.reshape(octaves, (-1, *xp.shape(keys)[1:-1], 11, 12)), axis=-2)


def pitch_of(xp: ModuleType, origin: Array) -> Array:
    """(...) the pitch from which intervals count: `origin` (...), or middle C where that is NOBODY."""
    return xp.where(xp.equal(origin, NOBODY), MIDDLE_C, origin)


def height(xp: ModuleType, struck: Array, pitch: Array | None = None) -> Array:
    """(..., 1) octaves from the `pitch` (...) of a note, or from middle C, up to the mean of the keys struck so far in
    the piece, each `struck` (..., 128) times."""
    sums = xp.matmul(struck, NUMBER_AND_HEIGHT)
    # Counted from middle C, the pitch of the start token: 0 where nothing was struck.
    mean = sums[..., 1:] / xp.maximum(sums[..., :1], 1)
    return (mean if pitch is None else mean - xp.subtract(pitch, float(MIDDLE_C))[..., None]) / 12


def tonality(xp: ModuleType, struck: Array) -> Array:
    """(..., 24) shares of the keys, twelve major and then twelve minor: the softmax of ten times the correlation of the
    profile of each with how often each pitch class was `struck` (..., 12) so far. Both count up from the same pitch
    class: that of the last note in Keras, C in NumPy."""
    apart = xp.matmul(struck, FROM_MEAN)
    length = xp.sqrt(xp.sum(apart * apart, axis=-1, keepdims=True))
    fits = xp.exp(10 * xp.matmul(apart, PROFILES) / (length + 1e-6))
    return fits / xp.sum(fits, axis=-1, keepdims=True)
