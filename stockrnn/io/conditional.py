"""Replace a file behind a URL only if no other process has changed it since this process read or wrote it.

S3, Google Cloud Storage and Azure compare the file's version on the server (conditional writes, through obstore). On
`file://`, this process holds a file lock while it compares the version and renames the new file. On all other stores,
and if a store refuses or ignores conditional writes, this process reads the file before and after it writes.
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
from stockrnn.io.storage import MAX_FILE_BYTES, RemoteFolder, StorageError

__all__ = ["LOCK_NAME", "ChangedError", "ConditionalFolder"]

LOCK_NAME = ".lock"  # on file://, locked during a write
LOCK_TIMEOUT = 20.0  # seconds; the process that holds the lock may be suspended
PROBE_NAME = "lock.probe"  # this file never exists
MISSING_VERSION = {"e_tag": '"0"', "version": "1"}
RETRY_CONFIG: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
CLIENT_OPTIONS: Any = {"connect_timeout": "5s", "timeout": "300s"}
Version = Any  # of a file, as its backend describes it; None for a file that does not exist


class ChangedError(StorageError):
    """Another process wrote or removed a file since this process read or wrote it."""


class ConditionalFolder(RemoteFolder):
    """A folder behind a URL in which a write fails if another process has changed the file.

    If this process has not read or written a file before, the file must not exist when it is written.

    Attributes:
        weakness: why two processes that write at the same moment could both succeed; None if this is impossible.

    Raises:
        StorageError: the URL cannot be opened.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._versions: dict[str, Version] = {}
        self._unconfirmed: dict[str, set[bytes]] = {}  # hashes of contents that may have been written
        self._backend, self.weakness = self._choose_backend()

    def read(self, name: str, max_bytes: int) -> bytes:
        try:
            with self._errors_as_storage_error():
                content, self._versions[name] = self._backend.get(name, max_bytes)
        except FileNotFoundError:
            self._versions.pop(name, None)
            raise
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            ChangedError: another process has changed the file, which is not replaced.
            StorageError: the folder cannot be written.
        """
        with self._errors_as_storage_error():
            try:
                version = self._put(name, content, self._versions.get(name))
            except ChangedError:
                stored, version = self._stored_hash(name)
                if stored not in self._unconfirmed.get(name, ()):
                    raise
                version = self._put(name, content, version)
        self._versions[name] = version
        self._unconfirmed.pop(name, None)

    def remove(self, name: str) -> None:
        super().remove(name)
        self._versions.pop(name, None)

    def _put(self, name: str, content: bytes, version: Version) -> Version:
        try:
            return self._backend.put(name, content, version)
        except ChangedError:
            raise
        except BaseException:  # the store may have written the file although its answer was lost
            self._unconfirmed.setdefault(name, set()).add(hashlib.sha256(content).digest())
            raise

    def _stored_hash(self, name: str) -> tuple[bytes, Version]:
        try:
            content, version = self._backend.get(name, MAX_FILE_BYTES)
        except FileNotFoundError:
            return b"", None
        return hashlib.sha256(content).digest(), version

    def _choose_backend(self) -> tuple["_Backend", str | None]:
        kind = self._files.type_name
        if kind == "local":
            return _LockedFiles(self.place, self._root), None
        compared = _ComparedFiles(RemoteFolder(self.place))
        if kind not in ("s3", "gcs", "abfs"):
            return compared, "it has no conditional writes"
        import obstore  # noqa: F401  # a missing obstore is an error, not a reason to compare contents

        try:
            store = _ObjectStore(self.place, kind, self._root, getattr(self._files, "region", None))
            store.put(PROBE_NAME, b"", MISSING_VERSION)
        except ChangedError:
            return store, None
        except Exception as error:  # obstore finds fewer credentials than Arrow; some stores have no conditional writes
            return compared, f"a conditional write failed ({line(error)})"
        super().remove(PROBE_NAME)
        return compared, "it ignores the condition of a write"


class _Backend(Protocol):
    def get(self, name: str, max_bytes: int) -> tuple[bytes, Version]:
        """Return a file's content and version; raise FileNotFoundError if it does not exist."""

    def put(self, name: str, content: bytes, version: Version) -> Version:
        """Write a file and return its new version; raise ChangedError if the file has another version than this."""


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
            options = CLIENT_OPTIONS | {"allow_http": True}  # an endpoint of the user may have no TLS
            self._store: Any = S3Store(root.partition("/")[0], client_options=options, **settings)
        else:
            scheme, host, *_ = urlsplit(url)
            self._store = from_url(f"{scheme}://{host}", client_options=CLIENT_OPTIONS, **settings)

    def get(self, name: str, max_bytes: int) -> tuple[bytes, Version]:
        import obstore

        found = obstore.get(self._store, self._path(name))
        if found.meta["size"] > max_bytes:
            raise FileError(f"is larger than the limit of {max_bytes} bytes")
        return bytes(found.bytes()), _version(found.meta)

    def put(self, name: str, content: bytes, version: Version) -> Version:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            done = obstore.put(
                self._store, self._path(name), content, mode=version or "create", use_multipart=False
            )  # fmt: skip
        except (AlreadyExistsError, PreconditionError):
            raise ChangedError(f"{self._url}: {name} was changed by another process") from None
        except FileNotFoundError:
            if version:  # the file existed before
                raise ChangedError(f"{self._url}: {name} was removed by another process") from None
            raise StorageError(f"{self._url}: cannot be used (the bucket does not exist)") from None
        return _version(done)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


class _LockedFiles:
    def __init__(self, url: str, root: str) -> None:
        self._url, self._root = url, Path(root)

    def get(self, name: str, max_bytes: int) -> tuple[bytes, Version]:
        path = self._root / name
        version = _status(path)  # before reading: if the file is replaced in between, this version is outdated
        return read_bytes(path, max_bytes), version

    def put(self, name: str, content: bytes, version: Version) -> Version:
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
                f"{self._url}: cannot be written (another process has held {LOCK_NAME} for {LOCK_TIMEOUT:g} s; it may "
                f"be suspended)"
            ) from None


class _ComparedFiles:
    def __init__(self, storage: RemoteFolder) -> None:
        self._storage = storage

    def get(self, name: str, max_bytes: int) -> tuple[bytes, Version]:
        content = self._storage.read(name, max_bytes)
        return content, hashlib.sha256(content).hexdigest()

    def put(self, name: str, content: bytes, version: Version) -> Version:
        changed = ChangedError(f"{self._storage.place}: {name} was changed by another process")
        if self._current_version(name) != version:
            raise changed
        self._storage.write(name, content)
        if (written := hashlib.sha256(content).hexdigest()) != self._current_version(name):
            raise changed
        return written

    def _current_version(self, name: str) -> Version:
        with suppress(FileNotFoundError):
            return self.get(name, MAX_FILE_BYTES)[1]
        return None


def _version(found: Any) -> dict[str, str]:
    return {name: found[name] for name in ("e_tag", "version") if found.get(name)}


def _status(path: Path) -> tuple[int, int, int] | None:
    """Return inode, modification time and size, which change when the file is replaced; None if it does not exist."""
    try:
        with path.open("rb") as file:  # on NFS, opening a file updates its attributes from the server
            found = os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
