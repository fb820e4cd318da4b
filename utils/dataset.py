"""A folder of pieces: reading, splitting into training and held-out pieces, encoding, cutting into windows and batches.

Shapes: B windows, T events in a window, P pieces, E events of all pieces, each piece with a start token before its
events and an end after them; G styles, C conditions: what the network is told about a whole piece.
"""

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from utils import apart, form, recall, theory
from utils.errors import UserError
from utils.events import END_STREAM, NOT_TOLD, Representation, bar_steps, outlook, room
from utils.line_recall import LineModel
from utils.parts import NOBODY, SILENT, Lines
from utils.source import Source, music_files, read_source
from utils.traces import FADING, LEFT
from utils.vocabulary import REACH, Vocabulary


def styles_of(sources: list[Source]) -> tuple[str, ...]:
    """The styles of some pieces, in alphabetical order; none if there are fewer than two to tell apart."""
    styles = {source.style for source in sources} - {""}
    return tuple(sorted(styles)) if len(styles) > 1 else ()


def read_folder(folder: str, how: Representation, salt: int = 0) -> tuple[list[Source], list[tuple[str, str]]]:
    """All pieces below `folder` as events, and what was skipped as (name, reason). Another `salt` holds out other
    pieces. Raises UserError if the folder does not exist or holds no file that can be used."""
    paths = music_files(folder)
    import symusic  # noqa: F401  (once, before the processes start: each needs it)

    sources, skipped = [], []
    work = functools.partial(read_source, folder=folder, how=how, salt=salt)
    every = tqdm(apart.each(work, paths), "reading", len(paths), unit="file", delay=2, leave=False)
    for path, result in zip(paths, every, strict=True):
        if isinstance(result, Source):
            sources.append(result)
        else:
            skipped.append((path.relative_to(folder).as_posix(), result or apart.CRASHED))
    if not sources:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in Counter(r for _, r in skipped).most_common(3))
        raise UserError(f"None of the {len(paths)} MIDI files in {folder} can be used: {reasons}.")
    return sources, skipped


def hold_out(sources: list[Source], share: float) -> tuple[list[Source], list[Source]]:
    """(training, held-out) pieces: those whose place is below `share` are held out.

    Files of equal content have equal places, so they are on the same side. With two or more different pieces neither
    side is empty, unless `share` is 0; a single piece is on both.
    """
    places = sorted({source.place for source in sources})
    if len(places) == 1:
        return sources, sources
    border = min(max(share, places[0] + 1e-12), places[-1]) if share > 0 else 0.0
    train = [source for source in sources if source.place >= border]
    return train, [source for source in sources if source.place < border]


@dataclass
class Corpus:
    """Encoded pieces one after another in flat arrays, so that millions of notes take only a few bytes each."""

    inputs: dict[str, np.ndarray]  # input of the network -> (E,) classes of the events, or pitches for 'origin'
    first: np.ndarray  # (P + 1,) index of each piece's start token; the last entry is E
    is_target: np.ndarray  # (E, streams) what is predicted: no start tokens, and ends only in END_STREAM
    ranges: np.ndarray  # (E, RANGE) the range of each event's part before the event; see `Lines.ranges`
    matches: recall.MatchModel  # what is recalled after each event
    lines: LineModel | None  # what is recalled of the line of the part that plays, if the network is told that
    room: np.ndarray  # (P, 2) semitones by which each piece can be transposed down and up
    playing: np.ndarray  # (P, parts) whether each part plays in each piece; (P, 0) without parts
    style: np.ndarray  # (P, G) which of the styles in the vocabulary each piece is of, if any
    moved: dict[str, int]  # stream -> number of values that the vocabulary lacked
    vocabulary: Vocabulary

    @property
    def pieces(self) -> int:
        return len(self.first) - 1

    @property
    def events(self) -> int:
        """Number of events, without the start and the end of each piece."""
        return int(self.events_each.sum())

    @property
    def events_each(self) -> np.ndarray:
        """(P,) number of events of each piece, without its start and its end."""
        return np.diff(self.first) - 2

    @property
    def notes_each(self) -> np.ndarray:
        """(P,) number of notes of each piece: that of its events, unless a chord is one event."""
        size = np.maximum(self.vocabulary.keys.sum(axis=1, dtype=np.int64), 1)  # a drum has no key
        size[-1] = 0  # the start token, which the end has as its note, too
        return np.add.reduceat(size[self.inputs["note"]], self.first[:-1])

    @property
    def notes(self) -> int:
        return int(self.notes_each.sum())

    def events_at(
        self, index: np.ndarray, told: np.ndarray | bool = False, form: np.ndarray | bool = False
    ) -> dict[str, np.ndarray]:
        """The network's inputs for the events `index` (B, ...), with how much is to come where `told` (B, 1), and with
        whether the bar comes again where `form` (B, 1); and what is recalled of the line of their part."""
        classes = {name: each[index].astype(np.int32) for name, each in self.inputs.items()}
        told = dict.fromkeys(NOT_TOLD, told) | {"form": form}
        told = {name: told[name] for name in told if name in classes}
        classes |= {name: np.where(now, classes[name], NOT_TOLD[name]) for name, now in told.items()}
        return classes | (self.lines.recalled(index, form) if self.lines else {})

    def targets(self, stream: str) -> np.ndarray:
        """(E,) mask of the events that are predicted in a stream."""
        return self.is_target[:, self.vocabulary.streams.index(stream)]


