"""Copy a study to a URL: it is written on this machine, and new files are uploaded about every second.

The upload order makes the study resumable at any moment: forecasts come before the event log, and the manifest comes
last. The local copy stays: a resume on the same machine loses nothing, and on another machine the last seconds run
again. A process that was suspended while another one took over the study writes nothing more to the URL: it renews its
lease before each upload, and replaces only files that have not changed since its last upload.
"""

import hashlib
import os
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import platformdirs

from search.common.disk import check_present
from search.common.messages import one_line
from search.results.event_log import TRIAL_ID
from search.results.folder.lock import LockedError, check_free
from search.results.folder.remote_lock import Lease, LeaseView, LostError, leased
from stockrnn.io.conditional import LOCK_NAME, ChangedError, ConditionalFolder
from stockrnn.io.files import TEMPORARY_NAME, write_atomic
from stockrnn.io.storage import MAX_FILE_BYTES, StorageError, join_path
from stockrnn.training.checkpoint import delete_checkpoints

__all__ = ["MANIFEST", "Mirror", "mirrored", "work_folder"]

CHECKPOINTS = "checkpoints"  # workers write there themselves
LOCAL_NAMES = {"ray", CHECKPOINTS, "lock", "lock.json", LOCK_NAME}  # of this machine
COPY_NAME = ".copy"  # names this machine's copy of the study, on this machine alone
RECORD, MANIFEST = "trials.jsonl", "manifest.json"
FORECASTS = "predictions.parquet"
REMOVED = {FORECASTS, "forecasters"}  # folders of which a study itself removes files
STREAM = ".stream.arrows"
MIN_PAUSE = 1.0  # seconds between two looks at what is new
PAUSE_FACTOR = 20  # times as long as the last took
MAX_PAUSE = 30.0  # seconds, also where the storage does not answer
MAX_TRIES = 10  # looks at forecasts that change meanwhile


class GoneError(StorageError):
    """The local copy of the study has disappeared."""


