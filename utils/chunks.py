"""The bytes of a MIDI file: its chunks, the events of its tracks, and what becomes of damaged ones (layout: Standard
MIDI Files 1.0).

symusic 0.5 reads thousands of files a second, but may crash on a damaged one, or lose its place. So it is given sound
tracks alone; any other is read here event by event, which is slow and cannot crash, and written anew.
"""

import functools
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

LONGEST = 2**16  # quarter notes of a piece: nine hours at 120 a minute; as one has at most 2^15 ticks, 31 bits hold all
TOO_LONG = f"it is longer than {LONGEST:,} quarter notes: no music is, so its times are wrong"
TICKS = 480  # of a quarter note whose header says 0: the most usual number
DROP_FRAME = 30_000 / 1001  # frames a second of NTSC television, which a header calls 29
LONGEST_DELTA = 2**28 - 1  # ticks from an event to the next, in four bytes of 7 bits
NOTE_OFF, NOTE_ON, CONTROL, PROGRAM = 0x80, 0x90, 0xB0, 0xC0  # status bytes, of the first channel
SYSTEM, TEXT = 0xF0, 0xFF  # those of no channel: from 0xF0 on
DATA = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2, 0xF1: 1, 0xF2: 2, 0xF3: 1}  # data bytes of a status
NAME, END, TEMPO, METRE, KEY = b"\3", b"\x2f", b"\x51", b"\x58", b"\x59"  # types of text
KEPT = {TEMPO: 3, METRE: 4, KEY: 2}  # those that a piece is made from, beside names, and how many bytes they have
LAST, EMPTY = b"\xff\x2f\0", b"\xff\1\0"  # the end of a track, and a text of no letters
CLIP = bytes([*range(128), *[127] * 128])  # what data bytes become: those above 127 are damaged
# What a sound track may have, too, but also a damaged one, or one that symusic does not read as others do: a system
# message; a text of no known type, of 128 bytes or more, or a tempo, metre or key of the wrong size.
OTHERS = bytes({*range(256)} - {*range(0xF0, 0xF8)})  # than the status bytes of such messages
SUSPECT = re.compile(rb"\xff(?:[\x80-\xff]|.[\x80-\xff]|Q[^\x03]|X[^\x04]|Y[^\x02])", re.DOTALL)
TEMPOS = re.compile(rb"\xffQ\x03...", re.DOTALL)
# Events of a track: its notes and the like, each a time (T), a status byte unless it goes on, and one or two data bytes
# (D), and tempos; then, if there is one, the head of a text or system message: time, status, a text's type, and its
# length.
PATTERN = rb"(?:T(?:[\x80-\xbf\xe0-\xef]DD(?:TDD)*|[\xc0-\xdf]D(?:TD)*|\xffQ\x03...))*"
PATTERN += rb"(?:T(?:\xff(?!Q|X[^\x04]|Y[^\x02])D|\xf0)(T))?"
EVENTS = re.compile(PATTERN.replace(b"T", rb"[\x80-\xff]*D").replace(b"D", rb"[\0-\x7f]"), re.DOTALL)


class Clock(NamedTuple):
    """How a MIDI file counts time."""

    ticks: int  # of a quarter note; at 120 of them a minute, if ticks are parts of a second
    rate: float = 0.0  # ticks a second, whatever the tempo; 0 if they are parts of a quarter note
    remark: str = ""  # what is unusual about it


def clock(data: bytes) -> Clock:
    """How a MIDI file counts time, by the last two bytes of its header."""
    ticks = int.from_bytes(data[12:14], "big")
    if ticks >> 15:  # the negative number of frames a second, and the ticks of a frame
        frames = 256 - data[12]
        rate = (DROP_FRAME if frames == 29 else frames) * max(data[13], 1)
        beats = "the beats are those of its tempos, or 120 a minute if it names none"
        return Clock(max(round(rate / 2), 1), rate, f"its time is in SMPTE frames instead of beats: {beats}")
    zero = f"its header gives 0 ticks per quarter note: they are taken to be {TICKS}"
    return Clock(ticks) if ticks else Clock(TICKS, remark=zero)


def split(data: bytes) -> tuple[list[bytes], bool]:
    """The contents of a MIDI file's tracks, and whether all are there. Where a length leads astray, the next track is
    looked for. Raises ValueError for what is no MIDI file."""
    if data[:4] != b"MThd" or len(data) < 14:
        raise ValueError("it is not a MIDI file")
    place, tracks, whole = 0, [], True
    while place + 8 <= len(data):
        begin = place + 8
        end = begin + int.from_bytes(data[place + 4 : begin], "big")
        after = end
        if end != len(data) and not data[end : end + 4].isalnum():  # each chunk has four letters at its head
            found = data.find(b"MTrk", begin)
            whole &= found < 0 and end <= len(data)
            end, after = (found, found) if found > 0 else (end, len(data))
        if data[place : place + 4] == b"MTrk":
            tracks.append(data[begin:end])
        place = after
    return tracks, whole and len(tracks) >= int.from_bytes(data[10:12], "big")


