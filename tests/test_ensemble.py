"""Who plays: learnt by train.py, chosen and kept by the scripts that write music."""

from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
from conftest import TINY, band_piece, call, make_piece, one_line_error, random_piece, save
from traced import eagerly

from utils import checkpoint, compose, dataset, ensemble, events, fragment, midi, parts, sampler, training
from utils.constraints import SPARE, all_play, room_for_heard
from utils.errors import UserError
from utils.events import Representation
from utils.parts import Class
from utils.piece import Part, Piece, told_apart
from utils.stepper import Stepper
from utils.vocabulary import Vocabulary, build_vocabulary
from utils.wanted import Wanted

QUIET = ("--no-wav", "--no-picture", "--no-copying")


@pytest.fixture(scope="module")
def vocabulary(band: Path) -> Vocabulary:
    return checkpoint.load(band).vocabulary


def midi_files(out: Path) -> list[Path]:
    return sorted(out.glob("*.mid"))


def cast_of(piece: Piece) -> dict[str, tuple[int, bool]]:
    return {part.name: (part.program, part.drums) for part in piece.parts}


def test_a_new_piece_has_a_track_for_each_part(band: Path, tmp_path: Path):
    result = call("generate_music.py", "--weights", band, "--notes", 150, "--seed", 3, "--out", tmp_path, *QUIET)
    assert result.returncode == 0, result.stderr
    file = mido.MidiFile(midi_files(tmp_path)[0])
    first, *tracks = file.tracks
    assert file.type == 1 and {m.type for m in first} >= {"set_tempo", "time_signature"}
    known = {"Flute": 73, "Violin 1": 40, "Violin 2": 40, "Bass": 33, "Kit": 0, "Acoustic Grand Piano": 0}
    assert len(tracks) > 1
    for track in tracks:
        programs = {m.program for m in track if m.type == "program_change"}
        channels = {m.channel for m in track if m.type == "note_on"}
        assert programs == {known[track.name]} and (channels == {9}) == (track.name == "Kit")
        assert sum(m.type == "note_on" for m in track) > 0


def test_only_the_instruments_asked_for_play(band: Path, tmp_path: Path):
    flags = ("--weights", band, "--notes", 120, "--seed", 1, "--out", tmp_path, *QUIET)
    result = call("generate_music.py", *flags, "--instruments", "Violin, Violin, Cello", "--no-drums")
    assert result.returncode == 0, result.stderr
    assert "Cello is new to this network" in result.stdout
    piece = midi.read(midi_files(tmp_path)[0])
    assert set(cast_of(piece).items()) <= {("Violin 1", (40, False)), ("Violin 2", (40, False)), ("Cello", (42, False))}


def test_other_sounds_change_no_notes(band: Path, tmp_path: Path):
    flags = ("--weights", band, "--notes", 200, "--seed", 1, "--out", tmp_path, *QUIET)
    for instrument in ("", "Church Organ, Tuba"):
        assert call("generate_music.py", *flags, "--instrument", instrument).returncode == 0
    plain, other = map(midi.read, midi_files(tmp_path))
    assert other.pitch.tolist() == plain.pitch.tolist() and other.onset.tolist() == plain.onset.tolist()
    pitched = [part.program for part in other.parts if not part.drums]
    assert set(pitched[:2]) <= {19, 58} and [p.drums for p in other.parts] == [p.drums for p in plain.parts]
    more = call("generate_music.py", *flags, "--instruments", "Flute, drums", "--instrument", "Church Organ, Tuba")
    assert "--instrument names 2 sounds for 1 part: the last ones are not used" in more.stdout
    mine = ("--prior", save(band_piece(3), tmp_path / "mine.mid"), "--instrument", "1, 2, 3, 4, 5")
    more = call("predict_with_prior.py", *flags, *mine)
    assert "--instrument names 5 sounds for 4 parts: the last ones are not used" in more.stdout


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--instruments", "Blockfish"), "--instruments 'Blockfish' is not a General MIDI instrument"),
        (("--instruments", "drums", "--no-drums"), "leaves no part to play: choose from .*Flute"),
    ],
)
def test_wrong_instruments_are_refused_in_a_sentence(band: Path, tmp_path: Path, flags: tuple[str, ...], sentence: str):
    import re

    result = call("generate_music.py", "--weights", band, "--out", tmp_path, *flags, *QUIET)
    assert re.search(sentence, one_line_error(result))


