"""As which of the network's parts the parts of a piece are heard.

Parts are named by their values in the part stream; a casting maps each value in a piece to the network's.
"""

import numpy as np

from utils import parts
from utils.events import Events
from utils.piece import Part
from utils.vocabulary import Vocabulary, means

UNLIKE = 6  # semitones of `parts.distance` that weigh as much as being e times as common
OTHER, ALONE = 0.25, 4  # nats that one more part in a company costs; the latter if parts are to play without others
CROWD = 3  # parts that cost so much if the others are to play without them: among many, a few more do not matter
PIANO = Part()[1:3]  # (program, drums) of a part whose file names no instrument


def by_name(vocabulary: Vocabulary, heard: Events) -> dict[int, int]:
    """What each part of a piece is to a network, value -> value. A part with the name and instrument of one of the
    network's is that one, and so is a piano with its name, since files often call all parts pianos: an alto is an alto
    even if there is no soprano above it. Of several with one name, that is the first, with the instrument if possible.
    Beside such parts, all others of their instrument get values that nobody has, of the network's instrument; every
    other part keeps its own."""
    exact, by_piano, own = {}, {}, {}
    for value, one in vocabulary.players.items():
        name, kind = one.name.casefold(), parts.as_part(value)[1:3]
        exact[name, kind] = value
        by_piano |= {(name, PIANO): value} if value != parts.DRUMS else {}
    for known in (exact, by_piano):
        for value, part in heard.parts.items():
            one = known.get((part.name.casefold(), part[1:3]))
            if one is not None and value not in own and one not in own.values():
                own[value] = one
    kinds = {heard.parts[value][1:3]: parts.alike(one) for value, one in own.items()}
    named, taken = set(own.values()), {*vocabulary.players, *heard.parts}
    for value, part in heard.parts.items():
        if value not in own:
            others = kinds.get(part[1:3], parts.alike(value) if value in named else [])
            own[value] = next((one for one in others if one not in taken), value)
            taken.add(own[value])
    return own


def company(
    vocabulary: Vocabulary,
    theirs: dict[int, float],
    wanted: frozenset[int] = frozenset(),
    more: int = 0,
    alone: bool = False,
) -> tuple[dict[int, int], set[int]]:
    """Casts some parts, value -> mean pitch, as different parts of the network, value -> value; also returns the parts
    of the training music that play with them: those that are `wanted` and others, at least `more` in all. Of the
    companies, sets of parts that play together in a piece, it takes the nearest and commonest with few others, or as
    few as possible if the parts are to play `alone`. If no company fits, only those that are wanted play with them."""
    mean = vocabulary.registers
    best, least = ({}, set()), np.inf
    for members, count in vocabulary.companies.items():
        as_others = parts.heard_as(theirs, {value: mean[value] for value in sorted(members - wanted)})
        others = set(wanted | members - set(as_others.values()))
        if len(set(as_others.values())) == len(theirs) and len(others) >= more:
            unlike = sum(parts.distance(value, theirs[value], k, mean[k]) for value, k in as_others.items())
            beside = len(others - wanted)
            beside = ALONE * min(beside, CROWD) if alone else OTHER * beside
            cost = unlike / UNLIKE - np.log(count) + len(wanted - members) + beside
            if cost < least:
                best, least = (as_others, others), cost
    if wanted and not best[0]:
        as_others = parts.heard_as(theirs, {value: mean[value] for value in mean if value not in wanted})
        best = (as_others, set(wanted)) if len(set(as_others.values())) == len(theirs) else best
    return best


def in_company(
    vocabulary: Vocabulary, heard: Events, wanted: frozenset[int] = frozenset(), more: int = 0
) -> tuple[dict[int, int], set[int]]:
    """`company` for the parts of a piece whose events are `heard`."""
    values = by_name(vocabulary, heard)
    theirs = {values[value]: each for value, each in means(heard.streams).items()}
    as_others, others = company(vocabulary, theirs, wanted, more)
    return {value: as_others[known] for value, known in values.items() if known in as_others}, others


def of_piece(vocabulary: Vocabulary, heard: Events) -> dict[int, int]:
    """The part of the network as which each part of a piece is heard, value -> value: that of its name, see `by_name`,
    or its own, or else the nearest of those that play together in the training music."""
    own = by_name(vocabulary, heard)
    theirs = {own[value]: each for value, each in means(heard.streams).items()}
    as_others, _ = ({}, set()) if set(theirs) <= set(vocabulary.players) else company(vocabulary, theirs)
    as_others = as_others or parts.heard_as(theirs, vocabulary.registers)
    return {value: as_others[one] for value, one in own.items() if one in as_others}
