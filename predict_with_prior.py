"""Continue a fragment of your own: the prior is put in front, exactly as it is, and new music follows in time.

python predict_with_prior.py                               continue the fragment in samples/
python predict_with_prior.py --prior mine.mid --count 4    four different continuations
python predict_with_prior.py --prior mine.mid --prior-bars -2      carry on from its last two bars
python predict_with_prior.py --prior mine.mid --bars 8             eight more bars, which bring it to an end
"""

from pathlib import Path

from utils import checkpoint, compose, ensemble, instruments, midi, sampler, settings, styles, theory
from utils.compose import Wanted
from utils.measure import copying
from utils.output import beside
from utils.stepper import Stepper

# ---- the fragment
PRIOR = "samples/prior.mid"  # MIDI file to continue
PRIOR_START = 0.0  # quarter notes from its beginning at which the fragment begins
PRIOR_BARS = 0  # bars of it that are used: the first 8, or with -2 the last two (0: as PRIOR_NOTES says)
PRIOR_NOTES = 100  # notes of it that are used, unless PRIOR_BARS says how much (0: all of them)
PREPEND = True  # let the fragment stand before its continuation
# ---- the music
WEIGHTS = "weights/music.weights.h5"  # file that train.py wrote
NOTES = 700  # new notes, unless BARS or SECONDS says how much is to come
BARS = 0  # new bars, of which the last brings the piece to an end (0: as NOTES says)
SECONDS = 0.0  # instead of BARS: about how long the new music shall play, in whole bars
ENDING = True  # bring so many bars or seconds of music to an end; otherwise it is cut off
STYLE = ""  # sub-folder of the training music to go on like, or several: haydn:0.7,bach:0.3 ('': what it sounds like)
COUNT = 1  # different continuations to write; they are made side by side
# ---- how it is chosen
TEMPERATURE = 0.9  # lower: safer and more repetitive; higher: bolder; 0: always the likeliest note
TOP_P = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED: int | None = None  # the same seed makes the same piece (none: a new one each time, printed)
# ---- how it sounds
TEMPO = 0.0  # quarter notes a minute (0: as in the fragment)
INSTRUMENT = ""  # sound of the parts' new notes, General MIDI names or numbers in their order ('': their own)
OUT = "samples"  # folder for all that is written; nothing there is overwritten
COPYING = True  # say how many new notes in a row stand in the training music too, in any key, if that is still there
# ---- beside each MIDI file, under its name
WAV = True  # its sound
PICTURE = True  # its piano roll (PNG)
NOTATION = False  # its score for notation programs (MusicXML)
SOUNDFONT = ""  # .sf2 or .sf3 file that plays the sound ('': the one that comes with pretty_midi)


def main(args) -> None:
    compose.check_length(args, least_notes=1)
    settings.at_least("count", args.count, 1)
    whole = midi.read(args.prior)
    prior = compose.fragment(whole, args.prior_start, args.prior_notes, args.prior, args.prior_bars)
    if args.tempo:
        prior.tempos = [(0, theory.microseconds(args.tempo))]
    programs = instruments.programs(args.instrument)
    args.weights = checkpoint.to_play(args.weights)
    weights = checkpoint.load(args.weights)
    network = Stepper(weights)
    style = styles.asked(network.vocabulary, args.style)
    remarks = compose.remarks(network.vocabulary, prior, args.prior)
    if not style:
        style, sentences = styles.of_fragment(network, ensemble.hear(network.vocabulary, prior)[0], args.prior)
        remarks += sentences
    for remark in remarks:
        print(remark)
    how = sampler.Sampling(args.temperature, args.top_p, args.seed)
    *_, (_, tempo) = prior.tempos_from_start()
    wanted = Wanted(**compose.length_of(args, tempo), programs=programs, prepend=args.prepend, style=style)
    pieces, before, made = compose.continuations(network, prior, how, wanted, args.count)
    paths = []
    for piece in pieces:
        path = midi.save_new(piece, args.out, f"{Path(args.prior).stem}-continued")
        also = beside.write_beside(path, piece, args, beside.about(args, how.seed), before)
        print(
            f"Wrote {path}: {len(before)} notes of {args.prior} and {len(piece) - len(before)} new ones, "
            f"{piece.clock()} minutes, seed {how.seed}{also}"
        )
        paths.append(path)
    if args.copying:
        copying.report(weights, paths, made)


if __name__ == "__main__":
    settings.run(main, __file__)
