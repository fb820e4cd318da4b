"""Key, scale and metre: what they are called, and how new music keeps to them."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, call, make_piece, one_line_error, save

from utils import checkpoint, compose, control, events, midi, sampler, theory, tonality
from utils.errors import UserError
from utils.piece import Part, Piece
from utils.settings import parse
from utils.stepper import Stepper
from utils.tonality import SCALES, Tonality
from utils.wanted import Wanted

QUIET = ("--no-wav", "--no-picture", "--no-copying")
IN_D = (2, 6, 9)  # a triad of D major


def settings(**given) -> SimpleNamespace:
    return SimpleNamespace(**{"key": "", "scale": "", "key_strength": control.STRENGTH, "key_lock": False, **given})


def made(weights: Path, out: Path, *flags: object, script: str = "generate_music.py") -> tuple[list[Piece], str]:
    result = call(script, "--weights", weights, "--out", out, *QUIET, *flags)
    assert result.returncode == 0, result.stderr
    return [midi.read(path) for path in re.findall(r"^Wrote (.*?\.mid):", result.stdout, re.MULTILINE)], result.stdout


def tune_in(tonic: int, path: Path, beats: int = 16, **kwargs) -> Path:
    """A fragment in a major key: its scale and its triad in quarter notes, over the held tonic and fifth."""
    scale = [0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0, 7, 4, 0, 7, 0]
    notes = [(i * 480, 60 + tonic + scale[i % 16], 480) for i in range(beats)]
    notes += [(i * 480, 48 + tonic + pitch, 1920) for i in range(0, beats, 4) for pitch in (0, 7)]
    return save(make_piece(notes, time_signatures=[(0, 4, 4)], **kwargs), path)


@pytest.mark.parametrize(
    ("key", "scale", "name", "root", "signature"),
    [
        ("D minor", "", "D minor", 2, (-1, 1)),
        ("d MINOR", "", "D minor", 2, (-1, 1)),
        ("Eb", "", "Eb major", 3, (-3, 0)),
        ("f#m", "", "F# minor", 6, (3, 1)),
        ("B-flat major", "", "Bb major", 10, (-2, 0)),
        ("D", "dorian", "D dorian", 2, (0, 0)),
        ("", "D dorian", "D dorian", 2, (0, 0)),
        ("D minor", "harmonic minor", "D harmonic minor", 2, (-1, 1)),
        ("D", "D  blues", "D blues", 2, (-1, 1)),
        ("C#", "", "C# major", 1, (7, 0)),
        ("G# major", "", "G# major", 8, (-4, 0)),  # would need eight sharps, which no file can state: as Ab major
        ("A", "mixolydian", "A mixolydian", 9, (2, 0)),
    ],
)
def test_keys_and_scales_are_understood(key: str, scale: str, name: str, root: int, signature: tuple[int, int]):
    asked = control.asked(settings(key=key, scale=scale))
    assert (asked.name, asked.root, asked.signature) == (name, root, signature)


def test_a_scale_without_a_tonic_takes_that_of_the_music_before():
    asked = control.asked(settings(scale="dorian"))
    assert asked == Tonality(None, "dorian") and asked.after(Tonality(1, "major")) == Tonality(1, "dorian")
    assert control.asked(settings()) is None and control.asked(settings(key="none")) is None


def test_scales_agree_with_their_key_signatures():
    """Modes on the white keys have the signature of C major, and the minor scale has the degrees of all its forms."""
    for name, tonic in zip("ionian dorian phrygian lydian mixolydian aeolian locrian".split(), "CDEFGAB", strict=True):
        mode = tonality.parsed(f"{tonic} {name}", "key")
        assert mode.pitch_classes.tolist() == Tonality(0, "major").pitch_classes.tolist() and mode.signature[0] == 0
    minor = {step for name in ("natural minor", "harmonic minor", "melodic minor") for step in SCALES[name].steps}
    assert set(SCALES["minor"].steps) == minor and len(SCALES["chromatic"].steps) == 12
    assert all(scale.steps[0] == 0 and list(scale.steps) == sorted(set(scale.steps)) for scale in SCALES.values())


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--key", "H minor"], "--key 'H minor' is not a key: .* the scales are major, minor, .* chromatic"),
        (["--scale", "D doric"], "--scale 'D doric' is not a scale: "),
        (["--key", "D minor", "--scale", "E dorian"], "name two tonics: give one of them"),
        (["--key-lock"], "--key-lock keeps the music in a key: name one"),
        (["--key", "D", "--key-strength", "-1"], "--key-strength is -1.0; it must be at least 0"),
        (["--key", "D", "--key-strength", "inf"], "--key-strength is inf; it must be at most"),
        (["--metre", "3/5"], "--metre is '3/5'; it must be a metre such as 3/4"),
        (["--metre", "waltz"], "--metre is 'waltz'"),
    ],
)
def test_wrong_keys_scales_and_metres_are_refused_in_one_sentence(weights: Path, flags: list[str], sentence: str):
    assert re.search(sentence, one_line_error(call("generate_music.py", "--weights", weights, *flags)))


def test_a_scale_without_a_tonic_needs_music_with_one():
    for asked in (settings(scale="dorian"), settings(key="dorian")):
        with pytest.raises(UserError, match="--scale 'dorian' has no tonic, nor has the music before it: name one"):
            control.after_openings(asked, control.asked(asked), [{"key": Tonality(1, "major")}, {"key": None}])


def test_new_music_is_at_home_in_the_key_of_its_opening():
    begun = [{"key": Tonality(1, "major")}, {"key": Tonality(-2, "minor")}]
    own = control.after_openings(settings(), None, begun)
    assert own.tonalities == (Tonality(1, "major"), Tonality(-2, "minor"))
    assert own == control.home(None, list(own.tonalities))
    tune, drums = make_piece([(0, 60, 480)]), make_piece([(0, 36, 480)], parts=[Part(drums=True)])
    assert own.phrase(1, tune) == "at home in Bb minor" and replace(own, written=True).phrase(0, tune) == "in G major"
    assert own.phrase(1, drums) == "" == own.phrase(1, drums, new=False)
    scale = make_piece([(i * 480, pitch, 480) for i, pitch in enumerate((65, 69, 72, 70, 69, 67, 65, 77))])
    assert own.phrase(1, scale) == "mostly in F major" == own.phrase(1, scale, new=False)
    assert replace(own, written=True).phrase(1, scale) == "in Bb minor"
    assert not own.written and control.after_openings(settings(key="none"), None, begun) is None
    assert control.after_openings(settings(), None, [*begun, {"key": None}]) is None  # only drums


def test_the_scripts_keep_to_a_key_as_strictly_as_the_page():
    strengths = {"generate_music.py": control.STRENGTH, "predict_with_prior.py": control.STRENGTH_WITH_FRAGMENT}
    for script, strength in strengths.items():
        assert parse(ROOT / script, []).key_strength == strength


def test_a_lock_on_a_fragment_without_a_key_is_refused_in_one_sentence(weights: Path, tmp_path: Path):
    save(make_piece([(0, 60, 480)]), tmp_path / "note.mid")
    flags = ["--weights", weights, "--prior", tmp_path / "note.mid", "--key-lock"]
    assert "but the fragment has none: name one" in one_line_error(call("predict_with_prior.py", *flags))


def test_a_lock_that_leaves_nothing_to_play_is_refused(weights: Path):
    network = Stepper(checkpoint.load(weights))
    network.vocabulary.keys[:, np.isin(np.arange(128) % 12, (1, 3, 6, 8, 10))] = 0  # as if it knew only the white keys
    black = Tonality(6, "major pentatonic")
    with pytest.raises(UserError, match="--key-lock leaves nothing to play: this network knows no note in F# major"):
        control.Home((black,), 0.5, lock=True).constraints(network)


@pytest.mark.parametrize(("text", "expected"), [("3/4", (3, 4)), (" 12/8 ", (12, 8)), ("32/32", (32, 32))])
def test_metres_are_understood(text: str, expected: tuple[int, int]):
    assert theory.metre(text) == expected


@pytest.mark.parametrize("wrong", ["", "3", "0/4", "33/4", "4/64", "4/3", "-3/4", "3/4/5", "3.0/4"])
def test_what_is_no_metre_is_refused(wrong: str):
    with pytest.raises(UserError, match="--metre"):
        theory.metre(wrong)


@pytest.mark.parametrize("opening", ["random", "none"])
def test_a_lock_holds_and_its_key_signature_is_written(weights: Path, tmp_path: Path, opening: str):
    flags = ["--key", "Eb minor", "--key-lock", "--notes", 60, "--count", 3, "--temperature", 3, "--opening", opening]
    pieces, printed = made(weights, tmp_path, *flags, "--seed", 1)
    for piece in pieces:
        assert Tonality(-3, "minor").pitch_classes[piece.pitch % 12].all()
        assert piece.key_signatures == [(0, -6, 1)]
    assert printed.count("60 notes, in Eb minor") == 3


def test_the_bias_makes_notes_outside_the_key_rarer_and_does_nothing_without_a_key(weights: Path, tmp_path: Path):
    def outside(*flags: object) -> float:
        pieces, _ = made(weights, tmp_path, "--notes", 150, "--count", 4, "--seed", 1, *flags)
        pitch = np.concatenate([piece.pitch for piece in pieces])
        return 1 - Tonality(3, "major").pitch_classes[pitch % 12].mean()

    free, usual, strong = outside("--key", "none"), outside("--key", "A"), outside("--key", "A", "--key-strength", 9)
    assert strong < usual < free and strong < 0.2
    assert outside("--key", "none", "--key-strength", 9) == free


def test_the_bias_gives_way_where_the_music_modulates(weights: Path):
    network, key = Stepper(checkpoint.load(weights)), Tonality(0, "major")
    (prefer,) = control.Home((key,) * 3, 2.0).constraints(network)
    state = network.start(3, (4, 4))
    for i, scale in enumerate([key, Tonality(1, "major"), Tonality(6, "major")]):  # just heard: C, G and F# major
        state.traces[i, control.RECENT, :12] = scale.pitch_classes
    logits = np.zeros((3, network.vocabulary.size("note")), np.float32)
    biased = prefer("note", logits, state, {})
    inside = key.pitch_classes[network.vocabulary.values["note"] % 12]
    assert (biased[:, inside] == 0).all() and biased.dtype == np.float32
    home, near, far = biased[:, ~inside].T[0]
    assert home == -2 and home < near < far == 0
    assert prefer("duration", logits, state, {}) is logits


def test_notes_leading_to_the_relative_major_are_less_likely_but_not_locked_out(weights: Path):
    minor = Tonality(3, "minor")  # of A
    assert minor.pitch_classes[[7, 8]].all() and minor.leading_away[7] and not minor.leading_away[8]
    _, prefer = control.Home((minor,), 1.0, lock=True).constraints(network := Stepper(checkpoint.load(weights)))
    notes = network.vocabulary.values["note"]
    biased = prefer("note", np.zeros((1, len(notes)), np.float32), network.start(1, (4, 4)), {})
    assert (biased[0, notes % 12 == 7] == -1).all() and (biased[0, notes % 12 == 8] == 0).all()


def test_openings_are_transposed_to_the_key(weights: Path):
    kept = checkpoint.load(weights)
    for key in (Tonality(-4, "major"), Tonality(2, "minor")):
        suited, opening = control.suited(kept, key, None, "random")
        assert opening == "random"
        moved = [control.of_opening(each, kept.vocabulary) for each in suited.about["openings"]]
        assert {each.root for each in moved} == {key.root}
    before = [control.of_opening(each, kept.vocabulary) for each in kept.about["openings"]]
    modes = [each.mode for each in before]
    minor = control.in_key(kept, Tonality(2, "dorian")).about["openings"]
    assert len(minor) == (modes.count("minor") or len(modes))


def test_music_starts_from_a_passage_in_the_metre_or_from_silence(weights: Path, tmp_path: Path):
    (waltz,), printed = made(weights, tmp_path, "--metre", "3/4", "--bars", 3, "--seed", 1)
    assert "No passage in the weights file is in 3/4: the music begins from silence." in printed
    assert waltz.time_signatures == [(0, 3, 4)]
    assert waltz.onset[-1] >= 2 * 1440 and (waltz.onset + waltz.duration).max() <= 3 * 1440
    _, printed = made(weights, tmp_path, "--metre", "4/4", "--notes", 10, "--seed", 1)
    assert "silence" not in printed and "after a passage of" in printed


def test_an_ending_at_home_is_preferred_to_a_surer_one_elsewhere(weights: Path, monkeypatch):
    kept = checkpoint.load(weights)
    network, home = Stepper(kept), control.Home((Tonality(2, "major"),), 0.5)
    seen = []
    monkeypatch.setattr(control.Home, "closing", lambda self, pieces: seen.append(pieces) or np.arange(16) == 5)
    begun = compose.openings(kept, 1, 1, "none")
    (chosen,) = compose.new_pieces(network, begun, sampler.Sampling(seed=1), Wanted(bars=2, home=home))
    fifth = seen[0][5]
    assert network.vocabulary.decode(chosen.classes)["note"].tolist() == fifth["note"].tolist()


@pytest.mark.parametrize(
    ("notes", "at_home"),
    [
        ([50, 57, 66, 74], True),
        ([50, 53, 69], True),  # minor
        ([38, 66], True),  # without a fifth
        ([54, 57, 62], False),  # the third is in the bass
        ([55, 59, 62], False),
        ([50, 57, 62], False),  # no third
        ([50, 54, 57, 60], False),
        ([50, 54, 57, 128 + 36], True),  # drums do not count
        ([128 + 36], False),
    ],
)
def test_music_ends_at_home_on_a_triad_with_the_tonic_in_the_bass(notes: list[int], at_home: bool):
    values = [*[60, 61], *notes]
    streams = {"offset": np.array([0, 12, 12] + [0] * (len(notes) - 1)), "note": np.array(values)}
    streams["duration"] = np.array([12, 12] + [24] * len(notes))
    assert control.closes(streams, 2) == at_home


def test_a_fragment_is_continued_in_its_own_key(tmp_path: Path):
    def heard(path: Path) -> Tonality | None:
        return tonality.of_fragment(midi.read(path))

    assert heard(tune_in(2, tmp_path / "1.mid")) == Tonality(2, "major")
    assert heard(tune_in(1, tmp_path / "2.mid", key_signatures=[(0, -5, 0)])) == Tonality(-5, "major")  # Db, not C#
    assert heard(tune_in(2, tmp_path / "3.mid", key_signatures=[(0, -3, 0)])) == Tonality(2, "major")  # it is wrong
    assert heard(save(make_piece([(i * 480, 60 + i, 480) for i in range(12)]), tmp_path / "4.mid")) is None
    own = control.after_fragment(settings(), midi.read(tmp_path / "1.mid"))
    assert own.tonalities == (Tonality(2, "major"),) and not own.written
    assert control.after_fragment(settings(key="none"), midi.read(tmp_path / "1.mid")) is None
    asked = control.after_fragment(settings(scale="lydian"), midi.read(tmp_path / "1.mid"))
    assert asked.tonalities == (Tonality(2, "lydian"),) and asked.written


def test_a_key_asked_for_is_written_where_the_new_music_begins(weights: Path, tmp_path: Path):
    prior = tune_in(2, tmp_path / "prior.mid", key_signatures=[(0, 2, 0)])
    flags = ["--prior", prior, "--notes", 30, "--seed", 1, "--at-bar"]
    for more, expected in {
        (): [(0, 2, 0)],
        ("--key", "G minor", "--key-lock"): [(0, 2, 0), (4 * 1920, -2, 1)],
        ("--key", "G minor", "--no-prepend"): [(0, -2, 1)],
    }.items():
        (piece,), printed = made(weights, tmp_path / "out", *flags, *more, script="predict_with_prior.py")
        assert piece.key_signatures == expected
        number = "30 notes" if "--no-prepend" in more else "30 new ones"
        assert f"{number}, in {'G minor' if more else 'D major'}, " in printed
        if "--key-lock" in more:
            new = piece.pitch[piece.onset >= 4 * 1920]
            assert len(new) == 30 and Tonality(1, "minor").pitch_classes[new % 12].all()


@pytest.mark.parametrize("beats", [5, 8, 14])
def test_new_music_can_begin_at_the_next_bar_line(weights: Path, beats: int, tmp_path: Path):
    """Even if no offset in the training music is long enough to reach it."""
    prior = midi.read(tune_in(0, tmp_path / "prior.mid", beats))
    network = Stepper(checkpoint.load(weights))
    for length in ({"notes": 20}, {"bars": 2, "ending": False}):
        for prepend in (True, False):
            wanted = Wanted(**length, at_bar=True, prepend=prepend)
            made, before, _ = compose.continuations(network, prior, sampler.Sampling(seed=1), wanted, 3)
            pieces = [one.piece for one in made]
            line = -(-beats // 4) * 1920 if prepend else 0
            assert all(piece.onset[piece.onset >= line][0] == line for piece in pieces)
            assert all((piece.onset < line).sum() == len(before) for piece in pieces)


def test_chords_as_classes_keep_to_a_key_too(weights: Path):
    """A chord is outside the key if one of its notes is."""
    network = Stepper(checkpoint.load(weights))
    chords = replace(network.vocabulary.representation, chords="class")
    names = np.array([events.chord_name(chord) for chord in (IN_D, (2, 5, 9), (2, 3))])
    order = np.argsort(names)
    values = {**network.vocabulary.values, "note": names[order]}
    values.pop("part", None)
    network.vocabulary = replace(network.vocabulary, values=values, representation=chords, players={})
    lock, _ = control.Home((Tonality(2, "major"),), 0.5, lock=True).constraints(network)
    left = np.isfinite(lock("note", np.zeros((1, 3)), network.start(1, (4, 4)), {}))[0]
    assert names[order][left].tolist() == [events.chord_name(IN_D)]
