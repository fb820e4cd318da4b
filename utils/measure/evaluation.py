"""How well networks predict pieces that they have not learnt from, and which of several networks predicts them best.

Nothing here prints: evaluate.py shows the numbers, experiments.py collects them. `asked` holds the settings of
evaluate.py. Shapes: P pieces, S streams.
"""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from utils import checkpoint, compose, dataset, events, settings
from utils.checkpoint import Checkpoint
from utils.dataset import Corpus, Source
from utils.errors import UserError
from utils.events import Events, Representation
from utils.measure import copying, given, judge, likelihood, ngram, statistics
from utils.piece import plural
from utils.sampler import Sampling
from utils.source import remarks_on
from utils.stepper import Stepper
from utils.wanted import Wanted

LEVEL = 0.05  # the usual level of significance
UNEVEN = 0.02  # share of the notes by which the numbers of values that two networks lack in a stream may differ
SHOWN = 8  # parts that are listed
SHUFFLES = 10_000  # random signs of the differences to try: p is then exact to a few thousandths near LEVEL


def read_music(
    weights: str | Path, about: dict, asked: SimpleNamespace
) -> tuple[list[Source], list[Source], list[str]]:
    """The pieces that a network learnt from, as far as they still exist; the pieces to score, from `asked.midi_dir` or
    held out; and remarks on anything unexpected. Raises UserError if there is nothing to score."""
    folder, names = asked.training_dir or about["settings"]["midi_dir"], about["split"]
    train, scored, remarks = [], [], []
    try:
        train, scored = copying.read_split(about, folder)
    except UserError as error:
        if not asked.midi_dir:
            raise UserError(f"{error} If the music is elsewhere, name its folder with --training-dir.") from None
    if not scored and not asked.midi_dir:
        raise UserError(
            f"None of the pieces held out in the training of {weights} is in {folder}: name their folder with "
            "--training-dir, or another folder to score with --midi-dir."
        )
    for what, named, there in (("training", names["train"], train), ("held-out", names["held_out"], scored)):
        if 0 < len(there) < len(named):
            remarks.append(f"{len(named) - len(there)} of {len(named)} {what} pieces are no longer in {folder}")
    if not train:
        without = "training pieces are recognised by name only"
        without += ", and guessing is the only baseline" if asked.baselines else ""
        without += "; new pieces cannot be compared with training pieces" if asked.samples else ""
        remarks.append(f"The training music of {weights} is not in {folder} (see --training-dir): {without}.")
    if asked.midi_dir:
        scored, skipped = copying.read_as_trained(about, asked.midi_dir)
        remarks += remarks_on(asked.midi_dir, scored, skipped)
    return train, scored, remarks


