"""The heads, and the shapes of all weights: the code of the network that Keras and NumPy share.

`xp` stands for `keras.ops` or `numpy`. Shapes: `...` is (B, T) in Keras, where all events of a window are predicted at
once, and (B,) in NumPy, where it is one event of B pieces; K contexts of the match model, V classes of a stream, P keys
from the lowest to the highest of the vocabulary, D numbers that describe what lies around a key, F traces, Q parts, G
styles.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np

from utils.cells import CELLS
from utils.events import END_STREAM, derived
from utils.line_recall import LINE_CONTEXTS, LINE_STREAKS
from utils.parts import MIDDLE_C, NOBODY, SILENT, SOUNDING
from utils.recall import LONGEST_STREAK, NOTHING, REMEMBERED, STREAKS, contexts
from utils.traces import FADING, HARMONY, HEARD, LEFT, NEAR, Array, pitch_of
from utils.vocabulary import Axis, Vocabulary, counted, length

Axes = tuple[Axis, ...]  # of a weight

# Tables for `confidence`: of a whole number n, log2(n) / 2 and log2(n + 1) / 8.
HALVES = np.log2(np.maximum(np.arange(LONGEST_STREAK + REMEMBERED + 2), 1)).astype(np.float32) / 2
EIGHTHS = HALVES[1:] / 4
HEADS = ("chained", "parallel", "regression")  # what the heads see of each other's choices, and what they predict


@dataclass(frozen=True)
class Shape:
    """The sizes of a network, as stored in a weights file."""

    sees: dict[str, tuple[str, ...]]  # stream -> what its head sees of the event that it predicts
    layers: int
    units: int  # of a recurrent layer
    embedding: int  # size of the vector that stands for a class
    hidden: int  # units between the recurrent layers and the logits of a stream
    surroundings: int  # D
    dropout: float  # 0..1
    numbers: tuple[str, ...]  # streams that are predicted as numbers
    cell: str  # one of CELLS

    @classmethod
    def of(cls, args: SimpleNamespace) -> "Shape":
        """The network that the settings of train.py describe. Chained heads see the streams chosen before their own,
        and what is derived from these; parallel ones see nothing."""
        names = ("layers", "units", "embedding", "hidden", "surroundings", "dropout", "cell")
        sees = {}
        for i, stream in enumerate(args.streams):
            before = () if args.heads == "parallel" else args.streams[:i]
            sees[stream] = (*before, *(name for name, source in derived(args.streams).items() if source in before))
        numbers = ("offset", "duration") if args.heads == "regression" else ()
        return cls(sees, numbers=numbers, **{name: getattr(args, name) for name in names})

    def silence(self, count: int) -> dict[str, np.ndarray]:
        """The inputs of the Keras network that describe `count` pieces before their first event: the recurrent 'state'
        (B, layers * states, U), and the 'traces' (B, LEFT, 128), see `traces_layer.Traces`."""
        state = np.zeros((count, self.layers * CELLS[self.cell].states, self.units), np.float32)
        return {"state": state, "traces": np.zeros((count, LEFT, 128), np.float32)}


class Known(NamedTuple):
    """What a head is told in addition to the outputs of its own layers."""

    agrees: Array  # (..., K) see `Head.agrees`
    recalled: dict[str, Array]  # (..., K) classes of the recalled events
    origin: Array  # (...) pitch from which the next interval counts
    here: Array  # (...) pitch from which the next spacing counts
    around: Array  # (..., P, D) what lies around each key


def sounding(xp: ModuleType, until: Array, quarters: Array) -> Array:
    """(..., Q) how long each part will still sound, clipped and scaled to -0.5..1, negative if it is silent, when so
    many `quarters` (...) have passed since that time was `until` (..., Q) quarter notes."""
    left = xp.maximum(until - quarters[..., None], SILENT)  # `clip` of NumPy takes three times as long
    return xp.minimum(left, SOUNDING) / SOUNDING


def log_softmax(xp: ModuleType, logits: Array) -> Array:
    """(..., V) the log-probabilities that the logits (..., V) stand for."""
    logits = logits - xp.max(logits, axis=-1, keepdims=True)
    return logits - xp.log(xp.sum(xp.exp(logits), axis=-1, keepdims=True))


def confidence(xp: ModuleType, streak: Array, back: Array) -> Array:
    """(..., 2 * contexts) how long each context has been right, and that divided by the distance at which it repeats,
    both as logarithms, from which the network can learn when repetition ends. `streak` and `back` (..., contexts)
    are those of all contexts but the form, see `recall.TOLD`."""
    back = xp.maximum(back, 1)
    rounds = rows(xp, HALVES, streak + back) - rows(xp, HALVES, back)  # log2(1 + streak / back) / 2
    return xp.concatenate([rows(xp, EIGHTHS, streak), rounds], axis=-1)


def rows(xp: ModuleType, table: Array, index: Array) -> Array:
    """`xp.take` along the first axis; for NumPy, in a form that takes a third of the time."""
    return table.take(index, axis=0) if xp is np else xp.take(table, index, axis=0)


def gains(xp: ModuleType, gain: Array, classes: Array, size: int) -> Array:
    """(..., size) for each class the sum of the gains (..., K) of the recalled `classes` (..., K) that equal it. Where
    NOTHING is recalled the gain must be 0."""
    if xp is np:  # each piece has one more place, before its first class, for NOTHING
        place = classes + np.arange(1, len(classes) * (size + 1), size + 1)[:, None]
        summed = np.bincount(place.ravel(), gain.ravel(), len(classes) * (size + 1))
        return summed.reshape(-1, size + 1)[:, 1:]
    first, second, _ = xp.shape(gain)
    rows = first * second
    place = xp.reshape(xp.maximum(classes, 0), (-1, xp.shape(classes)[-1])) + xp.arange(rows)[:, None] * size
    summed = xp.segment_sum(xp.reshape(gain, (-1,)), xp.reshape(place, (-1,)), rows * size)
    return xp.reshape(summed, (-1, second, size))


def along(xp: ModuleType, values: Array, index: Array) -> Array:
    """`xp.take_along_axis` along the last axis; for NumPy, (B, numbers) and (B, V), in a form three times as fast."""
    return values[np.arange(len(index))[:, None], index] if xp is np else xp.take_along_axis(values, index, axis=-1)


class Head:
    """The head of a stream: a hidden layer, and above it a logit for each class and a trust in each recalled event,
    which is added to the logit of that event's class."""

    def __init__(self, stream: str, vocabulary: Vocabulary, shape: Shape):
        self.stream, self.vocabulary, self.shape = stream, vocabulary, shape
        self.sees, self.classes = tuple(shape.sees[stream]), vocabulary.size(stream)
        self.compared = [name for name in self.sees if name in vocabulary.recalled]  # with recalled events
        # Whether it is told what is recalled of the next event's line: if it knows the part and the onset.
        knows = END_STREAM in self.sees and ("part" in self.sees or "part" not in vocabulary.streams)
        self.knows_line = vocabulary.told_lines and knows
        self.contexts = contexts(vocabulary) + self.knows_line * LINE_CONTEXTS
        # The Dense layers above the hidden one, and the axis of each one's output.
        trust = counted("trust", self.contexts, "same")
        self.outputs = {f"head_{stream}": vocabulary.choices(stream), f"trust_{stream}": (trust,)}
        self.needed: dict[str, slice] = {}  # the slice of an output that NumPy needs, if not all
        # Weights in addition to those of the layers; all start at 0.
        self.own_weights: dict[str, list[Axes]] = {}

    def weights(self) -> dict[str, list[Axes]]:
        """The part of `weights_of` that belongs to this head."""
        hidden, vocabulary = (counted("hidden", self.shape.hidden),), self.vocabulary
        read = counted("output", self.shape.units), counted("heard", HEARD), counted("range", vocabulary.told_ranges)
        agrees = counted("agrees", self.contexts, "same")
        read += counted("confidence", 2 * STREAKS), vocabulary.told_of_parts("sounding", SILENT / SOUNDING)
        read += (counted("line confidence", 2 * LINE_STREAKS * self.knows_line),)
        read += *vocabulary.condition, agrees, *embedded(self.sees, self.shape)
        dense = {name: [(hidden, numbers), (numbers,)] for name, numbers in self.outputs.items()}
        return {f"hidden_{self.stream}": [(read, hidden), (hidden,)], **dense, **self.own_weights}

    def recalled(self, xp: ModuleType, all_parts: dict[str, Array], told: dict[str, Array]) -> dict[str, Array]:
        """What the head is told of recalled events, name -> classes (..., K): what is recalled of `all_parts` and, if
        it knows the line of the next event, what is recalled of that, which is in `told` under 'line_NAME'."""
        if not self.knows_line:
            return all_parts
        names = self.vocabulary.recalled
        return {name: xp.concatenate([all_parts[name], told[f"line_{name}"]], axis=-1) for name in names}

    def agrees(self, xp: ModuleType, recalled: dict[str, Array], chosen: dict[str, Array]) -> Array:
        """(..., K) whether each recalled event equals the next one in all that is `chosen` (...) of it so far and that
        this head sees: one that differs says nothing about the rest."""
        agrees = xp.not_equal(recalled[END_STREAM], NOTHING)
        for name in self.compared:
            agrees = xp.logical_and(agrees, xp.equal(recalled[name], chosen[name][..., None]))
        return agrees

    def logits(self, xp: ModuleType, outputs: list[Array], known: Known) -> tuple[Array, Array]:
        """The logits of the classes (..., V) as two addends, the second of which is what recalled classes gain, 0 for
        all others. `outputs` is what the layers of `self.outputs` give (..., numbers), in their order, followed by the
        `own_weights`."""
        logits, trust = outputs
        return logits, gains(xp, trust * known.agrees, known.recalled[self.stream], self.classes)


