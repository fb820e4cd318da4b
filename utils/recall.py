"""The match model: what followed the last time, found in the whole piece so far.

Music repeats itself, in the same key or another, after a bar or after a page: further back than a network trained on
short windows remembers. So after each event the network is told what followed the last time that the last few events,
or their rhythm, were the same (data compressors such as Mahoney's PAQ call this a match model), and what came next at
this place one, two, four and eight bars ago. It is also told how long each of these has been right, and how far back
it lies, so that it can learn from real music when repetition ends. If it is told the form of the piece, it also hears
what came in the bar that this bar repeats.

Shapes: E events of all pieces, B pieces side by side, K contexts (repeats, then bars, then the form).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from utils.events import END_STREAM, FIRST_DRUM
from utils.parts import ONE, ZERO, Lines, Voices
from utils.vocabulary import Vocabulary

COMPARED = ("offset", "part", "interval", "duration")  # streams by which events are compared, if there are such
RHYTHM = COMPARED[:1]
PLACED = ("note", "who", "onset")  # needed to hear events some bars ago; `who` is the class of the part
# Looked for after each event: the last time that the last n events were the same in these streams.
REPEATS = tuple((COMPARED, n) for n in (1, 2, 3, 4, 6, 8, 12, 16, 24)) + tuple((RHYTHM, n) for n in (2, 4, 8, 16))
LENGTH = np.array([length for _, length in REPEATS], np.int8)  # small, since it is compared with each event of a piece
NEXT, LONGEST = np.array(1, np.int8), np.array(LENGTH.max())  # arrays for the sake of speed, as `parts.ONE`
BARS = np.array([1, 2, 4, 8])  # how many bars ago
STREAKS = len(REPEATS) + len(BARS)  # contexts whose streak is told, see TOLD
K = STREAKS + 1  # and the form, whose streak does not matter: where it is told, it is right
KIND = np.array([int(streams == RHYTHM) for streams, _ in REPEATS])  # see `Past.runs`
REMEMBERED = 4096  # events that the search goes back, to bound the work of a step: more than most pieces have
NOTHING = -1  # stands where nothing is recalled
LONGEST_STREAK = np.array(255)  # up to which a streak, the events in a row for which a context was right, is counted
# What is told of each context besides the classes of the recalled event: its streak, and how many events before the
# next one the recalled event lies, 0 if there is none.
TOLD = ("streak", "back")
# Contexts are compared by a hash, the upper half of a sum modulo 2^64: each class times the random odd number of its
# place and stream. Two different contexts have the same hash once in four thousand million.
FACTORS = np.random.default_rng(0).integers(2**63, size=(LENGTH.max(), len(COMPARED)), dtype=np.uint64) * 2 + 1
LOWER = np.uint64(32)  # bits of the sum that are not part of the hash
CHUNK = 2**16  # events looked up at once


def codes(columns: dict[str, np.ndarray], length: int) -> np.ndarray:
    """(E,) the sum whose upper half is the hash, of the last `length` events up to each event in these streams."""
    count = len(next(iter(columns.values())))
    code = np.zeros(count, np.uint64)
    for stream, column in columns.items():
        column = column.astype(np.uint64)
        for ago in range(min(length, count)):
            code[ago:] += column[: count - ago] * FACTORS[ago, COMPARED.index(stream)]
    return code


def equal(code: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(before, now): `now` lists the events whose context `counts` (E,) and has the same `code` (E,) as an earlier one,
    and `before` the latest such earlier event of each."""
    # Sorted by hash and then by place, so that equal contexts are neighbours.
    keys = ((code >> LOWER) << LOWER | np.arange(len(code), dtype=np.uint64))[counts]
    keys.sort()
    index, same = (keys & np.uint64(2**32 - 1)).astype(np.int64), keys[1:] ^ keys[:-1] < 2**32
    return index[:-1][same], index[1:][same]


def streaks(right: np.ndarray) -> np.ndarray:
    """(E,) for how many events in a row, up to and including each, `right` (E,) is true."""
    index = np.arange(len(right))
    return np.minimum(index - np.maximum.accumulate(np.where(right, 0, index)), LONGEST_STREAK)


def last_times(classes: dict[str, np.ndarray], first: np.ndarray) -> np.ndarray:
    """(E, repeats) how many events ago the context that ends in each event ended the last time; 0 where it is new.

    `classes` are those of pieces one after another; `first` (P + 1,) is where each begins, with a start token, which is
    part of no context.
    """
    count = int(first[-1])
    place = np.arange(count) - np.repeat(first[:-1], np.diff(first))
    back = np.zeros((count, len(REPEATS)), np.int16)
    for k, (streams, length) in enumerate(REPEATS):
        code = codes({stream: classes[stream] for stream in streams if stream in classes}, length)
        before, now = equal(code, place >= length)
        distance = now - before
        same = (place[now] - place[before] == distance) & (distance <= REMEMBERED)  # in the same piece
        back[now[same], k] = distance[same]
    return back


