"""The 128 instruments of General MIDI (level 1 sound set), by name and by program number 0..127."""

import difflib
import re
from collections.abc import Callable

from utils.errors import UserError


def listed(names: str, is_known: Callable[[str], bool] = lambda name: False) -> list[str]:
    """The comma-separated names in a text; a known name may contain commas."""
    words, found = names.split(","), []
    while words:
        beginnings = [",".join(words[:size]).strip() for size in range(len(words), 0, -1)]
        name = next(filter(is_known, beginnings), beginnings[-1])
        words = words[len(beginnings) - beginnings.index(name) :]
        found += [name] if name else []
    return found


INSTRUMENTS = listed("""
Acoustic Grand Piano, Bright Acoustic Piano, Electric Grand Piano, Honky-tonk Piano, Electric Piano 1, Electric Piano 2,
Harpsichord, Clavinet, Celesta, Glockenspiel, Music Box, Vibraphone, Marimba, Xylophone, Tubular Bells, Dulcimer,
Drawbar Organ, Percussive Organ, Rock Organ, Church Organ, Reed Organ, Accordion, Harmonica, Tango Accordion,
Acoustic Guitar (nylon), Acoustic Guitar (steel), Electric Guitar (jazz), Electric Guitar (clean),
Electric Guitar (muted), Overdriven Guitar, Distortion Guitar, Guitar Harmonics, Acoustic Bass, Electric Bass (finger),
Electric Bass (pick), Fretless Bass, Slap Bass 1, Slap Bass 2, Synth Bass 1, Synth Bass 2, Violin, Viola, Cello,
Contrabass, Tremolo Strings, Pizzicato Strings, Orchestral Harp, Timpani, String Ensemble 1, String Ensemble 2,
Synth Strings 1, Synth Strings 2, Choir Aahs, Voice Oohs, Synth Voice, Orchestra Hit, Trumpet, Trombone, Tuba,
Muted Trumpet, French Horn, Brass Section, Synth Brass 1, Synth Brass 2, Soprano Sax, Alto Sax, Tenor Sax, Baritone Sax,
Oboe, English Horn, Bassoon, Clarinet, Piccolo, Flute, Recorder, Pan Flute, Blown Bottle, Shakuhachi, Whistle, Ocarina,
Lead 1 (square), Lead 2 (sawtooth), Lead 3 (calliope), Lead 4 (chiff), Lead 5 (charang), Lead 6 (voice),
Lead 7 (fifths), Lead 8 (bass + lead), Pad 1 (new age), Pad 2 (warm), Pad 3 (polysynth), Pad 4 (choir), Pad 5 (bowed),
Pad 6 (metallic), Pad 7 (halo), Pad 8 (sweep), FX 1 (rain), FX 2 (soundtrack), FX 3 (crystal), FX 4 (atmosphere),
FX 5 (brightness), FX 6 (goblins), FX 7 (echoes), FX 8 (sci-fi), Sitar, Banjo, Shamisen, Koto, Kalimba, Bagpipe, Fiddle,
Shanai, Tinkle Bell, Agogo, Steel Drums, Woodblock, Taiko Drum, Melodic Tom, Synth Drum, Reverse Cymbal,
Guitar Fret Noise, Breath Noise, Seashore, Bird Tweet, Telephone Ring, Helicopter, Applause, Gunshot
""")


def words(name: str) -> set[str]:
    """The words of a name, in lower case and without the s of a plural."""
    return {word.removesuffix("s") for word in re.findall(r"[\w-]+", name.lower())}


