"""A study whose folder is behind a URL: it is written on this machine, and what is new goes there a second later.

The order in which files go up makes every moment one from which a study goes on: what the record says has ended has
its forecasts, and the manifest comes last. This machine keeps its copy: where it was ahead when the process was
killed, a resume on the same machine loses nothing; on another one the last seconds run again.
"""

import hashlib
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import platformdirs

from search.lease import Lease, leased
from search.record import TRIAL_ID
from search.wording import one_line
from stockrnn.checkpoint import forget
from stockrnn.storage import RemoteFolder, StorageError, joined

__all__ = ["MANIFEST", "Mirror", "mirrored", "work_folder"]

CHECKPOINTS = "checkpoints"  # workers write there themselves
OURS = {"ray", CHECKPOINTS, "lock", "lock.json"}  # of this machine
RECORD, MANIFEST = "trials.jsonl", "manifest.json"
FORECASTS = "predictions.parquet"
STREAM = ".stream.arrows"
PAUSE = 1.0  # seconds between two looks at what is new
COST = 20  # times as long as the last took
LONGEST = 30.0  # seconds, also where the storage does not answer
TRIES = 10  # looks at forecasts that change meanwhile


class Mirror:
    """Keeps a study's folder behind a URL as it is on this machine.

    Args:
        url: the study's, with its name.
        folder: on this machine.
        lease: on the URL.

    Attributes:
        kept: the trials that had checkpoints there when it was fetched.
    """

    def __init__(self, url: str, folder: Path, lease: Lease) -> None:
        self.url, self.folder = url, folder
        self.kept: frozenset[str] = frozenset()
        self._storage, self._lease = RemoteFolder(url), lease
        self._sent: dict[str, tuple[int, ...]] = {}
        self._there: set[str] = set()
        self._forgotten: deque[str] = deque()
        self._at_once, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._said: Callable[[str], None] = lambda text: None
        self._stop: Callable[[str], None] = lambda text: None
        self._silent = False

    @property
    def checkpoints(self) -> str:
        """Where trials keep theirs."""
        return joined(self.url, CHECKPOINTS)

    def clear(self) -> None:
        """Make room on this machine for a study that is new."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)

    def fetch(self) -> None:
        """Make this machine's folder what a study goes on from.

        Raises:
            StorageError: the URL cannot be read.
        """
        names = self._storage.names()
        ahead = MANIFEST in names and (self.folder / MANIFEST).exists() and self._ahead(names)
        self._there = {name for name in names if _top(name) not in OURS}
        kept = (name.split("/")[1] for name in names if _top(name) == CHECKPOINTS and "/" in name)
        self.kept = frozenset(filter(TRIAL_ID.fullmatch, kept))
        if not ahead:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._storage.copy(self._there, self.folder)
            self._sent = self._found()

    def begin(self, say: Callable[[str], None], stop: Callable[[str], None]) -> None:
        """Bring up what is new from now on.

        Args:
            say, stop: told in one line what the user should know, and why the study must end.

        Raises:
            StorageError: the URL cannot be written.
        """
        self._said, self._stop = say, stop
        self._up()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._thread.start()

    def forget(self, trial_id: str) -> None:
        """Remove a trial's checkpoints, soon."""
        self._forgotten.append(trial_id)

    def end(self) -> str | None:
        """Bring up the last that is new; returns why it could not be, else None."""
        self.close()
        for wait in (0, 1, 5, 15):
            time.sleep(wait)
            try:
                self._up()
                return None
            except StorageError as error:
                said = str(error)
            if self._lease.lost:
                break
        return f"{said}; what is not there yet is kept in {self.folder}; go on with --resume {self.url} on this machine"

    def close(self) -> None:
        """Bring nothing up any more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = PAUSE
        while not self._over.wait(pause):
            began = time.monotonic()
            try:
                self._up()
            except StorageError as error:
                if self._lease.lost:
                    self._stop(str(error))
                    return
                if not self._silent:
                    self._said(f"{error}; the study goes on and is kept in {self.folder} meanwhile")
                self._silent, pause = True, LONGEST
                continue
            if self._silent:
                self._said(f"{self.url}: is written again, nothing is missing there")
            self._silent = False
            pause = min(LONGEST, max(PAUSE, COST * (time.monotonic() - began)))

    def _up(self) -> None:
        """Bring up what is new, in an order that a study can go on from at any moment."""
        with self._at_once:
            if self._lease.lost:
                raise StorageError(f"{self.url}: is written by {self._lease.lost} now; a study has one writer")
            record = self._record()
            files = self._stable()
            for name, (key, content) in files.items():
                self._send(name, key, content)
            for name in sorted(self._there - files.keys() - {RECORD, MANIFEST}):
                self._storage.remove(name)
                self._there.discard(name)
                self._sent.pop(name, None)
            if record is not None:
                self._send(RECORD, (len(record),), record)
            self._send(MANIFEST, *_content(self.folder / MANIFEST))
            while self._forgotten:
                if said := forget(joined(self.checkpoints, self._forgotten[0])):
                    raise StorageError(said)
                self._forgotten.popleft()

    def _record(self) -> bytes | None:
        """The record up to its last whole line; None where it has not grown."""
        path = self.folder / RECORD
        if not path.exists() or self._sent.get(RECORD) == (path.stat().st_size,):
            return None
        content = path.read_bytes()
        return content[: content.rfind(b"\n") + 1]

    def _stable(self) -> dict[str, tuple[tuple[int, ...], bytes | None]]:
        """All files but record and manifest, with their content where it is new, as they were at one moment."""
        for _ in range(TRIES):
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
        """Files by name, and what tells one content from another."""
        found: dict[str, tuple[int, ...]] = {}
        for root, folders, names in os.walk(self.folder):
            inside = Path(root).relative_to(self.folder)
            folders[:] = sorted(name for name in folders if inside.parts or name not in OURS)
            for name in sorted(names):
                path = Path(root, name)
                known = name == STREAM or not (name.startswith(".") or name.endswith(".part"))
                if not known or path.is_symlink() or (not inside.parts and name in OURS | {RECORD, MANIFEST}):
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
        self._storage.write(name, content)
        self._sent[name] = key
        self._there.add(name)

    def _ahead(self, names: dict[str, int]) -> bool:
        """Whether this machine's record goes on where the one behind the URL ends."""
        path = self.folder / RECORD
        here = path.read_bytes() if path.exists() else b""
        return here.startswith(self._storage.content(RECORD) if RECORD in names else b"")


@contextmanager
def mirrored(url: str, waiting: Callable[[str], None]) -> Iterator[Mirror]:
    """Within: a mirror of a study behind a URL, which nobody else writes to.

    Raises:
        LockedError: another process does.
        StorageError: the URL cannot be read or written.
    """
    with leased(RemoteFolder(url), waiting) as lease:
        mirror = Mirror(url, work_folder(url), lease)
        try:
            yield mirror
        finally:
            mirror.close()


def work_folder(url: str) -> Path:
    """Where this machine keeps a study that is behind a URL."""
    name = one_line(PurePosixPath(url.partition("?")[0]).name)
    return _cache() / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def _content(path: Path) -> tuple[tuple[int, ...], bytes]:
    status = path.stat()
    return (status.st_ino, status.st_mtime_ns, status.st_size), path.read_bytes()


def _top(name: str) -> str:
    return name.partition("/")[0]


def _cache() -> Path:
    return platformdirs.user_cache_path("stockrnn-search", appauthor=False) / "studies"
