"""Sampling: temperature, top-p, and the loop that generates events one by one.

Shapes: B pieces side by side, V classes of a stream, E events.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from types import SimpleNamespace

import numpy as np
from tqdm import tqdm

from utils import ear, recall, settings, states
from utils.constraints import TINY, Constraint
from utils.errors import UserError
from utils.events import END_STREAM
from utils.heads import along
from utils.parts import ZERO
from utils.states import Classes, State
from utils.stepper import Output, Stepper

BELOW_1 = np.nextafter(1, 0)
AHEAD = 1024  # events for which random numbers are drawn at once
WEIGHED = 64  # events whose nats are computed at once: those of a single event take nearly as long
DRAWS = 8  # random numbers per event: more than there are streams, so that a new stream would not change the others'
RESAMPLE_EVERY = 16  # events
FEW = 0.5  # versions are resampled when their effective number is below this share of them (Liu and Chen 1995)


def nucleus(probability: np.ndarray, top_p: float) -> np.ndarray:
    """The probabilities (B, V), changed in place: only the fewest classes in each row that have at least the share
    `top_p` of it are kept (Holtzman et al. 2020); all others become 0."""
    order = np.argsort(-probability, axis=1, kind="stable")
    ranked = np.take_along_axis(probability, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    ranked[before >= top_p * ranked.sum(axis=1, keepdims=True)] = 0
    np.put_along_axis(probability, order, ranked, axis=1)
    return probability


def repeating_temperature(past: recall.Past) -> np.ndarray:
    """(B, 1) the lowest temperature at which to choose what repeats, and whether to repeat. It is below 1 because music
    made at 1 repeats itself less than real music does; lower with parts, since one more choice per event may break a
    repetition; and a tenth higher with each doubling of the rounds, from half a round on, because a loop would
    otherwise go on for ever (EXPERIMENTS.md, 'Loops')."""
    usual = 0.92 if past.viewpoint.vocabulary.players else 0.95
    return usual + 0.1 * np.log2(np.maximum(2 * past.rounds(), 1))[:, None]


def choose(
    logits: np.ndarray,
    temperature: float,
    top_p: float,
    uniform: np.ndarray,
    gained: np.ndarray | float = 0.0,
    repeating: np.ndarray | float | None = None,
) -> np.ndarray:
    """Sample a class for each row of `logits` (B, V), using a number in 0..1 for each row, `uniform` (B,).

    Temperature divides the logits (0: the likeliest class), `top_p` keeps a `nucleus`. Both apply to new material.
    Classes that have `gained` (B, V) by repeating something heard before, and the choice between old and new, have the
    temperature `repeating` (B, 1), unless that is None: how often music repeats itself is what the network has learnt
    best, and a little more repetition at each event adds up to an endless loop.
    """
    if temperature == 0 or logits.shape[1] == 1:
        return logits.argmax(axis=1)
    below_top = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    # Not normalised: the sum of a row is not 1.
    probability = np.exp(below_top if temperature == 1 else below_top / temperature)
    if top_p < 1 or repeating is not None:
        is_new = np.equal(gained, ZERO)
        only_new = is_new.astype(np.float64)
        new = probability * only_new
        new = nucleus(new, top_p) if top_p < 1 else new
        probability = np.exp(below_top / (temperature if repeating is None else repeating))
        share = np.add.reduce(probability * only_new, axis=1, keepdims=True)
        new *= share / np.maximum(np.add.reduce(new, axis=1, keepdims=True), TINY)
        np.copyto(probability, new, where=is_new)
    cumulative = probability.cumsum(axis=1)
    # Classes without probability are never chosen, not even by a number of exactly 0 or 1.
    return (cumulative > np.minimum(uniform, BELOW_1)[:, None] * cumulative[:, -1:]).argmax(axis=1)


def surprise(logits: list[np.ndarray], classes: list[np.ndarray]) -> np.ndarray:
    """(B, streams) nats of the `classes`, (B,) in each stream, given the `logits`, (B, V) in each. All streams are
    computed side by side, since each of the small steps takes about as long for one stream as for all."""
    sizes = [each.shape[1] for each in logits]
    begins, joined = list(accumulate(sizes[:-1], initial=0)), np.concatenate(logits, axis=1)
    top = np.maximum.reduceat(joined, begins, axis=1)
    total = np.add.reduceat(np.exp(joined - np.repeat(top, sizes, axis=1)), begins, axis=1)
    chosen = np.array(classes).T + begins
    return np.log(total) + top - along(np, joined, chosen)


def shares(worth: np.ndarray) -> np.ndarray:
    """(B,) the normalised weights of B versions, given their log-weights `worth` (B,)."""
    weights = np.exp(worth - worth.max())
    return weights / weights.sum()


def resampled(worth: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Indices (B,) of the versions to keep, given their log-weights `worth` (B,): good ones are copied in place of bad
    ones, each as often as its weight demands, rounded up or down (systematic resampling, Kitagawa 1996). None while the
    effective number of versions is at least the share FEW of them."""
    share, count = shares(worth), len(worth)
    if 1 / (share @ share) >= FEW * count:
        return None
    places = (np.arange(count) + rng.random()) / count
    return np.searchsorted(np.cumsum(share), places).clip(max=count - 1)


