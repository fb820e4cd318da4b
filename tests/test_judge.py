"""The judge: it tells damaged music from real music, and real music not from real music."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_piece, random_piece

from utils import events
from utils.measure import judge, statistics
from utils.piece import Piece


@pytest.fixture(scope="module")
def chorales() -> list[events.Events]:
    """Every tenth of the Bach chorales that come with music21."""
    from utils.formats import score

    return [events.from_piece(score.read(path)[0]) for path in score.corpus_files("bach")[::10]]


def voice(piece: Piece, highest: bool) -> np.ndarray:
    """(N,) mask of the highest or the lowest note at each onset; a piece is sorted by onset and pitch."""
    change = np.diff(piece.onset) > 0
    return np.append(change, True) if highest else np.append(True, change)


def bars_shuffled(piece: Piece) -> Piece:
    bar = events.bar_steps(piece.time_signatures[0][1:], piece.ticks_per_quarter)
    number, place = np.divmod(piece.onset, bar)
    order = np.random.default_rng(1).permutation(number.max() + 1)
    return replace(piece, onset=order[number] * bar + place).sorted()


def soprano_up(piece: Piece) -> Piece:
    return replace(piece, pitch=piece.pitch + voice(piece, True))


def bass_late(piece: Piece) -> Piece:
    return replace(piece, onset=piece.onset + piece.ticks_per_quarter * voice(piece, False)).sorted()


def area(made: list[Piece], real: list[Piece]) -> float:
    """The judge's AUC for damaged and real passages of the same pieces, in the same order. Both passages of a piece are
    on the same side of each fold, so what is peculiar to a piece gives nothing away."""
    matrix, *_ = judge.table([*map(judge.features, made), *map(judge.features, real)])
    return judge.area(matrix, np.arange(2 * len(made)) < len(made), np.tile(np.arange(len(made)), 2))


def test_damage_is_told_from_real_music_and_real_music_is_not(chorales: list[events.Events]):
    long = [piece for piece in chorales if len(piece) >= 150]
    first = [statistics.cut(piece, 0, 150) for piece in long]
    last = [statistics.cut(piece, len(piece) - 150, 150) for piece in long]
    assert area([bars_shuffled(piece) for piece in last], first) > 0.75
    for damage in (soprano_up, bass_late):
        assert area(list(map(damage, last)), first) > 0.95
    whole = [piece for piece in chorales if len(piece) >= 140]
    ends = [statistics.cut(piece, len(piece) - 60, 60) for piece in whole]
    assert area([statistics.cut(piece, len(piece) - 80, 60) for piece in whole], ends) > 0.7
    found = judge.judge(first[::2], last[1::2])
    assert abs(found["auc"] - 0.5) < 3 * found["spread"] and abs(found["floor"] - 0.5) < 0.1


def test_the_judge_names_what_gives_new_pieces_away():
    made, real = ([statistics.cut(events.from_piece(random_piece(seed))) for seed in range(i, 60, 2)] for i in (0, 1))
    found = judge.judge([replace(piece, duration=piece.duration * 0 + 30) for piece in made], real)
    assert found["auc"] == 1 and abs(found["floor"] - 0.5) < 0.2
    assert "lengths in beats: 5/2 (more often in new pieces)" in found["giveaways"]
    assert len(found["giveaways"]) == judge.SHOWN
    assert judge.judge(made, real[: judge.LEAST - 1]) is None


def test_features_are_the_same_in_another_key():
    rows = [(0, 48, 480), (0, 64, 240), (240, 65, 240), (480, 47, 480), (480, 67, 480)]
    piece = make_piece(rows, time_signatures=[(0, 2, 4)])
    counted = judge.features(piece)
    assert counted == judge.features(replace(piece, pitch=piece.pitch + 5))
    shares = {
        "from note to note: a leap of 16 up": 1 / 9,  # of four intervals, three pairs, and two runs of three
        "from note to note, in beats: a step of 1 up after 1/2, then a leap of 18 down after 1/2": 1 / 9,
        "highest notes: a step of 1 up": 1 / 3,
        "semitones above the bass: 0-4": 1 / 3,
        "chords over the bass: 0-5, then 0-8 over a step of 1 down": 1 / 2,
        "notes sounding together: 2": 1,
        "beats into the bar: 1/2": 1 / 3,
    }
    for name, share in shares.items():
        assert counted[name] ** 2 == pytest.approx(share), name
    assert counted["range"] == 20 and not any(name.startswith("pitch") for name in counted)
