"""The three-headed LSTM and its loss, in Keras 3 operations only, so that any backend trains it.

Shapes: B pieces or windows, T events, S streams, U units, L layers, F traces, K contexts of recall. Inputs hold T + 1
events: the network reads events 0..T-1 and predicts events 1..T.
"""

import contextlib
import os
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from utils.dataset import Corpus, cut
from utils.events import DERIVED, END_STREAM, FADING, MEMORY, NEAR, REACH, Vocabulary
from utils.recall import NOTHING, K

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its warnings, at this level or below, say nothing to a user


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keep TensorFlow's notices on start, which no setting of its own turns off, from burying what train.py says."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


with quiet_start():
    import keras
    from keras import layers, ops

    # The first look at the devices is not silent either; with PyTorch Keras has no list of them.
    torch = keras.backend.backend() == "torch"
    DEVICES = "PyTorch" if torch else ", ".join(keras.distribution.list_devices())

CHUNK = 256  # events that are scored at once; the state is carried from one chunk to the next


def head_inputs(streams: tuple[str, ...], heads: str) -> dict[str, tuple[str, ...]]:
    """What each head sees beside the LSTM's output: the streams chosen before it, and what follows from them. Parallel
    heads see nothing more."""
    if heads == "parallel":
        return dict.fromkeys(streams, ())
    seen = {}
    for i, stream in enumerate(streams):
        before = streams[:i]
        seen[stream] = (*before, *(name for name, source in DERIVED.items() if source in before))
    return seen


def shape_of(args: SimpleNamespace) -> dict:
    """The shape of the network that the settings of train.py describe; see `build`."""
    sizes = ("layers", "units", "embedding", "hidden", "surroundings", "dropout")
    shape = {name: getattr(args, name) for name in sizes}
    numbers = ["offset", "duration"] if args.heads == "regression" else []
    return {**shape, "sees": head_inputs(args.streams, args.heads), "numbers": numbers}


