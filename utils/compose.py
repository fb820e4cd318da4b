"""From an opening or a fragment to new pieces: what generate_music.py, predict_with_prior.py and app.py share."""

from dataclasses import replace

import numpy as np

from utils import events, recall, sampler, settings
from utils.checkpoint import Checkpoint
from utils.errors import UserError
from utils.events import Vocabulary
from utils.midi import Piece
from utils.sampler import Classes, Sampling, Stepper


def openings(weights: Checkpoint, count: int, seed: int) -> list[dict]:
    """`count` of the passages that `dataset.passages` kept in the weights file, in an order that `seed` chooses."""
    kept = weights.about["openings"]
    order = np.random.default_rng(seed).permutation(len(kept))
    return [kept[order[i % len(kept)]] for i in range(count)]


def silence(weights: Checkpoint) -> dict:
    """An opening in which nothing is heard, in the usual metre of the training music."""
    return {"metre": weights.about["metre"], "classes": dict.fromkeys(weights.vocabulary.streams, []), "phase": []}


def new_pieces(
    stepper: Stepper,
    begun: list[dict],
    how: Sampling,
    notes: int,
    program: int,
    include: bool = False,
    ends: tuple[int, int] = (1, 1),
) -> tuple[list[Piece], list[Classes]]:
    """A piece after each of the openings `begun`, of `notes` notes; or, if that is 0, of as many events, from `ends[0]`
    to `ends[1]`, as it has when it ends by itself. `include`: the opening itself stands before them.

    Returns the pieces and the new events of each, stream -> (E,) classes.
    """
    states = [stepper.read(stepper.start(1, o["metre"]), o["classes"], o["phase"]) for o in begun]
    state = sampler.stack(states)
    # The opening is heard but not recalled: else a piece repeats it, and so the training music, note for note.
    state = replace(state, past=recall.Past.empty(len(begun), stepper.vocabulary))
    how.constraints = sampler.usual_constraints(stepper, state.length + (notes or ends[0]))
    made, pieces = sampler.generate(stepper, state, notes or ends[1], how), []
    for i, classes in enumerate(made):
        opening = begun[i]
        phase = (state.last["phase"][i] + stepper.steps(classes["offset"][0])) % state.bar[i]
        if include and opening["phase"]:
            phase = opening["phase"][0]
            classes = {s: np.concatenate([opening["classes"][s], new]).astype(int) for s, new in classes.items()}
        values = stepper.vocabulary.decode(classes)
        # The first note falls on the place in the bar that it was made for.
        piece = events.to_piece(values, stepper.vocabulary.grid, start=phase - values["offset"][0], program=program)
        piece = events.let_go(piece)
        if notes and not include:  # with --chords class an event may hold several notes
            piece = piece.take(slice(notes))
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
    found = [
        f"{count} of {len(heard)} values of {stream} in {name} were never seen in training; "
        "the network hears the nearest ones"
        for stream, count in moved.items()
        if count
    ]
    if heard.clipped:
        found.append(
            f"{heard.clipped} rests or notes in {name} are longer than {vocabulary.representation.max_beats} beats; "
            "the network hears them as so long"
        )
    return found


def continuations(
    stepper: Stepper, prior: Piece, how: Sampling, notes: int, count: int, program: int | None, prepend: bool = True
) -> tuple[list[Piece], Piece, list[Classes]]:
    """`count` pieces in which `notes` new notes follow a fragment. `program` plays them; None: the one that plays most
    of the fragment.

    Returns the pieces; what of the fragment stands before the new notes: all, or nothing unless `prepend`; and the new
    events of each piece, stream -> (E,) classes.
    """
    vocabulary, grid = stepper.vocabulary, stepper.vocabulary.grid
    if prior.ticks_per_quarter < 4 * grid:  # too coarse for the new notes
        prior = prior.finer(grid)
    ticks = prior.ticks_per_quarter
    heard = events.from_piece(prior, vocabulary.representation)
    state = stepper.read(stepper.start(1, heard.metre()), vocabulary.encode(heard)[0], heard.phase)
    seam = int(events.to_steps(prior.onset[-1:], ticks, grid)[0])
    state.onset[:] = seam  # where the fragment really stands, whatever was clipped or moved for the network
    held = np.zeros(128)
    np.maximum.at(held, prior.pitch, (prior.onset + prior.duration) * grid / ticks)
    # Where they cannot all hold, those that stand first do.
    how.constraints = [
        sampler.no_onset_before(stepper, prior.onset[-1] * grid / ticks),
        sampler.no_note_still_held(stepper, held),
        *sampler.usual_constraints(stepper, state.length + notes),
    ]
    if program is None:
        program = int(np.bincount(prior.program).argmax())
    velocity = round(float(prior.velocity.mean()))
    # Alone, the new notes begin in their first bar, in the tempo and metre that the fragment ended with.
    before = prior if prepend else prior.span(int(prior.onset[-1]) + 1)
    made, pieces = sampler.generate(stepper, sampler.stack([state] * count), notes, how), []
    for new in made:
        values = vocabulary.decode(new)
        start = seam if prepend else (heard.phase[-1] + values["offset"][0]) % state.bar[0] - values["offset"][0]
        piece = events.to_piece(values, grid, ticks, start, velocity, program)
        pieces.append(before.joined(events.let_go(piece).take(slice(notes))))
    return pieces, before, made
