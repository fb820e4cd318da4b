"""The recurrent network around the heads, and its loss, in Keras 3 operations only, so that it trains on any backend.

Shapes: B pieces or windows, T events, S streams, U units, K contexts of the match model, P keys, D numbers that
describe a key, G styles, C conditions. Inputs hold T + 1 events: the network reads events 0..T-1 and predicts events
1..T.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from utils import dataset, devices  # starts Keras quietly
from utils.cells import CELLS
from utils.events import END_STREAM
from utils.heads import Head, Known, Shape, confidence, heads_of, log_softmax, shape_of, sounding
from utils.line_recall import LINE_CONTEXTS, LINE_STREAKS
from utils.parts import NOBODY
from utils.recall import STREAKS, TOLD, contexts
from utils.traces import NEAR
from utils.traces_layer import Traces
from utils.vocabulary import Vocabulary, length

# isort: split
import keras
from keras import layers, ops

# Windows of up to this many events are unrolled, see `Unrolled`; longer ones would take seconds to build. XLA and cuDNN
# run the whole loop themselves; with PyTorch unrolling was not tried.
UNROLLED = 64 if devices.BACKEND == "tensorflow" and not devices.ON_GPU else 0


class Unrolled:
    """A mixin for recurrent layers of Keras. When they train with TensorFlow on a CPU, it multiplies the inputs of all
    events by the kernel at once, before the steps; the loop of Keras multiplies them event by event."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        length = sequences.shape[1]
        if not training or not length or length > UNROLLED:
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        cell, outputs, states = self.step_of(*self.trainable_weights), [], initial_state
        reads = cell.read(ops, ops.matmul(sequences, cell.kernel))
        for read in zip(*(ops.unstack(part, axis=1) for part in reads), strict=True):
            states = cell.step(ops, *read, *states)
            outputs.append(states[0])
        return ops.stack(outputs, axis=1), *states


class Lstm(Unrolled, layers.LSTM):
    step_of = CELLS["lstm"]


class Gru(Unrolled, layers.GRU):
    step_of = CELLS["gru"]


LAYERS = {"lstm": Lstm, "gru": Gru}


class Logits(layers.Layer):
    """The logits of a head, from the outputs of its Dense layers; see `Head.logits`."""

    def __init__(self, head: Head, **kwargs):
        super().__init__(**kwargs)
        self.head = head
        own = [axes for weights in head.own_weights.values() for axes in weights]
        self.own = [self.add_weight(shape_of(axes), "zeros") for axes in own]

    def call(self, outputs, known):
        return sum(self.head.logits(ops, [*outputs, *self.own], known))

    def compute_output_spec(self, outputs, known):
        return keras.KerasTensor((*outputs[0].shape[:-1], self.head.classes), outputs[0].dtype)


def cross_entropy(target, logits):
    """Nats (B, T) of the target classes (B, T) under the logits (B, T, V)."""
    return ops.sparse_categorical_crossentropy(target, logits, from_logits=True)


def nats_per_event(weights, nats, stream=slice(None)):
    """The loss: the mean over events of the nats summed over all streams, or of those of one `stream`; `weights` and
    `nats` are (B, T, S), with one more column if there are styles."""
    weights = ops.convert_to_tensor(weights)
    return ops.sum((weights * nats)[..., stream]) / ops.maximum(ops.sum(weights[..., 0]), 1)


def adamw(learning_rate: float, weight_decay: float, global_clipnorm: float | None) -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, global_clipnorm=global_clipnorm)


@dataclass(frozen=True)
class Way:
    """How a network is trained, beyond what flags of train.py set; experiments.py tries other ways."""

    embedding: Callable[..., layers.Layer] = layers.Embedding  # (classes, size of a vector, name) -> layer
    cost: Callable = cross_entropy  # (targets (B, T), logits (B, T, V)) -> (B, T)
    loss: Callable = nats_per_event  # (weights, costs), both (B, T, S), with styles (B, T, S + 1) -> one number
    optimizer: Callable[..., keras.optimizers.Optimizer] = adamw
    batches: Callable = dataset.batches
    before_scoring: Callable[[keras.Model], None] = lambda trainer: None
    clock: Callable[[], float] = time.monotonic  # seconds
    # Share of the gradient of the style recogniser that reaches the recurrent layers below it: 0..1.
    recognition: float = 1.0


def described(around, harmony, vocabulary: Vocabulary, shape: Shape):
    """(B, T, P, D) a description of each key by kernels that all keys share: of what lies `around` it and of the
    `harmony` as seen from its pitch class, the same in all octaves; see `Traces`."""
    x = layers.Conv2D(shape.surroundings, (1, 2 * NEAR + 1), name="surroundings")(around)
    if vocabulary.told_form:
        # Starts at 0, so that a network started from an older one, without this layer, at first plays like that one.
        how = {"use_bias": False, "kernel_initializer": "zeros", "name": "harmony"}
        of_class = layers.Conv2D(shape.surroundings, (1, 12), **how)(harmony)
        x = x + ops.take(of_class, np.arange(vocabulary.lowest, vocabulary.highest + 1) % 12, axis=2)
    return ops.relu(x)


