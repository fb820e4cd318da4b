"""Ear training: when a network has learnt, it listens to music of its own, beside the training music.

Its ear (`ear.py`) is a logistic regression on the mean of what is heard over a passage, the hidden units of the heads
and their squares. It learns to tell passages of training music from as many that the network has written. How surprised
the network is would tell more, but most of all which music it has learnt by heart.

Shapes: P passages, U hidden units of all heads, K powers of them.
"""

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from utils import checkpoint, compose, control, dataset, ear, events
from utils.dataset import Corpus
from utils.measure import likelihood
from utils.sampler import Sampling
from utils.source import Source
from utils.stepper import Stepper

EVENTS = 150  # of each passage, or what nearly all pieces have
SHORT = 0.1  # share of the pieces that may be shorter, and teach nothing
SHORTEST = 32  # events of a passage: fewer say nothing
LEAST = 32  # passages of each kind: from fewer it would learn what these happen to be
POWERS = 2  # of each unit: it may be as usual in the mean and yet swing too little
WEIGHT = 60  # of what all passages say together against the least squares of what is learnt; see EXPERIMENTS.md
TOGETHER = 64  # passages side by side: more gain nothing


def means(network: Stepper, corpus: Corpus, size: int, most: int) -> np.ndarray:
    """(P, K * U) the mean powers of the hidden units at the first `size` events of a piece, for all pieces that have so
    many, or `most` of them from everywhere in the corpus."""
    pieces, found = np.flatnonzero(corpus.events_each >= size), []
    pieces = pieces[np.linspace(0, len(pieces) - 1, min(len(pieces), most)).astype(int)]
    for those in np.split(pieces, range(TOGETHER, len(pieces), TOGETHER)):
        total = 0.0
        for _, output, state, event in likelihood.walk(network, corpus, those, np.full(len(those), size)):
            for stream in network.streams:
                network.tell(stream, output, state, event)
            total += ear.heard(output, POWERS)
        found.append(total / size)
    return np.concatenate(found)


def own_music(network: Stepper, weights: checkpoint.Checkpoint, count: int, size: int, seed: int) -> Corpus:
    """So many pieces of `size` notes that the network writes from silence."""
    sources, how = [], network.vocabulary.representation
    groups = range(0, count, TOGETHER)
    for begin in tqdm(groups, "listening to music of its own", delay=2, leave=False):
        begun = compose.openings(weights, min(TOGETHER, count - begin), seed + begin, "none")
        wanted = compose.Wanted(size, home=control.home(None, [one["key"] for one in begun]))
        made = compose.new_pieces(network, begun, Sampling(compose.TEMPERATURE, seed=seed + begin), wanted)
        sources += [Source("", 0, events.from_piece(one.piece, how)) for one in made]
    return dataset.encode(sources, network.vocabulary)


def learn(path: str, train: Corpus, count: int, seed: int) -> None:
    """Add an ear to the weights file at `path`, which has learnt from the corpus `train`, by `count` pieces that its
    network writes, unless either are too few or too short. Raises UserError as `checkpoint.add_ear`."""
    size = int(min(EVENTS, np.quantile(train.events_each, SHORT)))
    if size < SHORTEST or min(np.count_nonzero(train.events_each >= size), count) < LEAST:
        return
    from sklearn.linear_model import LogisticRegression  # takes a second
    from sklearn.preprocessing import StandardScaler

    weights = replace(checkpoint.load(path), ear=None)  # what it writes without one
    network = Stepper(weights)
    own = own_music(network, weights, count, size, seed)
    # With chords as classes they have fewer events than notes, and of unisons only one is heard.
    size = int(np.quantile(own.events_each, SHORT))
    kinds = [means(network, corpus, size, count) for corpus in (own, train)]
    scale, is_real = StandardScaler(), np.repeat([False, True], [len(kind) for kind in kinds])
    scaled = scale.fit_transform(np.concatenate(kinds))
    told = LogisticRegression(C=WEIGHT / len(scaled), class_weight="balanced", max_iter=3000).fit(scaled, is_real)
    says = told.coef_[0] / scale.scale_
    # What is just between new and real music is worth nothing.
    checkpoint.add_ear(path, np.concatenate([told.intercept_ - says @ scale.mean_, says]) / size)
