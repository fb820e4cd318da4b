"""The bytes of a MIDI file: its chunks, the events of its tracks, and the repair of damaged tracks (layout: Standard
MIDI Files 1.0).

symusic 0.5 reads thousands of files a second, but it may crash on a damaged one, or lose its place. So it is given only
well-formed tracks; any other is read here event by event, which is slow but cannot crash, and rewritten.
"""

import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

LONGEST = 2**16  # quarter notes of a piece: nine hours at 120 a minute; with 2^15 ticks each at most, 31 bits suffice
TOO_LONG = f"it is longer than {LONGEST:,} quarter notes: no music is, so its times are wrong"
TICKS = 480  # per quarter note if the header says 0: the most common value
DROP_FRAME = 30_000 / 1001  # frames a second of NTSC television, which a header calls 29
LONGEST_DELTA = 2**28 - 1  # ticks from one event to the next: four bytes of 7 bits
NOTE_OFF, NOTE_ON, CONTROL, PROGRAM = 0x80, 0x90, 0xB0, 0xC0  # status bytes on the first channel
SYSTEM, TEXT = 0xF0, 0xFF  # the first status byte without a channel, and the one of meta events (here: texts)
DATA = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2, 0xF1: 1, 0xF2: 2, 0xF3: 1}  # data bytes per status
NAME, END, TEMPO, METRE, KEY = b"\3", b"\x2f", b"\x51", b"\x58", b"\x59"  # types of meta events
KEPT = {TEMPO: 3, METRE: 4, KEY: 2}  # meta events that a piece is made from, besides names, and their sizes in bytes
LAST, EMPTY = b"\xff\x2f\0", b"\xff\1\0"  # the end-of-track event, and an empty text
CLIP = bytes([*range(128), *[127] * 128])  # keeps data bytes up to 127; damaged ones, above that, become 127
# Suspicious, as symusic may misread them or the track may be damaged, though a well-formed one may have them, too:
# system messages; meta events of unknown type or of 128 bytes or more; a tempo, metre or key of the wrong size.
OTHERS = bytes({*range(256)} - {*range(0xF0, 0xF8)})  # all bytes but the status bytes of system messages
SUSPECT = re.compile(rb"\xff(?:[\x80-\xff]|.[\x80-\xff]|Q[^\x03]|X[^\x04]|Y[^\x02])", re.DOTALL)
TEMPOS = re.compile(rb"\xffQ\x03...", re.DOTALL)
# A run of channel messages, each a delta time (T), a status byte unless it is running, and one or two data bytes (D),
# and of tempos; then optionally the head of a meta event or system message: delta time, status, type (of a meta event)
# and length.
PATTERN = rb"(?:T(?:[\x80-\xbf\xe0-\xef]DD(?:TDD)*|[\xc0-\xdf]D(?:TD)*|\xffQ\x03...))*"
PATTERN += rb"(?:T(?:\xff(?!Q|X[^\x04]|Y[^\x02])D|\xf0)(T))?"
EVENTS = re.compile(PATTERN.replace(b"T", rb"[\x80-\xff]*D").replace(b"D", rb"[\0-\x7f]"), re.DOTALL)


class Clock(NamedTuple):
    """How a MIDI file counts time."""

    ticks: int  # per quarter note; if ticks divide seconds, per quarter note at 120 a minute
    rate: float = 0.0  # ticks per second, whatever the tempo; 0 if ticks divide quarter notes
    remark: str = ""  # what is unusual about it


def clock(data: bytes) -> Clock:
    """How a MIDI file counts time, from the last two bytes of its header."""
    ticks = int.from_bytes(data[12:14], "big")
    if ticks >> 15:  # the negative number of frames a second, and the ticks of a frame
        frames = 256 - data[12]
        rate = (DROP_FRAME if frames == 29 else frames) * max(data[13], 1)
        beats = "its beats follow from its tempos, or are 120 a minute if it names none"
        return Clock(max(round(rate / 2), 1), rate, f"it counts time in SMPTE frames instead of beats: {beats}")
    zero = f"its header gives 0 ticks per quarter note: they are taken to be {TICKS}"
    return Clock(ticks) if ticks else Clock(TICKS, remark=zero)


def split(data: bytes) -> tuple[list[bytes], bool]:
    """The contents of a MIDI file's tracks, and whether none is missing or cut short. Where the length of a chunk is
    wrong, the next track header is searched for. Raises ValueError if `data` is not a MIDI file."""
    if data[:4] != b"MThd" or len(data) < 14:
        raise ValueError("it is not a MIDI file")
    place, tracks, whole = 0, [], True
    while place + 8 <= len(data):
        begin = place + 8
        end = begin + int.from_bytes(data[place + 4 : begin], "big")
        after = end
        if end != len(data) and not data[end : end + 4].isalnum():  # each chunk begins with four letters
            found = data.find(b"MTrk", begin)
            whole &= found < 0 and end <= len(data)
            end, after = (found, found) if found > 0 else (end, len(data))
        if data[place : place + 4] == b"MTrk":
            tracks.append(data[begin:end])
        place = after
    return tracks, whole and len(tracks) >= int.from_bytes(data[10:12], "big")


def is_plain(data: bytes) -> bool:
    """Whether one or more tracks contain nothing suspicious, and delta times so few and short that ticks cannot
    overflow. It may be False for a well-formed track."""
    values = np.frombuffer(data, np.uint8)
    suspicious = (values[:-1] & values[1:] >= 0x80).any() or data.translate(None, OTHERS) or SUSPECT.search(data)
    return len(data) < 2**19 and not suspicious


