"""The page of app.py, in Gradio."""

import functools
import itertools
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from utils import checkpoint, compose, instruments, midi, sampler, settings
from utils.compose import Wanted
from utils.errors import UserError
from utils.output import beside
from utils.stepper import Stepper

NOTHING, UPLOADED = "nothing", "a MIDI file of mine"
WELCOME = "What you generate will be here."
AS_BEFORE = "as in the fragment, or piano"
DOWNLOADS = {".mid": "MIDI", ".wav": "WAV", ".musicxml": "MusicXML"}
CSS = """
.gradio-container {width: 100%; max-width: 1280px !important; margin: auto}
.roll img, audio {width: 100%}
#message {min-height: 3em}
#trouble p {color: #b84a00}
"""


def found(folder: str, pattern: str, ending: str) -> dict[str, Path]:
    """Name without its ending -> path of the files in a folder, by name."""
    return dict(sorted((path.name.removesuffix(ending), path) for path in Path(folder).glob(pattern + ending)))


def networks(folder: str) -> dict[str, Path]:
    """The weights files to choose from; what training resumes from is not one."""
    return {name: path for name, path in found(folder, "*", ".weights.h5").items() if not name.endswith(".last")}


def fragments(folder: str) -> dict[str, Path]:
    """The fragments to choose from, without the numbered pieces that the scripts write beside them."""
    return {name: path for name, path in found(folder, "prior*", ".mid").items() if not re.search(r"-\d{3}$", name)}


@functools.lru_cache(maxsize=2)
def network(path: Path, changed: float) -> tuple[checkpoint.Checkpoint, Stepper]:
    """A weights file, ready to play; read once, until it is `changed`."""
    weights = checkpoint.load(path)
    return weights, Stepper(weights)


def uploaded(path: str | None) -> midi.Piece:
    """The piece in a file that a visitor sent. Raises UserError that gives it the name it had there."""
    if path is None:
        raise UserError("Choose a MIDI file (.mid, .midi or .kar) to begin with.")
    try:
        return midi.parse(midi.read_bytes(path))
    except ValueError as error:
        raise UserError(f"{Path(path).name} cannot be used: {error}.") from None


def composed(
    args: SimpleNamespace,
    path: Path,
    prior: midi.Piece | None,
    how: sampler.Sampling,
    notes: int,
    count: int,
    tempo: float,
    program: int,
) -> tuple[list[midi.Piece], midi.Piece | None, list[str]]:
    """New pieces, what of each was given, and what there is to say about that. A `tempo` of 0 and a `program` below 0
    are those of the fragment, or 120 and a piano. Raises UserError."""
    settings.at_most("notes", notes, args.notes)
    settings.at_most("count", count, args.count)
    weights, stepper = network(path, path.stat().st_mtime)
    if prior is None:
        begun = compose.openings(weights, count, how.seed)
        pieces, _ = compose.new_pieces(stepper, begun, how, Wanted(notes, max(program, 0)))
        before, remarks = None, []
    else:
        remarks = compose.remarks(stepper.vocabulary, prior, "the fragment")
        pieces, before, _ = compose.continuations(
            stepper, prior, how, Wanted(notes, program if program >= 0 else None, prepend=True), count
        )
    if tempo or prior is None:
        for piece in pieces:
            piece.tempos = [(0, midi.microseconds(tempo or 120))]
    return pieces, before, remarks


def written(path: Path, ending: str) -> str | None:
    """The file with that ending beside `path`, if it could be written."""
    file = path.with_suffix(ending)
    return str(file) if file.exists() else None


def theme() -> gr.themes.Base:
    """With the fonts of the visitor's system: nothing is fetched from elsewhere."""
    return gr.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )


def player(name: str) -> gr.Audio:
    return gr.Audio(
        label=f"Sound of the {name}",
        interactive=False,
        show_label=False,
        buttons=[],
        waveform_options=gr.WaveformOptions(show_recording_waveform=False),
    )


def picture(name: str) -> gr.Image:
    return gr.Image(
        label=f"Piano roll of the {name}",
        type="filepath",
        interactive=False,
        show_label=False,
        buttons=["fullscreen"],
        elem_classes="roll",
    )


