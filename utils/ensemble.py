"""Who plays in new music: the parts of an opening, those that were asked for, or those of a fragment."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from utils import casting, events, instruments, parts
from utils.errors import UserError
from utils.events import Events
from utils.piece import Part, Piece, told_apart
from utils.vocabulary import Vocabulary, means, nearest

UNHEARD = -1  # the `twin` of a part that is only imagined, so that it equals no part of a piece
HALF = 0.5  # share of a passage in which players must sound, or new music after it would give them too little to play
KIT = ("drums", "drum kit", "percussion", "kit")  # what the drums may be called


# The parts that play, and no others, in the order of the tracks: value of the part stream -> part. Without that stream,
# 0 stands for the one part that plays everything.
Ensemble = dict[int, Part]


def mask(vocabulary: Vocabulary, players: Iterable[int]) -> np.ndarray:
    """(P,) mask of the players among the classes of the part stream; without parts (0,)."""
    return np.isin(list(vocabulary.players), list(players))


def not_imagined(players: Ensemble) -> Ensemble:
    """The players without those that are only imagined."""
    return {value: part for value, part in players.items() if part.twin != UNHEARD}


def sounding_as(players: Ensemble, programs: tuple[int, ...]) -> Ensemble:
    """The players, the first of whom, drums not counted, sound as the instruments `programs`."""
    if not programs:
        return players
    wanted, heard = iter(programs), {}
    for value, part in not_imagined(players).items():
        program = part.program if part.drums else next(wanted, part.program)
        heard[value] = part if program == part.program else part._replace(name="", program=program)
    return players | dict(zip(heard, told_apart(heard.values()), strict=True))


def of_classes(vocabulary: Vocabulary, values: list[int]) -> Ensemble:
    """The parts of the training music with these values, in score order: from the highest down, drums last."""
    known = {value: vocabulary.players[value] for value in values}
    order = sorted(known, key=lambda value: (value == parts.DRUMS, -known[value].mean))
    return {value: parts.as_part(value, known[value].name) for value in order} or {0: Part()}


def names(vocabulary: Vocabulary) -> list[str]:
    """The parts of a network, from the highest down, drums last."""
    return [part.name for part in of_classes(vocabulary, list(vocabulary.players)).values() if part.name]


def named(vocabulary: Vocabulary, chosen: list[str]) -> Ensemble | None:
    """The parts of a network with these names, or None if none is `chosen`."""
    values = [value for value, known in vocabulary.players.items() if known.name in chosen]
    return of_classes(vocabulary, values) if values else None


def of_opening(vocabulary: Vocabulary, values: list[int], drums: bool) -> Ensemble:
    """The parts with these values, with drums only if `drums`. Raises UserError if no part is left to play."""
    values = [value for value in values if drums or value != parts.DRUMS]
    if vocabulary.players and not values:
        raise UserError("Without drums no part is left to play: name --instruments, or leave out --no-drums.")
    return of_classes(vocabulary, values)


def roles(vocabulary: Vocabulary, opening: dict, players: Ensemble) -> dict[int, int]:
    """Which part of an opening's piece (see `dataset.passages`) each of the players plays, value -> value: its own, or
    else the nearest that is still free. Players who find nothing to play are left out."""
    mean = vocabulary.registers
    theirs = {v: mean[v] for v in opening.get("parts", ())} | means(vocabulary.decode(opening["classes"]))
    heard = parts.heard_as(theirs, {value: mean[value] for value in mean if value in players})
    return {player: value for value, player in reversed(heard.items())}


def sounding(values: dict[str, np.ndarray], players: Iterable[int]) -> float:
    """The share of the time of some events, stream -> values (E,), in which at least one of the `players` sounds."""
    onset = np.cumsum(values["offset"])
    end, mine = onset + values["duration"], np.isin(values["part"], list(players))
    begun, over = (np.bincount(steps[mine], minlength=end.max(initial=0) + 1) for steps in (onset, end))
    return float((np.cumsum(begun - over)[onset[0] : -1] > 0).mean()) if mine.any() else 0.0


def unlike(vocabulary: Vocabulary, opening: dict, players: Ensemble) -> tuple[int, int, bool]:
    """How many of the players find nothing to play in the opening, how many play a part of another family, and whether
    they are silent there for most of the time."""
    theirs = roles(vocabulary, opening, players)
    others = sum(parts.family(value) != parts.family(player) for player, value in theirs.items())
    share = sounding(vocabulary.decode(opening["classes"]), theirs.values())
    return len(players) - len(theirs), others, share < HALF


def imagined(vocabulary: Vocabulary, opening: dict, players: Ensemble) -> list[int]:
    """The parts of an opening's piece that none of the players plays, but that the network imagines: without them, the
    players would play the notes of those parts. It imagines none if the players are silent for most of the passage,
    since they would be silent in new music as well."""
    theirs = {*players, *roles(vocabulary, opening, players).values()}
    if not vocabulary.players or sounding(vocabulary.decode(opening["classes"]), theirs) < HALF:
        return []
    return [value for value in opening.get("parts", []) if value not in theirs]


def with_imagined(players: Ensemble, values: Iterable[int]) -> Ensemble:
    """The players, followed by imagined parts, which they play with but which are never heard, see `heard`."""
    return players | {value: parts.as_part(value)._replace(twin=UNHEARD) for value in values}


def heard(piece: Piece) -> Piece:
    """The piece without its imagined parts."""
    return piece.take(np.array([part.twin != UNHEARD for part in piece.parts], bool)[piece.part])


def recast(vocabulary: Vocabulary, opening: dict, players: Ensemble, others: Sequence[int] = ()) -> dict:
    """The opening as the players would play it in their `roles`, with the `others` imagined beside them; notes of all
    other parts are left out."""
    if not vocabulary.players or not opening["phase"] or set(opening["parts"]) <= set(players):
        return opening
    values, player = vocabulary.decode(opening["classes"]), np.full(parts.MOST, parts.NOBODY)
    for new, old in roles(vocabulary, opening, players).items():
        player[old] = new
    player[list(others)] = others
    onset, values["part"] = np.cumsum(values["offset"]), player[values["part"]]
    order = np.lexsort((values["note"], values["part"], onset))
    order = order[values["part"][order] != parts.NOBODY]
    classes = {stream: np.array(some)[order] for stream, some in opening["classes"].items()}
    classes["part"] = np.searchsorted(vocabulary.values["part"], values["part"][order])
    classes["offset"] = nearest(vocabulary.values["offset"], np.diff(onset[order], prepend=0))
    classes = {stream: some.tolist() for stream, some in classes.items()}
    return {**opening, "classes": classes, "phase": [opening["phase"][i] for i in order]}


def asked(
    vocabulary: Vocabulary,
    wish: str,
    drums: bool = True,
    flag: str = "--instruments",
    taken: frozenset[int] = frozenset(),
    own: Iterable[Part] = (),
) -> tuple[Ensemble, list[str]]:
    """The parts that the `wish` of a `flag` lists, separated by commas, by the names of the piece's `own` parts, by the
    network's names or by instrument, each as often as it is listed, without drums unless `drums`, and without those
    `taken`; and sentences on those that the network does not know. Raises UserError for a name that is no instrument's,
    and if no part is left to play."""
    if not vocabulary.players:
        raise UserError(f"{flag} chooses among parts, but this network has learnt none: leave it out.")
    wanted, count, remarks = {}, Counter(), []
    by_name = {known.name.lower(): value for value, known in vocabulary.players.items() if value != parts.DRUMS}
    theirs = {part.name.lower(): Part(*part[:2]) for part in own if part.name and not part.drums}
    for name in instruments.listed(wish, lambda name: name.lower() in {*by_name, *theirs}):
        if name.lower() in KIT:  # steel drums are another instrument
            wanted |= {parts.DRUMS: Part("Drums", drums=True)} if drums else {}
            remarks += [] if drums else [f"{name}: left out, as --no-drums says."]
            continue
        # Sopran is the Soprano, but Violin is any violin, even if there is only a Violin 1.
        begun = [value for known, value in by_name.items() if re.fullmatch(re.escape(name.lower()) + "[^ ]+", known)]
        value = by_name.get(name.lower(), begun[0] if len(begun) == 1 else None)
        part = theirs.get(name.lower())
        if value is None or value in wanted or part and part.program != parts.program_of(value):
            part = part or Part("", instruments.program(name, flag))
            value = parts.value_of(part.program, count[part.program])
        else:
            part = parts.as_part(value, vocabulary.players[value].name)
        wanted[value] = part
        count[part.program] += 1
    usual = {value: instruments.MIDDLE.get(part.program, np.nan) for value, part in wanted.items()}
    free = {value: mean for value, mean in vocabulary.registers.items() if value not in taken}
    heard = parts.heard_as(usual, free)
    related = all(parts.family(value) == parts.family(known) for value, known in heard.items())
    if not related or len({*heard.values()}) < len(heard):
        playing = {value: usual[value] for value in heard}  # without drums, if the network has none
        as_others, _ = casting.company(vocabulary, playing, taken & set(vocabulary.players), alone=True)
        heard = as_others or heard
    called = dict(zip(wanted, instruments.numbered([part.called() for part in wanted.values()]), strict=True))
    players = {}
    for value, part in wanted.items():
        if value not in heard:
            what = "no drums" if part.drums else "only drums"
            remarks.append(f"{part.called()}: not played, as the music that this network has learnt has {what}.")
        elif heard[value] in players or heard[value] != value and heard.get(heard[value]) == heard[value]:
            remarks.append(f"{part.called()}: this network has no more parts of its kind, so one fewer plays.")
        else:
            known = vocabulary.players[heard[value]]
            name = known.name if heard[value] == value else called[value]
            players[heard[value]] = part._replace(name=name)
            if heard[value] != value:
                what = "plays" if value in vocabulary.players else "is new to this network: it plays"
                remarks.append(f"{name} {what} what the part {known.name} would.")
    if not players:
        known = ", ".join(known.name for known in vocabulary.players.values())
        raise UserError(" ".join([*remarks, f"{flag} leaves no part to play: choose from {known}."]))
    return players, remarks


def of_fragment(
    vocabulary: Vocabulary, heard: Events, prior: Piece, as_others: dict[int, int]
) -> tuple[Ensemble, list[str]]:
    """The parts of the fragment `prior`, whose events are `heard` `as_others` of the network, value -> value; and
    sentences on parts that are heard as others."""
    players, remarks = {}, []
    names = dict(zip(prior.parts, names_of(prior), strict=True))
    for value, known in sorted(as_others.items(), key=lambda pair: pair[0] != pair[1]):  # first those it knows
        part, name = heard.parts[value], vocabulary.players[known].name
        if known in players:
            what = f"this network hears it as {names[players[known]]} and writes nothing new for it."
            remarks.append(f"{names[part]} is one part too many: {what}")
            continue
        players[known] = part
        if known != value and part.called() != name:
            what = "is" if value in vocabulary.players else "is new to this network: it is"
            remarks.append(f"{names[part]} {what} heard as {name}.")
    order = {part: i for i, part in enumerate(prior.parts)}
    return dict(sorted(players.items(), key=lambda item: order[item[1]])), remarks


def names_of(piece: Piece) -> list[str]:
    """What the parts of a piece are called, in their order. Parts of the same name are numbered, from the highest down
    if they are of one instrument."""
    order = np.argsort(-parts.values_of(piece), kind="stable")
    names = instruments.numbered([piece.parts[i].called() for i in order])
    return [names[i] for i in np.argsort(order)]


def audible(vocabulary: Vocabulary, prior: Piece, others_do: str) -> tuple[Piece, list[str]]:
    """The part of a fragment that the network can hear: no drums if it has learnt none, only drums if it has learnt
    nothing else; and a sentence that says what the `others_do`. Raises UserError if nothing is left."""
    drums, known = prior.is_drum, set(vocabulary.players)
    if parts.DRUMS in known:
        unheard, kind, others = ~drums & (known == {parts.DRUMS}), "other parts", "nothing but drums"
    else:
        unheard, kind, others = drums, "drums", "no drums"
    if unheard.all():
        what = "has only drums" if drums.all() else "has no drums"
        raise UserError(f"The fragment {what}, but this network has learnt {others}: choose other --weights.")
    sentence = f"This network has learnt {others}: the {kind} of the fragment {others_do}."
    return (prior.take(~unheard), [sentence]) if unheard.any() else (prior, [])


def in_full(vocabulary: Vocabulary, players: Ensemble) -> Ensemble:
    """The players, with the parts imagined that usually play with them in the training music."""
    theirs = {value: vocabulary.registers[value] for value in players if value in vocabulary.players}
    _, others = casting.company(vocabulary, theirs)
    return with_imagined(players, sorted(others - set(players)))


def hear(vocabulary: Vocabulary, prior: Piece) -> tuple[Events, Ensemble, list[str]]:
    """The events of a fragment as far as the network can hear them, played by the parts as which it hears them (see
    `casting`); who plays; and sentences on what it hears differently. Raises UserError if it can hear nothing."""
    known, remarks = audible(vocabulary, prior, "do not play on")
    heard = events.from_piece(known, vocabulary.representation)
    if not vocabulary.players:
        return heard, {0: known.parts[np.bincount(known.part).argmax()]}, remarks
    as_others = casting.of_piece(vocabulary, heard)
    players, more = of_fragment(vocabulary, heard, known, as_others)
    values = np.array([as_others.get(value, value) for value in parts.values_of(known).tolist()])
    return events.from_piece(known, vocabulary.representation, values), players, remarks + more
