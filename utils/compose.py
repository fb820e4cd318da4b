"""From an opening or a fragment to new pieces: what generate_music.py, predict_with_prior.py and app.py share."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from utils import constraints, control, ensemble, events, fragment, parts, sampler, states, styles, theory
from utils.checkpoint import Checkpoint
from utils.constraints import SPARE, Players
from utils.events import END_STREAM
from utils.piece import Part, Piece
from utils.sampler import Sampling
from utils.states import Classes, State
from utils.stepper import Stepper
from utils.wanted import VERSIONS, Wanted, in_bars, in_versions

TEMPERATURE = 0.9  # of continuations: with a lower one music repeats itself, with a higher one it loses its way
NEVER = 1e6  # nats, more than any choice costs


@dataclass(frozen=True)
class Made:
    """A new piece."""

    piece: Piece
    classes: Classes  # stream -> (E,) classes of its new events
    nats: float  # mean nats of these events by the network alone, without any constraints
    after: str = ""  # name of the piece whose passage is its opening
    key: str = ""  # phrase that names the key it was written in
    players: dict[int, Part] | None = None  # see `events.to_piece`; includes imagined parts
    cut_off: int = 0  # number of events after which it was cut off, although it was to end by itself

    def told(self) -> str:
        """A phrase with its key, its tempo, its playing time, how likely the network finds it, and whether it was cut
        off."""
        key = f"{self.key}, " if self.key else ""
        tempo = round(60e6 / self.piece.usual_tempo())
        cut_off = f", cut off after {self.cut_off:,} events" if self.cut_off else ""
        return f"{key}tempo {tempo}, {self.piece.clock()} minutes, {self.nats:.2f} nats a note{cut_off}"


def openings(
    weights: Checkpoint, count: int, seed: int, opening: str = "random", wanted: Wanted | None = None
) -> list[dict]:
    """The openings that `count` new pieces follow. If `opening` is random, they are passages from the weights file (see
    `dataset.passages`), shuffled by `seed`: those in the wanted style with the largest share, if there are any, and of
    these the ones in which the wanted players find most to play. If it is none, they are silence, in the usual metre of
    the training music. Each is recast for its `players`, some of whom may be imagined, and has the `key` of its
    passage, or None; both are also given where silence replaces the passage."""
    kept, vocabulary, wanted = weights.about["openings"], weights.vocabulary, wanted or Wanted()
    style, players = wanted.style, wanted.players
    main = {name for name, share in zip(vocabulary.styles, style, strict=False) if share == max(style)}

    def unlike(one: dict) -> tuple[bool, bool, int, int]:
        nobody_plays = not wanted.drums and one.get("parts") == [parts.DRUMS]
        of_players = ensemble.unlike(vocabulary, one, players) if players else (0, 0)
        return nobody_plays, bool(main) and one["style"] not in main, *of_players

    rank = [unlike(one) for one in kept]
    order = [i for i in np.random.default_rng(seed).permutation(len(kept)) if rank[i] == min(rank)]
    empty = dict.fromkeys(vocabulary.streams, [])
    silence = {"metre": weights.about["metre"], "classes": empty, "phase": [], "style": ""}
    begun = []
    for i in range(count):
        one = kept[order[i % len(order)]]
        playing = players or ensemble.of_opening(vocabulary, one.get("parts", []), wanted.drums)
        others = ensemble.imagined(vocabulary, one, playing)
        added = {"key": control.of_opening(one, vocabulary), "players": ensemble.with_imagined(playing, others)}
        heard = silence if opening == "none" else ensemble.recast(vocabulary, one, playing, others)
        begun.append({**one, **heard, **added})
    return begun


def to_place(phase: int, values: dict[str, np.ndarray], bar: int) -> int:
    """Where to count the offsets of new events from, in steps since a bar line, so that the first keeps its place in
    the bar: it was written after an event that was `phase` steps into its bar of `bar` steps."""
    return (phase + values["offset"][0]) % bar - values["offset"][0]


def new_events(
    network: Stepper, state: State, how: Sampling, wanted: Wanted, begin: np.ndarray, unheard: np.ndarray
) -> tuple[list[Classes], list[Classes], list[float]]:
    """As many new events after `state` as are wanted, not counting notes of `unheard` parts (B, P). Returns for each
    piece stream -> (E,) classes, the same as values, and the mean nats of its events.

    Bars are counted from `begin` (B,) on, in steps. Unless the piece is to be cut off, the network is told how many
    there are, so that it ends with the last. Of the `wanted.versions` of a piece, which stand next to each other in
    `state` and should begin alike, the one that ends best is kept (see `sampler.generate`); if the piece is to end, one
    that ends at home is preferred.
    """
    home = wanted.home and wanted.home.of(len(state.onset))
    if home:
        how, state = replace(how, constraints=(*home.constraints(network), *how.constraints)), home.told(state)
    most, is_over = (wanted.notes or wanted.most_events), None
    if wanted.notes and unheard.any():
        state = replace(state, imagined=np.pad(unheard, ((0, 0), (0, 1))), heard=np.zeros(len(unheard), int))
        how, most = how.constrained(constraints.room_for_heard(state.length)), 2 * SPARE * most

        def is_over(state: State, chosen: Classes) -> np.ndarray:
            return state.heard == wanted.notes

    if wanted.by_bars:
        how = how.constrained(constraints.first_onset_before(network, begin + state.bar, state.length))
        bars = np.broadcast_to(wanted.bars, len(begin) // wanted.versions)
        end = begin + np.repeat(bars, wanted.versions) * state.bar
        most = int(end.max()) * 10  # events; more would hardly be music
        if wanted.ends:
            how = how.constrained(*constraints.ends_at_bar_line(network))
            state = states.ending(state, end)
        else:

            def is_over(state: State, chosen: Classes) -> np.ndarray:
                return state.onset + network.steps(chosen[END_STREAM]) >= end

    least = 0 if wanted.ends else most if wanted.notes or wanted.by_bars else wanted.least_events
    how = how.constrained(*constraints.usual(network, state.length + least))
    made, nats, ends_well = sampler.generate(network, state, most, how, is_over, wanted.versions)
    values = [network.vocabulary.decode(classes) for classes in made]
    if wanted.by_bars:  # the network may know no duration that is short enough
        for new, rest in zip(values, end - state.onset, strict=True):
            new["duration"] = np.minimum(new["duration"], rest - np.cumsum(new["offset"]))
    if wanted.ends and home:  # an end outside the home key is kept only if there is no other
        ends_well = np.where(home.closing(values), ends_well, ends_well - NEVER)
    best = ends_well.reshape(-1, wanted.versions).argmax(axis=1) + np.arange(0, len(made), wanted.versions)
    return tuple([each[i] for i in best] for each in (made, values, nats))


def from_nothing(
    weights: Checkpoint, network: Stepper, args: SimpleNamespace, how: Sampling, wanted: Wanted
) -> list[Made]:
    """New pieces, the likeliest first. `args` needs these settings of generate_music.py: count, opening, metre and
    those of the key."""
    key = control.asked(args)
    weights, opening = control.suited(weights, key, args.metre, args.opening)
    begun = openings(weights, args.count, how.seed, opening, wanted)
    home = control.after_openings(args, key, begun)
    made = new_pieces(network, begun, how, replace(wanted, home=home))
    return sorted(made, key=lambda one: one.nats)


def at_home(
    weights: Checkpoint, network: Stepper, count: int, how: Sampling, wanted: Wanted, opening: str = "random"
) -> list[Made]:
    """`count` new pieces, each at home in the key of its opening, as generate_music.py writes them if no key is set."""
    begun = openings(weights, count, how.seed, opening)
    return new_pieces(network, begun, how, replace(wanted, home=control.home(None, [one["key"] for one in begun])))


def new_pieces(network: Stepper, begun: list[dict], how: Sampling, wanted: Wanted) -> list[Made]:
    """A new piece for each of the openings `begun`."""
    vocabulary = network.vocabulary
    tempos = [wanted.tempo or opening.get("tempo", theory.TEMPO) for opening in begun]
    wanted = in_bars(wanted, tempos, [opening["metre"] for opening in begun], vocabulary.grid)
    wanted = in_versions(network, wanted)
    masks = [ensemble.mask(vocabulary, opening["players"]) for opening in begun]
    asked = [ensemble.mask(vocabulary, ensemble.not_imagined(opening["players"])) for opening in begun]
    shares = [wanted.style or styles.named(vocabulary, opening.get("style", "")) for opening in begun]
    conditions = [styles.condition(vocabulary, *both) for both in zip(masks, shares, strict=True)]
    starts = [network.start(1, o["metre"], condition) for o, condition in zip(begun, conditions, strict=True)]
    state = states.stack([network.read(one, o["classes"], o["phase"]) for one, o in zip(starts, begun, strict=True)])
    # The match model must not see the opening, or a piece would repeat it, and so the training music, note for note.
    state = states.forgetful(state)
    tried = states.take(state, np.repeat(np.arange(len(begun)), wanted.versions))
    begin = control.first_bar(network, tried)
    if vocabulary.told_form:
        forms = [one.get("form", ()) if wanted.form is None else wanted.form for one in begun]
        forms = [each for each in forms for _ in range(wanted.versions)]
        tried, how = control.with_forms(tried, forms, begin), how.constrained(control.comes_again(network))
    if wanted.by_bars:
        how = how.constrained(constraints.no_onset_before(network, begin))
    masks, asked = (np.repeat(each, wanted.versions, axis=0) for each in (masks, asked))
    how = how.constrained(constraints.all_play(asked, tried.length), *Players(network, masks).constraints())
    made, new, nats = new_events(network, tried, how, wanted, begin, masks & ~asked)
    pieces, home = [], wanted.home
    for i, (opening, values) in enumerate(zip(begun, new, strict=True)):
        start = to_place(state.last["phase"][i], values, state.bar[i])
        players = ensemble.sounding_as(opening["players"], wanted.programs)
        if wanted.prepend and opening["phase"]:
            before = vocabulary.decode(opening["classes"])
            values = {stream: np.concatenate([before[stream], after]) for stream, after in values.items()}
            start = opening["phase"][0] - before["offset"][0]
        piece = ensemble.heard(events.to_piece(values, vocabulary.grid, start=start, players=players))
        piece = events.let_go(piece)
        if wanted.notes and not wanted.prepend:  # with --chords class an event may hold several notes
            piece = piece.take(slice(wanted.notes))
        piece.tempos, piece.time_signatures = [(0, tempos[i])], [(0, *opening["metre"])]
        piece = piece if home is None else home.signed(piece, 0, i)
        after = opening["name"] if opening["phase"] else ""
        key = home.phrase(i, piece) if home else ""
        endless = not (wanted.notes or wanted.by_bars) and len(made[i][END_STREAM]) == wanted.most_events
        cut_off = wanted.most_events if endless else 0
        pieces.append(Made(piece.played(), made[i], nats[i], after, key, players, cut_off))
    return pieces


def continuations(
    network: Stepper, prior: Piece, how: Sampling, wanted: Wanted, count: int
) -> tuple[list[Made], Piece, list[str]]:
    """`count` pieces in which new notes follow the fragment `prior`, played by its parts; the part of it that opens
    each of them, without notes unless `wanted.prepend`; and sentences on what the network hears differently. Raises
    UserError if it can hear nothing of the fragment."""
    vocabulary, grid = network.vocabulary, network.vocabulary.grid
    # A given number of notes is written in one version, unless more are asked for: that is fastest.
    usual = VERSIONS if wanted.by_bars else 1
    prior = fragment.in_tempo(fragment.ready(vocabulary, prior))
    ticks = prior.ticks_per_quarter
    heard, playing, remarks = ensemble.hear(vocabulary, prior)
    asked_for = wanted.versions or 1
    *_, (_, tempo) = prior.tempos_from_start()
    wanted = in_versions(network, in_bars(wanted, [tempo], [heard.metre()], grid), usual)
    if wanted.versions == 1 < asked_for:
        remarks.append(
            "One version is written: the music is too long, or these weights have no ear to compare several."
        )
    remarks += fragment.unknown_values(vocabulary, heard, wanted.name)
    asked, playing = ensemble.mask(vocabulary, playing), ensemble.in_full(vocabulary, playing)
    mask = ensemble.mask(vocabulary, playing)
    start = network.start(1, heard.metre(), styles.condition(vocabulary, mask, wanted.style))
    if wanted.form:
        start = control.with_forms(start, [wanted.form], np.zeros(1, int))
        how = how.constrained(control.comes_again(network))
    state = network.read(start, vocabulary.encode(heard)[0], heard.phase)
    seam = int(events.to_steps(prior.onset[-1:], ticks, grid)[0])
    state.onset[:] = seam  # where the last note really is: the network may have heard shorter rests
    how = how.constrained(
        constraints.no_onset_before(network, prior.onset[-1] * grid / ticks),
        constraints.no_note_still_held(network, fragment.held_keys(vocabulary, prior, playing)),
        constraints.all_play(asked[None], state.length),
        *Players(network, mask[None]).constraints(),
    )
    line = seam - int(heard.phase[-1]) + int(state.bar[0])  # the next bar line, in steps
    if wanted.at_bar:
        state, how = control.from_bar_line(network, state, how, line)
    players = ensemble.sounding_as(playing, wanted.programs)
    velocity = round(float(prior.velocity.mean()))
    # Without the fragment, the new notes begin in bar 1, in the tempo and metre with which the fragment ended.
    after = replace(prior.span(int(prior.onset[-1]) + 1), pedals=prior.pedals[:0], tempos=[(0, tempo)])
    before = prior if wanted.prepend else after
    state = states.stack([state] * count * wanted.versions)
    unheard = np.repeat((mask & ~asked)[None], len(state.onset), axis=0)
    made, new, nats = new_events(network, state, how, wanted, np.full(len(state.onset), line), unheard)
    pieces, home = [], wanted.home
    for classes, values, cost in zip(made, new, nats, strict=True):
        start = state.onset[0] if wanted.prepend else to_place(state.last["phase"][0], values, state.bar[0])
        piece = ensemble.heard(events.to_piece(values, grid, ticks, start, velocity, players))
        piece = events.let_go(piece).take(slice(wanted.notes or None))
        joined = before.joined(piece)
        joined = joined if home is None else home.signed(joined, int(piece.onset[0]))
        key = home.phrase(0, piece, new=False) if home else ""
        pieces.append(Made(joined.played(), classes, cost, key=key, players=players))
    return pieces, before, remarks
