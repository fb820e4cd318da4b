"""The state of pieces that are generated or scored event by event, and how states are batched and split.

Shapes: B pieces side by side, U units, F traces, G styles, C conditioning inputs, which describe the whole piece.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from utils import recall
from utils.events import NOT_TOLD, outlook
from utils.line_recall import LinePast
from utils.parts import Voices

Classes = dict[str, np.ndarray]  # stream -> (B,)


@dataclass
class State:
    """The state of B pieces after some events, the last of which the network has yet to read."""

    cells: list[tuple[np.ndarray, ...]]  # the states (B, U) of each layer: h and c of an LSTM, h of a GRU
    last: Classes  # what the network reads of the last event: its streams and what is derived from them
    bar: np.ndarray  # (B,) steps in a bar
    form: np.ndarray  # (B, N + 2, 3) what the network is told of the form at each bar, see `form.table`
    end: np.ndarray  # (B,) steps from the beginning to the bar line at which the piece is to end; 0 if not given
    traces: np.ndarray  # (B, F, numbers) of pitch classes and keys before the last event; see `Hearing`
    held: np.ndarray  # (B, keys) for how many quarter notes after the last event but one each key is held
    sounded: np.ndarray  # (B, keys) whether each key sounded right before the last event but one
    past: recall.Past  # all events but the last
    lines: LinePast  # what is recalled of those events in the line of each part
    voices: Voices  # where each part is after the last event
    condition: np.ndarray  # (B, C) 1 for each part that plays, and the share of each style
    imagined: np.ndarray  # (B, P + 1) which parts are written but never heard; the start token is one more part
    heard: np.ndarray  # (B,) notes of all other parts since the beginning, or since the imagined ones were named
    positions: np.ndarray  # (B, grid) where in a quarter note such music usually begins notes
    style: np.ndarray  # (B, G) log-probabilities of the styles, summed over the events read so far
    onset: np.ndarray  # (B,) steps from the beginning to the last event
    length: int  # events so far


def changed(state: State, **changes: Any) -> State:
    """As `dataclasses.replace`, which looks up each field by name: at two calls per event, that adds up."""
    copy = object.__new__(State)
    copy.__dict__.update(state.__dict__, **changes)
    return copy


def mapped(change: Callable[..., np.ndarray], *values: Any) -> Any:
    """One value built from `values` (states, or anything else with arrays) of the same structure: arrays at the same
    place in all of them become `change(array, array, ...)`; whatever is not an array is taken from the first."""
    first = values[0]
    if isinstance(first, np.ndarray):
        return change(*values)
    if isinstance(first, dict):
        return {name: mapped(change, *(value[name] for value in values)) for name in first}
    if isinstance(first, list | tuple):
        return type(first)(mapped(change, *parts) for parts in zip(*values, strict=True))
    if is_dataclass(first):
        names = [field.name for field in fields(first)]
        return replace(first, **{n: mapped(change, *(getattr(value, n) for value in values)) for n in names})
    return first


def stack(states: list[State]) -> State:
    """Several states as one batch, whose `length` is that of the first."""
    length = max(state.past.length for state in states)
    states = [replace(s, past=s.past.aligned(length), lines=s.lines.aligned(length)) for s in states]
    return mapped(lambda *arrays: np.concatenate(arrays), *states)


def take(state: Any, which: np.ndarray | slice) -> Any:
    """Some pieces of a batch: `which` holds their indices, a mask or a slice. `state` is a state, or anything whose
    arrays have one row per piece."""
    return mapped(lambda array: array[which], state)


def forgetful(state: State) -> State:
    """The state with nothing left to recall: the match model forgets all events so far."""
    of = len(state.onset), state.past.viewpoint.vocabulary
    return replace(state, past=recall.Past.empty(*of), lines=LinePast.empty(*of))


def to_come(state: State, bar: np.ndarray) -> Classes:
    """Classes (B,) of 'form', 'remaining' and 'progress' in the bars (B,), numbered from 0 on."""
    told = {"form": of_form(state, bar)[:, 0]}
    if np.count_nonzero(state.end):
        outlooks = outlook(bar, np.maximum(state.end // state.bar, 1))
        return told | {name: np.where(state.end > 0, classes, NOT_TOLD[name]) for name, classes in outlooks.items()}
    return told | {name: np.full(len(bar), NOT_TOLD[name]) for name in ("remaining", "progress")}


def of_form(state: State, bar: np.ndarray) -> np.ndarray:
    """(B, 3) what the network is told of the form at the bars (B,), numbered from 0 on; see `form.table`."""
    if state.form.shape[1] == 2:  # no form is given: this is faster
        return state.form[:, 0]
    return state.form[np.arange(len(bar)), np.minimum(bar, state.form.shape[1] - 2)]


def ending(state: State, end: np.ndarray) -> State:
    """The state in which the network is told that the pieces end `end` (B,) steps after their beginning."""
    state = replace(state, end=end)
    bar = (state.onset - state.last["phase"]) // state.bar if state.length else np.full(len(end), -1)
    return replace(state, last={**state.last, **to_come(state, bar)})
