"""Base class of the errors that a command prints to its user."""

__all__ = ["UserError"]


class UserError(ValueError):
    """An error of the input or the environment; the message is one line: `place: value: the rule; the fix`."""
