"""Speed and memory, side by side with the ancestors' way, in one run on one machine; JSON on the last line.

    python benchmark.py --quick         under a minute on two cores
    python benchmark.py                 a few minutes, steadier numbers

The yardstick is what the tutorial repositories that this one descends from do: read with music21, train one target for
each window of 100 events, generate by running the whole window through the network for every note.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from utils import checkpoint, dataset, events, midi, sampler, settings
from utils.heads import CELLS, Shape
from utils.measure import likelihood
from utils.stepper import Stepper

# ---- what to measure
QUICK = False  # fewer repetitions, and a tenth of the notes for the memory
PART = "all"  # all, or one of: read, train, sample, prior, memory, render
MIDI_DIR = ""  # folder of MIDI files to read ('': pieces of 600 notes made up here)
# ---- how much
FILES = 12  # files that the ancestors' way reads
UPDATES = 40  # updates of our network that are timed
ANCESTOR_UPDATES = 5  # updates of the ancestors' network that are timed
ANCESTOR_NOTES = 20  # notes that the ancestors' way generates; the time of 700 follows from them
LARGE = 7_000_000  # notes to train on for the memory: the size of MAESTRO
SMALL = 70_000  # notes that the time of an update is compared with
REPEAT = 5  # times that short measurements are taken; the best counts
NOTES = 600  # in a made-up piece
WINDOW = 100  # events in an ancestors' window
PRIOR_NOTES = 700  # new notes of the continuation


HERE = Path(__file__).resolve().parent
TRAIN = settings.parse(HERE / "train.py", [])  # the defaults of train.py


def best_time(repeat: int, work: Callable[[], object]) -> float:
    """Seconds that `work` takes, the best of `repeat`."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def limit(weights: checkpoint.Checkpoint, rows: int, steps: int, repeat: int) -> float:
    """Seconds that arithmetic alone takes for `steps` events of `rows` pieces: the float32 matrix products with all
    arrays of a weights file, each taken for all events at once unless it must wait for the event before. Embeddings are
    looked up, and the kernel of the surroundings meets each key."""
    keys, factors = weights.vocabulary.highest - weights.vocabulary.lowest + 1, []
    for layer, (kernel, *others) in weights.arrays.items():
        if layer.startswith("embed_") or kernel.ndim < 2:
            continue
        count = rows * steps * (keys if kernel.ndim > 2 else 1)
        factors.append((np.ones((count, kernel[..., 0].size), np.float32), kernel.reshape(-1, kernel.shape[-1])))
        if layer.startswith(tuple(CELLS)):
            factors += [(np.ones((rows, len(others[0])), np.float32), others[0])] * steps
    return best_time(max(repeat, 3), lambda: [a @ b for a, b in factors])


def made_up(notes: int, seed: int) -> midi.Piece:
    """A piece that has as many different values as piano music: about 90 pitches, 40 offsets and 90 durations."""
    rng = np.random.default_rng(seed)
    offset = rng.choice(np.arange(40), notes, p=np.r_[0.4, np.full(39, 0.6 / 39)])
    pitch = 64 + np.abs(np.cumsum(rng.integers(-7, 8, notes)) % 176 - 88) - 44
    duration = rng.integers(1, 90, notes)
    piece = midi.Piece(np.cumsum(offset) * 40, pitch, duration * 40, np.full(notes, 80), np.zeros(notes, int))
    return events.let_go(piece.sorted())


def write_music(folder: Path, pieces: int, notes: int, different: int) -> None:
    """`pieces` files of `notes` notes, `different` of them different: reading does not care, writing takes time."""
    for i in range(pieces):
        path = folder / f"{i:05d}.mid"
        if i < different:
            with path.open("wb") as file:
                midi.write(made_up(notes, i), file)
        else:
            shutil.copy(folder / f"{i % different:05d}.mid", path)


def read(folder: Path) -> list[dataset.Source]:
    """The pieces of a folder with train.py's defaults."""
    return dataset.read_folder(folder, events.Representation.of(vars(TRAIN)))[0]


def corpus_of(sources: list[dataset.Source]) -> dataset.Corpus:
    """All of them encoded, with train.py's defaults."""
    form = events.Representation.of(vars(TRAIN))
    vocabulary = events.build_vocabulary([source.events for source in sources], form, TRAIN.transpose)
    return dataset.encode(sources, vocabulary, TRAIN.transpose)


