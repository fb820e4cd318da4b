"""The house: rooms and functions of a size that can be read, imports one way, each heavy package in its rooms."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(ROOT.glob("*.py"))
MODULES = sorted((ROOT / "utils").rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Which rooms of utils may wait for a heavy package.
ROOMS = {
    "keras": {"checkpoint", "devices", "network", "traces_layer"},
    "music21": {"formats.score", "measure.ancestors"},
    "h5py": {"checkpoint", "formats.frames"},
    "tensorflow": set(),
}


def named(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


def imported(path: Path, anywhere: bool) -> Iterator[str]:
    """The modules that a file imports, `utils.midi` for `from utils import midi`: at its top, or `anywhere` but for the
    sake of types."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif anywhere and not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            nodes += ast.iter_child_nodes(node)


@pytest.mark.parametrize("path", SCRIPTS + MODULES, ids=named)
def test_sizes(path: Path):
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTIONS):
            assert node.end_lineno - node.lineno < 60, node.name
            parameters = [arg.arg for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
            assert len(set(parameters) - {"self", "cls"}) <= 6, node.name


def test_imports_go_one_way():
    names = {named(path) for path in MODULES}
    graph = {named(path): names & set(imported(path, False)) - {"utils"} for path in MODULES}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_no_room_imports_a_script():
    scripts = {path.stem for path in SCRIPTS}
    assert not [path for path in MODULES if scripts & set(imported(path, True))]


@pytest.mark.parametrize("package", ROOMS)
def test_heavy_packages_have_their_rooms(package: str):
    rooms = {named(path) for path in MODULES if package in {name.split(".")[0] for name in imported(path, True)}}
    assert rooms == {f"utils.{name}" for name in ROOMS[package]}
