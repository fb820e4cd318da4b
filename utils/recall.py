"""The match model: what followed the last time, found in the whole piece so far.

Music repeats itself, in the same key or another, after a bar or after a page: longer ago than a network that was
trained on short windows remembers. So after each event the network is told what followed the last time that the last
few events, or their rhythm, were the same (data compressors call that a match model, for instance Mahoney's PAQ), and
what stood one, two, four and eight bars before the place where the next event is to come. It is also told for how long
each of these has been right, and how far back it lies: so it can learn from real music when repetition ends. Where it
is told the form of the piece, it also hears what stood in the bar that comes again.

Shapes: E events of all pieces, B pieces side by side, K contexts (repeats, then bars, then the form).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from utils.events import END_STREAM, FIRST_DRUM
from utils.parts import Lines, Voices
from utils.vocabulary import Vocabulary

COMPARED = ("offset", "part", "interval", "duration")  # streams by which events are compared, as far as there are any
RHYTHM = COMPARED[:1]
# Looked for after each event: the last time that the last n events were the same in these streams.
REPEATS = tuple((COMPARED, n) for n in (1, 2, 3, 4, 6, 8, 12, 16, 24)) + tuple((RHYTHM, n) for n in (2, 4, 8, 16))
LENGTH = np.array([length for _, length in REPEATS], np.int8)  # small, since it is compared with each event of a piece
BARS = np.array([1, 2, 4, 8])  # so many bars ago
STREAKS = len(REPEATS) + len(BARS)  # contexts of which it is told for how long they have been right
K = STREAKS + 1  # what the form says is right where it is told, whatever came before
KIND = np.array([int(streams == RHYTHM) for streams, _ in REPEATS])  # see `Past.runs`
REMEMBERED = 4096  # the last time may be so many events ago: more than most pieces have; it bounds the work of a step
NOTHING = -1  # stands where nothing is recalled
LONGEST_STREAK = 255  # for how many events in a row a context has been right; more are not counted
# What is told of each context beside the classes of the recalled event: its streak, and how many events back the
# recalled event lies from the next one, 0 if there is none.
TOLD = ("streak", "back")
# Contexts are compared by the upper half of a sum, modulo 2^64: each class times the random odd number of its place and
# stream. Two different contexts have the same once in four thousand million.
FACTORS = np.random.default_rng(0).integers(2**63, size=(LENGTH.max(), len(COMPARED)), dtype=np.uint64) * 2 + 1
LOWER = np.uint64(32)  # bits of the sum that do not count
CHUNK = 2**16  # events looked up at once


def last_times(classes: dict[str, np.ndarray], first: np.ndarray) -> np.ndarray:
    """(E, repeats) how many events ago the context of each event (E,) ended the last time; 0 where it is new.

    `classes` are those of pieces one after another; `first` (P + 1,) is where each begins, with a start token, which is
    part of no context.
    """
    count = int(first[-1])
    place = np.arange(count) - np.repeat(first[:-1], np.diff(first))
    back = np.zeros((count, len(REPEATS)), np.int16)
    for k, (streams, length) in enumerate(REPEATS):
        code = np.zeros(count, np.uint64)
        for stream in [stream for stream in streams if stream in classes]:
            column = classes[stream].astype(np.uint64)
            for ago in range(min(length, count)):
                code[ago:] += column[: count - ago] * FACTORS[ago, COMPARED.index(stream)]
        # Sorted by the hash and then by place: equal contexts of a piece are neighbours.
        keys = ((code >> LOWER) << LOWER | np.arange(count, dtype=np.uint64))[place >= length]
        keys.sort()
        index = (keys & np.uint64(2**32 - 1)).astype(np.int64)
        before, now = index[:-1], index[1:]
        distance = now - before
        same = (keys[1:] ^ keys[:-1] < 2**32) & (place[now] - place[before] == distance) & (distance <= REMEMBERED)
        back[now[same], k] = distance[same]
    return back


def contexts(vocabulary: Vocabulary) -> int:
    """How many there are for a network: in weights files from before the form was told one fewer."""
    return K if vocabulary.told_form else STREAKS


class Viewpoint:
    """Recalled events as the network hears them: the offset and interval of one some bars ago are those from the event
    that is now the last."""

    def __init__(self, vocabulary: Vocabulary):
        self.names = vocabulary.recalled
        self.contexts = contexts(vocabulary)
        self.vocabulary, self.steps = vocabulary, vocabulary.steps(END_STREAM)
        self.steady, self.moves = vocabulary.steady.astype(np.int32), vocabulary.moves.astype(np.int32)
        # Of each note class, a number that rises as notes struck together by a part stand: the start token is lowest.
        self.rank = np.append(np.where(vocabulary.moves == 1, vocabulary.top, FIRST_DRUM + vocabulary.steady)[:-1], 0)
        self.rank = self.rank.astype(np.int32)
        self.of_steps = np.full(int(self.steps.max()) + 1, NOTHING)  # offset class of each number of steps
        self.of_steps[vocabulary.values[END_STREAM]] = np.arange(vocabulary.end)
        # The notes of a chord stand in the order of their pitch, unless the chord is one event.
        self.by_pitch = vocabulary.representation.chords == "split"

    def order(self, onset: np.ndarray, part: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """A number that rises from each event of a piece to the next."""
        place = np.multiply(part, 8 * FIRST_DRUM, dtype=np.int64) + rank if self.by_pitch else 0
        return onset.astype(np.int64) * (8 * FIRST_DRUM * (self.vocabulary.parts + 1)) + place

    def classes(
        self, column: Callable, origins: Callable, at: np.ndarray, now: np.ndarray, ago: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Name -> classes (..., K) of the events at the indices `at` (..., K), NOTHING for none. `column` looks up a
        name ('onset', 'note', 'who', 'interval' or a stream) at some indices, and `origins` from which pitches the
        intervals of some parts count after the last events, which are `now` (..., 1); `ago` (..., bars + 1) are the
        steps that lie between what some bars ago and the form recall and its place now."""
        classes = {name: np.where(at >= 0, column(name, at), NOTHING) for name in self.names}
        # An event some bars ago is heard where it would come if those bars were repeated.
        bars = at[..., len(REPEATS) :]
        steps = column("onset", bars) + ago[..., : bars.shape[-1]] - column("onset", now)
        known = (bars >= 0) & (steps >= 0) & (steps < len(self.of_steps))
        offset = self.of_steps[np.where(known, steps, 0)]
        note = column("note", bars)
        # Of events that are not there `who` may be the start token, and has no origin.
        who = np.minimum(column("who", bars), self.vocabulary.parts - 1)
        interval = self.steady[note] - self.moves[note] * origins(who)
        for name, relative in (("offset", offset), ("interval", interval)):
            classes[name][..., len(REPEATS) :] = np.where(known, relative, NOTHING)
        return classes


