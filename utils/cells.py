"""The recurrent layers in NumPy, one event at a time: as the layers of Keras with the same weights.

As sigmoid(x) = (tanh(x / 2) + 1) / 2, the weights of the gates that are sigmoids are halved beforehand. Shapes: B
pieces side by side, U units.
"""

import numpy as np


def halved(gates: int, units: int) -> np.ndarray:
    """(gates * units,) factors of the weights of the gates: only the third is no sigmoid in either cell."""
    scale = np.full((gates, units), 0.5, np.float32)
    scale[2] = 1
    return scale.ravel()


class Lstm:
    """Gates in the order input, forget, cell, output; one tanh serves all four."""

    def __init__(self, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray):
        scale = halved(4, len(recurrent))
        self.kernel, self.recurrent, self.bias = kernel * scale, recurrent * scale, bias * scale

    def step(self, read: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
        """The next states from the product of the input with `kernel`, (B, 4 U), and the last states (B, U)."""
        gates = np.tanh(read + h @ self.recurrent + self.bias)
        i, f, g, o = (gates[:, k * h.shape[1] : (k + 1) * h.shape[1]] for k in range(4))
        c = (0.5 * f + 0.5) * c + (0.5 * i + 0.5) * g
        return (0.5 * o + 0.5) * np.tanh(c), c


class Gru:
    """Gates in the order update, reset, candidate. What is reset is the product of the last state, with a bias of its
    own (`reset_after`)."""

    def __init__(self, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray):
        scale = halved(3, len(recurrent))
        self.kernel, self.recurrent, self.bias = kernel * scale, recurrent * scale, bias * scale

    def step(self, read: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
        """The next state from the product of the input with `kernel`, (B, 3 U), and the last state (B, U)."""
        units = h.shape[1]
        read, kept = read + self.bias[0], h @ self.recurrent + self.bias[1]
        gates = 0.5 * np.tanh(read[:, : 2 * units] + kept[:, : 2 * units]) + 0.5
        update, reset = gates[:, :units], gates[:, units:]
        candidate = np.tanh(read[:, 2 * units :] + reset * kept[:, 2 * units :])
        return (update * h + (1 - update) * candidate,)


STEPS = {"lstm": Lstm, "gru": Gru}
