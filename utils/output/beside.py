"""What stands beside the MIDI file of a piece: sound, a picture, notation; each made by a package that is imported only
when it is wanted."""

import contextlib
import os
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from utils import apart
from utils.errors import UserError
from utils.midi import BESIDE
from utils.piece import Piece


def about(args: SimpleNamespace, seed: int) -> str:
    """How a piece was made, in a line: by which weights, seed, temperature and top-p."""
    weights = Path(args.weights).name.removesuffix(".weights.h5")
    nucleus = f" · top-p {args.top_p:g}" if args.top_p < 1 else ""
    return f"weights {weights} · seed {seed} · temperature {args.temperature:g}{nucleus}"


def to_stderr(warning: str) -> None:
    print(warning, file=sys.stderr)


def make(target: Path, piece: Piece, soundfont: str, line: str, prior: Piece | None) -> str:
    """Write the file beside a MIDI file that has the ending of `target`; returns what went wrong, or ''. Of a file that
    fails nothing is left, not even an older one."""
    try:
        if target.suffix == ".wav":
            from utils.output import sound

            sound.write(piece, target, soundfont)
        elif target.suffix == ".png":
            from utils.output import pianoroll

            pianoroll.write(piece, target, line, prior)
        else:
            from utils.output import musicxml

            musicxml.write(piece, target, target.stem)
    except Exception as error:
        target.unlink(missing_ok=True)
        return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return ""


def prepare(soundfont: str) -> None:
    """Make the sound of a note, for which all is loaded that takes time."""
    from utils.output import sound

    sound.rendered(Piece(*np.array([[0], [60], [1], [64], [0]])), soundfont)


def called(work: Callable, *arguments: object) -> object:
    """What the other process does."""
    return work(*arguments)


class Beside:
    """Writes what stands beside MIDI files, as `args` (wav, picture, notation, soundfont) ask for.

    A failure is told to `warn` in a line, a str, and costs that file only; the MIDI file is there already. With `ahead`
    another process starts at once, which will write the sounds while this one draws.
    """

    def __init__(self, args: SimpleNamespace, warn: Callable = to_stderr, ahead: bool = False):
        self.args, self.warn, self.pipe, self.ready = args, warn, None, False
        if ahead and args.wav and args.picture and (os.cpu_count() or 1) > 1 and not apart.has_threads():
            import multiprocessing

            self.pipe, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=apart.serve, args=(called, theirs), daemon=True)
            process.start()
            weakref.finalize(self, process.kill)
            self.pipe.send((prepare, args.soundfont))

    def has_help(self) -> bool:
        """Whether the other process waits for work: where processes start slowly it may come too late."""
        if self.pipe and not self.ready and self.pipe.poll():
            self.ready = not self.answer()
        return self.ready

    def answer(self) -> str | None:
        """What came of the last call in the other process."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.pipe, self.ready = None, False
            return "its process was ended, perhaps for want of memory"

    def write(self, path: Path, piece: Piece, line: str, prior: Piece | None = None) -> str:
        """Write beside the MIDI file `path`; returns '; also .wav, .png' for the message that says what was written.
        `line` and `prior` are for the picture, see `pianoroll.write`."""
        wanted = zip(BESIDE, (self.args.wav, self.args.picture, self.args.notation), strict=True)
        targets = [path.with_suffix(ending) for ending, asked_for in wanted if asked_for]
        jobs = {target: (target, piece, self.args.soundfont, line, prior) for target in targets}
        elsewhere = targets[:1] if self.has_help() else []  # the sound
        for target in elsewhere:
            with contextlib.suppress(BrokenPipeError):  # what has ended gives no answer
                self.pipe.send((make, *jobs[target]))
        here = {target: make(*jobs[target]) for target in targets if target not in elsewhere}
        problems = {target: self.answer() for target in elsewhere} | here
        for target in filter(problems.get, targets):
            self.warn(f"{target.name} was not written: {' '.join(problems[target].split())}")
        written = [target.suffix for target in targets if not problems[target]]
        return f"; also {', '.join(written)}" if written else ""


def write_beside(
    path: Path, piece: Piece, args: SimpleNamespace, line: str, prior: Piece | None = None, warn: Callable = to_stderr
) -> str:
    """As `Beside` does."""
    return Beside(args, warn).write(path, piece, line, prior)
