"""Continue a fragment of your own: the prior is put in front, exactly as it is, and new music follows in time.

python predict_with_prior.py                               continue the fragment in samples/
python predict_with_prior.py --prior mine.mid --count 4    four different continuations
python predict_with_prior.py --prior mine.mid --prior-start 16 --prior-notes 0
"""

from pathlib import Path

import numpy as np

from utils import checkpoint, events, instruments, midi, output, sampler, settings
from utils.errors import UserError

# ---- the fragment
PRIOR = "samples/prior.mid"  # MIDI file to continue
PRIOR_START = 0.0  # quarter notes from its beginning at which the fragment begins
PRIOR_NOTES = 100  # notes of it that are used (0: all of them)
PREPEND = True  # let the fragment stand before its continuation
# ---- the music
WEIGHTS = "weights/music.weights.h5"  # file that train.py wrote
NOTES = 700  # new notes
COUNT = 1  # different continuations to write; they are made side by side
# ---- how it is chosen
TEMPERATURE = 1.0  # below 1: safer and more repetitive; above 1: bolder; 0: always the likeliest note
TOP_P = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED: int | None = None  # the same seed makes the same piece (none: a new one each time, printed)
# ---- how it sounds
TEMPO = 0.0  # quarter notes a minute (0: as in the fragment)
INSTRUMENT = ""  # of the new notes: any General MIDI name, or its number ('': as in the fragment)
OUT = "samples"  # folder for all that is written; nothing there is overwritten
# ---- beside each MIDI file, under its name
WAV = True  # its sound
PICTURE = True  # its piano roll (PNG)
NOTATION = False  # its score for notation programs (MusicXML)
SOUNDFONT = ""  # .sf2 or .sf3 file that plays the sound ('': the one that comes with pretty_midi)


def fragment(path: str, start: float, notes: int) -> midi.Piece:
    """The first `notes` notes (0: all) of a MIDI file from the beat `start` on. Raises UserError if there is none."""
    settings.at_least("prior-start", start, 0)
    settings.at_most("prior-start", start, 1e6)
    settings.at_least("prior-notes", notes, 0)
    whole = midi.read(path)
    piece = whole.span(round(start * whole.ticks_per_quarter))
    if not len(piece):
        last = whole.onset[-1] / whole.ticks_per_quarter
        raise UserError(
            f"{path} has no notes from beat {start:g} on: its last begins at {last:g}; lower --prior-start."
        )
    if notes and notes < len(piece):
        last = int(piece.onset[notes - 1])
        # Changes of tempo or metre after the last note that is used belong to music that is not there.
        piece = piece.span(0, last + 1).take(slice(notes))
    return piece


def main(args) -> None:
    settings.at_least("notes", args.notes, 1)
    settings.at_most("notes", args.notes, 1_000_000)
    settings.at_least("count", args.count, 1)
    prior = fragment(args.prior, args.prior_start, args.prior_notes)
    if args.tempo:
        prior.tempos = [(0, midi.microseconds(args.tempo))]
    program = instruments.program(args.instrument) if args.instrument else int(np.bincount(prior.program).argmax())
    weights = checkpoint.load(args.weights)
    stepper = sampler.Stepper(weights)
    if prior.ticks_per_quarter < 4 * stepper.vocabulary.grid:  # too coarse for the new notes
        prior = prior.finer(stepper.vocabulary.grid)
    vocabulary, grid, ticks = stepper.vocabulary, stepper.vocabulary.grid, prior.ticks_per_quarter

    heard = vocabulary.events(prior)
    classes, moved = vocabulary.encode(heard)
    for stream, count in moved.items():
        if count:
            print(f"{count} of {len(heard)} values of {stream} in {args.prior} were never seen in training; "
                  "the network hears the nearest ones")  # fmt: skip
    if heard.clipped:
        print(f"{heard.clipped} rests or notes in {args.prior} are longer than {vocabulary.max_beats} beats; "
              "the network hears them as so long")  # fmt: skip

    state = stepper.read(stepper.start(1, heard.metre()), classes, heard.phase)
    seam = int(events.to_steps(prior.onset[-1:], ticks, grid)[0])
    state.onset[:] = seam  # where the fragment really stands, whatever was clipped or moved for the network
    held = np.zeros(128)
    np.maximum.at(held, prior.pitch, (prior.onset + prior.duration) * grid / ticks)
    how = sampler.Sampling(args.temperature, args.top_p, args.seed)
    # Where they cannot all hold, those that stand first do.
    how.constraints = [
        sampler.no_onset_before(stepper, prior.onset[-1] * grid / ticks),
        sampler.no_note_still_held(stepper, held),
        *sampler.usual_constraints(stepper, state.length + args.notes),
    ]
    made = sampler.generate(stepper, sampler.stack([state] * args.count), args.notes, how)

    velocity = round(float(prior.velocity.mean()))
    for new in made:
        values = vocabulary.decode(new)
        before, start = prior, seam
        if not args.prepend:
            # Alone, the new notes begin in their first bar, in the tempo and metre that the fragment ended with.
            before = prior.span(int(prior.onset[-1]) + 1)
            start = (heard.phase[-1] + values["offset"][0]) % state.bar[0] - values["offset"][0]
        piece = events.let_go(events.to_piece(values, grid, ticks, start, velocity, program)).take(slice(args.notes))
        piece = before.joined(piece)
        path = midi.save_new(piece, args.out, f"{Path(args.prior).stem}-continued")
        beside = output.write_beside(path, piece, args, how.seed, before)
        print(
            f"Wrote {path}: {len(before)} notes of {args.prior} and {args.notes} new ones, {midi.clock(piece)} "
            f"minutes, seed {how.seed}{beside}"
        )


if __name__ == "__main__":
    settings.run(main, __file__)
