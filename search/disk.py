"""The disk that a study's folder is on: when it is full, read-only or gone, and how that is said."""

import errno
import os

__all__ = ["DiskError", "cause"]

FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EFBIG, errno.ESTALE)


class DiskError(ValueError):
    """A folder cannot be written, in one line."""


def cause(error: BaseException | None) -> str | None:
    """What failed of a disk where an exception comes from that, in the words of the system; else None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FAILURES:
            return os.strerror(error.errno)  # libraries have words of their own
        error = error.__cause__ or error.__context__
    return None
