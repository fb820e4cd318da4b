"""One HDF5 file that holds all that is needed to use a network.

Layout: at the root the Keras weights format, which `model.load_weights` reads; `network/LAYER/N`, links to the same
arrays by the names that `network.py` gives its layers; `about`, a JSON text with everything else. Nothing is pickled,
so loading runs no code from the file.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from utils import files
from utils.errors import UserError
from utils.vocabulary import Vocabulary

if TYPE_CHECKING:
    import keras

FORMAT = 5  # raised when the network changes, so that one program cannot play what another wrote
OLDEST = 3  # format that still plays: without parts; 4 is without styles
USUAL = "weights/music.weights.h5"  # what train.py writes unless told otherwise
BUNDLED = Path(__file__).resolve().parent.parent / "weights" / "bach-chorales.weights.h5"


@dataclass
class Checkpoint:
    """What a weights file says; `arrays[layer]` are the layer's weights, float32, in the order that Keras has them."""

    about: dict  # settings, shape, split, openings, history, versions, and what else train.py notes
    vocabulary: Vocabulary
    arrays: dict[str, list[np.ndarray]]


def sibling(weights: str, ending: str) -> Path:
    """music.weights.h5 -> music.ENDING, in the same folder."""
    return Path(weights.removesuffix("weights.h5") + ending)


def kept_weights(model: "keras.Model") -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """LAYER/N of each weight, its path in a file that `model.save_weights` wrote, and its shape.

    Keras names a layer in the file by its class in snake case and its number among the layers of that class.
    """
    from keras.src.utils.naming import to_snake_case

    counts = Counter()
    for layer in model.layers:
        kind = to_snake_case(type(layer).__name__)
        group = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        inner = "cell/vars" if hasattr(layer, "cell") else "vars"  # a recurrent layer keeps its weights in a cell
        for i, weight in enumerate(layer.weights):
            yield f"{layer.name}/{i}", f"layers/{group}/{inner}/{i}", tuple(weight.shape)


def check_writable(path: str | Path) -> None:
    """Raises UserError if a file cannot be made at `path`, which is better said before hours of training than after."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=Path(path).parent).close()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): name another place with --weights.") from None


def halve(path: Path) -> None:
    """Rewrite a file of weights with numbers of half the precision, and so half the size."""
    halved = path.with_suffix(".half")
    with h5py.File(path, "r") as source, h5py.File(halved, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                target[name] = item[()].astype(np.float16) if item.dtype == np.float32 else item[()]
            else:
                target.require_group(name)
            target[name].attrs.update(item.attrs)

        source.visititems(copy)
    os.replace(halved, path)


def save(path: str | Path, model: "keras.Model", about: dict, half: bool = False) -> None:
    """Write the weights of `model` (with its optimizer, if it is compiled) and `about`, JSON, to `path`; with `half` in
    half precision. Raises UserError if it cannot be written; an earlier file then stays as it was."""
    with files.replacing(path) as scratch:
        model.save_weights(scratch, overwrite=True)
        if half:
            halve(scratch)
        with h5py.File(scratch, "r+") as file:
            for name, place, shape in kept_weights(model):
                if file[place].shape != shape:
                    raise RuntimeError(f"Keras keeps {name} elsewhere than at {place} in its weights files")
                file[f"network/{name}"] = h5py.SoftLink(f"/{place}")
            file["about"] = json.dumps({"format": FORMAT, **about})


def to_play(path: str) -> str:
    """The weights to play: `path`, or the ones that come with the repository as long as train.py has written none."""
    if Path(path).exists() or Path(path) != Path(USUAL) or not BUNDLED.exists():
        return path
    print(f"{path} is not there yet, so this is the network that comes with the repository, {BUNDLED.name}")
    return str(BUNDLED)


def load(path: str | Path) -> Checkpoint:
    """Read a weights file. Raises UserError that says what is wrong with it and what to do."""
    if not Path(path).exists():
        raise UserError(f"There are no weights at {path}: run 'python train.py' first, or name others with --weights.")
    try:
        with h5py.File(path, "r") as file:
            if "about" not in file or "network" not in file:
                raise UserError(f"{path} was not written by this train.py: train again, or name others with --weights.")
            about = json.loads(file["about"][()])
            if not OLDEST <= about["format"] <= FORMAT:
                age, remedy = ("an older", "train again") if about["format"] < OLDEST else ("a newer", "update yours")
                raise UserError(f"{path} was written by {age} version of this program, for another network: {remedy}.")
            layers = file["network"].items()
            arrays = {n: [np.asarray(layer[str(i)], np.float32) for i in range(len(layer))] for n, layer in layers}
        return Checkpoint(about, Vocabulary.from_json(about["vocabulary"]), arrays)
    except PermissionError:
        raise UserError(f"{path} cannot be read: permission denied.") from None
    except (OSError, KeyError, ValueError, TypeError, RuntimeError):
        raise UserError(f"{path} is damaged or no weights file at all: train again, or take a copy.") from None
