"""Finds what a piece copies from the training music, note for note, in any key.

All pieces are in steps of one grid: `events.to_piece(streams, grid, grid)`. Shapes: N notes of all pieces, P pieces.
"""

from pathlib import Path

import numpy as np

from utils import dataset, ensemble, events, recall
from utils.checkpoint import Checkpoint
from utils.compose import Made
from utils.dataset import Source
from utils.errors import UserError
from utils.piece import Piece, plural

FIGURE = 8  # notes of the longest figure whose rounds are not counted as copied: those of arpeggios, trills, pulses


def mix(hashes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Hashes (N,) of sequences of small numbers -> hashes of the same sequences, each extended by one of `values` (N,).
    Even ten million different sequences hardly ever collide: a multiplication and a shift, as in the finaliser of
    SplitMix64 (Steele et al. 2014)."""
    added = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ added) * np.uint64(0xBF58476D1CE4E5B9)
    return hashes ^ (hashes >> np.uint64(29))


def goes_on(notes: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(N,) whether each note only goes on with a figure: whether the last 1 to `FIGURE` of the `notes` (N,), hashes of
    what is played and when after the note before, are the same as those before them, in the same `line` (N,)."""
    repeats = np.zeros(len(notes), bool)
    for size in range(1, FIGURE + 1):
        again = recall.streaks(notes[size:] == notes[:-size])[size:] >= size  # for the notes from 2 * size on
        repeats[2 * size :] |= again & (line[2 * size :] == line[: -2 * size])
    return repeats


def longest_shared(training: dict[str, Piece], made: list[Piece]) -> dict:
    """For each piece of `made`, the longest run of successive notes of a part that also occurs, with the same
    intervals, offsets and durations, in a piece of `training`, name -> piece. Notes that only go on with a figure are
    not counted: a note that is struck fifty times is in much music.

    Returns the median and the max of the lengths in notes, and per_piece: notes; name of the training piece, '' if no
    note is shared; and beat, where the run begins in that piece, in quarter notes from its start. Empty if `made` is.
    Runs grow note by note, and only those that still match are kept, so seven million notes take seconds.
    """
    pieces, names = [*training.values(), *made], list(training)
    lines = [piece.take(piece.part == part) for piece in pieces for part in range(len(piece.parts))]
    columns = zip(*((line.onset, line.pitch, line.duration) for line in lines), strict=True)
    onset, pitch, duration = map(np.concatenate, columns)  # (N,)
    line = np.append(np.repeat(np.arange(len(lines)), list(map(len, lines))), -1)  # (N + 1,) of each note; -1: the end
    piece = np.repeat(np.arange(len(pieces)), [len(piece.parts) for piece in pieces])[line]  # (N + 1,) of each note
    empty = np.zeros(len(onset), np.uint64)
    later = mix(empty, np.diff(onset, prepend=0))
    move = mix(mix(later, np.diff(pitch, prepend=0)), duration)
    figures = goes_on(mix(mix(later, pitch), duration), line[:-1])
    counted = np.cumsum(np.append(0, ~figures))  # (N + 1,) how many of the notes before each are counted
    rows, length = [{"notes": 0, "name": "", "beat": 0.0} for _ in made], 1
    at, hashes = np.arange(len(onset)), mix(empty, duration)  # where runs of `length` notes begin
    while (new := piece[at] >= len(training)).any():
        known = np.unique(hashes[new])
        which = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        same = known[which] == hashes
        in_training = np.flatnonzero(same & ~new)[::-1]
        example = np.full(len(known), -1)
        example[which[in_training]] = at[in_training]  # of equal runs the first wins, as it is written last
        shared = same & (example[which] >= 0)
        found = np.flatnonzero(shared & new)
        notes = counted[at[found] + length] - counted[at[found]]
        order = np.argsort(-notes, kind="stable")
        _, first = np.unique(piece[at[found[order]]], return_index=True)
        for i in order[first]:  # the run of each piece with the most notes
            row, place = rows[piece[at[found[i]]] - len(training)], example[which[found[i]]]
            if notes[i] > row["notes"]:
                beat = float(onset[place] / pieces[0].ticks_per_quarter)
                row |= {"notes": int(notes[i]), "name": names[piece[place]], "beat": beat}
        longer = shared & (line[at + length] == line[at])  # the next note belongs to the same part
        at = at[longer]
        hashes, length = mix(hashes[longer], move[at + length]), length + 1
    lengths = [row["notes"] for row in rows]
    return {"median": float(np.median(lengths)), "max": max(lengths), "per_piece": rows} if rows else {}


def read_as_trained(about: dict, folder: str) -> tuple[list[Source], list[tuple[str, str]]]:
    """`dataset.read_folder` with the settings that the weights were trained with."""
    then = about["settings"]
    return dataset.read_folder(folder, events.Representation.of(then), then["split"])


def read_split(about: dict, folder: str = "") -> tuple[list[Source], list[Source]]:
    """The (training, held-out) pieces that a weights file names and that are still in `folder` ('': the one it was
    trained on). Raises UserError if there is no such folder or no piece in it."""
    sources, _ = read_as_trained(about, folder or about["settings"]["midi_dir"])
    train, held_out = (set(about["split"][side]) for side in ("train", "held_out"))
    return [s for s in sources if s.name in train], [s for s in sources if s.name in held_out]


def content(source: Source) -> tuple[bytes, ...]:
    """A key that is equal for two pieces with the same events, whatever their files are called."""
    return tuple(source.events.streams[name].tobytes() for name in sorted(source.events.streams))


def trained_on(about: dict, train: list[Source], others: list[Source]) -> np.ndarray:
    """(P,) mask of the pieces in `others` that a weights file was trained on. They are recognised by their events; by
    name where a training piece is missing from `train`, or was learnt by the weights that training started from."""
    learnt, lost = set(map(content, train)), set(about["split"]["train"]) - {source.name for source in train}
    lost |= set(about.get("learnt_before", ()))
    return np.array([content(source) in learnt or source.name in lost for source in others], bool)


def is_here(folder: str) -> bool:
    """Whether a folder is inside the current one or the program's: the only ones searched on a weights file's word."""
    here = Path.cwd(), Path(__file__).resolve().parents[2]
    return any(Path(folder).resolve().is_relative_to(known) for known in here)


def report(weights: Checkpoint, paths: list[Path], made: list[Made], folder: str = "") -> None:
    """Print the longest run that the new events of some files share with the training music, if that is found in
    `folder` ('': where the weights file says, if that `is_here`)."""
    if not folder and not is_here(weights.about["settings"]["midi_dir"]):
        print("The training music is not inside this folder: name its folder with --training-dir to check for copies.")
        return
    try:
        train, _ = read_split(weights.about, folder)
    except UserError:
        train = []
    if not train:
        return
    grid = weights.vocabulary.grid
    decoded = ((weights.vocabulary.decode(one.classes), one.players) for one in made)
    new = [ensemble.heard(events.to_piece(values, grid, grid, players=players)) for values, players in decoded]
    training = {source.name: events.to_piece(source.events.streams, grid, grid) for source in train}
    rows = longest_shared(training, new)["per_piece"]
    path, row = max(zip(paths, rows, strict=True), key=lambda item: item[1]["notes"])
    where = f" in {path}" if len(paths) > 1 else ""
    there = f" ({row['name']}, beat {row['beat']:g})" if row["notes"] else ""
    print(f"longest run shared with the training music{where}: {plural(row['notes'], 'note')}{there}")
