"""The page of a piano roll: where its systems show ticks, keys and drums, and how these are drawn. Shapes: N notes, S
systems."""

import numpy as np

from utils import theory
from utils.output.canvas import POINTS, Canvas, Colours, Places
from utils.piece import Piece
from utils.theory import Bar

# ---- in inches
WIDTH = 14.0  # of the whole picture
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.85, 0.35, 1.3, 0.3, 0.5  # margins, and the space between two systems
KEYBOARD = 0.3  # length of the keys drawn left of a system
KEY = 0.065  # height of a key
ROW, STROKE = 0.13, 0.04  # height of a drum's row, and width of a stroke in it
STRIP = 0.08  # between the keys and the drums
LEGEND, COLUMNS = 0.24, 6  # height of a line of the legend, and names in a line
TALLEST = 75.0  # of a picture without drums: with all 128 keys in each of MOST_SYSTEMS a note is still 4 pixels high
NEAR = 0.02  # three pixels: lines that are nearer to each other cannot be told apart
# ---- in music
QUARTERS = 32  # in a system: eight bars of 4/4
MOST_LINES = 10_000  # vertical lines; of more, such as the beats of hours of music, those closer than NEAR are left out
MOST_SYSTEMS = 16  # a longer piece has more bars in each system
FEWEST_KEYS = 24  # in a system
BLACK_KEYS = (1, 3, 6, 8, 10)  # pitch classes
SHADE = "#fdeddc"  # background of the prior in a piece of several parts