class Memory(layers.Layer):
    """What lies around the keys: traces of the notes struck (see `events.FADING`), and which are held. No weights."""

    def __init__(self, vocabulary: Vocabulary, ahead: bool, **kwargs):
        """`ahead`: the next onset is known when the next note is chosen."""
        super().__init__(**kwargs)
        self.ahead = ahead
        self.keys, self.top = vocabulary.keys, vocabulary.top.astype("int32")
        self.low, self.high = vocabulary.lowest, vocabulary.highest
        self.offset, self.duration = vocabulary.quarters("offset"), vocabulary.quarters("duration")

    def call(self, note, offset, duration, before):
        """`note` and `duration` (B, T) and `offset` (B, T + 1) are classes; `before` (B, F + 1, 128) are the traces
        before the first event, and for how many beats more each key is held.

        Returns what is read of the traces relative to each note, (B, T, MEMORY); the surroundings of the keys that may
        come next, (B, T, keys + 2 NEAR, F + 1): the traces, and 1 where a key is held when the next event comes (unless
        it is known, after the last one); and `before` for the events after the last.
        """
        # Tensors throughout: PyTorch does not multiply an array by a tensor.
        by_event, by_beat = (ops.log(ops.convert_to_tensor(column, "float32")) for column in zip(*FADING, strict=True))
        scale = 1 - ops.exp(by_event + by_beat / 4)  # a trace of a key struck at each sixteenth grows to about 1
        step = ops.arange(ops.shape(note)[1], dtype="float32")
        onset = ops.cumsum(ops.take(ops.convert_to_tensor(self.offset), offset, axis=0), axis=1)  # (B, T + 1) beats
        now = onset[:, :-1]
        then = onset[:, 1:] if self.ahead else now
        struck = ops.take(ops.convert_to_tensor(self.keys), note, axis=0)  # (B, T, 128)
        events = step[:, None] - step[None, :]
        beats = ops.maximum(now[:, :, None] - now[:, None, :], 0)
        fading = by_event[:, None, None] * ops.maximum(events, 0) + by_beat[:, None, None] * beats[:, None]
        weight = ops.where(events >= 0, ops.exp(fading), 0.0)  # (B, F, T, T)
        old = ops.exp(by_event[:, None] * (step + 1) + by_beat[:, None] * now[:, None])  # (B, F, T)
        traces = ops.einsum("bfts,bsp->btfp", weight, struck) + ops.einsum("bft,bfp->btfp", old, before[:, :-1])
        end = now + ops.take(ops.convert_to_tensor(self.duration), duration, axis=0)
        # A thousandth of a beat tells held from just released, whatever float32 makes of the sums.
        weight = ops.where(events >= 0, ops.cast(end[:, None, :] > then[:, :, None] + 1e-3, "float32"), 0.0)
        held = ops.einsum("bts,bsp->btp", weight, struck) > 0
        held = ops.logical_or(held, before[:, None, -1] > then[:, :, None] + 1e-3)
        until = ops.maximum(ops.max(struck * end[:, :, None], axis=1), before[:, -1]) - now[:, -1:]
        after = ops.concatenate([traces[:, -1], until[:, None]], axis=1)

        traces = traces * scale[:, None]
        top = ops.take(ops.convert_to_tensor(self.top), note, axis=0)[:, :, None, None]
        # The keyboard in octaves, summed: pitch classes. 128 keys are ten octaves and eight keys.
        octaves = ops.pad(traces, [[0, 0], [0, 0], [0, 0], [0, 4]])
        octaves = ops.sum(ops.reshape(octaves, (-1, *ops.shape(traces)[1:3], 11, 12)), axis=-2)
        classes = ops.take_along_axis(octaves, (top + ops.arange(12)) % 12, axis=-1)
        margin = ops.pad(traces, [[0, 0], [0, 0], [0, 0], [NEAR, NEAR]])
        near = ops.take_along_axis(margin, top + ops.arange(2 * NEAR + 1), axis=-1)
        heard = ops.reshape(ops.concatenate([classes, near], axis=-1), (-1, ops.shape(note)[1], MEMORY))
        held = ops.pad(ops.cast(held, "float32"), [[0, 0], [0, 0], [NEAR, NEAR]])
        around = ops.concatenate([margin, held[:, :, None]], axis=2)[..., self.low : self.high + 2 * NEAR + 1]
        return heard, ops.transpose(around, (0, 1, 3, 2)), after

    def compute_output_shape(self, note_shape, offset_shape, duration_shape, before_shape):
        keys = self.high - self.low + 1 + 2 * NEAR
        return (*note_shape, MEMORY), (*note_shape, keys, len(FADING) + 1), before_shape


