"""MIDI -> events -> MIDI, and the vocabulary."""

import numpy as np
import pytest
from conftest import make_piece, random_piece
from hypothesis import given
from hypothesis import strategies as st

from utils import events, midi, theory
from utils.events import Representation
from utils.piece import Part, Piece
from utils.vocabulary import Vocabulary, build_vocabulary, nearest

STREAMS = ("offset", "note", "duration")


def on_grid(steps: list[tuple[int, int, int]], grid: int, ticks: int) -> midi.Piece:
    """A piece from (onset, pitch, duration) rows in grid steps; of those with equal onset and pitch, the longest."""
    longest = {}
    for onset, pitch, duration in steps:
        longest[onset, pitch] = max(duration, longest.get((onset, pitch), 0))
    scale = ticks // grid
    return make_piece([(o * scale, p, d * scale) for (o, p), d in longest.items()], ticks)


def music(piece: midi.Piece) -> list[tuple[int, int, int]]:
    return sorted(zip(piece.onset.tolist(), piece.pitch.tolist(), piece.duration.tolist(), strict=True))


rows = st.lists(st.tuples(st.integers(0, 180), st.integers(0, 127), st.integers(1, 96)), min_size=1, max_size=80)


@given(rows, st.sampled_from([(12, 480), (12, 96), (24, 120), (48, 480), (4, 32764), (1, 1)]), st.booleans())
def test_music_on_the_grid_survives(steps, sizes, split: bool):
    """Chords with octaves, triplets, rests, notes struck again immediately, notes held under others, any overlap."""
    grid, ticks = sizes
    piece = on_grid(steps, grid, ticks)
    written = events.from_piece(
        piece, Representation((*STREAMS, "velocity"), grid, "split" if split else "class", 1000)
    )
    assert written.clipped == 0
    assert music(events.to_piece(written.streams, grid, ticks)) == music(piece)


# A key that is down cannot be struck again on the same channel, so here a note ends where its key is struck again.
@given(rows)
def test_midi_survives_being_turned_into_events_and_back(steps):
    piece = events.let_go(on_grid(steps, 12, 480))
    vocabulary = build_vocabulary(
        [events.from_piece(piece, Representation(max_beats=1000))], Representation(max_beats=1000), 0
    )
    first = midi.parse(midi.as_bytes(piece))
    classes, moved = vocabulary.encode(events.from_piece(first, vocabulary.representation))
    second = midi.as_bytes(events.to_piece(vocabulary.decode(classes), 12, 480))
    assert sum(moved.values()) == 0
    assert music(midi.parse(second)) == music(piece)


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 127), st.integers(1, 900)), min_size=1, max_size=200),
    st.sampled_from([7, 100, 384, 480, 1000]),
    st.sampled_from([3, 12, 48]),
)
def test_onsets_off_the_grid_move_by_at_most_half_a_step_and_never_drift(gaps, ticks: int, grid: int):
    onset = np.cumsum([gap for gap, _, _ in gaps])
    piece = make_piece([(o, p, d) for o, (_, p, d) in zip(onset, gaps, strict=True)], ticks)
    written = events.from_piece(piece, Representation(grid=grid, max_beats=100_000))
    heard = np.cumsum(written.streams["offset"])
    # Half a step is ticks / (2 * grid); compared in whole numbers.
    true = np.array(sorted({(o, p) for o, p, _ in music(piece)}))
    steps = events.to_steps(true[:, 0], ticks, grid)
    assert (np.abs(2 * grid * true[:, 0] - 2 * ticks * steps) <= ticks).all()
    assert set(heard.tolist()) == set(steps.tolist())


def test_only_the_longest_of_equal_notes_is_kept():
    written = events.from_piece(make_piece([(0, 60, 240), (0, 60, 960), (0, 60, 480)]))
    assert {name: values.tolist() for name, values in written.streams.items() if name in STREAMS} == {
        "offset": [0], "note": [60], "duration": [24]
    }  # fmt: skip


def test_chords_as_classes_are_named_by_their_real_pitches():
    piece = make_piece([(0, 36, 480), (0, 55, 480), (0, 76, 480), (480, 60, 240), (480, 64, 480)])
    written = events.from_piece(piece, Representation(chords="class"))
    assert written.streams["note"].tolist() == ["C2.G3.E5", "C4", "E4"]
    assert written.streams["offset"].tolist() == [0, 12, 0]
    assert [theory.note_pitch(theory.note_name(pitch)) for pitch in range(128)] == list(range(128))


def test_long_rests_and_notes_are_clipped_and_counted():
    piece = make_piece([(0, 60, 480 * 100), (480 * 3600, 61, 480)])  # half an hour of silence
    written = events.from_piece(piece, Representation(max_beats=16))
    assert written.clipped == 2
    assert written.streams["offset"].tolist() == [0, 192]
    assert written.streams["duration"].tolist() == [192, 12]


def test_the_phase_follows_the_metre_of_the_file():
    piece = make_piece([(480 * i, 60, 480) for i in range(8)], time_signatures=[(0, 3, 4), (480 * 3, 4, 4)])
    written = events.from_piece(piece)
    assert written.phase.tolist() == [0, 12, 24, 0, 12, 24, 36, 0]
    assert [written.metre(event) for event in (0, 2, 3, -1)] == [(3, 4), (3, 4), (4, 4), (4, 4)]


def test_a_note_ends_where_its_key_is_struck_again():
    piece = events.let_go(make_piece([(0, 60, 960), (480, 60, 480), (0, 62, 960)]))
    assert music(piece) == [(0, 60, 480), (0, 62, 960), (480, 60, 480)]


