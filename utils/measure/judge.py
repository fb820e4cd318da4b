"""A classifier that learns to tell new pieces from real ones, and says by what. It is never used to choose music.

`judge([statistics.cut(events.from_piece(midi.read(path)), 0, 150) for path in midi.find(folder)], ...)` judges files.
All features are the same in every key. Shapes: N notes, O onsets, M passages of both kinds.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import compress, pairwise

import numpy as np

from utils import events
from utils.measure import statistics
from utils.piece import Piece

LEAST = 8  # new passages, and different real pieces, that are needed: fewer are too few to learn from
JUDGED = 150  # notes, from the beginning, that are compared where pieces may have any length
RARE = 3  # passages in which a feature must occur: a rarer one says little about other passages
FOLDS = 5
SHOWN, COMMON = 10, 0.25  # giveaways to list, and the share of the new or the real passages in which each must occur
HALVES = 20  # random splits of the real pieces into halves, to measure the effect of chance
# Tried, also on damaged music: C from 1 to 100 changes little; NUMBERS from 0 to 0.4: higher values change little
# in piano music; shares of unequal variance, which detect bars out of order better, but single wrong notes worse.
NUMBERS = 0.05  # share of the variance that is given to the numbers of `statistics.describe`
C = 10.0  # inverse weight of the L2 penalty


def leap(interval: int) -> str:
    """-7 -> 'a leap of 7 down', in semitones."""
    if not interval:
        return "the same pitch"
    return f"a {'step' if abs(interval) < 3 else 'leap'} of {abs(interval)} {'up' if interval > 0 else 'down'}"


def beats(steps: int, per_quarter: int) -> str:
    """18 steps, with 12 steps per quarter note -> '3/2'."""
    return str(Fraction(int(steps), per_quarter))


def runs(words: Sequence[str], longest: int = 3) -> Counter:
    """How often each run of 1 to `longest` successive words occurs."""
    every = (zip(*(words[i:] for i in range(n)), strict=False) for n in range(1, longest + 1))
    return Counter(", then ".join(run) for each in every for run in each)


def sonorities(piece: Piece, onset: np.ndarray) -> tuple[list[str], list[str], list[int]]:
    """What sounds at each of the onsets (O,): the pitch classes as intervals above the lowest note; each pair of
    successive chords with the motion of their lowest notes; and the number of notes at each onset."""
    ends, chords, sizes, basses = piece.onset + piece.duration, [], [], []
    for at, reached in zip(onset, np.searchsorted(piece.onset, onset, side="right"), strict=True):
        pitch = piece.pitch[:reached][ends[:reached] > at]
        sizes.append(len(pitch))
        basses.append(int(pitch.min()))
        chords.append("-".join(map(str, np.unique((pitch - pitch.min()) % 12))))
    pairs = zip(pairwise(chords), pairwise(basses), strict=True)
    return chords, [f"{one}, then {other} over {leap(to - low)}" for (one, other), (low, to) in pairs], sizes


def features(piece: Piece) -> dict[str, float]:
    """The features of a passage, named in words: square roots of shares, each among all that is counted of its kind
    (such as all runs of intervals), and the numbers of `statistics.describe`."""
    quarter, made = piece.ticks_per_quarter, statistics.moves(piece)[1:].tolist()
    rise, gap = [leap(interval) for interval, *_ in made], [beats(offset, quarter) for _, offset, _ in made]
    onset, first = np.unique(piece.onset, return_index=True)
    outer = {"lowest": piece.pitch[first], "highest": piece.pitch[np.append(first[1:], len(piece)) - 1]}
    chords, progressions, sizes = sonorities(piece, onset)
    phase, *_ = events.places(onset, piece, quarter)
    counted = {
        "from note to note: ": runs(rise),
        "beats between notes: ": runs(gap),
        "lengths in beats: ": runs([beats(duration, quarter) for duration in piece.duration]),
        "from note to note, in beats: ": runs([f"{x} after {y}" for x, y in zip(rise, gap, strict=True)]),
        "semitones above the bass: ": Counter(chords),
        "chords over the bass: ": Counter(progressions),
        "notes sounding together: ": Counter(sizes),
        "beats into the bar: ": Counter(beats(x, quarter) for x in phase),
    }
    for which, pitch in outer.items():
        moves = list(map(leap, np.diff(pitch).tolist()))
        counted[f"{which} notes: "] = runs(moves)
        counted[f"{which} notes, onto a bar line: "] = Counter(compress(moves, phase[1:] == 0))
    shares = {}
    for kind, found in counted.items():
        total = found.total()
        shares |= {f"{kind}{words}": (count / total) ** 0.5 for words, count in found.items()}
    measured = statistics.describe(piece)
    numbers = {name: value for name, value in measured.items() if not isinstance(value, list)}
    return shares | {name.replace("_", " "): 0.0 if np.isnan(value) else value for name, value in numbers.items()}


def table(passages: list[dict[str, float]]) -> tuple[object, np.ndarray, np.ndarray]:
    """The features of passages (M,) as a sparse matrix, a row each, and the standard deviation and name of each column.
    All shares have the same variance, and so have all numbers, in total `NUMBERS`. Nothing here knows what is new."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.preprocessing import StandardScaler

    columns = DictVectorizer()
    matrix = columns.fit_transform(passages).tocsc()
    kept = np.flatnonzero(matrix.getnnz(axis=0) >= RARE)
    names = columns.get_feature_names_out()[kept]
    is_share = np.array([": " in name for name in names])
    deviation = np.sqrt(np.where(is_share, (1 - NUMBERS) / is_share.sum(), NUMBERS / (~is_share).sum()))
    scaled = StandardScaler(with_mean=False).fit_transform(matrix[:, kept])
    return scaled.multiply(deviation).tocsr(), deviation, names