def encode(sources: list[Source], vocabulary: Vocabulary, transpose: int = 0) -> Corpus:
    """The corpus of some pieces. `transpose` is how far, in semitones, they may be transposed later."""
    first = np.cumsum([0, *(len(source.events) + 2 for source in sources)])
    start_token = vocabulary.start_token | dict.fromkeys(outlook(0, 1), 0)
    kinds = {name: np.int16 if size < 2**15 else np.int32 for name, size in vocabulary.inputs.items()}
    kinds |= dict.fromkeys(NOT_TOLD, np.int8)
    inputs = {name: np.full(first[-1], value, kinds.get(name, np.int16)) for name, value in start_token.items()}
    bar = np.full(first[-1], bar_steps((4, 4), vocabulary.grid), np.int32)
    again, moved = np.zeros((first[-1], 2), np.int16), Counter()
    for source, start, stop in zip(sources, first + 1, first[1:] - 1, strict=False):
        events = source.events
        encoded, changed = vocabulary.encode(events)
        moved.update(changed)
        shape = events.form()
        again[start:stop] = form.again(shape, events.bar)
        told = outlook(events.bar, events.bars)
        told |= {"form": form.kinds(shape)[events.bar]} if vocabulary.told_form else {}
        for name, classes in {**encoded, "phase": events.phase, **told}.items():
            inputs[name][start:stop] = classes
        inputs["remaining"][start - 1] = outlook(-1, events.bars)["remaining"]
        inputs[END_STREAM][stop] = vocabulary.end
        metres, which = np.unique(events.metres, axis=0, return_inverse=True)
        bar[start:stop] = np.array([bar_steps(metre, vocabulary.grid) for metre in metres.tolist()])[which.ravel()]
    lines, before = lines_of(inputs, first, vocabulary), np.arange(first[-1] - 1)
    previous = np.full(first[-1], NOBODY)  # for each event, the last one before it of the same part
    previous[1:] = lines.last(lines.part[1:], before)
    previous[first[:-1]] = NOBODY
    inputs["origin"][1:] = lines.origins(previous[1:], before)
    inputs["origin"][first[:-1]] = NOBODY
    inputs["interval"] = vocabulary.interval(inputs["note"], inputs["origin"]).astype(np.int16)
    if vocabulary.players:
        inputs["spacing"][1:] = vocabulary.interval(inputs["note"][1:], lines.here[:-1])
        inputs["spacing"][first[:-1]] = REACH
        for name, source in vocabulary.last.items():
            inputs[name][:] = np.where(previous == NOBODY, vocabulary.start_token[name], inputs[source][previous])
    # In this stream, the end of a piece is the class `end`, and the start token the one after it.
    is_target = inputs[END_STREAM][:, None] < vocabulary.end + np.equal(vocabulary.streams, END_STREAM)
    rooms = np.array([room(source.events.streams["note"], transpose) for source in sources])
    matches = recall.MatchModel(inputs, first, bar, again, lines, vocabulary)
    line_model = LineModel(inputs, bar, again, lines, matches.viewpoint) if vocabulary.told_lines else None
    playing = np.zeros((len(sources), vocabulary.parts + 1), bool)
    playing[np.repeat(np.arange(len(sources)), np.diff(first)), lines.part] = True
    style = [[source.style == known for known in vocabulary.styles] for source in sources]
    style = np.array(style, bool).reshape(len(sources), len(vocabulary.styles))
    ranges, playing = lines.ranges(inputs["origin"]), playing[:, : vocabulary.told_parts]
    return Corpus(inputs, first, is_target, ranges, matches, line_model, rooms, playing, style, moved, vocabulary)


