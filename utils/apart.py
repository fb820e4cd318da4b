"""Work in processes of their own: a parser that crashes takes only its process with it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CHUNK = 16  # items that a process takes at once
MOST_PROCESSES = 61  # Windows can wait for no more
# With these a program has threads, and a fork of it might wait for ever for what one of them holds.
THREADED = ("keras", "gradio")
CRASHED = "it is so damaged that its reader crashed"
Item, Result = TypeVar("Item"), TypeVar("Result")


def end_with_parent() -> None:
    """End this process, whatever it does, as soon as the main process is no more, however that ended."""
    from multiprocessing import connection, parent_process

    connection.wait([parent_process().sentinel])
    os._exit(1)


def serve(work: Callable, pipe: "Connection") -> None:
    """What a worker does: take the arguments of a job, answer with what came of it or went wrong, and so on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the workers too, but the main process ends them
    threading.Thread(target=end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the main process is no more
        while True:
            job = pipe.recv()
            try:
                outcome = work(*job)
            except Exception as error:  # whatever it is, the main process tells the user
                outcome = error
            pipe.send(outcome)


def has_threads() -> bool:
    """Whether this program has threads that a fork might wait for."""
    return any(name in sys.modules for name in THREADED)


def each(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int = 0, chunk: int = CHUNK
) -> Iterator[Result | None]:
    """What `work`, called in other processes (0: as many as there are cores), makes of each item, in order; None for an
    item that ends its process."""
    import multiprocessing  # these take as long as to read a piece, which needs none of them
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    done, start = 0, None  # as is usual
    if has_threads():
        start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload(["utils.source"])
    processes = min(processes or os.cpu_count() or 1, MOST_PROCESSES, -(-len(items) // chunk))
    while done < len(items):
        try:
            # Ctrl-C reaches these processes too, but it is the main one that ends them.
            with ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
                for result in pool.map(work, items[done:], chunksize=chunk):
                    yield result
                    done += 1
        except BrokenProcessPool:
            # Whoever crashed is among the items that were in hand: those that come first are tried one by one.
            alone = processes == chunk == 1
            yield from [None] if alone else each(work, items[done : done + chunk], 1, 1)
            done += chunk
