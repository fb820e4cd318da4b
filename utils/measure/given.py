"""Music written around a part of real pieces: how likely the whole is, and whether a judge tells it from real music."""

from pathlib import Path
from types import SimpleNamespace

from tqdm import tqdm

from utils import completion, dataset, events, midi
from utils.dataset import Source
from utils.errors import UserError
from utils.measure import judge, likelihood, statistics
from utils.piece import Piece
from utils.sampler import Sampling
from utils.stepper import Stepper


def with_part(sources: list[Source], name: str) -> list[Source]:
    """The pieces that have a part of that name and at least one other part."""
    names = [[part.called().casefold() for part in source.events.parts.values()] for source in sources]
    return [source for source, each in zip(sources, names, strict=True) if name.casefold() in each and len(each) > 1]


def nats_a_note(network: Stepper, pieces: list[Source]) -> float:
    """Nats a note, over all parts, as a mean over the pieces."""
    corpus = dataset.encode(pieces, network.vocabulary)
    return float((likelihood.score(network, corpus).nats.sum(axis=1) / corpus.notes_each).mean())


def around(network: Stepper, train: list[Source], held_out: list[Source], folder: str, asked: SimpleNamespace) -> dict:
    """Keep the part `asked.keep` of the held-out pieces in `folder` that have it, write everything else anew, and
    compare the result with the training pieces that have it; `asked` holds the settings of evaluate.py.

    Returns pieces, how many there are; nats, see `nats_a_note`, and judge, see `judge.judge`, both for the pieces as
    they are ('real'), written in one version with the given notes forced ('naive'), and written in `asked.particles`
    weighted versions ('weighed'). Raises UserError if no held-out piece has such a part.
    """
    train, held_out = (with_part(sources, asked.keep) for sources in (train, held_out))
    if not held_out:
        raise UserError(
            f"No held-out piece has a part {asked.keep!r} and other parts beside it: name another part with --keep."
        )
    ways, form = {"naive": 1, "weighed": asked.particles}, network.vocabulary.representation
    how = Sampling.of(asked, completion.TEMPERATURE)
    sources = {"real": held_out, **{way: [] for way in ways}}
    for way, source in tqdm([(way, s) for way in ways for s in held_out], "writing", unit="piece", leave=False):
        each = completion.Asked(source.name, asked.keep, versions=ways[way])
        prior = midi.parse(midi.read_bytes(Path(folder, source.name)))
        (new,), _, _ = completion.completions(network, prior, how, each, 1)
        sources[way].append(Source("", 0.0, events.from_piece(new.piece, form)))

    def passages(pieces: list[Source]) -> list[Piece]:
        return [statistics.cut(s.events, 0, judge.JUDGED, form.grid) for s in pieces if len(s.events) >= judge.JUDGED]

    real = passages(train)
    return {
        "pieces": len(held_out),
        "nats": {way: nats_a_note(network, pieces) for way, pieces in sources.items()},
        "judge": {way: judge.judge(passages(pieces), real) for way, pieces in sources.items()},
    }
