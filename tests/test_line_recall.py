"""The match model of a part's line, computed for whole pieces at once and event by event."""

import numpy as np
import pytest
from conftest import make_piece
from test_recall import added, assert_same, corpus_of, encoded, start_of

from utils import line_recall, recall
from utils.dataset import Corpus
from utils.events import from_piece
from utils.line_recall import REPEATS, LinePast
from utils.parts import NOBODY
from utils.piece import Part
from utils.recall import BARS, NOTHING
from utils.states import mapped
from utils.vocabulary import REACH

ONE_BAR, FORM = len(REPEATS), len(REPEATS) + len(BARS)


def own_line(corpus: Corpus, at: int) -> list[int]:
    """The events of the same part and piece as the event `at`, up to and including it."""
    lines = corpus.matches.lines
    return [i for i in range(lines.begins[at] + 1, at + 1) if lines.part[i] == lines.part[at]]


def slow_last_time(corpus: Corpus, at: int, length: int) -> int:
    """The event that followed the last time in the line of `at`, by trying all contexts; NOTHING if none is equal."""
    line, lines, inputs = own_line(corpus, at), corpus.matches.lines, corpus.inputs

    def context(end: int) -> list | None:
        """The events before the end-th one of the line, and the times between all of these."""
        if end < length:
            return None
        gaps = [lines.onset[line[i]] - lines.onset[line[i - 1]] if i else NOBODY for i in range(end - length, end + 1)]
        return [gaps, *(inputs[name][line[end - length : end]].tolist() for name in ("interval", "duration"))]

    now = context(len(line) - 1)
    return next((line[i] for i in range(len(line) - 2, -1, -1) if now and context(i) == now), NOTHING)


def slow_bars_ago(corpus: Corpus, at: int, steps: int) -> int:
    """What the part of the event `at` played `steps` before: the n-th note there, if `at` is the n-th at its onset."""
    line, onset = own_line(corpus, at), corpus.matches.lines.onset
    nth = sum(onset[i] == onset[at] for i in line) - 1
    then = [i for i in line if onset[i] == onset[at] - steps]
    return then[nth] if steps and nth < len(then) else NOTHING


@pytest.mark.parametrize("chords", ["split", "class", "parts"])
def test_what_is_recalled_is_what_a_slow_search_finds(chords: str):
    corpus = encoded(chords)
    told, found = corpus.lines.recalled(np.arange(corpus.first[-1]), form=True), np.zeros(FORM + 1, int)
    for start, end in zip(corpus.first[:-1], corpus.first[1:], strict=True):
        for at in range(start + 1, end - 1):
            bar, again = corpus.matches.bar[at], corpus.matches.again[at, 0]
            expected = [slow_last_time(corpus, at, length) for length in REPEATS.tolist()]
            expected += [slow_bars_ago(corpus, at, bars * bar) for bars in (*BARS.tolist(), again)]
            for k, then in enumerate(expected):
                known = corpus.inputs["duration"][then] if then != NOTHING else NOTHING
                assert told["line_duration"][at, k] == known, (at - start, k)
                assert told["line_offset"][at, k] == (NOTHING if then == NOTHING else corpus.inputs["offset"][at])
                found[k] += then != NOTHING
    assert (found > 0).all()


def test_a_bass_line_is_recalled_whatever_is_above_it():
    """By hand: a bass figure is played four times, the last time a fifth higher, under random notes."""
    rows, above = [], np.random.default_rng(0)
    for i in range(16):
        rows.append((480 * i, (40, 43, 45, 47)[i % 4] + 7 * (i >= 12), 480, 80, 1))
        rows.append((480 * i, int(above.integers(60, 90)), int(above.choice([240, 480])), 80, 0))
    piece = make_piece(rows, parts=[Part("", 73), Part("", 32)], time_signatures=[(0, 4, 4)])
    corpus = corpus_of([from_piece(piece)])
    bass = np.flatnonzero(corpus.matches.lines.pitch[:33] < 60)[1:]  # without the start token
    told = corpus.lines.recalled(bass)["line_interval"]
    right = told == corpus.inputs["interval"][bass][:, None]
    assert right[8:12, 1].all() and not right[:7, 1].any()  # after the same two notes it goes on as it did before
    assert told[12, 1] - REACH == -7 and not right[12].any()  # that it moves up by a fifth is not foreseen
    assert (told[13, :ONE_BAR] == NOTHING).all()  # nor what follows
    # A bar ago it played what it plays now: at first the same notes, then a fifth lower: 43, an interval from 47.
    assert right[5:12, ONE_BAR].all() and told[13, ONE_BAR] - REACH == 43 - 47
    assert (corpus.matches.recalled(bass - 1)["interval"][8:12, 1] == NOTHING).all()  # all parts together: new


