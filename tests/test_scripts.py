"""generate_music.py and predict_with_prior.py, run as a user runs them once and otherwise in this process, and
benchmark.py."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kill_scripts
import numpy as np
import pytest
from conftest import ROOT, TINY, call, make_piece, one_line_error, run, save

from utils import checkpoint, compose, events, fragment, instruments, midi, sampler, settings
from utils.errors import UserError
from utils.stepper import Stepper
from utils.wanted import Wanted

SILENT = ("--no-wav", "--no-picture")  # sound and pictures are for test_output.py to test


def rows(piece: midi.Piece) -> list[tuple]:
    return sorted(zip(*(getattr(piece, name).tolist() for name in midi.COLUMNS), strict=True))


def generate(
    weights: Path, out: Path, *flags: object, script: str = "generate_music.py", start: Callable = call
) -> list[midi.Piece]:
    result = start(script, "--weights", weights, "--out", out, *SILENT, *flags)
    assert result.returncode == 0, result.stderr
    paths = re.findall(r"^Wrote (.*?\.mid):", result.stdout, re.MULTILINE)
    assert paths, result.stdout
    return [midi.read(path) for path in paths]


def test_a_new_piece_is_as_the_flags_say(weights: Path, tmp_path: Path):
    flags = ["--notes", 50, "--tempo", 90, "--instrument", "church organ", "--seed", 1]
    (piece,) = generate(weights, tmp_path, *flags, start=run)
    assert len(piece) == 50
    assert {part.program for part in piece.parts} == {instruments.program("Church Organ")} == {19}
    assert piece.tempos == [(0, 666_667)]
    assert piece.time_signatures == [(0, 4, 4)]
    assert piece.onset[0] < 1920
    # On a keyboard a key is up before it is struck again.
    assert rows(events.let_go(piece)) == rows(piece)


def test_a_seed_repeats_its_pieces_and_files_are_numbered(weights: Path, tmp_path: Path):
    one = generate(weights, tmp_path, "--notes", 40, "--seed", 5)[0]
    three = generate(weights, tmp_path, "--notes", 40, "--seed", 5, "--count", 3)
    assert rows(one) in list(map(rows, three)) and rows(three[0]) != rows(three[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"tiny-{n:03d}.mid" for n in range(1, 5)]
    result = call("generate_music.py", "--weights", weights, "--out", tmp_path, "--notes", 40, *SILENT)
    assert re.search(r"0:\d\d minutes, \d+\.\d\d nats a note, seed", result.stdout)
    seed = re.search(r"seed (\d+)", result.stdout)[1]
    again = generate(weights, tmp_path, "--notes", 40, "--seed", seed)[0]
    assert rows(again) == rows(midi.read(tmp_path / "tiny-005.mid"))


@pytest.mark.parametrize("flags", [["--opening", "none"], ["--notes", "0"], ["--temperature", "0"], ["--top-p", "0.5"]])
def test_other_settings_write_pieces_too(weights: Path, tmp_path: Path, flags: list[str]):
    (piece,) = generate(weights, tmp_path, "--notes", 60, "--seed", 1, *flags)
    assert len(piece) == 60 or flags == ["--notes", "0"]


@pytest.mark.parametrize("opening", ["random", "none"])
@pytest.mark.parametrize("how", [["--bars", 5], ["--bars", 1], ["--seconds", 9.6], ["--bars", 5, "--no-ending"]])
def test_a_piece_has_exactly_the_bars_asked_for(weights: Path, tmp_path: Path, how: list, opening: str):
    """Five bars of 4/4 at 120 beats a minute last ten seconds; music begins in the first and ends in the last."""
    last = how[1] if how[0] == "--bars" else 5
    for piece in generate(weights, tmp_path, *how, "--opening", opening, "--seed", 1, "--count", 6):
        bar, ends = 4 * piece.ticks_per_quarter, piece.onset + piece.duration
        assert 0 <= piece.onset[0] < bar and len(piece.bars()) <= last
        if "--no-ending" in how:  # cut off: the last bar may be silent
            assert piece.onset[-1] < last * bar and ends.max() <= last * bar
        else:
            assert (last - 1) * bar <= piece.onset[-1] and ends.max() <= last * bar


def test_a_continuation_has_exactly_the_bars_asked_for(weights: Path, tmp_path: Path):
    """A fragment of two and a half bars is completed to three, and two follow; seconds are counted at its tempo."""
    notes = [(i * 480, 60 + i, 480) for i in range(10)]
    save(make_piece(notes, tempos=[(0, 1_000_000)]), tmp_path / "prior.mid")
    for how in (["--bars", 2], ["--seconds", 8.5]):
        flags = ["--prior", tmp_path / "prior.mid", *how, "--seed", 1, "--count", 4]
        for piece in generate(weights, tmp_path / "out", *flags, script="predict_with_prior.py"):
            assert rows(piece)[:10] == rows(midi.read(tmp_path / "prior.mid"))
            assert piece.onset[-1] >= 4 * 1920 and (piece.onset + piece.duration).max() <= 5 * 1920


def test_the_opening_is_left_out_unless_asked_for(weights: Path, tmp_path: Path):
    (without,) = generate(weights, tmp_path, "--notes", 30, "--seed", 3)
    (with_opening,) = generate(weights, tmp_path, "--notes", 30, "--seed", 3, "--include-opening")
    assert len(with_opening) == 30 + 8  # as long as a window of this network
    shift = with_opening.onset[-1] - without.onset[-1]
    assert shift % 1920 == 0  # whole bars, so what followed the opening still falls on its beat
    tail = {(onset + shift, pitch) for onset, pitch, *_ in rows(without)}
    assert tail <= {(onset, pitch) for onset, pitch, *_ in rows(with_opening)}


def test_the_match_model_does_not_see_the_opening(weights: Path, monkeypatch):
    """Otherwise the piece would repeat it, and so the training music."""
    kept = checkpoint.load(weights)
    stepper, begun, known = Stepper(kept), compose.openings(kept, 2, 1), []
    real_generate = sampler.generate

    def recording(stepper, state, *how):
        known.append(state.past.length)
        return real_generate(stepper, state, *how)

    monkeypatch.setattr(sampler, "generate", recording)
    compose.new_pieces(stepper, begun, sampler.Sampling(seed=1), Wanted(20))
    assert known == [0]


def test_the_constraints_of_a_caller_come_first_and_stay(weights: Path):
    """They come first, so they win where the usual ones contradict them; and they apply to the next call as well."""
    kept = checkpoint.load(weights)
    network, asked = Stepper(kept), []

    def highest(stream: str, logits: np.ndarray, state: object, chosen: dict) -> np.ndarray:
        if stream != "note":
            return logits
        asked.append(len(logits))
        return np.where(np.arange(logits.shape[1]) == logits.shape[1] - 1, 0, -np.inf)

    how = sampler.Sampling(seed=1, constraints=(highest,))
    made = compose.new_pieces(network, compose.openings(kept, 2, 1), how, Wanted(12))
    prior = midi.read(ROOT / "samples" / "prior.mid")
    continued, _, _ = compose.continuations(network, prior, how, Wanted(12), 3)
    top = network.vocabulary.size("note") - 1
    assert all((one.classes["note"] == top).all() for one in [*made, *continued])
    assert how.constraints == (highest,) and asked == [2] * 12 + [3] * 12


def test_music_is_made_without_heavy_packages_or_the_training_music(weights: Path, tmp_path: Path):
    code = (
        "import sys; sys.modules.update(dict.fromkeys('tensorflow keras music21 matplotlib symusic'.split()))\n"
        "from utils import settings; import evaluate, generate_music, predict_with_prior\n"
        f"flags = ['--notes', '10', '--weights', r'{weights}', '--out', r'{tmp_path}', *{SILENT}]\n"
        "generate_music.main(settings.parse('generate_music.py', [*flags, '--no-copying']))\n"
        "del sys.modules['symusic']  # reads the fragment and the training music\n"
        "predict_with_prior.main(settings.parse('predict_with_prior.py', flags))\n"
        "evaluate.main(settings.parse('evaluate.py', flags[2:4]))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.iterdir())) == 2


def off_grid_prior(path: Path) -> midi.Piece:
    """A fragment played by hand: nothing on the grid, two instruments, in 3/4, a change of tempo, a held note."""
    rng = np.random.default_rng(1)
    onset = np.cumsum(rng.integers(1, 200, 40))
    notes = [(int(o), int(rng.integers(40, 80)), int(rng.integers(1, 300)), int(rng.integers(1, 128)), i % 2 * 40)
             for i, o in enumerate(onset)]  # fmt: skip
    notes.append((int(onset[-1]) - 7, 84, 5000, 99, 0))
    piece = make_piece(
        notes, 220, tempos=[(0, 600_000), (1000, 400_000)], time_signatures=[(0, 3, 4)], key_signatures=[(0, 2, 0)]
    )
    save(events.let_go(piece), path)
    return midi.read(path)


def test_the_prior_opens_the_result_exactly_as_it_is(weights: Path, tmp_path: Path):
    prior = off_grid_prior(tmp_path / "prior.mid")
    flags = ["--prior", tmp_path / "prior.mid", "--prior-notes", 0, "--notes", 60, "--seed", 2, "--count", 4]
    pieces = generate(weights, tmp_path / "out", *flags, script="predict_with_prior.py", start=run)
    continuations = []
    for piece in pieces:
        everything, given = rows(piece), rows(prior)
        assert set(given) <= set(everything)
        assert piece.ticks_per_quarter == prior.ticks_per_quarter
        for name in ("tempos", "time_signatures", "key_signatures"):
            assert getattr(piece, name) == getattr(prior, name)
        new = sorted(set(everything) - set(given))
        assert len(new) == 60
        continuations.append(tuple(new))
        # No overlap: no new note begins before the last one of the prior, or strikes a key that its part still holds
        # there (a violin may hold a note that the piano strikes).
        assert new[0][0] >= prior.onset[-1]
        held = {(pitch, part): onset + duration for onset, pitch, duration, _, part in given}
        assert all(onset >= held.get((pitch, part), 0) for onset, pitch, _, _, part in new)
        # No gap: the first new note is no farther from the last one than notes are in the training music.
        assert new[0][0] - prior.onset[-1] <= 2 * prior.ticks_per_quarter
        # On the grid.
        steps = np.array([onset for onset, *_ in new]) * 12 / prior.ticks_per_quarter
        assert np.abs(steps - steps.round()).max() <= 12 / prior.ticks_per_quarter / 2 + 1e-9
    assert len(set(continuations)) == 4


@pytest.mark.parametrize("length", [1, 5, 500])
def test_a_prior_of_any_length_is_continued(weights: Path, tmp_path: Path, length: int):
    save(make_piece([(i * 240, 60 + i % 12, 240) for i in range(length)]), tmp_path / "prior.mid")
    flags = ["--prior", tmp_path / "prior.mid", "--prior-notes", 0, "--notes", 20]
    (piece,) = generate(weights, tmp_path / "out", *flags, script="predict_with_prior.py")
    assert len(piece) == length + 20


def test_a_passage_of_the_prior_can_be_continued(weights: Path, tmp_path: Path):
    save(make_piece([(i * 240, 40 + i, 240) for i in range(40)]), tmp_path / "prior.mid")
    flags = ["--prior", tmp_path / "prior.mid", "--notes", 20, "--prior-start", 5, "--prior-notes", 8, "--seed", 1]
    (piece,) = generate(weights, tmp_path / "out", *flags, script="predict_with_prior.py")
    assert len(piece) == 28
    # Beat 5 is the second of its bar, and stays the second.
    assert {(480 + i * 240, 50 + i, 240) for i in range(8)} <= {row[:3] for row in rows(piece)}
    (alone,) = generate(weights, tmp_path / "out", *flags, "--no-prepend", script="predict_with_prior.py")
    assert len(alone) == 20 and alone.onset[0] < 1920
    shift = piece.onset[-1] - alone.onset[-1]
    assert {(onset + shift, pitch) for onset, pitch, *_ in rows(alone)} <= {row[:2] for row in rows(piece)}
    result = call("predict_with_prior.py", "--weights", weights, *flags[:4], "--prior-start", 100)
    assert "no notes from beat 100 on" in one_line_error(result)


@pytest.mark.parametrize(
    ("start", "bars", "pitches"),
    [
        (0, 1, range(40, 44)),
        (0, 3, range(40, 51)),
        (0, -1, range(54, 56)),  # the last bar is the one in which the last note begins
        (0, -2, range(51, 56)),
        (4, 2, range(44, 51)),
        (5, 2, range(45, 51)),  # the first bar is the one that contains the start
        (9, -2, range(51, 56)),
        (15, -9, range(55, 56)),
        (0, 5, range(40, 56)),
        (0, -5, range(40, 56)),
        (4, 9, range(44, 56)),
    ],
)
def test_the_first_or_last_bars_of_the_prior_can_be_used(start: float, bars: int, pitches: range, capsys):
    """Bars are counted in the metre of the file: two of 4/4, then two of 3/4 and the beginning of another."""
    metres, tempos = [(0, 4, 4), (8 * 480, 3, 4)], [(0, 500_000), (13 * 480, 400_000)]
    notes = [(i * 480, 40 + i, 480) for i in range(15)] + [(15 * 480, 55, 9 * 480)]
    whole = make_piece(notes, time_signatures=metres, tempos=tempos)
    piece = fragment.cut(whole, start, 3, "mine.mid", bars)  # PRIOR_NOTES counts only without PRIOR_BARS
    assert piece.pitch.tolist() == list(pitches)
    onset = (pitches[0] - 40) * 480
    line, *metre = whole.bars(onset + 1)[-1]
    assert piece.onset[0] == onset - line and list(piece.time_signatures[0]) == [0, *metre]
    # A change after the last note belongs to music that is not used.
    assert [tempo for _, tempo in piece.tempos][-1] == (400_000 if pitches[-1] > 53 else 500_000)
    fewer = abs(bars) > (5 if start < 4 else 4)
    message = f"mine.mid has fewer than {abs(bars)} bars from beat {start:g} on, so all of them are used\n"
    assert capsys.readouterr().out == (message if fewer else "")


def test_a_prior_ends_with_a_whole_chord(weights: Path, tmp_path: Path):
    whole = make_piece([(beat * 480, pitch, 480) for beat in range(40) for pitch in (48, 55, 60)])
    for number, count in ((1, 3), (3, 3), (100, 102), (0, 120), (500, 120)):
        assert len(fragment.cut(whole, 0, number, "mine.mid")) == count
    flags = ["--weights", weights, "--prior", save(whole, tmp_path / "mine.mid"), "--notes", 8, "--out", tmp_path]
    said = call("predict_with_prior.py", *flags, *SILENT).stdout
    assert "mine.mid: its first 102 of 120 notes are used; --prior-notes 0 uses all of them" in said
    for flag in ("--prior-notes=0", "--prior-bars=2"):
        assert "are used" not in call("predict_with_prior.py", *flags, *SILENT, flag).stdout


def test_notes_a_little_before_a_bar_line_belong_to_the_next_bar():
    whole = make_piece([(max(beat * 480 - 15, 0), 60 + beat, 470) for beat in range(16)])
    for bars, pitches in ((2, range(60, 68)), (-1, range(72, 76)), (-2, range(68, 76)), (4, range(60, 76))):
        piece = fragment.cut(whole, 0, 0, "mine.mid", bars)
        assert piece.pitch.tolist() == list(pitches)
        assert piece.onset[0] == 0 and (piece.onset[1:] == np.arange(1, len(piece)) * 480 - 15).all()
    assert fragment.cut(whole, 4, 0, "mine.mid").pitch[0] == 64


def test_a_pickup_counts_with_the_bar_after_it():
    whole = make_piece([((3 + i) * 480, 60 + i, 480) for i in range(13)])
    for bars, pitches in {1: range(60, 65), 2: range(60, 69), -2: range(65, 73), -3: range(60, 73)}.items():
        assert fragment.cut(whole, 0, 0, "mine.mid", bars).pitch.tolist() == list(pitches)


def test_a_pedal_at_the_end_of_the_prior_is_lifted_as_in_its_file_or_at_the_bar_line(weights: Path, tmp_path: Path):
    notes, pedals = [(i * 240, 60 + i, 240) for i in range(16)], [[10, 1900, 0], [1930, 5000, 0]]
    whole = make_piece(notes, pedals=np.array(pedals))
    for start, number, expected in (
        (0, 0, pedals),
        (0, 6, pedals[:1]),
        (0, 12, [[10, 1900, 0], [1930, 3840, 0]]),
        (4, 2, [[10, 1920, 0]]),
    ):
        assert fragment.cut(whole, start, number, "mine.mid").pedals.tolist() == expected
    path = save(whole, tmp_path / "prior.mid")
    flags = ["--weights", weights, "--prior", path, "--out", tmp_path, "--notes", 10, *SILENT]
    for flag in ("--prepend", "--no-prepend"):
        result = call("predict_with_prior.py", *flags, flag)
        assert result.returncode == 0, result.stderr
    assert "prior-continued-002.mid: 10 notes, " in result.stdout
    assert midi.read(tmp_path / "prior-continued-001.mid").pedals.tolist() == pedals
    assert not len(midi.read(tmp_path / "prior-continued-002.mid").pedals)


def test_bars_without_notes_are_an_error(weights: Path, tmp_path: Path):
    save(make_piece([(9 * 480, 60, 480), (10 * 480, 62, 480)]), tmp_path / "prior.mid")
    flags = ["predict_with_prior.py", "--weights", weights, "--prior", tmp_path / "prior.mid", "--out", tmp_path]
    assert "has no notes in its first 2 bars" in one_line_error(call(*flags, "--prior-bars", 2))
    result = call(*flags, "--prior-bars", -7, "--notes", 10, *SILENT)
    assert "has fewer than 7 bars" in result.stdout and "2 notes of" in result.stdout, result.stderr


def test_a_piece_that_does_not_end_by_itself_is_said_to_be_cut_off(weights: Path, tmp_path: Path):
    flags = ["--weights", weights, "--notes", 0, "--least-events", 60, "--no-wav", "--no-picture", "--out", tmp_path]
    assert "cut off after 40 events" in call("generate_music.py", *flags, "--most-events", 40).stdout
    assert "cut off" not in call("generate_music.py", *flags, "--notes", 40).stdout


def test_unknown_values_are_reported_and_come_out_as_they_are(weights: Path, tmp_path: Path):
    save(make_piece([(0, 0, 7), (480, 127, 480 * 99), (960, 60, 480)]), tmp_path / "odd.mid")
    result = call(
        "predict_with_prior.py", "--weights", weights, "--prior", tmp_path / "odd.mid", "--out", tmp_path, *SILENT
    )
    assert result.returncode == 0, result.stderr
    assert "odd.mid: 2 of 3 values of note were" in result.stdout
    assert "odd.mid has rests or notes longer than 16 beats (1 in all)" in result.stdout
    piece = midi.read(tmp_path / "odd-continued-001.mid")
    assert {(0, 0, 7), (480, 127, 480 * 99)} <= {row[:3] for row in rows(piece)}


@pytest.mark.parametrize(
    ("script", "flags", "sentence"),
    [
        ("generate_music.py", ["--weights", "none.weights.h5"], "run 'python train.py' first"),
        ("generate_music.py", ["--instrument", "violine"], "such as Violin"),
        ("generate_music.py", ["--temperature", "-1"], "--temperature"),
        ("generate_music.py", ["--opening", "maybe"], "choose one of: random, none"),
        ("generate_music.py", ["--opening", "none", "--include-opening"], "--opening none asks for none"),
        ("generate_music.py", ["--tempo", "3"], "from 4 to 1000"),
        ("generate_music.py", ["--out", __file__], "cannot be written"),
        ("predict_with_prior.py", ["--prior", "none.mid"], "none.mid cannot be read"),
        ("predict_with_prior.py", ["--prior", __file__], "not a MIDI file"),
        ("predict_with_prior.py", ["--notes", "0"], "at least 1"),
        ("predict_with_prior.py", ["--versions", "0"], "at least 1"),
        ("generate_music.py", ["--bars", "8", "--seconds", "10"], "give one of them"),
        ("predict_with_prior.py", ["--bars", "-1"], "at least 0"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(weights: Path, script: str, flags: list[str], sentence: str):
    if "--weights" not in flags:
        flags = ["--weights", weights, *flags]
    assert sentence in one_line_error(call(script, *flags))


def test_instruments_are_found_by_name_or_number():
    assert len(instruments.INSTRUMENTS) == len(set(instruments.INSTRUMENTS)) == 128
    assert [instruments.program(name) for name in ("Acoustic Grand Piano", "GUNSHOT", "56", "flute")] == [
        0,
        127,
        56,
        73,
    ]
    for wrong in ("128", "", "kazoo"):
        with pytest.raises(UserError, match="General MIDI"):
            instruments.program(wrong)


@pytest.mark.parametrize(
    ("inexact", "played", "sentence"),
    [
        (
            "Guitar",
            "Acoustic Guitar (nylon)",
            "; others that fit are Acoustic Guitar (steel), Electric Guitar (jazz), ",
        ),
        ("drums", "Steel Drums", "; others that fit are Taiko Drum, Synth Drum."),
        ("bass", "Acoustic Bass", "; others that fit are Electric Bass (finger), "),
        ("Piano", "Acoustic Grand Piano", "; others that fit are Bright Acoustic Piano, "),
        ("muted", "Muted Trumpet", "; others that fit are Electric Guitar (muted)."),
        ("nylon", "Acoustic Guitar (nylon)", "."),
        ("violins", "Violin", "."),
        ("church org", "Church Organ", "."),
        ("ophone", "Xylophone", "."),
    ],
)
def test_a_guessed_instrument_is_named_with_the_others_that_fit(inexact: str, played: str, sentence: str, capsys):
    assert instruments.INSTRUMENTS[instruments.program(inexact)] == played
    assert capsys.readouterr().out.startswith(f"{inexact}: playing {played}{sentence}")


def test_a_known_name_may_contain_commas():
    known = {"Flute, 1", "Bach, J. S.", "a"}.__contains__
    assert instruments.listed(" a, Flute, 1,Flute , Bach, J. S.", known) == ["a", "Flute, 1", "Flute", "Bach, J. S."]
    assert instruments.listed(",a,, Flute, 1,") == ["a", "Flute", "1"] and instruments.listed("") == []


def test_what_is_played_is_printed_once_for_all_who_play_it(capsys):
    assert instruments.programs("Piano, flute, Piano, Piano") == (0, 73, 0, 0)
    assert capsys.readouterr().out.count("Piano: playing Acoustic Grand Piano; ") == 1


def test_an_exact_instrument_prints_no_message(capsys):
    for number, name in enumerate(instruments.INSTRUMENTS):
        assert instruments.program(name) == instruments.program(f" {name.upper()}") == number
        assert instruments.program(str(number)) == number
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("how", [["--notes", 8], ["--fill", "1"]])
def test_damage_to_a_prior_is_reported_once(weights: Path, tmp_path: Path, how: list):
    cut = tmp_path / "cut.mid"
    cut.write_bytes((ROOT / "samples" / "prior.mid").read_bytes()[:400])
    flags = ["--prior", cut, "--out", tmp_path / "out", "--no-wav", "--no-picture", *how]
    result = call("predict_with_prior.py", "--weights", weights, *flags)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("it is cut short or damaged: the 36 notes that can be read are used") == 1


@pytest.mark.parametrize("part", ["read", "all"])
def test_the_benchmark_measures_each_part(part: str):
    """At toy size. That all numbers are there and above 0 is tested, but not how fast anything is."""
    sizes = "--files 1 --updates 2 --ancestor-updates 1 --ancestor-notes 1 --repeat 1 --notes 100 --window 10"
    flags = f"{sizes} --prior-notes 50 --large 20000 --small 5000".split()
    flags += ["--train-with", "--sequence-length 2 --units 16"]
    # --quick sets sizes of its own, which are small enough for reading alone.
    result = run("benchmark.py", "--part", part, *(["--quick"] if part == "read" else []), *flags)
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout.splitlines()[-1])
    reading = {"read_ratio", "read_limit_share"}
    others = {"train_ratio", "train_targets_per_second", "train_limit_share"}
    others |= {"notes_per_second", "notes_per_second_64", "notes_per_second_limit_share", "score_seconds_100"}
    others |= {"prior_seconds", "prior_ratio", "prior_limit_share", "train_peak_gb", "train_update_ratio"}
    others |= {"wav_seconds", "picture_seconds"}
    assert measured.keys() >= (reading | others if part == "all" else reading)
    assert part == "all" or not others & measured.keys()
    assert all(value > 0 for value in measured.values())


def test_the_benchmark_reads_music_with_the_settings_of_its_network(monkeypatch, tmp_path: Path):
    import benchmark

    flags = [*TINY, "--grid=48", "--no-parts", "--streams=offset,note,duration"]
    monkeypatch.setattr(benchmark, "TRAIN", settings.parse(ROOT / "train.py", flags))
    benchmark.write_music(tmp_path, 2, 50, 2)
    how = benchmark.begun(tmp_path, tmp_path / "a.weights.h5").train.vocabulary.representation
    assert how.grid == 48 and how.streams == ("offset", "note", "duration")


def test_a_folder_without_music_is_reported_before_any_experiment(tmp_path: Path):
    result = run("experiments.py", "--question", "sizes", "--midi-dir", tmp_path, "--out", tmp_path / "out")
    assert (
        f"No MIDI file (.mid, .midi, .kar) in {tmp_path}" in one_line_error(result) and not (tmp_path / "out").exists()
    )


def test_the_bundled_network_plays_until_there_is_another(tmp_path: Path):
    for command in (["generate_music.py", "--notes", 30], ["predict_with_prior.py", "--notes", 30]):
        script, *flags = command
        if script.startswith("predict"):
            flags += ["--prior", ROOT / "samples" / "prior.mid"]
        quiet = ["--no-wav", "--no-picture", "--seed", 1, "--out", tmp_path / "out"]
        result = run(ROOT / script, *flags, *quiet, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "bach-chorales.weights.h5" in result.stdout
    assert checkpoint.BUNDLED.stat().st_size <= 6_000_000
    # Weights that the user named are never replaced by others.
    missing = run(ROOT / "generate_music.py", "--weights", "mine.weights.h5", cwd=tmp_path)
    assert "no weights at mine.weights.h5" in one_line_error(missing)


def test_files_are_whole_when_their_writer_is_killed(weights: Path, tmp_path: Path):
    """For many more kills: python tests/kill_scripts.py 100."""
    flags = ["--weights", weights, "--out", tmp_path, "--bars", 4, "--count", 4, "--no-copying"]
    kill_scripts.kill_often(1, tmp_path, "generate_music.py", lambda: flags, lambda: None, 2.0)
