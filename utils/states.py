"""Where pieces stand that are made or scored event by event, and how several are put side by side and taken apart.

Shapes: B pieces side by side, U units, F traces, G styles, C numbers that are told of the whole piece.
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
    """Where B pieces stand after some events, of which the last is not yet read."""

    cells: list[tuple[np.ndarray, ...]]  # for each layer its states (B, U): h and c of an LSTM, h of a GRU
    last: Classes  # what the network reads of the last event: its streams and what follows from them
    bar: np.ndarray  # (B,) steps in a bar
    form: np.ndarray  # (B, N + 2, 3) what is told of each of its bars, see `form.table`
    end: np.ndarray  # (B,) steps from the beginning to the bar line at which the piece shall end; 0 if nobody says
    traces: np.ndarray  # (B, F, numbers) of pitch classes and keys before the last event; see `Hearing`
    held: np.ndarray  # (B, keys) quarter notes after the event before the last for which each key is held
    sounded: np.ndarray  # (B, keys) whether it sounded right before that event
    past: recall.Past  # all events but the last
    lines: LinePast  # what of them is recalled in the line of each part
    voices: Voices  # where each part is after the last event
    condition: np.ndarray  # (B, C) what is told of the whole piece: 1 for each part that plays, the share of each style
    imagined: np.ndarray  # (B, P + 1) which parts nobody hears; the start token is one more part
    heard: np.ndarray  # (B,) notes of the others since the beginning, or since some are imagined
    style: np.ndarray  # (B, G) log-probabilities of the styles after each event that was read, summed
    onset: np.ndarray  # (B,) steps from the beginning to the last event
    length: int  # events so far


def changed(state: State, **changes: Any) -> State:
    """As `dataclasses.replace`, which asks for each field by its name: twice an event that adds up."""
    copy = object.__new__(State)
    copy.__dict__.update(state.__dict__, **changes)
    return copy


def mapped(change: Callable[..., np.ndarray], *values: Any) -> Any:
    """What is like each of `values` (states, or what else has arrays), with the arrays that stand at the same place in
    all of them changed to `change(array, array, ...)`; whatever is no array stays as it is in the first."""
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
    """Several states as one batch; they count as many events as the first."""
    length = max(state.past.length for state in states)
    states = [replace(s, past=s.past.aligned(length), lines=s.lines.aligned(length)) for s in states]
    return mapped(lambda *arrays: np.concatenate(arrays), *states)


def take(state: Any, which: np.ndarray | slice) -> Any:
    """Some pieces of a batch (a state, or what holds an array's first axis for each piece): `which` holds their
    indices, a mask or a slice."""
    return mapped(lambda array: array[which], state)


def forgetful(state: State) -> State:
    """The state in which nothing can be recalled of what was heard so far."""
    of = len(state.onset), state.past.viewpoint.vocabulary
    return replace(state, past=recall.Past.empty(*of), lines=LinePast.empty(*of))


def to_come(state: State, bar: np.ndarray) -> Classes:
    """What is told, in the bars (B,) numbered from 0 on, of how much is still to come, and whether they come again."""
    told = {"form": of_form(state, bar)[:, 0]}
    if np.count_nonzero(state.end):
        outlooks = outlook(bar, np.maximum(state.end // state.bar, 1))
        return told | {name: np.where(state.end > 0, classes, NOT_TOLD[name]) for name, classes in outlooks.items()}
    return told | {name: np.full(len(bar), NOT_TOLD[name]) for name in ("remaining", "progress")}


def of_form(state: State, bar: np.ndarray) -> np.ndarray:
    """(B, 3) what the form tells of the bars (B,), numbered from 0 on; see `form.table`."""
    if state.form.shape[1] == 2:  # it has no bars, and is quickly read
        return state.form[:, 0]
    return state.form[np.arange(len(bar)), np.minimum(bar, state.form.shape[1] - 2)]


def ending(state: State, end: np.ndarray) -> State:
    """The state in pieces of which it is told that they end `end` (B,) steps after their beginning."""
    state = replace(state, end=end)
    bar = (state.onset - state.last["phase"]) // state.bar if state.length else np.full(len(end), -1)
    return replace(state, last={**state.last, **to_come(state, bar)})
