"""Replace a file behind a URL only while it is as this process read or wrote it last.

S3, Google Cloud Storage and Azure compare the file's version themselves (conditional puts, through obstore). On
`file://` a file lock is held while the version is compared and the new file takes the old one's name. Elsewhere, and
where the store refuses or ignores conditions, the content is read before and after the write.
"""

import hashlib
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from filelock import FileLock, Timeout

from stockrnn.io.files import FileError, line, read_bytes, write_atomic
from stockrnn.io.storage import RemoteFolder, StorageError

__all__ = ["LOCK_NAME", "ChangedError", "ConditionalFolder"]

LOCK_NAME = ".lock"  # on file://, held for the moment of a write
LOCK_TIMEOUT = 20.0  # seconds to wait for it: its holder may be stopped
PROBE_NAME = "lock.probe"  # is never there
NO_VERSION = {"e_tag": '"0"', "version": "1"}
RETRY_CONFIG: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
CLIENT_OPTIONS: Any = {"connect_timeout": "5s", "timeout": "300s"}


class ChangedError(StorageError):
    """A file is not as this process left it: another one wrote or removed it."""


class ConditionalFolder(RemoteFolder):
    """A folder behind a URL whose files this process replaces only while they are as it left them.

    A file that this process has not read must not exist when it is written.

    Attributes:
        weakness: why two processes that write in the same instant may both succeed; None where they cannot.

    Raises:
        StorageError: the URL cannot be opened.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._versions: dict[str, Any] = {}
        self._unanswered: dict[str, set[bytes]] = {}  # hashes of contents that may have been written
        self._backend, self.weakness = self._chosen()

    def read(self, name: str, most: int) -> bytes:
        try:
            with self._said():
                content, self._versions[name] = self._backend.get(name, most)
        except FileNotFoundError:
            self._versions.pop(name, None)
            raise
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            ChangedError: it is not as this process left it, and stays as it is.
            StorageError: the folder cannot be written.
        """
        with self._said():
            try:
                version = self._put(name, content, self._versions.get(name))
            except ChangedError:
                stored, version = self._stored(name)
                if stored not in self._unanswered.get(name, ()):
                    raise
                version = self._put(name, content, version)
        self._versions[name] = version
        self._unanswered.pop(name, None)

    def remove(self, name: str) -> None:
        super().remove(name)
        self._versions.pop(name, None)

    def _put(self, name: str, content: bytes, version: Any) -> Any:
        try:
            return self._backend.put(name, content, version)
        except ChangedError:
            raise
        except BaseException:  # the store may have written it, and the answer was lost
            self._unanswered.setdefault(name, set()).add(hashlib.sha256(content).digest())
            raise

    def _stored(self, name: str) -> tuple[bytes, Any]:
        try:
            content, version = self._backend.get(name, 1 << 40)
        except FileNotFoundError:
            return b"", None
        return hashlib.sha256(content).digest(), version

    def _chosen(self) -> tuple["_Backend", str | None]:
        kind = self._files.type_name
        if kind == "local":
            return _LockedFiles(self.place, self._root), None
        compared = _ComparedFiles(RemoteFolder(self.place))
        if kind not in ("s3", "gcs", "abfs"):
            return compared, "it has no conditional writes"
        import obstore  # noqa: F401  # without it nothing falls back: it is a dependency

        try:
            store = _ObjectStore(self.place, kind, self._root, getattr(self._files, "region", None))
            store.put(PROBE_NAME, b"", NO_VERSION)
        except ChangedError:
            return store, None
        except Exception as error:  # of obstore: keys that Arrow finds and it does not, a store without conditions
            return compared, f"a conditional write failed ({line(error)})"
        super().remove(PROBE_NAME)
        return compared, "it ignores the condition of a write"


