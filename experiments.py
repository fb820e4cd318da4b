"""Does it help? Train the network in several ways for the same time, with several seeds, and print a table.

python experiments.py --question sizes             one of the questions of EXPERIMENTS.md
python experiments.py --question list              list the questions
python experiments.py --question losses --seeds 3 --minutes 10 --midi-dir my-music

To try a way of your own, add a line to WAYS in utils/measure/ways.py and its name to QUESTIONS there.
"""

import functools
import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import utils  # noqa: F401  (before NumPy, which it keeps to one thread)

# isort: split
import numpy as np
from tqdm import tqdm

import train
from utils import apart, checkpoint, constraints, dataset, events, files, midi, sampler, settings, training
from utils.errors import UserError
from utils.measure import evaluation, likelihood
from utils.measure.ways import ANCESTORS, QUESTIONS, WAYS
from utils.source import music_files
from utils.stepper import Stepper
from utils.vocabulary import build_vocabulary

# ---- the question
QUESTION: str = "list"  # one of QUESTIONS, or list, which prints them
MIDI_DIR: str = "midis"  # folder of MIDI files to learn from
SCORE_DIR: str = ""  # folder of the pieces to score ('': the held-out pieces of MIDI_DIR)
SPLIT: int = 0  # which pieces are held out, as in train.py
# ---- how long
MINUTES: float = 3.0  # minutes of CPU time for each run, whatever else the machine does (0: no limit)
SEEDS: int = 2  # runs of each way, each with a seed of its own
JOBS: int = 1  # runs at the same time; they share the cores
FLAGS: str = ""  # flags of train.py for all ways
OUT: str = "experiments"  # folder for weights and scores; runs found there are not repeated
# ---- for single questions
STAGES: tuple = (1, 2, 4, 8, 16)  # question copying: numbers of epochs after which to compare
PIECES: int = 16  # question copying: new pieces to search for passages of the training music
PRIORS: tuple = (0, 4, 20, 100, 400)  # question prior: numbers of events to read before the scored ones
FOLLOWING: int = 100  # question prior: events to score after them
# ---- a single run, in this process
ONLY: str = ""  # name of the way to train
SEED: int = 1  # seed of the run

HERE = Path(__file__).resolve().parent


# ---- one run, in a process of its own ----


def fixed_flags(args: SimpleNamespace, weights: Path | str = "") -> dict[str, object]:
    """The flags of train.py that are set here for each run."""
    return {"--midi-dir": args.midi_dir, "--weights": weights, "--split": args.split, "--seed": args.seed, "--logs": ""}


def learn(args: SimpleNamespace, weights: Path, *more: str) -> None:
    """Train in the way that `args.only` names; the clock counts the CPU time of this process alone."""
    from utils.network import Way

    flags, changes = WAYS[args.only]
    given = (f"{flag}={value}" for flag, value in fixed_flags(args, weights).items())
    # No ear: the questions are about nats, which it does not change.
    flags = ["--ear=0", *given, *settings.words("flags", f"{args.flags} {flags}"), *more]
    train.main(settings.parse(HERE / "train.py", flags), Way(**{"clock": time.process_time} | changes()))


def asked(args: SimpleNamespace, *more: str) -> SimpleNamespace:
    """The settings of evaluate.py with which a run is scored."""
    return settings.parse(HERE / "evaluate.py", [f"--midi-dir={args.score_dir}", "--no-baselines", *more])


def after_some_minutes(args: SimpleNamespace, folder: Path) -> dict:
    """Train for `args.minutes`, then measure the scores, the size and the speed of playing."""
    weights = folder / "music.weights.h5"
    learn(args, weights, f"--minutes={args.minutes}")
    scores = evaluation.evaluate(weights, asked(args))
    kept = checkpoint.load(weights)
    network = Stepper(kept)
    how = sampler.Sampling(seed=1).constrained(*constraints.usual(network, 400))
    began = time.process_time()
    sampler.generate(network, network.start(1, (4, 4)), 400, how)
    return {
        **{name: scores[name] for name in ("nats_per_note", "nats_per_beat", "heads", "moved")},
        "updates": kept.about["history"][-1]["updates"],
        "parameters": sum(array.size for layer in kept.arrays.values() for array in layer),
        "notes_per_second": 400 / (time.process_time() - began),
    }


