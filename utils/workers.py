"""Work in separate processes: a job that crashes, hangs or takes too much memory costs only itself."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from utils.errors import UserError

LOOK = 0.05  # seconds between checks of what the workers use
PATIENCE = 10  # a worker that waits, such as for a disk, may take this many times as long as one that computes


def end_with_parent() -> None:
    """End this process, whatever it is doing, as soon as the main process has ended in any way."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def serve(work: Callable, pipe: Connection) -> None:
    """The loop of a worker: receive the arguments of a job, send back its result or exception."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the workers too, but the main process ends them
    threading.Thread(target=end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the main process has ended
        while True:
            job = pipe.recv()
            try:
                outcome = work(*job)
            except Exception as error:  # of any kind: the main process reports it
                outcome = error
            pipe.send(outcome)


class Worker:
    """A process that does one job after another; one that has ended is replaced by a new worker."""

    def __init__(self, work: Callable, megabytes: float):
        self.megabytes = megabytes
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(work, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe closes when the worker ends
        self.usage = psutil.Process(self.process.pid)

    def start(self, source: Path, target: Path, seconds: float) -> None:
        """Begin a job that may take `seconds` of processor time."""
        self.source, self.seconds, self.began, self.computed = source, seconds, time.monotonic(), self.processor()
        self.pipe.send((source, target))

    def processor(self) -> float:
        """Seconds of processor time that the process has used."""
        times = self.usage.cpu_times()
        return times.user + times.system

    def answer(self) -> Any:
        """The outcome of the worker's job, or a UserError if the worker died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.end()
            return UserError(f"{self.source} made its reader crash: it is damaged.")

    def overrun(self) -> UserError | None:
        """If the job has exceeded its limits, end the worker and return the error to report."""
        try:
            used = max(self.processor() - self.computed, (time.monotonic() - self.began) / PATIENCE)
            megabytes = self.usage.memory_info().rss / 1e6
        except psutil.Error:  # it has died, as its pipe will show
            return None
        if used > self.seconds:
            what = f"more than {self.seconds:.0f} seconds (--seconds)"
        elif megabytes > self.megabytes:
            what = f"more than {self.megabytes:.0f} MB of memory (--megabytes)"
        else:
            return None
        self.end()
        return UserError(f"{self.source} takes {what} to read: it is damaged, or far larger than other music.")

    def end(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()


def each(
    work: Callable, jobs: dict[Path, Path], count: int, seconds: Callable[[Path], float], megabytes: float
) -> Iterator[tuple[Path, Any]]:
    """Call `work(source, target)` for each of the jobs in `count` processes. Each job may take `megabytes` of memory
    and `seconds(source)` of processor time, which does not depend on how busy the machine is. Yields the source of each
    finished job and its outcome: what `work` returned or raised, or a UserError if the job exceeded its limits or its
    process died. When the caller stops, such as on Ctrl-C, the workers stop at once."""
    waiting = list(reversed(jobs.items()))
    idle, busy, looked = [], [], 0.0
    try:
        idle.extend(Worker(work, megabytes) for _ in range(min(count, len(jobs))))
        while waiting or busy:
            while idle and waiting:
                (source, target), worker = waiting.pop(), idle.pop()
                busy.append(worker if worker.process.is_alive() else Worker(work, megabytes))
                busy[-1].start(source, target, seconds(source))
            ready = wait([worker.pipe for worker in busy], LOOK)
            if look := time.monotonic() - looked > LOOK:
                looked = time.monotonic()
            for worker in list(busy):
                answered = worker.pipe in ready
                outcome = worker.answer() if answered else worker.overrun() if look else None
                if answered or outcome:
                    busy.remove(worker)
                    idle.append(worker)
                    yield worker.source, outcome
    finally:
        for worker in busy + idle:
            worker.end()
