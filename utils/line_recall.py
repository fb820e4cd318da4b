"""The match model of the next event's part: what that part did the last time, once the part and its onset are known.

`recall` compares all parts together; if an inner voice deviates by one note, everything is new to it. Here the line of
a part is compared by itself: as soon as part and onset of the next event are known, the heads of its note and duration
are also told what followed in that part's line the last time that its last few events and the time until the next were
the same; what the part played at the same place one, two, four and eight bars ago; and, if the form of the piece is
told, in the bar that this bar repeats. They are also told how long each of these has been right.

Shapes: E events of all pieces, B pieces side by side, L events of a piece so far, K contexts (repeats, bars, the form).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from utils import recall
from utils.events import END_STREAM
from utils.parts import ONE, ZERO, Lines
from utils.recall import BARS, COMPARED, FACTORS, LONGEST_STREAK, NOTHING, PLACED, REMEMBERED, TOLD, Past, Viewpoint
from utils.vocabulary import Vocabulary

REPEATS = np.array([1, 2, 3, 4, 6, 8, 12], np.int32)  # looked for: the last time that so many events were the same
NEXT, LONGEST = np.array(1, np.int32), np.array(REPEATS.max())  # arrays for the sake of speed, as `parts.ONE`
LINE_STREAKS = len(REPEATS) + len(BARS)  # contexts whose streak is told, see TOLD
LINE_CONTEXTS = LINE_STREAKS + 1
NEVER = 2**20  # stands for the steps since the last event of a part that has not played yet
SAME = COMPARED[2:]  # streams by which events of a line are compared, besides the time between them
FAR = 2**40  # more steps than any piece has
CHORD = 128  # more notes than a part strikes together
NOTE, WHO = (PLACED.index(name) - len(PLACED) for name in ("note", "who"))  # rows of `Past.events`


def nothing(count: int, viewpoint: Viewpoint) -> dict[str, np.ndarray]:
    """What is recalled for the first event of `count` pieces."""
    none = np.full((count, LINE_CONTEXTS), NOTHING)
    told = dict.fromkeys(TOLD, np.zeros((count, LINE_STREAKS), np.int32))
    return named(dict.fromkeys(viewpoint.names, none) | told)


def named(classes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The classes under names of their own, apart from those of the events and of what `recall` tells."""
    return {f"line_{name}": each for name, each in classes.items()}


def heard(
    recalled: dict[str, np.ndarray], note: np.ndarray, event: dict[str, np.ndarray], viewpoint: Viewpoint
) -> dict[str, np.ndarray]:
    """Name -> classes (..., K) of the `recalled` events, NOTHING for none, as heard at the next `event` (...): they
    take its part and offset, and the intervals of those some bars ago, whose notes are `note` (..., K), count from its
    origin."""
    there = recalled["duration"] >= ZERO
    fixed = {name: np.where(there, event[name][..., None], NOTHING) for name in COMPARED[:2] if name in recalled}
    placed = np.s_[..., len(REPEATS) :]
    note, interval = note[placed], recalled["interval"]
    from_here = viewpoint.vocabulary.interval(note, event["origin"][..., None])
    interval[placed] = np.where(there[placed], from_here, NOTHING)
    return {**recalled, **fixed, "interval": interval}


