"""The polyphonic-music benchmark (Boulanger-Lewandowski et al., ICML 2012), as it is published -> Pieces.

Its four sets (JSB Chorales, Nottingham, Piano-midi.de, MuseData) are lists of frames: the keys that sound at a moment.
Each key becomes a note as long as the frame, struck again in each frame in which it goes on, so that the notes hold all
that the literature scores: with one quarter note per frame, nats a beat equal nats a frame. Shapes: F frames.

JSON: {"train": pieces, "valid": pieces, "test": pieces}, or the pieces alone. A piece is a list of frames. A frame is
a list of MIDI pitches, in which -1, null and NaN are voices that rest, or of 88 zeros and ones, the keys of a piano.
MAT: cell arrays traindata, validdata and testdata; each cell is an (F, 88) table of zeros and ones.
"""

import io
import json
import math
import warnings
from pathlib import Path

import numpy as np

from utils import midi, theory
from utils.errors import UserError
from utils.piece import VELOCITY, Piece

ENDINGS = (".json", ".mat")
PICKLES = (".pkl", ".pickle", ".p")  # the sets are also published as pickles, which are refused
SPLITS = ("train", "valid", "test")
HDF5 = b"\x89HDF\r\n\x1a\n"  # MAT files of version 7.3 are HDF5, behind a header of their own
KEYS = 88  # in a row of a table
LOWEST = 21  # MIDI pitch of the first key
LARGEST = 10_000_000  # numbers in an array; the longest piece of the benchmark has less than a tenth of that


class NoFrames(UserError):
    """A JSON or MAT file with other content, as most of them have."""


def is_named(path: Path) -> bool:
    """Whether a file's ending is one of the benchmark's."""
    return path.name.lower().endswith((*ENDINGS, *PICKLES))


def keys_of_table(table: np.ndarray) -> np.ndarray:
    """An (F, 88) table of zeros and ones -> the pitches that sound, (F, 128) bool. Raises ValueError for any other."""
    if not table.size:
        return np.zeros((0, 128), bool)
    if table.ndim != 2 or table.shape[1] != KEYS or not np.isin(table, (0, 1)).all():
        raise ValueError(f"is not a table of zeros and ones with {KEYS} keys in each row")
    return np.pad(table == 1, ((0, 0), (LOWEST, 128 - LOWEST - KEYS)))


def keys_of_lists(frames: list[list]) -> np.ndarray:
    """A piece of a JSON file -> the pitches that sound, (F, 128) bool. Raises a ValueError that says what is wrong."""
    widths = {len(frame) for frame in frames}
    sounding = [[value for value in frame if value not in (None, -1) and value == value] for frame in frames]
    # Rows of 88 keys, or longer than 2 without a value above 1, are meant as a table, even if it contains a mistake.
    highest = max((value for frame in sounding for value in frame), default=-1)
    if max(widths, default=0) >= KEYS or (max(widths, default=0) > 2 and highest in (0, 1)):
        if widths != {KEYS}:
            raise ValueError(f"has rows of {min(widths)} to {max(widths)} keys where a table has {KEYS}")
        return keys_of_table(np.array(frames))
    keys = np.zeros((len(frames), 128), bool)
    for row, pitches in zip(keys, sounding, strict=True):
        for pitch in pitches:
            if pitch not in range(128):
                raise ValueError(f"has the pitch {pitch} where MIDI has 0 to 127")
            row[int(pitch)] = True
    return keys


def from_json(data: bytes) -> dict[str, list[list[list]]]:
    """Split ('' if there is none) -> pieces; {} if the file has other content. Raises ValueError if it is damaged."""
    content = json.loads(data)
    if isinstance(content, dict):
        splits = {split: content[split] for split in SPLITS if split in content}
    else:
        splits = {"": content}
    level = list(splits.values())
    for _ in ("pieces", "frames", "numbers"):  # lists of lists of lists
        if not all(isinstance(value, list) for value in level):
            return {}
        level = [item for value in level for item in value]
    return splits if all(number is None or isinstance(number, int | float) for number in level) else {}


