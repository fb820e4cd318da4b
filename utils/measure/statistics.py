"""Generated pieces against real ones: what can be counted in them, and how far the two sets are apart."""

import numpy as np

from utils import events, theory
from utils.midi import Piece

LENGTHS = (1 / 12, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 3 / 2, 2, 3, 4)  # quarter notes; others are the nearest
FIGURE = 8  # notes in a figure that may come again

Features = dict[str, float | list[float]]


def passage(streams: dict[str, np.ndarray], start: int, metre: theory.Metre, notes: int, grid: int) -> Piece:
    """The first `notes` notes of events; the first event's offset counts from `start`, in steps from a bar line."""
    piece = events.to_piece(streams, grid, grid, start).take(slice(notes))
    piece.time_signatures = [(0, *metre)]
    return piece


def describe(piece: Piece) -> Features:
    """What is counted in a piece of one note or more.

    pitch_classes (12,): share of each, from C. range: semitones from the lowest to the highest note. notes_per_beat: a
    beat is a quarter note. polyphony: notes sounding together on average, while any sounds. note_lengths: shares of
    `LENGTHS`. repeated_figures: share of the runs of `FIGURE` notes whose intervals, offsets and durations came before.
    key_clarity: how well the best of the 24 keys fits, by Aarden's profiles (`theory.key_fits`), so a little other than
    by those of Krumhansl & Kessler 1982. on_beat: share of the onsets (a chord has one) on a quarter of the bar.
    """
    quarter, reached = piece.ticks_per_quarter, np.maximum.accumulate(piece.onset + piece.duration)
    sounding = reached - np.maximum(piece.onset, np.append(0, reached[:-1]))  # ticks that each note adds
    length = np.abs(np.log(piece.duration[:, None] / quarter) - np.log(LENGTHS)).argmin(axis=1)
    moves = np.column_stack([np.diff(piece.onset), np.diff(piece.pitch), piece.duration[1:]])
    figures = [(piece.duration[i], moves[i : i + FIGURE - 1].tobytes()) for i in range(len(piece) - FIGURE + 1)]
    phase, _ = events.phases(np.unique(piece.onset), piece, quarter)
    return {
        "pitch_classes": (np.bincount(piece.pitch % 12, minlength=12) / len(piece)).tolist(),
        "range": float(np.ptp(piece.pitch)),
        "notes_per_beat": len(piece) * quarter / (reached[-1] - piece.onset[0]),
        "polyphony": piece.duration.sum() / sounding.sum(),
        "note_lengths": (np.bincount(length, minlength=len(LENGTHS)) / len(piece)).tolist(),
        "repeated_figures": 1 - len(set(figures)) / len(figures) if figures else 0.0,
        "key_clarity": float(theory.key_fits(piece.pitch, piece.duration).max()),
        "on_beat": float((phase % quarter == 0).mean()),
    }


def overlap_and_divergence(one: np.ndarray, other: np.ndarray) -> tuple[float, float] | None:
    """The area that the densities of two sets of distances have in common (1: they are the same), and the
    Kullback-Leibler divergence of the first from the second in nats (0: the same).

    The densities are estimated with Gaussian kernels of Scott's width; None if all distances of a set are equal.
    """
    from scipy import integrate, stats  # half a second

    if min(len(one), len(other)) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    kernels = stats.gaussian_kde(one), stats.gaussian_kde(other)
    margin = 4 * max(float(np.sqrt(kernel.covariance.max())) for kernel in kernels)
    both = np.concatenate([one, other])
    x = np.linspace(both.min() - margin, both.max() + margin, 1000)
    p, q = (kernel.logpdf(x) for kernel in kernels)
    overlap = integrate.trapezoid(np.exp(np.minimum(p, q)), x)
    return float(overlap), float(integrate.trapezoid(np.exp(p) * (p - q), x))


def compare(made: list[Features], real: list[Features]) -> dict[str, dict]:
    """For each feature the mean in both sets, and the overlap and divergence (see above; None where there is none) of
    the Euclidean distances within the real set from those between the sets (Yang & Lerch 2018, 'On the evaluation of
    generative models in music')."""
    from scipy.spatial.distance import cdist, pdist

    table = {}
    for name in real[0]:
        both = [np.array([features[name] for features in some], float) for some in (made, real)]
        ours, theirs = (values.reshape(len(values), -1) for values in both)
        measured = overlap_and_divergence(pdist(theirs), cdist(ours, theirs).ravel()) or (None, None)
        row = (*(values.mean(axis=0).tolist() for values in both), *measured)
        table[name] = dict(zip(("generated", "real", "overlap", "divergence"), row, strict=True))
    return table
