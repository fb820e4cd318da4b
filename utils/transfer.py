"""Training that starts from the weights of another network, so that a few pieces of one's own are enough.

The new network knows every value that the other one knew, and those of the new pieces. A value that both know keeps its
weights; one that is new starts with those of the nearest, so that at first it is heard and played as that is. Which
weight belongs to which value is what `heads.weights_of` says. Shapes: V values along an axis of a weight.
"""

from types import SimpleNamespace

import numpy as np

from utils import parts, settings
from utils.checkpoint import Checkpoint
from utils.errors import UserError
from utils.events import Representation
from utils.heads import Axes, Shape, weights_of
from utils.piece import shortened
from utils.vocabulary import Axis, Block, Vocabulary, nearest

SIZES = "heads cell layers units embedding hidden surroundings".split()  # settings that a network keeps
NONE = -1  # stands where nothing is like what is new


def flags(how: Representation) -> list[str]:
    """The flags of train.py that ask for a representation."""
    streams = tuple(stream for stream in how.streams if stream != "part")
    asked = {"grid": how.grid, "chords": how.chords, "max_beats": how.max_beats, "metre": how.metre, "streams": streams}
    return [settings.flag(*each) for each in {**asked, "pedal": how.pedal, "parts": how.has_parts}.items()]


def adopt(args: SimpleNamespace, path: str, earlier: Checkpoint) -> None:
    """Let `args` ask for a network of the sizes of an earlier one, from `path`. Raises UserError if it writes music
    otherwise than they say."""
    then = earlier.about["settings"]
    both = zip(flags(Representation.of(then)), flags(Representation.of(vars(args))), strict=True)
    if other := [pair for pair in both if pair[0] != pair[1]]:
        theirs, ours = (" ".join(some) for some in zip(*other, strict=True))
        raise UserError(f"{path} was trained with {theirs}, not {ours}: give that too, or start from other weights.")
    sizes = {"heads": then["heads"], **vars(earlier.shape)}
    vars(args).update({name: sizes[name] for name in SIZES})
    print(
        f"The network has the sizes of {path}: {', '.join(f'{name} {sizes[name]}' for name in SIZES)}; "
        f"of each note it learns {', '.join(args.streams)}."
    )


def heard_as(vocabulary: Vocabulary, known: Vocabulary) -> dict[int, int]:
    """Value of each part of `vocabulary` -> that of the part of `known` whose weights it starts with; drums of which
    there are none there are missing."""
    new = {value: mean for value, mean in vocabulary.registers.items() if value not in known.players}
    return {value: value for value in known.players} | parts.heard_as(new, known.registers)


def news(vocabulary: Vocabulary, known: Vocabulary) -> str:
    """A sentence on what is new to a network with the vocabulary `known`."""
    heard = heard_as(vocabulary, known)
    new = [f"{len(np.setdiff1d(values, known.values[s]))} of {s}" for s, values in vocabulary.values.items()]
    as_others = [
        f"{part.name} as {known.players[heard[value]].name}" if value in heard else f"{part.name} as nothing there"
        for value, part in vocabulary.players.items()
        if value not in known.players
    ]
    parts_too = f"; {shortened(as_others)}" if as_others else ""
    return f"values that are new to it, and start as the nearest: {', '.join(new)}{parts_too}"


def among(block: Block, known: np.ndarray, heard: dict[int, int]) -> np.ndarray:
    """(V,) the place of each value of a block, or of the nearest, among the `known` ones, or NONE; `heard` as above."""
    if block.match != "nearest":
        place = {value: i for i, value in enumerate(known.tolist())}
        like = heard if block.match == "part" else {}
        return np.array([place.get(like.get(value, value), NONE) for value in block.values.tolist()], int)
    drums = block.of in ("note", "interval")
    return nearest(known, block.values, drums) if len(known) else np.full(len(block.values), NONE)


def sources(new: Axis, old: Axis, heard: dict[int, int]) -> np.ndarray:
    """(V,) for each place along an axis of a new weight that along the old one from which it starts, or NONE."""
    begins = np.cumsum([0, *(len(block.values) for block in old)]).tolist()
    there = {block.of: (begin, block.values) for begin, block in zip(begins, old, strict=False)}
    places = []
    for block in new:
        begin, known = there.get(block.of, (0, np.zeros(0)))
        place = among(block, known, heard)
        places.append(np.where(place == NONE, NONE, begin + place))
    return np.concatenate(places)


def moved(array: np.ndarray, new: Axes, old: Axes, heard: dict[int, int]) -> np.ndarray:
    """A weight with the axes `new`, made of one with the axes `old`; 0 where nothing there is like what is new."""
    for k, pair in enumerate(zip(new, old, strict=True)):
        ending_in_zeros = np.pad(array, [(0, int(axis == k)) for axis in range(array.ndim)])
        array = np.take(ending_in_zeros, sources(*pair, heard), axis=k)  # NONE is the last place
    return array


def at_rest(new: Axis, old: Axis) -> np.ndarray:
    """(V,) what a network reads of values that are new to it, as long as they do not occur; 0 for all others."""
    known = {block.of: block.values for block in old}
    return np.concatenate([np.where(np.isin(b.values, known.get(b.of, ())), 0, np.float32(b.rest)) for b in new])


def started(vocabulary: Vocabulary, shape: Shape, earlier: Checkpoint) -> dict[str, list[np.ndarray]]:
    """Layer -> the weights with which a network starts from an earlier one, as far as that has such layers."""
    old, heard = weights_of(earlier.vocabulary, earlier.shape), heard_as(vocabulary, earlier.vocabulary)
    arrays = {}
    for name, new in weights_of(vocabulary, shape).items():
        if name not in old:
            continue
        triples = zip(earlier.arrays[name], new, old[name], strict=True)
        arrays[name] = [moved(*triple, heard) for triple in triples]
        rest = at_rest(new[0][0], old[name][0][0])
        if rest.any():  # the bias makes up for what the network reads of new parts while they are silent
            kernel, bias = arrays[name]
            arrays[name] = [kernel, bias - rest @ kernel]
    return arrays
