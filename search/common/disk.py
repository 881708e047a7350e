"""Tell whether an error means that the disk of a study's folder is full, read-only or gone."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from search.common.errors import UserError

__all__ = [
    "LOCK_FILES",
    "DiskError",
    "LostLockError",
    "SpareHandles",
    "check_present",
    "disk_error_reason",
    "disk_error_remedy",
    "lost_lock_reason",
    "read_lock_state",
    "write_error_reason",
]  # fmt: skip

LOCK_FILES = ("lock", "lock.json")  # the lock on a study's folder, and who holds it

FULL = {  # whatever file it was, the next one cannot be written either
    errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EROFS, errno.ESTALE,
}  # fmt: skip
GONE = {  # of a disk only where the path says so: any file may be missing, and any host silent
    errno.EACCES, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ELOOP, errno.ENODEV, errno.ENOENT, errno.ENOTCONN,
    errno.ENOTDIR, errno.ENXIO, errno.EPERM, errno.ETIMEDOUT,
}  # fmt: skip
ARROWS = re.compile(r"\[errno (\d+)\]", re.IGNORECASE)  # Arrow tells the number in words only
MANIFEST = "manifest.json"


class DiskError(UserError):
    """A folder cannot be written, in one line."""


class SpareHandles:
    """File handles held in reserve: a process that has no other left needs some to end cleanly."""

    def __init__(self, count: int) -> None:
        self._handles = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(count)]

    def release(self) -> None:
        """Close them all."""
        while self._handles:
            os.close(self._handles.pop())


def disk_error_reason(error: BaseException | None, folder: Path) -> str | None:
    """Return what failed of the disk of a folder where an exception comes from that, in the system's words; else None.

    An error of another path is not the folder's, unless the folder cannot be written at this moment.
    """
    for each in _chain(error):
        if isinstance(each, OSError) and (number := _number(each)) is not None:
            paths = [path for path in (each.filename, each.filename2) if isinstance(path, str | bytes | os.PathLike)]
            of_folder = any(_inside(path, folder) for path in paths) or (not paths and str(folder) in str(each))
            if (number in FULL and (of_folder or not paths)) or (number in GONE and of_folder):
                return os.strerror(number)  # libraries have words of their own
    return write_error_reason(folder)


def disk_error_remedy(why: str) -> str:
    """Return what the user can do about a disk that failed, by what `cause` returned."""
    if why in map(os.strerror, (errno.EMFILE, errno.ENFILE)):
        return "allow more open files (ulimit -n)"
    return "put it back there" if why in map(os.strerror, GONE - {errno.EACCES, errno.EPERM}) else "make room"


def check_present(folder: Path) -> None:
    """Check that a study's folder is where it was: a file that is open can be written long after it is gone.

    Raises:
        OSError: it was removed, renamed or unmounted, also where another program has made a folder in its place.
    """
    os.stat(folder / MANIFEST)


def write_error_reason(folder: Path) -> str | None:
    """Return why nothing can be written into a folder at this moment; None: it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


class LostLockError(OSError):
    """Another process writes into the study's folder, in one line."""


def lost_lock_reason(error: BaseException | None) -> str | None:
    """What an exception says that comes from a folder that another process writes into; else None."""
    while error is not None:
        if isinstance(error, LostLockError):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


def read_lock_state(folder: Path) -> tuple[int | None, ...]:
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


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: OSError) -> int | None:
    if error.errno is not None:
        return error.errno
    found = ARROWS.search(str(error))
    return int(found[1]) if found else None


def _inside(path: str | bytes | os.PathLike[str], folder: Path) -> bool:
    name = os.path.abspath(os.fsdecode(path))
    roots = {os.path.abspath(folder), os.path.realpath(folder)}
    return any(name == root or name.startswith(os.path.join(root, "")) for root in roots)
