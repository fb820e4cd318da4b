"""Pictures: the learning curve, the diagram of the network, and new music beside real music."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no screen is needed
from matplotlib.patches import FancyBboxPatch

from utils import theory
from utils.events import Vocabulary
from utils.heads import FADING, HEARD, Shape
from utils.measure.statistics import LENGTHS, Features

COLORS = ("tab:blue", "tab:orange")


def save(figure: Figure, path: Path) -> bool:
    """Write a picture. That it cannot be written (it may be open elsewhere) costs the picture and nothing else; returns
    whether it was."""
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        print(f"{path} could not be written: {error.strerror}.")
        return False
    return True


def learning_curve(history: list[dict], path: Path, unit: str = "note") -> None:
    """A PNG of nats a `unit`, which is what an event is, against epochs, for the training and the held-out pieces; see
    train.py for the rows."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, [row["train"] for row in history], ".-", color="tab:blue", label="training pieces (with dropout)")
    scored = [row for row in history if row["score"] == row.get("held_out")]
    if scored:
        best = min(scored, key=lambda row: row["held_out"])
        axes.plot(*zip(*((row["epoch"], row["held_out"]) for row in scored), strict=True), ".-", color="tab:orange")
        axes.lines[-1].set_label("held-out pieces")
        for name in [name for name in best if name.startswith("held_out_")]:
            axes.plot([row["epoch"] for row in scored], [row[name] for row in scored], "--", lw=1)
            axes.lines[-1].set_label(f"of which {name.removeprefix('held_out_')}")
        axes.plot(best["epoch"], best["held_out"], "o", ms=9, mfc="none", color="black")
        axes.lines[-1].set_label(f"kept: epoch {best['epoch']}, {best['held_out']:.3f}")
    axes.set(xlabel="epoch", ylabel=f"nats a {unit} (lower is better)", title=path.name.removesuffix(".png"))
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def network_diagram(vocabulary: Vocabulary, shape: Shape, path: Path) -> None:
    """A PNG of the network: what it reads of an event above, its heads below, shapes of arrays at the arrows."""
    heads, columns = shape.sees, len(vocabulary.inputs) + 1
    figure = Figure(figsize=(2.1 * columns, 5.2 + 0.9 * shape.layers), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")

    def box(x: float, y: float, text: str, color: str, width: float = 0.86) -> None:
        style = "round,pad=0,rounding_size=0.08"
        axes.add_patch(FancyBboxPatch((x - width / 2, y - 0.27), width, 0.54, fc=color, ec="gray", boxstyle=style))
        axes.text(x, y, text, ha="center", va="center", fontsize=9)

    def arrow(x0: float, y0: float, x1: float, y1: float, text: str = "") -> None:
        axes.annotate("", (x1, y1 + 0.27), (x0, y0 - 0.27), arrowprops={"arrowstyle": "-|>", "color": "gray"})
        axes.text((x0 + x1) / 2 + 0.04, (y0 + y1) / 2, text, fontsize=7.5, color="dimgray", va="center")

    middle, wide = (columns - 1) / 2, 0.62 * columns
    for x, (name, classes) in enumerate(vocabulary.inputs.items()):
        box(x, 0, f"{name}\n{classes} classes", "#e8f0fe")
        arrow(x, 0, x, -1, "(B, T)")
        box(x, -1, f"Embedding\n{shape.embedding}", "#d2e3fc")
    box(columns - 1, 0, f"keys struck lately\n{len(FADING)} fading traces", "#e8f0fe")
    arrow(columns - 1, 0, columns - 1, -1, f"(B, T, {len(FADING)}, 128)")
    box(columns - 1, -1, "heard from the\nlast note", "#d2e3fc")
    for x in range(columns):
        arrow(x, -1, middle + (x - middle) * 0.55, -2)
    y, features = -2, f"{shape.embedding * (columns - 1)} + {HEARD}"
    for layer in range(shape.layers):
        box(middle, y, f"LSTM {shape.units}, then dropout {shape.dropout}", "#fce8b2", wide)
        axes.text(middle + wide / 2 + 0.05, y + 0.33, f"(B, T, {features})", fontsize=7.5, color="dimgray")
        features = f"{shape.units}"
        y -= 1
        if layer + 1 < shape.layers:
            arrow(middle, y + 1, middle, y)
    blank = {"fc": "white", "ec": "none", "pad": 1}
    for k, (stream, seen) in enumerate(heads.items()):
        x = middle + (k - (len(heads) - 1) / 2) * 2.1
        arrow(middle + (x - middle) * 0.55, y + 1, x, y - 0.2, f"(B, T, {features})" if k == 0 else "")
        also = ", ".join(["+ heard", "recalled", *(f"next {name}" for name in seen)])
        axes.text(x, y + 0.16, also, fontsize=7.5, ha="center", style="italic", bbox=blank)
        box(x, y - 0.2, f"Dense {shape.hidden}, ReLU", "#e6f4ea", 1.1)
        arrow(x, y - 0.2, x, y - 1.2, f"(B, T, {shape.hidden})")
        by = "pitch + interval + around the key + recalled" if stream == "note" else "class + recalled"
        if stream in shape.numbers:
            by = "normal distribution around a number"
        box(x, y - 1.2, f"next {stream}, softmax {vocabulary.size(stream)}\n{by}", "#ceead6", 1.95)
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(y - 1.6, 0.4))
    save(figure, path)


