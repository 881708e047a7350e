"""Read untrusted files with a size limit, write files atomically, and make text safe to print."""

import difflib
import errno
import itertools
import json
import math
import os
import re
import stat
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from stockrnn.io.errors import UserError

__all__ = [
    "TEMPORARY_NAME",
    "FileError",
    "escape_invisible",
    "fsync_path",
    "line",
    "open_nofollow",
    "parse_json",
    "read_bytes",
    "read_lines",
    "suggest_folder",
    "suggest_path",
    "write_atomic",
]

CHUNK_BYTES = 1 << 20
WHITESPACE = re.compile(r"[^\S\x1c-\x1f]+")  # with line breaks; \x1c to \x1f are control characters
ZERO_WIDTH_JOINER = "\u200d"
EMOJI_MODIFIERS = "\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"  # emoji style and skin tones
INVISIBLE = re.compile(  # characters that Python calls printable or spaces but that show nothing, or break a line
    "[\x0b\x0c\r\x1c-\x1f\x85\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2028\u2029\u2800\u3164\ufe00-\ufe0d\uffa0"
    "\U000e0100-\U000e01ef]"
)
TEMPORARY_NAME = re.compile(r"\.[0-9a-f]{32}\.part")  # name of a file that `write_atomic` has not finished


class FileError(UserError):
    """A file cannot be read; the message is a predicate without the file's name, as in `is not a regular file`."""


def suggest_path(path: str, known: Iterable[str] = (), ending: str = "") -> str:
    """Return a hint for a path that does not exist: `did you mean X?` or `check the path`.

    Args:
        path: the path as the user wrote it.
        known: names to suggest in addition to the files of the same folder.
        ending: only files with this ending are suggested.
    """
    folder, name = Path(path).parent, Path(path).name.removesuffix(ending)
    near = {other.lower().removesuffix(ending): other for other in known}
    if os.path.isdir(os.path.expanduser(folder)):
        beside = [entry for entry in os.listdir(os.path.expanduser(folder)) if entry.endswith(ending)]
        near |= {entry.lower().removesuffix(ending): str(folder / entry) for entry in beside}
    close = difflib.get_close_matches(name.lower(), near, n=1)
    return f"did you mean {near[close[0]]}?" if close else "check the path"


def suggest_folder(path: str, has: str) -> str:
    """Return a hint for a folder that does not exist or lacks a file: `did you mean X?` or `check the path`.

    Each part of the path may be misspelt, and the first part may be missing.

    Args:
        path: the folder as the user wrote it.
        has: name of something that the suggested folder must have.
    """
    parts = Path(os.path.expanduser(path)).parts
    found = [Path()]
    if parts and os.path.isabs(parts[0]):
        found, parts = [Path(parts[0])], parts[1:]
    found = [start for start in found if start.is_dir()]
    beside = [] if len(parts) != 1 else [folder for folder in _near_folders(Path(), "results") if folder.is_dir()]
    for at, part in enumerate(parts):
        found = [each for folder in [*found, *(beside if at == 0 else [])] for each in _near_folders(folder, part)]
    near = next((folder for folder in found if (folder / has).exists()), None)
    return f"did you mean {near}?" if near else "check the path"


def _near_folders(folder: Path, name: str) -> list[Path]:
    """Return the folders in a folder with that name or a similar one, most similar first."""
    if name in (os.curdir, os.pardir):
        return [folder / name]
    try:
        names = {entry.name.lower(): entry.name for entry in os.scandir(folder) if entry.is_dir()}
    except OSError:
        return []
    return [folder / names[near] for near in difflib.get_close_matches(name.lower(), names, n=3)]


def read_bytes(path: Path | str, max_bytes: int, *, links: bool = True) -> bytes:
    """Return the content of a regular file. A pipe, device or folder is an error and never blocks.

    Args:
        path: the file.
        max_bytes: size limit.
        links: whether the file may be a symbolic link.

    Raises:
        FileNotFoundError: the file does not exist.
        FileError: the file is not a regular file, is too large, or cannot be read.
    """
    content = bytearray()
    with _open(path, max_bytes, links=links) as file:
        while chunk := file.read(CHUNK_BYTES):  # in chunks: the file may grow while it is read
            content += chunk
            if len(content) > max_bytes:
                raise _size_error(max_bytes)
    return bytes(content)


