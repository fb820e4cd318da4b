"""evaluate.py, run as a user runs it or in this process, and its measures."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import ROOT, call, make_piece, one_line_error, random_piece, run, save
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluate import show_judge
from utils import checkpoint, compose, dataset, events, midi, theory
from utils.errors import UserError
from utils.events import Representation
from utils.measure import copying, evaluation, likelihood, ngram, plots, statistics
from utils.settings import parse
from utils.source import beats_of
from utils.stepper import Stepper
from utils.vocabulary import build_vocabulary

STREAMS = ("offset", "part", "note", "duration")


def evaluate(*flags: object, start: Callable = call) -> tuple[dict, str]:
    """The numbers that evaluate.py prints as JSON, and the text that it prints for people."""
    result = start("evaluate.py", *flags, "--json", "-")
    assert result.returncode == 0, result.stderr
    *text, numbers = result.stdout.splitlines(keepends=True)
    return json.loads(numbers), "".join(text)


def asked(*flags: str) -> SimpleNamespace:
    """The settings of evaluate.py with some flags."""
    return parse(ROOT / "evaluate.py", list(flags))


def sources_of(*pieces, chords: str = "split") -> list[dataset.Source]:
    return [
        dataset.Source(str(i), i / 99, events.from_piece(piece, Representation(chords=chords)))
        for i, piece in enumerate(pieces)
    ]


def corpora(train: list, scored: list, chords: str = "split", transpose: int = 2) -> list[dataset.Corpus]:
    """(training, scored) corpora with the vocabulary of the former."""
    both = [sources_of(*pieces, chords=chords) for pieces in (train, scored)]
    vocabulary = build_vocabulary([s.events for s in both[0]], Representation(chords=chords), transpose)
    return [dataset.encode(sources, vocabulary, transpose) for sources in both]


# ---- the script ----


def test_held_out_pieces_baselines_and_samples_are_measured(weights: Path, music: Path, tmp_path: Path):
    picture = tmp_path / "samples.png"
    flags = "--samples 2 --notes 40 --passages 5".split()
    found, text = evaluate("--weights", weights, *flags, "--picture", picture, start=run)
    about = checkpoint.load(weights).about

    # The same nats as training reported for these weights, head by head.
    best = min(about["history"], key=lambda row: row["score"])
    assert found["nats_per_note"] == pytest.approx(best["held_out"], abs=1e-3)
    for stream in STREAMS:
        assert found["heads"][stream] == pytest.approx(best[f"held_out_{stream}"], abs=1e-3)
        assert 0 <= found["accuracy"][stream] <= 1
    held_out = {row["name"] for row in found["per_piece"]}
    assert held_out == set(about["split"]["held_out"])
    assert found["pieces"] == len(held_out) and found["trained_on"] == 0
    assert found["nats_total"] == pytest.approx(found["nats_per_note"] * found["notes"])
    assert found["nats_total"] == pytest.approx(found["nats_per_beat"] * found["beats"])
    assert {row["beats"] for row in found["per_piece"]} <= {32, 33}  # eight bars; a last note may last longer
    baselines = found["baselines"]
    assert baselines["5-gram"]["nats_per_note"] < baselines["unigram"]["nats_per_note"]
    assert baselines["unigram"]["nats_per_note"] < baselines["uniform"]["nats_per_note"]
    assert set(found["moved"]) == set(STREAMS)

    assert picture.read_bytes().startswith(b"\x89PNG")
    table = found["samples"]["statistics"]
    assert set(table) == set(statistics.describe(make_piece([(0, 60, 480)])))
    assert len(table["pitch_classes"]["real"]) == 12
    assert found["copying"]["generated"]["max"] >= 1
    assert len(found["copying"]["generated"]["per_piece"]) == 2
    assert {row["name"] for row in found["copying"]["held_out"]["per_piece"]} <= set(about["split"]["train"])
    assert f"\nrange{table['range']['generated']:23.3f}{table['range']['real']:10.3f}" in text
    measured = found["samples"]
    assert measured["pieces"] == {"generated": 2, "real": 5, "held_out": len(held_out)}
    assert set(measured["beyond"]["real"]) == {"stuck over 0.5", "stuck over 0.8", "drift over 12", "not home"}
    assert measured["ending"]["generated"] == {"pieces": 0} and measured["ending"]["real"]["pieces"] == 5
    assert measured["judge"] == {"generated": None, "held_out": None} and "The judge needs at least 8 pieces" in text
    assert found["remarks"] == []
    assert "longest run shared with the training music" in text and f"Wrote {picture}" in text
    nats, counted = found["nats_per_note"], baselines["5-gram"]["nats_per_note"]
    pieces = f"{len(held_out)} piece{'s' * (len(held_out) > 1)}"
    short = f"tiny: {nats:.2f} nats a note on {pieces} that it never saw (5-gram {counted:.2f})."
    assert text.splitlines()[-1] == short


def test_how_whole_pieces_end_is_measured(weights: Path, music: Path, tmp_path: Path):
    flags = ["--samples", 12, "--notes", 0, "--no-baselines", "--picture", tmp_path / "samples.png"]
    found, text = evaluate("--weights", weights, *flags)
    measured = found["samples"]
    assert measured["ending"]["generated"]["pieces"] == 12 == len(found["copying"]["generated"]["per_piece"])
    assert 0 <= measured["ending"]["generated"]["triad"] <= 1
    assert f"whole pieces (12 new, {measured['ending']['real']['pieces']} training)" in text


def test_the_verdict_of_the_judge_is_shown(capsys):
    train, unseen = ([events.from_piece(random_piece(seed)) for seed in seeds] for seeds in (range(30), range(30, 50)))
    made = [events.from_piece(replace(piece, pitch=piece.pitch // 3 * 3)) for piece in map(random_piece, range(50, 70))]
    music = {"real": train, "held_out": unseen}
    found = evaluation.beside_real(made, music, asked("--notes=60", "--passages=20"), 12)
    assert found["pieces"] == {"generated": 20, "real": 20, "held_out": 20} and found["notes"] == 60
    verdicts = found["judge"]
    assert verdicts["generated"]["auc"] > 0.9 > 0.75 > verdicts["held_out"]["auc"]
    show_judge(verdicts)
    text = capsys.readouterr().out
    assert f"  new pieces              {verdicts['generated']['auc']:.0%}\n" in text
    assert f"  held-out pieces         {verdicts['held_out']['auc']:.0%}\n" in text
    assert text.endswith("\n  ".join(["beats:", *verdicts["generated"]["giveaways"]]) + "\n")


def test_pieces_of_a_folder_that_were_trained_on_are_recognised(weights: Path, music: Path, tmp_path: Path):
    names = checkpoint.load(weights).about["split"]["train"]
    save(midi.read(music / names[0]).finer(2), tmp_path / "under another name.mid")
    save(random_piece(77), tmp_path / names[1])  # the name of a training piece, but other music
    found, text = evaluate("--weights", weights, "--midi-dir", tmp_path)
    assert {row["name"]: row["trained_on"] for row in found["per_piece"]} == {
        "under another name.mid": True, names[1]: False
    }  # fmt: skip
    assert "; pieces that it was trained on: 1\n" in text
    assert "on 2 pieces, 1 of which it learnt from (5-gram" in text.splitlines()[-1]
    # Without the training music, guessing is the only baseline, and pieces are recognised by name only.
    (tmp_path / "broken.mid").write_text("no music")
    flags = ["--training-dir", tmp_path / "nowhere", "--samples", 1]
    found, text = evaluate("--weights", weights, "--midi-dir", tmp_path, *flags)
    assert set(found["baselines"]) == {"uniform"} and found["trained_on"] == 1
    assert "samples" not in found and "cannot be compared" in text
    assert "guessing is the only baseline" in text and "by name only" in text and "skipped: broken.mid" in text
    assert "(guessing" in text.splitlines()[-1]
    assert [remark.split(":")[0] for remark in found["remarks"]][1:] == ["skipped"]


def test_numbers_go_into_a_file_and_no_missing_training_piece_counts_as_new(weights: Path, music: Path, tmp_path):
    train = checkpoint.load(weights).about["split"]["train"]
    for name in train[1:]:
        save(midi.read(music / name), tmp_path / "there" / name)
    save(midi.read(music / train[0]), tmp_path / "scored" / train[0])
    flags = ["--midi-dir", tmp_path / "scored", "--training-dir", tmp_path / "there", "--no-baselines"]
    result = run("evaluate.py", "--weights", weights, *flags, "--json", tmp_path / "new" / "numbers.json")
    lines, found = result.stdout.splitlines(), json.loads((tmp_path / "new" / "numbers.json").read_text())
    assert f"1 of {len(train)} training pieces are no longer in {tmp_path / 'there'}" == found["remarks"][0] == lines[0]
    assert found["trained_on"] == 1 and found["baselines"] == {}
    assert lines[-1] == f"tiny: {found['nats_per_note']:.2f} nats a note on 1 piece that it learnt from."


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--weights", "none.weights.h5"], "run 'python train.py' first"),
        (["--weights", ","], "--weights , names no file"),
        (["--weights", "a,b", "--keep", "Soprano"], "--keep works with a single network"),
        (["--midi-dir", "none"], "none does not exist"),
        (["--training-dir", "none"], "elsewhere, name its folder with --training-dir"),
        (["--training-dir", "samples"], "None of the pieces held out"),
        (["--picture", "a.txt"], "must end in .png"),
        (["--json", "tests", "--weights", "none"], "tests cannot be written"),  # checked first
        (["--json", "README.md/x", "--weights", "none"], "name another place with --json"),
        (["--keep", "Alto", "--particles", "0", "--weights", "none"], "--particles is 0; it must be at least 1"),
    ],
)
def test_wrong_input_gives_a_one_line_error(weights: Path, flags: list[str], sentence: str):
    assert sentence in one_line_error(call("evaluate.py", "--weights", weights, *flags))


def test_new_pieces_that_are_too_short_are_not_compared(weights: Path, music: Path, monkeypatch):
    monkeypatch.setattr(statistics, "FIGURE", 1000)
    result = evaluation.evaluate(weights, asked("--samples=2", "--bars=1", "--no-baselines"))
    assert "samples" not in result and "left out: 2 of 2 new pieces" in result["remarks"][-1]


def test_a_new_piece_that_is_too_short_is_not_left_out_silently(weights: Path, music: Path, monkeypatch):
    made = compose.new_pieces

    def one_short(*args) -> list[compose.Made]:
        first, *others = made(*args)
        return [replace(first, piece=first.piece.take(slice(3))), *others]

    monkeypatch.setattr(compose, "new_pieces", one_short)
    result = evaluation.evaluate(weights, asked("--samples=4", "--notes=40", "--no-baselines"))
    assert result["samples"]["pieces"]["generated"] == 3
    assert result["remarks"] == ["too short to be compared, so left out: 1 of 4 new pieces"]


# ---- several networks ----


def another(weights: Path, path: Path, held_out: list[str]) -> Path:
    """A copy of a network with other pieces held out, and half of the weights of its heads set to 0."""
    shutil.copy(weights, path)
    with h5py.File(path, "r+") as file:
        about = json.loads(file["about"][()])
        both = about["split"]["train"] + about["split"]["held_out"]
        about["split"] = {"train": [name for name in both if name not in held_out], "held_out": held_out}
        del file["about"]
        file["about"] = json.dumps(about)
        for stream in STREAMS:
            file[f"network/head_{stream}/0"][::2] = 0
    return path


def test_two_networks_are_compared_on_what_neither_learnt_from(weights: Path, music: Path, tmp_path: Path):
    (ours, *_), (theirs, known, *_) = (checkpoint.load(weights).about["split"][side] for side in ("held_out", "train"))
    other = another(weights, tmp_path / "other.weights.h5", [ours, theirs])
    folder = tmp_path / "music"
    for seed in range(100, 107):
        save(random_piece(seed, 4), folder / f"new {seed}.mid")
    save(midi.read(music / known).finer(2), folder / "known by its notes.mid")
    save(random_piece(100, 4).finer(2), folder / "twice.mid")
    found, text = evaluate("--weights", f"{weights}, {other}", "--midi-dir", folder)
    assert [row["name"] for row in found["per_piece"]] == [f"new {seed}.mid" for seed in range(100, 107)]
    for path in map(str, (weights, other)):
        alone, _ = evaluate("--weights", path, "--midi-dir", folder, "--no-baselines")
        nats = {row["name"]: row["nats_per_note"] for row in alone["per_piece"]}
        for row in found["per_piece"]:
            assert row["nats_per_note"][path] == pytest.approx(nats[row["name"]], rel=1e-4)
        total = sum(row["nats_per_note"][path] * row["notes"] for row in found["per_piece"])
        assert found["networks"][path]["nats_per_note"] == pytest.approx(total / found["notes"])
        assert sum(found["networks"][path]["heads"].values()) == pytest.approx(total / found["notes"])
    (verdict,) = found["verdict"]
    better, worse = sorted(found["networks"], key=lambda path: found["networks"][path]["nats_per_note"])
    assert verdict.startswith(f"{better} is better than {worse} by ") and verdict == text.splitlines()[-1]
    # Without a folder: the pieces that one of them held out and none learnt from.
    result = call("evaluate.py", "--weights", f"{weights},{other}")
    assert "1 piece that none of the networks learnt from" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("too few pieces to tell whether that is more than chance.")
    other = another(weights, tmp_path / "other.weights.h5", [theirs])
    error = one_line_error(call("evaluate.py", "--weights", f"{weights},{other}"))
    assert f"Every piece found (2 pieces) was learnt by {weights} or {other}: name a folder of other music" in error


def test_networks_with_different_representations_are_not_compared(weights: Path):
    loaded = checkpoint.load(weights)
    form = loaded.vocabulary.representation

    def changed(**changes: object) -> checkpoint.Checkpoint:
        return replace(loaded, vocabulary=SimpleNamespace(representation=replace(form, **changes)))

    # Chords as classes have no parts, which is another difference.
    with pytest.raises(UserError, match="cannot be compared.* --streams was "):
        evaluation.check_comparable({"a": loaded, "b": changed(chords="class")})
    without = replace(loaded, vocabulary=SimpleNamespace(representation=replace(form, streams=form.streams[:1])))
    with pytest.raises(UserError, match="cannot be compared.* --chords was "):
        evaluation.check_comparable({"a": without, "b": changed(chords="class", streams=form.streams[:1])})
    for name, value in (("grid", 24), ("streams", (*form.streams, "velocity")), ("max_beats", 8), ("metre", "3/4")):
        with pytest.raises(UserError, match=f"cannot be compared.* --{name.replace('_', '-')} was "):
            evaluation.check_comparable({"a": loaded, "b": loaded, "c": changed(**{name: value})})
    evaluation.check_comparable({"a": loaded, "b": changed(streams=form.streams[::-1])})  # the order does not matter
    for flags, sentence in (
        (["--weights", f"{weights},{weights}"], "name two networks"),
        (["--weights", f"{weights},other.weights.h5", "--samples", 1], "a single network"),
        (["--weights", f"{weights},none.weights.h5"], "no weights at none.weights.h5"),
    ):
        assert sentence in one_line_error(call("evaluate.py", *flags))


def test_there_is_no_verdict_if_one_network_lacks_far_more_values(weights: Path, tmp_path: Path, monkeypatch):
    encode, split = dataset.encode, checkpoint.load(weights).about["split"]
    other = another(weights, tmp_path / "b.weights.h5", split["held_out"])
    paths = [str(weights), str(other)]
    assert "is better" in evaluation.compare(paths, asked())["verdict"][0]
    lacks = iter([{"note": 10_000}, {"note": 0}, {"note": 0}, {"note": 10_000}])
    monkeypatch.setattr(dataset, "encode", lambda *args: replace(encode(*args), moved=next(lacks)))
    (verdict,) = evaluation.compare(paths, asked())["verdict"]
    assert verdict.startswith(f"No verdict on {weights} and {other}: the first lacks far more values of note")
    # The worse one is flattered, and still worse.
    assert evaluation.compare(paths, asked())["verdict"][0].startswith(f"{weights} is better than {other}")


def test_the_verdict_says_whether_the_difference_is_more_than_chance():
    def verdict(saved: list[float], level: float = 0.05) -> str:
        return evaluation.in_words("a", "b", np.array(saved), np.full(len(saved), 10), level)

    assert verdict([1] * 5) == (
        "a is better than b by 0.100 nats a note, on 5 of 5 pieces: too few pieces to tell whether that is more than "
        "chance."
    )
    assert verdict([1] * 6).startswith("a is better than b by 0.100 nats a note, on 6 of 6 pieces: more than chance (p")
    assert "too few" in verdict([1] * 6, 0.05 / 2)
    assert "on 4 of 8 pieces: that may be chance" in verdict([3, -2] * 4)
    assert "on 1 of 1 piece: too few" in verdict([1])
    assert "(p < 0.001)" in verdict([1] * 30)
    assert "by less than 0.001 nats a note" in verdict([0.001] * 30)
    assert verdict([0] * 9) == "a and b are equally good on each of 9 pieces."
    # With so few differences, all combinations of signs can be tried.
    difference = np.array([3.0, 1, -2, 5, 0.5, -1, 4])
    signs = np.array(list(product((-1, 1), repeat=7)))
    exact = np.mean(np.abs(signs @ difference) >= abs(difference.sum()))
    assert evaluation.chance(difference) == pytest.approx(exact, abs=0.02)


# ---- likelihood ----


def test_a_piece_scores_the_same_alone_and_among_others(weights: Path):
    loaded = checkpoint.load(weights)
    stepper = Stepper(loaded)
    sources = sources_of(*(random_piece(seed, bars) for seed, bars in ((1, 2), (2, 6), (3, 1), (4, 6))))
    together = likelihood.score(stepper, dataset.encode(sources, loaded.vocabulary))
    for i, source in enumerate(sources):
        alone = likelihood.score(stepper, dataset.encode([source], loaded.vocabulary))
        np.testing.assert_allclose(together.nats[i], alone.nats[0], rtol=1e-4)
        here = slice(together.corpus.first[i], together.corpus.first[i + 1])
        assert (together.right[here] == alone.right).all()
        size = len(source.events)
        assert together.corpus.is_target[here].sum(axis=0).tolist() == [size + 1, size, size, size]
        assert not together.events[here][~together.corpus.is_target[here]].any()
        np.testing.assert_allclose(together.events[here].sum(axis=0), together.nats[i])


def test_beats_are_counted_as_the_frames_of_the_benchmark():
    """A frame is a quarter note: silence before and within a piece counts, and the last frame counts in full."""
    assert beats_of(make_piece([(480 * frame, 60, 480) for frame in (2, 3, 7)]), 12) == 8
    assert beats_of(make_piece([(0, 60, 480 * 3), (480, 64, 480)]), 12) == 3
    # A note that ends just before or after a beat counts as ending on it.
    for nearly in (-9, 9):
        assert beats_of(make_piece([(0, 60, 960 + nearly)]), 12) == 2
    assert beats_of(make_piece([(0, 60, 960 + 99)]), 12) == 3


# ---- n-gram ----


@pytest.mark.parametrize("chords", ["split", "class"])
def test_the_ngram_is_a_distribution(chords: str):
    train, scored = corpora([random_piece(seed, 4) for seed in range(4)], [random_piece(9, 2)], chords)
    total = ngram.baselines(train, scored, 2)["5-gram"]
    for k, stream in enumerate(scored.vocabulary.streams):
        asked = np.flatnonzero(scored.targets(stream))
        symbol, counts = ngram.count(train, scored, stream, 2)
        smoothing = ngram.tune(counts, symbol)
        *_, probability = ngram.distributions(counts, smoothing, np.arange(len(asked)))
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        origin = scored.inputs["origin"][asked]
        probability = ngram.over_vocabulary(probability, stream, origin, scored.vocabulary)
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        assert probability.shape == (len(asked), scored.vocabulary.size(stream))
        nats = -np.log(probability[np.arange(len(asked)), scored.inputs[stream][asked]]).sum()
        assert nats == pytest.approx(total[k])


def test_counts_and_smoothing_by_hand():
    # Offsets of the training piece: 0, then 12 12 12 24, then the end; of the scored one 0, 12 and the end.
    onsets = np.cumsum([0, 480, 480, 480, 960])
    train, scored = corpora([make_piece([(o, 60, 480) for o in onsets])], [make_piece([(0, 60, 480), (480, 60, 480)])])
    symbol, (empty, after_offset, *_) = ngram.count(train, scored, "offset", 2)
    assert symbol.tolist() == [0, 1, 3]
    assert empty.table.toarray().tolist() == [[1, 3, 1, 1]]
    assert (empty.total.tolist(), empty.kinds.tolist()) == ([6, 6, 6], [4, 4, 4])
    # After the start 0 came, after 0 came 12, and after 12 came 12 twice and 24 once.
    asked = after_offset.table.toarray()[after_offset.context]
    assert asked.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 2, 1, 0]]
    assert (after_offset.total.tolist(), after_offset.kinds.tolist()) == ([1, 1, 3], [1, 1, 2])
    often, shorter = np.array([3, 0, 0]), np.array([0.25, 0.25, 0.5])
    total, kinds = np.array([4, 4, 0]), np.array([2, 2, 0])
    np.testing.assert_allclose(ngram.blend(often, shorter, total, kinds, (0.5, 0)), [2.75 / 4, 0.25 / 4, 0.5])
    np.testing.assert_allclose(ngram.blend(often, shorter, total, kinds, (0.5, 4)), [3.75 / 8, 1.25 / 8, 0.5])
    assert ngram.blend(often, shorter, total, kinds, None).tolist() == shorter.tolist()


@pytest.mark.parametrize("chords", ["split", "class"])
def test_the_ngram_recognises_what_it_learnt_in_another_key(chords: str):
    piece = random_piece(1)
    moved = replace(piece, pitch=piece.pitch + 2)
    train, scored = corpora([piece, random_piece(2)], [moved], chords)
    again = ngram.baselines(train, scored, 2)["5-gram"].sum()
    train, scored = corpora([random_piece(2), random_piece(3)], [moved], chords)
    assert again < 0.3 * ngram.baselines(train, scored, 2)["5-gram"].sum()


# ---- copying ----


def in_steps(rows: list[tuple]) -> events.Piece:
    return make_piece(rows, ticks_per_quarter=12)


notes = st.lists(st.tuples(st.integers(0, 2), st.integers(60, 62), st.integers(1, 2)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(st.lists(notes, min_size=1, max_size=3), st.lists(notes, min_size=1, max_size=2))
def test_the_longest_shared_run_is_what_a_slow_search_finds(training: list, made: list):
    def pieces(gaps: list[list[tuple]]) -> list[events.Piece]:
        onsets = [np.cumsum([gap for gap, *_ in piece]) for piece in gaps]
        return [in_steps([(int(o), p, d) for o, (_, p, d) in zip(on, piece, strict=True)])
                for on, piece in zip(onsets, gaps, strict=True)]  # fmt: skip

    def figure(piece: events.Piece, begin: int, length: int) -> tuple:
        part = slice(begin, begin + length)
        return (*np.diff(piece.pitch[part]), *np.diff(piece.onset[part]), *piece.duration[part])

    def counted(piece: events.Piece, begin: int, length: int) -> int:
        columns = (np.diff(piece.onset), piece.pitch[1:], piece.duration[1:])
        played = [None, *zip(*(column.tolist() for column in columns), strict=True)]
        figures = range(1, copying.FIGURE + 1)
        return sum(
            not any(i >= 2 * k and played[i - k + 1 : i + 1] == played[i - 2 * k + 1 : i - k + 1] for k in figures)
            for i in range(begin, begin + length)
        )

    there, here = pieces(training), pieces(made)
    rows = copying.longest_shared(dict(zip("abc", there, strict=False)), here)["per_piece"]
    for piece, row in zip(here, rows, strict=True):
        shared = [
            counted(piece, i, length)
            for other, i, j in product(there, range(len(piece)), range(12))
            for length in range(1, min(len(piece) - i, len(other) - j) + 1)
            if figure(piece, i, length) == figure(other, j, length)
        ]
        assert row["notes"] == max(shared, default=0)


def test_notes_that_go_on_with_a_figure_are_not_counted():
    pulse, trill = [(12 * i, 60, 12) for i in range(40)], [(12 * i, 60 + i % 2, 6) for i in range(40)]
    tune = [(12 * i, pitch, 12) for i, pitch in enumerate((60, 62, 64, 60, 67, 65, 64, 62, 71, 60))]
    pieces = [in_steps(rows) for rows in (pulse, trill, [*pulse[:30], *((o + 360, p, d) for o, p, d in tune)])]
    rows = copying.longest_shared(dict(zip("abc", pieces, strict=True)), pieces)["per_piece"]
    assert [row["notes"] for row in rows] == [2, 4, 11]


def test_a_planted_copy_is_found_in_another_key():
    training = [in_steps([(o // 40, p, d // 40) for o, p, d in zip(q.onset, q.pitch, q.duration, strict=True)])
                for q in map(random_piece, range(5))]  # fmt: skip
    source = training[3]
    begin, length = 20, 9
    copied = [
        (int(source.onset[i]), int(source.pitch[i]) - 7, int(source.duration[i])) for i in range(begin, begin + 9)
    ]
    foreign = [(i, 100 - i, 77) for i in range(4)]  # no note of the training music is so long
    made = [in_steps(foreign), in_steps([*foreign, *((o + 8, p, d) for o, p, d in copied)])]
    named = dict(zip("abcde", training, strict=True))
    shared = copying.longest_shared(named, made)
    nothing, found = shared["per_piece"]
    assert nothing == {"notes": 0, "name": "", "beat": 0}
    assert found == {"notes": length, "name": "d", "beat": source.onset[begin] / 12}
    assert (shared["median"], shared["max"]) == (4.5, 9)
    assert copying.longest_shared(named, []) == {}


def test_the_playing_scripts_say_what_they_copied(weights: Path, music: Path, tmp_path: Path, capsys):
    loaded = checkpoint.load(weights)
    sources, _ = copying.read_split(loaded.about)
    classes, _ = loaded.vocabulary.encode(sources[0].events)
    made = [compose.Made(random_piece(0), classes, 1.0)]
    copying.report(loaded, [Path("a.mid")], made, str(music))
    line = f"longest run shared with the training music: {len(sources[0].events)} notes ({sources[0].name}, beat 0)\n"
    assert capsys.readouterr().out == line
    for folder in (tmp_path, tmp_path / "nowhere", "samples"):  # empty, missing, and with other music
        copying.report(loaded, [Path("a.mid")], made, str(folder))
    about = {**loaded.about, "settings": {**loaded.about["settings"], "midi_dir": "samples"}}
    copying.report(replace(loaded, about=about), [Path("a.mid")], made)
    assert capsys.readouterr().out == ""
    copying.report(loaded, [Path("a.mid")], made)  # weights may come from anywhere and name any folder
    assert "name its folder with --training-dir" in capsys.readouterr().out
    for script in ("generate_music.py", "predict_with_prior.py"):
        flags = ["--weights", weights, "--out", tmp_path, "--notes", 20, "--count", 2, "--no-wav", "--no-picture"]
        result = call(script, *flags, "--training-dir", music)
        assert result.stdout.splitlines()[-1].startswith(f"longest run shared with the training music in {tmp_path}")
        assert "longest run" not in call(script, *flags, "--no-copying").stdout


# ---- statistics ----


def test_a_scale_has_known_statistics():
    scale = make_piece([(480 * i, 60 + p, 480) for i, p in enumerate((0, 2, 4, 5, 7, 9, 11, 12))])
    found = statistics.describe(scale)
    assert found["pitch_classes"] == [2 / 8, 0, 1 / 8, 0, 1 / 8, 1 / 8, 0, 1 / 8, 0, 1 / 8, 0, 1 / 8]
    assert found["note_lengths"][statistics.LENGTHS.index(1)] == 1
    numbers = {name: value for name, value in found.items() if isinstance(value, float) and name != "key_clarity"}
    assert numbers.pop("drift") == 10.5
    assert all(np.isnan(numbers.pop(name)) for name in ("repeated_2_bars", *list(statistics.REPEATED)[2:]))
    counted = {"range": 12, "notes_per_beat": 1, "polyphony": 1, "repeated_figures": 0, "on_beat": 1}
    assert numbers == counted | {"stuck": numbers["stuck"], "repeated_1_bar": 0, "home": numbers["home"]}


def test_loops_are_found_and_repeated_bars_counted():
    rng = np.random.default_rng(1)
    loop = [(0, 60), (480, 64), (240, 67), (240, 72), (960, 59)]  # five notes in a bar of 4/4
    onset = np.cumsum([gap for gap, _ in loop] * 8)
    stuck = make_piece([(int(at), loop[i % 5][1], 240) for i, at in enumerate(onset)])
    assert statistics.stuck(stuck) == 1 and statistics.beyond(statistics.describe(stuck))["stuck over 0.8"]
    # In the last half, one note in five has a new length, so it is not part of the loop.
    half = np.arange(40) >= 20
    varied = replace(stuck, duration=stuck.duration + half * (np.arange(40) % 5 == 0) * rng.integers(1, 99, 40))
    assert statistics.stuck(varied) == pytest.approx(0.8)
    free = make_piece([(240 * i, int(rng.integers(0, 128)), 240) for i in range(100)])
    assert statistics.stuck(free) < 0.1 and statistics.stuck(make_piece([(0, 60, 480)])) == 0
    # Two bars of 3/4 are repeated with one of six notes changed; the bar of 4/4 after them repeats nothing.
    tune = [*range(60, 66)] * 2
    tune[8] = 80
    rows = [(480 * i, pitch, 480) for i, pitch in enumerate(tune)] + [(5760 + 480 * i, 90 + i, 480) for i in range(4)]
    piece = make_piece(rows, time_signatures=[(0, 3, 4), (5760, 4, 4)])
    assert statistics.repeated(piece, 1) == 0
    assert statistics.repeated(piece, 2) == pytest.approx(5 / 10)
    assert np.isnan(statistics.repeated(piece, 8))


def scale(tonic: int, count: int = 24) -> list[int]:
    return [60 + tonic + (0, 4, 7, 0, 2, 4, 5, 7)[i % 8] for i in range(count)]


def test_home_and_how_a_piece_ends():
    def played(pitches: list[int]) -> events.Piece:
        return make_piece([(480 * i, pitch, 480) for i, pitch in enumerate(pitches)], time_signatures=[(0, 4, 4)])

    assert statistics.home(played(scale(0, 32) + scale(6, 32) + scale(0, 32))) == (True, 0)
    assert statistics.home(played(scale(0, 32) + scale(6, 32))) == (False, 6)
    tune = [(480 * i, pitch, 480) for i, pitch in enumerate(scale(0))]

    def ends(*chord: int, length: int = 1920, more: tuple = ()) -> set[str]:
        last = [(480 * 24, pitch, length) for pitch in chord]
        found = statistics.ending(make_piece([*tune, *more, *last], time_signatures=[(0, 4, 4)]))
        return {name for name, holds in found.items() if holds}

    assert ends(48, 64, 67, 72) == {"triad", "tonic", "held", "bar_line"}
    assert ends(48, 64) == {"triad", "tonic", "held", "bar_line"}  # without the fifth
    assert ends(50, 65, 69, length=480) == {"triad"}
    assert ends(59, 62, 65, length=720) == {"triad", "held"}  # diminished
    assert ends(48, 55, length=960) == {"held"}
    assert ends(48, 64, 67, 70) == {"held", "bar_line"}
    # A note that began before the last onset and still sounds belongs to the last chord.
    assert "triad" not in ends(48, 64, 67, more=[(480 * 23, 62, 960)])


def test_a_passage_keeps_its_place_in_the_bar_and_its_metres():
    rows = [(480 * i, 60 + i, 480) for i in range(10)]
    whole = events.from_piece(make_piece(rows, time_signatures=[(0, 3, 4), (480 * 6, 2, 4)]))
    part = statistics.cut(whole, 2, 6)
    assert part.onset.tolist() == [12 * i for i in (2, 3, 4, 5, 6, 7)] and part.ticks_per_quarter == 12
    assert part.time_signatures == [(0, 3, 4), (72, 2, 4)]
    assert len(statistics.cut(whole, 2)) == 8


def test_chords_rests_and_repetitions_are_counted():
    # Bars of 3/8: a chord of three eighths, then an eighth of silence.
    chords = [(720 * bar, pitch, 480) for bar in range(8) for pitch in (48, 52, 55)]
    found = statistics.describe(make_piece(chords, time_signatures=[(0, 3, 8)]))
    assert found["polyphony"] == 3 and found["on_beat"] == 1 and found["range"] == 7
    assert found["notes_per_beat"] == pytest.approx(24 * 480 / (7 * 720 + 480))
    # 17 figures of eight notes, only three of them different.
    assert found["repeated_figures"] == pytest.approx(14 / 17)
    in_quarters = statistics.describe(make_piece(chords, time_signatures=[(0, 4, 4)]))
    assert in_quarters["on_beat"] == 0.5


def test_key_clarity():
    def clarity(sounding: np.ndarray) -> float:
        """That of a chord whose notes are held this long."""
        return statistics.describe(make_piece([(0, 60 + i, round(t)) for i, t in enumerate(sounding) if t]))[
            "key_clarity"
        ]

    for tonic, profile in product((0, 7), theory.KEY_PROFILES):
        assert clarity(1e4 * np.roll(profile, tonic)) == pytest.approx(1)
    assert clarity(np.full(12, 99)) == 0
    assert clarity(99 * np.eye(12)[0] + 99 * np.eye(12)[6]) < 0.6


def test_overlap_and_divergence_of_two_normal_distributions():
    normal = np.random.default_rng(1).normal(size=2000)
    overlap, divergence = statistics.overlap_and_divergence(normal, normal + 1)
    assert overlap == pytest.approx(0.617, abs=0.03)  # 2 F(-1/2), F the distribution function
    assert divergence == pytest.approx(0.5, abs=0.1)
    assert statistics.overlap_and_divergence(normal, normal) == pytest.approx((1, 0), abs=1e-3)
    assert statistics.overlap_and_divergence(normal, np.zeros(9)) is None


def test_sets_that_differ_are_far_apart():
    rng = np.random.default_rng(1)

    def made(spread: int) -> list[statistics.Features]:
        return [statistics.describe(make_piece([(240 * i, int(60 + rng.integers(-spread, spread)), 240)
                                                for i in range(9)])) for _ in range(12)]  # fmt: skip

    real = made(8)
    same, other = (statistics.compare({"generated": made(spread), "real": real}) for spread in (8, 30))
    assert same["range"]["overlap"] > 0.7 > 0.1 > other["range"]["overlap"]
    assert same["range"]["divergence"] < 0.3 < 3 < other["range"]["divergence"]
    assert same["notes_per_beat"]["overlap"] is None  # always two
    assert same["repeated_16_bars"]["real"] is None  # none is so long


# ---- pictures ----


def test_the_legend_covers_no_line_and_the_diagram_shows_every_part(weights: Path, tmp_path: Path, monkeypatch):
    figures, loaded = [], checkpoint.load(weights)
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    plots.learning_curve(loaded.about["history"], tmp_path / "curve.png")
    shape = replace(loaded.shape, cell="lstm", layers=2)
    plots.network_diagram(loaded.vocabulary, shape, tmp_path / "network.png")
    curve, diagram = figures
    curve.draw_without_rendering()
    (legend,), (axes,) = curve.legends, curve.axes
    assert {text.get_text() for text in legend.get_texts()} == {line.get_label() for line in axes.lines}
    assert len(axes.lines) == 2 + len(STREAMS) + 1
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    words = [text.get_text() for text in diagram.axes[0].texts]
    assert sum(text.startswith("LSTM 16") for text in words) == 2
    for part in ("match model\n18 contexts", *(f"next {stream}, softmax" for stream in STREAMS)):
        assert any(text.startswith(part) for text in words), part


@pytest.mark.parametrize("more", [-11, -12, 0, 1, 5])
def test_the_picture_of_the_statistics_has_room_for_more_of_them(tmp_path: Path, more: int):
    added = {f"statistic {i}": float(i) for i in range(more)}
    features = [statistics.describe(random_piece(seed)) | added for seed in range(3)]
    numbers = [name for name in features[0] if name not in ("pitch_classes", "note_lengths")]
    for name in numbers[more:] if more < 0 else ():
        features = [{other: value for other, value in each.items() if other != name} for each in features]
    assert plots.comparison({"real": features, "generated": features[:2]}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
