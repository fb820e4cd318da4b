"""The piano roll of a piece: a picture of its notes against bars and beats, in systems as in a score. Each part has a
colour; drums have a strip of their own. Shapes: N notes, S systems."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from utils import ensemble, files, theory
from utils.instruments import FAMILIES, drum, family
from utils.output.canvas import Canvas, rgb, writable
from utils.output.systems import COLUMNS, LEFT, LEGEND, RIGHT, SHADE, TOP, WIDTH, Page
from utils.piece import Piece, plural

LONGEST, MOST_NOTES = 4096, 100_000  # quarters and notes that are drawn: a file may have too many for memory
SHADES = 16  # of each colour: 208 for twelve parts and drums, and a picture has at most 256 colours
MOST_DRUMS = 10  # rows in a strip
SEAM = "#c1121f"  # between a prior and its continuation
# The colours of soft notes and of the loudest (2, 3).
PAIRS = ("#93b5e8", "#174a9c"), ("#f0ae72", "#b84a00"), ("#a9aeb6", "#30353d")
NEW, PRIOR, DRUMS = np.array([[rgb(colour) for colour in pair] for pair in PAIRS]) / 255
# Those of the parts (12, 2, 3), the most different first. A search chose them so that to everybody, also with any of
# the three kinds of colour-blindness, any two of the loudest differ by 25 or more in CIELAB; ten is seen at a glance.
PARTS = "#174a9c #9d1400 #ffc414 #9dc4ff #4e274e #9d769d #d84eff #3beb89 #7600eb #c47600 #620014 #009d62".split()
PARTS = np.array([rgb(colour) for colour in PARTS]) / 255
PARTS = np.stack([1 - 0.75 * (1 - PARTS), PARTS], axis=1)


def shades(velocity: np.ndarray, loudest: int, tones: np.ndarray) -> np.ndarray:
    """Colours (N, 3) of notes by their velocities (N,); `tones`: the colours of soft notes and of the loudest ones, the
    same for all notes (2, 3) or one pair for each (N, 2, 3)."""
    soft, loud = tones[..., 0, :], tones[..., 1, :]
    share = (1.5 * velocity[:, None] / loudest - 0.5).clip(0, 1)
    return soft + np.rint(share * (SHADES - 1)) / (SHADES - 1) * (loud - soft)


def fewer(names: list[str], coarse: list[str], which: np.ndarray, most: int) -> list[str]:
    """Names of at most `most` groups for things with `names`: these names if they are few enough, else the `coarse`
    ones; if even these are too many, the rarest become one group. `which` (N,): the thing that each note belongs to."""
    if len(names) > most:
        names = coarse
    often = Counter(names[i] for i in which.tolist()).most_common()
    rare = {name for name, _ in often[most - 1 :]} if len(often) > most else set()
    return ["Others" if name in rare else name for name in names]


def names_of(piece: Piece) -> list[str]:
    """The usual names of the parts of a piece, as far as the picture can show them; if it cannot, that of the
    instrument."""
    parts = [part._replace(name=writable(part.name)) for part in piece.parts]
    return ensemble.names_of(replace(piece, parts=parts))


def colours_of(piece: Piece) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The legend of a piece without drums, name -> tones (2, 3), empty for a single part; and the tones of each note
    (N, 2, 3). If there are more parts than colours, the legend has families of instruments instead."""
    families = [FAMILIES[family(part.program)] for part in piece.parts]
    names = fewer(names_of(piece), families, piece.part, len(PARTS))
    tones = dict(zip(dict.fromkeys(names), PARTS, strict=False))
    if len(tones) < 2:
        return {}, np.broadcast_to(NEW, (len(piece), 2, 3))
    return tones, np.array([tones[name] for name in names])[piece.part]


def rows_of(drums: Piece) -> tuple[list[str], np.ndarray]:
    """The names of the rows in a strip of drums, from the bottom, and the row of each key (128,)."""
    used, which = np.unique(drums.pitch, return_inverse=True)
    names = [drum(key) for key in used.tolist()]
    # 'Low floor tom' and 'High tom' are toms.
    names = fewer(names, [name.split()[-1].capitalize() for name in names], which, MOST_DRUMS)
    rows, row = list(dict.fromkeys(names)), np.zeros(128, int)
    row[used] = [rows.index(name) for name in names]
    return rows, row


def pitched_and_drums(piece: Piece) -> tuple[Piece, Piece]:
    """The notes that have a pitch, and those of drums."""
    return piece.take(~piece.is_drum).played(), piece.take(piece.is_drum).played()


def beginning(piece: Piece) -> Piece:
    """As much of a piece as is drawn; at least its first note."""
    end = max(LONGEST * piece.ticks_per_quarter, int(piece.onset.min()) + 1)
    if len(piece) > MOST_NOTES:
        end = min(end, max(int(np.sort(piece.onset)[MOST_NOTES]), 1))
    piece = piece.take(piece.onset < end)
    return replace(piece, duration=np.minimum(piece.duration, end - piece.onset))


