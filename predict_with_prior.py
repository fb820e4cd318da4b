"""Continue a fragment of your own, which stays exactly as it is: new music follows in time, or is written around it.

python predict_with_prior.py                               continue the fragment in samples/
python predict_with_prior.py --prior mine.mid --count 4    four different continuations
python predict_with_prior.py --prior mine.mid --prior-bars -2      carry on from its last two bars
python predict_with_prior.py --prior mine.mid --bars 8             eight more bars, which bring it to an end
python predict_with_prior.py --prior tune.mid --keep Melody        a melody: write the other voices
python predict_with_prior.py --prior mine.mid --fill 5-8           write bars 5 to 8 of it
"""

from pathlib import Path

from utils import checkpoint, completion, compose, control, files, fragment, instruments, midi, settings, theory
from utils.completion import Asked
from utils.compose import Wanted
from utils.errors import UserError
from utils.output import beside
from utils.sampler import Sampling
from utils.stepper import Stepper

# ---- the fragment
PRIOR: str = "samples/prior.mid"  # MIDI file to continue
PRIOR_START: float = 0.0  # quarter notes from its beginning at which the fragment begins; not with FILL or REDO
PRIOR_BARS: int = 0  # bars of it that are used: the first 8, or with -2 the last two (0: as PRIOR_NOTES says)
PRIOR_NOTES: int = 100  # notes of it that are used, unless PRIOR_BARS says how much (0: all of them)
METRE: str = ""  # count its bars so, such as 4/4, where the file has its metre wrong ('': as the file says)
PREPEND: bool = True  # let the fragment stand before its continuation
AT_BAR: bool = False  # begin the new music at the next bar line, not within the last bar of the fragment
# ---- what of it is kept, if new music is not to follow it but to be written around it
KEEP: str = ""  # parts that run on to its end, by name (Violin 2), with commas; others are new after PRIOR_BARS bars
PARTS: str = ""  # who the others are, by name or instrument ('': those of the file, or who usually plays with them)
FILL: str = ""  # bars that are to be new, such as 5-8 or 3,7-8; what stands before and after them stays
REDO: str = ""  # the same, for a piece that was generated: these bars again
PARTICLES: int = 256  # versions that are made side by side, of which the one that fits best is kept
# ---- the music
WEIGHTS: str = "weights/music.weights.h5"  # file that train.py wrote
NOTES: int = 700  # new notes, unless BARS or SECONDS says how much is to come; around what is kept, as many as fit
BARS: int = 0  # new bars, of which the last brings the piece to an end (0: as NOTES says)
SECONDS: float = 0.0  # instead of BARS: about how long the new music shall play, in whole bars
ENDING: bool = True  # bring so many bars or seconds of music to an end; otherwise it is cut off
FORM_OF: str = ""  # MIDI file whose bars come again as those of fragment and new music shall ('' or none: as it comes)
STYLE: str = ""  # sub-folder of the training music to go on like, or several: haydn:0.7,bach:0.3 ('': as it sounds)
COUNT: int = 1  # different continuations to write; they are made side by side
# ---- in which key
KEY: str = ""  # key of the new music, such as D minor or Eb ('': that of the fragment; none: whatever comes)
SCALE: str = ""  # scale instead of that of the key, such as dorian or D dorian (without a tonic: that of the fragment)
KEY_STRENGTH: float = 0.5  # nats by which notes outside of it are made less likely; less so where the music modulates
KEY_LOCK: bool = False  # no note outside of it at all, drums apart
# ---- how it is chosen
TEMPERATURE: float | None = None  # lower: safer; higher: bolder (none: 0.9, or 0.8 around what is kept)
TOP_P: float = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED: int | None = None  # the same seed makes the same piece (none: a new one each time, printed)
# ---- how it sounds
TEMPO: float = 0.0  # quarter notes a minute (0: as in the fragment)
INSTRUMENT: str = ""  # sound of the parts' new notes, General MIDI names or numbers in their order ('': their own)
OUT: str = "samples"  # folder for all that is written; nothing there is overwritten
COPYING: bool = True  # say how many new notes in a row the training music has too, in any key, if it is still there
TRAINING_DIR: str = ""  # folder of that music ('': where it was then, if that is below this folder)
# ---- beside each MIDI file, under its name
WAV: bool = True  # its sound
PICTURE: bool = True  # its piano roll (PNG)
NOTATION: bool = False  # its score for notation programs (MusicXML)
SOUNDFONT: str = ""  # .sf2 or .sf3 file that plays the sound ('': the one that comes with pretty_midi)


def main(args) -> None:
    settings.at_least("count", args.count, 1)
    compose.check_length(args, least_notes=1)
    whole, programs = midi.read(args.prior), instruments.programs(args.instrument)
    files.sweep(args.out)
    args.weights = checkpoint.to_play(args.weights)
    weights = checkpoint.load(args.weights)
    whole = whole.in_metre(theory.metre(args.metre)) if args.metre else whole
    whole, counted = fragment.counted(weights.vocabulary, whole, args.prior)
    around, fill = bool(args.keep or args.fill or args.redo), args.fill or args.redo
    if args.fill and args.redo:
        raise UserError("--fill and --redo both say which bars shall be new: give all of them to one.")
    if fill and args.prior_start:
        raise UserError("Bars that shall be new are counted in the whole piece: leave out --prior-start.")
    wanted = Asked(args.prior, args.keep, args.parts, fill, args.prior_bars, args.particles, programs)
    after = {"form_of": "", "at_bar": False, "bars": 0, "seconds": 0, "ending": True, "prepend": True}
    for name, usual in after.items() if around else ():
        if getattr(args, name) != usual:
            flag, *_ = settings.flag(name, getattr(args, name)).split()
            raise UserError(f"{flag} is for what follows a fragment, not for --keep, --fill or --redo: leave it out.")
    notes, bars = (0, 0) if around else (args.prior_notes, args.prior_bars)
    prior = fragment.cut(whole, args.prior_start, notes, args.prior, bars)
    if args.tempo:
        prior.tempos = [(0, theory.microseconds(args.tempo))]
    how = Sampling.of(args, completion.TEMPERATURE if around else compose.TEMPERATURE)
    if not around:
        *_, (_, tempo) = prior.tempos_from_start()
        wanted = Wanted(
            **compose.length_of(args, tempo),
            name=args.prior,
            programs=programs,
            form=control.form_named(args.form_of, weights.vocabulary),
            at_bar=args.at_bar,
            prepend=args.prepend,
        )
    made, before, remarks = completion.from_fragment(Stepper(weights), prior, args, how, wanted)
    for remark in [*counted, *remarks]:
        print(remark)
    stem = f"{Path(args.prior).stem}-{'completed' if around else 'continued'}"
    beside.write_all(made, weights, args, stem, how, before)


if __name__ == "__main__":
    settings.run(main, __file__)
