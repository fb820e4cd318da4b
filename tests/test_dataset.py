"""A folder of pieces -> windows and batches."""

import faulthandler
import functools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_piece, random_piece, run, save
from hypothesis import given
from hypothesis import strategies as st

from utils import apart, dataset, events
from utils.errors import UserError
from utils.events import Representation
from utils.source import read_apart, remarks_on
from utils.vocabulary import build_vocabulary

STREAMS = ("offset", "note", "duration")


def read(folder: Path, **kwargs) -> list[dataset.Source]:
    return dataset.read_folder(folder, Representation(), **kwargs)[0]


def corpus_of(pieces: list, transpose: int = 0, chords: str = "split") -> dataset.Corpus:
    sources = [
        dataset.Source(str(i), i / 99, events.from_piece(piece, Representation(chords=chords)))
        for i, piece in enumerate(pieces)
    ]
    vocabulary = build_vocabulary([s.events for s in sources], Representation(chords=chords), transpose)
    return dataset.encode(sources, vocabulary, transpose)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 50), st.integers(0, 99))
def test_windows_never_cross_pieces(lengths: list[int], window: int, seed: int):
    # Each piece has a pitch of its own, so a window across two pieces would show two.
    corpus = corpus_of([make_piece([(i * 480, 40 + n, 480) for i in range(size)]) for n, size in enumerate(lengths)])
    rng = np.random.default_rng(seed)
    piece, start = dataset.window_starts(corpus, window, rng)
    inputs, weights = dataset.cut(corpus, piece, start, window)
    pitches = corpus.vocabulary.top[inputs["note"]]
    note = weights[..., 1] > 0
    for row in range(len(piece)):
        assert set(pitches[row, 1:][note[row]]) <= {40 + piece[row]}
    # The end of a piece is a target of the offset stream alone, and at most once in a window.
    ends = inputs["offset"][:, 1:] == corpus.vocabulary.end
    assert (weights[..., 1:][ends] == 0).all()
    assert (np.where(ends, weights[..., 0], 0).sum(axis=1) <= 1).all()
    assert dataset.batch_count(corpus, window, 4) == sum(1 for _ in dataset.batches(corpus, window, 4, 0, rng))


def test_all_of_a_piece_is_learnt_in_a_few_epochs():
    corpus = corpus_of([random_piece(1)])
    seen = np.zeros(corpus.first[-1])
    for seed in range(10):
        piece, start = dataset.window_starts(corpus, 16, np.random.default_rng(seed))
        index = start[:, None] + np.arange(1, 17)
        np.add.at(seen, index[index < corpus.first[-1]], 1)
    assert seen[1:].min() >= 3


def test_the_same_random_state_gives_the_same_batches():
    corpus = corpus_of([random_piece(seed) for seed in range(4)], 6)
    first, second = (list(dataset.batches(corpus, 16, 4, 6, np.random.default_rng(5))) for _ in range(2))
    for (inputs, weights), (again, weights_again) in zip(first, second, strict=True):
        assert all((inputs[name] == again[name]).all() for name in inputs)
        assert (weights == weights_again).all()


@pytest.mark.parametrize("chords", ["split", "class"])
def test_transposition_stays_on_the_keyboard_and_keeps_intervals(chords: str):
    pieces = [random_piece(seed) for seed in range(3)] + [make_piece([(0, 0, 480), (480, 126, 480)])]
    corpus = corpus_of(pieces, 6, chords)
    notes = corpus.vocabulary.size("note")
    for inputs, weights in dataset.batches(corpus, 16, 4, 6, np.random.default_rng(1)):
        valid = weights[..., 1] > 0
        interval = corpus.vocabulary.interval(inputs["note"], inputs["origin"])[:, 1:]
        inner = valid & (inputs["note"][:, :-1] < notes)
        assert (interval[inner] == inputs["interval"][:, 1:][inner]).all()
        # All notes here are of one part, so an interval is counted from the note before.
        assert (inputs["origin"][:, 1:][inner] == corpus.vocabulary.top[inputs["note"]][:, :-1][inner]).all()


