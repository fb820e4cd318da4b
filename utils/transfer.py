"""Training that starts from the weights of an earlier network, so that a few pieces of one's own are enough.

The new network knows every value that the earlier one knew, and those of the new pieces. A value that both know keeps
its weights; a new value starts with those of the nearest known one, so that at first it is heard and played like that.
`heads.weights_of` says which weight belongs to which value. Shapes: V values along an axis of a weight.
"""

from pathlib import Path
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
NONE = -1  # stands where no known value is like a new one


def flags(how: Representation) -> list[str]:
    """The flags of train.py that ask for a representation."""
    streams = tuple(stream for stream in how.streams if stream != "part")
    asked = {"grid": how.grid, "chords": how.chords, "max_beats": how.max_beats, "metre": how.metre, "streams": streams}
    return [settings.flag(*each) for each in {**asked, "pedal": how.pedal, "parts": how.has_parts}.items()]


def refuse(path: str | Path, theirs: list[str], ours: list[str], advice: str) -> None:
    """Raises UserError, which names all that differ, if the flags with which the network at `path` was trained are not
    `ours`."""
    if other := [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]]:
        was, now = (" ".join(some) for some in zip(*other, strict=True))
        raise UserError(f"{path} was trained with {was}, not {now}: {advice}.")


def adopt(args: SimpleNamespace, path: str, earlier: Checkpoint) -> None:
    """Set the sizes in `args` to those of an earlier network, from `path`. Raises UserError if it was trained on
    another representation of music than `args` ask for."""
    then = earlier.about["settings"]
    ours = flags(Representation.of(vars(args)))
    refuse(path, flags(Representation.of(then)), ours, "use its flags or start from other weights")
    sizes = {"heads": then["heads"], **vars(earlier.shape)}
    vars(args).update({name: sizes[name] for name in SIZES})
    print(
        f"The network has the sizes of {path}: {', '.join(f'{name} {sizes[name]}' for name in SIZES)}; "
        f"for each note it learns {', '.join(args.streams)}."
    )


def heard_as(vocabulary: Vocabulary, known: Vocabulary) -> dict[int, int]:
    """Value of each part of `vocabulary` -> value of the part of `known` whose weights it starts with; drums are left
    out if `known` has none."""
    new = {value: mean for value, mean in vocabulary.registers.items() if value not in known.players}
    return {value: value for value in known.players} | parts.heard_as(new, known.registers)


def news(vocabulary: Vocabulary, known: Vocabulary) -> str:
    """A sentence about what is new to a network with the vocabulary `known`."""
    heard = heard_as(vocabulary, known)
    new = [f"{len(np.setdiff1d(values, known.values[s]))} of {s}" for s, values in vocabulary.values.items()]
    as_others = [
        f"{part.name} as {known.players[heard[value]].name}" if value in heard else f"{part.name} from scratch"
        for value, part in vocabulary.players.items()
        if value not in known.players
    ]
    parts_too = f"; {shortened(as_others)}" if as_others else ""
    return f"values that are new to it and start as the nearest known ones: {', '.join(new)}{parts_too}"


def among(block: Block, known: np.ndarray, heard: dict[int, int]) -> np.ndarray:
    """(V,) the index of each value of a block, or of the nearest, among the `known` values, or NONE; see `heard_as`."""
    if block.match != "nearest":
        place = {value: i for i, value in enumerate(known.tolist())}
        like = heard if block.match == "part" else {}
        return np.array([place.get(like.get(value, value), NONE) for value in block.values.tolist()], int)
    drums = block.of in ("note", "interval")
    return nearest(known, block.values, drums) if len(known) else np.full(len(block.values), NONE)


def sources(new: Axis, old: Axis, heard: dict[int, int]) -> np.ndarray:
    """(V,) for each place along an axis of a new weight, the place along the old axis from which it starts, or NONE."""
    begins = np.cumsum([0, *(len(block.values) for block in old)]).tolist()
    there = {block.of: (begin, block.values) for begin, block in zip(begins, old, strict=False)}
    places = []
    for block in new:
        begin, known = there.get(block.of, (0, np.zeros(0)))
        place = among(block, known, heard)
        places.append(np.where(place == NONE, NONE, begin + place))
    return np.concatenate(places)


def moved(array: np.ndarray, new: Axes, old: Axes, heard: dict[int, int]) -> np.ndarray:
    """A weight with the axes `new`, made from one with the axes `old`; 0 where no old value is like the new one."""
    for k, pair in enumerate(zip(new, old, strict=True)):
        ending_in_zeros = np.pad(array, [(0, int(axis == k)) for axis in range(array.ndim)])
        array = np.take(ending_in_zeros, sources(*pair, heard), axis=k)  # NONE is the last place
    return array


def at_rest(new: Axis, old: Axis) -> np.ndarray:
    """(V,) what a network reads for values that are new to it while they do not occur; 0 for all others."""
    known = {block.of: block.values for block in old}
    return np.concatenate([np.where(np.isin(b.values, known.get(b.of, ())), 0, np.float32(b.rest)) for b in new])


def started(vocabulary: Vocabulary, shape: Shape, earlier: Checkpoint) -> dict[str, list[np.ndarray]]:
    """Layer -> the weights with which a network starts from an earlier one, for the layers that both have."""
    old, heard = weights_of(earlier.vocabulary, earlier.shape), heard_as(vocabulary, earlier.vocabulary)
    arrays = {}
    for name, new in weights_of(vocabulary, shape).items():
        if name not in old:
            continue
        triples = zip(earlier.arrays[name], new, old[name], strict=True)
        arrays[name] = [moved(*triple, heard) for triple in triples]
        rest = at_rest(new[0][0], old[name][0][0])
        if rest.any():  # the bias cancels what the network reads for new parts while they are silent
            kernel, bias = arrays[name]
            arrays[name] = [kernel, bias - rest @ kernel]
    return arrays
