"""Does it help? Trains the network in several ways for the same time, with several seeds, and prints a table.

python experiments.py --question sizes             one of the questions of EXPERIMENTS.md
python experiments.py --question list              what can be asked
python experiments.py --question losses --seeds 3 --minutes 10 --midi-dir my-music

A way of your own is a line in WAYS: flags of train.py, and what they do not reach as a change of a function of utils/.
"""

import dataclasses
import json
import os
import runpy
import shlex
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tqdm import tqdm

from utils import checkpoint, dataset, events, midi, sampler, settings
from utils.checkpoint import sibling
from utils.errors import UserError
from utils.measure import copying, likelihood
from utils.stepper import Stepper

# ---- what is asked
QUESTION = "list"  # one of QUESTIONS, or list: say what they are
MIDI_DIR = "midis"  # folder of MIDI files to learn from
SCORE_DIR = ""  # folder of the pieces that are scored ('': those of MIDI_DIR that are held out)
SPLIT = 0  # which pieces are held out, as in train.py
# ---- how long
MINUTES = 3.0  # of the processor's time for each run, so that other work on the machine changes nothing
SEEDS = 2  # runs of each way
JOBS = 1  # runs at the same time; each has its share of the cores
FLAGS = ""  # flags of train.py for all ways
OUT = "experiments"  # folder for weights and scores; a run that is there is not made again
# ---- what is looked at
STAGES = (1, 2, 4, 8, 16)  # question copying: epochs after which it looks
PIECES = 16  # question copying: new pieces that are searched for what stands in the training music
PRIORS = (0, 4, 20, 100, 400)  # question prior: events that are read before those that are scored
FOLLOWING = 100  # question prior: events that are scored after them
# ---- one run alone, in this process
ONLY = ""  # its name
SEED = 1  # its seed

# ---- what no flag of train.py does ----


def optimizer(name: str) -> None:
    """Another optimizer of Keras instead of AdamW."""
    from utils.network import keras

    keras.optimizers.AdamW = getattr(keras.optimizers, name)


def focal() -> None:
    """What is predicted well already counts less: (1 - p)^2 times the nats (Lin et al. 2017)."""
    from utils import network
    from utils.network import ops

    plain = network.nats_per_event
    network.nats_per_event = lambda weights, nats: plain(weights, nats * ops.square(1 - ops.exp(-nats)))


def smoothing() -> None:
    """A tenth of each target is spread over all classes (Szegedy et al. 2016), in training only."""
    from utils.network import layers, ops

    plain = ops.sparse_categorical_crossentropy

    class Smoothed(layers.Layer):
        def call(self, nats, spread, training=False):
            return 0.9 * nats + 0.1 * spread if training else nats

    ops.sparse_categorical_crossentropy = lambda target, logits, from_logits: Smoothed()(
        plain(target, logits, from_logits=from_logits), -ops.mean(ops.log_softmax(logits), axis=-1)
    )


def last_target_alone() -> None:
    """A window trains its last event, as the ancestors' do, not all of them."""
    from utils import training

    plain = training.batches

    def batches(*how):
        for inputs, weights in plain(*how):
            weights[:, :-1] = 0
            yield inputs, weights

    training.batches = batches


def scalars() -> None:
    """A class is read as its number, divided by how many there are, not as a vector that is learnt."""
    from utils.network import layers, ops

    embedding = layers.Embedding

    def ramp(shape, dtype=None):
        return ops.linspace(0, 1, shape[0])[:, None]

    layers.Embedding = lambda size, _, name: embedding(size, 1, ramp, name=name, trainable=False)


def averaged() -> None:
    """The weights that are scored and kept are averages over the last hundred updates or so, and training goes on from
    them (Polyak & Juditsky 1992)."""
    from utils import network
    from utils.network import keras

    keras.optimizers.AdamW = partial(keras.optimizers.AdamW, use_ema=True, ema_momentum=0.99)
    compile_trainer, held_out_nats, trainers = network.compile_trainer, likelihood.held_out_nats, []

    def compiled(trainer, *how):
        trainers.append(trainer)
        compile_trainer(trainer, *how)

    def scored(*what):
        trainers[0].optimizer.finalize_variable_values(trainers[0].trainable_variables)
        return held_out_nats(*what)

    network.compile_trainer, likelihood.held_out_nats = compiled, scored


