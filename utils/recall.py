"""What came next the last time: repeats, found in the whole piece so far.

Music repeats itself, in the same key or another, after a bar or after a page: longer ago than a network that was
trained on short windows remembers. So after each event it is told what followed the last time that the last few events,
or their rhythm, were the same (compressors of text have such a 'match model', for instance in Mahoney's PAQ), and what
stood a bar, two, four and eight ago where the next event is to come.

Shapes: E events of all pieces, B pieces side by side, K contexts, of which the last bars, S streams.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from utils.events import END_STREAM, REACH, Vocabulary

STREAMS = ("offset", "interval", "duration")  # by which events are compared
MELODY, RHYTHM = STREAMS, ("offset",)
# Looked for after each event: the last time that the last n events were the same in these streams.
REPEATS = tuple((MELODY, n) for n in (1, 2, 3, 4, 6, 8, 12, 16, 24)) + tuple((RHYTHM, n) for n in (2, 4, 8, 16))
LENGTH = np.array([length for _, length in REPEATS])
BARS = np.array([1, 2, 4, 8])  # so many bars ago
K = len(REPEATS) + len(BARS)
LONGEST = max(range(len(REPEATS)), key=LENGTH.__getitem__)  # the context of most events
LOOP = 8  # events in a figure that comes again and again without end, at the most
REMEMBERED = 4096  # events back that the last time may lie
NOTHING = -1  # the class of what is recalled where nothing is

# A context is compared by a hash: the sum, modulo 2^64, of each class times a random number of its place and stream; of
# the sum the upper half counts. Two that differ have the same hash once in four thousand million.
FACTORS = np.random.default_rng(0).integers(2**63, size=(LENGTH.max(), len(STREAMS)), dtype=np.uint64) * 2 + 1
LOWER = np.uint64(32)


def factors() -> np.ndarray:
    """(longest context * S, repeats): the factor of the class of each stream so many events ago in each hash."""
    used = np.array([[stream in streams for streams, _ in REPEATS] for stream in STREAMS])
    ago = np.arange(len(FACTORS))[:, None, None]
    return np.where(used & (ago < LENGTH), FACTORS[:, :, None], np.uint64(0)).reshape(FACTORS.size, -1)


def last_times(classes: dict[str, np.ndarray], first: np.ndarray) -> np.ndarray:
    """How many events before each event (E,) its context ended the last time, (E, repeats); 0 where it is new.

    `classes` are those of pieces one after another; `first` (P + 1,) is where each begins, with a start token, which is
    part of no context.
    """
    count = int(first[-1])
    place = np.arange(count) - np.repeat(first[:-1], np.diff(first))
    back = np.zeros((count, len(REPEATS)), np.int16)
    for k, (streams, length) in enumerate(REPEATS):
        code = np.zeros(count, np.uint64)
        for stream in streams:
            column = classes[stream].astype(np.uint64) + np.uint64(1)
            for ago in range(min(length, count)):
                code[ago:] += column[: count - ago] * FACTORS[ago, STREAMS.index(stream)]
        # Sorted by the hash and then by place: equal contexts of a piece are neighbours.
        keys = ((code >> LOWER) << LOWER | np.arange(count, dtype=np.uint64))[place >= length]
        keys.sort()
        index = (keys & np.uint64(2**32 - 1)).astype(np.int64)
        before, now = index[:-1], index[1:]
        distance = now - before
        same = (keys[1:] ^ keys[:-1] < 2**32) & (place[now] - place[before] == distance) & (distance <= REMEMBERED)
        back[now[same], k] = distance[same]
    return back


class Teller:
    """Knows from a vocabulary when events sound, and names what is recalled as the network hears events: its offset and
    its interval, from the event that is the last now, and its other streams."""

    def __init__(self, vocabulary: Vocabulary):
        self.names = vocabulary.recalled
        self.steps = vocabulary.steps(END_STREAM)
        self.top = vocabulary.top.astype(np.int32)
        self.of_steps = np.full(int(self.steps.max()) + 1, NOTHING)  # offset class of each number of steps
        self.of_steps[vocabulary.values[END_STREAM]] = np.arange(vocabulary.end)
        # The notes of a chord stand in the order of their pitch, unless they are one event.
        self.by_pitch = vocabulary.representation.chords == "split"

    def order(self, onset: np.ndarray, top: np.ndarray) -> np.ndarray:
        """A number that rises from event to event of a piece."""
        return onset.astype(np.int64) * 128 + (top if self.by_pitch else 0)

    def tell(
        self, read: Callable[[str, np.ndarray], np.ndarray], at: np.ndarray, now: np.ndarray, bar: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Classes (..., K) of the events `at` (..., K), below 0 for none. `read` gives a column, by its name, at some
        events: a stream, 'interval', or 'onset' and 'top'; `now` (..., 1) are the last events, `bar` (..., 1) the steps
        of their bars."""
        there = at >= 0
        at = np.maximum(at, 0)
        told = {name: np.where(there, read(name, at), NOTHING) for name in self.names}
        bars = at[..., len(REPEATS) :]
        steps = read("onset", bars) + BARS * bar - read("onset", now)
        known = (steps >= 0) & (steps < len(self.of_steps)) & there[..., len(REPEATS) :]
        told["offset"][..., len(REPEATS) :] = np.where(known, self.of_steps[np.where(known, steps, 0)], NOTHING)
        told["interval"][..., len(REPEATS) :] = np.where(known, read("top", bars) - read("top", now) + REACH, NOTHING)
        return told