def is_plain(data: bytes) -> bool:
    """Whether some tracks have nothing suspicious, and so few and short times that ticks cannot overflow. Of a sound
    track it may be untrue."""
    values = np.frombuffer(data, np.uint8)
    suspicious = (values[:-1] & values[1:] >= 0x80).any() or data.translate(None, OTHERS) or SUSPECT.search(data)
    return len(data) < 2**19 and not suspicious


def is_sound(track: bytes) -> bool:
    """Whether a track has only whole events that symusic reads as they are meant, and no time of more than four bytes;
    and whether the times, of which those of two, three and four bytes are below 2^14, 2^21 and 2^28 ticks, add up to
    less than 2^31."""
    end = 0
    while (events := EVENTS.match(track, end))[0]:
        end = events.end() + functools.reduce(lambda size, byte: size << 7 | byte & 0x7F, events[1] or b"", 0)
    high = np.frombuffer(TEMPOS.sub(b"", track), np.uint8) >= 0x80
    pairs = high[:-1] & high[1:]
    threes = pairs[:-1] & high[2:]
    ticks = 2**28 * np.count_nonzero(threes) + 2**21 * np.count_nonzero(pairs) + 2**12 * len(track)
    return end == len(track) and ticks < 2**31 and not (threes[:-1] & high[3:]).any()


def number(track: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and the place behind it. Raises IndexError if the track ends in it."""
    value = track[place] & 0x7F
    while track[place] & 0x80:
        place += 1
        value = value << 7 | track[place] & 0x7F
    return value, place + 1


def variable(value: int) -> bytes:
    """A number in bytes of 7 bits, of which all but the last are above 127."""
    data = [value & 0x7F]
    while value := value >> 7:
        data.append(value & 0x7F | 0x80)
    return bytes(reversed(data))


def events(track: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(tick, status byte, data) of the events of a track up to its end; the data of a text begin with its type. A
    status byte goes on behind texts and system messages; what stands before the first one, a byte each, has status 0.
    Raises IndexError where the track ends within an event."""
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
    """The message of a text."""
    return bytes([TEXT]) + kind + variable(len(content)) + content


def kept(status: int, data: bytes) -> bytes:
    """The bytes of an event as a sound track has them; none if no piece needs it."""
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
    """A sound track of the events of a track that can be read, and whether these are all. If none of its notes has an
    end, they end where the track does. Raises ValueError if an event is later than `most` ticks."""
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
                key = bytes([status & 0xEF, event[1], 0])  # as it is let go
                begins = status >= NOTE_ON and data[1] > 0
                ended = ended or (not begins and keys[key] > 0)
                keys[key] += int(begins)
    except IndexError:
        whole = False
    if keys.total() and not ended:
        result += variable(min(tick - now, most - now, LONGEST_DELTA)) + b"\0".join(keys.elements())
    return bytes(result), whole


def readable(data: bytes, careful: bool = False) -> tuple[list[bytes], bool]:
    """Sound tracks of all that can be read of a MIDI file, and whether that is everything. What looks well stays as it
    is, unless `careful`. Raises ValueError as `split` and `mended`."""
    tracks, whole = split(data)
    if careful or not is_plain(b"".join(tracks)):
        for i, track in enumerate(tracks):
            if careful or not (is_plain(track) or is_sound(track)):
                tracks[i], all_of_it = mended(track, LONGEST * clock(data).ticks)
                whole &= all_of_it
    return tracks, whole


def written(messages: Iterable[tuple[int, bytes]]) -> bytes:
    """A track of messages, (tick, bytes), in order. A status byte that goes on is left out. Raises ValueError for what
    no message holds."""
    track, before, running = bytearray(), 0, b""
    for tick, message in messages:
        status = message[:1]
        if tick < before or (status[0] < SYSTEM and max(message[1:]) > 127):
            raise ValueError(f"the message {message.hex(' ')} at tick {tick}")
        track += variable(tick - before) + (message[1:] if status == running else message)
        before, running = tick, status if status[0] < SYSTEM else b""
    return bytes(track) + b"\0" + LAST


def file(kind: int, ticks: int, tracks: Iterable[bytes]) -> bytes:
    """A MIDI file of type `kind`, with so many ticks of a quarter note."""
    contents = [b"MTrk" + len(track).to_bytes(4, "big") + track for track in tracks]
    return struct.pack(">4sIHHH", b"MThd", 6, kind, len(contents), ticks) + b"".join(contents)
