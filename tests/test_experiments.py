"""experiments.py: a question at toy size, and the ways of training that it compares."""

import functools
import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, TINY, call, one_line_error, random_piece, run, save
from traced import traced_once

import experiments
from utils import dataset, events, network, settings
from utils.events import Representation
from utils.heads import Shape
from utils.measure import ancestors, likelihood, ways
from utils.vocabulary import build_vocabulary

STREAMS = ("offset", "note", "duration")
WITH = ["--seeds", 1, "--minutes", 0.1, "--flags", " ".join(TINY[:-2])]


def asked(folder: Path, *flags: object) -> SimpleNamespace:
    """The settings of experiments.py for one run in this process."""
    return settings.parse(ROOT / "experiments.py", [str(flag) for flag in (*WITH, "--out", folder, *flags)])


def test_a_question_is_answered_and_no_run_is_repeated(music: Path, tmp_path: Path):
    flags = ["--question", "prior", "--priors", "0,4,20", "--following", 20, "--midi-dir", music, "--out", tmp_path]
    first = run("experiments.py", *flags, *WITH)
    assert first.returncode == 0, first.stderr
    (priors,) = json.loads(first.stdout.splitlines()[-1])["as it is"]
    assert list(priors) == ["0", "4", "20"] and all(0 < row["nats_per_note"] < 12 for row in priors.values())
    (made,) = tmp_path.glob("*/results.json")
    row = json.loads(made.read_text())
    assert row["updates"] > 0 and row["nats_per_note"] == pytest.approx(sum(row["heads"].values()))
    written = made.stat().st_mtime
    again = run("experiments.py", *flags, *WITH)
    assert again.stdout == first.stdout and made.stat().st_mtime == written


def test_every_way_belongs_to_a_question_and_all_questions_are_listed():
    assert set(itertools.chain(*ways.QUESTIONS.values())) == set(ways.WAYS)
    text = run("experiments.py").stdout
    assert all(question in text for question in ways.QUESTIONS)
    assert "as it is; nothing dropped, one key\n" in text  # two ways