def lines_of(inputs: dict[str, np.ndarray], first: np.ndarray, vocabulary: Vocabulary) -> Lines:
    """Where each part was last heard in the pieces of a corpus."""
    # Onsets are counted across all pieces; a piece begins, with its start token, a step after the last onset before it.
    piece = np.repeat(np.arange(len(first) - 1), np.diff(first))
    onset = np.cumsum(vocabulary.steps(END_STREAM)[inputs[END_STREAM]], dtype=np.int64) + piece
    end = onset + vocabulary.steps("duration")[inputs["duration"]]
    pitch = np.where(inputs["note"] == vocabulary.size("note"), NOBODY, vocabulary.top[inputs["note"]])
    return Lines.of(vocabulary.part_of(inputs), pitch, onset, end, first)


def window_starts(corpus: Corpus, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(piece, index of the first event) of enough windows to cover each piece about once, in random order.

    A piece's windows lie end to end from a random origin. Those that would reach beyond the piece are moved inside, so
    that beginnings and ends are learnt, too. A window reads `length` + 1 events and predicts `length`.
    """
    targets = np.diff(corpus.first) - 1
    count = -(-targets // length)
    piece = np.repeat(np.arange(len(targets)), count)
    nth = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    shift = rng.random(len(targets))[piece] - 0.5
    start = ((nth + shift) * length).astype(np.int64).clip(0, np.maximum(targets - length, 0)[piece])
    order = rng.permutation(len(piece))
    return piece[order], (corpus.first[piece] + start)[order]


def cut(
    corpus: Corpus, piece: np.ndarray, start: np.ndarray, length: int, told: np.ndarray | bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Windows of `length` + 1 events of the pieces `piece` (B,), beginning at the indices `start` (B,). The columns of
    `told` (B, hints) are whether the network is told how much is to come (as for `Corpus.events_at`), who plays in the
    piece, its form and, if there are styles, its style.

    Returns the inputs and the weights of the targets. The inputs are
    - name -> (B, T + 1), or (B, T + 1, K) for what is recalled;
    - `traces` (B, LEFT, 128) before the window, of which only the one that never fades is filled in;
    - with parts, `until` (B, T + 1, parts), the quarter notes that each still sounds, and `range` (`Corpus.ranges`);
    - with parts or styles, `condition` (B, C): 1 for each part that plays, and for the style, where these are told;
    - with styles, `style` (B, G) to be recognised: 1 for the style where it is not told.
    The weights (B, T, streams) are 1, or 0 where there is no target (see `Corpus.is_target`) or the piece is over; with
    styles, one more column weights the recognition of the style.
    """
    vocabulary, told = corpus.vocabulary, np.broadcast_to(told, (len(piece), corpus.vocabulary.hints))
    of_end, of_players, of_form, of_style = np.split(told, (1, 2, 3), axis=1)  # (B, 1) each; without styles (B, 0)
    index = start[:, None] + np.arange(length + 1)
    last = corpus.first[piece + 1][:, None] - 1
    inside = index <= last
    index = np.minimum(index, last)
    inputs = corpus.events_at(index, of_end, of_form)
    keys, notes = vocabulary.keys, corpus.inputs["note"]
    inputs["traces"] = np.zeros((len(piece), LEFT, 128), np.float32)
    for row, (first, now) in enumerate(zip(corpus.first[piece], start, strict=True)):
        inputs["traces"][row, len(FADING) - 1] = np.bincount(notes[first:now], minlength=len(keys)) @ keys
    inputs |= {f"recall_{name}": classes for name, classes in corpus.matches.recalled(index, of_form).items()}
    if vocabulary.told_parts:
        left = corpus.matches.lines.left(index, vocabulary.parts) / vocabulary.grid
        inputs["until"] = left.clip(SILENT, 2**10)
    if vocabulary.told_ranges:
        inputs["range"] = corpus.ranges[index].astype(np.float32)
    if vocabulary.conditions:
        playing, style = corpus.playing[piece], corpus.style[piece]
        condition = np.concatenate([playing & of_players, style & of_style], axis=1)
        inputs["condition"] = condition.astype(np.float32)
    if vocabulary.styles:
        inputs["style"] = (style & ~of_style).astype(np.float32)
    weights = corpus.is_target[index[:, 1:]] & inside[:, 1:, None]
    if vocabulary.styles:
        weights = np.concatenate([weights, inside[:, 1:, None]], axis=2)
    return inputs, weights.astype(np.float32)


def batches(
    corpus: Corpus, length: int, size: int, transpose: int, rng: np.random.Generator
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """One epoch: batches of `size` windows, each transposed at random within its piece's room. See `cut`."""
    piece, start = window_starts(corpus, length, rng)
    table = corpus.vocabulary.transpositions(transpose)
    # The last batch is filled up with the first windows: a batch of another size would have to be compiled again.
    fill = np.arange(batch_count(corpus, length, size) * size) % len(piece)
    for rows in fill.reshape(-1, size):
        # The network must also learn to do without each of these hints.
        told = rng.random((size, corpus.vocabulary.hints)) < 0.5
        inputs, weights = cut(corpus, piece[rows], start[rows], length, told)
        low, high = corpus.room[piece[rows]].T
        shift = rng.integers(np.maximum(low, -transpose), np.minimum(high, transpose) + 1)
        inputs["note"] = table[shift[:, None] + transpose, inputs["note"]]
        inputs["origin"] += np.where(inputs["origin"] == NOBODY, 0, shift[:, None])
        untransposed = (np.arange(128) - shift[:, None]) % 128  # (B, 128) the key whose traces each key gets
        inputs["traces"] = np.take_along_axis(inputs["traces"], untransposed[:, None], axis=2)
        yield inputs, weights


def batch_count(corpus: Corpus, length: int, size: int) -> int:
    """How many batches `batches` yields."""
    windows = int((-(-(np.diff(corpus.first) - 1) // length)).sum())
    return -(-windows // size)


def passages(sources: list[Source], vocabulary: Vocabulary, length: int, count: int, seed: int) -> list[dict]:
    """`count` passages of real pieces, of up to `length` events, as openings: evenly from all styles, and from
    different pieces as long as there are enough.

    Each is a dict: classes (stream -> list), phase (list), metre, tempo (microseconds per quarter note, the mean of its
    events), name (of the piece), event (index of the first), parts (of the whole piece: the values as which they are
    heard), form, and style ('' if it is unknown).
    """
    rng = np.random.default_rng(seed)
    order, chosen, before = rng.permutation(len(sources)), [], Counter()
    styles = [source.style if source.style in vocabulary.styles else "" for source in sources]
    turn = []  # for each piece in the order: how many of its style come before it
    for i in order:
        turn.append(before[styles[i]])
        before[styles[i]] += 1
    for i in np.resize(order[np.argsort(turn, kind="stable")], count):
        events = sources[i].events
        begin = int(rng.integers(0, max(len(events) - length, 0) + 1))
        part = events[begin : begin + length]
        encoded, _ = vocabulary.encode(events)
        classes = {stream: values[begin : begin + length].tolist() for stream, values in encoded.items()}
        playing = sorted(set(vocabulary.heard_as(events).values()))
        passage = {"name": sources[i].name, "event": begin, "metre": part.metre(), "parts": playing, "style": styles[i]}
        passage["form"] = events.form().tolist()
        passage["tempo"] = round(np.clip(part.tempo.mean(), theory.TEMPOS[0], theory.TEMPOS[-1]))
        chosen.append({**passage, "classes": classes, "phase": part.phase.tolist()})
    return chosen
