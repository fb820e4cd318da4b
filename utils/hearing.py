"""What is heard of the keys struck so far, in NumPy, event by event: as the Keras layer `traces_layer.Traces`.

Shapes: B pieces side by side, F traces, P keys from the lowest to the highest of the vocabulary, D numbers that
describe what lies around a key.
"""

import numpy as np

from utils.heads import along
from utils.parts import MIDDLE_C
from utils.states import State
from utils.traces import FADING, HARMONY, HEARD, MOMENT, NEAR, SCALES, height, pitch_classes, tonality
from utils.vocabulary import Vocabulary

NEARBY = 2 * NEAR + 1  # keys that are read around each
# What has faded is read as so much, which is nothing: denormal numbers are multiplied many times more slowly.
FADED = np.array(1e-20, np.float32)
NO_TIME, SHORT = np.array(0, np.float32), np.array(MOMENT, np.float32)  # as `parts.ONE`


def sounding_before(held: np.ndarray, sounded: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """(B, keys) which keys sound right before a time, so many `beats` (B, 1) after that for which it is known for how
    many more they are `held`, and which `sounded` right before that."""
    return np.where(beats > NO_TIME, held > beats - SHORT, sounded)


class Hearing:
    """The traces of keys, and what is read of them. A trace has a number for each pitch class and for each key, with a
    margin so that all nearby are there."""

    def __init__(self, vocabulary: Vocabulary, arrays: dict[str, list[np.ndarray]]):
        """`arrays`: the layers that describe a key by what lies around it, kernel (1, NEARBY, F, D) and bias (D,), and
        by the harmony, kernel (1, 12, HARMONY, D), which older networks do not hear."""
        self.keys = np.pad(vocabulary.keys, ((0, 0), (NEAR, NEAR)))
        self.struck = np.concatenate([vocabulary.pitch_classes(), self.keys], axis=1)  # what a note adds
        # By what a note and the time before it let the traces fade, (V + 1, F) each; with a drum nothing fades.
        by_event, by_beat = np.array(FADING, np.float32).T
        self.beats, self.lengths = vocabulary.quarters("offset"), vocabulary.quarters("duration")
        self.fading_by_note = by_event ** vocabulary.moves.astype(np.float32)[:, None]
        self.fading_by_offset = by_beat ** self.beats[:, None]
        self.candidates = slice(vocabulary.lowest, vocabulary.highest + NEARBY)
        kernel, self.bias = arrays["surroundings"]
        self.kernel = kernel.reshape(-1, kernel.shape[-1])
        # (keys, 12) the pitch class of each key; the margin has none. Of those that may come next, (P,) which it is.
        self.classes = np.pad(pitch_classes(np, np.eye(128, dtype=np.float32)), ((NEAR, NEAR), (0, 0)))
        self.class_of_candidate = np.arange(vocabulary.lowest, vocabulary.highest + 1) % 12
        # (HARMONY * 12, 12 * D) the kernel of the harmony turned to each pitch class, from C up.
        self.turned = None
        if "harmony" in arrays:
            up = (np.arange(12)[:, None] - np.arange(12)) % 12
            turned = arrays["harmony"][0][0][up].transpose(2, 0, 1, 3)
            self.turned = turned.reshape(HARMONY * 12, -1)
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

    def silence(self, count: int) -> dict[str, np.ndarray]:
        """The fields of a `State` that say what is heard of the keys, before the first event."""
        traces = np.zeros((count, len(FADING), self.struck.shape[1]), np.float32)
        keys = count, self.keys.shape[1]
        return {"traces": traces, "held": np.zeros(keys, np.float32), "sounded": np.zeros(keys, bool)}

    def move_on(self, state: State) -> dict[str, np.ndarray]:
        """The same fields when the last event has been read."""
        note, offset = state.last["note"], state.last["offset"]
        fading = self.fading_by_note.take(note, axis=0) * self.fading_by_offset.take(offset, axis=0)
        traces = state.traces * fading[:, :, None]
        traces += self.struck.take(note, axis=0)[:, None]
        length = self.lengths.take(state.last["duration"])[:, None]
        beats = self.beats.take(offset)[:, None]
        held = np.maximum(state.held - beats, self.keys.take(note, axis=0) * length)
        return {"traces": traces, "held": held, "sounded": sounding_before(state.held, state.sounded, beats)}

    def audible(self, traces: np.ndarray) -> np.ndarray:
        """All that may be heard of the traces, (B, numbers): of those that fade everything, and of what was struck in
        the whole piece how high that was and how well each key fits, major and minor from C up."""
        fading = (traces[:, :-1] * SCALES + FADED).reshape(len(traces), -1)
        struck = traces[:, -1]
        return np.concatenate([fading, height(np, struck[:, 12 + NEAR : -NEAR]), tonality(np, struck[:, :12])], axis=1)

    def heard(self, audible: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """What is heard relative to a pitch (B,): (B, HEARD)."""
        heard = along(np, audible, self.places.take(pitch, axis=0))
        heard[:, self.height] -= self.octaves.take(pitch)
        return heard

    def around(self, audible: np.ndarray, state: State, beats: np.ndarray) -> np.ndarray:
        """(B, P, D) what lies around each key that may come so many `beats` (B, 1) after the last event."""
        count, fading = len(audible), len(SCALES)
        traces = audible[:, : fading * self.struck.shape[1]].reshape(count, fading, -1)[:, :, 12:]
        sounds = state.held > beats + SHORT
        near = traces[:, :, self.candidates].transpose(0, 2, 1)
        around = np.empty((*near.shape[:2], fading + 1), np.float32)
        around[..., :-1], around[..., -1] = near, sounds[:, self.candidates]
        # Of each key the numbers of all nearby stand side by side, and begin where those of the next key are.
        windows = (count, len(self.class_of_candidate), len(self.kernel))
        windows = np.ndarray(windows, np.float32, around, strides=around.strides).copy()
        around = windows @ self.kernel
        around += self.bias
        if self.turned is not None:
            chords = np.array([sounds, sounding_before(state.held, state.sounded, beats)]).transpose(1, 0, 2)
            around += self.harmony(audible, chords).take(self.class_of_candidate, axis=1)
        return np.maximum(around, 0, out=around)

    def harmony(self, audible: np.ndarray, chords: np.ndarray) -> np.ndarray:
        """(B, 12, D) what the harmony adds to keys of each pitch class: that of the traces, and of which keys are in
        each of the chords (B, chords, keys)."""
        count, size = len(audible), self.struck.shape[1]
        faded = audible[:, : len(SCALES) * size].reshape(count, -1, size)[:, :, :12].reshape(count, -1)
        bass = chords.argmax(axis=2)  # of no keys it is the first of the margin, which has no pitch class
        inside = np.minimum(chords.astype(np.float32) @ self.classes, 1)
        heard = np.concatenate([inside, self.classes.take(bass, axis=0)], axis=2).reshape(count, -1)
        return (np.concatenate([faded, heard], axis=1) @ self.turned).reshape(count, 12, -1)
