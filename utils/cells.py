"""The recurrent cells, written once for Keras and NumPy; they match the Keras layers of the same names to 1e-5.

`xp` stands for `keras.ops` or `numpy`. As sigmoid(x) = (tanh(x / 2) + 1) / 2, the weights of the sigmoid gates are
halved in advance. Shapes: B pieces side by side, U units.
"""

from types import ModuleType

import numpy as np

from utils.traces import Array


def split(xp: ModuleType, values: Array, at: int) -> tuple[Array, Array]:
    """The columns of `values` (..., numbers) before `at` and those from `at` on. In NumPy two views take a tenth of the
    time of `np.split`; TensorFlow trains faster with its `split` than with slices, and builds it faster for halves."""
    if xp is np:
        return values[..., :at], values[..., at:]
    return xp.split(values, 2 if values.shape[-1] == 2 * at else [at], axis=-1)


class Cell:
    """What the cells have in common: their weights. An event takes two calls: `read`, which does not depend on the
    events before it, so that many can be read at once, and then `step`."""

    gates: int
    states: int  # number of arrays (B, U) carried from event to event
    biases: tuple[int, ...] = ()  # leading axes of the bias
    candidate: int  # the gate that is a new state, and so the only one without a sigmoid

    def __init__(self, kernel: Array, recurrent: Array, bias: Array):
        self.units = recurrent.shape[0]
        scale = np.full((self.gates, self.units), 0.5, np.float32)
        scale[self.candidate] = 1
        self.kernel, self.recurrent, self.bias = (weight * scale.ravel() for weight in (kernel, recurrent, bias))


class Lstm(Cell):
    """Gates in the order input, forget, cell, output; one tanh serves all four."""

    gates, states, candidate = 4, 2, 2

    def read(self, xp: ModuleType, product: Array) -> tuple[Array, ...]:
        """What `step` reads of an event, from its input times `kernel`, (..., 4 U)."""
        return (product + self.bias,)

    def step(self, xp: ModuleType, read: Array, h: Array, c: Array) -> tuple[Array, ...]:
        """The next states from what is `read` and the last states (B, U)."""
        gates = xp.tanh(read + xp.matmul(h, self.recurrent))
        (i, f), (g, o) = (split(xp, half, self.units) for half in split(xp, gates, 2 * self.units))
        c = (0.5 * f + 0.5) * c + (0.5 * i + 0.5) * g
        return (0.5 * o + 0.5) * xp.tanh(c), c


class Gru(Cell):
    """Gates in the order update, reset, candidate. The reset gate is applied to the product with the last state, and
    that has a bias of its own (`reset_after` of Keras), for cuDNN."""

    gates, states, biases, candidate = 3, 1, (2,), 2

    def __init__(self, kernel: Array, recurrent: Array, bias: Array):
        super().__init__(kernel, recurrent, bias)
        self.bias, self.recurrent_bias = self.bias[0], self.bias[1]

    def read(self, xp: ModuleType, product: Array) -> tuple[Array, ...]:
        """What `step` reads of an event, from its input times `kernel`, (..., 3 U)."""
        return split(xp, product + self.bias, 2 * self.units)

    def step(self, xp: ModuleType, read: Array, new: Array, h: Array) -> tuple[Array, ...]:
        """The next state from what is `read` for the two gates and for the `new` state, and the last state (B, U)."""
        kept, old = split(xp, xp.matmul(h, self.recurrent) + self.recurrent_bias, 2 * self.units)
        update, reset = split(xp, 0.5 * xp.tanh(read + kept) + 0.5, self.units)
        candidate = xp.tanh(new + reset * old)
        return (update * h + (1 - update) * candidate,)


CELLS: dict[str, type[Cell]] = {"lstm": Lstm, "gru": Gru}  # by the names of their layers
