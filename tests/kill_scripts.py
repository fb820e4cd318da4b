"""Kill train.py and generate_music.py at random moments: what they wrote must be whole, and training must go on as if
nothing had happened.

python tests/kill_scripts.py 100       a hundred times each

Each runs in a process of its own, which gets no chance to clean up.
"""

import random
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from conftest import ROOT, TINY, random_piece, save

# isort: split
import numpy as np

from utils import checkpoint, midi

EPOCHS = 8


def run(script: str, flags: list[object], seconds: float | None = None) -> bool:
    """Run a script with flags, and kill it after some `seconds` (None: never). Returns whether it ended by itself."""
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, script, *map(str, flags)], cwd=ROOT, **nowhere)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    assert status == 0, f"{script} ended with {status}"
    return True


def check(path: Path) -> None:
    """Raises an error, of whatever kind, if a file is not whole."""
    if path.name.endswith(".weights.h5"):
        checkpoint.load(path, with_optimizer=".last." in path.name)
    elif path.suffix == ".mid":
        midi.read(path)
    elif path.suffix == ".wav":
        with wave.open(str(path)) as file:
            assert len(file.readframes(file.getnframes())) == 4 * file.getnframes() > 0, path
    elif path.suffix == ".png":
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
    elif path.suffix == ".musicxml":
        ElementTree.parse(path)
    else:
        assert path.suffix in (".csv", ".lock", ".scratch"), path


def kill_often(count: int, folder: Path, script: str, flags: Callable[[], list], ended: Callable, usual: float) -> None:
    """Start a script until it has been killed `count` times, each time at a random moment within 1.1 times the `usual`
    seconds it takes; call `ended` when it ends sooner by itself. `flags` returns its flags, given the files there."""
    kills = scratch = 0
    while kills < count:
        if run(script, flags(), random.uniform(0, 1.1 * usual)):
            ended()
        else:
            kills += 1
        scratch += len(list(folder.glob(".*.scratch")))
        for path in folder.iterdir():
            check(path)
    assert run(script, flags())
    left = list(folder.glob(".*.scratch"))
    print(f"{script}: killed {count} times; {scratch} scratch files, of which {len(left)} are left")
    assert not left


def kill_training(count: int, folder: Path) -> None:
    for seed in range(12):
        save(random_piece(seed), folder / "midi" / f"{seed}.mid")
    weights, compared = folder / "runs" / "a.weights.h5", [0]
    last = checkpoint.sibling(str(weights), "last.weights.h5")
    common = ["--midi-dir", folder / "midi", *TINY, "--epochs", EPOCHS]
    start = time.monotonic()
    assert run("train.py", [*common, "--weights", folder / "whole" / "a.weights.h5"])
    usual = time.monotonic() - start
    wanted = checkpoint.load(folder / "whole" / "a.last.weights.h5", with_optimizer=True)

    def ended() -> None:
        """If training is complete, compare with the undisturbed run and remove all files, so that it begins anew."""
        if len(checkpoint.load(last).about["history"]) < EPOCHS:
            return
        made = checkpoint.load(last, with_optimizer=True)
        pairs = [zip(made.arrays[name], arrays, strict=True) for name, arrays in wanted.arrays.items()]
        for one, other in [
            *(pair for some in pairs for pair in some),
            *zip(made.optimizer, wanted.optimizer, strict=True),
        ]:
            np.testing.assert_array_equal(one, other)
        compared[0] += 1
        for path in weights.parent.iterdir():
            path.unlink()

    weights.parent.mkdir()
    resume = lambda: ["--resume"] if last.exists() else []  # noqa: E731
    kill_often(count, weights.parent, "train.py", lambda: [*common, "--weights", weights, *resume()], ended, usual)
    ended()
    print(f"{compared[0]} resumed runs have the weights of an undisturbed one")


def kill_generating(count: int, folder: Path, weights: Path) -> None:
    out = folder / "out"
    flags = ["--weights", weights, "--out", out, "--bars", 4, "--seed", 1, "--notation", "--no-copying"]
    start = time.monotonic()
    assert run("generate_music.py", flags)
    kill_often(count, out, "generate_music.py", lambda: flags, lambda: None, time.monotonic() - start)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        kill_generating(int(sys.argv[1]), Path(name), checkpoint.BUNDLED)
        kill_training(int(sys.argv[1]), Path(name))