class _Backend(Protocol):
    def get(self, name: str, most: int) -> tuple[bytes, Any]:
        """The content of a file and its version; FileNotFoundError where there is none."""

    def put(self, name: str, content: bytes, version: Any) -> Any:
        """Write a file of that version, None: of none, and return its new one; else a ChangedError."""


class _ObjectStore:
    def __init__(self, url: str, kind: str, root: str, region: str | None) -> None:
        from obstore.store import S3Store, from_url

        self._url, self._prefix = url, root.partition("/")[2]
        settings: dict[str, Any] = {"retry_config": RETRY_CONFIG}
        if kind == "s3":
            query = parse_qs(urlsplit(url).query)
            if endpoint := query.get("endpoint_override"):
                scheme = query.get("scheme", ["https"])[0]
                settings["endpoint"] = f"{scheme}://{endpoint[0]}"
            if region:
                settings["region"] = region
            options = CLIENT_OPTIONS | {"allow_http": True}  # where the user's own endpoint has no TLS
            self._store: Any = S3Store(root.partition("/")[0], client_options=options, **settings)
        else:
            scheme, host, *_ = urlsplit(url)
            self._store = from_url(f"{scheme}://{host}", client_options=CLIENT_OPTIONS, **settings)

    def get(self, name: str, most: int) -> tuple[bytes, Any]:
        import obstore

        found = obstore.get(self._store, self._path(name))
        if found.meta["size"] > most:
            raise FileError(f"is larger than the {most} bytes it may have")
        return bytes(found.bytes()), _version(found.meta)

    def put(self, name: str, content: bytes, version: Any) -> Any:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            done = obstore.put(
                self._store, self._path(name), content, mode=version or "create", use_multipart=False
            )  # fmt: skip
        except (AlreadyExistsError, PreconditionError):
            raise ChangedError(f"{self._url}: {name} was changed by another process") from None
        except FileNotFoundError:
            if version:  # the file, which another process removed
                raise ChangedError(f"{self._url}: {name} was removed by another process") from None
            raise StorageError(f"{self._url}: cannot be used (the bucket does not exist)") from None
        return _version(done)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


class _LockedFiles:
    def __init__(self, url: str, root: str) -> None:
        self._url, self._root = url, Path(root)

    def get(self, name: str, most: int) -> tuple[bytes, Any]:
        path = self._root / name
        version = _status(path)  # a file that is replaced before it is read has another one then
        return read_bytes(path, most), version

    def put(self, name: str, content: bytes, version: Any) -> Any:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._root / LOCK_NAME)
        try:
            with lock.acquire(timeout=LOCK_TIMEOUT):
                if _status(path) != version:
                    raise ChangedError(f"{self._url}: {name} was changed by another process")
                write_atomic(path, content, durable=True)
                return _status(path)
        except Timeout:
            raise StorageError(
                f"{self._url}: cannot be written (a process holds {LOCK_NAME} for {LOCK_TIMEOUT:g} s; "
                f"it may be stopped)"
            ) from None


class _ComparedFiles:
    def __init__(self, storage: RemoteFolder) -> None:
        self._storage = storage

    def get(self, name: str, most: int) -> tuple[bytes, Any]:
        content = self._storage.read(name, most)
        return content, hashlib.sha256(content).hexdigest()

    def put(self, name: str, content: bytes, version: Any) -> Any:
        changed = ChangedError(f"{self._storage.place}: {name} was changed by another process")
        if self._found(name) != version:
            raise changed
        self._storage.write(name, content)
        if (written := hashlib.sha256(content).hexdigest()) != self._found(name):
            raise changed
        return written

    def _found(self, name: str) -> Any:
        with suppress(FileNotFoundError):
            return self.get(name, 1 << 40)[1]
        return None


def _version(found: Any) -> dict[str, str]:
    return {name: found[name] for name in ("e_tag", "version") if found.get(name)}


def _status(path: Path) -> tuple[int, int, int] | None:
    """What tells one file of a name from another; opened, so that NFS asks the server."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
