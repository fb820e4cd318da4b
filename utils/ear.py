"""An ear for what is not quite right in the music that a network writes, a little at each note.

It is a logistic regression on the hidden units of the heads, on the mean of each and on that of its square, since a
unit may be as usual in the mean and yet swing too little. It learns to tell passages of training music from as many
that the network has written. (How surprised the network is would tell more, but most of all which music it has learnt
by heart.) Where several versions of a piece are written side by side, what it says of each event adds up to what a
version is worth, and copies of the good ones take the place of the bad ones. To add the energy of such a classifier to
a model of sequences is due to Deng et al. (2020); EXPERIMENTS.md, 'What gives chorales away', has what it is worth.

Shapes: P passages, U hidden units of all heads, K powers of them.
"""

import numpy as np
from tqdm import tqdm

from utils import checkpoint, compose, control, dataset, events
from utils.dataset import Corpus
from utils.sampler import Sampling
from utils.source import Source
from utils.stepper import Stepper, powers

EVENTS = 150  # of each passage, or what nearly all pieces have
SHORT = 0.1  # share of the pieces that may be shorter, and teach nothing
SHORTEST = 32  # events of a passage: fewer say nothing
LEAST = 32  # passages of each kind: from fewer it would learn what these happen to be
POWERS = 2  # of each unit: see EXPERIMENTS.md
WEIGHT = 60  # of what all passages say together against the least squares of what is learnt; see EXPERIMENTS.md
TOGETHER = 64  # passages side by side: more gain nothing


def heard(network: Stepper, corpus: Corpus, size: int, most: int) -> np.ndarray:
    """(P, K, U) the mean powers of the hidden units at the first `size` events of a piece, for all pieces that have so
    many, or `most` of them from everywhere in the corpus."""
    pieces, means = np.flatnonzero(corpus.events_each >= size), []
    pieces = pieces[np.linspace(0, len(pieces) - 1, min(len(pieces), most)).astype(int)]
    for those in np.split(pieces, range(TOGETHER, len(pieces), TOGETHER)):
        first, state = corpus.first[those], network.start(len(those), (4, 4))
        total = 0.0
        for t in range(size):
            state.bar[:] = corpus.matches.bar[first + t]
            output, state = network.step(state)
            event = corpus.events_at(first + t + 1) | corpus.recalled_of_lines(first + t + 1)
            for stream in network.streams:
                network.tell(stream, output, state, event)
            total += powers(np.maximum(output.hidden, 0), POWERS)
            state = network.append(state, event)
        means.append(total / size)
    return np.concatenate(means)


def own_music(network: Stepper, weights: checkpoint.Checkpoint, count: int, size: int, seed: int) -> Corpus:
    """So many pieces of `size` notes that the network writes from silence."""
    sources, how = [], network.vocabulary.representation
    groups = range(0, count, TOGETHER)
    for begin in tqdm(groups, "listening to music of its own", delay=2, leave=False):
        begun = compose.openings(weights, min(TOGETHER, count - begin), seed + begin, "none")
        wanted = compose.Wanted(size, home=control.own_home(begun))
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

    weights = checkpoint.load(path)
    network = Stepper(weights)
    own = own_music(network, weights, count, size, seed)
    # With chords as classes they have fewer events than notes, and of unisons only one is heard.
    size = int(np.quantile(own.events_each, SHORT))
    kinds = [heard(network, corpus, size, count) for corpus in (own, train)]
    means = np.concatenate(kinds)
    deviation = means.std(axis=0) + 1e-6  # a unit may always be the same
    means = ((means - means.mean(axis=0)) / deviation).reshape(len(means), -1)
    told = LogisticRegression(C=WEIGHT / len(means), class_weight="balanced", max_iter=3000)
    told.fit(means, np.repeat([False, True], list(map(len, kinds))))
    checkpoint.add_ear(path, told.coef_[0].reshape(deviation.shape) / deviation / size)
