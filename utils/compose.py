"""From an opening or a fragment to new pieces: what generate_music.py, predict_with_prior.py and app.py share."""

from dataclasses import dataclass, replace

import numpy as np

from utils import events, recall, sampler, settings, stepper
from utils.checkpoint import Checkpoint
from utils.errors import UserError
from utils.events import Vocabulary
from utils.midi import Piece
from utils.sampler import Sampling
from utils.stepper import Classes, Stepper


@dataclass(frozen=True)
class Wanted:
    """What new music shall be, beside how it is chosen."""

    notes: int  # new notes; 0: until the piece ends by itself
    program: int | None = None  # instrument of the new notes; None: that of most of the fragment, or a piano
    prepend: bool = False  # what it begins with stands before the new notes
    least_events: int = 1  # before a piece may end by itself
    most_events: int = 1  # after which a piece that does not end by itself is cut off


def openings(weights: Checkpoint, count: int, seed: int) -> list[dict]:
    """`count` of the passages that `dataset.passages` kept in the weights file, in an order that `seed` chooses."""
    kept = weights.about["openings"]
    order = np.random.default_rng(seed).permutation(len(kept))
    return [kept[order[i % len(kept)]] for i in range(count)]


def silence(weights: Checkpoint) -> dict:
    """An opening in which nothing is heard, in the usual metre of the training music."""
    return {"metre": weights.about["metre"], "classes": dict.fromkeys(weights.vocabulary.streams, []), "phase": []}


def new_pieces(network: Stepper, begun: list[dict], how: Sampling, wanted: Wanted) -> tuple[list[Piece], list[Classes]]:
    """A piece after each of the openings `begun`: the pieces, and the new events of each, stream -> (E,) classes."""
    state = stepper.stack([network.read(network.start(1, o["metre"]), o["classes"], o["phase"]) for o in begun])
    # The opening is heard but not recalled: else a piece repeats it, and so the training music, note for note.
    state = replace(state, past=recall.Past.empty(len(begun), network.vocabulary))
    least, most = (wanted.notes or wanted.least_events), (wanted.notes or wanted.most_events)
    how = how.constrained(*sampler.usual_constraints(network, state.length + least))
    made, pieces = sampler.generate(network, state, most, how), []
    for i, (opening, classes) in enumerate(zip(begun, made, strict=True)):
        phase = (state.last["phase"][i] + network.steps(classes["offset"][0])) % state.bar[i]
        with_opening = wanted.prepend and len(opening["phase"]) > 0
        if with_opening:
            phase = opening["phase"][0]
            classes = {s: np.concatenate([opening["classes"][s], new]).astype(int) for s, new in classes.items()}
        values = network.vocabulary.decode(classes)
        # The first note falls on the place in the bar for which it was made.
        start = phase - values["offset"][0]
        piece = events.let_go(
            events.to_piece(values, network.vocabulary.grid, start=start, program=wanted.program or 0)
        )
        if wanted.notes and not wanted.prepend:  # with --chords class an event may hold several notes
            piece = piece.take(slice(wanted.notes))
        piece.time_signatures = [(0, *opening["metre"])]
        pieces.append(piece)
    return pieces, made


def fragment(whole: Piece, start: float, notes: int, name: str) -> Piece:
    """The first `notes` notes (0: all) of a piece from the beat `start` on. Raises UserError, which calls the piece
    `name`, if there is none."""
    settings.at_least("prior-start", start, 0)
    settings.at_most("prior-start", start, 1e6)
    settings.at_least("prior-notes", notes, 0)
    piece = whole.span(round(start * whole.ticks_per_quarter))
    if not len(piece):
        last = whole.onset[-1] / whole.ticks_per_quarter
        raise UserError(
            f"{name} has no notes from beat {start:g} on: its last begins at {last:g}; lower --prior-start."
        )
    if notes and notes < len(piece):
        last = int(piece.onset[notes - 1])
        # Changes of tempo or metre after the last note that is used belong to music that is not there.
        piece = piece.span(0, last + 1).take(slice(notes))
    return piece


def remarks(vocabulary: Vocabulary, prior: Piece, name: str) -> list[str]:
    """What the network does not hear of a fragment as it is, in sentences that call it `name`."""
    heard = events.from_piece(prior, vocabulary.representation)
    _, moved = vocabulary.encode(heard)
    sentences = [
        f"{count} of {len(heard)} values of {stream} in {name} were never seen in training; "
        "the network hears the nearest ones"
        for stream, count in moved.items()
        if count
    ]
    if heard.clipped:
        sentences.append(
            f"{heard.clipped} rests or notes in {name} are longer than {vocabulary.representation.max_beats} beats; "
            "the network hears them as so long"
        )
    return sentences


def continuations(
    network: Stepper, prior: Piece, how: Sampling, wanted: Wanted, count: int
) -> tuple[list[Piece], Piece, list[Classes]]:
    """`count` pieces in which new notes follow a fragment.

    Returns the pieces; what of the fragment stands before the new notes: all, or nothing unless it is wanted there; and
    the new events of each piece, stream -> (E,) classes.
    """
    vocabulary, grid = network.vocabulary, network.vocabulary.grid
    if prior.ticks_per_quarter < 4 * grid:  # too coarse for the new notes
        prior = prior.finer(grid)
    ticks = prior.ticks_per_quarter
    heard = events.from_piece(prior, vocabulary.representation)
    state = network.read(network.start(1, heard.metre()), vocabulary.encode(heard)[0], heard.phase)
    seam = int(events.to_steps(prior.onset[-1:], ticks, grid)[0])
    state.onset[:] = seam  # where the fragment really stands, whatever was clipped or moved for the network
    held = np.zeros(128)
    np.maximum.at(held, prior.pitch, (prior.onset + prior.duration) * grid / ticks)
    # Where they cannot all hold, those that stand first do.
    how = how.constrained(
        sampler.no_onset_before(network, prior.onset[-1] * grid / ticks),
        sampler.no_note_still_held(network, held),
        *sampler.usual_constraints(network, state.length + wanted.notes),
    )
    program = int(np.bincount(prior.program).argmax()) if wanted.program is None else wanted.program
    velocity = round(float(prior.velocity.mean()))
    # Alone, the new notes begin in their first bar, in the tempo and metre that the fragment ended with.
    before = prior if wanted.prepend else prior.span(int(prior.onset[-1]) + 1)
    made, pieces = sampler.generate(network, stepper.stack([state] * count), wanted.notes, how), []
    for new in made:
        values = vocabulary.decode(new)
        start = seam if wanted.prepend else (heard.phase[-1] + values["offset"][0]) % state.bar[0] - values["offset"][0]
        piece = events.to_piece(values, grid, ticks, start, velocity, program)
        pieces.append(before.joined(events.let_go(piece).take(slice(wanted.notes))))
    return pieces, before, made
