"""Constants at the top of a script -> its command line.

Every top-level `UPPER_CASE = literal  # comment` of a script is a setting: `MIDI_DIR` is also the flag `--midi-dir`,
the comment is its help, the literal is its default and gives its type, and a line `# ---- title` opens a group. A
constant that may be absent is annotated: `SEED: int | None = None`, and `none` on the command line.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from utils.errors import UserError

METAVARS = {int: "N", float: "X", str: "TEXT", tuple: "A,B,C"}
GROUP = re.compile(r"# -{3,}\s*(.+?)\s*-*$")


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str):
        raise SystemExit(f"{self.prog}: {message} (see {self.prog} --help)")


def converter(kind: type, optional: bool, part: type) -> Callable[[str], object]:
    """From the text of a flag to a value of `kind`. A tuple is given as values of the type `part`, with commas
    between them."""

    def convert(text: str):
        if optional and text.lower() == "none":
            return None
        if kind is tuple:
            return tuple(part(word.strip()) for word in text.split(",") if word.strip())
        return kind(text)

    # argparse names the converter in its error: "invalid int value: 'x'".
    convert.__name__ = kind.__name__
    return convert


def constants(source: str) -> list[tuple[str, str, object, type, bool, str]]:
    """Settings of a script's source, in order: (group, name, default, type, may be none, comment)."""
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, annotation = node.targets[0], None
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, annotation = node.target, ast.unparse(node.annotation)
        else:
            continue
        if not isinstance(target, ast.Name) or not target.id.isupper():
            continue
        try:
            default = ast.literal_eval(node.value)
        except ValueError:  # computed, so not a setting
            continue
        if isinstance(default, dict):  # a table
            continue
        optional = annotation is not None and "None" in annotation
        kind = {"int": int, "float": float, "str": str}[annotation.split(" |")[0]] if annotation else type(default)
        groups = [m for line in range(1, node.lineno) if (m := GROUP.match(comments.get(line, "")))]
        help_text = comments.get(node.end_lineno, "").lstrip("# ")
        found.append((groups[-1][1] if groups else "settings", target.id, default, kind, optional, help_text))
    return found


def parse(script: str | Path, argv: list[str] | None = None) -> SimpleNamespace:
    """The settings of `script` with the flags of `argv` (default: the command line) laid over them.

    The result has one lower-case attribute for each constant: MIDI_DIR -> settings.midi_dir.
    """
    source = Path(script).read_text(encoding="utf-8")
    parser = OneLineParser(
        prog=Path(script).name,
        description=ast.get_docstring(ast.parse(source)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    groups = {}
    for group, name, default, kind, optional, text in constants(source):
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        listed = isinstance(default, tuple)
        shown = ",".join(map(str, default)) if listed else {None: "none", "": "''"}.get(default, default)
        options = {"default": default, "help": f"{text} [{shown}]".replace("%", "%%"), "dest": name.lower()}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            part = type(default[0]) if listed else str
            options.update(type=converter(kind, optional, part), metavar=METAVARS[kind])
        groups[group].add_argument("--" + name.lower().replace("_", "-"), **options)
    return SimpleNamespace(**vars(parser.parse_args(argv)))


def choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises UserError that names the setting and the choices if `value` is none of `allowed`."""
    if value not in allowed:
        raise UserError(f"--{name} is {value!r}; choose one of: {', '.join(allowed)}.")


def at_least(name: str, value: float, least: float) -> None:
    """Raises UserError that names the setting if `value` is below `least` or not a number."""
    if not value >= least:
        raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at least {least}.")


def at_most(name: str, value: float, most: float) -> None:
    """Raises UserError that names the setting if `value` is above `most` or not a number."""
    if not value <= most:
        raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at most {most}.")


def run(main: Callable[[SimpleNamespace], None], script: str) -> None:
    """Call `main` with the settings of `script`; a user's error becomes one line on stderr and exit status 1."""
    settings = parse(script)
    # Each line is shown when it is printed, into a log file too; and a name of a file that a console cannot show is no
    # reason to fail.
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    sys.stderr.reconfigure(errors="replace")
    try:
        main(settings)
    except UserError as error:
        raise SystemExit(f"{Path(script).name}: {error}") from None
    except KeyboardInterrupt:
        print(f"\n{Path(script).name}: stopped.", file=sys.stderr)
        raise SystemExit(130) from None
