"""Damage weights files and play from them: each must play, or be refused in a sentence.

python tests/damage_weights.py 10000                       damage the bundled weights
python tests/damage_weights.py 10000 mine.weights.h5       damage others; several take turns

Half of the damage is done to bytes, mostly to those that are not numbers of the network, and half to the JSON text in
the file. This happens in separate processes, so that one that dies or hangs is reported and the rest goes on.
"""

import contextlib
import io
import json
import multiprocessing
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import utils  # noqa: E402, F401  (before NumPy)

# isort: split
import h5py  # noqa: E402

from utils import checkpoint, compose, midi, sampler  # noqa: E402
from utils.errors import UserError  # noqa: E402
from utils.stepper import Stepper  # noqa: E402
from utils.wanted import Wanted  # noqa: E402

CHUNK = 100  # files that a process damages
PATIENCE = 20  # seconds after which a file is taken to hang
ODD = [None, True, False, -1, 0, 1, 255, 256, 2**31, 2**63, 10**30, 0.5, 1e308, -1e308, float("nan"), float("inf")]
ODD += ["", "x", "\0", "\x1b[2J", "\ud800", "C4.E4", "x" * 10_000, [], {}, [[]], [0], {"": {}}, [0] * 5000, "nested"]


def places_of(data: bytes) -> list[range]:
    """Where a weights file has bytes that are not numbers of the network."""
    taken = []
    with h5py.File(io.BytesIO(data)) as file:
        file["layers"].visititems(
            lambda _, item: (
                taken.append((item.id.get_offset(), item.nbytes)) if isinstance(item, h5py.Dataset) else None
            )
        )
    edges = [0, *(edge for begin, size in sorted(taken) for edge in (begin, begin + size)), len(data)]
    return [range(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def damaged_bytes(rng: random.Random, data: bytes, places: list[range]) -> bytes:
    """The file with some bytes changed, replaced by others of its bytes, left out or inserted."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.choice(rng.choices(places, [len(place) for place in places])[0]) if rng.random() < 0.9 else 0
        at = min(at or rng.randrange(len(data)), len(data) - 1)
        some = rng.randrange(1, 64)
        number = rng.choice([0, 2**64 - 1, rng.randrange(len(data)), 2 ** rng.randrange(63)])
        where = rng.randrange(len(data))
        new = [rng.randbytes(1), bytes([data[at] ^ 1 << rng.randrange(8)]), number.to_bytes(8, "little")]
        new += [data[where : where + some]]
        change = rng.choice([*new, *new, None])
        if change is not None:
            data[at : at + len(change)] = change
        elif rng.random() < 0.5:
            del data[at : at + some]
        else:
            data[at:at] = rng.randbytes(some)
    return bytes(data)


def changed(rng: random.Random, value: Any) -> Any:
    """Something else in place of a value in JSON."""
    if type(value) in (int, float) and rng.random() < 0.5:
        return rng.choice([value + 1, value - 1, -value, value * 2, value / 2, value * 1000])
    if isinstance(value, list) and value and rng.random() < 0.5:
        return rng.choice([value[:-1], value[1:], value[::-1], value * 2, [*value, value[0]], value * 300])
    return rng.choice(ODD)


def damage(rng: random.Random, about: Any) -> None:
    """Change, rename or remove something at random, anywhere in the JSON value `about`, in place."""
    inner = about
    while True:
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        key = rng.choice(keys)
        if not isinstance(inner[key], dict | list) or not inner[key] or rng.random() < 0.1:
            break
        inner = inner[key]
    what = rng.random()
    if what < 0.2:
        del inner[key]
    elif what < 0.3 and isinstance(inner, dict):
        inner[rng.choice(["", "x", "note", "part", "velocity", "\0"])] = inner.pop(key)
    else:
        inner[key] = changed(rng, inner[key])


def damaged_text(rng: random.Random, data: bytes) -> bytes:
    """The file with its JSON text changed."""
    content = io.BytesIO(data)
    with h5py.File(content, "r+") as file:
        about = json.loads(file["about"][()])
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            damage(rng, about)
        text = json.dumps(about).replace('"nested"', "[" * 100_000 + "]" * 100_000)
        if rng.random() < 0.05:
            text = text[: rng.randrange(len(text))]
        del file["about"]
        file["about"] = text
    return content.getvalue()


def play(path: Path, rng: random.Random) -> str:
    """Play some notes from a weights file: 'plays', or why not. Raises what no file may raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            weights = checkpoint.load(path)
            how, wanted = sampler.Sampling(seed=1), Wanted(notes=6, prepend=rng.random() < 0.5)
            begun = compose.openings(weights, 2, rng.randrange(100), rng.choice(["random", "none"]))
            for one in compose.new_pieces(Stepper(weights), begun, how, wanted):
                midi.as_bytes(one.piece)
        except UserError as error:
            assert "\n" not in str(error), str(error)
            return str(error).replace(str(path), "it")
    return "plays"


def survive(data: bytes, places: list[range], seed: int, path: Path) -> str:
    """Damage a weights file, write it to `path`, and play from it, see `play`; the same `seed` does the same damage."""
    rng = random.Random(seed)
    path.write_bytes(damaged_text(rng, data) if rng.random() < 0.5 else damaged_bytes(rng, data, places))
    return play(path, rng)


def work(paths: list[str], seeds: range, folder: str, now: Any, results: Any) -> None:
    """What a process does: `survive` for each of the `seeds`, the current one in `now`; outcomes go into `results`."""
    files = [(data, places_of(data)) for data in (Path(path).read_bytes() for path in paths)]
    for seed in seeds:
        now.value = seed
        start = time.perf_counter()
        try:
            said = survive(*files[seed % len(files)], seed, Path(folder, "damaged.weights.h5"))
        except Exception as error:
            said = f"{type(error).__name__}: {error} (seed {seed})"
        results.put((said, time.perf_counter() - start, said == "plays" or said.endswith(".")))


def main(count: int, paths: list[str]) -> None:
    results, outcomes, slowest, wrong, begin = multiprocessing.SimpleQueue(), Counter(), 0.0, [], 0
    now = multiprocessing.Value("q", 0)
    with tempfile.TemporaryDirectory() as folder:
        while begin < count:
            seeds = range(begin, min(begin + CHUNK, count))
            process = multiprocessing.Process(target=work, args=(paths, seeds, folder, now, results))
            process.start()
            last, since = -1, time.monotonic()
            while process.is_alive():
                process.join(0.05)
                with contextlib.suppress(OSError):
                    while not results.empty():
                        said, seconds, right = results.get()
                        outcomes["plays" if said == "plays" else "refused" if right else "wrong"] += 1
                        slowest, wrong = max(slowest, seconds), wrong + [said] * (not right)
                if now.value != last:
                    last, since = now.value, time.monotonic()
                if time.monotonic() - since > PATIENCE:
                    process.kill()
            begin = seeds.stop
            if process.exitcode:
                wrong.append(f"process ended with {process.exitcode} (seed {now.value})")
                begin = now.value + 1
    print(*sorted(set(wrong)), sep="\n")
    print(f"{count} damaged files: {dict(outcomes)}, the slowest in {slowest:.1f} s")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:] or [str(path) for path in checkpoint.BUNDLED.parent.glob("*-*.weights.h5")])