def nothing() -> None:
    """All is as in train.py."""


# Name -> flags of train.py, and what is changed beside them.
WAYS = {
    "as it is": ("", nothing),
    "offset and duration as numbers": ("--heads regression", nothing),
    "32 units": ("--units 32 --hidden 32", nothing),
    "64 units": ("--units 64 --hidden 64", nothing),
    "256 units": ("--units 256 --hidden 256", nothing),
    "384 units": ("--units 384 --hidden 256", nothing),
    "512 units": ("--units 512 --hidden 256", nothing),
    "focal loss": ("", focal),
    "label smoothing": ("", smoothing),
    "Adam": ("", partial(optimizer, "Adam")),
    "RMSprop": ("--learning-rate 0.001", partial(optimizer, "RMSprop")),
    "Lion": ("--learning-rate 0.0004 --weight-decay 1", partial(optimizer, "Lion")),
    "averaged weights": ("", averaged),
    "parallel heads": ("--heads parallel", nothing),
    "chords as classes": ("--chords class", nothing),
    "one target a window": ("", last_target_alone),
    "scalar inputs": ("--embedding 1", scalars),
    "one key": ("--transpose 0", nothing),
    "windows of 20": ("--sequence-length 20", nothing),
    "windows of 100": ("--sequence-length 100", nothing),
    "the ancestors' network": ("", nothing),
    "nothing dropped, one key": ("--dropout 0 --weight-decay 0 --transpose 0", nothing),
}
QUESTIONS = {
    "regression": ("as it is", "offset and duration as numbers"),
    "sizes": ("32 units", "64 units", "as it is", "256 units", "384 units", "512 units"),
    "losses": ("as it is", "focal loss", "label smoothing", "Adam", "RMSprop", "Lion", "averaged weights"),
    "choices": ("as it is", "parallel heads", "chords as classes", "one target a window", "scalar inputs", "one key"),
    "windows": ("windows of 20", "as it is", "windows of 100"),
    "prior": ("as it is",),
    "copying": ("as it is", "nothing dropped, one key"),
    "ancestors": ("the ancestors' network",),
}
HERE = Path(__file__).parent


# ---- one run, in a process of its own ----


def train(args: SimpleNamespace, weights: Path, *flags: object) -> None:
    """Run train.py, with the clock that it looks at for its end counting what this process does and nothing else."""
    time.monotonic = time.process_time
    given = {"midi-dir": args.midi_dir, "weights": weights, "split": args.split, "seed": args.seed, "logs": ""}
    flags = [f"--{name}={value}" for name, value in given.items()] + [str(flag) for flag in flags]
    sys.argv = ["train.py", *flags, *shlex.split(f"{args.flags} {WAYS[args.only][0]}")]
    runpy.run_path(str(HERE / "train.py"), run_name="__main__")


def evaluate(args: SimpleNamespace, weights: Path, *flags: object) -> dict:
    """What evaluate.py says of weights."""
    command = [sys.executable, HERE / "evaluate.py", "--weights", weights, *flags]
    command += ["--midi-dir", args.score_dir] if args.score_dir else []
    done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def usual(args: SimpleNamespace, folder: Path) -> dict:
    """Train for some minutes; how well, how large, how quick to play?"""
    weights = folder / "music.weights.h5"
    train(args, weights, "--minutes", args.minutes)
    found = evaluate(args, weights, "--no-baselines")
    kept = checkpoint.load(weights)
    stepper = Stepper(kept)
    how = sampler.Sampling(seed=1, constraints=sampler.usual_constraints(stepper, 400))
    began = time.process_time()
    sampler.generate(stepper, stepper.start(1, (4, 4)), 400, how)
    return {
        **{name: found[name] for name in ("nats_per_note", "nats_per_beat", "heads", "moved")},
        "updates": kept.about["history"][-1]["updates"],
        "parameters": sum(array.size for layer in kept.arrays.values() for array in layer),
        "notes_per_second": 400 / (time.process_time() - began),
    }