def check_size(size: int) -> None:
    """Raises ValueError if a file declares an array larger than any of the benchmark's. It would be allocated even if
    the file has only a few bytes, or none, to fill it with."""
    if not 0 <= size <= LARGEST:
        raise ValueError(f"it declares an array of {size} numbers")


def from_hdf5(data: bytes, names: dict[str, str]) -> dict[str, list[np.ndarray]]:
    """`from_mat` for a file of version 7.3; `names` maps the names of its variables to splits."""
    import h5py

    splits = {}

    def array(dataset: h5py.Dataset) -> np.ndarray:
        check_size(dataset.size or 0)
        if dataset.external or dataset.is_virtual:
            raise ValueError("its data is in another file")
        return dataset[()]

    with h5py.File(io.BytesIO(data)) as file:
        for name, split in names.items():
            if isinstance(file.get(name, getlink=True), h5py.HardLink):  # not a link to another file
                cells = file[name]
                if isinstance(cells, h5py.Dataset) and h5py.check_ref_dtype(cells.dtype):
                    tables = [file[cell] for cell in array(cells).ravel()]
                    # MATLAB transposes its arrays for HDF5, and in place of an empty one it writes its shape.
                    splits[split] = [np.zeros(0) if "MATLAB_empty" in t.attrs else array(t).T for t in tables]
    return splits


def from_mat(data: bytes) -> dict[str, list[np.ndarray]]:
    """Split -> tables; {} if the file has other content. On a damaged file the libraries that read it raise errors of
    any kind, or crash."""
    names = {f"{split}data": split for split in SPLITS}
    if HDF5 in data[:520]:
        return from_hdf5(data, names)
    from scipy.io import loadmat, matlab, whosmat

    with warnings.catch_warnings():
        warnings.simplefilter("error", matlab.MatReadWarning)  # for an unreadable variable
        for name, shape, _ in whosmat(io.BytesIO(data)):
            if name in names:
                check_size(math.prod(shape))
        content = loadmat(io.BytesIO(data), variable_names=list(names))
    return {
        split: [np.asarray(table) for table in content[name].ravel()]
        for name, split in names.items()
        if name in content and content[name].dtype == object
    }


def to_piece(keys: np.ndarray, quarters: float) -> Piece:
    """The pitches that sound, (F, 128) bool -> notes, each as long as a frame of `quarters` quarter notes."""
    length = round(quarters * Piece.ticks_per_quarter)
    frame, pitch = np.argwhere(keys).T
    return Piece(
        onset=frame * length,
        pitch=pitch,
        duration=np.full_like(frame, length),
        velocity=np.full_like(frame, VELOCITY),
        part=np.zeros_like(frame),
        tempos=[(0, theory.TEMPO)],
        time_signatures=[(0, 4, 4)],
    )


def read(path: Path, quarters: float) -> dict[Path, Piece]:
    """The pieces of a benchmark file by their relative paths: train/0007.mid, or 0007.mid without splits.

    A frame lasts `quarters` quarter notes. A piece without a note is left out, but still counted in the numbering.
    Raises a UserError that names the file, NoFrames if it has other content.
    """
    data = midi.read_bytes(path)
    name = path.name.lower()
    if name.endswith(PICKLES) or data[:1] == b"\x80":
        raise UserError(
            f"{path} is a pickle, and reading one runs code from it: take the JSON or MAT file of the same data."
        )
    try:
        splits = from_json(data) if name.endswith(".json") else from_mat(data)
    except Exception:  # of whatever kind
        raise UserError(f"{path} is damaged or cut short: copy or download it again.") from None
    if not any(splits.values()):
        raise NoFrames(f"{path} holds no pieces in frames, so there is nothing to convert.")
    placed = {}
    for split, pieces in splits.items():
        for number, piece in enumerate(pieces):
            try:
                keys = keys_of_lists(piece) if isinstance(piece, list) else keys_of_table(piece)
            except ValueError as error:
                where = f"piece {number} of {split}" if split else f"piece {number}"
                raise UserError(f"{path} cannot be used: {where} {error}; correct or remove it.") from None
            if keys.any():
                placed[Path(split, f"{number:04d}.mid")] = to_piece(keys, quarters)
    if not placed:
        raise UserError(f"{path} cannot be used: none of its pieces has a note.")
    return placed
