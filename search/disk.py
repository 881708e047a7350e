"""The disk that a study's folder is on: when it is full, read-only or gone, and how that is said."""

import errno
import os
from pathlib import Path

from search.errors import UserError

__all__ = ["DiskError", "cause", "settle"]

FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EFBIG, errno.ESTALE)


class DiskError(UserError):
    """A folder cannot be written, in one line."""


def cause(error: BaseException | None) -> str | None:
    """What failed of a disk where an exception comes from that, in the words of the system; else None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FAILURES:
            return os.strerror(error.errno)  # libraries have words of their own
        error = error.__cause__ or error.__context__
    return None


def settle(path: Path) -> None:
    """Wait until what was written to a file or folder outlives a loss of power.

    Raises:
        OSError: it does not, as there is no room.
    """
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