def copies(args: SimpleNamespace, folder: Path) -> dict:
    """Train without an end, and look again and again: what do new pieces share with the training music?"""
    weights, found = folder / "music.weights.h5", {}
    for epochs in args.stages:
        train(args, weights, "--epochs", epochs, "--patience", 0, "--resume")
        last = sibling(str(weights), "last.weights.h5")
        scored = evaluate(args, last, "--no-baselines", "--samples", args.pieces)
        history = checkpoint.load(last).about["history"][-1]
        runs = {what: {name: those[name] for name in ("median", "max")} for what, those in scored["copying"].items()}
        found[epochs] = {
            "minutes": history["seconds"] / 60,
            "train": history["train"],
            "nats_per_note": scored["nats_per_note"],
            "copying": runs,
        }
    return found


def ancestors_network(args: SimpleNamespace, folder: Path) -> dict:
    """Train the ancestors' network in their way, on the same events as ours, and score it on the same pieces."""
    from utils import network
    from utils.measure import ancestors

    how = settings.parse(HERE / "train.py", [])
    form = events.Representation.of(vars(how))
    sources, _ = dataset.read_folder(args.midi_dir, form, args.split)
    learnt, held_out = dataset.hold_out(sources, how.validation)
    if args.score_dir:
        held_out, _ = dataset.read_folder(args.score_dir, form, args.split)
    pieces = [source.events for source in learnt]
    vocabulary = events.build_vocabulary(pieces, form, how.transpose)
    network.keras.utils.set_random_seed(args.seed)
    model = ancestors.build([vocabulary.size(stream) for stream in vocabulary.streams])
    updates = ancestors.learn(model, dataset.encode(learnt, vocabulary), args.minutes, args.seed, time.process_time)
    scored = dataset.encode(held_out, vocabulary)
    nats = ancestors.score(model, scored)
    where = Path(args.score_dir or args.midi_dir)
    beats = sum(likelihood.beats(midi.read(where / source.name), vocabulary.grid) for source in held_out)
    return {
        "nats_per_note": float(nats.sum() / scored.notes),
        "nats_per_beat": float(nats.sum() / beats),
        "heads": dict(zip(vocabulary.streams, (nats / scored.notes).tolist(), strict=True)),
        "updates": updates,
        "parameters": model.count_params(),
    }


# ---- all of them ----


def folder_of(args: SimpleNamespace) -> Path:
    """Where a run's files are: its way and seed, and a number for everything else that tells runs apart."""
    used = ["midi_dir", "score_dir", "split", "flags"]
    used += ["stages", "pieces"] if args.question == "copying" else ["minutes"]
    number = zlib.crc32(repr([args.question == "copying", *(getattr(args, name) for name in used)]).encode())
    return Path(args.out, f"{args.only.replace(' ', '-')}-{args.seed}-{number:08x}")