def program(instrument: str, flag: str = "--instrument") -> int:
    """The program number of an instrument: its General MIDI name in any case, a number 0..127, or an inexact name; then
    it prints what is played and what else fits. Raises a UserError that names the `flag` and similar instruments."""
    name, lower, asked = instrument.strip(), instrument.strip().lower(), words(instrument)
    numbers = {known.lower(): number for number, known in enumerate(INSTRUMENTS)}
    if name.isdecimal() and int(name) < len(numbers):
        return int(name)
    if lower in numbers:
        return numbers[lower]
    # Names with all its words, before the brackets or else anywhere; or that begin with it; or that contain it.
    fitting = [known for known in INSTRUMENTS if asked and asked <= words(known)]
    fitting.sort(key=lambda known: not asked <= words(known.split("(")[0]))
    fitting = fitting or [known for known in INSTRUMENTS if lower and known.lower().startswith(lower)]
    fitting = fitting or [known for known in INSTRUMENTS if lower and lower in known.lower()]
    if not fitting:
        near = difflib.get_close_matches(lower, numbers, 3, 0.5) or ["violin", "church organ", "flute"]
        raise UserError(
            f"{flag} {instrument!r} is not a General MIDI instrument: give a number from 0 to 127 or a name such as "
            f"{', '.join(INSTRUMENTS[numbers[known]] for known in near)}."
        )
    also = f"; others that fit are {', '.join(fitting[1:])}" if fitting[1:] else ""
    print(f"{name}: playing {fitting[0]}{also}.")
    return INSTRUMENTS.index(fitting[0])


FAMILIES = listed("""
Piano, Chromatic percussion, Organ, Guitar, Bass, Strings, Ensemble, Brass, Reed, Pipe, Synth lead, Synth pad,
Synth effects, Ethnic, Percussive, Sound effects
""")  # of eight programs each
KIN = {47: 14, 110: 5}  # exceptions: timpani are not strings, but a fiddle is
# The middle of the usual range, by program, of instruments that have a register (sounding ranges as in S. Adler, The
# Study of Orchestration, 2002): basses, bowed strings, timpani, brass, reeds, flutes, and a few bells.
MIDDLE = {**dict.fromkeys(range(32, 40), 40), 40: 75, 41: 63, 42: 51, 43: 39, 47: 46, 56: 70, 57: 55, 58: 42, 59: 70,
          60: 60, 64: 73, 65: 66, 66: 60, 67: 52, 68: 74, 69: 67, 70: 52, 71: 68, 72: 89, 73: 78, 74: 79, 75: 76,
          8: 82, 9: 90, 13: 82, 110: 75}  # fmt: skip
# What the keys from 35 to 81 of a drum kit stand for (General MIDI level 1 percussion key map).
DRUM_NAMES = listed("""
Deep kick, Kick, Side stick, Snare, Hand clap, Electric snare, Low floor tom, Closed hi-hat, High floor tom,
Pedal hi-hat, Low tom, Open hi-hat, Low mid tom, High mid tom, Crash, High tom, Ride, China, Ride bell, Tambourine,
Splash, Cowbell, Second crash, Vibraslap, Second ride, High bongo, Low bongo, Mute conga, High conga, Low conga,
High timbale, Low timbale, High agogo, Low agogo, Cabasa, Maracas, Short whistle, Long whistle, Short guiro, Long guiro,
Claves, High woodblock, Low woodblock, Mute cuica, Open cuica, Mute triangle, Open triangle
""")
DRUMS = dict(enumerate(DRUM_NAMES, 35))


def family(number: int) -> int:
    """The index in FAMILIES of an instrument's family."""
    return KIN.get(number, number // 8)


def drum(key: int) -> str:
    """What a key of a drum kit stands for."""
    return DRUMS.get(key, f"Drum {key}")


def numbered(names: list[str]) -> list[str]:
    """The names, with the numbers 1, 2, ... added to those that are equal."""
    return [f"{name} {names[: i + 1].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def programs(names: str) -> tuple[int, ...]:
    """The program numbers of several comma-separated instruments; see `program`."""
    found = {name: program(name) for name in dict.fromkeys(listed(names))}  # what is played is printed once
    return tuple(found[name] for name in listed(names))
