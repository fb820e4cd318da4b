"""Baselines: how well the same music is predicted by only counting what followed what in the training pieces.

The n-gram predicts an event as the network does: one stream after another, each given the ones before it. Its symbols
are the classes of a stream, but intervals for notes of a single pitch, since these are the same in all keys (on
classical piano, JSB Chorales and Nottingham they predict better than pitches counted in all transpositions). Chords as
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
CHUNK = 2**20  # probabilities that are computed at once: 8 MB an array
Smoothing = tuple[float, float] | None  # discount and strength, see `blend`; None: skip this context
# None comes first, so that it wins a tie.
SMOOTHINGS: tuple[Smoothing, ...] = (None, *product((0.1, 0.3, 0.5, 0.7, 0.9, 0.97), (0, 1, 4, 16, 64, 256)))


@dataclass
class Counts:
    """What followed, in the training pieces, the contexts of one length in which the scored targets occur."""

    table: sparse.csr_array  # (C, V) how often each symbol followed each context
    context: np.ndarray  # (E,) index of each target's context
    total: np.ndarray  # (E,) how often that context occurred
    kinds: np.ndarray  # (E,) how many different symbols followed it


def views(corpus: Corpus, transpose: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """The symbols of each stream of a corpus, and a mask of those that exist: with chords as classes one such view for
    each transposition; with intervals a single one is enough."""
    vocabulary, streams = corpus.vocabulary, {stream: corpus.inputs[stream] for stream in corpus.vocabulary.streams}
    if vocabulary.representation.chords == "split":
        # As in the network, an interval is counted from the last note of its part, the first one from middle C; the
        # start token is a symbol of its own.
        interval = vocabulary.interval(streams["note"], pitch_of(np, corpus.inputs["origin"]))
        interval[corpus.first[:-1]] = vocabulary.intervals
        yield {**streams, "note": interval}, np.ones(len(interval), bool)
        return
    low, high = np.repeat(corpus.room, np.diff(corpus.first), axis=0).T
    for shift, classes in enumerate(vocabulary.transpositions(transpose), -transpose):
        yield {**streams, "note": classes[streams["note"]]}, (low <= shift) & (shift <= high)


def contexts(view: dict[str, np.ndarray], first: np.ndarray, stream: str) -> Iterator[np.ndarray]:
    """Hashes of the context of each symbol of a stream, from the empty context to the longest.

    Contexts grow by the streams of the same event that are already known, then by the events before it, the nearest
    first, and of each by the symbol of the same stream first. Before a piece begins, every event is the start token.
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
    """The symbols (E,) of the targets of a stream, and what followed their contexts, from the empty one to the longest;
    other contexts are not counted."""
    vocabulary, is_target, counts = scored.vocabulary, scored.targets(stream), []
    intervals = stream == "note" and vocabulary.representation.chords == "split"
    symbols = vocabulary.intervals if intervals else vocabulary.size(stream)
    learnt = []  # of each view of the training pieces: the targets, their mask, and their contexts by length
    for view, exists in views(train, transpose):
        mask = exists & train.targets(stream)
        learnt.append((view[stream][mask], mask, contexts(view, train.first, stream)))
    ((view, _),) = views(scored, 0)
    for hashes in contexts(view, scored.first, stream):
        different, context = np.unique(hashes[is_target], return_inverse=True)
        table = sparse.csr_array((len(different), symbols))
        for symbol, mask, of_length in learnt:
            hashes = next(of_length)[mask]
            number = np.minimum(np.searchsorted(different, hashes), len(different) - 1)
            met = different[number] == hashes
            table += sparse.csr_array((np.ones(met.sum()), (number[met], symbol[met])), table.shape)
        counts.append(Counts(table, context, table.sum(axis=1)[context], np.diff(table.indptr)[context]))
    return view[stream][is_target], counts


def blend(often: np.ndarray, shorter: np.ndarray, total: np.ndarray, kinds: np.ndarray, how: Smoothing) -> np.ndarray:
    """Probabilities in a context, from how `often` symbols followed it and the probabilities in the `shorter` context.

    The discount is taken from each count and given to the shorter context, which is also worth as many counts as the
    strength says, as in the Pitman-Yor process (Teh 2006); strength 0 is plain absolute discounting (Ney et al. 1994).
    A context that never occurred leaves the probabilities of the shorter one unchanged.
    """
    if how is None:
        return shorter
    discount, strength = how
    blended = np.maximum(often - discount, 0) + (strength + discount * kinds) * shorter
    return np.where(total > 0, blended / (np.maximum(total, 1) + strength), shorter)


def tune(counts: list[Counts], symbol: np.ndarray) -> list[Smoothing]:
    """The smoothing of each length of context that fits the targets `symbol` (E,) best. It is chosen on the very pieces
    that are scored, in favour of the baseline."""
    probability, chosen = np.full(len(symbol), 1 / counts[0].table.shape[1]), []
    for level in counts:
        often = level.table[level.context, symbol]
        tried = {how: blend(often, probability, level.total, level.kinds, how) for how in SMOOTHINGS}
        chosen.append(max(tried, key=lambda how: np.log(tried[how]).sum()))
        probability = tried[chosen[-1]]
    return chosen


def distributions(counts: list[Counts], how: list[Smoothing], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields (rows, V) probabilities of all symbols for some of the targets, with longer and longer contexts."""
    symbols = counts[0].table.shape[1]
    probability = np.full((len(rows), symbols), 1 / symbols)
    for level, smoothing in zip(counts, how, strict=True):
        often = level.table[level.context[rows]].toarray()
        probability = blend(often, probability, level.total[rows, None], level.kinds[rows, None], smoothing)
        yield probability


def over_vocabulary(probability: np.ndarray, stream: str, origin: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """(E, V) probabilities of symbols -> of the classes of a stream, given the pitches (E,) that intervals are counted
    from. The probability of intervals that lead out of the vocabulary is shared by the others."""
    if stream == "note" and vocabulary.representation.chords == "split":
        interval = vocabulary.interval(np.arange(vocabulary.size("note")), pitch_of(np, origin)[:, None])
        probability = np.take_along_axis(probability, interval, axis=1)
        probability /= probability.sum(axis=1, keepdims=True)
    return probability


def baselines(train: Corpus, scored: Corpus, transpose: int) -> dict[str, np.ndarray]:
    """Nats in each stream, (S,), of all pieces of `scored`: for 'unigram', which knows how often each symbol occurred
    in `train`, and '5-gram', which also knows the four events before it; `transpose` is the setting of the training."""
    streams = scored.vocabulary.streams
    nats = {name: np.zeros(len(streams)) for name in ("unigram", f"{ORDER}-gram")}
    for k, stream in enumerate(tqdm(streams, desc="counting", unit="stream", delay=2, leave=False)):
        symbol, counts = count(train, scored, stream, transpose)
        smoothing, target = tune(counts, symbol), np.flatnonzero(scored.targets(stream))
        for rows in np.array_split(np.arange(len(target)), -(-len(target) * counts[0].table.shape[1] // CHUNK)):
            true, origin = scored.inputs[stream][target[rows]], scored.inputs["origin"][target[rows]]
            unigram, *_, longest = distributions(counts, smoothing, rows)
            for total, probability in zip(nats.values(), (unigram, longest), strict=True):
                probability = over_vocabulary(probability, stream, origin, scored.vocabulary)
                total[k] -= np.log(probability[np.arange(len(rows)), true]).sum()
    return nats
