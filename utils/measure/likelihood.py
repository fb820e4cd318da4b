"""How surprised a network is by each event of whole pieces, in nats.

Every event is predicted once, from all earlier events of its piece: during training by the Keras network
(`held_out_nats`), elsewhere by the same network in NumPy (`score`). Shapes: P pieces, E events of all pieces, S
streams, G styles.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from utils import dataset, states, styles
from utils.dataset import Corpus
from utils.heads import Shape, log_softmax
from utils.states import Classes, State
from utils.stepper import Output, Stepper

if TYPE_CHECKING:
    import keras

MOST = 128  # pieces that are scored side by side: larger matrix products would save no more time
# Pieces that Keras scores side by side, and events of each that it scores at once, carrying the state from one chunk of
# events to the next. On a CPU more of either wastes time: that of traces grows with the square of the events, and short
# pieces wait for the longest (EXPERIMENTS.md, 'Learning faster').
AT_ONCE, AT_ONCE_ON_GPU = (8, 64), (64, 256)


def groups(corpus: Corpus, most: int) -> list[np.ndarray]:
    """The pieces of a corpus in groups of `most`, the longest first, so that a group has pieces of similar length."""
    longest_first = np.argsort(-np.diff(corpus.first), kind="stable")
    return np.split(longest_first, range(most, corpus.pieces, most))


def held_out_nats(scorer: "keras.Model", corpus: Corpus, shape: Shape) -> np.ndarray:
    """Nats an event in each stream, (S,), over whole pieces from start to end, by the scorer of `network.build`."""
    from utils import devices  # starts Keras

    most, chunk = AT_ONCE_ON_GPU if devices.ON_GPU else AT_ONCE
    size, streams = np.diff(corpus.first) - 1, len(corpus.vocabulary.streams)
    chunk = int(min(chunk, size.max()))
    total = np.zeros(streams)
    for group in groups(corpus, most):
        piece = np.resize(group, min(most, corpus.pieces))  # the last group is filled up, so all batches have one shape
        before = shape.silence(len(piece))
        for start in range(0, size[group[0]], chunk):
            inputs, weights = dataset.cut(corpus, piece, corpus.first[piece] + start, chunk)
            nats, before["state"], before["traces"] = scorer.predict_on_batch({**inputs, **before})
            total += (weights * nats)[: len(group), :, :streams].sum(axis=(0, 1))
    return total / corpus.events


@dataclass
class Score:
    """The cost of each event of a corpus; 0 where it is not a target."""

    events: np.ndarray  # (E, S) nats
    right: np.ndarray  # (E, S) whether the class was the likeliest
    style: np.ndarray  # (P, G) the probability of each style, given a piece whose style is not told
    corpus: Corpus

    @property
    def nats(self) -> np.ndarray:
        """(P, S) nats of each piece from its start token to its end."""
        return np.add.reduceat(self.events, self.corpus.first[:-1])

    @property
    def accuracy(self) -> np.ndarray:
        """(S,) share of the targets whose class was the likeliest."""
        return self.right.sum(axis=0) / self.corpus.is_target.sum(axis=0)


def walk(
    network: Stepper, corpus: Corpus, piece: np.ndarray, size: np.ndarray, condition: np.ndarray | float = 0.0
) -> Iterator[tuple[np.ndarray, Output, State, Classes]]:
    """Go side by side through the first `size` (B,) events of pieces (B,) of a corpus, sorted from the longest; pieces
    drop out when they are over. Yields for each event its places in the corpus, the output of the network, which has
    not been told any of the event yet, the state before it, and the event."""
    state = network.start(len(piece), (4, 4), condition)
    for t in range(size[0]):
        place = corpus.first[piece[size > t]] + t
        # The metre may change on the way, so the length of the bar is read from the corpus.
        state = replace(states.take(state, slice(len(place))), bar=corpus.matches.bar[place])
        output, state = network.step(state)
        event = corpus.events_at(place + 1)
        yield place + 1, output, state, event
        state = network.append(state, event)


def score(network: Stepper, corpus: Corpus, told: bool = False) -> Score:
    """Score all pieces of a corpus, carrying the state through each; with `told` the network is told their styles."""
    size, shape = np.diff(corpus.first) - 1, corpus.is_target.shape
    result = Score(np.zeros(shape), np.zeros(shape, bool), np.zeros(corpus.style.shape), corpus)
    condition = np.pad(corpus.style & told, ((0, 0), (corpus.vocabulary.told_parts, 0)))  # (P, C)
    walks = [(piece, walk(network, corpus, piece, size[piece], condition[piece])) for piece in groups(corpus, MOST)]
    events = ((piece, *step) for piece, steps in walks for step in steps)
    total = sum(size[piece[0]] for piece, _ in walks)
    for piece, place, output, state, event in tqdm(events, "scoring", total, unit="event", delay=2, leave=False):
        if corpus.vocabulary.styles:
            result.style[piece[: len(place)]] = styles.recognised(state)
        for k, stream in enumerate(network.streams):
            target = np.flatnonzero(corpus.is_target[place, k])
            logits, true = network.logits(stream, output, state, event)[0][target], event[stream][target]
            result.events[place[target], k] -= log_softmax(np, logits)[np.arange(len(target)), true]
            result.right[place[target], k] = logits.argmax(axis=1) == true
            network.tell(stream, output, state, event)
    return result


def of_styles(network: Stepper, untold: Score) -> dict:
    """What it is worth to tell the network the style, over the pieces whose style is known; {} if there are none.
    pieces: how many; recognised: the share whose style the network finds likeliest; nats_per_note, and with the style
    nats_per_note_told; each: name of a style -> the same for its pieces. `untold`: all pieces scored without styles."""
    corpus = untold.corpus
    if not corpus.style.any():
        return {}
    right = untold.style.argmax(axis=1) == corpus.style.argmax(axis=1)
    told = score(network, corpus, told=True)

    def of(pieces: np.ndarray) -> dict:
        notes = corpus.notes_each[pieces].sum()
        nats = {"nats_per_note": untold.nats[pieces].sum(), "nats_per_note_told": told.nats[pieces].sum()}
        shares = {name: float(total / notes) for name, total in nats.items()}
        return {"pieces": int(pieces.sum()), "recognised": float(right[pieces].mean()), **shares}

    each = {name: of(mine) for name, mine in zip(corpus.vocabulary.styles, corpus.style.T, strict=True) if mine.any()}
    return {**of(corpus.style.any(axis=1)), "each": each}
