"""A training run except for its loop, which is in train.py: clock, history, Ctrl-C, logs and reports."""

import contextlib
import csv
import io
import math
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING

from tqdm import tqdm

from utils import checkpoint, dataset, ear_training, files
from utils.checkpoint import sibling
from utils.dataset import Corpus
from utils.errors import UserError
from utils.heads import Shape
from utils.measure import plots
from utils.output.tensorboard import Board
from utils.piece import plural

if TYPE_CHECKING:
    import keras


def table(history: list[dict]) -> str:
    """The rows of a history as CSV, with the columns of the last row: older versions of the program wrote fewer."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, history[-1], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


@dataclass
class Run:
    """A training run: its settings, what it works with, and its progress."""

    args: SimpleNamespace  # the settings of train.py
    trainer: "keras.Model"
    scorer: "keras.Model"
    shape: Shape
    train: Corpus
    held_out: Corpus
    about: dict  # what the weights file holds besides the weights; `history` has a row for each epoch
    seconds: Callable[[], float]  # since the start, with those of earlier parts of a resumed run
    agreed: Callable[..., tuple[float, ...]]  # the same numbers in all processes that train together
    board: Board
    best: float = math.inf  # the lowest score so far
    losses: Counter = field(default_factory=Counter)  # sums over the current epoch, of the loss and of each stream
    count: int = 0  # updates in the current epoch
    now: float = 0.0  # `seconds` when the clock was last read
    asked_to_stop: bool = False
    problem: str = ""  # why training went wrong

    def __post_init__(self):
        self.history = self.about["history"]
        self.last = sibling(self.args.weights, "last.weights.h5")  # the file to resume from
        self.batches = dataset.batch_count(self.train, self.args.sequence_length, self.args.batch_size)  # in an epoch

    @property
    def epoch(self) -> int:
        """Number of the current epoch, from 1 on."""
        return len(self.history) + 1

    @property
    def updates(self) -> int:
        """Updates so far."""
        return self.count + (self.history[-1]["updates"] if self.history else 0)

    def time_spent(self) -> float:
        """The share of --minutes that has passed; 0 without a limit."""
        return self.now / 60 / self.args.minutes if self.args.minutes else 0.0

    def progress(self) -> float:
        """The share of the whole run that is done, by its minutes or by its epochs, whichever is more."""
        return max(self.time_spent(), (self.epoch - 1 + self.count / self.batches) / self.args.epochs)

    def is_over(self) -> bool:
        """Whether training should end."""
        self.now, self.asked_to_stop = self.agreed(self.seconds(), self.asked_to_stop)
        return bool(self.problem) or self.asked_to_stop or self.time_spent() >= 1 or self.epoch > self.args.epochs

    def until_over(self, batches: Iterator[tuple]) -> Iterator[tuple]:
        """The batches of an epoch with a progress bar that shows the mean losses, until the run is over."""
        self.losses, self.count = Counter(), 0
        title = f"epoch {self.epoch}"
        with tqdm(prepared(batches), title, self.batches, leave=False, unit="update", mininterval=0.5) as bar:
            for batch in bar:
                if self.is_over():
                    break
                yield batch
                bar.set_postfix({n: f"{v / self.count:.3f}" for n, v in self.losses.items()}, refresh=False)

    def add(self, losses: dict[str, float]) -> None:
        """Record the losses of an update."""
        losses = {name: float(loss) for name, loss in losses.items()}
        losses["loss"] -= losses.get("style", 0.0)  # nats of the music alone: recognising its style is another task
        self.losses.update(losses)
        self.count += 1
        self.board.update(self.updates, losses)
        if not math.isfinite(losses["loss"]):
            self.problem = f"The loss is no longer a finite number (epoch {self.epoch}, update {self.count})"

    def end_epoch(self, held_out: list[float], seconds: float) -> bool:
        """Add the current epoch, which took so many `seconds`, to the history: nats an event in training and, if pieces
        are `held_out`, theirs in each stream (S,). Returns whether it is the best so far."""
        row = {"epoch": self.epoch, "updates": self.updates, "seconds": round(self.seconds(), 1)}
        row["learning_rate"] = float(self.trainer.optimizer.learning_rate)
        row["notes_per_second"] = round(self.count / self.batches * self.train.notes / max(seconds, 1e-3))
        row["train"] = self.losses["loss"] / self.count
        row |= {f"train_{name}": total / self.count for name, total in self.losses.items() if name != "loss"}
        if held_out:
            row["held_out"] = sum(held_out)
            row |= {f"held_out_{s}": nats for s, nats in zip(self.args.streams, held_out, strict=True)}
        # With nothing held out there is no score to choose by, so the latest weights are kept.
        row["score"] = row.get("held_out", -self.epoch)
        self.history.append(row)
        self.count, better = 0, row["score"] < self.best
        self.best = min(self.best, row["score"])
        row["kept"] = int(better)
        return better

    def waits(self) -> list[int]:
        """For each epoch, how many epochs have passed without improvement on the kept weights."""
        kept = [row.get("kept", True) for row in self.history]  # earlier versions did not record it
        return list(accumulate(kept, lambda wait, better: 0 if better else wait + 1, initial=0))[1:]

    def report(self, kept: bool) -> None:
        """Print and log the last epoch: nats an event and, in brackets, the share of each stream."""
        row = self.history[-1]

        def nats(name: str) -> str:
            shares = " ".join(f"{stream} {row[f'{name}_{stream}']:.3f}" for stream in self.args.streams)
            return f"{name.replace('_', '-')} {row[name]:.3f} ({shares})"

        self.board.epoch(row)
        if (row["epoch"] - 1) % self.args.sample_epochs == 0:
            self.board.sample(row, self.last)
        try:
            files.write(sibling(self.args.weights, "log.csv"), table(self.history).encode())
        except UserError as error:  # it may be open in a spreadsheet
            print(f"{error} Training goes on.")
        held_out = nats("held_out") if "held_out" in row else "nothing held out"
        print(f"epoch {row['epoch']:3d} {row['seconds']:6.0f} s  {nats('train')}  {held_out}{'  kept' if kept else ''}")


def prepared(batches: Iterator[tuple]) -> Iterator[tuple]:
    """The same batches, made by a thread two ahead of the one that the network trains on."""
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, batches, None) for _ in range(2))
        while batch := coming.popleft().result():
            coming.append(thread.submit(next, batches, None))
            yield batch


@contextlib.contextmanager
def open_run(run: Run) -> Iterator[None]:
    """Inside the `with` block Ctrl-C asks the run to stop after the current update; pressed again, it interrupts as
    usual. The log is closed at the end."""

    def ask(number: int, frame: FrameType | None) -> None:
        run.asked_to_stop = True
        signal.signal(signal.SIGINT, usual)
        print("\nStopping after this update (press Ctrl-C again to leave at once) ...")

    usual = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        run.board.close()


def finish(run: Run, epochs_before: int) -> None:
    """Draw the learning curve, train the ear, and print what was written. Raises UserError if training went wrong."""
    args, history = run.args, run.history
    if history:
        unit = "note" if args.chords == "split" else "chord"
        plots.learning_curve(history, sibling(args.weights, "curve.png"), unit)
    if run.problem or not history:
        kept = f"the last good weights are in {args.weights}" if history else "no weights were written"
        problem = run.problem or "Training ended before its first update"
        advice = "" if run.asked_to_stop else f" Try {'a lower --learning-rate' if run.problem else 'more --minutes'}."
        raise UserError(f"{problem}; {kept}.{advice}")
    lacks_ear = bool(args.ear) and checkpoint.load(args.weights).ear is None
    if lacks_ear:
        try:
            ear_training.learn(args.weights, run.train, args.ear, args.seed)
        except KeyboardInterrupt:
            print("\nStopped before the ear was trained, without which versions are not compared; --resume trains it.")
    if len(history) == epochs_before:
        minutes = history[-1]["seconds"] / 60
        waited = minutes < args.minutes and epochs_before < args.epochs and not run.asked_to_stop
        done = f"{plural(epochs_before, 'epoch')} ({minutes:.1f} minutes) done{', and starting took the rest' * waited}"
        print(f"No more was learnt: {done}; raise --epochs or --minutes.")
        if lacks_ear and checkpoint.load(args.weights).ear is not None:
            print("But its ear, which was missing, was trained.")
        return
    if run.asked_to_stop:
        instead = " instead of --start-from" * bool(args.start_from)
        print(f"Stopped in epoch {len(history)}. To go on, run the same command with --resume{instead}.")
    best, score = plots.kept_row(history), ""
    if run.held_out.pieces:
        score = f" of epoch {best['epoch']}: {best['score']:.3f} nats a {unit} on held-out pieces"
    print(f"Wrote {args.weights}{score}; its log and pictures are beside it.")
    print(f"To hear it: python generate_music.py --weights {args.weights}")
