"""One HDF5 file that holds everything needed to use a network.

Layout: at the root the Keras weights format, which `model.load_weights` reads; `network/LAYER/N`, links to the same
arrays under the names that `network.py` gives its layers; `about`, a JSON text with everything else; and, added when
training ends, `ear/hidden/0`, see `ear.py`. Nothing is pickled, so loading runs no code from the file.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from utils import files
from utils.about import Misfit, checked, parsed
from utils.errors import UserError
from utils.heads import Shape, asked, shape_of, weights_of
from utils.vocabulary import Vocabulary

if TYPE_CHECKING:
    import keras

FORMAT = 7  # raised when the network changes, so that older versions of the program refuse newer files
OLDEST = 3  # the oldest format that still plays: it has no parts; 4 has no styles, 5 no forms, 6 no lines
LARGEST = 1e6  # of weights: with larger ones sums may no longer be finite, and training makes none
USUAL = "weights/music.weights.h5"  # what train.py writes unless told otherwise
BUNDLED = Path(__file__).resolve().parent.parent / "weights" / "bach-chorales.weights.h5"


@dataclass
class Checkpoint:
    """The contents of a weights file; `arrays[layer]` are the layer's weights, float32, in the order of Keras."""

    about: dict  # what `about.ABOUT` describes, and what else train.py records
    vocabulary: Vocabulary
    shape: Shape
    arrays: dict[str, list[np.ndarray]]
    ear: np.ndarray | None = None  # (1 + K * U,) a constant and the weights of the hidden units, see `ear.py`
    optimizer: list[np.ndarray] = field(default_factory=list)  # its variables, if requested


def name_of(weights: str | Path) -> str:
    """folder/music.weights.h5 -> music."""
    return Path(weights).name.removesuffix(".weights.h5")


def sibling(weights: str, ending: str) -> Path:
    """music.weights.h5 -> music.ENDING, in the same folder."""
    return Path(weights.removesuffix("weights.h5") + ending)


def kept_weights(model: "keras.Model") -> Iterator[tuple[str, str, np.ndarray]]:
    """LAYER/N of each weight ('' for the optimizer's), its path in a file that Keras reads, and its numbers.

    Keras names a layer in the file by its class in snake case and its number among the layers of that class.
    """
    from keras import ops
    from keras.src.utils.naming import to_snake_case

    counts = Counter()
    for layer in model.layers:
        kind = to_snake_case(type(layer).__name__)
        group = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        inner = "cell/vars" if hasattr(layer, "cell") else "vars"  # a recurrent layer keeps its weights in a cell
        for i, weight in enumerate(layer.weights):
            yield f"{layer.name}/{i}", f"layers/{group}/{inner}/{i}", ops.convert_to_numpy(weight)
    for i, variable in enumerate(model.optimizer.variables if getattr(model, "optimizer", None) else ()):
        yield "", f"optimizer/vars/{i}", ops.convert_to_numpy(variable)


