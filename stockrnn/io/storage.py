"""Read and write the files of a folder, either a local folder or one behind a URL such as s3://bucket/results.

Apache Arrow opens the URL if it can (s3, gs, abfs, hdfs), otherwise fsspec. Credentials come from the usual places of
the storage service (environment, profile, role of the machine), never from the URL.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from stockrnn.io.errors import UserError
from stockrnn.io.files import FileError, line, read_bytes, write_atomic

if TYPE_CHECKING:
    from pyarrow import fs

__all__ = [
    "Folder",
    "LocalFolder",
    "RemoteFolder",
    "StorageError",
    "check_url",
    "is_url",
    "join_path",
    "local_copy",
    "open_folder",
    "parent_url",
]

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
SECRETS = re.compile(r"[?&](access_key|secret_key|session_token|password|token|key|sas)=", re.IGNORECASE)
MAX_FILE_BYTES = 8 * 1024**3
GCS_RETRY_SECONDS = 30  # Arrow would retry for a quarter of an hour


class StorageError(OSError, UserError):
    """A folder behind a URL cannot be read or written; the message is one line."""


class Folder(Protocol):
    """A folder of files by name; a name may contain slashes.

    Attributes:
        place: path or URL of the folder.
    """

    place: str

    def names(self) -> dict[str, int]:
        """Return the size in bytes of each file by name; empty if the folder does not exist."""

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: the file does not exist.
            FileError: the file cannot be read, or is larger than `max_bytes`.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically; it survives a crash after this function returns.

        Raises:
            OSError: the disk is full, or the folder cannot be reached.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def clear(self) -> None:
        """Remove all files, and the folder."""


def is_url(place: str) -> bool:
    """Return whether a place is a URL; otherwise it is a path."""
    return URL.match(place) is not None


def join_path(place: str, *names: str) -> str:
    """Return the path or URL of an entry of a folder; the query of a URL is kept."""
    if not is_url(place):
        return str(Path(place, *names))
    scheme, host, path, query, fragment = urlsplit(place)
    return urlunsplit((scheme, host, "/".join((path.rstrip("/"), *names)), query, fragment))


def parent_url(url: str) -> str:
    """Return the URL of the folder above."""
    scheme, host, path, query, fragment = urlsplit(url)
    return urlunsplit((scheme, host, path.rstrip("/").rpartition("/")[0], query, fragment))


def check_url(url: str) -> None:
    """Check that a URL names a folder and contains no password.

    Raises:
        ValueError: the URL is invalid. The message does not repeat a password.
    """
    parts = urlsplit(url)
    before, at, _ = parts.netloc.rpartition("@")
    if at and (":" in before or not parts.scheme.startswith("abfs")):  # in abfs://container@account there is no user
        raise ValueError(
            "contains a user or password; other users can see it in the list of processes; use the environment, "
            "for example AWS_ACCESS_KEY_ID"
        )
    if SECRETS.search(f"?{parts.query}"):
        raise ValueError(
            "contains a key; other users can see it in the list of processes; use the environment, "
            "for example AWS_SECRET_ACCESS_KEY"
        )
    if not parts.netloc and parts.scheme not in ("file", "memory", "local"):
        raise ValueError(f"has no bucket; a URL needs one; for example write {parts.scheme}://bucket/results")
    try:
        RemoteFolder(url)
    except StorageError as error:
        raise ValueError(str(error).removeprefix(f"{url}: ")) from None


def open_folder(place: str | Path) -> Folder:
    """Return the folder at a path or URL, without reading or creating it."""
    return RemoteFolder(place) if isinstance(place, str) and is_url(place) else LocalFolder(Path(place))


@contextlib.contextmanager
def local_copy(place: str, is_needed: Callable[[str], bool] = lambda name: True) -> Iterator[Path]:
    """Provide a local folder with the files of a path or URL: the path itself, or a temporary copy of the URL.

    Args:
        place: path or URL of a folder.
        is_needed: returns whether the file with this name is copied from a URL.

    Raises:
        StorageError: the URL cannot be read.
    """
    if not is_url(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, urlsplit(place).path.rstrip("/").rpartition("/")[2] or "studies")
        storage = RemoteFolder(place)
        storage.copy(filter(is_needed, storage.names()), copy)
        yield copy


class LocalFolder:
    """A local folder. Writing the first file creates it; its parent must exist.

    Symbolic links are not followed, and the files of subfolders are not listed.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)

    def names(self) -> dict[str, int]:
        try:
            with os.scandir(self.path) as entries:
                return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
        except FileNotFoundError:
            return {}

    def read(self, name: str, max_bytes: int) -> bytes:
        return read_bytes(self.path / name, max_bytes, links=False)

    def write(self, name: str, content: bytes) -> None:
        self.path.mkdir(exist_ok=True)
        write_atomic(self.path / name, content, durable=True)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)


