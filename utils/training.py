"""How a training run begins: its settings are checked, its music is read, an earlier run is set aside or resumed."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from utils import checkpoint, dataset, files, settings
from utils.checkpoint import sibling
from utils.dataset import Corpus, Source
from utils.errors import UserError
from utils.events import KNOWN_STREAMS, Representation, build_vocabulary
from utils.heads import CELLS, Shape
from utils.measure import plots
from utils.output.tensorboard import Board
from utils.run import Run

if TYPE_CHECKING:
    from utils.network import Way

# What a network was built for, and what it has not seen: --resume cannot change these settings.
FIXED = "grid chords max_beats streams transpose split validation".split()
FIXED += "heads cell layers units embedding hidden surroundings".split()
ADDED = {"cell": "lstm"}  # settings that older weights files do not name, and what they were trained with
LEFT_BEHIND = ("weights.h5", "last.weights.h5", "log.csv", "curve.png")  # files of a run, by their endings


def check(args: SimpleNamespace) -> None:
    """Raises UserError for a setting of train.py that cannot work."""
    settings.choice("heads", args.heads, ("chained", "parallel", "regression"))
    settings.choice("chords", args.chords, ("split", "class"))
    settings.choice("cell", args.cell, tuple(CELLS))
    known = {"note", "duration"} < set(args.streams) <= set(KNOWN_STREAMS)
    if args.streams[:1] != ("offset",) or not known or len(set(args.streams)) < len(args.streams):
        raise UserError("--streams begins with offset and names note, duration and, if wanted, velocity.")
    if not args.weights.endswith(".weights.h5"):
        raise UserError(f"--weights {args.weights} must end in .weights.h5.")
    sizes = "layers units embedding hidden surroundings sequence_length batch_size epochs openings sample_epochs"
    for name in ("grid", "max_beats", *sizes.split()):
        settings.at_least(name, getattr(args, name), 1)
    shares = "validation dropout"
    for name in f"transpose weight_decay minutes patience warm_up seed learning_rate clip_norm {shares}".split():
        settings.at_least(name, getattr(args, name), 0)
    settings.at_most("seed", args.seed, 2**32 - 1)
    for name in shares.split():
        if getattr(args, name) >= 1:
            raise UserError(f"--{name} is a share: it must be below 1.")


@dataclass
class Music:
    """The pieces that a run learns from, and those that it is scored on."""

    train: list[Source]
    held_out: list[Source]
    files: int
    skipped: int  # files that could not be used


def read_music(args: SimpleNamespace) -> Music:
    """Read the folder and hold some of its pieces out; what is skipped is printed."""
    sources, skipped = dataset.read_folder(args.midi_dir, Representation.of(vars(args)), args.split)
    for name, reason in skipped:
        print(f"skipped: {name}: {reason}")
    return Music(*dataset.hold_out(sources, args.validation), len(sources) + len(skipped), len(skipped))


def set_aside(weights: str) -> None:
    """Rename what an earlier run left; its best weights are copied, and stay until there are better ones."""
    paths, name = [sibling(weights, ending) for ending in LEFT_BEHIND], Path(weights).name.removesuffix("weights.h5")
    number = files.set_aside(
        paths,
        lambda path, number: path.with_name(f"{name}old-{number}.{path.name.removeprefix(name)}"),
        copied=paths[0],
    )
    if number:
        print(f"The files of an earlier run are kept as {sibling(weights, f'old-{number}')}.*")


def resumed(args: SimpleNamespace, path: Path) -> checkpoint.Checkpoint:
    """The checkpoint at `path` to go on from. Raises UserError if there is none, or if its network is not the one that
    `args` describe."""
    if not path.exists():
        raise UserError(f"There is no {path} to resume from: train without --resume, or name the run with --weights.")
    earlier = checkpoint.load(path)
    then = {**ADDED, **earlier.about["settings"]}
    for name in FIXED:
        now = getattr(args, name)
        if then[name] != (list(now) if isinstance(now, tuple) else now):
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{path} was trained with {flag} {then[name]}, not {now}: resume with that, or start anew.")
    row = earlier.about["history"][-1]
    print(f"Going on after epoch {row['epoch']} of {path}, {row['seconds'] / 60:.1f} minutes of training.")
    if Path(then["midi_dir"]).resolve() != Path(args.midi_dir).resolve():
        print(f"Until now it learnt from {then['midi_dir']}, from here on from {args.midi_dir}.")
    return earlier


def begin(args: SimpleNamespace, music: Music, way: "Way", began: float) -> Run:
    """A run with its network, new or resumed; what it learns from is printed. `began` is the clock's time at the start.
    Raises UserError for weights that cannot be written or resumed."""
    from utils import network  # starts Keras

    network.keras.utils.set_random_seed(args.seed)
    checkpoint.check_writable(args.weights)
    last, history = sibling(args.weights, "last.weights.h5"), []
    if args.resume:
        earlier = resumed(args, last)
        vocabulary, history = earlier.vocabulary, earlier.about["history"]
        began -= history[-1]["seconds"]
    else:
        set_aside(args.weights)
        pieces = [source.events for source in music.train]
        vocabulary = build_vocabulary(pieces, Representation.of(vars(args)), args.transpose)
    train = dataset.encode(music.train, vocabulary, args.transpose)
    held_out = dataset.encode(music.held_out, vocabulary)
    shape = Shape.of(args)
    trainer, scorer = network.build(vocabulary, shape, way)
    optimizer = way.optimizer(args.learning_rate, args.weight_decay, args.clip_norm or None)
    network.compile_trainer(trainer, args.streams, optimizer, way.loss)
    if args.resume:
        try:
            trainer.load_weights(last)
        except ValueError:  # Keras finds layers by their order, which may change between versions of a network
            raise UserError(
                f"{last} is of another version of this program: its network still plays, but training cannot go on; "
                "train without --resume."
            ) from None
    about = {
        "settings": vars(args),
        "shape": shape.to_json(),
        "vocabulary": vocabulary.to_json(),
        "metre": Counter(source.events.metre() for source in music.train).most_common(1)[0][0],
        "split": {side: [s.name for s in getattr(music, side)] for side in ("train", "held_out")},
        "openings": dataset.passages(music.train, vocabulary, args.sequence_length, args.openings, args.seed),
        "versions": network.versions(),
        "history": history,
    }
    describe(music, train, held_out)
    print(f"{trainer.count_params():,} parameters on {network.DEVICES} (Keras with {about['versions']['backend']})")
    plots.network_diagram(vocabulary, shape, Path(args.weights).with_name("model_plot.png"))
    board = Board(args.logs, args.weights, args.resume)
    run = Run(args, trainer, scorer, shape, train, held_out, about, way.clock, began, board)
    if Path(args.weights).exists():  # else somebody has moved the best weights away
        run.best = min((row["score"] for row in history), default=math.inf)
    return run


def describe(music: Music, train: Corpus, held_out: Corpus) -> None:
    """Print what a run learns from."""
    alone, vocabulary = music.train is music.held_out, train.vocabulary
    clipped = sum(source.events.clipped for source in (music.train if alone else music.train + music.held_out))
    print(
        f"learning from {train.pieces} pieces, {train.notes:,} notes ({train.events:,} events); "
        f"held out: {held_out.pieces} pieces"
    )
    if alone:
        print("There is only one piece, so it is its own held-out piece: the score says how well it is known by heart.")
    sizes = ", ".join(f"{stream} {vocabulary.size(stream)}" for stream in vocabulary.streams)
    beats = vocabulary.representation.max_beats
    print(f"vocabulary: {sizes}; {clipped} rests or notes longer than {beats} beats were clipped")
    moved = ", ".join(f"{count} of {stream}" for stream, count in held_out.moved.items() if count)
    if moved:
        print(f"values in held-out pieces that no other piece has, moved to the nearest: {moved}")
