"""music.ipynb, run as in Jupyter with little music and a tiny network, and what it consists of."""

import base64
import io
import re
import zipfile
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, TINY
from nbclient import NotebookClient

from utils import midi, settings

LIMIT = 200  # seconds for a cell; all of them together take 20 on a free core


@pytest.fixture
def book() -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "music.ipynb", as_version=4)


def shown(cell: nbformat.NotebookNode, kind: str) -> list[str]:
    """The outputs of a cell in this MIME type."""
    return [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]


def test_it_runs_from_top_to_bottom(book: nbformat.NotebookNode, tmp_path: Path, monkeypatch):
    toy = {"MIDI_DIR": f"{tmp_path}/music", "CORPUS": "verdi", "WEIGHTS": f"{tmp_path}/toy.weights.h5", "COUNT": 2,
           "TRAINING": " ".join([*TINY[:-1], '""', "--epochs 1"]), "BARS": 2, "OUT": f"{tmp_path}/out"}  # fmt: skip
    cells = {cell.id: cell for cell in book.cells}
    assert set(toy) <= set(re.findall(r"^(\w+) = ", cells["settings"].source, re.MULTILINE))
    cells["settings"].source += "".join(f"\n{name} = {value!r}" for name, value in toy.items())
    for folder in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(folder, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # all packages are there: nothing may be fetched
    NotebookClient(book, timeout=LIMIT, resources={"metadata": {"path": ROOT}}).execute()

    said = "".join(output.get("text", "") for cell in cells.values() for output in cell.get("outputs", []))
    assert "Wrote" in said and not re.search(r"ERROR|Traceback|^\w+\.py: ", said, re.MULTILINE), said
    sounds = {name: shown(cell, "text/html") for name, cell in cells.items() if cell.cell_type == "code"}
    assert [sum("<audio" in html for html in sounds[name]) for name in ("new", "prior")] == [2, 1]
    pictures = [len(shown(cells[name], "image/png")) for name in ("picture", "new", "prior")]
    assert pictures == [1, 2, 1]
    (link,) = sounds["download"]
    packed = base64.b64decode(re.search(r"base64,([^']+?)\"", link)[1])
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = archive.namelist()
        assert sorted(Path(name).suffix for name in names) == [".h5", *[".mid"] * 3, *[".png"] * 3]
        archive.extractall(tmp_path / "unpacked")
    continued = tmp_path / "unpacked" / "prior-ode-to-joy-continued-001.mid"
    assert len(midi.read(continued).bars()) == 8 + 2


def test_it_is_stored_without_outputs_except_for_one_picture(book: nbformat.NotebookNode):
    nbformat.validate(book)
    assert len(book.cells) < 25
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert all(cell.get("execution_count") is None for cell in book.cells)
    (picture,) = outputs
    assert len(base64.b64decode(picture.data["image/png"])) < 60_000


def test_every_script_flag_and_file_that_it_names_exists(book: nbformat.NotebookNode):
    text, scripts = "\n".join(cell.source for cell in book.cells), set()
    for line in text.splitlines():
        _, *named = re.split(r"(\w+\.py)\b", line)
        for script, after in zip(named[::2], named[1::2], strict=True):
            constants = settings.constants((ROOT / script).read_text("utf-8"))
            known = {"--" + setting.name.lower().replace("_", "-") for setting in constants} | {"--help"}
            assert set(re.findall(r"--[\w-]+", after)) <= known, line
            scripts.add(script)
    assert {"convertmidis.py", "train.py", "generate_music.py", "predict_with_prior.py"} <= scripts
    files = set(re.findall(r"[\w-]+/[\w/.-]+\.(?:mid|png|h5)\b", text)) - {"weights/music.weights.h5"}
    assert files and all((ROOT / file).exists() for file in files)
