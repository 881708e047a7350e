"""Exceptions for users. Commands print them and exit; any other exception is a bug of this project."""

from stockrnn.io.errors import UserError

__all__ = ["DamagedError", "UserError"]


class DamagedError(UserError):
    """A file of a study was changed or damaged after it was written. The message is one line."""