class Trainer:
    """The network of train.py's defaults with endless batches; speed does not depend on what it has learnt."""

    def __init__(self, corpus: dataset.Corpus):
        from utils import network

        self.shape = Shape.of(TRAIN)
        self.model, self.scorer = network.build(corpus.vocabulary, self.shape)
        optimizer = network.adamw(TRAIN.learning_rate, TRAIN.weight_decay, TRAIN.clip_norm)
        network.compile_trainer(self.model, TRAIN.streams, optimizer)
        self.batches = self.endless(corpus)
        self.before = self.shape.silence(TRAIN.batch_size)

    def endless(self, corpus: dataset.Corpus) -> Iterator[tuple]:
        rng = np.random.default_rng(1)
        while True:
            yield from dataset.batches(corpus, TRAIN.sequence_length, TRAIN.batch_size, TRAIN.transpose, rng)

    def update(self) -> int:
        """Make a batch and learn from it; returns how many events were predicted."""
        inputs, weights = next(self.batches)
        self.model.train_on_batch({**inputs, **self.before}, weights)
        return int(weights[..., 0].sum())


def save_network(folder: Path, path: Path) -> None:
    """Weights of the default network, untrained."""
    sources = read(folder)
    corpus = corpus_of(sources)
    trainer = Trainer(corpus)
    about = {"vocabulary": corpus.vocabulary.to_json(), "shape": trainer.shape.to_json(), "history": []}
    about |= {"metre": (4, 4), "openings": dataset.passages(sources, corpus.vocabulary, TRAIN.sequence_length, 4, 1)}
    checkpoint.save(path, trainer.scorer, about)


def ancestors_read(path: Path) -> list[tuple[str, float, float]]:
    """(note or chord, offset, duration) of the first part, as music21 gives them: how the ancestors read a file."""
    from music21 import chord, converter, instrument, note

    parsed, rows = converter.parse(path, forceSource=True), []
    parts = instrument.partitionByInstrument(parsed)
    for element in parts.parts[0].recurse() if parts else parsed.flatten().notes:
        if isinstance(element, note.Note | chord.Chord):
            chordal = isinstance(element, chord.Chord)
            name = ".".join(map(str, element.normalOrder)) if chordal else str(element.pitch)
            rows.append((name, float(element.offset), float(element.quarterLength)))
    return rows


# ---- the parts ----


