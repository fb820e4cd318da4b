"""Read thousands of damaged MIDI files, and count the outcomes.

python tests/damage.py             100,000 files, from number 0 on
python tests/damage.py 5000 70000  5,000 files from number 70,000 on

Each is a small intact file, made in code, with up to eight injuries that its number decides. The script ends with
status 1 if a file makes the reader crash, hang or raise an unexpected error, or is refused although mido reads it.
"""

import faulthandler
import functools
import io
import sys
import time
from collections import Counter

import mido
import numpy as np
from conftest import band_piece, random_piece

from utils import apart, events, midi

PATIENCE = 20  # seconds after which a file counts as one that hangs its reader
READ, PART, TOO_LONG = "read", "read in part", "too long"
FAULTS = CRASHED, RAISED, REFUSED = "crashed or hung", "raised", "refused, but mido reads it"
# Messages, mostly meta events and system messages, with wrong sizes or absurd contents.
WILD = (
    *(
        b"\xff\x51\0",
        b"\xff\x51\3\0\0\0",
        b"\xff\x58\4\0\xff\0\0",
        b"\xff\x58\1\4",
        b"\xff\x59\2\x7f\x7f",
        b"\xff\x59\0",
    ),
    *(b"\xff\3\x83\xff\xff\x7f", b"\xff\x2f\0", b"\xf0\5\1\2", b"\xf0\1\xf7", b"\xf7\2\1\2", b"\xff\xff\xff\xff\x7f"),
    *(b"\xff\x7f\xff\xff\xff\xff\x7f", b"\xf2\1\2", b"\xf4", b"\xf1", b"\xc0\xff", b"\x90\xff\xff", b"\x80\xc8\x40"),
    *(
        b"\xff\x20\1\x20",
        b"\xff\3\4\xe9\xff\xc3\x28",
        b"\xff\5\2a",
        b"\xff\3\3\x1b[A",
        b"\xff\x90\1a",
        b"\xff\xff\xff\x7f",
    ),
)
# What a header may say instead of ticks per quarter note: 0; or frames a second, negated, and ticks per frame.
CLOCKS = (b"\0\0", b"\xe8\x28", b"\xe7\x28", b"\xe3\x50", b"\xe2\4", b"\xe7\0", b"\x80\xff", b"\xff\1")


@functools.cache
def good_files() -> list[bytes]:
    """Small files of several kinds: one track or more, a pianist or a band, or many messages besides notes."""
    files = []
    for piece, merge in ((random_piece(1, 2), False), (random_piece(2, 2), True), (band_piece(1, 2), False)):
        files.append(io.BytesIO(midi.as_bytes(piece, merge)))
    track = mido.MidiTrack([mido.MetaMessage("track_name", name="x" * 140), mido.Message("sysex", data=[1] * 20)])
    for i in range(40):
        track.append(mido.Message("note_on", note=60 + i % 12, velocity=64, time=i * 7))
        track.append(mido.Message("control_change", control=midi.PEDAL, value=i * 3))
        track.append(mido.Message("note_on", note=60 + i % 12, velocity=0, time=2000))
        track.extend([mido.Message("pitchwheel", pitch=i), mido.MetaMessage("lyrics", text="la")])
    files.append(io.BytesIO())
    mido.MidiFile(type=0, tracks=[track]).save(file=files[-1])
    return [file.getvalue() for file in files]


def damaged(number: int) -> bytes:
    """A file with injuries: bytes changed, left out or put in, a wild message, a wrong length of a track, a cut; one in
    ten does not give its ticks per quarter note."""
    rng = np.random.default_rng(number)
    data = bytearray(good_files()[number % len(good_files())])
    for _ in range(rng.integers(1, 9)):
        place = int(rng.integers(14 * (rng.random() < 0.9), max(len(data), 15)))
        kind = rng.choice(["byte", "byte", "out", "in", "wild", "length", "cut"])
        if kind == "byte" and place < len(data):
            data[place] = rng.choice([rng.integers(256), 0x9F, 0x8F, 0xFF, 200, 0, 127, 128])
        elif kind == "out":
            del data[place : place + rng.integers(1, 12)]
        elif kind == "in":
            data[place:place] = rng.bytes(rng.integers(1, 6))
        elif kind == "wild":
            data[place:place] = WILD[rng.integers(len(WILD))]
        elif kind == "length" and (track := data.find(b"MTrk", place)) > 0:
            length = rng.choice([0, 1, 2**31, 2**32 - 1, rng.integers(2 * len(data) + 1)])
            data[track + 4 : track + 8] = int(length).to_bytes(4, "big")
        elif kind == "cut" and rng.random() < 0.3:
            del data[place:]
    if rng.random() < 0.1:
        data[12:14] = CLOCKS[rng.integers(len(CLOCKS))]
    return bytes(data)


def mido_hears(data: bytes) -> bool:
    """Whether mido reads a file, and finds notes in it."""
    try:
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except Exception:  # of many kinds
        return False
    notes = (message for track in file.tracks for message in track if message.type == "note_on" and message.velocity)
    return next(notes, None) is not None


def outcome(number: int) -> str:
    """What happens when a damaged file is read."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    data = damaged(number)
    try:
        piece = midi.parse(data)
        assert min(piece.onset.min(), piece.duration.min()) >= 0 and len(events.from_piece(piece))
        return PART if piece.damage else READ
    except ValueError as error:
        if "longer than" in str(error):
            return TOO_LONG
        return REFUSED if mido_hears(data) else str(error)
    except Exception as error:
        return f"{RAISED} {type(error).__name__}: {error}"
    finally:
        faulthandler.cancel_dump_traceback_later()


def outcomes(first: int, count: int, processes: int = 1) -> dict[int, str]:
    """Number -> outcome of reading each of some files, in other processes."""
    numbers = range(first, first + count)
    found = apart.each(outcome, numbers, processes, chunk=500)
    return {number: result or CRASHED for number, result in zip(numbers, found, strict=True)}


def faults(found: dict[int, str]) -> dict[int, str]:
    """Those of some outcomes that should not occur."""
    return {number: result for number, result in found.items() if result.startswith(FAULTS)}


def main(count: int = 100_000, first: int = 0) -> None:
    start = time.monotonic()
    found = outcomes(first, count)
    for result, times in Counter(found.values()).most_common():
        print(f"{times:8d}  {result}")
    print(f"{count:8d}  files in {time.monotonic() - start:.0f} seconds")
    for number, result in faults(found).items():
        print(f"file {number}: {result}")
    raise SystemExit(bool(faults(found)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
