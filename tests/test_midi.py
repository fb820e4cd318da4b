"""MIDI file <-> Piece, and files that are damaged or not MIDI at all."""

import io
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
from conftest import ROOT, make_piece, random_piece, save
from hypothesis import given
from hypothesis import strategies as st

from utils import chunks, midi
from utils.errors import UserError
from utils.output import sound
from utils.piece import COLUMNS, Piece


def notes(piece: Piece) -> list[tuple]:
    """(onset, pitch, duration, velocity, program, drums), sorted."""
    rows = zip(*(getattr(piece, name).tolist() for name in COLUMNS), strict=True)
    return sorted((*row, piece.parts[part].program, piece.parts[part].drums) for *row, part in rows)


def back(piece: Piece) -> Piece:
    return midi.parse(midi.as_bytes(piece))


note = st.tuples(
    st.integers(0, 5000), st.integers(0, 127), st.integers(1, 3000), st.integers(1, 127), st.integers(0, 3)
)


@given(st.lists(note, min_size=1, max_size=60), st.sampled_from([1, 96, 480, 10080, 32767]))
def test_what_is_written_is_read_back(rows: list[tuple], ticks: int):
    """Whatever notes overlap, each keeps its own end."""
    few_lanes = make_piece([row for i, row in enumerate(rows) if rows.index(row) == i][:14], ticks)
    assert notes(back(few_lanes)) == notes(few_lanes)


def test_tempo_metre_key_ticks_and_instruments_survive():
    piece = make_piece(
        [(0, 60, 100, 77, 40), (0, 64, 96, 1, 0), (96, 67, 1, 127, 127)],
        96,
        tempos=[(0, 500_001), (96, 333_333)],
        time_signatures=[(0, 3, 8), (144, 7, 16)],
        key_signatures=[(0, -3, 1), (96, 7, 0)],
    )
    same = back(piece)
    assert notes(same) == notes(piece)
    for name in ("ticks_per_quarter", "tempos", "time_signatures", "key_signatures"):
        assert getattr(same, name) == getattr(piece, name)


def test_a_merged_file_has_one_track():
    piece = make_piece([(0, 60, 100, 80, 1), (0, 60, 50, 80, 0), (10, 60, 5, 80, 0)])
    data = midi.as_bytes(piece, merge=True)
    assert notes(midi.parse(data)) == notes(piece)
    file = mido.MidiFile(file=io.BytesIO(data))
    assert (file.type, len(file.tracks)) == (0, 1)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_all_tracks_are_read_including_drums(kind: int):
    file = mido.MidiFile(type=kind, ticks_per_beat=120)
    tracks = [mido.MidiTrack() for _ in range(3)] if kind else [mido.MidiTrack()] * 3
    for i, track in enumerate(tracks):
        channel = 9 if i == 2 else i
        track.append(mido.Message("note_on", note=60 + i, velocity=70 + i, channel=channel, time=0))
        track.append(mido.Message("note_on", note=60 + i, velocity=0, channel=channel, time=60))
    file.tracks.extend(tracks if kind else tracks[:1])
    data = io.BytesIO()
    file.save(file=data)
    piece = midi.parse(data.getvalue())
    later = 0 if kind else 60  # in a single track, the notes follow one another
    assert notes(piece) == [
        (0, 60, 60, 70, 0, False), (later, 61, 60, 71, 0, False), (2 * later, 62, 60, 72, 0, True)
    ]  # fmt: skip
    assert len(piece.parts) == (3 if kind else 2)  # in a single track, all notes of one program are one part


@pytest.mark.parametrize(("channel", "expected"), [(0, "Guitar"), (1, "")])
def test_one_who_changes_instruments_keeps_the_name_of_the_track(channel: int, expected: str):
    """Whereas the name of a track in which several play is none of theirs."""
    track = mido.MidiTrack([mido.MetaMessage("track_name", name="Guitar")])
    for number, program in ((0, 25), (channel, 30)):
        track.append(mido.Message("program_change", channel=number, program=program))
        track.append(mido.Message("note_on", channel=number, note=60))
        track.append(mido.Message("note_off", channel=number, note=60, time=480))
    data = io.BytesIO()
    mido.MidiFile(tracks=[track]).save(file=data)
    piece = midi.parse(data.getvalue(), channels=True)
    assert [(part.name, part.program) for part in piece.parts] == [(expected, 25), (expected, 30)]