def comparison(made: list[Features], real: list[Features], path: Path) -> bool:
    """A PNG of what `statistics.describe` counts, in new pieces beside training pieces: a bar for each share of a
    histogram, and for every other number how the pieces are spread over its range. Returns whether it was written."""
    titles = {"pitch_classes": "pitch classes", "range": "range", "notes_per_beat": "notes a beat"}
    titles |= {"polyphony": "notes sounding together", "note_lengths": "note lengths", "on_beat": "onsets on a beat"}
    titles |= {"repeated_figures": "repeated figures", "key_clarity": "key clarity"}
    lengths = [str(Fraction(length).limit_denominator(8)) for length in LENGTHS]
    labels = {"pitch_classes": ("", theory.NOTES), "note_lengths": ("quarter notes", lengths)}
    units = {"range": "semitones", "key_clarity": "correlation", "repeated_figures": "share", "on_beat": "share"}
    figure = Figure(figsize=(14, 6.4), layout="constrained")
    grid = figure.add_gridspec(2, 5)
    # A row is a histogram, two places wide, and three of the numbers.
    free = {True: [grid[0, :2], grid[1, :2]], False: [grid[row, column] for row in (0, 1) for column in (2, 3, 4)]}
    for name, title in titles.items():
        axes = figure.add_subplot(free[name in labels].pop(0))
        values = [np.array([features[name] for features in some], float) for some in (real, made)]
        names = ("training pieces", "new pieces")
        if name in labels:
            unit, ticks = labels[name]
            for side, (shares, label, color) in enumerate(zip(values, names, COLORS, strict=True)):
                axes.bar(np.arange(len(ticks)) + 0.4 * side - 0.2, shares.mean(axis=0), 0.4, label=label, color=color)
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set(xlabel=unit, ylabel="share of the notes")
        else:
            low, high = np.min(np.concatenate(values)), np.max(np.concatenate(values))
            bins = np.linspace(low, max(high, low + 1e-3), 13)  # all pieces may have the same number
            even = [np.full(len(each), 1 / len(each)) for each in values]
            axes.hist(values, bins, weights=even, color=COLORS, label=names)
            axes.set(xlabel=units.get(name, ""), ylabel="share of the pieces")
        axes.set_title(title)
        axes.grid(axis="y", alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(f"{len(made)} new pieces and {len(real)} passages of the training music")
    return save(figure, path)
