"""The fragment of a piece that new music continues, and how a network hears it."""

from dataclasses import replace

import numpy as np

from utils import parts, settings, theory
from utils.ensemble import Ensemble
from utils.errors import UserError
from utils.events import END_STREAM, Events
from utils.piece import Piece
from utils.vocabulary import Vocabulary

LAST_BARS = 4  # whose usual tempo new music takes up again
EARLY = 2 * theory.GRID  # a note less than this part of a quarter note before a bar line belongs to the bar after it


def cut(whole: Piece, start: float, notes: int, name: str, bars: int = 0) -> Piece:
    """The part of a piece to continue. From the beat `start` on, it is the first `bars` bars, or the last ones if that
    is negative; if `bars` is 0, it is the first `notes` notes (0: all) and the rest of the last chord. Notes that come
    a little before the beat or a bar line, as when somebody plays, belong to what follows there. A pedal that is down
    at its last note is lifted where the piece lifts it, but if more of the piece follows, no later than the bar of that
    note ends. Raises UserError, which calls the piece `name`, if the part has no notes."""
    settings.at_least("prior-start", start, 0)
    settings.at_most("prior-start", start, 1e6)
    settings.at_least("prior-notes", notes, 0)
    begin, last = round(start * whole.ticks_per_quarter), whole.onset[-1] / whole.ticks_per_quarter
    if begin > whole.onset[-1]:
        raise UserError(
            f"{name} has no notes from beat {start:g} on, as its last one begins at {last:g}: lower --prior-start."
        )
    begin, end = bars_of(whole, begin, bars, name) if bars else (begin, np.inf)
    early = whole.ticks_per_quarter // EARLY
    late = np.where((whole.onset < begin) & (whole.onset >= begin - early), begin - whole.onset, 0)
    whole = replace(whole, onset=whole.onset + late, duration=np.maximum(whole.duration - late, 1)).sorted()
    if bars:
        end -= early * (end <= whole.onset[-1])
        notes = np.count_nonzero((whole.onset >= begin) & (whole.onset < end))
        if not notes:
            raise UserError(f"{name} has no notes in its first {bars} bars from beat {start:g} on: raise --prior-bars.")
    piece = whole.span(begin)
    last = min(notes or len(piece), len(piece)) - 1
    last = int(np.searchsorted(piece.onset, piece.onset[last], "right")) - 1
    # Changes of tempo or metre after the last note belong to music that is not used.
    used, pedals = piece.span(0, int(piece.onset[last]) + 1).take(slice(last + 1)), piece.pedals
    pedals = pedals[pedals[:, 0] <= piece.onset[last]]
    if len(used) < len(piece):  # new music must not sound through a pedal that was held for other music
        lines = used.bars(int(piece.onset[last]) + 1)
        pedals[:, 1] = np.minimum(pedals[:, 1], theory.edges(lines, used.ticks_per_quarter)[-1])
    return replace(used, pedals=pedals)


def in_tempo(prior: Piece) -> Piece:
    """A fragment that ends in the tempo in which new music goes on. If the last change of tempo is for a single chord,
    as at a fermata, or within the last bar, as in a ritardando, that is the usual tempo of its last bars."""
    tick, tempo = prior.tempos_from_start()[-1]
    lines = prior.bars(int(prior.onset[-1]) + 1)
    usual = prior.usual_tempo(lines[-LAST_BARS:][0][0])
    passes = tick > lines[-1][0] or tick > 0 and (prior.onset[prior.onset >= tick] == prior.onset[-1]).all()
    if not passes or usual == tempo:
        return prior
    over = int((prior.onset + prior.duration)[prior.onset == prior.onset[-1]].max())
    return replace(prior, tempos=[*prior.tempos, (over, usual)])


