"""The base of the errors that are meant for users."""

__all__ = ["UserError"]


class UserError(ValueError):
    """A user's mistake or a fault of the surroundings: one line `what/where: what is wrong; the rule; the fix`."""
