"""The files beside the MIDI file of a piece: sound, a picture, notation; each made by a package that is imported only
when it is needed."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from utils import ensemble, instruments, midi
from utils.checkpoint import Checkpoint, name_of
from utils.compose import Made
from utils.errors import UserError
from utils.measure import copying
from utils.piece import Piece, plural
from utils.sampler import Sampling


def about(weights: str | Path, how: Sampling, key: str) -> str:
    """One line on how a piece was made: the weights, seed, temperature and top-p, and the `key`, a phrase."""
    name = name_of(weights)
    nucleus = f" · top-p {how.top_p:g}" if how.top_p < 1 else ""
    return f"weights {name} · seed {how.seed} · temperature {how.temperature:g}{nucleus}{key and f' · {key}'}"


def to_stderr(warning: str) -> None:
    print(warning, file=sys.stderr)


def write_beside(
    path: Path, piece: Piece, args: SimpleNamespace, line: str, prior: Piece | None = None, warn: Callable = to_stderr
) -> str:
    """Write the files that `args` (wav, picture, notation, soundfont) ask for beside the MIDI file `path`; returns
    '; also .wav, .png' for the message about it. `line` is for the picture, and `prior` the fragment that the piece
    continues, if any.

    If a file fails, `warn` gets one line about it, and nothing is left of it, not even an older version; the other
    files are still written, and the MIDI file exists already.
    """
    kinds = zip(midi.BESIDE, (args.wav, args.picture, args.notation), strict=True)
    wanted, written = [ending for ending, is_wanted in kinds if is_wanted], []
    if wanted and not len(piece):
        warn(f"{path.name} has no notes, so it gets no sound, picture or score: try another seed, or train for longer.")
        return ""
    for ending in wanted:
        target = path.with_suffix(ending)
        try:
            if ending == ".wav":
                from utils.output import sound

                sound.write(piece, target, args.soundfont)
            elif ending == ".png":
                from utils.output import pianoroll

                pianoroll.write(piece, target, line, prior)
            else:
                from utils.output import musicxml

                musicxml.write(piece, target, path.stem, prior)
            written.append(ending)
        except Exception as error:
            target.unlink(missing_ok=True)
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            warn(f"{target.name} was not written: {' '.join(reason.split())}")
    return f"; also {', '.join(written)}" if written else ""


def write_all(
    made: list[Made], weights: Checkpoint, args: SimpleNamespace, stem: str, how: Sampling, before: Piece | None = None
) -> None:
    """Write new pieces, after or around the notes `before` of a fragment if there is one, as MIDI files whose numbered
    names begin with `stem`, with the files that the settings `args` ask for beside each. Print what was written and
    what is copied. Raises UserError for what could not be written, after everything else has been."""
    paths, problems = [], []
    for one in made:
        path, notes = midi.save_new(one.piece, args.out, stem), plural(len(one.piece), "note")
        also = write_beside(path, one.piece, args, about(args.weights, how, one.key), before, problems.append)
        if before is not None and len(before):
            new = plural(len(one.piece) - len(before), "new one")
            notes = f"{plural(len(before), 'note')} of {args.prior} and {new}"
        after = f", after a passage of {one.after}" if one.after else ""
        print(f"Wrote {path}: {notes}, {one.told()}, seed {how.seed}{after}{also}")
        paths.append(path)
    sounds = len(instruments.listed(args.instrument))
    most = max(sum(not part.drums for part in ensemble.not_imagined(one.players).values()) for one in made)
    if sounds > most:
        print(f"--instrument names {plural(sounds, 'sound')} for {plural(most, 'part')}: the last ones are not used")
    if args.copying:
        copying.report(weights, paths, made, args.training_dir)
    if problems:
        raise UserError(" ".join(problems))
