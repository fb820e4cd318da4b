"""The logs of a training run for TensorBoard: losses, speed, and now and then a new piece, as sound and picture.

The event files are made with the tensorboard package alone, without TensorFlow, so every backend of Keras logs the
same. Layout: tensorboard/compat/proto/event.proto and summary.proto.
"""

import os
import socket
import struct
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from utils import checkpoint, compose, files
from utils.errors import UserError
from utils.output import beside
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.wanted import Wanted

EVERY = 10  # updates from one point of the training losses to the next: a curve in the first epoch, yet small files
SEED = 1  # of every sample, so that samples differ only because the network does
NOTES = 200  # in a sample: about half a minute
SHOWN = SimpleNamespace(wav=True, picture=True, notation=False, soundfont="")  # the files of a sample


def folder_of(logs: str, weights: str, resumed: bool) -> Path:
    """The folder for the logs of a run. The logs of an earlier run with weights of that name are set aside, as
    NAME.old-1 and so on, unless this run resumes that one. Raises UserError if that fails."""
    folder = Path(logs, checkpoint.name_of(weights))
    if not resumed:
        files.set_aside(folder)
    return folder


def message_of(path: Path) -> dict:
    """The field of a summary, name -> content, that shows a WAV or PNG file. A browser plays the sound as it is, but a
    picture needs its size, which is in the file from byte 16 on (PNG specification, 11.2.2)."""
    data = path.read_bytes()
    if path.suffix == ".wav":
        return {"audio": {"encoded_audio_string": data, "content_type": "audio/wav"}}
    width, height = struct.unpack(">II", data[16:24])
    return {"image": {"width": width, "height": height, "colorspace": 3, "encoded_image_string": data}}  # 3: RGB


class Board:
    """The logs of one run. If they cannot be written, a message says so and training goes on without them."""

    def __init__(self, logs: str, weights: str, resumed: bool):
        """`logs`: the folder for the logs of all runs ('': none); `resumed`: this run goes on with the logs it has."""
        self.writer, self.sums, self.count = None, Counter(), 0
        if not logs:
            return
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter

            self.event, self.summary = event_pb2.Event, summary_pb2.Summary
            folder = folder_of(logs, weights, resumed)
            folder.mkdir(parents=True, exist_ok=True)
            # Not tensorboard's EventFileWriter: its thread crashes loudly when the disk is full.
            name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
            self.writer = RecordWriter((folder / name).open("ab"))
            self.write(file_version="brain.Event:2")
            print(f"watch and hear it learn: tensorboard --logdir {logs}")
        except ImportError:
            print("to watch and hear it learn: pip install tensorboard")
        except OSError as error:
            print(f"nothing is logged: {logs} cannot be written ({error.strerror})")
        except UserError as error:
            print(f"nothing is logged: {error}")

    def add(self, step: int, values: dict[str, float | dict]) -> None:
        """Write values, each under its tag: a number, or a field of a summary as `message_of` gives it."""
        if not (self.writer and values):
            return
        fields = {tag: value if isinstance(value, dict) else {"simple_value": value} for tag, value in values.items()}
        summary = self.summary(value=[self.summary.Value(tag=tag, **field) for tag, field in fields.items()])
        self.write(step=step, summary=summary)

    def write(self, **event: object) -> None:
        """Write an event with these fields."""
        try:
            self.writer.write(self.event(wall_time=time.time(), **event).SerializeToString())
            self.writer.flush()
        except OSError as error:
            print(f"nothing more is logged: {error.strerror}")
            self.writer = None

    def update(self, number: int, losses: dict[str, float]) -> None:
        """Add the losses of an update; their mean is written after every EVERY updates and at the end of an epoch."""
        self.sums.update(losses)
        self.count += 1
        if self.count == EVERY:
            self.write_mean(number)

    def write_mean(self, number: int) -> None:
        """Write the mean of the losses since the last mean, if there are any, at the update `number`."""
        self.add(number, {f"train/{name}": value / self.count for name, value in self.sums.items()})
        self.sums, self.count = Counter(), 0

    def epoch(self, row: dict) -> None:
        """Write the numbers of an epoch, given its `row` in the history."""
        self.write_mean(row["updates"])
        tags = {name: f"held_out/{name[len('held_out_') :] or 'loss'}" for name in row if name.startswith("held_out")}
        tags |= {name: name for name in ("learning_rate", "notes_per_second")}
        self.add(row["updates"], {tag: row[name] for name, tag in tags.items()})

    def sample(self, row: dict, weights: Path) -> None:
        """Write a piece that the network of a weights file makes after the epoch `row`, as sound and piano roll."""
        if not self.writer:
            return
        kept, how = checkpoint.load(weights), Sampling(compose.TEMPERATURE, seed=SEED)
        (made,) = compose.at_home(kept, Stepper(kept), 1, how, Wanted(NOTES))
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"epoch {row['epoch']}.mid")
                beside.write_beside(path, made.piece, SHOWN, f"{row['train']:.3f} nats in training")
                self.add(row["updates"], {f"sample/{f.suffix[1:]}": message_of(f) for f in Path(folder).iterdir()})
        except OSError as error:
            print(f"the sample of epoch {row['epoch']} is not logged: {error.strerror}")

    def close(self) -> None:
        """Close the file."""
        if self.writer:
            self.writer.close()
