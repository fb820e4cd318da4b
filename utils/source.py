"""One piece of a folder of music, read from its file, and remarks on files that cannot be read or are damaged."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from utils import apart, midi
from utils.errors import UserError
from utils.events import Events, Representation, from_piece
from utils.formats import SCORE_ENDINGS
from utils.piece import Piece, plural
from utils.theory import to_steps


@dataclass
class Source:
    """A piece of a folder of music."""

    name: str  # its path in the folder
    place: float  # 0..1, from a hash of the file's content; decides whether the piece is held out
    events: Events
    damage: str = ""  # what is wrong with its file, if it could not be read completely or as it stands
    beats: int = 0  # quarter notes in the whole file, see `beats_of`

    @property
    def style(self) -> str:
        """The first folder of its path; '' if it lies in the music folder itself."""
        return self.name.partition("/")[0] if "/" in self.name else ""


def music_files(folder: str) -> list[Path]:
    """All MIDI files below `folder`. Raises UserError if the folder does not exist or holds none."""
    if paths := midi.find(folder):
        return paths
    missing = f"No MIDI file (.mid, .midi, .kar) in {folder}"
    if scores := unconverted(folder):
        raise UserError(f"{missing}, but {scores}.")
    raise UserError(
        f"{missing}: put some there, or run 'python convertmidis.py --corpus bach' to learn from Bach's chorales."
    )


def unconverted(folder: str) -> str:
    """How many scores are below `folder`, which are not read, and how to convert them; '' if there are none."""
    count = len(midi.find(folder, SCORE_ENDINGS))
    how = f"run 'python convertmidis.py --source {folder} --out converted', then use --midi-dir converted"
    return f"{plural(count, 'score')}, which must be converted first: {how}" if count else ""


def beats_of(piece: Piece, grid: int) -> int:
    """The length of a piece in quarter notes, rounded up: from tick 0, so including any silence before its first note,
    to the end of its last note on the grid.

    The polyphonic-music benchmark (Boulanger-Lewandowski et al. 2012) is scored in nats a frame. With one quarter note
    per frame, nats a beat equal nats a frame, except for silent frames at the end, which MIDI does not show: 2 training
    pieces of Nottingham have 5 in all, 1 of MuseData has 1, no other training or validation piece has any.
    """
    end = to_steps(piece.onset + piece.duration, piece.ticks_per_quarter, grid).max(initial=0)
    return max(-(-int(end) // grid), 1)


def read_source(path: Path, folder: str, how: Representation, salt: int) -> Source | str:
    """The piece in a file below `folder`, or why it cannot be used."""
    try:
        data = midi.read_bytes(path)
        piece = midi.parse(data)
        events = from_piece(piece, how)
    except (UserError, ValueError) as error:
        return str(error)
    digest = hashlib.sha256(f"{salt}:".encode() + data).digest()
    name = path.relative_to(folder).as_posix()
    return Source(name, int.from_bytes(digest[:8], "big") / 2**64, events, piece.damage, beats_of(piece, how.grid))


def read_apart(path: Path, name: str) -> Piece:
    """`midi.read` in a separate process, for a program that must survive any file it is given. Raises UserError as
    `midi.read` does, and also if the file makes its reader crash."""
    [piece] = apart.each(functools.partial(midi.read, name=name), [path])
    if piece is None:
        raise UserError(f"{name} cannot be used: {apart.CRASHED}.")
    return piece


def remarks_on(folder: str, sources: list[Source], skipped: list[tuple[str, str]]) -> list[str]:
    """Sentences about the files of a folder that could not be read, and about damaged or unusual ones."""
    sentences = [f"skipped: {name}: {reason}" for name, reason in skipped]
    sentences += [f"{source.name}: {source.damage}" for source in sources if source.damage]
    scores = unconverted(folder)
    return [*sentences, f"not read: {scores}"] if scores else sentences