class Memories:
    """What is recalled in whole pieces, which stand one after another."""

    def __init__(self, classes: dict[str, np.ndarray], first: np.ndarray, bar: np.ndarray, vocabulary: Vocabulary):
        """`classes` and `first` as for `last_times`; `bar` (E,) the steps of the bar that each event is in."""
        self.teller = Teller(vocabulary)
        # Onsets are counted through all pieces; a search in one must not end in another.
        onset = np.cumsum(self.teller.steps[classes[END_STREAM]], dtype=np.int64)
        self.columns = {**classes, "onset": onset, "top": self.teller.top[classes["note"]]}
        self.bar = bar
        self.back = np.zeros((len(onset), K), np.int16)  # events back to the one that is recalled, plus 1; 0 for none
        self.back[:, : len(REPEATS)] = last_times(classes, first)
        start = np.repeat(first[:-1], np.diff(first))
        order = self.teller.order(onset, self.columns["top"])
        for k, bars in enumerate(BARS, len(REPEATS)):
            wanted = self.teller.order(onset - bars * bar, self.columns["top"])
            found = np.empty(len(onset), np.int64)
            for begin, end in zip(first[:-1], first[1:], strict=True):
                found[begin:end] = begin + 1 + np.searchsorted(order[begin + 1 : end], wanted[begin:end], "right")
            back = np.arange(len(onset)) - found + 1
            early = onset - bars * bar < onset[start]
            self.back[:, k] = np.where(early | (back > REMEMBERED) | (back < 0), 0, back)

    def tell(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Classes (..., K) of what is recalled after the events `index` (...)."""
        back, now, bar = self.back[index], index[..., None], self.bar[index][..., None]
        at = np.where(back > 0, now - back + 1, NOTHING)
        return self.teller.tell(lambda name, at: self.columns[name][at], at, now, bar)


def pad(row: np.ndarray, before: int, after: int) -> np.ndarray:
    """Zeros on both sides of the last axis."""
    return np.pad(row, [(0, 0)] * (row.ndim - 1) + [(before, after)])


@dataclass
class Past:
    """The events of B pieces so far, searched again after each: what is recalled is the same as in whole pieces.

    Arrays have room for events to come and are filled in place: only one of several continuations of a Past may go on.
    """

    teller: Teller
    columns: dict[str, np.ndarray]  # streams, 'interval', 'onset' and 'top' -> (B, room)
    codes: np.ndarray  # (B, repeats, room) hashes of the contexts that end with each event; 0 before one is whole
    recent: np.ndarray  # (B, longest context * S) classes of the last events, the latest first; 0 before the first
    onset: np.ndarray  # (B,) steps since the beginning
    length: int = 0  # places that are filled; pieces with fewer events begin later

    @classmethod
    def empty(cls, count: int, vocabulary: Vocabulary, room: int = 512) -> "Past":
        teller = Teller(vocabulary)
        columns = {name: np.zeros((count, room), np.int32) for name in (*teller.names, "onset", "top")}
        recent = np.zeros((count, FACTORS.size), np.uint64)
        codes = np.zeros((count, len(REPEATS), room), np.uint32)
        return cls(teller, columns, codes, recent, np.zeros(count, np.int32))

    def add(self, event: dict[str, np.ndarray], bar: np.ndarray) -> tuple["Past", dict[str, np.ndarray]]:
        """The past with an event, name -> (B,), in a bar of so many steps (B,), after it, and what is recalled of it,
        name -> (B, K)."""
        now = self.length
        past = self.with_room(now + 1)
        onset, top = self.onset + self.teller.steps[event[END_STREAM]], self.teller.top[event["note"]]
        for name, value in {**event, "onset": onset, "top": top}.items():
            if name in past.columns:
                past.columns[name][:, now] = value
        latest = np.stack([event[stream] for stream in STREAMS], axis=1).astype(np.uint64) + np.uint64(1)
        recent = np.concatenate([latest, self.recent[:, : -len(STREAMS)]], axis=1)
        code = ((recent @ WEIGHTS) >> LOWER).astype(np.uint32)
        code[recent[:, (LENGTH - 1) * len(STREAMS)] == 0] = 0
        past.codes[:, :, now] = code
        # From the latest event backwards, so that the first that is found is the last time.
        same = past.codes[:, :, max(now - REMEMBERED, 0) : now + 1][:, :, ::-1] == code[:, :, None]
        same[:, :, 0] = False
        back = same.argmax(axis=-1)
        repeats = np.where((back > 0) & (code > 0), now - back + 1, NOTHING)
        order = self.teller.order(past.columns["onset"][:, : now + 1], past.columns["top"][:, : now + 1])
        ago = BARS * bar[:, None]  # (B, bars)
        wanted = self.teller.order(onset[:, None] - ago, top[:, None])
        bars = (order[:, None] <= wanted[:, :, None]).sum(axis=-1)
        bars = np.where((onset[:, None] < ago) | (now - bars + 1 > REMEMBERED), NOTHING, bars)
        rows = np.arange(len(code))[:, None]
        here = np.full((len(code), 1), now)
        at = np.concatenate([repeats, bars], axis=1)
        told = self.teller.tell(lambda name, at: past.columns[name][rows, at], at, here, bar[:, None])
        return replace(past, recent=recent, onset=onset, length=now + 1), told

    def loops(self) -> np.ndarray:
        """(B,) whether a figure of up to LOOP events has come again and again for as long as the longest context."""
        codes = self.codes[:, LONGEST, max(self.length - 1 - LOOP, 0) : self.length]
        return (codes[:, :-1] == codes[:, -1:]).any(axis=1) & (codes[:, -1:] > 0).any(axis=1)

    def with_room(self, events: int) -> "Past":
        """The same, with room for `events` or more."""
        room = self.codes.shape[-1]
        return self if events <= room else self.reshaped(lambda row: pad(row, 0, max(events - room, room)))

    def reshaped(self, change: Callable[[np.ndarray], np.ndarray]) -> "Past":
        """The same, with the arrays that have room changed."""
        columns = {name: change(row) for name, row in self.columns.items()}
        return replace(self, columns=columns, codes=change(self.codes))

    def take(self, which: np.ndarray | slice) -> "Past":
        """Some of the pieces."""
        return replace(self.reshaped(lambda row: row[which]), recent=self.recent[which], onset=self.onset[which])


def stack(pasts: list[Past]) -> Past:
    """Several as one; the last events of all stand at the same place."""
    length = max(past.length for past in pasts)
    pasts = [
        past.reshaped(lambda row, past=past: pad(row[..., : past.length], length - past.length, 0)) for past in pasts
    ]
    columns = {name: np.concatenate([past.columns[name] for past in pasts]) for name in pasts[0].columns}
    codes, recent, onset = (np.concatenate([getattr(p, name) for p in pasts]) for name in ("codes", "recent", "onset"))
    return replace(pasts[0], columns=columns, codes=codes, recent=recent, onset=onset, length=length)


WEIGHTS = factors()
