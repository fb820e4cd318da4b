"""The exceptions that a user's input and disk may cause."""


class UserError(Exception):
    """What the user gave cannot be used. The message is one sentence: what is wrong, where, and what to do."""


class NotWritten(UserError):
    """A file cannot be written."""


class DiskFull(NotWritten):
    """Nor can any other file there."""
