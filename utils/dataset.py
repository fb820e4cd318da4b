"""A folder of pieces: read, split by piece, encoded; cut into windows and batches on the fly.

Shapes: B windows, T events a window, P pieces, E events of all pieces, each piece with a start token before its events
and an end after them; G styles, C conditions: numbers that are told of a whole piece.
"""

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from utils import apart, form, recall
from utils.errors import UserError
from utils.events import END_STREAM, NOT_TOLD, Representation, bar_steps, outlook, room
from utils.line_recall import LineModel
from utils.parts import NOBODY, SILENT, Lines
from utils.source import Source, music_files, read_source
from utils.traces import FADING, LEFT
from utils.vocabulary import REACH, Vocabulary


def styles_of(sources: list[Source]) -> tuple[str, ...]:
    """The styles of some pieces, in alphabetical order; none unless there are two, as one is all music."""
    styles = {source.style for source in sources} - {""}
    return tuple(sorted(styles)) if len(styles) > 1 else ()


def read_folder(folder: str, how: Representation, salt: int = 0) -> tuple[list[Source], list[tuple[str, str]]]:
    """All pieces below `folder` as events, and what was skipped as (name, reason). With another `salt` others are held
    out. Raises UserError if the folder does not exist, or holds no file that can be used."""
    paths = music_files(folder)
    import symusic  # noqa: F401  (once, before processes begin, each of which needs it)

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

    Files of equal content have equal places, so they stand on the same side. With two different pieces or more neither
    side is empty; a single piece stands on both.
    """
    places = sorted({source.place for source in sources})
    if len(places) == 1:
        return sources, sources
    border = min(max(share, places[0] + 1e-12), places[-1]) if share > 0 else 0.0
    train = [source for source in sources if source.place >= border]
    return train, [source for source in sources if source.place < border]


@dataclass
class Corpus:
    """Encoded pieces one after another in flat arrays, so that millions of notes take a few bytes each."""

    inputs: dict[str, np.ndarray]  # what the network reads of events -> (E,) classes, and of 'origin' pitches
    first: np.ndarray  # (P + 1,) index of each piece's start token; the last entry is E
    is_target: np.ndarray  # (E, streams) what is predicted: no start tokens, and ends in END_STREAM alone
    ranges: np.ndarray  # (E, RANGE) how far the part of each event has ranged before it; see `Lines.ranges`
    matches: recall.MatchModel  # what is recalled after each event
    lines: LineModel | None  # and of the line of the part that plays, if the network is told of that
    room: np.ndarray  # (P, 2) semitones that each piece can be transposed down and up
    playing: np.ndarray  # (P, parts) whether each part plays in each piece
    style: np.ndarray  # (P, G) which style each piece is of, if it is one that the vocabulary knows
    moved: dict[str, int]  # stream -> values that the vocabulary lacked
    vocabulary: Vocabulary

    @property
    def pieces(self) -> int:
        return len(self.first) - 1

    @property
    def events(self) -> int:
        """Events without the start and the end of each piece."""
        return int(self.first[-1]) - 2 * self.pieces

    @property
    def events_each(self) -> np.ndarray:
        """(P,) events of each piece, without its start and its end."""
        return np.diff(self.first) - 2

    @property
    def notes_each(self) -> np.ndarray:
        """(P,) notes of each piece: as many as it has events, unless a chord is one event."""
        size = np.maximum(self.vocabulary.keys.sum(axis=1, dtype=np.int64), 1)  # a drum has no key
        size[-1] = 0  # the start token, which also stands beside the end
        return np.add.reduceat(size[self.inputs["note"]], self.first[:-1])

    @property
    def notes(self) -> int:
        return int(self.notes_each.sum())

    def events_at(
        self, index: np.ndarray, told: np.ndarray | bool = False, form: np.ndarray | bool = False
    ) -> dict[str, np.ndarray]:
        """What the network reads of the events `index` (B, ...), with how much is to come where `told` (B, 1), and
        whether the bar comes again where `form` (B, 1); and what it recalls of the line of their part."""
        classes = {name: each[index].astype(np.int32) for name, each in self.inputs.items()}
        told = dict.fromkeys(NOT_TOLD, told) | {"form": form}
        told = {name: told[name] for name in told if name in classes}
        classes |= {name: np.where(now, classes[name], NOT_TOLD[name]) for name, now in told.items()}
        return classes | (self.lines.recalled(index, form) if self.lines else {})

    def targets(self, stream: str) -> np.ndarray:
        """(E,) mask of what is predicted in a stream."""
        return self.is_target[:, self.vocabulary.streams.index(stream)]


def encode(sources: list[Source], vocabulary: Vocabulary, transpose: int = 0) -> Corpus:
    """The corpus of some pieces. `transpose` is how far, in semitones, they may be moved later."""
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
    own = np.full(first[-1], NOBODY)  # of each event, the last one of the same part
    own[1:] = lines.last(lines.part[1:], before)
    own[first[:-1]] = NOBODY
    inputs["origin"][1:] = lines.origins(own[1:], before)
    inputs["origin"][first[:-1]] = NOBODY
    inputs["interval"] = vocabulary.interval(inputs["note"], inputs["origin"]).astype(np.int16)
    if vocabulary.players:
        inputs["spacing"][1:] = vocabulary.interval(inputs["note"][1:], lines.here[:-1])
        inputs["spacing"][first[:-1]] = REACH
        for name, source in vocabulary.last.items():
            inputs[name][:] = np.where(own == NOBODY, vocabulary.start_token[name], inputs[source][own])
    # The end of a piece is the class `end` of this stream, the start token the one after it.
    is_target = inputs[END_STREAM][:, None] < vocabulary.end + np.equal(vocabulary.streams, END_STREAM)
    rooms = np.array([room(source.events.streams["note"], transpose) for source in sources])
    matches = recall.MatchModel(inputs, first, bar, again, lines, vocabulary)
    line_model = LineModel(inputs, bar, again, lines, matches.viewpoint) if vocabulary.told_lines else None
    playing = np.zeros((len(sources), vocabulary.parts + 1), bool)
    playing[np.repeat(np.arange(len(sources)), np.diff(first)), lines.part] = True
    style = [[source.style == known for known in vocabulary.styles] for source in sources]
    style = np.array(style, bool).reshape(len(sources), len(vocabulary.styles))
    told = lines.ranges(inputs["origin"]), matches, line_model
    return Corpus(inputs, first, is_target, *told, rooms, playing[:, :-1], style, moved, vocabulary)


def lines_of(inputs: dict[str, np.ndarray], first: np.ndarray, vocabulary: Vocabulary) -> Lines:
    """Where each part was last heard in the pieces of a corpus."""
    # Onsets are counted through all pieces, the next of which begins a step later, with its start token.
    piece = np.repeat(np.arange(len(first) - 1), np.diff(first))
    onset = np.cumsum(vocabulary.steps(END_STREAM)[inputs[END_STREAM]], dtype=np.int64) + piece
    end = onset + vocabulary.steps("duration")[inputs["duration"]]
    pitch = np.where(inputs["note"] == vocabulary.size("note"), NOBODY, vocabulary.top[inputs["note"]])
    return Lines.of(vocabulary.part_of(inputs), pitch, onset, end, first)


def window_starts(corpus: Corpus, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(piece, index of the first event) of enough windows to cover each piece about once, in random order.

    A piece's windows lie end to end from a random origin, pushed inside at both ends, so that beginnings and ends are
    learnt too. A window reads `length` + 1 events and predicts `length`.
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
    """Windows of `length` + 1 events of the pieces (B,) from the indices (B,); `told` (B, hints) is whether it is told
    how much is to come (as for `Corpus.events_at`), who plays in the piece, its form, and, if there are styles, which
    it is of.

    Returns the inputs, name -> (B, T + 1) or, for what is recalled, (B, T + 1, K), and the traces before the window,
    (B, LEFT, 128), of which only the one that never fades is there; if there are parts, for how many quarter notes each
    is still to sound, `until` (B, T + 1, P), and the `range` as in `Corpus.ranges`; if there are parts or styles, the
    `condition` (B, C): 1 for each part that plays, and for the style, where that is told; if there are styles, the
    `style` (B, G) that is to be recognised: 1 for the one that is not told; and the weight of each target, (B, T,
    streams): 1, or 0 where it is none (see `Corpus.is_target`) or the piece is over, and with styles, as one column
    more, that of the style.
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
        playing, style = corpus.playing[piece, : vocabulary.told_parts], corpus.style[piece]
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
    # The last batch is filled up with windows from the beginning: a batch of another size would be compiled anew.
    fill = np.arange(batch_count(corpus, length, size) * size) % len(piece)
    for rows in fill.reshape(-1, size):
        # The network must also do without each thing that it is told of a piece.
        told = rng.random((size, corpus.vocabulary.hints)) < 0.5
        inputs, weights = cut(corpus, piece[rows], start[rows], length, told)
        low, high = corpus.room[piece[rows]].T
        shift = rng.integers(np.maximum(low, -transpose), np.minimum(high, transpose) + 1)
        inputs["note"] = table[shift[:, None] + transpose, inputs["note"]]
        inputs["origin"] += np.where(inputs["origin"] == NOBODY, 0, shift[:, None])
        below = (np.arange(128) - shift[:, None]) % 128  # (B, 128) from where each key's traces come
        inputs["traces"] = np.take_along_axis(inputs["traces"], below[:, None], axis=2)
        yield inputs, weights


def batch_count(corpus: Corpus, length: int, size: int) -> int:
    """How many batches `batches` yields."""
    windows = int((-(-(np.diff(corpus.first) - 1) // length)).sum())
    return -(-windows // size)


def passages(sources: list[Source], vocabulary: Vocabulary, length: int, count: int, seed: int) -> list[dict]:
    """`count` real passages of up to `length` events, from different pieces as far as they go and from all styles
    alike, as openings.

    Each is a dict: classes (stream -> list), phase (list), metre, name (of the piece), event (index of the first),
    parts (values of the part stream that the whole piece has, as they are heard), its form, and style ('': none that is
    known).
    """
    rng = np.random.default_rng(seed)
    order, chosen, before = rng.permutation(len(sources)), [], Counter()
    styles = [source.style if source.style in vocabulary.styles else "" for source in sources]
    turn = []  # of each piece in the order: how many of its style stand before it
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
        chosen.append({**passage, "classes": classes, "phase": part.phase.tolist()})
    return chosen
