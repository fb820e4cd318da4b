"""Learn from a folder of MIDI files and write weights that generate_music.py and predict_with_prior.py play from.

python train.py                                  learn from midis/ until the held-out pieces stop improving
python train.py --minutes 3                      a first result after three minutes
python train.py --resume                         go on where the last run stopped
"""

import shutil
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from utils import checkpoint, dataset, settings
from utils.checkpoint import sibling
from utils.errors import UserError
from utils.events import KNOWN_STREAMS, Representation, build_vocabulary
from utils.heads import Shape
from utils.measure import plots
from utils.output.tensorboard import Board

# ---- data
MIDI_DIR = "midis"  # folder of MIDI files to learn from, sub-folders included
WEIGHTS = "weights/music.weights.h5"  # file to write; its log and pictures stand beside it
GRID = 12  # steps to a quarter note: 12 holds sixteenths and triplets, 48 suits recorded performances
CHORDS = "split"  # split: each note of a chord is an event; class: a chord is one class, as in the ancestors
MAX_BEATS = 16  # beats; longer rests and notes are clipped to this
STREAMS = ("offset", "note", "duration")  # what an event is, in the order it is chosen; velocity can be added
TRANSPOSE = 6  # semitones up and down by which pieces are moved at random while training
VALIDATION = 0.1  # share of the pieces held out; they choose which weights are kept
SPLIT = 0  # another number holds out other pieces
# ---- network
HEADS = "chained"  # each sees what was chosen before it; parallel: none does; regression: offset, duration as numbers
LAYERS = 1  # LSTM layers
CELL = "lstm"  # or gru, a cell with a quarter fewer weights
UNITS = 128  # in each LSTM layer; more for much music and hours of training
EMBEDDING = 32  # numbers by which a class of any stream is represented
HIDDEN = 128  # units between the LSTM and each softmax
SURROUNDINGS = 32  # numbers by which each key is described: what was struck around it, and what is held
DROPOUT = 0.4  # share of inputs and of layers' outputs dropped while training; less for more music
# ---- training
SEQUENCE_LENGTH = 64  # events in a window; the weights can be used with priors of any length
BATCH_SIZE = 16  # windows in an update; small batches learn most in a few minutes, 64 or more use a GPU better
EPOCHS = 200  # times through the training pieces, at the most
MINUTES = 0.0  # end after so long, with the learning rate annealed to that end (0: no limit)
LEARNING_RATE = 0.004  # of AdamW; halved when the held-out pieces stop improving, if there is no time limit
WARM_UP = 50  # updates in which the learning rate rises to its value
CLIP_NORM = 1.0  # gradients longer than this are shortened to it
WEIGHT_DECAY = 0.1  # of AdamW: weights shrink by this share of the learning rate in each update
PATIENCE = 20  # epochs without improvement on the held-out pieces before training stops (0: never)
OPENINGS = 32  # passages of the training music kept in the weights file, for generate_music.py to start from
HALF = False  # write the best weights in half precision: half the size, and they sound the same
LOGS = "logs"  # folder for TensorBoard: losses, speed, and samples to hear and see ('': none)
SAMPLE_EPOCHS = 5  # epochs from one sample in the logs to the next
RESUME = False  # go on where the last run with these weights stopped
SEED = 1  # of all random choices: the same seed gives the same weights on a CPU


def check(args) -> None:
    """Raises UserError for a setting that cannot work."""
    settings.choice("heads", args.heads, ("chained", "parallel", "regression"))
    settings.choice("chords", args.chords, ("split", "class"))
    if (
        args.streams[:1] != ("offset",)
        or not {"note", "duration"} < set(args.streams) <= set(KNOWN_STREAMS)
        or (len(set(args.streams)) < len(args.streams))
    ):
        raise UserError("--streams begins with offset and names note, duration and, if wanted, velocity.")
    if not args.weights.endswith(".weights.h5"):
        raise UserError(f"--weights {args.weights} must end in .weights.h5.")
    sizes = "layers units embedding hidden surroundings sequence_length batch_size epochs openings sample_epochs"
    for name in ("grid", "max_beats", *sizes.split()):
        settings.at_least(name, getattr(args, name), 1)
    for name in "transpose validation dropout weight_decay minutes patience warm_up seed".split():
        settings.at_least(name, getattr(args, name), 0)
    settings.at_most("seed", args.seed, 2**32 - 1)
    settings.at_least("learning_rate", args.learning_rate, 0)
    settings.at_least("clip_norm", args.clip_norm, 0)
    for name in ("validation", "dropout"):
        if getattr(args, name) >= 1:
            raise UserError(f"--{name} is a share: it must be below 1.")


# What a network was built for and what it has not seen; --resume cannot change it.
FIXED = "grid chords max_beats streams transpose split validation".split()
FIXED += "heads layers cell units embedding hidden surroundings".split()


def set_aside(weights: str) -> None:
    """Copy the weights of an earlier run, which stay until there are new ones, and rename what stands beside them."""
    endings = ("weights.h5", "last.weights.h5", "log.csv", "curve.png")
    there = [ending for ending in endings if sibling(weights, ending).exists()]
    number = 1
    while any(sibling(weights, f"old-{number}.{ending}").exists() for ending in endings):
        number += 1
    try:
        for ending in there:
            move = shutil.copy2 if ending == "weights.h5" else shutil.move
            move(sibling(weights, ending), sibling(weights, f"old-{number}.{ending}"))
    except OSError as error:
        raise UserError(f"{error.filename} of an earlier run cannot be set aside: {error.strerror}.") from None
    if there:
        print(f"The files of an earlier run are kept as {sibling(weights, f'old-{number}')}.*")