class Gains(layers.Layer):
    """What each of `classes` classes gains by being recalled. No weights."""

    def __init__(self, classes: int, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes

    def call(self, gain, recalled):
        """(B, T, classes): the gains (B, T, K) of the recalled classes (B, T, K) summed; those of NOTHING must be 0."""
        count, steps, _ = ops.shape(gain)
        place = ops.arange(count * steps)[:, None] * self.classes
        place = place + ops.reshape(ops.maximum(recalled, 0), (-1, K))
        total = ops.segment_sum(ops.reshape(gain, (-1,)), ops.reshape(place, (-1,)), count * steps * self.classes)
        return ops.reshape(total, (-1, steps, self.classes))

    def compute_output_shape(self, gain_shape, recalled_shape):
        return (*gain_shape[:-1], self.classes)


class Regression(layers.Layer):
    """A stream as a number, with a normal distribution around it whose width is one learnt number: the likelihood that
    is greatest where the squared error is least. On the values that the vocabulary has, it gives a logit for each."""

    def __init__(self, vocabulary: Vocabulary, stream: str, **kwargs):
        super().__init__(**kwargs)
        self.ends = stream == END_STREAM
        self.values = vocabulary.quarters(stream)[: len(vocabulary.values[stream])]

    def build(self, input_shape):
        self.log_width = self.add_weight((1,), "zeros", name="log_width")

    def call(self, number):
        """(B, T, classes) from (B, T, 1) the number, in quarter notes, or (B, T, 2) with the logit of the end."""
        logits = -0.5 * ops.square((ops.convert_to_tensor(self.values) - number[..., :1]) * ops.exp(-self.log_width))
        if not self.ends:
            return logits
        return ops.concatenate([ops.log_softmax(logits), number[..., 1:]], axis=-1)


def build(vocabulary: Vocabulary, shape: dict) -> tuple[keras.Model, keras.Model]:
    """(trainer, scorer), two models that share their layers.

    `shape`: sees (see `head_inputs`), layers, units, embedding, hidden and surroundings (sizes), dropout (0..1), and
    numbers (the streams that are predicted by `Regression`).
    Inputs: the vocabulary's inputs, (B, T + 1) integers; 'recall_NAME' (B, T + 1, K), what followed the last time (see
    `recall`); 'state' (B, 2 L, U), each layer's h and c before event 0; and 'memory' (B, F + 1, 128), see `Memory`. The
    trainer gives the nats of each event in each stream, (B, T, S); the scorer the same, and the state and the memory
    after the last event.
    """
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in vocabulary.inputs}
    recalled = {name: keras.Input((None, K), dtype="int32", name=f"recall_{name}") for name in vocabulary.recalled}
    initial = keras.Input((2 * shape["layers"], shape["units"]), name="state")
    memory = keras.Input((len(FADING) + 1, 128), name="memory")
    read = {name: classes[:, :-1] for name, classes in inputs.items()}
    following = {name: classes[:, 1:] for name, classes in inputs.items()}
    embedded = {
        name: layers.Embedding(size, shape["embedding"], name=f"embed_{name}")(inputs[name])
        for name, size in vocabulary.inputs.items()
    }
    remember = Memory(vocabulary, ahead=END_STREAM in shape["sees"]["note"], name="heard")
    heard, around, after = remember(read["note"], inputs["offset"], read["duration"], memory)
    # Each key is described by what lies around it, in the same way for all keys.
    keys = layers.Conv2D(shape["surroundings"], (1, 2 * NEAR + 1), activation="relu", name="surroundings")(around)
    x = layers.Concatenate(name="events")([*(vector[:, :-1] for vector in embedded.values()), heard])
    x = layers.Dropout(shape["dropout"], name="dropout_events")(x)
    state = []
    for i in range(shape["layers"]):
        # tanh, sigmoid, no recurrent dropout, no masking: what cuDNN runs.
        lstm = layers.LSTM(shape["units"], return_sequences=True, return_state=True, name=f"lstm_{i}")
        x, h, c = lstm(x, initial_state=[initial[:, 2 * i], initial[:, 2 * i + 1]])
        state += [h, c]
        x = layers.Dropout(shape["dropout"], name=f"dropout_{i}")(x)
    nats = []
    for stream, seen in shape["sees"].items():
        # A recalled event that differs in what is chosen already is not to be followed further.
        followed = ops.not_equal(recalled[END_STREAM][:, :-1], NOTHING)  # (B, T, K)
        for name in set(seen) & set(recalled):
            followed = ops.logical_and(followed, ops.equal(recalled[name][:, :-1], following[name][..., None]))
        followed = ops.cast(followed, "float32")
        context = [x, heard, followed, *(embedded[name][:, 1:] for name in seen)]
        context = layers.Concatenate(name=f"context_{stream}")(context)
        hidden = layers.Dense(shape["hidden"], activation="relu", name=f"hidden_{stream}")(context)
        hidden = layers.Dropout(shape["dropout"], name=f"dropout_{stream}")(hidden)
        size = vocabulary.size(stream)
        if stream in shape["numbers"]:
            number = layers.Dense(1 + (stream == END_STREAM), name=f"head_{stream}")(hidden)
            logits = Regression(vocabulary, stream, name=f"regression_{stream}")(number)
        else:
            logits = layers.Dense(size, name=f"head_{stream}")(hidden)
            # How much what is recalled gains by it.
            trust = layers.Dense(K, name=f"trust_{stream}")(hidden) * followed
        if stream == "note":
            # A note's logit is one for its pitch, one for its interval to the note before, and one for what lies around
            # its key: so what was learnt in one key serves in all.
            relative = layers.Dense(2 * REACH + 1, name="relative_note")(hidden)
            relative += Gains(2 * REACH + 1, name="gains_note")(trust, recalled["interval"][:, :-1])
            before = ops.take(vocabulary.top.astype("int32"), read["note"][..., None], axis=0)
            top = vocabulary.top[:-1].astype("int32")
            logits += ops.take_along_axis(relative, ops.subtract(top + REACH, before), axis=-1)
            wanted = layers.Dense(shape["surroundings"], name="wanted_surroundings")(hidden)
            each = ops.einsum("btpd,btd->btp", keys, wanted)
            logits += ops.take(each, top - vocabulary.lowest, axis=-1)
        elif stream not in shape["numbers"]:
            logits += Gains(size, name=f"gains_{stream}")(trust, recalled[stream][:, :-1])
        # A start token, or the end of a piece, is no class of every head; such targets have no weight.
        target = ops.minimum(following[stream], size - 1)
        nats.append(ops.sparse_categorical_crossentropy(target, logits, from_logits=True))
    nats = ops.stack(nats, axis=-1)
    inputs |= {f"recall_{name}": classes for name, classes in recalled.items()}
    inputs |= {"state": initial, "memory": memory}
    return keras.Model(inputs, nats, name="trainer"), keras.Model(inputs, [nats, ops.stack(state, axis=1), after])


