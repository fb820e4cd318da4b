"""Pictures: the learning curve, the diagram of the network, and new music compared with real music."""

import io
import textwrap
from fractions import Fraction
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no screen is needed
from matplotlib.patches import FancyBboxPatch

from utils import files, theory
from utils.errors import UserError
from utils.heads import Shape, heads_of
from utils.measure.statistics import LENGTHS, REPEATED, Features, defined
from utils.traces import FADING, HEARD
from utils.vocabulary import Vocabulary

COLORS = ("tab:blue", "tab:orange", "tab:green")
SETS = {"real": "training pieces", "generated": "new pieces", "held_out": "held-out pieces"}
# Features of `statistics.describe`: titles that say more than the names, and units.
TITLES = {"notes_per_beat": "notes a beat", "polyphony": "notes sounding together", "on_beat": "onsets on a beat"}
TITLES |= {"stuck": "stuck in a loop", "home": "ends in the first key", "drift": "drift of the mean pitch"}
UNITS = {"range": "semitones", "note_lengths": "quarter notes", "key_clarity": "correlation"}
UNITS |= {"repeated_figures": "share", "on_beat": "share", "stuck": "share", "home": "1: yes", "drift": "semitones"}
UNITS |= dict.fromkeys(REPEATED, "share")


def save(figure: Figure, path: Path) -> bool:
    """Write a picture; returns whether that worked. A failure (it may be open elsewhere) is printed, not raised."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    try:
        files.write(path, picture.getvalue())
        return True
    except UserError as error:
        print(error)
        return False


def kept_row(history: list[dict]) -> dict:
    """The row of the epoch whose weights were kept: the last one marked so, as earlier scores may be of other pieces;
    the one with the best score if the run is older than these marks."""
    return next((row for row in reversed(history) if row.get("kept")), min(history, key=lambda row: row["score"]))


def learning_curve(history: list[dict], path: Path, unit: str = "note") -> None:
    """Plot nats a `unit` (what an event is) against epochs, for the training and the held-out pieces, as a PNG; see
    train.py for the rows."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()

    def line(rows: list[dict], name: str, label: str, style: str = ".-", **kwargs) -> None:
        axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], style, label=label, **kwargs)

    line(history, "train", "training pieces (with dropout)", color=COLORS[0])
    scored = [row for row in history if row["score"] == row.get("held_out")]
    if scored:
        best = kept_row(scored)
        line(scored, "held_out", "held-out pieces", color=COLORS[1])
        for k, name in enumerate([name for name in best if name.startswith("held_out_")], len(COLORS)):
            line(scored, name, f"of which {name.removeprefix('held_out_')}", "--", lw=1, color=f"C{k}")
        kept = f"kept: epoch {best['epoch']}, {best['held_out']:.3f}"
        line([best], "held_out", kept, "o", ms=9, mfc="none", color="black")
    axes.set(xlabel="epoch", ylabel=f"nats a {unit} (lower is better)", title=path.name.removesuffix(".png"))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    save(figure, path)


