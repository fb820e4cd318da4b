"""The page of app.py, in Gradio: what stands in it, and what happens when a visitor uses it."""

import contextlib
import functools
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from utils import checkpoint, completion, compose, ensemble, fragment, instruments, midi
from utils.errors import UserError
from utils.output import beside, order
from utils.output.order import AFTER, ANEW, AROUND, BARS, KEYS, NOTES, Order
from utils.output.slot import Slot, player_and_picture, sibling
from utils.piece import Piece
from utils.source import read_apart
from utils.stepper import Stepper

NOTHING, UPLOADED = "nothing", "a MIDI file of mine"
HEADING = "# Music generator\nNew music from a network that you trained, from nothing or from a fragment."
WELCOME = "Your music will appear here."
AS_BEFORE, AS_IT_COMES = ("each part its own", ""), ("as it comes", "")
# The fields of an order that a visitor enters as they are, and the parts of the page of the same names.
CHOICES = ["mode", "keep", "fill", "unit", "notes", "bars", "count", "style", "key", "players", "instrument"]
CHOICES += ["top_p", "tempo", "at_bar", "key_lock"]
PRIOR_NOTES = 100  # of a longer fragment, until the visitor asks for more: some bars, which the network reads at once
PRIVATE = {"api_visibility": "private"}  # the page is for people: programs have the scripts
# With the fonts of the visitor's system: nothing is fetched from elsewhere.
THEME = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
CSS = """
.gradio-container {width: 100%; max-width: 1280px !important; margin: auto}
.roll img, audio {width: 100%}
#message {min-height: 3em}
.bars textarea, .bars input {height: 100%; border: 1px solid var(--border-color-primary) !important}
#trouble p {color: #b84a00}
"""


def networks(folder: str) -> dict[str, Path]:
    """Name -> path of the weights files to choose from, the last trained first; after them, the one that comes with the
    repository. Left out: hidden files, which are still being written, and those from which training resumes."""

    paths = list(Path(folder).glob("[!.]*.weights.h5"))
    paths.sort(key=lambda path: (path.resolve() == checkpoint.BUNDLED, -path.stat().st_mtime, path.name))
    names = {path.name.removesuffix(".weights.h5"): path for path in paths}
    return {name: path for name, path in names.items() if not name.endswith(".last")}


def fragments(folder: str) -> dict[str, Path]:
    """Name -> path of the fragments to choose from, without the numbered pieces that the scripts write beside them."""
    paths = sorted(Path(folder).glob("prior*.mid"), key=lambda path: path.stem)
    return {path.stem: path for path in paths if not re.search(r"-\d{3}$", path.stem)}


@functools.lru_cache(maxsize=2)
def network(path: Path, changed: float) -> tuple[checkpoint.Checkpoint, Stepper]:
    """A weights file, ready to play. It is kept, and read again once its time of modification is not `changed`."""
    weights = checkpoint.load(path)
    return weights, Stepper(weights)


def number(text: str, name: str, kind: type) -> float | None:
    """The number that a visitor entered, or None. Raises UserError, which says what its `name` is, if it is none of
    that `kind`."""
    try:
        return kind(text) if text.strip() else None
    except ValueError:
        whole = "whole " if kind is int else ""
        raise UserError(f"The {name} {text!r} is not a {whole}number: enter one, or leave it empty.") from None