@pytest.mark.parametrize("flags", ["--seed 4", "--units 8 --midi-dir=there", "--minutes 5", "--resume"])
def test_flags_that_are_set_for_each_run_cannot_be_given_to_all(music: Path, tmp_path: Path, flags: str):
    command = ["--question", "cells", "--midi-dir", music, "--out", tmp_path, f"--flags={flags}"]
    error = one_line_error(call("experiments.py", *command))
    assert "which this script sets itself" in error and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("asked", "way", "flags", "said"),
    [
        ("as it iss", ("", dict), [], "'as it iss', which is not in WAYS"),
        ("mine", ("--dropot 0.2", dict), [], "unrecognized arguments: --dropot"),
        ("mine", ("", dict), ["--score-dir", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_way_is_reported_before_any_run(
    music: Path, tmp_path: Path, monkeypatch, asked: str, way: tuple, flags: list[str], said: str
):
    monkeypatch.setitem(ways.WAYS, "mine", way)
    monkeypatch.setitem(ways.QUESTIONS, "mine", ("as it is", asked))
    command = ["--question", "mine", "--midi-dir", music, "--out", tmp_path, *flags]
    assert said in one_line_error(call("experiments.py", *command)) and not list(tmp_path.iterdir())


def test_the_columns_of_a_table_are_aligned_and_separate(capsys):
    row = {"nats_per_note": 12.29, "nats_per_beat": 60.69, "updates": 1, "parameters": 2, "notes_per_second": 3}
    runs = {"a": [row | {"heads": {"offset": 2.05}}], "b": [row | {"heads": dict.fromkeys("abcde", 2.05)}]}
    experiments.print_table(runs)
    heading, *lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in (heading, *lines)}) == 1
    assert lines[1].split() == "b 12.290 60.690 a 2.05, b 2.05, c 2.05, d 2.05, e 2.05 1 2 3".split()


def test_copying_is_measured_at_each_stage_of_training(music: Path, tmp_path: Path):
    flags = ["--question", "copying", "--stages", "2,1", "--pieces", 2, "--midi-dir", music]
    args = asked(tmp_path, "--only", "as it is", *flags)
    with traced_once():
        experiments.main(args)  # in ascending order
    stages = json.loads((experiments.folder_of(args) / "results.json").read_text())
    assert stages["1"]["train"] > stages["2"]["train"]
    assert stages["2"]["generated max"] >= stages["2"]["generated median"] > 0


def test_a_network_trains_with_all_changes_at_once(music: Path, tmp_path: Path, monkeypatch):
    names = ("label smoothing", "one target a window", "scalar inputs")
    ticks = itertools.count(0, 0.2)  # seconds; it advances each time it is read
    changes = {**ways.averaged(), **ways.focal(), "clock": functools.partial(next, ticks)}
    for name in names:
        changes |= ways.WAYS[name][1]()
    assert len(changes) == 7
    monkeypatch.setitem(ways.WAYS, "all", ("--embedding 1", lambda: changes))
    experiments.alone(asked(tmp_path, "--only", "all", "--midi-dir", music))
    (results,) = tmp_path.glob("*/results.json")
    assert json.loads(results.read_text())["updates"] > 3


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Lion"])
def test_other_optimizers_get_their_settings(name: str):
    made = ways.WAYS[name][1]()["optimizer"](0.1, 0.2, 0.3)
    assert type(made) is getattr(network.keras.optimizers, name)
    assert [float(made.learning_rate), made.weight_decay, made.global_clipnorm] == pytest.approx([0.1, 0.2, 0.3])


def test_losses_and_costs_are_what_they_are_by_hand():
    weights, nats = np.ones((1, 2, 3), np.float32), np.array([[[0.0, 1, 2], [3, 0, 0]]], np.float32)
    assert float(network.Way().loss(weights, nats)) == pytest.approx(3)
    expected = sum(n * (1 - np.exp(-n)) ** 2 for n in (1, 2, 3)) / 2
    assert float(ways.focal()["loss"](weights, nats)) == pytest.approx(expected)
    logits, target = np.array([[1.0, 2, 4]], np.float32), np.array([0])
    log_p = logits - np.log(np.exp(logits).sum())
    assert float(network.Way().cost(target, logits)[0]) == pytest.approx(-log_p[0, 0], rel=1e-5)
    smoothed = -0.9 * log_p[0, 0] - 0.1 * log_p.mean()
    assert float(ways.smoothing()["cost"](target, logits)[0]) == pytest.approx(smoothed, rel=1e-5)


def test_the_score_is_in_nats_whatever_the_cost(music: Path, tmp_path: Path):
    """A way may change the trainer's cost, but never the scorer's."""
    sources = [dataset.Source("a", 0.5, events.from_piece(random_piece(1)))]
    vocabulary = build_vocabulary([s.events for s in sources], Representation(), 0)
    args = settings.parse(ROOT / "train.py", [*TINY, f"--streams={','.join(vocabulary.streams)}"])
    shape, corpus, scores = Shape.of(args), dataset.encode(sources, vocabulary), []
    for way in (network.Way(), network.Way(**ways.smoothing())):
        network.keras.utils.set_random_seed(1)
        _, scorer = network.build(vocabulary, shape, way)
        scorer.run_eagerly = True  # once, which takes less time than tracing it
        scores.append(likelihood.held_out_nats(scorer, corpus, shape))
    np.testing.assert_allclose(*scores, rtol=1e-6)


def test_only_the_last_event_of_a_window_is_trained():
    sources = [dataset.Source("a", 0.5, events.from_piece(random_piece(1)))]
    vocabulary = build_vocabulary([s.events for s in sources], Representation(), 0)
    corpus = dataset.encode(sources, vocabulary)
    for _, weights in ways.last_target_alone()["batches"](corpus, 16, 2, 0, np.random.default_rng(1)):
        assert not weights[:, :-1].any() and weights[:, -1, 0].all()


def test_results_of_other_code_are_not_reused(tmp_path: Path, monkeypatch):
    args = asked(tmp_path, "--only", "as it is")
    now = experiments.folder_of(args)
    assert now == experiments.folder_of(args)
    monkeypatch.setattr(experiments, "state_of_the_code", lambda: "another")
    assert now != experiments.folder_of(args)


def test_results_of_other_music_are_not_reused(music: Path, tmp_path: Path):
    folder = shutil.copytree(music, tmp_path / "music")
    args = asked(tmp_path, "--only", "as it is", "--midi-dir", folder)
    now = experiments.folder_of(args)
    assert now == experiments.folder_of(args)
    save(random_piece(99), folder / "new.mid")
    experiments.music_in.cache_clear()
    assert now != experiments.folder_of(args)


@pytest.mark.parametrize(
    ("question", "flags"),
    [
        ("prior", ["--priors=40,-4"]),
        ("prior", ["--following=0"]),
        ("copying", ["--stages=2,0"]),
        ("copying", ["--stages=0"]),
        ("cells", ["--minutes=-1"]),
    ],
)
def test_sizes_that_cannot_be_are_reported_before_any_run(question: str, flags: list, music: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = call("experiments.py", "--question", question, "--midi-dir", music, "--out", out, *flags)
    assert "must be at least" in one_line_error(result) and not out.exists()


def test_the_ancestors_network_is_scored_event_by_event():
    sources = [dataset.Source(str(n), n / 9, events.from_piece(random_piece(n, 1 + n))) for n in range(2)]
    vocabulary = build_vocabulary([s.events for s in sources], Representation(), 0)
    corpus, window = dataset.encode(sources, vocabulary), 6
    sizes = {stream: vocabulary.size(stream) for stream in vocabulary.streams}
    assert sizes.pop("part") == 1  # so there is nothing to learn of it
    network.keras.utils.set_random_seed(1)
    model = ancestors.build(vocabulary, window)
    model.run_eagerly = True  # a few times each, which takes less time than tracing it for batches of several sizes
    clock = itertools.count(0, 20)
    assert ancestors.learn(model, corpus, 1, 1, lambda: next(clock)) == 2
    total = dict.fromkeys(vocabulary.streams, 0.0)
    for begin, end in itertools.pairwise(corpus.first.tolist()):
        for at in range(begin + 1, end):
            index = np.maximum(np.arange(at - window, at), begin)
            read = [(corpus.inputs[s][index] / size)[None, :, None].astype(np.float32) for s, size in sizes.items()]
            for stream, probability in zip(sizes, model.predict_on_batch(read), strict=True):
                if stream == "offset" or at < end - 1:
                    total[stream] -= np.log(probability[0, corpus.inputs[stream][at]])
    np.testing.assert_allclose(ancestors.score(model, corpus, batch=7), list(total.values()), rtol=1e-4)
