"""The one exception that a user's input may cause."""


class UserError(Exception):
    """What the user gave cannot be used. The message is one sentence: what is wrong, where, and what to do."""