def evaluate(weights: str | Path, asked: SimpleNamespace) -> dict:
    """All that evaluate.py reports on one network, as JSON.

    nats_total, nats_per_note, nats_per_beat, heads (nats a note in each stream); baselines: the same for each of them;
    accuracy: the share of each stream's targets whose class was the likeliest; notes, events, beats, pieces;
    trained_on: pieces that the network learnt from; moved: values that the vocabulary lacked, scored as the nearest;
    per_piece; parts: name -> notes and nats_per_note; styles: see `likelihood.of_styles`; remarks: sentences; with
    `asked.samples` and training music, what `new_music` returns; with `asked.keep`, given: see `given.around`.
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
            remarks.append(f"too short to be compared, so left out: {short} of {plural(asked.samples, 'new piece')}")
        result |= new
    if asked.keep:
        folder = asked.midi_dir or asked.training_dir or about["settings"]["midi_dir"]
        result["given"] = given.around(network, train, unseen, folder, asked)
    return result | {"remarks": remarks}


def nats_by_part(score: likelihood.Score) -> dict[str, dict]:
    """How many notes each part has, and nats a note; the end of a piece belongs to no part."""
    inputs, vocabulary = score.corpus.inputs, score.corpus.vocabulary
    by_part, nats = {}, score.events.sum(axis=1)
    for i, known in enumerate(vocabulary.players.values()):
        mine = (inputs["part"] == i) & score.corpus.targets("part")
        if mine.any():
            by_part[known.name] = {"notes": int(mine.sum()), "nats_per_note": float(nats[mine].mean())}
    return by_part


def summary(nats: np.ndarray, corpus: Corpus, beats: int) -> dict:
    """The reported figures for the nats of each stream (S,), summed over the pieces of a corpus."""
    heads = dict(zip(corpus.vocabulary.streams, (nats / corpus.notes).tolist(), strict=True))
    total = float(nats.sum())
    return {"nats_total": total, "nats_per_note": total / corpus.notes, "nats_per_beat": total / beats, "heads": heads}


def new_music(
    weights: Checkpoint, network: Stepper, train: list[Source], unseen: list[Source], asked: SimpleNamespace
) -> dict:
    """Compare new pieces, made as generate_music.py makes them, with the training pieces and with `unseen` pieces.

    samples: see `beside_real`, with ending, the shares of whole pieces with each property of `statistics.ending`, and
    parts, name -> 'generated', 'real' or 'held_out' -> what it plays (`statistics.of_parts`); copying: what the new and
    the unseen pieces share with the training pieces. Empty if all new pieces are too short to be compared.
    """
    grid = weights.vocabulary.grid
    wanted, how = Wanted(asked.notes, asked.bars), Sampling.of(asked, compose.TEMPERATURE)
    new = compose.at_home(weights, network, asked.samples, how, wanted, asked.opening)
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
        known.name: {name: by_value[value] for name, by_value in played.items() if value in by_value}
        for value, known in players.items()
    }
    pieces = {name: [events.to_piece(streams, grid, grid) for streams in some] for name, some in music.items()}
    training, copied, as_many = dict(zip((s.name for s in train), pieces["real"], strict=True)), {}, asked.notes or None
    for name in ("generated", "held_out"):
        copied[name] = copying.longest_shared(training, [piece.take(slice(as_many)) for piece in pieces[name]])
    return {"samples": samples, "copying": copied}


def shares(rows: list[dict[str, bool]]) -> dict[str, float]:
    """The share of the rows in which each entry is true."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}


def beside_real(made: list[Events], music: dict[str, list[Events]], asked: SimpleNamespace, grid: int) -> dict:
    """Compare new music with passages of equal length from other `music`. These come from random places or, if whole
    pieces were made, from the beginning; of whole pieces at most `judge.JUDGED` notes are compared.

    pieces: name -> how many; notes: of each; statistics; beyond: shares of the pieces beyond `statistics.BOUNDS`;
    judge: what `judge.judge` returns; features: name -> the features of each piece, which the rest sums up.
    """
    # Where pieces are shorter, less of each is compared: nearly all new ones and half of the others are long enough.
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
    """Score networks on pieces that none of them learnt from, out of `asked.midi_dir` or out of all their held-out
    pieces. Nats a note are then comparable, as all networks predict the same notes of the same pieces. (This does not
    compare ways of training: that takes several networks of each, as in experiments.py.)

    Returns networks (path -> nats_per_note, heads, moved), pieces, notes, per_piece (name, notes, nats_per_note: path
    -> nats), verdict (sentences that compare the best network with each other one) and remarks. Raises UserError if
    the networks represent music differently or there is no such piece.
    """
    loaded = {path: checkpoint.load(path) for path in paths}
    if len(loaded) < 2:
        raise UserError(f"--weights names only {paths[0]}, more than once: name two networks to compare.")
    check_comparable(loaded)
    music = {path: read_music(path, weights.about, asked) for path, weights in loaded.items()}
    different = {}
    for source in (source for _, scored, _ in music.values() for source in scored):
        different.setdefault(copying.content(source), source)  # a piece that occurs twice counts under its first name
    different = list(different.values())
    learnt = [copying.trained_on(loaded[path].about, train, different) for path, (train, *_) in music.items()]
    pieces = [source for source, known in zip(different, np.any(learnt, axis=0), strict=True) if not known]
    if not pieces:
        raise UserError(
            f"Every piece found ({plural(len(different), 'piece')}) was learnt by {' or '.join(loaded)}: name a folder "
            "of other music with --midi-dir."
        )
    # Counted in the music itself, not as a vocabulary encodes it.
    notes = np.array([len(events.to_piece(source.events.streams)) for source in pieces])
    networks, nats = {}, {}
    for path, weights in loaded.items():
        corpus = dataset.encode(pieces, weights.vocabulary)
        each = likelihood.score(Stepper(weights), corpus).nats  # (P, S)
        nats[path], heads = each.sum(axis=1), each.sum(axis=0) / notes.sum()
        networks[path] = {"nats_per_note": float(heads.sum()), "moved": corpus.moved}
        networks[path]["heads"] = dict(zip(corpus.vocabulary.streams, heads.tolist(), strict=True))
    best, *others = sorted(networks, key=lambda path: networks[path]["nats_per_note"])
    verdict = []
    for other in others:
        less, more = (networks[path]["moved"] for path in (other, best))
        if flattered := [stream for stream in more if more[stream] - less[stream] > UNEVEN * notes.sum()]:
            verdict.append(
                f"No verdict on {best} and {other}: the first lacks far more values of {', '.join(flattered)}, which "
                "cost it little, as they are scored as the nearest of few known ones."
            )
        else:
            verdict.append(in_words(best, other, nats[other] - nats[best], notes, LEVEL / len(others)))
    per_piece = [
        {"name": source.name, "notes": count, "nats_per_note": {path: nats[path][i] / count for path in nats}}
        for i, (source, count) in enumerate(zip(pieces, notes.tolist(), strict=True))
    ]
    result = {"networks": networks, "pieces": len(pieces), "notes": int(notes.sum()), "per_piece": per_piece}
    remarks = [*dict.fromkeys(remark for *_, each in music.values() for remark in each)]
    return result | {"verdict": verdict, "remarks": remarks}


