"""Files that are written whole or not at all, names that nothing else has, and silence on stderr."""

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from utils.errors import DiskFull, NotWritten, UserError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A scratch path in the folder of `path`, which is made if need be. When the block ends, what was written there is
    flushed to the disk and renamed to `path`, so a kill at any moment leaves the old file or the new one, whole; when
    it fails, the scratch file is removed. Raises NotWritten if the file cannot be written."""
    path = Path(path)
    scratch = path.with_name(f".{os.getpid()}.{path.name}")  # the ending tells Keras the format
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        with open(scratch, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else NotWritten
        raise kind(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        with contextlib.suppress(OSError):  # a folder of the path may be a file
            scratch.unlink()


@contextlib.contextmanager
def nothing_on_stderr() -> Iterator[None]:
    """Send to nowhere what is written to stderr, by code in any language."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def first_free(names: Callable[[int], Iterable[Path]]) -> int:
    """The first number from 1 on under which nothing is there: none of the paths that `names` gives for it."""
    return next(number for number in itertools.count(1) if not any(os.path.lexists(path) for path in names(number)))


def set_aside(paths: Iterable[Path], renamed: Callable[[Path, int], Path], copied: Path | None = None) -> int:
    """Rename what an earlier run left: each of `paths` that exists to what `renamed` makes of it and the first number
    that is free for all of them. `copied` is one of them that stays and gets a copy of that name instead. Returns the
    number, or 0 if there was nothing. Raises UserError that names what cannot be renamed."""
    paths = list(paths)
    number = first_free(lambda number: (renamed(path, number) for path in paths))
    there = [path for path in paths if path.exists()]
    for path in there:
        try:
            (shutil.copy2 if path == copied else os.rename)(path, renamed(path, number))
        except OSError as error:
            raise UserError(f"{path} of an earlier run cannot be set aside: {error.strerror}.") from None
    return number if there else 0
