"""The network of a weights file in NumPy, one event at a time: the same distributions as in Keras, without Keras.

The heads (`heads.py`) and the recurrent step (`cells.py`) share their code with Keras; only the traces (`hearing.py`)
are written separately, since Keras computes them for all events of a window at once. A test checks that both give the
same distributions within 1e-4. Shapes: B pieces side by side, H units of a hidden layer, V classes, K contexts of the
match model, G styles, C conditioning inputs, which describe the whole piece.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from utils import form, recall
from utils.cells import CELLS
from utils.checkpoint import Checkpoint
from utils.events import DERIVED, END_STREAM, KNOWN_STREAMS, bar_steps, usual_positions
from utils.heads import Head, Known, Shape, asked, confidence, log_softmax, sounding, weights_of
from utils.hearing import Hearing
from utils.line_recall import LinePast, nothing
from utils.parts import Voices
from utils.recall import STREAKS, TOLD
from utils.states import Classes, State, changed, of_form, to_come
from utils.theory import Metre
from utils.vocabulary import Axis, Vocabulary

Arrays = dict[str, list[np.ndarray]]  # layer -> its weights


def by_block(kernel: np.ndarray, axis: Axis) -> dict[str, np.ndarray]:
    """Block name -> the rows of a kernel that belong to that block of its input axis."""
    ends = accumulate((len(block.values) for block in axis), initial=0)
    return {block.of: kernel[begin:end] for block, (begin, end) in zip(axis, pairwise(ends), strict=True)}


def add(total: np.ndarray, addend: np.ndarray) -> None:
    """Add in place, since `total` is a view of some columns."""
    total += addend


class Output(NamedTuple):
    """The network's output after the events so far and the streams of the next event chosen so far."""

    hidden: np.ndarray  # (B, heads * H) pre-activations of all heads' hidden layers, summed over what is known so far
    audible: np.ndarray  # (B, numbers) see `Hearing.audible`
    recalled: dict[str, np.ndarray]  # (B, K) classes of the recalled events that the next head sees


class Hidden:
    """The hidden layers of all heads, side by side. Each is a sum over what its head sees; as soon as an addend is
    known, it is added for all heads that see it at once."""

    def __init__(self, heads: list[Head], arrays: Arrays, tables: dict[str, np.ndarray]):
        names = [f"hidden_{head.stream}" for head in heads]
        rows = [by_block(arrays[n][0], h.weights()[n][0][0]) for n, h in zip(names, heads, strict=True)]
        size = heads[0].shape.hidden

        def joined(block: str, reads: list[bool]) -> tuple[slice, np.ndarray]:
            """The columns from the first to the last head that reads a block, and their kernels of it, 0 if unread."""
            first, last = reads.index(True), len(reads) - reads[::-1].index(True)
            none = np.zeros_like(rows[first][block])
            kernels = [of_head[block] if sees else none for of_head, sees in zip(rows, reads, strict=True)]
            return np.s_[:, first * size : last * size], np.concatenate(kernels[first:last], axis=1)

        always = [joined(block, [True] * len(heads))[1] for block in ("output", "confidence", "playing", "style")]
        self.kernel, self.bias = np.concatenate(always), np.concatenate([arrays[name][1] for name in names])
        # `step` adds `now`, `tell` adds `later`: a head that sees the offset is told how long each part sounds beyond
        # the next onset, and one that sees the part hears everything relative to where that part is.
        self.now, self.later, self.tables = {}, {}, {}
        for block, stream in {"sounding": END_STREAM, "heard": "part"}.items():
            knows = [stream in head.sees for head in heads]
            self.now[block] = joined(block, [not each for each in knows])
            if any(knows) and len(rows[0][block]):
                self.later[stream] = joined(block, knows)
        self.line = None  # a head that sees both is also told what is recalled in the line of that part
        if any(knows_line := [head.knows_line for head in heads]):
            self.line, self.line_head = joined("line confidence", knows_line), heads[knows_line.index(True)]
        if "part" in self.later:  # one that sees the part is also told the range of that part so far
            columns, kernel = self.later["part"]
            self.later["part"] = columns, np.concatenate([kernel, joined("range", knows)[1]])
        for name, table in tables.items():
            if any(sees := [name in head.sees for head in heads]):
                columns, kernel = joined(f"embedded {name}", sees)
                self.tables[name] = columns, table @ kernel
        # Stream -> the names that become known once its class is chosen.
        self.known = {name: [n for n in self.tables if DERIVED.get(n, n) == name] for name in KNOWN_STREAMS}


