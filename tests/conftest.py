"""Music made in code, and the scripts run as a user runs them."""

import contextlib
import importlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from utils import dataset, midi, settings, theory  # noqa: E402  (the path comes first)
from utils.heads import Shape  # noqa: E402
from utils.piece import COLUMNS, Part, Piece  # noqa: E402
from utils.vocabulary import Vocabulary  # noqa: E402

LONGEST = (
    "test_train.py",
    "test_readme.py",
    "test_scripts.py",
    "test_app.py",
    "test_devices.py",
    "test_experiments.py",
    "test_network.py",
    "test_styles.py",
    "test_ensemble.py",
    "test_notebook.py",
    "test_evaluate.py",
    "test_dataset.py",
    "test_transfer.py",
    "test_judge.py",
    "test_output.py",
)
TINY = "--units 16 --embedding 8 --hidden 16 --surroundings 4 --sequence-length 8 --batch-size 8 --transpose 2".split()
TINY += ["--logs", ""]


def make_piece(rows: list[tuple], ticks_per_quarter: int = 480, **kwargs) -> Piece:
    """A piece from (onset, pitch, duration[, velocity[, part]]) rows in ticks; a part is an index into
    `parts`, by default as many as needed, each with its index as its program."""
    full = np.array([(*row, 80, 0)[:5] if len(row) == 3 else (*row, 0)[:5] for row in rows], dtype=np.int64)
    columns = full.reshape(-1, 5).T
    parts = kwargs.pop("parts", None) or [Part(program=program) for program in range(columns[4].max(initial=0) + 1)]
    return Piece(*columns, parts, ticks_per_quarter, **kwargs).sorted()


