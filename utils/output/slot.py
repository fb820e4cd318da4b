"""The place where the page shows a piece."""

from pathlib import Path

import gradio as gr

from utils.compose import Made
from utils.output.words import plain
from utils.piece import plural, shortened

DOWNLOADS = {".mid": "MIDI", ".wav": "WAV", ".musicxml": "MusicXML"}


def sibling(path: Path, ending: str) -> str | None:
    """The file beside `path` with another ending, or None if it could not be written."""
    file = path.with_suffix(ending)
    return str(file) if file.exists() else None


def player_and_picture(name: str) -> tuple[gr.Audio, gr.Image]:
    """The parts that show the sound and the piano roll of a piece."""
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
            with gr.Row():
                hint = {"show_label": False, "container": False, "placeholder": "bars, such as 5-8"}
                self.bars = gr.Textbox(
                    max_length=40, min_width=120, elem_id=f"bars-{number}", elem_classes="bars", **hint
                )
                self.again = gr.Button("Another version of these bars", size="md", scale=2, min_width=240)
        self.parts = [self.name, self.box, self.title, self.sound, self.roll, *self.files.values()]

    def show(self, one: Made, path: Path) -> dict:
        """The changes to the page that show a piece, its MIDI file `path` and the files beside it."""
        names = shortened([part.called() for part in one.piece.parts])
        return {
            self.name: path.stem,
            self.box: gr.Group(visible=True),
            self.title: f"### {plain(path.stem)}\n{plural(len(one.piece), 'note')}, {plain(f'{one.told()}: {names}')}",
            self.sound: sibling(path, ".wav"),
            self.roll: sibling(path, ".png"),
            **{button: gr.DownloadButton(value=sibling(path, ending)) for ending, button in self.files.items()},
        }