def contexts(vocabulary: Vocabulary) -> int:
    """The number of contexts of a network: one fewer if its weights file is older than the form."""
    return K if vocabulary.told_form else STREAKS


class Viewpoint:
    """Recalled events as the network hears them: the offset and the interval of an event some bars ago are counted from
    what is now the last event."""

    def __init__(self, vocabulary: Vocabulary):
        # What is recalled of an event; the streams by which events are compared come first.
        compared = tuple(name for name in COMPARED if name in vocabulary.recalled)
        self.compared, self.names = len(compared), tuple(dict.fromkeys((*compared, *vocabulary.recalled)))
        self.contexts = contexts(vocabulary)
        self.vocabulary, self.steps = vocabulary, vocabulary.steps(END_STREAM)
        # A sort key of each note class, for notes that a part strikes together; the start token is lowest.
        self.rank = np.append(np.where(vocabulary.moves == 1, vocabulary.top, FIRST_DRUM + vocabulary.steady)[:-1], 0)
        self.rank = self.rank.astype(np.int32)
        # The offset class of each number of steps; the last is for numbers that no offset has.
        self.of_steps = np.full(int(self.steps.max()) + 2, NOTHING)
        self.of_steps[vocabulary.values[END_STREAM]] = np.arange(vocabulary.end)
        # The notes of a chord are in order of pitch, unless the chord is one event.
        self.by_pitch = vocabulary.representation.chords == "split"
        self.step = np.array(8 * FIRST_DRUM * (vocabulary.parts + 1))  # the rise of `order` per step

    def order(self, onset: np.ndarray, part: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """A sort key that increases from each event of a piece to the next."""
        place = np.multiply(part, 8 * FIRST_DRUM, dtype=np.int64) + rank if self.by_pitch else 0
        return np.multiply(onset, self.step, dtype=np.int64) + place

    def classes(
        self, recalled: Iterable[np.ndarray], note: np.ndarray, origin: np.ndarray, steps: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Name -> classes (..., K) of recalled events, NOTHING for none. `recalled` holds their own classes, (..., K)
        for each of the names. The other arguments, (..., bars + 1), belong to those some bars ago and by the form:
        their notes are `note`, their intervals count from `origin`, and they would come so many `steps` after the last
        event if those bars were repeated; below 0 for none."""
        classes = dict(zip(self.names, recalled, strict=True))
        known = (steps >= ZERO) & (steps < len(self.of_steps))
        interval = self.vocabulary.interval(note, origin)
        classes["offset"][..., len(REPEATS) :] = self.of_steps.take(np.where(known, steps, NOTHING))
        classes["interval"][..., len(REPEATS) :] = np.where(known, interval, NOTHING)
        return classes


def come_true(recalled: dict[str, np.ndarray], event: dict[str, np.ndarray]) -> np.ndarray:
    """(..., K) whether the recalled classes (..., K) equal those of the event (...) that came, in COMPARED streams."""
    same = [recalled[name] == event[name][..., None] for name in COMPARED if name in recalled]
    return reduce(np.logical_and, same)


def by_form(
    again: np.ndarray, line: np.ndarray, goes_on: np.ndarray, then: np.ndarray, begins: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(...) how many events back from the next one the event lies that the form recalls, 0 if there is none, and (...)
    how many steps before its repeat it came. It is the next event in the bar that this bar repeats or, if there is
    none, the first event of the bar that the next bar repeats.

    `again` (..., 2) is how many steps ago the bars lie that this bar and the next one repeat, 0 for none; `line` (...)
    is the onset of the next bar line, in steps; `goes_on` and `begins` (...) are how many events back those two events
    lie, and `then` (...) is the onset of the first of them.
    """
    here, after = again[..., 0], again[..., 1]
    inside = (here > 0) & (then + here < line)
    back, ago = np.where(inside, goes_on, begins), np.where(inside, here, after)
    return np.where((ago == 0) | (back > REMEMBERED), 0, back), ago


class MatchModel:
    """What is recalled in whole pieces, one after another."""

    def __init__(
        self,
        classes: dict[str, np.ndarray],
        first: np.ndarray,
        bar: np.ndarray,
        again: np.ndarray,
        lines: Lines,
        vocabulary: Vocabulary,
    ):
        """`classes` and `first` are as for `last_times`, `bar` (E,) is the number of steps in each event's bar, and
        `again` (E, 2) is as from `form.again`."""
        self.viewpoint = Viewpoint(vocabulary)
        onset, who, rank = lines.onset, lines.part, self.viewpoint.rank[classes["note"]]
        self.columns, self.bar, self.lines = {**classes, "onset": onset, "who": who}, bar, lines
        self.back = np.zeros((len(onset), K), np.int16)  # see TOLD
        self.back[:, : len(REPEATS)] = last_times(classes, first)
        # Onsets rise through all pieces, and a start token comes before all other events at its onset. So the order
        # rises too, and one search serves all pieces.
        who = np.where(who == vocabulary.parts, -1, who)
        order = self.viewpoint.order(onset, who, rank)
        step, count = self.viewpoint.step, np.arange(1, len(onset) + 1)
        for k, bars in enumerate(BARS, len(REPEATS)):
            since = bars * bar
            back = count - np.searchsorted(order, order - np.multiply(since, step, dtype=np.int64), "right")
            self.back[:, k] = np.where((onset - since < onset[lines.begins]) | (back > REMEMBERED), 0, back)
        again, line = again * bar[:, None], onset - classes["phase"] + bar
        goes_on = np.searchsorted(order, order - np.multiply(again[:, 0], step, dtype=np.int64), "right")
        begins = np.searchsorted(order, np.multiply(line - again[:, 1], step, dtype=np.int64), "left")
        # The first event of a piece is the one after its start token.
        goes_on, begins = (np.maximum(at, lines.begins + 1) for at in (goes_on, begins))
        then = onset[np.minimum(goes_on, len(onset) - 1)]
        self.back[:, -1], self.ago = by_form(again, line, count - goes_on, then, count - begins)
        self.back = self.back[:, : self.viewpoint.contexts]
        self.streak = np.zeros(self.back.shape, np.uint8)
        index, right = np.arange(len(onset)), np.zeros(self.back.shape, bool)
        for now in np.split(index[:-1], range(CHUNK, len(index) - 1, CHUNK)):
            came = {name: classes[name][now + 1] for name in COMPARED if name in classes}
            right[now + 1] = come_true(self.recalled(now, True), came)
        for k in range(self.viewpoint.contexts):
            self.streak[:, k] = streaks(right[:, k])

    def recalled(self, index: np.ndarray, form: np.ndarray | bool = False) -> dict[str, np.ndarray]:
        """What is recalled after the events `index` (B, ...): name -> classes (B, ..., K), and what is TOLD of them.
        What the form recalls is included where `form` (B, ...) is true."""
        back, now, bar = self.back[index], index[..., None], self.bar[index][..., None]
        back[..., STREAKS:] *= np.asarray(form)[..., None]
        at = np.where(back > 0, now - back + 1, NOTHING)
        recalled = [np.where(at >= 0, self.columns[name][at], NOTHING) for name in self.viewpoint.names]
        bars = at[..., len(REPEATS) :]
        note, who, onset = (self.columns[name][bars] for name in PLACED)
        # Where there is no event, `who` may be that of the start token, which has no origin.
        who = np.minimum(who, self.viewpoint.vocabulary.parts - 1)
        origin = self.lines.origins(self.lines.last(who, now), now)
        ago = np.concatenate([BARS * bar, self.ago[index][..., None]], axis=-1)[..., : bars.shape[-1]]
        steps = np.where(bars >= 0, onset + ago - self.columns["onset"][now], NOTHING)
        classes = self.viewpoint.classes(recalled, note, origin, steps)
        return {**classes, "streak": self.streak[index].astype(np.int32), "back": back.astype(np.int32)}


@dataclass
class Past:
    """The events of B pieces so far, searched again after each: it recalls the same as a MatchModel of whole pieces."""

    viewpoint: Viewpoint
    events: np.ndarray  # (B, names, 1 + length) the names of the viewpoint, then PLACED; NOTHING before the first event
    order: np.ndarray  # (B, length) see `Viewpoint.order`
    # (B, 2, length) how many events at the end equal those 0, 1, 2, ... events before them, by COMPARED and by RHYTHM,
    # counted up to the length of the longest context
    runs: np.ndarray
    onset: np.ndarray  # (B,) of the last event, in steps since the beginning
    recalled: dict[str, np.ndarray]  # (B, K) after the last event: classes, and what is TOLD of them
    length: int = 0  # events of the longest piece; shorter ones begin later

    @classmethod
    def empty(cls, count: int, vocabulary: Vocabulary) -> "Past":
        viewpoint = Viewpoint(vocabulary)
        events = np.full((count, len(viewpoint.names) + len(PLACED), 1), NOTHING, np.int32)
        order, runs = np.zeros((count, 0), np.int64), np.zeros((count, 2, 0), np.int8)
        shape = count, viewpoint.contexts
        recalled = dict.fromkeys(viewpoint.names, np.full(shape, NOTHING)) | dict.fromkeys(TOLD, np.zeros(shape, int))
        return cls(viewpoint, events, order, runs, np.zeros(count, np.int32), recalled)

    def add(self, event: dict[str, np.ndarray], bar: np.ndarray, again: np.ndarray, voices: Voices) -> "Past":
        """The past with one more event, name -> (B,), in a bar of `bar` (B,) steps; `again` (B, 2) is as from
        `form.again`, and `voices` include the event already."""
        viewpoint, length, rows = self.viewpoint, self.length + 1, np.arange(len(bar))[:, None]
        onset, rank = self.onset + viewpoint.steps.take(event[END_STREAM]), viewpoint.rank.take(event["note"])
        who = viewpoint.vocabulary.part_of(event)
        new = np.array([*(event[name] for name in viewpoint.names), event["note"], who, onset], np.int32).T
        events = np.concatenate([self.events, new[:, :, None]], axis=2)
        now = viewpoint.order(onset, who, rank)[:, None]
        order, runs = np.concatenate([self.order, now], axis=1), self.longer_runs(events)
        # How many events before the next one the recalled events lie; 0, the place of NOTHING, if there is none.
        back = np.zeros((len(bar), viewpoint.contexts), np.int64)
        back[:, : len(REPEATS)] = (runs[..., : REMEMBERED + 1].take(KIND, axis=1) >= LENGTH[:, None]).argmax(axis=-1)
        bars, since = back[:, len(REPEATS) :], np.zeros((len(bar), viewpoint.contexts - len(REPEATS)), np.int64)
        ago = np.multiply(BARS, bar[:, None], out=since[:, : len(BARS)])  # steps
        place = length - (order[:, None] <= (now - ago * viewpoint.step)[:, :, None]).sum(axis=-1)
        place *= ago <= onset[:, None]
        bars[:, : len(BARS)] = place if length <= REMEMBERED else place * (place <= REMEMBERED)
        if viewpoint.contexts == K and np.count_nonzero(again):
            again, line = again * bar[:, None], onset - event["phase"] + bar
            goes_on = (order <= now - again[:, :1] * viewpoint.step).sum(axis=1)
            begins = (order < (line[:, None] - again[:, 1:]) * viewpoint.step).sum(axis=1)
            then = events[rows[:, 0], -1, 1 + np.minimum(goes_on, self.length)]
            bars[:, -1], since[:, -1] = by_form(again, line, length - goes_on, then, length - begins)
        there = events.transpose(1, 0, 2)[:, rows, -back].astype(np.int64)  # (names, B, K), to be compared with classes
        recalled, (note, who, then) = there[: -len(PLACED)], there[-len(PLACED) :, :, len(REPEATS) :]
        steps = np.where(bars > ZERO, then + since - onset[:, None], NOTHING)
        recalled = viewpoint.classes(recalled, note, voices.origins(who), steps)
        streak = np.minimum(self.recalled["streak"] + ONE, LONGEST_STREAK) * come_true(self.recalled, event)
        recalled |= {"streak": streak, "back": back}
        return Past(viewpoint, events, order, runs, onset, recalled, length)

    def longer_runs(self, events: np.ndarray) -> np.ndarray:
        """The `runs` after the last of the `events`."""
        # Backwards from the last event, so that the first match is the latest; an event is not a repeat of itself.
        compared = events[:, : self.viewpoint.compared, 1:]
        same = compared[..., ::-1] == compared[..., -1:]
        runs = np.empty((len(events), 2, self.length + 1), np.int8)
        runs[:, 0], runs[:, 1] = np.logical_and.reduce(same, axis=1), same[:, 0]
        earlier = runs[..., :-1]
        earlier *= np.minimum(self.runs + NEXT, LONGEST)
        runs[..., 0] = 0
        return runs

    def rounds(self) -> np.ndarray:
        """(B,) how often the latest figure has been repeated without a break: 1 when a figure, of any length up to
        LONGEST_STREAK, has been repeated once. Repeats that the form asks for do not count."""
        return (self.recalled["streak"] / np.maximum(self.recalled["back"], 1))[:, :STREAKS].max(axis=1)

    def aligned(self, length: int) -> "Past":
        """The same, padded so that its last event is at index `length` - 1, so that several can be put side by side."""
        before = length - self.length
        events = np.pad(self.events, ((0, 0), (0, 0), (before, 0)), constant_values=NOTHING)
        order = np.pad(self.order, ((0, 0), (before, 0)), constant_values=NOTHING)
        runs = np.pad(self.runs, ((0, 0), (0, 0), (0, before)))
        return replace(self, events=events, order=order, runs=runs, length=length)
