"""Work in separate processes: a parser that crashes takes down only its own process."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

CHUNK = 16  # items that a process takes at once
MOST_PROCESSES = 61  # Windows can wait for no more
# The cores that this process may use: on a machine that many share, often fewer than it has.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# Packages that start threads: a forked process might wait for ever for a lock that one of the threads holds.
THREADED = ("keras", "gradio")
CRASHED = "it is so damaged that its reader crashed"
Item, Result = TypeVar("Item"), TypeVar("Result")


def side_by_side(wanted: int) -> int:
    """How many processes work at the same time: as many as `wanted` (0: one for each core), within limits."""
    return min(wanted or CORES, MOST_PROCESSES)


def each(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int = 0, chunk: int = CHUNK
) -> Iterator[Result | None]:
    """Call `work` on each item in other processes (0: one for each core) and yield the results in order; None for an
    item that crashes its process."""
    import multiprocessing  # these imports take as long as reading one piece, which needs none of them
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    done, start = 0, None  # None: the platform's default start method
    if any(name in sys.modules for name in THREADED):
        start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload(["utils.source"])
    processes = min(side_by_side(processes), -(-len(items) // chunk))
    while done < len(items):
        try:
            # Ctrl-C reaches these processes too, but the main process ends them.
            with ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
                for result in pool.map(work, items[done:], chunksize=chunk):
                    yield result
                    done += 1
        except BrokenProcessPool:
            # The item that crashed is among those in progress: the first of them are retried one by one.
            alone = processes == chunk == 1
            yield from [None] if alone else each(work, items[done : done + chunk], 1, 1)
            done += chunk
