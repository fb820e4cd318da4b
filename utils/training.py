"""The start of a training run: check its settings, read its music, and set aside or resume an earlier run."""

import contextlib
import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from utils import checkpoint, dataset, files, settings, theory, transfer
from utils.about import MOST
from utils.cells import CELLS
from utils.checkpoint import sibling
from utils.dataset import Corpus
from utils.errors import UserError
from utils.events import KNOWN_STREAMS, Representation
from utils.heads import HEADS, Shape
from utils.measure import plots
from utils.output.tensorboard import Board
from utils.piece import plural, shortened
from utils.run import Run
from utils.source import Source, remarks_on
from utils.vocabulary import build_vocabulary

if TYPE_CHECKING:
    import keras

    from utils.network import Way

# What the network was built for, and which pieces it has not seen: --resume cannot change these settings.
FIXED = "grid chords max_beats pedal metre streams styles transpose split validation".split() + transfer.SIZES
AUTO, ALL = ("auto",), ("offset", "note", "duration", "velocity")  # values of --streams: auto, and what it stands for
# Endings of the files of a run.
LEFT_BEHIND = (".weights.h5", ".last.weights.h5", ".log.csv", ".curve.png", ".samples.png")


def check(args: SimpleNamespace) -> None:
    """Raises UserError for a setting of train.py that cannot work."""
    settings.choice("heads", args.heads, HEADS)
    settings.choice("chords", args.chords, ("split", "class"))
    settings.choice("cell", args.cell, tuple(CELLS))
    settings.choice("precision", args.precision, ("float32", "bfloat16"))
    if args.metre:
        theory.metre(args.metre)
    streams = ALL if args.streams == AUTO else args.streams
    known = {"note", "duration"} < set(streams) <= set(KNOWN_STREAMS) - {"part"}  # which --parts adds
    if streams[:1] != ("offset",) or not known or len(set(streams)) < len(streams):
        raise UserError("--streams must begin with offset and name note, duration and, if wanted, velocity.")
    if args.start_from and args.resume:
        raise UserError("--resume continues a run, and --start-from begins a new one: give only one of them.")
    if not args.weights.endswith(".weights.h5"):
        raise UserError(f"--weights {args.weights} must end in .weights.h5.")
    last = sibling(args.weights, "last.weights.h5")
    if args.resume and not last.exists():
        number = files.first_free(lambda number: [sibling(args.weights, f"old-{number}.last.weights.h5")]) - 1
        aside = f", such as {sibling(args.weights, f'old-{number}.weights.h5')}" if number else ""
        how = f"train without --resume, or name the run with --weights{aside}"
        raise UserError(f"There is no {last} to resume from: {how}.")
    for name in (*MOST, "sequence_length", "epochs", "openings", "sample_epochs"):
        settings.at_least(name, getattr(args, name), 1)
    for name, most in MOST.items():
        settings.at_most(name, getattr(args, name), most)
    shares, rates = "validation dropout", "learning_rate weight_decay clip_norm"
    for name in f"batch_size transpose minutes patience warm_up ear seed {rates} {shares}".split():
        settings.at_least(name, getattr(args, name) or 0, 0)
    settings.at_most("seed", args.seed, 2**32 - 1)
    for name in shares.split():
        if getattr(args, name) >= 1:
            raise UserError(f"--{name} is a share: it must be below 1.")


def settle(args: SimpleNamespace) -> bool:
    """Adapt `args` to the network that a run resumes or starts from, if there is one. Returns whether the music is to
    decide which streams are learnt. Raises UserError if there are no such weights to start from, or if they were
    trained on another representation of music."""
    automatic, earlier, path = args.streams == AUTO, None, args.start_from
    if args.start_from:
        if not Path(path).exists():
            raise UserError(f"There are no weights at {path} to start from: name others with --start-from.")
        earlier = checkpoint.load(path)
    elif args.resume:
        path = sibling(args.weights, "last.weights.h5")
        earlier = checkpoint.load(path)
        args.start_from = earlier.about["settings"].get("start_from", "")
    if automatic:
        known = earlier.about["settings"]["streams"] if earlier else ALL
        args.streams = tuple(stream for stream in known if args.parts or stream != "part")
    if args.parts and args.chords == "split" and "part" not in args.streams:
        args.streams = (*args.streams[:1], "part", *args.streams[1:])
    if args.start_from:
        transfer.adopt(args, path, earlier)
    return automatic and not earlier


