"""How the page looks: its theme and its CSS."""

import gradio as gr

# With the fonts of the visitor's system: nothing is fetched from elsewhere.
THEME = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
# Gradio's own colour of help texts has a contrast of 2 to 1 with white, too little to read.
THEME.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
CSS = """
.gradio-container {width: 100%; max-width: 1280px !important; margin: auto}
.roll img, audio {width: 100%}
#message {min-height: 3em}
.bars textarea, .bars input {height: 100%; border: 1px solid var(--border-color-primary) !important}
#trouble p {color: #b84a00}
"""
