"""The piano roll of a piece: a picture of its notes against bars and beats, in systems as a score has."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure  # not pyplot, which would look for a screen

from utils import theory
from utils.midi import Piece, clock
from utils.theory import Bar

DPI = 150  # pixels an inch
# ---- in inches
WIDTH = 14.0  # of the whole picture
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.85, 0.35, 1.3, 0.3, 0.5  # margins, and the space between two systems
KEYBOARD = 0.3  # length of the keys drawn left of a system
KEY = 0.065  # height of a key
TALLEST = 75.0  # of the whole picture: with all 128 keys in each of MOST_SYSTEMS a note is still 4 pixels high
# ---- in music
QUARTERS = 32  # in a system: eight bars of 4/4
MOST_SYSTEMS = 16  # a longer piece has more bars in each of them
FEWEST_KEYS = 24  # in a system
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


def sounding(piece: Piece, edges: np.ndarray) -> np.ndarray:
    """(S, N) whether a note sounds in a system; one that is held from a system into the next sounds in both."""
    return (piece.onset < edges[1:, None]) & (piece.onset + piece.duration > edges[:-1, None])


def keys(pitch: np.ndarray) -> tuple[int, int]:
    """The lowest key of a system and the key above its highest: those that its notes need and a margin."""
    low, high = (pitch.min() - 2, pitch.max() + 3) if len(pitch) else (60, 60)  # around middle C if nothing sounds
    more = max(FEWEST_KEYS - (high - low), 0)
    low = min(max(low - more // 2, 0), 128 - FEWEST_KEYS)
    return low, min(max(high, low + FEWEST_KEYS), 128)


@dataclass
class Page:
    """Where ticks and pitches stand on the picture, in inches from its upper left corner."""

    axes: Axes
    edges: np.ndarray  # (S + 1,) ticks between which the systems stand
    widest: float  # ticks that fill the width
    low: np.ndarray  # (S,) the lowest key of each system
    high: np.ndarray  # (S,) the key above its highest

    def __post_init__(self):
        self.systems, drawn = np.arange(len(self.low)), self.high - self.low
        above = TOP + GAP * self.systems
        self.key = min(KEY, (TALLEST - above[-1] - BOTTOM) / drawn.sum())  # height of a key
        self.bottom = above + self.key * drawn.cumsum()  # (S,) of each system
        self.top = self.bottom - self.key * drawn
        self.axes.set(xlim=(0, WIDTH), ylim=(self.bottom[-1] + BOTTOM, 0))
        self.axes.axis("off")

    def system(self, tick: np.ndarray) -> np.ndarray:
        """The systems (N,) in which ticks (N,) are."""
        return (np.searchsorted(self.edges, tick, "right") - 1).clip(0, self.systems[-1])

    def x(self, tick: np.ndarray, system: np.ndarray) -> np.ndarray:
        return LEFT + (tick - self.edges[system]) * (WIDTH - LEFT - RIGHT) / self.widest

    def y(self, pitch: np.ndarray, system: np.ndarray) -> np.ndarray:
        """Lower edges of keys."""
        return self.bottom[system] - (pitch - self.low[system]) * self.key

    def upright(self, tick: np.ndarray, system: np.ndarray, **how: object) -> None:
        """Draw a line from top to bottom of a system at each of the ticks (N,)."""
        self.axes.vlines(self.x(tick, system), self.top[system], self.bottom[system], **how)

    def along(self, pitch: np.ndarray, system: np.ndarray, x0: np.ndarray, x1: np.ndarray, **how: object) -> None:
        """Draw bars that fill a key each, almost."""
        y = self.y(pitch + 0.5, system)
        self.axes.hlines(y, x0, x1, linewidth=0.88 * 72 * self.key, capstyle="butt", **how)  # 72 points an inch

    def text(self, x: float, y: float, words: str, size: float, room: float = np.inf, **how: object) -> None:
        """Write `words` in letters of `size` points, smaller if they would be wider than `room` inches."""
        # A file may be called '$', which would begin a formula.
        how = {"va": "center", "color": "#5f6672", "parse_math": False, **how}
        text = self.axes.text(x, y, words, fontsize=size, **how)
        most = room * self.axes.figure.dpi
        while room < np.inf and text.get_window_extent().width > most and text.get_fontsize() > 1:
            text.set_fontsize(0.95 * text.get_fontsize())  # step by step: widths of letters are whole pixels

    def keyboard(self) -> None:
        """Draw the keys left of each system. Black ones go on behind the notes as stripes, and C as a line."""
        pitch = np.concatenate([np.arange(low, high) for low, high in zip(self.low, self.high, strict=True)])
        system, left = np.repeat(self.systems, self.high - self.low), LEFT - KEYBOARD
        right = self.x(self.edges[system + 1], system)
        black, c, f = (np.isin(pitch % 12, classes) for classes in (BLACK_KEYS, 0, 5))
        self.along(pitch[black], system[black], LEFT, right[black], colors="#f3f4f6")
        self.along(pitch[black], system[black], left, left + 0.6 * KEYBOARD, colors="#444444")
        y = self.y(pitch, system)
        for lines, until in ((c, right[c]), (f, LEFT)):
            self.axes.hlines(y[lines], left, until, colors="#c6cad1", linewidth=0.7)
        around = [left, LEFT, LEFT, left, left], [self.top, self.top, self.bottom, self.bottom, self.top]
        self.axes.plot(*around, color="#8a919c", linewidth=0.8)
        for key, middle in zip(pitch[c].tolist(), y[c] - self.key / 2, strict=True):
            self.text(left - 0.06, middle, theory.note_name(key), 8, ha="right", va="center_baseline")

    def bars(self, bars: list[Bar], ticks: float) -> None:
        """Draw bars, with `ticks` to a step, and their beats. A number stands at the first bar of a system and where
        there is room, and above it the metre where it changes."""
        line = np.array([bar.start for bar in bars]) * ticks
        beat = np.concatenate([bar.beats() for bar in bars]) * ticks
        system, shown = self.system(line), None
        self.upright(beat, self.system(beat), colors="#e1e4e9", linewidth=0.7)
        edges = np.append(line, self.edges[1:]), np.append(system, self.systems)
        self.upright(*edges, colors="#9aa0ab", linewidth=1)
        free = {}  # (system, row of text) -> from where on there is room
        for bar, s, x in zip(bars, system, self.x(line, system), strict=True):
            for row, words in enumerate((str(bar.number), "{}/{}".format(*bar.metre))):
                if x >= free.get((s, row), 0) and (row == 0 or words != shown):
                    self.text(x, self.top[s] - 0.1 - 0.15 * row, words, 8.5)
                    free[s, row] = x + 0.1 * len(words) + 0.15
                    shown = words if row else shown

    def notes(self, piece: Piece, loudest: int, kind: str) -> None:
        """Draw notes in the colours of `kind`; one that is held beyond its system goes on in the next."""
        system, note = sounding(piece, self.edges).nonzero()
        x0 = self.x(np.maximum(piece.onset[note], self.edges[system]), system)
        x1 = self.x(np.minimum((piece.onset + piece.duration)[note], self.edges[system + 1]), system)
        x1 = x0 + np.maximum(x1 - x0 - 0.015, 0.02)  # a gap, so that a key struck again is seen
        self.along(piece.pitch[note], system, x0, x1, colors=shades(piece.velocity[note], loudest, kind), zorder=3)


def shades(velocity: np.ndarray, loudest: int, kind: str) -> np.ndarray:
    """Colours (N, 3) of notes by their velocities (N,)."""
    soft, loud = (np.array(to_rgb(colour)) for colour in COLOURS[kind])
    return soft + (1.5 * velocity[:, None] / loudest - 0.5).clip(0, 1) * (loud - soft)


def draw(figure: Figure, piece: Piece, title: str, about: str, prior: Piece | None) -> None:
    """Draw the whole picture, see `write`, and give the figure its size."""
    bars = theory.bars(piece.bars(), piece.onset, piece.ticks_per_quarter)
    step, quarters = piece.ticks_per_quarter / theory.GRID, QUARTERS * piece.ticks_per_quarter
    edges = systems(np.array([bar.start for bar in bars] + [bars[-1].end]) * step, quarters)
    low, high = np.array([keys(piece.pitch[heard]) for heard in sounding(piece, edges)]).T
    page = Page(figure.add_axes((0, 0, 1, 1)), edges, max(np.diff(edges).max(), quarters / 2), low, high)
    continued, room = prior is not None and 0 < len(prior) < len(piece), WIDTH - LEFT - RIGHT
    key = theory.key_name(*theory.key_of(piece.pitch, piece.duration))
    about = f"{about} · {key} · {len(piece)} notes · {clock(piece)} minutes"
    page.text(LEFT, 0.38, "".join(filter(str.isprintable, title)), 17, room, color="#1d2129", weight="bold")
    page.text(LEFT, 0.72, about, 10.5, room - 2.1 * continued)  # beside the legend
    page.keyboard()
    page.bars(bars, step)
    page.notes(piece, piece.velocity.max(), "new")
    if continued:
        page.notes(prior, piece.velocity.max(), "prior")
        seam = np.sort(piece.onset)[[len(prior)]]
        page.upright(seam, page.system(seam), colors="#c1121f", linewidth=2, zorder=4)
        for kind, name, x in (("prior", "prior", LEFT + room - 1.95), ("new", "continuation", LEFT + room - 1.15)):
            page.axes.hlines(0.72, x, x + 0.16, colors=COLOURS[kind][1], linewidth=12)
            page.text(x + 0.26, 0.72, name, 10.5)
    figure.set_size_inches(WIDTH, page.axes.get_ylim()[0])  # last: to measure words, matplotlib makes a whole picture


def write(piece: Piece, path: Path, about: str, prior: Piece | None = None, title: str | None = None) -> None:
    """A PNG of the notes of a piece against its bars and beats, in systems as a score has, each with the keys that it
    needs; `about` is the line under the title, which is by default the file's name. The notes of `prior`, which are
    also in `piece`, have another colour, and a line stands where they end. Raises OSError if it cannot be written."""
    figure = Figure(dpi=DPI)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters of a file's name that the font lacks
        draw(figure, piece, path.stem if title is None else title, about, prior)
        figure.savefig(path, dpi=DPI)
