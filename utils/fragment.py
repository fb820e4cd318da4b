"""The part of a piece that new music goes on from, and how a network hears it."""

from dataclasses import replace

import numpy as np

from utils import parts, settings, theory
from utils.ensemble import Ensemble
from utils.errors import UserError
from utils.events import Events
from utils.piece import Piece
from utils.vocabulary import Vocabulary


def cut(whole: Piece, start: float, notes: int, name: str, bars: int = 0) -> Piece:
    """The part of a piece that is to be continued: from the beat `start` on the first `bars` bars, or the last if that
    is negative; or the first `notes` notes (0: all) if `bars` is 0. A pedal that is down at its last note is lifted
    where it is in the piece, or with the bar if more of the piece follows. Raises UserError, which calls the piece
    `name`, if there are no notes in it."""
    settings.at_least("prior-start", start, 0)
    settings.at_most("prior-start", start, 1e6)
    settings.at_least("prior-notes", notes, 0)
    begin, last = round(start * whole.ticks_per_quarter), whole.onset[-1] / whole.ticks_per_quarter
    if begin > whole.onset[-1]:
        raise UserError(
            f"{name} has no notes from beat {start:g} on: its last begins at {last:g}; lower --prior-start."
        )
    if bars:
        begin, end = bars_of(whole, begin, bars, name)
        notes = np.count_nonzero((whole.onset >= begin) & (whole.onset < end))
        if not notes:
            raise UserError(f"{name} has no notes in its first {bars} bars from beat {start:g} on: raise --prior-bars.")
    piece = whole.span(begin)
    last = min(notes or len(piece), len(piece)) - 1
    # Changes of tempo or metre after the last note that is used belong to music that is not there.
    used, pedals = piece.span(0, int(piece.onset[last]) + 1).take(slice(last + 1)), piece.pedals
    pedals = pedals[pedals[:, 0] <= piece.onset[last]]
    if len(used) < len(piece):  # new music shall not sound through a pedal that was held for other music
        line, *metre = used.bars(int(piece.onset[last]) + 1)[-1]
        pedals[:, 1] = np.minimum(pedals[:, 1], line + theory.bar_length(metre, used.ticks_per_quarter))
    return replace(used, pedals=pedals)


def bars_of(whole: Piece, start: int, bars: int, name: str) -> tuple[int, int]:
    """Where the first `bars` bars from the tick `start` on, or the last if that is negative, begin and end, in ticks. A
    pickup counts with the bar after it; the last bar is the one of the last onset. Prints if there are fewer bars."""
    end = int(whole.onset[-1]) + 1
    lines = whole.bars(end)
    pickup = theory.bars(lines, whole.onset, whole.ticks_per_quarter)[0].number == 0
    edges = [start, *(tick for tick, *_ in lines[1 + pickup :] if tick > start), end]
    if abs(bars) >= len(edges):
        beat = start / whole.ticks_per_quarter
        print(f"{name} has fewer than {abs(bars)} bars from beat {beat:g} on: all of them are used")
        return start, end
    return (start, edges[bars]) if bars > 0 else (edges[bars - 1], end)


def counted(vocabulary: Vocabulary, prior: Piece, name: str) -> tuple[Piece, list[str]]:
    """A fragment with its bars as the network counts them; and sentences, which call it `name`, if they change, or if
    its file was damaged."""
    same = vocabulary.representation.counted(prior)
    sentences = [f"{name}: {prior.damage}"] if prior.damage else []
    if same.bars()[-1][1] == 1:
        sentences.append(f"{name} says that its bars have one beat, as files do whose metre nobody knew")
    if same.bars() != prior.bars():
        own, asked = "{1}/{2}".format(*prior.bars()[-1]), vocabulary.representation.metre
        sentences.append(f"{name} is in {own}; the network counts all music in {asked}, and so it is written")
    return same, sentences


def ready(vocabulary: Vocabulary, prior: Piece) -> Piece:
    """A fragment as new music can join it: with its bars as the network counts them, and with four ticks at least in
    each step of the network's, as rounding could be heard otherwise."""
    prior = vocabulary.representation.counted(prior)
    return prior.finer(vocabulary.grid) if prior.ticks_per_quarter < 4 * vocabulary.grid else prior


def unknown_values(vocabulary: Vocabulary, heard: Events, name: str) -> list[str]:
    """Sentences on the values in the events of a piece, which they call `name` at their beginning, that the network
    does not know."""
    _, moved = vocabulary.encode(heard)
    sentences = [
        f"{name}: {count} of {len(heard)} values of {stream} were never seen in training; "
        "the network hears the nearest ones"
        for stream, count in moved.items()
        if count and stream != "part"
    ]
    if heard.clipped:
        beats, times = vocabulary.representation.max_beats, f"{heard.clipped:,}"
        sentences.append(
            f"{name} has rests or notes longer than {beats} beats, {times} in all; the network hears them as so long"
        )
    return sentences


def held_keys(vocabulary: Vocabulary, prior: Piece, playing: Ensemble) -> np.ndarray:
    """(P, 128) until when each part of the network holds each key, in steps since the beginning of the fragment."""
    held = np.zeros((vocabulary.parts, 128))
    place = {playing[value]: i for i, value in enumerate(vocabulary.players or (0,)) if value in playing}
    # Of each part of the fragment, that of the network: without parts there all that is no drum is one.
    others = [parts.NOBODY if vocabulary.players or part.drums else 0 for part in prior.parts]
    number = np.array([place.get(part, other) for part, other in zip(prior.parts, others, strict=True)])
    sounding = prior.take(number[prior.part] != parts.NOBODY)
    end = (sounding.onset + sounding.duration) * vocabulary.grid / sounding.ticks_per_quarter
    np.maximum.at(held, (number[sounding.part], sounding.pitch), end)
    return held
