"""Constants at the top of a script -> its command line.

Every top-level `UPPER_CASE: type = value  # comment` of a script is a setting: `MIDI_DIR` is also the flag
`--midi-dir`, the comment is its help, and the value, which may be computed from the settings above it, is its default.
A line `# ---- title` begins a group. An optional setting has a type like `int | None`, and `none` on the command line
sets it to None. A text is a path, shown as FILE or FOLDER in the help, if its comment begins with that word or with a
kind of file: `PNG file`, `.x or .y file`.
"""

import argparse
import ast
import atexit
import functools
import gc
import io
import itertools
import os
import re
import shlex
import sys
import tokenize
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, NoReturn

from utils.errors import UserError

METAVARS = {int: "N", float: "X", str: "TEXT", tuple: "A,B,C"}
KINDS = {kind.__name__: kind for kind in (bool, *METAVARS)}
GROUP = re.compile(r"# -{3,}\s*(.+?)\s*-*$")
CONTROL = re.compile("[\0-\b\v\f\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # also of the writing direction
BARS = re.compile("\n*(?:\x1b\\[A)*")  # what tqdm writes to move between progress bars: line feeds, cursor up
PATH = re.compile(r"(?:\S+ (?:or \S+ )?)?(file|folder)s?\b")


class Setting(NamedTuple):
    """A constant of a script; one that is `optional` may be None."""

    group: str
    name: str
    default: object
    kind: type
    optional: bool
    comment: str

    @property
    def path(self) -> str:
        """'file' or 'folder' if the setting is a path to one, else ''."""
        match = PATH.match(self.comment) if self.kind is str else None
        return match[1] if match else ""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(f"{self.prog}: {message} (see {self.prog} --help)")


def converter(setting: Setting) -> Callable[[str], object]:
    """The function that turns the text of a flag into its value; argparse also applies it to a default that is a text.
    A tuple is given as comma-separated values, and a path may begin with ~."""

    def convert(text: str) -> object:
        if setting.optional and text.lower() == "none":
            return None
        if setting.kind is tuple:
            words = [word.strip() for word in text.split(",") if word.strip()]
            return tuple(type(setting.default[0])(word) for word in words or [""])
        return os.path.expanduser(text) if setting.path else setting.kind(text)

    # argparse names the converter in its error: "invalid int value: 'x'".
    convert.__name__ = setting.kind.__name__
    return convert


def constants(source: str) -> list[Setting]:
    """The settings of a script's source, in order. Raises UserError for a value that is not of its type."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    titles = [(line, match[1]) for line, comment in comments.items() if (match := GROUP.match(comment))]
    settings = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or node.value is None:
            continue
        name, (annotation, *optional) = ast.unparse(node.target), ast.unparse(node.annotation).split(" | ")
        if not name.isupper() or annotation not in KINDS:
            continue
        kind, value = KINDS[annotation], ast.unparse(node.value)
        says = "it must be True or False" if kind is bool else "the comment beside it says what it can be"
        says += ", a text in quotes" * (kind is str)
        try:
            default = eval(value, {}, {one.name: one.default for one in settings})
        except Exception as error:
            raise UserError(f"{name} is {value}, which cannot be computed ({error}): {says}.") from None
        is_whole = type(default) is float and default.is_integer()  # 1e3, or 256 / 2
        if (type(default), kind) in ((int, float), (list, tuple)) or (kind is int and is_whole):
            default = kind(default)
        if not (optional if default is None else type(default) is kind and default != ()):
            raise UserError(f"{name} is {default!r}, which is not allowed: {says}.")
        group = [title for line, title in titles if line < node.lineno] or ["settings"]
        comment = comments.get(node.end_lineno, "").lstrip("# ")
        settings.append(Setting(group[-1], name, default, kind, bool(optional), comment))
    return settings


def parse(script: str | Path, argv: list[str] | None = None) -> SimpleNamespace:
    """The settings of `script`, overridden by the flags of `argv` (default: the command line): a lower-case attribute
    for each constant, MIDI_DIR -> settings.midi_dir."""
    source, layout = Path(script).read_text(encoding="utf-8"), argparse.RawDescriptionHelpFormatter
    about = ast.get_docstring(ast.parse(source))
    parser = OneLineParser(Path(script).name, description=about, formatter_class=layout, allow_abbrev=False)
    for title, settings in itertools.groupby(constants(source), lambda setting: setting.group):
        group = parser.add_argument_group(title)
        for setting in settings:
            default, kind, name = setting.default, setting.kind, setting.name.lower()
            shown = ",".join(map(str, default)) if kind is tuple else {None: "none", "": "''"}.get(default, default)
            how = {"type": converter(setting), "metavar": setting.path.upper() or METAVARS.get(kind)}
            group.add_argument(
                flag_of(name),
                default=default,
                help=f"{setting.comment} [{shown}]".replace("%", "%%"),
                **({"action": argparse.BooleanOptionalAction} if kind is bool else how),
            )
    return SimpleNamespace(**vars(parser.parse_args(argv)))


def flag_of(name: str) -> str:
    """The flag of a setting: midi_dir -> '--midi-dir'."""
    return f"--{name.replace('_', '-')}"


def words(name: str, text: str, own: Collection[str] = ()) -> list[str]:
    """The flags in the text of a setting, split as by a shell. Raises UserError if a quotation mark is not closed, or
    if one of the flags is among the script's `own`."""
    try:
        given = shlex.split(text)
    except ValueError:
        raise UserError(f"{flag_of(name)} {text!r} has a quotation mark that is not closed.") from None
    for word in given:
        if (one := word.partition("=")[0]) in own:
            raise UserError(f"{flag_of(name)} contains {one}, which this script sets itself: leave it out.")
    return given


def flag(name: str, value: object) -> str:
    """The flag that sets a setting to a value on the command line: '--no-pedal', '--grid 12', "--metre ''"."""
    if isinstance(value, bool):
        return flag_of(name if value else f"no-{name}")
    return f"{flag_of(name)} {','.join(value) if isinstance(value, list | tuple) else value}" + "''" * (value == "")


def choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises a UserError that names the setting and the choices if `value` is not one of `allowed`."""
    if value not in allowed:
        raise UserError(f"{flag_of(name)} is {value!r}; choose one of: {', '.join(allowed)}.")


def at_least(name: str, value: float, least: float) -> None:
    """Raises a UserError that names the setting if `value` is below `least` or not a number."""
    if not value >= least:
        raise UserError(f"{flag_of(name)} is {value}; it must be at least {least}.")


def at_most(name: str, value: float, most: float) -> None:
    """Raises a UserError that names the setting if `value` is above `most` or not a number."""
    if not value <= most:
        raise UserError(f"{flag_of(name)} is {value}; it must be at most {most}.")


def write_visibly(write: Callable[[str], int], text: str) -> int:
    """Write a text with its control characters escaped: a name in it may come from anywhere, and contain some that
    would move the cursor of a terminal or worse."""
    return write(text if BARS.fullmatch(text) else CONTROL.sub(lambda found: ascii(found[0])[1:-1], text))


def run(main: Callable[[SimpleNamespace], None], script: str) -> None:
    """Call `main` with the settings of `script`; a user's error becomes one line on stderr and exit status 1."""
    atexit.register(gc.freeze)  # otherwise Python searches all objects for garbage before it exits
    # Each line appears as soon as it is printed, also in a log file; and a file name that a console cannot show must
    # not make the script fail.
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    sys.stderr.reconfigure(errors="replace")
    for stream in (sys.stdout, sys.stderr):
        stream.write = functools.partial(write_visibly, stream.write)
    try:
        main(parse(script))
    except UserError as error:
        raise SystemExit(f"{Path(script).name}: {error}") from None
    except KeyboardInterrupt:
        print(f"\n{Path(script).name}: stopped.", file=sys.stderr)
        raise SystemExit(130) from None
