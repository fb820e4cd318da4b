"""How good is it? Scores weights on music that they have not seen, beside baselines, or beside other weights.

python evaluate.py                                 the pieces that train.py held out
python evaluate.py --midi-dir my-music             every piece of a folder
python evaluate.py --samples 20                    also: compare 20 new pieces with the training music
python evaluate.py --weights weights/a.weights.h5,weights/b.weights.h5     which of two networks is better?
"""

import json
from pathlib import Path

from utils import checkpoint, files, settings
from utils.checkpoint import sibling
from utils.errors import UserError
from utils.measure import evaluation, statistics

# ---- what is scored
WEIGHTS = "weights/music.weights.h5"  # file that train.py wrote; several, with commas between them, are compared
MIDI_DIR = ""  # folder of which every piece is scored ('': the pieces that train.py held out)
TRAINING_DIR = ""  # folder of the music that the weights learnt from ('': where it was then)
BASELINES = True  # score guessing, counting and a 5-gram on the same pieces
JSON = ""  # file for all numbers as JSON (-: on the last line)
# ---- new pieces
SAMPLES = 0  # new pieces to compare with the training music (0: none)
NOTES = 400  # notes in each of them
TEMPERATURE = 0.9  # of the samples, as in generate_music.py
TOP_P = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED = 1  # the same seed makes the same pieces
PICTURE = ""  # PNG file of the comparison ('': NAME.samples.png beside the weights, in place of an earlier one)
PASSAGES = 100  # passages of the training music that they are compared with, at the most


def table(rows: dict[str, dict], columns: dict[str, str]) -> None:
    """Print, for each name of `rows`, some numbers (key -> heading) and the nats a note of each stream."""
    width, streams = max(16, *(len(name) + 1 for name in rows)), list(next(iter(rows.values()))["heads"])
    print(" " * width + "".join(f"{title:>12s}" for title in columns.values()) + "".join(f"{s:>10s}" for s in streams))
    for name, row in rows.items():
        heads = "".join(f"{row['heads'][stream]:10.3f}" for stream in streams)
        print(f"{name:{width}s}" + "".join(f"{row[key]:12.3f}" for key in columns) + heads)


def pieces(count: int) -> str:
    return f"{count} piece" if count == 1 else f"{count} pieces"


def changed(moved: dict[str, int]) -> str:
    """How many values of each stream a vocabulary lacked."""
    return ", ".join(f"{count} of {stream}" for stream, count in moved.items() if count) or "none"


def show_likelihoods(result: dict) -> None:
    table({"network": result, **result["baselines"]}, {"nats_per_note": "nats a note", "nats_per_beat": "nats a beat"})
    print(f"{'likeliest right':40s}" + "".join(f"{share:10.1%}" for share in result["accuracy"].values()))
    size = f"{pieces(result['pieces'])}, {result['notes']:,} notes, {result['beats']:,} beats"
    print(f"{size}; {result['trained_on']} of the pieces were trained on")
    print(f"values that the vocabulary lacks, scored as the nearest: {changed(result['moved'])}")
    ranked = sorted(result["per_piece"], key=lambda row: row["nats_per_note"])
    for what, row in (("least", ranked[0]), ("most", ranked[-1])):
        print(f"{what} surprising: {row['name']}, {row['nats_per_note']:.3f} nats a note")


def show_samples(result: dict, picture: Path) -> None:
    """Print what was measured in new pieces, and draw it."""
    samples = result["samples"]
    size = (
        f"{samples['pieces']} new pieces and {samples['real_pieces']} training pieces, {samples['notes']} notes of each"
    )
    print(f"\n{size}\n{statistics.as_text(samples['statistics'])}")
    print("longest run shared with the training music, in any key:")
    for what, copied in result["copying"].items():
        if copied:
            most = max(copied["per_piece"], key=lambda row: row["notes"])
            at = f"{most['name']}, beat {most['beat']:g}"
            print(f"  {what.replace('_', ' '):12s}median {copied['median']:g} notes, at most {copied['max']} ({at})")
    from utils.measure import plots  # matplotlib takes as long as all the rest

    features = samples.pop("features")
    if plots.comparison(features["generated"], features["real"], picture):
        print(f"Wrote {picture}")


def in_short(weights: str, result: dict) -> str:
    """The result as a sentence."""
    count, known = result["pieces"], result["trained_on"]
    seen = " that it never saw" if not known else " that it learnt from"
    if 0 < known < count:
        seen = f", {known} of which it learnt from"
    sentence = f"{Path(weights).name.removesuffix('.weights.h5')}: {result['nats_per_note']:.2f} nats a note"
    sentence += f" on {pieces(count)}{seen}"
    if not result["baselines"]:
        return f"{sentence}."
    name, baseline = list(result["baselines"].items())[-1]  # the best
    return f"{sentence} ({'guessing' if name == 'uniform' else name} {baseline['nats_per_note']:.2f})."


def show_comparison(result: dict) -> None:
    print(f"{pieces(result['pieces'])} that none of the networks learnt from, {result['notes']:,} notes")
    table(result["networks"], {"nats_per_note": "nats a note"})
    for path, row in result["networks"].items():
        if any(row["moved"].values()):
            print(f"values that {path} lacks, scored as the nearest: {changed(row['moved'])}")


def main(args) -> None:
    settings.at_least("samples", args.samples, 0)
    settings.at_least("notes", args.notes, statistics.FIGURE)
    settings.at_least("passages", args.passages, 2)
    if args.picture and not args.picture.endswith(".png"):
        raise UserError(f"--picture {args.picture} must end in .png.")
    asked = evaluation.Asked(**{name: getattr(args, name) for name in evaluation.Asked.__dataclass_fields__})
    alone = Path(args.weights).exists()  # a comma may be part of a name
    paths = [args.weights] if alone else [path.strip() for path in args.weights.split(",") if path.strip()]
    if len(paths) > 1:
        if args.samples:
            raise UserError("--samples looks at the pieces of one network: name one with --weights.")
        result = evaluation.compare(paths, asked)
    else:
        weights = checkpoint.to_play(paths[0])
        result = evaluation.evaluate(weights, asked)
    for remark in result["remarks"]:
        print(remark)
    if len(paths) > 1:
        show_comparison(result)
        print("\n".join(result["verdict"]))
    else:
        show_likelihoods(result)
        if "samples" in result:
            show_samples(result, Path(args.picture or sibling(weights, "samples.png")))
        print(in_short(weights, result))
    if args.json == "-":
        print(json.dumps(result))
    elif args.json:
        with files.replacing(args.json) as scratch:
            scratch.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    settings.run(main, __file__)