def save(path: str | Path, model: "keras.Model", about: dict, half: bool = False) -> None:
    """Write the weights of `model` (with its optimizer, if it is compiled) and `about`, as JSON, to `path`; with `half`
    in half precision, at half the size. Raises UserError if the file cannot be written; an earlier one then stays as it
    was. HDF5 writes to memory first, since it can crash the process on a full disk."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for name, place, numbers in kept_weights(model):
            file[place] = numbers.astype(np.float16) if half else numbers
            if name:
                file[f"network/{name}"] = h5py.SoftLink(f"/{place}")
        file["about"] = json.dumps({"format": FORMAT, **about})
    files.write(path, image.getvalue())


def add_ear(path: str | Path, ear: np.ndarray) -> None:
    """Write an ear (1 + K * U,) into the weights file at `path`, in place of an earlier one. Raises UserError like
    `save`."""
    image = io.BytesIO(Path(path).read_bytes())
    with h5py.File(image, "r+") as file:
        if "ear" in file:
            del file["ear"]
        file["ear/hidden/0"] = ear.astype(np.float32)
    files.write(path, image.getvalue())


def to_play(path: str) -> str:
    """The weights to play: `path`, or those that come with the repository if train.py has not written any there yet."""
    if Path(path).exists() or Path(path) != Path(USUAL) or not BUNDLED.exists():
        return path
    print(f"{path} does not exist yet, so this uses {BUNDLED.name}, which comes with the repository")
    return str(BUNDLED)


def leads_elsewhere(file: h5py.File) -> bool:
    """Whether any link in the file leads to another file, which could be any file on this computer."""
    inside = h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT
    return bool(file.id.links.visit(lambda name, link: link.type not in inside or None, info=True))


def is_plain(item: object) -> bool:
    """Whether it is a dataset that is stored in this file and uncompressed: a few compressed bytes can stand for any
    number of zeros."""
    if not isinstance(item, h5py.Dataset):
        return False
    how = item.id.get_create_plist()
    return how.get_layout() == h5py.h5d.CONTIGUOUS and not how.get_external_count()


def numbered(group: object, what: str) -> list[h5py.Dataset]:
    """The datasets 0, 1, 2, ... of a group. Raises Misfit, which calls the group `what`, if one is unusable."""
    arrays = [group.get(str(i)) for i in range(len(group))] if isinstance(group, h5py.Group) else [None]
    for array in arrays:
        if not is_plain(array) or array.dtype.kind not in "fiu" or array.id.get_storage_size() != array.nbytes:
            raise Misfit(f"{what} is damaged")
    return arrays


def numbers(array: h5py.Dataset) -> np.ndarray:
    """The numbers in a dataset, as float32. Raises Misfit for numbers that training never makes."""
    if array.dtype.kind != "f" or array.dtype.itemsize > 4:
        raise Misfit(f"{array.name[1:]} is not in single or half precision")
    values = array[()].astype(np.float32, copy=False)
    if not (np.abs(values) <= LARGEST).all():
        raise Misfit(f"{array.name[1:]} holds invalid weights")
    return values


def ear_of(file: h5py.File, vocabulary: Vocabulary, shape: Shape) -> np.ndarray | None:
    """The ear of a weights file, if it has one. Raises Misfit."""
    if "ear/hidden" not in file:  # the ears of earlier versions listened to something else
        return None
    arrays = numbered(file["ear/hidden"], "the ear")
    if len(arrays) != 1 or arrays[0].ndim != 1 or arrays[0].size % (len(asked(vocabulary, shape)) * shape.hidden) != 1:
        raise Misfit("the ear belongs to another network")
    return numbers(arrays[0])


def read(file: h5py.File, path: str | Path, with_optimizer: bool) -> Checkpoint:
    """Read an open weights file, see `load`. Raises Misfit, UserError, and whatever h5py raises for broken HDF5."""
    if leads_elsewhere(file):
        raise Misfit("it links to other files")
    if "about" not in file or "network" not in file:
        raise UserError(f"{path} was not written by this train.py: train again, or name others with --weights.")
    text = file["about"]
    if not is_plain(text) or text.shape != () or h5py.check_string_dtype(text.dtype) is None:
        raise Misfit("about is not text")
    about = parsed(text[()])
    if not OLDEST <= about["format"] <= FORMAT:
        age, remedy = ("an older", "train again") if about["format"] < OLDEST else ("a newer", "update yours")
        raise UserError(f"{path} was written by {age} version of this program for a different network: {remedy}.")
    vocabulary, shape = checked(about)
    expected = {name: list(map(shape_of, axes)) for name, axes in weights_of(vocabulary, shape).items()}
    layers = {name: numbered(file["network"][name], name) for name in expected if name in file["network"]}
    if {name: [array.shape for array in arrays] for name, arrays in layers.items()} != expected:
        raise UserError(f"{path} holds the weights of another network, not of the one it describes: train again.")
    if sum(array.nbytes for arrays in layers.values() for array in arrays) > Path(path).stat().st_size:
        raise Misfit("its weights are larger than the file")
    arrays = {name: [numbers(array) for array in arrays] for name, arrays in layers.items()}
    optimizer = numbered(file.get("optimizer/vars"), "the optimizer") if with_optimizer else []
    optimizer = [array[()] for array in optimizer]
    return Checkpoint(about, vocabulary, shape, arrays, ear_of(file, vocabulary, shape), optimizer)


def load(path: str | Path, with_optimizer: bool = False) -> Checkpoint:
    """Read a weights file, and check that it holds only what train.py could have written, as it may come from anywhere.
    Raises UserError that says what is wrong with it and what to do."""
    if not Path(path).exists():
        raise UserError(f"There are no weights at {path}: run 'python train.py' first, or name others with --weights.")
    if not Path(path).is_file():  # opening a pipe would wait for ever
        raise UserError(f"{path} is not a file: name a weights file with --weights.")
    try:
        with h5py.File(path, "r") as file:
            return read(file, path, with_optimizer)
    except PermissionError:
        raise UserError(f"{path} cannot be read: permission denied.") from None
    except Misfit as misfit:
        raise UserError(f"{path} is damaged or not a weights file ({misfit}): train again or use a copy.") from None
    except (OSError, KeyError, ValueError, TypeError, RuntimeError):
        raise UserError(f"{path} is damaged or not a weights file at all: train again or use a copy.") from None
