"""Learn from a folder of MIDI files and write weights that generate_music.py and predict_with_prior.py play from.

python train.py                                  learn from midis/ until the held-out pieces stop improving
python train.py --minutes 3                      a first result after three minutes
python train.py --resume                         go on where the last run stopped
python train.py --start-from weights/bach-chorales.weights.h5      from a few pieces: learn on from other weights
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
WEIGHTS: str = "weights/music.weights.h5"  # file to write; its log and pictures stand beside it
GRID: int = 12  # steps to a quarter note: 12 holds sixteenths and triplets, 48 suits recorded performances
CHORDS: str = "split"  # split: each note of a chord is an event; class: a chord is one class, as in earlier projects
MAX_BEATS: int = 16  # beats; longer rests and notes are clipped to this
PARTS: bool = True  # learn who plays each note, drums too; otherwise all parts are one, and drums are left out
STYLES: bool = True  # the sub-folders of MIDI_DIR, if two or more, are styles: learn to play each, and to recognise it
PEDAL: bool = True  # notes last as long as the sustain pedal lets them sound
METRE: str = ""  # count the bars of all pieces so, such as 4/4, where files have it wrong ('': as each file says)
STREAMS: tuple = ("auto",)  # learnt of each note: offset,note,duration or with velocity; auto: that if it varies
TRANSPOSE: int = 6  # semitones up and down by which pieces are moved at random while training
VALIDATION: float = 0.1  # share of the pieces held out; they choose which weights are kept
SPLIT: int = 0  # which pieces are held out: each number gives another choice
START_FROM: str = ""  # weights file whose network learns on: a few pieces are enough then ('': begin from nothing)
# ---- network
HEADS: str = "chained"  # chained: each head knows the choices before its own; parallel: none does; regression: numbers
LAYERS: int = 1  # recurrent layers
CELL: str = "gru"  # recurrent cell: gru, or lstm, whose layer has a third more weights
UNITS: int = 128  # in each recurrent layer; more for much music and hours of training
EMBEDDING: int = 32  # size of the vector that stands for a class of any stream
HIDDEN: int = 128  # units between the recurrent layers and each softmax
SURROUNDINGS: int = 32  # size of the vector that describes a key: what was struck around it, and what is held
DROPOUT: float = 0.4  # share of inputs and of layers' outputs dropped while training; less for more music
# ---- training
SEQUENCE_LENGTH: int = 32  # events in a window; the weights can be used with priors of any length
BATCH_SIZE: int = 0  # windows in an update (0: 16, which learn most in a few minutes on a processor; 128 on a GPU)
EPOCHS: int = 200  # times through the training pieces, at the most
MINUTES: float = 0.0  # end after so long, what is resumed included; the learning rate falls to 0 (0: no limit)
LEARNING_RATE: float | None = None  # steps of AdamW; they shrink when that helps no more (none: 0.004, on a GPU 0.008)
PRECISION: str = "float32"  # numbers in which the layers beside the recurrent ones compute: float32 or bfloat16
WARM_UP: int = 50  # updates in which the learning rate rises to its value
CLIP_NORM: float = 1.0  # gradients longer than this are shortened to it
WEIGHT_DECAY: float = 0.1  # share of the learning rate by which AdamW shrinks the weights in each update
PATIENCE: int = 20  # epochs without improvement on held-out pieces before training stops (0, or with MINUTES: never)
OPENINGS: int = 32  # passages of the training music kept in the weights file, for generate_music.py to start from
EAR: int = 1024  # pieces that it writes when training ends, to hear what tells them from real ones (0: none)
HALF: bool = False  # write the best weights in half precision: half the size, and they sound the same
LOGS: str = "logs"  # folder for TensorBoard: losses, speed, and samples to hear and see ('': none)
SAMPLE_EPOCHS: int = 5  # epochs between two samples in the logs
RESUME: bool = False  # go on where the last run with these weights stopped; new pieces in the folder join in
SEED: int = 1  # start of all random choices: the same number gives the same weights on a CPU


def learning_rate(run: Run) -> float:
    """After the warm-up: with a time limit, half a cosine down to 0 at its end (Loshchilov & Hutter 2017); without one,
    halved each time that a quarter of the patience has passed without improvement."""
    args, factor = run.args, 1.0
    if args.minutes:
        factor = 0.5 + 0.5 * math.cos(math.pi * min(run.progress(), 1))
    else:
        quarter = max(args.patience // 4, 1)
        factor /= 2 ** sum(wait > 0 and wait % quarter == 0 for wait in run.waits())
    return args.learning_rate * factor * min(1, (run.updates + 1) / max(args.warm_up, 1))


def learn(args, way=None) -> None:
    """Train; `way` is a `network.Way`, or None for the usual one."""
    began = (way.clock if way else time.monotonic)()
    music = training.read_music(args)
    from utils import devices, network  # takes seconds; a wrong flag or folder has been reported before

    way = way or network.Way()
    run = training.begin(args, music, way, began)
    epochs_before, nothing_heard = len(run.history), run.shape.silence(args.batch_size)
    with open_run(run):
        while not run.is_over():
            # Each epoch has random numbers of its own, so that a resumed run draws the same ones.
            rng = np.random.default_rng([args.seed, run.epoch])
            network.reseed(run.trainer, rng)
            batches = way.batches(run.train, args.sequence_length, args.batch_size, args.transpose, rng)
            start = run.seconds()
            for inputs, weights in run.until_over(batches):
                run.trainer.optimizer.learning_rate = learning_rate(run)
                run.trainer.reset_metrics()  # some versions of Keras 3 do so themselves, some give means of all updates
                inputs, weights = devices.own(({**nothing_heard, **inputs}, weights))
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
    """Train, as long as nobody else does so with the same weights file."""
    training.check(args)
    with training.alone(args.weights):
        learn(args, way)


if __name__ == "__main__":
    settings.run(main, __file__)
