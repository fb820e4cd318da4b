"""New events, one LSTM step each, in NumPy: the same distributions as the Keras network, without starting it.

Shapes: B pieces stepped together, U units, V classes, F traces, K contexts of recall.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from utils import recall
from utils.checkpoint import Checkpoint
from utils.errors import UserError
from utils.events import END_STREAM, FADING, MEMORY, NEAR, REACH, Vocabulary, bar_steps, keyboard
from utils.recall import K

Classes = dict[str, np.ndarray]  # stream -> (B,)


@dataclass
class State:
    """Where B pieces stand after some events."""

    h: list[np.ndarray]  # one (B, U) for each layer
    c: list[np.ndarray]
    last: Classes  # what the network reads of the last event: its streams, 'phase' and 'interval'
    bar: np.ndarray  # (B,) steps in a bar
    memory: np.ndarray  # (B, F, numbers) traces of pitch classes and keys before the last event; see `Stepper.hear`
    held: np.ndarray  # (B, keys) quarter notes after the event before the last that each key is held
    past: recall.Past  # all events but the last
    recalled: Classes  # (B, K) what followed the last time; see `recall`
    onset: np.ndarray  # (B,) steps since the beginning, at the last event
    length: int  # events so far


def numbers(shape: dict) -> list[str]:
    """The streams that are predicted as numbers, by `network.Regression`; older weights do not name them."""
    return shape.get("numbers", [])


def layer_shapes(vocabulary: Vocabulary, shape: dict) -> dict[str, list[tuple[int, ...]]]:
    """Layer -> the shapes of its weights, as `network.build` makes them."""
    size, units, hidden = shape["embedding"], shape["units"], shape["hidden"]
    shapes = {f"embed_{name}": [(classes, size)] for name, classes in vocabulary.inputs.items()}
    for i in range(shape["layers"]):
        read = units if i else size * len(vocabulary.inputs) + MEMORY
        shapes[f"lstm_{i}"] = [(read, 4 * units), (units, 4 * units), (4 * units,)]
    for stream, seen in shape["sees"].items():
        classes = vocabulary.size(stream)
        shapes[f"hidden_{stream}"] = [(units + MEMORY + K + size * len(seen), hidden), (hidden,)]
        if stream in numbers(shape):
            outputs = 1 + (stream == END_STREAM)
            shapes[f"head_{stream}"] = [(hidden, outputs), (outputs,)]
            shapes[f"regression_{stream}"] = [(1,)]
        else:
            shapes[f"head_{stream}"] = [(hidden, classes), (classes,)]
            shapes[f"trust_{stream}"] = [(hidden, K), (K,)]
    around = shape["surroundings"]
    return shapes | {
        "relative_note": [(hidden, 2 * REACH + 1), (2 * REACH + 1,)],
        "surroundings": [(1, 2 * NEAR + 1, len(FADING) + 1, around), (around,)],
        "wanted_surroundings": [(hidden, around), (around,)],
    }


class Stepper:
    """The network of a weights file, stepped event by event.

    Embeddings meet only linear maps, so each table is multiplied by its map once, here: an event then costs a row of
    each table, one recurrent product for a layer, and the heads.
    """

    def __init__(self, checkpoint: Checkpoint):
        self.vocabulary = checkpoint.vocabulary
        self.streams = self.vocabulary.streams
        self.shape = checkpoint.about["shape"]
        arrays = checkpoint.arrays
        expected = layer_shapes(self.vocabulary, self.shape)
        if {name: [a.shape for a in arrays[name]] for name in expected if name in arrays} != expected:
            raise UserError("These weights are of another network than the one that they describe: train again.")
        self.lstm = [self._fold_gates(arrays[f"lstm_{i}"]) for i in range(self.shape["layers"])]
        size, units = self.shape["embedding"], self.shape["units"]
        tables = {name: arrays[f"embed_{name}"][0] for name in self.vocabulary.inputs}
        self.events = {
            name: table @ self.lstm[0][0][i * size : (i + 1) * size] for i, (name, table) in enumerate(tables.items())
        }
        self.heard = self.lstm[0][0][size * len(tables) :]
        self.heads = {}
        seen_by_all = units + MEMORY + K
        for stream, seen in self.shape["sees"].items():
            kernel, bias = arrays[f"hidden_{stream}"]
            rows = np.split(kernel[seen_by_all:], len(seen)) if seen else []
            context = {name: tables[name] @ part for name, part in zip(seen, rows, strict=True)}
            # What follows from the hidden layer alone is one product.
            after = [arrays[f"{kind}_{stream}"] for kind in ("head", "trust") if f"{kind}_{stream}" in arrays]
            if stream == "note":
                after += [arrays["relative_note"], arrays["wanted_surroundings"]]
            ends = np.cumsum([len(bias) for _, bias in after])[:-1]
            joined = [np.concatenate(parts, axis=-1) for parts in zip(*after, strict=True)]
            self.heads[stream] = (kernel[:seen_by_all], bias, context, *joined, ends)
        kernel, self.around_bias = arrays["surroundings"]
        self.around = kernel.reshape(-1, kernel.shape[-1])
        # A trace has a number for each pitch class and one for each key, with a margin so that none nearby is missing.
        keys = self.vocabulary.keys
        octaves = np.pad(keys, ((0, 0), (0, 4))).reshape(len(keys), 11, 12).sum(axis=1)
        self.keys = np.pad(keys, ((0, 0), (NEAR, NEAR)))
        self.struck = np.concatenate([octaves, self.keys], axis=1)  # what a note adds
        pitch = np.arange(128)[:, None]
        near = 12 + pitch + np.arange(2 * NEAR + 1)
        self.places = np.concatenate([(pitch + np.arange(12)) % 12, near], axis=1)  # what is read from each last note
        self.candidates = slice(self.vocabulary.lowest, self.vocabulary.highest + 2 * NEAR + 1)
        self.by_event, self.by_beat = np.array(FADING, np.float32).T
        self.scale = 1 - self.by_event * self.by_beat**0.25
        self.widths = {stream: float(np.exp(arrays[f"regression_{stream}"][0][0])) for stream in numbers(self.shape)}
        self.gaps = self.vocabulary.steps(END_STREAM)
        self.quarters, self.lengths = self.vocabulary.quarters("offset"), self.vocabulary.quarters("duration")

    @staticmethod
    def _fold_gates(weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Kernel, recurrent kernel and bias with the sigmoid gates halved: sigmoid(x) = (tanh(x / 2) + 1) / 2, so that
        one tanh serves all four gates. Keras keeps them in the order input, forget, cell, output."""
        kernel, recurrent, bias = weights
        units = recurrent.shape[0]
        scale = np.full(4 * units, 0.5, np.float32)
        scale[2 * units : 3 * units] = 1
        return kernel * scale, recurrent * scale, bias * scale

    def start(self, count: int, metre: tuple[int, int]) -> State:
        """`count` pieces before their first event."""
        bar = bar_steps(metre, self.vocabulary.grid)
        zeros = [np.zeros((count, self.shape["units"]), np.float32) for _ in self.lstm]
        token = {stream: np.full(count, self.vocabulary.size(stream)) for stream in self.streams}
        token |= {"phase": np.zeros(count, int), "interval": np.full(count, REACH)}
        memory = np.zeros((count, len(FADING), self.struck.shape[1]), np.float32)
        held = np.zeros((count, self.keys.shape[1]), np.float32)
        past = recall.Past.empty(count, self.vocabulary)
        recalled = {name: np.full((count, K), recall.NOTHING) for name in self.vocabulary.recalled}
        onset = np.zeros(count, int)
        return State(zeros, list(zeros), token, np.full(count, bar), memory, held, past, recalled, onset, 0)

    def hear(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is read of the traces after the last event, (B, MEMORY), the traces, and for how many quarter notes more
        each key is held; as the Keras layer `Memory`."""
        note, beats = state.last["note"], self.quarters[state.last["offset"]][:, None]
        fading = self.by_event * self.by_beat**beats
        memory = state.memory * fading[:, :, None] + self.struck[note][:, None]
        here = self.places[self.vocabulary.top[note]]  # (B, numbers read of each trace)
        read = np.take_along_axis(memory, here[:, None], axis=2) * self.scale[:, None]
        length = self.lengths[state.last["duration"]][:, None]
        return read.reshape(len(note), MEMORY), memory, np.maximum(state.held - beats, self.keys[note] * length)

    def step(self, state: State) -> tuple[np.ndarray, State]:
        """Read the last event: what all heads see, (B, U + MEMORY), and the state with everything moved on."""
        heard, memory, held = self.hear(state)
        past, recalled = state.past.add(state.last, state.bar) if state.length else (state.past, state.recalled)
        gates = heard @ self.heard
        for name, table in self.events.items():
            gates = gates + table[state.last[name]]
        h, c = [], []
        for layer, (kernel, recurrent, bias) in enumerate(self.lstm):
            if layer:
                gates = h[-1] @ kernel
            units = recurrent.shape[0]
            gates = np.tanh(gates + state.h[layer] @ recurrent + bias)
            i, f, g, o = (gates[:, k * units : (k + 1) * units] for k in range(4))
            c.append((0.5 * f + 0.5) * state.c[layer] + (0.5 * i + 0.5) * g)
            h.append((0.5 * o + 0.5) * np.tanh(c[-1]))
        output = np.concatenate([h[-1], heard], axis=1)
        return output, replace(state, h=h, c=c, memory=memory, held=held, past=past, recalled=recalled)

    def logits(self, stream: str, output: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        """(B, V) unnormalised log-probabilities of the next event's class in `stream`, given the output of `step`, the
        state before the event, and what was chosen of it so far (see `known`)."""
        kernel, bias, tables, after, after_bias, ends = self.heads[stream]
        # A recalled event that differs in what is chosen already is not to be followed further.
        followed = state.recalled[END_STREAM] != recall.NOTHING
        for name in tables.keys() & state.recalled.keys():
            followed &= state.recalled[name] == chosen[name][:, None]
        hidden = np.concatenate([output, followed], axis=1, dtype=np.float32) @ kernel + bias
        for name, table in tables.items():
            hidden = hidden + table[chosen[name]]
        hidden = np.maximum(hidden, 0)
        if stream in self.widths:
            return self.regression(stream, hidden @ after + after_bias)
        logits, trust, *relative = np.split(hidden @ after + after_bias, ends, axis=1)
        rows = np.arange(len(hidden))[:, None]
        if stream != "note":
            np.add.at(logits, (rows, state.recalled[stream]), trust * followed)
            return logits
        relative, wanted = relative
        np.add.at(relative, (rows, state.recalled["interval"]), trust * followed)
        top = self.vocabulary.top
        logits += np.take_along_axis(relative, top[:-1] - top[state.last["note"]][:, None] + REACH, axis=1)
        each = self.surroundings(state, chosen) @ wanted[:, :, None]
        return logits + each[:, top[:-1] - self.vocabulary.lowest, 0]

    def regression(self, stream: str, number: np.ndarray) -> np.ndarray:
        """(B, V) logits of a stream that is predicted as a number (B, 1), or (B, 2) with the logit of the end; as the
        Keras layer `Regression`."""
        values = self.vocabulary.quarters(stream)[: len(self.vocabulary.values[stream])]
        logits = -0.5 * ((values - number[:, :1]) / self.widths[stream]) ** 2
        if stream != END_STREAM:
            return logits
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return np.concatenate([logits, number[:, 1:]], axis=1)

    def surroundings(self, state: State, chosen: Classes) -> np.ndarray:
        """(B, keys, numbers) what lies around each key that may come next."""
        beats = self.quarters[chosen[END_STREAM]] if END_STREAM in self.heads["note"][2] else np.zeros(len(state.onset))
        traces = state.memory[:, :, 12:][:, :, self.candidates] * self.scale[:, None]
        # A thousandth of a beat, as in Keras: no matter how the sums were rounded.
        held = state.held[:, self.candidates] > beats[:, None] + 1e-3
        around = np.concatenate([traces, held[:, None]], axis=1, dtype=np.float32)  # (B, F + 1, keys + 2 NEAR)
        windows = np.lib.stride_tricks.sliding_window_view(around, 2 * NEAR + 1, axis=2).transpose(0, 2, 3, 1)
        windows = windows.reshape(*windows.shape[:2], -1)
        return np.maximum(windows @ self.around + self.around_bias, 0)

    def known(self, stream: str, classes: np.ndarray, state: State) -> Classes:
        """What choosing the classes (B,) of `stream` tells of the next event: them, and what follows from them."""
        if stream == "offset":
            return {stream: classes, "phase": (state.last["phase"] + self.steps(classes)) % state.bar}
        if stream == "note":
            return {stream: classes, "interval": self.vocabulary.intervals(classes, state.last["note"])}
        return {stream: classes}

    def append(self, state: State, event: Classes) -> State:
        """The state with an event, all that is `known` of it, after it; not yet read."""
        steps = self.steps(event[END_STREAM])
        return replace(state, last=event, onset=state.onset + steps, length=state.length + 1)

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
                event |= self.known(stream, np.full(len(before.onset), classes[stream][i]), before)
            # The metre may have changed on the way, so the phase is not always what follows from the offset.
            event["phase"] = np.full(len(before.onset), phase[i])
            state = self.append(before, event)
        return state


def stack(states: list[State]) -> State:
    """Several states as one batch."""

    def join(parts: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(parts))

    def join_all(parts: Sequence[Classes]) -> Classes:
        return {name: join(part[name] for part in parts) for name in parts[0]}

    return State(
        [join(layer) for layer in zip(*(state.h for state in states), strict=True)],
        [join(layer) for layer in zip(*(state.c for state in states), strict=True)],
        join_all([state.last for state in states]),
        join(state.bar for state in states),
        join(state.memory for state in states),
        join(state.held for state in states),
        recall.stack([state.past for state in states]),
        join_all([state.recalled for state in states]),
        join(state.onset for state in states),
        states[0].length,
    )


def take(state: State, which: np.ndarray | slice) -> State:
    """Some pieces of a batch: `which` holds their indices, a mask or a slice."""
    return State(
        [h[which] for h in state.h],
        [c[which] for c in state.c],
        {name: classes[which] for name, classes in state.last.items()},
        state.bar[which],
        state.memory[which],
        state.held[which],
        state.past.take(which),
        {name: classes[which] for name, classes in state.recalled.items()},
        state.onset[which],
        state.length,
    )


def choose(logits: np.ndarray, temperature: float, top_p: float, uniform: np.ndarray) -> np.ndarray:
    """A class for each row of `logits` (B, V), by a number in 0..1 for each row (B,).

    Temperature divides the logits (0: the likeliest class). `top_p` keeps the fewest classes that hold at least that
    share of the probability (nucleus sampling, Holtzman et al. 2020).
    """
    if temperature == 0:
        return logits.argmax(axis=1)
    scaled = (logits.astype(np.float64) - logits.max(axis=1, keepdims=True)) / temperature
    probability = np.exp(scaled)
    probability /= probability.sum(axis=1, keepdims=True)
    if top_p < 1:
        order = np.argsort(-probability, axis=1, kind="stable")
        ranked = np.take_along_axis(probability, order, axis=1)
        ranked[np.cumsum(ranked, axis=1) - ranked >= top_p] = 0
        np.put_along_axis(probability, order, ranked, axis=1)
    cumulative = np.cumsum(probability, axis=1)
    total = cumulative[:, -1:]
    # Classes of no probability are stepped over at both ends.
    return np.minimum((cumulative <= uniform[:, None] * total).sum(axis=1), (cumulative < total).sum(axis=1))


# A constraint takes the stream, its logits (B, V), the state after the last event and what was chosen for the next one,
# and gives the logits back with what must not be chosen at minus infinity.
Constraint = Callable[[str, np.ndarray, State, Classes], np.ndarray]


def forbid(logits: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    """Logits with the `forbidden` classes (B, V) at minus infinity; a row that would lose its last stays as it is."""
    nothing_left = (forbidden | np.isneginf(logits)).all(axis=1, keepdims=True)
    return np.where(forbidden & ~nothing_left, -np.inf, logits)


def no_end_before(stepper: Stepper, length: int) -> Constraint:
    """A piece goes on until it has `length` events."""

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream == END_STREAM and state.length < length:
            logits = logits.copy()
            logits[:, stepper.vocabulary.end] = -np.inf
        return logits

    return constrain


def no_note_below_previous_in_chord(stepper: Stepper) -> Constraint:
    """Notes struck together come from the lowest up, as in the training music, so none comes twice."""
    notes = stepper.vocabulary.size("note")

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream == END_STREAM:
            # Above the highest note of the vocabulary nothing can be struck together with it.
            at_top = (state.last["note"] == notes - 1)[:, None]
            here = (stepper.steps(np.arange(logits.shape[1])) == 0) & (np.arange(logits.shape[1]) < logits.shape[1] - 1)
            logits = forbid(logits, at_top & here)
        elif stream == "note":
            # A piece has not begun while its last event is the start token, class `notes`.
            together = (stepper.steps(chosen[END_STREAM]) == 0) & (state.last["note"] < notes)
            logits = forbid(logits, together[:, None] & (np.arange(notes) <= state.last["note"][:, None]))
        return logits

    return constrain


def no_note_still_held(stepper: Stepper, until: np.ndarray) -> Constraint:
    """No key is struck before `until` (128,), in steps since the beginning: a prior still holds it down."""
    keys = keyboard(stepper.vocabulary.values["note"]).astype(np.float32)

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != "note":
            return logits
        onset = state.onset + stepper.steps(chosen[END_STREAM])
        held = (onset[:, None] < until).astype(np.float32)  # (B, 128)
        return forbid(logits, held @ keys.T > 0)

    return constrain


def no_onset_before(stepper: Stepper, steps: float) -> Constraint:
    """No event comes before `steps` since the beginning."""
    gaps = stepper.steps(np.arange(stepper.vocabulary.end + 1))

    def constrain(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != END_STREAM:
            return logits
        return forbid(logits, state.onset[:, None] + gaps < steps)

    return constrain


def usual_constraints(stepper: Stepper, length: int) -> list[Constraint]:
    """What holds for all music: it has `length` events, and chords in the order of the training music."""
    constraints = [no_end_before(stepper, length)]
    if stepper.vocabulary.representation.chords == "split":
        constraints.append(no_note_below_previous_in_chord(stepper))
    return constraints


@dataclass
class Sampling:
    """How to choose. Raises UserError for a number that makes no sense."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None  # None: a new one, to be found here
    constraints: list[Constraint] = field(default_factory=list)

    def __post_init__(self):
        if not 0 <= self.temperature < np.inf:
            raise UserError(f"--temperature is {self.temperature}; it must be 0 (the likeliest note) or above.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top-p is {self.top_p}; it is a share of the probability, above 0 and at most 1.")
        if self.seed is None:
            self.seed = int(np.random.default_rng().integers(2**31))
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}; it must be 0 or above.")