def test_new_music_continues_on_the_tracks_of_a_fragment(band: Path, tmp_path: Path):
    whole = band_piece(50)
    whole.parts = [Part("Voice", 73, channel=4), Part("I", 40, channel=2), Part("II", 40), *whole.parts[3:]]
    prior = save(whole, tmp_path / "prior.mid")
    flags = ("--prior", prior, "--weights", band, "--prior-notes", 60, "--notes", 300, "--seed", 1)
    result = call("predict_with_prior.py", *flags, "--out", tmp_path / "out", *QUIET)
    assert result.returncode == 0, result.stderr
    piece, before = midi.read(midi_files(tmp_path / "out")[0]), midi.read(prior)
    assert {part.name: part for part in piece.parts} == {part.name: part for part in before.parts}
    rows = [
        list(zip(p.onset, p.pitch, p.velocity, [p.parts[i].name for i in p.part], strict=True)) for p in (piece, before)
    ]
    assert set(rows[1][:60]) <= set(rows[0])
    after = np.bincount(piece.part[piece.onset > before.onset[60]], minlength=len(piece.parts))
    assert (after > 0).all()


def test_unknown_parts_are_heard_as_the_nearest(band: Path, tmp_path: Path):
    prior = make_piece(
        [(beat * 480, 48 + beat % 5, 480, 80, 0) for beat in range(16)] + [(i * 960, 80, 960, 80, 1) for i in range(8)],
        parts=[Part("Zither", 15), Part("Piccolo", 72)],
    )
    path = save(prior, tmp_path / "prior.mid")
    flags = ("--prior", path, "--weights", band, "--notes", 60, "--seed", 1, "--out", tmp_path / "out", *QUIET)
    result = call("predict_with_prior.py", *flags)
    assert result.returncode == 0, result.stderr
    assert "Zither is new to this network: it is heard as" in result.stdout
    assert "Piccolo is new to this network: it is heard as Flute." in result.stdout
    assert set(cast_of(midi.read(midi_files(tmp_path / "out")[0]))) <= {"Zither", "Piccolo"}


def test_drums_alone_can_be_learnt_and_played(tmp_path: Path):
    rng = np.random.default_rng(1)
    for seed in range(4):
        rows = [(i * 240, int(rng.choice([36, 38, 42])), 60, 90, 0) for i in range(64)]
        save(make_piece(rows, parts=[Part("", 0, drums=True)]), tmp_path / "music" / f"{seed}.mid")
    weights = tmp_path / "drums.weights.h5"
    with eagerly():
        result = call("train.py", "--midi-dir", tmp_path / "music", "--weights", weights, "--epochs", 1, *TINY)
    assert result.returncode == 0, result.stderr
    flags = ("--weights", weights, "--notes", 40, "--seed", 1, "--out", tmp_path / "out")
    assert call("generate_music.py", *flags, "--notation").returncode == 0
    piece = midi.read(midi_files(tmp_path / "out")[0])
    assert [part.drums for part in piece.parts] == [True] and set(piece.pitch) <= {36, 38, 42}
    in_key = call("generate_music.py", *flags, "--key", "D minor")
    assert "knows only drums, which have no key: leave out --key" in one_line_error(in_key)
    without = call("train.py", "--midi-dir", tmp_path / "music", "--weights", tmp_path / "x.weights.h5", "--no-parts")
    assert "only drums" in one_line_error(without)
    one_line_error(call("generate_music.py", *flags, "--no-drums"))
    asked = call("generate_music.py", *flags, "--instruments", "Violin")
    assert "--instruments leaves no part to play: choose from Drums." in one_line_error(asked)
    known, prior = checkpoint.load(weights).vocabulary, band_piece(1)
    heard, players, remarks = ensemble.hear(known, prior)
    assert len(heard) == prior.is_drum.sum() and list(players) == [parts.DRUMS]
    assert remarks == ["This network has learnt nothing but drums: the other parts of the fragment do not play on."]
    with pytest.raises(UserError, match="The fragment has no drums"):
        ensemble.hear(known, random_piece(1))