def copies(args: SimpleNamespace, folder: Path) -> dict:
    """Train without early stopping, and compare new pieces with the training music after each of `args.stages`."""
    weights, stages = folder / "music.weights.h5", {}
    for epochs in args.stages:
        resume = ["--resume"] if stages else []
        learn(args, weights, f"--epochs={epochs}", "--patience=0", *resume)
        last = checkpoint.sibling(str(weights), "last.weights.h5")
        scores = evaluation.evaluate(last, asked(args, f"--samples={args.pieces}"))
        history = checkpoint.load(last).about["history"][-1]
        row = {"minutes": history["seconds"] / 60, "train": history["train"], "nats_per_note": scores["nats_per_note"]}
        row |= {f"{what} {n}": runs[n] for what, runs in scores["copying"].items() if runs for n in ("median", "max")}
        stages[epochs] = row
    return stages


def ancestors_network(args: SimpleNamespace, folder: Path) -> dict:
    """Train the ancestors' network with their method on the same events as ours, and score it on the same pieces."""
    from utils import network
    from utils.measure import ancestors

    flags = [f"--midi-dir={args.midi_dir}", f"--split={args.split}", *settings.words("flags", args.flags)]
    how = settings.parse(HERE / "train.py", flags)
    train_on, held_out = training.read_music(how)
    form = events.Representation.of(vars(how))
    if args.score_dir:
        held_out, _ = dataset.read_folder(args.score_dir, form, args.split)
    vocabulary = build_vocabulary([source.events for source in train_on], form, how.transpose)
    learnt, scored = (dataset.encode(pieces, vocabulary) for pieces in (train_on, held_out))
    network.keras.utils.set_random_seed(args.seed)
    model = ancestors.build(vocabulary)
    updates = ancestors.learn(model, learnt, args.minutes, args.seed, time.process_time)
    beats = sum(source.beats for source in held_out)
    scores = evaluation.summary(ancestors.score(model, scored), scored, beats)
    return {**scores, "updates": updates, "parameters": model.count_params()}


def measured(args: SimpleNamespace, folder: Path) -> dict:
    """Do a run and measure what its question asks for."""
    if args.only == ANCESTORS:
        return ancestors_network(args, folder)
    return (copies if args.question == "copying" else after_some_minutes)(args, folder)


def alone(args: SimpleNamespace) -> None:
    """Do a single run in this process and write its results."""
    settings.choice("only", args.only, tuple(WAYS))
    folder = folder_of(args)
    files.write(folder / "results.json", json.dumps(measured(args, folder)).encode())


# ---- all of them ----


