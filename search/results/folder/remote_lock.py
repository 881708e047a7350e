"""Lock a results folder behind a URL with a lease that its owner renews, because object storage has no locks.

`lock.json` has the owner, its generation (one more than that of the previous owner) and a number that grows with each
renewal. Another process watches this number: if it does not grow, the owner is dead. So the clocks of two machines are
never compared. A released lease stays in the file, marked `released`. A lease that is missing, or belongs to another
owner, is lost.
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
    """Return elapsed seconds, including the time in which the machine was suspended."""
    return time.monotonic() if CLOCK is None else time.clock_gettime(CLOCK)


class Lease:
    """The right to write into a folder, while `lost` is None.

    Attributes:
        storage: the folder.
        lost: why it was lost; None while it is valid.
        copy: id of the local copy that is in step with the folder; renewals keep it.
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
        """The lease for workers, which only check it."""
        return LeaseView(RemoteFolder(self.storage.place), self._id, self._generation)

    def take(self, waiting: Callable[[str], None]) -> None:
        """Acquire the lease; this takes a while if another process may have it.

        Args:
            waiting: called with one line if it takes a while.

        Raises:
            LockedError: another process renews it.
            StorageError: the folder cannot be read or written.
        """
        place, found = self.storage.place, _read(self.storage)
        if why := self.storage.weakness:
            waiting(f"{place}: {why}; two writers that write in the same instant may not see each other")
        if found and not found.get("released") and not _dead(found):
            waiting(f"{place}: was written by {_owner(found)}; waiting {DEAD_SECONDS:g} s to see whether it still runs")
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
        """Check that this process may write; renew the lease if the last renewal is too old.

        Raises:
            LostError: another process has the lease.
            StorageError: the storage does not answer.
        """
        if self.lost:
            raise LostError(f"{self.storage.place}: {self.lost}")
        if clock() - self._renewed > VALID_SECONDS:
            self.renew()

    def renew(self) -> None:
        """Renew the lease.

        Raises:
            LostError: another process has it.
            StorageError: the storage does not answer.
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
        """Release the lease."""
        self._over.set()
        self._thread.join()
        if self.lost is None:
            with suppress(StorageError):  # it dies by itself, or is another's
                self._write(released=True)

    def _watch(self, first: dict[str, Any]) -> dict[str, Any]:
        """Wait until the owner has released the lease or is dead, and return the lease."""
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
                continue  # the uploads report it; a lease that was taken meanwhile is noticed at the next renewal

    def _write(self, *, released: bool = False) -> None:
        self._beats += 1
        lease = {
            "id": self._id, "generation": self._generation, "released": released, "copy": self.copy,
            "pid": os.getpid(), "host": platform.node(), "boot": _boot(), "since": self._since, "beats": self._beats,
        }  # fmt: skip
        self.storage.write(NAME, json.dumps(lease).encode())


@dataclass(frozen=True)
class LeaseView:
    """A lease as seen by other processes than its owner."""

    storage: RemoteFolder
    id: str
    generation: int

    def check(self) -> None:
        """Check that the lease belongs to its owner.

        Raises:
            LostError: it is not.
            StorageError: the storage does not answer.
        """
        if lost := self.lost(_read(self.storage)):
            raise LostError(f"{self.storage.place}: {lost}")

    def owns(self, found: dict[str, Any]) -> bool:
        """Return whether the content of `lock.json` is this lease."""
        return (found.get("id"), found.get("generation")) == (self.id, self.generation) and not found.get("released")

    def lost(self, found: dict[str, Any]) -> str | None:
        """Return who has the lease, or None if it still belongs to its owner."""
        if self.owns(found):
            return None
        if not found:
            fix = f"continue with --resume {self.storage.place}"
            return f"its {NAME} is missing; it ensures that a study has one writer; {fix}"
        since = "was written by" if found.get("released") else "is written by"
        ending = "meanwhile" if found.get("released") else "now"
        return f"{since} {_owner(found)} {ending}; a study has one writer; this process was suspended for too long"


@contextmanager
def leased(storage: ConditionalFolder, waiting: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease within the context; nobody else writes into the folder while `lost` of the lease is None.

    Raises:
        LockedError: another process writes there; the line names it.
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
    """Return whether the owner was a process of this machine that has ended."""
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
    """Return the boot ID and the PID namespace of this machine; None if they are unknown."""
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
