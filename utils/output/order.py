"""Makes the music that a visitor of the page asks for. Nothing here depends on how the page looks."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from utils import completion, compose, control, ensemble, fragment, instruments, styles, theory
from utils.checkpoint import Checkpoint
from utils.completion import Asked
from utils.compose import Made
from utils.constraints import Constraint
from utils.errors import UserError
from utils.piece import Piece
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.tonality import Tonality
from utils.voicing import divided
from utils.wanted import Wanted, length_of

AFTER, AROUND, ANEW = "a continuation", "new parts around those kept", "some bars anew"  # what is written
HEARD = 5  # times as many notes are allowed in a fragment that is only continued: it is simply read, note by note
# As composers spell them: with at most six sharps or flats in the key signature.
KEYS = sorted(
    [Tonality(fifths, "major").name for fifths in range(-5, 7)]
    + [Tonality(fifths, "minor").name for fifths in range(-3, 9)]
)


@dataclass(frozen=True)
class Order:
    """What a visitor asks for. Fields that are also settings of the scripts have the same names as there."""

    weights: Path
    prior: Piece | None = None  # the trimmed fragment, or a piece; None: new music from nothing
    name: str = "The fragment"  # what it is called at the beginning of sentences
    mode: str = AFTER  # AFTER, AROUND or ANEW; with a fragment
    keep: tuple[str, ...] = ()  # names of parts to keep; unless AFTER
    fill: str = ""  # bars to write anew; if ANEW
    most: int = 2000  # largest number of notes in a fragment that is not only continued: that takes long
    count: int = 1
    notes: int = 200
    bars: int = 0  # instead of notes, with an ending
    at_bar: bool = False
    style: str = ""  # several are mixed
    key: str = ""  # a key or a scale
    key_lock: bool = False
    players: tuple[str, ...] = ()  # names of parts of the network; if AROUND, those that are written
    instrument: str = ""
    temperature: float | None = None  # None: the default for what is written
    top_p: float = 1.0
    seed: int | None = None
    tempo: float = 0
    seconds, ending, opening, metre, scale = 0, True, "random", "", ""  # the same for all orders

    def __post_init__(self):
        if self.prior is None:
            return
        if self.mode == AROUND and not self.keep:
            raise UserError("Choose the parts to keep: the others are written around them.")
        if self.mode == ANEW and not self.fill.strip():
            raise UserError("Say which bars to write anew, such as 5-8.")
        most, limit = self.most, f"with more than {self.most} it can only be continued"
        if self.mode == AFTER:
            most, limit = HEARD * most, f"at most {HEARD * most} are allowed here"
        if len(self.prior) > most:
            raise UserError(f"{self.name} has {len(self.prior)} notes; {limit}: begin with less of it.")

    @property
    def key_strength(self) -> float:
        return control.STRENGTH if self.prior is None else control.STRENGTH_WITH_FRAGMENT


@dataclass(frozen=True)
class Filled:
    """The result of an order."""

    how: Sampling
    made: list[Made]  # the likeliest first
    before: Piece | None = None  # what is given in each: the fragment, or what is kept of it
    remarks: list[str] = field(default_factory=list)  # on what was heard or done differently from what one might expect


def may_be_kept(piece: Piece, network: Stepper) -> list[str]:
    """What the parts of a fragment are called, without their numbers, and the voices into which any are divided."""
    voices, sentences = divided(network.vocabulary, piece, "")
    names = [part.called() for part in piece.parts] + (ensemble.names_of(voices) if sentences else [])
    return list(dict.fromkeys(names))


def filled(order: Order, weights: Checkpoint, network: Stepper, *also: Constraint) -> Filled:
    """Make the music of an order; `also` are further constraints. Raises UserError if that cannot be done."""
    around = order.prior is not None and order.mode != AFTER
    how = Sampling.of(order, completion.TEMPERATURE if around else compose.TEMPERATURE).constrained(*also)
    vocabulary, programs = weights.vocabulary, instruments.programs(order.instrument)
    tempo = theory.microseconds(order.tempo) if order.tempo else 0
    length = length_of(order)
    if order.prior is None:
        style, players = styles.asked(vocabulary, order.style), ensemble.named(vocabulary, order.players)
        wanted = Wanted(**length, tempo=tempo, players=players, style=style, programs=programs)
        return Filled(how, compose.from_nothing(weights, network, order, how, wanted))
    prior, counted = fragment.counted(vocabulary, order.prior.played(), order.name)
    if tempo:
        prior = replace(prior, tempos=[(0, tempo)])
    wanted = Wanted(**length, name=order.name, programs=programs, at_bar=order.at_bar, prepend=True)
    if around:
        what = {"fill": order.fill} if order.mode == ANEW else {"others": ",".join(order.players)}
        wanted = Asked(order.name, tuple(order.keep), **what, programs=programs)
    made, before, remarks = completion.from_fragment(network, prior, order, how, wanted)
    return Filled(how, made, before, counted + remarks)
