"""What is heard of the keys struck so far, in NumPy, event by event: as the Keras layer `network.Traces`.

Shapes: B pieces side by side, F traces, P keys from the lowest to the highest of the vocabulary, D numbers that
describe what lies around a key.
"""

import numpy as np

from utils.heads import FADING, HEARD, NEAR, SCALES, along, height, tonality
from utils.parts import MIDDLE_C
from utils.states import State
from utils.vocabulary import Vocabulary

NEARBY = 2 * NEAR + 1  # keys that are read around each
# What has faded is read as so much, which is nothing: denormal numbers are multiplied many times more slowly.
FADED = np.float32(1e-20)


class Hearing:
    """The traces of keys, and what is read of them. A trace has a number for each pitch class and for each key, with a
    margin so that all nearby are there."""

    def __init__(self, vocabulary: Vocabulary, kernel: np.ndarray, bias: np.ndarray):
        """`kernel` (1, NEARBY, F, D) and `bias` (D,) describe what lies around a key."""
        self.keys = np.pad(vocabulary.keys, ((0, 0), (NEAR, NEAR)))
        self.struck = np.concatenate([vocabulary.pitch_classes(), self.keys], axis=1)  # what a note adds
        # By what a note and the time before it let the traces fade, (V + 1, F) each; with a drum nothing fades.
        by_event, by_beat = np.array(FADING, np.float32).T
        self.beats, self.lengths = vocabulary.quarters("offset"), vocabulary.quarters("duration")
        self.fading_by_note = by_event ** vocabulary.moves.astype(np.float32)[:, None]
        self.fading_by_offset = by_beat ** self.beats[:, None]
        self.candidates = slice(vocabulary.lowest, vocabulary.highest + NEARBY)
        self.kernel, self.bias = kernel.reshape(-1, kernel.shape[-1]), bias
        # Where in what is `audible` each number stands that is heard from a pitch, (128 + 1, HEARD), and how many
        # octaves lie between it and the middle C; that is the last row too, for NOBODY's pitch.
        pitch = np.append(np.arange(128), MIDDLE_C)[:, None]
        of_class = (pitch + np.arange(12)) % 12
        numbers = np.concatenate([of_class, 12 + pitch + np.arange(NEARBY)], axis=1)
        size = self.struck.shape[1]
        traces = [begin + numbers for begin in range(0, size * len(SCALES), size)]
        home = size * len(SCALES) + np.concatenate([np.zeros_like(pitch), 1 + of_class, 13 + of_class], axis=1)
        self.places = np.concatenate([*traces, home], axis=1)
        self.octaves = ((pitch - MIDDLE_C) / 12).astype(np.float32)
        self.height = HEARD - 1 - 24  # the number that is not the same from everywhere

    def silence(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Before the first event: the traces (B, F, numbers) and, of each key, for how long it is held (B, keys)."""
        traces = np.zeros((count, len(FADING), self.struck.shape[1]), np.float32)
        return traces, np.zeros((count, self.keys.shape[1]), np.float32)

    def move_on(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """The traces after the last event, and for how many quarter notes more each key is held."""
        note, offset = state.last["note"], state.last["offset"]
        fading = self.fading_by_note.take(note, axis=0) * self.fading_by_offset.take(offset, axis=0)
        traces = state.traces * fading[:, :, None] + self.struck.take(note, axis=0)[:, None]
        length = self.lengths.take(state.last["duration"])[:, None]
        held = state.held - self.beats.take(offset)[:, None]
        return traces, np.maximum(held, self.keys.take(note, axis=0) * length)

    def audible(self, traces: np.ndarray) -> np.ndarray:
        """All that may be heard of the traces, (B, numbers): of those that fade everything, and of what was struck in
        the whole piece how high that was and how well each key fits, major and minor from C up."""
        fading = (traces[:, :-1] * SCALES + FADED).reshape(len(traces), -1)
        struck = traces[:, -1]
        home = height(np, struck[:, 12 + NEAR : -NEAR], np.float32(MIDDLE_C)), tonality(np, struck[:, :12])
        return np.concatenate([fading, *home], axis=1, dtype=np.float32)

    def heard(self, audible: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """What is heard relative to a pitch (B,): (B, HEARD)."""
        heard = along(np, audible, self.places.take(pitch, axis=0))
        heard[:, self.height] -= self.octaves.take(pitch)
        return heard

    def around(self, audible: np.ndarray, held: np.ndarray, beats: np.ndarray) -> np.ndarray:
        """(B, P, D) what lies around each key that may come so many `beats` (B,) after the last event."""
        count, fading = len(audible), len(SCALES)
        traces = audible[:, : fading * self.struck.shape[1]].reshape(count, fading, -1)[:, :, 12:]
        # A thousandth of a beat, as in Keras: no matter how the sums were rounded.
        held = held[:, self.candidates] > beats[:, None] + 1e-3
        around = np.empty((*held.shape, fading + 1), np.float32)
        around[..., :-1], around[..., -1] = traces[:, :, self.candidates].transpose(0, 2, 1), held
        # Of each key the numbers of all nearby stand side by side, and begin where those of the next key are.
        windows = (count, held.shape[1] - 2 * NEAR, len(self.kernel))
        windows = np.ndarray(windows, np.float32, around, strides=around.strides).copy()
        around = windows @ self.kernel
        around += self.bias
        return np.maximum(around, 0, out=around)
