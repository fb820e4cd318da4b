"""Turns the sentences of the scripts into those of the page."""

import re

MARKUP = re.compile(r"[!#$&()*+/<=>@\[\\\]^_`{|}~]|(?<=\w)\.(?=\w)")  # with the dots of web addresses
# Settings of the scripts whose parts of the page have other names.
OTHERWISE = {
    "scale": "key",
    "instruments": "players",
    "parts": "players",
    "prior_start": "start",
    "prior_notes": "length",
}


def plain(text: str) -> str:
    """Markdown that shows a text as it is: all markup is escaped, since the text may come from anybody's file."""
    return MARKUP.sub(lambda mark: f"&#{ord(mark[0])};", text)


def labelled(sentence: str, page: object) -> str:
    """A sentence in which the page's labels replace the flags of the scripts: --tempo -> “Tempo”."""

    def label(flag: re.Match) -> str:
        name = flag[1].replace("-", "_")
        part = getattr(page, OTHERWISE.get(name, name), None)
        return f"“{part.label}”" if hasattr(part, "label") else flag[0]

    return re.sub(r"(“[^”]+”) or \1", r"\1", re.sub(r"--([a-z]+(?:-[a-z]+)*)", label, sentence))
