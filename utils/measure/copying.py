"""What of a piece stands in the training music, note for note, in any key.

Pieces are in steps of one grid: `events.to_piece(streams, grid, grid)`. Shapes: N notes of all pieces, P pieces.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils import dataset, events
from utils.checkpoint import Checkpoint
from utils.dataset import Source
from utils.errors import UserError
from utils.measure.hashing import mix
from utils.midi import Piece


class Notes:
    """The notes of some pieces, one piece after another, as figures are compared by."""

    def __init__(self, pieces: list[Piece]):
        onset, pitch, duration = (
            np.concatenate([getattr(piece, name) for piece in pieces] or [np.zeros(0, int)])
            for name in ("onset", "pitch", "duration")
        )
        size, ticks = [len(piece) for piece in pieces], [piece.ticks_per_quarter for piece in pieces]
        self.piece = np.repeat(np.arange(len(pieces)), size)  # (N,) number of its piece
        self.beat = onset / np.repeat(np.array(ticks, int), size)  # (N,) quarter notes since its piece began
        self.opening = mix(np.zeros(len(onset), np.uint64), duration)  # (N,) hash of a note as the first of a figure
        self.move = np.zeros(len(onset), np.uint64)  # (N,) hash of its offset and interval, and of its duration
        for part in (np.diff(onset, prepend=0), np.diff(pitch, prepend=0), duration):
            self.move = mix(self.move, part)

    def longer(self, at: np.ndarray, hashes: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Figures of `length` notes that begin `at` (F,), and their hashes -> those after which their piece has another
        note, and their hashes with it."""
        after = np.minimum(at + length, len(self.piece) - 1)
        inside = (at + length < len(self.piece)) & (self.piece[after] == self.piece[at])
        return at[inside], mix(hashes[inside], self.move[after[inside]])


@dataclass
class Run:
    """The longest figure of a piece that another piece has too."""

    notes: int = 0
    piece: int = -1  # number of the other piece
    beat: float = 0.0  # where the figure begins there, in quarter notes since the beginning of that piece


def figures(piece: Piece, length: int) -> np.ndarray:
    """Hashes of all figures of `length` notes in succession: equal where the intervals, offsets and durations are."""
    notes = Notes([piece])
    at, hashes = np.arange(len(piece)), notes.opening
    for size in range(1, length):
        at, hashes = notes.longer(at, hashes, size)
    return hashes


def longest_shared(training: list[Piece], made: list[Piece]) -> list[Run]:
    """For each piece of `made` the longest run of successive notes that has the same intervals, offsets and durations
    somewhere in `training`; (P,).

    Runs grow by a note at a time, on both sides only where they still match, so seven million notes take seconds.
    """
    notes, runs, length = Notes(training + made), [Run() for _ in made], 1
    at, hashes = np.arange(len(notes.piece)), notes.opening
    while (new := notes.piece[at] >= len(training)).any():
        known = np.unique(hashes[new])
        which = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        same = known[which] == hashes
        there = np.flatnonzero(same & ~new)[::-1]
        example = np.full(len(known), -1)
        example[which[there]] = at[there]  # the first of equal ones stays
        shared = same & (example[which] >= 0)
        piece, first = np.unique(notes.piece[at[shared & new]], return_index=True)
        places = example[which[shared & new][first]]
        for number, place in zip((piece - len(training)).tolist(), places, strict=True):
            runs[number] = Run(length, int(notes.piece[place]), float(notes.beat[place]))
        at, hashes = notes.longer(at[shared], hashes[shared], length)
        length += 1
    return runs


def summary(training: list[Piece], names: list[str], made: list[Piece]) -> dict:
    """The longest runs that pieces share with the training pieces, which have `names`: median, max and, for each piece,
    notes, name and beat; empty where there are no pieces."""
    runs = longest_shared(training, made)
    if not runs:
        return {}
    rows = [{"notes": run.notes, "name": names[run.piece] if run.notes else "", "beat": run.beat} for run in runs]
    lengths = [run.notes for run in runs]
    return {"median": float(np.median(lengths)), "max": max(lengths), "per_piece": rows}


def read_as_trained(about: dict, folder: str) -> tuple[list[Source], list[tuple[str, str]]]:
    """`dataset.read_folder` as it was for the training of a weights file."""
    then = about["settings"]
    return dataset.read_folder(folder, events.Representation.of(then), then["split"])


def read_split(about: dict, folder: str = "") -> tuple[list[Source], list[Source]]:
    """The (training, held-out) pieces that a weights file names, as far as they are below `folder` ('': where they were
    when it was trained). Raises UserError if there is no such folder or no piece in it."""
    sources, _ = read_as_trained(about, folder or about["settings"]["midi_dir"])
    train, held_out = (set(about["split"][side]) for side in ("train", "held_out"))
    return [s for s in sources if s.name in train], [s for s in sources if s.name in held_out]


def content(source: Source) -> tuple[bytes, ...]:
    """What is equal where two pieces have the same events, whatever their files are called."""
    return tuple(source.events.streams[name].tobytes() for name in sorted(source.events.streams))


def trained_on(about: dict, train: list[Source], others: list[Source]) -> np.ndarray:
    """(P,) mask of the pieces that a weights file was trained on: by their events, or by their names as far as the
    training pieces are not in `train`."""
    learnt, lost = set(map(content, train)), set(about["split"]["train"]) - {source.name for source in train}
    return np.array([content(source) in learnt or source.name in lost for source in others], bool)


def in_steps(sources: list[Source], grid: int) -> list[Piece]:
    """The notes of pieces, with a tick for each step."""
    return [events.to_piece(source.events.streams, grid, grid) for source in sources]


def report(weights: Checkpoint, paths: list[Path], made: list[dict[str, np.ndarray]]) -> None:
    """Print how much of the new events of some files, stream -> (E,) classes, stands in the training music; nothing if
    that is no longer there."""
    try:
        train, _ = read_split(weights.about)
    except UserError:
        return
    if not train:
        return
    grid = weights.vocabulary.grid
    new = [events.to_piece(weights.vocabulary.decode(classes), grid, grid) for classes in made]
    runs = longest_shared(in_steps(train, grid), new)
    path, run = max(zip(paths, runs, strict=True), key=lambda item: item[1].notes)
    where = f" in {path}" if len(paths) > 1 else ""
    there = f" ({train[run.piece].name}, beat {run.beat:g})" if run.notes else ""
    print(f"longest run shared with the training music{where}: {run.notes} notes{there}")
