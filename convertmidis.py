"""Convert a folder of music to MIDI files with a track for each part, from which train.py learns.

python convertmidis.py --source downloads        every MIDI, MusicXML, ABC, kern ... file below downloads/
python convertmidis.py --source downloads --merge
                                                 with one track for all parts
python convertmidis.py --corpus bach             Bach's chorales, which come with music21
python convertmidis.py --corpus haydn,mozart     string quartets and more, in a folder for each composer
python convertmidis.py --source JSB.json --out jsb
                                                 a benchmark in frames (JSON, MAT): jsb/train, jsb/valid ...
"""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from tqdm import tqdm

from utils import apart, files, midi, settings, workers
from utils.errors import DiskFull, NotWritten, UserError
from utils.formats import SCORE_ENDINGS, frames

# ---- what to convert
SOURCE: str = ""  # folder of music (or one file), sub-folders included
CORPUS: str = ""  # instead of a folder: composers in music21's own corpus, such as bach
OUT: str = "midis"  # folder for the MIDI files; a file keeps its place below SOURCE
MERGE: bool = False  # write one track, without the names of the parts, instead of one for each
FRAME: float = 1.0  # quarter notes in a frame of a benchmark file (JSON, MAT)
OVERWRITE: bool = False  # replace files that are already there

# ---- how much of the computer
WORKERS: int = 0  # processes (0: one for each core)
SECONDS: float = 10.0  # a file that takes a processor longer is skipped; a large one may take more, see PACE
MEGABYTES: int = 800  # a file that takes more memory is skipped

# Bytes of a file for which it may take SECONDS once more: what a slow computer reads in that time, with music21, which
# takes a minute for a quartet by Beethoven, or without.
PACE = {True: 25_000, False: 200_000}  # whether it is a score
ENDINGS = (*midi.ENDINGS, *SCORE_ENDINGS, *frames.ENDINGS)


def is_there(source: Path, target: Path) -> bool:
    """Whether an earlier run has converted `source`, and was not stopped while it did."""
    if frames.is_named(source):
        return any((target / folder / "0000.mid").exists() for folder in ("", *frames.SPLITS))
    return target.exists() or (target.with_name(source.name) / "001.mid").exists()


def convert(source: Path, target: Path, frame: float, merge: bool) -> str:
    """Write the music of `source` to `target`; a tune book to numbered files in a folder with the book's full name,
    which no other file there can have, and a benchmark file, with frames of so many quarter notes, into the folder
    `target`. A file has a track for each part, or with `merge` one for all. Returns what is wrong with a MIDI file that
    cannot be read to its end, or ''. Raises UserError that says why it cannot be converted.
    """
    if frames.is_named(source):
        pieces = {target / place: piece for place, piece in frames.read(source, frame).items()}
    elif source.name.lower().endswith(midi.ENDINGS):
        pieces = {target: midi.read(source)}
    else:
        from utils.formats import score  # music21 takes a second to start

        tunes, folder = score.read(source), target.with_name(source.name)
        single = len(tunes) == 1
        pieces = {target if single else folder / f"{n:03d}.mid": tune for n, tune in enumerate(tunes, 1)}
    for path in sorted(pieces, key=lambda path: path.name, reverse=True):  # the first is there when all are
        try:
            midi.save(pieces[path], path, merge)
        except ValueError as error:
            raise UserError(f"{source} holds what a MIDI file cannot: {error}.") from None
    return " ".join(filter(None, (piece.damage for piece in pieces.values())))


