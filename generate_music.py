"""Write new music as MIDI files, from the weights that train.py made.

python generate_music.py                                   one piece of 400 notes into samples/
python generate_music.py --bars 16                         sixteen bars that come to an end
python generate_music.py --bars 16 --key "D minor" --metre 3/4     in this key, and in this metre
python generate_music.py --count 3 --instrument "Church Organ"
python generate_music.py --style haydn                     as in the sub-folder haydn of the training music
python generate_music.py --temperature 0.8 --seed 7        calmer, and the same on every run
"""

from pathlib import Path

from utils import checkpoint, compose, control, ensemble, files, instruments, settings, styles, theory
from utils.compose import Wanted
from utils.errors import UserError
from utils.output import beside
from utils.sampler import Sampling
from utils.stepper import Stepper

# ---- the music
WEIGHTS: str = "weights/music.weights.h5"  # file that train.py wrote
NOTES: int = 400  # notes in each piece, unless BARS or SECONDS says how long it is (0: until it ends by itself)
BARS: int = 0  # bars in each piece, of which the last brings it to an end (0: as NOTES says)
SECONDS: float = 0.0  # instead of BARS: about how long each piece shall play, in whole bars
ENDING: bool = True  # bring a piece of so many bars or seconds to an end; otherwise it is cut off
COUNT: int = 1  # pieces to write, the likeliest first
VERSIONS: int = 16  # of each piece, written side by side, of which one is kept; fewer if it is long (1: fastest)
OPENING: str = "random"  # random: a passage of the training music sets the scene; none: from silence
STYLE: str = ""  # sub-folder of the training music to play like, or several: haydn:0.7,bach:0.3 ('': as the opening)
INCLUDE_OPENING: bool = False  # let that passage stand before the new music
FORM_OF: str = ""  # MIDI file whose bars come again as new ones shall ('': the passage's piece; none: as it comes)
METRE: str = ""  # metre of the music, such as 3/4 or 6/8 ('': that of the passage)
# ---- in which key
KEY: str = ""  # key of the music, such as D minor or Eb ('': that of the passage; none: whatever comes)
SCALE: str = ""  # scale instead of that of the key, such as dorian or D dorian (without a tonic: that of the passage)
KEY_STRENGTH: float = 1.0  # nats by which notes outside of it are made less likely; less so where the music modulates
KEY_LOCK: bool = False  # no note outside of it at all, drums apart
# ---- how it is chosen
TEMPERATURE: float = 0.9  # lower: safer and more repetitive; higher: bolder; 0: always the likeliest note
TOP_P: float = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED: int | None = None  # the same seed makes the same piece (none: a new one each time, printed)
# ---- who plays
INSTRUMENTS: str = ""  # the parts, General MIDI names or drums, with commas between them ('': those of the opening)
DRUMS: bool = True  # with drums, where the opening has them or INSTRUMENTS names them
# ---- how it sounds
TEMPO: float = 120.0  # quarter notes a minute
INSTRUMENT: str = ""  # sound of the parts whoever they are, General MIDI names or numbers in order ('': their own)
OUT: str = "samples"  # folder for all that is written; nothing there is overwritten
COPYING: bool = True  # say how many notes in a row stand in the training music too, in any key, if that is still there
TRAINING_DIR: str = ""  # folder of that music ('': where it was then, if that is below this folder)
# ---- beside each MIDI file, under its name
WAV: bool = True  # its sound
PICTURE: bool = True  # its piano roll (PNG)
NOTATION: bool = False  # its score for notation programs (MusicXML)
SOUNDFONT: str = ""  # .sf2 or .sf3 file that plays the sound ('': the one that comes with pretty_midi)
# ---- pieces that end by themselves (--notes 0)
LEAST_EVENTS: int = 32  # events before a piece may end
MOST_EVENTS: int = 5000  # events after which it is cut off


def main(args) -> None:
    settings.choice("opening", args.opening, ("random", "none"))
    if args.include_opening and args.opening == "none":
        raise UserError("--include-opening keeps the passage before the music, and --opening none asks for none.")
    compose.check_length(args, least_notes=0)
    for name in ("count", "versions", "least_events", "most_events"):
        settings.at_least(name, getattr(args, name), 1)
    programs = instruments.programs(args.instrument)
    tempo = theory.microseconds(args.tempo)
    files.sweep(args.out)
    args.weights = checkpoint.to_play(args.weights)
    weights = checkpoint.load(args.weights)
    how = Sampling.of(args, compose.TEMPERATURE)
    players = None
    if args.instruments:
        players, remarks = ensemble.asked(weights.vocabulary, args.instruments, args.drums)
        print(*remarks, sep="\n", end="\n" * bool(remarks))
    wanted = Wanted(
        **compose.length_of(args, tempo),
        tempo=tempo,
        players=players,
        drums=args.drums,
        style=styles.asked(weights.vocabulary, args.style),
        programs=programs,
        form=control.form_named(args.form_of, weights.vocabulary),
        prepend=args.include_opening,
        least_events=args.least_events,
        most_events=args.most_events,
        versions=args.versions,
    )
    made = compose.from_nothing(weights, Stepper(weights), args, how, wanted)
    beside.write_all(made, weights, args, Path(args.weights).name.removesuffix(".weights.h5"), how)


if __name__ == "__main__":
    settings.run(main, __file__)
