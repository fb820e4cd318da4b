"""The style of music: a network is told the share of each style that it has learnt, and it can recognise styles.

Shapes: B pieces side by side, G styles of a vocabulary.
"""

import math

import numpy as np

from utils import ensemble
from utils.errors import UserError
from utils.heads import log_softmax
from utils.instruments import listed
from utils.piece import Piece
from utils.states import State
from utils.stepper import Stepper
from utils.vocabulary import Vocabulary

Shares = tuple[float, ...]  # (G,) with the sum 1, or all 0 if the style is not told


def named(vocabulary: Vocabulary, name: str) -> Shares:
    """The whole share for the style with this `name`; all 0 if there is none."""
    return tuple(float(name == known) for known in vocabulary.styles)


def asked(vocabulary: Vocabulary, wish: str) -> Shares:
    """The shares that a `wish` names, such as 'haydn' or 'palestrina:0.7,bach:0.3', scaled to the sum 1; () if it is
    empty. Raises UserError for a style that the network has not learnt, and a share that is not a number above 0."""
    if not wish:
        return ()
    if not vocabulary.styles:
        raise UserError(
            f"--style {wish}: these weights have learnt no styles. Leave it out, or put the music of each style into a "
            "sub-folder of the music folder and train again."
        )
    shares = dict.fromkeys(vocabulary.styles, 0.0)

    def split(text: str) -> list[str]:
        """'bach:0.3' -> ['bach', '0.3']; the share is 1 if there is none."""
        return [text, "1"] if text in shares else [*text.rpartition(":")[::2]]

    for one in listed(wish, lambda text: split(text)[0] in shares and "," not in split(text)[1]) or [wish]:
        name, share = split(one)
        if name not in shares:
            raise UserError(f"--style names {name or one!r}; these weights have learnt {', '.join(shares)}.")
        try:
            number = float(share)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise UserError(f"--style {one}: the share of {name} must be a number above 0.")
        shares[name] += number
    return tuple(share / sum(shares.values()) for share in shares.values())


def recognised(state: State) -> np.ndarray:
    """(B, G) the probability of each style, from the mean of its log-probabilities after each event. `Stepper.step`
    must have read the last event, and the network must not have been told a style."""
    return np.exp(log_softmax(np, state.style / (state.length + 1)))  # the start token was read as well


def condition(vocabulary: Vocabulary, playing: np.ndarray, style: Shares) -> np.ndarray:
    """(C,) what a network is told of a piece: the mask `playing` (parts,), and the `style`, which is () for none."""
    return np.concatenate([playing, style or np.zeros(len(vocabulary.styles))])


def for_fragment(network: Stepper, wish: str, prior: Piece, name: str) -> tuple[Shares, list[str]]:
    """The style in which to continue a fragment called `name`: the one that a `wish` names, see `asked`, or else the
    one that it sounds most like to the network, with a sentence that says so."""
    vocabulary = network.vocabulary
    style = asked(vocabulary, wish)
    if style or not vocabulary.styles:
        return style, []
    heard, *_ = ensemble.hear(vocabulary, prior)
    state = network.read(network.start(1, heard.metre()), vocabulary.encode(heard)[0], heard.phase)
    likely = recognised(network.step(state)[1])[0]
    best = vocabulary.styles[likely.argmax()]
    told = f"{name} sounds like {best} ({100 * likely.max():.0f} %), so the new music is written in that style."
    return named(vocabulary, best), [told]