def bars_of(whole: Piece, start: int, bars: int, name: str) -> tuple[int, int]:
    """Start and end, in ticks, of the first `bars` bars from the tick `start` on, or of the last if that is negative. A
    pickup counts with the bar after it; the last bar is that of the last onset. Prints if there are fewer bars."""
    end = int(whole.onset[-1]) + 1
    lines = whole.bars(end)
    pickup = theory.bars(lines, whole.onset, whole.ticks_per_quarter)[0].number == 0
    edges = [start, *(tick for tick, *_ in lines[1 + pickup :] if tick > start), end]
    if abs(bars) >= len(edges):
        beat = start / whole.ticks_per_quarter
        print(f"{name} has fewer than {abs(bars)} bars from beat {beat:g} on, so all of them are used")
        return start, end
    return (start, edges[bars]) if bars > 0 else (edges[bars - 1], end)


def counted(vocabulary: Vocabulary, prior: Piece, name: str) -> tuple[Piece, list[str]]:
    """A fragment with its bars as the network counts them; and sentences, which call it `name`, on a change of these
    bars, on bars of one beat, and on damage to its file."""
    recounted = prior.in_metre(vocabulary.representation.metre)
    sentences = [f"{name}: {prior.damage}"] if prior.damage else []
    if recounted.bars()[-1][1] == 1:
        sentences.append(f"{name} says that its bars have one beat, which often means that its metre was not known")
    if recounted.bars() != prior.bars():
        before, after = "{1}/{2}".format(*prior.bars()[-1]), vocabulary.representation.metre
        sentences.append(f"{name} is in {before}; this network counts all music in {after}, and so it is written")
    return recounted, sentences


def ready(vocabulary: Vocabulary, prior: Piece) -> Piece:
    """A fragment that new music can join: with its bars as the network counts them, and with at least four ticks in
    each step of the network's grid, since rounding could otherwise be heard."""
    prior = prior.in_metre(vocabulary.representation.metre)
    return prior.finer(vocabulary.grid) if prior.ticks_per_quarter < 4 * vocabulary.grid else prior


def unknown_values(vocabulary: Vocabulary, heard: Events, name: str) -> list[str]:
    """Sentences, which call a piece `name`, on the values in its events that the network does not know."""
    offset = heard.streams[END_STREAM].copy()
    offset[0] = vocabulary.values[END_STREAM][0]  # how long the file waits before its first note does not matter
    streams, sentences = {**heard.streams, END_STREAM: offset}, []
    nearest = vocabulary.decode(vocabulary.encode(replace(heard, streams=streams))[0])
    for stream in (one for one in streams if one != "part"):
        if stream == "note":
            other = nearest[stream] != streams[stream]
        else:  # a step more or less, or a tenth, as when notes are let go a little early, is hardly heard
            other = np.abs(nearest[stream] - streams[stream]) > np.maximum(streams[stream] / 10, 1)
        if count := np.count_nonzero(other):
            sentences.append(
                f"{name}: {count} of {len(heard)} values of {stream} were never seen in training; "
                "the network hears the nearest ones"
            )
    if heard.clipped:
        beats, times = vocabulary.representation.max_beats, f"{heard.clipped:,}"
        sentences.append(
            f"{name} has rests or notes longer than {beats} beats ({times} in all); "
            f"the network hears them as {beats} beats long"
        )
    return sentences


def held_keys(vocabulary: Vocabulary, prior: Piece, playing: Ensemble) -> np.ndarray:
    """(P, 128) until when each of the network's parts holds each key, in steps since the beginning of the fragment."""
    held = np.zeros((vocabulary.parts, 128))
    place = {playing[value]: i for i, value in enumerate(vocabulary.players or (0,)) if value in playing}
    # For each part of the fragment, the network's part; a network without parts has one for all that are no drums.
    others = [parts.NOBODY if vocabulary.players or part.drums else 0 for part in prior.parts]
    number = np.array([place.get(part, other) for part, other in zip(prior.parts, others, strict=True)])
    sounding = prior.take(number[prior.part] != parts.NOBODY)
    end = (sounding.onset + sounding.duration) * vocabulary.grid / sounding.ticks_per_quarter
    np.maximum.at(held, (number[sounding.part], sounding.pitch), end)
    return held
