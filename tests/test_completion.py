"""Music written around what is given: parts that are kept, and the bars around those that are filled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, band_piece, call, make_piece, one_line_error, random_piece, run, save

from utils import casting, checkpoint, completion, constraints, dataset, ensemble, events, midi, particles
from utils.checkpoint import Checkpoint
from utils.completion import Asked
from utils.constraints import Players
from utils.errors import UserError
from utils.events import Representation
from utils.measure import likelihood
from utils.particles import Given, Guide, Versions
from utils.piece import COLUMNS, Part, Piece
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.vocabulary import Vocabulary, build_vocabulary

QUIET = ("--no-wav", "--no-picture", "--no-copying", "--particles", 4)
BAR = 1920  # ticks


@pytest.fixture(scope="module")
def learnt(band: Path) -> Checkpoint:
    return checkpoint.load(band)


def notes(piece: Piece, which: np.ndarray | slice = slice(None)) -> list[tuple]:
    """The notes in order, each with the name of its part."""
    columns = (piece.onset, piece.pitch, piece.duration, piece.velocity, piece.part)
    rows = zip(*(column[which].tolist() for column in columns), strict=True)
    return sorted((*row, piece.parts[part].called()) for *row, part in rows)


def complete(learnt: Checkpoint, prior: Piece, seed: int = 1, **asked) -> Piece:
    (made,), _, _ = completion.completions(
        Stepper(learnt), prior, Sampling(0.9, 1, seed), Asked("it", versions=8, **asked), 1
    )
    return made.piece


def off_the_grid(piece: Piece) -> Piece:
    """The piece as somebody might play it: some notes early, some late."""
    piece.onset[:] = np.maximum(piece.onset + np.random.default_rng(1).integers(-9, 10, len(piece)), 0)
    return piece.sorted()


def test_a_constraint_of_the_caller_holds_for_new_notes_alone(learnt: Checkpoint):
    """The given notes, which it excludes, stay, and are heard as they are."""
    prior, network, scores = band_piece(50), Stepper(learnt), []
    flute = prior.part == [part.called() for part in prior.parts].index("Flute")
    high = learnt.vocabulary.values["note"]
    high = (high >= 60) & (high < events.FIRST_DRUM)
    low = constraints.forbidding("note", lambda state, chosen: high[None])
    for how in (Sampling(0.9, 1, 1), Sampling(0.9, 1, 1).constrained(low)):
        (made,), _, _ = completion.completions(network, prior, how, Asked("it", "Flute", "Bass", versions=8), 1)
        new = made.piece.take([made.piece.parts[part].called() != "Flute" for part in made.piece.part])
        assert len(made.piece) - len(new) == flute.sum() and len(new) and np.isfinite(made.nats)
        scores.append(new.pitch.max())
    assert scores[1] < 60


@pytest.mark.parametrize("keep", ["Flute", "bass, kit"])
def test_kept_parts_come_out_exactly_and_all_others_are_new(learnt: Checkpoint, keep: str):
    prior = off_the_grid(band_piece(50))
    names = keep.casefold().split(", ")
    kept = np.array([part.called().casefold() in names for part in prior.parts])[prior.part]
    made = complete(learnt, prior, keep=keep)
    mine = np.array([part.called().casefold() in names for part in made.parts])[made.part]
    assert notes(made, mine) == notes(prior, kept)
    assert len(made) > kept.sum() and notes(made, ~mine) != notes(prior, ~kept)
    assert {part.called() for part in made.parts} <= {part.called() for part in prior.parts}
    assert (made.onset + made.duration)[~mine].max() <= 5 * BAR  # some of its last notes were late


def test_the_first_bars_can_be_kept_whole(learnt: Checkpoint):
    prior = band_piece(51)
    made = complete(learnt, prior, keep="Bass", whole_bars=2)
    assert notes(made, made.onset < 2 * BAR) == notes(prior, prior.onset < 2 * BAR)
    assert notes(made, made.onset >= 2 * BAR) != notes(prior, prior.onset >= 2 * BAR)


@pytest.mark.parametrize("fill", ["2", "2-3", "1, 4", "4", "2-4,3-3"])
def test_bars_are_filled_and_all_others_come_out_exactly(learnt: Checkpoint, fill: str):
    prior = band_piece(52)
    prior = prior.take((prior.onset < BAR) | (prior.onset >= 2 * BAR)) if fill == "2" else prior  # a gap
    bars = {number for first, last in completion.bar_numbers(fill) for number in range(first, last + 1)}
    made = complete(learnt, prior, fill=fill)
    new, old = (np.isin(piece.onset // BAR + 1, list(bars)) for piece in (made, prior))
    assert notes(made, ~new) == notes(prior, ~old)
    assert new.any() and notes(made, new) != notes(prior, old)
    assert all(end <= BAR * max(bars) for end in (made.onset + made.duration)[new])


def test_a_part_can_be_kept_while_bars_are_filled(learnt: Checkpoint):
    prior = band_piece(53)
    made = complete(learnt, prior, keep="Bass", fill="2-3")
    for piece in (made, prior):
        piece.parts = [part._replace(name=part.called()) for part in piece.parts]
    inside, bass = ((p.onset >= BAR) & (p.onset < 3 * BAR) for p in (made, prior)), [p.parts for p in (made, prior)]
    stays = [
        ~new | np.array([part.name == "Bass" for part in parts])[piece.part]
        for new, parts, piece in zip(inside, bass, (made, prior), strict=True)
    ]
    assert notes(made, stays[0]) == notes(prior, stays[1]) and not stays[0].all()


def test_the_pedal_is_lifted_where_new_notes_are_written(learnt: Checkpoint):
    whole = band_piece(58)
    end, flute = 4 * BAR, [part.called() for part in whole.parts].index("Flute")
    bass = next(i for i, part in enumerate(whole.parts) if i != flute and not part.drums)
    whole = replace(whole, pedals=np.array([[100, end, flute], [100, BAR + 50, bass], [BAR + 60, end, bass]]))
    piece = complete(learnt, whole, fill="2", keep="Flute")
    names = [part.called() for part in piece.parts]
    downs = [[*pedal[:2], names[pedal[2]]] for pedal in piece.pedals.tolist()]
    name = whole.parts[bass].called()
    assert sorted(downs) == sorted([[100, end, "Flute"], [100, BAR, name], [2 * BAR + 1, end, name]])
    new = (piece.part == names.index(name)) & (piece.onset >= BAR) & (piece.onset < 2 * BAR)
    assert new.any() and (piece.onset + piece.sounding().duration)[new].max() <= 2 * BAR


def test_bars_of_music_with_a_single_part_are_filled(weights: Path):
    prior = random_piece(40, bars=6)
    made = complete(checkpoint.load(weights), prior, fill="3-4")
    new, old = ((piece.onset >= 2 * BAR) & (piece.onset < 4 * BAR) for piece in (made, prior))
    assert notes(made, ~new) == notes(prior, ~old) and new.any()


def test_a_melody_gets_the_parts_that_usually_play_with_it(learnt: Checkpoint):
    """It is heard as the part whose place it takes; with --parts the others are chosen."""
    melody = make_piece([(i * 480, 84 + i % 5, 480) for i in range(16)], parts=[Part("Tune", 74)])
    asked = Asked("it", keep="tune", versions=4)
    (made,), before, remarks = completion.completions(Stepper(learnt), melody, Sampling(seed=1), asked, 1)
    assert "Tune is heard as Flute." in remarks and notes(before) == notes(melody)
    assert {part.called() for part in made.piece.parts} <= {"Tune", "Violin 1", "Violin 2", "Bass", "Kit"}
    assert len(made.piece) > len(melody)
    some = complete(learnt, melody, keep="tune", others="violin 2, Bass")
    assert {part.called() for part in some.parts} <= {"Tune", "Violin 2", "Bass"} and len(some.parts) > 1


def test_the_usual_parts_are_imagined_beside_those_that_are_named(learnt: Checkpoint):
    """They are not heard in the piece, and the parts that are named are."""
    prior = band_piece(50)
    asked = Asked("it", keep="Flute", others="Bass", versions=8)
    who, _ = completion.cast(learnt.vocabulary, prior, completion.kept_parts(prior, asked), asked)
    assert [part.name for part in ensemble.not_imagined(who.playing).values()] == ["Flute", "Bass"]
    assert len(who.playing) == 5
    for programs in ((), (19,)):
        made = complete(learnt, prior, keep="Flute", others="Bass", programs=programs)
        assert {part.called() for part in made.parts} == {"Flute", "Church Organ" if programs else "Bass"}


def test_new_notes_may_begin_where_in_a_quarter_note_given_ones_do(band: Path):
    learnt = checkpoint.load(band)
    prior, grid = band_piece(54), learnt.vocabulary.grid
    flute = prior.part == [part.called() for part in prior.parts].index("Flute")
    prior.onset[flute] += BAR // 12  # a third of a quarter note
    learnt.vocabulary.positions = np.arange(grid) == 0
    prior, asked = prior.sorted(), Asked("it", keep="Flute")
    kept, (regions, end) = completion.kept_parts(prior, asked), completion.regions_of(prior, asked, grid)
    who, _ = completion.cast(learnt.vocabulary, prior, kept, asked)
    given = completion.given_events(learnt.vocabulary, who, regions, end)
    state = completion.begin(Stepper(learnt), given, who, ())
    assert state.length == 0  # all given notes come later
    assert grid // 3 in np.flatnonzero(state.positions) and not state.positions.all()


def test_drums_are_kept_by_any_of_their_names():
    prior = band_piece(50)
    prior.parts[4] = Part("Track 5", 0, drums=True)
    for name in ("drums", "Kit", "track 5"):
        assert completion.kept_parts(prior, Asked("it", keep=name)).tolist() == [False, False, False, False, True]
    with pytest.raises(
        UserError, match="no part 'Tuba' to keep; its parts are Flute, Violin 2, Violin 1, Bass, Track 5"
    ):
        completion.kept_parts(prior, Asked("it", keep="Tuba"))


@pytest.mark.parametrize("keep", ["Flute", "Bass", "Guest, Bass", "Guest, Flute"])
def test_exactly_what_is_kept_is_given_even_of_parts_too_many_for_the_network(learnt: Checkpoint, keep: str):
    """A sixth part plays with the five that the network knows; it is heard as one of them."""
    prior, vocabulary = band_piece(50), learnt.vocabulary
    guest = prior.part == 0
    both = {name: np.append(getattr(prior, name), getattr(prior, name)[guest]) for name in COLUMNS}
    both["part"][len(prior) :] = 5
    both["pitch"][len(prior) :] += 2
    prior = replace(prior, **both, parts=[*prior.parts, Part("Guest", 80)]).sorted()
    asked = Asked("it", keep=keep)
    kept, (regions, end) = completion.kept_parts(prior, asked), completion.regions_of(prior, asked, vocabulary.grid)
    who, _ = completion.cast(vocabulary, prior, kept, asked)
    given = completion.given_events(vocabulary, who, regions, end)
    stays = prior.take(kept[prior.part])
    notes = vocabulary.decode({stream: classes[:-1] for stream, classes in given.classes.items()})["note"]
    ticks = given.onset[:-1] * prior.ticks_per_quarter // vocabulary.grid
    assert sorted(ticks.tolist()) == sorted(stays.onset.tolist())
    near = [min(abs(stays.pitch[stays.onset == tick] - note)) for tick, note in zip(ticks, notes, strict=True)]
    assert max(near) <= 12  # a note that was never seen in training is given as the nearest


def test_a_name_may_contain_a_comma():
    prior = replace(band_piece(50), parts=[Part("Lead, high", 73), *band_piece(50).parts[1:]])
    assert completion.kept_parts(prior, Asked("it", keep="lead, High")).tolist() == [True, False, False, False, False]


def test_a_part_is_heard_as_the_one_of_its_name(learnt: Checkpoint):
    """Even if the part above is missing, or has another name and sound: otherwise each would be heard one too high."""
    prior = band_piece(57)
    named = {1: Part("Violin 1", 40), 2: Part("Violin 2", 40), 0: Part("Tune", 74)}
    prior.parts = [named.get(i, part) for i, part in enumerate(prior.parts)]
    heard = events.from_piece(prior.take((prior.part == 0) | (prior.part == 2)), learnt.vocabulary.representation)
    values, _ = casting.in_company(learnt.vocabulary, heard)
    names = {heard.parts[value].name: learnt.vocabulary.players[known].name for value, known in values.items()}
    assert names == {"Tune": "Flute", "Violin 2": "Violin 2"}


def test_the_weight_of_a_version_is_the_likelihood_of_what_is_given(learnt: Checkpoint):
    """Where nothing may be written, it is the likelihood of the whole piece."""
    network, vocabulary = Stepper(learnt), learnt.vocabulary
    heard = events.from_piece(band_piece(54), vocabulary.representation)
    corpus = dataset.encode([dataset.Source("it", 0.5, heard)], vocabulary)
    classes = {stream: np.append(corpus.inputs[stream][1:-1], 0) for stream in network.streams}
    classes["offset"][-1] = vocabulary.end
    onset = np.cumsum(np.append(heard.streams["offset"], 0))
    bar = np.full(len(onset), 48)
    nobody = np.zeros(vocabulary.parts, bool)
    phase = np.append(heard.phase, 0)
    given = Given(classes, onset, phase, bar, nobody, np.array([[0, int(onset[-1]) + 1]]))
    guide, rng = Guide(given, Players(network, nobody[None]), []), np.random.default_rng(1)
    versions = Versions(network.start(2, (4, 4)), np.zeros(2), np.zeros(2), np.full(2, None))
    for guide.now in range(len(onset)):
        versions = particles.until_given(network, versions, guide, Sampling(seed=1).constrained(guide), rng)
    nats = likelihood.score(network, corpus).nats.sum()
    assert -versions.worth == pytest.approx([nats] * 2, rel=1e-4) == versions.nats
    assert versions.written.tolist() == [None, None]


def test_weighing_many_versions_gives_a_likelier_piece(learnt: Checkpoint):
    """Likelier than a single version, which is written with no regard to the given notes that are still to come."""

    def nats(versions: int) -> float:
        asked = Asked("it", keep="Flute", versions=versions)
        made = [
            completion.completions(Stepper(learnt), band_piece(60 + i), Sampling(seed=i), asked, 1)[0][0]
            for i in range(4)
        ]
        return float(np.mean([one.nats for one in made]))

    assert nats(32) < nats(1)


def test_good_versions_are_copied_and_bad_ones_dropped(learnt: Checkpoint):
    state = Stepper(learnt).start(4, (4, 4))
    written = np.array(list("abcd"), object)
    versions = Versions(state, np.log([0.5, 0.5, 1e-9, 1e-9]), np.arange(4.0), written)
    assert versions.resampled(np.random.default_rng(1)).written.tolist() == list("abcd")  # two good ones are enough
    one = Versions(state, np.log([1e-9, 0.9, 0.1, 1e-9]), np.arange(4.0), written)
    resampled = one.resampled(np.random.default_rng(1))
    assert {"b"} <= set(resampled.written) <= {"b", "c"} and resampled.worth.tolist() == [0] * 4
    assert resampled.nats.tolist() == [1.0 if each == "b" else 2.0 for each in resampled.written]


def test_parts_are_kept_and_bars_redone_as_a_user_runs_it(band: Path, tmp_path: Path):
    path, out = save(band_piece(55), tmp_path / "mine.mid"), tmp_path / "out"
    flags = ("predict_with_prior.py", "--weights", band, "--prior", path, "--out", out, "--seed", 1, *QUIET)
    result = run(*flags, "--keep", "Flute", "--count", 2)
    assert result.returncode == 0, result.stderr
    costs = [float(line.split(" nats a note")[0].split()[-1]) for line in result.stdout.splitlines() if "Wrote" in line]
    assert len(costs) == 2 and costs == sorted(costs)
    assert sorted(file.name for file in out.glob("*.mid")) == ["mine-completed-001.mid", "mine-completed-002.mid"]
    result = run(*flags[:4], out / "mine-completed-001.mid", *flags[5:], "--redo", "2-3", "--notation")
    assert result.returncode == 0, result.stderr
    again, first = (midi.read(file) for file in sorted(out.glob("mine-completed-001*.mid")))
    inside = [(piece.onset >= BAR) & (piece.onset < 3 * BAR) for piece in (first, again)]
    assert notes(first, ~inside[0]) == notes(again, ~inside[1])
    assert inside[1].any() and notes(first, inside[0]) != notes(again, inside[1])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--keep", "Oboe"], "no part 'Oboe'"),
        (["--fill", "3-9"], "has the bars 1 to 4"),
        (["--fill", "1-4"], "Without bars 1-4 nothing of"),
        (["--fill", "four"], "names no bars"),
        (["--fill", "3-2"], "has the bars 1 to 4"),
        (["--fill", "2", "--prior-bars", "1"], "leave out --prior-bars"),
        (["--fill", "2", "--prior-start", "4"], "leave out --prior-start"),
        (["--fill", "2", "--redo", "3"], "both say which bars"),
        (["--fill", "2", "--no-prepend"], "--no-prepend is for music that follows"),
        (["--redo", "3-9"], "name some of these, not 3-9"),
        (["--keep", "Flute", "--prior-bars", "4"], "--prior-bars must be from 0 to 3, not 4"),
        (["--parts", "Bass"], "--keep"),
        (["--keep", "Flute", "--parts", "gamelan"], "--parts 'gamelan' is not a General MIDI instrument"),
        (["--keep", "Flute", "--particles", "0"], "--particles"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(band: Path, tmp_path: Path, flags: list[str], sentence: str):
    path = save(band_piece(55), tmp_path / "mine.mid")
    usual = ("--weights", band, "--prior", path, "--out", tmp_path, "--no-wav", "--no-picture")
    assert sentence in one_line_error(call("predict_with_prior.py", *usual, *flags))
    assert not list(tmp_path.glob("*completed*"))


def test_weights_with_too_few_parts_cannot_keep_any(weights: Path, learnt: Checkpoint):
    with pytest.raises(UserError, match="knows too few parts"):
        complete(checkpoint.load(weights), band_piece(56), keep="Flute")
    how = replace(learnt.vocabulary.representation, streams=("offset", "note", "duration"))
    values = {stream: learnt.vocabulary.values[stream] for stream in how.streams}
    with pytest.raises(UserError, match="have learnt no parts"):
        kept = completion.kept_parts(band_piece(56), Asked("it", keep="Flute"))
        completion.cast(Vocabulary(values, how), band_piece(56), kept, Asked("it"))


def test_unknown_notes_are_reported_and_come_out_exactly(learnt: Checkpoint):
    strange = make_piece([(i * 507, 20 + i, 9000, 80) for i in range(8)], parts=[Part("Deep", 58)])
    asked = Asked("it", keep="Deep", versions=4)
    (made,), before, remarks = completion.completions(Stepper(learnt), strange, Sampling(seed=1), asked, 1)
    deep = made.piece.part == [part.name for part in made.piece.parts].index("Deep")
    assert notes(made.piece, deep) == notes(strange) == notes(before)
    assert any("never seen in training" in remark for remark in remarks)


def test_parts_of_the_same_name_are_numbered_from_the_highest_down():
    low, high = (make_piece([(480 * i, pitch, 480) for i in range(8)]) for pitch in (50, 70))
    prior = replace(low, parts=[Part("Violin", 40)]).joined(replace(high, parts=[Part("Violin", 40)]))
    prior = replace(prior, part=(prior.pitch == 70).astype(int), parts=[Part("Violin", 40), Part("Violin", 40, twin=1)])
    for keep, kept in {"violin": [True, True], "Violin 1": [False, True], "violin 2": [True, False]}.items():
        assert completion.kept_parts(prior, Asked("it", keep=keep)).tolist() == kept
    with pytest.raises(UserError, match="its parts are Violin 2, Violin 1"):
        completion.kept_parts(prior, Asked("it", keep="Violin 3"))


def test_unknown_drums_stay_only_where_they_are_kept():
    prior = band_piece(57)
    vocabulary = build_vocabulary([events.from_piece(prior.take(~prior.is_drum))], Representation(), 0)
    for keep in ("flute, kit", "flute"):
        kept = completion.kept_parts(prior, Asked("it", keep=keep))
        _, remarks = completion.cast(vocabulary, prior, kept, Asked("it", keep=keep))
        assert "the drums of the fragment stay only where they are kept." in remarks[0]
    for others in ("", "Bass"):
        asked = Asked("it", keep="kit", others=others)
        with pytest.raises(UserError, match="cannot hear kit"):
            completion.cast(vocabulary, prior, completion.kept_parts(prior, asked), asked)


def test_drums_that_the_bundled_network_cannot_write_stay_in_bars_that_it_fills():
    prior = band_piece(57)
    made = complete(checkpoint.load(ROOT / "weights/bach-chorales.weights.h5"), prior, fill="2")
    assert notes(made, made.is_drum) == notes(prior, prior.is_drum)


def test_drums_that_the_bundled_network_cannot_hear_can_be_kept_in_bars_that_it_fills():
    prior = band_piece(57)
    made = complete(checkpoint.load(ROOT / "weights/bach-chorales.weights.h5"), prior, keep="kit", fill="2")
    assert notes(made, made.is_drum) == notes(prior, prior.is_drum)
    new, old = (~p.is_drum & (p.onset >= BAR) & (p.onset < 2 * BAR) for p in (made, prior))
    assert new.any() and notes(made, ~new) == notes(prior, ~old)


@pytest.mark.parametrize(("others", "voice"), [("", "Alto"), ("Alto, Tenor, Bass", "Soprano")])
def test_a_low_tune_is_on_top_if_only_lower_voices_are_asked_for(others: str, voice: str):
    """As the README says of the bundled network."""
    tune = make_piece([(i * 480, 60 + i % 8, 480) for i in range(16)], parts=[Part("Melody", 73)])
    asked = Asked("it", keep="Melody", others=others)
    vocabulary = checkpoint.load(ROOT / "weights/bach-chorales.weights.h5").vocabulary
    _, remarks = completion.cast(vocabulary, tune, np.array([True]), asked)
    assert f"Melody is heard as {voice}." in remarks
    hint = 'To keep it on top, name no higher part: --parts "Alto, Tenor, Bass".'
    assert (hint in remarks) == (not others)


def test_a_new_beginning_begins_when_the_old_one_did(learnt: Checkpoint):
    prior = band_piece(60)
    for rest in (0, BAR // 4):
        prior.onset = prior.onset + rest
        for seed in range(4):
            made = complete(learnt, prior, seed, fill="1")
            assert 0 <= made.onset[0] <= prior.onset[0]


def test_it_is_said_if_much_less_is_written_than_was_there(learnt: Checkpoint):
    full = band_piece(59)
    empty = full.take((full.onset < BAR) | (full.onset >= 2 * BAR) | (full.onset % (BAR // 2) == 0))
    for prior, sparse in ((full, True), (empty, False)):
        how = Sampling(seed=1, constraints=(constraints.no_onset_before(Stepper(learnt), 2 * BAR // 40 - 6),))
        *_, remarks = completion.completions(Stepper(learnt), prior, how, Asked("it", fill="2", versions=8), 1)
        assert any("try another --seed" in remark for remark in remarks) == sparse


def test_a_part_of_the_piece_is_written_for_its_own_instrument():
    """Although the bundled network has a part of the same name, a singer."""
    rows = [(i * 480, pitch, 480, 80, k) for i in range(16) for k, pitch in enumerate((79, 40))]
    prior = make_piece(rows, parts=[Part("Flute", 73), Part("Bass", 33)])
    asked = Asked("it", keep="Flute", others="bass, Alto")
    vocabulary = checkpoint.load(ROOT / "weights/bach-chorales.weights.h5").vocabulary
    who, _ = completion.cast(vocabulary, prior, np.array([True, False]), asked)
    written = {part for value, part in who.playing.items() if value not in who.kept}
    assert {Part("Bass", 33), Part("Alto", 52)} <= written


def test_a_kept_part_is_heard_as_itself_whoever_else_is_asked_for(learnt: Checkpoint):
    prior = band_piece(58)
    asked = Asked("it", keep="Flute", others="Oboe, Bass")
    who, remarks = completion.cast(learnt.vocabulary, prior, completion.kept_parts(prior, asked), asked)
    names = {learnt.vocabulary.players[value].name: part.called() for value, part in who.playing.items()}
    assert names["Flute"] == "Flute" and "Oboe" in names.values()
    assert not any("Flute is heard as" in remark for remark in remarks)


def test_parts_are_kept_by_names_with_commas():
    rows = [(0, 60 + i, 480, 80, i) for i in range(3)]
    piece = make_piece(rows, parts=[Part("Left, Hand"), Part("Right, Hand", 5), Part("Bass", 33)])
    for keep, expected in {
        "left, hand": [True, False, False],
        "Bass": [False, False, True],
        ("Left, Hand", "Bass"): [True, False, True],
        "Right, Hand, bass": [False, True, True],
    }.items():
        assert completion.kept_parts(piece, Asked("It", keep)).tolist() == expected
