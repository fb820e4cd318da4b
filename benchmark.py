"""Compare speed and memory with the ancestors' method, in one run on one machine; the last line printed is JSON.

    python benchmark.py --quick         under a minute on two cores
    python benchmark.py                 a few minutes, steadier numbers

The ancestors are the tutorial repositories from which this one descends: they read with music21, train on one target
per window of 100 events, and run the whole window through the network for every note that they generate.
"""

import contextlib
import gc
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import utils  # noqa: F401  (before NumPy, which it keeps to one thread)

# isort: split
import numpy as np

from utils import apart, checkpoint, constraints, dataset, events, midi, sampler, settings
from utils.cells import CELLS
from utils.measure import likelihood
from utils.piece import Part, Piece
from utils.stepper import Stepper

if TYPE_CHECKING:
    from utils.run import Run

# ---- what to measure
QUICK: bool = False  # fewer repetitions, and a tenth of the notes in the memory test
PART: str = "all"  # all, or one of: read, train, sample, prior, memory, render
TRAIN_WITH: str = ""  # flags of train.py for the network to train, such as "--units 512 --batch-size 512"
MIDI_DIR: str = ""  # folder of MIDI files to read ('': made-up pieces of 600 notes)
# ---- how much
FILES: int = 12  # files to read with the ancestors' method
UPDATES: int = 40  # updates of our network to time
ANCESTOR_UPDATES: int = 5  # updates of the ancestors' network to time
ANCESTOR_NOTES: int = 20  # notes to generate with the ancestors' method; the time for 700 is extrapolated
LARGE: int = 7_000_000  # notes to train on in the memory test: the size of MAESTRO
SMALL: int = 70_000  # notes in the small training set whose update time is the reference
REPEAT: int = 5  # repetitions of each short measurement; the best counts
NOTES: int = 600  # notes in a made-up piece
WINDOW: int = 100  # events in a window of the ancestors' network
PRIOR_NOTES: int = 700  # new notes of the continuation

HERE = Path(__file__).resolve().parent
# The defaults of train.py, with the streams that `auto` chooses for music whose notes are all equally loud.
DEFAULTS = [f"--streams={','.join(events.DEFAULT.streams)}"]
TRAIN = settings.parse(HERE / "train.py", DEFAULTS)


def best_time(repeat: int, work: Callable[[], object]) -> float:
    """Seconds that `work` takes, the shortest of `repeat` runs."""
    return min(timeit.repeat(work, gc.enable, repeat=repeat, number=1))  # timeit turns garbage collection off


def limit(weights: checkpoint.Checkpoint, rows: int, steps: int, repeat: int) -> float:
    """Seconds that the arithmetic alone takes for `steps` events of `rows` pieces: the float32 matrix products with all
    arrays of a weights file, in NumPy on one thread (see utils/__init__.py), each for all events at once unless it
    depends on the event before. Embeddings are looked up; the kernels that describe keys are applied to each key or
    pitch class. Playing multiplies embeddings in advance (`Stepper`), which saves a fifth of what is counted here."""
    places, factors = {"surroundings": weights.vocabulary.highest - weights.vocabulary.lowest + 1, "harmony": 12}, []
    for layer, (kernel, *others) in weights.arrays.items():
        if layer.startswith("embed_") or kernel.ndim < 2:
            continue
        shape = (rows * steps * places.get(layer, 1), kernel[..., 0].size)
        factors.append((np.ones(shape, np.float32), kernel.reshape(-1, kernel.shape[-1])))
        if layer.startswith(tuple(CELLS)):
            factors += [(np.ones((rows, len(others[0])), np.float32), others[0])] * steps
    return best_time(max(repeat, 3), lambda: [a @ b for a, b in factors])


def made_up(notes: int, seed: int) -> Piece:
    """A random piece with as many different values as piano music: about 90 pitches, 40 offsets and 90 durations."""
    rng = np.random.default_rng(seed)
    offset = rng.choice(np.arange(40), notes, p=np.r_[0.4, np.full(39, 0.6 / 39)])
    pitch = 64 + np.abs(np.cumsum(rng.integers(-7, 8, notes)) % 176 - 88) - 44
    duration = rng.integers(1, 90, notes)
    piece = Piece(np.cumsum(offset) * 40, pitch, duration * 40, np.full(notes, 80), np.zeros(notes, int), [Part()])
    return events.let_go(piece.sorted())


def write_music(folder: Path, pieces: int, notes: int, different: int) -> None:
    """Write `pieces` files of `notes` notes: `different` new ones, which take time to write, and copies of them."""
    for i in range(pieces):
        if i < different:
            midi.save(made_up(notes, i), folder / f"{i:05d}.mid")
        else:
            shutil.copy(folder / f"{i % different:05d}.mid", folder / f"{i:05d}.mid")