@dataclass
class Place:
    """Where events are that stand last, each in a piece or in one of its own; all (...)."""

    onset: np.ndarray  # steps
    line: np.ndarray  # steps from the beginning to the next bar line
    again: np.ndarray  # (..., 2) how many steps ago what comes in its bar, and in the next, was heard before; 0: never

    def by_form(self, search: Callable, onset_at: Callable) -> tuple[np.ndarray, np.ndarray]:
        """(...) the index of the event that the form recalls after each, or NOTHING, and (...) how many steps ago it
        stood: the next one in the bar that comes again, and where there is none, the first one in that which the next
        bar repeats. `search` gives the index of the first event behind so many steps (...), or with a second argument
        of True not before them; `onset_at` its onset, none of which is behind the last."""
        here, after = self.again[..., 0], self.again[..., 1]
        goes_on, begins = search(self.onset - here, False), search(self.line - after, True)
        inside = (here > 0) & (onset_at(goes_on) + here < self.line)
        at = np.where(inside, goes_on, np.where(after > 0, begins, NOTHING))
        return at, np.where(inside, here, after)


def come_true(recalled: dict[str, np.ndarray], event: dict[str, np.ndarray]) -> np.ndarray:
    """(..., K) whether the recalled classes (..., K) are those of the event (...) that came, as far as it counts."""
    return np.all([recalled[name] == event[name][..., None] for name in COMPARED if name in recalled], axis=0)


