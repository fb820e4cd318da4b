"""The training loop: epochs until an end is reached, the best weights on held-out pieces kept after each."""

import contextlib
import csv
import math
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tqdm import tqdm

from utils import checkpoint, network
from utils.checkpoint import sibling
from utils.dataset import Corpus, batch_count, batches
from utils.heads import Shape
from utils.measure import likelihood
from utils.network import keras
from utils.output.tensorboard import Board


def learning_rate(args: SimpleNamespace, progress: float, updates: int, history: list[dict]) -> float:
    """After the warm-up: with a time limit, half a cosine down to 0 at `progress` 1 (Loshchilov & Hutter 2017); without
    one, halved each time that a quarter of the patience has passed without improvement."""
    if args.minutes:
        factor = 0.5 + 0.5 * math.cos(math.pi * min(progress, 1))
    else:
        factor, wait, best = 1.0, 0, math.inf
        for row in history:
            wait, best = (0, row["score"]) if row["score"] < best else (wait + 1, best)
            if wait and wait % max(args.patience // 4, 1) == 0:
                factor /= 2
    return args.learning_rate * factor * min(1, (updates + 1) / max(args.warm_up, 1))


def report(row: dict, streams: tuple[str, ...], kept: bool) -> None:
    """Print an epoch's line: nats an event, and in brackets the share of each stream."""

    def part(name: str) -> str:
        shares = " ".join(f"{stream} {row[f'{name}_{stream}']:.3f}" for stream in streams)
        return f"{name.replace('_', '-')} {row[name]:.3f} ({shares})"

    held_out = part("held_out") if "held_out" in row else "nothing held out"
    print(f"epoch {row['epoch']:3d} {row['seconds']:6.0f} s  {part('train')}  {held_out}{'  kept' if kept else ''}")


def write_log(history: list[dict], path: Path) -> None:
    """The history as CSV. A log that cannot be written (it may be open in a spreadsheet) is no reason to stop."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, history[-1])  # the first rows may be of an older version, with less
            writer.writeheader()
            writer.writerows(history)
    except OSError as error:
        print(f"{path} could not be written ({error.strerror}); training goes on.")


@contextlib.contextmanager
def asked_to_stop() -> Iterator[list]:
    """A list that is empty until somebody presses Ctrl-C; pressed again, it interrupts as usual."""
    asked = []

    def note(number, frame) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, usual)
        print("\nStopping after this update (Ctrl-C again leaves at once) ...")

    usual = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, usual)


def one_epoch(
    args: SimpleNamespace,
    trainer: keras.Model,
    corpus: Corpus,
    before: dict[str, np.ndarray],
    history: list[dict],
    began: float,
    asked: list,
    board: Board,
) -> tuple[Counter, int, bool]:
    """Train for an epoch, or until the time is over, the loss is not finite, or `asked` is no longer empty.

    Returns the sums of the losses ('loss' and each stream), the number of updates they were summed over, and whether
    training ends here.
    """
    epoch, updates = len(history) + 1, history[-1]["updates"] if history else 0
    # Each epoch has random numbers of its own, so that a resumed run makes the same ones.
    rng = np.random.default_rng([args.seed, epoch])
    network.reseed(trainer, rng)
    windows = batches(corpus, args.sequence_length, args.batch_size, args.transpose, rng)
    total = batch_count(corpus, args.sequence_length, args.batch_size)
    sums, count = Counter(), 0
    with tqdm(windows, f"epoch {epoch}", total, leave=False, unit="update", mininterval=0.5) as bar:
        for inputs, weights in bar:
            spent = (time.monotonic() - began) / 60 / args.minutes if args.minutes else 0
            if spent >= 1 or asked:
                return sums, count, True
            progress = max(spent, (epoch - 1 + count / total) / args.epochs)
            trainer.optimizer.learning_rate = learning_rate(args, progress, updates + count, history)
            trainer.reset_metrics()  # some versions of Keras 3 do so by themselves, some give means over all updates
            losses = trainer.train_on_batch({**inputs, **before}, weights, return_dict=True)
            losses = {name: float(loss) for name, loss in losses.items()}
            sums.update(losses)
            count += 1
            board.update(updates + count, losses)
            if not math.isfinite(sums["loss"]):
                return sums, count, True
            bar.set_postfix({name: f"{value / count:.3f}" for name, value in sums.items()}, refresh=False)
    return sums, count, bool(asked) or epoch >= args.epochs


def learn(
    args: SimpleNamespace,
    trainer: keras.Model,
    scorer: keras.Model,
    corpus: Corpus,
    held_out: Corpus,
    about: dict,
    began: float,
    asked: list,
    board: Board,
) -> str:
    """Train until an end is reached; `args` are the settings of train.py, `began` the monotonic time of its start, less
    the seconds of earlier runs, `asked` a list that is no longer empty when somebody wants it to stop, `board` where
    it is logged.

    After each epoch `about["history"]` has a row more, the weights file has the best weights so far, and
    NAME.last.weights.h5 what resuming needs. Returns why training went wrong, or ''.
    """
    history, shape = about["history"], Shape(**about["shape"])
    before = shape.silence(args.batch_size)
    best = min((row["score"] for row in history), default=math.inf)
    if not Path(args.weights).exists():  # somebody moved the best weights away
        best = math.inf
    stop = len(history) >= args.epochs
    while not stop:
        start = time.monotonic()
        sums, count, stop = one_epoch(args, trainer, corpus, before, history, began, asked, board)
        if not count:
            break
        if not math.isfinite(sums["loss"]):
            return f"The loss is no longer a finite number (epoch {len(history) + 1}, update {count})"
        row = {"epoch": len(history) + 1, "updates": count + (history[-1]["updates"] if history else 0)}
        row |= {"seconds": round(time.monotonic() - began, 1), "learning_rate": float(trainer.optimizer.learning_rate)}
        share = count / batch_count(corpus, args.sequence_length, args.batch_size)  # of the notes
        row |= {"notes_per_second": round(share * corpus.notes / max(time.monotonic() - start, 1e-3))}
        row |= {"train": sums["loss"] / count, **{f"train_{s}": sums[s] / count for s in args.streams}}
        if held_out.pieces:
            nats = likelihood.held_out_nats(scorer, held_out, shape).tolist()
            if not math.isfinite(sum(nats)):
                return f"The score of the held-out pieces is no longer a finite number (epoch {row['epoch']})"
            row |= {"held_out": sum(nats), **{f"held_out_{s}": n for s, n in zip(args.streams, nats, strict=True)}}
        # With nothing held out there is nothing to choose by: the latest weights stay.
        row["score"] = row.get("held_out", -row["epoch"])
        history.append(row)
        kept = row["score"] < best
        if kept:
            best = row["score"]
            checkpoint.save(args.weights, scorer, about, args.half)
        last = sibling(args.weights, "last.weights.h5")
        checkpoint.save(last, trainer, about)
        board.epoch(row)
        if row["epoch"] % args.sample_epochs == 1 % args.sample_epochs:
            board.sample(row, last)
        write_log(history, sibling(args.weights, "log.csv"))
        report(row, args.streams, kept)
        since = next(i for i, earlier in enumerate(reversed(history)) if earlier["score"] == best)
        if args.patience and since >= args.patience:
            print(f"The held-out pieces have not improved for {since} epochs.")
            stop = True
    return "" if history else "Training ended before its first update"
