"""The schema of what a weights file says besides its weights, by which each file is checked on loading.

A form says what a value may be: a range or a set of integers; a tuple of choices; `Real`; a type; a function that
returns whether a value is valid; a list with one form for all its items, or with several forms, one for each item; a
dict with the form of each key, where keys that end in '?' may be missing and `str` stands for all other keys.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from utils import parts, theory
from utils.cells import CELLS
from utils.events import FIRST_DRUM, KNOWN_STREAMS, LONGEST_BAR, Representation, derived, pitches, usual_positions
from utils.form import FARTHEST
from utils.heads import HEADS, Shape
from utils.vocabulary import Vocabulary

LONGEST = 2**25  # characters of JSON, enough to name half a million pieces; in memory it may take twenty times as much
MOST_CLASSES = 2**17  # of a stream
# The largest sizes that train.py and weights files may have: more than any computer could train.
MOST_OF_NETWORK = {"layers": 64, **dict.fromkeys(("units", "embedding", "hidden", "surroundings"), 2**16)}
MOST = {"grid": 960, "max_beats": 1000, **MOST_OF_NETWORK}
SIZES = {name: range(1, most + 1) for name, most in MOST.items()}


@dataclass(frozen=True)
class Real:
    """A finite number."""

    low: float = -1e300
    high: float = 1e300


def is_name(value: Any) -> bool:
    """Whether it is a text that can be written and can name a file: it has no lone surrogates (Unicode), except those
    that stand for bytes of an undecodable name (PEP 383)."""
    return isinstance(value, str) and bool(re.fullmatch("[^\0\ud800-\udc7f\udd00-\udfff]{0,1000}", value))


def is_metre_of_all(value: Any) -> bool:
    """Whether it is a value of the setting METRE. Raises UserError for a text that is not a metre."""
    return value == "" or isinstance(value, str) and bool(theory.metre(value))


def is_chord(value: Any) -> bool:
    """Whether it is a name as made by `events.chord_name`."""
    name = r"(?:[A-G]|[CDFGA]#)-?\d"
    named = isinstance(value, str) and re.fullmatch(rf"{name}(?:\.{name}){{0,127}}", value, re.ASCII)
    return bool(named) and all(pitch in range(FIRST_DRUM) for pitch in pitches(value))


ANY = range(2**62)
STEPS = MOST["grid"] * MOST["max_beats"]
PART = frozenset({parts.DRUMS, *range(parts.ALIKE, parts.MOST)})  # see `parts.value_of`
NOTE = range(2 * FIRST_DRUM)
PLAYER = [PART, [is_name, NOTE, NOTE, Real(0, 2 * FIRST_DRUM), bool]]  # the value of a part, and its `parts.Class`
METRE = [range(1, 256), frozenset(2**k for k in range(8))]  # numerator and denominator, a byte each as in MIDI
VALUES = {"offset": range(STEPS + 1), "part": PART, "duration": range(1, STEPS + 1), "velocity": range(128)}
NOTES = {"split": NOTE, "class": is_chord}  # the values of the note stream
REPRESENTATION = {"grid": SIZES["grid"], "chords": tuple(NOTES), "max_beats": SIZES["max_beats"], "pedal?": bool}
REPRESENTATION |= {"metre?": is_metre_of_all}
SETTINGS = {"midi_dir": is_name, "streams": [KNOWN_STREAMS], "transpose": ANY, "split": ANY, "heads": HEADS}
SHAPE = {name: SIZES[name] for name in MOST_OF_NETWORK}
SHAPE |= {"sees": {str: [str]}, "dropout": Real(0, 1), "numbers": [("offset", "duration")], "cell": tuple(CELLS)}
PHASE = range(LONGEST_BAR * MOST["grid"])
OPENING = {"name": str, "event": ANY, "metre": METRE, "classes": {str: [range(MOST_CLASSES)]}, "phase": [PHASE]}
OPENING |= {"tempo?": theory.TEMPOS, "parts?": [PART], "style?": str, "form?": [range(-FARTHEST, FARTHEST + 1)]}
VOCABULARY = {"values": {str: list}, "players?": [PLAYER], "styles?": [str], "told_form?": bool, "told_lines?": bool}
ABOUT = {
    "settings": REPRESENTATION | SETTINGS | {"start_from?": str},
    "shape": SHAPE,
    "vocabulary": REPRESENTATION | VOCABULARY,
    "metre": METRE,
    "split": {"train": [str], "held_out": [str]},
    "learnt_before?": [str],
    "openings": [OPENING],
    "history": [{"epoch": ANY, "updates": ANY, "seconds": Real(0), "train": Real(), "score": Real(), str: Real()}],
}


class Misfit(Exception):
    """A weights file holds something invalid; the message says where."""


def misfit(value: Any, form: Any) -> str | None:
    """The place in a value that does not fit its form, such as '.openings[3].metre', '' for all of it; or None."""
    if isinstance(form, list) and len(form) == 1:
        if not isinstance(value, list):
            return ""
        inside = ((i, misfit(item, form[0])) for i, item in enumerate(value))
        return next((f"[{i}]{where}" for i, where in inside if where is not None), None)
    if isinstance(form, dict):
        return misfit_in_dict(value, form) if isinstance(value, dict) else ""
    if isinstance(form, list):
        right = isinstance(value, list) and len(value) == len(form) and all(map(fits, value, form))
    elif isinstance(form, range | frozenset):
        right = type(value) is int and value in form  # True is not 1
    elif isinstance(form, Real):
        right = type(value) in (int, float) and form.low <= value <= form.high
    elif isinstance(form, tuple):
        right = value in form
    else:
        right = isinstance(value, form) if isinstance(form, type) else form(value)
    return None if right else ""


def misfit_in_dict(value: dict, form: dict) -> str | None:
    """As `misfit`, for a dict."""
    forms = {key.removesuffix("?"): inner for key, inner in form.items() if key is not str}
    missing = [key for key in form if key is not str and key not in value and not key.endswith("?")]
    if missing:
        return f".{missing[0]}"
    for key, item in value.items():
        inner = forms.get(key, form.get(str))
        if inner is not None and (where := misfit(item, inner)) is not None:
            return f".{key[:40]}{where}"
    return None


def fits(value: Any, form: Any) -> bool:
    return misfit(value, form) is None


def agreements(about: dict) -> Iterator[tuple[str, bool]]:
    """Consistency checks of what fits its form: each place, and whether it is consistent with the rest."""
    said = about["vocabulary"]
    values, players, styles = said["values"], said.get("players", []), said.get("styles", [])
    how, streams = Representation.of({**said, "streams": values}), list(values)
    known = {"offset", "note", "duration"} <= set(streams) <= set(KNOWN_STREAMS)
    in_order = streams[:1] == ["offset"] and ("part" not in streams or streams[1] == "part")
    yield ".vocabulary.values", known and in_order and how.streams == tuple(streams)
    yield ".settings", Representation.of(about["settings"]) == how
    for stream, some in values.items():
        form = VALUES.get(stream, NOTES[how.chords])
        right = 0 < len(some) <= MOST_CLASSES and fits(some, [form]) and all(a < b for a, b in pairwise(some))
        yield f".vocabulary.values.{stream}", right
    yield ".vocabulary.players", [value for value, _ in players] == values.get("part", [])
    yield ".vocabulary.styles", len(set(styles)) == len(styles)
    sees, source = about["shape"]["sees"], derived(streams)
    yield ".shape.sees", list(sees) == streams
    for i, stream in enumerate(streams):
        before = {name for name in (*streams, *source) if source.get(name, name) in streams[:i]}
        yield f".shape.sees.{stream}", set(sees[stream]) <= before and len(set(sees[stream])) == len(sees[stream])
    yield ".history", bool(about["history"])
    yield ".openings", bool(about["openings"])
    for i, opening in enumerate(about["openings"]):
        classes, phase = opening["classes"], opening["phase"]
        right = classes.keys() == values.keys() and all(len(some) == len(phase) for some in classes.values())
        right = right and all(max(some, default=0) < len(values[stream]) for stream, some in classes.items())
        yield f".openings[{i}].classes", right
        yield f".openings[{i}].phase", max(phase, default=0) < LONGEST_BAR * how.grid
        yield f".openings[{i}].parts", set(opening.get("parts", [None] if players else [])) <= {v for v, _ in players}
        yield f".openings[{i}].style", opening.get("style", None if styles else "") in ("", *styles)


def refuse(constant: str) -> None:
    raise Misfit(f"it holds {constant}, which is not a number")


def parsed(text: bytes) -> dict:
    """The parsed JSON, in which nothing has been checked but that its format is a number. Raises Misfit."""
    if len(text) > LONGEST:
        raise Misfit("it has too much text besides its weights")
    try:
        about = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Misfit("about is not JSON") from None
    if not fits(about, {"format": ANY}):
        raise Misfit("its format is missing")
    return about


def checked(about: dict) -> tuple[Vocabulary, Shape]:
    """The vocabulary and the network that a weights file describes. Raises Misfit that names the first invalid
    place."""
    where = misfit(about, ABOUT)
    if where is None:
        where = next((place for place, right in agreements(about) if not right), None)
    if where is not None:
        raise Misfit(f"{where[1:]} is missing or invalid")
    vocabulary = Vocabulary.from_json(about["vocabulary"])
    vocabulary.companies = Counter(frozenset(opening.get("parts", ())) for opening in about["openings"])
    phases = [phase for opening in about["openings"] for phase in opening["phase"]]
    vocabulary.positions = usual_positions(phases, vocabulary.grid)
    return vocabulary, Shape(**about["shape"])
