"""Files made to do harm, full disks, and runs that are killed: convertmidis.py, run as a user runs it."""

import functools
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import h5py
import mido
import psutil
import pytest
from conftest import ROOT, random_piece, run, save

NOTE = "<note><pitch><step>C</step><octave>4</octave></pitch><duration>{}</duration></note>"
ENTITIES = '<!ENTITY a0 "la">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
TOO_LARGE = "takes more than 250 MB of memory"


def abc(metre: str, tune: str) -> bytes:
    return f"X:1\nM:{metre}\nL:1/4\nK:C\n{tune}\n".encode()


def kern(metre: str, tune: str) -> bytes:
    return f"**kern\n*M{metre}\n=1\n{tune}\n*-\n".encode()


def musicxml(music: str, attributes: str = "<divisions>1</divisions>", head: str = "") -> bytes:
    parts = '<part-list><score-part id="P1"><part-name/></score-part></part-list>'
    measure = f'<measure number="1"><attributes>{attributes}</attributes>{music}</measure>'
    return f'{head}<score-partwise>{parts}<part id="P1">{measure}</part></score-partwise>'.encode()


def zipped(name: str, megabytes: int, content: bytes = b" " * 2**20) -> bytes:
    """An archive of one XML file, which holds `content` so many times."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as file:
        file.write(b"<score>")
        for _ in range(megabytes):
            file.write(content)
    return data.getvalue()


def element(kind: int, data: bytes) -> bytes:
    """An element of a MAT file of version 5: type, length, and data, padded to a multiple of 8 bytes."""
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def cells(count: int, content: bytes = b"", name: bytes = b"traindata") -> bytes:
    """A cell array that claims to have `count` cells."""
    head = element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<ii", 1, count)) + element(1, name)
    return element(14, head + content)


def mat(*variables: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(variables)


def mat_73(**table: object) -> bytes:
    """A MAT file of version 7.3 with one piece, whose table is the dataset that h5py creates from `table`."""
    data = io.BytesIO()
    with h5py.File(data, "w", userblock_size=512) as file:
        file.create_dataset("traindata", (1, 1), h5py.ref_dtype)[0, 0] = file.create_dataset(
            "a", dtype="u1", **table
        ).ref
    return data.getvalue()


HOSTILE = {
    # Against these only a limit helps.
    "metre.abc": (abc("99999999/4", "C|"), TOO_LARGE),
    "inner.mat": (mat(cells(1, cells(1_100_000_000, name=b""))), TOO_LARGE),
    "tags.mxl": (zipped("a.xml", 30, b"<a/>" * 2**18), TOO_LARGE),
    "packed.nwc": (b"[NWZ]\0" + zlib.compress(bytes(200 * 2**20), 1), TOO_LARGE),
    # These give themselves away by what they declare.
    "bomb.mxl": (zipped("a.xml", 101), "would unpack to 106 MB"),
    "bomb.capx": (zipped("score.xml", 101), "would unpack to 106 MB"),
    "cells.mat": (mat(cells(1_100_000_000)), "damaged or cut short"),
    "packed.mat": (mat(element(15, zlib.compress(cells(1_100_000_000, bytes(2**20))))), "damaged or cut short"),
    "large 73.mat": (mat_73(shape=(10**8, 88), chunks=(1024, 88)), "damaged or cut short"),
    "elsewhere 73.mat": (mat_73(shape=(1, 88), external=[("/dev/zero", 0, 88)]), "damaged or cut short"),
    # The parsers refuse these, or the result cannot be written.
    "laughs.xml": (musicxml(NOTE.format("&a9;"), head=f"<!DOCTYPE a [{ENTITIES}]>"), "cannot be read by music21"),
    "laughs.capx": (zipped("score.xml", 1, f"<!DOCTYPE a [{ENTITIES}]><a>&a9;</a>".encode()), "cannot be read by"),
    "nested.mxl": (zipped("a.xml", 1, zipped("a.xml", 30)), "cannot be used"),
    "metre.krn": (kern("99999999/4", "4c\n=2\n4%99999999d"), TOO_LARGE),
    "forward.xml": (
        musicxml(f"<forward><duration>{10**12}</duration></forward>{NOTE.format(1)}"),
        "longer than 65,536",
    ),
    "duration.xml": (musicxml(NOTE.format("1e400")), "cannot"),
    "frames.json": (b"[[[60]" + b",[]" * 70_000 + b",[60]]]", "longer than 65,536 quarter notes"),
    "digits.json": (b"[[[" + b"9" * 100_000 + b"]]]", "damaged or cut short"),
}


# Jobs that would take for ever and jobs that take a moment; each writes down the process that does it.
WORK = """
import contextlib, os, time
from pathlib import Path

import convertmidis
from utils import settings
from utils.errors import UserError


def work(source, target):
    target.with_suffix(".pid").write_text(str(os.getpid()))
    kept = [bytearray(10**7) for _ in range(60)] if source.stem == "swells" else []
    if source.stem in ("waits", "swells"):
        time.sleep(600)
    while source.stem == "computes":
        pass
    target.touch()


def main(args):
    targets = {folder / name: folder / f"{name}.mid" for name in names}
    for path, error in convertmidis.convert_all(targets, 2, work, seconds, 300).items():
        print(f"{path.name}: {error}")


