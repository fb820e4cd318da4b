"""Who plays in a piece: parts, drums and pedals, written to MIDI files and read back."""

import io
from collections import Counter

import mido
import numpy as np
import pytest
from conftest import make_piece
from hypothesis import given
from hypothesis import strategies as st
from test_midi import notes

from utils import midi, parts
from utils.piece import COLUMNS, Part, Piece

part = st.builds(
    Part,
    name=st.text(max_size=20).map(midi.readable),
    program=st.integers(0, 127),
    drums=st.booleans(),
    channel=st.integers(-1, 15),
)
note = st.tuples(
    st.integers(0, 2000), st.sampled_from([0, 60, 61, 127]), st.integers(1, 900), st.integers(1, 127), st.integers(0, 4)
)
ticks = st.lists(st.integers(0, 3000), max_size=8)


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Music for one to five parts, some of them alike, some without notes; notes that overlap on a key, except drums,
    whose ends and pedals mean nothing; and pedals, some pressed again at the moment when they are lifted."""
    parts = draw(st.lists(part | st.just(Part("Violin", 40)), min_size=1, max_size=5))
    struck, rows = set(), []
    for *row, number in draw(st.lists(note, min_size=1, max_size=9)):
        number %= len(parts)
        if not parts[number].drums or (row[1], number) not in struck:
            rows.append((*row, number))
        struck.add((row[1], number))
    pedals = []
    for number in (i for i, part in enumerate(parts) if not part.drums):
        times = sorted(draw(ticks))
        pedals += [(down, up, number) for down, up in zip(times, times[1:], strict=False) if down < up]
    return make_piece(rows, parts=parts, pedals=np.array(pedals, np.int64).reshape(-1, 3))


def data_of(piece: Piece, merge: bool = False) -> bytes:
    return midi.as_bytes(piece, merge)


def players(piece: Piece) -> list[tuple]:
    return [(part.called(), part.program, part.drums) for part in piece.parts]


def rows(piece: Piece) -> list[list[int]]:
    return np.column_stack([piece.part, piece.onset, piece.pitch, piece.duration, piece.velocity]).tolist()


@given(pieces())
def test_parts_and_pedals_are_read_back(piece: Piece):
    played = piece.played()
    for channels in (False, True):
        same = midi.parse(data_of(piece), channels)
        assert players(same) == players(played)
        assert sorted(rows(same)) == sorted(rows(played))
        assert sorted(same.pedals.tolist()) == sorted(played.pedals.tolist())
    # What was read is written again as it was, on the same channels.
    again = midi.parse(data_of(same), channels=True)
    assert sorted(rows(again)) == sorted(rows(same))
    parts_on = Counter(part.channel for part in same.parts)
    assert all(now == then for now, then in zip(again.parts, same.parts, strict=True) if parts_on[then.channel] == 1)


@given(pieces())
def test_a_merged_file_has_the_same_notes(piece: Piece):
    """Apart from drums of a second part: one channel has one kit, and cannot tell strokes on one key apart."""
    drums = [i for i, part in enumerate(piece.parts) if part.drums]
    piece = piece.take(~np.isin(piece.part, drums[1:])) if drums else piece
    if not len(piece):
        return
    piece = piece.played()
    data = data_of(piece, merge=True)
    assert len(mido.MidiFile(file=io.BytesIO(data)).tracks) == 1
    same = midi.parse(data)
    assert notes(same) == notes(piece)
    assert sorted(part[1:3] for part in same.parts) == sorted({part[1:3] for part in piece.parts})


def test_a_written_file_has_a_track_for_each_part():
    parts = [Part("Soprano", 52), Part("", 52), Part("Kit", 8, True), Part("Nobody", 3)]
    piece = make_piece([(0, 60, 9, 80, 0), (0, 62, 9, 80, 1), (0, 36, 9, 80, 2)], parts=parts, tempos=[(0, 600_000)])
    file = mido.MidiFile(file=io.BytesIO(data_of(piece)))
    assert file.type == 1
    assert [track.name for track in file.tracks] == ["", "Soprano", "Choir Aahs", "Kit", "Nobody"]
    assert [message.type for message in file.tracks[0]] == ["set_tempo", "end_of_track"]
    channels = [{message.channel for message in track if not message.is_meta} for track in file.tracks]
    assert channels[3] == {9} and channels[1] != channels[2]


def file_of(*tracks: list, kind: int = 1) -> bytes:
    """A MIDI file of tracks of mido messages."""
    data = io.BytesIO()
    mido.MidiFile(type=kind, tracks=[mido.MidiTrack(track) for track in tracks]).save(file=data)
    return data.getvalue()


def strike(pitch: int, channel: int = 0, program: int | None = None) -> list[mido.Message]:
    """A note of 10 ticks, after a change to `program` if that is given."""
    on = mido.Message("note_on", note=pitch, velocity=70, channel=channel)
    off = mido.Message("note_off", note=pitch, channel=channel, time=10)
    return [
        *([mido.Message("program_change", program=program, channel=channel)] if program is not None else []),
        on,
        off,
    ]


def titled(name: str, *messages: mido.Message) -> list:
    return [mido.MetaMessage("track_name", name=name), *messages]


@pytest.mark.parametrize("channels", [False, True])
def test_a_part_is_what_plays_one_program_in_one_track(channels: bool):
    twice = titled("Violin", *strike(60, 0, 40))
    piece = midi.parse(file_of(titled("Song"), twice, twice, titled("Violin", *strike(60, 1, 40))), channels)
    assert players(piece) == [("Violin", 40, False)] * 3 and len(set(piece.parts)) == 3
    # Two channels with one program are one part, whatever plays between them.
    several = titled("All", *strike(60, 0, 40), *strike(61, 1, 5), *strike(62, 2, 40), *strike(36, 9))
    piece = midi.parse(file_of(several, kind=0), channels)
    assert players(piece) == [("Violin", 40, False), ("Electric Piano 2", 5, False), ("Drums", 0, True)]
    assert rows(piece.take(piece.part == 0)) == [[0, 0, 60, 10, 70], [0, 20, 62, 10, 70]]
    # The same track beside another one: a name that several parts share describes none of them.
    piece = midi.parse(file_of(several, twice), channels)
    assert [part.name for part in piece.parts] == ["", "", "", "Violin"]


@pytest.mark.parametrize("channels", [False, True])
def test_a_track_that_changes_its_program_has_several_parts(channels: bool):
    track = [message for program in range(16) for message in strike(60, 3, program)]
    piece = midi.parse(file_of(titled("Everything", *track)), channels)
    assert [part.program for part in piece.parts] == list(range(16))
    assert rows(piece) == [[i, 10 * i, 60, 10, 70] for i in range(16)]
    assert rows(midi.parse(data_of(piece), channels)) == rows(piece)


def test_forty_tracks_survive():
    """Each on a channel of its own while there are any, and the rest on one that they share."""
    parts = [Part(f"Voice {i}", i % 7) for i in range(40)]
    piece = make_piece([(10 * (i % 3), 60, 25, 80, i) for i in range(40)], parts=parts)
    same = midi.parse(data_of(piece), channels=True)
    assert players(same) == players(piece) and rows(same) == rows(piece)


def test_tracks_without_notes_are_left_out():
    silent = titled("Silent", mido.Message("control_change", control=64, value=127))
    piece = midi.parse(file_of(silent, titled("Heard", *strike(60)), silent), channels=True)
    assert players(piece) == [("Heard", 0, False)] and not len(piece.pedals)


def test_the_pedal_begins_where_it_is_pressed_on_any_channel():
    """symusic says that it is down from the beginning on every channel but the first."""

    def pedal(value: int, time: int) -> mido.Message:
        return mido.Message("control_change", control=64, value=value, channel=5, time=time)

    on, off = strike(60, 5)
    # Lifted before it is pressed; pressed deeper; half lifted, which counts as lifted; and left down.
    track = [on, pedal(0, 5), pedal(64, 5), pedal(127, 5), pedal(63, 5), pedal(0, 5), pedal(90, 5), off]
    assert midi.parse(file_of(track)).pedals.tolist() == [[10, 20, 0]]


def test_a_file_of_drums_alone_is_read_and_written():
    piece = midi.parse(file_of(titled("Kit", *strike(36, 9, 25), *strike(38, 9))), channels=True)
    assert piece.parts == [Part("Kit", 25, True, 9)]
    assert notes(piece) == [(0, 36, 10, 70, 25, True), (10, 38, 10, 70, 25, True)]
    assert notes(midi.parse(data_of(piece))) == notes(piece)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("\x1b[31mred\x07\n\tand\0 more ", "[31mred and more"),
        ("x" * 4400, "x" * 60),
        ("é" * 60, "é" * 60),
        ("\u202eright to left", "right to left"),
        (" \n ", ""),
    ],
)
def test_names_are_cleaned(name: str, cleaned: str):
    data = io.BytesIO()
    track = mido.MidiTrack(titled(name, *strike(60, 0, 40)))
    mido.MidiFile(charset="utf-8", tracks=[track]).save(file=data)
    (part,) = midi.parse(data.getvalue()).parts
    assert part.name == cleaned and part.called() == (cleaned or "Violin")


def test_a_file_with_a_name_in_another_encoding_is_read():
    for name, charset in (("Flöte", "latin-1"), ("ピアノ", "shift-jis")):
        data = io.BytesIO()
        mido.MidiFile(charset=charset, tracks=[mido.MidiTrack(titled(name, *strike(60)))]).save(file=data)
        assert len(midi.parse(data.getvalue(), channels=True)) == 1


def sounding_durations(piece: Piece) -> list[int]:
    """How long each note sounds, found note by note."""
    durations = []
    for onset, pitch, duration, _, number in zip(*(getattr(piece, c).tolist() for c in COLUMNS), strict=True):
        end = onset + duration
        later = piece.onset[(piece.part == number) & (piece.pitch == pitch) & (piece.onset > onset)]
        for down, up, who in piece.pedals.tolist():
            if who == number and down <= onset + duration < up:
                end = max(onset + duration, min([up, *later.tolist()]))
        durations.append(end - onset)
    return durations


@given(pieces())
def test_notes_sound_while_the_pedal_is_down(piece: Piece):
    """As computed in the obvious way, note by note, for pieces in which no note is struck twice at once."""
    _, first = np.unique(np.stack([piece.onset, piece.pitch, piece.part]), axis=1, return_index=True)
    piece = piece.take(first).sorted()
    sounding = piece.sounding()
    assert sounding.duration.tolist() == sounding_durations(piece)
    assert not len(sounding.pedals) and (sounding.duration >= piece.duration).all()
    assert rows(sounding.sounding()) == rows(sounding)


def test_a_pedal_holds_the_notes_of_its_part_until_it_is_lifted_or_the_key_is_struck_again():
    parts = [Part("Left"), Part("Right")]
    piece = make_piece(
        [(0, 60, 10), (0, 64, 10), (50, 60, 100), (0, 67, 10, 80, 1), (120, 72, 10)],
        parts=parts,
        pedals=np.array([[5, 100, 0], [125, 300, 0]]),
    )
    # 60 is struck again; 64 lasts as long as the pedal; the second 60 ends with it down again; 67 is the other hand's.
    assert rows(piece.sounding()) == [
        [0, 0, 60, 50, 80], [0, 0, 64, 100, 80], [1, 0, 67, 10, 80], [0, 50, 60, 250, 80], [0, 120, 72, 180, 80]
    ]  # fmt: skip


def test_parts_are_kept_when_pieces_are_joined_and_cut():
    one, two = Part("One", 1), Part("Two", 2)
    first = make_piece([(0, 60, 10, 80, 0)], parts=[one], pedals=np.array([[0, 30, 0]]))
    second = make_piece([(5, 62, 10, 80, 0), (6, 64, 10, 80, 1)], parts=[two, one])
    both = first.joined(second)
    assert both.parts == [one, two] and both.pedals.tolist() == [[0, 30, 0]]
    assert rows(both) == [[0, 0, 60, 10, 80], [1, 5, 62, 10, 80], [0, 6, 64, 10, 80]]
    assert both.take(both.part == 1).played().parts == [two]
    assert not len(both.take(both.part == 1).played().pedals)
    assert both.span(0, 5).pedals.tolist() == [[0, 5, 0]]
    assert both.finer(2).pedals.tolist() == [[0, 60, 0]]


def test_a_swap_may_make_another_one_useful():
    """The lowest of three unknown parts is heard as the lowest of a quartet, although another was nearer at first."""
    violins, viola, cello = (parts.value_of(40), parts.value_of(40, 1)), parts.value_of(41), parts.value_of(42)
    quartet = dict(zip((cello, viola, *reversed(violins)), (50.4, 59.9, 67.9, 75.7), strict=True))
    guitar, low_organ, organ = (parts.value_of(program) for program in (24, 18, 16))
    assert parts.heard_as({guitar: 57.0, low_organ: 38.0, organ: 57.0}, quartet)[low_organ] == cello


def test_a_third_piano_is_no_cello():
    """When music is learnt or scored, it shares the part of another piano; a part in between has one to itself."""
    right, left, cello = parts.value_of(0, 1), parts.value_of(0), parts.value_of(42)
    known, third = {right: 72.0, left: 48.0, cello: 50.0}, parts.value_of(0, 2)
    means = {right: 74.0, left: 60.0, third: 49.0}
    assert parts.heard_as(means, known)[third] == cello
    assert parts.heard_as(means, known, parts.FURTHER)[third] == left
    organ = parts.value_of(19)
    assert parts.heard_as({right: 74.0, left: 60.0, organ: 49.0}, known, parts.FURTHER)[organ] == cello