def test_no_player_breaks_the_rules_of_its_part(band: Path, vocabulary: Vocabulary):
    """Only the opening's parts play, in their ranges, the bass never two notes at once; and each chord is in order."""
    weights = checkpoint.load(band)
    opening = compose.openings(weights, 8, 1)
    how = sampler.Sampling(1.2, seed=2)
    made = compose.new_pieces(Stepper(weights), opening, how, Wanted(120))
    for one, begun in zip(made, opening, strict=True):
        values = vocabulary.decode(one.classes)
        assert set(values["part"].tolist()) <= set(begun["parts"])
        onset = np.cumsum(values["offset"])
        rank = onset * 10**7 + values["part"] * 10**3 + values["note"]
        assert (np.diff(rank) > 0).all()
        for value, known in vocabulary.players.items():
            mine = values["part"] == value
            note, begin, end = values["note"][mine], onset[mine], (onset + values["duration"])[mine]
            assert ((known.low <= note) & (note <= known.high)).all()
            assert ((note >= events.FIRST_DRUM) == (value == parts.DRUMS)).all()
            # The piano's piece is heard as another part's, and its chords are held for longer than any offset.
            assert not known.alone or len(begun["parts"]) == 1 or (begin[1:] >= end[:-1]).all()
    assert vocabulary.players[parts.value_of(33)].alone


def test_the_nearest_part_is_of_the_same_family_and_register():
    known = {parts.value_of(40, 0): 72.0, parts.value_of(42): 48.0, parts.value_of(73): 75.0, parts.DRUMS: 160.0}
    viola, piccolo, kit = parts.value_of(41), parts.value_of(72), parts.DRUMS
    heard = parts.heard_as({viola: 52.0, piccolo: 84.0, kit: 150.0}, known)
    assert heard == {viola: parts.value_of(42), piccolo: parts.value_of(73), kit: parts.DRUMS}
    # A known part is heard as itself, and then no violin is left for the other two.
    three = {parts.value_of(40, i): 70.0 - i for i in range(3)}
    heard = parts.heard_as(three, known)
    assert heard[parts.value_of(40, 0)] == parts.value_of(40, 0) and len(set(heard.values())) == 3
    assert parts.heard_as({kit: 150.0}, {parts.value_of(0): 60.0}) == {}


def test_training_says_who_is_heard_as_another_part_and_who_is_not_heard():
    def source(*more: Part) -> dataset.Source:
        parts = [Part("", 73), Part("", 33), *more]
        rows = [(480 * i, 38 if part.drums else 60, 480, 80, k) for i in range(8) for k, part in enumerate(parts)]
        return dataset.Source("a", 0.5, events.from_piece(make_piece(rows, parts=parts)))

    known, both = [source()] * 5, source(Part("Solo", 68), Part("Kit", 0, drums=True))
    vocabulary = build_vocabulary([one.events for one in known], Representation(), 0)
    first, *others = training.describe_parts([*known, both], dataset.encode([*known, both], vocabulary))
    assert first == "parts: Flute (6 pieces, 56 notes), Electric Bass (finger) (6 pieces, 48 notes)"
    missing = "parts that this network does not have, "
    assert others == [missing + "heard as the nearest that it has: Solo (1 piece)", missing + "left out: Kit (1 piece)"]


def test_forty_tracks_are_learnt_as_forty_parts():
    rows = [(i * 10, 40 + i, 480, 80, i) for i in range(40)]
    piece = make_piece(rows, parts=[Part(f"T{i}", i % 3) for i in range(40)])
    heard = events.from_piece(piece)
    assert len(set(heard.streams["part"].tolist())) == 40
    vocabulary = build_vocabulary([heard], Representation(), 2)
    back = vocabulary.decode(vocabulary.encode(heard)[0])
    assert (back["part"] == heard.streams["part"]).all()
    corpus = dataset.encode([dataset.Source("a", 0.5, heard)], vocabulary, 2)
    assert corpus.playing.all() and corpus.playing.shape == (1, 40)