class Mirror:
    """Keeps the folder behind a URL equal to the local copy.

    Args:
        url: the study's, with its name.
        folder: on this machine.
        lease: on the URL.
        say: called with one line for the user.

    Attributes:
        kept: trials whose checkpoints were behind the URL at the start.
    """

    def __init__(self, url: str, folder: Path, lease: Lease, say: Callable[[str], None]) -> None:
        self.url, self.folder = url, folder
        self.kept: frozenset[str] = frozenset()
        self._storage, self._lease = lease.storage, lease
        self._sent: dict[str, tuple[int, ...]] = {}
        self._stored = _summary(b"")  # the record's hash and size behind the URL
        self._there: set[str] = set()
        self._deletions: deque[str] = deque()
        self._at_once, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._said = say
        self._stop: Callable[[str], None] = lambda text: None
        self._silent = False

    @property
    def checkpoints(self) -> str:
        """The URL of the checkpoints."""
        return join_path(self.url, CHECKPOINTS)

    @property
    def lease(self) -> LeaseView:
        """The lease for workers, which only check it."""
        return self._lease.view

    def clear(self) -> None:
        """Remove the local copy before a new study."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)

    def fetch(self) -> None:
        """Download the study, unless the local copy is ahead of it.

        Raises:
            StorageError: the URL cannot be read.
        """
        names = self._storage.names()
        record = self._storage.read_required(RECORD) if RECORD in names else b""
        if MANIFEST in names:
            self._storage.read_required(MANIFEST)  # whose version is replaced
        ahead = MANIFEST in names and (self.folder / MANIFEST).exists() and self._ahead(record)
        self._there = {name for name in names if _top(name) not in LOCAL_NAMES}
        kept = (name.split("/")[1] for name in names if _top(name) == CHECKPOINTS and "/" in name)
        self.kept = frozenset(filter(TRIAL_ID.fullmatch, kept))
        if not ahead:
            self._put_aside(record)
            self._storage.copy(self._there, self.folder)
            self._sent = self._found()
        self._stored = _summary(record[: record.rfind(b"\n") + 1])

    def begin(self, say: Callable[[str], None], stop: Callable[[str], None]) -> None:
        """Start to upload new files.

        Args:
            say: called with one line for the user.
            stop: called with the reason if the study must end.

        Raises:
            LockedError: another process writes there now.
            StorageError: the URL cannot be written.
        """
        self._said, self._stop = say, stop
        if not (self.folder / COPY_NAME).exists():
            write_atomic(self.folder / COPY_NAME, uuid.uuid4().hex.encode())
        self._lease.name_copy((self.folder / COPY_NAME).read_text())
        try:
            self._up()
        except LostError as error:
            raise LockedError(str(error)) from None
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._thread.start()

    def delete_checkpoints(self, trial_id: str) -> None:
        """Delete the checkpoints of a trial with the next upload."""
        self._deletions.append(trial_id)

    def end(self) -> str | None:
        """Upload all new files and stop; return why that failed, else None."""
        self.close()
        return self.publish()

    def publish(self) -> str | None:
        """Upload all new files now; return why that failed, else None."""
        for wait in (0, 1, 5, 15):
            time.sleep(wait)
            try:
                self._up()
                return None
            except LostError as error:
                return self._lost(error)
            except GoneError as error:
                return str(error)
            except StorageError as error:
                said = str(error)
        fix = f"continue with --resume {self.url} on this machine"
        return f"{said}; files that are not uploaded yet are in {self.folder}; {fix}"

    def close(self) -> None:
        """Stop the uploads."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = MIN_PAUSE
        while not self._over.wait(pause):
            began = time.monotonic()
            try:
                self._up()
            except (LostError, GoneError) as error:
                self._stop(self._lost(error) if isinstance(error, LostError) else str(error))
                return
            except StorageError as error:
                if not self._silent:
                    self._said(f"{error}; the study continues; its files are in {self.folder} until then")
                self._silent, pause = True, MAX_PAUSE
                continue
            if self._silent:
                self._said(f"{self.url}: can be written again; all files are uploaded")
            self._silent = False
            pause = min(MAX_PAUSE, max(MIN_PAUSE, PAUSE_FACTOR * (time.monotonic() - began)))

    def _lost(self, error: LostError) -> str:
        return f"{error}; its files are in {self.folder}"

    def _up(self) -> None:
        """Upload new files, in an order that keeps the study resumable."""
        with self._at_once:
            self._lease.check()
            try:
                record, files, manifest = self._record(), self._stable(), _content(self.folder / MANIFEST)
            except OSError as error:
                if isinstance(error, StorageError):
                    raise
                raise self._gone(error) from None
            gone = sorted(name for name in self._there - files.keys() if self._removes(name))
            if record is not None or gone or self._deletions or any(new for _, new in files.values()):
                self._lease.renew()  # no clock shows that a virtual machine stood still
            for name, (key, content) in files.items():
                self._send(name, key, content)
            for name in gone:
                self._check_copy()  # a copy that disappears takes nothing with it
                self._lease.check()
                self._storage.remove(name)
                self._there.discard(name)
                self._sent.pop(name, None)
            if record is not None:
                self._send(RECORD, (len(record),), record)
                self._stored = _summary(record)
            self._send(MANIFEST, *manifest)
            while self._deletions:
                self._lease.check()
                if said := delete_checkpoints(join_path(self.checkpoints, self._deletions[0])):
                    raise StorageError(said)
                self._deletions.popleft()

    def _removes(self, name: str) -> bool:
        return _top(name) in REMOVED or TEMPORARY_NAME.fullmatch(PurePosixPath(name).name) is not None

    def _check_copy(self) -> None:
        try:
            check_present(self.folder)
        except OSError as error:
            raise self._gone(error) from None

    def _gone(self, error: OSError) -> GoneError:
        return GoneError(
            f"{self.folder}: has disappeared ({error.strerror}); a study needs its local copy while it runs; all "
            f"uploaded files are safe; continue with --resume {self.url}"
        )

    def _record(self) -> bytes | None:
        """Return the event log up to its last complete line; None if it has not grown."""
        path = self.folder / RECORD
        if not path.exists() or self._sent.get(RECORD) == (path.stat().st_size,):
            return None
        content = path.read_bytes()
        if _summary(content[: self._stored[1]]) != self._stored:
            raise LostError(f"{path}: does not continue {join_path(self.url, RECORD)}; an event log only grows")
        return content[: content.rfind(b"\n") + 1]

    def _stable(self) -> dict[str, tuple[tuple[int, ...], bytes | None]]:
        """Return a consistent snapshot of all files but event log and manifest, with the content of new ones."""
        for _ in range(MAX_TRIES):
            before = self._found()
            try:
                files = {
                    name: (key, None if self._sent.get(name) == key else (self.folder / name).read_bytes())
                    for name, key in before.items()
                }
            except FileNotFoundError:
                continue
            after = self._found()
            if [name for name in before if _top(name) == FORECASTS] == [
                name for name in after if _top(name) == FORECASTS
            ]:
                return files
        raise StorageError(f"{self.url}: forecasts change faster than they can be read")

    def _found(self) -> dict[str, tuple[int, ...]]:
        """Return the local files by name, with inode, time and size."""
        found: dict[str, tuple[int, ...]] = {}
        for root, folders, names in os.walk(self.folder):
            inside = Path(root).relative_to(self.folder)
            folders[:] = sorted(name for name in folders if inside.parts or name not in LOCAL_NAMES)
            for name in sorted(names):
                path = Path(root, name)
                known = name == STREAM or not (name.startswith(".") or name.endswith(".part"))
                if not known or path.is_symlink() or (not inside.parts and name in LOCAL_NAMES | {RECORD, MANIFEST}):
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                found[(inside / name).as_posix()] = (status.st_ino, status.st_mtime_ns, status.st_size)
        return found

    def _send(self, name: str, key: tuple[int, ...], content: bytes | None) -> None:
        if content is None or self._sent.get(name) == key:
            return
        self._lease.check()
        try:
            self._storage.write(name, content)
        except ChangedError as error:
            self._lease.renew()
            if name in (RECORD, MANIFEST):
                raise LostError(f"{error}; a study has one writer; continue with --resume {self.url}") from None
            with suppress(FileNotFoundError):  # any program may write a report there, and remove it
                self._storage.read(name, MAX_FILE_BYTES)
            self._storage.write(name, content)
        self._sent[name] = key
        self._there.add(name)

    def _ahead(self, record: bytes) -> bool:
        """Return whether the local copy uploaded last, and its event log continues the uploaded one."""
        try:
            ours = (self.folder / COPY_NAME).read_text() == self._lease.copy
        except FileNotFoundError:
            return False
        return ours and self._own().startswith(record)

    def _own(self) -> bytes:
        path = self.folder / RECORD
        content = path.read_bytes() if path.exists() else b""
        return content[: content.rfind(b"\n") + 1]

    def _put_aside(self, record: bytes) -> None:
        """Remove the local copy; rename it instead if its event log has lines that the URL lacks."""
        if not record.startswith(self._own()):
            aside = self.folder.with_name(f"{self.folder.name}.{uuid.uuid4().hex[:8]}")
            self.folder.rename(aside)
            self._said(f"{self.url}: continues from the uploaded files; newer local files are in {aside}")
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def mirrored(url: str, waiting: Callable[[str], None]) -> Iterator[Mirror]:
    """Mirror a study to a URL within the context; nobody else writes to the URL.

    Raises:
        LockedError: another process does.
        StorageError: the URL cannot be read or written.
    """
    check_free(work_folder(url), url)
    with leased(ConditionalFolder(url), waiting) as lease:
        mirror = Mirror(url, work_folder(url), lease, waiting)
        try:
            yield mirror
        finally:
            mirror.close()


def work_folder(url: str) -> Path:
    """Return the folder of the local copy of a study behind a URL."""
    name = one_line(PurePosixPath(url.partition("?")[0]).name)
    return _cache() / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def _content(path: Path) -> tuple[tuple[int, ...], bytes]:
    status = path.stat()
    return (status.st_ino, status.st_mtime_ns, status.st_size), path.read_bytes()


def _summary(content: bytes) -> tuple[bytes, int]:
    return hashlib.sha256(content).digest(), len(content)


def _top(name: str) -> str:
    return name.partition("/")[0]


def _cache() -> Path:
    return platformdirs.user_cache_path("stockrnn-search", appauthor=False) / "studies"