class MatchModel:
    """What is recalled in whole pieces, which stand one after another."""

    def __init__(
        self,
        classes: dict[str, np.ndarray],
        first: np.ndarray,
        bar: np.ndarray,
        again: np.ndarray,
        lines: Lines,
        vocabulary: Vocabulary,
    ):
        """`classes` and `first` as for `last_times`; `bar` (E,) the steps of the bar that each event is in, and `again`
        (E, 2) as `form.again`."""
        self.viewpoint = Viewpoint(vocabulary)
        onset, who, rank = lines.onset, lines.part, self.viewpoint.rank[classes["note"]]
        self.columns, self.bar, self.lines = {**classes, "onset": onset, "who": who}, bar, lines
        self.back = np.zeros((len(onset), K), np.int16)  # events back to the one that is recalled, plus 1; 0 for none
        self.back[:, : len(REPEATS)] = last_times(classes, first)
        # The onsets rise through all pieces, and a start token comes before all that begins with it. So the order rises
        # too, and one search serves all pieces.
        who = np.where(who == vocabulary.parts, -1, who)
        order = self.viewpoint.order(onset, who, rank)
        for k, bars in enumerate(BARS, len(REPEATS)):
            ago = onset - bars * bar
            back = np.arange(1, len(onset) + 1) - np.searchsorted(order, self.viewpoint.order(ago, who, rank), "right")
            self.back[:, k] = np.where((ago < onset[lines.begins]) | (back > REMEMBERED), 0, back)

        def search(steps: np.ndarray, at_once: bool) -> np.ndarray:
            behind = self.viewpoint.order(steps, *((0 * who, 0 * rank) if at_once else (who, rank)))
            at = np.searchsorted(order, behind, "left" if at_once else "right")
            return np.maximum(at, lines.begins + 1)  # what begins with a piece comes after its start token

        place = Place(onset, onset - classes["phase"] + bar, again * bar[:, None])
        at, self.ago = place.by_form(search, lambda at: onset[np.minimum(at, len(onset) - 1)])
        back = np.arange(1, len(onset) + 1) - at
        self.back[:, -1] = np.where((at == NOTHING) | (back > REMEMBERED), 0, back)
        self.back = self.back[:, : self.viewpoint.contexts]
        self.streak = np.zeros(self.back.shape, np.uint8)
        index, right = np.arange(len(onset)), np.zeros(self.back.shape, bool)
        for now in np.split(index[:-1], range(CHUNK, len(index) - 1, CHUNK)):
            right[now + 1] = come_true(
                self.recalled(now, True), {n: classes[n][now + 1] for n in COMPARED if n in classes}
            )
        for k in range(self.viewpoint.contexts):
            wrong = np.maximum.accumulate(np.where(right[:, k], 0, index))
            self.streak[:, k] = np.minimum(index - wrong, LONGEST_STREAK)

    def recalled(self, index: np.ndarray, form: np.ndarray | bool = False) -> dict[str, np.ndarray]:
        """What is recalled after the events `index` (B, ...): name -> classes (B, ..., K), and what is TOLD of them;
        with what the form says where that is told, `form` (B, ...)."""
        back, now, bar = self.back[index], index[..., None], self.bar[index][..., None]
        back[..., STREAKS:] *= np.asarray(form)[..., None]
        at = np.where(back > 0, now - back + 1, NOTHING)

        def origins(who: np.ndarray) -> np.ndarray:
            return self.lines.origins(self.lines.last(who, now), now)

        ago = np.concatenate([BARS * bar, self.ago[index][..., None]], axis=-1)
        classes = self.viewpoint.classes(lambda name, at: self.columns[name][at], origins, at, now, ago)
        return {**classes, "streak": self.streak[index].astype(np.int32), "back": back.astype(np.int32)}


