"""Writing around notes that are given: many versions side by side, weighed by how likely the network finds what is
given after what each has written.

That is sequential Monte Carlo (Doucet, de Freitas and Gordon 2001; the versions are its particles). The next event is
the next given one, or one that may be written before it, and the network chooses among these. What it would have given
to all others is lost: a version is worth the share that was left, multiplied over its events. Of a given note that is
its probability. At each given event the versions wait for each other; where few carry most of the worth, the good ones
are copied and the bad ones dropped.

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

AHEAD = 32  # given events after all that is written, by which the versions are still weighed


@dataclass(frozen=True)
class Given:
    """What stands whatever is written, and where something may be written. The last event is the end of the piece."""

    classes: Classes  # stream -> (E,)
    onset: np.ndarray  # (E,) steps since the beginning
    phase: np.ndarray  # (E,) steps since the bar began
    bar: np.ndarray  # (E,) steps in the bar
    free: np.ndarray  # (P,) which parts are written; without parts (1,)
    regions: np.ndarray  # (R, 2) from where to where, in steps, in the order of time

    def edges(self, onset: np.ndarray) -> np.ndarray:
        """How many beginnings and ends of regions come before or at each onset (...): an odd number within a region."""
        return np.searchsorted(self.regions.ravel(), onset, "right")

    def may_be_written(self, onset: np.ndarray) -> np.ndarray:
        """Whether something may begin at the onsets (...)."""
        return self.edges(onset) % 2 == 1

    def end_of_region(self, onset: np.ndarray) -> np.ndarray:
        """Where the region of each onset (...) ends, in steps; far away outside of all."""
        return np.where(self.may_be_written(onset), np.append(self.regions, 0)[self.edges(onset)], 2**30)

    @property
    def fixed(self) -> int:
        """How many events come before all that is written."""
        return int(np.searchsorted(self.onset[:-1], self.regions[0, 0]))

    @property
    def heard(self) -> int:
        """After how many events the versions are compared for the last time."""
        return min(int(np.searchsorted(self.onset, self.regions[-1, 1])) + AHEAD, len(self.onset))


class Guide:
    """The constraint that the next event is the given one `now`, or one that may be written before it as far as the
    `rules` let it; what is given may always come. `worth` (B,) gains the logarithm of the share that was left."""

    def __init__(self, given: Given, players: Players, rules: Sequence[Constraint]):
        """`players` are the parts that are written."""
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
        # The end of a piece is a class of one stream; the others say nothing of it.
        self.worth = self.worth + share * (stream == END_STREAM or chosen[END_STREAM] != self.network.vocabulary.end)
        return left

    def offsets(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """(B, V) which offset leads to the given event, and which may be chosen."""
        network, onset = self.network, self.given.onset[self.now]
        onsets, far = network.next_onsets(state), onset - state.onset
        written = ~network.is_end & (onsets < onset) & self.given.may_be_written(onsets)
        if "part" in network.streams:
            written &= ~self.players.too_early(state, {})
        self.leading = nearest(network.vocabulary.values[END_STREAM], far)
        # What is farther away than any offset cannot come next while something may be written before it.
        self.leading[(far > network.gaps.max()) & written.any(axis=1)] = NOTHING
        if self.now == len(self.given.onset) - 1:
            self.leading[:] = network.vocabulary.end
        is_given = self.leading[:, None] == np.arange(len(network.is_end))
        return is_given, is_given | written

    def others(self, stream: str, state: State, chosen: Classes) -> tuple[np.ndarray, np.ndarray]:
        """(B, V) which class of another stream is the given event's, where this may be the next; and which may be
        chosen."""
        classes, own = np.arange(self.network.vocabulary.size(stream)), self.given.classes[stream][self.now]
        if stream != "part":
            takes = self.takes(chosen)[:, None]
            return takes & (classes == own), ~takes | (classes == own)
        leads = (chosen[END_STREAM] == self.leading)[:, None]
        steps = self.network.steps(chosen[END_STREAM])
        free = self.players.free(state, steps[:, None]) & self.given.may_be_written(state.onset + steps)[:, None]
        # Notes struck together stand in the order of their parts.
        allowed = np.where(leads, free & (classes < own) | (classes == own), free)
        # All may still sound after the longest offset.
        return leads & (classes == own), allowed | self.given.free & ~allowed.any(axis=1, keepdims=True)

    def takes(self, chosen: Classes) -> np.ndarray:
        """(B,) whether the next event is the given one."""
        leads = chosen[END_STREAM] == self.leading
        return leads & (chosen["part"] == self.given.classes["part"][self.now]) if "part" in chosen else leads


@dataclass
class Versions:
    """B versions of a piece, as far as they are."""

    state: State
    worth: np.ndarray  # (B,) logarithms
    nats: np.ndarray  # (B,) what the events cost that were heard since the first that was written
    written: np.ndarray  # (B,) what each has written: (earlier, onset, stream -> class), one within the other

    def __len__(self) -> int:
        return len(self.written)

    def dealt(self, rng: np.random.Generator) -> "Versions":
        """As many as before, see `sampler.resampled`."""
        which = sampler.resampled(self.worth, rng)
        return self if which is None else replace(states.take(self, which), worth=np.zeros(len(self)))


def joined(groups: list[Versions]) -> Versions:
    others = (np.concatenate([getattr(group, name) for group in groups]) for name in ("worth", "nats", "written"))
    return Versions(states.stack([group.state for group in groups]), *others)


def until_given(
    network: Stepper, versions: Versions, guide: Guide, how: Sampling, rng: np.random.Generator
) -> Versions:
    """The versions with what they write before the given event `guide.now`, and with that event."""
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
    # Where it really is: the network may have heard a shorter rest, and the metre may have changed.
    versions.state.onset[:], versions.state.bar[:] = given.onset[guide.now], given.bar[guide.now]
    versions.state.last["phase"][:] = given.phase[guide.now]
    return versions


def write(
    network: Stepper, state: State, guide: Guide, how: Sampling, count: int, rng: np.random.Generator
) -> tuple[Classes, np.ndarray, float]:
    """What is written around the given events after `state`, that of one piece before anything is written: one of
    `count` versions, drawn by what they are worth.

    Returns the classes of its events, stream -> (N,), their onsets (N,) in steps, and the nats of an event, given ones
    counted, from the first that may be written on.
    """
    how, zeros, given = how.constrained(guide), np.zeros(count), guide.given
    versions = Versions(states.stack([state] * count), zeros, zeros, np.full(count, None))
    for guide.now in tqdm(range(given.fixed, given.heard), "writing", unit="note", delay=2, leave=False):
        versions = until_given(network, versions, guide, how, rng).dealt(rng)
    best = int(rng.choice(count, p=sampler.shares(versions.worth)))
    events, each = [], versions.written[best]
    while each:
        each, *event = each
        events.insert(0, event)
    onset = np.array([at for at, _ in events], int)
    classes = {stream: np.array([event[stream] for _, event in events], int) for stream in network.streams}
    return classes, onset, float(versions.nats[best] / (len(events) + given.heard - given.fixed))
