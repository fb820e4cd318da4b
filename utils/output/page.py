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

from utils import checkpoint, compose, ensemble, fragment, instruments, midi, theory
from utils.compose import Wanted
from utils.errors import UserError
from utils.output import beside
from utils.piece import Piece, shortened
from utils.sampler import Sampling
from utils.stepper import Stepper

NOTHING, UPLOADED = "nothing", "a MIDI file of mine"
HEADING = "# Music generator\nNew music from a network that you trained, from nothing or from a fragment."
WELCOME = "Your music will appear here."
AS_BEFORE = "each part its own"
DOWNLOADS = {".mid": "MIDI", ".wav": "WAV", ".musicxml": "MusicXML"}
PRIOR_NOTES = 100  # of a longer fragment, until the visitor asks for more: some bars, which the network reads at once
PRIVATE = {"api_visibility": "private"}  # the page is for people: programs have the scripts
# With the fonts of the visitor's system: nothing is fetched from elsewhere.
THEME = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
CSS = """
.gradio-container {width: 100%; max-width: 1280px !important; margin: auto}
.roll img, audio {width: 100%}
#message {min-height: 3em}
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


def sibling(path: Path, ending: str) -> str | None:
    """The file beside `path` that has the other ending, or None if it could not be written."""
    file = path.with_suffix(ending)
    return str(file) if file.exists() else None


def player_and_picture(name: str) -> tuple[gr.Audio, gr.Image]:
    """Where the sound and the piano roll of a piece are shown."""
    wave, shown = gr.WaveformOptions(show_recording_waveform=False), {"interactive": False, "show_label": False}
    sound = gr.Audio(label=f"Sound of the {name}", buttons=[], waveform_options=wave, **shown)
    how = {"type": "filepath", "buttons": ["fullscreen"], "elem_classes": "roll"}
    return sound, gr.Image(label=f"Piano roll of the {name}", **how, **shown)


class Slot:
    """The place in the page for one new piece, hidden until there is one."""

    def __init__(self, number: int):
        self.name = gr.State()
        with gr.Group(visible="hidden") as self.box, gr.Column(variant="panel"):
            self.title = gr.Markdown(elem_classes="title")
            self.sound, self.roll = player_and_picture(f"piece {number}")
            with gr.Row():
                self.files = {ending: gr.DownloadButton(name, size="md") for ending, name in DOWNLOADS.items()}
                self.more = gr.Button("Continue from here", size="md", scale=2)
        self.parts = [self.name, self.box, self.title, self.sound, self.roll, *self.files.values()]

    def show(self, piece: Piece, path: Path) -> dict:
        """The changes to the page that show a piece, its MIDI file `path` and what is beside that."""
        names = [part.called() for part in piece.parts]
        return {
            self.name: path.stem,
            self.box: gr.Group(visible=True),
            self.title: f"### {path.stem}\n{len(piece)} notes, {piece.clock()} minutes: {shortened(names)}",
            self.sound: sibling(path, ".wav"),
            self.roll: sibling(path, ".png"),
            **{button: gr.DownloadButton(value=sibling(path, ending)) for ending, button in self.files.items()},
        }


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
        self.source = gr.Dropdown([NOTHING, *self.bundled, UPLOADED], value=NOTHING, label="Begin with")
        self.upload = gr.File(label="MIDI file", file_types=list(midi.ENDINGS), visible=False, height=120)
        self.trouble = gr.Markdown(elem_id="trouble")
        with gr.Group(visible="hidden") as self.trimming, gr.Column(variant="panel"):
            self.start = gr.Slider(0, 1, 0, step=1, label="From", info="quarter notes after its beginning")
            self.length = gr.Slider(1, 2, 1, step=1, label="Length", info="notes")
            self.prior_sound, self.prior_roll = player_and_picture("fragment")

    def place_choices(self) -> None:
        """How much new music, and of what kind."""
        most, pieces = self.args.notes, self.args.count
        self.notes = gr.Slider(10, most, min(200, most), step=10, label="New notes")
        self.count = gr.Slider(1, max(pieces, 2), 1, step=1, label="Pieces", visible=pieces > 1)
        self.temperature = gr.Slider(0, 2, 0.9, step=0.05, label="Temperature", info="lower is safer, higher is bolder")
        self.top_p = gr.Slider(0.05, 1, 1, step=0.05, label="Top-p", info="lower leaves out the unlikely notes")
        with gr.Row():
            self.seed = gr.Textbox(label="Seed", info="empty: a new one", max_length=18, elem_id="seed")
            self.tempo = gr.Number(0, label="Tempo", info="0: as in the fragment, or 120")
        about = "none: as in a passage of the training music; a fragment goes on with its own"
        self.players = gr.Dropdown([], multiselect=True, label="Parts", info=about, elem_id="players")
        self.instrument = gr.Dropdown([AS_BEFORE, *instruments.INSTRUMENTS], value=AS_BEFORE, label="Sound")

    def connect(self) -> None:
        """Which method answers to which parts, what it is told, and what it may change."""
        self.blocks.load(self.arrive, None, [self.session, self.weights, self.message], **PRIVATE)
        self.weights.change(self.know, {self.weights}, [self.players], **PRIVATE)
        trimming = [self.start, self.length]
        picked = gr.on(
            [self.source.change, self.upload.change],
            self.pick,
            {self.source, self.upload, self.made},
            [self.prior, self.upload, self.trouble, self.trimming, *trimming],
            **PRIVATE,
        )
        trim = (self.trim, {self.prior, self.source, self.session, *trimming})
        fragment = [self.trouble, self.prior_roll, self.prior_sound]
        picked.then(*trim, fragment, **PRIVATE)
        gr.on([part.input for part in trimming], *trim, fragment, trigger_mode="always_last", **PRIVATE)
        choices = {self.notes, self.count, self.temperature, self.top_p, self.seed, self.tempo}
        choices |= {self.players, self.instrument}
        self.button.click(
            self.generate,
            {self.session, self.made, self.weights, self.source, self.prior, *trimming, *choices},
            [self.message, self.made, *(part for slot in self.slots for part in slot.parts)],
            show_progress_on=self.message,
            **PRIVATE,
        )
        for slot in self.slots:
            slot.more.click(self.go_on, [slot.name, self.made], self.source, **PRIVATE)

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
        """The parts of the network that was chosen."""
        path, names = networks(self.args.weights_dir).get(asked[self.weights]), []
        with contextlib.suppress(UserError):  # `generate` says what is wrong with a file
            if path:
                names = ensemble.names(network(path, path.stat().st_mtime)[1].vocabulary)
        return {self.players: gr.Dropdown(choices=names, value=[])}

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
                piece = midi.read(path, Path(path).name)  # the visitor knows no folder of it
        except UserError as error:
            problem = str(error)
        beats, notes = (int(piece.onset[-1] // piece.ticks_per_quarter), len(piece)) if piece else (0, 1)
        return {
            self.prior: piece,
            self.upload: gr.File(visible=source == UPLOADED),
            self.trouble: problem,
            self.trimming: gr.Group(visible=True if piece else "hidden"),
            self.start: gr.Slider(maximum=max(beats, 1), value=0),
            self.length: gr.Slider(maximum=max(notes, 2), value=notes if source in made else min(notes, PRIOR_NOTES)),
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

    def generate(self, asked: dict, progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Iterator[dict]:  # noqa: B008
        """Compose; then write and show one piece after the other."""
        yield {self.message: "", **{slot.box: gr.Group(visible="hidden") for slot in self.slots}}
        name, seed, tempo = asked[self.weights], asked[self.seed].strip(), asked[self.tempo]
        try:
            path = networks(self.args.weights_dir).get(name)
            if path is None:
                raise UserError(f"Choose weights: those in {self.args.weights_dir}/ are listed when the page loads.")
            if seed and not seed.isdecimal():
                raise UserError(f"The seed {seed!r} is not a whole number: enter one, or leave it empty.")
            how = Sampling(asked[self.temperature], asked[self.top_p], int(seed) if seed else None)
            prior = None if asked[self.source] == NOTHING else self.trimmed(asked)
            chosen = asked[self.instrument]
            programs = () if chosen == AS_BEFORE else instruments.programs(chosen)
            tempos = [(0, theory.microseconds(tempo or 120))] if tempo or prior is None else []
            progress(0, desc="composing")
            weights, stepper = network(path, path.stat().st_mtime)
            players = ensemble.named(stepper.vocabulary, asked[self.players] or [])
            wanted = Wanted(int(asked[self.notes]), players=players, programs=programs, prepend=prior is not None)
            count, before, remarks = int(asked[self.count]), None, []
            if prior is None:
                opening = compose.openings(weights, count, how.seed, players=players)
                pieces = compose.new_pieces(stepper, opening, how, wanted)
            else:
                pieces, before = compose.continuations(stepper, prior, how, wanted, count)
                remarks = fragment.remarks(stepper.vocabulary, prior, "the fragment")
            about = SimpleNamespace(weights=path, temperature=how.temperature, top_p=how.top_p)
            line, files = beside.about(about, how.seed), SimpleNamespace(**self.beside, notation=True)
            made, problems = asked[self.made], []
            for i, (one, slot) in enumerate(zip(pieces, self.slots, strict=False)):
                progress((i, len(pieces)), desc="sound and picture")
                piece = one.piece
                piece.tempos = tempos or piece.tempos
                file = midi.save_new(piece, asked[self.session], f"{name}-seed-{how.seed}")
                beside.write_beside(file, piece, files, line, before, problems.append)
                made = {**made, file.stem: piece}
                yield {self.made: made, **slot.show(piece, file)}
            repeatable = f"Seed {how.seed}: with this seed and the same settings you get the same music again."
            yield {self.message: "  \n".join([repeatable, *remarks, *problems])}
        except UserError as error:
            yield {self.message: str(error)}

    def go_on(self, name: str, made: dict[str, Piece]) -> gr.Dropdown:
        """Begin the next piece with one that was made, all of it."""
        return gr.Dropdown(choices=[NOTHING, *self.bundled, UPLOADED, *made], value=name)