def test_pitches_0_and_127_and_a_note_of_no_length_are_read():
    track = mido.MidiTrack()
    for pitch in (0, 127):
        track.append(mido.Message("note_on", note=pitch, velocity=64, time=0))
        track.append(mido.Message("note_off", note=pitch, time=0 if pitch else 10))
    data = io.BytesIO()
    mido.MidiFile(tracks=[track]).save(file=data)
    assert sorted(midi.parse(data.getvalue()).pitch.tolist()) == [0, 127]


def whole_file(merge: bool = False) -> bytes:
    return midi.as_bytes(random_piece(1), merge)


def test_everything_that_is_left_of_a_truncated_file_is_read():
    """On such files symusic alone may crash the interpreter, which no `except` can catch."""
    data, whole = whole_file(), midi.parse(whole_file())
    lengths = []
    for size in range(0, len(data), 7):
        try:
            piece = midi.parse(data[:size])
        except ValueError as error:
            assert "not a MIDI file" in str(error) or "cut short or damaged before its first note" in str(error)
            assert size < data.index(b"\x90", 30) + 3
            continue
        assert piece.damage == f"it is cut short or damaged: the {len(piece)} notes that can be read are used"
        assert {row[:2] for row in notes(piece)} <= {row[:2] for row in notes(whole)}
        lengths.append(len(piece))
    assert lengths[-1] > 0.9 * len(whole) and not whole.damage


def test_damaged_bytes_never_crash_the_reader():
    """Not even those that symusic alone would not survive: keys above 127, and texts longer than their track."""
    rng = np.random.default_rng(1)
    data = whole_file()
    for _ in range(2000):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 20)):
            broken[place] = rng.choice([rng.integers(0, 256), 0x9F, 0x8F, 0xFF, 200])
        try:
            midi.parse(bytes(broken))
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a MIDI file"),
        (b"Dear diary, today I wrote no music.", "not a MIDI file"),
        (whole_file()[:40], "cut short .* before its first note"),
        (b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0", "no notes"),
    ],
)
def test_bad_files_are_named_with_the_reason(content: bytes, reason: str, tmp_path: Path):
    path = tmp_path / "bad.mid"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as error:
        midi.read(path)
    assert str(path) in str(error.value)


def test_a_score_must_be_converted_first(tmp_path: Path):
    path = tmp_path / "a rag.MXL"
    path.write_bytes(b"PK")
    command = f"python convertmidis.py --source '{path}' --out converted"
    with pytest.raises(UserError, match=f"it is a score; convert it first, with '{command}'"):
        midi.read(path)
    path = path.replace(tmp_path / "song.MSCZ")
    with pytest.raises(UserError, match="song.MSCZ cannot be used: only the program that wrote it can read it"):
        midi.read(path)


def test_a_letter_and_its_accent_are_one_character():
    assert midi.readable("Flo\u0308te\n 1") == "Fl\u00f6te 1"


LONG = b"\0\x90\x3c\x40\x87\x68\x3c\0"  # a note of 1000 ticks