def recurrent(x, initial, shape: Shape):
    """The output (B, T, U) of the recurrent layers for the inputs `x` (B, T, numbers), and their states after the last
    event, laid out as in `initial`, (B, layers * states, U)."""
    states, after = CELLS[shape.cell].states, []
    for i in range(shape.layers):
        # What cuDNN supports: the defaults of Keras, no recurrent dropout, no masking. With bfloat16 it is slower.
        how = {"return_sequences": True, "return_state": True, "dtype": "float32"}
        layer = LAYERS[shape.cell](shape.units, name=f"{shape.cell}_{i}", **how)
        x, *state = layer(x, initial_state=[initial[:, states * i + k] for k in range(states)])
        after += state
        x = layers.Dropout(shape.dropout, name=f"dropout_{i}")(x)
    return x, ops.stack(after, axis=1)


def predict(head: Head, output: list, coming: dict, known: Known):
    """The logits (B, T, V) of a head after each event, from the tensors `output` (B, T, numbers), the embeddings
    `coming` of the next events, and what else is `known`."""
    seen = [*output, known.agrees, *(coming[name] for name in head.sees)]
    context = layers.Concatenate(name=f"context_{head.stream}")(seen)
    hidden = layers.Dense(head.shape.hidden, activation="relu", name=f"hidden_{head.stream}")(context)
    hidden = layers.Dropout(head.shape.dropout, name=f"dropout_{head.stream}")(hidden)
    outputs = [layers.Dense(length(axis), name=name)(hidden) for name, axis in head.outputs.items()]
    # A layer with weights of its own takes their name, by which they are found in a weights file.
    name = next(iter(head.own_weights), f"logits_{head.stream}")
    return Logits(head, name=name, dtype="float32")(outputs, known)


def recognise(x, style, share: float):
    """Nats (B, T) of the `style` (B, G), one-hot or all 0, from the output `x` (B, T, U) of the recurrent layers; only
    this `share` of the gradient reaches `x`."""
    x = share * x + (1 - share) * ops.stop_gradient(x)
    logits = layers.Dense(style.shape[-1], name="recognised_style", dtype="float32")(x)
    return -ops.sum(style[:, None] * log_softmax(ops, logits), axis=-1)


def inputs_of(vocabulary: Vocabulary, shape: Shape) -> dict[str, keras.KerasTensor]:
    """The inputs that a network of this vocabulary has, see `build`; classes are integers."""
    recalled = (*vocabulary.recalled, *TOLD)
    classes = dict.fromkeys((*vocabulary.inputs, "origin"), (None,))
    classes |= {f"recall_{name}": (None, contexts(vocabulary)) for name in recalled}
    if vocabulary.told_lines:
        classes |= {f"line_{name}": (None, LINE_STREAKS if name in TOLD else LINE_CONTEXTS) for name in recalled}
    numbers = {"until": (None, vocabulary.told_parts), "range": (None, vocabulary.told_ranges)}
    numbers |= {"condition": (vocabulary.conditions,), "style": (len(vocabulary.styles),)}
    numbers |= {name: array.shape[1:] for name, array in shape.silence(1).items()}
    inputs = {name: keras.Input(size, dtype="int32", name=name) for name, size in classes.items()}
    return inputs | {name: keras.Input(size, name=name) for name, size in numbers.items() if size[-1]}


def hear(vocabulary: Vocabulary, shape: Shape, inputs: dict, read: dict, following: dict) -> tuple:
    """The pitch (B, T) of the last note, from which the next spacing counts; the features heard relative to it, and
    relative to the last note of the next event's part, both (B, T, HEARD); each key as `described`; and the traces
    after the last event, see `Traces`."""
    top = ops.take(ops.convert_to_tensor(vocabulary.top.astype("int32")), read["note"], axis=0)
    here = ops.where(ops.equal(top, NOBODY), read["origin"], top)  # the origin of a drum is the last note before it
    # Onsets are told apart to a thousandth of a beat, so traces are always computed in float32.
    traces = Traces(vocabulary, ahead=END_STREAM in shape.sees["note"], name="traces_of_keys", dtype="float32")
    heard, heard_by_part, around, harmony, after = traces(
        read["note"], inputs["offset"], read["duration"], here, following["origin"], inputs["traces"]
    )
    return here, heard, heard_by_part, described(around, harmony, vocabulary, shape), after


