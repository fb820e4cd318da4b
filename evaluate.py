"""How good is it? Scores weights on music that they have not seen, beside baselines; JSON on the last line.

python evaluate.py                                 the pieces that train.py held out
python evaluate.py --midi-dir my-music             every piece of a folder
python evaluate.py --samples 20                    also: compare 20 new pieces with the training music
"""

import json
from pathlib import Path

import numpy as np

from utils import checkpoint, compose, dataset, events, midi, sampler, settings
from utils.checkpoint import Checkpoint, sibling
from utils.dataset import Source
from utils.errors import UserError
from utils.measure import copying, likelihood, ngram, statistics
from utils.midi import Piece
from utils.stepper import Stepper

# ---- what is scored
WEIGHTS = "weights/music.weights.h5"  # file that train.py wrote
MIDI_DIR = ""  # folder of which every piece is scored ('': the pieces that train.py held out)
TRAINING_DIR = ""  # folder of the music that the weights learnt from ('': where it was then)
BASELINES = True  # score guessing, counting and a 5-gram on the same pieces
# ---- new pieces
SAMPLES = 0  # new pieces to compare with the training music (0: none)
NOTES = 400  # notes in each of them
TEMPERATURE = 0.9  # of the samples, as in generate_music.py
TOP_P = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED = 1  # the same seed makes the same pieces
PICTURE = ""  # PNG file of the comparison ('': NAME.samples.png beside the weights, in place of an earlier one)
PASSAGES = 100  # passages of the training music that they are compared with, at the most


def read(args, about: dict) -> tuple[list[Source], list[Source], Path]:
    """The training pieces, as far as they are there, the pieces to score, and the folder of the latter."""
    names, training = about["split"], args.training_dir or about["settings"]["midi_dir"]
    try:
        train, held_out = copying.read_split(about, training)
    except UserError as error:
        if not args.midi_dir:
            raise UserError(f"{error} It is where the held-out pieces were: see --training-dir.") from None
        train, held_out = [], []
    for what, found, all_of_them in (("training", train, names["train"]), ("held-out", held_out, names["held_out"])):
        if 0 < len(found) < len(all_of_them):
            print(f"{len(all_of_them) - len(found)} of {len(all_of_them)} {what} pieces are no longer in {training}")
    if args.midi_dir:
        sources, skipped = copying.read_as_trained(about, args.midi_dir)
        for name, reason in skipped:
            print(f"skipped: {name}: {reason}")
        return train, sources, Path(args.midi_dir)
    if not held_out:
        raise UserError(
            f"None of the {len(names['held_out'])} pieces that {args.weights} held out is in {training}: name their "
            "folder with --training-dir, or another folder to score with --midi-dir."
        )
    return train, held_out, Path(training)


def summary(nats: np.ndarray, corpus: dataset.Corpus, beats: int) -> dict:
    """Nats in each stream, (S,), as they are reported."""
    heads = dict(zip(corpus.vocabulary.streams, (nats / corpus.notes).tolist(), strict=True))
    total = float(nats.sum())
    return {"nats_total": total, "nats_per_note": total / corpus.notes, "nats_per_beat": total / beats, "heads": heads}


def likelihoods(args, weights: Checkpoint, stepper: Stepper, train: list[Source], scored: list[Source],
                folder: Path) -> dict:  # fmt: skip
    """Score the pieces, and print a table."""
    vocabulary, transpose = weights.vocabulary, weights.about["settings"]["transpose"]
    corpus = dataset.encode(scored, vocabulary)
    score = likelihood.score(stepper, corpus)
    beats = np.array([likelihood.beats(midi.read(folder / source.name), vocabulary.grid) for source in scored])
    trained_on = copying.trained_on(weights.about, train, scored)
    nats = score.nats  # (P, S)
    found = summary(nats.sum(axis=0), corpus, int(beats.sum()))
    baselines = {}
    if args.baselines:
        baselines["uniform"] = ngram.uniform(corpus)
    if args.baselines and train:
        baselines |= ngram.baselines(dataset.encode(train, vocabulary, transpose), corpus, transpose)
    found["baselines"] = {name: summary(total, corpus, int(beats.sum())) for name, total in baselines.items()}
    found["accuracy"] = dict(zip(vocabulary.streams, score.accuracy.tolist(), strict=True))
    found |= {"notes": corpus.notes, "events": corpus.events, "beats": int(beats.sum()), "pieces": corpus.pieces}
    found |= {"trained_on": int(trained_on.sum()), "moved": corpus.moved, "per_piece": []}
    rows = zip(scored, nats.sum(axis=1).tolist(), corpus.notes_each.tolist(), beats.tolist(), strict=True)
    for i, (source, total, notes, length) in enumerate(rows):
        row = {"name": source.name, "nats_per_note": total / notes, "nats_per_beat": total / length}
        row |= {"notes": notes, "events": len(source.events), "beats": length, "trained_on": bool(trained_on[i])}
        found["per_piece"].append(row)

    print(f"{'':16s}{'nats a note':>12s}{'nats a beat':>12s}" + "".join(f"{name:>10s}" for name in vocabulary.streams))
    for name, row in {"network": found, **found["baselines"]}.items():
        heads = "".join(f"{nats:10.3f}" for nats in row["heads"].values())
        print(f"{name:16s}{row['nats_per_note']:12.3f}{row['nats_per_beat']:12.3f}{heads}")
    print(f"{'likeliest right':40s}" + "".join(f"{share:10.1%}" for share in score.accuracy))
    if args.baselines and not train:
        print("The training music is not there to count in, so guessing is the only baseline: see --training-dir.")
    by = "" if train else " (by their names: the training music is not there)"
    size = f"{corpus.pieces} pieces, {corpus.notes:,} notes, {beats.sum():,} beats"
    print(f"{size}; {trained_on.sum()} of the pieces were trained on{by}")
    moved = ", ".join(f"{count} of {stream}" for stream, count in corpus.moved.items() if count)
    print(f"values that the vocabulary lacks, scored as the nearest: {moved or 'none'}")
    ranked = sorted(found["per_piece"], key=lambda row: row["nats_per_note"])
    for what, row in (("least", ranked[0]), ("most", ranked[-1])):
        print(f"{what} surprising: {row['name']}, {row['nats_per_note']:.3f} nats a note")
    return found


