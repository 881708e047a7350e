"""Files that may come from a stranger: read with a bound on their size, and refused in one line."""

import difflib
import itertools
import json
import math
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from stockrnn.errors import UserError

__all__ = [
    "AGAIN",
    "COMPLETE",
    "FileError",
    "ForecasterError",
    "json_data",
    "line",
    "meant",
    "plain_bytes",
    "plain_lines",
    "read_object",
    "read_plain",
    "write_whole",
]

COMPLETE = "a forecaster is model.safetensors and forecaster.json of one study in one folder"
AGAIN = "copy the whole folder again, or run the study again"
PIECE = 1 << 20  # bytes


class FileError(UserError):
    """A file that cannot be read: what is wrong with it, in words, as in `is no plain file`."""


class ForecasterError(UserError):
    """A forecaster that cannot be used: `FILE: what is wrong; the rule; the fix` in one line."""


def meant(path: str, known: Iterable[str] = (), ending: str = "") -> str:
    """How a misspelt path may have been meant: `did you mean X?` or `check the path`.

    Args:
        known: names that count as well as the files beside it.
        ending: that of the files that count.
    """
    folder, name = Path(path).parent, Path(path).name.removesuffix(ending)
    near = {other.lower().removesuffix(ending): other for other in known}
    if os.path.isdir(os.path.expanduser(folder)):
        beside = [entry for entry in os.listdir(os.path.expanduser(folder)) if entry.endswith(ending)]
        near |= {entry.lower().removesuffix(ending): str(folder / entry) for entry in beside}
    close = difflib.get_close_matches(name.lower(), near, n=1)
    return f"did you mean {near[close[0]]}?" if close else "check the path"


def plain_bytes(path: Path | str, most: int, *, links: bool = True) -> bytes:
    """The content of a plain file of at most `most` bytes; what is none is not read, and not waited for.

    Args:
        path: the file.
        most: bytes it may have.
        links: whether it may be a symbolic link.

    Raises:
        FileNotFoundError: there is none.
        FileError: it is none to read.
    """
    with _opened(path, most, links=links) as file:
        return _read(file, most)


def plain_lines(path: Path | str, most: int, longest: int) -> Iterator[bytes]:
    """Yield the lines of a plain file, each with its line break: memory holds one of them.

    Args:
        path: the file.
        most: bytes it may have.
        longest: bytes that a line may have.

    Raises:
        FileNotFoundError: there is none.
        FileError: it is none to read.
    """
    with _opened(path, most) as file:
        size = 0
        for number in itertools.count(1):
            piece = file.readline(longest + 1)
            size += len(piece)
            if size > most:
                raise _large(most)
            if len(piece) > longest:
                raise FileError(f"line {number} is longer than the {longest} bytes it may have")
            if not piece:
                return
            yield piece


@contextmanager
def _opened(path: Path | str, most: int, *, links: bool = True) -> Iterator[BinaryIO]:
    """Open a plain file that says to have at most `most` bytes; see `plain_bytes`."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe would block
    try:
        if not links and os.path.islink(path):
            raise FileError("is a link, which may lead anywhere")
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a device may already do something
            raise FileError("is no plain file")
        with os.fdopen(os.open(path, flags | (0 if links else getattr(os, "O_NOFOLLOW", 0))), "rb") as file:
            now = os.fstat(file.fileno())
            if not stat.S_ISREG(now.st_mode):  # it was exchanged meanwhile
                raise FileError("is no plain file")
            if now.st_size > most:
                raise _large(most)
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except OSError as error:
        raise FileError(f"cannot be read ({line(error.strerror or error)})") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise FileError(f"cannot be read ({line(error)})") from None  # a NUL in the path


def json_data(content: bytes | str) -> Any:
    """JSON as data; it has no NaN and no infinities.

    Raises:
        FileError: it is no JSON, or nested too deeply, or holds a number that is too long.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        return json.loads(text, parse_constant=_no_number, parse_float=_number)
    except RecursionError:
        raise FileError("cannot be read as JSON (it is nested too deeply)") from None
    except ValueError as error:
        raise FileError(f"cannot be read as JSON ({line(error)})") from None


def read_object(path: Path, most: int) -> dict[str, Any]:
    """Read a JSON object from a plain file of at most `most` bytes; it has no NaN and no infinities.

    Raises:
        ForecasterError: there is no such file, or it holds something else.
    """
    try:
        found = json_data(read_plain(path, most))
    except FileError as error:
        raise ForecasterError(f"{path}: {error}; {COMPLETE}; {AGAIN}") from None
    if not isinstance(found, dict):
        raise ForecasterError(f"{path}: is no JSON object; it holds names and values in braces; {AGAIN}")
    return found


def read_plain(path: Path, most: int) -> bytes:
    """The content of a forecaster's file of at most `most` bytes, which is no link.

    Raises:
        ForecasterError: there is no such file, or it is none to read.
    """
    try:
        return plain_bytes(path, most, links=False)
    except FileNotFoundError:
        raise ForecasterError(f"{path}: no such file; {COMPLETE}; check the folder") from None
    except FileError as error:
        raise ForecasterError(f"{path}: {error}; {COMPLETE}; {AGAIN}") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that a reader sees whole or not at all."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # several may write at once
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def line(what: object, most: int = 200) -> str:
    """A text on one line, at most this long; what a stranger wrote gets no control over the terminal."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(what))
    return " ".join(text.split())[:most]


def _read(file: BinaryIO, most: int) -> bytes:
    """At most `most` bytes, piece by piece: neither a false size nor a growing file costs more memory."""
    content = bytearray()
    while piece := file.read(PIECE):
        content += piece
        if len(content) > most:
            raise _large(most)
    return bytes(content)


def _large(most: int) -> FileError:
    return FileError(f"is larger than the {most} bytes it may have")


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _number(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(f"{line(text, 20)} is too large")
    return value
