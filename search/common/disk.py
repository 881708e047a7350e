"""Detect that the disk of a study's folder is full, read-only or gone, or that another process writes to the folder."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from search.common.errors import UserError

__all__ = [
    "LOCK_FILES", "DiskError", "LostLockError", "SpareHandles", "check_present", "disk_error_reason",
    "disk_error_remedy", "lost_lock_reason", "read_lock_state",
]  # fmt: skip

LOCK_FILES = ("lock", "lock.json")  # the lock on a study's folder, and its owner

FULL = {  # the next file of the disk cannot be written either
    errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EROFS, errno.ESTALE,
}  # fmt: skip
GONE = {  # faults of the disk only if the error has a path of the folder; other files and hosts have these errors too
    errno.EACCES, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ELOOP, errno.ENODEV, errno.ENOENT, errno.ENOTCONN,
    errno.ENOTDIR, errno.ENXIO, errno.EPERM, errno.ETIMEDOUT,
}  # fmt: skip
NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}
ARROW_ERRNO = re.compile(r"\[errno (\d+)\]", re.IGNORECASE)  # Arrow has the number only in its message
MANIFEST = "manifest.json"


class DiskError(UserError):
    """A folder cannot be written. The message is one line."""


class LostLockError(OSError):
    """Another process writes to the study's folder. The message is one line."""


class SpareHandles:
    """Reserved file handles. A process that has used all its other handles needs some to exit cleanly."""

    def __init__(self, count: int) -> None:
        self._handles = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(count)]

    def release(self) -> None:
        """Close all reserved handles."""
        while self._handles:
            os.close(self._handles.pop())


def disk_error_reason(error: BaseException | None, folder: Path) -> str | None:
    """Return the system's text for the disk fault that caused an exception; None if the disk is not the cause.

    An error with a path outside the folder counts only if the folder cannot be written at this moment.
    """
    for each in _chain(error):
        if isinstance(each, OSError) and (number := _errno(each)) is not None:
            paths = [path for path in (each.filename, each.filename2) if isinstance(path, str | bytes | os.PathLike)]
            of_folder = any(_is_inside(path, folder) for path in paths) or (not paths and str(folder) in str(each))
            if (number in FULL and (of_folder or not paths)) or (number in GONE and of_folder):
                return os.strerror(number)  # not the text of a library
    return _write_error(folder)


def disk_error_remedy(reason: str) -> str:
    """Return the action that removes a disk fault, from the reason that `disk_error_reason` returns."""
    if reason in map(os.strerror, (errno.EMFILE, errno.ENFILE)):
        return "allow more open files (ulimit -n)"
    if reason in map(os.strerror, NOT_WRITABLE):
        return "make it writable"
    return "restore the folder" if reason in map(os.strerror, GONE) else "free some space"


def check_present(folder: Path) -> None:
    """Check that a study's folder still exists; an open file of it can be written long after the folder is gone.

    Raises:
        OSError: the folder was removed, renamed, unmounted or replaced by another one.
    """
    os.stat(folder / MANIFEST)


def lost_lock_reason(error: BaseException | None) -> str | None:
    """Return the message of the `LostLockError` that caused an exception; None if there is none."""
    return next((str(each) for each in _chain(error) if isinstance(each, LostLockError)), None)


def read_lock_state(folder: Path) -> tuple[int | None, ...]:
    """Return values that change when another process locks the folder, or when the folder is replaced."""
    state: list[int | None] = []
    for name in LOCK_FILES:
        try:
            found = os.stat(folder / name)
        except OSError:
            state += [None, None]
        else:  # the modification time of the lock itself also changes when a reader checks whether it is locked
            state += [found.st_ino, found.st_mtime_ns if name.endswith(".json") else None]
    return tuple(state)


def _write_error(folder: Path) -> str | None:
    """Return the reason why the folder cannot be written at this moment; None if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _errno(error: OSError) -> int | None:
    if error.errno is not None:
        return error.errno
    found = ARROW_ERRNO.search(str(error))
    return int(found[1]) if found else None


def _is_inside(path: str | bytes | os.PathLike[str], folder: Path) -> bool:
    name = os.path.abspath(os.fsdecode(path))
    roots = {os.path.abspath(folder), os.path.realpath(folder)}
    return any(name == root or name.startswith(os.path.join(root, "")) for root in roots)