def read(so_far: tuple, corpus: Corpus, at: np.ndarray) -> tuple:
    """The past, voices and lines with the events `at` (B,) of a corpus added."""
    event = {name: column[at] for name, column in corpus.inputs.items()} | next_recalled(so_far, corpus, at)
    past, voices = added(so_far[:2], corpus, at)
    return past, voices, so_far[2].add(past, event)


def next_recalled(so_far: tuple, corpus: Corpus, at: np.ndarray) -> dict[str, np.ndarray]:
    """What is recalled when the part and onset of the next events, `at` (B,), are known."""
    past, _, lines = so_far
    event = {name: column[at] for name, column in corpus.inputs.items()}
    return lines.recalled(past, event, corpus.matches.again[at, 0], corpus.matches.bar[at])


def silence(corpus: Corpus) -> tuple:
    return *start_of(corpus), LinePast.empty(1, corpus.vocabulary)


@pytest.mark.parametrize("chords", ["split", "class", "parts"])
def test_the_same_is_recalled_event_by_event(chords: str):
    corpus = encoded(chords)
    expected = corpus.lines.recalled(np.arange(corpus.first[-1]), form=True)
    for start, end in zip(corpus.first[:-1], corpus.first[1:], strict=True):
        so_far = silence(corpus)
        for at in range(start + 1, end - 1):
            recalled = next_recalled(so_far, corpus, np.array([at]))
            assert recalled.keys() == expected.keys()
            assert_same(recalled, expected, at, start)
            so_far = read(so_far, corpus, np.array([at]))


def test_how_far_back_it_searches_is_limited(monkeypatch):
    far = encoded().lines.back.max()
    for module in (recall, line_recall):
        monkeypatch.setattr(module, "REMEMBERED", 20)
    assert far > 20 >= encoded().lines.back.max()
    test_the_same_is_recalled_event_by_event("split")


def test_the_form_is_recalled_only_where_it_is_told():
    corpus = encoded("parts")
    told, untold = (corpus.lines.recalled(np.arange(corpus.first[-1]), form) for form in (True, False))
    assert (told["line_duration"][:, FORM] != NOTHING).any() and (untold["line_duration"][:, FORM] == NOTHING).all()
    assert all((told[name][:, :FORM] == untold[name][:, :FORM]).all() for name in told)


def test_how_long_a_line_has_repeated_itself():
    """By hand: a bass plays two notes over and over, then something else, under an independent melody."""
    above, rows = np.random.default_rng(1), []
    for i in range(24):
        rows.append((480 * i, (40, 47)[i % 2] if i < 20 else 29 + (i - 19) ** 2, 480, 80, 1))
        rows.append((480 * i, int(above.integers(60, 90)), int(above.choice([240, 480])), 80, 0))
    corpus = corpus_of([from_piece(make_piece(rows, parts=[Part("", 73), Part("", 32)]))])
    bass = np.flatnonzero(corpus.matches.lines.pitch[:49] < 60)[1:]
    told = corpus.lines.recalled(bass)
    # The fourth note is the first whose interval has come before; what follows it is recalled from then on.
    assert told["line_streak"][:22, 0].tolist() == [0] * 5 + [*range(1, 17)] + [0]
    assert (told["line_back"][5:20, 0] == 2).all()  # counted in notes of the bass
    assert corpus.matches.recalled(bass - 1)["streak"].max() < 8  # all parts together have not repeated


def test_lines_of_different_lengths_can_be_stacked_and_separated():
    corpus = encoded("parts")
    first, second = corpus.first[:1], corpus.first[1:2]

    def until(so_far: tuple, rows: np.ndarray, times: range) -> tuple:
        for t in times:
            so_far = read(so_far, corpus, rows + t)
        return so_far

    long, short = until(silence(corpus), first, range(1, 71)), until(silence(corpus), second, range(40, 71))
    aligned = [(past.aligned(70), voices, lines.aligned(70)) for past, voices, lines in (long, short)]
    both = tuple(mapped(lambda *rows: np.concatenate(rows), *each) for each in zip(*aligned, strict=True))
    both = until(both, np.concatenate([first, second]), range(71, 90))
    alone = next_recalled(until(silence(corpus), second, range(40, 90)), corpus, second + 90)
    together = next_recalled(both, corpus, np.concatenate([first, second]) + 90)
    assert all((together[name][1:] == alone[name]).all() for name in alone)
    assert (alone["line_interval"] != NOTHING).any()