@dataclass
class Sampling:
    """How to choose. Raises UserError for a number that is out of range."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None  # None: a new one is drawn and stored here
    constraints: tuple[Constraint, ...] = ()  # applied in this order; where they cannot all hold, the first ones win

    def __post_init__(self):
        if not 0 <= self.temperature < np.inf:
            raise UserError(f"--temperature is {self.temperature}; it must be 0 (the likeliest note) or above.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top-p is {self.top_p}; it is a share of the probability, above 0 and at most 1.")
        if self.seed is None:
            self.seed = int(np.random.default_rng().integers(2**31))  # at most ten digits to type again
        settings.at_least("seed", self.seed, 0)

    @classmethod
    def of(cls, args: SimpleNamespace, usual: float) -> "Sampling":
        """From the settings temperature, top_p and seed; a temperature of None becomes the `usual` one."""
        return cls(usual if args.temperature is None else args.temperature, args.top_p, args.seed)

    @property
    def is_safer(self) -> bool:
        """Whether likely classes are made even likelier."""
        return 0 < self.temperature < 1 or self.top_p < 1

    def constrained(self, *more: Constraint) -> "Sampling":
        """A copy with more constraints after its own."""
        return replace(self, constraints=(*self.constraints, *more))


def resampled_each(worth: np.ndarray, rngs: list[np.random.Generator], whole: np.ndarray) -> np.ndarray:
    """Indices (B,) of the versions to keep. Each piece marked `whole` is resampled among its own versions by their
    log-weights `worth` (B,), which are reset to 0 where that happens; each piece has its own generator."""
    kept = np.arange(len(worth)).reshape(len(rngs), -1)
    for i in np.flatnonzero(whole):
        versions, log_weights = kept[i], worth.reshape(kept.shape)[i]
        if (chosen := resampled(log_weights, rngs[i])) is not None:
            versions[:], log_weights[:] = versions[chosen], 0
    return kept.ravel()


# ---- the loop ----


def next_event(
    network: Stepper, state: State, sampling: Sampling, uniform: np.ndarray
) -> tuple[State, Classes, list[np.ndarray], Output]:
    """Read the last event and choose the next one, using the numbers `uniform` (B, DRAWS) in 0..1.

    Returns the state before the new event; all that is `known` of that event; the logits (B, V) of each stream before
    any constraint; and the output of the network, to which all choices have been added.
    """
    output, state = network.step(state)
    temperature, repeating = sampling.temperature, None
    if sampling.is_safer:
        repeating = np.maximum(repeating_temperature(state.past), temperature)
    chosen, weighed = {}, []
    for k, stream in enumerate(network.streams):
        logits, gained = network.logits(stream, output, state, chosen)
        allowed = logits
        for constrain in sampling.constraints:
            allowed = constrain(stream, allowed, state, chosen)
        classes = choose(allowed, temperature, sampling.top_p, uniform[:, k], gained, repeating)
        weighed.append(logits)
        chosen |= network.known(stream, classes, state, chosen)
        network.tell(stream, output, state, chosen)
    return state, chosen, weighed, output


def nats_of(network: Stepper, events: list[tuple[list[np.ndarray], Classes]]) -> np.ndarray:
    """(E, B) the nats of successive `events`, each given as the logits of its streams and what was chosen."""
    logits = [np.concatenate(each) for each in zip(*(logits for logits, _ in events), strict=True)]
    classes = {stream: np.concatenate([chosen[stream] for _, chosen in events]) for stream in network.streams}
    nats = surprise(logits, list(classes.values()))
    # The end of a piece is a class of the first stream, after which the other streams do not count.
    nats[:, 1:] *= (classes[END_STREAM] != network.vocabulary.end)[:, None]
    return nats.sum(axis=1).reshape(len(events), -1)


def generate(
    network: Stepper,
    state: State,
    events: int,
    sampling: Sampling,
    is_over: Callable[[State, Classes], np.ndarray] | None = None,
    versions: int = 1,
) -> tuple[list[Classes], np.ndarray, np.ndarray]:
    """`events` new events after `state` for each of its B pieces, or fewer where a piece ends by itself or `is_over`.
    That takes the state before an event and the event, and returns (B,) which pieces are over before that event.

    Each piece has its own random numbers, so the first piece of a seed is the same however many are made. The
    `versions` of a piece stand next to each other in `state`; they are resampled in favour of those that sound like
    music to the network's ear (see `ear.py`), until one of them is over. Returns, for each piece, stream -> (E,)
    classes; (B,) the mean nats of its events, the end included; and (B,) how well it ends compared with its other
    versions: its log-weight since they were last resampled, plus, if `State.end` says where it ends, the
    log-probability of its last event. Raises UserError if the network's outputs are not finite.
    """
    count = len(state.onset)
    rngs = [np.random.default_rng([sampling.seed, i]) for i in range(count)]
    length, worth, made, cost, weighed = np.full(count, events), np.zeros(count), [], [], []
    listens = versions > 1 and network.ear is not None
    # If bars are wanted, the number of events is not known in advance.
    total = None if state.end.any() or is_over else events
    for n in tqdm(iter(range(events)), "composing", total, unit="event", delay=2, leave=False):
        if n % AHEAD == 0:
            uniform = np.stack([rng.random((AHEAD, DRAWS)) for rng in rngs], axis=1)
        state, chosen, logits, output = next_event(network, state, sampling, uniform[n % AHEAD])
        weighed.append((logits, chosen))
        if len(weighed) * count >= WEIGHED:
            cost, weighed = cost + [*nats_of(network, weighed)], []
        made.append(np.array([chosen[stream] for stream in network.streams]).T)
        over = chosen[END_STREAM] == network.vocabulary.end
        if is_over:
            over |= is_over(state, chosen)
        if np.count_nonzero(over):
            length = np.where(over & (length == events), n, length)
            if (length <= n).all():
                break
        state = network.append(state, chosen)
        if listens:
            whole = (length == events).reshape(-1, versions).all(axis=1)  # pieces of which no version is over
            worth += np.repeat(whole, versions) * ear.worth(network, output, state)
            if n % RESAMPLE_EVERY == RESAMPLE_EVERY - 1:
                kept = resampled_each(worth, rngs[::versions], whole)
                state, worth, made, cost, weighed = states.take((state, worth, made, cost, weighed), kept)
    cost = np.array(cost + [*nats_of(network, weighed)] if weighed else cost)  # (E, B)
    # A piece that is cut off has no ending to judge.
    ends_well = worth - np.where(state.end > 0, cost[np.minimum(length, len(cost) - 1), np.arange(count)], 0)
    # The end of a piece counts, but nothing after it.
    cost = np.add.reduce(cost * (np.arange(len(cost))[:, None] <= length))
    if not np.isfinite(cost).all():  # finite weights may still overflow when they are combined
        raise UserError("These weights give no usable probabilities: train again, or choose others with --weights.")
    made = np.array(made, np.int64)  # (E, B, S)
    pieces = [dict(zip(network.streams, made[: length[i], i].T, strict=True)) for i in range(count)]
    return pieces, cost / np.minimum(length + 1, events), ends_well
