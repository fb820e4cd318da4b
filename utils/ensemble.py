"""Who plays in new music: the parts of an opening, those that were asked for, or those of a fragment."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils import events, instruments, parts
from utils.errors import UserError
from utils.events import Events
from utils.piece import Part, Piece, told_apart
from utils.vocabulary import Vocabulary, means, nearest

UNLIKE = 6  # semitones of `parts.distance` that weigh as much as being e times as common
KIT = ("drums", "drum kit", "percussion", "kit")  # what the drums may be called


@dataclass(frozen=True)
class Ensemble:
    """The parts that play, and no others; without a part stream, the one that plays all."""

    players: dict[int, Part]  # value of the part stream, or 0 -> who that is; in the order of the tracks

    def mask(self, vocabulary: Vocabulary) -> np.ndarray:
        """(P,) which classes of the part stream they are; without parts (0,)."""
        return np.isin(list(vocabulary.players), list(self.players))

    def sounding_as(self, programs: tuple[int, ...]) -> "Ensemble":
        """The same, but the first parts, drums not counted, sound as the instruments `programs`."""
        wanted, parts = iter(programs), []
        for part in self.players.values():
            program = part.program if part.drums else next(wanted, part.program)
            parts.append(part if program == part.program else part._replace(name="", program=program))
        return Ensemble(dict(zip(self.players, told_apart(parts), strict=True))) if programs else self


def of_classes(vocabulary: Vocabulary, values: list[int]) -> Ensemble:
    """The parts of the training music with these values, as in a score: from the highest down, drums last."""
    known = {value: vocabulary.players[value] for value in values}
    order = sorted(known, key=lambda value: (value == parts.DRUMS, -known[value].mean))
    return Ensemble({value: parts.as_part(value, known[value].name) for value in order} or {0: Part()})


def names(vocabulary: Vocabulary) -> list[str]:
    """The parts of a network, from the highest down, drums last."""
    return [part.name for part in of_classes(vocabulary, list(vocabulary.players)).players.values() if part.name]


def named(vocabulary: Vocabulary, chosen: list[str]) -> Ensemble | None:
    """The parts of a network with these names, or None if none is `chosen`."""
    values = [value for value, known in vocabulary.players.items() if known.name in chosen]
    return of_classes(vocabulary, values) if values else None


def of_opening(vocabulary: Vocabulary, values: list[int], drums: bool) -> Ensemble:
    """The parts with these values, without the drums unless there shall be `drums`. Raises UserError if nobody is left
    to play."""
    values = [value for value in values if drums or value != parts.DRUMS]
    if vocabulary.players and not values:
        raise UserError("Without drums nobody is left to play: name --instruments, or leave out --no-drums.")
    return of_classes(vocabulary, values)


def roles(vocabulary: Vocabulary, opening: dict, players: Ensemble) -> dict[int, int]:
    """Which part of the opening, see `dataset.passages`, each of the players plays, value -> value: its own, or else
    the nearest that nobody has yet. Who finds nothing to play is not among them."""
    mean = {value: known.mean for value, known in vocabulary.players.items() if value in players.players}
    heard = parts.heard_as(means(vocabulary.decode(opening["classes"])), mean)
    return {player: value for value, player in reversed(heard.items())}


def unlike(vocabulary: Vocabulary, opening: dict, players: Ensemble) -> tuple[int, int]:
    """How many of the players find nothing to play in the opening, and how many play what is for another family."""
    theirs = roles(vocabulary, opening, players)
    others = sum(parts.family(value) != parts.family(player) for player, value in theirs.items())
    return len(players.players) - len(theirs), others


def recast(vocabulary: Vocabulary, opening: dict, players: Ensemble) -> dict:
    """The opening as the players would play it, by their `roles`; what is nobody's is left out."""
    if not vocabulary.players or not opening["phase"] or set(opening["parts"]) <= set(players.players):
        return opening
    values, player = vocabulary.decode(opening["classes"]), np.full(parts.MOST, parts.NOBODY)
    for new, old in roles(vocabulary, opening, players).items():
        player[old] = new
    onset, values["part"] = np.cumsum(values["offset"]), player[values["part"]]
    order = np.lexsort((values["note"], values["part"], onset))
    order = order[values["part"][order] != parts.NOBODY]
    classes = {stream: np.array(some)[order] for stream, some in opening["classes"].items()}
    classes["part"] = np.searchsorted(vocabulary.values["part"], values["part"][order])
    classes["offset"] = nearest(vocabulary.values["offset"], np.diff(onset[order], prepend=0))
    classes = {stream: some.tolist() for stream, some in classes.items()}
    return {**opening, "classes": classes, "phase": [opening["phase"][i] for i in order]}


