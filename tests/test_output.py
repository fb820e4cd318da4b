"""Sound, picture and notation: the files that go beside a MIDI file."""

import io
import os
import re
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import make_piece, one_line_error, random_piece, run, save
from hypothesis import given, settings
from hypothesis import strategies as st
from music21 import chord, converter, note, stream
from PIL import Image, ImageFont

from utils import fragment, midi, theory, tonality
from utils.errors import UserError
from utils.output import beside, canvas, musicxml, notation, pianoroll, sound, systems
from utils.piece import Part, Piece

STEP = 40  # ticks in a step of the grid, at 480 to a quarter note


@pytest.mark.parametrize("script", ["generate_music.py", "predict_with_prior.py"])
def test_a_script_writes_every_file_that_is_asked_for(weights: Path, tmp_path: Path, script: str):
    result = run(script, "--weights", weights, "--out", tmp_path, "--notes", 30, "--seed", 1, "--notation")
    assert result.returncode == 0 and not result.stderr
    path = Path(re.search(r"^Wrote (.*?\.mid): .*; also \.wav, \.png, \.musicxml$", result.stdout, re.MULTILINE)[1])
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        path.stem + ending for ending in (".mid", *midi.BESIDE)
    )
    piece = midi.read(path)
    with wave.open(str(path.with_suffix(".wav"))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44_100)
        assert file.getnframes() / 44_100 == pytest.approx(piece.seconds() + sound.RING, abs=0.001)
    assert read_picture(path.with_suffix(".png")).std() > 3
    title, notes = read_back(path.with_suffix(".musicxml"))
    assert title == path.stem and notes == as_written(piece)


def test_if_one_file_fails_the_others_are_written_and_one_line_says_so(weights: Path, tmp_path: Path):
    font = tmp_path / "font.sf2"
    font.write_bytes(b"RIFF, but no soundfont")
    flags = ["--weights", weights, "--out", tmp_path / "out", "--notes", 5, "--soundfont", font]
    result = run("generate_music.py", *flags)
    line = one_line_error(result)
    assert "tiny-001.wav was not written" in line and "is not a soundfont" in line
    assert re.search("^Wrote .*; also .png$", result.stdout, re.MULTILINE)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tiny-001.mid", "tiny-001.png"]


def test_a_piece_without_notes_gets_one_warning_and_no_files(tmp_path: Path):
    wanted, warnings = SimpleNamespace(wav=True, picture=True, notation=True, soundfont=""), []
    silence = make_piece([], parts=[Part()])
    assert beside.write_beside(tmp_path / "a.mid", silence, wanted, "about", warn=warnings.append) == ""
    assert len(warnings) == 1 and warnings[0].startswith("a.mid has no notes")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", midi.BESIDE)
def test_existing_files_are_not_overwritten(tmp_path: Path, ending: str):
    (tmp_path / f"a-001{ending}").touch()
    assert midi.save_new(random_piece(1), tmp_path, "a").name == "a-002.mid"


def no_space(*_: object) -> None:
    """A stand-in for `os.fsync` on a full disk."""
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("ending", midi.BESIDE)
def test_a_file_that_cannot_be_finished_leaves_nothing_behind(tmp_path: Path, monkeypatch, ending: str):
    (tmp_path / f"a{ending}").write_text("of an earlier piece")
    monkeypatch.setattr(os, "fsync", no_space)
    wanted = {name: e == ending for name, e in zip(("wav", "picture", "notation"), midi.BESIDE, strict=True)}
    warnings: list[str] = []
    args = SimpleNamespace(**wanted, soundfont="")
    assert beside.write_beside(tmp_path / "a.mid", random_piece(1), args, "about", warn=warnings.append) == ""
    assert not list(tmp_path.iterdir())
    (warning,) = warnings
    assert f"a{ending} was not written" in warning and "No space left on device" in warning


# ---- sound ----


def loudness(samples: np.ndarray, start: float, end: float) -> int:
    """The loudest sample between two times in seconds."""
    return int(np.abs(samples[round(start * sound.RATE) : round(end * sound.RATE)].astype(int)).max())


def samples(piece: Piece, soundfont: str = "") -> np.ndarray:
    """(S, 2) the samples in the sound file of a piece, left and right."""
    content = io.BytesIO(b"".join(sound.wav(sound.rendered(piece, soundfont))))
    with wave.open(content) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


def test_sound_follows_onsets_velocities_and_tempo():
    piece = make_piece([(480, 60, 480, 100), (1440, 67, 480, 30)], tempos=[(960, 1_000_000)])
    heard = samples(piece)
    # A quarter rest and a quarter note at 120; a rest and a softer note at 60; then it rings on.
    assert len(heard) / sound.RATE == pytest.approx(0.5 + 0.5 + 1 + 1 + sound.RING, abs=0.001)
    assert loudness(heard, 0, 0.499) == 0 < loudness(heard, 0.5, 1)
    assert 0 < loudness(heard, 2, 3) < loudness(heard, 0.5, 1)
    # The last note rings on, ever softer; the one before it does not.
    assert loudness(heard, 2.9, 3) > loudness(heard, 3.5, 3.6) > loudness(heard, 4, 4.1) > 0
    assert loudness(heard, 1.1, 1.99) == 0 and loudness(heard, 4.99, 5) <= 1
    assert np.ptp(heard[:, 0].astype(int) - heard[:, 1]) > 0  # stereo
    piece.parts = [Part(program=40)]
    assert not np.array_equal(samples(piece), heard)


def test_drums_are_heard_as_drums():
    rows = [(i * 480, key, 60) for i, key in enumerate((36, 38, 42, 49))]
    melody = samples(make_piece(rows))
    heard = {kit: samples(make_piece(rows, parts=[Part(program=kit, drums=True)])) for kit in (0, 16, 127)}
    assert all(loudness(sounds, i / 2, (i + 1) / 2) > 3000 for sounds in heard.values() for i in range(4))
    assert not np.array_equal(heard[0], melody) and not np.array_equal(heard[0], heard[16])
    assert np.array_equal(heard[0], heard[127])  # the soundfont has no kit 127, so the standard one plays


def test_a_note_rings_while_its_pedal_is_down():
    rows = [(0, 60, 240, 80, 0), (0, 36, 240, 80, 1), (1920, 60, 240, 80, 0)]
    dry, wet = (make_piece(rows, pedals=np.array(pedals).reshape(-1, 3)) for pedals in ([], [(100, 1440, 0)]))
    assert loudness(samples(dry), 1, 1.4) == 0 < loudness(samples(wet), 1, 1.4)
    assert loudness(samples(wet), 1.6, 1.99) == 0


@pytest.mark.parametrize("notes", [1, 60])
def test_sound_is_as_loud_as_it_can_be_without_clipping(notes: int):
    heard = samples(make_piece([(0, 30 + i, 480, 127) for i in range(notes)]))
    assert heard.dtype == np.int16
    assert np.abs(heard.astype(int)).max() == pytest.approx(sound.PEAK * 32767, abs=1)


def test_sound_that_cannot_be_made_is_refused_with_the_reason(monkeypatch):
    with pytest.raises(UserError, match="no.sf2 cannot be read"):
        samples(random_piece(1), "no.sf2")
    with pytest.raises(UserError, match="at most 60"):
        samples(make_piece([(480 * 7200, 60, 480)]))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install pretty_midi"):
        samples(random_piece(1))


# ---- picture ----


