"""What a visitor of the page may choose and enter."""

import functools
import re
from pathlib import Path

from utils import checkpoint
from utils.errors import UserError
from utils.stepper import Stepper

LONGEST_NUMBER = 18  # characters of a number that a visitor enters


def networks(folder: str) -> dict[str, Path]:
    """Name -> path of the weights files to choose from, the newest first and the one that comes with the repository
    last. Left out are hidden files, which are still being written, and those from which training resumes."""
    paths = list(Path(folder).glob("[!.]*.weights.h5"))
    paths.sort(key=lambda path: (path.resolve() == checkpoint.BUNDLED, -path.stat().st_mtime, path.name))
    names = {checkpoint.name_of(path): path for path in paths}
    return {name: path for name, path in names.items() if not name.endswith(".last")}


def fragments(folder: str) -> dict[str, Path]:
    """Name -> path of the fragments to choose from, without the numbered pieces that the scripts write beside them."""
    paths = sorted(Path(folder).glob("prior*.mid"), key=lambda path: path.stem)
    return {path.stem: path for path in paths if not re.search(r"-\d{3}$", path.stem)}


@functools.lru_cache(maxsize=2)
def network(path: Path, changed: float) -> tuple[checkpoint.Checkpoint, Stepper]:
    """A weights file, ready to play. It is cached, and read again once its modification time `changed` differs."""
    weights = checkpoint.load(path)
    return weights, Stepper(weights)


def number(text: str, name: str, kind: type) -> float | None:
    """The number that a visitor entered, or None for an empty text. Raises UserError, with the `name` of the number, if
    it is not of that `kind` or has too many characters."""
    if len(text) > LONGEST_NUMBER:
        raise UserError(f"The {name} has {len(text)} characters: enter at most {LONGEST_NUMBER}.")
    try:
        return kind(text) if text.strip() else None
    except ValueError:
        whole = "whole " if kind is int else ""
        raise UserError(f"The {name} {text!r} is not a {whole}number: enter one, or leave it empty.") from None
