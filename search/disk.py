"""The disk that a study's folder is on: when it is full, read-only or gone, and how that is said."""

import errno
import os
from pathlib import Path

__all__ = ["LOCK_FILES", "DiskError", "TakenError", "cause", "lock_state", "settle", "taken"]

LOCK_FILES = ("lock", "lock.json")  # the lock on a study's folder, and who holds it

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


class TakenError(OSError):
    """Another process writes into the study's folder, in one line."""


def taken(error: BaseException | None) -> str | None:
    """What an exception says that comes from a folder that another process writes into; else None."""
    while error is not None:
        if isinstance(error, TakenError):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


def lock_state(folder: Path) -> tuple[int | None, ...]:
    """What changes when another process takes the lock on a folder, or the folder is replaced."""
    state: list[int | None] = []
    for name in LOCK_FILES:
        try:
            found = os.stat(folder / name)
        except OSError:
            state += [None, None]
        else:  # the lock itself is opened, and so touched, by every reader that asks whether it is held
            state += [found.st_ino, found.st_mtime_ns if name.endswith(".json") else None]
    return tuple(state)


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
