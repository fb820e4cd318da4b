"""The piano roll of a piece: a picture of its notes against bars and beats, in systems as a score has."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure  # not pyplot: no screen is needed

from utils.midi import Piece, clock
from utils.output import musicxml
from utils.theory import note_name

# ---- in inches
WIDTH = 14.0  # of the whole picture
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.85, 0.35, 1.3, 0.3, 0.5  # margins, and the space between two systems
KEYBOARD = 0.3  # length of the keys drawn left of a system
KEY = 0.065  # height of a key where the piece has few of them
SYSTEM = 3.2  # height of a system at the most
NOTE = 0.04  # height of a note at the least: where there are many keys it may cover a part of its neighbours'
# ---- in music
QUARTERS = 32  # in a system: eight bars of 4/4
MOST_SYSTEMS = 16  # a longer piece has more bars in each of them
FEWEST_KEYS = 24
COLOURS = {"new": ("#93b5e8", "#174a9c"), "prior": ("#f0ae72", "#b84a00")}  # of soft notes and of the loudest
BLACK_KEYS = (1, 3, 6, 8, 10)  # pitch classes


def systems(bars: np.ndarray, least: float) -> np.ndarray:
    """The bar lines (S + 1,) between which the systems stand: of all `bars` (ticks, the last is the end), so many to a
    system as `least` ticks allow, or more in a piece that would need more than MOST_SYSTEMS."""
    longest = max(least, bars[-1] / MOST_SYSTEMS)
    edges = [0]
    while edges[-1] < len(bars) - 1:
        last = np.searchsorted(bars, bars[edges[-1]] + longest, "right") - 1
        edges.append(max(int(last), edges[-1] + 1))
    return bars[edges]


@dataclass
class Page:
    """Where ticks and pitches stand on the picture, in inches from its upper left corner."""

    axes: Axes
    edges: np.ndarray  # (S + 1,) ticks between which the systems stand
    widest: float  # ticks that fill the width
    low: int  # the lowest key drawn
    high: int  # the key above the highest

    def __post_init__(self):
        self.inch = (WIDTH - LEFT - RIGHT) / self.widest  # to a tick
        self.key = min(KEY, SYSTEM / (self.high - self.low))  # height of a key
        self.systems = np.arange(len(self.edges) - 1)
        self.axes.set(xlim=(0, WIDTH), ylim=(self.y(self.low, self.systems[-1]) + BOTTOM, 0))
        self.axes.axis("off")

    def system(self, tick: np.ndarray) -> np.ndarray:
        """The systems (N,) in which ticks (N,) are."""
        return (np.searchsorted(self.edges, tick, "right") - 1).clip(0, self.systems[-1])

    def x(self, tick: np.ndarray, system: np.ndarray) -> np.ndarray:
        return LEFT + (tick - self.edges[system]) * self.inch

    def y(self, pitch: np.ndarray, system: np.ndarray) -> np.ndarray:
        """Lower edges of keys; that of `high` is the upper edge of the system."""
        return TOP + system * ((self.high - self.low) * self.key + GAP) + (self.high - pitch) * self.key

    def boxes(self, x0: np.ndarray, x1: np.ndarray, y0: np.ndarray, y1: np.ndarray, **how: object) -> None:
        """Draw rectangles; the arrays are broadcast against each other."""
        corners = np.stack(np.broadcast_arrays(x0, y0, x0, y1, x1, y1, x1, y0), axis=-1)
        self.axes.add_collection(PolyCollection(corners.reshape(-1, 4, 2), **how))

    def lines(self, x0: np.ndarray, x1: np.ndarray, y0: np.ndarray, y1: np.ndarray, **how: object) -> None:
        """Draw lines; the arrays are broadcast against each other."""
        ends = np.stack(np.broadcast_arrays(x0, y0, x1, y1), axis=-1)
        self.axes.add_collection(LineCollection(ends.reshape(-1, 2, 2), **how))

    def upright(self, tick: np.ndarray, **how: object) -> None:
        """Draw a line through the system of each of the ticks (N,)."""
        system = self.system(tick)
        x = self.x(tick, system)
        self.lines(x, x, self.y(self.high, system), self.y(self.low, system), **how)

    def text(self, x: float, y: float, words: str, size: float, **how: object) -> None:
        # A file may be called '$', which would begin a formula.
        how = {"va": "center", "color": "#5f6672", "fontsize": size, "parse_math": False, **how}
        self.axes.text(x, y, words, **how)

    def keyboard(self) -> None:
        """Draw the keys left of each system. Black ones go on behind the notes as stripes, and C as a line."""
        pitch, system = np.arange(self.low, self.high), self.systems[:, None]
        left, right = LEFT - KEYBOARD, self.x(self.edges[1:], self.systems)[:, None]
        black, c, f = (pitch[np.isin(pitch % 12, classes)] for classes in (BLACK_KEYS, 0, 5))
        lower, upper = self.y(black, system), self.y(black + 1, system)
        self.boxes(LEFT, right, lower, upper, facecolors="#f3f4f6", linewidths=0)
        self.boxes(left, left + 0.6 * KEYBOARD, lower, upper, facecolors="#444444", linewidths=0)
        edge = {"colors": "#c6cad1", "linewidths": 0.7}
        self.lines(left, right, self.y(c, system), self.y(c, system), **edge)
        self.lines(left, LEFT, self.y(f, system), self.y(f, system), **edge)
        bottom, top = self.y(self.low, self.systems), self.y(self.high, self.systems)
        self.boxes(left, LEFT, bottom, top, facecolors="none", edgecolors="#8a919c", linewidths=0.8)
        for s in self.systems:
            for key in c.tolist():
                self.text(left - 0.06, self.y(key + 0.5, s), note_name(key), 8, ha="right", va="center_baseline")

    def notes(self, piece: Piece, colours: np.ndarray) -> None:
        """Draw the notes (N,) in colours (N, 3); one that is held beyond its system goes on in the next."""
        end = piece.onset + piece.duration
        spans = zip(self.edges, self.edges[1:], strict=False)
        inside = [np.flatnonzero((piece.onset < until) & (end > begin)) for begin, until in spans]
        note, system = np.concatenate(inside), np.repeat(self.systems, [len(which) for which in inside])
        x0 = self.x(np.maximum(piece.onset[note], self.edges[system]), system)
        x1 = self.x(np.minimum(end[note], self.edges[system + 1]), system)
        x1 = x0 + np.maximum(x1 - x0 - 0.015, 0.02)  # a gap, so that a key struck again is seen
        middle, half = self.y(piece.pitch[note] + 0.5, system), max(0.88 * self.key, NOTE) / 2
        self.boxes(x0, x1, middle - half, middle + half, facecolors=colours[note], linewidths=0, zorder=3)


def shades(velocity: np.ndarray, loudest: int, kind: str) -> np.ndarray:
    """Colours (N, 3) of notes by their velocities (N,)."""
    soft, loud = (np.array(to_rgb(colour)) for colour in COLOURS[kind])
    return soft + (1.5 * velocity[:, None] / loudest - 0.5).clip(0, 1) * (loud - soft)


def write(piece: Piece, path: Path, about: str, prior: Piece | None = None) -> None:
    """A PNG of the notes of a piece against its bars and beats, in systems as a score has; `about` is the line under
    the title. The notes of `prior`, which are also in `piece`, have another colour, and a line stands where they end.

    Raises OSError if it cannot be written.
    """
    bars = musicxml.bars_of(piece)
    ticks = piece.ticks_per_quarter / musicxml.GRID  # in a step
    lines = np.array([bar.start for bar in bars] + [bars[-1].end]) * ticks
    longest = QUARTERS * piece.ticks_per_quarter
    edges = systems(lines, longest)
    low = max(int(piece.pitch.min()) - 2, 0)
    high = max(int(piece.pitch.max()) + 3, low + FEWEST_KEYS)
    figure = Figure()
    page = Page(figure.add_axes((0, 0, 1, 1)), edges, max(np.diff(edges).max(), longest / 2), low, high)
    figure.set_size_inches(WIDTH, page.axes.get_ylim()[0])
    title = musicxml.printable(path.stem)
    page.text(LEFT, 0.38, title, min(17, 1300 / max(len(title), 1)), color="#1d2129", weight="bold")
    page.text(LEFT, 0.72, f"{about} · {musicxml.key_name(piece)} · {len(piece)} notes · {clock(piece)} minutes", 10.5)
    page.keyboard()
    page.upright(np.concatenate([bar.beats()[:-1] for bar in bars]) * ticks, colors="#e1e4e9", linewidths=0.7)
    page.upright(lines[:-1], colors="#9aa0ab", linewidths=1)
    right, top, bottom = (page.x(edges[1:], page.systems), page.y(high, page.systems), page.y(low, page.systems))
    page.lines(right, right, top, bottom, colors="#9aa0ab", linewidths=1)
    loudest = int(piece.velocity.max())
    page.notes(piece, shades(piece.velocity, loudest, "new"))
    if prior and 0 < len(prior) < len(piece):
        page.notes(prior, shades(prior.velocity, loudest, "prior"))
        page.upright(np.sort(piece.onset)[len(prior) :][:1], colors="#c1121f", linewidths=2, zorder=4)
        for x, kind, name in ((WIDTH - RIGHT - 1.95, "prior", "prior"), (WIDTH - RIGHT - 1.15, "new", "continuation")):
            page.boxes(x, x + 0.18, 0.64, 0.8, facecolors=shades(np.array([1]), 1, kind))
            page.text(x + 0.26, 0.72, name, 10.5)

    # A number at the first bar of a system and where there is room, and above it the metre where one begins.
    free, before = 0.0, None
    for i, (bar, line, system) in enumerate(zip(bars, lines, page.system(lines), strict=False)):
        metre, number = f"{bar.numerator}/{bar.denominator}", f"{i + 1}"
        x, y = page.x(line, system), page.y(high, system)
        if metre != before:
            page.text(x, y - 0.25, metre, 8.5)
            before = metre
        if line in edges or x >= free:
            page.text(x, y - 0.1, number, 8.5)
            free = x + 0.1 * len(number) + 0.15
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters of a file's name that the font lacks
        figure.savefig(path, dpi=150)
