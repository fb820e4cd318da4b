"""Features of generated and of real pieces, and how far apart the two sets are."""

from dataclasses import replace

import numpy as np

from utils import events, parts, theory, tonality
from utils.events import Events
from utils.piece import Part, Piece
from utils.vocabulary import overlaps

LENGTHS = (1 / 12, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 3 / 2, 2, 3, 4)  # quarter notes; others: the nearest
FIGURE = 8  # notes in a figure that may recur
FARTHEST = 64  # how many events back a loop is looked for
REPEATED = {f"repeated_{bars}_bar{'s' * (bars > 1)}": bars for bars in (1, 2, 4, 8, 16)}  # feature -> bars back
BOUNDS = {"stuck": (0.5, 0.8), "drift": (12,)}  # of features; hardly any real music exceeds the highest ones
HELD = 1.5  # quarter notes that a held ending lasts at least

Features = dict[str, float | list[float]]


def as_one(piece: Piece) -> Piece:
    """The piece as if one part played all of it but the drums, or the drums if there is nothing else, so that neither
    the features nor the judge depend on whether the parts are known."""
    heard = piece if piece.is_drum.all() else piece.take(~piece.is_drum)
    return replace(heard, part=np.zeros_like(heard.part), parts=[Part()])


def cut(whole: Events, begin: int = 0, notes: int | None = None, grid: int = theory.GRID) -> Piece:
    """`notes` notes of some events from the event `begin` on, in steps from the bar line before them, with their
    metres; all notes if it is None, and fewer if there are no more. Keys are released before they are struck again, as
    in the files that we write."""
    part = whole[begin : None if notes is None else begin + notes]
    start = int(part.phase[0] - part.streams["offset"][0])
    piece = events.let_go(as_one(events.to_piece(part.streams, grid, grid, start))).take(slice(notes))
    change = events.new_rows(*part.metres.T)
    ticks = (start + np.cumsum(part.streams["offset"]) - part.phase)[change]
    piece.time_signatures = [(int(tick), *part.metre(i)) for tick, i in zip(ticks, change, strict=True)]
    return piece


def moves(piece: Piece) -> np.ndarray:
    """(N, 3) interval and offset of each note from the one before it, 0 for the first, and its duration."""
    ahead = (np.diff(column, prepend=column[:1]) for column in (piece.pitch, piece.onset))
    return np.column_stack([*ahead, piece.duration])


def stuck(piece: Piece) -> float:
    """How much of the second half of a piece is a loop: the share of its notes with the same `moves` as the note k
    events earlier, for the k below `FARTHEST` that makes it greatest. Music that is stuck in a loop comes near 1."""
    moved = moves(piece)
    half = len(moved) // 2
    same = [(moved[half:] == moved[half - k : -k]).all(axis=1).mean() for k in range(1, min(half, FARTHEST))]
    return float(max(same, default=0))


def repeated(piece: Piece, bars: int) -> float:
    """The share of notes whose pitch was also struck exactly so many bars (of their metre) earlier, among those that
    begin at least that long after the first note; NaN if there are none."""
    changes = theory.metres_from_start(piece.time_signatures)
    which = np.searchsorted([tick for tick, *_ in changes], piece.onset, side="right") - 1
    lengths = np.array([theory.bar_length(metre, piece.ticks_per_quarter) for _, *metre in changes])
    before = piece.onset - bars * lengths[which]
    late, struck = before >= piece.onset[0], piece.onset * 128 + piece.pitch
    return float(np.isin((before * 128 + piece.pitch)[late], struck).mean()) if late.any() else np.nan


