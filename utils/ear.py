"""What a network's ear makes of the music that the network writes, a little at each note.

The ear is a logistic regression that tells real from new music, learnt when training ends (`ear_training.py`). Where
several versions of a piece are written side by side, what it says of each event adds up to what a version is worth, and
copies of the good ones take the place of the bad ones. To add the energy of such a classifier to a model of sequences
is due to Deng et al. (2020); EXPERIMENTS.md, 'What gives chorales away', has what it is worth.

Shapes: B versions, U hidden units of all heads, K powers of them.
"""

import numpy as np

from utils.states import State
from utils.stepper import Output, Stepper

ROUNDS = 1  # of a figure, after which more of them are worth nothing


def heard(output: Output, powers: int) -> np.ndarray:
    """(B, K * U) what it listens to at an event of which all is told: the first K powers of the hidden units."""
    units = np.maximum(output.hidden, 0)
    return np.concatenate([units**k for k in range(1, powers + 1)], axis=1)


def worth(network: Stepper, output: Output, state: State) -> np.ndarray:
    """(B,) by how many nats an event after `state` sounds more like real than like new music. What goes round is worth
    nothing, however well it sounds, or it would go round for ever."""
    nats = heard(output, len(network.ear) // output.hidden.shape[1]) @ network.ear[1:] + network.ear[0]
    return np.where(state.past.rounds() > ROUNDS, np.minimum(nats, 0), nats)
