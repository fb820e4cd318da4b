"""Score trained weights on music that they have not seen, against baselines or against other weights.

python evaluate.py                                 the pieces that train.py held out
python evaluate.py --midi-dir my-music             every piece of a folder
python evaluate.py --samples 20                    also: compare 20 new pieces with the training music
python evaluate.py --weights weights/a.weights.h5,weights/b.weights.h5     which of two networks is better?
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from utils import checkpoint, files, settings
from utils.errors import UserError
from utils.instruments import listed
from utils.measure import evaluation, judge, statistics
from utils.piece import plural
from utils.wanted import LIMITS

# ---- what is scored
WEIGHTS: str = "weights/music.weights.h5"  # file that train.py wrote; several, separated by commas, are compared
MIDI_DIR: str = ""  # folder whose pieces are all scored ('': the pieces that train.py held out)
TRAINING_DIR: str = ""  # folder of the training music ('': where it was during training)
BASELINES: bool = True  # also score guessing, counting and a 5-gram on the same pieces
JSON: str = ""  # file for all numbers as JSON (-: print them as the last line)
# ---- new pieces
SAMPLES: int = 0  # new pieces to compare with the training music (0: none)
NOTES: int = 400  # notes in each of them (0: until it ends by itself; then the first 150 notes of each are compared)
BARS: int = 0  # bars in each of them, instead of NOTES; the last bar brings the piece to an end
OPENING: str = "random"  # random: begin after a passage of the training music; none: from silence
TEMPERATURE: float | None = None  # of new pieces (none: the default of the scripts that write music)
TOP_P: float = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED: int = 1  # the same seed makes the same pieces
PICTURE: str = ""  # PNG file of the comparison ('': NAME.samples.png beside the weights, replacing an earlier one)
PASSAGES: int = 100  # compare them with at most this many passages of the training music
# ---- given parts
KEEP: str = ""  # part to keep in each held-out piece, such as Soprano, while the others are written anew ('': none)
PARTICLES: int = 256  # versions of each piece to make side by side, as in predict_with_prior.py


def table(rows: dict[str, dict], columns: dict[str, str], *above: str) -> None:
    """Print the lines `above`, then for each of `rows` its `columns` (key -> heading) and its nats in each stream."""
    width, streams = max(16, *(len(name) + 1 for name in rows)), list(next(iter(rows.values()))["heads"])
    headings = "".join(f"{title:>12s}" for title in columns.values()) + "".join(f"{stream:>10s}" for stream in streams)
    print(*above, " " * width + headings, sep="\n")
    for name, row in rows.items():
        heads = "".join(f"{row['heads'][stream]:10.3f}" for stream in streams)
        print(f"{name:{width}s}" + "".join(f"{row[key]:12.3f}" for key in columns) + heads)


def changed(moved: dict[str, int]) -> str:
    """In words, how many values of each stream a vocabulary lacked."""
    return ", ".join(f"{count} of {stream}" for stream, count in moved.items() if count)


def show_network(weights: str, result: dict, picture: Path) -> None:
    """Print the likelihoods, the baselines, the measurements of new pieces, and finally a summary in one sentence."""
    columns = {"nats_per_note": "nats a note", "nats_per_beat": "nats a beat"}
    table({"network": result, **result["baselines"]}, columns, *result["remarks"])
    print(f"{'accuracy':40s}" + "".join(f"{share:10.1%}" for share in result["accuracy"].values()))
    count, known = result["pieces"], result["trained_on"]
    pieces, size = plural(count, "piece"), f"{plural(result['notes'], 'note')}, {plural(result['beats'], 'beat')}"
    print(f"{pieces}, {size}; pieces that it was trained on: {known}")
    print(f"values missing from the vocabulary, scored as the nearest known one: {changed(result['moved']) or 'none'}")
    for name, row in sorted(result["parts"].items(), key=lambda item: -item[1]["notes"])[: evaluation.SHOWN]:
        print(f"{name:40s}{row['nats_per_note']:12.3f} nats a note, {plural(row['notes'], 'note')}")
    if styles := result["styles"]:
        for name, row in {**styles["each"], "all pieces of known style": styles}.items():
            told = f"{row['nats_per_note_told']:.3f} when told the style"
            print(f"{name:40.40s}{row['nats_per_note']:12.3f} nats a note, {told}; ", end="")
            print(f"recognised in {row['recognised']:.0%} of {plural(row['pieces'], 'piece')}")
    ranked = sorted(result["per_piece"], key=lambda row: row["nats_per_note"])
    for what, row in (("least", ranked[0]), ("most", ranked[-1])):
        print(f"{what} surprising: {row['name']}, {row['nats_per_note']:.3f} nats a note")
    if "samples" in result:
        show_samples(result, picture)
    if "given" in result:
        show_given(result["given"])
    seen = {0: " that it never saw", count: " that it learnt from"}.get(known, f", {known} of which it learnt from")
    for name, row in list(result["baselines"].items())[-1:]:  # the best
        seen += f" ({'guessing' if name == 'uniform' else name} {row['nats_per_note']:.2f})"
    name = checkpoint.name_of(weights)
    print(f"{name}: {result['nats_per_note']:.2f} nats a note on {pieces}{seen}.")


def show_samples(result: dict, picture: Path) -> None:
    """Print and plot the measurements of new pieces."""
    from utils.measure import plots  # importing matplotlib takes as long as all the rest

    samples, features = result["samples"], result["samples"].pop("features")
    titles = {"generated": "new", "real": "training", "held_out": "held out"}
    titles = {name: title for name, title in titles.items() if name in samples["pieces"]}
    counts = ", ".join(f"{count} {titles[name]}" for name, count in samples["pieces"].items())
    print(f"\npieces: {counts}; {samples['notes']} notes of each are compared")

    def row(name: str, values: Iterable[float | None], shown: str) -> None:
        print(f"{name.replace('_', ' '):18s}{cells(values, shown)}")

    measured, beyond, ending = [*titles, "overlap", "divergence"], samples["beyond"], samples["ending"]
    print(" " * 18 + "".join(f"{titles.get(name, name):>{10 + (name == 'divergence')}s}" for name in measured))
    for name, means in samples["statistics"].items():
        if not isinstance(means["real"], list):  # the histograms are in the picture
            row(name, map(means.get, measured), ".3f")
    print("share of the pieces")
    for name in beyond["real"]:
        row(name, (beyond[each][name] for each in titles), ".0%")
    whole = [f"{each['pieces']} {titles[name]}" for name, each in ending.items() if each["pieces"]]
    print(f"endings of the whole pieces ({', '.join(whole)}), as a share of them")
    for name in list(ending["real"])[1:]:
        row(name, (ending.get(each, {}).get(name) for each in titles), ".0%")
    show_parts(samples["parts"], titles)
    show_judge(samples["judge"])
    print("longest run shared with the training music, in any key:")
    for what, copied in result["copying"].items():
        if copied:
            most = max(copied["per_piece"], key=lambda row: row["notes"])
            at = f"{copied['max']} ({most['name']}, beat {most['beat']:g})"
            print(f"  {what.replace('_', ' '):12s}median {copied['median']:g} notes, at most {at}")
    if plots.comparison(features, picture):
        print(f"Wrote {picture}")


def cells(values: Iterable[float | None], shown: str) -> str:
    """Columns of numbers in the format `shown`; a dash stands for None."""
    return "".join(f"{'-' if value is None else format(value, shown):>10s}" for value in values)


def show_parts(parts: dict[str, dict], titles: dict[str, str]) -> None:
    """Print what each part plays in new pieces and in real ones."""
    names = {
        "share": "share of the notes",
        "pitch": "mean pitch",
        "together": "notes that begin while another of the part sounds",
        "kept": "pieces within its range, and monophonic if it usually is",
    }
    ranked = sorted((name for name in parts if "real" in parts[name]), key=lambda name: -parts[name]["real"]["share"])
    for name in ranked[: evaluation.SHOWN]:
        for key, title in names.items():
            values = [parts[name].get(kind, {}).get(key) for kind in titles]
            if values != [None] * len(titles):  # drums have no pitch
                print(f"{name + ': ' + title:84.84s}{cells(values, '.2f')}")


def show_judge(verdicts: dict[str, dict | None]) -> None:
    """Print how well the judge tells new pieces and, for comparison, real ones from training pieces, and by what."""
    if not (verdict := verdicts["generated"]):
        print(f"The judge needs at least {judge.LEAST} pieces of each kind: ask for more new ones with --samples.")
        return
    print("how often a trained judge is right about which piece of a pair is not a training piece (guessing: 50%)")
    print(f"  new pieces              {verdict['auc']:.0%}")
    print(f"  half the training pieces{verdict['floor']:5.0%} +- {verdict['spread']:.0%}: what chance alone gives")
    if held_out := verdicts["held_out"]:
        print(f"  held-out pieces         {held_out['auc']:.0%}")
    print("what gives new pieces away, in semitones and beats:", *verdict["giveaways"], sep="\n  ")


def show_given(result: dict) -> None:
    """Print how likely the music around a kept part is, and whether a judge can tell it from the training music."""
    titles = {"real": "as the composer wrote them", "naive": "kept notes forced", "weighed": "weighted versions"}
    heading = f"one part kept in {plural(result['pieces'], 'piece')}"
    print(f"{heading:32s}{'nats a note':>12s}{'told from training pieces':>27s}")
    for way, title in titles.items():
        verdict = result["judge"][way]
        right = "too few to judge" if verdict is None else f"{verdict['auc']:.0%}"
        chance = f" (chance {verdict['floor']:.0%} +- {verdict['spread']:.0%})" if verdict else ""
        print(f"  {title:30s}{result['nats'][way]:12.3f}{right:>27s}{chance}")


def show_comparison(result: dict) -> None:
    pieces, notes = plural(result["pieces"], "piece"), plural(result["notes"], "note")
    size = f"{pieces} that none of the networks learnt from, {notes}"
    table(result["networks"], {"nats_per_note": "nats a note"}, *result["remarks"], size)
    for path, row in result["networks"].items():
        if lacking := changed(row["moved"]):
            print(f"values missing from {path}, scored as the nearest known one: {lacking}")
    print(*result["verdict"], sep="\n")


def main(args) -> None:
    least = {"samples": 0, "notes": statistics.FIGURE * (args.notes != 0), "passages": 2, "bars": 0}
    for name, number in least.items():
        settings.at_least(name, getattr(args, name), number)
    for name in ("notes", "bars"):
        settings.at_most(name, getattr(args, name), LIMITS[name])
    settings.choice("opening", args.opening, ("random", "none"))
    if args.keep:
        settings.at_least("particles", args.particles, 1)
    if args.json not in ("", "-"):
        files.check_writable(args.json, "--json")
    args.notes *= not args.bars
    if args.picture and not args.picture.endswith(".png"):
        raise UserError(f"--picture {args.picture} must end in .png.")
    paths = [os.path.expanduser(path) for path in listed(args.weights, os.path.exists)]
    if not paths:
        raise UserError(f"--weights {args.weights} names no file.")
    if len(paths) > 1:
        for name in ("samples", "keep"):
            if getattr(args, name):
                raise UserError(f"{settings.flag_of(name)} works with a single network: name one with --weights.")
        args.baselines = False  # networks are compared only with each other
        result = evaluation.compare(paths, args)
        show_comparison(result)
    else:
        weights = checkpoint.to_play(paths[0])
        result = evaluation.evaluate(weights, args)
        show_network(weights, result, Path(args.picture or checkpoint.sibling(weights, "samples.png")))
    if args.json == "-":
        print(json.dumps(result))
    elif args.json:
        files.write(args.json, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    settings.run(main, __file__)
