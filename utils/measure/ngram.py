"""Baselines: how surprised by the same music is somebody who only counts what followed what in the training pieces?

The n-gram predicts an event as the network does, one stream after another, each knowing what was chosen before it. Its
symbols are the classes of a stream, but for notes that are one pitch they are intervals, which hold in all keys (on
classical piano, JSB Chorales and Nottingham this predicts better than pitches counted in all transpositions). Chords as
classes are counted in all transpositions.

Shapes: E targets of the scored pieces, C different contexts, V symbols.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import sparse
from tqdm import tqdm

from utils.dataset import Corpus
from utils.measure.copying import mix
from utils.traces import pitch_of
from utils.vocabulary import Vocabulary

ORDER = 5  # events that an n-gram spans: the one predicted and four before it
CHUNK = 2**20  # probabilities that are written out at once: 8 MB an array
Smoothing = tuple[float, float] | None  # discount and strength, see `blend`; None: this context is passed over
# None comes first, so that it is preferred where nothing is gained.
SMOOTHINGS: tuple[Smoothing, ...] = (None, *product((0.1, 0.3, 0.5, 0.7, 0.9, 0.97), (0, 1, 4, 16, 64, 256)))


@dataclass
class Counts:
    """What followed, in the training pieces, the contexts of one length that the scored targets stand in."""

    table: sparse.csr_array  # (C, V) how often each symbol followed each context
    context: np.ndarray  # (E,) number of each target's context
    total: np.ndarray  # (E,) how often it was met
    kinds: np.ndarray  # (E,) different symbols that followed it


def views(corpus: Corpus, transpose: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """The symbols of each stream of a corpus, and a mask of those that there are: with chords as classes one such view
    for each transposition; with intervals one is enough."""
    vocabulary, streams = corpus.vocabulary, {stream: corpus.inputs[stream] for stream in corpus.vocabulary.streams}
    if vocabulary.representation.chords == "split":
        # As in the network, an interval counts from the last note of its part, and the first one from the middle C; the
        # start token is a symbol of its own.
        interval = vocabulary.interval(streams["note"], pitch_of(np, corpus.inputs["origin"]))
        interval[corpus.first[:-1]] = vocabulary.intervals
        yield {**streams, "note": interval}, np.ones(len(interval), bool)
        return
    low, high = np.repeat(corpus.room, np.diff(corpus.first), axis=0).T
    for shift, classes in enumerate(vocabulary.transpositions(transpose), -transpose):
        yield {**streams, "note": classes[streams["note"]]}, (low <= shift) & (shift <= high)


def contexts(view: dict[str, np.ndarray], first: np.ndarray, stream: str) -> Iterator[np.ndarray]:
    """Hashes of what stands before each symbol of a stream, from the empty context to the longest.

    First comes what was chosen of the same event, then the events before it, the nearest first, and of each the symbol
    of the same stream first. Before the beginning of a piece every event is the start token.
    """
    start = np.repeat(first[:-1], np.diff(first))
    context = np.zeros(len(start), np.uint64)
    yield context
    streams = tuple(view)
    for name in streams[: streams.index(stream)]:
        context = mix(context, view[name])
        yield context
    for back in range(1, ORDER):
        before = np.maximum(np.arange(len(start)) - back, start)
        for name in (stream, *(other for other in reversed(streams) if other != stream)):
            context = mix(context, view[name][before])
            yield context


def count(train: Corpus, scored: Corpus, stream: str, transpose: int) -> tuple[np.ndarray, list[Counts]]:
    """The symbols (E,) that the targets of a stream are, and what followed their contexts, from the empty one to the
    longest; other contexts are not counted."""
    vocabulary, asked, counts = scored.vocabulary, scored.targets(stream), []
    intervals = stream == "note" and vocabulary.representation.chords == "split"
    symbols = vocabulary.intervals if intervals else vocabulary.size(stream)
    learnt = []  # of each view of the training pieces: the targets, their mask, and their contexts by length
    for view, there in views(train, transpose):
        there = there & train.targets(stream)
        learnt.append((view[stream][there], there, contexts(view, train.first, stream)))
    ((view, _),) = views(scored, 0)
    for hashes in contexts(view, scored.first, stream):
        different, context = np.unique(hashes[asked], return_inverse=True)
        table = sparse.csr_array((len(different), symbols))
        for symbol, there, of_length in learnt:
            hashes = next(of_length)[there]
            number = np.minimum(np.searchsorted(different, hashes), len(different) - 1)
            met = different[number] == hashes
            table += sparse.csr_array((np.ones(met.sum()), (number[met], symbol[met])), table.shape)
        counts.append(Counts(table, context, table.sum(axis=1)[context], np.diff(table.indptr)[context]))
    return view[stream][asked], counts


def blend(own: np.ndarray, shorter: np.ndarray, total: np.ndarray, kinds: np.ndarray, how: Smoothing) -> np.ndarray:
    """Probabilities in a context from the counts in it, `own`, and the probabilities in the `shorter` context.

    The discount is taken from each count and given to the shorter context, which also counts as often as the strength
    says, as in the Pitman-Yor process (Teh 2006); strength 0 is plain absolute discounting (Ney et al. 1994). A context
    that was never met says what the shorter one says.
    """
    if how is None:
        return shorter
    discount, strength = how
    met = np.maximum(total, 1) + strength
    return np.where(total > 0, (np.maximum(own - discount, 0) + (strength + discount * kinds) * shorter) / met, shorter)


def tune(counts: list[Counts], symbol: np.ndarray) -> list[Smoothing]:
    """The smoothing of each length of context that suits the targets `symbol` (E,) best: it is chosen on the very
    pieces that are scored, in favour of the baseline."""
    probability, chosen = np.full(len(symbol), 1 / counts[0].table.shape[1]), []
    for level in counts:
        own = level.table[level.context, symbol]
        tried = {how: blend(own, probability, level.total, level.kinds, how) for how in SMOOTHINGS}
        chosen.append(max(tried, key=lambda how: np.log(tried[how]).sum()))
        probability = tried[chosen[-1]]
    return chosen


def distributions(counts: list[Counts], how: list[Smoothing], rows: np.ndarray) -> Iterator[np.ndarray]:
    """(rows, V) probabilities of all symbols for some of the targets, with longer and longer contexts."""
    symbols = counts[0].table.shape[1]
    probability = np.full((len(rows), symbols), 1 / symbols)
    for level, smoothing in zip(counts, how, strict=True):
        own, total, kinds = level.table[level.context[rows]].toarray(), level.total[rows, None], level.kinds[rows, None]
        probability = blend(own, probability, total, kinds, smoothing)
        yield probability


def over_vocabulary(probability: np.ndarray, stream: str, origin: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """(E, V) probabilities of symbols -> of the classes of a stream, given the pitches (E,) from which intervals count:
    what intervals that lead out of the vocabulary had is shared by the others."""
    if stream == "note" and vocabulary.representation.chords == "split":
        interval = vocabulary.interval(np.arange(vocabulary.size("note")), pitch_of(np, origin)[:, None])
        probability = np.take_along_axis(probability, interval, axis=1)
        probability /= probability.sum(axis=1, keepdims=True)
    return probability


def baselines(train: Corpus, scored: Corpus, transpose: int) -> dict[str, np.ndarray]:
    """Nats in each stream, (S,), of all pieces of `scored`: 'unigram', which knows how often each symbol came in
    `train`, and '5-gram', which knows the four events before as well; `transpose` is that of the training."""
    streams = scored.vocabulary.streams
    nats = {name: np.zeros(len(streams)) for name in ("unigram", f"{ORDER}-gram")}
    for k, stream in enumerate(tqdm(streams, desc="counting", unit="stream", delay=2, leave=False)):
        symbol, counts = count(train, scored, stream, transpose)
        smoothing, asked = tune(counts, symbol), np.flatnonzero(scored.targets(stream))
        for rows in np.array_split(np.arange(len(asked)), -(-len(asked) * counts[0].table.shape[1] // CHUNK)):
            true, origin = scored.inputs[stream][asked[rows]], scored.inputs["origin"][asked[rows]]
            unigram, *_, longest = distributions(counts, smoothing, rows)
            for total, probability in zip(nats.values(), (unigram, longest), strict=True):
                probability = over_vocabulary(probability, stream, origin, scored.vocabulary)
                total[k] -= np.log(probability[np.arange(len(rows)), true]).sum()
    return nats
