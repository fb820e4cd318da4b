"""Work in processes of their own: a parser that crashes takes only its process with it."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

CHUNK = 16  # items that a process takes at once
MOST_PROCESSES = 61  # Windows can wait for no more
CRASHED = "it is so damaged that its reader crashed"
Item, Result = TypeVar("Item"), TypeVar("Result")


def each(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    processes: int = 0,
    chunk: int = CHUNK,
    start: str | None = None,
) -> Iterator[Result | None]:
    """What `work`, called in other processes (0: as many as there are cores), makes of each item, in order; None for an
    item that ends its process. `start` is how processes start ('spawn' where threads run; None: as is usual)."""
    import multiprocessing  # these take as long as to read a piece, which needs none of them
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    done, context = 0, multiprocessing.get_context(start)
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
            yield from [None] if alone else each(work, items[done : done + chunk], 1, 1, start)
            done += chunk