def build(args: SimpleNamespace, folder: str) -> gr.Blocks:
    """The page. All that it writes goes into `folder`, for each visitor into a folder of their own."""
    bundled = fragments(args.prior_dir)

    # ---- what happens; the names are those of the parts of the page, which are below ----

    def remove(place: str | None) -> None:
        if place:
            shutil.rmtree(place, ignore_errors=True)

    def arrive() -> dict:
        """What a visitor gets: a folder, and the weights that are there now."""
        names = list(networks(args.weights_dir))
        missing = f"There are no weights in {args.weights_dir}/: run python train.py first, then reload."
        return {
            session: tempfile.mkdtemp(dir=folder),
            weights: gr.Dropdown(choices=names, value=next(iter(names), None)),
            message: WELCOME if names else missing,
        }

    def pick(source: str, file: str | None, results: dict[str, midi.Piece]) -> dict:
        """Read what the music shall begin with."""
        piece, problem = None, ""
        try:
            if source == UPLOADED:
                piece = uploaded(file)
            elif source != NOTHING:
                piece = results[source] if source in results else midi.read(bundled[source])
        except UserError as error:
            problem = str(error)
        beats = int(piece.onset[-1] // piece.ticks_per_quarter) if piece else 0
        notes = len(piece) if piece else 0
        return {
            whole: piece,
            upload: gr.File(visible=source == UPLOADED),
            trouble: problem,
            trimming: gr.Group(visible=True if piece else "hidden"),
            start: gr.Slider(maximum=max(beats, 1), value=0),
            length: gr.Slider(maximum=max(notes, 2), value=max(notes if source in results else min(notes, 100), 1)),
        }

    def trimmed(piece: midi.Piece | None, beat: float, notes: int) -> midi.Piece:
        """The part that was chosen. Raises UserError."""
        if piece is None:
            raise UserError("There is nothing to begin with: choose another fragment or file.")
        return compose.fragment(piece, beat, int(notes), "The fragment")

    def trim(piece: midi.Piece | None, name: str, beat: float, notes: int, place: str) -> dict:
        """Picture and sound of the part that was chosen."""
        if piece is None:  # `pick` has said why
            return {prior_roll: None, prior_sound: None}
        path, problems = Path(place, "fragment.mid"), []
        wanted = SimpleNamespace(wav=True, picture=True, notation=False, soundfont=args.soundfont)
        try:
            beside.write_beside(path, trimmed(piece, beat, notes), wanted, name, warn=problems.append)
        except UserError as error:
            return {trouble: str(error)}
        return {trouble: "  \n".join(problems), prior_roll: written(path, ".png"), prior_sound: written(path, ".wav")}

    def make(asked: dict, progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Iterator[dict]:  # noqa: B008
        """Compose; then write and show one piece after the other."""
        yield {message: "", shown: [], **{slot.box: gr.Group(visible="hidden") for slot in slots}}
        try:
            path = networks(args.weights_dir).get(asked[weights])
            if path is None:
                raise UserError(f"Choose weights; there are those in {args.weights_dir}/ when the page is loaded.")
            given = asked[seed_box].strip()
            if given and not given.isdecimal():
                raise UserError(f"The seed {given!r} is no whole number.")
            how = sampler.Sampling(asked[temperature], asked[top_p], int(given) if given else None)
            prior = None
            if asked[source] != NOTHING:
                prior = trimmed(asked[whole], asked[start], asked[length])
            program = -1 if asked[instrument] == AS_BEFORE else instruments.program(asked[instrument])
            progress(0, desc="composing")
            pieces, before, remarks = composed(
                args, path, prior, how, int(asked[notes]), int(asked[count]), asked[tempo] or 0, program
            )
            wanted = SimpleNamespace(
                weights=str(path), temperature=how.temperature, top_p=how.top_p,
                wav=True, picture=True, notation=True, soundfont=args.soundfont,
            )  # fmt: skip
            results, names, problems = dict(asked[made]), [], []
            for i, (piece, slot) in enumerate(zip(pieces, slots, strict=False)):
                progress((i, len(pieces)), desc="sound and picture")
                target = midi.save_new(piece, asked[session], f"{asked[weights]}-seed-{how.seed}")
                beside.write_beside(target, piece, wanted, beside.about(wanted, how.seed), before, problems.append)
                results = {**results, target.stem: piece}
                names = [*names, target.stem]
                yield {
                    made: results,
                    shown: names,
                    slot.box: gr.Group(visible=True),
                    slot.title: f"### {target.stem}\n{len(piece)} notes, {midi.clock(piece)} minutes",
                    slot.sound: written(target, ".wav"),
                    slot.roll: written(target, ".png"),
                    **{
                        button: gr.DownloadButton(value=written(target, ending))
                        for ending, button in slot.files.items()
                    },
                }
            said = [f"Seed {how.seed}: with it and the same settings the same music is made again.", *remarks]
            yield {message: "  \n".join(said + problems)}
        except UserError as error:
            yield {message: str(error)}

    def go_on(number: int, results: dict[str, midi.Piece], names: list[str]) -> gr.Dropdown:
        """Begin the next piece with the one in slot `number`, all of it."""
        return gr.Dropdown(choices=[NOTHING, *bundled, UPLOADED, *results], value=names[number])

    # ---- what stands in the page ----

    with gr.Blocks(title="Music generator", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        session = gr.State(None, delete_callback=remove)
        whole = gr.State(None)  # the piece to begin with
        made, shown = gr.State({}), gr.State([])  # name -> piece of all that was made; the names of those in the slots
        gr.Markdown("# Music generator\nNew music from a network that you trained, from nothing or from a fragment.")
        with gr.Row():
            with gr.Column(scale=2, min_width=340):
                weights = gr.Dropdown([], label="Weights", info=f"what train.py wrote into {args.weights_dir}/")
                source = gr.Dropdown([NOTHING, *bundled, UPLOADED], value=NOTHING, label="Begin with")
                upload = gr.File(
                    label="MIDI file", file_types=list(midi.ENDINGS), type="filepath", visible=False, height=120
                )
                trouble = gr.Markdown(elem_id="trouble")
                with gr.Group(visible="hidden") as trimming, gr.Column(variant="panel"):
                    start = gr.Slider(0, 1, 0, step=1, label="From", info="quarter notes from its beginning")
                    length = gr.Slider(1, 2, 1, step=1, label="Length", info="notes")
                    prior_sound = player("fragment")
                    prior_roll = picture("fragment")
                notes = gr.Slider(10, args.notes, min(200, args.notes), step=10, label="New notes")
                count = gr.Slider(1, max(args.count, 2), 1, step=1, label="Pieces", visible=args.count > 1)
                temperature = gr.Slider(
                    0, 2, 0.9, step=0.05, label="Temperature", info="lower is safer, higher is bolder"
                )
                top_p = gr.Slider(0.05, 1, 1, step=0.05, label="Top-p", info="lower leaves out the unlikely notes")
                with gr.Row():
                    seed_box = gr.Textbox(label="Seed", info="empty: a new one", max_length=18, elem_id="seed")
                    tempo = gr.Number(0, label="Tempo", info="0: as in the fragment, or 120")
                instrument = gr.Dropdown([AS_BEFORE, *instruments.INSTRUMENTS], value=AS_BEFORE, label="Instrument")
                button = gr.Button("Generate", variant="primary", elem_id="generate")
            with gr.Column(scale=3, min_width=340):
                message = gr.Markdown(WELCOME, elem_id="message")
                slots = []
                for number in range(1, args.count + 1):
                    with gr.Group(visible="hidden") as box, gr.Column(variant="panel"):
                        title = gr.Markdown(elem_classes="title")
                        sound, roll = player(f"piece {number}"), picture(f"piece {number}")
                        with gr.Row():
                            files = {ending: gr.DownloadButton(name, size="md") for ending, name in DOWNLOADS.items()}
                            more = gr.Button("Continue from here", size="md", scale=2)
                    slots.append(SimpleNamespace(box=box, title=title, sound=sound, roll=roll, files=files, more=more))

        # ---- what leads to what ----

        private = {"api_visibility": "private"}
        page.load(arrive, None, [session, weights, message], **private)
        picked = gr.on(
            [source.change, upload.change],
            pick,
            [source, upload, made],
            [whole, upload, trouble, trimming, start, length],
            **private,
        )
        shaping = ([whole, source, start, length, session], [trouble, prior_roll, prior_sound])
        picked.then(trim, *shaping, **private)
        gr.on([start.input, length.input], trim, *shaping, trigger_mode="always_last", **private)
        about = {weights, source, whole, start, length, notes, count, temperature, top_p, seed_box, tempo, instrument}
        parts = [(slot.box, slot.title, slot.sound, slot.roll, *slot.files.values()) for slot in slots]
        button.click(
            make,
            about | {session, made},
            [message, made, shown, *itertools.chain(*parts)],
            show_progress_on=message,
            **private,
        )
        for number, slot in enumerate(slots):
            slot.more.click(functools.partial(go_on, number), [made, shown], source, **private)
    return page