def test_drums_end_with_the_fragment_if_the_network_knows_none(weights: Path):
    network = Stepper(checkpoint.load(weights))
    prior = band_piece(1)
    (made,), before, sentences = compose.continuations(
        network, prior, sampler.Sampling(seed=1), Wanted(40, prepend=True), 1
    )
    assert any("no drums" in sentence for sentence in sentences)
    piece = made.piece
    kit = [i for i, part in enumerate(piece.parts) if part.drums][0]
    assert len(before) == len(prior) and piece.onset[piece.part == kit].max() <= prior.onset.max()
    only = prior.take(np.array([part.drums for part in prior.parts])[prior.part])
    with pytest.raises(UserError, match="only drums"):
        ensemble.hear(network.vocabulary, only)


def test_without_parts_new_notes_never_go_to_the_drums():
    how = Representation(streams=("offset", "note", "duration"))
    prior = band_piece(1)
    vocabulary = build_vocabulary([events.from_piece(prior, how)], how, 0)
    mostly_drums = prior.take(prior.is_drum | (prior.part == 3))
    _, players, _ = ensemble.hear(vocabulary, mostly_drums)
    assert players == {0: prior.parts[3]} and 2 * mostly_drums.is_drum.sum() > len(mostly_drums)
    held = fragment.held_keys(vocabulary, prior, players)
    struck = np.zeros((1, 128), bool)
    struck[:, prior.pitch[~prior.is_drum]] = True
    assert ((held > 0) == struck).all()


def test_rare_drums_stay_drums():
    """Even if only one piece in ten has drums: no other part can play them."""
    pieces = [events.from_piece(random_piece(seed)) for seed in range(9)] + [events.from_piece(band_piece(1))]
    vocabulary = build_vocabulary(pieces, Representation(), 0)
    assert list(vocabulary.players) == [parts.DRUMS, *np.unique(pieces[0].streams["part"])]
    back = vocabulary.decode(vocabulary.encode(pieces[-1])[0])
    assert ((back["note"] >= events.FIRST_DRUM) == (back["part"] == parts.DRUMS)).all()


@pytest.mark.parametrize(
    ("named", "heard_as"),
    [
        # The file calls all parts pianos, and the first violin is the lower one.
        (
            [Part("Flute"), Part("Violin 2"), Part("Violin 1"), Part("Bass")],
            ["Flute", "Violin 2", "Violin 1", "Bass"],
        ),
        # Three parts of one instrument, of which the network knows one by name.
        (
            [Part("Canto", 40), Part("Violin 2", 40), Part("Quinto", 40), Part("Bass", 33)],
            ["Flute", "Violin 2", "Violin 1", "Bass"],
        ),
        # Of two parts with one name, the one that has the instrument too is meant.
        (
            [Part("Flute", 73), Part("Bass"), Part("Violin 2", 40), Part("Bass", 33)],
            ["Flute", "Violin 1", "Violin 2", "Bass"],
        ),
        # A piano is no drum kit, whatever it is called.
        (
            [Part("Flute", 73), Part("Kit"), Part("Violin 2", 40), Part("Bass", 33)],
            ["Flute", "Violin 1", "Violin 2", "Bass"],
        ),
    ],
)
def test_the_parts_of_a_fragment_are_heard_by_name(vocabulary: Vocabulary, named: list[Part], heard_as: list[str]):
    """What the network reads as the notes of a part are those of the part that then plays on."""
    prior = band_piece(57)
    prior.parts = [*named, prior.parts[4]]
    heard, players, _ = ensemble.hear(vocabulary, prior)
    known = {part: vocabulary.players[value].name for value, part in players.items()}
    assert [known[part] for part in named] == heard_as
    for value, part in players.items():
        theirs = prior.pitch[prior.part == prior.parts.index(part)]
        read = heard.streams["note"][heard.streams["part"] == value]
        assert np.array_equal(np.unique(read % events.FIRST_DRUM), np.unique(theirs))