@pytest.mark.parametrize(
    ("division", "rate"),
    [
        *((b"\xe7\x28", 1000), (b"\xe8\4", 96), (b"\xe3\x50", 80 * 30 / 1.001), (b"\xe2\x50", 2400)),
        *((b"\xe7\0", 25), (b"\x80\xff", 128 * 255), (b"\xff\1", 1)),
    ],
)
@pytest.mark.parametrize("tempos", [[], [100, 60, 240]])
@pytest.mark.parametrize("channels", [False, True])
def test_time_in_smpte_frames_is_converted_to_beats(division: bytes, rate: float, tempos: list[int], channels: bool):
    changes = [b"\0\xff\x51\3" + (60_000_000 // tempo).to_bytes(3, "big") for tempo in tempos]
    data = file_of(b"".join(change + LONG * 3 for change in changes or [b""]) + END)
    piece = midi.parse(data[:12] + division + data[14:], channels)
    assert "SMPTE frames instead of beats" in piece.damage
    tick, tempo = np.array([*piece.tempos_from_start(), (10**12, 1)]).T
    seconds = np.append(0, np.cumsum(np.diff(tick) * tempo[:-1] / 1e6 / piece.ticks_per_quarter))
    times = np.concatenate([piece.onset, piece.onset + piece.duration])
    expected = np.append(np.arange(len(piece)), np.arange(len(piece)) + 1) * 1000 / rate
    assert np.abs(np.interp(times, tick, seconds) - expected).max() < 0.5 / piece.ticks_per_quarter + 1e-6
    # The beats follow from the tempos.
    quarters = np.cumsum(np.repeat(tempos or [120], 3) * 1000 / rate / 60)
    assert np.abs(times[len(piece) :] / piece.ticks_per_quarter - quarters).max() < 1e-3
    assert [bpm for _, bpm in piece.tempos] == [60_000_000 // tempo for tempo in tempos]
    assert notes(back(piece)) == notes(piece)


@pytest.mark.parametrize("mode", [1, 2, 0xFF])
def test_a_key_in_any_mode_but_major_counts_as_minor(mode: int):
    piece = midi.parse(file_of(b"\0\xff\x59\2\xfd" + bytes([mode]) + NOTE + END))
    assert piece.key_signatures == back(piece).key_signatures == [(0, -3, 1)]


def test_a_header_with_0_ticks_is_read_as_one_with_the_usual_number():
    data, piece = whole_file(), random_piece(1)
    same = midi.parse(data[:12] + b"\0\0" + data[14:])
    assert piece.ticks_per_quarter == same.ticks_per_quarter == 480
    assert notes(same) == notes(piece) and "taken to be 480" in same.damage
    cut = midi.parse(data[:12] + b"\0\0" + data[14:-40]).damage
    assert "taken to be 480; it is cut short" in cut


def test_only_well_formed_tracks_reach_symusic():
    [track], whole = chunks.split(whole_file(merge=True))
    assert whole and chunks.is_sound(track) and chunks.mended(track, 2**31)[1]
    note = track.index(b"\x90", 8)
    for damage in (b"\x9f\xc8\x40", b"\xff\1\x90", b"\xff\x51\0\0", b"\xf7\1\0\0", b"\xff\x51\3\x9f\xc8\x40"):
        damaged = track[:note] + damage + track[note + 3 :]
        assert not chunks.is_plain(damaged) and not chunks.is_sound(damaged)
        mended, _ = chunks.mended(damaged, 2**31)
        assert chunks.is_sound(mended)
    # A long rest and a long text look damaged at first sight, but are not.
    piece = make_piece([(0, 60, 10), (5_000_000, 62, 5_000_000)])
    assert notes(back(piece)) == notes(piece)
    text = track[:note] + b"\xff\x01\x81\x02" + b"\xe9" * 2 + b"a" * 128 + b"\0" + track[note:]
    assert not chunks.is_plain(text) and chunks.is_sound(text)


@given(st.lists(note, min_size=1, max_size=60), st.sampled_from([96, 480, 32767]), st.booleans())
def test_fast_and_careful_reading_give_the_same_piece(rows: list[tuple], ticks: int, merge: bool):
    data = midi.as_bytes(replace(make_piece(rows, ticks), pedals=np.array([[5, 80, 0]])), merge)
    fast, careful = midi.parse(data), midi.parse(data, channels=True)
    assert [part.channel for part in careful.parts] != [part.channel for part in fast.parts]
    assert careful.damage == fast.damage == ""
    assert [part._replace(channel=-1) for part in careful.parts] == fast.parts
    for name in (*COLUMNS, "pedals"):
        assert (getattr(fast, name) == getattr(careful, name)).all()


def file_of(*tracks: bytes, ticks: int = 96, count: int | None = None) -> bytes:
    head = b"MThd\0\0\0\6\0\1" + (len(tracks) if count is None else count).to_bytes(2, "big") + ticks.to_bytes(2, "big")
    return head + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for track in tracks)


NOTE, END = b"\0\x90\x3c\x40\x60\x3c\0", b"\0\xff\x2f\0"
READ = [(0, 60, 96, 64, 0, False)]
LOUDEST = [(0, 60, 96, 127, 0, False)]


@pytest.mark.parametrize(
    ("data", "expected", "damaged"),
    [
        (file_of(NOTE), READ, False),  # no end-of-track event
        (file_of(NOTE, count=9), READ, True),
        (file_of(NOTE + END, count=0), READ, False),
        (file_of(NOTE + END) + b"XFIH\0\0\0\2ab", READ, False),  # a chunk of another kind
        (file_of(NOTE + END) + b"\0" * 10**6, READ, False),
        (file_of(NOTE + END) + b"\0\0\0\0\0\0\0\1" * 10**5 + b"\xff" * 9, READ, False),
        (file_of(END, NOTE + END).replace(b"MTrk\0\0\0\4", b"MTrk\0\7\0\4"), READ, True),  # wrong length
        (b"MThd\0\0\0\x08" + file_of(NOTE + END)[8:14] + b"ab" + file_of(NOTE + END)[14:], READ, False),
        (file_of(b"\0\x90\x3c\xc8\x60\x3c\0" + END), LOUDEST, False),  # a velocity of 200
        (file_of(b"\0\x90\xc8\x40\x60\x80\xc8\0" + END), [(0, 127, 96, 64, 0, False)], False),
        (file_of(b"\x05\x3c" + NOTE + END), [(5, *READ[0][1:])], True),  # data before the first status byte
        (file_of(NOTE + b"\0\xff\3\x83\xff\xff\x7fab"), READ, True),  # a text longer than its track
        (file_of(b"\0\xf0\5\1\2\3\4\5" + NOTE + END), READ, False),
        (file_of(NOTE + b"\0\xf0\x7f\1"), READ, True),  # a system message without an end
        (file_of(NOTE[:4] + b"\0\xf7\2\1\2" + NOTE[4:] + END), READ, False),
        (file_of(NOTE[:4] + b"\0\xf0\2\1\xf7" + NOTE[4:] + END), READ, False),
        (file_of(NOTE[:4] + b"\0\xff\x90\1a" + NOTE[4:] + END), READ, False),
        (file_of(b"\0\x90\x3c\x40\x60" + END[1:]), READ, False),  # a note without an end
        (file_of(b"\0\xff\3\4Fl\xf6t" + NOTE + END), READ, False),
        (file_of(b"\0\xff\x58\4\0\xff\0\0\0\xff\x58\4\4\xff\0\0\0\xff\x58\1\4" + NOTE + END), READ, False),
        (file_of(b"\0\xff\x58\4\4\x08\0\0" + NOTE + END), READ, False),  # in 4/256
        (file_of(b"\0\xff\x59\2\x7f\5\0\xff\x51\0\0\xff\x51\3\0\0\0" + NOTE + END), READ, False),
        (file_of(b"\0\x90\x3c\0" + NOTE + END), READ, False),
        (file_of(*[NOTE + END] * 300), READ * 300, False),
    ],
)
def test_odd_files_are_read(data: bytes, expected: list, damaged: bool):
    for channels in (False, True):
        piece = midi.parse(data, channels)
        assert [(*row[:4], 0, row[5]) for row in notes(piece)] == expected
        assert bool(piece.damage) == damaged
        assert piece.tempos == piece.time_signatures == piece.key_signatures == []


@pytest.mark.parametrize("name", [b"Fl\xf6te", "Flöte".encode(), b"\x1b[31mFl\r\n\xff\xfe", b"\xff" * 300])
def test_a_track_may_have_any_name(name: bytes):
    data = file_of(b"\0\xff\3" + chunks.variable(len(name)) + name + NOTE + END)
    for channels in (False, True):
        [part] = midi.parse(data, channels).parts
        assert part.called().isprintable() and len(part.name) <= midi.LONGEST_NAME
    assert part.name == "Flöte" or name != b"Fl\xf6te"


def test_a_name_that_is_cut_does_not_end_with_a_blank():
    assert midi.readable("Very long name " * 12) == ("Very long name " * 4).strip()


@pytest.mark.parametrize(
    ("rest", "count"), [(b"\xff\xff\xff\x7f", 8), (b"\xff\xff\xff\x7f", 17), (b"\xff\xff\x7f", 1025)]
)
@pytest.mark.parametrize("ticks", [1, 480, 32767])
@pytest.mark.parametrize("channels", [False, True])
def test_a_file_longer_than_any_music_is_refused(rest: bytes, count: int, ticks: int, channels: bool):
    """The sum of its rests exceeds 2^31 ticks, or 2^32."""
    for late in ((rest + NOTE[1:]) * count, (rest + b"\xff\1\0") * count + NOTE):
        with pytest.raises(ValueError, match="longer than 65,536 quarter notes"):
            midi.parse(file_of(late + END, ticks=ticks), channels)
    assert len(back(make_piece([(0, 60, 2**16 * ticks)], ticks))) == 1
    with pytest.raises(ValueError, match="longer than 65,536 quarter notes"):
        back(make_piece([(1, 60, 2**16 * ticks)], ticks))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), max_size=60))
