"""The network of a weights file in NumPy, one event at a time: the same distributions as Keras gives, without Keras.

The heads are those of `heads.py`; written anew are the recurrent step and the traces, which Keras computes for all
events of a window at once. A test holds both to the same distributions within 1e-4. Shapes: B pieces side by side, U
units, V classes, F traces, K contexts of the match model, G styles, C numbers that are told of the whole piece.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from utils import form, recall
from utils.checkpoint import Checkpoint
from utils.events import END_STREAM, bar_steps
from utils.heads import (
    CELLS,
    FADING,
    HEARD,
    NEAR,
    SCALES,
    Head,
    Known,
    Shape,
    confidence,
    heads_of,
    height,
    log_softmax,
    pitch_of,
    sounding,
    tonality,
)
from utils.parts import Voices
from utils.states import Classes, State, to_come
from utils.theory import Metre
from utils.vocabulary import Vocabulary, length

# ---- the recurrent steps: as the layers of Keras with the same weights ----


class Lstm:
    """Gates in the order input, forget, cell, output. As sigmoid(x) = (tanh(x / 2) + 1) / 2, one tanh serves all four
    when the weights of the sigmoid gates are halved."""

    def __init__(self, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray):
        units = len(recurrent)
        scale = np.full(4 * units, 0.5, np.float32)
        scale[2 * units : 3 * units] = 1
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
        self.kernel, self.recurrent, self.bias = kernel, recurrent, bias

    def step(self, read: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
        """The next state from the product of the input with `kernel`, (B, 3 U), and the last state (B, U)."""
        units = h.shape[1]
        read, kept = read + self.bias[0], h @ self.recurrent + self.bias[1]
        gates = 0.5 * np.tanh(0.5 * (read + kept)[:, : 2 * units]) + 0.5
        update, reset = gates[:, :units], gates[:, units:]
        candidate = np.tanh(read[:, 2 * units :] + reset * kept[:, 2 * units :])
        return (update * h + (1 - update) * candidate,)


STEPS = {"lstm": Lstm, "gru": Gru}


class FoldedHead:
    """A head with its weights joined, as far as sums and products of them can be taken beforehand."""

    def __init__(self, head: Head, arrays: dict[str, list[np.ndarray]], tables: dict[str, np.ndarray]):
        self.head = head
        kernel, self.bias = arrays[f"hidden_{head.stream}"]
        always = len(kernel) - head.shape.embedding * len(head.sees)  # rows for what does not depend on the choices
        self.kernel = kernel[:always]
        rows = np.split(kernel[always:], len(head.sees)) if head.sees else []
        self.tables = {name: tables[name] @ part for name, part in zip(head.sees, rows, strict=True)}
        outputs = [arrays[name] for name in head.outputs]
        self.above, self.above_bias = (np.concatenate(parts, axis=-1) for parts in zip(*outputs, strict=True))
        ends = np.cumsum([0, *map(length, head.outputs.values())]).tolist()
        self.parts = [np.s_[:, begin:end] for begin, end in pairwise(ends)]  # np.split takes longer than the product
        self.own = [array for name in head.own_weights for array in arrays[name]]


class Stepper:
    """The network of a weights file, stepped event by event.

    Embeddings meet only linear maps, so each table is multiplied by its map once, here: an event then costs a row of
    each table, one recurrent product for a layer, and the heads.
    """

    def __init__(self, checkpoint: Checkpoint):
        self.vocabulary: Vocabulary = checkpoint.vocabulary
        self.streams = self.vocabulary.streams
        self.shape: Shape = checkpoint.shape
        arrays, size = checkpoint.arrays, self.shape.embedding
        cell = self.shape.cell
        self.layers = [STEPS[cell](*arrays[f"{cell}_{i}"]) for i in range(self.shape.layers)]
        tables = {name: arrays[f"embed_{name}"][0] for name in self.vocabulary.inputs}
        splits = [*(size * np.arange(1, len(tables) + 1)), size * len(tables) + HEARD]
        *rows, self.kernel_of_heard, self.kernel_of_condition = np.split(self.layers[0].kernel, splits)
        self.events = {name: table @ part for (name, table), part in zip(tables.items(), rows, strict=True)}
        self.heads = {head.stream: FoldedHead(head, arrays, tables) for head in heads_of(self.vocabulary, self.shape)}
        no_styles = np.zeros((self.shape.units, 0), np.float32), np.zeros(0, np.float32)
        self.kernel_of_style, self.bias_of_style = arrays.get("recognised_style", no_styles)
        kernel, self.around_bias = arrays["surroundings"]
        self.around = kernel.reshape(-1, kernel.shape[-1])
        self.gaps, self.lasts = self.vocabulary.steps(END_STREAM), self.vocabulary.steps("duration")
        self.is_end = np.arange(self.vocabulary.end + 1) == self.vocabulary.end  # (V,) of the classes of that stream
        self.quarters, self.lengths = self.vocabulary.quarters("offset"), self.vocabulary.quarters("duration")
        # A trace has a number for each pitch class and for each key, with a margin so that all nearby are there.
        keys = self.vocabulary.keys
        self.keys = np.pad(keys, ((0, 0), (NEAR, NEAR)))
        self.struck = np.concatenate([self.vocabulary.pitch_classes(), self.keys], axis=1)  # what a note adds
        pitch = np.arange(128)[:, None]
        near = 12 + pitch + np.arange(2 * NEAR + 1)
        self.places = np.concatenate([(pitch + np.arange(12)) % 12, near], axis=1)  # what is read from each last note
        self.candidates = slice(self.vocabulary.lowest, self.vocabulary.highest + 2 * NEAR + 1)
        self.by_event, self.by_beat = np.array(FADING, np.float32).T
        self.counts = self.vocabulary.moves.astype(np.float32)[:, None]  # with a drum nothing fades

    def start(self, count: int, metre: Metre, condition: np.ndarray | float = 0.0) -> State:
        """`count` pieces before their first event, of which the `condition` is told, (B, C) or (C,): 1 for each part
        that plays and the share of each style, or 0."""
        zeros = np.zeros((count, self.shape.units), np.float32)
        return State(
            cells=[(zeros,) * CELLS[self.shape.cell].states for _ in self.layers],
            last={name: np.full(count, value) for name, value in self.vocabulary.start_token.items()},
            bar=np.full(count, bar_steps(metre, self.vocabulary.grid)),
            form=np.zeros((count, 0), np.int16),
            end=np.zeros(count, int),
            traces=np.zeros((count, len(FADING), self.struck.shape[1]), np.float32),
            held=np.zeros((count, self.keys.shape[1]), np.float32),
            past=recall.Past.empty(count, self.vocabulary),
            voices=Voices.silent(
                count, self.vocabulary.parts, {name: self.vocabulary.start_token[name] for name in self.vocabulary.last}
            ),
            condition=np.broadcast_to(condition, (count, self.vocabulary.conditions)).astype(np.float32),
            style=np.zeros((count, len(self.vocabulary.styles))),
            onset=np.zeros(count, int),
            length=0,
        )

    def move_on(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """The traces after the last event, and for how many quarter notes more each key is held. As the Keras layer
        `network.Traces`, like what follows."""
        note, beats = state.last["note"], self.quarters[state.last["offset"]][:, None]
        fading = self.by_event ** self.counts[note] * self.by_beat**beats
        traces = state.traces * fading[:, :, None] + self.struck[note][:, None]
        length = self.lengths[state.last["duration"]][:, None]
        return traces, np.maximum(state.held - beats, self.keys[note] * length)

    def heard(self, traces: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """What is read of the traces relative to a pitch (B,): (B, HEARD)."""
        read = np.take_along_axis(traces, self.places[pitch][:, None], axis=2)
        home = height(np, traces[:, -1, 12 + NEAR : -NEAR], pitch), tonality(np, read[:, -1, :12])
        read = (read[:, :-1] * SCALES).reshape(len(pitch), -1)
        return np.concatenate([read, *home], axis=1, dtype=np.float32)

    def step(self, state: State) -> tuple[np.ndarray, State]:
        """Read the last event: what all heads see, (B, numbers), and the state with everything moved on."""
        traces, held = self.move_on(state)
        heard = self.heard(traces, pitch_of(np, state.voices.here))
        past = state.past.add(state.last, state.bar, self.again(state), state.voices) if state.length else state.past
        read = heard @ self.kernel_of_heard + state.condition @ self.kernel_of_condition
        for name, table in self.events.items():
            read = read + table[state.last[name]]
        cells = []
        for layer, states in zip(self.layers, state.cells, strict=True):
            cells.append(layer.step(cells[-1][0] @ layer.kernel if cells else read, *states))
        style = state.style
        if self.vocabulary.styles:
            style = style + log_softmax(np, cells[-1][0] @ self.kernel_of_style + self.bias_of_style)
        parts = self.sounding(state, np.zeros(len(heard)))
        ranged = np.zeros((len(heard), self.vocabulary.told_ranges))
        output = np.concatenate(
            [cells[-1][0], heard, ranged, confidence(np, past.recalled), parts], axis=1, dtype=np.float32
        )
        return output, replace(state, cells=cells, traces=traces, held=held, past=past, style=style)

    def again(self, state: State) -> np.ndarray:
        """(B, 2) how many bars ago what comes in the bar of the last event, and in the next, was heard before."""
        return form.again(state.form, (state.onset - state.last["phase"]) // state.bar)

    def logits(self, stream: str, output: np.ndarray, state: State, chosen: Classes) -> tuple[np.ndarray, np.ndarray]:
        """(B, V) unnormalised log-probabilities of the next event's class in `stream`, given the output of `step` (as
        it is `turned` by then), the state before the event, and what was chosen of it so far (see `known`); and which
        classes repeat something that agrees with that."""
        folded = self.heads[stream]
        recalled = state.past.recalled
        agrees = folded.head.agrees(np, recalled, chosen)
        around = self.surroundings(state, chosen) if stream == "note" else None
        hidden = np.concatenate([output, agrees], axis=1, dtype=np.float32) @ folded.kernel + folded.bias
        for name, table in folded.tables.items():
            hidden = hidden + table[chosen[name]]
        above = np.maximum(hidden, 0) @ folded.above + folded.above_bias
        outputs = [above[part] for part in folded.parts]
        known = Known(agrees, recalled, chosen.get("origin"), state.voices.here, around)
        new, gained = folded.head.logits(np, outputs, known, *folded.own)
        return new + gained, gained != 0

    def surroundings(self, state: State, chosen: Classes) -> np.ndarray:
        """(B, P, D) what lies around each key that may come next."""
        beats = np.zeros(len(state.onset))
        if END_STREAM in self.shape.sees["note"]:
            beats = self.quarters[chosen[END_STREAM]]
        traces = state.traces[:, :-1, 12:][:, :, self.candidates] * SCALES
        # A thousandth of a beat, as in Keras: no matter how the sums were rounded.
        held = state.held[:, self.candidates] > beats[:, None] + 1e-3
        around = np.concatenate([traces, held[:, None]], axis=1, dtype=np.float32)  # (B, F, P + 2 NEAR)
        windows = np.lib.stride_tricks.sliding_window_view(around, 2 * NEAR + 1, axis=2).transpose(0, 2, 3, 1)
        windows = windows.reshape(*windows.shape[:2], -1)
        return np.maximum(windows @ self.around + self.around_bias, 0)

    def known(self, stream: str, classes: np.ndarray, state: State, chosen: Classes) -> Classes:
        """What choosing the classes (B,) of `stream`, after what was `chosen` so far, tells of the next event: them,
        and what follows from them."""
        told = {stream: classes}
        if stream == END_STREAM:
            steps = self.steps(classes)
            phase = (state.last["phase"] + steps) % state.bar
            told |= {"phase": phase, **to_come(state, (state.onset + steps - phase) // state.bar)}
        if stream == "note":
            told["interval"] = self.vocabulary.interval(classes, chosen["origin"])
            if self.vocabulary.players:
                told["spacing"] = self.vocabulary.interval(classes, state.voices.here)
        if stream == ("part" if "part" in self.streams else END_STREAM):
            part = self.vocabulary.part_of(told)
            told["origin"] = state.voices.origins(part)
            told |= {name: last[np.arange(len(part)), part] for name, last in state.voices.last.items()}
        return told

    def turned(self, stream: str, output: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        """The output of `step` for the heads after that of `stream`, which has just been chosen: once they see when the
        next event comes, they know for how long the parts still sound then; and once they see who plays, they hear
        everything from where that part is."""
        if not self.vocabulary.told_parts or stream not in self.shape.sees["note"]:
            return output
        first, after = self.shape.units, -self.vocabulary.told_parts - self.vocabulary.conditions
        if stream == END_STREAM:
            first, turned = after, self.sounding(state, self.quarters[chosen[stream]])
        elif stream == "part":
            turned = self.heard(state.traces, pitch_of(np, chosen["origin"]))
            if self.vocabulary.told_ranges:
                ranged = state.voices.ranges(chosen["part"], chosen["origin"])
                turned = np.concatenate([turned, ranged], axis=1)
        else:
            return output
        output = output.copy()
        output[:, first : first + turned.shape[1] or None] = turned
        return output

    def sounding(self, state: State, quarters: np.ndarray) -> np.ndarray:
        """(B, parts + C) for how long each part still sounds, so many `quarters` (B,) after the last event, and what is
        told of the whole piece."""
        left = state.voices.left[:, : self.vocabulary.told_parts] / self.vocabulary.grid
        left = sounding(np, left, quarters)
        return np.concatenate([left, state.condition], axis=1)

    def append(self, state: State, event: Classes) -> State:
        """The state with an event, all that is `known` of it, after it; not yet read."""
        steps = self.steps(event[END_STREAM])
        vocabulary, lasts = self.vocabulary, self.lasts[event["duration"]]
        told = {name: event[source] for name, source in vocabulary.last.items()}
        part, pitch = vocabulary.part_of(event), vocabulary.top[event["note"]]
        voices = state.voices.after(part, pitch, steps, lasts, told)
        return replace(state, last=event, onset=state.onset + steps, length=state.length + 1, voices=voices)

    def next_onsets(self, state: State) -> np.ndarray:
        """(B, V) steps from the beginning to the next event, for each class of its offset; the end comes at once."""
        return state.onset[:, None] + self.gaps[:-1]

    def steps(self, offset: np.ndarray) -> np.ndarray:
        """Classes of the offset stream -> grid steps; 0 for the end of a piece."""
        return self.gaps[offset]

    def read(self, state: State, classes: dict[str, Sequence[int]], phase: Sequence[int]) -> State:
        """The state after the events (E,) with their phases (E,), of which the last is not yet read: `step` does that.
        All pieces of the batch read the same events."""
        for i in range(len(classes[END_STREAM])):
            _, before = self.step(state)
            event = {}
            for stream in self.streams:
                event |= self.known(stream, np.full(len(before.onset), classes[stream][i]), before, event)
            # The metre may have changed on the way, so the phase is not always what follows from the offset.
            event["phase"] = np.full(len(before.onset), phase[i])
            state = self.append(before, event)
        return state
