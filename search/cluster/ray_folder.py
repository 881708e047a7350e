"""Make a private folder for a Ray of this machine, remove it at the end, and remove those of studies that were killed.

Ray opens its own folders to everybody and keeps them for ever; below this one nobody else reaches them. Its owner
holds a lock on the folder, which the system releases when the owner dies: a folder without one may go.
"""

import fcntl
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.common.errors import UserError

__all__ = ["FolderError", "end_processes", "private_folder"]

PREFIX = "stockrnn-"
NAME = re.compile(re.escape(PREFIX) + "[a-z0-9_]{8}")
SYSTEM = ("/tmp", "/var/tmp", "/dev/shm")
BELOW = len(f"/{PREFIX}abcdefgh/r/session_2026-11-27_07-33-23_121295_4194304/sockets/plasma_store")
MAX_PATH = 103 if sys.platform == "darwin" else 107  # bytes of a Unix socket's path
REMOVAL = 3.0  # seconds
KILLING = 10.0  # seconds


class FolderError(UserError):
    """There is no place for Ray's folder, in one line."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """Within: a new folder that only this user can enter, with a short path.

    It lies below RAY_TMPDIR, TMPDIR or XDG_RUNTIME_DIR, or where the system keeps temporary files: the first of them
    that can be written, and where nobody else can exchange the folder.

    Raises:
        FolderError: there is none.
    """
    for base in _bases():
        _remove_leftovers(base)
    folder, lock = _made()
    try:
        yield folder
    finally:
        end_processes(folder)
        deadline = time.monotonic() + REMOVAL
        while folder.exists() and time.monotonic() < deadline:
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def end_processes(folder: Path) -> None:
    """Kill all processes that write into a folder: those of the Ray that lives there, and what they started."""
    deadline = time.monotonic() + KILLING
    while (found := _processes(folder)) and time.monotonic() < deadline:
        for process in found:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def _processes(folder: Path) -> list[int]:
    """The other processes that have a file in a folder open for writing; none where the system has no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if int(entry.name) != os.getpid() and _writes(entry / "fd", f"{folder}{os.sep}"):
                found.append(int(entry.name))
    return found


def _writes(open_files: Path, inside: str) -> bool:
    for entry in open_files.iterdir():
        with suppress(FileNotFoundError):  # it is closed
            if entry.lstat().st_mode & stat.S_IWUSR and os.readlink(entry).startswith(inside):
                return True
    return False


def _made() -> tuple[Path, int]:
    """A new folder, and the lock on it."""
    for base in _bases():
        try:
            part = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
            part.chmod(0o700)  # whatever the umask takes away
            lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = part.with_name(part.name[1:])
        part.rename(folder)  # from now on who finds it finds the lock, too
        return folder, lock
    raise FolderError(
        "Ray: finds no folder for its sockets; it needs a folder of yours or a common one like /tmp, with a path of at "
        f"most {MAX_PATH - BELOW} bytes, that can be written; name one in RAY_TMPDIR"
    )


def _bases() -> list[Path]:
    """Where the folder may lie, best first."""
    named = [os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR")]
    found = [os.path.abspath(base) for base in (*named, *SYSTEM, os.environ.get("XDG_RUNTIME_DIR")) if base]
    return [Path(base) for base in dict.fromkeys(found) if _serves(base)]


def _serves(base: str) -> bool:
    """Whether a folder is near enough to the root, and its files are safe from other users."""
    if len(os.fsencode(base)) + BELOW > MAX_PATH:
        return False
    try:
        status = os.stat(base)
    except (OSError, ValueError):
        return False
    shared = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.geteuid()) and not shared


def _remove_leftovers(base: Path) -> None:
    """Remove the folders of this user's studies that were killed."""
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if NAME.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_leftover(Path(entry.path))


def _remove_leftover(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(lock)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
            return
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its owner lives
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