def test_a_note_takes_the_lowest_free_lane(rows: list[tuple[int, int]]):
    ends, taken = [], []
    for onset, duration in sorted(rows):
        sounding = {lane for lane, until in taken if until > onset}
        lane = next(i for i in range(17) if i not in sounding or i == 16)  # notes in the last one share a channel
        assert midi.lane_of(ends, onset, onset + duration) == lane
        taken.append((lane, onset + duration))


def test_a_hundred_thousand_overlapping_notes_on_one_key_take_only_seconds():
    piece, start = make_piece([(onset, 60, 10**6 - onset) for onset in range(100_000)]), time.process_time()
    assert len(midi.as_bytes(piece)) > 10 * len(piece)
    assert time.process_time() - start < 5


def test_running_status_continues_after_texts_and_long_rests():
    track = b"\0\x90\x3c\x40\0\xff\1\1a\x81\x80\0\x3c\0\0\xc0\5\0\6\0\xf0\1\xf7\0\x91\x3e\x40\x60\x3e\0\0\xff\x2f\0"
    data = b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk" + len(track).to_bytes(4, "big") + track
    assert notes(midi.parse(data)) == [(0, 60, 16384, 64, 0, False), (16384, 62, 96, 64, 0, False)]


def test_more_instruments_than_channels_survive():
    piece = make_piece([(i * 10 % 70, 40 + i, 100, 80, i) for i in range(40)])
    same = back(piece)
    assert notes(same) == notes(piece)


