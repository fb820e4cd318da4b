"""A picture of horizontal and vertical lines and words only, painted with NumPy. matplotlib can do more, but importing
it takes longer than all of this.

Lengths are in inches from the upper left corner, widths of lines and sizes of letters in points. Shapes: N lines, H x W
pixels.
"""

import functools
import importlib.util
import io
import itertools
from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

DPI, POINTS = 150, 72  # pixels and points in an inch
POINT = DPI / POINTS  # pixels
TEXT, TITLE = "#5f6672", "#1d2129"  # colours of words
SMALLEST = 0.6  # of the intended size of letters that have too little room
MIDDLE, CAPITAL = 0.26, 0.38  # distance of the baseline below the middle of 'lp' or of 'l', as a share of the font size
GREYS = 15  # grey levels that smooth the edges of letters
LEVEL = 3  # of compression, out of 9: the next level takes twice as long to save a third
Places, Colours = np.ndarray | float, np.ndarray | str


def rgb(colours: Colours) -> np.ndarray:
    """(..., 3) bytes of '#rrggbb', or of numbers from 0 to 1."""
    if isinstance(colours, str):
        return np.frombuffer(bytes.fromhex(colours[1:]), np.uint8)
    return np.rint(255 * colours).astype(np.uint8)


@functools.cache
def font(size: float, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, taken from matplotlib without importing it."""
    folder = Path(importlib.util.find_spec("matplotlib").origin).with_name("mpl-data") / "fonts" / "ttf"
    file = str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))  # Pillow 10.1 takes no Path
    return ImageFont.truetype(file, size * POINT, layout_engine=ImageFont.Layout.BASIC)


def writable(words: str) -> str:
    """Words without the characters that the font lacks, for which it draws an empty box."""
    letters = font(10, False)
    missing = bytes(letters.getmask("\uffff"))
    return " ".join("".join(letter for letter in words if bytes(letters.getmask(letter)) != missing).split())


def edges(places: Places) -> np.ndarray:
    """The pixel edges that are nearest to some places."""
    return np.rint(np.multiply(places, DPI)).astype(int)


def sides(middle: Places, width: float) -> tuple[np.ndarray, np.ndarray]:
    """The pixel edges on both sides of lines. Lines of one width have the same number of pixels."""
    wide = max(round(width * POINT), 1)
    first = np.rint(np.multiply(middle, DPI) - wide / 2).astype(int)
    return first, first + wide


class Canvas:
    """A white page of at most 256 colours, so that a pixel is one byte: the index of its colour. Colours are given as
    '#rrggbb', or as numbers from 0 to 1, (3,) or (N, 3)."""

    def __init__(self, width: float, height: float):
        self.pixels = np.zeros((edges(height), edges(width)), np.uint8)
        self.palette = {(255, 255, 255): 0}  # bytes of red, green and blue -> index

    def numbers(self, colours: np.ndarray) -> np.ndarray:
        """(...) the indices of colours (..., 3), bytes, in the palette; new colours are added to it."""
        flat = [self.palette.setdefault(tuple(c), len(self.palette)) for c in colours.reshape(-1, 3).tolist()]
        return np.array(flat, np.uint8).reshape(colours.shape[:-1])

    def level(self, y: Places, x0: Places, x1: Places, width: float, colours: Colours) -> None:
        """Draw horizontal lines."""
        self.fill(*sides(y, width), edges(x0), edges(x1), colours)

    def upright(self, x: Places, y0: Places, y1: Places, width: float, colours: Colours) -> None:
        """Draw vertical lines."""
        self.fill(edges(y0), edges(y1), *sides(x, width), colours)

    def fill(self, y0: Places, y1: Places, x0: Places, x1: Places, colours: Colours) -> None:
        """Fill boxes between pixel edges, each a number or (N,)."""
        boxes = np.broadcast_arrays(*np.atleast_1d(y0, y1, x0, x1, self.numbers(rgb(colours))))
        for top, bottom, left, right, index in zip(*(box.tolist() for box in boxes), strict=True):
            self.pixels[top:bottom, left:right] = index

    def glaze(self, x0: Places, y0: Places, x1: Places, y1: Places, colour: str) -> None:
        """Tint all that has been drawn so far in some boxes, as with transparent ink."""
        known = np.array(list(self.palette), np.uint16)
        for top, bottom, left, right in zip(*map(edges, (y0, y1, x0, x1)), strict=True):
            area = self.pixels[top:bottom, left:right]
            used = np.flatnonzero(np.bincount(area.ravel()))
            table = np.zeros(len(known), np.uint8)
            table[used] = self.numbers(known[used] * rgb(colour) // 255)
            area[:] = table[area]

    def text(self, x: float, y: float, words: str, size: float, room: float = np.inf, title: bool = False) -> None:
        """Write `words` from x on, centred vertically on y, in letters of `size` points, or smaller ones if they would
        be wider than `room`; if even the SMALLEST are, what is too much is left out."""
        least, whole = SMALLEST * size, words
        while font(size, title).getlength(words) > room * DPI and len(words) > 1:
            if size > least:
                size *= 0.95  # step by step: widths of letters are whole pixels
            else:
                whole = whole[:-1]
                words = whole.rstrip() + "\u2026"
        self.write(x, y + MIDDLE * size / POINTS, words, "ls", font(size, title), TITLE if title else TEXT)

    def label(self, x: float, y: float, words: str, size: float) -> None:
        """Write `words` so that they end at x, with their capital letters centred vertically on y."""
        self.write(x, y + CAPITAL * size / POINTS, words, "rs", font(size, False), TEXT)

    def write(self, x: float, y: float, words: str, anchor: str, letters: ImageFont.FreeTypeFont, colour: str) -> None:
        """Write words on a baseline at y; what extends beyond the page is cut off."""
        mask, (left, top) = letters.getmask2(words, "L", anchor=anchor)
        image = np.frombuffer(bytes(mask), np.uint8).reshape(mask.size[::-1])
        left, top = max(edges(x) + left, 0), max(edges(y) + top, 0)
        area = self.pixels[top : top + len(image), left : left + image.shape[1]]
        greys = np.rint(image[: len(area), : area.shape[1]] / 255 * GREYS).astype(int)
        shares = np.arange(GREYS + 1)[:, None] / GREYS
        table = self.numbers(np.rint(255 - shares * (255 - rgb(colour))).astype(np.uint8))
        np.copyto(area, table[greys], where=greys > 0)

    def png(self) -> bytes:
        """The page as a PNG file."""
        image, file = Image.fromarray(self.pixels), io.BytesIO()
        image.putpalette(bytes(itertools.chain(*self.palette)))
        image.save(file, "PNG", compress_level=LEVEL)
        return file.getvalue()