def test_equal_files_are_on_the_same_side_and_new_files_move_no_others(music: Path, tmp_path: Path):
    folder = tmp_path / "music"
    shutil.copytree(music, folder)
    for path in list(folder.iterdir()):
        shutil.copy(path, folder / f"copy of {path.name}")
    train, held_out = dataset.hold_out(read(folder), 0.5)
    assert train and held_out
    assert not {source.place for source in train} & {source.place for source in held_out}
    for seed in range(100, 110):
        save(random_piece(seed), folder / f"new {seed}.mid")
    more_train, more_held_out = dataset.hold_out(read(folder), 0.5)
    assert {s.name for s in train} <= {s.name for s in more_train}
    assert {s.name for s in held_out} <= {s.name for s in more_held_out}
    names = {tuple(s.name for s in dataset.hold_out(read(folder, salt=salt), 0.5)[1]) for salt in range(4)}
    assert len(names) > 1


def test_neither_side_of_a_small_folder_is_empty(tmp_path: Path):
    for count in (1, 2, 3):
        save(random_piece(count), tmp_path / f"{count}.mid")
        for salt in range(20):
            train, held_out = dataset.hold_out(read(tmp_path, salt=salt), 0.1)
            assert train and held_out
            assert count == 1 or not {s.name for s in train} & {s.name for s in held_out}
    assert dataset.hold_out(read(tmp_path), 0.0)[1] == []


def test_bad_files_are_skipped_with_the_reason(tmp_path: Path):
    save(random_piece(1), tmp_path / "good.mid")
    (tmp_path / "text.mid").write_text("no music")
    good = (tmp_path / "good.mid").read_bytes()
    (tmp_path / "short.mid").write_bytes(good[:100])
    (tmp_path / "shorter.mid").write_bytes(good[:40])
    sources, skipped = dataset.read_folder(tmp_path, Representation())
    assert [source.name for source in sources] == ["good.mid", "short.mid"]
    assert dict(skipped).keys() == {"text.mid", "shorter.mid"}
    first, _, last = remarks_on(tmp_path, sources, skipped)
    assert first.startswith("skipped: shorter.mid: it is cut short") and last.startswith("short.mid: it is cut short")
    (tmp_path / "short.mid").unlink()
    (tmp_path / "good.mid").unlink()
    with pytest.raises(UserError, match="None of the 2 MIDI files"):
        read(tmp_path)


def read_or_crash(path: Path, how: Representation, **_) -> str:
    """A reader that crashes on some files."""
    if path.stem in ("3", "17", "18", "40"):
        faulthandler.disable()  # this crash is meant, so nothing needs to be printed about it
        os.abort()
    return f"{path.stem} read"


def test_a_file_that_crashes_its_reader_is_skipped(tmp_path: Path, monkeypatch):
    for number in range(41):
        (tmp_path / f"{number}.mid").touch()
    monkeypatch.setattr(dataset, "read_source", read_or_crash)
    with pytest.raises(UserError, match="None of the 41 MIDI files"):
        dataset.read_folder(tmp_path, Representation())
    files = [tmp_path / f"{number}.mid" for number in range(41)]
    for processes in (1, 2):
        found = list(apart.each(functools.partial(read_or_crash, how=None), files, processes, chunk=16))
        assert [number for number, result in enumerate(found) if result is None] == [3, 17, 18, 40]
        assert found[39] == "39 read" and len(found) == 41
    monkeypatch.setattr(apart, "THREADED", ("os",))  # as on the page of app.py, where threads run
    assert list(apart.each(os._exit, [3])) == [None]


