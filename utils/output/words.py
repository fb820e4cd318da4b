"""How the page says what the scripts say."""

import re

MARKUP = re.compile(r"[!#$&()*+/<=>@\[\\\]^_`{|}~]|(?<=\w)\.(?=\w)")  # with the dots of addresses
# Settings of the scripts that the page calls otherwise.
OTHERWISE = {
    "scale": "key",
    "instruments": "players",
    "parts": "players",
    "prior_start": "start",
    "prior_notes": "length",
}


def plain(text: str) -> str:
    """A text in Markdown in which nothing is markup, since it may come from anybody's file."""
    return MARKUP.sub(lambda mark: f"&#{ord(mark[0])};", text)


def labelled(sentence: str, page: object) -> str:
    """A sentence with the labels of the page's parts for the flags of the scripts: --tempo -> “Tempo”."""

    def label(flag: re.Match) -> str:
        name = flag[1].replace("-", "_")
        part = getattr(page, OTHERWISE.get(name, name), None)
        return f"“{part.label}”" if hasattr(part, "label") else flag[0]

    return re.sub(r"(“[^”]+”) or \1", r"\1", re.sub(r"--([a-z]+(?:-[a-z]+)*)", label, sentence))