def network_diagram(vocabulary: Vocabulary, shape: Shape, path: Path) -> None:
    """Draw the network as a PNG: what it reads of an event at the top, the match model on the right, the heads at the
    bottom, shapes of arrays beside the arrows."""
    heads, parts, styles, last = shape.sees, vocabulary.told_parts, len(vocabulary.styles), -1 - shape.layers
    traces, becomes = len(FADING), f"Embedding\n{shape.embedding}"
    read = [(f"{name}\n{size} classes", "(B, T)", becomes) for name, size in vocabulary.inputs.items()]
    read.append(("keys struck so far,\nlately and overall", f"(B, T, {traces}, 128)", f"heard; home\n{HEARD} numbers"))
    if parts:
        read.append(("the parts that play,\nand for how long", f"(B, T, 2, {parts})", f"who plays\n{parts} numbers"))
    if styles:
        read.append(("the style\nif it is told", f"(B, {styles})", f"share of each\n{styles} numbers"))
    columns = len(read)
    figure = Figure(figsize=(2.1 * (columns + 1), 5.5 + 0.9 * shape.layers), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")

    def box(x: float, y: float, text: str, color: str, width: float = 0.86) -> None:
        style = "round,pad=0,rounding_size=0.08"
        axes.add_patch(FancyBboxPatch((x - width / 2, y - 0.27), width, 0.54, fc=color, ec="gray", boxstyle=style))
        axes.text(x, y, text, ha="center", va="center", fontsize=9 - min(text.count("\n") ** 2 // 3, 3))

    def arrow(x0: float, y0: float, x1: float, y1: float, text: str = "", color: str = "gray") -> None:
        axes.annotate("", (x1, y1 + 0.27), (x0, y0 - 0.27), arrowprops={"arrowstyle": "-|>", "color": color})
        axes.text((x0 + x1) / 2 + 0.04, (y0 + y1) / 2, text, fontsize=7.5, color="dimgray", va="center")

    middle, wide = (columns - 1) / 2, 0.62 * columns
    for x, (text, array, becomes) in enumerate(read):
        box(x, 0, text, "#e8f0fe")
        arrow(x, 0, x, -1, array)
        box(x, -1, becomes, "#d2e3fc")
        arrow(x, -1, middle + (x - middle) * 0.55, -2)
    features = f"{shape.embedding * len(vocabulary.inputs)} + {HEARD + vocabulary.conditions}"
    for y in range(-2, last - 1, -1):
        if y < -2:
            arrow(middle, y + 1, middle, y)
        box(middle, y, f"{shape.cell.upper()} {shape.units}, then dropout {shape.dropout}", "#fce8b2", wide)
        axes.text(middle + wide / 2 + 0.05, y + 0.33, f"(B, T, {features})", fontsize=7.5, color="dimgray")
        features = f"{shape.units}"
    box(columns, 0, "the whole piece\nso far", "#e8f0fe")
    arrow(columns, 0, columns, last, "(B, all events)", "tab:red")
    contexts = [head.contexts for head in heads_of(vocabulary, shape)]
    of_line = f"\nand {contexts[-1] - contexts[0]} of the part" * (contexts[-1] > contexts[0])
    box(columns, last, f"match model\n{contexts[0]} contexts{of_line}", "#fad2cf")
    for k, (stream, seen) in enumerate(shape.sees.items()):
        x, y = middle + (k - (len(heads) - 1) / 2) * 2.1, last - 1.5
        arrow(middle + (x - middle) * 0.55, last, x, y, f"(B, T, {features})" if k == 0 else "")
        arrow(columns, last, x + 0.7, y, f"(B, T, {contexts[k]})" if k == len(heads) - 1 else "", "tab:red")
        also = "heard, recalled" + ", who plays" * (parts > 0) + ", style" * (styles > 0)
        also += f"; next\n{textwrap.fill(', '.join(seen).replace('_', ' '), 48)}" if seen else ""
        box(x, y, f"Dense {shape.hidden}, ReLU\n+ {also}", "#e6f4ea", 1.95)
        arrow(x, y, x, y - 1, f"(B, T, {shape.hidden})")
        by = "pitch + interval + around the key,\nin the harmony + recalled" if stream == "note" else "class + recalled"
        by = "normal distribution around a number" if stream in shape.numbers else by
        box(x, y - 1, f"next {stream}, softmax {vocabulary.size(stream)}\n{by}", "#ceead6", 1.95)
    if styles:
        x = middle - (len(heads) + 1) / 2 * 2.1
        arrow(middle + (x - middle) * 0.55, last, x, last - 1.5)
        box(x, last - 1.5, f"the style, softmax {styles}\nwhere it is not told", "#ceead6", 1.95)
    axes.set(xlim=(min(-0.6, middle - 1.05 * (len(heads) + 2 * (styles > 0))), columns + 0.6), ylim=(last - 2.9, 0.4))
    save(figure, path)


def comparison(features: dict[str, list[Features]], path: Path) -> bool:
    """Plot the features of `statistics.describe` for new pieces beside real ones, as a PNG: a bar for each share of a
    histogram, and for every other feature its distribution over the pieces. Returns whether it was written."""
    ticks = {"pitch_classes": theory.NOTES, "note_lengths": [str(Fraction(x).limit_denominator(12)) for x in LENGTHS]}
    figure = Figure(figsize=(17, 9.6), layout="constrained")
    sets = {what: features[name] for name, what in SETS.items() if name in features}
    # Six places in a row; the first two rows begin with a histogram that is two places wide.
    numbers, (pitches, lengths) = [name for name in features["real"][0] if name not in ticks], ticks
    numbers += ["."] * (4 - len(numbers))
    places = [pitches, pitches, *numbers[:4], lengths, lengths, *numbers[4:]]
    rows = np.array([*places, *["."] * (-len(places) % 6)]).reshape(-1, 6).tolist()
    for name, axes in figure.subplot_mosaic(rows).items():
        values = [defined(some, name) for some in sets.values()]
        axes.set(title=TITLES.get(name, name.replace("_", " ")), xlabel=UNITS.get(name, ""))
        axes.grid(axis="y", alpha=0.3)
        if name in ticks:
            axes.set_ylabel("share of the notes")
            axes.set_xticks(range(len(ticks[name])), ticks[name])
            width = 0.8 / len(sets)
            for i, (label, shares) in enumerate(zip(sets, values, strict=True)):
                middle = np.arange(len(ticks[name])) + width * (i - (len(sets) - 1) / 2)
                axes.bar(middle, shares.mean(axis=0), width, label=label, color=COLORS[i])
        else:
            axes.set_ylabel("share of the pieces")
            values = [each[:, 0] for each in values]
            even = [np.full(len(each), 1 / max(len(each), 1)) for each in values]
            together = np.concatenate([*values, [0.0] * (name in REPEATED)])
            low, high = together.min(), together.max()
            bins = np.linspace(low, max(high, low + 1e-3), 13)  # all pieces may have nearly the same number
            axes.hist(values, bins, weights=even, color=COLORS[: len(sets)], label=list(sets))
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(sets), frameon=False)
    counts = ", ".join(f"{len(some)} {what}" for what, some in sets.items())
    figure.suptitle(f"Passages with equal numbers of notes: {counts}")
    return save(figure, path)