def test_a_part_that_does_not_play_on_blocks_no_keys(band: Path, vocabulary: Vocabulary):
    """In particular, it does not hold the keys of the network's first part."""
    prior = band_piece(1)
    _, players, _ = ensemble.hear(vocabulary, prior)
    less = {value: part for value, part in players.items() if part.name != "Flute"}
    flute = fragment.held_keys(vocabulary, prior, players) - fragment.held_keys(vocabulary, prior, less)
    changed = {list(vocabulary.players)[i] for i in np.flatnonzero(flute.any(axis=1))}
    assert {vocabulary.players[value].name for value in changed} == {"Flute"}


def test_the_two_hands_of_an_unnamed_piano_stay_apart(band: Path):
    """Many files have a track for each hand, both without a name, on one channel with one instrument."""
    network = Stepper(checkpoint.load(band))
    rows = [(i * 480, pitch + i % 5, 480, 80, hand) for i in range(16) for hand, pitch in ((0, 72), (1, 48))]
    prior = make_piece(rows, parts=told_apart([Part("", 40, channel=3)] * 2))
    for programs in ((), (19, 19)):
        wanted = Wanted(60, prepend=True, programs=programs)
        (made,), _, _ = compose.continuations(network, prior, sampler.Sampling(seed=1), wanted, 1)
        piece = made.piece
        before, after = piece.take(piece.onset < 16 * 480), piece.take(piece.onset >= 16 * 480)
        assert before.part.tolist() == prior.part.tolist() and len(piece.parts) == 2 + len(programs)
        # The first hand, which is higher, is heard and continued as the first violin, the other as the second.
        values = network.vocabulary.decode(made.classes)
        heard = [value for value, part in made.players.items() if part.twin != ensemble.UNHEARD]
        for lower, who in enumerate(sorted(heard)[::-1]):
            mine = set(after.pitch[after.part == after.part.max() - 1 + lower].tolist())
            assert mine == set(values["note"][values["part"] == who].tolist()) != set()


def test_an_opening_is_recast_for_the_players_asked_for(band: Path, vocabulary: Vocabulary):
    """Each plays a part of it note for note; the notes of all other parts are left out."""
    weights = checkpoint.load(band)
    players, _ = ensemble.asked(vocabulary, "Flute, Electric Bass (finger)", drums=False)
    for opening in weights.about["openings"]:
        roles = ensemble.roles(vocabulary, opening, players)
        recast = ensemble.recast(vocabulary, opening, players)
        before, after = (vocabulary.decode(each["classes"]) for each in (opening, recast))
        onset = [np.cumsum(values["offset"]) for values in (before, after)]
        for player, part in roles.items():
            played = [np.c_[when, v["note"], v["duration"]] for when, v in zip(onset, (before, after), strict=True)]
            theirs = played[0][before["part"] == part]
            assert np.array_equal(theirs, played[1][after["part"] == player])
        assert set(after["part"]) == set(roles)


def test_a_player_who_has_been_silent_for_long_becomes_likelier(band: Path, vocabulary: Vocabulary):
    """By one nat once its patience is over, and from then on by the square of how many times as long it has waited."""
    network, count = Stepper(checkpoint.load(band)), vocabulary.parts
    start = network.start(1, (4, 4))
    voices, wanted = start.voices, []
    prefer, of_two = (all_play(np.arange(count)[None] < those, 100) for those in (count, 2))
    for length in range(100, 100 + 12 * count + 1):  # the first part plays for three times their patience
        state = replace(start, length=length, voices=voices)
        wanted.append(prefer("part", np.zeros((1, count)), state, {})[0].tolist())
        part = np.full(1, length == 100 + 8 * count - 1)  # the second plays once, after two thirds of that
        voices = voices.after(
            1 * part, np.full(1, 60), np.ones(1, int), np.ones(1, int), dict.fromkeys(voices.last, np.zeros(1))
        )
    assert wanted[0] == [0] * count and wanted[-1] == [0, 1, *[9] * (count - 2)]
    assert of_two("part", np.zeros((1, count)), state, {})[0].tolist() == [0, (count / 2) ** 2, *[0] * (count - 2)]
    assert prefer("offset", wanted, state, {}) is wanted


