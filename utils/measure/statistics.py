"""Generated pieces against real ones: what can be counted in them, and how far the two sets are apart.

Pieces are in steps of one grid: `events.to_piece(streams, grid, grid)`.
"""

import numpy as np

from utils import events, theory
from utils.events import Events
from utils.measure import copying
from utils.midi import Piece

LENGTHS = (1 / 12, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 3 / 2, 2, 3, 4)  # quarter notes; others are the nearest
FIGURE = 8  # notes in a figure that may come again

Features = dict[str, float | list[float]]


def passage(whole: Events, begin: int, notes: int, grid: int) -> Piece:
    """Up to `notes` notes of a piece from an event on, in steps from a bar line."""
    part = whole[begin : begin + notes]
    start = int(part.phase[0] - part.streams["offset"][0])
    piece = events.to_piece(part.streams, grid, grid, start).take(slice(notes))
    piece.time_signatures = [(0, *part.metre(0))]
    return piece


def passages(pieces: list[Events], notes: int, most: int, grid: int, rng: np.random.Generator) -> list[Piece]:
    """A passage of `notes` notes, from a random place, of up to `most` of the pieces that are as long."""
    long = [piece for piece in pieces if len(piece) >= notes]
    chosen = [long[i] for i in rng.permutation(len(long))[:most]]
    return [passage(piece, int(rng.integers(len(piece) - notes + 1)), notes, grid) for piece in chosen]


def describe(piece: Piece) -> Features:
    """What is counted in a piece of one note or more.

    pitch_classes (12,): share of each, from C. range: semitones from the lowest to the highest note. notes_per_beat: a
    beat is a quarter note. polyphony: notes sounding together on average, while any sounds. note_lengths: shares of
    `LENGTHS`. repeated_figures: share of the runs of `FIGURE` notes whose intervals, offsets and durations came before.
    key_clarity: how well the best of the 24 keys fits, by Aarden's profiles (`theory.key_fits`), so a little other than
    by those of Krumhansl & Kessler 1982. on_beat: share of the onsets (a chord has one) on a quarter of the bar.
    """
    quarter = piece.ticks_per_quarter
    end = piece.onset + piece.duration
    begin, finish = piece.onset.min(), end.max()
    struck, released = (np.bincount(at - begin, minlength=finish - begin + 1) for at in (piece.onset, end))
    sounding = np.cumsum(struck - released)
    length = np.abs(np.log(piece.duration[:, None] / quarter) - np.log(LENGTHS)).argmin(axis=1)
    figures = copying.figures(piece, FIGURE)
    onset = np.unique(piece.onset)
    phase, _ = events.phases(onset, piece, quarter)
    return {
        "pitch_classes": (np.bincount(piece.pitch % 12, minlength=12) / len(piece)).tolist(),
        "range": float(np.ptp(piece.pitch)),
        "notes_per_beat": len(piece) * quarter / (finish - begin),
        "polyphony": piece.duration.sum() / np.count_nonzero(sounding),
        "note_lengths": (np.bincount(length, minlength=len(LENGTHS)) / len(piece)).tolist(),
        "repeated_figures": 1 - len(np.unique(figures)) / len(figures) if len(figures) else 0.0,
        "key_clarity": float(theory.key_fits(piece.pitch, piece.duration).max()),
        "on_beat": float((phase % quarter == 0).mean()),
    }


def distances(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(A, B) Euclidean distances between features (A,) or (A, D) and (B,) or (B, D)."""
    squares = (ours[:, None] - theirs[None]) ** 2
    return np.sqrt(squares.reshape(len(ours), len(theirs), -1).sum(axis=2))


def overlap_and_divergence(one: np.ndarray, other: np.ndarray) -> tuple[float, float] | None:
    """The area that the densities of two sets of distances have in common (1: they are the same), and the
    Kullback-Leibler divergence of the first from the second in nats (0: the same).

    The densities are estimated with Gaussian kernels of Scott's width. None where there is none, as all distances of a
    set are equal.
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
    the distances within the real set from those between the sets (Yang & Lerch 2018, 'On the evaluation of generative
    models in music')."""
    table = {}
    for name in real[0]:
        ours, theirs = (np.array([features[name] for features in some], float) for some in (made, real))
        within = distances(theirs, theirs)[np.triu_indices(len(real), 1)]
        overlap, divergence = overlap_and_divergence(within, distances(ours, theirs).ravel()) or (None, None)
        means = {"generated": ours.mean(axis=0).tolist(), "real": theirs.mean(axis=0).tolist()}
        table[name] = {**means, "overlap": overlap, "divergence": divergence}
    return table


def as_text(table: dict[str, dict]) -> str:
    """The table of `compare` for reading; a histogram is in the picture (`plots.comparison`)."""
    lines = [f"{'':18s}{'new':>10s}{'training':>10s}{'overlap':>10s}{'divergence':>12s}"]
    for name, row in table.items():
        shown = ["" if isinstance(value, list) else "-" if value is None else f"{value:.3f}" for value in row.values()]
        lines.append("{:18s}{:>10s}{:>10s}{:>10s}{:>12s}".format(name.replace("_", " "), *shown))
    return "\n".join(lines)
