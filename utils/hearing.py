"""What the network hears of the keys struck so far, in NumPy and event by event: like the layer `traces_layer.Traces`.

Shapes: B pieces side by side, F traces, P keys from the lowest to the highest of the vocabulary, D features that
describe the surroundings of a key.
"""

import numpy as np

from utils.heads import along
from utils.parts import MIDDLE_C
from utils.states import State
from utils.traces import FADING, HARMONY, HEARD, MOMENT, NEAR, SCALES, height, pitch_classes, tonality
from utils.vocabulary import Vocabulary

NEARBY = 2 * NEAR + 1  # keys that are read around each
# Added to traces as they are read: too small to matter, but denormal numbers are multiplied many times more slowly.
FADED = np.array(1e-20, np.float32)
NO_TIME, SHORT = np.array(0, np.float32), np.array(MOMENT, np.float32)  # as `parts.ONE`


def sounding_before(held: np.ndarray, sounded: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """(B, keys) which keys sound right before the time `beats` (B, 1) after an event, given for how many beats after
    that event each key is `held`, and which keys `sounded` right before that event."""
    return np.where(beats > NO_TIME, held > beats - SHORT, sounded)


class Hearing:
    """The traces of keys, and what is read from them. A trace has a number for each pitch class and for each key, with
    a margin of NEAR keys at either end, so that each key has all its neighbours."""

    def __init__(self, vocabulary: Vocabulary, arrays: dict[str, list[np.ndarray]]):
        """`arrays` has the layers that describe a key: 'surroundings', kernel (1, NEARBY, F, D) and bias (D,), and
        'harmony', kernel (1, 12, HARMONY, D), which older networks lack."""
        self.keys = np.pad(vocabulary.keys, ((0, 0), (NEAR, NEAR)))
        self.struck = np.concatenate([vocabulary.pitch_classes(), self.keys], axis=1)  # what a note adds
        # (V + 1, F) each: factors by which traces fade at a note, 1 if it is a drum, and over the time before it.
        by_event, by_beat = np.array(FADING, np.float32).T
        self.beats, self.lengths = vocabulary.quarters("offset"), vocabulary.quarters("duration")
        self.fading_by_note = by_event ** vocabulary.moves.astype(np.float32)[:, None]
        self.fading_by_offset = by_beat ** self.beats[:, None]
        self.candidates = slice(vocabulary.lowest, vocabulary.highest + NEARBY)
        kernel, self.bias = arrays["surroundings"]
        self.kernel = kernel.reshape(-1, kernel.shape[-1])
        # (keys, 12) the pitch class of each key, one-hot; the margin has none. (P,) that of each key that may be next.
        self.classes = np.pad(pitch_classes(np, np.eye(128, dtype=np.float32)), ((NEAR, NEAR), (0, 0)))
        self.class_of_candidate = np.arange(vocabulary.lowest, vocabulary.highest + 1) % 12
        # (HARMONY * 12, 12 * D) the kernel of the harmony rotated to each pitch class, from C up.
        self.turned = None
        if "harmony" in arrays:
            up = (np.arange(12)[:, None] - np.arange(12)) % 12
            turned = arrays["harmony"][0][0][up].transpose(2, 0, 1, 3)
            self.turned = turned.reshape(HARMONY * 12, -1)
        # For each pitch, (128 + 1, HEARD) the indices in `audible` of what is heard from it, and how many octaves it
        # lies above middle C. The last row, for NOBODY's pitch, is that of middle C.
        pitch = np.append(np.arange(128), MIDDLE_C)[:, None]
        of_class = (pitch + np.arange(12)) % 12
        numbers = np.concatenate([of_class, 12 + pitch + np.arange(NEARBY)], axis=1)
        size = self.struck.shape[1]
        traces = [begin + numbers for begin in range(0, size * len(SCALES), size)]
        home = size * len(SCALES) + np.concatenate([np.zeros_like(pitch), 1 + of_class, 13 + of_class], axis=1)
        self.places = np.concatenate([*traces, home], axis=1)
        self.octaves = ((pitch - MIDDLE_C) / 12).astype(np.float32)
        self.height = HEARD - 1 - 24  # index of the mean height

    def silence(self, count: int) -> dict[str, np.ndarray]:
        """The fields of a `State` that describe the keys, before the first event."""
        traces = np.zeros((count, len(FADING), self.struck.shape[1]), np.float32)
        keys = count, self.keys.shape[1]
        return {"traces": traces, "held": np.zeros(keys, np.float32), "sounded": np.zeros(keys, bool)}

    def move_on(self, state: State) -> dict[str, np.ndarray]:
        """The same fields once the last event has been read."""
        note, offset = state.last["note"], state.last["offset"]
        fading = self.fading_by_note.take(note, axis=0) * self.fading_by_offset.take(offset, axis=0)
        traces = state.traces * fading[:, :, None]
        traces += self.struck.take(note, axis=0)[:, None]
        length = self.lengths.take(state.last["duration"])[:, None]
        beats = self.beats.take(offset)[:, None]
        held = np.maximum(state.held - beats, self.keys.take(note, axis=0) * length)
        return {"traces": traces, "held": held, "sounded": sounding_before(state.held, state.sounded, beats)}

    def audible(self, traces: np.ndarray) -> np.ndarray:
        """(B, numbers) all that can be heard of the traces: every number of those that fade; of the last, which counts
        all notes of the piece, their mean height and how well each major and minor key fits them, from C up."""
        fading = (traces[:, :-1] * SCALES + FADED).reshape(len(traces), -1)
        struck = traces[:, -1]
        return np.concatenate([fading, height(np, struck[:, 12 + NEAR : -NEAR]), tonality(np, struck[:, :12])], axis=1)

    def heard(self, audible: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """(B, HEARD) the `audible` numbers as heard from a pitch (B,)."""
        heard = along(np, audible, self.places.take(pitch, axis=0))
        heard[:, self.height] -= self.octaves.take(pitch)
        return heard

    def around(self, audible: np.ndarray, state: State, beats: np.ndarray) -> np.ndarray:
        """(B, P, D) the surroundings of each key that may be struck `beats` (B, 1) after the last event."""
        count, fading = len(audible), len(SCALES)
        traces = audible[:, : fading * self.struck.shape[1]].reshape(count, fading, -1)[:, :, 12:]
        sounds = state.held > beats + SHORT
        near = traces[:, :, self.candidates].transpose(0, 2, 1)
        around = np.empty((*near.shape[:2], fading + 1), np.float32)
        around[..., :-1], around[..., -1] = near, sounds[:, self.candidates]
        # Each window holds a key and its neighbours, and begins one key after the window before it.
        windows = (count, len(self.class_of_candidate), len(self.kernel))
        windows = np.ndarray(windows, np.float32, around, strides=around.strides).copy()
        around = windows @ self.kernel
        around += self.bias
        if self.turned is not None:
            chords = np.array([sounds, sounding_before(state.held, state.sounded, beats)]).transpose(1, 0, 2)
            around += self.harmony(audible, chords).take(self.class_of_candidate, axis=1)
        return np.maximum(around, 0, out=around)

    def harmony(self, audible: np.ndarray, chords: np.ndarray) -> np.ndarray:
        """(B, 12, D) what the harmony adds to the keys of each pitch class. It is read from the traces, and from which
        keys are in each of the `chords` (B, chords, keys)."""
        count, size = len(audible), self.struck.shape[1]
        faded = audible[:, : len(SCALES) * size].reshape(count, -1, size)[:, :, :12].reshape(count, -1)
        bass = chords.argmax(axis=2)  # for an empty chord the first key of the margin, which has no pitch class
        inside = np.minimum(chords.astype(np.float32) @ self.classes, 1)
        heard = np.concatenate([inside, self.classes.take(bass, axis=0)], axis=2).reshape(count, -1)
        return (np.concatenate([faded, heard], axis=1) @ self.turned).reshape(count, 12, -1)
