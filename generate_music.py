"""Write new music as MIDI files, with the weights that train.py saved.

python generate_music.py                                   one piece of 400 notes into samples/
python generate_music.py --bars 16                         sixteen bars that come to an end
python generate_music.py --bars 16 --key "D minor" --metre 3/4     in this key and this metre
python generate_music.py --count 3 --instrument "Church Organ"
python generate_music.py --style haydn                     in the style of the training music's sub-folder haydn
python generate_music.py --temperature 0.8 --seed 7        calmer, and the same every time
"""

from utils import checkpoint, compose, control, ensemble, files, instruments, settings, styles, theory
from utils.errors import UserError
from utils.output import beside
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.wanted import Wanted, check_length, length_of

# ---- the music
WEIGHTS: str = "weights/music.weights.h5"  # file that train.py wrote
NOTES: int = 400  # notes in each piece, unless BARS or SECONDS sets its length (0: until it ends by itself)
BARS: int = 0  # bars in each piece, counting an upbeat as one; the last is its end (0: NOTES sets the length)
SECONDS: float = 0.0  # instead of BARS: about how long each piece should last, in whole bars
ENDING: bool = True  # bring a piece whose length is set in bars or seconds to an end; otherwise it is cut off
COUNT: int = 1  # pieces to write, the likeliest first
VERSIONS: int = 16  # versions of each piece to write side by side, fewer if it is long; one is kept (1: fastest)
OPENING: str = "random"  # random: a passage of the training music sets the scene; none: start from silence
STYLE: str = ""  # sub-folder of the training music to sound like, or several: haydn:0.7,bach:0.3 ('': the opening's)
INCLUDE_OPENING: bool = False  # put the opening in front of the new music
FORM_OF: str = ""  # MIDI file whose bars repeat as the new ones should ('': the opening's piece; none: left to chance)
METRE: str = ""  # metre of the music, such as 3/4 or 6/8 ('': that of the opening)
# ---- the key
KEY: str = ""  # key of the music, such as D minor or Eb ('': that of the opening; none: no key is imposed)
SCALE: str = ""  # scale to use instead of the key's, such as dorian or D dorian (if it names no tonic: the opening's)
KEY_STRENGTH: float = 1.0  # how strictly to avoid notes outside the key, in nats (0: not at all); less in modulations
KEY_LOCK: bool = False  # never play a note outside the key, drums excepted
# ---- how notes are chosen
TEMPERATURE: float = 0.9  # lower: safer and more repetitive; higher: bolder; 0: always the likeliest note
TOP_P: float = 1.0  # choose only among the likeliest notes that together have this share of the probability
SEED: int | None = None  # the same seed gives the same piece (none: a new seed each time, which is printed)
# ---- who plays
INSTRUMENTS: str = ""  # parts that play: General MIDI names or drums, separated by commas ('': the opening's)
DRUMS: bool = True  # include drums if the opening has them or INSTRUMENTS names them
# ---- how it sounds
TEMPO: float = 0.0  # quarter notes per minute (0: as in the passage of the training music that it starts from)
INSTRUMENT: str = ""  # sounds for the parts, in order, as General MIDI names or numbers ('': the parts' own sounds)
OUT: str = "samples"  # folder for all output; nothing there is overwritten
COPYING: bool = True  # report the longest run of notes that the training music has too, in any key, if that is there
TRAINING_DIR: str = ""  # folder of that music ('': where it was during training, if that is below the current folder)
# ---- written beside each MIDI file, under its name
WAV: bool = True  # audio
PICTURE: bool = True  # piano roll (PNG)
NOTATION: bool = False  # score for notation programs (MusicXML)
SOUNDFONT: str = ""  # .sf2 or .sf3 file to make the audio with ('': the one that comes with pretty_midi)
# ---- pieces that end by themselves (--notes 0)
LEAST_EVENTS: int = 32  # events (usually notes) before a piece may end
MOST_EVENTS: int = 5000  # events (usually notes) after which a piece is cut off


def main(args) -> None:
    settings.choice("opening", args.opening, ("random", "none"))
    if args.include_opening and args.opening == "none":
        raise UserError("--include-opening needs an opening, but --opening none asks for none: leave one of them out.")
    check_length(args, least_notes=0)
    for name in ("count", "versions", "least_events", "most_events"):
        settings.at_least(name, getattr(args, name), 1)
    programs = instruments.programs(args.instrument)
    files.sweep(args.out)
    args.weights = checkpoint.to_play(args.weights)
    weights = checkpoint.load(args.weights)
    how = Sampling.of(args, compose.TEMPERATURE)
    players = None
    if args.instruments:
        players, remarks = ensemble.asked(weights.vocabulary, args.instruments, args.drums)
        print(*remarks, sep="\n", end="\n" * bool(remarks))
    wanted = Wanted(
        **length_of(args),
        tempo=theory.microseconds(args.tempo) if args.tempo else 0,
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
    beside.write_all(made, weights, args, checkpoint.name_of(args.weights), how)


if __name__ == "__main__":
    settings.run(main, __file__)