def plan(source: str, corpus: str, out: Path) -> dict[Path, Path]:
    """Source file -> target file (of a benchmark file: folder). Two sources never share a target. Raises UserError if
    there is nothing to do."""
    composers = list(dict.fromkeys(name.strip() for name in corpus.split(",") if name.strip()))
    if source and composers:
        raise UserError("--source and --corpus both say what to convert: give one of them.")
    if not source and not composers:
        raise UserError("Name what to convert: --source FOLDER, or --corpus bach for the chorales in music21's corpus.")
    if composers:
        from utils.formats import score

        places = score.corpus_places(composers)
    elif Path(source).is_file():
        if frames.is_named(Path(source)):
            return {Path(source): out}
        places = {Path(source): Path(Path(source).name)}
    else:
        if out.resolve().is_relative_to(Path(source).resolve()):
            raise UserError(f"--out {out} lies inside --source {source}: converted files would be converted again.")
        places = {path: path.relative_to(source) for path in midi.find(source, (*ENDINGS, *frames.PICKLES))}
    if not places:
        raise UserError(f"No music in {source}: no file there ends in {' '.join(ENDINGS)}.")
    targets = {}
    taken = {folder for relative in places.values() for folder in relative.parents}
    for path, relative in places.items():
        ending = "" if frames.is_named(path) else ".mid"
        target = relative.with_suffix(ending)
        while target in taken:  # a benchmark file then keeps its full name, which nothing else can have
            target = relative = relative.with_name(relative.name + ending)
        taken.add(target)
        targets[path] = out / target
        if targets[path].resolve() == path.resolve():
            raise UserError(f"{path} would be overwritten by its own conversion: choose another folder with --out.")
    return targets


def convert_all(
    targets: dict[Path, Path], count: int, work: Callable, seconds: float, megabytes: float
) -> dict[Path, str | Exception]:
    """Call `work` for each source and target, in `count` processes; for each source file what it returned, or what went
    wrong. A file may take so many megabytes and, as far as its size is no reason for more, so many seconds. Raises
    DiskFull."""

    def most_seconds(source: Path) -> float:
        size = source.stat().st_size if source.exists() else 0
        return seconds * (1 + size / PACE[source.name.lower().endswith(SCORE_ENDINGS)])

    outcomes = {}
    with tqdm(total=len(targets), desc="converting", unit="file", delay=2) as bar:
        for source, outcome in workers.each(work, targets, count, most_seconds, megabytes):
            if isinstance(outcome, DiskFull):
                raise outcome
            outcomes[source] = outcome
            bar.update()
    return outcomes


def sweep(out: Path) -> None:
    """Remove what processes that were ended while they wrote have left below a folder."""
    for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
        files.sweep(folder)


def main(args: SimpleNamespace) -> None:
    settings.at_least("workers", args.workers, 0)
    settings.at_least("frame", args.frame, 0.01)
    settings.at_most("frame", args.frame, 64)
    settings.at_least("seconds", args.seconds, 0.1)
    settings.at_least("megabytes", args.megabytes, 200)
    out = Path(args.out)
    targets = plan(args.source, args.corpus, out)
    present = {path for path, target in targets.items() if is_there(path, target) and not args.overwrite}
    targets = {path: target for path, target in targets.items() if path not in present}
    count = min(args.workers or os.cpu_count() or 1, apart.MOST_PROCESSES)
    work = functools.partial(convert, frame=args.frame, merge=args.merge)
    sweep(out)
    try:
        outcomes = convert_all(targets, count, work, args.seconds, args.megabytes)
    finally:
        sweep(out)  # a file that takes too much is ended, and so are all by Ctrl-C
    errors = {path: outcome for path, outcome in outcomes.items() if isinstance(outcome, Exception)}
    done, other = len(outcomes) - len(errors), 0
    for path, damage in outcomes.items():
        if damage and path not in errors:
            print(f"{path}: {damage}", file=sys.stderr)
    for path, error in errors.items():
        sentence = error if isinstance(error, UserError) else f"{path}: {type(error).__name__}: {error}."
        other += isinstance(error, frames.NoFrames)
        print(f"{'skipped' if isinstance(error, frames.NoFrames) else 'failed'}: {sentence}", file=sys.stderr)
    print(
        f"{done} converted, {len(present)} skipped (already there), {len(errors) - other} failed, "
        f"{other} skipped (no music); the MIDI files are in {out}/"
    )
    if not done and not present or any(isinstance(error, NotWritten) for error in errors.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    settings.run(main, __file__)
