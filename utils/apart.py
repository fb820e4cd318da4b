"""Work in processes of their own: a parser that crashes takes only its process with it."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

CHUNK = 16  # items that a process takes at once
MOST_PROCESSES = 61  # Windows can wait for no more
# With these a program has threads, and a fork of it might wait for ever for what one of them holds.
THREADED = ("keras", "gradio")
CRASHED = "it is so damaged that its reader crashed"
Item, Result = TypeVar("Item"), TypeVar("Result")


def each(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int = 0, chunk: int = CHUNK
) -> Iterator[Result | None]:
    """What `work`, called in other processes (0: as many as there are cores), makes of each item, in order; None for an
    item that ends its process."""
    import multiprocessing  # these take as long as to read a piece, which needs none of them
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    done, start = 0, None  # as is usual
    if any(name in sys.modules for name in THREADED):
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
