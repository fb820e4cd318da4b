"""Music around what is given: parts are kept while others are written, or bars are written anew.

Shapes: N notes, E events, P parts of a network, R regions in which something is written.
"""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from utils import casting, constraints, control, ensemble, events, fragment, particles, settings, states, styles, theory
from utils.compose import Made, continuations
from utils.constraints import Players
from utils.control import Home
from utils.ensemble import Ensemble
from utils.errors import UserError
from utils.events import END_STREAM, bar_steps, usual_positions
from utils.instruments import listed
from utils.particles import Given, Guide
from utils.parts import values_of
from utils.piece import Piece
from utils.sampler import Sampling
from utils.states import State
from utils.stepper import Stepper
from utils.theory import to_steps
from utils.vocabulary import Vocabulary, nearest
from utils.voicing import divided
from utils.wanted import Wanted

TEMPERATURE = 0.8  # default for what is written around given notes (EXPERIMENTS.md, 'Given parts')
FAR = 2**16  # quarter notes: no rest of a piece is longer, so none is clipped
SPARSE = 0.5  # share of the notes that were in the bars to fill; if fewer are written, that is said
# Said of parts of which the network has learnt nothing.
STAY, ALL_STAY = "stay only where they are kept", "stay as they are"


@dataclass(frozen=True)
class Asked:
    """What of a piece is given, and what is to be written."""

    name: str  # what messages call the piece at their beginning
    keep: str | tuple[str, ...] = ()  # names of the parts to keep, in a text with commas between them
    others: str = ""  # names or instruments of the parts to write ('': those of the piece, or who usually plays along)
    fill: str = ""  # numbers of the bars to write anew, such as 5-8,12 ('': all)
    whole_bars: int = 0  # bars at the beginning that are kept whole, unless `fill` says which bars are new
    versions: int = 64  # versions written side by side, see `particles`
    programs: tuple[int, ...] = ()  # sounds of the parts that are written, whatever they are
    style: styles.Shares = ()  # (): the network is told none
    home: Home | None = None  # the tonality of what is written; None: no tonality is imposed

    def __post_init__(self):
        settings.at_least("particles", self.versions, 1)
        if self.others and not self.keep:
            raise UserError("--parts says who plays with the parts that are kept: name those with --keep.")
        if self.fill and self.whole_bars:
            raise UserError("Bars to write anew are counted in the whole piece: leave out --prior-bars.")


def kept_parts(prior: Piece, asked: Asked) -> np.ndarray:
    """(parts,) which parts of the piece are kept: a name means all parts that have it, a numbered name just one, and
    drums may be called by any name in `ensemble.KIT`. Raises UserError for a name that no part has."""
    numbered = ensemble.names_of(prior)
    called = [{part.called().casefold(), name.casefold()} for part, name in zip(prior.parts, numbered, strict=True)]
    for part, aliases in zip(prior.parts, called, strict=True):
        aliases |= {*ensemble.KIT} if part.drums else set()
    known, names = set().union(*called), asked.keep
    if isinstance(names, str):
        names = listed(names, lambda name: name.casefold() in known)
    for each in names:
        if each.casefold() not in known:
            there = ", ".join(numbered)
            raise UserError(f"{asked.name} has no part {each!r} to keep; its parts are {there}.")
    return np.array([bool(aliases & {each.casefold() for each in names}) for aliases in called])


def bar_numbers(text: str) -> list[tuple[int, int]]:
    """'5-8,12' -> [(5, 8), (12, 12)]. Raises UserError for anything else."""
    numbers = []
    for word in text.replace("\u2013", "-").split(","):  # 5–8 has a dash
        first, dash, last = word.partition("-")
        try:
            numbers.append((int(first), int(last) if dash else int(first)))
        except ValueError:
            raise UserError(f"{text!r} names no bars: write 5-8, or 5 for one bar, or 3,7-8 for several.") from None
    return sorted(numbers)


