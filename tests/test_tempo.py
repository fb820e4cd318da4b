"""New music has the tempo of the passage that it starts from, unless another is asked for."""

import numpy as np
import pytest
from conftest import TINY, call, make_piece, random_piece, save

from utils import checkpoint, compose, dataset, events, fragment, midi
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.wanted import Wanted

TUNE = [(beat * 480, 60 + beat % 7, 480) for beat in range(16)]


@pytest.fixture(scope="module")
def loaded(weights) -> checkpoint.Checkpoint:
    return checkpoint.load(weights)


def test_an_event_has_the_tempo_in_force():
    """The change at the ninth beat, which lies a little before a grid step, applies from there on."""
    made = events.from_piece(make_piece(TUNE, tempos=[(0, 1_000_000), (8 * 480 - 3, 400_000)]))
    assert made.tempo.tolist() == [1_000_000] * 8 + [400_000] * 8
    assert made[6:10].tempo.tolist() == [1_000_000] * 2 + [400_000] * 2
    assert events.from_piece(make_piece(TUNE, tempos=[(480, 400_000)])).tempo[0] == 500_000  # MIDI's own


def test_an_opening_has_the_mean_tempo_of_its_passage(loaded: checkpoint.Checkpoint):
    tempos = [(0, 600_000), (4 * 480, 800_000)]
    for changes, expected in ((tempos, 750_000), ([(0, 16_777_215)], 15_000_000), ([(0, 1)], 60_000)):
        source = dataset.Source("tune", 0.5, events.from_piece(make_piece(TUNE, tempos=changes)))
        (passage,) = dataset.passages([source], loaded.vocabulary, len(TUNE), 1, 1)
        assert passage["tempo"] == expected


@pytest.mark.parametrize("opening", ["random", "none"])
def test_each_piece_has_the_tempo_of_its_opening(loaded: checkpoint.Checkpoint, opening: str):
    """And lasts for the seconds that were asked for: twice as many bars at twice the tempo."""
    begun = compose.openings(loaded, 2, 1, opening)
    slow, fast = ({**begun[0], "tempo": tempo} for tempo in (1_000_000, 500_000))
    old = {name: value for name, value in fast.items() if name != "tempo"}  # of weights that are older than this

    def made(**how) -> list:
        wanted = Wanted(seconds=16, ending=False, **how)
        return [one.piece for one in compose.new_pieces(Stepper(loaded), [slow, fast, old], Sampling(seed=1), wanted)]

    pieces = made()
    assert [piece.tempos for piece in pieces] == [[(0, 1_000_000)], [(0, 500_000)], [(0, 500_000)]]
    assert [len(piece.bars()) for piece in pieces] == [4, 8, 8]
    pieces = made(tempo=250_000, versions=3)
    assert [piece.tempos for piece in pieces] == [[(0, 250_000)]] * 3
    assert [len(piece.bars()) for piece in pieces] == [16] * 3


def test_a_network_plays_as_fast_as_what_it_learnt(tmp_path):
    folder, path = tmp_path / "midis", tmp_path / "fast.weights.h5"
    for seed in range(2):
        piece = random_piece(seed)
        piece.tempos = [(0, 300_000)]
        save(piece, folder / f"{seed}.mid")
    flags = ["--midi-dir", folder, "--weights", path, "--epochs", 1, "--ear", 0, *TINY]
    assert call("train.py", *flags).returncode == 0
    beside = ["--no-wav", "--no-picture", "--seed", 1, "--out", tmp_path / "out"]
    for more, tempo in ([], 200), (["--tempo", 90], 90):
        result = call("generate_music.py", "--weights", path, "--notes", 20, *beside, *more)
        assert result.returncode == 0, result.stderr
        assert f", tempo {tempo}, 0:" in result.stdout
        written = midi.read(max((tmp_path / "out").glob("*.mid")))
        assert np.isclose(60e6 / written.tempos[0][1], tempo, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], 120),
        ([(0, 80)], 80),
        ([(0, 80), (15 * 480, 40)], 80),  # a fermata on the last chord
        ([(0, 80), (13 * 480, 70), (14 * 480, 60), (15 * 480, 50)], 80),  # a ritardando in the last bar
        ([(beat * 480, 90 + 3 * (beat % 5)) for beat in range(16)], 96),  # never the same, as when somebody plays
        ([(0, 80), (8 * 480, 140)], 140),  # another tempo for the second half
        ([(0, 80), (12 * 480, 140)], 140),  # and for the whole last bar
    ],
)
def test_new_music_does_not_stay_in_a_tempo_of_the_last_moment(loaded, changes: list, expected: int):
    prior = make_piece(TUNE, tempos=[(tick, round(60e6 / bpm)) for tick, bpm in changes], time_signatures=[(0, 4, 4)])
    for prepend in (True, False):
        wanted = Wanted(notes=8, prepend=prepend)
        (made,), *_ = compose.continuations(Stepper(loaded), prior, Sampling(seed=1), wanted, 1)
        *_, (tick, tempo) = made.piece.tempos_from_start()
        assert round(60e6 / tempo) == expected and tick <= 16 * made.piece.ticks_per_quarter * prepend
    assert f"tempo {round(60e6 / fragment.in_tempo(prior).usual_tempo())}," in made.told() or len(changes) > 1