def run(args: SimpleNamespace) -> dict:
    """What a run found; it is made, in a process of its own, unless it is there. Raises UserError if it failed."""
    folder = folder_of(args)
    if not (folder / "found.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        share = str(max((os.cpu_count() or 1) // args.jobs, 1))
        threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), share)
        texts = {name: ",".join(map(str, v)) if isinstance(v, tuple) else v for name, v in vars(args).items()}
        flags = [f"--{name.replace('_', '-')}={text}" for name, text in texts.items()]
        with (folder / "log.txt").open("w") as log:
            command = [sys.executable, __file__, *flags]
            done = subprocess.run(command, env={**os.environ, **threads}, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise UserError(f"'{args.only}' with seed {args.seed} failed: {folder / 'log.txt'} says why.")
    return json.loads((folder / "found.json").read_text("utf-8"))


def alone(args: SimpleNamespace) -> None:
    """Make a run in this process and write what it found."""
    settings.choice("only", args.only, tuple(WAYS))
    folder = folder_of(args)
    folder.mkdir(parents=True, exist_ok=True)
    WAYS[args.only][1]()
    measure = {"copying": copies, "ancestors": ancestors_network}.get(args.question, usual)
    scratch = folder / "found.json.part"
    scratch.write_text(json.dumps(measure(args, folder)), "utf-8")
    scratch.rename(folder / "found.json")


def after_priors(args: SimpleNamespace, folder: Path) -> dict:
    """Nats a note of the same events, which follow the longest of PRIORS, when so many events before them are read.
    Raises UserError if no held-out piece is long enough."""
    weights = checkpoint.load(folder / "music.weights.h5")
    stepper = Stepper(weights)
    _, held_out = copying.read_split(weights.about)
    begin, end = max(args.priors), max(args.priors) + args.following
    long = [source for source in held_out if len(source.events) >= end]
    if not long:
        raise UserError(f"No held-out piece has {end} events: lower --priors or --following.")
    found = {}
    for length in args.priors:
        parts = [dataclasses.replace(source, events=source.events[begin - length : end]) for source in long]
        corpus = dataset.encode(parts, weights.vocabulary)
        scored = corpus.first[:-1, None] + 1 + length + np.arange(args.following)  # after the start token and the prior
        nats = likelihood.score(stepper, corpus).events[scored].sum(axis=-1)  # (P, following)
        found[length] = {"nats_per_note": float(nats.mean()), "first_20": float(nats[:, :20].mean())}
    return found


def spread(values: list[float]) -> str:
    """Mean, and from the lowest to the highest."""
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else f"{values[0]:.3f}"


def table(found: dict[str, list[dict]]) -> None:
    """Print what the runs of each way found: the mean over the seeds, and of what counts most also the spread."""
    columns = ("nats a note", "nats a beat", "by head", "updates", "parameters", "notes a second")
    print(f"{'':32s}{columns[0]:>24s}" + "".join(f"{column:>16s}" for column in columns[1:]))
    for way, runs in found.items():
        heads = " ".join(f"{np.mean([run['heads'][stream] for run in runs]):.2f}" for stream in runs[0]["heads"])
        names = ("updates", "parameters", "notes_per_second")
        rest = "".join(f"{np.mean([run[name] for run in runs]):16,.0f}" for name in names if name in runs[0])
        beat = np.mean([run["nats_per_beat"] for run in runs])
        print(f"{way:32s}{spread([run['nats_per_note'] for run in runs]):>24s}{beat:16.3f}{heads:>16s}{rest}")


def stages(found: dict[str, list[dict]]) -> None:
    """Print what the runs of each way found at each stage: after so many epochs, or with a prior of such a length."""
    for way, runs in found.items():
        print(way)
        for stage, first in runs[0].items():
            at = [run[stage] for run in runs]
            row = {name: spread([one[name] for one in at]) for name in first if name != "copying"}
            for what in first.get("copying", ()):
                for name in first["copying"][what]:
                    row[f"{what} {name}"] = spread([one["copying"][what][name] for one in at])
            print(f"{stage:>8s}  " + "  ".join(f"{name} {value}" for name, value in row.items()))


def main(args) -> None:
    if args.only:
        alone(args)
        return
    if args.question == "list":
        for name, ways in QUESTIONS.items():
            print(f"{name:12s}{', '.join(ways)}")
        return
    settings.choice("question", args.question, tuple(QUESTIONS))
    midi.find(args.midi_dir)  # a folder that is not there is better said now
    for name in ("seeds", "jobs"):
        settings.at_least(name, getattr(args, name), 1)
    ways, seeds = QUESTIONS[args.question], range(1, args.seeds + 1)
    wanted = [SimpleNamespace(**{**vars(args), "only": way, "seed": seed}) for seed in seeds for way in ways]
    with ThreadPoolExecutor(args.jobs) as pool, tqdm(total=len(wanted), unit="run") as bar:
        waiting = [pool.submit(run, one) for one in wanted]
        for one in waiting:
            one.add_done_callback(lambda _: bar.update())
        made = [one.result() for one in waiting]
    if args.question == "prior":
        made = [json.loads(json.dumps(after_priors(args, folder_of(one)))) for one in wanted]
    found = {way: made[i :: len(ways)] for i, way in enumerate(ways)}
    (stages if args.question in ("prior", "copying") else table)(found)
    print(json.dumps(found))


if __name__ == "__main__":
    settings.run(main, __file__)