folder = Path(__file__).parent
seconds, *names = (folder / "jobs.txt").read_text().split()
seconds = float(seconds)
if __name__ == "__main__":
    settings.run(main, __file__)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script, since on some systems its worker processes import it again."""
    path = tmp_path / "jobs.py"
    path.write_text(WORK)
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder of all the hostile files, with good ones among them, and the result of converting it."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (data, _) in HOSTILE.items():
        (folder / name).write_bytes(data)
    for name in ("a.mid", "m.mid", "z.mid"):
        save(random_piece(1), folder / name)
    # Enough seconds for a slow computer: none of these computes for long before it is too large, or refused.
    limits = "--seconds", 60, "--megabytes", 250, "--workers", 2
    return folder, run("convertmidis.py", "--source", folder, "--out", f"{folder} out", *limits)


def test_a_file_that_takes_too_long_fails_with_one_sentence(tmp_path: Path):
    slow = tmp_path / "bars.abc"
    slow.write_bytes(abc("4/4", "C|" * 9_000))
    save(random_piece(1), tmp_path / "z.mid")
    result = run("convertmidis.py", "--source", tmp_path, "--out", f"{tmp_path} out", "--seconds", 1.5)
    assert "1 converted, 0 skipped (already there), 1 failed" in result.stdout, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if str(slow) in line]
    assert line.startswith("failed: ") and "seconds (--seconds)" in line and result.returncode == 0


def test_hostile_files_do_not_affect_others(converted: tuple[Path, subprocess.CompletedProcess]):
    folder, result = converted
    assert f"3 converted, 0 skipped (already there), {len(HOSTILE)} failed" in result.stdout, result.stderr
    assert result.returncode == 0 and "Traceback" not in result.stderr
    assert sorted(path.name for path in Path(f"{folder} out").rglob("*.*")) == ["a.mid", "m.mid", "z.mid"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_fails_with_one_sentence(name: str, converted: tuple[Path, subprocess.CompletedProcess]):
    folder, result = converted
    (line,) = [line for line in result.stderr.splitlines() if str(folder / name) in line]
    assert line.startswith("failed: ") and HOSTILE[name][1] in line


def outcomes(script: Path, jobs: str) -> dict[str, str]:
    """Job -> its outcome; `jobs` is the seconds that each may take, and their names."""
    (script.parent / "jobs.txt").write_text(jobs)
    result = run(script)
    assert result.returncode == 0, result.stderr
    return dict(line.split(": ", 1) for line in result.stdout.splitlines())


def test_a_job_that_computes_or_waits_too_long_is_ended(script: Path):
    found = outcomes(script, "0.3 a computes b waits c")
    assert [found[name] for name in "abc"] == ["None"] * 3
    assert all(f"{name} takes more than 0 seconds" in found[name] for name in ("computes", "waits"))


def test_a_job_that_takes_too_much_memory_is_ended(script: Path):
    found = outcomes(script, "60 a swells b")
    assert [found[name] for name in "ab"] == ["None"] * 2
    assert "swells takes more than 300 MB of memory" in found["swells"]


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_survives_the_main_process(how: int, script: Path):
    (script.parent / "jobs.txt").write_text("600 computes waits a")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a process in the background may ignore it
    main = subprocess.Popen(
        [sys.executable, script], env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heed
    )
    files = [script.parent / f"{name}.pid" for name in ("computes", "waits")]
    while not all(file.exists() and file.read_text() for file in files):
        time.sleep(0.05)
    workers = [psutil.Process(int(file.read_text())) for file in files]
    main.send_signal(how)
    said = main.communicate(timeout=60)[1]
    assert main.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in said and ("jobs.py: stopped.\n" in said) == (how == signal.SIGINT)
    assert not psutil.wait_procs(workers, timeout=20)[1]


@pytest.mark.parametrize(("number", "sentences"), [("ENOSPC", 1), ("EACCES", 3)])
def test_a_run_that_cannot_write_fails(number: str, sentences: int, tmp_path: Path):
    """A full disk ends the run, since nothing else could be written either."""
    for name in ("a.mid", "b.mid", "c.mid"):
        save(random_piece(1), tmp_path / "in" / name)
    script = tmp_path / "full.py"
    script.write_text(
        "import errno, os, sys\n"
        "import convertmidis\n"
        "from utils import settings\n"
        "def fsync(file): raise OSError(errno.NUMBER, 'The disk says no')\n"
        "os.fsync = fsync\n"
        "if __name__ == '__main__': settings.run(convertmidis.main, convertmidis.__file__)\n".replace("NUMBER", number)
    )
    result = run(script, "--source", tmp_path / "in", "--out", tmp_path / "out", "--workers", 1)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == sentences and all("cannot be written: The disk says no." in line for line in lines), lines
    assert not list((tmp_path / "out").iterdir())


def test_a_file_is_converted_again_after_its_conversion_was_killed(tmp_path: Path):
    """The first of many pieces in a file is written last, so that a file counts as converted only if all are there."""
    (tmp_path / "set.json").write_text(f"[{','.join(['[[60]]'] * 200)}]")
    command = "convertmidis.py", "--source", tmp_path / "set.json", "--out", tmp_path / "out"
    main = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("out/*.mid")):
        time.sleep(0.01)
    main.kill()
    main.wait()
    time.sleep(0.5)
    whole = list(tmp_path.glob("out/[0-9]*.mid"))
    assert len(whole) < 200 and all(len(mido.MidiFile(path).tracks) == 2 for path in whole)
    assert "1 converted" in run(*command).stdout
    assert len(list(tmp_path.glob("out/[0-9]*.mid"))) == 200
    assert "1 skipped (already there)" in run(*command).stdout