class LineModel:
    """What is recalled in the lines of whole pieces, one after another."""

    def __init__(
        self, classes: dict[str, np.ndarray], bar: np.ndarray, again: np.ndarray, lines: Lines, viewpoint: Viewpoint
    ):
        """As for `recall.MatchModel`."""
        self.classes, self.viewpoint, index = classes, viewpoint, np.arange(len(lines.onset))
        self.back = np.zeros((len(index), LINE_CONTEXTS), np.int16)  # events back to the recalled one; 0 for none
        since = [*(bars * bar for bars in BARS.tolist()), again[:, 0] * bar]
        place = in_lines(lines)
        for k, at in enumerate(chain(self.last_times(lines, place), self.placed(lines, since))):
            back = index - at
            self.back[:, k] = np.where((at == NOTHING) | (back > REMEMBERED), 0, back)
        self.nth, self.streak = np.empty(len(index), np.int32), np.zeros((len(index), LINE_STREAKS), np.uint8)
        self.nth[lines.order] = place
        right = np.zeros(self.streak.shape, bool)
        for now in np.split(index, range(recall.CHUNK, len(index), recall.CHUNK)):
            right[now] = come_true(self.recalled(now), {name: classes[name][now] for name in SAME})
        for k in range(LINE_STREAKS):
            self.streak[lines.order, k] = recall.streaks(np.roll(right[lines.order, k], 1) & (place > 0))

    def last_times(self, lines: Lines, place: np.ndarray) -> Iterator[np.ndarray]:
        """For each of the REPEATS: (E,) the event that followed the last time that the context in each event's line was
        the same. `place` is as from `in_lines`."""
        order, line = lines.order, np.cumsum(place == 0)
        gap = np.where(place == 0, NEVER, np.diff(lines.onset[order], prepend=0))
        columns = {"offset": gap, **{name: self.classes[name][order] for name in SAME}}
        until = gap.astype(np.uint64) * FACTORS[-1, 0]  # of the event that follows the context
        for length in REPEATS.tolist():
            before, now = recall.equal(until + np.roll(recall.codes(columns, length), 1), place >= length)
            same = line[now] == line[before]
            at = np.full(len(order), NOTHING, np.int64)
            at[order[now[same]]] = order[before[same]]
            yield at

    def placed(self, lines: Lines, since: list[np.ndarray]) -> Iterator[np.ndarray]:
        """For each of `since` (E,): (E,) what the part of each event played so many steps before it; for 0, nothing."""
        key = np.multiply(lines.part, FAR, dtype=np.int64) + lines.onset
        order = np.argsort(key, kind="stable")
        ordered, rank = key[order], np.empty(len(key), np.int64)
        rank[order] = np.arange(len(key))
        nth = rank - np.searchsorted(ordered, key)  # index among the notes that the part strikes together
        for steps in since:
            wanted = key - steps
            place = np.minimum(np.searchsorted(ordered, wanted) + nth, len(key) - 1)
            there = (ordered[place] == wanted) & (steps > 0) & (order[place] > lines.begins)
            yield np.where(there, order[place], NOTHING)

    def recalled(self, index: np.ndarray, form: np.ndarray | bool = False) -> dict[str, np.ndarray]:
        """What is recalled when the part and the onset of the events `index` (B, ...) are known: name -> classes
        (B, ..., K). What the form recalls is included where `form` (B, ...) is true."""
        back = self.back[index]
        back[..., -1] *= np.asarray(form)
        at = index[..., None] - back
        names = self.viewpoint.names
        recalled = {name: np.where(back > 0, self.classes[name][at], NOTHING).astype(np.int32) for name in names}
        event = {name: self.classes[name][index].astype(np.int32) for name in (*names, "origin")}
        told = {"streak": self.streak[index].astype(np.int32), "back": (self.nth[index][..., None] - self.nth[at])}
        told["back"] = told["back"][..., :LINE_STREAKS]
        return named(heard(recalled, self.classes["note"][at], event, self.viewpoint) | told)


def in_lines(lines: Lines) -> np.ndarray:
    """(E,) for the events in the order of their lines, how many events of the same line precede each."""
    # `order` is sorted by part, then by time through all pieces, so within a line part and piece stay the same.
    begins = np.append(True, np.diff(lines.begins[lines.order]) | np.diff(lines.part[lines.order]) != 0)
    begins = begins[: len(lines.order)]
    return np.arange(len(begins)) - np.flatnonzero(begins)[np.cumsum(begins) - 1]


def come_true(recalled: dict[str, np.ndarray], event: dict[str, np.ndarray]) -> np.ndarray:
    """(..., LINE_STREAKS) whether what was recalled of the line equals the event (...) that came."""
    return recall.come_true({name: recalled[f"line_{name}"][..., :LINE_STREAKS] for name in SAME}, event)


