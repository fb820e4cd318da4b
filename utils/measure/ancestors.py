"""The network of the tutorial repositories and their training method, as a yardstick.

Written from the description of Keras-LSTM-Music-Generator: three branches that read scalars, three independent heads,
and a window of events for each target. It learns from the same events as our network.

Shapes: B windows, T events a window, S streams, E events of all pieces.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from utils.dataset import Corpus
from utils.network import keras
from utils.vocabulary import Vocabulary

layers = keras.layers
WINDOW = 100  # events read for each target
BATCH = 64  # windows in an update
LEAST = 1e-12  # lower bound of probabilities, since softmax in float32 can give 0


def read(path: Path) -> list[tuple[str, float, float]]:
    """(note or chord, offset, duration) of the first part, as music21 gives them: the way the ancestors read a file."""
    from music21 import chord, converter, instrument, note

    def name(element: note.Note | chord.Chord) -> str:
        return str(element.pitch) if isinstance(element, note.Note) else ".".join(map(str, element.normalOrder))

    parsed = converter.parse(path, forceSource=True)
    parts = instrument.partitionByInstrument(parsed)
    played = parts.parts[0].recurse() if parts else parsed.flatten().notes
    played = [element for element in played if isinstance(element, note.Note | chord.Chord)]
    return [(name(element), float(element.offset), float(element.quarterLength)) for element in played]


def asked(vocabulary: Vocabulary) -> list[str]:
    """The streams with more than one class; in piano music that of the part has only one."""
    return [stream for stream in vocabulary.streams if vocabulary.size(stream) > 1]


def build(vocabulary: Vocabulary, window: int = WINDOW) -> keras.Model:
    """The network for the `asked` streams of a vocabulary: S inputs (B, T, 1), S softmax outputs (B, classes)."""
    sizes = [vocabulary.size(stream) for stream in asked(vocabulary)]
    inputs = [keras.Input((window, 1)) for _ in sizes]
    read = [layers.Dropout(0.2)(layers.LSTM(256, return_sequences=True)(scalar)) for scalar in inputs]
    x = layers.Dropout(0.3)(layers.LSTM(512, return_sequences=True)(layers.Concatenate()(read)))
    x = layers.BatchNormalization()(layers.LSTM(512)(x))
    x = layers.Dense(256, activation="relu")(layers.Dropout(0.3)(x))
    outputs = []
    for size in sizes:
        head = layers.BatchNormalization()(layers.Dense(128, activation="relu")(x))
        outputs.append(layers.Dense(size, activation="softmax")(layers.Dropout(0.3)(head)))
    model = keras.Model(inputs, outputs)
    model.compile("rmsprop", ["sparse_categorical_crossentropy"] * len(sizes), jit_compile=False)
    return model


def windows(model: keras.Model, corpus: Corpus, target: np.ndarray) -> list[np.ndarray]:
    """What the network reads of the events before `target` (B,): S arrays (B, T, 1) of classes divided by the number of
    classes; start tokens stand before a piece."""
    begin = corpus.first[np.searchsorted(corpus.first, target, "right") - 1]
    index = np.maximum(target[:, None] + np.arange(-model.inputs[0].shape[1], 0), begin[:, None])
    classes = {stream: corpus.inputs[stream][index, None] for stream in asked(corpus.vocabulary)}
    return [(read / corpus.vocabulary.size(stream)).astype(np.float32) for stream, read in classes.items()]


def learn(model: keras.Model, corpus: Corpus, minutes: float, seed: int, clock: Callable[[], float]) -> int:
    """Train on randomly drawn windows for `minutes` of `clock` (seconds); returns the number of updates."""
    rng, end, updates = np.random.default_rng(seed), clock() + 60 * minutes, 0
    streams, every = asked(corpus.vocabulary), np.flatnonzero(corpus.is_target.any(axis=1))
    with tqdm(desc="the ancestors' network", unit="update", mininterval=0.5) as bar:
        while clock() < end:
            target = rng.choice(every, BATCH)
            # Start tokens stand where a stream has no target (see `Corpus.is_target`); the last class will do there.
            classes = [np.minimum(corpus.inputs[s][target], corpus.vocabulary.size(s) - 1) for s in streams]
            model.train_on_batch(windows(model, corpus, target), classes)
            updates += 1
            bar.update()
    return updates


def score(model: keras.Model, corpus: Corpus, batch: int = 512) -> np.ndarray:
    """Nats of all events in each stream, (S,): like `likelihood.score`, but summed over the pieces."""
    streams, every = list(corpus.vocabulary.streams), np.flatnonzero(corpus.is_target.any(axis=1))
    total = np.zeros(len(streams))
    for begin in tqdm(range(0, len(every), batch), "scoring", unit="batch", delay=2, leave=False):
        target = every[begin : begin + batch]
        predicted = model.predict_on_batch(windows(model, corpus, target))
        for stream, probabilities in zip(asked(corpus.vocabulary), predicted, strict=True):
            k = streams.index(stream)
            scored = np.flatnonzero(corpus.is_target[target, k])
            probability = probabilities[scored, corpus.inputs[stream][target[scored]]]
            total[k] -= np.log(np.maximum(probability, LEAST)).sum()
    return total
