"""Work in processes of their own: what crashes, hangs or takes all memory costs no more than the job in hand."""

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

LOOK = 0.05  # seconds between two looks at what the workers use
PATIENCE = 10  # a worker that waits, as for a disk, may take so many times as long as one that computes


def end_with_parent() -> None:
    """End this process, whatever it does, as soon as the main process is no more, however that ended."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def serve(work: Callable, pipe: Connection) -> None:
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


class Worker:
    """A process that does one job after the other, and a new one when a job has ended it."""

    def __init__(self, work: Callable, megabytes: float):
        self.work, self.megabytes = work, megabytes
        self.process: multiprocessing.Process | None = None

    def start(self, source: Path, target: Path, seconds: float) -> None:
        """Begin a job, which may take so many seconds."""
        if self.process is None or not self.process.is_alive():
            self.pipe, theirs = multiprocessing.Pipe()
            self.process = multiprocessing.Process(target=serve, args=(self.work, theirs), daemon=True)
            self.process.start()
            theirs.close()  # so that the pipe ends with the worker
            self.usage = psutil.Process(self.process.pid)
        self.source, self.seconds, self.began, self.computed = source, seconds, time.monotonic(), self.processor()
        self.pipe.send((source, target))

    def processor(self) -> float:
        """Seconds for which the process has computed."""
        times = self.usage.cpu_times()
        return times.user + times.system

    def answer(self) -> Any:
        """What came of the worker's job, or that it died of it."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.end()
            return UserError(f"{self.source} made its reader crash: it is damaged.")

    def overrun(self) -> UserError | None:
        """If the job has passed its limits, the worker is ended, and this is what to say."""
        try:
            used = max(self.processor() - self.computed, (time.monotonic() - self.began) / PATIENCE)
            megabytes = self.usage.memory_info().rss / 1e6
        except psutil.Error:  # it has died, as its pipe will tell
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
        if self.process is not None:
            self.process.kill()
            self.process.join()


def each(
    work: Callable, jobs: dict[Path, Path], count: int, seconds: Callable[[Path], float], megabytes: float
) -> Iterator[tuple[Path, Any]]:
    """Call `work(source, target)` for each of the jobs, in `count` processes of at most so many megabytes, for at most
    so many `seconds` of each source: of a processor's time, so that it makes no difference how busy the machine is.
    Gives the source of each job that has ended and what `work` returned, or what went wrong: what it raised, or a
    UserError if the job has passed its limits or its process died. When the caller stops, as by Ctrl-C, so do the
    workers, at once."""
    waiting = list(reversed(jobs.items()))
    idle, busy, looked = [Worker(work, megabytes) for _ in range(min(count, len(jobs)))], [], 0.0
    try:
        while waiting or busy:
            while idle and waiting:
                source, target = waiting.pop()
                busy.append(idle.pop())
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