def resumable(args, path: Path) -> checkpoint.Checkpoint | None:
    """The checkpoint to go on from. Raises UserError if its network is not the one that `args` describe."""
    if not args.resume:
        return None
    if not path.exists():
        print(f"There is no {path} to resume from: starting anew.")
        return None
    resumed = checkpoint.load(path)
    for name in FIXED:
        then, now = resumed.about["settings"][name], getattr(args, name)
        if then != (list(now) if isinstance(now, tuple) else now):
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{path} was trained with {flag} {then}, not {now}: resume with that, or start anew.")
    return resumed


def describe(sources: list, corpus: dataset.Corpus, test: dataset.Corpus, parameters: int, devices: str) -> None:
    """Print what was found and what is trained on it."""
    vocabulary = corpus.vocabulary
    sizes = ", ".join(f"{stream} {vocabulary.size(stream)}" for stream in vocabulary.streams)
    clipped = sum(source.events.clipped for source in sources)
    size = f"{corpus.notes:,} notes ({corpus.events:,} events)"
    print(f"learning from {corpus.pieces} pieces, {size}; held out: {test.pieces} pieces")
    if len({source.place for source in sources}) == 1:
        print("There is only one piece, so it is its own held-out piece: the score says how well it is known by heart.")
    beats = vocabulary.representation.max_beats
    print(f"vocabulary: {sizes}; {clipped} rests or notes longer than {beats} beats were clipped")
    if any(test.moved.values()):
        moved = ", ".join(f"{count} of {stream}" for stream, count in test.moved.items() if count)
        print(f"values in held-out pieces that no other piece has, moved to the nearest: {moved}")
    print(f"{parameters:,} parameters on {devices}")


def main(args) -> None:
    check(args)
    began = time.monotonic()
    how = Representation.of(vars(args))
    sources, skipped = dataset.read_folder(args.midi_dir, how, args.split)
    for name, reason in skipped:
        print(f"skipped: {name}: {reason}")
    train, held_out = dataset.hold_out(sources, args.validation)
    # Keras takes seconds to start; a wrong flag or folder has been reported before.
    print(f"{len(sources) + len(skipped)} files: {len(sources)} read, {len(skipped)} skipped; starting Keras ...")
    from utils import network, training

    network.keras.utils.set_random_seed(args.seed)
    last = sibling(args.weights, "last.weights.h5")
    checkpoint.check_writable(args.weights)
    resumed = resumable(args, last)
    if resumed:
        vocabulary, history = resumed.vocabulary, resumed.about["history"]
        began -= history[-1]["seconds"]
    else:
        set_aside(args.weights)
        vocabulary, history = build_vocabulary([source.events for source in train], how, args.transpose), []
    corpus, test = dataset.encode(train, vocabulary, args.transpose), dataset.encode(held_out, vocabulary)
    shape = Shape.of(args)
    trainer, scorer = network.build(vocabulary, shape)
    optimizer = network.adamw(args.learning_rate, args.weight_decay, args.clip_norm or None)
    network.compile_trainer(trainer, args.streams, optimizer)
    if resumed:
        trainer.load_weights(last)
    devices = f"{network.DEVICES} (Keras with {network.keras.backend.backend()})"
    describe(sources, corpus, test, trainer.count_params(), devices)
    plots.network_diagram(vocabulary, shape, Path(args.weights).with_name("model_plot.png"))
    about = {
        "settings": vars(args),
        "shape": shape.to_json(),
        "vocabulary": vocabulary.to_json(),
        "metre": Counter(source.events.metre() for source in train).most_common(1)[0][0],
        "split": {"train": [source.name for source in train], "held_out": [source.name for source in held_out]},
        "openings": dataset.passages(train, vocabulary, args.sequence_length, args.openings, args.seed),
        "versions": network.versions(),
        "history": history,
    }
    earlier = len(history)
    with training.asked_to_stop() as asked, closing(Board(args.logs, args.weights, bool(resumed))) as board:
        problem = training.learn(args, trainer, scorer, corpus, test, about, began, asked, board)
    if len(history) == earlier and not problem:
        minutes = history[-1]["seconds"] / 60
        print(f"Nothing to do: {earlier} epochs, {minutes:.1f} minutes are done; raise --epochs or --minutes.")
        return
    unit = "note" if args.chords == "split" else "chord"
    if history:
        plots.learning_curve(history, sibling(args.weights, "curve.png"), unit)
    if problem:
        kept = f"the last good weights are in {args.weights}" if history else "no weights were written"
        raise UserError(f"{problem}; {kept}. Try a lower --learning-rate or more --minutes.")
    best = min(history, key=lambda row: row["score"])
    score = f" of epoch {best['epoch']}: {best['score']:.3f} nats a {unit} on held-out pieces" if held_out else ""
    print(f"Wrote {args.weights}{score}; its log and pictures are beside it.")
    print(f"Hear it: python generate_music.py --weights {args.weights}")


if __name__ == "__main__":
    settings.run(main, __file__)
