"""The match model, computed for whole pieces at once and event by event."""

import numpy as np
import pytest
from conftest import band_piece, make_piece, random_piece, twice

from utils import dataset, events, form, recall
from utils.events import Representation
from utils.parts import Voices
from utils.states import mapped
from utils.vocabulary import REACH, build_vocabulary


def repeating_piece(seed: int, chords: str = "split") -> events.Events:
    """A piece in 3/4 with few values: a passage, the same again, and half of it a fourth higher."""
    rng = np.random.default_rng(seed)
    rows, onset = [], 0
    for _ in range(60):
        onset += int(rng.choice([0, 240, 480]))
        rows.append((onset, int(rng.choice([60, 62, 64])), int(rng.choice([240, 480]))))
    length = (onset // 1440 + 1) * 1440
    rows += [(start + length, pitch, long) for start, pitch, long in rows]
    rows += [(start + 2 * length, pitch + 5, long) for start, pitch, long in rows[:30]]
    return events.from_piece(make_piece(rows, time_signatures=[(0, 3, 4)]), Representation(chords=chords))


def corpus_of(pieces: list[events.Events], how: Representation = events.DEFAULT) -> dataset.Corpus:
    sources = [dataset.Source(str(i), i / 9, piece) for i, piece in enumerate(pieces)]
    corpus = dataset.encode(sources, build_vocabulary(pieces, how, 0))
    # For `added`: what the form of each piece repeats; nothing at its start token and its end.
    again = [np.pad(form.again(piece.form(), piece.bar), ((1, 1), (0, 0))) for piece in pieces]
    corpus.matches.again = np.concatenate(again)
    return corpus


def encoded(chords: str = "split") -> dataset.Corpus:
    if chords == "parts":
        return corpus_of([events.from_piece(twice(band_piece(seed, 12))) for seed in range(2)])
    how = Representation(chords=chords)
    return corpus_of(
        [repeating_piece(1, chords), events.from_piece(random_piece(3), how), repeating_piece(2, chords)], how
    )


def start_of(corpus: dataset.Corpus, count: int = 1) -> tuple[recall.Past, Voices]:
    return recall.Past.empty(count, corpus.vocabulary), Voices.silent(count, corpus.vocabulary.parts, {})


def added(so_far: tuple[recall.Past, Voices], corpus: dataset.Corpus, at: np.ndarray, **other: np.ndarray):
    """The past and voices with the events `at` (B,) of a corpus added, but for the `other` columns given."""
    past, voices = so_far
    vocabulary = corpus.vocabulary
    event = {name: column[at] for name, column in corpus.inputs.items()} | other
    lasts = [vocabulary.steps(name)[event[name]] for name in ("offset", "duration")]
    voices = voices.after(vocabulary.part_of(event), vocabulary.top[event["note"]], *lasts, {})
    return past.add(event, corpus.matches.bar[at], corpus.matches.again[at], voices), voices


def assert_same(recalled: dict[str, np.ndarray], expected: dict[str, np.ndarray], at: int, start: int) -> None:
    """What is `recalled` event by event equals what is `expected` of whole pieces after event `at`."""
    for name, classes in recalled.items():
        assert (classes[0] == expected[name][at]).all(), (at - start, name)


def slow_last_time(classes: dict[str, np.ndarray], start: int, at: int, streams: tuple[str, ...], length: int) -> int:
    """How many events ago the same context ended the last time, by trying all of them; 0 if it is new."""

    def context(end: int) -> list:
        return [classes[stream][end - length + 1 : end + 1].tolist() for stream in streams]

    return next((back for back in range(1, at - start - length + 1) if context(at - back) == context(at)), 0)


def test_what_is_found_is_what_a_slow_search_finds():
    corpus = encoded()
    back = recall.last_times(corpus.inputs, corpus.first)
    for start, end in zip(corpus.first[:-1], corpus.first[1:], strict=True):
        for at in range(start, end):
            for k, (streams, length) in enumerate(recall.REPEATS):
                assert back[at, k] == slow_last_time(corpus.inputs, start, at, streams, length), (at - start, k)
    assert (back[:, recall.LENGTH == 16] > 0).any()


def test_what_came_some_bars_ago_is_found():
    """By hand: a bar of 3/4 whose first chord comes again in the next bar, a third lower."""
    rows = [(0, 60, 480), (0, 64, 480), (480, 65, 480), (960, 67, 480)]
    piece = events.from_piece(make_piece([*rows, (1440, 57, 480), (1440, 61, 480)], time_signatures=[(0, 3, 4)]))
    corpus = corpus_of([piece])
    told = corpus.matches.recalled(np.arange(corpus.first[-1]))
    one_bar = len(recall.REPEATS)
    offsets = corpus.vocabulary.values["offset"]
    # Events 1 to 4 have no bar before them. After event 5 (57), 60 is the next note of a bar ago, as it is higher.
    assert (told["offset"][:5, one_bar] == recall.NOTHING).all()
    assert offsets[told["offset"][5, one_bar]] == 0 and told["interval"][5, one_bar] - REACH == 60 - 57
    # After event 6 (61) it is 64.
    assert offsets[told["offset"][6, one_bar]] == 0 and told["interval"][6, one_bar] - REACH == 64 - 61


def test_what_the_form_recalls_is_found():
    """By hand: four bars of quarter notes, the third the same as the first."""
    pitches = [60, 62, 64, 65, 71, 69, 67, 66, 60, 62, 64, 65, 50, 51, 53, 55]
    piece = events.from_piece(make_piece([(480 * i, pitch, 480) for i, pitch in enumerate(pitches)]))
    assert piece.form().tolist() == [0, 0, 2, 0]
    corpus = corpus_of([piece])
    told = corpus.matches.recalled(np.arange(1, 17), form=True)
    # In the second bar, how the third begins is recalled (if there is such an offset), then how it goes on.
    assert told["back"][:, recall.STREAKS].tolist() == [0] * 4 + [5, 6, 7, 8, 8, 8, 8] + [0] * 5
    assert (told["interval"][7:11, recall.STREAKS] - REACH).tolist() == [60 - 66, 2, 2, 1]
    assert (corpus.vocabulary.values["offset"][told["offset"][7:11, recall.STREAKS]] == 12).all()
    assert (told["offset"][4:7, recall.STREAKS] == recall.NOTHING).all()
    assert (corpus.matches.recalled(np.arange(17))["interval"][:, recall.STREAKS] == recall.NOTHING).all()


@pytest.mark.parametrize("chords", ["split", "class", "parts"])
def test_the_same_is_recalled_event_by_event(chords: str):
    corpus = encoded(chords)
    expected = corpus.matches.recalled(np.arange(corpus.first[-1]), form=True)
    for start, end in zip(corpus.first[:-1], corpus.first[1:], strict=True):
        past = start_of(corpus)
        for at in range(start + 1, end - 1):
            past = added(past, corpus, np.array([at]))
            assert past[0].recalled.keys() == expected.keys() >= {"streak", "back"}
            assert_same(past[0].recalled, expected, at, start)


def test_a_past_can_be_continued_in_several_ways():
    corpus = encoded()
    expected = corpus.matches.recalled(np.arange(corpus.first[-1]), form=True)
    past = start_of(corpus)
    for at in range(corpus.first[0] + 1, corpus.first[1] - 1):
        added(past, corpus, np.array([at]), offset=np.array([0]))  # one way, dropped
        past = added(past, corpus, np.array([at]))
        assert all((classes[0] == expected[name][at]).all() for name, classes in past[0].recalled.items())


def test_how_far_back_it_searches_is_limited_event_by_event_too(monkeypatch):
    monkeypatch.setattr(recall, "REMEMBERED", 20)
    test_the_same_is_recalled_event_by_event("split")


def test_pasts_of_different_lengths_can_be_stacked_and_separated():
    corpus = encoded()

    def read(so_far: tuple[recall.Past, Voices], rows: np.ndarray, times: range) -> tuple[recall.Past, Voices]:
        for t in times:
            so_far = added(so_far, corpus, rows + t)
        return so_far

    first, second = corpus.first[:1], corpus.first[2:3]
    long, short = read(start_of(corpus), first, range(1, 71)), read(start_of(corpus), second, range(40, 71))
    alone = read(start_of(corpus), second, range(40, 110))[0].recalled
    pasts, voices = (long[0].aligned(70), short[0].aligned(70)), (long[1], short[1])
    side_by_side = tuple(mapped(lambda *rows: np.concatenate(rows), *each) for each in (pasts, voices))
    both = read(side_by_side, np.concatenate([first, second]), range(71, 90))
    apart = read(mapped(lambda row: row[1:], both), second, range(90, 110))[0].recalled
    assert all((apart[name] == alone[name]).all() for name in alone)
    assert (alone["offset"] != recall.NOTHING).any()


def test_how_long_each_context_has_been_right():
    """By hand: three notes over and over, then something else; the streaks, and the rounds."""
    rows = [(i * 240, (60, 64, 67)[i % 3], 240) for i in range(40)]
    rows += [((40 + i) * 240, 40 + i * (i + 1) // 2, 240) for i in range(10)]  # wider and wider intervals
    piece = events.from_piece(make_piece(rows))
    corpus = corpus_of([piece])
    past, rounds = start_of(corpus), []
    assert past[0].rounds() == [0]
    for at in range(1, len(rows) + 1):
        past = added(past, corpus, np.array([at]))
        rounds.append(float(past[0].rounds()[0]))
    # The first event has an offset and an interval that never return, so repetition begins with the fifth event. Only
    # then does the context of one event recall what follows, and it is right from the sixth event on.
    streak = corpus.matches.recalled(np.arange(1, len(rows) + 1))["streak"][:, 0]
    assert streak.tolist() == [0] * 5 + [*range(1, 36)] + [0] * 10
    assert rounds[4] == 0 and rounds[7] == 1 and rounds[10] == 2 and rounds[39] == 35 / 3
    assert max(rounds[40:]) == 0


def test_streaks_are_counted_up_to_the_longest_that_can_be_told(monkeypatch):
    monkeypatch.setattr(recall, "LONGEST_STREAK", 5)
    monkeypatch.setattr(recall, "CHUNK", 7)
    test_the_same_is_recalled_event_by_event("split")
    assert encoded().matches.streak.max() == 5
