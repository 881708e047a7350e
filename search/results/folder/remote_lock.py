"""One writer at a time behind a URL: a lease that its owner renews, since storage there has no locks.

`lock.json` names the owner, its generation (one more than that of the owner before) and a number that grows with each
renewal. Whoever wants to write watches it: an owner whose number stands still is dead. No clocks of two machines are
compared. A released lease stays, as `released`; one that is missing, or is another's, is lost.
"""

import json
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.common.messages import one_line
from search.results.event_log import now
from search.results.folder.lock import LockedError
from stockrnn.io.conditional import LOCK_NAME, ChangedError, ConditionalFolder
from stockrnn.io.files import FileError, parse_json
from stockrnn.io.storage import RemoteFolder, StorageError

__all__ = ["LEASE_FILES", "Lease", "LeaseView", "LostError", "leased"]

NAME = "lock.json"
LEASE_FILES = {NAME, LOCK_NAME}  # files of a folder in which nobody began a study
RENEWAL_SECONDS = 5.0  # seconds
VALID_SECONDS = 10.0  # seconds after a renewal in which its owner may write without another one
DEAD_SECONDS = 20.0  # seconds without a renewal
SETTLE_SECONDS = 1.0  # seconds in which another one, who saw the same dead owner, has written its own
MAX_LEASE_BYTES = 10_000  # bytes
BOOT = Path("/proc/sys/kernel/random/boot_id")
IDS: set[str] = set()  # of the leases of this program
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC_RAW if sys.platform == "darwin" else None)


class LostError(StorageError):
    """This process is no longer the study's writer."""


def clock() -> float:
    """Seconds that have passed, those of a suspended machine included."""
    return time.monotonic() if CLOCK is None else time.clock_gettime(CLOCK)


class Lease:
    """The right to write into a folder, as long as `lost` is None.

    Attributes:
        storage: the folder.
        lost: how it was lost: who writes there now.
        copy: which machine's copy of the study goes on where the folder ends; renewals carry it on.
    """

    def __init__(self, storage: ConditionalFolder) -> None:
        self.storage = storage
        self.lost: str | None = None
        self.copy: str | None = None
        self._id, self._generation, self._beats = uuid.uuid4().hex, 0, 0
        IDS.add(self._id)
        self._since, self._renewed = now(), clock()
        self._writing, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    @property
    def view(self) -> "LeaseView":
        """How the study's workers see whether it is theirs still."""
        return LeaseView(RemoteFolder(self.storage.place), self._id, self._generation)

    def take(self, waiting: Callable[[str], None]) -> None:
        """Take it, at once where nobody has it.

        Args:
            waiting: told in one line why that takes a while, where it does.

        Raises:
            LockedError: another process renews it.
            StorageError: the folder cannot be read or written.
        """
        place, found = self.storage.place, _read(self.storage)
        if why := self.storage.weakness:
            waiting(f"{place}: {why}; two writers that write in the same instant may not see each other")
        if found and not found.get("released") and not _dead(found):
            waiting(f"{place}: was written by {_owner(found)}; whether it still is shows in {DEAD_SECONDS:g} s")
            found = self._watch(found)
        generation, copy = found.get("generation"), found.get("copy")
        self._generation = generation + 1 if type(generation) is int else 1
        self.copy = copy if isinstance(copy, str) else None
        self._renewed = clock()
        try:
            self._write()
        except ChangedError:
            raise LockedError(self._held(_read(self.storage))) from None
        if found and self.storage.weakness:
            time.sleep(SETTLE_SECONDS)
            if not self.view.owns(found := _read(self.storage)):
                raise LockedError(self._held(found))
        self._thread.start()

    def name_copy(self, copy: str) -> None:
        """Set the machine's copy that the next renewals carry."""
        self.copy = copy

    def check(self) -> None:
        """See that this process may write, where its last renewal is too old by renewing it.

        Raises:
            LostError: it may not any more.
            StorageError: that cannot be known.
        """
        if self.lost:
            raise LostError(f"{self.storage.place}: {self.lost}")
        if clock() - self._renewed > VALID_SECONDS:
            self.renew()

    def renew(self) -> None:
        """Write the lease again, where it is this process's still.

        Raises:
            LostError: it is not.
            StorageError: that cannot be known.
        """
        with self._writing:
            began = clock()
            try:
                if self.lost is None:
                    self._write()
                    self._renewed = began
            except ChangedError:
                self.lost = self.view.lost(_read(self.storage))
                if self.lost is None:  # the same content in another file, as a backup leaves it
                    self._write()
                    self._renewed = began
            if self.lost:
                raise LostError(f"{self.storage.place}: {self.lost}")

    def release(self) -> None:
        """Give it back."""
        self._over.set()
        self._thread.join()
        if self.lost is None:
            with suppress(StorageError):  # it dies by itself, or is another's
                self._write(released=True)

    def _watch(self, first: dict[str, Any]) -> dict[str, Any]:
        """What is there once its owner has been dead for long enough, or has released it."""
        deadline = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < deadline:
            time.sleep(RENEWAL_SECONDS / 2)
            found = _read(self.storage)
            if not found or found.get("released"):
                return found
            if found != first:
                raise LockedError(self._held(found))
        return first

    def _held(self, found: dict[str, Any]) -> str:
        who = f"{self.storage.place}: is written by {_owner(found)}"
        return f"{who}; a study has one writer; wait for it to end, or end it"

    def _run(self) -> None:
        while not self._over.wait(RENEWAL_SECONDS):
            try:
                self.renew()
            except LostError:
                return
            except StorageError:
                continue  # who uploads says so; another process may take the lease meanwhile, which is seen then

    def _write(self, *, released: bool = False) -> None:
        self._beats += 1
        lease = {
            "id": self._id, "generation": self._generation, "released": released, "copy": self.copy,
            "pid": os.getpid(), "host": platform.node(), "boot": _boot(), "since": self._since, "beats": self._beats,
        }  # fmt: skip
        self.storage.write(NAME, json.dumps(lease).encode())