def area(matrix, new: np.ndarray, groups: np.ndarray) -> float:
    """The area under the ROC curve of a logistic regression that tells the passages in the mask `new` (M,) from the
    others, cross-validated: the mean over the folds, which keep the `groups` (M,) whole. (One curve over all folds
    would be below 0.5 by chance: where a fold holds more of one kind, its regression has learnt from fewer of it.)"""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

    folds = min(FOLDS, *(len(np.unique(groups[side])) for side in (new, ~new)))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    areas = cross_val_score(
        LogisticRegression(C=C, max_iter=1000), matrix, new, groups=groups, scoring="roc_auc", cv=splitter
    )
    return float(np.nanmean(areas))  # NaN: a fold of passages of one kind only, such as several of one piece


def judge(made: list[Piece], real: list[Piece]) -> dict | None:
    """How well new passages can be told from real ones; None if there are too few. All should have equally many notes;
    see `statistics.cut`.

    auc: area under the ROC curve, the probability that of a new and a real passage the judge picks the right one as new
    (0.5: it cannot tell them apart, 1: it always can); floor: the same for two halves of the real passages, the mean
    over random splits; spread: its standard deviation over these splits, a measure of the effect of chance; giveaways:
    in words, the features whose means differ most, in standard deviations.
    """
    if min(len(made), len(real)) < LEAST:
        return None
    matrix, deviation, names = table([*map(features, made), *map(features, real)])
    new = np.arange(len(made) + len(real)) < len(made)
    auc = area(matrix, new, np.arange(len(new)))
    rng, floors = np.random.default_rng(0), []
    for _ in range(HALVES):
        half = rng.permutation(len(real)) % 2 == 0
        floors.append(area(matrix[len(made) :], half, np.arange(len(real))))
    apart = np.asarray(matrix[new].mean(axis=0) - matrix[~new].mean(axis=0)).ravel() / deviation
    common = np.max([matrix[side].getnnz(axis=0) / side.sum() for side in (new, ~new)], axis=0) >= COMMON
    most = np.argsort(-np.abs(apart) * common, kind="stable")[:SHOWN]
    words = [in_words(str(names[i]), bool(apart[i] > 0)) for i in most]
    return {"auc": auc, "floor": float(np.mean(floors)), "spread": float(np.std(floors)), "giveaways": words}


def in_words(name: str, more: bool) -> str:
    """A feature, and in which direction new pieces differ from real ones in it."""
    how = ("less often", "more often") if ": " in name else ("lower", "higher")
    return f"{name} ({how[more]} in new pieces)"
