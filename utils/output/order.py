"""From what a visitor of the page asks for to music. Nothing here knows how the page looks."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from utils import completion, compose, control, ensemble, fragment, instruments, styles, theory
from utils.checkpoint import Checkpoint
from utils.completion import Asked
from utils.compose import Made, Wanted
from utils.constraints import Constraint
from utils.errors import UserError
from utils.piece import Piece
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.tonality import Tonality

AFTER, AROUND, ANEW = "go on after it", "other parts around those kept", "bars anew"  # what is written
HEARD = 5  # times as many notes may a fragment have that is only continued: it is read one note after the other
# As composers spell them: with six sharps or flats at most in their signatures.
KEYS = sorted(
    [Tonality(fifths, "major").name for fifths in range(-5, 7)]
    + [Tonality(fifths, "minor").name for fifths in range(-3, 9)]
)


@dataclass(frozen=True)
class Order:
    """What a visitor asks for. What is a setting of the scripts, too, is called as it is there."""

    weights: Path
    prior: Piece | None = None  # the fragment, as it was trimmed, or a piece; None: new music from nothing
    name: str = "The fragment"  # what it is called at the beginning of sentences
    mode: str = AFTER  # AFTER, AROUND or ANEW; with a fragment
    keep: tuple[str, ...] = ()  # names of parts that stay; unless AFTER
    fill: str = ""  # bars that are to be new; if ANEW
    most: int = 2000  # notes of a piece that is not only continued, which takes long
    count: int = 1
    notes: int = 200
    bars: int = 0  # instead of notes, with an ending
    at_bar: bool = False
    style: str = ""  # several are mixed
    key: str = ""  # a key or a scale
    scale: str = ""
    key_lock: bool = False
    players: tuple[str, ...] = ()  # names of parts of the network; if AROUND, those that are written
    instrument: str = ""
    temperature: float | None = None  # None: what suits that which is written
    top_p: float = 1.0
    seed: int | None = None
    tempo: float = 0
    seconds, ending, opening, metre = 0, True, "random", ""  # the same for all orders

    def __post_init__(self):
        if self.prior is None:
            return
        if self.mode == AROUND and not self.keep:
            raise UserError("Choose the parts to keep: the others are written around them.")
        if self.mode == ANEW and not self.fill.strip():
            raise UserError("Say which bars shall be new, such as 5-8.")
        most, but = self.most, f"with more than {self.most} it can only be continued"
        if self.mode == AFTER:
            most, but = HEARD * most, f"{HEARD * most} are the most here"
        if len(self.prior) > most:
            raise UserError(f"{self.name} has {len(self.prior)} notes; {but}: begin with less of it.")

    @property
    def key_strength(self) -> float:
        return control.STRENGTH if self.prior is None else control.STRENGTH_WITH_FRAGMENT


@dataclass(frozen=True)
class Filled:
    """What came of an order."""

    how: Sampling
    made: list[Made]  # the likeliest first
    before: Piece | None = None  # what is given in each: the fragment, or what is kept of it
    remarks: list[str] = field(default_factory=list)  # on what was heard or done otherwise than one might expect


def filled(order: Order, weights: Checkpoint, network: Stepper, *also: Constraint) -> Filled:
    """Make what is asked for, under constraints that are `also` to hold. Raises UserError if that cannot be done."""
    around = order.prior is not None and order.mode != AFTER
    how = Sampling.of(order, completion.TEMPERATURE if around else compose.TEMPERATURE).constrained(*also)
    vocabulary, programs = weights.vocabulary, instruments.programs(order.instrument)
    tempo = theory.microseconds(order.tempo or 120)
    length = compose.length_of(order, tempo)
    if order.prior is None:
        style, players = styles.asked(vocabulary, order.style), ensemble.named(vocabulary, order.players)
        wanted = Wanted(**length, tempo=tempo, players=players, style=style, programs=programs)
        return Filled(how, compose.from_nothing(weights, network, order, how, wanted))
    prior, counted = fragment.counted(vocabulary, order.prior.played(), order.name)
    if order.tempo:
        prior = replace(prior, tempos=[(0, tempo)])
    wanted = Wanted(**length, name=order.name, programs=programs, at_bar=order.at_bar, prepend=True)
    if around:
        what = {"fill": order.fill} if order.mode == ANEW else {"others": ",".join(order.players)}
        wanted = Asked(order.name, ",".join(order.keep), **what, programs=programs)
    made, before, remarks = completion.from_fragment(network, prior, order, how, wanted)
    return Filled(how, made, before, counted + remarks)
