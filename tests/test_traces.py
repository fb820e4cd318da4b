"""Traces of the keys struck so far: the chord that a note joins, and the one before."""

import numpy as np
from conftest import make_piece

from utils import dataset, events
from utils.events import Representation
from utils.traces import FADING, HARMONY, LEFT
from utils.traces_layer import Traces
from utils.vocabulary import build_vocabulary

C, D, E, F, G = 0, 2, 4, 5, 7


def test_a_note_joins_a_chord_and_leaves_another():
    """A G held below C and E, then F above the G alone, and after a rest a D."""
    rows = [(0, 43, 1920), (0, 60, 480), (0, 64, 480), (480, 65, 480), (1920 + 480, 62, 480)]
    how = Representation(("offset", "note", "duration"))
    piece = events.from_piece(make_piece(rows), how)
    vocabulary = build_vocabulary([piece], how, 0)
    corpus = dataset.encode([dataset.Source("it", 0.5, piece)], vocabulary)
    inputs, _ = dataset.cut(corpus, np.zeros(1, int), corpus.first[:1], len(rows))
    note, offset, duration = (inputs[name] for name in ("note", "offset", "duration"))
    nowhere = np.full_like(note[:, :-1], 60)

    def harmony(part: slice, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How each pitch class stands in the harmony at the event after each of `part`; what those events leave."""
        read = note[:, :-1][:, part], offset[:, part.start : part.stop + 1], duration[:, :-1][:, part]
        *_, classes, after = Traces(vocabulary, ahead=True)(*read, nowhere[:, part], nowhere[:, part], before)
        assert classes.shape[-1] == HARMONY
        np.testing.assert_array_equal(classes[0, :, :11], classes[0, :, 12:])  # an octave higher it is the same
        return np.array(classes)[0, :, :12, len(FADING) - 1 :], np.array(after)

    silence = np.zeros((1, LEFT, 128), np.float32)
    whole, _ = harmony(slice(0, len(rows)), silence)
    expected = [((), ()), ((G,), ()), ((G, C), ()), ((G,), (G, C, E)), ((), ())]
    for heard, chords in zip(whole, expected, strict=True):
        for k, chord in enumerate(chords):  # its first note is the bass
            sounds, bass = heard[:, 2 * k], heard[:, 2 * k + 1]
            assert set(np.flatnonzero(sounds)) == set(chord) and np.flatnonzero(bass).tolist() == list(chord[:1])
    # Read in two halves, the second starting from what the first left, it is the same.
    for cut in range(1, len(rows)):
        first, after = harmony(slice(0, cut), silence)
        then, _ = harmony(slice(cut, len(rows)), after)
        np.testing.assert_array_equal(np.concatenate([first, then]), whole)