def read_picture(path: Path) -> np.ndarray:
    """(height, width, 3) the red, green and blue of each pixel."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def colours(path: Path) -> set[tuple]:
    """The colours of a picture."""
    pixels = read_picture(path).astype(int) @ (1 << 16, 1 << 8, 1)
    return {(pixel >> 16, pixel >> 8 & 255, pixel & 255) for pixel in np.unique(pixels).tolist()}


def full(tones: np.ndarray) -> tuple:
    """The colour of the loudest notes."""
    return tuple((pianoroll.shades(np.array([1]), 1, tones)[0] * 255).round().astype(int))


def test_a_png_file_shows_what_was_drawn(tmp_path: Path):
    page = canvas.Canvas(1, 1.2)
    page.numbers(np.random.default_rng(1).integers(0, 255, (60, 3)))
    page.pixels[:] = np.random.default_rng(2).integers(0, 61, page.pixels.shape)
    page.level(0.5, 0.1, np.array([0.4, 0.9]), 3.0, "#102030")
    page.text(0.8, 0.7, "cut off at the edge", 12)
    page.glaze(np.array([0.3]), np.array([0.4]), np.array([0.5]), np.array([0.6]), "#ff8000")
    (tmp_path / "a.png").write_bytes(page.png())
    written = read_picture(tmp_path / "a.png")
    assert (written == np.array(list(page.palette))[page.pixels]).all()
    assert (written[74, 20:40] == (0x10, 0x20, 0x30)).all() and (written[74, 50:70] == (0x10, 0x10, 0)).all()


def test_the_picture_distinguishes_the_prior_from_its_continuation(tmp_path: Path):
    piece = random_piece(1)
    prior = piece.take(slice(20))
    red = (0xC1, 0x12, 0x1F)
    pianoroll.write(piece, tmp_path / "seam.png", "about", prior)
    assert {full(pianoroll.PRIOR), full(pianoroll.NEW), red} <= colours(tmp_path / "seam.png")
    pianoroll.write(piece, tmp_path / "$x^{.png", "$ 音楽", None)  # neither a formula nor a reason to fail
    found = colours(tmp_path / "$x^{.png")
    assert full(pianoroll.NEW) in found and not {full(pianoroll.PRIOR), red} & found


def test_the_background_of_a_prior_covers_the_chord_within_which_it_ends():
    rows = [(0, 60, 480, 80, 0), *((960, 60 + i, 480, 80, i) for i in range(4)), (1440, 60, 480, 80, 0)]
    piece = make_piece(rows)
    for end, seam in ((6, 1440), (5, 961)):
        with (
            patch.object(systems.Page, "upright", autospec=True) as upright,
            patch.object(systems.Page, "shade", autospec=True) as shade,
        ):
            drawn(piece.take(slice(end)), prior=piece.take(slice(3)))
        assert upright.call_args.args[1].tolist() == [seam]  # the red line is drawn last
        assert [call.args[1:] for call in shade.call_args_list] == [(0, seam)]


def lab(colours: np.ndarray) -> np.ndarray:
    """(N, 3) linear sRGB -> CIELAB for daylight (D65)."""
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    cubes = np.cbrt((colours.clip(0, 1) @ matrix.T / (0.95047, 1, 1.08883)).clip(0.008856))
    return np.stack(
        [116 * cubes[:, 1] - 16, *(k * (cubes[:, i] - cubes[:, i + 1]) for k, i in ((500, 0), (200, 1)))], 1
    )


# How a colour is seen with all kinds of cones, and without one of them (Machado, Oliveira and Fernandes 2009).
EYES = {
    "all": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


@pytest.mark.parametrize("eyes", EYES)
def test_everybody_can_tell_the_colours_of_parts_apart(eyes: str):
    loud = pianoroll.PARTS[:, 1]
    linear = np.where(loud <= 0.04045, loud / 12.92, ((loud + 0.055) / 1.055) ** 2.4)
    seen = lab(np.vstack([linear, np.ones(3)]) @ EYES[eyes].T)  # and the white paper
    apart = np.linalg.norm(seen[:, None] - seen, axis=2)[np.triu_indices(len(seen), 1)]
    assert len(seen) == 13 and apart.min() > 24


def test_a_note_is_drawn_where_it_sounds():
    piece, drums = make_piece([(15000, 64, 600), (16000, 70, 100)]), make_piece([])
    with patch.object(systems, "Canvas", Recorder):
        page = systems.Page(piece, drums, theory.bars(piece.bars(), piece.onset, 480), 0, systems.TOP)
    page.notes(piece, pianoroll.shades(piece.velocity, 80, pianoroll.NEW))
    (bars,) = page.canvas.lines
    assert len(bars.y) == 3  # the first note is held into the second system, which begins after eight bars
    width = systems.WIDTH - systems.LEFT - systems.RIGHT
    expected = [(15000, 15360), (0, 240), (640, 740)]
    for x0, x1, (begin, end) in zip(bars.x0, bars.x1, expected, strict=True):
        assert x0 == pytest.approx(systems.LEFT + begin / 15360 * width)
        assert x1 == pytest.approx(systems.LEFT + end / 15360 * width, abs=0.02)
    middles = bars.y
    # y grows downwards; the lowest keys of the two systems are F3 and G#3.
    assert page.bottom[0] - middles[0] == pytest.approx(11.5 * page.key)
    assert page.bottom[1] - middles[1] == pytest.approx(8.5 * page.key)
    assert page.bottom[1] - middles[2] == pytest.approx(14.5 * page.key)
    assert page.top[0] < middles[0] < page.bottom[0] < page.top[1] < middles[2] < middles[1] < page.bottom[1]


class Lines(NamedTuple):
    """Horizontal lines drawn in one call, (N,) each; `width` in points."""

    y: np.ndarray
    x0: np.ndarray
    x1: np.ndarray
    width: float
    colours: np.ndarray | str


class Box(NamedTuple):
    """The place that a text takes up, in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: "Box") -> bool:
        across, down = self.x0 < other.x1 and other.x0 < self.x1, self.y0 < other.y1 and other.y0 < self.y1
        return across and down


class Recorder(canvas.Canvas):
    """A canvas that records what is drawn on it."""

    def __init__(self, width: float, height: float):
        super().__init__(width, height)
        self.lines: list[Lines] = []
        self.texts: list[tuple[str, Box]] = []

    def level(self, y, x0, x1, width: float, colours) -> None:
        super().level(y, x0, x1, width, colours)
        self.lines.append(Lines(*np.broadcast_arrays(*np.atleast_1d(y, x0, x1)), width, colours))

    def write(self, x: float, y: float, words: str, anchor: str, letters: ImageFont.FreeTypeFont, colour: str) -> None:
        super().write(x, y, words, anchor, letters, colour)
        left, _, right, _ = letters.getbbox(words, anchor=anchor)
        _, top, _, bottom = letters.getbbox("lp", anchor=anchor)
        x, y = x * canvas.DPI, y * canvas.DPI
        self.texts.append((words, Box(x + left, y + top, x + right, y + bottom)))


def drawn(piece: Piece, title: str = "a", about: str = "about", prior: Piece | None = None):
    """The picture of a piece, drawn but not written to a file, and its texts with their boxes."""
    with patch.object(systems, "Canvas", Recorder):
        picture = pianoroll.draw(piece, title, about, prior)
    return picture, picture.texts


@pytest.mark.parametrize(("octaves", "bars"), [(2, 4), (7, 4), (7, 400), (10, 400)])
def test_notes_are_at_least_four_pixels_high(octaves: int, bars: int):
    piece = make_piece([(i * 480, 64 - 6 * octaves + 12 * octaves * (i % 2), 480) for i in range(4 * bars)])
    picture, _ = drawn(piece)
    (notes,) = (lines for lines in picture.lines if len(lines.y) == len(piece))
    assert notes.width * canvas.POINT >= 4
    assert len(picture.pixels) < 12_000


