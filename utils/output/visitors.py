"""The visitors of the page of app.py: what each of them has there, and what happens to it when they leave."""

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

PATIENCE = 3  # seconds without a connection after which a visitor has left: a shorter gap may be a bad network
UNCLAIMED = 60  # seconds after which an uploaded file that nobody begins with is deleted


class Left(Exception):
    """The visitor for whom something is being made has left."""


@dataclass(eq=False)
class Visitor:
    """What belongs to a single visitor."""

    folder: Path  # where their files are, which nobody else can guess
    fragment: Path | None = None  # the path of the trimmed fragment that they begin with; its files are beside it
    upload: Path | None = None  # what they uploaded; several visitors may have uploaded the same file
    prior: Piece | None = None  # the piece to begin with, before it is trimmed
    made: dict[str, Piece] = field(default_factory=dict)  # name -> piece, all that were made for them
    connections: int = 0  # open ones: at least one while the page is open in their browser
    seen: float = field(default_factory=time.monotonic)  # when they came, or last closed a connection

    def away(self) -> float:
        """For how many seconds they have been away."""
        return 0 if self.connections else time.monotonic() - self.seen

    def check_here(self) -> None:
        """Raises Left once the visitor has left."""
        if self.away() > PATIENCE:
            raise Left

    def stays(self, stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        """A constraint on new music that forbids no note, but raises Left once the visitor has left."""
        self.check_here()
        return logits

    def new_fragment(self) -> Path:
        """Another path for the next fragment, since the browser may have cached the picture of the last one."""
        if self.fragment:
            shutil.rmtree(self.fragment.parent, ignore_errors=True)
        self.fragment = self.folder / secrets.token_hex(4) / "fragment.mid"
        return self.fragment

    def clear(self) -> None:
        """Delete the files beside the pieces made so far, which are no longer shown."""
        for path in self.folder.glob("*"):
            if path.suffix in BESIDE:
                path.unlink()


def give_back_memory() -> None:
    """Give free memory between blocks in use back to the system. The C library of Linux keeps it unless told to, in
    case it is soon needed again; others have no such function."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


class Visitors:
    """All visitors, by the names that Gradio gives to their sessions."""

    def __init__(self, folder: Path, keep: float, forget: Callable[[str], object]):
        """`folder`: the empty one that the page serves. Visitors who have left are forgotten after `keep` seconds, and
        `forget` is called with their session."""
        self.folder, self.keep, self.forget = folder, max(keep, PATIENCE), forget
        self.there: dict[str, Visitor] = {}

    def arrive(self, session: str) -> Visitor:
        return self.there.setdefault(session, Visitor(self.folder / secrets.token_hex(16)))

    def __getitem__(self, session: str) -> Visitor:
        """Raises UserError for a visitor who is unknown, or has been forgotten."""
        if session not in self.there:
            raise UserError("You were away for so long that your music has been deleted: reload the page.")
        return self.there[session]

    @contextlib.contextmanager
    def connected(self, session: str) -> Iterator[None]:
        """While this context is open, the visitor is there."""
        visitor = self.arrive(session)
        visitor.connections += 1
        try:
            yield
        finally:
            visitor.connections -= 1
            visitor.seen = time.monotonic()

    def sweep(self) -> None:
        """Forget visitors who have left, and delete files that nobody owns."""
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
        """Sweep every second, and once a minute give back the memory that making music has used."""
        for second in itertools.count(1):
            time.sleep(1)
            self.sweep()
            if second % 60 == 0:
                give_back_memory()
