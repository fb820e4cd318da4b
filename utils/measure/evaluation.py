"""How well networks predict pieces that they have not learnt from, and which of several predicts them best.

Nothing here prints: evaluate.py shows the numbers, experiments.py collects them. What is `asked` are the settings of
evaluate.py. Shapes: P pieces, S streams.
"""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from utils import checkpoint, compose, control, dataset, events, settings
from utils.checkpoint import Checkpoint
from utils.dataset import Corpus, Source
from utils.errors import UserError
from utils.events import Events, Representation
from utils.measure import copying, given, judge, likelihood, ngram, statistics
from utils.piece import plural
from utils.sampler import Sampling
from utils.source import remarks_on
from utils.stepper import Stepper

LEVEL = 0.05  # a difference that chance makes less often than this counts as more than chance, as is usual
UNEVEN = 0.02  # of the notes: by so many may differ how many values of a stream two networks lack
SHOWN = 8  # parts of which something is said
SHUFFLES = 10_000  # random signs of the differences that are tried: p is then exact to a few thousandths near LEVEL


def read_music(
    weights: str | Path, about: dict, asked: SimpleNamespace
) -> tuple[list[Source], list[Source], list[str]]:
    """The pieces that a network learnt from, as far as they are still there; those to score, in `asked.midi_dir` or
    held out; and sentences on what one may not expect. Raises UserError if there is nothing to score."""
    folder, names = asked.training_dir or about["settings"]["midi_dir"], about["split"]
    train, scored, remarks = [], [], []
    try:
        train, scored = copying.read_split(about, folder)
    except UserError as error:
        if not asked.midi_dir:
            raise UserError(f"{error} It is where the held-out pieces were: see --training-dir.") from None
    if not scored and not asked.midi_dir:
        raise UserError(
            f"No piece that {weights} held out is in {folder}: name their folder with --training-dir, or another "
            "folder to score with --midi-dir."
        )
    for what, named, there in (("training", names["train"], train), ("held-out", names["held_out"], scored)):
        if 0 < len(there) < len(named):
            remarks.append(f"{len(named) - len(there)} of {len(named)} {what} pieces are no longer in {folder}")
    if not train:
        without = "the pieces that were trained on are known by their names alone"
        without += ", and guessing is the only baseline" if asked.baselines else ""
        without += "; new pieces cannot be compared with it" if asked.samples else ""
        remarks.append(f"The training music of {weights} is not in {folder} (see --training-dir): {without}.")
    if asked.midi_dir:
        scored, skipped = copying.read_as_trained(about, asked.midi_dir)
        remarks += remarks_on(asked.midi_dir, scored, skipped)
    return train, scored, remarks


def evaluate(weights: str | Path, asked: SimpleNamespace) -> dict:
    """All that evaluate.py says of one network, as JSON.

    nats_total, nats_per_note, nats_per_beat, heads (nats a note of each stream); baselines: the same for each of them;
    accuracy: the share of each stream's targets whose class was the likeliest; notes, events, beats, pieces;
    trained_on: pieces that the network learnt from; moved: values that the vocabulary lacked, scored as the nearest;
    per_piece; parts: name -> notes and nats_per_note; styles: see `likelihood.of_styles`; remarks: sentences; and with
    `asked.samples` what `new_music` returns, if there is training music; with `asked.keep` given, see `given.around`.
    """
    loaded = checkpoint.load(weights)
    network, vocabulary, about = Stepper(loaded), loaded.vocabulary, loaded.about
    train, scored, remarks = read_music(weights, about, asked)
    learnt = copying.trained_on(about, train, scored)
    corpus = dataset.encode(scored, vocabulary)
    score = likelihood.score(network, corpus)
    beats, baselines = sum(source.beats for source in scored), {}
    if asked.baselines:  # uniform: all classes are equally likely
        baselines["uniform"] = corpus.is_target.sum(axis=0) * np.log([vocabulary.size(s) for s in vocabulary.streams])
    if asked.baselines and train:
        transpose = about["settings"]["transpose"]
        baselines |= ngram.baselines(dataset.encode(train, vocabulary, transpose), corpus, transpose)
    result = summary(score.nats.sum(axis=0), corpus, beats)
    result["baselines"] = {name: summary(nats, corpus, beats) for name, nats in baselines.items()}
    result["accuracy"] = dict(zip(vocabulary.streams, score.accuracy.tolist(), strict=True))
    result |= {"notes": corpus.notes, "events": corpus.events, "beats": beats, "pieces": corpus.pieces}
    result |= {"trained_on": int(learnt.sum()), "moved": corpus.moved}
    columns = (column.tolist() for column in (score.nats.sum(axis=1), corpus.notes_each, learnt))
    result["per_piece"] = [
        {"name": source.name, "nats_per_note": nats / notes, "nats_per_beat": nats / source.beats, "notes": notes}
        | {"events": len(source.events), "beats": source.beats, "trained_on": known}
        for source, nats, notes, known in zip(scored, *columns, strict=True)
    ]
    result |= {"parts": nats_by_part(score), "styles": likelihood.of_styles(network, score)}
    unseen = [source for source, known in zip(scored, learnt, strict=True) if not known]
    if asked.samples and train:
        new = new_music(loaded, network, train, unseen, asked)
        short = asked.samples - (new["samples"]["pieces"]["generated"] if new else 0)
        if short:
            remarks.append(f"too short to be compared, and left out: {short} of {plural(asked.samples, 'new piece')}")
        result |= new
    if asked.keep:
        folder = asked.midi_dir or asked.training_dir or about["settings"]["midi_dir"]
        result["given"] = given.around(network, train, unseen, folder, asked)
    return result | {"remarks": remarks}