class FoldedHead:
    """A head's slice of the hidden layers, and its output layers joined into one."""

    def __init__(self, head: Head, arrays: Arrays, place: int):
        """`place` is the index of the head among the heads."""
        self.head, size, name = head, head.shape.hidden, f"hidden_{head.stream}"
        self.place = np.s_[:, place * size : (place + 1) * size]
        self.of_agrees = by_block(arrays[name][0], head.weights()[name][0][0])["agrees"]
        outputs = [[array[..., head.needed.get(name, np.s_[:])] for array in arrays[name]] for name in head.outputs]
        self.above, self.above_bias = (np.concatenate(parts, axis=-1) for parts in zip(*outputs, strict=True))
        ends = accumulate((len(bias) for _, bias in outputs), initial=0)
        self.parts = [np.s_[:, begin:end] for begin, end in pairwise(ends)]  # np.split takes longer than the product
        self.own = [array for name in head.own_weights for array in arrays[name]]


class Stepper:
    """The network of a weights file, stepped event by event.

    Embeddings only feed linear maps, so each table is multiplied by its map once, here: an event then costs one row of
    each table, one recurrent product per layer, and the heads.
    """

    def __init__(self, checkpoint: Checkpoint):
        self.vocabulary: Vocabulary = checkpoint.vocabulary
        self.streams = self.vocabulary.streams
        self.shape: Shape = checkpoint.shape
        self.ear = checkpoint.ear
        arrays, cell = checkpoint.arrays, self.shape.cell
        self.layers = [CELLS[cell](*arrays[f"{cell}_{i}"]) for i in range(self.shape.layers)]
        tables = {name: arrays[f"embed_{name}"][0] for name in self.vocabulary.inputs}
        rows = by_block(self.layers[0].kernel, weights_of(self.vocabulary, self.shape)[f"{cell}_0"][0][0])
        self.events = {name: table @ rows[f"embedded {name}"] for name, table in tables.items()}
        self.kernel = np.concatenate([rows[block] for block in ("heard", "playing", "style")])
        heads = asked(self.vocabulary, self.shape)
        self.hidden = Hidden(heads, arrays, tables)
        self.heads = {head.stream: FoldedHead(head, arrays, k) for k, head in enumerate(heads)}
        self.recognised = arrays.get("recognised_style")  # kernel and bias; None if there are no styles
        self.hearing = Hearing(self.vocabulary, arrays)
        # Once this stream is chosen, the time of the next event and the part that plays it are known.
        self.line_stream = "part" if "part" in self.streams else END_STREAM
        self.gaps, self.lasts = self.vocabulary.steps(END_STREAM), self.vocabulary.steps("duration")
        self.is_end = np.arange(self.vocabulary.end + 1) == self.vocabulary.end  # (V,) of the offset classes
        self.quarters, self.grid = self.vocabulary.quarters("offset"), np.array(self.vocabulary.grid)

    def start(self, count: int, metre: Metre, condition: np.ndarray | float = 0.0) -> State:
        """`count` pieces before their first event, with the `condition` (B, C) or (C,): 1 for each part that plays and
        the share of each style, else 0."""
        zeros, vocabulary = np.zeros((count, self.shape.units), np.float32), self.vocabulary
        past, start = recall.Past.empty(count, vocabulary), vocabulary.start_token
        last = {name: np.full(count, value) for name, value in start.items()}
        return State(
            cells=[(zeros,) * CELLS[self.shape.cell].states for _ in self.layers],
            last=last | (nothing(count, past.viewpoint) if vocabulary.told_lines else {}),
            bar=np.full(count, bar_steps(metre, vocabulary.grid)),
            form=form.table([()] * count),
            end=np.zeros(count, int),
            **self.hearing.silence(count),
            past=past,
            lines=LinePast.empty(count, vocabulary),
            voices=Voices.silent(count, vocabulary.parts, {name: start[name] for name in vocabulary.last}),
            condition=np.broadcast_to(condition, (count, vocabulary.conditions)).astype(np.float32),
            imagined=np.zeros((count, vocabulary.parts + 1), bool),
            heard=np.zeros(count, int),
            positions=np.tile(vocabulary.positions, (count, 1)),
            style=np.zeros((count, len(vocabulary.styles))),
            onset=np.zeros(count, int),
            length=0,
        )

    def step(self, state: State) -> tuple[Output, State]:
        """Read the last event. Returns the output before anything is chosen of the next one, and the new state."""
        keys = self.hearing.move_on(state)
        audible = self.hearing.audible(keys["traces"])
        heard = self.hearing.heard(audible, state.voices.here)
        past, lines = state.past, state.lines
        if state.length:
            again = of_form(state, (state.onset - state.last["phase"]) // state.bar)[:, 1:]
            past = past.add(state.last, state.bar, again, state.voices)
            lines = lines.add(past, state.last) if self.vocabulary.told_lines else lines
        read = np.concatenate([heard, state.condition], axis=1) @ self.kernel
        for name, table in self.events.items():
            read += table.take(state.last[name], axis=0)
        cells = []
        for layer, states in zip(self.layers, state.cells, strict=True):
            read = cells[-1][0] @ layer.kernel if cells else read
            cells.append(layer.step(np, *layer.read(np, read), *states))
        style = state.style
        if self.recognised:
            kernel, bias = self.recognised
            style = style + log_softmax(np, cells[-1][0] @ kernel + bias)
        sounds = self.sounding(state, np.zeros(len(heard)))
        trusted = confidence(np, *(past.recalled[name][:, :STREAKS] for name in TOLD))
        always = np.concatenate([cells[-1][0], trusted, state.condition], axis=1)
        hidden = always @ self.hidden.kernel
        hidden += self.hidden.bias
        for block, read in (("heard", heard), ("sounding", sounds)):
            columns, kernel = self.hidden.now[block]
            add(hidden[columns], read @ kernel)
        state = changed(state, **keys, cells=cells, style=style, past=past, lines=lines)
        return Output(hidden, audible, dict(past.recalled)), state

    def logits(self, stream: str, output: Output, state: State, chosen: Classes) -> tuple[np.ndarray, np.ndarray]:
        """(B, V) logits of the next event's class in `stream`, given the output of `step` (to which `tell` has added
        the choices so far), the state before the event, and those choices (see `known`); and (B, V) the part of each
        logit that the class gains by repeating recalled events that agree with the choices."""
        if stream not in self.heads:
            return np.zeros((len(state.onset), 1)), np.zeros((len(state.onset), 1))
        folded = self.heads[stream]
        agrees, around = folded.head.agrees(np, output.recalled, chosen).astype(np.float32), None
        if stream == "note":
            ahead = END_STREAM in folded.head.sees  # the head knows when this note is struck
            beats = self.quarters.take(chosen[END_STREAM]) if ahead else np.zeros(len(state.onset))
            around = self.hearing.around(output.audible, state, beats[:, None])
        hidden = output.hidden[folded.place] + agrees @ folded.of_agrees
        above = np.maximum(hidden, 0, out=hidden) @ folded.above
        above += folded.above_bias
        outputs = [above[part] for part in folded.parts] + folded.own
        known = Known(agrees, output.recalled, chosen.get("origin"), state.voices.here, around)
        new, gained = folded.head.logits(np, outputs, known)
        return new.astype(np.float64) + gained, gained

    def known(self, stream: str, classes: np.ndarray, state: State, chosen: Classes) -> Classes:
        """What is known of the next event once the classes (B,) of `stream` are chosen after those `chosen` so far:
        these classes, and all that is derived from them."""
        told = {stream: classes}
        if stream == END_STREAM:
            steps = self.steps(classes)
            phase = (state.last["phase"] + steps) % state.bar
            told |= {"phase": phase, **to_come(state, (state.onset + steps - phase) // state.bar)}
        if stream == "note":
            told["interval"] = self.vocabulary.interval(classes, chosen["origin"])
            if self.vocabulary.players:
                told["spacing"] = self.vocabulary.interval(classes, state.voices.here)
        if stream == self.line_stream:
            told |= state.voices.before(self.vocabulary.part_of(told))
            if self.vocabulary.told_lines:
                event = chosen | told
                bar = (state.onset + self.steps(event[END_STREAM]) - event["phase"]) // state.bar
                told |= state.lines.recalled(state.past, event, of_form(state, bar)[:, 1], state.bar)
        return told

    def tell(self, stream: str, output: Output, state: State, chosen: Classes) -> None:
        """Add the class of `stream`, which has just been chosen, and all that is derived from it to the output of
        `step`, for the later heads that see it."""
        for name in self.hidden.known[stream]:
            columns, table = self.hidden.tables[name]
            add(output.hidden[columns], table.take(chosen[name], axis=0))
        if stream in self.hidden.later:
            if stream == END_STREAM:
                read = self.sounding(state, self.quarters.take(chosen[stream]))
            else:
                read = self.hearing.heard(output.audible, chosen["origin"])
                if self.vocabulary.told_ranges:
                    read = np.concatenate([read, state.voices.ranges(chosen["part"], chosen["origin"])], axis=1)
            columns, kernel = self.hidden.later[stream]
            add(output.hidden[columns], read @ kernel)
        if stream == self.line_stream and self.hidden.line:
            output.recalled.update(self.hidden.line_head.recalled(np, output.recalled, chosen))
            columns, kernel = self.hidden.line
            add(output.hidden[columns], confidence(np, *(chosen[f"line_{name}"] for name in TOLD)) @ kernel)

    def sounding(self, state: State, quarters: np.ndarray) -> np.ndarray:
        """(B, parts) for how long each part still sounds `quarters` (B,) quarter notes after the last event."""
        left = state.voices.left[:, : self.vocabulary.told_parts] / self.grid
        return sounding(np, left, quarters).astype(np.float32)

    def append(self, state: State, event: Classes) -> State:
        """The state after one more event, given all that is `known` of it; `step` has yet to read it."""
        steps = self.steps(event[END_STREAM])
        vocabulary, lasts = self.vocabulary, self.lasts.take(event["duration"])
        told = {name: event[source] for name, source in vocabulary.last.items()}
        part, pitch = vocabulary.part_of(event), vocabulary.top.take(event["note"])
        voices = state.voices.after(part, pitch, steps, lasts, told)
        heard = state.heard + ~state.imagined[np.arange(len(part)), part]
        moved_on = {"onset": state.onset + steps, "length": state.length + 1, "heard": heard}
        return changed(state, last=event, voices=voices, **moved_on)

    def next_onsets(self, state: State) -> np.ndarray:
        """(B, V) steps from the beginning to the next event for each class of its offset; the end counts as 0 steps."""
        return state.onset[:, None] + self.gaps[:-1]

    def steps(self, offset: np.ndarray) -> np.ndarray:
        """Classes of the offset stream -> grid steps; 0 for the end of a piece."""
        return self.gaps.take(offset)

    def read(self, state: State, classes: dict[str, Sequence[int]], phase: Sequence[int]) -> State:
        """The state after the events (E,) with their phases (E,), the same for all pieces of the batch. `step` has yet
        to read the last one."""
        for i in range(len(classes[END_STREAM])):
            _, before = self.step(state)
            event = {}
            for stream in self.streams:
                event |= self.known(stream, np.full(len(before.onset), classes[stream][i]), before, event)
            # The metre may change on the way, so the phase does not always follow from the offset.
            event["phase"] = np.full(len(before.onset), phase[i])
            state = self.append(before, event)
        return changed(state, positions=state.positions | usual_positions(phase, self.vocabulary.grid))