def is_new(piece: Piece, prior: Piece) -> np.ndarray:
    """(N,) which notes of a piece are not in `prior`."""

    def rows(some: Piece) -> Iterator[tuple]:
        return zip(some.onset.tolist(), some.pitch.tolist(), (some.parts[i] for i in some.part), strict=True)

    given = set(rows(prior))
    return np.array([row not in given for row in rows(piece)], bool)


def without(piece: Piece, new: np.ndarray) -> list[tuple[int, int]]:
    """(begin, end) in ticks of each bar of a piece that has no onset of a `new` (N,) note."""
    bars, onset = piece.bars(), piece.onset[new]
    lines = theory.edges(bars, piece.ticks_per_quarter)
    return [(begin, end) for begin, end in pairwise(lines) if not ((begin <= onset) & (onset < end)).any()]


def seam_of(piece: Piece, prior: Piece) -> np.ndarray:
    """(1,) the tick at which the first notes after all those of `prior` begin, or the tick after its last onset if
    there are none: new notes may join its last chord."""
    last = prior.onset.max()
    return np.append(np.sort(piece.onset[piece.onset > last]), last + 1)[:1]


def draw(piece: Piece, title: str, about: str, prior: Piece | None) -> Canvas:
    """The whole picture, see `write`."""
    shown, loudest = beginning(piece), piece.velocity.max()
    pitched, drums = pitched_and_drums(shown)
    (legend, tones), (rows, row) = colours_of(pitched), rows_of(drums)
    bars = theory.bars(shown.bars(), shown.onset, shown.ticks_per_quarter)
    page = Page(pitched, drums, bars, len(rows), TOP + LEGEND * -(-len(legend) // COLUMNS))
    if len(pitched):
        page.keyboard()
    page.bars(bars)
    room = WIDTH - LEFT - RIGHT
    both = prior is not None and 0 < len(prior) < len(piece)
    new = is_new(shown, prior) if both else np.ones(len(shown), bool)
    around = both and (shown.onset[new] < prior.onset.max()).any()
    continued = both and not around
    seam = seam_of(piece, prior) if continued else np.zeros(0, int)
    writing = {shown.parts[i] for i in np.unique(shown.part[new])}
    named = zip(names_of(pitched), pitched.parts, strict=True)
    given = {name for name, part in named if around and part not in writing}
    ground = without(shown, new) if around else [(0, int(seam[0]))] if continued and legend else []
    page.canvas.text(LEFT, 0.38, "".join(filter(str.isprintable, title)), 17, room, title=True)
    facts = f"{about} · {plural(len(piece), 'note')} · {piece.clock()} minutes"
    if shown.seconds() < piece.seconds():
        facts += f" · shown up to bar {bars[-1].number}"
    page.canvas.text(LEFT, 0.72, facts, 10.5, room - 2.1 * both)  # beside two swatches
    for i, (name, (_, loud)) in enumerate(legend.items()):
        line, column = divmod(i, COLUMNS)
        name += " (given)" * (name in given)
        page.swatch(name, loud, LEFT + column * room / COLUMNS, 1.05 + line * LEGEND, room / COLUMNS)
    page.strip(rows)
    if ground:
        page.swatch("given" if around else "prior", SHADE, LEFT + room - 1.95, 0.72)
    if continued and not legend:
        page.swatch("prior", PRIOR[1], LEFT + room - 1.95, 0.72)
        page.swatch("continuation", NEW[1], LEFT + room - 1.15, 0.72)
    for begin, end in ground:
        page.shade(begin, end)
    page.notes(pitched, shades(pitched.velocity, loudest, tones))
    page.strokes(drums, row[drums.pitch], shades(drums.velocity, loudest, DRUMS if len(pitched) else NEW))
    if continued and not legend:
        pitched, drums = pitched_and_drums(beginning(prior))
        page.notes(pitched, shades(pitched.velocity, loudest, PRIOR))
        page.strokes(drums, row[drums.pitch], shades(drums.velocity, loudest, PRIOR))
    page.upright(seam, page.system(seam), 2, SEAM)
    return page.canvas


def write(piece: Piece, path: Path, about: str, prior: Piece | None = None) -> None:
    """Draw the notes of a piece against its bars and beats as a PNG, in systems as in a score, each with the keys that
    it needs. The title is the name of the file; `about` is the line under it. The notes of `prior`, which are also in
    `piece`, have another colour, or another background if there are several parts, and a line marks their end. If new
    notes come between them, the bars without new notes have another background, and the legend marks the parts that are
    given entirely. Raises UserError if it cannot be written."""
    files.write(path, draw(piece, path.stem, about, prior).png())