@pytest.mark.parametrize("length", [{"notes": 50}, {"bars": 4}, {"bars": 4, "ending": False}])
def test_parts_that_nobody_asked_for_are_only_imagined(band: Path, vocabulary: Vocabulary, length: dict):
    """As many notes are heard as were asked for, while the network hears more."""
    weights, (players, _) = checkpoint.load(band), ensemble.asked(vocabulary, "Flute, Bass")
    wanted = Wanted(**length, players=players, prepend=True)
    begun = compose.openings(weights, 2, 1, wanted=wanted)
    assert all(len(one["players"]) == 5 for one in begun)
    made = compose.new_pieces(Stepper(weights), begun, sampler.Sampling(seed=1), wanted)
    for one, opening in zip(made, begun, strict=True):
        assert {part.name for part in one.piece.parts} == {"Flute", "Bass"}
        values = vocabulary.decode(one.classes)
        heard = np.isin(values["part"], list(players))
        assert len(set(values["part"][~heard])) > 1
        if "notes" in length:
            there = vocabulary.decode({stream: np.array(some) for stream, some in opening["classes"].items()})
            assert len(one.piece) == 50 + np.isin(there["part"], list(players)).sum() and heard.sum() == 50
        alone = ensemble.heard(events.to_piece(values, 12, 12, players=one.players))
        assert {part.name for part in alone.parts if part.twin != ensemble.UNHEARD} == {"Flute", "Bass"}
        assert len(alone) == heard.sum()


@pytest.mark.parametrize("length", [{"notes": 60}, {"bars": 4}])
def test_after_a_fragment_the_other_parts_are_imagined(band: Path, vocabulary: Vocabulary, length: dict):
    whole = band_piece(1)
    prior = whole.take((whole.part == 0) | (whole.part == 3)).played()
    wanted = Wanted(**length, prepend=True)
    (made,), _, _ = compose.continuations(Stepper(checkpoint.load(band)), prior, sampler.Sampling(seed=1), wanted, 1)
    new = made.piece.take(made.piece.onset > prior.onset.max())
    assert {part.name for part in made.piece.parts} == {part.name for part in new.played().parts} == {"Flute", "Bass"}
    assert len(set(vocabulary.decode(made.classes)["part"])) == 5
    assert len(made.piece) == len(prior) + 60 or "bars" in length


def test_players_who_would_hardly_be_heard_have_no_imagined_company(band: Path, vocabulary: Vocabulary):
    players, _ = ensemble.asked(vocabulary, "Flute")
    opening = checkpoint.load(band).about["openings"][0]
    assert len(ensemble.imagined(vocabulary, opening, players)) == 4  # the flute comes in every second beat, for two
    values = vocabulary.decode({stream: np.array(some) for stream, some in opening["classes"].items()})
    flute = values["part"] == next(iter(players))
    values["duration"][flute] = 1
    assert ensemble.sounding(values, players) < ensemble.HALF
    rest = {"offset": np.array([2, 4, 0]), "duration": np.array([2, 2, 6]), "part": np.array([5, 5, 7])}
    assert [ensemble.sounding(rest, those) for those in ([5], [7], [5, 7], [])] == [0.4, 0.6, 0.8, 0]


def test_imagined_parts_leave_room_for_those_that_are_heard(band: Path, vocabulary: Vocabulary):
    network, count = Stepper(checkpoint.load(band)), vocabulary.parts
    imagined, logits, rule = np.arange(count + 1)[None] != 1, np.zeros((1, count)), room_for_heard(10)
    state = replace(network.start(1, (4, 4)), imagined=imagined)
    assert np.isfinite(rule("part", logits, replace(state, length=10 + SPARE - 1), {})).all()
    those_left = np.isfinite(rule("part", logits, replace(state, length=10 + SPARE), {}))
    assert those_left.tolist() == (~imagined[:, :-1]).tolist()
    heard = []
    for part in (0, 1, 1):
        event = {}
        for stream in network.streams:
            event |= network.known(stream, np.array([part if stream == "part" else 0]), state, event)
        state = network.append(state, event)
        heard.append(int(state.heard[0]))
    assert heard == [0, 1, 2]