def new_passages(args, weights: Checkpoint, stepper: Stepper) -> list[Piece]:
    """New pieces, in steps from a bar line, made as generate_music.py makes them."""
    how = sampler.Sampling(args.temperature, args.top_p, args.seed)
    begun, grid = compose.openings(weights, args.samples, how.seed), weights.vocabulary.grid
    _, made = compose.new_pieces(stepper, begun, how, compose.Wanted(args.notes))
    pieces = []
    for opening, classes in zip(begun, made, strict=True):
        bar = events.bar_steps(opening["metre"], grid)
        phase = (opening["phase"][-1] + np.cumsum(stepper.steps(classes["offset"]))) % bar
        metres = np.tile(opening["metre"], (len(phase), 1))
        made = events.Events(weights.vocabulary.decode(classes), phase, metres)
        pieces.append(statistics.passage(made, 0, args.notes, grid))
    return pieces


def compare(args, weights: Checkpoint, made: list[Piece], train: list[Source], unseen: list[Source]) -> dict:
    """Statistics of the new pieces and of passages of the training music that are as long, and what the new pieces and
    the `unseen` ones copy; prints tables and draws a picture."""
    grid = weights.vocabulary.grid
    # Where most training pieces are shorter than the new ones, less of each is compared.
    length = min(args.notes, int(np.median([len(source.events) for source in train])))
    whole = [source.events for source in train]
    real = statistics.passages(whole, length, args.passages, grid, np.random.default_rng(args.seed))
    ours, theirs = ([statistics.describe(piece.take(slice(length))) for piece in some] for some in (made, real))
    table = statistics.compare(ours, theirs)
    print(f"\n{len(made)} new pieces and {len(real)} training pieces, {length} notes of each")
    print(statistics.as_text(table))

    training, names = copying.Notes.of(copying.in_steps(train, grid)), [source.name for source in train]
    excerpts = [piece.take(slice(args.notes)) for piece in copying.in_steps(unseen, grid)]
    copies = {"generated": made, "held_out": excerpts}
    copies = {what: copying.summary(training, names, pieces) for what, pieces in copies.items()}
    print("longest run shared with the training music, in any key:")
    for what, found in copies.items():
        if found:
            most = max(found["per_piece"], key=lambda row: row["notes"])
            at = f"{most['name']}, beat {most['beat']:g}"
            print(f"  {what.replace('_', ' '):12s}median {found['median']:g} notes, at most {found['max']} ({at})")

    picture = Path(args.picture) if args.picture else sibling(args.weights, "samples.png")
    from utils.measure import plots  # matplotlib takes as long as all the rest

    if plots.comparison(ours, theirs, picture):
        print(f"Wrote {picture}")
    return {"samples": {"pieces": len(made), "notes": length, "statistics": table}, "copying": copies}


def main(args) -> None:
    settings.at_least("samples", args.samples, 0)
    settings.at_least("notes", args.notes, statistics.FIGURE)
    settings.at_least("passages", args.passages, 2)
    if args.picture and not args.picture.endswith(".png"):
        raise UserError(f"--picture {args.picture} must end in .png.")
    args.weights = checkpoint.to_play(args.weights)
    weights = checkpoint.load(args.weights)
    stepper = Stepper(weights)
    train, scored, folder = read(args, weights.about)
    found = likelihoods(args, weights, stepper, train, scored, folder)
    if args.samples and train:
        unseen = [s for s, row in zip(scored, found["per_piece"], strict=True) if not row["trained_on"]]
        found |= compare(args, weights, new_passages(args, weights, stepper), train, unseen)
    elif args.samples:
        print("The training music is not there, so new pieces cannot be compared with it: see --training-dir.")
    print(json.dumps(found))


if __name__ == "__main__":
    settings.run(main, __file__)
