"""Train on a folder of MIDI files and write the weights that generate_music.py and predict_with_prior.py play from.

python train.py                                  train on midis/ until the held-out pieces stop improving
python train.py --minutes 3                      a first result after three minutes
python train.py --resume                         continue where the last run stopped
python train.py --start-from weights/bach-chorales.weights.h5      train existing weights further on a few pieces
"""

import math
import time

import utils  # noqa: F401  (before NumPy, which it keeps to one thread)

# isort: split
import numpy as np

from utils import checkpoint, settings, training
from utils.measure import likelihood
from utils.run import Run, finish, open_run

# ---- data
MIDI_DIR: str = "midis"  # folder of MIDI files to learn from, sub-folders included
WEIGHTS: str = "weights/music.weights.h5"  # file to write; its log and pictures go beside it
GRID: int = 12  # steps per quarter note: 12 fits sixteenths and triplets, 48 suits recorded performances
CHORDS: str = "split"  # split: each note of a chord is an event; class: a chord is one class, as in earlier projects
MAX_BEATS: int = 16  # longest rest or note, in beats; longer ones are clipped to this
PARTS: bool = True  # learn which part plays each note, drums too; otherwise parts are merged and drums left out
STYLES: bool = True  # treat the sub-folders of MIDI_DIR, if two or more, as styles: learn to play and recognise each
PEDAL: bool = True  # let notes sound for as long as the sustain pedal holds them
METRE: str = ""  # metre in which to count the bars of all pieces, such as 4/4, if files have it wrong ('': as in files)
STREAMS: tuple = ("auto",)  # what is learnt of each note: offset,note,duration[,velocity]; auto: velocity if it varies
TRANSPOSE: int = 6  # pieces are transposed at random, up or down by at most this many semitones, while training
VALIDATION: float = 0.1  # share of the pieces to hold out; their score decides which weights are kept
SPLIT: int = 0  # which pieces are held out: each number makes a different choice
START_FROM: str = ""  # weights file to start from, so that a few pieces are enough ('': start from scratch)
# ---- network
HEADS: str = "chained"  # chained: each head sees earlier choices; parallel: it sees none; regression: times are numbers
LAYERS: int = 1  # recurrent layers
CELL: str = "gru"  # recurrent cell: gru, or lstm, whose layer has a third more weights
UNITS: int = 128  # units of each recurrent layer; use more for much music and hours of training
EMBEDDING: int = 32  # size of the embedding vector of each class, in every stream
HIDDEN: int = 128  # units of the hidden layer between the recurrent layers and each softmax
SURROUNDINGS: int = 32  # size of the vector that describes what was struck and what is held around a key
DROPOUT: float = 0.4  # share of the inputs and of the layers' outputs dropped in training; use less for more music
# ---- training
SEQUENCE_LENGTH: int = 32  # events in a training window; the trained network takes priors of any length
BATCH_SIZE: int = 0  # windows in an update (0: 16 on a CPU, which learns most in a few minutes, and 128 on a GPU)
EPOCHS: int = 200  # maximum number of passes through the training pieces
MINUTES: float = 0.0  # time limit, earlier parts of a resumed run included; the learning rate falls to 0 (0: no limit)
LEARNING_RATE: float | None = None  # of AdamW; lowered when it no longer helps (none: 0.004 on a CPU, 0.008 on a GPU)
PRECISION: str = "float32"  # number format of all layers but the recurrent ones: float32 or bfloat16
WARM_UP: int = 50  # updates over which the learning rate rises to its full value
CLIP_NORM: float = 1.0  # gradients with a larger norm are scaled down to this (0: none are)
WEIGHT_DECAY: float = 0.1  # of AdamW: each update shrinks the weights by this share of the learning rate
PATIENCE: int = 20  # epochs without improvement on held-out pieces before training stops (0, or with MINUTES: never)
OPENINGS: int = 32  # passages of the training music kept in the weights file, for generate_music.py to start from
EAR: int = 1024  # pieces that it writes after training, to learn what sets them apart from real ones (below 32: none)
HALF: bool = False  # write the best weights in half precision: half the size, the same sound
LOGS: str = "logs"  # folder for TensorBoard: losses, speed, and samples to hear and see ('': none)
SAMPLE_EPOCHS: int = 5  # epochs between samples in the logs
RESUME: bool = False  # continue the last run with these weights; pieces that are new in the folder are included
SEED: int = 1  # seed of all random choices: the same number gives the same weights on a CPU


def learning_rate(run: Run) -> float:
    """The rate of the next update. After the warm-up: with a time limit, half a cosine down to 0 at its end (Loshchilov
    & Hutter 2017); without one, halved each time a quarter of the patience, if there is any, has passed without
    improvement."""
    args = run.args
    if args.minutes:
        factor = 0.5 + 0.5 * math.cos(math.pi * min(run.progress(), 1))
    else:
        quarter = max(args.patience // 4, 1)
        halvings = sum(wait > 0 and wait % quarter == 0 for wait in run.waits())
        factor = 0.5**halvings if args.patience else 1
    return args.learning_rate * factor * min(1, (run.updates + 1) / max(args.warm_up, 1))


def learn(args, way=None) -> None:
    """Train; `way` is a `network.Way`, or None for the default."""
    began = (way.clock if way else time.monotonic)()
    music = training.read_music(args)
    from utils import devices, network  # takes seconds, so wrong flags and folders are reported first

    way = way or network.Way()
    run = training.begin(args, music, way, began)
    epochs_before, silence = len(run.history), run.shape.silence(args.batch_size)
    with open_run(run):
        while not run.is_over():
            # Each epoch has a seed of its own, so that a resumed run draws the same random numbers.
            rng = np.random.default_rng([args.seed, run.epoch])
            network.reseed(run.trainer, rng)
            batches = way.batches(run.train, args.sequence_length, args.batch_size, args.transpose, rng)
            start = run.seconds()
            for inputs, weights in run.until_over(batches):
                run.trainer.optimizer.learning_rate = learning_rate(run)
                run.trainer.reset_metrics()  # some versions of Keras 3 do so themselves, some give means of all updates
                inputs, weights = devices.own(({**silence, **inputs}, weights))
                losses = run.trainer.train_on_batch(inputs, weights, return_dict=True)
                run.add(losses)
            if run.problem or not run.count:
                break
            seconds, nats = run.seconds() - start, []
            if run.held_out.pieces:
                way.before_scoring(run.trainer)
                nats = devices.agreed(*likelihood.held_out_nats(run.scorer, run.held_out, run.shape))
            if not math.isfinite(sum(nats)):
                run.problem = f"The score of the held-out pieces is no longer a finite number (epoch {run.epoch})"
                break
            better = run.end_epoch(nats, seconds)
            if better:
                checkpoint.save(args.weights, run.scorer, run.about, args.half)
            checkpoint.save(run.last, run.trainer, run.about)
            run.report(better)
            *_, waited = run.waits()
            if args.patience and not args.minutes and waited >= args.patience:
                print(f"The held-out pieces have not improved for {waited} epochs.")
                break
    finish(run, epochs_before)


def main(args, way=None) -> None:
    """Train, unless another process is training the same weights file."""
    training.check(args)
    with training.alone(args.weights):
        learn(args, way)


if __name__ == "__main__":
    settings.run(main, __file__)