@dataclass
class Past:
    """The events of B pieces so far, searched again after each: it recalls the same as a MatchModel of whole pieces."""

    viewpoint: Viewpoint
    columns: dict[str, np.ndarray]  # streams, 'interval', 'onset' and 'who' -> (B, length)
    # (B, 2, length) how many events up to the last equal those 0, 1, 2, ... events before them, by COMPARED and RHYTHM;
    # no more are counted than the longest context has
    runs: np.ndarray
    onset: np.ndarray  # (B,) steps since the beginning
    recalled: dict[str, np.ndarray]  # (B, K) after the last event: classes, and what is TOLD of them
    length: int = 0  # of the longest piece; those with fewer events begin later

    @classmethod
    def empty(cls, count: int, vocabulary: Vocabulary) -> "Past":
        viewpoint = Viewpoint(vocabulary)
        columns = {name: np.zeros((count, 0), np.int32) for name in (*viewpoint.names, "note", "onset", "who")}
        shape = count, viewpoint.contexts
        recalled = dict.fromkeys(viewpoint.names, np.full(shape, NOTHING)) | dict.fromkeys(TOLD, np.zeros(shape, int))
        return cls(viewpoint, columns, np.zeros((count, 2, 0), np.int8), np.zeros(count, np.int32), recalled)

    def add(self, event: dict[str, np.ndarray], bar: np.ndarray, again: np.ndarray, voices: Voices) -> "Past":
        """The past with an event, name -> (B,), in a bar of so many steps (B,), after it; `again` (B, 2) as by
        `form.again`; `voices` count it already."""
        onset, rank = self.onset + self.viewpoint.steps[event[END_STREAM]], self.viewpoint.rank[event["note"]]
        who = self.viewpoint.vocabulary.part_of(event)
        now, event = self.length, {**event, "onset": onset, "who": who}
        columns = {n: np.concatenate([c, event[n][:, None]], 1, dtype=np.int32) for n, c in self.columns.items()}
        # From the last event backwards, so that the first match is the last time; an event is no repeat of itself.
        same = [columns[name][:, ::-1] == event[name][:, None] for name in COMPARED if name in columns]
        runs = np.stack([np.all(same, axis=0), same[0]], axis=1).astype(np.int8)
        runs[..., :now] *= np.minimum(self.runs + 1, LENGTH.max())
        runs[..., 0] = 0
        back = (runs[:, KIND, : REMEMBERED + 1] >= LENGTH[:, None]).argmax(axis=-1)
        repeats = np.where(back > 0, now - back + 1, NOTHING)
        order = self.viewpoint.order(columns["onset"], columns["who"], self.viewpoint.rank[columns["note"]])
        ago = onset[:, None] - BARS * bar[:, None]  # (B, bars)
        bars = (order[:, None] <= self.viewpoint.order(ago, who[:, None], rank[:, None])[:, :, None]).sum(axis=-1)
        bars = np.where((ago < 0) | (now - bars + 1 > REMEMBERED), NOTHING, bars)
        rows = np.arange(len(onset))

        def search(steps: np.ndarray, at_once: bool) -> np.ndarray:
            behind = self.viewpoint.order(steps, *((0 * who, 0 * rank) if at_once else (who, rank)))[:, None]
            return ((order < behind) if at_once else (order <= behind)).sum(axis=-1)

        place = Place(onset, onset - event["phase"] + bar, again * bar[:, None])
        by_form, ago = place.by_form(search, lambda at: columns["onset"][rows, np.minimum(at, now)])
        by_form = np.where(now - by_form + 1 > REMEMBERED, NOTHING, by_form)
        at = np.concatenate([repeats, bars, by_form[:, None]], axis=1)[:, : self.viewpoint.contexts]
        rows = rows[:, None]
        ago = np.concatenate([BARS * bar[:, None], ago[:, None]], axis=1)
        last = np.array([[now]])
        recalled = self.viewpoint.classes(lambda name, at: columns[name][rows, at], voices.origins, at, last, ago)
        streak = np.minimum(self.recalled["streak"] + 1, LONGEST_STREAK) * come_true(self.recalled, event)
        recalled |= {"streak": streak, "back": np.where(at >= 0, now - at + 1, 0)}
        return Past(self.viewpoint, columns, runs, onset, recalled, now + 1)

    def rounds(self) -> np.ndarray:
        """(B,) how often what was heard last has come again without a break: 1 when a figure, of any length up to
        LONGEST_STREAK, has been repeated once. What the form wants does not count."""
        return (self.recalled["streak"] / np.maximum(self.recalled["back"], 1))[:, :STREAKS].max(axis=1)

    def aligned(self, length: int) -> "Past":
        """The same with its last event at the place `length` - 1, so that several can be put side by side."""
        before = length - self.length
        margins = (0, 0), (before, 0)
        columns = {name: np.pad(column, margins, constant_values=NOTHING) for name, column in self.columns.items()}
        return replace(self, columns=columns, runs=np.pad(self.runs, ((0, 0), (0, 0), (0, before))), length=length)