def is_sound(track: bytes) -> bool:
    """Whether a track is well-formed: only complete events that symusic reads as intended, no delta time of more than
    four bytes, and certainly less than 2^31 ticks in all; delta times of two, three and four bytes are below 2^14, 2^21
    and 2^28."""
    end = 0
    while (run := EVENTS.match(track, end))[0]:
        size, _ = number(run[1] or b"\0", 0)  # of the meta event or system message that the run ends with
        end = run.end() + size
    high = np.frombuffer(TEMPOS.sub(b"", track), np.uint8) >= 0x80
    pairs = high[:-1] & high[1:]
    threes = pairs[:-1] & high[2:]
    ticks = 2**28 * np.count_nonzero(threes) + 2**21 * np.count_nonzero(pairs) + 2**12 * len(track)
    return end == len(track) and ticks < 2**31 and not (threes[:-1] & high[3:]).any()


def number(track: bytes, place: int) -> tuple[int, int]:
    """The variable-length number at `place`, and the place after it. Raises IndexError if the track ends within it."""
    value = track[place] & 0x7F
    while track[place] & 0x80:
        place += 1
        value = value << 7 | track[place] & 0x7F
    return value, place + 1


def variable(value: int) -> bytes:
    """A variable-length number: 7 bits in each byte, with the top bit set in all but the last."""
    data = [value & 0x7F]
    while value := value >> 7:
        data.append(value & 0x7F | 0x80)
    return bytes(reversed(data))


def events(track: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(tick, status byte, data) of the events of a track up to its end-of-track event; the data of a meta event begins
    with its type. Running status continues after meta events and system messages; data before the first status byte
    counts as events of one byte with status 0. Raises IndexError where the track ends within an event."""
    place, tick, running = 0, 0, 0
    while place < len(track):
        delta, place = number(track, place)
        tick, status = tick + delta, track[place]
        place += status >= 0x80
        status, kind = status if status >= 0x80 else running, b""
        if status < SYSTEM:
            running, size = status, DATA.get(status >> 4, 1)
        elif status in (SYSTEM, 0xF7, TEXT):
            kind = track[place : place + 1] if status == TEXT else b""
            size, place = number(track, place + len(kind))
        else:
            size = DATA.get(status, 0)
        if place + size > len(track):
            raise IndexError(place)
        yield tick, status, kind + track[place : place + size]
        place += size
        if kind == END:
            return


def text(kind: bytes, content: bytes) -> bytes:
    """A meta event of type `kind`."""
    return bytes([TEXT]) + kind + variable(len(content)) + content


def kept(status: int, data: bytes) -> bytes:
    """The bytes of an event as they stand in a well-formed track; empty if no piece needs the event."""
    if NOTE_OFF <= status < SYSTEM:
        return bytes([status]) + data.translate(CLIP)
    if status != TEXT or not (data[:1] == NAME or KEPT.get(data[:1]) == len(data) - 1):
        return b""
    content = data[1:]
    if data[:1] == NAME:
        try:
            content.decode()
        except UnicodeDecodeError:  # older programs write Latin-1
            content = content.decode("latin-1").encode()
    return text(data[:1], content)


def mended(track: bytes, most: int) -> tuple[bytes, bool]:
    """A well-formed track of the readable events of a track, and whether these are all. If none of its notes has an
    end, all end with the track. Raises ValueError if an event is later than `most` ticks."""
    result, now, whole, ended, keys = bytearray(), 0, True, False, Counter()
    try:
        for tick, status, data in events(track):
            event = kept(status, data)
            whole = whole and status > 0
            if not event:
                continue
            if tick > most:
                raise ValueError(TOO_LONG)
            while tick - now > LONGEST_DELTA:
                result += variable(LONGEST_DELTA) + EMPTY
                now += LONGEST_DELTA
            result += variable(tick - now) + event
            now = tick
            if NOTE_OFF <= status < 0xA0:
                key = bytes([status & 0xEF, event[1], 0])  # its note-off
                begins = status >= NOTE_ON and data[1] > 0
                ended = ended or (not begins and keys[key] > 0)
                keys[key] += int(begins)
    except IndexError:
        whole = False
    if keys.total() and not ended:
        result += variable(min(tick - now, most - now, LONGEST_DELTA)) + b"\0".join(keys.elements())
    return bytes(result), whole


def readable(data: bytes, careful: bool = False) -> tuple[list[bytes], bool]:
    """All that can be read of a MIDI file as well-formed tracks, and whether that is everything. Tracks that look
    well-formed stay as they are, unless `careful`. Raises ValueError as `split` and `mended` do."""
    tracks, whole = split(data)
    if careful or not is_plain(b"".join(tracks)):
        for i, track in enumerate(tracks):
            if careful or not (is_plain(track) or is_sound(track)):
                tracks[i], all_of_it = mended(track, LONGEST * clock(data).ticks)
                whole &= all_of_it
    return tracks, whole


def written(messages: Iterable[tuple[int, bytes]]) -> bytes:
    """A track of messages (tick, bytes) in order, with running status. Raises ValueError for a message that is out of
    order or has a data byte above 127."""
    track, before, running = bytearray(), 0, b""
    for tick, message in messages:
        status = message[:1]
        if tick < before or (status[0] < SYSTEM and max(message[1:]) > 127):
            raise ValueError(f"the message {message.hex(' ')} at tick {tick}")
        track += variable(tick - before) + (message[1:] if status == running else message)
        before, running = tick, status if status[0] < SYSTEM else b""
    return bytes(track) + b"\0" + LAST


def file(kind: int, ticks: int, tracks: Iterable[bytes]) -> bytes:
    """A MIDI file of type `kind`, with `ticks` per quarter note."""
    contents = [b"MTrk" + len(track).to_bytes(4, "big") + track for track in tracks]
    return struct.pack(">4sIHHH", b"MThd", 6, kind, len(contents), ticks) + b"".join(contents)