def test_a_system_has_the_keys_that_it_needs():
    """Eight bars around C2, eight of rests, eight around C6, and a chord over seven octaves at the end."""
    rows = [(bar * 1920, 36 if bar < 8 else 84, 1920) for bar in range(24) if not 8 <= bar < 16]
    piece = make_piece([*rows, (24 * 1920, 24, 1920), (24 * 1920, 108, 1920)])
    _, texts = drawn(piece)
    names = re.findall(r"C\d", " ".join(words for words, _ in texts))
    assert names == ["C2", "C3", "C3", "C4", "C6", "C7", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8"]


def test_a_pickup_is_bar_0_in_the_picture():
    _, texts = drawn(pickup_piece(1440))
    assert [words for words, _ in texts if words.isdecimal()] == ["0", "1", "2"]
    _, texts = drawn(pickup_piece(480))
    assert [words for words, _ in texts if words.isdecimal()] == ["1", "2", "3"]


def test_no_texts_of_a_picture_overlap():
    """Long names, a prior, and metres that change in every bar, with bars so short that there is no room for all."""
    changes = [(i * 480, *((1, 4), (2, 8))[i % 2]) for i in range(300)]
    piece = make_piece([(i * 240, 21 + i * 7 % 88, 240) for i in range(600)], time_signatures=changes)
    for prior, width in ((piece.take(slice(300)), "i"), (None, "W")):
        _, texts = drawn(piece, title=width * 250, about=width * 250, prior=prior)
        assert len(texts) > 100
        assert all(box.x0 >= 0 and box.x1 <= systems.WIDTH * canvas.DPI for _, box in texts)
        overlapping = [(a, b) for i, (a, box) in enumerate(texts) for b, other in texts[:i] if box.overlaps(other)]
        assert not overlapping


def band(programs: list[int], names: list[str] | None = None, drums: list[int] = ()) -> Piece:
    """A note for each program, one after another, each by a part of its own; and a part for the keys of `drums`."""
    parts = [Part(name, program) for program, name in zip(programs, names or [""] * len(programs), strict=True)]
    rows = [(i * 240, 71 - i % 12, 240, 80, i) for i in range(len(programs))]
    rows += [(i * 240, key, 120, 80, len(parts)) for i, key in enumerate(drums)]
    return make_piece(rows, parts=[*parts, Part(drums=True)])


def test_each_part_has_a_name_and_a_colour(tmp_path: Path):
    piece = band([40, 40, 42, 0], ["Violin", "Violin", "Cello", ""])
    _, texts = drawn(piece, prior=piece.take(slice(2)))
    words = [text for text, _ in texts]
    names = ["Violin 1", "Violin 2", "Cello", "Acoustic Grand Piano"]
    assert words[words.index(names[0]) :][: len(names)] == names
    assert "prior" in words and "continuation" not in words  # their backgrounds distinguish them
    pianoroll.write(piece, tmp_path / "a.png", "about")
    pianoroll.write(piece, tmp_path / "b.png", "about", piece.take(slice(2)))
    plain, shaded = colours(tmp_path / "a.png"), colours(tmp_path / "b.png")
    assert {full(tones) for tones in pianoroll.PARTS[:4]} <= plain & shaded
    assert full(pianoroll.PARTS[4]) not in plain
    assert tuple(canvas.rgb(systems.SHADE).tolist()) in shaded - plain


def test_a_part_whose_name_the_picture_cannot_show_is_called_by_its_instrument():
    rows = [(i * 480, 60 + i, 480, 80, i % 3) for i in range(9)]
    _, texts = drawn(make_piece(rows, parts=[Part("リード", 80), Part("Флейта", 73), Part("베이스", 33)]))
    words = [text for text, _ in texts]
    assert {"Lead 1 (square)", "Флейта", "Electric Bass (finger)"} <= set(words)


def test_a_metre_is_written_at_the_bar_where_it_begins():
    """Even after a short bar, whose own metre takes up the room."""
    piece = make_piece([(i * 480, 60, 480) for i in range(32)], time_signatures=[(0, 2, 4), (960, 1, 8), (1200, 4, 4)])
    _, texts = drawn(piece)
    boxes = dict(texts)
    assert boxes["1/8"].x1 < boxes["4/4"].x0 and boxes["2"].x0 < boxes["4/4"].x0 < boxes["4"].x0


def test_the_picture_of_a_completed_piece_marks_the_given_bars_and_parts(tmp_path: Path):
    rows = [(i * 960, 60, 480, 80, i % 2) for i in range(8)]
    piece = make_piece(rows, parts=[Part("Tune"), Part("Bass")], time_signatures=[(0, 2, 4)])
    _, texts = drawn(piece, prior=piece.take(piece.part == 0))
    words = [text for text, _ in texts]
    assert "Tune (given)" in words and "Bass" in words and not {"prior", "continuation"} & set(words)
    _, texts = drawn(piece, prior=piece.take(np.arange(8) != 2))
    words = [text for text, _ in texts]
    assert {"given", "Tune", "Bass (given)"} <= set(words) and "prior" not in words
    _, texts = drawn(piece, prior=piece.take(slice(4)))
    words = [text for text, _ in texts]
    assert {"prior", "Tune", "Bass"} <= set(words)
    piece.parts = [Part("Violin", 40), Part("Violin", 40, twin=1)]
    _, texts = drawn(piece, prior=piece.take(piece.part == 1))
    assert {"Violin 1", "Violin 2 (given)"} <= {text for text, _ in texts}
    piece.pitch[piece.part == 1] = 72  # number 1 is the highest, as in `--keep "Violin 1"`
    _, texts = drawn(piece, prior=piece.take(piece.part == 1))
    assert {"Violin 1 (given)", "Violin 2"} <= {text for text, _ in texts}


def test_a_given_bar_is_marked_to_its_end():
    """Even the last one, whose last note ends earlier."""
    piece = make_piece([(i * 480, 60, 240) for i in range(7)], time_signatures=[(0, 2, 4)])
    assert pianoroll.without(piece, np.arange(7) == 2) == [(0, 960), (1920, 2880), (2880, 3840)]


def test_twelve_parts_and_drums_of_any_loudness_need_at_most_256_colours():
    piece = band([i * 8 for i in range(12) for _ in range(128)], drums=[36] * 128)
    parts = [*dict.fromkeys(piece.parts)]
    part = np.array([parts.index(who) for who in piece.parts])[piece.part]
    piece = replace(piece, part=part, parts=parts, velocity=np.arange(len(piece)) % 128)
    given = piece.take(np.arange(len(piece)) % 500 > 200)
    picture, _ = drawn(piece, prior=given)
    assert 200 < len(picture.palette) <= 256
    assert canvas.rgb(systems.SHADE).tolist() in list(map(list, picture.palette))


@pytest.mark.parametrize(
    ("programs", "names"),
    [
        ([0] * 12, [f"Acoustic Grand Piano {i}" for i in range(1, 13)]),
        ([0, 1, 9] + [40] * 10, ["Piano", "Chromatic percussion", "Strings"]),
        (
            [*range(0, 128, 8), *range(0, 80, 8), 0],
            "Piano,Chromatic percussion,Organ,Guitar,Bass,Strings,Ensemble,Brass,Reed,Pipe,Synth lead,Others".split(
                ","
            ),
        ),
    ],
)
def test_more_than_twelve_parts_are_shown_as_families(programs: list[int], names: list[str]):
    picture, texts = drawn(band(programs, drums=[36]))
    words = [text for text, _ in texts]
    assert words[words.index(names[0]) :][: len(names) + 1] == [*names, "Kick"]
    (notes,) = (lines for lines in picture.lines if np.shape(lines.colours) == (len(programs), 3))
    assert len(np.unique(notes.colours.round(3), axis=0)) == len(names)


def rows_of_drums(piece: Piece) -> list[tuple[str, list[float]]]:
    """The rows of drums in a picture, from the top: the name of each, and where its strokes begin, in inches."""
    picture, texts = drawn(piece)
    # Their names are at the left, where the only other texts are those of keys, such as C4.
    named = [(box.y0 + box.y1, text) for text, box in texts if box.x1 < systems.LEFT * canvas.DPI and len(text) > 2]
    every = [line for lines in picture.lines for line in zip(lines.y, lines.x0, lines.x1, strict=True)]
    strokes = [(y, x0) for y, x0, x1 in every if x1 - x0 == pytest.approx(systems.STROKE)]
    rows: dict[float, list[float]] = {}
    for y, x in sorted(strokes):
        rows.setdefault(round(y, 3), []).append(x)
    return list(zip([text for _, text in sorted(named)], rows.values(), strict=True))


def test_drums_have_a_strip_with_their_names():
    kit = [36, 42, 38, 46, 36, 42, 38, 42]
    rows = rows_of_drums(band([0] * 4, drums=kit))
    assert [name for name, _ in rows] == ["Open hi-hat", "Closed hi-hat", "Snare", "Kick"]
    eighth = 0.4  # inches, in a picture that is 16 quarter notes wide
    wanted = [[systems.LEFT + i * eighth for i, key in enumerate(kit) if key == row] for row in (46, 42, 38, 36)]
    assert [strokes for _, strokes in rows] == [pytest.approx(row) for row in wanted]
    assert rows_of_drums(band([], drums=kit)) == [(name, pytest.approx(strokes)) for name, strokes in rows]


def test_a_large_kit_is_merged_into_few_rows():
    names = [
        name for name, _ in rows_of_drums(band([0], drums=[35, 36, 36, 37, 38, 40, 41, 42, 43, 44, 45, 46, 49, 51, 57]))
    ]
    assert names == ["Ride", "Crash", "Hi-hat", "Tom", "Snare", "Stick", "Kick"]
    every = [(i * 100, key, 50) for i, key in enumerate([*range(128), 36, 36])]
    rows = rows_of_drums(make_piece(every, parts=[Part(drums=True)]))
    assert len(rows) == pianoroll.MOST_DRUMS and sum(len(strokes) for _, strokes in rows) == 130
    assert {"Others", "Kick", "Tom", "Hi-hat"} <= {name for name, _ in rows}


def test_a_system_without_drums_has_no_strip():
    rows = [(0, 36, 120, 80, 1), *((i * 1920, 60, 1920) for i in range(16))]
    _, texts = drawn(make_piece(rows, parts=[Part(), Part(drums=True)]))
    assert [text for text, _ in texts].count("Kick") == 1


def test_the_length_of_a_picture_is_limited(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(pianoroll, "MOST_NOTES", 1100)
    bars = [(i * 1920, 60, 1920) for i in range(1000)]
    long = {
        "bar 1024": make_piece([(0, 60, 2**28), (480, 64, 480)]),  # 4096 quarter notes
        "bar 1000": make_piece([*bars, (2**28, 60, 480)]),
        "bar 84": make_piece([(i * 2**18 // 1788, 60, 50) for i in range(1200)]),
    }
    for last, piece in long.items():
        _, texts = drawn(piece, prior=piece.take(slice(len(piece) - 1)))  # the end of the prior may not be shown
        assert any(text.endswith(f" · shown up to {last}") for text, _ in texts)
    pianoroll.write(long["bar 1024"], tmp_path / "a.png", "about")
    assert max(read_picture(tmp_path / "a.png").shape) < 12_000
    assert not any("shown" in text for text, _ in drawn(make_piece(bars))[1])


def test_bars_and_tempos_that_nobody_could_count_cost_little(tmp_path: Path):
    """They may come from a file of a hundred bytes, or from one that names metres that nobody writes."""
    hours = make_piece([(0, 60, 2**28 - 1)], 1)
    with pytest.raises(UserError, match="more than 16,384 quarter notes or bars"):
        musicxml.write(hours, tmp_path / "a.musicxml", "a")
    assert len(theory.Bar(1, 0, 0, 2**40, (1, 64)).beats()) < 1100
    late = make_piece([(2**16, 60, 1)], 1, time_signatures=[(tick, 2 + tick % 3, 4) for tick in range(11_000)])
    pianoroll.write(late, tmp_path / "a.png", "a")
    assert (tmp_path / "a.png").stat().st_size > 1000
    rubato = make_piece([(0, 60, 50_000)], tempos=[(tick, 500_000 + tick) for tick in range(50_000)])
    bars = theory.bars(rubato.bars(), rubato.onset, 480)
    tags = musicxml.tempo_tags(rubato, bars)
    assert sum(map(len, tags.values())) <= bars[-1].end


@pytest.mark.parametrize(("bars", "most"), [(1, 1), (8, 1), (9, 2), (60, 8), (2000, 16)])
def test_systems_hold_eight_bars_or_more_in_a_long_piece(bars: int, most: int):
    lines = np.arange(bars + 1) * 1920
    edges = systems.systems(lines, 32 * 480)
    assert edges[0] == 0 and edges[-1] == lines[-1] and len(edges) - 1 == most
    assert set(edges) <= set(lines)


def test_odd_pieces_can_be_drawn(tmp_path: Path):
    odd = {
        "one note": make_piece([(0, 127, 1)]),
        "metre of a 64th": make_piece([(0, 0, 20_000)], time_signatures=[(0, 1, 64)]),
        "endless bar": make_piece([(10**5, 60, 10)], time_signatures=[(0, 255, 1), (7, 3, 4)]),
    }
    for name, piece in odd.items():
        pianoroll.write(piece, tmp_path / f"{name}.png", "about")
        assert max(read_picture(tmp_path / f"{name}.png").shape) < 12_000


# ---- bars ----


def pickup_piece(rest: int) -> Piece:
    """After `rest` ticks, a part that plays to the end of the third bar of 4/4; from the second bar on, another one."""
    melody = [(tick, 72, min(240, 5760 - tick)) for tick in range(rest, 5760, 240)]
    return make_piece([*melody, (1920, 48, 1920, 80, 40), (3840, 50, 1920, 80, 40)], tempos=[(0, 500_000)])


@pytest.mark.parametrize(
    ("rest", "metre", "first"),
    [(0, (4, 4), 1), (480, (4, 4), 1), (959, (4, 4), 0), (939, (4, 4), 1), (960, (4, 4), 0), (1680, (4, 4), 0),
     (1910, (4, 4), 1), (1920, (4, 4), 1), (960, (3, 4), 0), (240, (3, 8), 1), (480, (3, 8), 0)],
)  # fmt: skip
def test_a_first_bar_whose_first_half_is_silent_is_a_pickup(rest: int, metre: tuple[int, int], first: int):
    piece = pickup_piece(rest)
    piece.time_signatures = [(0, *metre)]
    bars = theory.bars(piece.bars(), piece.onset, piece.ticks_per_quarter)
    assert [bar.number for bar in bars] == list(range(first, first + len(bars)))
    assert bars[0].begin == (0 if first else round(rest / STEP)) and bars[1].begin == bars[1].start == bars[0].end


@pytest.mark.parametrize(
    ("metres", "numbers", "first"),
    [([(0, 1, 4), (480, 3, 4)], [0, 1, 2, 3], (3, 4)), ([(0, 3, 4), (1440, 2, 4)], [1, 2, 3, 4, 5], (3, 4))],
)
def test_a_first_bar_shorter_than_those_after_it_is_a_pickup_in_their_metre(metres: list, numbers: list, first: tuple):
    """That is how notation programs write pickups to MIDI files."""
    piece = make_piece([(i * 480, 60 + i, 480) for i in range(10)], time_signatures=metres)
    bars = theory.bars(piece.bars(), piece.onset, 480)
    assert [bar.number for bar in bars] == numbers and bars[0].metre == first
    assert [bar.begin for bar in bars[:2]] == [0, metres[1][0] / STEP] and bars[-1].metre == metres[1][1:]
    used = fragment.cut(piece, 0, 0, "mine.mid", bars=2)
    assert len(used) == np.count_nonzero(piece.onset < bars[numbers.index(3)].start * STEP)


def test_a_short_first_bar_is_not_a_pickup_if_its_metre_comes_again():
    metres = [(0, 2, 4), (960, 3, 4), (2400, 2, 4), (3360, 3, 4)]
    piece = make_piece([(i * 480, 60 + i, 480) for i in range(10)], time_signatures=metres)
    bars = theory.bars(piece.bars(), piece.onset, 480)
    assert [(bar.number, bar.metre) for bar in bars] == [(1, (2, 4)), (2, (3, 4)), (3, (2, 4)), (4, (3, 4))]


def test_the_beats_of_a_pickup_are_counted_back_from_its_end():
    piece = make_piece([(i * 240, 60 + i, 240) for i in range(12)], time_signatures=[(0, 3, 8), (720, 3, 4)])
    pickup, bar, *_ = theory.bars(piece.bars(), piece.onset, 480)
    assert pickup.beats() == [0, theory.GRID // 2, 3 * theory.GRID // 2]
    assert np.diff(bar.beats()).tolist() == [theory.GRID] * 3


def test_a_piece_in_which_nothing_begins_after_the_first_bar_has_no_pickup():
    piece = make_piece([(1440, 60, 480)])
    assert [bar.number for bar in theory.bars(piece.bars(), piece.onset, 480)] == [1]
    piece = make_piece([(1440, 60, 1920)])  # held into the second bar, in which nothing begins
    assert [bar.number for bar in theory.bars(piece.bars(), piece.onset, 480)] == [1, 2]


def test_bars_and_beats_follow_the_metres():
    piece = make_piece([(0, 60, 5760)], time_signatures=[(0, 6, 8), (2880, 5, 8), (3000, 3, 4)])
    bars = theory.bars(piece.bars(), piece.onset, piece.ticks_per_quarter)
    assert [(bar.number, bar.start, bar.end, bar.metre) for bar in bars] == [
        (1, 0, 36, (6, 8)), (2, 36, 72, (6, 8)), (3, 72, 75, (5, 8)), (4, 75, 111, (3, 4)), (5, 111, 147, (3, 4))
    ]  # fmt: skip
    assert [bar.beats() for bar in bars] == [
        [0, 18, 36],
        [36, 54, 72],
        [72, 75],
        [75, 87, 99, 111],
        [111, 123, 135, 147],
    ]


# ---- notation ----


def on_grid(piece: Piece) -> list[tuple]:
    """(onset, pitch, duration) of the notes of a piece, all of which are on the grid, in quarter notes."""
    columns = (piece.onset.tolist(), piece.pitch.tolist(), piece.duration.tolist())
    quarter = piece.ticks_per_quarter
    return sorted((Fraction(o, quarter), p, Fraction(d, quarter)) for o, p, d in zip(*columns, strict=True))


def as_written(piece: Piece) -> list[tuple]:
    """`on_grid`, without the silence before a pickup."""
    silence = Fraction(theory.bars(piece.bars(), piece.onset, piece.ticks_per_quarter)[0].begin, theory.GRID)
    return [(onset - silence, *rest) for onset, *rest in on_grid(piece)]


def read_back(path: Path, number: int | None = None) -> tuple[str, list[tuple]]:
    """The title of a MusicXML file and (onset, pitch, duration) of its notes, or of those of part `number`, as music21
    reads them. Ties are joined across voices, too, which music21's own stripTies does not do."""
    score = converter.parse(path, forceSource=True)
    parts: dict[str, list[tuple]] = {}
    for part in score.parts:
        rows = parts.setdefault(part.id.split("-")[0], [])  # those of both staves
        for element in part.flatten().getElementsByClass((note.Note, chord.Chord)):
            for one in element.notes if isinstance(element, chord.Chord) else [element]:
                rows.append((Fraction(element.offset), one.pitch.midi, Fraction(element.quarterLength), one.tie))
        for measure in part.getElementsByClass(stream.Measure):
            if measure.number:  # not a pickup, which is shorter
                assert measure.duration.quarterLength == measure.barDuration.quarterLength
    joined = []
    for rows in list(parts.values())[slice(number, None if number is None else number + 1)]:
        held: dict[tuple, list] = {}
        for onset, pitch, duration, tie in sorted(rows, key=lambda row: row[:3]):
            whole = held.pop((pitch, onset)) if tie and tie.type != "start" else [onset, pitch, 0]
            whole[2] += duration
            if tie and tie.type != "stop":
                held[pitch, onset + duration] = whole
            else:
                joined.append(tuple(whole))
        assert not held
    return score.metadata.title, sorted(joined)


@settings(max_examples=25, deadline=None)
@given(
    notes=st.lists(
        st.tuples(st.integers(0, 80), st.integers(21, 108), st.integers(1, 60), st.sampled_from([0, 40])),
        min_size=1,
        max_size=25,
        unique_by=lambda note: (note[1], note[3]),
    ),
    metres=st.lists(st.sampled_from([(4, 4), (3, 4), (6, 8), (3, 8), (5, 8), (2, 2), (9, 16)]), min_size=1, max_size=2),
)
def test_music21_reads_the_same_notes_back(tmp_path_factory, notes: list[tuple], metres: list[tuple]):
    rows = [(onset * STEP, pitch, length * STEP, 80, program) for onset, pitch, length, program in notes]
    bar = 4 * 480 * metres[0][0] // metres[0][1]
    signatures = [(i * bar * 2, *metre) for i, metre in enumerate(metres)]
    piece = make_piece(rows, time_signatures=signatures)
    path = tmp_path_factory.mktemp("notation") / "a.musicxml"
    musicxml.write(piece, path, "Title & more")
    assert read_back(path) == ("Title & more", as_written(piece))


def strokes_of(path: Path, number: int) -> list[tuple[Fraction, int]]:
    """(onset, key) of the drum strokes in a part of a MusicXML file; the key is that of the instrument each names."""
    root = ElementTree.parse(path).getroot()
    keys = {sound.get("id"): int(sound.findtext("midi-unpitched")) - 1 for sound in root.iter("midi-instrument")
            if sound.findtext("midi-channel") == "10"}  # fmt: skip
    at, begin, rows = 0, 0, []
    for element in (element for measure in root.findall("part")[number] for element in measure):
        length = int(element.findtext("duration", "0"))
        if element.find("chord") is None:
            begin = at
            at += -length if element.tag == "backup" else length
        if element.find("unpitched") is not None and "stop" not in [tie.get("type") for tie in element.iter("tie")]:
            rows.append((Fraction(begin, theory.GRID), keys[element.find("instrument").get("id")]))
    return sorted(rows)


PLAYERS = [Part("Violin", 40), Part("Violin", 40), Part("", 33), Part("Kit", 16, True), Part("Kit", 0, True)]


@settings(max_examples=15, deadline=None)
@given(
    notes=st.lists(
        st.tuples(st.integers(0, 60), st.integers(35, 81), st.integers(1, 30), st.integers(0, 4)),
        min_size=1,
        max_size=40,
        unique_by=lambda note: (note[1], note[3]),
    )
)
def test_each_part_is_read_back_under_its_name(tmp_path_factory, notes: list[tuple]):
    piece = make_piece([(o * STEP, p, d * STEP, 80, part) for o, p, d, part in notes], parts=PLAYERS)
    path = tmp_path_factory.mktemp("parts") / "a.musicxml"
    musicxml.write(piece, path, "a")
    root = ElementTree.parse(path).getroot()
    used = sorted(set(piece.part.tolist()))
    names = [("Violin 1", "Violin 2", "Electric Bass (finger)", "Kit 1", "Kit 2")[i] for i in used]
    for twins in ((0, 1), (3, 4)):
        if not set(twins) <= set(used):
            names = [name[:-2] if i in twins else name for i, name in zip(used, names, strict=True)]
    assert [part.findtext("part-name") for part in root.iter("score-part")] == names
    ids = [element.get("id") for name in ("score-part", "score-instrument") for element in root.iter(name)]
    assert len(ids) == len(set(ids)) and [part.get("id") for part in root.iter("part")] == ids[: len(used)]
    silence = as_written(piece)[0][0] - on_grid(piece)[0][0]
    for number, i in enumerate(used):
        own = piece.take(piece.part == i)
        rows = [(onset + silence, *rest) for onset, *rest in on_grid(own)]
        if PLAYERS[i].drums:
            assert strokes_of(path, number) == [row[:2] for row in rows]
        else:
            assert read_back(path, number)[1] == rows


HANDS = [(0, 72, 480, 80, 0), (480, 50, 480, 80, 0), (0, 55, 960, 80, 1), (480, 36, 480, 80, 1)]


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ([Part("Piano right"), Part("Piano left")], ["Piano"]),
        ([Part("left hand", 6), Part("Right Hand", 6)], ["Harpsichord"]),
        ([Part(), Part()], ["Acoustic Grand Piano"]),
        ([Part("Piano"), Part()], ["Piano"]),
        ([Part("Klavier rechts"), Part()], ["Klavier"]),
        ([Part("Klavier"), Part("linke Hand")], ["Klavier"]),
        ([Part("Oboe, solo"), Part()], ["Oboe, solo", "Acoustic Grand Piano"]),
        ([Part("Piano 1"), Part("Piano 2")], ["Piano 1", "Piano 2"]),
        ([Part("Harp", 46), Part("Harp", 46)], ["Harp"]),
        ([Part("Soprano"), Part("Bass")], ["Soprano", "Bass"]),
        ([Part(), Part(program=1)], ["Acoustic Grand Piano", "Bright Acoustic Piano"]),
        ([Part("Violin", 40), Part("Violin", 40)], ["Violin 1", "Violin 2"]),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_two_hands_are_one_part_on_two_staves(tmp_path: Path, parts: list[Part], names: list[str], swap: bool):
    piece = make_piece([(*row, 1 - part) if swap else (*row, part) for *row, part in HANDS], parts=parts)
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    root = ElementTree.parse(tmp_path / "a.musicxml").getroot()
    assert [part.findtext("part-name") for part in root.iter("score-part")] == names
    if len(names) == 1:  # each note stays in its hand, however high or low it is
        staves = {
            (n.findtext("pitch/octave"), n.findtext("staff")) for n in root.iter("note") if n.find("rest") is None
        }
        assert staves == {("5", "1"), ("3", "1"), ("3", "2"), ("2", "2")}
        assert root.findtext("part/measure/attributes/staves") == "2"
        assert [sign.text for sign in root.iter("sign")] == ["G", "F"]
    assert read_back(tmp_path / "a.musicxml")[1] == on_grid(piece)


@pytest.mark.parametrize(
    ("part", "pitches", "clefs"),
    [
        (Part("", 73), [72, 84], [("G", "2", None)]),
        (Part("", 42), [40, 50], [("F", "4", None)]),
        (Part("", 41), [55, 65], [("C", "3", None)]),
        (Part("Tenor", 52), [52, 64], [("G", "2", "-1")]),
        (Part("Tenor", 0), [52, 64], [("G", "2", "-1")]),
        (Part("", 25), [45, 64], [("G", "2", "-1")]),
        (Part("", 33), [28, 45], [("F", "4", "-1")]),
        (Part("", 40), [55, 96], [("G", "2", None)]),
        (Part("", 40), [55, 64], [("G", "2", None)]),  # a violin on its lowest strings
        (Part("", 71), [52, 62], [("G", "2", None)]),
        (Part("", 71), [50, 52, 66], [("G", "2", None)]),  # on one staff, however low
        (Part("", 0), [48, 72, 60, 64], [("G", "2", None)]),  # no octave clef for a piano
        (Part("", 72), [86, 100], [("G", "2", "1")]),
        (Part("", 0, True), [36, 42], [("percussion", "3", None)]),
        (Part("", 48), [36, 90], [("G", "2", None), ("F", "4", None)]),  # too wide for one staff
    ],
)
def test_a_staff_has_the_clef_that_suits_its_part(tmp_path: Path, part: Part, pitches: list[int], clefs: list):
    piece = make_piece([(i * 480, pitch, 480) for i, pitch in enumerate(pitches * 4)], parts=[part])
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    written = ElementTree.parse(tmp_path / "a.musicxml").getroot().findall("part/measure/attributes/clef")
    assert [tuple(c.findtext(name) for name in ("sign", "line", "clef-octave-change")) for c in written] == clefs
    if not part.drums:
        assert read_back(tmp_path / "a.musicxml")[1] == on_grid(piece)


def test_names_are_short_and_distinct(tmp_path: Path):
    parts = [Part("Violin", 40), Part("Violin", 40), Part("A\x01 name that takes up all of the page", 73)]
    parts += [Part("A name that takes up all of the paper", 73), Part("Bassoon", 70), Part("Bassoon", 70)]
    rows = [(0, 72, 480, 80, i) for i in range(len(parts))]
    musicxml.write(make_piece(rows, parts=parts), tmp_path / "a.musicxml", "a")
    listed = list(ElementTree.parse(tmp_path / "a.musicxml").getroot().iter("score-part"))
    names = [part.findtext("part-name") for part in listed]
    assert names == [
        "Violin 1",
        "Violin 2",
        "A name that takes up a…",
        "A name that takes up al…",
        "Bassoon 1",
        "Bassoon 2",
    ]
    assert [part.findtext("part-abbreviation") for part in listed] == [
        "Violin 1",
        "Violin 2",
        "A na.",
        "A na.",
        "Bass. 1",
        "Bass. 2",
    ]


@pytest.mark.parametrize("names", [["Acoustic Guitar (nylon) 2", "Acoustic Guitar (nylon) 1"], ["Line 2", "Line 1"]])
def test_a_part_keeps_its_own_number(names: list[str]):
    piece = make_piece([(0, 72 + i, 480, 80, i) for i in range(2)], parts=[Part(name, 24) for name in names])
    bars = theory.bars(piece.bars(), piece.onset, piece.ticks_per_quarter)
    assert [player.name for player in notation.players(piece, bars)] == names
    assert notation.short("A name that takes up all of the page 12") == "A name that takes up al… 12"


def test_a_drum_stroke_is_written_as_lasting_until_the_next(tmp_path: Path):
    """A bar of rock, each stroke a thirty-second long."""
    hands = [(i * 240, 42, 60) for i in range(8)] + [(480, 38, 60), (1440, 38, 60)]
    piece = make_piece([*hands, (0, 36, 60), (720, 36, 60), (960, 36, 60)], parts=[Part(drums=True)])
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    notes = list(ElementTree.parse(tmp_path / "a.musicxml").getroot().iter("note"))
    values = [(n.findtext("voice"), n.findtext("type")) for n in notes if n.find("chord") is None]
    assert values == [("1", "eighth")] * 8 + [("2", "quarter"), ("2", "eighth"), ("2", "quarter")]
    assert not any(n.find("rest") is not None for n in notes)
    shapes = [(n.findtext("unpitched/display-step"), n.findtext("notehead")) for n in notes]
    assert shapes.count(("G", "x")) == 8 and shapes.count(("C", None)) == 2 and shapes.count(("F", None)) == 3


def test_drums_do_not_affect_the_key(tmp_path: Path):
    scale = [(i * 240, pitch, 240, 80, 0) for i, pitch in enumerate([62, 64, 66, 67, 69, 71, 73, 74])]
    drums = [(i * 60, 36, 60, 80, 1) for i in range(32)]
    musicxml.write(make_piece(scale + drums, parts=[Part(), Part(drums=True)]), tmp_path / "a.musicxml", "a")
    assert set(re.findall("<fifths>(.*)</fifths>", (tmp_path / "a.musicxml").read_text())) == {"2"}


@pytest.mark.parametrize("keys", [[(0, -6, 1)], [(0, 2, 0), (1920, -3, 1)], [(0, 0, 0), (1920, 2, 0)]])
def test_the_key_is_the_one_that_the_piece_names(keys: list[tuple[int, int, int]], tmp_path: Path):
    """But C major, which programs write whatever the key is, is used only where it fits."""
    rows = [(i * 240, pitch, 240) for i, pitch in enumerate([62, 66, 69, 67, 64, 61, 62, 74] * 2)]  # D major
    piece = make_piece(rows + [(0, 36, 3840, 80, 1)], parts=[Part(), Part(drums=True)], key_signatures=keys)
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    expected = [(2 if sharps == 0 else sharps, minor) for _, sharps, minor in keys]
    parts = ElementTree.parse(tmp_path / "a.musicxml").getroot().findall("part")
    written = [(int(key.findtext("fifths")), key.findtext("mode") == "minor") for key in parts[0].iter("key")]
    assert written == list(dict.fromkeys(expected)) and not list(parts[1].iter("key"))
    accidentals = {int(alter.text) for alter in parts[0].iter("alter")}
    assert (-1 in accidentals) == any(sharps < 0 for sharps, _ in expected)
    again = converter.parse(tmp_path / "a.musicxml", forceSource=True).parts[0]
    assert [n.pitch.midi for n in again.recurse().notes] == [pitch for _, pitch, _ in rows]


@pytest.mark.parametrize(
    ("keys", "asked", "written"),
    [
        ([], [], [0]),
        ([(0, 0, 0)], [], [0]),
        ([(0, 0, 0)], [(1920, 0, 0)], [0, 0]),  # --key C in music that sounds like A major
        ([(0, -2, 0)], [(1920, 3, 0)], [-2, 3]),
    ],
)
def test_a_fragment_is_written_in_its_own_key_whatever_follows(keys: list, asked: list, written: list[int]):
    """A fragment of one bar in C major, then nine in A major, where new music was asked for other keys."""
    rows = [(i * 240, pitch, 240) for i, pitch in enumerate([60, 64, 67, 65, 62, 59, 60, 72])]
    prior = make_piece(rows, key_signatures=keys)
    after = [(1920 + i * 240, pitch, 240) for i, pitch in enumerate([69, 73, 76, 74, 71, 68, 69, 81] * 9)]
    piece = make_piece(rows + after, key_signatures=[*keys, *asked])
    assert [sharps for _, sharps, _ in tonality.signatures(piece, prior)] == written
    assert tonality.signatures(make_piece(rows + after))[0][1] == 3


def test_a_key_that_was_asked_for_is_written_without_the_fragment_too():
    """And a single note is not reason enough to doubt the key of a file."""
    rows = [(i * 240, pitch, 240) for i, pitch in enumerate([69, 73, 76, 74, 71, 68, 69, 81] * 4)]
    asked, nothing = make_piece(rows, key_signatures=[(0, 0, 0)]), make_piece([])
    assert tonality.signatures(asked, nothing) == [(0, 0, 0)] != tonality.signatures(asked)
    assert tonality.signatures(make_piece([(0, 61, 480)], key_signatures=[(0, 0, 1)])) == [(0, 0, 1)]


def test_a_performance_is_written_as_it_is_meant(tmp_path: Path):
    """Eighths, then triplets, by a player who is rarely on the beat and never holds a note for its full length."""
    rng = np.random.default_rng(0)
    meant = [(Fraction(i, 2), 35) for i in range(72)] + [(36 + Fraction(i, 3), 19) for i in range(24)]
    played = [max(int(480 * onset) + int(rng.integers(-late, late + 1)), 0) for onset, late in meant]
    musicxml.write(
        make_piece([(tick, 60 + i % 12, 120) for i, tick in enumerate(played)]), tmp_path / "a.musicxml", "a"
    )
    notes = read_back(tmp_path / "a.musicxml")[1]
    assert [onset for onset, *_ in notes] == [onset for onset, _ in meant]
    assert {length for *_, length in notes} <= {Fraction(1, 2), Fraction(1, 3), Fraction(1, 4)}


def test_detached_notes_are_written_with_full_values(tmp_path: Path):
    """Quarters and eighths on the beat, each held for five sixths of its length."""
    rows = [(i * 480, 60 + i % 5, 400, 80, 0) for i in range(40)] + [
        (i * 240, 72 + i % 7, 200, 80, 1) for i in range(80)
    ]
    piece = make_piece(rows, parts=[Part("Flute", 73), Part("Oboe", 68)])
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    lengths = {0: Fraction(1), 1: Fraction(1, 2)}
    for number, length in lengths.items():
        own = on_grid(piece.take(piece.part == number))
        written = read_back(tmp_path / "a.musicxml", number)[1]
        assert written[:-1] == [(onset, pitch, length) for onset, pitch, _ in own[:-1]]


@pytest.mark.parametrize("rest", [960, 1440, 1680, 1640, 1000, 1880])
def test_a_pickup_is_a_short_measure_0(tmp_path: Path, rest: int):
    piece, path = pickup_piece(rest), tmp_path / "a.musicxml"
    piece.tempos.append((1920, 1_000_000))
    musicxml.write(piece, path, "a")
    score = converter.parse(path, forceSource=True)
    for part in score.parts:
        measures = list(part.getElementsByClass(stream.Measure))
        assert [measure.number for measure in measures] == [0, 1, 2]
        assert [measure.duration.quarterLength for measure in measures] == [Fraction(1920 - rest, 480), 4, 4]
        assert [measure.offset for measure in measures] == [0, Fraction(1920 - rest, 480), Fraction(3840 - rest, 480)]
    first = next(ElementTree.parse(path).getroot().iter("measure"))
    assert first.attrib == {"number": "0", "implicit": "yes"} and not list(first.iter("rest"))
    assert read_back(path)[1] == [(onset - Fraction(rest, 480), *others) for onset, *others in on_grid(piece)]
    beats = [offset for offset, *_ in score.parts[0].metronomeMarkBoundaries()]
    assert beats == [0, Fraction(1920 - rest, 480)]


def test_a_first_bar_that_begins_with_a_short_rest_is_written_whole(tmp_path: Path):
    musicxml.write(pickup_piece(480), tmp_path / "a.musicxml", "a")
    first = next(ElementTree.parse(tmp_path / "a.musicxml").getroot().iter("measure"))
    assert first.attrib == {"number": "1"} and first.find("note/rest") is not None
    assert read_back(tmp_path / "a.musicxml")[1] == on_grid(pickup_piece(480))


def test_all_tempos_are_heard_but_only_large_changes_are_shown(tmp_path: Path):
    """From 120 in small steps to 111, without a mark; then to 60, on the second beat of the third bar."""
    tempos = [(0, 500_000), (1920, 520_000), (2400, 540_000), (2 * 1920 + 480, 1_000_000)]
    piece = make_piece([(i * 480, 60, 480, 80, 40 * (i % 2)) for i in range(16)], tempos=tempos)
    musicxml.write(piece, tmp_path / "a.musicxml", "a\tb\x01\udcff")
    root = ElementTree.parse(tmp_path / "a.musicxml").getroot()
    assert root.findtext("work/work-title") == "ab"
    marks = [float(mark.text) for mark in root.iter("per-minute")]
    assert marks == [120, 60]  # only above the first of the two parts
    assert [float(sound.get("tempo")) for sound in root.iter("sound")] == pytest.approx(
        [120, 115.4, 111.1, 60], abs=0.1
    )
    heard = converter.parse(tmp_path / "a.musicxml", forceSource=True).parts[0].metronomeMarkBoundaries()
    assert (heard[-1][0], heard[-1][2].number) == (9, 60)


@pytest.mark.parametrize(
    ("metre", "unit", "dots", "number"),
    [
        ((6, 8), "quarter", 1, "112"),
        ((2, 2), "half", 0, "84"),
        ((3, 4), "quarter", 0, "168"),
        ((9, 16), "eighth", 1, "224"),
        ((5, 8), "quarter", 0, "168"),
    ],
)
def test_a_tempo_is_given_in_the_beat_of_the_metre(metre: tuple, unit: str, dots: int, number: str, tmp_path: Path):
    piece = make_piece([(i * 240, 60, 240) for i in range(12)], tempos=[(0, round(60e6 / 168))])
    piece.time_signatures = [(0, *metre)]
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    (mark,) = ElementTree.parse(tmp_path / "a.musicxml").getroot().iter("metronome")
    assert [mark.findtext("beat-unit"), len(mark.findall("beat-unit-dot"))] == [unit, dots]
    assert mark.findtext("per-minute") == number


def test_a_score_has_a_final_bar_line_and_no_signature_twice(tmp_path: Path):
    """E flat major and C minor have the same."""
    keys = [(0, -3, 0), (1920, -3, 1), (3840, 2, 0)]
    piece = make_piece([(i * 480, 60, 480, 80, i % 2) for i in range(12)], key_signatures=keys)
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    for part in ElementTree.parse(tmp_path / "a.musicxml").getroot().iter("part"):
        measures = part.findall("measure")
        assert [measure.findtext("attributes/key/fifths") for measure in measures] == ["-3", None, "2"]
        assert [measure.findtext("barline/bar-style") for measure in measures] == [None, None, "light-heavy"]


def test_a_rubato_is_heard_but_not_shown(tmp_path: Path):
    """Four bars in which every quarter has a tempo of its own, then four in another tempo, until the last half bar."""
    tempos = [(i * 480, 500_000 + (-1) ** i * 20_000 * i) for i in range(16)] + [(7680, 900_000), (14_400, 1_500_000)]
    piece = make_piece([(i * 480, 60, 480) for i in range(32)], tempos=tempos)
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    root = ElementTree.parse(tmp_path / "a.musicxml").getroot()
    assert [mark.text for mark in root.iter("per-minute")] == ["120", "67"]
    heard = converter.parse(tmp_path / "a.musicxml", forceSource=True).parts[0].metronomeMarkBoundaries()
    assert [start for start, *_ in heard] == [tick / 480 for tick, _ in tempos]
    sounds = [60e6 / float(sound.get("tempo")) for sound in root.iter("sound")]
    assert sounds == pytest.approx([microseconds for _, microseconds in tempos], rel=0.001)


def test_a_staff_has_at_most_four_voices_and_loses_no_notes(tmp_path: Path):
    """Eight keys are struck one after another and released in reverse order: still four voices, with all the notes."""
    piece = make_piece([(i * 240, 60 + i, 480 * (9 - i)) for i in range(8)])
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    numbers = {int(n) for n in re.findall(r"<voice>(\d+)</voice>", (tmp_path / "a.musicxml").read_text())}
    assert numbers == {1, 2, 3, 4}
    assert read_back(tmp_path / "a.musicxml")[1] == on_grid(piece)


@pytest.mark.parametrize("metre", [(4, 4), (1, 128), (255, 1), (7, 32)])
def test_a_last_note_at_the_very_end_is_not_lost(tmp_path: Path, metre: tuple[int, int]):
    piece = make_piece([(0, 100, 480), (1919, 60, 1)], time_signatures=[(0, *metre)])
    musicxml.write(piece, tmp_path / "a.musicxml", "a")
    assert len(re.findall("<pitch>", (tmp_path / "a.musicxml").read_text())) >= 2
    pianoroll.write(piece, tmp_path / "a.png", "about")


def test_notes_off_the_grid_move_to_it(tmp_path: Path):
    musicxml.write(make_piece([(7, 60, 5), (1000, 64, 333)]), tmp_path / "a.musicxml", "a")
    assert read_back(tmp_path / "a.musicxml")[1] == [(0, 60, Fraction(1, 12)), (Fraction(25, 12), 64, Fraction(2, 3))]


@pytest.mark.parametrize(
    ("pitches", "clefs"), [([72, 60, 67], ["G"]), ([36, 48, 60], ["F"]), ([40, 48, 64, 76], ["G", "F"])]
)
def test_a_piano_has_as_many_staves_as_its_notes_need_hands(tmp_path: Path, pitches: list[int], clefs: list[str]):
    musicxml.write(make_piece([(0, pitch, 480) for pitch in pitches]), tmp_path / "a.musicxml", "a")
    assert re.findall(r"<sign>(.)</sign>", (tmp_path / "a.musicxml").read_text()) == clefs


def test_the_split_between_the_hands_follows_the_music():
    """Both hands play high, then both play low: the chord of each stays in one hand."""
    onset = np.repeat(np.arange(8) * 48, 6)
    pitch = np.concatenate([[60, 64, 67, 76, 79, 84]] * 4 + [[36, 40, 43, 52, 55, 60]] * 4)
    right = pitch >= notation.splits(onset, pitch, onset // 48)
    assert (right.reshape(8, 2, 3) == [[False] * 3, [True] * 3]).all(axis=(1, 2))[:4].all()
    assert (right.reshape(8, 6).sum(axis=1)[4:] <= 3).all()


@pytest.mark.parametrize(
    ("length", "expected"),
    [(12, [12]), (18, [18]), (5, [3, 2]), (7, [6, 1]), (30, [24, 6]), (48, [48]), (20, [12, 8]), (1, [1])],
)
def test_a_length_is_made_of_tied_note_values(length: int, expected: list[int]):
    bar = theory.Bar(1, 0, 0, 48, (4, 4))
    points = [0, length, 48]
    beats = bar.beats()
    cuts = [cut for beat in zip(beats, beats[1:], strict=False) for cut in notation.cells(*beat, points)]
    assert notation.values(0, length, cuts, bar) == expected


def test_the_key_is_the_one_that_music21_finds(tmp_path: Path):
    for seed in range(6):
        piece = random_piece(seed)
        save(piece, tmp_path / "a.mid")
        key = converter.parse(tmp_path / "a.mid", forceSource=True).analyze("key")
        sharps, minor = theory.key_of(piece.pitch, piece.duration)
        assert minor == (key.mode == "minor") and (sharps - key.sharps) % 12 == 0
    assert theory.key_of(np.array([60, 64, 67, 71, 72]), np.full(5, 480)) == (0, 0)
    assert theory.key_of(np.arange(60, 72), np.full(12, 480)) == (0, 0)  # all twelve equally


@pytest.mark.parametrize(
    ("pitch", "key", "name"),
    [(66, (1, 0), ("F", 1, 4)), (66, (-5, 0), ("G", -1, 4)), (68, (0, 1), ("G", 1, 4)), (71, (-6, 0), ("C", -1, 5)),
     (60, (6, 0), ("B", 1, 3)), (63, (0, 0), ("E", -1, 4)), (63, (0, 1), ("D", 1, 4))],
)  # fmt: skip
def test_the_spelling_of_a_pitch_suits_the_key(pitch: int, key: tuple[int, int], name: tuple):
    assert musicxml.spelling(pitch, *key) == name


def test_words_that_do_not_fit_are_small_and_then_shortened(monkeypatch):
    drawn, paper = [], canvas.Canvas(3, 1)
    monkeypatch.setattr(
        paper, "write", lambda x, y, words, anchor, letters, colour: drawn.append((words, letters.size))
    )
    for words in (
        "Flute",
        "A violin section",
        "A very long name of a part, which nobody could read if it were any smaller",
    ):
        paper.text(0, 0.5, words, 10, room=1)
    (first, full), (second, smaller), (third, smallest) = drawn
    assert (first, second) == ("Flute", "A violin section") and full > smaller >= smallest >= 0.55 * full
    assert third.startswith("A very") and third.endswith("\u2026") and len(third) < 30


def test_a_name_loses_only_what_the_picture_cannot_show():
    assert canvas.writable("Fl\u00f6te \u7b1b \u266b") == "Fl\u00f6te \u266b" and canvas.writable("\u7b1b") == ""
