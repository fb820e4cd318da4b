"""Key, scale, metre and form of new music: what is asked for, and how openings and sampling keep to it.

Shapes: B pieces side by side, V classes of a stream, E events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from utils import constraints, events, form, midi, settings, theory, tonality
from utils.checkpoint import Checkpoint
from utils.constraints import Constraint
from utils.errors import UserError
from utils.events import FIRST_DRUM, pitches, shifted
from utils.piece import Piece
from utils.sampler import Sampling
from utils.states import Classes, State
from utils.stepper import Stepper
from utils.tonality import Tonality
from utils.vocabulary import Vocabulary, nearest

# Defaults of `Home.strength`, also in the scripts. New pieces stray further than music that a fragment leads.
STRENGTH, STRENGTH_WITH_FRAGMENT = 1.0, 0.5
# Nats by which what the form recalls is made likelier, by `form.kinds`. Without them, bars that should be the same as
# others share two fifths of their notes with these, and with them four fifths (EXPERIMENTS.md, 'Form').
FORM_STRENGTH = {form.LIKE_ANOTHER: 1.0, form.SAME_AS_ANOTHER: 1.5}
BEFORE = 1000  # imaginary notes in the key that the network is told it has heard: far more than its music has
RECENT = 1  # index in traces.FADING of the trace that holds a phrase: the weight of a note halves every 23 notes
# The bias shrinks as another transposition of the scale holds more of the recent notes than home does, and is gone at a
# lead of this share. A key two steps away on the circle of fifths leads by about two notes in seven, which leaves
# nothing of it, and one step away leaves about half.
AWAY = 0.2


def asked(args: SimpleNamespace) -> Tonality | None:
    """The tonality that the settings key and scale ask for; None if neither names one. Raises UserError for a key or
    scale that does not exist, and if the two name different tonics."""
    settings.at_least("key_strength", args.key_strength, 0)
    settings.at_most("key_strength", args.key_strength, 1e6)
    texts = {"key": "" if args.key.lower() == "none" else args.key, "scale": args.scale}
    given = [tonality.parsed(text, flag) for flag, text in texts.items() if text]
    tonics = list(dict.fromkeys(each.tonic for each in given if each.tonic is not None))
    if len(tonics) > 1:
        raise UserError(f"--key {args.key!r} and --scale {args.scale!r} name two tonics: give one of them.")
    scales = [each.scale for each in given if each.scale]
    return Tonality(tonics[0] if tonics else None, scales[-1] if scales else "major") if given else None


# ---- openings ----


def of_opening(opening: dict, vocabulary: Vocabulary) -> Tonality | None:
    """The key of an opening, see `dataset.passages`; None if it is silent, or has only drums."""
    values = vocabulary.decode(opening["classes"])
    chords = [[pitch for pitch in pitches(value) if pitch < FIRST_DRUM] for value in values["note"].tolist()]
    size = [len(chord) for chord in chords]
    return tonality.of_notes(np.array(sum(chords, []), int), np.repeat(values["duration"], size))


def transposed(opening: dict, vocabulary: Vocabulary, semitones: int) -> dict:
    """The opening moved up by 0..11 `semitones`, or an octave lower than that if more of it then stays within the
    vocabulary. A note that the network does not know becomes the nearest one."""
    values, moved = vocabulary.values["note"], []
    for shift in (semitones, semitones - 12):
        notes = shifted(values[opening["classes"]["note"]], shift)
        classes = nearest(values, notes, drums=True)
        moved.append((np.count_nonzero(values[classes] != notes), abs(shift), classes.tolist()))
    return {**opening, "classes": {**opening["classes"], "note": min(moved)[-1]}}


def in_key(weights: Checkpoint, key: Tonality) -> Checkpoint:
    """The weights with openings for a `key`: those in its mode, or all if there are none, moved to its tonic if any."""
    vocabulary, kept = weights.vocabulary, []
    for opening in weights.about["openings"]:
        heard = of_opening(opening, vocabulary)
        if heard is not None:
            move = 0 if key.tonic is None else (key.root - heard.root) % 12
            kept.append((heard.mode, transposed(opening, vocabulary, move)))
    suited = [opening for mode, opening in kept if mode == key.mode] or [opening for _, opening in kept]
    return replace(weights, about={**weights.about, "openings": suited or weights.about["openings"]})


def suited(weights: Checkpoint, key: Tonality | None, metre: str, opening: str) -> tuple[Checkpoint, str]:
    """The weights with openings in a `key` and a `metre`, if these are given, and the setting `opening`, which becomes
    none, with a message, if no passage is in that metre. Raises UserError for text that is no metre."""
    if metre:
        asked = theory.metre(metre)
        kept = [each for each in weights.about["openings"] if tuple(each["metre"]) == asked]
        if opening != "none" and not kept:
            opening = "none"
            print("No passage in the weights file is in {}/{}: the music begins from silence.".format(*asked))
        about = {**weights.about, "metre": asked, "openings": kept or weights.about["openings"]}
        weights = replace(weights, about=about)
    return (in_key(weights, key) if key else weights), opening


# ---- form ----


def form_named(path: str, vocabulary: Vocabulary) -> list[int] | None:
    """The form of new music from the setting form_of: that of a MIDI file, one without bars for 'none', and None if the
    setting is empty. Raises UserError if the file has no form, or the network cannot be told one."""
    if path in ("", "none"):
        return [] if path else None
    if not vocabulary.told_form:
        raise UserError("--form-of needs a network that has learnt forms, but this one is older: train again.")
    try:
        shape = events.from_piece(midi.read(path), vocabulary.representation).form()
    except ValueError as error:
        raise UserError(f"{path} has no form that could be followed: {error}.") from None
    if not shape.any():
        raise UserError(f"No bar of {path} is repeated, not even with changes: name another file with --form-of.")
    return shape.tolist()


def comes_again(network: Stepper) -> Constraint:
    """Makes what the form recalls likelier, by `FORM_STRENGTH` nats, in bars that repeat others."""
    vocabulary = network.vocabulary
    strength = np.array([FORM_STRENGTH.get(kind, 0.0) for kind in range(form.KINDS + 1)])

    def prefer(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        again = strength.take(chosen["form"] if "form" in chosen else state.last["form"])
        if not np.count_nonzero(again) or stream not in network.heads:  # there is nothing to choose from
            return logits
        head = network.heads[stream].head
        recalled = head.recalled(np, state.past.recalled, chosen)
        again = again * head.agrees(np, recalled, chosen)[:, -1]
        classes = np.arange(logits.shape[1])
        if stream == "note":
            stream, classes = "interval", vocabulary.interval(classes[None], chosen["origin"][:, None])
        return logits + again[:, None] * (classes == recalled[stream][:, -1:])

    return prefer


def with_forms(state: State, forms: list[Sequence[int]], begin: np.ndarray) -> State:
    """The state in which each piece has one of the `forms`, counted from the bar that begins at `begin` (B,) steps."""
    forms = [[*[form.UNTOLD] * bar, *one] for bar, one in zip((begin // state.bar).tolist(), forms, strict=True)]
    return replace(state, form=form.table(forms))


# ---- sampling ----


@dataclass(frozen=True)
class Home:
    """The home tonality of each of several pieces, and how strictly they keep to it."""

    tonalities: tuple[Tonality, ...]
    strength: float  # nats by which notes outside it are made less likely, as long as the music has not left it
    lock: bool = False  # notes outside it are forbidden
    written: bool = True  # its key signature is written into the pieces

    def of(self, count: int) -> "Home":
        """The same for `count` pieces: equally many of each tonality, next to each other."""
        times = count // len(self.tonalities)
        return replace(self, tonalities=tuple(each for each in self.tonalities for _ in range(times)))

    def told(self, state: State) -> State:
        """The state as if `BEFORE` notes in the tonality had been heard long ago, so that the network knows which key
        is home, and leaves it and returns as real pieces do."""
        traces = state.traces.copy()
        traces[:, -1, :12] += [BEFORE * each.profile for each in self.tonalities]
        return replace(state, traces=traces)

    def constraints(self, network: Stepper) -> list[Constraint]:
        """The constraints that keep pieces at home. Raises UserError if a lock leaves nothing to choose from, or if a
        network that knows only drums is asked for a key."""
        keys = network.vocabulary.keys[:-1]
        if self.written and not keys.any():
            raise UserError("This network knows only drums, which have no key: leave out --key and --scale.")
        classes = network.vocabulary.pitch_classes()[:-1]  # (V, 12)
        scales = np.array([each.pitch_classes for each in self.tonalities])  # (B, 12)
        away = np.array([each.leading_away for each in self.tonalities]) @ classes.T > 0  # (B, V)
        bias = [less_likely(away, scales, self.strength)] if self.strength else []
        if not self.lock:
            return bias
        outside = ~scales @ classes.T > 0  # (B, V)
        for each, out in zip(self.tonalities, outside, strict=True):
            if out[keys.any(axis=1)].all():
                raise UserError(f"--key-lock leaves nothing to play: this network knows no note in {each.name}.")
        return [constraints.forbidding("note", lambda state, chosen: outside), *bias]

    def closing(self, pieces: list[dict[str, np.ndarray]]) -> np.ndarray:
        """(B,) which of the pieces, stream -> values (E,), end at home."""
        return np.array([closes(values, each.root) for values, each in zip(pieces, self.tonalities, strict=True)])

    def phrase(self, number: int, music: Piece, new: bool = True) -> str:
        """'in D major', or 'at home in D major' for a `new` piece whose key was not asked for, since it may be
        elsewhere for long; 'mostly in' the key that fits the `music` best if that is surely another one, and none was
        asked for; '' if it has only drums, which have no key."""
        pitched, own = music.take(~music.is_drum), self.tonalities[number]
        notes = pitched.pitch, pitched.duration
        if not len(pitched) or self.written:
            return f"in {own.name}" if len(pitched) else ""
        best = tonality.of_notes(*notes, tonality.SURE)
        if best and not tonality.nearly(own, theory.key_fits(*notes)):
            return f"mostly in {best.name}"
        return f"{'at home in' if new else 'in'} {own.name}"

    def signed(self, piece: Piece, tick: int, number: int = 0) -> Piece:
        """The piece with the key signature of the tonality `number`, from the bar that contains the `tick` on."""
        if not self.written:
            return piece
        line = piece.bars(tick + 1)[-1][0]
        before = [change for change in piece.key_signatures if change[0] < line]
        return replace(piece, key_signatures=[*before, (line, *self.tonalities[number].signature)])


def first_bar(network: Stepper, state: State) -> np.ndarray:
    """(B,) where the first bar of a new piece begins, in steps: at the next bar line, or at the last one if nothing has
    been heard yet or no offset reaches the next bar."""
    line = state.onset - state.last["phase"]
    far = network.next_onsets(state) - line[:, None]  # (B, V) steps after the last bar line
    in_reach = ((far >= state.bar[:, None]) & (far < 2 * state.bar[:, None]) & ~network.is_end).any(axis=1)
    return line + state.bar * (in_reach & (state.length > 0))


def from_bar_line(network: Stepper, state: State, how: Sampling, line: int) -> tuple[State, Sampling]:
    """The state and sampling with which the next event begins at a bar `line`, in steps since the beginning; all pieces
    must be at the same place. If no offset of the network leads there, it is told that the last event came later."""
    rest, gaps = line - int(state.onset[0]), network.gaps[:-1][~network.is_end]
    late = rest - int(gaps[gaps <= rest].max(initial=0))
    last = {**state.last, "phase": state.last["phase"] + late}
    state = replace(state, onset=state.onset + late, last=last, voices=state.voices.later(late))
    exactly = constraints.first_onset_before(network, np.array([line + 1]), state.length)
    return state, how.constrained(constraints.no_onset_before(network, line), exactly)


def less_likely(notes: np.ndarray, scales: np.ndarray, strength: float) -> Constraint:
    """Makes some `notes` (B, V) less likely: by `strength` nats while the recent notes are in the `scales` (B, 12), and
    by less the better they fit a transposition of the scale, so that the bias gives way where the music modulates."""
    places = np.stack([np.roll(scales, shift, axis=1) for shift in range(12)], axis=1)  # (B, 12, 12), home first

    def prefer(stream: str, logits: np.ndarray, state: State, chosen: Classes) -> np.ndarray:
        if stream != "note":
            return logits
        recent = state.traces[:, RECENT, :12, None]  # (B, 12, 1) how much each pitch class was struck lately
        inside = (places @ recent)[:, :, 0] / np.maximum(recent.sum(axis=1), 1e-9)  # (B, 12) share in each place
        left = 1 - (inside.max(axis=1) - inside[:, 0]) / AWAY
        left = np.minimum(np.maximum(left, 0), 1)  # `clip` takes three times as long
        return logits - (strength * left).astype(logits.dtype)[:, None] * notes

    return prefer


def closes(values: dict[str, np.ndarray], root: int) -> bool:
    """Whether music, stream -> values (E,), ends on the tonic, the pitch class `root`: what sounds at its last onset is
    a triad on it, or its root and third, with the root in the bass."""
    onset = np.cumsum(values["offset"])
    last = values["note"][onset + values["duration"] > onset[-1:]]
    sounding = [pitch for note in last.tolist() for pitch in pitches(note) if pitch < FIRST_DRUM]
    return bool(sounding) and min(sounding) % 12 == root == theory.triad_root(sounding)


# ---- the home of the pieces of a script ----


def home(
    key: Tonality | None, heard: list[Tonality | None], strength: float = STRENGTH, lock: bool = False
) -> Home | None:
    """The home of pieces that follow music in the keys `heard`: the `key` asked for, or else those keys; None if one of
    them is None. Raises UserError for a scale without a tonic."""
    tonalities = [key.after(each) for each in heard] if key else heard
    if None not in tonalities:
        return Home(tuple(tonalities), strength, lock, written=key is not None)
    if key:
        raise UserError(f"--scale {key.scale!r} has no tonic, nor has the music before it: name one, as in --key D.")
    return None


def after_openings(args: SimpleNamespace, key: Tonality | None, begun: list[dict]) -> Home | None:
    """The home of new pieces after the openings `begun`, from the settings. Raises UserError as `home`, and for a lock
    without a key."""
    if args.key_lock and not key:
        raise UserError("--key-lock keeps the music in a key: name one with --key or --scale.")
    if not key and args.key.lower() == "none":
        return None
    return home(key, [opening["key"] for opening in begun], args.key_strength, args.key_lock)


def after_fragment(args: SimpleNamespace, prior: Piece) -> Home | None:
    """The home of what follows a fragment, from the settings. Raises UserError as `after_openings`."""
    key = asked(args)
    own = tonality.of_fragment(prior) if key or args.key.lower() != "none" else None
    one = home(key, [own], args.key_strength, args.key_lock)
    if args.key_lock and not one:
        raise UserError("--key-lock keeps the music in a key, but the fragment has none: name one with --key.")
    return one
