"""What new music is asked to be like: who plays, how long it is, and in how many versions each piece is written."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from utils import settings, styles
from utils.control import Home
from utils.ensemble import Ensemble
from utils.errors import UserError
from utils.events import bar_steps
from utils.stepper import Stepper
from utils.theory import Metre

VERSIONS = 16  # of a piece, unless somebody says how many
LONG = 512  # at most so many bars in all versions of a piece together
BAR = 16  # notes in a bar, roughly, as in chorales
# The most that may be asked for: more would exceed any memory, or any patience.
LIMITS = {"notes": 1_000_000, "bars": 1000, "seconds": 10_000}


@dataclass(frozen=True)
class Wanted:
    """What new music is to be like, apart from how its events are sampled."""

    notes: int = 0  # new notes; 0: until the piece ends by itself
    # New bars, of all pieces or (B,) of each, after that in which the opening or the fragment ends; 0: `notes` counts
    bars: int | np.ndarray = 0
    seconds: float = 0  # instead of `bars`: about so many seconds, in whole bars
    ending: bool = True  # the last bar ends the piece; otherwise it is cut off there
    players: Ensemble | None = None  # who plays; None: the parts of the opening
    drums: bool = True  # keep the drums of the opening
    style: styles.Shares = ()  # (): that of the opening; after a fragment the network is told none
    programs: tuple[int, ...] = ()  # sounds of the first parts, whatever they are; the others keep their own
    form: list[int] | None = None  # of the piece, with its fragment, see `form`; None: that of the opening's piece
    home: Home | None = None  # the tonality of each opening, or of the fragment; None: no tonality is imposed
    at_bar: bool = False  # what follows a fragment begins at the next bar line
    name: str = "The fragment"  # what messages call the fragment at their beginning
    tempo: int = 0  # microseconds per quarter note; 0: that of the opening; a fragment keeps its own
    prepend: bool = False  # keep the opening or the fragment in front of the new notes
    least_events: int = 32  # before a piece may end by itself
    most_events: int = 5000  # after which a piece that does not end by itself is cut off
    versions: int | None = None  # of each piece, written side by side, one of which is kept; see `in_versions`

    @property
    def by_bars(self) -> bool:
        return bool(np.any(self.bars) or self.seconds)

    @property
    def ends(self) -> bool:
        """Whether the last bar brings the piece to an end."""
        return self.by_bars and self.ending


def check_length(args: SimpleNamespace, least_notes: int) -> None:
    """Raises UserError if the settings notes, bars and seconds are out of range, or contradict each other."""
    for name, most in LIMITS.items():
        settings.at_least(name, getattr(args, name), least_notes if name == "notes" else 0)
        settings.at_most(name, getattr(args, name), most)
    if args.bars and args.seconds:
        raise UserError("--bars and --seconds both say how long the music should be: give one of them.")


def length_of(args: SimpleNamespace) -> dict:
    """The fields of Wanted that say how long new music is, from the settings notes, bars, seconds and ending."""
    notes = 0 if args.bars or args.seconds else args.notes
    return {"notes": notes, "bars": args.bars, "seconds": args.seconds, "ending": args.ending}


def in_bars(wanted: Wanted, tempos: list[int], metres: Iterable[Metre], grid: int) -> Wanted:
    """`wanted` with the bars of each piece instead of its seconds, if these are given: in its tempo and its metre."""
    if not wanted.seconds:
        return wanted
    quarters = wanted.seconds * 1e6 / np.array(tempos)
    bar = np.array([bar_steps(metre, grid) for metre in metres])
    return replace(wanted, bars=np.maximum(np.round(quarters * grid / bar), 1).astype(int), seconds=0)


def in_versions(network: Stepper, wanted: Wanted, usual: int = VERSIONS) -> Wanted:
    """`wanted` with its number of versions of each piece, or the `usual` one: fewer if pieces are long, one if nobody
    knows their length, or if neither the network's ear nor the way they end can tell versions apart."""
    most = usual if wanted.versions is None else wanted.versions
    bars = np.max(wanted.bars) or wanted.notes / BAR
    comparable = wanted.ends or bars and network.ear is not None
    return replace(wanted, versions=int(np.clip(LONG // bars, 1, most)) if comparable else 1)