def test_instruments_asked_for_are_matched_with_the_parts_of_the_network(vocabulary: Vocabulary):
    """Drums only if they are named; unknown instruments by their usual register and by which parts play together."""
    players, _ = ensemble.asked(vocabulary, "Flute")
    assert [part.name for part in players.values()] == ["Flute"]
    players, remarks = ensemble.asked(vocabulary, "Flute, drums", drums=False)
    assert [part.name for part in players.values()] == ["Flute"] and "--no-drums" in remarks[0]
    choir = {parts.value_of(52, i): mean for i, mean in enumerate((70.0, 65.0, 59.0, 50.0))}
    four = replace(
        vocabulary, players={v: Class(f"Voice {i}", 0, 127, m, True) for i, (v, m) in enumerate(choir.items())}
    )
    four.companies = {frozenset(choir): 3}
    players, _ = ensemble.asked(four, "Violin, Violin, Viola, Cello")
    voices = {part.called(): four.players[value].name for value, part in players.items()}
    assert voices == {"Violin 1": "Voice 0", "Violin 2": "Voice 1", "Viola": "Voice 2", "Cello": "Voice 3"}
    beside, remarks = ensemble.asked(four, "Violin, Violin, Viola, Cello, Drums")  # which it does not have
    assert beside == players and remarks[-1].startswith("Drums: not played")
    four.players[parts.value_of(52, 0)] = Class("Soprano", 0, 127, 70.0, True)
    assert [part.name for part in ensemble.asked(four, "Sopran, voice 2")[0].values()] == ["Soprano", "Voice 2"]
    four.players[parts.value_of(52, 0)] = Class("Voice 0", 0, 127, 70.0, True)
    four.players[parts.value_of(40)] = Class("Violin 1", 0, 127, 74.0, True)
    names = [part.called() for part in ensemble.asked(four, "Violin, Violin")[0].values()]
    assert names == ["Violin 1", "Violin 2"]
    del four.players[parts.value_of(40)]
    _, remarks = ensemble.asked(four, "Voice 1, Cello")  # the first is known, but in company it may play another part
    assert all("is new" in remark for remark in remarks if not remark.startswith("Voice"))
    assert not any("is new" in remark for remark in remarks if remark.startswith("Voice"))
    relatives = {parts.value_of(program): Class(str(program), 0, 127, 60.0, True) for program in (0, 32, 18, 61)}
    many = replace(vocabulary, players=dict(sorted(relatives.items())))
    many.companies = {frozenset(relatives): 1, frozenset([parts.value_of(0), parts.value_of(32)]): 50}
    players, _ = ensemble.asked(many, "Church Organ, Trumpet")  # not the piano and the bass, who play together alone
    assert [many.players[value].name for value in players] == ["18", "61"]
    players, remarks = ensemble.asked(four, "Violin, Voice 0, Voice 1, Voice 2, Voice 3")  # each voice is its own part
    assert [part.name for part in players.values()] == [f"Voice {i}" for i in range(4)]
    assert remarks == ["Violin: this network has no more parts of its kind, so one fewer plays."]
    how = Representation(streams=("offset", "note", "duration"))
    none = build_vocabulary([events.from_piece(band_piece(1), how)], how, 0)
    with pytest.raises(UserError, match="this network has learnt none"):
        ensemble.asked(none, "Flute")


def test_without_drums_no_opening_is_for_drums_alone(band: Path):
    weights = checkpoint.load(band)
    kept = [{**one, "parts": [parts.DRUMS]} if i else one for i, one in enumerate(weights.about["openings"])]
    weights = replace(weights, about={**weights.about, "openings": kept})
    begun = compose.openings(weights, 8, 1, wanted=Wanted(drums=False))
    assert {one["name"] for one in begun} == {kept[0]["name"]}