def begun(folder: Path, weights: Path) -> "Run":
    """A run of train.py with the settings `TRAIN` on all pieces of a folder, before its first update. Its weights are
    written untrained, since speed does not depend on what has been learnt."""
    from utils import network, training

    vars(TRAIN).update(midi_dir=str(folder), weights=str(weights), validation=0.0, logs="")
    with contextlib.redirect_stdout(io.StringIO()):
        run = training.begin(TRAIN, training.read_music(TRAIN), network.Way(), time.monotonic())
    history = [dict.fromkeys(("epoch", "updates", "seconds", "train", "score"), 0)]
    checkpoint.save(weights, run.scorer, {**run.about, "history": history})
    return run


def trained(run: "Run") -> Iterator[int]:
    """Train endlessly: make a batch, train on it, yield the number of predicted events."""
    silence, rng = run.shape.silence(TRAIN.batch_size), np.random.default_rng(1)
    while True:
        each = dataset.batches(run.train, TRAIN.sequence_length, TRAIN.batch_size, TRAIN.transpose, rng)
        for inputs, weights in each:
            run.trainer.train_on_batch({**silence, **inputs}, weights)
            yield int(weights[..., 0].sum())


# ---- the parts: each returns named figures for the music in a folder and for untrained weights ----


def measure_read(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Files read and quantised per second."""
    paths, how = midi.find(folder), events.Representation.of(vars(TRAIN))
    seconds = best_time(args.repeat, lambda: dataset.read_folder(folder, how))
    import symusic  # the limit: its parser alone, on bytes already in memory

    data, few = [path.read_bytes() for path in paths], paths[: args.files]
    least = best_time(args.repeat, lambda: [symusic.Score.from_midi(whole) for whole in data])
    from utils.measure import ancestors

    ancestors.read(paths[0])  # imports music21
    ours, theirs = len(paths) / seconds, len(few) / best_time(1, lambda: [ancestors.read(path) for path in few])
    measured = {"read_files_per_second": ours, "read_ancestors_files_per_second": theirs}
    return measured | {"read_ratio": ours / theirs, "read_limit_share": least / seconds}


def measure_train(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Training targets (predicted events) per second, including the making of batches."""
    from utils import devices
    from utils.measure import ancestors

    run = begun(folder, weights)
    updates = trained(run)
    next(updates)  # compiles
    start = time.perf_counter()
    targets = sum(next(updates) for _ in range(args.updates))
    seconds = time.perf_counter() - start
    # The backward pass takes two products for each one of the forward pass; at best all cores share the work evenly.
    least = 3 * limit(checkpoint.load(weights), TRAIN.batch_size, TRAIN.sequence_length, args.repeat) / apart.CORES
    model, size = ancestors.build(run.train.vocabulary, args.window), ancestors.BATCH
    inputs = [np.ones((size, args.window, 1), np.float32)] * len(model.inputs)
    classes = [np.zeros(size, int)] * len(model.outputs)
    model.train_on_batch(inputs, classes)
    ours = targets / seconds
    theirs = size / best_time(args.ancestor_updates, lambda: model.train_on_batch(inputs, classes))
    measured = {"train_targets_per_second": ours, "train_ancestors_targets_per_second": theirs}
    measured |= {"train_ratio": ours / theirs}
    return measured if devices.ON_GPU else measured | {"train_limit_share": least * args.updates / seconds}


def measure_sample(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Notes per second of a warm sampler; seconds that the score of evaluate.py takes for real pieces."""
    kept, measured, new = checkpoint.load(weights), {}, 400  # events in a piece, as in generate_music.py
    network = Stepper(kept)
    how = sampler.Sampling(seed=1).constrained(*constraints.usual(network, new))
    for count, name in ((1, "notes_per_second"), (64, "notes_per_second_64")):
        state = network.start(count, (4, 4))
        seconds = best_time(args.repeat, lambda state=state: sampler.generate(network, state, new, how))
        least = new * limit(kept, count, 1, args.repeat)
        measured |= {name: new * count / seconds, f"{name}_limit_share": least / seconds}
    sources, _ = dataset.read_folder(folder, network.vocabulary.representation)
    for count, name in ((1, "score_seconds"), (100, "score_seconds_100")):
        corpus = dataset.encode(sources[:count], network.vocabulary)
        measured[name] = best_time(1, lambda corpus=corpus: likelihood.score(network, corpus))
    return measured


def measure_prior(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Seconds for a continuation of 700 notes: the whole command from a cold start."""
    from utils.measure import ancestors

    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, HERE / "predict_with_prior.py", f"--prior={HERE / 'samples' / 'prior.mid'}"]
        command += [f"--weights={weights}", f"--out={out}", f"--notes={args.prior_notes}"]
        command += ["--no-wav", "--no-picture", "--no-copying"]
        ours = best_time(args.repeat, lambda: subprocess.run(command, check=True, capture_output=True))
    kept, notes = checkpoint.load(weights), args.ancestor_notes
    model = ancestors.build(kept.vocabulary, args.window)
    window = [np.ones((1, args.window, 1), np.float32)] * len(model.inputs)
    reading = best_time(1, lambda: ancestors.read(midi.find(folder)[0]))
    model.predict(window, verbose=0)
    each = best_time(1, lambda: [model.predict(window, verbose=0) for _ in range(notes)]) / notes
    theirs, least = reading + each * args.prior_notes, args.prior_notes * limit(kept, 1, 1, args.repeat)
    measured = {"prior_seconds": ours, "prior_ancestors_seconds": theirs}
    return measured | {"prior_ratio": theirs / ours, "prior_limit_share": least / ours}


def peak_gigabytes() -> float:
    """Peak memory of this process so far."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def measure_memory(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Peak memory while training on as many notes as MAESTRO has, read from files on disk; the median time of an
    update, and its ratio to the time on few notes."""
    seconds = []
    for notes in (args.small, args.large):
        with tempfile.TemporaryDirectory() as music:
            write_music(Path(music), max(notes // 5_500, 1), 5_500, 8)
            updates = trained(begun(Path(music), weights))
        times = [best_time(1, updates.__next__) for _ in range(args.updates)]
        seconds.append(float(np.median(times[len(times) // 4 :])))  # the first ones compile
    measured = {"train_peak_gb": peak_gigabytes(), "train_peak_notes": args.large}
    return measured | {"train_update_seconds": seconds[1], "train_update_ratio": seconds[1] / seconds[0]}


def measure_render(args: SimpleNamespace, folder: Path, weights: Path) -> dict:
    """Seconds to write the sound and the picture of a two-minute piece, including the import of the packages."""
    piece = made_up(args.notes, 1)
    piece.ticks_per_quarter = round(piece.ticks_per_quarter * piece.seconds() / 120)  # now it lasts two minutes
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        from utils.output import sound

        sound.write(piece, Path(folder, "piece.wav"))
        middle = time.perf_counter()
        from utils.output import pianoroll

        pianoroll.write(piece, Path(folder, "piece.png"), "two minutes")
    return {"wav_seconds": middle - start, "picture_seconds": time.perf_counter() - middle}


# Memory comes first: on Linux the peak of a process includes what its parent held when it started the process.
PARTS = {
    "memory": measure_memory,
    "read": measure_read,
    "train": measure_train,
    "sample": measure_sample,
    "prior": measure_prior,
    "render": measure_render,
}


def main(args: SimpleNamespace) -> None:
    for name in ("files", "updates", "ancestor_updates", "ancestor_notes", "repeat"):
        settings.at_least(name, getattr(args, name), 1)
    settings.choice("part", args.part, ("all", *PARTS))
    own = ("--midi-dir", "--weights", "--validation", "--logs")  # see `begun`
    flags = DEFAULTS + settings.words("train_with", args.train_with, own)
    vars(TRAIN).update(vars(settings.parse(HERE / "train.py", flags)))
    if args.quick:
        quick = {"files": 1, "updates": 12, "ancestor_updates": 2, "ancestor_notes": 5, "repeat": 2}
        vars(args).update(quick, large=args.large // 10)
    measured = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder, weights = Path(args.midi_dir or scratch), Path(scratch) / "benchmark.weights.h5"
        if not args.midi_dir:
            write_music(folder, 200, args.notes, args.files)
        for part in PARTS if args.part == "all" else [args.part]:
            print(f"measuring: {part} ...", flush=True)
            if part in ("sample", "prior") and not weights.exists():
                begun(folder, weights)
            # In a process of its own: other parts would add to its memory, or have imported its packages already.
            if part in ("memory", "render") and args.part == "all":
                command = [sys.executable, __file__, *sys.argv[1:], f"--part={part}"]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                measured |= json.loads(done.stdout.splitlines()[-1])
            else:
                measured |= PARTS[part](args, folder, weights)
    measured = {name: float(f"{value:.4g}") for name, value in measured.items()}
    print("\n".join(f"{name:38s} {value:>14,.6g}" for name, value in measured.items()))
    print(json.dumps(measured))


if __name__ == "__main__":
    settings.run(main, __file__)