class NoteHead(Head):
    """The logit of a note is a sum: a logit for its pitch, one for its interval from the last note of its part (where
    recalled events gain), one for its interval from the last note of any part, if there are parts, and one for what
    lies around its key. So what is learnt in one key serves in all keys."""

    def __init__(self, stream: str, vocabulary: Vocabulary, shape: Shape):
        super().__init__(stream, vocabulary, shape)
        self.outputs |= {"relative_note": vocabulary.interval_axis}
        self.outputs |= {"wanted_surroundings": (counted("surroundings", shape.surroundings),)}
        self.outputs |= {"spacing_note": vocabulary.interval_axis} if vocabulary.players else {}
        self.steady, self.moves = (a[:-1].astype("int32") for a in (vocabulary.steady, vocabulary.moves))
        # The row of each class among the keys; nothing lies around a drum.
        self.row = np.where(self.moves == 1, vocabulary.top[:-1] - vocabulary.lowest, 0)
        self.has_key = self.moves.astype("float32")
        # For NumPy: the range of intervals between pitches of the vocabulary, and `from_pitch` of each pitch,
        # (128 + 1, V); the last row is for NOBODY, and counts from middle C.
        self.each = self.steady - self.moves * np.append(np.arange(128), MIDDLE_C)[:, None]
        occurring = self.each[np.unique([*vocabulary.top, NOBODY])]
        self.reach = slice(occurring.min(), occurring.max() + 1)
        self.needed = {name: self.reach for name, axis in self.outputs.items() if axis is vocabulary.interval_axis}
        self.each -= self.reach.start

    def logits(self, xp: ModuleType, outputs: list[Array], known: Known) -> tuple[Array, Array]:
        pitch, trust, interval, wanted, *spacing = outputs
        gained = gains(xp, trust * known.agrees, known.recalled["interval"], self.vocabulary.intervals)
        gained = gained[:, self.reach] if xp is np else gained
        each = self.from_pitch(xp, known.origin)
        around = xp.take(xp.matmul(known.around, wanted[..., None])[..., 0], self.row, axis=-1)
        around = xp.multiply(around, self.has_key)
        of_interval, gained = (along(xp, by_interval, each) for by_interval in (interval, gained))
        for by_interval in spacing:
            around = around + along(xp, by_interval, self.from_pitch(xp, known.here))
        return pitch + of_interval + around, gained

    def from_pitch(self, xp: ModuleType, pitch: Array) -> Array:
        """(..., V) the interval of each class from a pitch (...); in NumPy, its index within `reach`."""
        if xp is np:
            return self.each.take(pitch, axis=0)
        # xp.subtract, as PyTorch does not subtract a tensor from an array.
        return xp.subtract(self.steady, xp.multiply(self.moves, pitch_of(xp, pitch)[..., None]))