def save(piece: Piece, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(midi.as_bytes(piece))
    return path


def random_piece(seed: int, bars: int = 8) -> Piece:
    """A tune over one chord a bar, in a random major key."""
    rng = np.random.default_rng(seed)
    key = int(rng.integers(0, 12))
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    rows = []
    for bar in range(bars):
        root = int(rng.integers(0, 7))
        rows += [(bar * 1920, 36 + key + int(scale[(root + k) % 7]), 1920) for k in (0, 2, 4)]
        tick = bar * 1920
        while tick < (bar + 1) * 1920:
            length = int(rng.choice([160, 240, 480]))
            rows.append((tick, 60 + key + int(rng.choice(scale)), length))
            tick += length
    return make_piece(rows, time_signatures=[(0, 4, 4)], tempos=[(0, 500_000)])


def band_piece(seed: int, bars: int = 4) -> Piece:
    """A flute and two violins, sometimes in unison, over bass and drums, in a random major key."""
    rng = np.random.default_rng(seed)
    key, scale = int(rng.integers(0, 12)), np.array([0, 2, 4, 5, 7, 9, 11])
    rows = []
    for beat in range(4 * bars):
        tick, root = beat * 480, int(rng.choice(scale))
        rows += [(tick, 36 + key + root, 400, 90, 3), (tick, 60 + key + int(rng.choice(scale)), 480, 80, 2)]
        rows += [(tick + half, 60 + key + int(rng.choice(scale)), 240, 80, 1) for half in (0, 240)]
        rows += [(tick, 72 + key + root, 960, 70, 0)] if beat % 2 else []
        rows += [(tick, int(rng.choice([36, 38])), 60, 100, 4), (tick + 240, 42, 60, 60, 4)]
    parts = [Part("Flute", 73), Part("", 40), Part("", 40), Part("Bass", 33), Part("Kit", 0, drums=True)]
    return make_piece(rows, parts=parts, time_signatures=[(0, 4, 4)], tempos=[(0, 500_000)])


def twice(piece: Piece) -> Piece:
    """The piece, followed by all of it again after its last bar."""
    start, *metre = piece.bars(int((piece.onset + piece.duration).max()))[-1]
    after = {"onset": piece.onset + start + theory.bar_length(metre, piece.ticks_per_quarter)}
    columns = {name: np.append(getattr(piece, name), after.get(name, getattr(piece, name))) for name in COLUMNS}
    return replace(piece, **columns).sorted()


def about_of(vocabulary: Vocabulary, shape: Shape, sources: list[dataset.Source]) -> dict:
    """The metadata in the weights file of an untrained network."""
    how = {**asdict(vocabulary.representation), "midi_dir": "", "transpose": 0, "split": 0, "heads": "chained"}
    about = {"settings": how, "shape": vars(shape), "vocabulary": vocabulary.to_json(), "metre": (4, 4)}
    about |= {"split": {"train": [], "held_out": []}, "openings": dataset.passages(sources, vocabulary, 8, 2, 1)}
    return about | {"history": [dict.fromkeys(("epoch", "updates", "seconds", "train", "score"), 0)]}


def run(*command: object, cwd: Path = ROOT, **kwargs) -> subprocess.CompletedProcess:
    """Run `python COMMAND` and return the finished process, with its output as text."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        **kwargs,
    )


def call(script: str, *flags: object) -> subprocess.CompletedProcess:
    """The same as `run`, but in this process, which saves the time of starting Python."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    status, here, arguments = 0, Path.cwd(), [script, *map(str, flags)]
    main = importlib.import_module(Path(script).stem).main
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch.object(sys, "argv", arguments):
        os.chdir(ROOT)
        try:
            settings.run(main, str(ROOT / script))
        except SystemExit as end:
            status = end.code
        finally:
            os.chdir(here)
    if isinstance(status, str):  # Python prints it when it exits with a text
        print(status, file=err)
        status = 1
    for stream in (out, err):
        stream.seek(0)
    return subprocess.CompletedProcess(arguments, status, out.read(), err.read())


def one_line_error(result: subprocess.CompletedProcess) -> str:
    """The error of a script that failed as it should: one line on stderr, no stack trace, a non-zero status."""
    lines = [line for line in result.stderr.splitlines() if line.strip() and "/s]" not in line]  # no progress bars
    assert result.returncode != 0, result.stdout
    assert len(lines) == 1, result.stderr
    return lines[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take longest first, so that no process is left alone with one of them at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def made_once(name: str, make: Callable[[Path], object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `make` fills, once for all processes of pytest-xdist."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    folder = (tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent) / name
    finished = folder.with_suffix(".finished")
    with FileLock(folder.with_suffix(".lock")):
        if not finished.exists():
            make(folder)
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def music(tmp_path_factory) -> Path:
    """A folder of a dozen small pieces."""

    def make(folder: Path) -> None:
        for seed in range(12):
            save(random_piece(seed), folder / f"piece {seed}.mid")

    return made_once("music", make, tmp_path_factory)


@pytest.fixture(scope="session")
def weights(music: Path, tmp_path_factory) -> Path:
    """Weights that train.py made from `music` with a tiny network, run as a user runs it."""

    def make(folder: Path) -> None:
        flags = ["--midi-dir", music, "--weights", folder / "tiny.weights.h5", "--epochs", 2]
        result = run("train.py", *flags, *TINY)
        assert result.returncode == 0, result.stderr

    return made_once("weights", make, tmp_path_factory) / "tiny.weights.h5"


@pytest.fixture(scope="session")
def band(tmp_path_factory) -> Path:
    """Weights of a tiny network that has learnt from a dozen pieces for flute, two violins, bass and drums."""

    def learn(folder: Path) -> None:
        for seed in range(12):
            save(band_piece(seed), folder / "music" / f"{seed}.mid")
        save(random_piece(1), folder / "music" / "alone.mid")  # one part in a folder of bands
        weights = folder / "band.weights.h5"
        flags = [*TINY, "--epochs", 4, "--sequence-length", 16, "--batch-size", 4]  # so that it learns enough
        result = call("train.py", "--midi-dir", folder / "music", "--weights", weights, *flags)
        assert result.returncode == 0, result.stderr
        assert "parts: " in result.stdout and "Flute (" in result.stdout and "Violin 2 (" in result.stdout

    return made_once("band", learn, tmp_path_factory) / "band.weights.h5"