def regions_of(prior: Piece, asked: Asked, grid: int) -> tuple[np.ndarray, int]:
    """(R, 2) start and end of each region to write in, and the end of the piece's last bar, which is that of its last
    onset; in steps. Raises UserError for bars that the piece does not have."""
    lines, ticks = prior.bars(int(prior.onset[-1]) + 1), prior.ticks_per_quarter
    first = theory.bars(lines, prior.onset, ticks)[0].number  # 0 for a pickup
    edges, last = to_steps(np.array(theory.edges(lines, ticks)), ticks, grid), first + len(lines) - 1
    after = max(first, 1) + asked.whole_bars if asked.whole_bars else first  # a pickup counts with the bar after it
    bars = bar_numbers(asked.fill) if asked.fill else [(after, last)]
    for start, end in bars:
        if not first <= start <= end <= last:
            wrong = f"name some of these, not {start}" + f"-{end}" * (start != end)
            wrong = wrong if asked.fill else f"--prior-bars must be from 0 to {last - 1}, not {asked.whole_bars}"
            raise UserError(f"{asked.name} has the bars {first} to {last}: {wrong}.")
    whole = []  # bars that overlap are one region
    for start, end in bars:
        if whole and start <= whole[-1][1]:
            begin, until = whole.pop()
            start, end = begin, max(end, until)
        whole.append((start, end))
    return np.array([(edges[start - first], edges[end - first + 1]) for start, end in whole]), int(edges[-1])


@dataclass(frozen=True)
class Cast:
    """Who plays in a piece that is being completed."""

    heard: Piece  # what the network hears of the piece
    stays: np.ndarray  # (parts,) which of its parts are kept, those that are too many for the network included
    playing: Ensemble
    kept: set[int]  # values of the part stream that are kept


def cast(vocabulary: Vocabulary, prior: Piece, kept: np.ndarray, asked: Asked) -> tuple[Cast, list[str]]:
    """Who plays in the piece, some of whose parts (parts,) are `kept` while others are written; and sentences on what
    the network hears differently. Raises UserError if no part can be kept or written."""
    if kept.any() and not vocabulary.players:
        raise UserError("These weights have learnt no parts, so none can be kept: choose others with --weights.")
    known, remarks = ensemble.audible(vocabulary, prior, STAY if kept.any() else ALL_STAY)
    if kept.any() and not kept[known.part].any():
        if asked.others or not asked.fill:
            keep = asked.keep if isinstance(asked.keep, str) else ", ".join(asked.keep)
            raise UserError(f"This network cannot hear {keep}: keep another part too, or choose other --weights.")
        kept = np.zeros_like(kept)  # it still hears the bars around the new ones, in all parts that it can hear
    if not kept.all() and not asked.others:
        heard, playing, more = ensemble.hear(vocabulary, known)
        mine = {value for value, part in playing.items() if kept[prior.parts.index(part)]}
        if kept.any() and not 0 < len(mine) < len(playing):
            raise UserError("This network knows too few parts to keep some and write others: choose other --weights.")
        return Cast(known, kept, playing, mine), remarks + more + fragment.unknown_values(vocabulary, heard, asked.name)
    alone, remarks = ensemble.audible(vocabulary, prior.take(kept[prior.part]), STAY)
    heard, players = events.from_piece(alone, vocabulary.representation), {}
    if asked.others:
        by_name = casting.by_name(vocabulary, heard)
        taken = frozenset(by_name[value] for value in np.unique(heard.streams["part"]).tolist())
        players, more = ensemble.asked(vocabulary, asked.others, flag="--parts", taken=taken, own=prior.parts)
        remarks += more
    values, rest = casting.in_company(vocabulary, heard, frozenset(players), more=1)
    if not values:
        raise UserError("This network knows no part to add to those you keep: keep fewer, or choose other --weights.")
    written = players or ensemble.of_classes(vocabulary, list(rest))
    keeping = {known: heard.parts[value] for value, known in values.items()}
    others = {part.called(): vocabulary.players[known].name for known, part in keeping.items()}
    remarks += [f"{name} is heard as {other}." for name, other in others.items() if name != other]
    names = ", ".join(part.called() for part in written.values())
    remarks.append(f"Written to go with {'it' if len(keeping) == 1 else 'them'}: {names}.")
    mean = vocabulary.registers
    below = [value for value in written if mean[value] < mean[next(iter(keeping))]]
    if len(keeping) == 1 and below and len(below) < len(written) and not asked.others:
        on_top = ", ".join(vocabulary.players[value].name for value in (*keeping, *below))
        remarks.append(f'To keep it on top, name no higher part: --parts "{on_top}".')
    remarks += fragment.unknown_values(vocabulary, heard, asked.name)
    playing = ensemble.with_imagined(keeping | written, sorted(rest - set(written)))
    return Cast(alone, kept, playing, set(keeping)), remarks


