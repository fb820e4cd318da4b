"""What the Keras network hears of the keys struck so far, for all events of a window at once; `hearing` computes the
same in NumPy, event by event.

Shapes: B windows, T events, F traces, P keys from the lowest to the highest of the vocabulary.
"""

from utils import devices  # noqa: F401  starts Keras quietly
from utils.traces import FADING, HARMONY, HEARD, MOMENT, NEAR, SCALES, height, pitch_classes, pitch_of, tonality
from utils.vocabulary import Vocabulary

# isort: split
from keras import layers, ops


def struck_by(past, chosen, struck):
    """(B, T + 1, 128) whether each key was `struck` (B, T, 128) by an event that is both `past` (T + 1, T) and `chosen`
    (B, T + 1, T)."""
    return ops.einsum("bts,bsp->btp", ops.cast(ops.logical_and(past, chosen), "float32"), struck) > 0


class Traces(layers.Layer):
    """What lies around each key: traces of the notes struck (see `traces.FADING`), and the held keys. No weights."""

    def __init__(self, vocabulary: Vocabulary, ahead: bool, **kwargs):
        """`ahead`: whether the next onset is known when the next note is chosen."""
        super().__init__(**kwargs)
        self.ahead, self.by_part = ahead, vocabulary.told_parts > 0
        self.keys = vocabulary.keys
        self.counts = vocabulary.moves.astype("float32")  # 1 for each note class but drums, with which no trace fades
        self.low, self.high = vocabulary.lowest, vocabulary.highest
        self.offset, self.duration = vocabulary.quarters("offset"), vocabulary.quarters("duration")

    def call(self, note, offset, duration, here, origin, before):
        """`note` and `duration` (B, T) and `offset` (B, T + 1) are classes; `here` and `origin` (B, T) the pitches from
        which the spacing and the interval of the following event count; `before` (B, LEFT, 128) is what earlier events
        have left, see `follow`.

        Returns the features read from the traces relative to `here` and, if there are parts, relative to `origin`, both
        (B, T, HEARD); what lies around the keys that may come next, (B, T, P + 2 NEAR, F): the fading traces, and 1 for
        each key that is still held at the next event (or at the last one, if the next onset is unknown); the `harmony`
        at that time; and `before` for the events after the last.
        """
        traces, held, sounded, after = self.follow(note, offset, duration, before)
        classes = pitch_classes(ops, traces)
        margin = ops.pad(ops.multiply(traces[:, :, :-1], SCALES), [[0, 0], [0, 0], [0, 0], [NEAR, NEAR]])

        def heard(pitch):
            """The features read from the traces relative to a pitch (B, T)."""
            high, pitch = height(ops, traces[:, :, -1], pitch), pitch[:, :, None, None]
            relative = ops.take_along_axis(classes, (pitch + ops.arange(12)) % 12, axis=-1)
            home, relative = tonality(ops, relative[:, :, -1]), ops.multiply(relative[:, :, :-1], SCALES)
            near = ops.take_along_axis(margin, pitch + ops.arange(2 * NEAR + 1), axis=-1)
            read = ops.concatenate([relative, near], axis=-1)  # (B, T, F - 1, numbers)
            read = ops.reshape(read, (-1, ops.shape(note)[1], HEARD - high.shape[-1] - home.shape[-1]))
            return ops.concatenate([read, high, home], axis=-1)

        from_here = heard(pitch_of(ops, here))
        from_part = heard(pitch_of(ops, origin)) if self.by_part else from_here
        held_near = ops.pad(held, [[0, 0], [0, 0], [NEAR, NEAR]])
        around = ops.concatenate([margin, held_near[:, :, None]], axis=2)
        around = ops.transpose(around[..., self.low : self.high + 2 * NEAR + 1], (0, 1, 3, 2))
        return from_here, from_part, around, self.harmony(classes, held, sounded), after

    def follow(self, note, offset, duration, before):
        """The traces (B, T, F, 128) after each event; 1 for each key that is held at the next event, and 1 for each
        that sounded right before it, both (B, T, 128); and what all the events leave, (B, LEFT, 128): the traces, the
        beats for which each key is still held, and 1 for each key that sounded right before the last event."""
        # Tensors throughout, as PyTorch does not multiply an array by a tensor.
        by_event, by_beat = (ops.log(ops.convert_to_tensor(column, "float32")) for column in zip(*FADING, strict=True))
        step = ops.cumsum(ops.take(ops.convert_to_tensor(self.counts), note, axis=0), axis=1)  # (B, T)
        place = ops.arange(ops.shape(note)[1])
        onset = ops.cumsum(ops.take(ops.convert_to_tensor(self.offset), offset, axis=0), axis=1)  # (B, T + 1) beats
        now = onset[:, :-1]
        struck = ops.take(ops.convert_to_tensor(self.keys), note, axis=0)  # (B, T, 128)
        past = place[:, None] >= place[None, :]  # (T, T)
        events = ops.maximum(step[:, :, None] - step[:, None, :], 0)
        beats = ops.maximum(now[:, :, None] - now[:, None, :], 0)
        fading = by_event[:, None, None] * events[:, None] + by_beat[:, None, None] * beats[:, None]
        weight = ops.where(past, ops.exp(fading), 0.0)  # (B, F, T, T)
        old = ops.exp(by_event[:, None] * step[:, None] + by_beat[:, None] * now[:, None])  # (B, F, T)
        traces, until, sounded = before[:, :-2], before[:, -2], before[:, -1]
        traces = ops.einsum("bfts,bsp->btfp", weight, struck) + ops.einsum("bft,bfp->btfp", old, traces)
        end = now + ops.take(ops.convert_to_tensor(self.duration), duration, axis=0)
        # The times at which to look for sounding keys: those of the next events, then that of the last event.
        at = ops.concatenate([onset[:, 1:] if self.ahead else now, now[:, -1:]], axis=1)[:, :, None]  # (B, T + 1, 1)
        past = ops.concatenate([past, past[-1:]], axis=0)
        held = struck_by(past, end[:, None] > at + MOMENT, struck)
        held = ops.logical_or(held, until[:, None] > at + MOMENT)
        sounded = ops.where(at > MOMENT, until[:, None] > at - MOMENT, sounded[:, None] > 0)
        over = ops.logical_and(end[:, None] > at - MOMENT, now[:, None] < at - MOMENT)
        sounded = ops.cast(ops.logical_or(sounded, struck_by(past, over, struck)), "float32")
        until = ops.maximum(ops.max(struck * end[:, :, None], axis=1), until) - now[:, -1:]
        after = ops.concatenate([traces[:, -1], until[:, None], sounded[:, -1:]], axis=1)
        return traces, ops.cast(held[:, :-1], "float32"), sounded[:, :-1], after

    def harmony(self, classes, *chords):
        """(B, T, 12 + 11, HARMONY) how each pitch class, from C up to the B flat of the next octave, stands in the
        harmony, by its traces `classes` (B, T, F, 12) and the keys of each of the `chords` (B, T, 128)."""
        parts = [ops.multiply(classes[:, :, :-1], SCALES)]
        for keys in chords:
            bass = ops.one_hot(ops.argmax(keys, axis=-1) % 12, 12, dtype="float32")
            bass *= ops.max(keys, axis=-1, keepdims=True)  # no bass without keys
            parts.append(ops.stack([ops.minimum(pitch_classes(ops, keys), 1.0), bass], axis=2))
        harmony = ops.transpose(ops.concatenate(parts, axis=2), (0, 1, 3, 2))
        return ops.concatenate([harmony, harmony[:, :, :-1]], axis=2)

    def compute_output_shape(self, note_shape, offset_shape, duration_shape, here_shape, origin_shape, before_shape):
        keys = self.high - self.low + 1 + 2 * NEAR
        heard, around = (*note_shape, HEARD), (*note_shape, keys, len(FADING))
        return heard, heard, around, (*note_shape, 12 + 11, HARMONY), before_shape