@dataclass(frozen=True)
class LeaseView:
    """A lease as processes beside its owner see it."""

    storage: RemoteFolder
    id: str
    generation: int

    def check(self) -> None:
        """See that the lease is its owner's still.

        Raises:
            LostError: it is not.
            StorageError: that cannot be known.
        """
        if lost := self.lost(_read(self.storage)):
            raise LostError(f"{self.storage.place}: {lost}")

    def owns(self, found: dict[str, Any]) -> bool:
        """Whether that is its content."""
        return (found.get("id"), found.get("generation")) == (self.id, self.generation) and not found.get("released")

    def lost(self, found: dict[str, Any]) -> str | None:
        """Who has it, where its content is another's."""
        if self.owns(found):
            return None
        if not found:
            return f"its {NAME} is gone, by which a study has one writer; go on with --resume {self.storage.place}"
        since = "was written by" if found.get("released") else "is written by"
        ending = "meanwhile" if found.get("released") else "now"
        return f"{since} {_owner(found)} {ending}; a study has one writer; this process had stood still for too long"


@contextmanager
def leased(storage: ConditionalFolder, waiting: Callable[[str], None]) -> Iterator[Lease]:
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


def _read(storage: RemoteFolder) -> dict[str, Any]:
    try:
        found = parse_json(storage.read(NAME, MAX_LEASE_BYTES))
    except FileNotFoundError:
        return {}
    except FileError as error:
        raise StorageError(f"{storage.place}: {NAME} {error}") from None
    return found if isinstance(found, dict) else {}


def _dead(found: dict[str, Any]) -> bool:
    """Whether the owner was a process of this machine, which is gone."""
    if found.get("boot") != _boot() or _boot() is None or type(found.get("pid")) is not int:
        return False
    if found["pid"] == os.getpid():  # of the program that this process ran before it was restarted, if not of this one
        return found.get("id") not in IDS
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
    if not found:
        return "another process"
    return one_line(
        f"process {found.get('pid')} on {str(found.get('host'))[:100]} since {str(found.get('since'))[:30]}"
    )