def measure_read(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Files read and quantised a second."""
    paths = midi.find(folder)
    data = [path.read_bytes() for path in paths]
    seconds = best_time(args.repeat, lambda: read(folder))
    import symusic  # the limit: its parser alone, on bytes that are in memory already

    limit = best_time(args.repeat, lambda: [symusic.Score.from_midi(whole) for whole in data])
    ancestors_read(paths[0])  # music21 starts
    few = paths[: args.files]
    ancestors = best_time(1, lambda: [ancestors_read(path) for path in few])
    ours, theirs = len(paths) / seconds, len(few) / ancestors
    return {
        "read_files_per_second": ours,
        "read_ancestors_files_per_second": theirs,
        "read_ratio": ours / theirs,
        "read_limit_share": limit / seconds,
    }


def measure_train(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Training targets (events predicted) a second, with the making of the batches."""
    corpus = corpus_of(read(folder))
    from utils.measure import ancestors

    trainer = Trainer(corpus)
    trainer.update()  # compiles
    start = time.perf_counter()
    targets = sum(trainer.update() for _ in range(args.updates))
    seconds = time.perf_counter() - start
    # The backward pass takes two products for each one of the forward pass.
    least = 3 * limit(checkpoint.load(weights), TRAIN.batch_size, TRAIN.sequence_length, args.repeat)

    sizes = [corpus.vocabulary.size(stream) for stream in corpus.vocabulary.streams]
    model, size = ancestors.build(sizes, args.window), ancestors.BATCH
    inputs = [np.random.default_rng(1).random((size, args.window, 1)).astype(np.float32) for _ in sizes]
    classes = [np.arange(size) % count for count in sizes]
    model.train_on_batch(inputs, classes)
    theirs = best_time(args.ancestor_updates, lambda: model.train_on_batch(inputs, classes))
    per_second = targets / seconds
    return {
        "train_targets_per_second": per_second,
        "train_ancestors_targets_per_second": size / theirs,
        "train_ratio": per_second / (size / theirs),
        "train_limit_share": least * args.updates / seconds,
    }


def measure_sample(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Notes a second from a sampler that is warm; seconds in which evaluate.py's score of real pieces is computed."""
    kept, measured = checkpoint.load(weights), {}
    network = Stepper(kept)
    for count, name in ((1, "notes_per_second"), (64, "notes_per_second_64")):
        state = network.start(count, (4, 4))
        how = sampler.Sampling(seed=1, constraints=sampler.usual_constraints(network, 400))
        seconds = best_time(args.repeat, lambda s=state, h=how: sampler.generate(network, s, 400, h))
        least = 400 * limit(kept, count, 1, args.repeat)
        measured |= {name: 400 * count / seconds, f"{name}_limit_share": least / seconds}
    sources = read(folder)
    for count, name in ((1, "score_seconds"), (100, "score_seconds_100")):
        corpus = dataset.encode(sources[:count], network.vocabulary)
        measured[name] = best_time(1, lambda c=corpus: likelihood.score(network, c))
    return measured


def measure_prior(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """A continuation of 700 notes, the whole command from a cold start."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "predict_with_prior.py", "--weights", weights, "--out", out]
        command += ["--notes", args.prior_notes, "--no-wav", "--no-picture", "--no-copying"]
        command = [str(word) for word in command]
        seconds = best_time(args.repeat, lambda: subprocess.run(command, check=True, capture_output=True))
    kept = checkpoint.load(weights)
    network = Stepper(kept)
    from utils.measure import ancestors

    model = ancestors.build([network.vocabulary.size(stream) for stream in network.streams], args.window)
    window = [np.zeros((1, args.window, 1), np.float32) for _ in network.streams]
    reading = best_time(1, lambda: ancestors_read(midi.find(folder)[0]))
    model.predict(window, verbose=0)
    notes = args.ancestor_notes
    each = best_time(1, lambda: [model.predict(window, verbose=0) for _ in range(notes)]) / notes
    theirs = reading + each * args.prior_notes
    least = args.prior_notes * limit(kept, 1, 1, args.repeat)
    return {
        "prior_seconds": seconds,
        "prior_ancestors_seconds": theirs,
        "prior_ratio": theirs / seconds,
        "prior_limit_share": least / seconds,
    }


def peak_gigabytes() -> float:
    """The most memory that this process has held."""
    import psutil

    process = psutil.Process()
    if hasattr(process.memory_info(), "peak_wset"):  # Windows
        return process.memory_info().peak_wset / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def update_seconds(args: SimpleNamespace, notes: int) -> float:
    """Median seconds of an update on `notes` notes, which are read from files on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        write_music(Path(folder), max(notes // 5_500, 1), 5_500, 8)
        sources = read(folder)
    trainer = Trainer(corpus_of(sources))
    times = [best_time(1, trainer.update) for _ in range(args.updates)]
    return float(np.median(times[len(times) // 4 :]))  # the first ones compile


def measure_memory(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Peak memory while training on as many notes as MAESTRO has, and the time of an update against a small folder."""
    small = update_seconds(args, args.small)
    large = update_seconds(args, args.large)
    return {
        "train_peak_gb": peak_gigabytes(),
        "train_peak_notes": args.large,
        "train_update_seconds": large,
        "train_update_ratio": large / small,
    }


def measure_render(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Sound and picture of a piece of two minutes, with the start of the packages that make them."""
    piece = made_up(NOTES, 1)
    piece.ticks_per_quarter = round(piece.ticks_per_quarter * midi.seconds(piece) / 120)  # as much faster
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        from utils.output import sound

        sound.write(piece, Path(folder, "piece.wav"))
        middle = time.perf_counter()
        from utils.output import pianoroll

        pianoroll.write(piece, Path(folder, "piece.png"), "two minutes")
        end = time.perf_counter()
    return {"wav_seconds": middle - start, "picture_seconds": end - middle}


# Memory comes first: Linux counts what the parent held when it started a process among what that process held.
PARTS = {
    "memory": measure_memory,
    "read": measure_read,
    "train": measure_train,
    "sample": measure_sample,
    "prior": measure_prior,
    "render": measure_render,
}
APART = ("memory", "render")  # their memory, or the start of their packages, must not be mixed with that of others


def in_its_own_process(args: SimpleNamespace, part: str) -> dict:
    flags = [f"--{name.replace('_', '-')}={getattr(args, name)}" for name in ("updates", "large", "small", "repeat")]
    command = [sys.executable, "benchmark.py", "--part", part, *flags]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(args: SimpleNamespace) -> None:
    args.midi_dir = args.midi_dir and os.path.abspath(args.midi_dir)
    os.chdir(HERE)
    for name in ("files", "updates", "ancestor_updates", "ancestor_notes", "repeat"):
        settings.at_least(name, getattr(args, name), 1)
    settings.choice("part", args.part, ("all", *PARTS))
    if args.quick:
        args.files, args.updates, args.ancestor_updates, args.ancestor_notes, args.repeat = 1, 12, 2, 5, 2
        args.large //= 10
    measured = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder, weights = Path(args.midi_dir or scratch), Path(scratch) / "benchmark.weights.h5"
        if not args.midi_dir:
            write_music(folder, 200, args.notes, args.files)
        for part in PARTS if args.part == "all" else [args.part]:
            print(f"measuring: {part} ...", flush=True)
            if part in ("train", "sample", "prior") and not weights.exists():
                save_network(folder, weights)
            apart = part in APART and args.part == "all"
            measured |= in_its_own_process(args, part) if apart else PARTS[part](args, folder, weights)
    measured = {name: float(f"{value:.4g}") for name, value in measured.items()}
    for name, value in measured.items():
        print(f"{name:38s} {value:>14,.6g}")
    print(json.dumps(measured))


if __name__ == "__main__":
    settings.run(main, __file__)