class RemoteFolder:
    """A folder behind a URL: all files whose names begin with the URL's path.

    Raises:
        StorageError: neither Arrow nor fsspec can open the URL. All other errors are StorageErrors too.
    """

    def __init__(self, url: str) -> None:
        self.place = url
        self._files, self._root = _open_file_system(url)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFolder, (self.place,)

    def names(self) -> dict[str, int]:
        from pyarrow import fs

        with self._errors_as_storage_error():
            found = self._files.get_file_info(fs.FileSelector(self._root, recursive=True, allow_not_found=True))
        files = [info for info in found if info.type == fs.FileType.File and not info.path.endswith("/")]
        return {info.path.removeprefix(f"{self._root}/"): info.size for info in files}

    def read(self, name: str, max_bytes: int) -> bytes:
        try:
            with self._errors_as_storage_error(), self._files.open_input_file(f"{self._root}/{name}") as file:
                if file.size() <= max_bytes:
                    return bytes(file.read())
        except StorageError as error:
            raise FileError(f"cannot be read ({line(error)})") from None
        raise FileError(f"is larger than the limit of {max_bytes} bytes")

    def read_required(self, name: str) -> bytes:
        """Return the content of a file; raise StorageError if it does not exist or is too large."""
        try:
            return self.read(name, MAX_FILE_BYTES)
        except (FileNotFoundError, FileError) as error:
            raise StorageError(f"{self.place}: {name} {line(error)}") from None

    def copy(self, names: Iterable[str], folder: Path) -> None:
        """Copy files into a local folder, which is created if it does not exist.

        Raises:
            StorageError: a file cannot be read, or its name points outside the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name in sorted(names):
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or parts[0] == "/" or {"\\", "\0"} & set(name):
                raise StorageError(f"{self.place}: {line(name)} points outside the folder")
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read_required(name))

    def write(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        with self._errors_as_storage_error():
            if not self._flat:
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(path) as file:
                file.write(content)

    def remove(self, name: str) -> None:
        with self._errors_as_storage_error(), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{name}")

    def clear(self) -> None:
        with self._errors_as_storage_error(), contextlib.suppress(FileNotFoundError):
            self._files.delete_dir(self._root)

    @property
    def _flat(self) -> bool:
        """Whether the service has no folders, only names with slashes."""
        return self._files.type_name in ("s3", "gcs")

    @contextlib.contextmanager
    def _errors_as_storage_error(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, FileError, StorageError):
            raise
        except Exception as error:  # Arrow, fsspec and its implementations raise errors of many classes
            raise StorageError(f"{self.place}: {_problem(error)}") from None


def _open_file_system(url: str) -> tuple["fs.FileSystem", str]:
    import fsspec
    from pyarrow import ArrowInvalid, fs

    limited = url
    if urlsplit(url).scheme in ("gs", "gcs") and "retry_limit_seconds" not in url:
        limited += f"{'&' if urlsplit(url).query else '?'}retry_limit_seconds={GCS_RETRY_SECONDS}"
    try:
        try:
            files, root = fs.FileSystem.from_uri(limited)
        except ArrowInvalid as error:
            if "nrecognized filesystem" not in str(error):
                raise
            files, root = fsspec.core.url_to_fs(url)
            files = fs.PyFileSystem(fs.FSSpecHandler(files))
    except Exception as error:
        raise StorageError(f"{url}: {_problem(error)}") from None
    return files, str(root).rstrip("/")


def _problem(error: Exception) -> str:
    """Return the cause of an error, without the details that Arrow and the AWS library add."""
    text = line(error, 1000)
    found = re.search(r"AWS Error ([A-Z_]+)(?: \(HTTP status \d+\))? during \w+ operation: (.*)", text)
    if found:
        text = found[2].partition(" (Request ID")[0].partition("; Details:")[0]
    elif found := re.search("<Message>(.*?)</Message>", text):
        text = found[1]
    return f"cannot be used ({line(text)})"