def systems(bars: np.ndarray, least: float) -> np.ndarray:
    """The bar lines (S + 1,) at which systems begin and end, out of all `bars` (ticks, the last is the end). A system
    has the bars that fit into `least` ticks, or more of them in a piece that would need more than MOST_SYSTEMS."""
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
    """The lowest key of a system and the key above its highest: what its notes need, and a margin."""
    low, high = (pitch.min() - 2, pitch.max() + 3) if len(pitch) else (60, 60)  # around middle C if nothing sounds
    more = max(FEWEST_KEYS - (high - low), 0)
    low = min(max(low - more // 2, 0), 128 - FEWEST_KEYS)
    return low, min(max(high, low + FEWEST_KEYS), 128)


class Page:
    """Where ticks and pitches are on the picture, in inches from its upper left corner."""

    def __init__(self, pitched: Piece, drums: Piece, bars: list[Bar], rows: int, head: float):
        """A page for the pitched notes of a piece and for those of its drums, which need so many `rows`; `head`: inches
        above the first system."""
        self.step = pitched.ticks_per_quarter / theory.GRID  # ticks
        least, lines = QUARTERS * pitched.ticks_per_quarter, [bar.start for bar in bars] + [bars[-1].end]
        self.edges = systems(np.array(lines) * self.step, least)  # (S + 1,) ticks at which systems begin and end
        self.widest = max(np.diff(self.edges).max(), least / 2)  # ticks that fill the width
        needed = [keys(pitched.pitch[heard]) for heard in sounding(pitched, self.edges)]
        # (S,) the lowest key of each system, and the key above its highest
        self.low, self.high = np.array(needed).T * (len(pitched) > 0)
        self.rows = rows * sounding(drums, self.edges).any(axis=1)  # (S,) of drums
        self.systems, drawn = np.arange(len(self.low)), self.high - self.low
        above = head + GAP * self.systems
        self.key = min(KEY, (TALLEST - above[-1] - BOTTOM) / max(drawn.sum(), 1))  # height of a key
        strip = np.where(self.rows, ROW * self.rows + STRIP * (drawn > 0), 0)
        self.foot = above + (self.key * drawn + strip).cumsum()  # (S,) of each system
        self.bottom = self.foot - strip  # of its keys
        self.top = self.bottom - self.key * drawn
        self.canvas = Canvas(WIDTH, self.foot[-1] + BOTTOM)

    def system(self, tick: np.ndarray) -> np.ndarray:
        """The systems (N,) in which ticks (N,) are."""
        return (np.searchsorted(self.edges, tick, "right") - 1).clip(0, self.systems[-1])

    def x(self, tick: np.ndarray, system: np.ndarray) -> np.ndarray:
        return LEFT + (tick - self.edges[system]) * (WIDTH - LEFT - RIGHT) / self.widest

    def y(self, pitch: np.ndarray, system: np.ndarray) -> np.ndarray:
        """Lower edges of keys."""
        return self.bottom[system] - (pitch - self.low[system]) * self.key

    def upright(self, tick: np.ndarray, system: np.ndarray, width: float, colour: str) -> None:
        """Draw a line from top to bottom of a system at each of the ticks (N,); of very many, only one in every
        NEAR inches."""
        x = self.x(tick, system)
        if len(x) > MOST_LINES:
            _, which = np.unique(np.stack([system, x // NEAR]), axis=1, return_index=True)
            x, system = x[which], system[which]
        self.canvas.upright(x, self.top[system], self.foot[system], width, colour)

    def along(self, pitch: np.ndarray, system: np.ndarray, x0: Places, x1: np.ndarray, colours: Colours) -> None:
        """Draw bars, each of which almost fills the height of a key."""
        self.canvas.level(self.y(pitch + 0.5, system), x0, x1, 0.88 * self.key * POINTS, colours)

    def keyboard(self) -> None:
        """Draw the keys left of each system. Black keys continue behind the notes as stripes, and C as a line."""
        pitch = np.concatenate([np.arange(low, high) for low, high in zip(self.low, self.high, strict=True)])
        system, left = np.repeat(self.systems, self.high - self.low), LEFT - KEYBOARD
        right = self.x(self.edges[system + 1], system)
        black, c, f = (np.isin(pitch % 12, classes) for classes in (BLACK_KEYS, 0, 5))
        self.along(pitch[black], system[black], LEFT, right[black], "#f3f4f6")
        self.along(pitch[black], system[black], left, left + 0.6 * KEYBOARD, "#444444")
        y = self.y(pitch, system)
        for lines, until in ((c, right[c]), (f, LEFT)):
            self.canvas.level(y[lines], left, until, 0.7, "#c6cad1")
        for begin, end in ((left, self.top), (LEFT, self.bottom)):
            self.canvas.upright(begin, self.top, self.bottom, 0.8, "#8a919c")
            self.canvas.level(end, left, LEFT, 0.8, "#8a919c")
        for key, middle in zip(pitch[c].tolist(), y[c] - self.key / 2, strict=True):
            self.canvas.label(left - 0.06, middle, theory.note_name(key), 8)

    def bars(self, bars: list[Bar]) -> None:
        """Draw bars and their beats. Bars are numbered at the beginning of a system and where there is room. Above the
        numbers stands the metre where it changes, moved to the right if the one before needs the room."""
        line = np.array([bar.start for bar in bars]) * self.step
        beat = np.concatenate([bar.beats() for bar in bars]) * self.step
        system, shown = self.system(line), None
        self.upright(beat, self.system(beat), 0.7, "#e1e4e9")
        edges = np.append(line, self.edges[1:]), np.append(system, self.systems)
        self.upright(*edges, 1, "#9aa0ab")
        free = {}  # (system, row of text) -> x from which on there is room
        ends = self.x(np.append(line[1:], bars[-1].end * self.step), system)
        for bar, s, x, end in zip(bars, system, self.x(line, system), ends, strict=True):
            for row, words in enumerate((str(bar.number), "{}/{}".format(*bar.metre))):
                place = max(x, free.get((s, row), 0))
                if place == x if row == 0 else (place < end and words != shown):
                    self.canvas.text(place, self.top[s] - 0.1 - 0.15 * row, words, 8.5)
                    free[s, row] = place + 0.1 * len(words) + 0.15
                    shown = words if row else shown

    def notes(self, piece: Piece, colours: np.ndarray) -> None:
        """Draw notes in their colours (N, 3); one that is held beyond its system continues in the next."""
        system, note = sounding(piece, self.edges).nonzero()
        x0 = self.x(np.maximum(piece.onset[note], self.edges[system]), system)
        x1 = self.x(np.minimum((piece.onset + piece.duration)[note], self.edges[system + 1]), system)
        x1 = x0 + np.maximum(x1 - x0 - 0.015, 0.02)  # a gap, so that a key struck again is seen
        self.along(piece.pitch[note], system, x0, x1, colours[note])

    def strip(self, names: list[str]) -> None:
        """Draw the rows of the drums, from the bottom, with their names."""
        for s in np.flatnonzero(self.rows):
            y = self.foot[s] - ROW * np.arange(len(names) + 1)
            self.canvas.level(y, LEFT, self.x(self.edges[s + 1], s), 0.7, "#e1e4e9")
            for name, middle in zip(names, y - ROW / 2, strict=False):
                self.canvas.label(LEFT - 0.06, middle, name, 7)

    def strokes(self, piece: Piece, row: np.ndarray, colours: np.ndarray) -> None:
        """Draw notes of drums, each in its `row` (N,), all equally long, since their lengths mean nothing."""
        system = self.system(piece.onset)
        x, y = self.x(piece.onset, system), self.foot[system] - ROW * (row + 0.5)
        self.canvas.level(y, x, x + STROKE, 0.8 * ROW * POINTS, colours)

    def swatch(self, name: str, colour: Colours, x: float, y: float, room: float = np.inf) -> None:
        """Write a name beside its colour, both within `room` inches."""
        self.canvas.level(y, x, x + 0.16, 12, colour)
        self.canvas.text(x + 0.26, y, name, 10.5, room - 0.35)

    def shade(self, begin: int, end: int) -> None:
        """Colour the background between two ticks; the notes are drawn over it later."""
        left, right = (self.x(np.clip(tick, self.edges[:-1], self.edges[1:]), self.systems) for tick in (begin, end))
        self.canvas.glaze(left, self.top, right, self.foot, SHADE)
