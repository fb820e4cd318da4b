"""Writing around given notes: many versions side by side, weighted by how likely the network finds the given notes
after what each version has written.

This is sequential Monte Carlo (Doucet, de Freitas and Gordon 2001), with versions as particles. The next event is the
next given one, or one that may be written before it; the network chooses among these. The weight of a version is the
probability that was left for the allowed events, multiplied over all its events; for a given note, that is the note's
own probability. At each given event the versions wait for each other, and where few of them carry most of the weight,
they are resampled: good ones are copied, bad ones dropped.

Shapes: B versions side by side, E given events, R regions, V classes of a stream, P parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from utils import sampler, states
from utils.constraints import Constraint, Players, log_sum
from utils.events import END_STREAM
from utils.recall import NOTHING
from utils.sampler import Sampling
from utils.states import Classes, State
from utils.stepper import Stepper
from utils.vocabulary import nearest

AHEAD = 32  # given events after the last region that still count in the weights of the versions


@dataclass(frozen=True)
class Given:
    """The events that are given, and where something may be written. The last event is the end of the piece."""

    classes: Classes  # stream -> (E,)
    onset: np.ndarray  # (E,) steps since the beginning
    phase: np.ndarray  # (E,) steps since the bar began
    bar: np.ndarray  # (E,) steps in the bar
    free: np.ndarray  # (P,) which parts are written; without parts (1,)
    regions: np.ndarray  # (R, 2) start and end of each region to write in, in steps, in order of time

    def edges(self, onset: np.ndarray) -> np.ndarray:
        """The number of region edges at or before each onset (...); it is odd within a region."""
        return np.searchsorted(self.regions.ravel(), onset, "right")

    def may_be_written(self, onset: np.ndarray) -> np.ndarray:
        """Whether something may begin at the onsets (...)."""
        return self.edges(onset) % 2 == 1

    def end_of_region(self, onset: np.ndarray) -> np.ndarray:
        """Where the region of each onset (...) ends, in steps; far away for an onset outside all regions."""
        return np.where(self.may_be_written(onset), np.append(self.regions, 0)[self.edges(onset)], 2**30)

    @property
    def fixed(self) -> int:
        """The number of events before the first region."""
        return int(np.searchsorted(self.onset[:-1], self.regions[0, 0]))

    @property
    def heard(self) -> int:
        """The number of events after which the versions are weighed for the last time."""
        return min(int(np.searchsorted(self.onset, self.regions[-1, 1])) + AHEAD, len(self.onset))


class Guide:
    """The constraint that the next event is the given event `now`, or one that may be written before it under the
    `rules`, which never exclude the given one. Adds the log of the probability left to the log-weights `worth` (B,)."""

    def __init__(self, given: Given, players: Players, rules: Sequence[Constraint]):
        """`players` constrains the parts that are written."""
        self.network, self.given, self.players, self.rules = players.network, given, players, rules
        self.now, self.worth = 0, np.zeros(1)

    def __call__(self, stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        free = logits
        for rule in self.rules:
            free = rule(stream, free, state, chosen)
        is_given, allowed = self.offsets(state) if stream == END_STREAM else self.others(stream, state, chosen)
        every = np.where(is_given, logits, free)
        left = np.where(allowed, every, -np.inf)
        share = log_sum(left) - log_sum(every)
        # The end of a piece is a class of the offset stream; then the other streams do not count.
        self.worth = self.worth + share * (stream == END_STREAM or chosen[END_STREAM] != self.network.vocabulary.end)
        return left

    def offsets(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """(B, V) which offset leads to the given event, and which offsets may be chosen."""
        network, onset = self.network, self.given.onset[self.now]
        onsets, far = network.next_onsets(state), onset - state.onset
        written = ~network.is_end & (onsets < onset) & self.given.may_be_written(onsets)
        if "part" in network.streams:
            written &= ~self.players.too_early(state, {})
        self.leading = nearest(network.vocabulary.values[END_STREAM], far)
        # If the given event is farther away than any offset, it cannot be next while something may be written first.
        self.leading[(far > network.gaps.max()) & written.any(axis=1)] = NOTHING
        if self.now == len(self.given.onset) - 1:
            self.leading[:] = network.vocabulary.end
        is_given = self.leading[:, None] == np.arange(len(network.is_end))
        return is_given, is_given | written

    def others(self, stream: str, state: State, chosen: Classes) -> tuple[np.ndarray, np.ndarray]:
        """(B, V) which class of another stream is the given event's, if that may still be the next event; and which
        classes may be chosen."""
        classes, given = np.arange(self.network.vocabulary.size(stream)), self.given.classes[stream][self.now]
        if stream != "part":
            takes = self.takes(chosen)[:, None]
            return takes & (classes == given), ~takes | (classes == given)
        leads = (chosen[END_STREAM] == self.leading)[:, None]
        steps = self.network.steps(chosen[END_STREAM])
        free = self.players.free(state, steps[:, None]) & self.given.may_be_written(state.onset + steps)[:, None]
        # Notes struck together stand in the order of their parts.
        allowed = np.where(leads, free & (classes < given) | (classes == given), free)
        # If all parts still sound after the longest offset, any part that is written may come next.
        return leads & (classes == given), allowed | self.given.free & ~allowed.any(axis=1, keepdims=True)

    def takes(self, chosen: Classes) -> np.ndarray:
        """(B,) whether the next event is the given one."""
        leads = chosen[END_STREAM] == self.leading
        return leads & (chosen["part"] == self.given.classes["part"][self.now]) if "part" in chosen else leads


@dataclass
class Versions:
    """B versions of a piece, as far as they have been written."""

    state: State
    worth: np.ndarray  # (B,) log-weights
    nats: np.ndarray  # (B,) sum over all events, given ones included, from the first that may be written on
    written: np.ndarray  # (B,) what each has written, a linked list: (earlier events, onset, stream -> class), or None

    def __len__(self) -> int:
        return len(self.written)

    def resampled(self, rng: np.random.Generator) -> "Versions":
        """As many versions, resampled if necessary; see `sampler.resampled`."""
        kept = sampler.resampled(self.worth, rng)
        return self if kept is None else replace(states.take(self, kept), worth=np.zeros(len(self)))


def joined(groups: list[Versions]) -> Versions:
    others = (np.concatenate([getattr(group, name) for group in groups]) for name in ("worth", "nats", "written"))
    return Versions(states.stack([group.state for group in groups]), *others)


def until_given(
    network: Stepper, versions: Versions, guide: Guide, how: Sampling, rng: np.random.Generator
) -> Versions:
    """The versions after each has written what comes before the given event `guide.now`, and then that event."""
    arrived = []
    while len(versions):
        guide.worth = versions.worth
        uniform = rng.random((len(versions), sampler.DRAWS))
        state, chosen, logits, _ = sampler.next_event(network, versions.state, how, uniform)
        state, takes = network.append(state, chosen), guide.takes(chosen)
        written = versions.written.copy()
        for i in np.flatnonzero(~takes).tolist():
            event = {stream: int(chosen[stream][i]) for stream in network.streams}
            written[i] = (written[i], int(state.onset[i]), event)
        nats = versions.nats + sampler.nats_of(network, [(logits, chosen)])[0]
        versions = Versions(state, guide.worth, nats, written)
        arrived.append(states.take(versions, takes))
        versions = states.take(versions, ~takes)
    versions, given = joined([group for group in arrived if len(group)]), guide.given
    # Where the given event really is: the network may have heard a shorter rest, and the metre may have changed.
    versions.state.onset[:], versions.state.bar[:] = given.onset[guide.now], given.bar[guide.now]
    versions.state.last["phase"][:] = given.phase[guide.now]
    return versions


def write(
    network: Stepper, state: State, guide: Guide, how: Sampling, count: int, rng: np.random.Generator
) -> tuple[Classes, np.ndarray, float]:
    """Write around the given events after `state`, the state of one piece before anything is written. Of `count`
    versions, one is drawn by weight. The `guide` takes the place of the constraints in `how`.

    Returns the classes of the written events, stream -> (N,), their onsets (N,) in steps, and the mean nats of all
    events, given ones included, from the first that may be written on.
    """
    how, zeros, given = replace(how, constraints=(guide,)), np.zeros(count), guide.given
    versions = Versions(states.stack([state] * count), zeros, zeros, np.full(count, None))
    for guide.now in tqdm(range(given.fixed, given.heard), "writing", unit="note", delay=2, leave=False):
        versions = until_given(network, versions, guide, how, rng).resampled(rng)
    drawn = int(rng.choice(count, p=sampler.shares(versions.worth)))
    events, written = [], versions.written[drawn]
    while written:
        written, *event = written
        events.insert(0, event)
    onset = np.array([at for at, _ in events], int)
    classes = {stream: np.array([event[stream] for _, event in events], int) for stream in network.streams}
    return classes, onset, float(versions.nats[drawn] / (len(events) + given.heard - given.fixed))