class NumberHead(Head):
    """Predicts a stream as a number of quarter notes, the mean of a normal distribution of one learnt width: its
    likelihood is greatest where the squared error is least. It is evaluated at the values of the vocabulary."""

    def __init__(self, stream: str, vocabulary: Vocabulary, shape: Shape):
        super().__init__(stream, vocabulary, shape)
        # The end of a piece has a logit of its own.
        self.outputs = {f"head_{stream}": (counted("number", 1), counted("end", int(stream == END_STREAM)))}
        self.own_weights = {f"regression_{stream}": [((counted("width", 1),),)]}  # the logarithm of the width

    def logits(self, xp: ModuleType, outputs: list[Array], known: Known) -> tuple[Array, Array]:
        number, log_width = outputs
        values = self.vocabulary.quarters(self.stream)[: len(self.vocabulary.values[self.stream])]
        logits = -0.5 * xp.square(xp.subtract(values, number[..., :1]) * xp.exp(-log_width))
        if self.stream != END_STREAM:
            return logits, xp.zeros_like(logits)
        logits = xp.concatenate([log_softmax(xp, logits), number[..., 1:]], axis=-1)
        return logits, xp.zeros_like(logits)


def heads_of(vocabulary: Vocabulary, shape: Shape) -> list[Head]:
    """The heads of a network in the order in which they choose."""
    kinds = {stream: NumberHead if stream in shape.numbers else Head for stream in shape.sees} | {"note": NoteHead}
    return [kinds[stream](stream, vocabulary, shape) for stream in shape.sees]