@contextlib.contextmanager
def alone(weights: str) -> Iterator[None]:
    """Inside the `with` block no other process can train these weights; unfinished files of killed runs are removed.
    Raises UserError if another process is training them."""
    path = Path(weights)
    if int(os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", 0)):
        yield  # only the first of several processes that train together writes
        return
    refusal = f"{weights} is being trained by another process: wait until it ends, or name others with --weights."
    with files.alone(path.with_name(f".{path.name.removesuffix('.weights.h5')}.lock"), refusal):
        files.sweep(path.parent)
        yield


def read_music(args: SimpleNamespace) -> tuple[list[Source], list[Source]]:
    """The training pieces of a run and its held-out pieces. Sets `args.streams` to the streams that are learnt, and
    other settings as `settle` does. Prints remarks on the files."""
    automatic = settle(args)
    sources, skipped = dataset.read_folder(args.midi_dir, Representation.of(vars(args)), args.split)
    for remark in remarks_on(args.midi_dir, sources, skipped):
        print(remark)
    if automatic and len(np.unique([v for s in sources for v in np.unique(s.events.streams["velocity"])])) < 2:
        args.streams = tuple(stream for stream in args.streams if stream != "velocity")
        for source in sources:
            del source.events.streams["velocity"]
    number = len(sources) + len(skipped)
    print(f"{plural(number, 'file')}: {len(sources)} read, {len(skipped)} skipped; starting Keras ...")
    return dataset.hold_out(sources, args.validation)


def set_aside(weights: str) -> None:
    """Rename the files of an earlier run; its best weights are copied, so they stay until there are better ones."""
    if number := files.set_aside(weights.removesuffix(".weights.h5"), LEFT_BEHIND, copied=LEFT_BEHIND[0]):
        print(f"The files of an earlier run are kept as {sibling(weights, f'old-{number}')}.*")


def resumed(args: SimpleNamespace, path: Path) -> checkpoint.Checkpoint:
    """The checkpoint at `path` to resume from. Raises UserError if its network is not the one that `args`
    describe."""
    earlier = checkpoint.load(path, with_optimizer=True)
    then = {"metre": "", **earlier.about["settings"]}  # which earlier versions did not record
    # Older versions lack settings for what they did not do.
    theirs, ours = ([settings.flag(name, each.get(name, False)) for name in FIXED] for each in (then, vars(args)))
    transfer.refuse(path, theirs, ours, "resume with its flags, or train without --resume")
    if not earlier.vocabulary.told_lines:
        raise UserError(
            f"{path} is from an older version, whose networks were told less: it still plays, but its training "
            f"cannot be resumed. Train without --resume, starting from its weights: --start-from {args.weights}."
        )
    row = earlier.about["history"][-1]
    print(f"Continuing after epoch {row['epoch']} of {path}, {row['seconds'] / 60:.1f} minutes of training.")
    if Path(then["midi_dir"]).resolve() != Path(args.midi_dir).resolve():
        print(f"So far it was trained on {then['midi_dir']}; from here on it trains on {args.midi_dir}.")
    return earlier


def begin(args: SimpleNamespace, music: tuple[list[Source], list[Source]], way: "Way", began: float) -> Run:
    """A run with its network, new or resumed; prints what it learns from. `music` is its training and its held-out
    pieces, `began` the clock's time at the start. Raises UserError for weights that cannot be written or resumed."""
    from utils import devices, network  # starts Keras

    devices.settle(args)
    network.keras.utils.set_random_seed(args.seed)
    files.check_writable(args.weights, "--weights")
    last, train, held_out = sibling(args.weights, "last.weights.h5"), *music
    split = {"train": [source.name for source in train], "held_out": [source.name for source in held_out]}
    history, best, learnt_before = [], math.inf, []
    if args.resume:
        earlier = resumed(args, last)
        vocabulary, history, before = earlier.vocabulary, earlier.about["history"], earlier.about["split"]
        learnt_before = earlier.about.get("learnt_before", [])
        began -= history[-1]["seconds"]
        # Pieces learnt once count as learnt. Scores of other held-out pieces, or of weights moved away, do not count.
        split["train"] = list(dict.fromkeys(before["train"] + split["train"]))
        if Path(args.weights).exists() and before["held_out"] == split["held_out"]:
            best = plots.kept_row(history)["score"]
    else:
        set_aside(args.weights)
        styles = dataset.styles_of(train) if args.styles else ()
        vocabulary = build_vocabulary([s.events for s in train], Representation.of(vars(args)), args.transpose, styles)
        if args.start_from:
            earlier = checkpoint.load(args.start_from)
            vocabulary = vocabulary.joined(earlier.vocabulary)
            learnt_before = earlier.about["split"]["train"] + earlier.about.get("learnt_before", [])
    shape = Shape.of(args)
    trainer, scorer = network.build(vocabulary, shape, way)
    optimizer = way.optimizer(args.learning_rate, args.weight_decay, args.clip_norm or None)
    network.compile_trainer(trainer, args.streams, optimizer, way.loss)
    if args.resume:
        go_on(trainer, earlier, last)
    elif args.start_from:
        for name, arrays in transfer.started(vocabulary, shape, earlier).items():
            trainer.get_layer(name).set_weights(arrays)
        print(transfer.news(vocabulary, earlier.vocabulary))
    about = {
        "settings": vars(args),
        "shape": vars(shape),
        "vocabulary": vocabulary.to_json(),
        "metre": Counter(source.events.metre() for source in train).most_common(1)[0][0],
        "split": split,
        "learnt_before": learnt_before,  # names of the pieces that the weights of --start-from had learnt
        "openings": dataset.passages(train, vocabulary, args.sequence_length, args.openings, args.seed),
        "versions": network.versions(),
        "history": history,
    }
    corpora = dataset.encode(train, vocabulary, args.transpose), dataset.encode(held_out, vocabulary)
    describe(train, held_out, *corpora, args.styles)
    print(f"{trainer.count_params():,} parameters {devices.told(args)}")
    plots.network_diagram(vocabulary, shape, Path(args.weights).with_name("model_plot.png"))
    board = Board(args.logs, args.weights, args.resume)
    return Run(args, trainer, scorer, shape, *corpora, about, lambda: way.clock() - began, devices.agreed, board, best)


def go_on(trainer: "keras.Model", earlier: checkpoint.Checkpoint, path: Path) -> None:
    """Give a network the weights and the optimizer's state of an earlier run, from `path`. Raises UserError if they are
    those of another network, as older versions of this program built."""
    try:
        for name, arrays in earlier.arrays.items():
            trainer.get_layer(name).set_weights(arrays)
        for variable, array in zip(trainer.optimizer.variables, earlier.optimizer, strict=True):
            variable.assign(array)
    except ValueError:
        raise UserError(
            f"{path} is from another version of this program: it still plays, but its training cannot be resumed; "
            "train without --resume."
        ) from None


def describe(train: list[Source], held_out: list[Source], learnt: Corpus, scored: Corpus, styles: bool) -> None:
    """Print what a run learns from, with its styles if `styles` is set."""
    one_piece, vocabulary = train is held_out, learnt.vocabulary
    clipped = sum(source.events.clipped for source in (train if one_piece else train + held_out))
    size = f"{learnt.notes:,} notes ({learnt.events:,} events)"
    print(f"learning from {plural(learnt.pieces, 'piece')}, {size}; held out: {plural(scored.pieces, 'piece')}")
    if one_piece:
        print("There is only one piece, so it is also the held-out piece: the score shows how well it was memorised.")
    sizes = ", ".join(f"{stream} {vocabulary.size(stream)}" for stream in vocabulary.streams)
    beats = vocabulary.representation.max_beats
    in_styles = describe_styles(train, learnt) if styles else ()
    for sentence in (*describe_metres(train), *describe_parts(train, learnt), *in_styles):
        print(sentence)
    print(f"vocabulary: {sizes}; rests and notes clipped to {beats} beats: {clipped:,}")
    if moved := ", ".join(f"{count} in {stream}" for stream, count in scored.moved.items() if count):
        print(f"notes of held-out pieces with values that this network does not know, taken as the nearest: {moved}")


def describe_metres(train: list[Source]) -> Iterator[str]:
    """A warning about training pieces with bars of one beat, if there are any."""
    if one_beat := sum(source.events.metre()[0] == 1 for source in train):
        yield (
            f"bars of one beat: {one_beat} of {len(train)} pieces, as in files whose metre was unknown; if they are "
            "in 4/4, train with --metre 4/4, which then holds for all pieces"
        )


def describe_parts(train: list[Source], learnt: Corpus) -> Iterator[str]:
    """The parts of the training pieces, those that the network hears as another part, and what is left out."""
    vocabulary, left_out = learnt.vocabulary, sum(source.events.left_out for source in train)
    if left_out:
        yield f"left out: {left_out:,} drum notes, since all parts are learnt as one"
    if not vocabulary.players:
        return
    pieces, notes, merged, unheard = Counter(), Counter(), Counter(), Counter()
    for source in train:
        heard = vocabulary.heard_as(source.events)
        values, counts = np.unique(source.events.streams["part"], return_counts=True)
        known = [heard.get(value) for value in values.tolist()]
        pieces.update(set(known))
        for value, count, one in zip(values.tolist(), counts.tolist(), known, strict=True):
            notes[one] += count
            if one != value:
                (unheard if one is None else merged)[source.events.parts[value].called()] += 1
    named = [
        f"{vocabulary.players[value].name} ({plural(pieces[value], 'piece')}, {plural(count, 'note')})"
        for value, count in notes.most_common()
        if value is not None
    ]
    yield f"parts: {shortened(named)}"
    for instead, others in {"heard as the nearest that it has": merged, "left out": unheard}.items():
        if named := [f"{name} ({plural(count, 'piece')})" for name, count in others.most_common()]:
            yield f"parts that this network does not have, {instead}: {shortened(named)}"


def describe_styles(train: list[Source], learnt: Corpus) -> Iterator[str]:
    """The styles of the training pieces, if there are any, and those that the network cannot tell apart."""
    styles, found, named = learnt.vocabulary.styles, dataset.styles_of(train), []
    for name, mine in zip((*styles, "no style"), (*learnt.style.T, ~learnt.style.any(axis=1)), strict=True):
        pieces, notes = int(mine.sum()), learnt.notes_each[mine].sum()
        named += [f"{name} ({plural(pieces, 'piece')}, {plural(notes, 'note')})"] if pieces else []
    if styles:
        yield f"styles: {shortened(named)}"
    if new := [style for style in found if style not in styles]:
        yield f"styles that this network cannot tell apart, as it was first trained without them: {shortened(new)}"
