"""The shape of the code: small modules and functions, no cyclic imports, and few modules that import slow packages."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(ROOT.glob("*.py"))
MODULES = sorted((ROOT / "utils").rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# The modules of utils that import each slow package.
IMPORTERS = {
    "keras": {"checkpoint", "devices", "network", "traces_layer"},
    "music21": {"formats.measures", "formats.score", "measure.ancestors"},
    "h5py": {"checkpoint", "formats.frames"},
    "tensorflow": set(),
}


def module_name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


def imported(path: Path, anywhere: bool) -> Iterator[str]:
    """The modules that a file imports, including `utils.midi` for `from utils import midi`: at its top level or, if
    `anywhere`, inside other statements too, except imports for type checking only."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif anywhere and not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            nodes += ast.iter_child_nodes(node)


@pytest.mark.parametrize("path", SCRIPTS + MODULES, ids=module_name)
def test_modules_and_functions_are_small(path: Path):
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTIONS):
            assert node.end_lineno - node.lineno < 60, node.name
            parameters = [arg.arg for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
            assert len(set(parameters) - {"self", "cls"}) <= 6, node.name


def test_imports_have_no_cycles():
    names = {module_name(path) for path in MODULES}
    graph = {module_name(path): names & set(imported(path, False)) - {"utils"} for path in MODULES}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_no_module_imports_a_script():
    scripts = {path.stem for path in SCRIPTS}
    assert not [path for path in MODULES if scripts & set(imported(path, True))]


@pytest.fixture(scope="module")
def packages() -> dict[str, set[str]]:
    """Module -> the packages that it imports anywhere."""
    return {module_name(path): {name.split(".")[0] for name in imported(path, True)} for path in MODULES}


@pytest.mark.parametrize("package", IMPORTERS)
def test_slow_packages_are_imported_by_these_modules_only(package: str, packages: dict[str, set[str]]):
    assert {name for name in packages if package in packages[name]} == {f"utils.{name}" for name in IMPORTERS[package]}
