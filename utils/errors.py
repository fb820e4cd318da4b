"""The one exception that a user's input may cause, and what of names a terminal may be shown."""


class UserError(Exception):
    """What the user gave cannot be used. The message is one sentence: what is wrong, where, and what to do."""


def printable(text: str, keep: str = "") -> str:
    """A text with spaces instead of what a terminal would obey or not show, apart from the characters in `keep`."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else " " for c in text)