def given_events(vocabulary: Vocabulary, who: Cast, regions: np.ndarray, end: int) -> Given:
    """What is given of a piece that ends after `end` steps, and what is written in its `regions` (R, 2), in steps."""
    value_of = {part: value for value, part in who.playing.items()}
    own = zip(who.heard.parts, values_of(who.heard).tolist(), strict=True)
    values = np.array([value_of.get(part, value) for part, value in own])
    heard = events.from_piece(who.heard, replace(vocabulary.representation, max_beats=FAR), values)
    classes, _ = vocabulary.encode(heard)
    free, written = np.ones(1, bool), np.ones(len(heard), bool)
    if vocabulary.players:
        free = ensemble.mask(vocabulary, set(who.playing) - who.kept)
        written = ~np.isin(heard.streams["part"], values[who.stays])
    onset, part = np.cumsum(heard.streams[END_STREAM], dtype=np.int64), vocabulary.part_of(classes)
    bar = np.array([bar_steps(metre, vocabulary.grid) for metre in heard.metres.tolist()])
    given = Given(classes, onset, heard.phase, bar, free, regions)
    order = np.lexsort((classes["note"], part, onset))
    order = order[~(given.may_be_written(onset) & written)[order]]
    classes = {stream: np.append(each[order], 0) for stream, each in classes.items()}
    classes[END_STREAM][-1] = vocabulary.end
    columns = [np.append(each[order], last) for each, last in ((onset, end), (heard.phase, 0), (bar, bar[-1]))]
    return Given(classes, *columns, free, regions)


def begin(network: Stepper, given: Given, who: Cast, style: styles.Shares) -> State:
    """The state after everything before the first region; the network is told who plays, the style, and the end."""
    first, vocabulary = given.fixed, network.vocabulary
    state = network.start(1, (4, 4), styles.condition(vocabulary, ensemble.mask(vocabulary, who.playing), style))
    state.bar[:] = given.bar[first]
    before = {stream: classes[:first] for stream, classes in given.classes.items()}
    state = network.read(states.ending(state, given.onset[-1:]), before, given.phase[:first])
    state.onset[:] = given.onset[first - 1] if first else 0
    state.positions |= usual_positions(given.phase[:-1], vocabulary.grid)  # also where given notes begin later
    return state


