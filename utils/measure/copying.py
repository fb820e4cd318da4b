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


@dataclass
class Notes:
    """The notes of some pieces, one piece after another, as figures are compared by."""

    opening: np.ndarray  # (N,) hash of a note as the first of a figure: its duration
    move: np.ndarray  # (N,) its interval and offset from the note before it, and its duration, in one number
    piece: np.ndarray  # (N,) number of its piece
    beat: np.ndarray  # (N,) quarter notes since the beginning of its piece
    pieces: int

    @classmethod
    def of(cls, pieces: list[Piece]) -> "Notes":
        onset, pitch, duration = (
            np.concatenate([getattr(piece, name) for piece in pieces] or [np.zeros(0, int)])
            for name in ("onset", "pitch", "duration")
        )
        number = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
        ticks = np.array([piece.ticks_per_quarter for piece in pieces], int)[number]
        moves = (np.diff(onset, prepend=0), np.diff(pitch, prepend=0), duration)
        opening = mix(np.zeros(len(onset), np.uint64), duration)
        move = np.zeros(len(onset), np.uint64)
        for part in moves:
            move = mix(move, part)
        return cls(opening, move, number, onset / ticks, len(pieces))

    def longer(self, at: np.ndarray, hashes: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Figures of `length` notes that begin `at` (F,), and their hashes -> those that their piece has a note after,
        and their hashes with it."""
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
    notes = Notes.of([piece])
    at, hashes = np.arange(len(piece)), notes.opening
    for size in range(1, length):
        at, hashes = notes.longer(at, hashes, size)
    return hashes


def longest_shared(training: Notes, made: Notes) -> list[Run]:
    """For each piece of `made` the longest run of successive notes that has the same intervals, offsets and durations
    somewhere in `training`; (P,).

    Runs grow by a note at a time, on both sides only where they still match, so seven million notes take seconds.
    """
    runs = [Run() for _ in range(made.pieces)]
    here, our = np.arange(len(made.piece)), made.opening
    there, their = np.arange(len(training.piece)), training.opening
    length = 1
    while len(here) and len(there):
        known, which = np.unique(our, return_inverse=True)
        near = np.minimum(np.searchsorted(known, their), len(known) - 1)
        same = known[near] == their
        there, their, near = there[same], their[same], near[same]
        example = np.full(len(known), -1)
        example[near[::-1]] = there[::-1]  # the first of equal ones stays
        found = example[which] >= 0
        here, our = here[found], our[found]
        piece, first = np.unique(made.piece[here], return_index=True)
        for number, at in zip(piece.tolist(), example[which[found]][first].tolist(), strict=True):
            runs[number] = Run(length, int(training.piece[at]), float(training.beat[at]))
        here, our = made.longer(here, our, length)
        there, their = training.longer(there, their, length)
        length += 1
    return runs


def summary(training: Notes, names: list[str], made: list[Piece]) -> dict:
    """The longest runs that pieces share with the training pieces, which have `names`: median, max and, for each piece,
    notes, name and beat; empty where there are no pieces."""
    runs = longest_shared(training, Notes.of(made))
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


def trained_on(about: dict, train: list[Source], others: list[Source]) -> np.ndarray:
    """Mask of the pieces that were trained on: by their notes, or where the training pieces are not there (`train` is
    empty) by their names."""
    if not train:
        return np.array([source.name in about["split"]["train"] for source in others])

    def notes(source: Source) -> tuple:
        return tuple(values.tobytes() for values in source.events.streams.values())

    learnt = {notes(source) for source in train}
    return np.array([notes(source) in learnt for source in others])


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
    runs = longest_shared(Notes.of(in_steps(train, grid)), Notes.of(new))
    path, run = max(zip(paths, runs, strict=True), key=lambda item: item[1].notes)
    where = f" in {path}" if len(paths) > 1 else ""
    there = f" ({train[run.piece].name}, beat {run.beat:g})" if run.notes else ""
    print(f"longest run shared with the training music{where}: {run.notes} notes{there}")