def break_loops(state: State) -> State:
    """The state with nothing recalled where a figure goes on and on: recalling it would make each time the next one
    likelier, for ever. What the network itself wants to repeat it still may."""
    stuck = state.past.loops()
    if not stuck.any():
        return state
    recalled = {name: np.where(stuck[:, None], recall.NOTHING, classes) for name, classes in state.recalled.items()}
    return replace(state, recalled=recalled)


def generate(stepper: Stepper, state: State, events: int, sampling: Sampling) -> list[Classes]:
    """`events` new events after `state` for each of its B pieces, or fewer where a piece ends by itself.

    Each piece has its own random numbers, so the first piece of a seed is the same however many are made. Returns, for
    each piece, stream -> (E,) classes.
    """
    count = len(state.onset)
    uniform = np.stack([np.random.default_rng([sampling.seed, i]).random((events, 8)) for i in range(count)], axis=1)
    made = {stream: np.zeros((events, count), np.int64) for stream in stepper.streams}
    length = np.full(count, events)
    for n in tqdm(range(events), desc="composing", unit="event", delay=2, leave=False):
        output, state = stepper.step(state)
        state = break_loops(state)
        chosen = {}
        for k, stream in enumerate(stepper.streams):
            logits = stepper.logits(stream, output, state, chosen)
            for constrain in sampling.constraints:
                logits = constrain(stream, logits, state, chosen)
            made[stream][n] = choose(logits, sampling.temperature, sampling.top_p, uniform[n, :, k])
            chosen |= stepper.known(stream, made[stream][n], state)
        length = np.where((chosen[END_STREAM] == stepper.vocabulary.end) & (length == events), n, length)
        if (length <= n).all():
            break
        state = stepper.append(state, chosen)
    return [{stream: made[stream][: length[i], i] for stream in stepper.streams} for i in range(count)]
