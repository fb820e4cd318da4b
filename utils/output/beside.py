"""What stands beside the MIDI file of a piece: sound, a picture, notation; each made by a package that is imported only
when it is wanted."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from utils.errors import UserError
from utils.midi import BESIDE
from utils.piece import Piece


def about(args: SimpleNamespace, seed: int, key: str) -> str:
    """How a piece was made, in a line: by which weights, seed, temperature and top-p, and in which `key`, a phrase."""
    weights = Path(args.weights).name.removesuffix(".weights.h5")
    nucleus = f" · top-p {args.top_p:g}" if args.top_p < 1 else ""
    return f"weights {weights} · seed {seed} · temperature {args.temperature:g}{nucleus}{key and f' · {key}'}"


def to_stderr(warning: str) -> None:
    print(warning, file=sys.stderr)


def write_beside(
    path: Path, piece: Piece, args: SimpleNamespace, line: str, prior: Piece | None = None, warn: Callable = to_stderr
) -> str:
    """Write beside the MIDI file `path` what `args` (wav, picture, notation, soundfont) ask for; returns '; also .wav,
    .png' for the message that says what was written. `line` and `prior` are for the picture, see `pianoroll.write`.

    A failure is told to `warn` in a line, a str, and costs that file only, of which nothing is left, not even an older
    one; the MIDI file is there already.
    """
    written = []
    for ending, wanted in zip(BESIDE, (args.wav, args.picture, args.notation), strict=True):
        target = path.with_suffix(ending)
        if not wanted:
            continue
        try:
            if ending == ".wav":
                from utils.output import sound

                sound.write(piece, target, args.soundfont)
            elif ending == ".png":
                from utils.output import pianoroll

                pianoroll.write(piece, target, line, prior)
            else:
                from utils.output import musicxml

                musicxml.write(piece, target, path.stem)
            written.append(ending)
        except Exception as error:
            target.unlink(missing_ok=True)
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            warn(f"{target.name} was not written: {' '.join(reason.split())}")
    return f"; also {', '.join(written)}" if written else ""
