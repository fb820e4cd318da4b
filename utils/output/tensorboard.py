"""What TensorBoard shows of a training run: losses, speed, and now and then a new piece, to be heard and seen.

The event files are made with the tensorboard package alone, without TensorFlow, so every backend of Keras logs the
same. Layout: tensorboard/compat/proto/event.proto and summary.proto.
"""

import struct
import tempfile
import time
import wave
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from utils import checkpoint, compose, sampler
from utils.compose import Wanted
from utils.output import beside
from utils.stepper import Stepper

EVERY = 10  # updates from one point of the training losses to the next
SEED, TEMPERATURE, NOTES = 1, 0.9, 200  # of the samples: always the same, so what changes is the network
BESIDE = SimpleNamespace(wav=True, picture=True, notation=False, soundfont="")


def folder_of(logs: str, weights: str, resumed: bool) -> Path:
    """The folder of a run's logs. Those of an earlier run of that name are set aside, unless it is that run."""
    folder = Path(logs, Path(weights).name.removesuffix(".weights.h5"))
    if folder.exists() and not resumed:
        number = 1
        while (old := folder.with_name(f"{folder.name}.old-{number}")).exists():
            number += 1
        folder.rename(old)
    return folder


def sound_message(path: Path) -> dict:
    """Fields of the message Summary.Audio for a WAV file."""
    with wave.open(str(path)) as file:
        fields = {"sample_rate": file.getframerate(), "num_channels": file.getnchannels()}
        fields["length_frames"] = file.getnframes()
    return {"audio": {**fields, "encoded_audio_string": path.read_bytes(), "content_type": "audio/wav"}}


def picture_message(path: Path) -> dict:
    """Fields of the message Summary.Image for a PNG file, whose header has the size at byte 16 (PNG, 11.2.2)."""
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    return {"image": {"width": width, "height": height, "colorspace": 4, "encoded_image_string": data}}


class Board:
    """The logs of one run. What goes wrong with them is said, and costs them alone."""

    def __init__(self, logs: str, weights: str, resumed: bool):
        """`logs` is the folder for the logs of all runs ('': none); `resumed`: this run goes on with its logs."""
        self.writer, self.sums, self.count = None, Counter(), 0
        if not logs:
            return
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self.event, self.summary = event_pb2.Event, summary_pb2.Summary
            folder = folder_of(logs, weights, resumed)
            folder.mkdir(parents=True, exist_ok=True)
            self.writer = EventFileWriter(str(folder), flush_secs=5)
            print(f"watch and hear it learn: tensorboard --logdir {logs}")
        except ImportError:
            print("to watch and hear it learn: pip install tensorboard")
        except OSError as error:
            print(f"nothing is logged: {logs} cannot be written ({error.strerror})")

    def add(self, step: int, values: dict[str, float | dict]) -> None:
        """Write values by their tags: numbers, or the fields of a message."""
        if not self.writer:
            return
        fields = {tag: value if isinstance(value, dict) else {"simple_value": value} for tag, value in values.items()}
        summary = self.summary(value=[self.summary.Value(tag=tag, **field) for tag, field in fields.items()])
        try:
            self.writer.add_event(self.event(wall_time=time.time(), step=step, summary=summary))
        except Exception as error:  # where TensorFlow is installed, files are written by it and so are errors
            print(f"nothing more is logged: {error}")
            self.writer = None

    def update(self, number: int, losses: dict[str, float]) -> None:
        """Note the losses of an update: their mean is written after every EVERY updates, and at the end of an epoch."""
        self.sums.update(losses)
        self.count += 1
        if self.count == EVERY:
            self.mean(number)

    def mean(self, number: int) -> None:
        """Write the mean of the losses noted so far, as those of the update `number`."""
        self.add(number, {f"train/{name}": value / self.count for name, value in self.sums.items()})
        self.sums, self.count = Counter(), 0

    def epoch(self, row: dict) -> None:
        """Write what the history says of an epoch."""
        if self.count:
            self.mean(row["updates"])
        values = {name: row[name] for name in ("learning_rate", "notes_per_second")}
        for name in [name for name in row if name.startswith("held_out")]:
            values[f"held_out/{name.removeprefix('held_out').lstrip('_') or 'loss'}"] = row[name]
        self.add(row["updates"], values)

    def sample(self, row: dict, weights: Path) -> None:
        """Write a piece that the network of a weights file makes after this epoch, as sound and piano roll."""
        if not self.writer:
            return
        kept = checkpoint.load(weights)
        how = sampler.Sampling(TEMPERATURE, 1.0, SEED)
        begun = compose.openings(kept, 1, SEED)
        (piece,), _ = compose.new_pieces(Stepper(kept), begun, how, Wanted(NOTES))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"epoch {row['epoch']}.mid")
            beside.write_beside(path, piece, BESIDE, f"{row['train']:.3f} nats in training")
            found = {".wav": sound_message, ".png": picture_message}
            written = {e: make(path.with_suffix(e)) for e, make in found.items() if path.with_suffix(e).exists()}
        self.add(row["updates"], {f"sample/{ending[1:]}": message for ending, message in written.items()})

    def close(self) -> None:
        if self.writer:
            self.writer.close()