def test_links_between_folders_are_followed_but_not_in_circles(tmp_path: Path):
    save(make_piece([(0, 60, 10)]), tmp_path / "music" / "a.mid")
    (tmp_path / "midis").mkdir()
    try:
        (tmp_path / "midis" / "link").symlink_to(tmp_path / "music", target_is_directory=True)
        (tmp_path / "music" / "back").symlink_to(tmp_path / "midis", target_is_directory=True)
    except OSError:
        pytest.skip("this system does not allow links")
    assert [path.name for path in midi.find(tmp_path / "midis")] == ["a.mid"]


def test_files_with_any_midi_ending_are_found_in_any_folder(tmp_path: Path):
    names = ["a.mid", "B.MID", "c.midi", "d.KAR", "with spaces é/ünïcode ♪.mid", "deep/er/e.Mid"]
    for name in names:
        save(make_piece([(0, 60, 10)]), tmp_path / name)
    (tmp_path / "notes.txt").write_text("no")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in midi.find(tmp_path)) == sorted(names)
    assert all(len(midi.read(path)) == 1 for path in midi.find(tmp_path))
    with pytest.raises(UserError, match="does not exist"):
        midi.find(tmp_path / "nowhere")


def test_hidden_files_and_folders_are_not_read(tmp_path: Path):
    for name in ("a.mid", "b/c.mid", "._a.mid", ".Trash-1000/files/d.mid", "b/.versions/c.mid"):
        save(random_piece(1), tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in midi.find(tmp_path)] == ["a.mid", "b/c.mid"]


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch):
    path = save(make_piece([(0, 60, 10)]), tmp_path / "secret.mid")
    if not hasattr(os, "geteuid") or os.geteuid() == 0:  # root may read everything, so the refusal is faked

        def refuse(self):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", refuse)
    else:
        path.chmod(0)
    with pytest.raises(UserError, match="secret.mid cannot be read: Permission denied"):
        midi.read(path)


