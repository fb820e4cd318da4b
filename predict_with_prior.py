"""Continue a fragment of your own, or write new music around it; the fragment itself stays exactly as it is.

python predict_with_prior.py                               continue the fragment in samples/
python predict_with_prior.py --prior mine.mid --count 4    four different continuations
python predict_with_prior.py --prior mine.mid --prior-bars -2      carry on from its last two bars
python predict_with_prior.py --prior mine.mid --bars 8             eight more bars that come to an end
python predict_with_prior.py --prior tune.mid --keep Melody        a melody: write the other voices
python predict_with_prior.py --prior mine.mid --fill 5-8           write its bars 5 to 8 anew
"""

from pathlib import Path

from utils import checkpoint, completion, compose, control, files, fragment, instruments, midi, settings, theory
from utils.completion import Asked
from utils.errors import UserError
from utils.output import beside
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.wanted import Wanted, check_length, length_of

# ---- the fragment
PRIOR: str = "samples/prior.mid"  # MIDI file to continue
PRIOR_START: float = 0.0  # quarter notes into the file at which the fragment begins; not with FILL or REDO
PRIOR_BARS: int = 0  # bars of the file to use: 8 for the first eight, -2 for the last two (0: PRIOR_NOTES decides)
PRIOR_NOTES: int = 100  # notes of the file to use, unless PRIOR_BARS decides (0: all of them)
METRE: str = ""  # metre in which to count its bars, such as 4/4, if the file has it wrong ('': as the file says)
PREPEND: bool = True  # put the fragment in front of its continuation
AT_BAR: bool = False  # begin the new music at the next bar line, not within the last bar of the fragment
# ---- what is kept, if new music is to be written around it instead of after it
KEEP: str = ""  # names of parts to keep throughout, such as Violin 2,Viola; the others are new after PRIOR_BARS bars
PARTS: str = ""  # names or instruments of those others ('': the file's other parts, or whoever usually joins in)
FILL: str = ""  # bars to write anew, such as 5-8 or 3,7-8; everything before and after them stays
REDO: str = ""  # the same as FILL, for a generated piece: bars to write again
PARTICLES: int = 256  # versions to write side by side; one that fits well is kept
# ---- the music
WEIGHTS: str = "weights/music.weights.h5"  # file that train.py wrote
NOTES: int = 700  # new notes, unless BARS or SECONDS sets the length; around what is kept, as many as fit
BARS: int = 0  # new bars; the last one brings the piece to an end (0: NOTES sets the length)
SECONDS: float = 0.0  # instead of BARS: about how long the new music should last, in whole bars
ENDING: bool = True  # bring music whose length is set in bars or seconds to an end; otherwise it is cut off
FORM_OF: str = ""  # MIDI file whose bars repeat as fragment and new music together should ('' or none: left to chance)
STYLE: str = ""  # sub-folder of the training music to sound like, or several: haydn:0.7,bach:0.3 ('': the fragment's)
COUNT: int = 1  # different continuations to write, the likeliest first
VERSIONS: int | None = None  # versions of each; one is kept (none: 16, or 1 if NOTES sets the length)
# ---- the key
KEY: str = ""  # key of the new music, such as D minor or Eb ('': that of the fragment; none: no key is imposed)
SCALE: str = ""  # scale to use instead of the key's, such as dorian or D dorian (if it names no tonic: the fragment's)
KEY_STRENGTH: float = 0.5  # how strictly to avoid notes outside the key, in nats (0: not at all); less in modulations
KEY_LOCK: bool = False  # never play a note outside the key, drums excepted
# ---- how notes are chosen
TEMPERATURE: float | None = None  # lower: safer; higher: bolder (none: 0.9, or 0.8 around what is kept)
TOP_P: float = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED: int | None = None  # the same seed gives the same piece (none: a new seed each time, which is printed)
# ---- how it sounds
TEMPO: float = 0.0  # quarter notes per minute (0: as in the fragment)
INSTRUMENT: str = ""  # sounds for the parts' new notes, in order, as General MIDI names or numbers ('': their own)
OUT: str = "samples"  # folder for all output; nothing there is overwritten
COPYING: bool = True  # report the longest run of new notes that the training music has, in any key, if that is there
TRAINING_DIR: str = ""  # folder of that music ('': where it was during training, if that is below the current folder)
# ---- written beside each MIDI file, under its name
WAV: bool = True  # audio
PICTURE: bool = True  # piano roll (PNG)
NOTATION: bool = False  # score for notation programs (MusicXML)
SOUNDFONT: str = ""  # .sf2 or .sf3 file to make the audio with ('': the one that comes with pretty_midi)


def main(args) -> None:
    settings.at_least("count", args.count, 1)
    if args.versions is not None:
        settings.at_least("versions", args.versions, 1)
    check_length(args, least_notes=1)
    whole, programs = midi.read(args.prior), instruments.programs(args.instrument)
    files.sweep(args.out)
    args.weights = checkpoint.to_play(args.weights)
    weights = checkpoint.load(args.weights)
    whole = whole.in_metre(args.metre)
    whole, counted = fragment.counted(weights.vocabulary, whole, args.prior)
    around, fill = bool(args.keep or args.fill or args.redo), args.fill or args.redo
    if args.fill and args.redo:
        raise UserError("--fill and --redo both say which bars to write anew: name all of them in one of the two.")
    if fill and args.prior_start:
        raise UserError("Bars to write anew are counted in the whole piece: leave out --prior-start.")
    wanted = Asked(args.prior, args.keep, args.parts, fill, args.prior_bars, args.particles, programs)
    for name in "form_of at_bar bars seconds ending prepend versions".split() if around else ():
        if getattr(args, name) != globals()[name.upper()]:
            flag, *_ = settings.flag(name, getattr(args, name)).split()
            raise UserError(f"{flag} is for music that follows a fragment: leave it out with --keep, --fill or --redo.")
    notes, bars = (0, 0) if around else (args.prior_notes, args.prior_bars)
    prior = fragment.cut(whole, args.prior_start, notes, args.prior, bars)
    if notes and not bars and len(prior) < (whole.onset >= args.prior_start * whole.ticks_per_quarter).sum():
        most = "--prior-notes 0 uses all of them, and --prior-bars 8 the first eight bars"
        counted.append(f"{args.prior}: its first {len(prior)} of {len(whole)} notes are used; {most}.")
    if args.tempo:
        prior.tempos = [(0, theory.microseconds(args.tempo))]
    network, how = Stepper(weights), Sampling.of(args, completion.TEMPERATURE if around else compose.TEMPERATURE)
    if not around:
        wanted = Wanted(
            **length_of(args),
            name=args.prior,
            programs=programs,
            form=control.form_named(args.form_of, weights.vocabulary),
            at_bar=args.at_bar,
            prepend=args.prepend,
            versions=args.versions,
        )
    made, before, remarks = completion.from_fragment(network, prior, args, how, wanted)
    for remark in [*counted, *remarks]:
        print(remark)
    stem = f"{Path(args.prior).stem}-{'completed' if around else 'continued'}"
    beside.write_all(made, weights, args, stem, how, before)


if __name__ == "__main__":
    settings.run(main, __file__)
