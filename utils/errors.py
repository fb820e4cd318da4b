"""The exceptions that the user's input or disk may cause."""


class UserError(Exception):
    """What the user gave cannot be used. The message is one sentence: what is wrong, where, and what to do."""


class NotWritten(UserError):
    """A file cannot be written."""


class DiskFull(NotWritten):
    """The disk is full, so no other file can be written either."""
