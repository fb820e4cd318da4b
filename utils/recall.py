"""What came next the last time: literal repeats, found in the whole piece so far.

Music repeats itself, in the same key or another, after a bar or after a page: longer ago than a network that was
trained on short windows remembers. So after each event it is told what followed the last time that the last few events,
or their rhythm, were the same. (Compressors of text have such a 'match model', for instance in Mahoney's PAQ.)

Shapes: E events of all pieces, B pieces side by side, K contexts, S streams.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

STREAMS = ("offset", "interval", "duration")  # by which events are compared
MELODY, RHYTHM = STREAMS, ("offset",)
# Looked for after each event: the last time that the last n events were the same in these streams.
CONTEXTS = ((MELODY, 2), (MELODY, 4), (MELODY, 8), (MELODY, 16), (RHYTHM, 4), (RHYTHM, 8), (RHYTHM, 16))
LENGTH = np.array([length for _, length in CONTEXTS])  # (K,)
REMEMBERED = 4096  # events back that the last time may lie
NOTHING = -1  # the class of what is recalled where nothing is

# A context is compared by a hash: the sum, modulo 2^64, of each class times a random number of its place and stream; of
# the sum the upper half counts. Two that differ have the same hash once in four thousand million.
FACTORS = np.random.default_rng(0).integers(2**63, size=(LENGTH.max(), len(STREAMS)), dtype=np.uint64) * 2 + 1
LOWER = np.uint64(32)


def weights() -> np.ndarray:
    """(longest context, S, K): the factor of the class of each stream so many events ago in each context's hash."""
    used = np.array([[stream in streams for streams, _ in CONTEXTS] for stream in STREAMS])  # (S, K)
    ago = np.arange(len(FACTORS))[:, None, None]
    return np.where(used & (ago < LENGTH), FACTORS[:, :, None], np.uint64(0))


def last_times(classes: dict[str, np.ndarray], first: np.ndarray) -> np.ndarray:
    """How many events before each event (E,) its context ended the last time, (E, K); 0 where it is new.

    `classes` are those of pieces one after another; `first` (P + 1,) is where each begins, with a start token, which is
    part of no context.
    """
    count = int(first[-1])
    place = np.arange(count) - np.repeat(first[:-1], np.diff(first))
    back = np.zeros((count, len(CONTEXTS)), np.int32)
    for k, (streams, length) in enumerate(CONTEXTS):
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


def what_followed(classes: dict[str, np.ndarray], index: np.ndarray, back: np.ndarray) -> dict[str, np.ndarray]:
    """Classes (..., K) of the events that followed the contexts `back` (..., K) events before the events `index` (...),
    NOTHING where that is 0."""
    at = index[..., None] - np.maximum(back - 1, 0)
    return {name: np.where(back > 0, column[at], NOTHING) for name, column in classes.items()}


def pad(row: np.ndarray, before: int, after: int) -> np.ndarray:
    """Zeros on both sides of the last axis."""
    return np.pad(row, [(0, 0)] * (row.ndim - 1) + [(before, after)])


@dataclass
class Past:
    """The events of B pieces so far, searched again after each: the same as `last_times` finds in whole pieces.

    Arrays have room for events to come and are filled in place: only one of several continuations of a Past may go on.
    """

    classes: dict[str, np.ndarray]  # name -> (B, room)
    codes: np.ndarray  # (B, K, room) hashes of the contexts that end with each event; 0 before a context is whole
    recent: np.ndarray  # (B, longest context * S) classes of the last events, the latest first; 0 before the first
    length: int = 0  # places that are filled; pieces with fewer events begin later

    @classmethod
    def empty(cls, count: int, names: tuple[str, ...], room: int = 512) -> "Past":
        classes = {name: np.zeros((count, room), np.int32) for name in names}
        recent = np.zeros((count, FACTORS.size), np.uint64)
        return cls(classes, np.zeros((count, len(CONTEXTS), room), np.uint32), recent)

    def add(self, event: dict[str, np.ndarray]) -> tuple["Past", dict[str, np.ndarray]]:
        """The past with an event, name -> (B,), after it, and what followed the last time, name -> (B, K)."""
        past = self.with_room(self.length + 1)
        classes, codes, now = past.classes, past.codes, past.length
        for name, row in classes.items():
            row[:, now] = event[name]
        latest = np.stack([event[stream] for stream in STREAMS], axis=1).astype(np.uint64) + np.uint64(1)
        recent = np.concatenate([latest, self.recent[:, : -len(STREAMS)]], axis=1)
        code = ((recent @ WEIGHTS) >> LOWER).astype(np.uint32)
        code[recent[:, (LENGTH - 1) * len(STREAMS)] == 0] = 0
        codes[:, :, now] = code
        # From the latest event backwards, so that the first that is found is the last time.
        same = codes[:, :, max(now - REMEMBERED, 0) : now + 1][:, :, ::-1] == code[:, :, None]
        same[:, :, 0] = False
        back = same.argmax(axis=-1)
        back[code == 0] = 0
        at = now - np.maximum(back - 1, 0)
        rows = np.arange(len(code))[:, None]
        recalled = {name: np.where(back > 0, row[rows, at], NOTHING) for name, row in classes.items()}
        return replace(past, recent=recent, length=now + 1), recalled

    def with_room(self, events: int) -> "Past":
        """The same, with room for `events` or more."""
        room = self.codes.shape[-1]
        return self if events <= room else self.reshaped(lambda row: pad(row, 0, max(events - room, room)))

    def reshaped(self, change: Callable[[np.ndarray], np.ndarray]) -> "Past":
        """The same, with the arrays that have room changed."""
        classes = {name: change(row) for name, row in self.classes.items()}
        return replace(self, classes=classes, codes=change(self.codes))

    def take(self, which: np.ndarray | slice) -> "Past":
        """Some of the pieces."""
        return replace(self.reshaped(lambda row: row[which]), recent=self.recent[which])


def stack(pasts: list[Past]) -> Past:
    """Several as one; the last events of all stand at the same place."""
    length = max(past.length for past in pasts)
    pasts = [
        past.reshaped(lambda row, past=past: pad(row[..., : past.length], length - past.length, 0)) for past in pasts
    ]
    return Past(
        {name: np.concatenate([past.classes[name] for past in pasts]) for name in pasts[0].classes},
        np.concatenate([past.codes for past in pasts]),
        np.concatenate([past.recent for past in pasts]),
        length,
    )


WEIGHTS = weights().reshape(FACTORS.size, len(CONTEXTS))
