"""The ear of a network, which judges the music that the network writes, event by event.

The ear is a logistic regression that tells real from generated music, fitted when training ends (`ear_training.py`).
Where several versions of a piece are written side by side, its verdicts on the events of a version add up to the
version's log-weight, and copies of good versions replace bad ones. Adding the energy of such a classifier to a sequence
model is due to Deng et al. (2020); EXPERIMENTS.md, 'What gives chorales away', says what it gains.

Shapes: B versions, U hidden units of all heads, K powers of them.
"""

import numpy as np

from utils.states import State
from utils.stepper import Output, Stepper

ROUNDS = 1  # rounds of a figure, beyond which the ear does not reward more of them


def heard(output: Output, powers: int) -> np.ndarray:
    """(B, K * U) the features of an event, once all of its streams are chosen: the hidden units to the powers 1..K."""
    units = np.maximum(output.hidden, 0)
    return np.concatenate([units**k for k in range(1, powers + 1)], axis=1)


def worth(network: Stepper, output: Output, state: State) -> np.ndarray:
    """(B,) by how many nats an event after `state` sounds more like real than like generated music. A figure that keeps
    repeating can gain nothing, however well it sounds, or it would repeat for ever."""
    nats = heard(output, len(network.ear) // output.hidden.shape[1]) @ network.ear[1:] + network.ear[0]
    return np.where(state.past.rounds() > ROUNDS, np.minimum(nats, 0), nats)
