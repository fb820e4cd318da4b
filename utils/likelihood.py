"""How surprised a network is by each event of whole pieces, in nats, by the steps of the NumPy sampler.

Shapes: P pieces, S streams, B pieces side by side.
"""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from utils import sampler
from utils.dataset import Corpus
from utils.events import END_STREAM, to_steps
from utils.midi import Piece

MOST = 128  # pieces that are scored side by side


@dataclass
class Score:
    """What each piece costs, from its start token to its end."""

    nats: np.ndarray  # (P, S)
    right: np.ndarray  # (P, S) targets whose class was the likeliest
    targets: np.ndarray  # (P, S) what was predicted: every event, and in the stream that says so the end of the piece


def score(stepper: sampler.Stepper, corpus: Corpus) -> Score:
    """Score all pieces of a corpus, the state carried through each: every event is predicted once, knowing all events
    of its piece before it. The same numbers as `network.held_out_nats`, without Keras."""
    size = np.diff(corpus.first) - 1
    shape = (corpus.pieces, len(stepper.streams))
    result = Score(np.zeros(shape), np.zeros(shape, int), np.empty(shape, int))
    for k, stream in enumerate(stepper.streams):
        result.targets[:, k] = size - (stream != END_STREAM)
    longest_first = np.argsort(-size, kind="stable")
    groups = [longest_first[begin : begin + MOST] for begin in range(0, corpus.pieces, MOST)]
    steps = int(sum(size[group[0]] for group in groups))
    with tqdm(total=steps, desc="scoring", unit="event", delay=2, leave=False) as bar:
        for group in groups:
            score_group(stepper, corpus, group, result, bar)
    return result


def score_group(stepper: sampler.Stepper, corpus: Corpus, piece: np.ndarray, result: Score, bar: tqdm) -> None:
    """Add what the pieces (B,), the longest first, cost to `result`. A piece that has ended leaves the batch."""
    first, size = corpus.first[piece], np.diff(corpus.first)[piece] - 1
    # The metre plays no part: the place in the bar is read from the corpus, as all else that the network reads.
    state = stepper.start(len(piece), (4, 4))
    for t in range(size[0]):
        rows = np.count_nonzero(size > t)
        state = sampler.take(state, slice(rows))
        output, state = stepper.step(state)
        event = {name: classes[first[:rows] + t + 1] for name, classes in corpus.inputs.items()}
        for k, stream in enumerate(stepper.streams):
            # The last target is the end of the piece, which one stream says alone.
            those = np.arange(rows) if stream == END_STREAM else np.flatnonzero(size[:rows] > t + 1)
            logits = stepper.logits(stream, output, state, event)[those]
            true = event[stream][those]
            logits = logits - logits.max(axis=1, keepdims=True)
            nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(those)), true]
            result.nats[piece[those], k] += nats
            result.right[piece[those], k] += logits.argmax(axis=1) == true
        state = stepper.append(state, event)
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