def versions() -> dict[str, str]:
    """What trained a network, for its weights file."""
    return {"keras": keras.__version__, "backend": keras.backend.backend(), "numpy": np.__version__}


def reseed(model: keras.Model, rng: np.random.Generator) -> None:
    """Draw the random state of the dropout layers anew; Keras does not keep it in weights files."""
    for layer in model.layers:
        if isinstance(layer, layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign(rng.integers(2**31, size=2))


def silence(count: int, shape: dict) -> dict[str, np.ndarray]:
    """The inputs 'state' (B, 2 L, U) and 'memory' (B, F + 1, 128) of `count` pieces before their first event."""
    state = np.zeros((count, 2 * shape["layers"], shape["units"]), np.float32)
    return {"state": state, "memory": np.zeros((count, len(FADING) + 1, 128), np.float32)}


def nats_per_event(weights, nats):
    """The loss: nats summed over the streams, a mean over events; `weights` and `nats` are (B, T, S)."""
    weights = ops.convert_to_tensor(weights)
    return ops.sum(weights * nats) / ops.maximum(ops.sum(weights[..., 0]), 1)


def nats_in_stream(stream: int):
    """A metric: the share of one stream in the loss."""

    def metric(weights, nats):
        weights = ops.convert_to_tensor(weights)
        return ops.sum((weights * nats)[..., stream]) / ops.maximum(ops.sum(weights[..., 0]), 1)

    return metric


def compile_trainer(
    trainer: keras.Model, streams: tuple[str, ...], learning_rate: float, clip_norm: float, weight_decay: float = 0
) -> None:
    """AdamW on the mean nats of an event, with the share of each stream as a metric of its name."""
    metrics = [keras.metrics.MeanMetricWrapper(nats_in_stream(i), name=stream) for i, stream in enumerate(streams)]
    # XLA makes TensorFlow's LSTM loop two to four times slower on a CPU, and cuDNN's layers do without it.
    compiled = keras.backend.backend() == "jax"
    optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, global_clipnorm=clip_norm or None)
    trainer.compile(optimizer, loss=nats_per_event, metrics=metrics, jit_compile=compiled)
    optimizer.build(trainer.trainable_variables)


def held_out_nats(scorer: keras.Model, corpus: Corpus, shape: dict, most: int = 64) -> np.ndarray:
    """Nats a note in each stream, (S,), over whole pieces from start to end with the state carried through.

    `most` pieces are scored side by side; the longest first, so that those of a group end at about the same time.
    """
    longest_first = np.argsort(-np.diff(corpus.first), kind="stable")
    size = min(most, len(longest_first))
    chunk = int(min(CHUNK, np.diff(corpus.first).max() - 1))
    total = np.zeros(len(corpus.vocabulary.streams))
    for begin in range(0, len(longest_first), size):
        group = longest_first[begin : begin + size]
        piece = np.resize(group, size)  # the last group is filled up, so that every batch has one shape
        before = silence(size, shape)
        for start in range(0, int(corpus.first[group[0] + 1] - corpus.first[group[0]]) - 1, chunk):
            inputs, weights = cut(corpus, piece, corpus.first[piece] + start, chunk)
            nats, before["state"], before["memory"] = scorer.predict_on_batch({**inputs, **before})
            total += (weights * nats)[: len(group)].sum(axis=(0, 1))
    return total / corpus.events
