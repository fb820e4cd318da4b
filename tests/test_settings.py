"""Constants at the top of a script become its flags."""

import re
from pathlib import Path

import pytest
from conftest import ROOT, call, one_line_error, run

from utils import settings
from utils.errors import UserError

SCRIPTS = "train generate_music predict_with_prior evaluate experiments convertmidis benchmark app".split()
SCRIPTS = [f"{name}.py" for name in SCRIPTS]


def test_defaults_types_and_flags(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        '"""What it does."""\n# ---- first\nSOME_DIR: str = "a"  # folder\nCOUNT: int = 3  # how many\n'
        "# ---- second\nSHARE: float = 0.5  # of 100%\nDEEP: bool = False  # or not\n"
        'WORDS: tuple = ["a", "b"]  # some\nSIZES: tuple = (1, 2)  # more\nSEED: int | None = None  # any\n'
        "TEMPO: float = 90  # fast\nTWICE: int = len(WORDS) * COUNT  # as many\n"
        "computed: int = 1\nTABLE: dict = {1: 2}\nLATER = 3  # without a type, so for the script alone\n"
    )
    assert vars(settings.parse(script, [])) == {
        "some_dir": "a", "count": 3, "share": 0.5, "deep": False, "words": ("a", "b"), "sizes": (1, 2), "seed": None,
        "tempo": 90.0, "twice": 6
    }  # fmt: skip
    flags = "--some-dir b --count 4 --share 1 --deep --words x,y --sizes 3,4 --seed 5 --tempo 90.5".split()
    assert vars(settings.parse(script, flags)) == {
        "some_dir": "b", "count": 4, "share": 1.0, "deep": True, "words": ("x", "y"), "sizes": (3, 4),
        "seed": 5, "tempo": 90.5, "twice": 6
    }  # fmt: skip
    assert settings.parse(script, ["--seed", "none", "--no-deep"]).seed is None
    assert [(group, name) for group, name, *_ in settings.constants(script.read_text())][:3] == [
        ("first", "SOME_DIR"), ("first", "COUNT"), ("second", "SHARE")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "TEMPO: float = 'fast'",
        "TEMPO: float = None",
        "SEED: int | None = 1.5",
        "KEY: str = None",
        "METRE: str = 3/4",
        "RESUME: bool = 'no'",
        "STREAMS: tuple = ('auto')",
        "OUT: str = HOME / 'midi'",
        "UNITS: int = 1 // 0",
        "BARS: int = True",
        "BARS: int = float('inf')",
        "STREAMS: tuple = ()",
    ],
)
def test_a_constant_with_a_wrong_value_gives_a_one_line_error(line: str, tmp_path: Path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(f"{line}  # a value\n")
    monkeypatch.setattr("sys.argv", ["script.py"])
    with pytest.raises(
        SystemExit, match=rf"^script.py: {line.split(':')[0]} is .*, which (is not allowed|cannot be computed)"
    ):
        settings.run(print, script)


@pytest.mark.parametrize(
    ("script", "wrong"),
    [
        ("train.py", "METRE = 3/4"),
        ("train.py", "UNITS = '128'"),
        ("generate_music.py", "INSTRUMENT = 41"),
        ("generate_music.py", "INSTRUMENTS = ['Violin', 'Cello']"),
        ("generate_music.py", "BARS = 16.5"),
        ("predict_with_prior.py", "FILL = 5-6"),
        ("evaluate.py", "WEIGHTS = ['a.weights.h5', 'b.weights.h5']"),
    ],
)
def test_a_wrong_value_of_a_setting_of_a_script_is_refused(script: str, wrong: str):
    name, value = wrong.split(" = ")
    source = (ROOT / script).read_text(encoding="utf-8")
    with pytest.raises(UserError, match=f"^{name} is .*, which is not allowed"):
        settings.constants(re.sub(rf"^({name}\b.*?) = .*?  #", rf"\1 = {value}  #", source, flags=re.M))


def test_a_whole_number_may_be_computed_as_a_float():
    [units, notes] = settings.constants("UNITS: int = 256 / 2  # units\nNOTES: int = 1e3  # notes\n")
    assert (repr(units.default), repr(notes.default)) == ("128", "1000")


def test_a_path_may_begin_with_the_tilde_of_the_home_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    script = tmp_path / "script.py"
    script.write_text(
        'MIDI_DIR: str = "~/midi"  # folder of music\nOUT: str = "out"  # folder to write\nKEY: str = "~"  # key\n'
    )
    read = vars(settings.parse(script, ["--out=~/new"]))
    assert read == {"midi_dir": "/home/me/midi", "out": "/home/me/new", "key": "~"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_constant_with_its_comment(script: str):
    result = run(script, "--help")
    assert result.returncode == 0
    text = re.sub(r"\s+", " ", result.stdout)
    for group, name, default, _, _, comment in settings.constants((ROOT / script).read_text()):
        assert f"--{name.lower().replace('_', '-')}" in text
        assert comment, f"{name} has no comment"
        # A long word may be broken across two lines at its hyphen.
        assert comment.replace(" ", "") in text.replace(" ", "")
        assert group in text
        assert default is None or isinstance(default, (tuple, bool)) or f"[{default}]" in text or default == ""


NAMES_OF_PATHS = ("_DIR", "OUT", "LOGS", "WEIGHTS", "_FROM", "_OF", "PRIOR", "SOUNDFONT", "PICTURE", "SOURCE", "JSON")


def test_all_scripts_in_the_root_are_tested():
    assert sorted(path.name for path in ROOT.glob("*.py")) == sorted(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_file_or_folder_for_paths_only(script: str, capsys):
    with pytest.raises(SystemExit):
        settings.parse(ROOT / script, ["--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for setting in settings.constants((ROOT / script).read_text(encoding="utf-8")):
        flag = "--" + setting.name.lower().replace("_", "-")
        if setting.kind is str:
            path = setting.name.endswith(NAMES_OF_PATHS) or "/" in setting.default
            assert re.search(rf"{flag} (FILE|FOLDER)\b" if path else rf"{flag} TEXT\b", text), flag


@pytest.mark.parametrize(
    ("comment", "word"),
    [
        ("file to write", "FILE"),
        ("folder of music (or one file)", "FOLDER"),
        ("MIDI file to continue", "FILE"),
        (".sf2 or .sf3 file that plays", "FILE"),
        ("files with commas between them", "FILE"),
        ("instead of a folder: a composer", "TEXT"),
        ("any name", "TEXT"),
        ("filed under this name", "TEXT"),
    ],
)
def test_a_path_is_recognised_by_the_beginning_of_its_comment(comment: str, word: str, tmp_path: Path, capsys):
    (tmp_path / "script.py").write_text(f'PLACE: str = "a"  # {comment}\n')
    with pytest.raises(SystemExit):
        settings.parse(tmp_path / "script.py", ["--help"])
    assert f"--place {word} " in capsys.readouterr().out


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("flags", [["--no-such-flag"], ["--seed", "many"], ["--workers", "x"], ["--n", "x"]])
def test_wrong_flags_give_a_one_line_error(script: str, flags: list[str]):
    start = run if flags == ["--no-such-flag"] else call
    assert "--help" in one_line_error(start(script, *flags))


def test_settings_are_written_as_flags():
    values = {"grid": 12, "pedal": False, "no_end": True, "metre": "", "streams": ("offset", "note"), "max_beats": 1.5}
    flags = [settings.flag(*each) for each in values.items()]
    assert flags == ["--grid 12", "--no-pedal", "--no-end", "--metre ''", "--streams offset,note", "--max-beats 1.5"]


@pytest.mark.parametrize(
    ("script", "flag"), [("experiments.py", ("--question", "cells", "--flags")), ("benchmark.py", ("--train-with",))]
)
def test_flags_are_read_from_a_text(script: str, flag: tuple[str, ...]):
    assert settings.words("flags", "--metre '3/4 2/4' --units=8") == ["--metre", "3/4 2/4", "--units=8"]
    error = one_line_error(call(script, *flag, "--metre '3/4"))
    assert f'{flag[-1]} "--metre \'3/4" has a quotation mark that is not closed' in error


def test_flags_that_the_script_sets_are_refused():
    error = one_line_error(call("benchmark.py", "--part", "train", "--train-with", "--units 8 --midi-dir=there"))
    assert error == "benchmark.py: --train-with contains --midi-dir, which this script sets itself: leave it out."


def test_control_characters_are_written_visibly():
    said: list[str] = []
    settings.write_visibly(said.append, "a\x1b[2J\x9bÄ\u202e\r\n\tb\0")
    for moves in ("\n", "\x1b[A\x1b[A"):  # tqdm's, between nested bars
        settings.write_visibly(said.append, moves)
        assert said.pop() == moves
    assert said == ["a\\x1b[2J\\x9bÄ\\u202e\r\n\tb\\x00"]
