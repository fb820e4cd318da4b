"""The recurrent cells, written once for Keras and NumPy; the layers of Keras of the same name are the same to 1e-5.

`xp` stands for `keras.ops` or `numpy`. As sigmoid(x) = (tanh(x / 2) + 1) / 2, the weights of the gates that are
sigmoids are halved beforehand. Shapes: B pieces side by side, U units.
"""

from types import ModuleType

import numpy as np

from utils.traces import Array


def split(xp: ModuleType, values: Array, at: int) -> tuple[Array, Array]:
    """The columns of `values` (B, numbers) before `at` and those from there on. In NumPy two views take a tenth of the
    time of its `split`; TensorFlow learns through its `split` faster than through slices."""
    return (values[:, :at], values[:, at:]) if xp is np else xp.split(values, [at], axis=1)


class Cell:
    """What the cells have in common: how their weights are kept."""

    gates: int
    states: int  # arrays (B, U) that are carried from event to event
    biases: tuple[int, ...] = ()  # leading axes of the bias

    def __init__(self, kernel: Array, recurrent: Array, bias: Array):
        self.units = recurrent.shape[0]
        scale = np.full((self.gates, self.units), 0.5, np.float32)
        scale[2] = 1  # only the third gate is no sigmoid in either cell
        self.kernel, self.recurrent, self.bias = (weight * scale.ravel() for weight in (kernel, recurrent, bias))


class Lstm(Cell):
    """Gates in the order input, forget, cell, output; one tanh serves all four."""

    gates, states = 4, 2

    def step(self, xp: ModuleType, read: Array, h: Array, c: Array) -> tuple[Array, ...]:
        """The next states from the product of the input with `kernel`, (B, 4 U), and the last states (B, U)."""
        gates = xp.tanh(read + xp.matmul(h, self.recurrent) + self.bias)
        (i, f), (g, o) = (split(xp, half, self.units) for half in split(xp, gates, 2 * self.units))
        c = (0.5 * f + 0.5) * c + (0.5 * i + 0.5) * g
        return (0.5 * o + 0.5) * xp.tanh(c), c


class Gru(Cell):
    """Gates in the order update, reset, candidate. What is reset is the product of the last state, with a bias of its
    own (`reset_after`), for cuDNN."""

    gates, states, biases = 3, 1, (2,)

    def step(self, xp: ModuleType, read: Array, h: Array) -> tuple[Array, ...]:
        """The next state from the product of the input with `kernel`, (B, 3 U), and the last state (B, U)."""
        read, new = split(xp, read + self.bias[0], 2 * self.units)
        kept, old = split(xp, xp.matmul(h, self.recurrent) + self.bias[1], 2 * self.units)
        update, reset = split(xp, 0.5 * xp.tanh(read + kept) + 0.5, self.units)
        candidate = xp.tanh(new + reset * old)
        return (update * h + (1 - update) * candidate,)


CELLS: dict[str, type[Cell]] = {"lstm": Lstm, "gru": Gru}  # by the names of their layers
