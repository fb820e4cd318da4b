"""Ear training: after training, a network learns to tell the training music from music of its own.

Its ear (`ear.py`) is a logistic regression on the hidden units of the heads and their squares, averaged over a passage.
It is fitted to passages of training music and as many that the network has written. The surprise of the network would
separate them better, but mainly because the network has learnt the training music by heart.

Shapes: P passages, U hidden units of all heads, K powers of them.
"""

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from utils import checkpoint, compose, dataset, ear, events
from utils.dataset import Corpus
from utils.measure import likelihood
from utils.sampler import Sampling
from utils.source import Source
from utils.stepper import Stepper
from utils.wanted import Wanted

EVENTS = 150  # events in a passage, or fewer if not nearly all pieces have so many
SHORT = 0.1  # share of the pieces that may be shorter and are not used
SHORTEST = 32  # minimum of events in a passage: fewer say nothing
LEAST = 32  # minimum of passages of each kind: with fewer, the ear would overfit
POWERS = 2  # of each hidden unit, since its mean may be as usual while it varies too little
WEIGHT = 60  # of the likelihood of all passages together, against an L2 penalty on the coefficients; see EXPERIMENTS.md
TOGETHER = 64  # passages side by side: more would not be faster


def means(network: Stepper, corpus: Corpus, size: int, most: int) -> np.ndarray:
    """(P, K * U) the mean powers of the hidden units over the first `size` events of a piece, for all pieces that have
    so many events, or for `most` of them, spread over the corpus."""
    pieces, found = np.flatnonzero(corpus.events_each >= size), []
    pieces = pieces[np.linspace(0, len(pieces) - 1, min(len(pieces), most)).astype(int)]
    for batch in np.split(pieces, range(TOGETHER, len(pieces), TOGETHER)):
        total = 0.0
        for _, output, state, event in likelihood.walk(network, corpus, batch, np.full(len(batch), size)):
            for stream in network.streams:
                network.tell(stream, output, state, event)
            total += ear.heard(output, POWERS)
        found.append(total / size)
    return np.concatenate(found)


def own_music(network: Stepper, weights: checkpoint.Checkpoint, count: int, size: int, seed: int) -> Corpus:
    """`count` pieces of `size` notes that the network writes from silence."""
    sources, how = [], network.vocabulary.representation
    groups = range(0, count, TOGETHER)
    for begin in tqdm(groups, "listening to music of its own", delay=2, leave=False):
        sampling, each = Sampling(compose.TEMPERATURE, seed=seed + begin), min(TOGETHER, count - begin)
        made = compose.at_home(weights, network, each, sampling, Wanted(size), "none")
        sources += [Source("", 0, events.from_piece(one.piece, how)) for one in made]
    return dataset.encode(sources, network.vocabulary)


def learn(path: str, train: Corpus, count: int, seed: int) -> None:
    """Add an ear to the weights file at `path`, fitted to the corpus `train`, from which its network has learnt, and to
    `count` pieces of its own; say so if either are too few or too short. Raises UserError as `checkpoint.add_ear`."""
    size = int(min(EVENTS, np.quantile(train.events_each, SHORT)))
    if size < SHORTEST or min(np.count_nonzero(train.events_each >= size), count) < LEAST:
        print(f"No ear was trained: it takes {LEAST} training pieces of {SHORTEST} notes or more, and --ear {LEAST}.")
        return
    from sklearn.linear_model import LogisticRegression  # takes a second
    from sklearn.preprocessing import StandardScaler

    weights = replace(checkpoint.load(path), ear=None)  # so that it writes without one
    network = Stepper(weights)
    own = own_music(network, weights, count, size, seed)
    # These have fewer events than notes where chords are classes, and keep only one note of a unison.
    size = int(np.quantile(own.events_each, SHORT))
    kinds = [means(network, corpus, size, count) for corpus in (own, train)]
    scale, is_real = StandardScaler(), np.repeat([False, True], [len(kind) for kind in kinds])
    scaled = scale.fit_transform(np.concatenate(kinds))
    fitted = LogisticRegression(C=WEIGHT / len(scaled), class_weight="balanced", max_iter=3000).fit(scaled, is_real)
    coefficients = fitted.coef_[0] / scale.scale_
    # Fitted to means over `size` events: each event gets its share, and 0 is halfway between new and real music.
    checkpoint.add_ear(path, np.concatenate([fitted.intercept_ - coefficients @ scale.mean_, coefficients]) / size)