def nats_by_part(score: likelihood.Score) -> dict[str, dict]:
    """What the notes of each part cost; the end of a piece is nobody's."""
    inputs, vocabulary = score.corpus.inputs, score.corpus.vocabulary
    told, nats = {}, score.events.sum(axis=1)
    for i, known in enumerate(vocabulary.players.values()):
        mine = (inputs["part"] == i) & score.corpus.targets("part")
        if mine.any():
            told[known.name] = {"notes": int(mine.sum()), "nats_per_note": float(nats[mine].mean())}
    return told


def summary(nats: np.ndarray, corpus: Corpus, beats: int) -> dict:
    """Nats of each stream (S,), summed over the pieces of a corpus, as they are reported."""
    heads = dict(zip(corpus.vocabulary.streams, (nats / corpus.notes).tolist(), strict=True))
    total = float(nats.sum())
    return {"nats_total": total, "nats_per_note": total / corpus.notes, "nats_per_beat": total / beats, "heads": heads}


def new_music(
    weights: Checkpoint, network: Stepper, train: list[Source], unseen: list[Source], asked: SimpleNamespace
) -> dict:
    """New pieces, made as generate_music.py makes them, beside the training music and pieces that are `unseen`.

    samples: see `beside_real`; ending, the shares of whole pieces that end so (`statistics.ending`); and parts, name ->
    'generated' or other music -> what it plays (`statistics.of_parts`); copying: what of the new and the unseen pieces
    is in the training music. Nothing where all new pieces are too short to be compared.
    """
    grid = weights.vocabulary.grid
    begun = compose.openings(weights, asked.samples, asked.seed, asked.opening)
    wanted = compose.Wanted(asked.notes, asked.bars, home=control.home(None, [one["key"] for one in begun]))
    new = compose.new_pieces(network, begun, Sampling.of(asked, compose.TEMPERATURE), wanted)
    form = Representation(grid=grid, max_beats=weights.vocabulary.representation.max_beats)
    made = [events.from_piece(one.piece, form) for one in new]
    if max(map(len, made)) < statistics.FIGURE:
        return {}
    others = {"real": [source.events for source in train], "held_out": [source.events for source in unseen]}
    samples = beside_real(made, others, asked, grid)
    ended = [piece for piece, one in zip(made, new, strict=True) if len(one.classes["offset"]) < wanted.most_events]
    whole = {"generated": [] if asked.notes else ended, "real": others["real"][: asked.passages]}
    samples["ending"] = {
        name: {"pieces": len(some)} | shares([statistics.ending(statistics.cut(piece, grid=grid)) for piece in some])
        for name, some in whole.items()
    }
    music = {name: [piece.streams for piece in some] for name, some in others.items()}
    music["generated"] = [weights.vocabulary.decode(one.classes) for one in new]
    players = weights.vocabulary.players
    played = {name: statistics.of_parts(some, players) for name, some in music.items()}
    samples["parts"] = {
        known.name: {name: told[value] for name, told in played.items() if value in told}
        for value, known in players.items()
    }
    pieces = {name: [events.to_piece(streams, grid, grid) for streams in some] for name, some in music.items()}
    training, copied, as_many = dict(zip((s.name for s in train), pieces["real"], strict=True)), {}, asked.notes or None
    for name in ("generated", "held_out"):
        copied[name] = copying.longest_shared(training, [piece.take(slice(as_many)) for piece in pieces[name]])
    return {"samples": samples, "copying": copied}


