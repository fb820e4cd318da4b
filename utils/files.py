"""Files that are written whole or not at all, locks, names that are not taken, and silence on stderr."""

import contextlib
import errno
import filecmp
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from utils.errors import DiskFull, NotWritten, UserError

if os.name == "nt":
    import msvcrt
else:
    import fcntl

SCRATCH = ".{name}.{process}.scratch"  # the name of a file until all of it is on the disk


def lock(file: IO) -> None:
    """Lock an open file until it is closed or its process ends, however it ends. Raises BlockingIOError if it is locked
    already, and OSError where the file system has no locks."""
    if os.name == "nt":
        place = file.tell()
        file.seek(2**30)  # others cannot read a locked byte, so this is one beyond the end
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from None
        file.seek(place)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """A context that only one process at a time can enter for the same `path`, an empty file that stays. Raises a
    UserError with the `refusal` if another process is in it, or one that says that the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
    with file:
        try:
            lock(file)
        except BlockingIOError:
            raise UserError(refusal) from None
        except OSError:
            pass  # on a network drive without locks, nobody can know
        yield


def renamed(scratch: Path, path: Path) -> None:
    """Rename a file, replacing any file that has the new name."""
    for seconds in (0.02, 0.1, 0.5, 2.0):
        try:
            os.replace(scratch, path)
            return
        except PermissionError:  # on Windows, also while another program reads the old file, which takes a moment
            if os.name != "nt":
                raise
            time.sleep(seconds)
    os.replace(scratch, path)


def linked(scratch: Path, path: Path) -> None:
    """Give a file a name that must be free. Raises FileExistsError if it is not."""
    try:
        os.link(scratch, path)  # unlike os.rename it never replaces another
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        os.rename(scratch, path)


def check_writable(path: str | Path, flag: str) -> None:
    """Raises a UserError that names the `flag` if a file cannot be created at `path`: better before hours of work than
    after."""
    try:
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=Path(path).parent).close()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): name another place with {flag}.") from None


def write(path: str | Path, data: bytes | Iterator[bytes], place: Callable[[Path, Path], None] = renamed) -> None:
    """Write a file, and create its folder if need be. `data`, which may come in chunks, is flushed to the disk under a
    scratch name; then `place` gives the file its own name. So a kill or a full disk at any moment leaves either the old
    file or the new one, complete. Raises UserError if it cannot be written, and then leaves nothing new behind."""
    path = Path(path)
    # Only the end of a long name, since names must not be longer than 255 bytes.
    scratch = path.with_name(SCRATCH.format(name=path.name[-50:], process=os.getpid()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            with contextlib.suppress(OSError):  # without locks, the scratch files of killed processes stay
                lock(file)
            file.writelines(data if isinstance(data, Iterator) else [data])
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":
                file.close()  # an open file cannot be renamed there
            place(scratch, path)
    except OSError as error:
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else NotWritten
        raise kind(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        with contextlib.suppress(OSError):  # it has been renamed, or a folder of the path is a file
            scratch.unlink()


def write_new(names: Callable[[int], list[Path]], data: bytes) -> Path:
    """Write a file under the first of the `names` for a number: the first number from 1 on for which no name is taken.
    Returns the path. Raises UserError as `write` does."""
    while True:
        path = names(first_free(names))[0]
        try:
            write(path, data, linked)
            return path
        except UserError:
            if not path.exists():
                raise  # otherwise another process has just taken the name: try the next number


def sweep(folder: str | Path) -> None:
    """Remove the scratch files that killed processes left in a folder: nobody holds their locks any more."""
    for scratch in Path(folder).glob(SCRATCH.format(name="*", process="*")):
        with contextlib.suppress(OSError):
            with scratch.open("ab") as file:
                lock(file)
            scratch.unlink()


@contextlib.contextmanager
def nothing_on_stderr() -> Iterator[None]:
    """Discard what is written to stderr, by code in any language."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def first_free(names: Callable[[int], Iterable[Path]]) -> int:
    """The first number from 1 on for which none of the paths that `names` gives exists."""
    return next(number for number in itertools.count(1) if not any(os.path.lexists(path) for path in names(number)))


def set_aside(stem: str | Path, endings: Sequence[str] = ("",), copied: str | None = None) -> int:
    """Rename what an earlier run left: each existing path STEM + ENDING becomes STEM.old-1 + ENDING, or gets the first
    number that is free for all endings. The file with the ending `copied` stays and is copied to that name instead,
    unless it is the only one and its last copy is the same. Returns the number, or 0 if there was nothing to do. Raises
    a UserError that names what cannot be renamed."""

    def aside(ending: str, number: int) -> Path:
        return Path(f"{stem}.old-{number}{ending}")

    number = first_free(lambda number: [aside(ending, number) for ending in endings])
    there = {ending: path for ending in endings if (path := Path(f"{stem}{ending}")).exists()}
    if [*there] == [copied]:
        last = aside(copied, number - 1)
        if last.exists() and filecmp.cmp(there[copied], last, shallow=False):
            return 0
    for ending, path in there.items():
        try:
            if ending == copied:
                write(aside(ending, number), path.read_bytes())
            else:
                os.rename(path, aside(ending, number))
        except OSError as error:
            raise UserError(f"{path} of an earlier run cannot be set aside: {error.strerror}.") from None
    return number if there else 0
