"""The errors that are meant for users: a command prints them and ends; any other exception is a bug of ours."""

from stockrnn.io.errors import UserError

__all__ = ["DamagedError", "UserError"]


class DamagedError(UserError):
    """A file of a study is not as it was written, in one line."""
