"""convertmidis.py, run as a user runs it, and scores read as pieces."""

from pathlib import Path

import mido
import pytest
from conftest import one_line_error, random_piece, run, save
from music21 import corpus, instrument, note, stream
from test_midi import notes

from utils import midi
from utils.formats import measures, score
from utils.piece import Part

ABC = "X:1\nT:One\nM:3/4\nL:1/4\nQ:1/4=90\nK:Dm\n[DA]E(3F/G/A/|D2z|\n\nX:2\nT:Two\nM:4/4\nL:1/4\nK:C\nCDEF|\n"
KERN = "**kern\t**kern\n*M4/4\t*M4/4\n=1\t=1\n4C\t4e\n4D\t4f\n2E\t2g\n==\t==\n*-\t*-\n"


def write_tracks(kind: int, path: Path) -> None:
    """Write two instruments and drums to three tracks, overlapping on one key, with everything that should survive."""
    file = mido.MidiFile(type=kind, ticks_per_beat=100)
    meta = [
        mido.MetaMessage("set_tempo", tempo=400_000),
        mido.MetaMessage("time_signature", numerator=6, denominator=8),
        mido.MetaMessage("key_signature", key="Ebm"),
        mido.MetaMessage("set_tempo", tempo=600_000, time=90),
    ]
    for channel, program in ((0, 0), (1, 40), (9, 0)):
        track = mido.MidiTrack(meta if channel == 0 else [])
        meta_time = 90 if channel == 0 else 0
        if channel == 0:
            track.append(mido.MetaMessage("track_name", name="Fast"))
        track.append(mido.Message("program_change", channel=channel, program=program))
        track.append(mido.Message("note_on", channel=channel, note=60, velocity=50 + channel, time=100 - meta_time))
        track.append(mido.Message("note_off", channel=channel, note=60, time=100 * (3 - channel % 8)))
        file.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


def test_everything_is_converted(tmp_path: Path):
    source, out = tmp_path / "source", tmp_path / "out"
    for kind in (1, 2):
        write_tracks(kind, source / "sub folder" / f"type {kind}.MID")
    save(random_piece(1), source / "type 0.midi")
    (source / "tunes.abc").write_text(ABC)
    (source / "voices.krn").write_text(KERN)
    (source / "broken.mid").write_text("no music")
    (source / "broken.xml").write_text("<no music")
    (source / "song.mscz").write_bytes(b"PK")
    (source / "tunes.gp5").write_bytes(b"no music")
    (source / "voices.gp5").write_bytes(b"no music, and it takes no name from voices.krn")
    (source / "readme.txt").write_text("not music, and no failure")
    result = run("convertmidis.py", "--source", source, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "5 converted, 0 skipped (already there), 5 failed" in result.stdout.splitlines()[-1]
    assert "broken.mid cannot be used: it is not a MIDI file" in result.stderr
    assert "song.mscz cannot be used: only the program that wrote it can read it" in result.stderr
    assert "broken.xml" in result.stderr
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.mid"))
    assert names == ["sub folder/type 1.mid", "sub folder/type 2.mid", "tunes.abc/001.mid", "tunes.abc/002.mid",
                     "type 0.mid", "voices.mid"]  # fmt: skip
    tracks = {name: [track.name for track in mido.MidiFile(out / name).tracks] for name in names}
    assert tracks["sub folder/type 1.mid"] == tracks["sub folder/type 2.mid"] == ["", "Fast", "Violin", "Drums"]
    assert tracks["type 0.mid"] == ["", "Acoustic Grand Piano"] and len(tracks["voices.mid"]) == 3
    for kind in (1, 2):
        piece = midi.read(out / "sub folder" / f"type {kind}.mid")
        assert notes(piece) == [
            (100, 60, 200, 51, 40, False), (100, 60, 200, 59, 0, True), (100, 60, 300, 50, 0, False)
        ]  # fmt: skip
        assert piece.ticks_per_quarter == 100
        assert piece.tempos == [(0, 400_000), (90, 600_000)]
        assert piece.time_signatures == [(0, 6, 8)]
        assert piece.key_signatures == [(0, -6, 1)]
    tune = midi.read(out / "tunes.abc" / "001.mid")
    quarter = tune.ticks_per_quarter
    assert [(o / quarter, p, d / quarter) for o, p, d, *_ in notes(tune)] == [
        (0, 62, 1), (0, 69, 1), (1, 64, 1), (2, 65, 1 / 3), (2 + 1 / 3, 67, 1 / 3), (2 + 2 / 3, 69, 1 / 3), (3, 62, 2)
    ]  # fmt: skip
    assert tune.tempos[0] == (0, 666_667) and tune.time_signatures == [(0, 3, 4)]
    assert tune.key_signatures == [(0, -1, 1)]
    voices = midi.read(out / "voices.mid")
    assert [(o / quarter, p) for o, p, *_ in notes(voices)] == [(0, 48), (0, 64), (1, 50), (1, 65), (2, 52), (2, 67)]

    # Again: nothing is touched unless that is asked for.
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.mid")}
    result = run("convertmidis.py", "--source", source, "--out", out)
    assert "0 converted, 5 skipped (already there), 5 failed" in result.stdout
    assert result.returncode == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("*.mid")}
    result = run("convertmidis.py", "--source", source, "--out", out, "--overwrite")
    assert "5 converted, 0 skipped" in result.stdout
    assert all(stamp != path.stat().st_mtime_ns for path, stamp in stamps.items())

    # And merged.
    result = run("convertmidis.py", "--source", source / "sub folder", "--out", out / "merged", "--merge")
    assert "2 converted" in result.stdout
    for kind in (1, 2):
        path = out / "merged" / f"type {kind}.mid"
        assert (mido.MidiFile(path).type, len(mido.MidiFile(path).tracks)) == (0, 1)
        assert notes(midi.read(path)) == notes(midi.read(out / "sub folder" / f"type {kind}.mid"))