def build(vocabulary: Vocabulary, shape: Shape, way: Way | None = None) -> tuple[keras.Model, keras.Model]:
    """(trainer, scorer), two models that share their layers.

    Inputs: the vocabulary's inputs, (B, T + 1) integers; 'recall_NAME' (B, T + 1, K), what followed the last time (see
    `recall`), and 'line_NAME', the same in the line of each event's own part (see `line_recall`); the other inputs that
    `dataset.cut` makes; and the state and traces before the first event (`Shape.silence`). The trainer returns the cost
    of each event in each stream and, if there are styles, one more: that of recognising the style from what came before
    it, (B, T, S + 1). The scorer returns the nats, and the state and the traces after the last event.
    """
    way, inputs = way or Way(), inputs_of(vocabulary, shape)
    classes = {name: tensor for name, tensor in inputs.items() if tensor.dtype == "int32"}
    read = {name: tensor[:, :-1] for name, tensor in classes.items()}
    following = {name: tensor[:, 1:] for name, tensor in classes.items()}
    embedded, coming = {}, {}  # two look-ups, as TensorFlow trains more slowly with slices of a single one
    for name, size in vocabulary.inputs.items():
        embedding = way.embedding(size, shape.embedding, name=f"embed_{name}")
        embedded[name], coming[name] = embedding(read[name]), embedding(following[name])
    here, heard, heard_by_part, around, traces_after = hear(vocabulary, shape, inputs, read, following)
    condition = []
    if vocabulary.conditions:
        condition = [inputs["condition"][:, None] + ops.zeros_like(heard[..., :1])]  # (B, T, C)
    x = layers.Concatenate(name="events")([*embedded.values(), heard, *condition])
    x = layers.Dropout(shape.dropout, name="dropout_events")(x)
    x, state_after = recurrent(x, inputs["state"], shape)
    heard = layers.Dropout(shape.dropout, name="dropout_heard")(heard)
    if vocabulary.told_parts:
        heard_by_part = layers.Dropout(shape.dropout, name="dropout_heard_by_part")(heard_by_part)
        quarters = ops.take(ops.convert_to_tensor(vocabulary.quarters("offset")), following["offset"], axis=0)
    recalled = {name: read[f"recall_{name}"] for name in (*vocabulary.recalled, *TOLD)}
    trusted = confidence(ops, *(recalled[name][..., :STREAKS] for name in TOLD))
    costs, nats = [], []
    for head in heads_of(vocabulary, shape):
        events = head.recalled(ops, recalled, following)
        agrees = ops.cast(head.agrees(ops, events, following), "float32")
        known = Known(agrees, events, following["origin"], here, around)
        # A head that knows the next event's part hears everything relative to the last note of that part.
        knows_part = "part" in head.sees
        seen = [x, heard_by_part if knows_part else heard]
        if vocabulary.told_ranges:
            ranged = inputs["range"][:, 1:]  # of the next event's part
            seen.append(ranged if knows_part else ops.zeros_like(ranged))
        seen.append(trusted)
        if vocabulary.told_parts:
            passed = quarters if END_STREAM in head.sees else ops.zeros_like(quarters)
            seen.append(sounding(ops, inputs["until"][:, :-1], passed))
        if head.knows_line:
            seen.append(confidence(ops, *(following[f"line_{name}"] for name in TOLD)))
        logits = predict(head, seen + condition, coming, known)
        # A target that is no class of the head, such as a start token or the end of a piece, has weight 0.
        target = ops.minimum(following[head.stream], head.classes - 1)
        nats.append(cross_entropy(target, logits))
        costs.append(nats[-1] if way.cost is cross_entropy else way.cost(target, logits))
    if vocabulary.styles:
        nats.append(recognise(x, inputs["style"], way.recognition))
        costs.append(nats[-1])
    trainer = keras.Model(inputs, ops.stack(costs, axis=-1), name="trainer")
    return trainer, keras.Model(inputs, [ops.stack(nats, axis=-1), state_after, traces_after])


def versions() -> dict[str, str]:
    """The software that trained a network, for its weights file."""
    return {"keras": keras.__version__, "backend": devices.BACKEND, "numpy": np.__version__}


def reseed(model: keras.Model, rng: np.random.Generator) -> None:
    """Reseed the dropout layers; Keras does not keep their random state in weights files."""
    for layer in model.layers:
        if isinstance(layer, layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign(rng.integers(2**31, size=2))


def compile_trainer(trainer: keras.Model, streams: tuple[str, ...], optimizer, loss: Callable = nats_per_event) -> None:
    """Compile a trainer, with a metric for each stream (and for the 'style'), named after it: its share in the cost of
    an event. `optimizer` and `loss` come from a `Way`."""
    mean, names = keras.metrics.MeanMetricWrapper, (*streams, "style")[: trainer.output_shape[-1]]
    metrics = [mean(nats_per_event, name=name, stream=i) for i, name in enumerate(names)]
    # XLA makes TensorFlow's LSTM loop two to four times slower on a CPU, and cuDNN's layers do not need it.
    compiled = devices.BACKEND == "jax"
    trainer.compile(optimizer, loss=loss, metrics=metrics, jit_compile=compiled)
    optimizer.build(trainer.trainable_variables)
