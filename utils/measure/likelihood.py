"""How surprised a network is by each event of whole pieces, in nats.

Every event is predicted once, knowing all events of its piece before it. `held_out_nats` asks the Keras network, for
training; `score` the same network in NumPy, for everything else. Shapes: P pieces, E events of all pieces, S streams, B
pieces side by side, T events.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from utils import dataset, stepper
from utils.dataset import Corpus
from utils.events import to_steps
from utils.heads import Shape
from utils.midi import Piece

if TYPE_CHECKING:
    import keras

MOST = 128  # pieces that are scored side by side: beyond that the products of a step gain nothing
CHUNK = 256  # events that Keras scores at once; the state is carried from one chunk to the next


def held_out_nats(scorer: "keras.Model", corpus: Corpus, shape: Shape, most: int = 64) -> np.ndarray:
    """Nats an event in each stream, (S,), over whole pieces from start to end, by the scorer of `network.build`.

    `most` pieces are scored side by side; the longest first, so that those of a group end at about the same time.
    """
    longest_first = np.argsort(-np.diff(corpus.first), kind="stable")
    size = min(most, len(longest_first))
    chunk = int(min(CHUNK, np.diff(corpus.first).max() - 1))
    total = np.zeros(len(corpus.vocabulary.streams))
    for begin in range(0, len(longest_first), size):
        group = longest_first[begin : begin + size]
        piece = np.resize(group, size)  # the last group is filled up, so that every batch has one shape
        before = shape.silence(size)
        for start in range(0, int(corpus.first[group[0] + 1] - corpus.first[group[0]]) - 1, chunk):
            inputs, weights = dataset.cut(corpus, piece, corpus.first[piece] + start, chunk)
            nats, before["state"], before["traces"] = scorer.predict_on_batch({**inputs, **before})
            total += (weights * nats)[: len(group)].sum(axis=(0, 1))
    return total / corpus.events


@dataclass
class Score:
    """What each event of a corpus costs; 0 where it is no target."""

    events: np.ndarray  # (E, S) nats
    right: np.ndarray  # (E, S) whether the class was the likeliest
    corpus: Corpus

    @property
    def nats(self) -> np.ndarray:
        """(P, S) what each piece costs from its start token to its end."""
        return np.add.reduceat(self.events, self.corpus.first[:-1])

    @property
    def accuracy(self) -> np.ndarray:
        """(S,) share of the targets whose class was the likeliest."""
        return self.right.sum(axis=0) / self.corpus.is_target.sum(axis=0)


def score(network: stepper.Stepper, corpus: Corpus) -> Score:
    """Score all pieces of a corpus, the state carried through each."""
    size = np.diff(corpus.first) - 1
    result = Score(np.zeros(corpus.is_target.shape), np.zeros(corpus.is_target.shape, bool), corpus)
    longest_first = np.argsort(-size, kind="stable")
    groups = [longest_first[begin : begin + MOST] for begin in range(0, corpus.pieces, MOST)]
    steps = int(sum(size[group[0]] for group in groups))
    with tqdm(total=steps, desc="scoring", unit="event", delay=2, leave=False) as bar:
        for group in groups:
            score_group(network, corpus, group, result, bar)
    return result


def score_group(network: stepper.Stepper, corpus: Corpus, piece: np.ndarray, result: Score, bar: tqdm) -> None:
    """Put what the pieces (B,), the longest first, cost into `result`. A piece that has ended leaves the batch."""
    first, size = corpus.first[piece], np.diff(corpus.first)[piece] - 1
    state = network.start(len(piece), (4, 4))
    for t in range(size[0]):
        now = first[: np.count_nonzero(size > t)] + t
        # The metre may change on the way: the bar and the place in it are read from the corpus, as all else.
        state = replace(stepper.take(state, slice(len(now))), bar=corpus.matches.bar[now])
        output, state = network.step(state)
        event = {name: classes[now + 1] for name, classes in corpus.inputs.items()}
        for k, stream in enumerate(network.streams):
            those = np.flatnonzero(corpus.is_target[now + 1, k])
            logits = network.logits(stream, output, state, event)[those]
            true = event[stream][those]
            logits = logits - logits.max(axis=1, keepdims=True)
            nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(those)), true]
            result.events[now[those] + 1, k] = nats
            result.right[now[those] + 1, k] = logits.argmax(axis=1) == true
        state = network.append(state, event)
        bar.update()


def beats(piece: Piece, grid: int) -> int:
    """The length of a piece in whole quarter notes, from its beginning (tick 0, so with the silence before its first
    note) to the end of its last note on the grid, rounded up.

    The polyphonic-music benchmark (Boulanger-Lewandowski et al. 2012) is scored in nats a frame. A piece of it that is
    written as MIDI with a quarter note for each frame has as many beats as frames, so its nats a beat are its nats a
    frame. Silent frames at the end alone cannot be seen in MIDI: they concern 2 pieces (5 frames) of Nottingham's
    training pieces, 1 (1 frame) of MuseData's, and none of JSB Chorales or Piano-midi.de or of any validation pieces.
    """
    end = to_steps(piece.onset + piece.duration, piece.ticks_per_quarter, grid).max(initial=0)
    return max(-(-int(end) // grid), 1)