def read_lines(path: Path | str, max_bytes: int, max_line_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a regular file, each with its line break, without reading the whole file into memory.

    Args:
        path: the file.
        max_bytes: size limit of the file.
        max_line_bytes: size limit of a line.

    Raises:
        FileNotFoundError: the file does not exist.
        FileError: see `read_bytes`; or a line is too long.
    """
    with _open(path, max_bytes) as file:
        size = 0
        for number in itertools.count(1):
            text = file.readline(max_line_bytes + 1)
            size += len(text)
            if size > max_bytes:
                raise _size_error(max_bytes)
            if len(text) > max_line_bytes:
                raise FileError(f"line {number} is longer than the limit of {max_line_bytes} bytes")
            if not text:
                return
            yield text


@contextmanager
def _open(path: Path | str, max_bytes: int, *, links: bool = True) -> Iterator[BinaryIO]:
    """Open a regular file whose size is at most `max_bytes`; see `read_bytes`."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe would block
    try:
        if not links and os.path.islink(path):
            raise FileError("is a symbolic link, which may point anywhere")
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a device can have side effects
            raise FileError("is not a regular file")
        with os.fdopen(os.open(path, flags | (0 if links else getattr(os, "O_NOFOLLOW", 0))), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):  # the file was replaced in the meantime
                raise FileError("is not a regular file")
            if status.st_size > max_bytes:
                raise _size_error(max_bytes)
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except OSError as error:
        raise FileError(f"cannot be read ({line(error.strerror or error)})") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise FileError(f"cannot be read ({line(error)})") from None  # a NUL in the path


def parse_json(content: bytes | str) -> Any:
    """Return the data of a JSON text. NaN and infinities are errors.

    Raises:
        FileError: the text is not JSON, is nested too deeply, or has a number that is too large.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        return json.loads(text, parse_constant=_reject_constant, parse_float=_parse_float)
    except RecursionError:
        raise FileError("cannot be read as JSON (it is nested too deeply)") from None
    except ValueError as error:
        raise FileError(f"cannot be read as JSON ({line(error)})") from None


def write_atomic(path: Path, content: bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file so that a reader sees either the old content or the new one, never a part.

    The content is written to a new file with a random name in the same folder, which is then renamed to `path`. So no
    symbolic link is followed, and several processes may write at the same time.

    Args:
        path: the file.
        content: its new content.
        durable: whether to wait until the file is on the disk, so that it survives a loss of power.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the old file is unchanged.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for flag in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):  # some systems lack some of them
        flags |= getattr(os, flag, 0)
    try:
        with os.fdopen(os.open(part, flags, 0o666), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):  # the first error is reported
            part.unlink()
        raise
    if durable:
        fsync_path(path.parent)


def open_nofollow(path: str, flags: int) -> int:
    """Open a file unless it is a symbolic link; an `opener` for `open`, used for files that are changed in place."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def fsync_path(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk.

    Raises:
        OSError: the disk cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot do this for a folder
            raise
    finally:
        os.close(descriptor)


def line(value: object, max_length: int = 200) -> str:
    """Return a value's text on one line of at most `max_length` characters, with invisible characters escaped."""
    text = str(value)
    start = text[: 8 * max_length]  # a text may be very long
    joined = escape_invisible(" ".join(WHITESPACE.split(start)).strip(" "))
    return joined if len(joined) <= max_length and len(text) == len(start) else f"{joined[: max_length - 3]}..."


def escape_invisible(text: str) -> str:
    r"""Return a text with its invisible characters as escapes such as `\u202e`; line breaks and tabs are kept.

    Control characters change the state of a terminal, bidirectional characters reorder the text around them, and
    zero-width characters make different names look equal. Letters of all languages, accents and emoji are kept. A
    zero-width joiner is kept between two symbols, where it forms one emoji, and escaped elsewhere.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(
        letter if _is_visible(letter) or (letter == ZERO_WIDTH_JOINER and _is_in_emoji(text, at)) else _escape(letter)
        for at, letter in enumerate(text)
    )


def _is_visible(letter: str) -> bool:
    return letter in "\n\t" or ((letter.isprintable() or letter.isspace()) and not INVISIBLE.match(letter))


def _is_in_emoji(text: str, at: int) -> bool:
    """Return whether the zero-width joiner at a position is between two symbols."""
    before = text[max(0, at - 3) : at].rstrip(EMOJI_MODIFIERS)[-1:]
    after = text[at + 1 : at + 2]
    return all(letter and unicodedata.category(letter) == "So" for letter in (before, after))


def _escape(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _size_error(max_bytes: int) -> FileError:
    return FileError(f"is larger than the limit of {max_bytes} bytes")


def _reject_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _parse_float(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(f"{line(text, 20)} is too large")
    return value