def pedals_around(prior: Piece, kept: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The pedals of a piece, lifted within `regions` (R, 2), in ticks, in all parts that are not `kept` (parts,): they
    were pressed for other notes and would blur the new ones."""
    mine = kept[prior.pedals[:, 2]]
    pedals, others = prior.pedals[mine], prior.pedals[~mine]
    for begin, end in regions:
        before, after = others.copy(), others.copy()
        # One tick later, or the pedal would catch the notes that end there.
        before[:, 1], after[:, 0] = np.minimum(before[:, 1], begin), np.maximum(after[:, 0], end + 1)
        both = np.concatenate([before, after])
        others = both[both[:, 0] < both[:, 1]]
    return np.concatenate([pedals, others])


def completions(
    network: Stepper, prior: Piece, how: Sampling, asked: Asked, count: int
) -> tuple[list[Made], Piece, list[str]]:
    """`count` pieces in which everything given of `prior` stays as it is; what is given; and sentences on what the
    network hears differently. Raises UserError if the piece lacks what is asked for, or the network cannot do it."""
    vocabulary, grid = network.vocabulary, network.vocabulary.grid
    prior = fragment.ready(vocabulary, prior)
    kept, (regions, end) = kept_parts(prior, asked), regions_of(prior, asked, grid)
    who, remarks = cast(vocabulary, prior, kept, asked)
    if not kept.any():  # then parts that cannot be written anew stay
        kept = np.bincount(who.heard.part, minlength=len(prior.parts)) == 0
    given = given_events(vocabulary, who, regions, end)
    if len(given.onset) == 1:
        raise UserError(f"Without bars {asked.fill} nothing of {asked.name} is left: name fewer, or parts with --keep.")
    onset, over = (to_steps(at, prior.ticks_per_quarter, grid) for at in (prior.onset, prior.onset + prior.duration))
    pedals = pedals_around(prior, kept, to_steps(regions, grid, prior.ticks_per_quarter))
    replaced = given.may_be_written(onset) & ~kept[prior.part]
    before = replace(prior.take(~replaced), pedals=pedals)
    sounds_on = ((onset[:, None] < regions[:, 0]) & (over[:, None] > regions[:, 0])).any(axis=1)
    players = Players(network, given.free[None])
    writers = {value: part for value, part in who.playing.items() if value not in who.kept}
    held = fragment.held_keys(vocabulary, prior.take(sounds_on), who.playing)
    rules = [
        *how.constraints,
        *(asked.home.constraints(network) if asked.home else []),
        *players.in_range(),
        constraints.all_play(ensemble.mask(vocabulary, ensemble.not_imagined(writers))[None], 0),
        constraints.over_by(network, lambda state, onset: given.end_of_region(onset)),
        constraints.no_note_still_held(network, held),
        *constraints.usual(network, 0),
    ]
    if asked.fill and given.onset[0] > onset[0]:  # a new beginning begins when the old one did
        rules.append(constraints.first_onset_before(network, onset[:1] + 1, 0))
    state, made = begin(network, given, who, asked.style), []
    if asked.home:
        state = asked.home.told(state)
    writers = ensemble.sounding_as(writers, asked.programs)
    velocity = round(float(before.velocity.mean()))
    for i in range(count):
        rng = np.random.default_rng([how.seed, i])
        classes, at, nats = particles.write(network, state, Guide(given, players, rules), how, asked.versions, rng)
        values = vocabulary.decode(classes)
        values[END_STREAM] = np.diff(at, prepend=0)
        values["duration"] = np.minimum(values["duration"], given.end_of_region(at) - at)
        new = ensemble.heard(events.to_piece(values, grid, prior.ticks_per_quarter, 0, velocity, writers))
        whole = before.joined(events.let_go(new)).played()
        key = asked.home.phrase(0, whole, new=False) if asked.home else ""
        classes[END_STREAM] = nearest(vocabulary.values[END_STREAM], values[END_STREAM])
        made.append(Made(whole, classes, nats, key=key, players=writers))
    most = max(len(one.piece) for one in made) - len(before)
    if asked.fill and most < SPARSE * np.count_nonzero(replaced):
        instead = f"at most {most} notes are new where {np.count_nonzero(replaced)} were"
        remarks.append(f"{asked.name}: {instead}. If that is too few, try another --seed or other --weights.")
    return made, before, remarks


def from_fragment(
    network: Stepper, prior: Piece, args: SimpleNamespace, how: Sampling, wanted: Wanted | Asked
) -> tuple[list[Made], Piece, list[str]]:
    """What follows a fragment, as from `continuations`, or is written around what is kept of it, as from `completions`,
    but the likeliest first. `args` needs these settings of predict_with_prior.py: count, style and those of the key."""
    prior, in_voices = divided(network.vocabulary, prior, wanted.name)
    style, remarks = styles.for_fragment(network, args.style, prior, wanted.name)
    wanted = replace(wanted, style=style, home=control.after_fragment(args, prior))
    write = completions if isinstance(wanted, Asked) else continuations
    made, before, more = write(network, prior, how, wanted, args.count)
    return sorted(made, key=lambda one: one.nats), before, in_voices + remarks + more