def test_a_folder_and_the_corpus_cannot_be_converted_together(tmp_path: Path):
    result = run("convertmidis.py", "--source", tmp_path, "--corpus", "bach", "--out", tmp_path / "out")
    assert "--source and --corpus both say what to convert: give one of them." in one_line_error(result)


def test_a_run_that_converts_nothing_fails(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mid").write_text("no music")
    result = run("convertmidis.py", "--source", tmp_path / "in", "--out", tmp_path / "out")
    assert result.returncode == 1 and "1 failed" in result.stdout


def test_damage_is_reported_in_the_order_of_the_files(tmp_path: Path):
    whole = save(random_piece(1), tmp_path / "whole.mid").read_bytes()
    names = [f"{number}.mid" for number in range(6)]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(whole[:-40])
    result = run("convertmidis.py", "--source", tmp_path / "in", "--out", tmp_path / "out", "--workers", 1)
    told = [Path(line.partition(": ")[0]).name for line in result.stderr.splitlines()]
    assert told == names and "6 converted" in result.stdout


def test_a_file_that_crashes_its_reader_does_not_affect_the_others(tmp_path: Path):
    script = tmp_path / "crash.py"  # a script, since on some systems its worker processes import it again
    script.write_text(
        "import os, pathlib, convertmidis\n"
        "def work(source, target):\n"
        "    if source.name == 'bad': os._exit(1)\n"
        "    if source.name == 'wrong': raise ValueError('wrong')\n"
        "    target.touch()\n"
        "if __name__ == '__main__':\n"
        "    folder = pathlib.Path(__file__).parent\n"
        "    names = ['bad', *map(str, range(60)), 'wrong']\n"
        "    targets = {folder / name: folder / f'{name}.mid' for name in names}\n"
        "    for path, error in convertmidis.convert_all(targets, 2, work, 10, 800).items():\n"
        "        if error: print(f'{path.name}: {error}')\n"
    )
    result = run(script)
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == [
        f"bad: {tmp_path / 'bad'} made its reader crash: it is damaged.", "wrong: wrong"
    ]  # fmt: skip
    assert len(list(tmp_path.glob("*.mid"))) == 60


def test_ctrl_c_ends_the_conversion_early(tmp_path: Path):
    script = tmp_path / "stop.py"
    script.write_text(
        "import _thread, pathlib, signal, threading, time, convertmidis\n"
        "def work(source, target):\n"
        "    target.touch(); time.sleep(0.1)\n"
        "def interrupt():\n"
        "    while not over.wait(0.5):\n"  # again, if it came where Python ignores exceptions, as in a callback
        "        if any(folder.glob('*.mid')): _thread.interrupt_main()\n"
        "folder, over = pathlib.Path(__file__).parent, threading.Event()\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell in the background ignores it
        "    threading.Thread(target=interrupt, daemon=True).start()\n"
        "    targets = {folder / str(n): folder / f'{n}.mid' for n in range(300)}\n"
        "    try: convertmidis.convert_all(targets, 2, work, 10, 800)\n"
        "    finally: over.set()\n"
    )
    result = run(script)
    assert result.returncode != 0 and "KeyboardInterrupt" in result.stderr
    assert 0 < len(list(tmp_path.glob("*.mid"))) < 100


def test_two_sources_with_the_same_name_are_both_converted(tmp_path: Path):
    save(random_piece(1), tmp_path / "in" / "a.mid")
    (tmp_path / "in" / "a.abc").write_text(ABC.split("\n\n")[0])
    result = run("convertmidis.py", "--source", tmp_path / "in", "--out", tmp_path / "out")
    assert "2 converted" in result.stdout, result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mid", "a.mid.mid"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "--source FOLDER"),
        (["--corpus", ","], "--source FOLDER"),
        (["--source", "/no/such/folder"], "does not exist"),
        (["--corpus", "bach,nobody"], "no scores by 'nobody'"),
        (["--source", "."], "lies inside"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(flags: list[str], sentence: str):
    assert sentence in one_line_error(run("convertmidis.py", *flags))


def test_several_composers_have_a_folder_each():
    alone, together = score.corpus_places(["haydn"]), score.corpus_places(["haydn", "mozart"])
    assert Path("opus1no1", "movement1.mxl") in alone.values()
    assert {path: Path("haydn", place) for path, place in alone.items()}.items() <= together.items()
    assert {place.parts[0] for place in together.values()} == {"haydn", "mozart"}


@pytest.mark.parametrize("name", ["bach/bwv66.6", "bach/bwv269"])
def test_a_pickup_keeps_its_place_in_the_bar(name: str):
    """The bar lines of a chorale fall where the score has them."""
    (piece,) = score.read(corpus.getWork(name))
    first = corpus.parse(name).parts[0].measure(0) or corpus.parse(name).parts[0].measures(0, 1)[0]
    rest = first.paddingLeft if first is not None else 0
    assert piece.onset[0] == round(rest * measures.TICKS_PER_QUARTER)
    assert piece.onset.dtype.kind == "i" and len(piece) > 100
    # Chorales move in quarters: most onsets are on a beat.
    assert (piece.onset % measures.TICKS_PER_QUARTER == 0).mean() > 0.6


@pytest.mark.parametrize(
    ("work", "parts"),
    [
        ("bach/bwv66.6", [("Soprano", 52), ("Alto", 52), ("Tenor", 52), ("Bass", 52)]),
        ("bach/bwv52.6", [("Horn 1", 60), ("Horn 2", 60), ("Soprano", 52), ("Alto", 52), ("Tenor", 52), ("Bass", 52)]),
        ("haydn/opus1no1/movement3", [("Violin I", 40), ("Violin II", 40), ("Viola", 41), ("Cello", 42)]),
        ("palestrina/Benedictus_39_b", [("Soprano", 52), ("Alto", 52), ("Tenor", 52), ("Bass", 52)]),
    ],
)
def test_parts_of_the_corpus_have_the_right_names_and_programs(work: str, parts: list[tuple], tmp_path: Path):
    """Even where a file gives all of them a piano, or strings."""
    (piece,) = score.read(corpus.getWork(work))
    assert piece.parts == [Part(name, program) for name, program in parts]
    midi.save(piece, tmp_path / "a.mid")
    assert [track.name for track in mido.MidiFile(tmp_path / "a.mid").tracks[1:]] == [name for name, _ in parts]
    assert notes(midi.read(tmp_path / "a.mid")) == notes(piece)


@pytest.mark.parametrize(
    ("name", "program", "expected"),
    [
        ("Cantus", None, 52),
        ("Gesang", None, 52),
        ("Bass", None, 52),
        ("Bass", 33, 33),
        ("Bass", 43, 43),
        ("Fiddle 2", None, 110),
        ("Mandolin", 48, 25),
        ("Klarinette", None, 71),
        ("Electric Guitar", 30, 30),
        ("Violin", 45, 45),
        ("Violin I", 42, 40),
        ("Viola", 48, 41),
        ("Soprano", 0, 52),
        ("Soprano", 53, 52),
        ("Part 1", None, 0),
        ("", 19, 19),
        ("", None, 0),
    ],
)
def test_the_program_is_that_of_the_file_unless_the_name_says_more(name: str, program: int | None, expected: int):
    player = instrument.Instrument() if program is None else instrument.instrumentFromMidiProgram(program)
    assert score.program(player, [name]) == expected


# As MuseScore writes it: a drum kit whose notes name their drums, a piano with two staves, claps that name no drum,
# and a transposing instrument.
MUSICXML = """<score-partwise version="4.0"><part-list>
<score-part id="P1"><part-name>Drumset</part-name>{kit}</score-part>
<score-part id="P2"><part-name>Piano</part-name><midi-instrument id="P2-I1"><midi-program>1</midi-program>
</midi-instrument></score-part>
<score-part id="P3"><part-name>Claps</part-name></score-part>
<score-part id="P4"><part-name>B♭ Clarinet</part-name><midi-instrument id="P4-I1"><midi-program>72</midi-program>
</midi-instrument></score-part></part-list>
<part id="P1"><measure number="1"><attributes><divisions>2</divisions></attributes>{beats}</measure></part>
<part id="P2"><measure number="1"><attributes><divisions>2</divisions><staves>2</staves></attributes>
<note><pitch><step>C</step><octave>5</octave></pitch><duration>8</duration><voice>1</voice><staff>1</staff></note>
<backup><duration>8</duration></backup>
<note><pitch><step>C</step><octave>3</octave></pitch><duration>8</duration><voice>5</voice><staff>2</staff></note>
</measure></part>
<part id="P3"><measure number="1"><attributes><divisions>2</divisions></attributes>
<note><unpitched/><duration>8</duration></note></measure></part>
<part id="P4"><measure number="1"><attributes><divisions>2</divisions><key><fifths>2</fifths></key>
<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose></attributes>
<note><pitch><step>D</step><octave>4</octave></pitch><duration>8</duration></note></measure></part>
</score-partwise>"""
DRUM = (
    '<midi-instrument id="D{0}"><midi-channel>10</midi-channel><midi-unpitched>{0}</midi-unpitched></midi-instrument>'
)
BEAT = "<note>{0}<unpitched/><duration>2</duration>{2}<instrument id='D{1}'/></note>"


def test_drums_staves_and_transposing_instruments_in_musicxml_are_read(tmp_path: Path):
    start, stop = '<tie type="start"/>', '<tie type="stop"/>'
    beats = [("", 43, ""), ("<chord/>", 37, ""), ("", 39, start), ("", 39, stop), ("", 99, "")]  # 99 is not in the kit
    path, out = tmp_path / "a.musicxml", tmp_path / "out"
    kit = "".join(DRUM.format(key) for key in (53, 37, 39, 43))  # music21 has no class for the first
    path.write_text(MUSICXML.format(kit=kit, beats="".join(BEAT.format(*beat) for beat in beats)), encoding="utf-8")
    result = run("convertmidis.py", "--source", path, "--out", out)
    assert "1 converted" in result.stdout and "Warning" not in result.stderr, result.stderr
    piece = midi.read(out / "a.mid")
    assert [part[:3] for part in piece.parts] == [
        ("Drumset", 0, True), ("Piano", 0, False), ("Piano", 0, False), ("B♭ Clarinet", 71, False)
    ]  # fmt: skip
    quarter = piece.ticks_per_quarter
    columns = piece.part.tolist(), piece.onset / quarter, piece.pitch.tolist(), piece.duration / quarter
    assert sorted(zip(*columns, strict=True)) == [
        (0, 0, 36, 1), (0, 0, 42, 1), (0, 1, 38, 2), (1, 0, 72, 4), (2, 0, 48, 4), (3, 0, 60, 4)
    ]  # fmt: skip


def test_drums_in_musicxml_written_by_music21_are_read(tmp_path: Path):
    beats, blown = [note.Unpitched(quarterLength=2) for _ in range(2)], note.Note("C4", quarterLength=4)
    written = stream.Score([stream.Part([instrument.SnareDrum(), *beats])])
    written.insert(0, stream.Part([instrument.Trumpet(), blown]))
    (piece,) = score.read(Path(written.write("musicxml", tmp_path / "a.musicxml")))
    half = 2 * piece.ticks_per_quarter
    assert notes(piece) == [
        (0, 38, half, 80, 0, True), (0, 58, 2 * half, 80, 56, False), (half, 38, half, 80, 0, True)
    ]  # fmt: skip
