"""Convert a folder of music to MIDI files, with one track for each part, for train.py to learn from.

python convertmidis.py --source downloads        every MIDI, MusicXML, ABC, kern ... file below downloads/
python convertmidis.py --source downloads --merge
                                                 with one track for all parts
python convertmidis.py --corpus bach             Bach's chorales, which come with music21
python convertmidis.py --corpus haydn,mozart     string quartets and more, one folder for each composer
python convertmidis.py --source JSB.json --out jsb
                                                 a benchmark file of frames (JSON, MAT): jsb/train, jsb/valid ...
"""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from tqdm import tqdm

from utils import apart, files, midi, settings, workers
from utils.errors import DiskFull, NotWritten, UserError
from utils.formats import OWN_ENDINGS, OWN_FORMAT, SCORE_ENDINGS, frames
from utils.theory import GRID
from utils.voicing import in_voices

# ---- what to convert
SOURCE: str = ""  # folder of music (or one file), sub-folders included
CORPUS: str = ""  # instead of a folder: composers in music21's own corpus, such as bach
OUT: str = "midis"  # folder for the MIDI files, with the same sub-folders as SOURCE
VOICES: bool = False  # divide parts with chords, such as a hymn on two staves, into a track for each voice
MERGE: bool = False  # write all parts to one track, without their names, instead of one track each
FRAME: float = 1.0  # quarter notes in a frame of a benchmark file (JSON, MAT)
OVERWRITE: bool = False  # replace MIDI files that are already there

# ---- how much of the computer to use
WORKERS: int = 0  # processes (0: one for each core)
SECONDS: float = 10.0  # processor time after which a file is given up; large ones may take longer
MEGABYTES: int = 800  # memory beyond which a file is given up

# Bytes for which a file gets SECONDS once more: what a slow computer reads in that time, of a score (with music21,
# which takes a minute for a Beethoven quartet) or of any other file.
PACE = {True: 25_000, False: 200_000}  # is it a score?
ENDINGS = (*midi.ENDINGS, *SCORE_ENDINGS, *frames.ENDINGS)


def is_there(source: Path, target: Path) -> bool:
    """Whether an earlier run has converted all of `source`."""
    if frames.is_named(source):
        return any((target / folder / "0000.mid").exists() for folder in ("", *frames.SPLITS))
    return target.exists() or (target.with_name(source.name) / "001.mid").exists()


def convert(source: Path, target: Path, frame: float, voices: bool, merge: bool) -> str:
    """Write the music of `source` to `target`. A tune book becomes numbered files in a folder with the full name of the
    book, which no other file there can have; a benchmark file, with `frame` quarter notes to a frame, goes into the
    folder `target`. Each part has its own track, or with `voices` each voice of a part with chords, or with `merge` all
    share one. Returns what is wrong with a damaged or unusual MIDI file, or ''. Raises a UserError that says why
    `source` cannot be converted.
    """
    if frames.is_named(source):
        pieces = {target / place: piece for place, piece in frames.read(source, frame).items()}
    elif source.name.lower().endswith(midi.ENDINGS):
        pieces = {target: midi.read(source)}
    else:
        if source.name.lower().endswith(OWN_ENDINGS):
            raise UserError(f"{source} cannot be used: {OWN_FORMAT}.")
        from utils.formats import score  # music21 takes a second to start

        tunes, folder = score.read(source), target.with_name(source.name)
        single = len(tunes) == 1
        pieces = {target if single else folder / f"{n:03d}.mid": tune for n, tune in enumerate(tunes, 1)}
    if voices:
        pieces = {path: in_voices(piece, GRID)[0] for path, piece in pieces.items()}
    for path in sorted(pieces, key=lambda path: path.name, reverse=True):  # so the first exists only if all do
        try:
            midi.save(pieces[path], path, merge)
        except ValueError as error:
            raise UserError(f"{source} cannot be stored in a MIDI file: {error}.") from None
    return " ".join(filter(None, (piece.damage for piece in pieces.values())))


def plan(source: str, corpus: str, out: Path) -> dict[Path, Path]:
    """Source file -> target file (for a benchmark file: folder). No two sources share a target. Raises UserError if the
    settings conflict or there is nothing to convert."""
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
            raise UserError(f"--out {out} lies inside --source {source}: its files would be read, too. Choose another.")
        # What cannot be read is reported, and comes last, so that it takes no name from what can.
        found = [*midi.find(source, (*ENDINGS, *frames.PICKLES)), *midi.find(source, OWN_ENDINGS)]
        places = {path: path.relative_to(source) for path in found}
    if not places:
        raise UserError(f"No music in {source}: no file there ends in {' '.join(ENDINGS)}.")
    targets = {}
    taken = {folder for relative in places.values() for folder in relative.parents}
    for path, relative in places.items():
        ending = "" if frames.is_named(path) else ".mid"
        target = relative.with_suffix(ending)
        while target in taken:  # then a benchmark file keeps its full name, which nothing else can have
            target = relative = relative.with_name(relative.name + ending)
        taken.add(target)
        targets[path] = out / target
        if targets[path].resolve() == path.resolve():
            raise UserError(f"{path} would be overwritten by its own conversion: choose another folder with --out.")
    return targets


def convert_all(
    targets: dict[Path, Path], count: int, work: Callable, seconds: float, megabytes: float
) -> dict[Path, str | Exception]:
    """Call `work` for each source and target in `count` processes. Returns for each source what `work` returned, or the
    error. A file may take `megabytes` of memory and `seconds` of processor time, or longer if it is large (see PACE).
    Raises DiskFull."""

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
    """Remove the scratch files below `out` that processes left when they were killed while writing."""
    for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
        files.sweep(folder)


def main(args: SimpleNamespace) -> None:
    settings.at_least("workers", args.workers, 0)
    settings.at_least("frame", args.frame, 0.01)
    settings.at_most("frame", args.frame, 64)
    settings.at_least("seconds", args.seconds, 0.1)
    settings.at_least("megabytes", args.megabytes, 200)
    if args.voices and args.merge:
        raise UserError("--voices makes more tracks, and --merge a single one: give one of them.")
    out = Path(args.out)
    targets = plan(args.source, args.corpus, out)
    present = {path for path, target in targets.items() if is_there(path, target) and not args.overwrite}
    targets = {path: target for path, target in targets.items() if path not in present}
    work = functools.partial(convert, frame=args.frame, voices=args.voices, merge=args.merge)
    sweep(out)
    try:
        outcomes = convert_all(targets, apart.side_by_side(args.workers), work, args.seconds, args.megabytes)
    finally:
        sweep(out)  # processes are killed when a file exceeds its limits, and all of them on Ctrl-C
    errors = {path: outcome for path, outcome in outcomes.items() if isinstance(outcome, Exception)}
    done, no_music = len(outcomes) - len(errors), 0
    for path, damage in outcomes.items():
        if damage and path not in errors:
            print(f"{path}: {damage}", file=sys.stderr)
    for path, error in errors.items():
        sentence = error if isinstance(error, UserError) else f"{path}: {type(error).__name__}: {error}."
        no_music += isinstance(error, frames.NoFrames)
        print(f"{'skipped' if isinstance(error, frames.NoFrames) else 'failed'}: {sentence}", file=sys.stderr)
    print(
        f"{done} converted, {len(present)} skipped (already there), {len(errors) - no_music} failed, "
        f"{no_music} skipped (no music); the MIDI files are in {out}/"
    )
    if not done and not present or any(isinstance(error, NotWritten) for error in errors.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    settings.run(main, __file__)