def home(piece: Piece) -> tuple[bool, float]:
    """Whether the last quarter of the notes suggests the same key signature as the first quarter (relative major and
    minor share one), and by how many semitones the mean pitch differs between the two."""
    quarter = max(len(piece) // 4, 1)
    first, last = piece.take(slice(quarter)), piece.take(slice(-quarter, None))
    sharps = [theory.key_of(part.pitch, part.duration)[0] for part in (first, last)]
    return sharps[0] == sharps[1], abs(float(last.pitch.mean() - first.pitch.mean()))


def ending(piece: Piece) -> dict[str, bool]:
    """How a whole piece ends.

    triad: what sounds at its last onset is a major, minor or diminished triad, or the root and third of one, in any
    octaves. tonic: its root is the tonic of the key that fits the whole piece. held: it sounds for `HELD` quarter notes
    or more after that onset. bar_line: it ends on a bar line (which music with a pickup may stop short of).
    """
    ends = piece.onset + piece.duration
    end, last = int(ends.max()), piece.onset[-1]
    root, key = theory.triad_root(piece.pitch[ends > last].tolist()), tonality.of_notes(piece.pitch, piece.duration)
    return {
        "triad": root is not None,
        "tonic": key is not None and root == key.root,
        "held": bool(end - last >= HELD * piece.ticks_per_quarter),
        "bar_line": piece.bars(end + 1)[-1][0] == end,
    }


def describe(piece: Piece) -> Features:
    """The features of a piece of at least one note.

    pitch_classes (12,): share of each, from C. range: semitones from the lowest to the highest note. notes_per_beat: a
    beat is a quarter note. polyphony: notes sounding together on average, while any sounds. note_lengths: shares of
    `LENGTHS`. repeated_figures: share of the runs of `FIGURE` notes whose intervals, offsets and durations occurred
    before. key_clarity: how well the best of the 24 keys fits, by Aarden's profiles (`theory.key_fits`), which differ a
    little from those of Krumhansl & Kessler 1982. on_beat: share of the onsets (a chord has one) that are a whole
    number of quarter notes after the bar line. The others: see `stuck`, `repeated` (NaN if a piece is too short for
    it), and `home` for home and drift.
    """
    quarter, reached = piece.ticks_per_quarter, np.maximum.accumulate(piece.onset + piece.duration)
    sounding = reached - np.maximum(piece.onset, np.append(0, reached[:-1]))  # ticks that each note adds
    length = np.abs(np.log(piece.duration[:, None] / quarter) - np.log(LENGTHS)).argmin(axis=1)
    moved, (stays, drift) = moves(piece), home(piece)
    figures = [(moved[i, 2], moved[i + 1 : i + FIGURE].tobytes()) for i in range(len(piece) - FIGURE + 1)]
    phase, *_ = events.places(np.unique(piece.onset), piece, quarter)
    return {
        "pitch_classes": (np.bincount(piece.pitch % 12, minlength=12) / len(piece)).tolist(),
        "range": float(np.ptp(piece.pitch)),
        "notes_per_beat": len(piece) * quarter / (reached[-1] - piece.onset[0]),
        "polyphony": piece.duration.sum() / sounding.sum(),
        "note_lengths": (np.bincount(length, minlength=len(LENGTHS)) / len(piece)).tolist(),
        "repeated_figures": 1 - len(set(figures)) / len(figures) if figures else 0.0,
        "key_clarity": float(theory.key_fits(piece.pitch, piece.duration).max()),
        "on_beat": float((phase % quarter == 0).mean()),
        "stuck": stuck(piece),
        **{name: repeated(piece, bars) for name, bars in REPEATED.items()},
        "home": float(stays),
        "drift": drift,
    }


def beyond(features: Features) -> dict[str, bool]:
    """Which of `BOUNDS` a piece exceeds, and whether it does not return home."""
    over = {f"{name} over {bound}": features[name] > bound for name, bounds in BOUNDS.items() for bound in bounds}
    return {**over, "not home": not features["home"]}


def overlap_and_divergence(one: np.ndarray, other: np.ndarray) -> tuple[float, float] | None:
    """The overlapping area of the densities of two sets of distances (1: they are the same), and the Kullback-Leibler
    divergence of the first from the second in nats (0: the same).

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


def compare(features: dict[str, list[Features]]) -> dict[str, dict]:
    """For each feature its mean in every set of pieces, and the overlap and divergence (see above; None where they are
    undefined) of the Euclidean distances within the set 'real' from those between the sets 'generated' and 'real' (Yang
    & Lerch 2018, 'On the evaluation of generative models in music')."""
    from scipy.spatial.distance import cdist, pdist

    table = {}
    for name in features["real"][0]:
        sets = {which: defined(some, name) for which, some in features.items()}
        ours, theirs = sets["generated"], sets["real"]
        measured = overlap_and_divergence(pdist(theirs), cdist(ours, theirs).ravel()) if len(ours) else None
        means = {
            which: values.mean(axis=0).squeeze().tolist() if len(values) else None for which, values in sets.items()
        }
        table[name] = means | dict(zip(("overlap", "divergence"), measured or (None, None), strict=True))
    return table


def defined(some: list[Features], name: str) -> np.ndarray:
    """The values of a feature in the pieces that are long enough to have it, a row each."""
    values = np.array([features[name] for features in some], float).reshape(len(some), -1)
    return values[~np.isnan(values).any(axis=1)]


def of_parts(pieces: list[dict[str, np.ndarray]], players: dict[int, parts.Class]) -> dict[int, dict[str, float]]:
    """What each known part plays in some pieces, stream -> (E,), by its value: its `share` of all notes; their mean
    `pitch`, except for drums; `together`, the share of them that begin while another of the part sounds; and `kept`,
    the share of its pieces in which it keeps to its range and, if it is usually monophonic, to one note at a time."""
    by_value: dict[int, dict[str, float]] = {}
    total = sum(len(streams["offset"]) for streams in pieces)
    for value, known in players.items():
        notes, pitch, doubled, kept = 0, 0.0, 0, []
        for streams in pieces:
            mine = streams["part"] == value
            if not mine.any():
                continue
            onset, note = np.cumsum(streams["offset"])[mine], streams["note"][mine]
            more = overlaps(onset, onset + streams["duration"][mine])
            notes, pitch, doubled = notes + len(note), pitch + float(note.sum()), doubled + more
            kept.append(known.low <= note.min() and note.max() <= known.high and not (known.alone and more))
        if notes:
            by_value[value] = {"share": notes / total, "together": doubled / notes, "kept": float(np.mean(kept))}
            by_value[value] |= {} if value == parts.DRUMS else {"pitch": pitch / notes}
    return by_value