def test_velocity_can_be_one_more_stream():
    piece = make_piece([(0, 60, 480, 33), (480, 62, 480, 127)])
    how = Representation((*STREAMS, "velocity"))
    written = events.from_piece(piece, how)
    vocabulary = build_vocabulary([written], how, 0)
    classes, _ = vocabulary.encode(written)
    again = events.to_piece(vocabulary.decode(classes), ticks_per_quarter=480)
    assert np.abs(again.velocity - piece.velocity).max() <= events.VELOCITY_STEP // 2 + 1
    assert again.velocity.max() <= 127


@pytest.mark.parametrize("chords", ["split", "class"])
def test_the_vocabulary_covers_all_transpositions(chords: str):
    pieces = [events.from_piece(random_piece(seed), Representation(chords=chords)) for seed in range(3)]
    # At the edges of the keyboard there is less room.
    edges = make_piece([(0, 0, 480), (0, 125, 480)])
    pieces.append(events.from_piece(edges, Representation(chords=chords)))
    vocabulary = build_vocabulary(pieces, Representation(chords=chords), 6)
    table = vocabulary.transpositions(6)
    for piece in pieces:
        classes, moved = vocabulary.encode(piece)
        assert sum(moved.values()) == 0
        low, high = events.room(piece.streams["note"], 6)
        for semitones in range(low, high + 1):
            there = vocabulary.values["note"][table[semitones + 6, classes["note"]]]
            assert there.tolist() == events.shifted(piece.streams["note"], semitones).tolist()
    assert events.room(pieces[-1].streams["note"], 6) == (0, 2)
    used = [pitch for value in vocabulary.values["note"].tolist() for pitch in events.pitches(value)]
    assert min(used) >= 0 and max(used) <= 127


def test_values_never_seen_become_the_nearest_and_are_counted():
    seen = events.from_piece(make_piece([(0, 60, 480), (480, 64, 480), (1440, 72, 960)]))
    vocabulary = build_vocabulary([seen], Representation(), 0)
    new = events.from_piece(make_piece([(0, 61, 480), (480, 127, 40), (1440, 72, 4800)]))
    classes, moved = vocabulary.encode(new)
    assert vocabulary.decode(classes)["note"].tolist() == [60, 72, 72]
    # From 128 on, notes are drums and not pitches; among offsets and durations, 128 separates nothing.
    long = np.array([0, 120, 192])
    assert long[nearest(long, np.array([129, 170]))].tolist() == [120, 192]
    notes = np.array([60, 100, 160, 172])
    assert notes[nearest(notes, np.array([127, 129]), drums=True)].tolist() == [100, 160]
    assert vocabulary.decode(classes)["duration"].tolist() == [12, 12, 24]
    assert moved == {"offset": 0, "part": 0, "note": 2, "duration": 2}


def test_the_nearest_chord_has_the_fewest_differing_keys():
    values = np.array(sorted(["C4.E4.G4", "C4", "C5.E5.G5"]))
    wanted = np.array(["C4.E4", "B4", "C5.E5.G5"])
    assert values[nearest(values, wanted)].tolist() == ["C4.E4.G4", "C4", "C5.E5.G5"]


def test_a_vocabulary_survives_json():
    for chords in ("split", "class"):
        how = Representation(chords=chords)
        vocabulary = build_vocabulary([events.from_piece(random_piece(1), how)], how, 2)
        again = Vocabulary.from_json(vocabulary.to_json())
        assert again.to_json() == vocabulary.to_json()
        assert again.values["note"].dtype.kind == vocabulary.values["note"].dtype.kind


part_of_a_band = st.sampled_from([("Flute", 73), ("Violin", 40), ("Bass", 33), ("Left", 0), ("Right", 0)])
band_note = st.tuples(st.integers(0, 60), st.integers(0, 5), st.integers(35, 60), st.integers(1, 24))


@given(st.lists(band_note, min_size=1, max_size=50), st.lists(part_of_a_band, min_size=5, max_size=5))
def test_parts_survive(steps: list[tuple], names: list[tuple[str, int]]):
    """MIDI -> events -> MIDI gives back each note with its part's name, program and drum flag; drums have no length."""
    parts = [*(Part(name, program) for name, program in names), Part("Kit", 8, drums=True)]
    rows = [(onset * 40, pitch, length * 40, 84, part) for onset, part, pitch, length in steps]
    # One note for each onset, part and pitch, in a register for each part, so that like parts keep their order.
    rows = list({(r[0], r[4], r[1]): (r[0], r[1] + 10 * (r[4] < 5) * (4 - r[4]), *r[2:]) for r in rows}.values())
    piece = make_piece(rows, parts=parts).played()
    read = midi.parse(midi.as_bytes(piece))
    written = events.from_piece(read, Representation(max_beats=1000))
    again = midi.as_bytes(events.to_piece(written.streams, 12, 480, players=written.parts))

    def told(some: Piece) -> set[tuple]:
        who = [some.parts[i] for i in some.part]
        lengths = [0 if part.drums else int(length) for part, length in zip(who, some.duration, strict=True)]
        names = [("Drums" if part.drums else part.name, part.program, part.drums) for part in who]
        return set(zip(some.onset.tolist(), some.pitch.tolist(), lengths, names, strict=True))

    assert told(midi.parse(again)) == told(read)
    vocabulary = build_vocabulary([written], Representation(max_beats=1000), 0)
    classes, moved = vocabulary.encode(written)
    assert not any(moved.values())
    assert all((vocabulary.decode(classes)[name] == written.streams[name]).all() for name in classes)
