"""The commands of the README, executed as written, in a copy of the repository with little music and tiny networks."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, make_piece, random_piece, save
from packaging.requirements import Requirement

from utils import midi
from utils.formats import score

BLOCK = re.compile(r"```(sh|powershell)\n(.*?)```", re.DOTALL)
ENVIRONMENT = ("KERAS_BACKEND", "JAX_COMPILATION_CACHE_DIR")  # variables of Keras and JAX
IN_DEMO = "python train.py --minutes 3"
# Not run: the tests themselves, what sets up an environment (there is one), the page, which would stay open, and the
# command that the demo runs.
NOT_RUN = ("make test", "python -m venv", ".venv", "pip install", "python app.py", IN_DEMO)
TOY = {"UNITS": 16, "EMBEDDING": 8, "HIDDEN": 16, "SURROUNDINGS": 4, "EPOCHS": 1,
       "SEQUENCE_LENGTH": 8, "PARTICLES": 8, "NOTES": 40, "LARGE": 20_000,
       "SMALL": 5_000, "UPDATES": 2, "ANCESTOR_UPDATES": 1, "ANCESTOR_NOTES": 1, "FILES": 1, "REPEAT": 1}  # fmt: skip


def commands() -> list[str]:
    """The lines of the README's shell blocks, without their comments."""
    blocks = [block for _, block in BLOCK.findall((ROOT / "README.md").read_text("utf-8"))]
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line and not line.startswith(NOT_RUN)))


def lines_of(name: str) -> list[str]:
    """The requirements in a file, without its comments and the files that it includes."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("-r")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What git tracks, with the constants edited as a user would edit them, a few pieces and a ready environment."""
    folder = tmp_path_factory.mktemp("clone")
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in tracked.stdout.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    edited = set()
    for script in folder.glob("*.py"):
        source = script.read_text("utf-8")
        for name, value in TOY.items():
            source, found = re.subn(rf"^({name}: .*?) = \S+", rf"\1 = {value}", source, flags=re.MULTILINE)
            edited |= {name} if found else set()
        script.write_text(source, "utf-8")
    assert edited == set(TOY)
    for seed in range(4):
        save(random_piece(seed), folder / "my-music" / f"{seed}.mid")
        save(random_piece(seed + 9), folder / "midis" / f"{seed}.mid")
    # All chorales but two are there already, as single notes: converting and learning four hundred would take minutes.
    note = save(make_piece([(0, 60, 480)]), folder / "note.mid")
    for path in score.corpus_files("bach")[2:]:
        target = folder / "midis" / f"{path.stem}.mid"
        # A few are in the corpus in two formats; convertmidis.py names the second by its full file name.
        shutil.copy(note, target.with_name(f"{path.name}.mid") if target.exists() else target)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / ".venv" / "bin" / "python").chmod(0o755)
    for ready in ("ready", "ready-dev"):
        (folder / ".venv" / ready).touch()
    return folder


@pytest.mark.skipif(os.name == "nt", reason="the commands are written for a POSIX shell")
@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_works_as_written(command: str, clone: Path):
    # In the order of the README, so that the weights of one command are there for the next.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": ""}
    result = subprocess.run(
        command, shell=True, cwd=clone, env=environment, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Traceback" not in result.stderr
    if command == "make demo":
        assert IN_DEMO.replace("python", "$(RUN)") in (ROOT / "Makefile").read_text("utf-8")
        assert len(re.findall(r"^    samples/\S+\.mid$", result.stdout, re.MULTILINE)) == 4
        again = subprocess.run(command, shell=True, cwd=clone, env=environment, capture_output=True, text=True)
        assert again.returncode == 0 and "not training again" in again.stdout


@pytest.mark.skipif(os.name == "nt", reason="make and its Python are those of a POSIX system")
@pytest.mark.parametrize(
    ("version", "bits", "said"),
    [
        ("2, 7, 18", 64, "2.7 with 64 bits, but"),
        ("3, 9, 18", 64, "3.9 with 64 bits, but"),
        ("3, 12, 1", 32, "3.12 with 32 bits, but"),
        ("3, 15, 0", 64, "3.15 with 64 bits, but"),
        ("3, 10, 0", 64, ""),
        ("3, 14, 9", 64, ""),
    ],
)
def test_an_unsupported_python_makes_no_environment(version: str, bits: int, said: str, tmp_path: Path):
    for path in [ROOT / "Makefile", *ROOT.glob("requirements*.txt")]:
        shutil.copy(path, tmp_path)
    python = tmp_path / "python"
    check = f"import sys; sys.version_info = ({version}); sys.maxsize = {2 ** (bits - 1) - 1}; $2"
    python.write_text(f'#!/bin/sh\ntest "$1" = -c || exec touch made\nexec {sys.executable} -c "{check}"\n')
    python.chmod(0o755)
    result = subprocess.run(["make", "demo", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    assert (tmp_path / "made").exists() == (not said)
    sentence, *rest = result.stderr.splitlines()
    if said:
        assert said in sentence and "PYTHON=python3.12 make demo" in sentence
        assert rest and all(line.startswith("make") for line in rest)


def test_every_file_that_the_readme_names_exists():
    text = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_setting_that_the_readme_names_exists():
    text = (ROOT / "README.md").read_text("utf-8")
    # Settings of the scripts, and the tables to which users add their own ideas.
    places = [*ROOT.glob("*.py"), ROOT / "utils" / "measure" / "ways.py"]
    sources = "".join(path.read_text("utf-8") for path in places)
    for name in re.findall(r"`([A-Z][A-Z_]+)`", text):
        assert re.search(rf"^{name}( =|:)", sources, re.MULTILINE) or name in ENVIRONMENT, name


def test_every_table_in_experiments_names_the_commit_it_was_made_at():
    sections = re.split(r"^\|-.*\n(?:\|.*\n)+", (ROOT / "EXPERIMENTS.md").read_text("utf-8"), flags=re.MULTILINE)
    assert len(sections) > 10
    for after in sections[1:]:
        assert re.match(r"\n(Made|Written down) at `[0-9a-f]{7}`", after), after[:80]


def test_the_constraints_allow_what_is_required():
    fixed = dict(line.split("==") for line in lines_of("constraints.txt"))
    lists = ("requirements.txt", "requirements-base.txt", "requirements-jax.txt", "requirements-dev.txt")
    for required in map(Requirement, itertools.chain.from_iterable(map(lines_of, lists))):
        assert fixed[required.name] in required.specifier, required


def test_the_gallery_is_complete():
    """The files that the READMEs link to exist, every piece can be read, and no sound file is large."""
    for page in (ROOT / "README.md", ROOT / "samples" / "README.md"):
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8"))
        assert links and not [link for link in links if not (page.parent / link).exists()]
    gallery = ROOT / "samples" / "gallery"
    pieces = list(gallery.glob("*.mid"))
    assert len(pieces) == 15
    for path in pieces:
        assert len(midi.read(path)) > 200
        assert path.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
        assert 100_000 < path.with_suffix(".mp3").stat().st_size < 1_000_000