def test_an_untrusted_file_is_read_in_a_separate_process(tmp_path: Path, monkeypatch):
    piece = read_apart(save(random_piece(1), tmp_path / "good.mid"), "good.mid")
    assert len(piece) == len(random_piece(1))
    (tmp_path / "bad.mid").write_text("no music")
    with pytest.raises(UserError, match="^bad.mid cannot be used: it is not a MIDI file.$"):
        read_apart(tmp_path / "bad.mid", "bad.mid")
    monkeypatch.setattr(apart, "each", lambda work, items: [None])
    with pytest.raises(UserError, match="^bad.mid cannot be used: it is so damaged that its reader crashed.$"):
        read_apart(tmp_path / "bad.mid", "bad.mid")


def test_an_empty_folder_says_what_to_do(tmp_path: Path):
    with pytest.raises(UserError, match="No MIDI file .* convertmidis.py --corpus bach"):
        read(tmp_path)


def test_scores_are_not_left_out_silently(tmp_path: Path):
    for name in ("a.mxl", "b/c.XML"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    convert = f"2 scores, which must be converted first: run 'python convertmidis.py --source {tmp_path} --out "
    with pytest.raises(UserError) as error:
        read(tmp_path)
    assert f"No MIDI file (.mid, .midi, .kar) in {tmp_path}, but {convert}" in str(error.value)
    save(random_piece(1), tmp_path / "good.mid")
    (remark,) = remarks_on(tmp_path, *dataset.read_folder(tmp_path, Representation()))
    assert remark.startswith(f"not read: {convert}")


def test_a_million_notes_and_an_hour_of_silence_take_little_memory(tmp_path: Path):
    onset = np.arange(1_000_000) // 4 * 120
    onset[-1] += 480 * 7200
    many = make_piece([(0, 60, 1)])
    many.onset, many.pitch = onset, np.tile([40, 50, 60, 70], 250_000)
    many.duration, many.velocity, many.part = (np.full(len(onset), value) for value in (120, 80, 0))
    source = dataset.Source("many", 0.5, events.from_piece(many))
    assert source.events.clipped == 1
    vocabulary = build_vocabulary([source.events], Representation(), 0)
    corpus = dataset.encode([source], vocabulary)
    assert corpus.events == corpus.notes == 1_000_000
    # A few bytes a note: seven million fit a laptop.
    assert sum(values.nbytes for values in corpus.inputs.values()) <= 24 * corpus.events


def test_openings_are_real_passages(music: Path):
    sources = read(music)
    vocabulary = build_vocabulary([s.events for s in sources], Representation(), 0)
    by_name = {source.name: vocabulary.encode(source.events)[0] for source in sources}
    passages = dataset.passages(sources, vocabulary, 20, 30, seed=1)
    assert len(passages) == 30
    for passage in passages:
        part = slice(passage["event"], passage["event"] + len(passage["phase"]))
        for stream, classes in passage["classes"].items():
            assert classes == by_name[passage["name"]][stream][part].tolist()
            assert len(classes) == 20


def test_an_opening_has_the_metre_in_which_it_ends():
    piece = make_piece([(480 * i, 60, 480) for i in range(60)], time_signatures=[(0, 3, 4), (480 * 48, 4, 4)])
    source = dataset.Source("one", 0.5, events.from_piece(piece))
    vocabulary = build_vocabulary([source.events], Representation(), 0)
    for passage in dataset.passages([source], vocabulary, 8, 40, seed=1):
        last = passage["event"] + len(passage["phase"]) - 1
        assert passage["metre"] == ((3, 4) if last < 48 else (4, 4))


def test_notes_and_events_are_counted():
    piece = make_piece([(0, 60, 480), (0, 64, 480), (0, 67, 480), (480, 60, 480)])
    assert (corpus_of([piece]).events, corpus_of([piece]).notes) == (4, 4)
    classes = corpus_of([piece], chords="class")
    assert (classes.events, classes.notes) == (2, 4)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Only Linux confines a process to some of the cores.")
def test_processes_are_counted_by_the_cores_that_may_be_used():
    confined = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from utils import apart; "
    result = run("-c", confined + "print(apart.CORES, apart.side_by_side(0), apart.side_by_side(1000))")
    assert result.stdout.split() == ["1", "1", str(apart.MOST_PROCESSES)], result.stderr