class Page:
    """The page. Its attributes are the parts that it consists of. A method that answers a visitor gets the values of
    some parts, in `asked`, and returns the parts that change: all that is the visitor's own is kept by Gradio."""

    def __init__(self, args: SimpleNamespace, folder: str):
        """`args`: the settings of app.py. What is made goes into `folder`, for each visitor into one of their own."""
        self.args, self.folder, self.bundled = args, folder, fragments(args.prior_dir)
        self.beside = {"wav": True, "picture": True, "soundfont": args.soundfont}  # what each MIDI file gets
        # Once an hour Gradio deletes what it has served for more than a day.
        with gr.Blocks(title="Music generator", analytics_enabled=False, delete_cache=(3600, 86400)) as self.blocks:
            forget = functools.partial(shutil.rmtree, ignore_errors=True)
            self.session = gr.State("", delete_callback=forget)  # a folder, deleted an hour after the visitor leaves
            self.prior = gr.State()  # the piece to begin with, before it is trimmed
            self.made = gr.State({})  # name -> piece, of all that the visitor has made
            gr.Markdown(HEADING)
            with gr.Row():
                with gr.Column(scale=2, min_width=340):
                    self.place_beginning()
                    self.place_choices()
                    self.button = gr.Button("Generate", variant="primary", elem_id="generate")
                with gr.Column(scale=3, min_width=340):
                    self.message = gr.Markdown(WELCOME, elem_id="message")
                    self.slots = [Slot(number) for number in range(1, args.count + 1)]
            self.connect()

    def place_beginning(self) -> None:
        """The network, and what its music begins with."""
        about = f"what train.py wrote into {self.args.weights_dir}/, newest first"
        self.weights = gr.Dropdown([], label="Weights", info=about)
        self.source = gr.Dropdown(self.beginnings({}), value=NOTHING, label="Begin with")
        self.upload = gr.File(label="MIDI file", file_types=list(midi.ENDINGS), visible=False, height=120)
        self.trouble = gr.Markdown(elem_id="trouble")
        with gr.Group(visible="hidden") as self.trimming, gr.Column(variant="panel"):
            self.start = gr.Slider(0, 1, 0, step=1, label="From", info="quarter notes after its beginning")
            self.length = gr.Slider(1, 2, 1, step=1, label="Length", info="notes")
            self.prior_sound, self.prior_roll = player_and_picture("fragment")
            self.mode = gr.Radio([AFTER, AROUND, ANEW], value=AFTER, label="What shall be written")
            about = {"label": "Bars that shall be new", "info": "such as 5-8 or 3,7-8; all others stay as they are"}
            self.fill = gr.Textbox(**about, max_length=40, visible=False)
            self.keep = gr.Dropdown([], multiselect=True, label="Parts that are kept", visible=False)

    def place_choices(self) -> None:
        """How much new music, and of what kind."""
        most = self.args
        self.unit = gr.Radio([NOTES, BARS], value=NOTES, label="Length in")
        self.notes = gr.Slider(10, most.notes, min(200, most.notes), step=10, label="New notes")
        about = "of which the last brings it to an end"
        self.bars = gr.Slider(1, most.bars, min(16, most.bars), step=1, label="New bars", info=about, visible=False)
        self.count = gr.Slider(1, max(most.count, 2), 1, step=1, label="Pieces", visible=most.count > 1)
        about = "none: as in a passage of the training music, or as the fragment sounds; several are mixed"
        self.style = gr.Dropdown([], multiselect=True, label="Style", info=about, visible=False)
        about = "a scale may be typed, such as D dorian; a fragment goes on in its own"
        self.key = gr.Dropdown([AS_IT_COMES, *KEYS], value="", label="Key", info=about, allow_custom_value=True)
        about = "none: as in a passage of the training music, or as in the fragment"
        self.players = gr.Dropdown([], multiselect=True, label="Parts", info=about, elem_id="players")
        self.instrument = gr.Dropdown([AS_BEFORE, *instruments.INSTRUMENTS], value="", label="Sound")
        with gr.Accordion("More", open=False, elem_id="more"):
            usual = f"empty: {compose.TEMPERATURE}, or {completion.TEMPERATURE} around what is kept"
            about = f"lower is safer, higher is bolder; {usual}"
            self.temperature = gr.Textbox("", label="Temperature", info=about, max_length=18)
            self.top_p = gr.Slider(0.05, 1, 1, step=0.05, label="Top-p", info="lower leaves out the unlikely notes")
            with gr.Row():
                self.seed = gr.Textbox("", label="Seed", info="empty: a new one", max_length=18, elem_id="seed")
                self.tempo = gr.Number(0, label="Tempo", info="0: as in the fragment, or 120")
            self.at_bar = gr.Checkbox(label="Go on after a fragment at its next bar line")
            self.key_lock = gr.Checkbox(label="No note outside of the key")

    def connect(self) -> None:
        """Which method answers to which parts, what it is told, and what it may change."""
        self.blocks.load(self.arrive, None, [self.session, self.weights, self.message], **PRIVATE)
        self.weights.change(self.know, {self.weights}, [self.players, self.style], **PRIVATE)
        trimming = [self.start, self.length]
        picked = gr.on(
            [self.source.change, self.upload.change],
            self.pick,
            {self.source, self.upload, self.made},
            [self.prior, self.upload, self.trouble, self.trimming, *trimming, self.keep],
            **PRIVATE,
        )
        trim = (self.trim, {self.prior, self.source, self.session, *trimming})
        fragment = [self.trouble, self.prior_roll, self.prior_sound]
        picked.then(*trim, fragment, **PRIVATE)
        gr.on([part.input for part in trimming], *trim, fragment, trigger_mode="always_last", **PRIVATE)
        means = [self.source, self.mode, self.unit]
        shown = [self.fill, self.keep, self.unit, self.notes, self.bars, self.players]
        gr.on([part.change for part in means], self.arrange, means, shown, **PRIVATE)
        told = {self.session, self.made, self.weights, self.source, self.prior, *trimming, self.seed, self.temperature}
        told |= {getattr(self, name) for name in CHOICES}
        changed = [self.message, self.made, self.source, *(part for slot in self.slots for part in slot.parts)]
        how = {"show_progress_on": self.message, "concurrency_id": "music", **PRIVATE}  # one after the other
        self.button.click(self.generate, told, changed, **how)
        for slot in self.slots:
            slot.more.click(self.go_on, [slot.name, self.made], self.source, **PRIVATE)
            anew = functools.partial(self.generate, slot=slot)
            slot.again.click(anew, told | {slot.name, slot.bars}, changed, **how)

    def arrive(self) -> dict:
        """What a new visitor gets: a folder, and the weights that are there now."""
        names = list(networks(self.args.weights_dir))
        missing = f"There are no weights in {self.args.weights_dir}/: run python train.py first, then reload."
        return {
            self.session: tempfile.mkdtemp(dir=self.folder),
            self.weights: gr.Dropdown(choices=names, value=names[0] if names else None),
            self.message: WELCOME if names else missing,
        }

    def know(self, asked: dict) -> dict:
        """The parts and styles of the network that was chosen."""
        path, names, known = networks(self.args.weights_dir).get(asked[self.weights]), [], []
        with contextlib.suppress(UserError):  # `generate` says what is wrong with a file
            if path:
                vocabulary = network(path, path.stat().st_mtime)[1].vocabulary
                names, known = ensemble.names(vocabulary), list(vocabulary.styles)
        return {
            self.players: gr.Dropdown(choices=names, value=[]),
            self.style: gr.Dropdown(choices=known, value=[], visible=bool(known)),
        }

    def arrange(self, source: str, mode: str, unit: str) -> list:
        """Show only those choices that mean something for what shall be written."""
        mode = AFTER if source == NOTHING else mode
        unit = unit if mode == AFTER else ""
        length = gr.Radio(visible=bool(unit)), gr.Slider(visible=unit == NOTES), gr.Slider(visible=unit == BARS)
        players = gr.Dropdown(visible=source == NOTHING or mode == AROUND)
        return [gr.Textbox(visible=mode == ANEW), gr.Dropdown(visible=mode != AFTER), *length, players]

    def pick(self, asked: dict) -> dict:
        """Read what the music shall begin with."""
        source, made, piece, problem = asked[self.source], asked[self.made], None, ""
        try:
            if source in made:
                piece = made[source]
            elif source != NOTHING:
                path = asked[self.upload] if source == UPLOADED else self.bundled[source]
                if path is None:
                    raise UserError("Choose a MIDI file (.mid, .midi or .kar) to begin with.")
                piece = read_apart(path, Path(path).name)  # the visitor knows no folder of it
        except UserError as error:
            problem = str(error)
        beats, notes = (int(piece.onset[-1] // piece.ticks_per_quarter), len(piece)) if piece else (0, 1)
        parts = list(dict.fromkeys(part.called() for part in piece.played().parts)) if piece else []
        return {
            self.prior: piece,
            self.upload: gr.File(visible=source == UPLOADED),
            self.trouble: problem,
            self.trimming: gr.Group(visible=True if piece else "hidden"),
            self.start: gr.Slider(maximum=max(beats, 1), value=0),
            self.length: gr.Slider(maximum=max(notes, 2), value=notes if source in made else min(notes, PRIOR_NOTES)),
            self.keep: gr.Dropdown(choices=parts, value=[]),
        }

    def trimmed(self, asked: dict) -> Piece:
        """The part of the fragment that was chosen. Raises UserError."""
        if asked[self.prior] is None:
            raise UserError("There is nothing to begin with: choose another fragment or file.")
        return fragment.cut(asked[self.prior], asked[self.start], int(asked[self.length]), "The fragment")

    def trim(self, asked: dict) -> dict:
        """Picture and sound of the part that was chosen."""
        if asked[self.prior] is None:  # `pick` has said why
            return {self.prior_roll: None, self.prior_sound: None}
        path, problems = Path(asked[self.session], "fragment.mid"), []
        files = SimpleNamespace(**self.beside, notation=False)
        try:
            beside.write_beside(path, self.trimmed(asked), files, asked[self.source], warn=problems.append)
        except UserError as error:
            return {self.trouble: str(error)}
        shown = {self.prior_roll: sibling(path, ".png"), self.prior_sound: sibling(path, ".wav")}
        return {self.trouble: "  \n".join(problems), **shown}

    def ordered(self, asked: dict, slot: Slot | None) -> Order:
        """What the visitor asks for; with a `slot`, another version of bars of its piece. Raises UserError."""
        path = networks(self.args.weights_dir).get(asked[self.weights])
        if path is None:
            raise UserError(f"Choose weights: those in {self.args.weights_dir}/ are listed when the page loads.")
        choices = {name: asked[getattr(self, name)] for name in CHOICES}
        seed, temperature = number(asked[self.seed], "seed", int), number(asked[self.temperature], "temperature", float)
        choices |= {"most": self.args.notes, "seed": seed, "temperature": temperature}
        if slot:
            name = asked[slot.name]
            choices |= {"name": name, "mode": ANEW, "keep": [], "fill": asked[slot.bars], "count": 1, "seed": None}
            return Order(path, asked[self.made][name], **choices)
        return Order(path, None if asked[self.source] == NOTHING else self.trimmed(asked), **choices)

    def generate(
        self,
        asked: dict,
        progress: gr.Progress = gr.Progress(track_tqdm=True),  # noqa: B008
        slot: Slot | None = None,
    ) -> Iterator[dict]:
        """Compose what is asked for, see `ordered`; then write and show one piece after the other."""
        yield {self.message: ""}
        try:
            wanted = self.ordered(asked, slot)
            progress(0, desc="composing")
            music = order.filled(wanted, *network(wanted.weights, wanted.weights.stat().st_mtime))
            yield {place.box: gr.Group(visible="hidden") for place in self.slots}
            files, made, problems = SimpleNamespace(**self.beside, notation=True), asked[self.made], []
            for i, (one, place) in enumerate(zip(music.made, self.slots, strict=False)):
                progress((i, len(music.made)), desc="sound and picture")
                file = midi.save_new(one.piece, asked[self.session], f"{asked[self.weights]}-seed-{music.seed}")
                beside.write_beside(file, one.piece, files, music.line, music.before, problems.append)
                made = {**made, file.stem: one.piece}
                yield {self.made: made, **place.show(one, file)}
            repeatable = f"Seed {music.seed}: with this seed and the same settings you get the same music again."
            said = "  \n".join([repeatable, *music.remarks, *problems])
            yield {self.message: said, self.source: gr.Dropdown(choices=self.beginnings(made))}
        except UserError as error:
            yield {self.message: str(error)}

    def beginnings(self, made: dict[str, Piece]) -> list[str]:
        """What music may begin with, for a visitor who has made some."""
        return [NOTHING, *self.bundled, UPLOADED, *made]

    def go_on(self, name: str, made: dict[str, Piece]) -> gr.Dropdown:
        """Begin the next piece with one that was made, all of it."""
        return gr.Dropdown(choices=self.beginnings(made), value=name)