@dataclass
class LinePast:
    """The same for B pieces of P parts that grow event by event; a `Past` holds the events themselves. As there, the
    first entry, before the first event, stands for no event."""

    events: np.ndarray  # (B, 5, 1 + L) of each event, see the rows below
    parts: np.ndarray  # (B, P, 4 + LINE_STREAKS) of each part, see the columns below

    # Of an event: steps since the event before it in its line; the place of that, 0 if there is none; how many events
    # of its line precede it; how many of these, just before it, equal the last ones of the line; and when it comes.
    GAP, BEFORE, NTH, RIGHT, WHEN = range(5)
    # Of a part: steps since its last event, NEVER or more if it has not played yet; the place of that event; how many
    # events it has (these three become the first three rows of its next event); how many events it struck before that
    # one at the same time; and the streak of each context.
    SINCE, LAST, PLAYED, TOGETHER, STREAK = range(5)

    @classmethod
    def empty(cls, count: int, vocabulary: Vocabulary) -> "LinePast":
        parts = np.zeros((count, vocabulary.parts, cls.STREAK + LINE_STREAKS), np.int64)
        parts[..., cls.SINCE] = NEVER
        return cls(np.zeros((count, 5, 1), np.int32), parts)

    def add(self, past: Past, event: dict[str, np.ndarray]) -> "LinePast":
        """The same with one more `event` (B,), the last one of `past`, which includes what was recalled for it."""
        rows, who, parts = np.arange(len(self.parts)), past.events[:, WHO], self.parts.copy()
        part = who[:, -1]
        parts[..., self.SINCE] += past.viewpoint.steps.take(event[END_STREAM])[:, None]
        state = parts[rows, part]
        together = (state[:, self.SINCE] == ZERO) * (state[:, self.TOGETHER] + ONE)
        new = np.zeros((len(rows), 5, 1), np.int32)
        new[:, : self.RIGHT, 0] = state[:, : self.TOGETHER]
        new[:, self.WHEN, 0] = past.onset * CHORD + together
        events = np.concatenate([self.events, new], axis=2)
        mine = who == part[:, None]
        same = mine & (events[:, self.GAP] == new[:, self.GAP])
        # The rows of `past.events` begin with the streams that are COMPARED, which end with SAME.
        columns = past.events[:, past.viewpoint.compared - len(SAME) : past.viewpoint.compared]
        same &= np.logical_and.reduce(columns == columns[..., -1:], axis=1)
        # How many events up to each equal the last ones; the last is not a repeat of itself.
        ending = np.minimum(events[:, self.RIGHT] + NEXT, LONGEST) * same
        ending[:, -1] = 0
        right = ending[rows[:, None], events[:, self.BEFORE]]
        np.copyto(events[:, self.RIGHT], right, where=mine)
        state[:, self.STREAK :] = np.minimum(state[:, self.STREAK :] + ONE, LONGEST_STREAK) * come_true(event, event)
        state[:, self.SINCE], state[:, self.LAST], state[:, self.TOGETHER] = 0, past.length, together
        state[:, self.PLAYED] += ONE
        parts[rows, part] = state
        return LinePast(events, parts)

    def recalled(
        self, past: Past, event: dict[str, np.ndarray], again: np.ndarray, bar: np.ndarray
    ) -> dict[str, np.ndarray]:
        """As `LineModel.recalled` for the next event (B,), whose part, offset and `origin` are known. Its bar has `bar`
        (B,) steps and repeats the bar `again` (B,) bars ago, 0 for none."""
        viewpoint, length, rows = past.viewpoint, past.length, np.arange(len(bar))
        part, steps = viewpoint.vocabulary.part_of(event), viewpoint.steps.take(event[END_STREAM])
        state, mine = self.parts[rows, part], past.events[:, WHO] == part[:, None]
        gap = state[:, self.SINCE] + steps
        since = np.concatenate([BARS * bar[:, None], (again * bar)[:, None]], axis=1)
        together = (gap == ZERO) * (state[:, self.TOGETHER] + ONE)
        when = (((past.onset + steps)[:, None] - since) * CHORD + together[:, None]).astype(np.int32)  # as in `events`
        right = self.events[:, self.RIGHT] * (mine & (self.events[:, self.GAP] == gap[:, None].astype(np.int32)))
        there = np.empty((len(bar), LINE_CONTEXTS, length + 1), bool)
        np.greater_equal(right[:, None], REPEATS[:, None], out=there[:, : len(REPEATS)])
        placed = np.equal(self.events[:, None, self.WHEN], when[:, :, None], out=there[:, len(REPEATS) :])
        placed &= mine[:, None]
        there[..., 0] = True  # the entry for no event, found where nothing else is
        back = there[..., ::-1].argmax(axis=2)
        at = (length - back) * (back < REMEMBERED)
        found = past.events[rows[:, None], :, at].transpose(2, 0, 1).astype(np.int64)  # (names, B, K)
        recalled = dict(zip(viewpoint.names, found, strict=False))
        distance = (state[:, self.PLAYED, None] - self.events[rows[:, None], self.NTH, at]) * (at > ZERO)
        told = {"streak": state[:, self.STREAK :], "back": distance[:, :LINE_STREAKS]}
        return named(heard(recalled, found[NOTE], event, viewpoint) | told)

    def aligned(self, length: int) -> "LinePast":
        """As `Past.aligned`."""
        later = length + 1 - self.events.shape[2]
        events, parts = np.pad(self.events, ((0, 0), (0, 0), (later, 0))), self.parts.copy()
        events[:, self.BEFORE] += later * (events[:, self.BEFORE] > 0)
        parts[..., self.LAST] += later * (parts[..., self.LAST] > 0)
        return LinePast(events, parts)
