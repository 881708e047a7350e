"""Lock a results folder for one process, and name the process that has the lock."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from search.common.disk import LOCK_FILES, read_lock_state
from search.common.errors import UserError
from search.results.event_log import now
from stockrnn.io.files import parse_json, read_bytes, write_atomic

__all__ = ["LockedError", "check_free", "is_locked", "locked"]

NAME, OWNER = LOCK_FILES
MAX_OWNER_BYTES = 10_000


class LockedError(UserError):
    """Another process writes into the results folder."""


@contextmanager
def locked(folder: Path, becomes: Path | None = None) -> Iterator[None]:
    """Lock the folder within the context. The system releases the lock when the process ends.

    Args:
        folder: it exists.
        becomes: the path to which it is renamed within the context.

    Raises:
        LockedError: another process has the lock.
        OSError: the folder cannot be written.
    """
    for path in (folder / NAME, folder / OWNER):  # a pipe would block, a link may lead out of the folder
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise LockedError(f"{path}: is no plain file; a study writes its own there; remove it")
    lock, state = FileLock(folder / NAME), None
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(_said(folder, str(folder))) from None
    try:
        owner = {"pid": os.getpid(), "host": platform.node(), "since": now()}
        write_atomic(folder / OWNER, (json.dumps(owner) + "\n").encode())
        state = read_lock_state(folder)
        yield
    finally:
        # Otherwise another process has taken over the folder.
        if state is None or read_lock_state(becomes or folder) == state:
            for path in (becomes or folder) / OWNER, (becomes or folder) / NAME:
                with suppress(OSError):  # of a disk that has gone; without an owner they lock nothing
                    path.unlink()
        lock.release()


def check_free(folder: Path, place: str) -> None:
    """Check that no process of this machine writes into the folder; `place` names it in errors.

    Raises:
        LockedError: one does.
    """
    if is_locked(folder):
        raise LockedError(_said(folder, place))


def is_locked(folder: Path) -> bool:
    """Return whether a process of this machine has the lock."""
    path = folder / NAME
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _said(folder: Path, place: str) -> str:
    return f"{place}: is written by {_owner(folder)}; a study has one writer; wait for it to end, or end it"


def _owner(folder: Path) -> str:
    try:
        owner = parse_json(read_bytes(folder / OWNER, MAX_OWNER_BYTES))
        return f"process {int(owner['pid'])} on {str(owner['host'])[:100]} since {str(owner['since'])[:30]}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"
