"""The polyphonic-music benchmark in every form in which it is published, and files that only look like it."""

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import one_line_error, random_piece, run, save
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from utils import midi
from utils.errors import UserError
from utils.formats import frames
from utils.piece import COLUMNS, Piece

Split = list[list[list[int]]]  # pieces of frames of pitches

DATA = {
    "train": [[[60, 64, 67], [60, 65], [], [108]], [], [[21], [21]]],
    "valid": [[[], [], [50, 62]]],
    "test": [[[70, 71, 72, 73]]],
}
PLACES = ["train/0000.mid", "train/0002.mid", "valid/0000.mid", "test/0000.mid"]


def notes(piece: Piece) -> list[tuple]:
    return list(zip(*(getattr(piece, name).tolist() for name in COLUMNS), strict=True))


def expected(piece: list[list[int]], ticks: int = 480) -> list[tuple]:
    return [(i * ticks, pitch, ticks, 80, 0) for i, frame in enumerate(piece) for pitch in sorted(frame)]


def table(piece: list[list[int]]) -> np.ndarray:
    """The frames of a piece as an (F, 88) table of zeros and ones."""
    return np.array([[pitch in frame for pitch in range(21, 109)] for frame in piece], np.uint8).reshape(-1, 88)


def write_json(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def write_mat(path: Path, data: dict[str, Split]) -> Path:
    """A MAT file of version 5: each split a row of cells."""
    cells = {}
    for split, pieces in data.items():
        cells[f"{split}data"] = np.empty((1, len(pieces)), object)
        cells[f"{split}data"][0, :] = [table(piece) for piece in pieces]
    savemat(path, cells, do_compression=True)
    return path


def write_mat_73(path: Path, data: dict[str, Split]) -> Path:
    """A MAT file of version 7.3 as MATLAB lays it out: cells are references to transposed arrays."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for split, pieces in data.items():
            cells = file.create_dataset(f"{split}data", (len(pieces), 1), h5py.ref_dtype)
            for i, piece in enumerate(pieces):
                array = file.create_dataset(f"#refs#/{split}{i}", data=table(piece).T if piece else [0, 88])
                if not piece:
                    array.attrs["MATLAB_empty"] = np.uint8(1)
                cells[i, 0] = array.ref
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    return path


@pytest.mark.parametrize(
    ("write", "name"), [(write_json, "set.json"), (write_mat, "SET.MAT"), (write_mat_73, "set.mat")]
)
def test_every_sounding_key_is_a_note_as_long_as_a_frame(write, name: str, tmp_path: Path):
    """A piece without a note is left out, and so is its number."""
    pieces = frames.read(write(tmp_path / name, DATA), 1.0)
    assert [place.as_posix() for place in pieces] == PLACES
    for place, piece in pieces.items():
        assert notes(piece) == expected(DATA[place.parent.name][int(place.stem)])
        assert piece.ticks_per_quarter == 480
        assert (piece.tempos, piece.time_signatures) == ([(0, 500_000)], [(0, 4, 4)])
    assert notes(frames.read(tmp_path / name, 0.25)[Path(PLACES[0])]) == expected(DATA["train"][0], 120)


@given(st.lists(st.lists(st.integers(21, 108), max_size=6, unique=True), min_size=1, max_size=9))
def test_all_json_forms_of_a_piece_are_read_alike(piece: list[list[int]]):
    voices = [frame + [None, -1, float("nan"), *frame][: 6 - len(frame)] for frame in piece]
    forms = [piece, voices, [[float(pitch) for pitch in frame] for frame in piece], table(piece).tolist()]
    forms.append([[bool(key) for key in row] for row in forms[-1]])
    (read,) = frames.from_json(json.dumps(forms).encode()).values()
    for form in read:
        assert [tuple(row) for row in np.argwhere(frames.keys_of_lists(form))] == [
            (i, pitch) for i, frame in enumerate(piece) for pitch in sorted(frame)
        ]


def test_pieces_without_splits_and_the_lowest_and_highest_pitch_are_read(tmp_path: Path):
    pieces = frames.read(write_json(tmp_path / "a.json", [[[0, 127]], [[0], [1]], [[-1, None]]]), 1.0)
    assert {place.as_posix(): notes(piece) for place, piece in pieces.items()} == {
        "0000.mid": expected([[0, 127]]),
        "0001.mid": expected([[0], [1]]),
    }


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"train": [[[60, 64]], [[60, 128]]]}', "piece 1 of train has the pitch 128 where MIDI has 0 to 127; correct"),
        ("[[[60.5]]]", "piece 0 has the pitch 60.5 where"),
        ("[[[-2]]]", "has the pitch -2 where"),
        (json.dumps([[[0] * 88, [0] * 87]]), "has rows of 87 to 88 keys where a table has 88"),
        (json.dumps([[[0, 1] * 64]]), "has rows of 128 to 128 keys where"),
        (json.dumps([[[0, 1, 0]]]), "has rows of 3 to 3 keys where"),
        (json.dumps([[[0, 2] * 44]]), "is not a table of zeros and ones"),
        ("[[], [[]], [[-1]]]", "none of its pieces has a note"),
        ('{"train": [[[60', "damaged or cut short: copy or download it again"),
        ("[" * 100_000, "damaged or cut short"),
        ("", "damaged or cut short"),
    ],
)
def test_bad_files_are_named_with_the_reason(content: str, sentence: str, tmp_path: Path):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(UserError, match=sentence) as error:
        frames.read(path, 1.0)
    assert str(path) in str(error.value) and not isinstance(error.value, frames.NoFrames)


@pytest.mark.parametrize(
    "content",
    ['{"name": "a"}', '{"train": {"rows": 5}}', '{"train": [{"id": 1}]}', "[]", "5", "[[1, 2], [3]]", '["a"]'],
)
def test_json_with_other_content_is_refused(content: str, tmp_path: Path):
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(frames.NoFrames, match="other.json holds no pieces in frames"):
        frames.read(tmp_path / "other.json", 1.0)


def test_mat_with_other_content_or_tables_of_another_size_is_refused(tmp_path: Path):
    savemat(tmp_path / "other.mat", {"x": np.eye(3), "traindata": np.eye(88)})
    with h5py.File(tmp_path / "other 73.mat", "w") as file:
        file["traindata"] = np.eye(88)
    for name in ("other.mat", "other 73.mat"):
        with pytest.raises(frames.NoFrames, match="holds no pieces in frames"):
            frames.read(tmp_path / name, 1.0)
    cells = np.empty((1, 1), object)
    for wrong in (np.eye(87), np.full((3, 88), 0.5), "words"):
        cells[0, 0] = wrong
        savemat(tmp_path / "wrong.mat", {"traindata": cells})
        with pytest.raises(
            UserError, match="wrong.mat .* piece 0 of train is not a table of zeros and ones with 88 keys"
        ):
            frames.read(tmp_path / "wrong.mat", 1.0)


@pytest.mark.parametrize("write", [write_mat, write_mat_73])
def test_a_truncated_mat_file_is_refused_at_any_length(write, tmp_path: Path):
    data = write(tmp_path / "whole.mat", {"train": DATA["train"]}).read_bytes()
    path = tmp_path / "cut.mat"
    for size in np.linspace(0, len(data) - 1, 25).astype(int):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match="cut.mat (is damaged or cut short|holds no pieces)"):
            frames.read(path, 1.0)


class Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["a.pkl", "A.PICKLE", "a.p", "a.json", "a.mat"])
def test_a_pickle_is_refused_and_not_run(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "trap")))
    with pytest.raises(UserError, match=f"{name} is a pickle, and reading one runs code from it: take the JSON or MAT"):
        frames.read(tmp_path / name, 1.0)
    assert not (tmp_path / "trap").exists()
    pickle.loads((tmp_path / name).read_bytes())  # the trap works
    assert (tmp_path / "trap").exists()


def test_a_benchmark_file_is_converted_into_a_folder_for_each_split(tmp_path: Path):
    source, out = write_json(tmp_path / "set.json", DATA), tmp_path / "out"
    save(random_piece(1), out / "my own.mid")
    result = run("convertmidis.py", "--source", source, "--out", out, "--frame", 0.5)
    assert result.returncode == 0, result.stderr
    assert "1 converted, 0 skipped (already there), 0 failed" in result.stdout
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.mid")} == {*PLACES, "my own.mid"}
    assert notes(midi.read(out / "train/0000.mid")) == expected(DATA["train"][0], 240)
    # Another set would mix with it, so nothing is touched unless that is asked for.
    write_json(source, {"valid": [[[1]], [[2]]]})
    result = run("convertmidis.py", "--source", source, "--out", out)
    assert "0 converted, 1 skipped (already there), 0 failed" in result.stdout
    assert notes(midi.read(out / "valid/0000.mid")) == expected(DATA["valid"][0], 240)
    result = run("convertmidis.py", "--source", source, "--out", out, "--overwrite")
    assert "1 converted" in result.stdout and notes(midi.read(out / "valid/0000.mid")) == expected([[1]])


def test_benchmark_files_among_others_in_a_folder_are_converted(tmp_path: Path):
    source, out = tmp_path / "source", tmp_path / "out"
    write_json(source / "set.json", DATA)
    write_mat(source / "set.mat", DATA)
    write_json(source / "flat.json", DATA["test"])
    write_json(source / "clash.json", {"train": [[[60]]]})
    tune = random_piece(1)
    save(tune, source / "clash" / "train" / "0000.mid")
    write_json(source / "package.json", {"name": "something else"})
    (source / "set.pkl").write_bytes(pickle.dumps(DATA))
    result = run("convertmidis.py", "--source", source, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "5 converted, 0 skipped (already there), 1 failed, 1 skipped (no music)" in result.stdout
    assert f"skipped: {source / 'package.json'} holds no pieces" in result.stderr
    assert f"failed: {source / 'set.pkl'} is a pickle" in result.stderr
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.mid")) == sorted(
        [f"{name}/{place}" for name in ("set", "set.mat") for place in PLACES]
        + ["flat/0000.mid", "clash.json/train/0000.mid", "clash/train/0000.mid"]
    )
    assert len(midi.read(out / "clash/train/0000.mid")) == len(tune)
    result = run("convertmidis.py", "--source", source, "--out", out)
    assert "0 converted, 5 skipped (already there), 1 failed, 1 skipped (no music)" in result.stdout


def test_a_single_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path):
    source = write_json(tmp_path / "package.json", {"name": "something else"})
    assert "package.json holds no pieces" in one_line_error(
        run("convertmidis.py", "--source", source, "--out", tmp_path)
    )
    assert "--frame" in one_line_error(run("convertmidis.py", "--source", source, "--frame", 0))