def contents(folder: Path, paths: list[Path]) -> str:
    """A hash of the names and contents of some files in a folder."""
    about = [(path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
    return hashlib.sha256(repr(about).encode()).hexdigest()


@functools.cache
def state_of_the_code() -> str:
    """A hash of all the code that a result depends on, so that results of older code are not reused."""
    scripts = [HERE / name for name in ("train.py", "evaluate.py", "experiments.py")]
    return contents(HERE, sorted([*scripts, *(HERE / "utils").rglob("*.py")]))


@functools.cache
def music_in(folder: str) -> str:
    """A hash of the MIDI files in a folder, if one is named, so that results of other music are not reused."""
    return contents(Path(folder), midi.find(Path(folder))) if folder else ""


def folder_of(args: SimpleNamespace) -> Path:
    """The folder of a run's files, named after its way, its seed and a hash of all else that its results depend on."""
    copying_asked = args.question == "copying"
    used = ["midi_dir", "score_dir", "split", "flags", *(["stages", "pieces"] if copying_asked else ["minutes"])]
    around = [state_of_the_code(), *map(music_in, (args.midi_dir, args.score_dir)), os.environ.get("KERAS_BACKEND")]
    about = repr([copying_asked, *around, *(getattr(args, name) for name in used)])
    number = hashlib.sha256(about.encode()).hexdigest()[:8]
    return Path(args.out, f"{args.only.replace(' ', '-')}-{args.seed}-{number}")


def run(args: SimpleNamespace) -> dict:
    """The results of a run, which is done in a process of its own unless they exist already. Raises UserError if it
    fails."""
    folder = folder_of(args)
    if not (folder / "results.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        share = str(max(apart.CORES // args.jobs, 1))
        threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), share)
        command = [sys.executable, __file__, *sys.argv[1:], f"--only={args.only}", f"--seed={args.seed}"]
        with (folder / "log.txt").open("w") as log:
            done = subprocess.run(command, env={**os.environ, **threads}, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise UserError(f"'{args.only}' with seed {args.seed} failed: {folder / 'log.txt'} says why.")
    return json.loads((folder / "results.json").read_text("utf-8"))


def after_priors(args: SimpleNamespace, folder: Path) -> dict:
    """Nats a note of the events that follow the longest of PRIORS, for each of PRIORS as the number of events read
    before them. Raises UserError if no piece that is scored is long enough."""
    weights = checkpoint.load(folder / "music.weights.h5")
    network = Stepper(weights)
    _, held_out, _ = evaluation.read_music(folder / "music.weights.h5", weights.about, asked(args))
    begin, end = max(args.priors), max(args.priors) + args.following
    long = [source for source in held_out if len(source.events) >= end]
    if not long:
        raise UserError(f"No piece to score has {end} events: lower --priors or --following.")
    nats_after = {}
    for length in args.priors:
        parts = [replace(source, events=source.events[begin - length : end]) for source in long]
        corpus = dataset.encode(parts, weights.vocabulary)
        scored = corpus.first[:-1, None] + 1 + length + np.arange(args.following)  # after the start token and the prior
        nats = likelihood.score(network, corpus).events[scored].sum(axis=-1)  # (P, following)
        nats_after[str(length)] = {"nats_per_note": float(nats.mean()), "first_20": float(nats[:, :20].mean())}
    return nats_after


def spread(values: list[float]) -> str:
    """'mean (lowest to highest)'."""
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else f"{values[0]:.3f}"


def print_table(results: dict[str, list[dict]]) -> None:
    """Print the results of each way: means over the seeds and, for nats a note, also the spread."""
    heads = {
        way: ", ".join(f"{s} {np.mean([run['heads'][s] for run in runs]):.2f}" for s in runs[0]["heads"])
        for way, runs in results.items()
    }
    width = max(16, *(len(each) + 2 for each in heads.values()))
    rest = "".join(f"{column:>16s}" for column in ("updates", "parameters", "notes a second"))
    print(f"{'':32s}{'nats a note':>24s}{'nats a beat':>16s}{'by head':>{width}s}{rest}")
    for way, runs in results.items():
        names = ("updates", "parameters", "notes_per_second")
        rest = "".join(f"{np.mean([run[name] for run in runs]):16,.0f}" for name in names if name in runs[0])
        beat = np.mean([run["nats_per_beat"] for run in runs])
        print(f"{way:32s}{spread([run['nats_per_note'] for run in runs]):>24s}{beat:16.3f}{heads[way]:>{width}s}{rest}")


def print_stages(results: dict[str, list[dict]]) -> None:
    """Print the results of each way for each number of epochs or each length of the prior."""
    for way, runs in results.items():
        print(way)
        for stage, first in runs[0].items():
            at = [run[stage] for run in runs]
            print(f"{stage:>8s}  " + "  ".join(f"{name} {spread([row[name] for row in at])}" for name in first))


def main(args) -> None:
    args.stages = sorted(set(args.stages))
    if args.only:
        alone(args)
        return
    if args.question == "list":
        for name, ways in QUESTIONS.items():
            print(f"{name:12s}{'; '.join(ways)}")
        return
    settings.choice("question", args.question, tuple(QUESTIONS))
    timed = ("--epochs", "--patience") if args.question == "copying" else ("--minutes",)
    settings.words("flags", args.flags, {*fixed_flags(args), "--resume", *timed})
    # Problems with the music or with a way are reported now, not by one run after another.
    for folder in filter(None, (args.midi_dir, args.score_dir)):
        music_files(folder)
    for way in QUESTIONS[args.question]:
        if way not in WAYS:
            raise UserError(
                f"Question {args.question} has the way {way!r}, which is not in WAYS of utils/measure/ways.py: add it."
            )
        training.check(settings.parse(HERE / "train.py", settings.words("flags", f"{args.flags} {WAYS[way][0]}")))
    for name in ("minutes", "priors"):
        settings.at_least(name, np.min(getattr(args, name)), 0)
    for name in ("seeds", "jobs", "stages", "pieces", "following"):
        settings.at_least(name, np.min(getattr(args, name)), 1)
    ways, seeds = QUESTIONS[args.question], range(1, args.seeds + 1)
    wanted = [SimpleNamespace(**{**vars(args), "only": way, "seed": seed}) for seed in seeds for way in ways]
    with ThreadPoolExecutor(args.jobs) as pool:
        made = list(tqdm(pool.map(run, wanted), total=len(wanted), unit="run"))
    if args.question == "prior":
        made = [after_priors(args, folder_of(one)) for one in wanted]
    results = {way: made[i :: len(ways)] for i, way in enumerate(ways)}
    (print_stages if args.question in ("prior", "copying") else print_table)(results)
    print(json.dumps(results))


if __name__ == "__main__":
    settings.run(main, __file__)