def asked(vocabulary: Vocabulary, wish: str, drums: bool, flag: str = "--instruments") -> tuple[Ensemble, list[str]]:
    """The parts that the `wish` of a `flag` names, between commas, by what the network calls them or by their
    instrument, each as often as it stands there, with the network's drums if there shall be `drums`; and sentences on
    those that it does not know. Raises UserError for a name that is no instrument's, and if nobody is left to play."""
    if not vocabulary.players:
        raise UserError(f"{flag} chooses among parts, and this network has learnt none: leave it out.")
    wanted, count, remarks = {}, Counter(), []
    by_name = {known.name.lower(): value for value, known in vocabulary.players.items() if value != parts.DRUMS}
    for name in filter(None, map(str.strip, wish.split(","))):
        if name.lower() in KIT:  # steel drums are another instrument
            wanted[parts.DRUMS] = Part("Drums", drums=True)
            continue
        if by_name.get(name.lower(), parts.DRUMS) not in (parts.DRUMS, *wanted):
            value = by_name[name.lower()]
            wanted[value] = parts.as_part(value, vocabulary.players[value].name)
            count[wanted[value].program] += 1
            continue
        program = instruments.program(name, flag)
        wanted[parts.value_of(program, count[program])] = Part("", program)
        count[program] += 1
    if parts.DRUMS in vocabulary.players and drums:
        wanted.setdefault(parts.DRUMS, Part("Drums", drums=True))
    if not drums:
        wanted.pop(parts.DRUMS, None)
    heard = parts.heard_as(dict.fromkeys(wanted, np.nan), {v: known.mean for v, known in vocabulary.players.items()})
    called = dict(zip(wanted, instruments.numbered([part.called() for part in wanted.values()]), strict=True))
    players = {}
    for value, part in wanted.items():
        if value not in heard:
            remarks.append("There are no drums in the music that this network has learnt, so none play.")
        elif heard[value] in players:
            remarks.append(f"{part.called()}: this network has no more parts of its kind, so one less plays.")
        else:
            known = vocabulary.players[heard[value]]
            name = known.name if heard[value] == value else called[value]
            players[heard[value]] = part._replace(name=name)
            if heard[value] != value:
                remarks.append(f"{name} is new to this network: it plays what the part {known.name} would.")
    if not players:
        known = ", ".join(known.name for known in vocabulary.players.values())
        raise UserError(f"These {flag} leave nobody to play. This network knows {known}.")
    return Ensemble(players), remarks


def of_fragment(
    vocabulary: Vocabulary, heard: Events, prior: Piece, openings: Sequence[dict] = ()
) -> tuple[Ensemble, list[str]]:
    """The parts of the fragment `prior`, whose events are `heard`, and sentences on those that are heard as others; see
    `hear`."""
    if not vocabulary.players:
        return Ensemble({0: prior.parts[np.bincount(prior.part).argmax()]}), []
    players, remarks, company = {}, [], {}
    if not set(heard.parts) <= set(vocabulary.players):
        company, _ = in_company(vocabulary, heard, openings)
    for value, known in (company or vocabulary.heard_as(heard)).items():
        part = heard.parts[value]
        if known in players:
            remarks.append(f"{part.called()} is one part too many for this network: {players[known].called()} goes on.")
            continue
        players[known] = part
        if known != value and part.called() != vocabulary.players[known].name:
            remarks.append(f"{part.called()} is new to this network: it is heard as {vocabulary.players[known].name}.")
    order = {part: i for i, part in enumerate(prior.parts)}
    return Ensemble(dict(sorted(players.items(), key=lambda item: order[item[1]]))), remarks


def without_unknown_drums(vocabulary: Vocabulary, prior: Piece) -> tuple[Piece, list[str]]:
    """The fragment as far as the network can hear it. Raises UserError if that is nothing."""
    drums = prior.is_drum
    if not drums.any() or parts.DRUMS in vocabulary.players:
        return prior, []
    if drums.all():
        raise UserError("The fragment has only drums, and this network has learnt none: choose other --weights.")
    return prior.take(~drums), ["This network has learnt no drums: those of the fragment end with it."]


def by_name(vocabulary: Vocabulary, heard: Events) -> dict[int, int]:
    """The value of each part of a piece, or of the network's part of the same name and instrument: an alto is an alto,
    even where there is no soprano above it."""
    known = {(known.name.casefold(), parts.as_part(value)[1:3]): value for value, known in vocabulary.players.items()}
    own = {v: known.get((part.name.casefold(), part[1:3]), v) for v, part in heard.parts.items()}
    return own if len(set(own.values())) == len(own) else {value: value for value in own}


def in_company(
    vocabulary: Vocabulary, heard: Events, openings: Sequence[dict], wanted: frozenset[int] = frozenset(), more: int = 0
) -> tuple[dict[int, int], set[int]]:
    """As which of the network's parts those of a piece are heard, value -> value, each as another, and who of the
    training music plays with them: who is `wanted`, if anybody is, or `more` others at least. Of the sets of parts that
    the openings come from it is the one that is nearest and commonest; nothing and nobody if none fits."""
    mean, own = {value: known.mean for value, known in vocabulary.players.items()}, by_name(vocabulary, heard)
    theirs = {own[value]: each for value, each in means(heard.streams).items()}
    sets = Counter(frozenset(opening["parts"]) for opening in openings)
    if wanted:
        sets[frozenset(mean)] += 1
    best, least = ({}, set()), np.inf
    for members, count in sets.items():
        as_others = parts.heard_as(theirs, {value: mean[value] for value in sorted(members - wanted)})
        others = set(wanted or members - set(as_others.values()))
        if len(set(as_others.values())) == len(theirs) and len(others) >= more:
            unlike = sum(parts.distance(value, theirs[value], k, mean[k]) for value, k in as_others.items())
            cost = unlike / UNLIKE - np.log(count) + len(wanted - members)
            if cost < least:
                best, least = ({v: as_others[own[v]] for v in own if own[v] in as_others}, others), cost
    return best


def hear(vocabulary: Vocabulary, prior: Piece, openings: Sequence[dict] = ()) -> tuple[Events, Ensemble, list[str]]:
    """The events of a fragment as far as the network can hear them, who plays, and sentences on what it hears
    otherwise than it is. Parts that it does not know are heard as the nearest, with `openings` as parts that play
    together in the music that these are from. Raises UserError if it can hear nothing."""
    known, remarks = without_unknown_drums(vocabulary, prior)
    heard = events.from_piece(known, vocabulary.representation)
    players, more = of_fragment(vocabulary, heard, known, openings)
    return heard, players, remarks + more
