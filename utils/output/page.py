"""The page of app.py, in Gradio: its parts, and what happens when a visitor uses them."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from utils import completion, compose, ensemble, fragment, instruments, midi, tonality
from utils.compose import Made
from utils.errors import UserError
from utils.output import beside, order
from utils.output.door import Blocks
from utils.output.offered import LONGEST_NUMBER, fragments, network, networks, number
from utils.output.order import AFTER, ANEW, AROUND, KEYS, Order
from utils.output.slot import Slot, player_and_picture, sibling
from utils.output.visitors import Left, Visitor, Visitors
from utils.output.words import labelled, plain
from utils.piece import Piece
from utils.source import read_apart

NOTHING, UPLOADED = "nothing", "a MIDI file of mine"
NOTES, BARS = "notes", "bars"  # units for the length of new music
HEADING = "# Music generator\nNew music from a network that you trained, from nothing or from a fragment."
WELCOME = "Your music will appear here."
AS_BEFORE, OWN_KEY, ANY_KEY = ("each part's own", ""), ("its own", ""), ("no fixed key", "none")
# The fields of an order that come unchanged from the parts of the page with the same names.
CHOICES = "mode keep fill notes bars count style key players instrument top_p tempo at_bar key_lock".split()
QUEUE = 100  # requests that may wait
PRIOR_NOTES = 100  # of a longer fragment, until the visitor asks for more: some bars, which the network reads instantly
PRIVATE = {"api_visibility": "private"}  # the page is for people: programs can use the scripts


class Page:
    """The page. Its attributes are its parts, components of Gradio. A method that answers a visitor gets the values of
    some parts in `asked` and returns the parts that change; all that belongs to one visitor is in `visitors`."""

    def __init__(self, args: SimpleNamespace, folder: str):
        """`args`: the settings of app.py. New files go into `folder`, which Gradio serves, in a sub-folder for each
        visitor."""
        self.args, self.bundled = args, fragments(args.prior_dir)
        with Blocks(title="Music generator", analytics_enabled=False) as self.blocks:
            self.session = gr.State()  # Gradio's name for it
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
        self.visitors = Visitors(Path(folder), 60 * args.away, self.forget)

    def forget(self, session: str) -> None:
        """Let Gradio, too, forget what a session has changed on the page; it would remember 10,000 sessions."""
        self.blocks.state_holder.session_data.pop(session, None)

    def place_beginning(self) -> None:
        """Place the parts for the network, and for what its music begins with."""
        about = f"what train.py wrote into {self.args.weights_dir}/, newest first"
        self.weights = gr.Dropdown([], label="Weights", info=about)
        self.source = gr.Dropdown(self.beginnings({}), value=NOTHING, label="Begin with")
        self.upload = gr.File(label="MIDI file", file_types=list(midi.ENDINGS), visible=False, height=120)
        self.trouble = gr.Markdown(elem_id="trouble")
        with gr.Group(visible="hidden") as self.trimming, gr.Column(variant="panel"):
            self.start = gr.Slider(0, 1, 0, step=1, precision=0, label="From", info="quarter notes after its beginning")
            self.length = gr.Slider(1, 2, 1, step=1, precision=0, label="Length", info="notes")
            self.prior_sound, self.prior_roll = player_and_picture("fragment")
            self.mode = gr.Radio([AFTER, AROUND, ANEW], value=AFTER, label="What to write")
            about = "such as 5-8 or 3,7-8; all others stay as they are"
            self.fill = gr.Textbox(label="Bars to write anew", info=about, max_length=40, visible=False)
            self.keep = gr.Dropdown([], multiselect=True, label="Parts to keep", visible=False)

    def place_choices(self) -> None:
        """Place the parts for how much new music to make, and of what kind."""
        most = self.args
        self.unit = gr.Radio([NOTES, BARS], value=NOTES, label="Length in")
        self.notes = gr.Slider(10, most.notes, min(200, most.notes), step=10, precision=0, label="New notes")
        about = "the last one brings the piece to an end"
        whole = {"step": 1, "precision": 0}
        self.bars = gr.Slider(1, most.bars, min(16, most.bars), label="New bars", info=about, visible=False, **whole)
        self.count = gr.Slider(1, max(most.count, 2), 1, label="Pieces", visible=most.count > 1, **whole)
        about = "none: that of a passage of the training music, or of the fragment; several are mixed"
        self.style = gr.Dropdown([], multiselect=True, label="Style", info=about, visible=False)
        about = "you may also type a scale, such as D dorian; “its own” is that of the passage or the fragment"
        self.key = gr.Dropdown([OWN_KEY, ANY_KEY, *KEYS], value="", label="Key", info=about, allow_custom_value=True)
        about = "none: those of a passage of the training music, or of the fragment"
        self.players = gr.Dropdown([], multiselect=True, label="Parts", info=about, elem_id="players")
        self.instrument = gr.Dropdown([AS_BEFORE, *instruments.INSTRUMENTS], value="", label="Sound")
        with gr.Accordion("More", open=False, elem_id="more"):
            usual = f"empty: {compose.TEMPERATURE}, or {completion.TEMPERATURE} around what is kept"
            about = f"lower is safer, higher is bolder; {usual}"
            self.temperature = gr.Textbox("", label="Temperature", info=about, max_length=LONGEST_NUMBER)
            self.top_p = gr.Slider(0.05, 1, 1, step=0.05, label="Top-p", info="lower leaves out unlikely notes")
            with gr.Row():
                about = "empty: a new one"
                self.seed = gr.Textbox("", label="Seed", info=about, max_length=LONGEST_NUMBER, elem_id="seed")
                self.tempo = gr.Number(0, label="Tempo", info="0: as in the fragment or the training music")
            self.at_bar = gr.Checkbox(label="Continue a fragment from the next bar line")
            self.key_lock = gr.Checkbox(label="No note outside the key")

    def connect(self) -> None:
        """Connect parts with the methods that answer them, the values these get, and the parts they may change."""
        self.blocks.load(self.arrive, None, [self.session, self.weights, self.message], **PRIVATE)
        self.weights.change(self.know, {self.weights}, [self.players, self.style], **PRIVATE)
        trimming = [self.start, self.length]
        picked = gr.on(
            [self.source.change, self.upload.change],
            self.pick,
            {self.session, self.source, self.upload},
            [self.upload, self.trouble, self.trimming, *trimming],
            **PRIVATE,
        )
        trim = (self.trim, {self.session, self.source, self.weights, self.keep, *trimming})
        fragment = [self.trouble, self.prior_roll, self.prior_sound, self.keep]
        picked.then(*trim, fragment, **PRIVATE)
        gr.on([part.input for part in trimming], *trim, fragment, trigger_mode="always_last", **PRIVATE)
        means = [self.source, self.mode, self.unit]
        shown = [self.fill, self.keep, self.unit, self.notes, self.bars, self.players]
        gr.on([part.change for part in means], self.arrange, means, shown, **PRIVATE)
        told = {self.session, self.weights, self.source, *trimming, self.unit, self.seed, self.temperature}
        told |= {getattr(self, name) for name in CHOICES}
        changed = [self.message, self.source, *(part for slot in self.slots for part in slot.parts)]
        # One request at a time; and whoever has scrolled down to the button sees what comes of it.
        how = {"show_progress_on": self.message, "scroll_to_output": True, "concurrency_id": "music", **PRIVATE}
        self.button.click(self.generate, told, changed, **how)
        for slot in self.slots:
            slot.more.click(lambda name: (name, AFTER), slot.name, [self.source, self.mode], **PRIVATE)
            anew = functools.partial(self.generate, slot=slot)
            slot.again.click(anew, told | {slot.name, slot.bars}, changed, **how)

    def arrive(self, request: gr.Request) -> dict:
        """What a new visitor gets: a session, and the weights that exist now."""
        self.visitors.arrive(request.session_hash)
        names = list(networks(self.args.weights_dir))
        missing = f"There are no weights in {self.args.weights_dir}/: run python train.py first, then reload."
        return {
            self.session: request.session_hash,
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
        """Show only the choices that matter for what is to be written."""
        mode = AFTER if source == NOTHING else mode
        unit = unit if mode == AFTER else ""
        length = gr.Radio(visible=bool(unit)), gr.Slider(visible=unit == NOTES), gr.Slider(visible=unit == BARS)
        players = gr.Dropdown(visible=source == NOTHING or mode == AROUND)
        return [gr.Textbox(visible=mode == ANEW), gr.Dropdown(visible=mode != AFTER), *length, players]

    def pick(self, asked: dict) -> dict:
        """Read what the music is to begin with."""
        source, made, piece, problem = asked[self.source], {}, None, ""
        try:
            visitor = self.visitors[asked[self.session]]
            visitor.prior, made = None, visitor.made
            if source in made:
                piece = made[source]
            elif source != NOTHING:
                path = asked[self.upload] if source == UPLOADED else self.bundled[source]
                if path is None:
                    raise UserError("Choose a MIDI file (.mid, .midi or .kar) to begin with.")
                path = Path(path)  # not Gradio's kind of str, for which the process that reads it would start Gradio
                visitor.upload = path if source == UPLOADED else visitor.upload
                piece = read_apart(path, path.name)  # the visitor does not know its folder
            visitor.prior = piece
        except UserError as error:
            problem = self.said(str(error))
        beats, notes = (int(piece.onset[-1] // piece.ticks_per_quarter), len(piece)) if piece else (0, 1)
        return {
            self.upload: gr.File(visible=source == UPLOADED),
            self.trouble: problem,
            self.trimming: gr.Group(visible=True if piece else "hidden"),
            self.start: gr.Slider(maximum=max(beats, 1), value=0),
            self.length: gr.Slider(maximum=max(notes, 2), value=notes if source in made else min(notes, PRIOR_NOTES)),
        }

    def chosen(self, asked: dict) -> Path:
        """The chosen weights. Raises UserError if there are none."""
        if path := networks(self.args.weights_dir).get(asked[self.weights]):
            return path
        raise UserError(f"Choose weights: those in {self.args.weights_dir}/ are listed when the page loads.")

    def trimmed(self, asked: dict) -> Piece:
        """The chosen section of the fragment. Raises UserError if there is none or it is too long."""
        prior = self.visitors[asked[self.session]].prior
        if prior is None:
            raise UserError("There is nothing to begin with: choose another fragment or file.")
        piece = fragment.cut(prior, asked[self.start], int(asked[self.length]), "The fragment")
        if too_long := self.too_long(piece):
            raise UserError(f"The fragment {too_long}: begin with less of it.")
        return piece

    def too_long(self, piece: Piece) -> str:
        """What to say of a piece that is too long for sound; '' if it is not."""
        most = self.args.minutes
        return f"lasts {piece.clock()} minutes, more than the limit of {most:g}" * (piece.seconds() > 60 * most)

    def trim(self, asked: dict) -> dict:
        """Picture and sound of the chosen section, and its parts."""
        shown, problems = {self.prior_roll: None, self.prior_sound: None}, []
        files = SimpleNamespace(wav=True, picture=True, notation=False, soundfont=self.args.soundfont)
        try:
            visitor = self.visitors[asked[self.session]]
            if visitor.prior is None:  # `pick` has said why
                return shown
            piece, path = self.trimmed(asked), visitor.new_fragment()
            key = tonality.of_fragment(piece)
            line = f"{asked[self.source]}{f' · in {key.name}' if key else ''}"
            beside.write_beside(path, piece, files, line, warn=problems.append)
            shown = {self.prior_roll: sibling(path, ".png"), self.prior_sound: sibling(path, ".wav")}
            path = self.chosen(asked)
            parts = order.may_be_kept(piece.played(), network(path, path.stat().st_mtime)[1])
            kept = [name for name in asked[self.keep] or () if name in parts]
            shown[self.keep] = gr.Dropdown(choices=parts, value=kept)
        except UserError as error:
            problems.append(str(error))
        return {self.trouble: self.said(*problems), **shown}

    def ordered(self, asked: dict, slot: Slot | None) -> Order:
        """What the visitor asks for; with a `slot`, another version of some bars of its piece. May raise UserError."""
        path = self.chosen(asked)
        choices = {name: value for name in CHOICES if (value := asked[getattr(self, name)]) is not None}
        seed = number(asked[self.seed] or "", "seed", int)
        temperature = number(asked[self.temperature] or "", "temperature", float)
        choices |= {"most": self.args.notes, "seed": seed, "temperature": temperature}
        choices["style"] = ",".join(asked[self.style] or ())
        choices["bars"] *= asked[self.unit] == BARS
        if slot:
            name, fill, made = asked[slot.name], asked[slot.bars] or "", self.visitors[asked[self.session]].made
            if name not in made:
                raise UserError("This piece no longer exists: generate another.")
            choices |= {"name": name, "mode": ANEW, "keep": [], "fill": fill, "count": 1, "seed": None}
            choices |= {"instrument": "", "tempo": 0}  # the rest of the piece stays as it is
            return Order(path, made[name], **choices)
        return Order(path, None if asked[self.source] == NOTHING else self.trimmed(asked), **choices)

    def generate(
        self,
        asked: dict,
        progress: gr.Progress = gr.Progress(track_tqdm=True),  # noqa: B008
        slot: Slot | None = None,
    ) -> Iterator[dict]:
        """Compose what is asked for, see `ordered`, then write and show one piece after another."""
        yield {self.message: ""}
        try:
            visitor, wanted = self.visitors[asked[self.session]], self.ordered(asked, slot)
            progress(0, desc="composing")
            weights = network(wanted.weights, wanted.weights.stat().st_mtime)
            music, problems = order.filled(wanted, *weights, visitor.stays), []
            yield {place.box: gr.Group(visible="hidden") for place in self.slots}
            visitor.clear()
            for i, (one, place) in enumerate(zip(music.made, self.slots, strict=False)):
                progress((i, len(music.made)), desc="sound and picture")
                shown = place.show(one, self.write(visitor, one, asked[self.weights], music, problems.append))
                yield shown | {self.source: gr.Dropdown(choices=self.beginnings(visitor.made))}
            again = "" if slot else ": with this seed and the same settings you get the same music again"
            repeatable = f"Seed {music.how.seed}{again}."
            yield {self.message: self.said(repeatable, *music.remarks, *problems)}
        except UserError as error:
            yield {self.message: self.said(str(error))}
        except Left:  # there is nobody to tell
            return

    def write(self, visitor: Visitor, one: Made, weights: str, music: order.Filled, warn: Callable) -> Path:
        """Write a piece and the files beside it; returns the path of the MIDI file. Failures are reported to `warn`.
        Raises Left if the visitor has left."""
        visitor.check_here()
        file = midi.save_new(one.piece, visitor.folder, f"{weights}-seed-{music.how.seed}")
        visitor.made[file.stem] = one.piece
        if too_long := self.too_long(one.piece):
            warn(f"{file.stem} {too_long}: it has no sound.")
        files = SimpleNamespace(wav=not too_long, picture=True, notation=True, soundfont=self.args.soundfont)
        beside.write_beside(file, one.piece, files, beside.about(weights, music.how, one.key), music.before, warn)
        return file

    def said(self, *sentences: str) -> str:
        """Sentences as the page shows them: with its own names for the settings of the scripts, without its folder."""
        return plain(labelled("  \n".join(sentences).replace(f"{self.visitors.folder}/", ""), self))

    def beginnings(self, made: dict[str, Piece]) -> list[str]:
        """What music may begin with, for a visitor who has `made` some pieces."""
        return [NOTHING, *self.bundled, UPLOADED, *made]
