"""One writer at a time behind a URL: a lease, renewed as long as its owner lives, since storage there has no locks.

`lock.json` names the owner and a number that grows every few seconds. Whoever wants to write watches it: a number that
stands still is a dead owner's. No clocks are compared.
"""

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from search.lock import LockedError
from search.record import now
from search.wording import one_line
from stockrnn.files import FileError, json_data
from stockrnn.storage import RemoteFolder, StorageError

__all__ = ["Lease", "leased"]

NAME = "lock.json"
RENEWED = 5.0  # seconds
DEAD = 20.0  # seconds without a renewal
SETTLED = 1.0  # seconds in which another one, who saw the same dead owner, has written its own
MOST = 10_000  # bytes
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Lease:
    """The right to write into a folder, as long as `lost` is None.

    Attributes:
        lost: who has it now, once it is lost.
    """

    def __init__(self, storage: RemoteFolder) -> None:
        self.lost: str | None = None
        self._storage, self._beats, self._id = storage, 0, uuid.uuid4().hex
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self, waiting: Callable[[str], None]) -> None:
        """Take it, at once where nobody has it.

        Args:
            waiting: told in one line why that takes a while, where it does.

        Raises:
            LockedError: another process renews it.
            StorageError: the folder cannot be read or written.
        """
        first = self._read()
        if first and not _dead(first):
            waiting(f"{self._storage.place}: was written by {_owner(first)}; whether it still is shows in {DEAD:g} s")
            deadline = time.monotonic() + DEAD
            while time.monotonic() < deadline:
                time.sleep(RENEWED / 2)
                if not (found := self._read()):
                    break
                if found != first:
                    raise LockedError(self._held(found))
        self._write()
        if first:
            time.sleep(SETTLED)
            if (found := self._read()).get("id") != self._id:
                raise LockedError(self._held(found))
        self._thread.start()

    def release(self) -> None:
        """Give it back."""
        self._over.set()
        self._thread.join()
        if self.lost is None:
            with suppress(StorageError):  # it dies by itself
                self._storage.remove(NAME)

    def _held(self, found: dict[str, Any]) -> str:
        who = f"{self._storage.place}: is written by {_owner(found)}"
        return f"{who}; a study has one writer; wait for it to end, or end it"

    def _renew(self) -> None:
        while not self._over.wait(RENEWED):
            try:
                found = self._read()
                if found.get("id") not in (None, self._id):
                    self.lost = _owner(found)
                    return
                self._write()
            except StorageError:
                continue  # who uploads says so; another process may take the lease meanwhile, which is seen then

    def _read(self) -> dict[str, Any]:
        try:
            found = json_data(self._storage.read(NAME, MOST))
        except FileNotFoundError:
            return {}
        except FileError as error:
            raise StorageError(f"{self._storage.place}: {NAME} {error}") from None
        return found if isinstance(found, dict) else {}

    def _write(self) -> None:
        self._beats += 1
        owner = {"id": self._id, "pid": os.getpid(), "host": platform.node(), "boot": _boot(), "since": now()}
        self._storage.write(NAME, json.dumps(owner | {"beats": self._beats}).encode())


@contextmanager
def leased(storage: RemoteFolder, waiting: Callable[[str], None]) -> Iterator[Lease]:
    """Within: nobody else writes into the folder, as long as `lost` of what is yielded is None.

    Raises:
        LockedError: somebody writes there already; the line says who.
        StorageError: the folder cannot be read or written.
    """
    lease = Lease(storage)
    lease.take(waiting)
    try:
        yield lease
    finally:
        lease.release()


def _dead(found: dict[str, Any]) -> bool:
    """Whether the owner was a process of this machine, which is gone."""
    if found.get("boot") != _boot() or _boot() is None or type(found.get("pid")) is not int:
        return False
    if found["pid"] == os.getpid():  # this process was another program then
        return True
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _boot() -> str | None:
    """What tells one start of one machine from all others, and one container from those beside it."""
    try:
        return f"{BOOT.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _owner(found: dict[str, Any]) -> str:
    return one_line(
        f"process {found.get('pid')} on {str(found.get('host'))[:100]} since {str(found.get('since'))[:30]}"
    )
