"""Folders of files that are whole or not there: on this machine, or behind a URL such as s3://bucket/results.

A URL is opened by Apache Arrow (s3, gs, abfs, hdfs), else by fsspec. Keys to it come from where its programs look for
them (the environment, a profile, the machine's role), never from the URL.
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
MAX_FILE_BYTES = 8 * 1024**3  # bytes of a file
GCS_LIMIT = 30  # seconds; Arrow would ask again for a quarter of an hour


class StorageError(OSError, UserError):
    """A folder behind a URL that cannot be read or written, in one line."""


class Folder(Protocol):
    """Files by their names, which may hold slashes."""

    place: str

    def names(self) -> dict[str, int]:
        """Every file, and its size in bytes; none where the folder is not there."""

    def read(self, name: str, most: int) -> bytes:
        """The content of a file of at most `most` bytes.

        Raises:
            FileNotFoundError: there is none.
            FileError: it cannot be read, or is larger.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file that a reader sees whole or not at all; it outlives a crash when this returns.

        Raises:
            OSError: there is no room for it, or no way to it.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def clear(self) -> None:
        """Remove all, and the folder."""


def is_url(place: str) -> bool:
    """Whether a place is behind a URL; other places are paths."""
    return URL.match(place) is not None


def join_path(place: str, *names: str) -> str:
    """The place of something in a folder; a URL keeps its query."""
    if not is_url(place):
        return str(Path(place, *names))
    scheme, host, path, query, fragment = urlsplit(place)
    return urlunsplit((scheme, host, "/".join((path.rstrip("/"), *names)), query, fragment))


def parent_url(url: str) -> str:
    """The folder that a URL's folder is in."""
    scheme, host, path, query, fragment = urlsplit(url)
    return urlunsplit((scheme, host, path.rstrip("/").rpartition("/")[0], query, fragment))


def check_url(url: str) -> None:
    """See that a URL names a folder, and holds no password.

    Raises:
        ValueError: what is wrong with it; the rule; the fix. A password is not repeated.
    """
    parts = urlsplit(url)
    before, at, _ = parts.netloc.rpartition("@")
    if at and (":" in before or not parts.scheme.startswith("abfs")):  # abfs://container@account is no user
        raise ValueError("holds a user or password; they would stand in lists of processes; set AWS_ACCESS_KEY_ID, say")
    if SECRETS.search(f"?{parts.query}"):
        raise ValueError("holds a key; it would stand in lists of processes; set AWS_SECRET_ACCESS_KEY, say")
    if not parts.netloc and parts.scheme not in ("file", "memory", "local"):
        raise ValueError(f"names no bucket; a URL has one; write {parts.scheme}://bucket/results, say")
    try:
        RemoteFolder(url)
    except StorageError as error:
        raise ValueError(str(error).removeprefix(f"{url}: ")) from None


def open_folder(place: str | Path) -> Folder:
    """The folder at a path or URL; nothing is asked of it yet."""
    return RemoteFolder(place) if isinstance(place, str) and is_url(place) else LocalFolder(Path(place))


@contextlib.contextmanager
def local_copy(place: str, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Path]:
    """Within: a folder of this machine with the files at a place; a path is its own.

    Args:
        wanted: of a URL, whether a file is needed, by its name.

    Raises:
        StorageError: the URL cannot be read.
    """
    if not is_url(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, urlsplit(place).path.rstrip("/").rpartition("/")[2] or "studies")
        storage = RemoteFolder(place)
        storage.copy(filter(wanted, storage.names()), copy)
        yield copy


class LocalFolder:
    """A folder of this machine; it is made by the first file, its parent is not.

    Its links are not followed, and files in folders below it are not seen.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)

    def names(self) -> dict[str, int]:
        try:
            with os.scandir(self.path) as entries:
                return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
        except FileNotFoundError:
            return {}

    def read(self, name: str, most: int) -> bytes:
        return read_bytes(self.path / name, most, links=False)

    def write(self, name: str, content: bytes) -> None:
        self.path.mkdir(exist_ok=True)
        write_atomic(self.path / name, content, durable=True)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)


class RemoteFolder:
    """A folder behind a URL: every file whose name begins with it. All errors are a StorageError.

    Raises:
        StorageError: nothing here opens such a URL.
    """

    def __init__(self, url: str) -> None:
        self.place = url
        self._files, self._root = _opened(url)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFolder, (self.place,)

    def names(self) -> dict[str, int]:
        from pyarrow import fs

        with self._said():
            found = self._files.get_file_info(fs.FileSelector(self._root, recursive=True, allow_not_found=True))
        files = [info for info in found if info.type == fs.FileType.File and not info.path.endswith("/")]
        return {info.path.removeprefix(f"{self._root}/"): info.size for info in files}

    def read(self, name: str, most: int) -> bytes:
        try:
            with self._said(), self._files.open_input_file(f"{self._root}/{name}") as file:
                if file.size() <= most:
                    return bytes(file.read())
        except StorageError as error:
            raise FileError(f"cannot be read ({line(error)})") from None
        raise FileError(f"is larger than the {most} bytes it may have")

    def content(self, name: str) -> bytes:
        """The content of a file that must be there."""
        try:
            return self.read(name, MAX_FILE_BYTES)
        except (FileNotFoundError, FileError) as error:
            raise StorageError(f"{self.place}: {name} {line(error)}") from None

    def copy(self, names: Iterable[str], folder: Path) -> None:
        """Copy files into a folder of this machine, which is made.

        Raises:
            StorageError: one cannot be read, or its name leads out of the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name in sorted(names):
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or parts[0] == "/" or {"\\", "\0"} & set(name):
                raise StorageError(f"{self.place}: {line(name)} leads out of its folder")
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.content(name))

    def write(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        with self._said():
            if not self._flat:
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(path) as file:
                file.write(content)

    def remove(self, name: str) -> None:
        with self._said(), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{name}")

    def clear(self) -> None:
        with self._said(), contextlib.suppress(FileNotFoundError):
            self._files.delete_dir(self._root)

    @property
    def _flat(self) -> bool:
        """Whether folders are only parts of names there, and need not be made."""
        return self._files.type_name in ("s3", "gcs")

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, FileError, StorageError):
            raise
        except Exception as error:  # of Arrow, of fsspec and of what lies behind it
            raise StorageError(f"{self.place}: {_why(error)}") from None


def _opened(url: str) -> tuple["fs.FileSystem", str]:
    import fsspec
    from pyarrow import ArrowInvalid, fs

    limited = url
    if urlsplit(url).scheme in ("gs", "gcs") and "retry_limit_seconds" not in url:
        limited += f"{'&' if urlsplit(url).query else '?'}retry_limit_seconds={GCS_LIMIT}"
    try:
        try:
            files, root = fs.FileSystem.from_uri(limited)
        except ArrowInvalid as error:
            if "nrecognized filesystem" not in str(error):
                raise
            files, root = fsspec.core.url_to_fs(url)
            files = fs.PyFileSystem(fs.FSSpecHandler(files))
    except Exception as error:
        raise StorageError(f"{url}: {_why(error)}") from None
    return files, str(root).rstrip("/")


def _why(error: Exception) -> str:
    """What went wrong, without what Arrow and its libraries say of themselves."""
    text = line(error, 1000)
    found = re.search(r"AWS Error ([A-Z_]+)(?: \(HTTP status \d+\))? during \w+ operation: (.*)", text)
    if found:
        text = found[2].partition(" (Request ID")[0].partition("; Details:")[0]
    elif found := re.search("<Message>(.*?)</Message>", text):
        text = found[1]
    return f"cannot be used ({line(text)})"
