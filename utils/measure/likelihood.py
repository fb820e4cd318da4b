"""How surprised a network is by each event of whole pieces, in nats, by the steps of the NumPy sampler.

Shapes: P pieces, E events of all pieces, S streams, B pieces side by side.
"""

from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from utils import sampler
from utils.dataset import Corpus
from utils.events import END_STREAM, to_steps
from utils.midi import Piece

MOST = 128  # pieces that are scored side by side


@dataclass
class Score:
    """What each event of a corpus costs; nothing where it is no target."""

    events: np.ndarray  # (E, S) nats
    right: np.ndarray  # (E, S) whether the class was the likeliest
    targets: np.ndarray  # (E, S) what is predicted, see `Corpus.targets`
    first: np.ndarray  # (P + 1,) where each piece begins

    @property
    def nats(self) -> np.ndarray:
        """(P, S) what each piece costs from its start token to its end."""
        return np.add.reduceat(self.events, self.first[:-1])

    @property
    def accuracy(self) -> np.ndarray:
        """(S,) share of the targets whose class was the likeliest."""
        return self.right.sum(axis=0) / self.targets.sum(axis=0)


def score(stepper: sampler.Stepper, corpus: Corpus) -> Score:
    """Score all pieces of a corpus, the state carried through each: every event is predicted once, knowing all events
    of its piece before it. The same numbers as `network.held_out_nats`, without Keras."""
    size = np.diff(corpus.first) - 1
    targets = np.stack([corpus.targets(stream) for stream in stepper.streams], axis=1)
    result = Score(np.zeros(targets.shape), np.zeros(targets.shape, bool), targets, corpus.first)
    longest_first = np.argsort(-size, kind="stable")
    groups = [longest_first[begin : begin + MOST] for begin in range(0, corpus.pieces, MOST)]
    steps = int(sum(size[group[0]] for group in groups))
    with tqdm(total=steps, desc="scoring", unit="event", delay=2, leave=False) as bar:
        for group in groups:
            score_group(stepper, corpus, group, result, bar)
    return result


def score_group(stepper: sampler.Stepper, corpus: Corpus, piece: np.ndarray, result: Score, bar: tqdm) -> None:
    """Put what the pieces (B,), the longest first, cost into `result`. A piece that has ended leaves the batch."""
    first, size = corpus.first[piece], np.diff(corpus.first)[piece] - 1
    state = stepper.start(len(piece), (4, 4))
    for t in range(size[0]):
        rows = np.count_nonzero(size > t)
        # The metre may change on the way: the bar and the place in it are read from the corpus, as all else.
        state = replace(sampler.take(state, slice(rows)), bar=corpus.memories.bar[first[:rows] + t])
        output, state = stepper.step(state)
        event = {name: classes[first[:rows] + t + 1] for name, classes in corpus.inputs.items()}
        for k, stream in enumerate(stepper.streams):
            # The last target is the end of the piece, which one stream says alone.
            those = np.arange(rows) if stream == END_STREAM else np.flatnonzero(size[:rows] > t + 1)
            logits = stepper.logits(stream, output, state, event)[those]
            true = event[stream][those]
            logits = logits - logits.max(axis=1, keepdims=True)
            nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(those)), true]
            result.events[first[those] + t + 1, k] = nats
            result.right[first[those] + t + 1, k] = logits.argmax(axis=1) == true
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