def asked(vocabulary: Vocabulary, shape: Shape) -> list[Head]:
    """The heads with more than one class; for piano music the head of the part has only one."""
    return [head for head in heads_of(vocabulary, shape) if head.classes > 1]


def embedded(names: Iterable[str], shape: Shape) -> Axis:
    """The axis of the embeddings of these inputs, one vector after another."""
    return tuple(counted(f"embedded {name}", shape.embedding) for name in names)


def weights_of(vocabulary: Vocabulary, shape: Shape) -> dict[str, list[Axes]]:
    """Layer -> the axes of each of its weights, in the order of Keras."""
    cell, units = CELLS[shape.cell], (counted("output", shape.units),)
    embedding = (counted("embedding", shape.embedding),)
    weights = {f"embed_{name}": [(classes, embedding)] for name, classes in vocabulary.axes.items()}
    first = *embedded(vocabulary.axes, shape), counted("heard", HEARD), *vocabulary.condition
    for i in range(shape.layers):
        gates, biases = (counted("gates", cell.gates * shape.units),), ((counted("bias", n),) for n in cell.biases)
        weights[f"{shape.cell}_{i}"] = [(units if i else first, gates), (units, gates), (*biases, gates)]
    around = (counted("surroundings", shape.surroundings),)
    kernel = (counted(name, n) for name, n in (("row", 1), ("near", 2 * NEAR + 1), ("traces", len(FADING))))
    weights["surroundings"] = [(*((axis,) for axis in kernel), around), (around,)]
    if vocabulary.told_form:
        kernel = (counted(name, n) for name, n in (("row", 1), ("pitch class", 12), ("harmony", HARMONY)))
        weights["harmony"] = [(*((axis,) for axis in kernel), around)]
    for head in heads_of(vocabulary, shape):
        weights |= head.weights()
    if vocabulary.styles:  # the style recogniser: `log_softmax` of this layer above the recurrent ones
        styles = vocabulary.condition[1:]
        weights["recognised_style"] = [(units, styles), (styles,)]
    return weights


def shape_of(weight: Axes) -> tuple[int, ...]:
    """The shape of a weight with these axes."""
    return tuple(map(length, weight))
