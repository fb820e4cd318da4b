"""Who is on the page of app.py: what each visitor has there, and what becomes of it when they leave."""

import contextlib
import ctypes
import gc
import itertools
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.midi import BESIDE
from utils.piece import Piece
from utils.states import Classes, State

PATIENCE = 3  # seconds without a connection after which somebody has left: less may be a bad network
UNCLAIMED = 60  # seconds after which a file is deleted that somebody sent and nobody begins with


class Left(Exception):
    """The visitor for whom something is made is not there any more."""


@dataclass(eq=False)
class Visitor:
    """A visitor, by what is theirs alone."""

    folder: Path  # where their files are, which nobody else can guess
    fragment: Path | None = None  # the one of these files that they begin with, as it was trimmed; others are beside it
    upload: Path | None = None  # what they sent; several visitors may have sent the same
    prior: Piece | None = None  # the piece to begin with, before it is trimmed
    made: dict[str, Piece] = field(default_factory=dict)  # name -> piece, of all that they have made
    connections: int = 0  # that they have open: at least one while the page stands in their browser
    seen: float = field(default_factory=time.monotonic)  # when they came, or closed the last connection

    def away(self) -> float:
        """For how many seconds they have not been there."""
        return 0 if self.connections else time.monotonic() - self.seen

    def check_here(self) -> None:
        """Raises Left once the visitor has left."""
        if self.away() > PATIENCE:
            raise Left

    def stays(self, stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        """A constraint on new music that forbids nothing, but is as `check_here`."""
        self.check_here()
        return logits

    def new_fragment(self) -> Path:
        """A path for the next fragment instead of the last one, of which the browser may still have the picture."""
        if self.fragment:
            shutil.rmtree(self.fragment.parent, ignore_errors=True)
        self.fragment = self.folder / secrets.token_hex(4) / "fragment.mid"
        return self.fragment

    def clear(self) -> None:
        """Delete all that stands beside the pieces that were made: it is not shown any more."""
        for path in self.folder.glob("*"):
            if path.suffix in BESIDE:
                path.unlink()


def give_back_memory() -> None:
    """Give the system what is free between the pieces of memory in use. The C library of Linux does not by itself, for
    fear that it is soon needed again; others have no such function."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


class Visitors:
    """All visitors, by the names that Gradio gives to their sessions."""

    def __init__(self, folder: Path, keep: float, forget: Callable[[str], object]):
        """`folder`: the one that the page serves, which is empty. Who has left is forgotten after `keep` seconds;
        `forget` is told so."""
        self.folder, self.keep, self.forget = folder, max(keep, PATIENCE), forget
        self.there: dict[str, Visitor] = {}

    def arrive(self, session: str) -> Visitor:
        return self.there.setdefault(session, Visitor(self.folder / secrets.token_hex(16)))

    def __getitem__(self, session: str) -> Visitor:
        """Raises UserError for one who is unknown, or has been forgotten."""
        if session not in self.there:
            raise UserError("You were away for so long that your music has been deleted: reload the page.")
        return self.there[session]

    @contextlib.contextmanager
    def connected(self, session: str) -> Iterator[None]:
        """While it is open, somebody is there."""
        visitor = self.arrive(session)
        visitor.connections += 1
        try:
            yield
        finally:
            visitor.connections -= 1
            visitor.seen = time.monotonic()

    def sweep(self) -> None:
        """Forget who has left, and delete what nobody owns."""
        for session, visitor in list(self.there.items()):
            if visitor.away() > self.keep:
                del self.there[session]
                self.forget(session)
                shutil.rmtree(visitor.folder, ignore_errors=True)
        visitors = list(self.there.values())
        owned = {visitor.folder for visitor in visitors} | {one.upload.parent for one in visitors if one.upload}
        for path in set(self.folder.glob("*")) - owned:
            with contextlib.suppress(OSError):  # Gradio may just be renaming it
                if time.time() - path.stat().st_mtime > UNCLAIMED:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def sweep_always(self) -> None:
        """Sweep each second, and once a minute give back the memory of what has been made."""
        for second in itertools.count(1):
            time.sleep(1)
            self.sweep()
            if second % 60 == 0:
                give_back_memory()