def shares(rows: list[dict[str, bool]]) -> dict[str, float]:
    """Of how many of the rows each entry is true."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}


def beside_real(made: list[Events], music: dict[str, list[Events]], asked: SimpleNamespace, grid: int) -> dict:
    """What is counted in new music and in passages of other music that are as long: from random places, or from the
    beginning where whole pieces were made, of which only so much counts as the judge can hear.

    pieces: name -> how many; notes of each; statistics; beyond: shares of the pieces beyond `statistics.BOUNDS`; judge:
    what `judge.judge` returns; features: what all of that sums up, name -> a list.
    """
    # Where pieces are shorter, less of each is compared: nearly all new ones, and half of the others, shall be there.
    shortest, real = np.quantile(list(map(len, made)), 0.1), np.median(list(map(len, music["real"])))
    length = int(min(asked.notes or judge.JUDGED, max(shortest, statistics.FIGURE), real))
    passages = {"generated": [statistics.cut(new, 0, length, grid) for new in made if len(new) >= length]}
    rng = np.random.default_rng(asked.seed)
    for name, pieces in music.items():
        long = [piece for piece in pieces if len(piece) >= length]
        chosen = [long[i] for i in rng.permutation(len(long))[: asked.passages]]
        begin = [int(rng.integers((len(piece) - length) * bool(asked.notes) + 1)) for piece in chosen]
        passages[name] = [statistics.cut(piece, at, length, grid) for piece, at in zip(chosen, begin, strict=True)]
    passages = {name: some for name, some in passages.items() if some}
    features = {name: [*map(statistics.describe, some)] for name, some in passages.items()}
    return {
        "pieces": {name: len(some) for name, some in passages.items()},
        "notes": length,
        "statistics": statistics.compare(features),
        "beyond": {name: shares(list(map(statistics.beyond, some))) for name, some in features.items()},
        "judge": {name: judge.judge(passages.get(name, []), passages["real"]) for name in ("generated", "held_out")},
        "features": features,
    }


def compare(paths: list[str], asked: SimpleNamespace) -> dict:
    """Score networks on the pieces that none of them learnt from: those of `asked.midi_dir`, or those that any of them
    held out. Nats a note can be compared then, as all say the same notes of the same pieces. (Ways of training cannot:
    that takes several networks of each, as in experiments.py.)

    Returns networks (path -> nats_per_note, heads, moved), pieces, notes, per_piece (name, notes, nats_per_note: path
    -> nats), verdict (sentences on the best network beside each other one) and remarks. Raises UserError if the
    networks write music in different ways or there is no such piece.
    """
    loaded = {path: checkpoint.load(path) for path in paths}
    if len(loaded) < 2:
        raise UserError(f"--weights names {paths[0]} alone, twice: name two networks to compare.")
    check_comparable(loaded)
    music = {path: read_music(path, weights.about, asked) for path, weights in loaded.items()}
    different = {}
    for source in (source for _, scored, _ in music.values() for source in scored):
        different.setdefault(copying.content(source), source)  # a piece that comes twice counts under its first name
    different = list(different.values())
    learnt = [copying.trained_on(loaded[path].about, train, different) for path, (train, *_) in music.items()]
    pieces = [source for source, known in zip(different, np.any(learnt, axis=0), strict=True) if not known]
    if not pieces:
        raise UserError(
            f"There is nothing but {plural(len(different), 'piece')} that {' or '.join(loaded)} learnt from: name a "
            "folder of other music with --midi-dir."
        )
    # Counted in the music, not in what a vocabulary makes of it.
    notes = np.array([len(events.to_piece(source.events.streams)) for source in pieces])
    networks, nats = {}, {}
    for path, weights in loaded.items():
        corpus = dataset.encode(pieces, weights.vocabulary)
        each = likelihood.score(Stepper(weights), corpus).nats  # (P, S)
        nats[path], heads = each.sum(axis=1), each.sum(axis=0) / notes.sum()
        networks[path] = {"nats_per_note": float(heads.sum()), "moved": corpus.moved}
        networks[path]["heads"] = dict(zip(corpus.vocabulary.streams, heads.tolist(), strict=True))
    best, *others = sorted(networks, key=lambda path: networks[path]["nats_per_note"])
    verdict = [in_words(best, other, nats[other] - nats[best], notes, LEVEL / len(others)) for other in others]
    moved = {stream: [row["moved"][stream] for row in networks.values()] for stream in networks[best]["moved"]}
    if uneven := [stream for stream, counts in moved.items() if np.ptp(counts) > UNEVEN * notes.sum()]:
        verdict = [
            f"No verdict: one network lacks far more values of {', '.join(uneven)} than another, and what is scored as "
            "the nearest of few costs little."
        ]
    per_piece = [
        {"name": source.name, "notes": count, "nats_per_note": {path: nats[path][i] / count for path in nats}}
        for i, (source, count) in enumerate(zip(pieces, notes.tolist(), strict=True))
    ]
    result = {"networks": networks, "pieces": len(pieces), "notes": int(notes.sum()), "per_piece": per_piece}
    remarks = [*dict.fromkeys(remark for *_, each in music.values() for remark in each)]
    return result | {"verdict": verdict, "remarks": remarks}


def check_comparable(loaded: dict[str, Checkpoint]) -> None:
    """Raises UserError if networks do not write the same music as the same events."""
    (first, one), *others = ((path, asdict(weights.vocabulary.representation)) for path, weights in loaded.items())
    for path, other in others:
        for (name, this), that in zip(one.items(), other.values(), strict=True):
            if this != that and not (name == "streams" and sorted(this) == sorted(that)):
                shown = [",".join(value) if name == "streams" else value for value in (this, that)]
                shown = ["''" if value == "" else value for value in shown]
                raise UserError(
                    f"Nats a note of {first} and {path} cannot be compared, since they do not say the same of the "
                    f"music: {settings.flag_of(name)} was {shown[0]} for one and {shown[1]} for the other."
                )


def chance(difference: np.ndarray) -> float:
    """How often chance alone makes the sum of paired differences (P,) as large as it is, in either direction: the share
    of random signs that do (Fisher's randomisation test; for comparing systems, Noreen 1989)."""
    rng = np.random.default_rng(0)
    sums = np.array([rng.choice((-1.0, 1.0), len(difference)) @ difference for _ in range(SHUFFLES)])
    as_large = np.abs(sums) >= np.abs(difference.sum()) - 1e-9  # sums in another order differ a little
    return float((as_large.sum() + 1) / (SHUFFLES + 1))


def in_words(best: str, other: str, saved: np.ndarray, notes: np.ndarray, level: float) -> str:
    """Whether the network `best` is better than `other`, given the nats (P,) that it saves on pieces of so many notes
    (P,), and whether chance, at this level, can explain it."""
    pieces, less = len(saved), saved.sum() / notes.sum()
    by = f"{less:.3f}" if less >= 0.0005 else "less than 0.001"
    if not saved.any():
        return f"{best} and {other} are equally good on each of {plural(pieces, 'piece')}."
    sentence = f"{best} is better than {other} by {by} nats a note, on {(saved > 0).sum()} of {plural(pieces, 'piece')}"
    if 2 * 0.5**pieces > level:  # what chance gives a network that is better on all of them
        return f"{sentence}: too few pieces to tell whether that is more than chance."
    p = chance(saved)
    if p > level:
        return f"{sentence}: that may be chance (p = {p:.2f}), so neither has shown that it is better."
    return f"{sentence}: more than chance (p {'< 0.001' if p < 0.001 else f'= {p:.3f}'})."