def test_span_keeps_the_tempo_and_metre_in_force():
    piece = make_piece(
        [(0, 60, 10), (480, 61, 10), (960, 62, 10)],
        tempos=[(0, 500_000), (400, 600_000), (900, 700_000)],
        time_signatures=[(0, 1, 4)],
    )
    part = piece.span(600)  # inside the second bar, which begins at 480
    assert part.onset.tolist() == [480]
    assert piece.span(480).onset.tolist() == [0, 480]
    assert part.tempos == [(0, 600_000), (420, 700_000)]
    assert part.time_signatures == [(0, 1, 4)]
    assert piece.span(0, 481).tempos == [(0, 500_000), (400, 600_000)]


def test_nothing_is_overwritten(tmp_path: Path):
    piece = make_piece([(0, 60, 10)])
    paths = [midi.save_new(piece, tmp_path, "a") for _ in range(3)]
    assert [path.name for path in paths] == ["a-001.mid", "a-002.mid", "a-003.mid"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        midi.save_new(piece, tmp_path / "file", "a")


def test_two_processes_never_take_the_same_name(tmp_path: Path):
    code = (
        "import sys; sys.path[:0] = ['tests']; from conftest import random_piece; from utils import midi\n"
        f"for i in range(20): print(midi.save_new(random_piece(i, 1), r'{tmp_path}', 'a'))"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = [line for process in processes for line in process.communicate()[0].splitlines()]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a-{n:03d}.mid" for n in range(1, 61)]
    assert sorted(paths) == sorted(map(str, tmp_path.iterdir()))
    assert all(len(midi.read(path)) > 3 for path in tmp_path.iterdir())


def test_new_music_that_is_too_long_is_refused_with_the_reason(tmp_path: Path):
    assert midi.save_new(make_piece([(0, 60, 2**16 * 480)]), tmp_path / "some", "a").exists()
    with pytest.raises(UserError, match="longer than 65,536 quarter notes: ask for less"):
        midi.save_new(make_piece([(1, 60, 2**16 * 480)]), tmp_path / "other", "a")
    assert not (tmp_path / "other").exists()


def test_no_half_written_file_is_left(tmp_path: Path, monkeypatch):
    impossible = make_piece([(0, 60, 10), (10, 200, 10)])
    with pytest.raises(ValueError):
        midi.save_new(impossible, tmp_path, "a")
    kept = save(random_piece(1), tmp_path / "a-001.mid").read_bytes()
    with pytest.raises(ValueError):
        midi.save(impossible, tmp_path / "a-001.mid")
    assert (tmp_path / "a-001.mid").read_bytes() == kept

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(UserError, match="a-002.mid cannot be written: No space left on device"):
        midi.save_new(random_piece(1), tmp_path, "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a-001.mid"]


def test_bars_follow_the_metre_and_are_not_too_many():
    piece = make_piece([(0, 60, 480 * 12)], time_signatures=[(480 * 3, 3, 4), (480 * 7, 6, 8)])
    quarters = [(tick / 480, *metre) for tick, *metre in piece.bars()]
    assert quarters == [(0, 4, 4), (3, 3, 4), (6, 3, 4), (7, 6, 8), (10, 6, 8)]
    assert piece.bars(480 * 6 + 1)[-1] == (480 * 6, 3, 4) and piece.bars(480 * 6)[-1] == (480 * 3, 3, 4)
    endless = make_piece([(0, 60, 10_000_000)], 1, time_signatures=[(0, 1, 64)])
    assert len(endless.bars()) == 10_000


def test_the_last_of_several_changes_at_one_tick_holds():
    changes = {"tempos": [(0, 500_000), (0, 300_000)], "time_signatures": [(0, 4, 4), (0, 3, 4), (0, 2, 4)]}
    piece = make_piece([(0, 60, 480 * 4)], **changes)
    again = midi.parse(midi.as_bytes(piece))
    for each in (piece, again, piece.span(0)):
        assert each.seconds() == pytest.approx(1.2) and each.bars()[0] == (0, 2, 4)
    assert len(sound.rendered(piece)[0]) == pytest.approx((1.2 + sound.RING) * sound.RATE, abs=2)


def test_playing_time_follows_the_tempos():
    piece = make_piece([(0, 60, 480), (480 * 60, 60, 480)], tempos=[(0, 1_000_000), (480 * 31, 500_000)])
    assert piece.clock() == "0:46"
