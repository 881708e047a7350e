"""Make a private folder for a Ray of this machine, remove it at the end, and remove those of studies that were killed.

Ray gives all users access to its folder, and never deletes it. A private parent folder prevents both. Its owner holds a
lock on the folder. The operating system releases the lock when the owner ends, so a folder without a lock is unused.
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
FOLDER_NAME = re.compile(re.escape(PREFIX) + "[a-z0-9_]{8}")
SYSTEM_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
SOCKET_NAME_LENGTH = len(f"/{PREFIX}abcdefgh/r/session_2026-11-27_07-33-23_121295_4194304/sockets/plasma_store")
MAX_SOCKET_PATH = 103 if sys.platform == "darwin" else 107  # bytes
REMOVAL_TIMEOUT = 3.0  # seconds
KILL_TIMEOUT = 10.0  # seconds


class FolderError(UserError):
    """No place is suitable for Ray's folder; the message is one line."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """Create a folder with a short path that only this user can enter, and remove it at the end.

    It is in RAY_TMPDIR, TMPDIR, a temporary folder of the system or XDG_RUNTIME_DIR: the first of them that is writable
    and in which other users cannot replace the folder.

    Raises:
        FolderError: none of them is suitable.
    """
    for base in _candidates():
        _remove_leftovers(base)
    folder, lock = _make_folder()
    try:
        yield folder
    finally:
        end_processes(folder)
        deadline = time.monotonic() + REMOVAL_TIMEOUT
        while folder.exists() and time.monotonic() < deadline:
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def end_processes(folder: Path) -> None:
    """Kill all processes that write into a folder: those of its Ray, and the processes that they started."""
    deadline = time.monotonic() + KILL_TIMEOUT
    while (found := _find_writers(folder)) and time.monotonic() < deadline:
        for process in found:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def _find_writers(folder: Path) -> list[int]:
    """Return the other processes that have opened a file in a folder for writing; none if the system has no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended, or belongs to another user
            if int(entry.name) != os.getpid() and _has_writable_file(entry / "fd", f"{folder}{os.sep}"):
                found.append(int(entry.name))
    return found


def _has_writable_file(descriptors: Path, prefix: str) -> bool:
    for entry in descriptors.iterdir():
        with suppress(FileNotFoundError):  # the file was closed
            if entry.lstat().st_mode & stat.S_IWUSR and os.readlink(entry).startswith(prefix):
                return True
    return False


def _make_folder() -> tuple[Path, int]:
    """Create a folder and lock it; return both."""
    for base in _candidates():
        try:
            part = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
            part.chmod(0o700)  # the umask may have removed some of these bits
            lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = part.with_name(part.name[1:])
        part.rename(folder)  # other studies only look at this name, so they never see the folder without its lock
        return folder, lock
    raise FolderError(
        "Ray: no folder is suitable for its sockets; it must be writable, belong to you or be sticky like /tmp, and "
        f"have a path of at most {MAX_SOCKET_PATH - SOCKET_NAME_LENGTH} bytes; name one in RAY_TMPDIR"
    )


def _candidates() -> list[Path]:
    """Return the suitable parent folders, best first."""
    named = [os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR")]
    found = [os.path.abspath(base) for base in (*named, *SYSTEM_FOLDERS, os.environ.get("XDG_RUNTIME_DIR")) if base]
    return [Path(base) for base in dict.fromkeys(found) if _is_suitable(base)]


def _is_suitable(base: str) -> bool:
    """Return whether the path of a folder is short enough, and other users cannot rename the files in it."""
    if len(os.fsencode(base)) + SOCKET_NAME_LENGTH > MAX_SOCKET_PATH:
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
            if FOLDER_NAME.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_leftover(Path(entry.path))


def _remove_leftover(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(lock)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
            return
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises BlockingIOError while the owner runs
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
