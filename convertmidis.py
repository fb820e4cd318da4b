"""Convert a folder of music to single-track MIDI files that train.py learns from.

python convertmidis.py --source downloads        every MIDI, MusicXML, ABC, kern ... file below downloads/
python convertmidis.py --corpus bach             Bach's chorales, which come with music21
"""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from utils import midi, settings
from utils.errors import UserError

# ---- what to convert
SOURCE = ""  # folder of music (or one file), sub-folders included
CORPUS = ""  # instead of a folder: a composer in music21's own corpus, such as bach
OUT = "midis"  # folder for the MIDI files; a file keeps its place below SOURCE
OVERWRITE = False  # replace files that are already there
WORKERS = 0  # processes (0: one for each core)


def tune_folder(source: Path, target: Path) -> Path:
    """Where the tunes of a tune book go: a folder named as the book, so that no other file can be in the way."""
    return target.with_name(source.name)


def convert(source: Path, target: Path) -> None:
    """Write the music of `source` to `target` (a tune book: to numbered files in its folder).

    Raises UserError that says why it cannot be done.
    """
    if source.name.lower().endswith(midi.ENDINGS):
        pieces = [midi.read(source)]
    else:
        from utils import score  # music21 takes a second to start

        pieces = score.read(source)
    targets = [target]
    if len(pieces) > 1:
        targets = [tune_folder(source, target) / f"{n:03d}.mid" for n in range(1, len(pieces) + 1)]
    for piece, path in zip(pieces, targets, strict=True):
        data = io.BytesIO()
        try:
            midi.write(piece, data)
        except ValueError as error:
            raise UserError(f"{source} holds what a MIDI file cannot: {error}.") from None
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(data.getvalue())
            os.replace(scratch, path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from None


def plan(source: str, corpus: str, out: Path) -> dict[Path, Path]:
    """Source file -> target file. Two sources never share a target. Raises UserError if there is nothing to do."""
    if bool(source) == bool(corpus):
        raise UserError("Name what to convert: --source FOLDER, or --corpus bach for the chorales in music21's corpus.")
    if corpus:
        from utils import score

        # A multi-movement work has its movements in a folder of its own.
        paths = score.corpus_files(corpus)
        files = {path: path.relative_to(os.path.commonpath([p.parent for p in paths])) for path in paths}
    elif Path(source).is_file():
        files = {Path(source): Path(Path(source).name)}
    else:
        if out.resolve().is_relative_to(Path(source).resolve()):
            raise UserError(f"--out {out} lies inside --source {source}: converted files would be converted again.")
        found = midi.find(source, (*midi.ENDINGS, *midi.SCORE_ENDINGS))
        files = {path: path.relative_to(source) for path in found}
    if not files:
        raise UserError(
            f"No music in {source}: no file there ends in {' '.join((*midi.ENDINGS, *midi.SCORE_ENDINGS))}."
        )
    targets = {}
    taken = set()
    for path, relative in files.items():
        target = relative.with_suffix(".mid")
        while target in taken:
            target = relative.with_name(relative.name + ".mid")
            relative = target
        taken.add(target)
        targets[path] = out / target
        if targets[path].resolve() == path.resolve():
            raise UserError(f"{path} would be overwritten by its own conversion: choose another folder with --out.")
    return targets


def reason(path: Path, error: Exception) -> str:
    """The sentence for a file that failed."""
    return str(error) if isinstance(error, UserError) else f"{path} failed: {type(error).__name__}: {error}."


def ignore_ctrl_c() -> None:
    """Ctrl-C reaches the workers too; it is the main process that ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def cancelled_by_ctrl_c(pool: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    """A pool that finishes the files in hand, and no more, when it is interrupted."""
    try:
        yield pool
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def convert_all(targets: dict[Path, Path], workers: int) -> tuple[int, dict[Path, str]]:
    """Convert in parallel; returns how many succeeded, and the reason for each that failed."""
    done, failed, crashed = 0, {}, []
    with tqdm(total=len(targets), desc="converting", unit="file", delay=2) as bar:
        with cancelled_by_ctrl_c(ProcessPoolExecutor(workers, initializer=ignore_ctrl_c)) as pool:
            jobs = {pool.submit(convert, *item): item[0] for item in targets.items()}
            for job in as_completed(jobs):
                try:
                    job.result()
                    done += 1
                except BrokenProcessPool:
                    crashed.append(jobs[job])
                    continue
                except Exception as error:  # whatever is wrong with one file, the others go on
                    failed[jobs[job]] = reason(jobs[job], error)
                bar.update()
        # A file that brought its process down took the others in the pool with it: each gets a process of its own.
        for path in crashed:
            with ProcessPoolExecutor(1) as pool:
                try:
                    pool.submit(convert, path, targets[path]).result()
                    done += 1
                except BrokenProcessPool:
                    failed[path] = f"{path} made its reader crash: it is damaged."
                except Exception as error:
                    failed[path] = reason(path, error)
            bar.update()
    return done, failed


def main(args) -> None:
    settings.at_least("workers", args.workers, 0)
    out = Path(args.out)
    targets = plan(args.source, args.corpus, out)
    present = {
        path: target for path, target in targets.items() if target.exists() or tune_folder(path, target).is_dir()
    }
    if not args.overwrite:
        targets = {path: target for path, target in targets.items() if path not in present}
    # Windows can wait for 61 processes at the most.
    done, failed = convert_all(targets, min(args.workers or os.cpu_count() or 1, 61))
    for sentence in failed.values():
        print(f"failed: {sentence}", file=sys.stderr)
    skipped = 0 if args.overwrite else len(present)
    print(f"{done} converted, {skipped} skipped (already there), {len(failed)} failed; the MIDI files are in {out}/")
    if failed and not done and not skipped:
        raise SystemExit(1)


if __name__ == "__main__":
    settings.run(main, __file__)