def check_comparable(loaded: dict[str, Checkpoint]) -> None:
    """Raises UserError if networks do not represent the same music by the same events."""
    (first, one), *others = ((path, asdict(weights.vocabulary.representation)) for path, weights in loaded.items())
    for path, other in others:
        for (name, this), that in zip(one.items(), other.values(), strict=True):
            if this != that and not (name == "streams" and sorted(this) == sorted(that)):
                shown = [",".join(value) if name == "streams" else value for value in (this, that)]
                shown = ["''" if value == "" else value for value in shown]
                raise UserError(
                    f"Nats a note of {first} and {path} cannot be compared, since they represent music differently: "
                    f"{settings.flag_of(name)} was {shown[0]} for the first and {shown[1]} for the second."
                )


def chance(difference: np.ndarray) -> float:
    """How often chance alone makes the sum of paired differences (P,) as large as it is, in either direction: the share
    of random sign flips that do so (Fisher's randomisation test; for comparing systems, Noreen 1989)."""
    from scipy import stats  # half a second

    how = {"permutation_type": "samples", "n_resamples": SHUFFLES, "random_state": 0}
    return float(stats.permutation_test((difference,), np.sum, **how).pvalue)


def in_words(best: str, other: str, saved: np.ndarray, notes: np.ndarray, level: float) -> str:
    """A sentence on whether the network `best` beats `other`, given the nats (P,) that it saves on pieces of so many
    `notes` (P,), and on whether chance, at this level of significance, explains that."""
    pieces, less = len(saved), saved.sum() / notes.sum()
    by = f"{less:.3f}" if less >= 0.0005 else "less than 0.001"
    if not saved.any():
        return f"{best} and {other} are equally good on each of {plural(pieces, 'piece')}."
    sentence = f"{best} is better than {other} by {by} nats a note, on {(saved > 0).sum()} of {plural(pieces, 'piece')}"
    if 2 * 0.5**pieces > level:  # the p of a network that is better on all of them, the smallest possible
        return f"{sentence}: too few pieces to tell whether that is more than chance."
    p = chance(saved)
    if p > level:
        return f"{sentence}: that may be chance (p = {p:.2f}), so neither is shown to be better."
    return f"{sentence}: more than chance (p {'< 0.001' if p < 0.001 else f'= {p:.3f}'})."
