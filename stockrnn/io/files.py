"""Read files that may come from a stranger, within bounds on their size; show their text; write files atomically."""

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
    "AGAIN",
    "COMPLETE",
    "TEMPORARY_NAME",
    "FileError",
    "ForecasterError",
    "escape_invisible",
    "fsync_path",
    "line",
    "open_nofollow",
    "parse_json",
    "read_bytes",
    "read_lines",
    "read_object",
    "read_plain",
    "suggest_path",
    "write_atomic",
]

COMPLETE = "a forecaster is model.safetensors and forecaster.json of one study in one folder"
AGAIN = "copy the whole folder again, or run the study again"
PIECE = 1 << 20  # bytes
SPACES = re.compile(r"[^\S\x1c-\x1f]+")  # line breaks too; the separators of files are controls
JOINER = "\u200d"
VARIANTS = "\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"  # an emoji's look and skin tones
BLANK = re.compile(  # printable by name, and nothing to see: fillers, joiners, hidden variants, odd line breaks
    "[\x0b\x0c\r\x1c-\x1f\x85\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2028\u2029\u2800\u3164\ufe00-\ufe0d\uffa0"
    "\U000e0100-\U000e01ef]"
)
TEMPORARY_NAME = re.compile(r"\.[0-9a-f]{32}\.part")  # names of files that `write_atomic` has not finished


class FileError(UserError):
    """A file that cannot be read: what is wrong with it, in words, as in `is no plain file`."""


class ForecasterError(UserError):
    """A forecaster that cannot be used: `FILE: what is wrong; the rule; the fix` in one line."""


def suggest_path(path: str, known: Iterable[str] = (), ending: str = "") -> str:
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


def read_bytes(path: Path | str, most: int, *, links: bool = True) -> bytes:
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


def read_lines(path: Path | str, most: int, longest: int) -> Iterator[bytes]:
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
    """Open a plain file that says to have at most `most` bytes; see `read_bytes`."""
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


def parse_json(content: bytes | str) -> Any:
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
        found = parse_json(read_plain(path, most))
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
        return read_bytes(path, most, links=False)
    except FileNotFoundError:
        raise ForecasterError(f"{path}: no such file; {COMPLETE}; check the folder") from None
    except FileError as error:
        raise ForecasterError(f"{path}: {error}; {COMPLETE}; {AGAIN}") from None


def write_atomic(path: Path, content: bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    The content goes into a new file of a random name in the same folder, which then takes the place of `path`. So no
    link is followed, neither at `path` nor at a name that somebody has guessed, and several may write at once.

    Args:
        durable: whether the file outlives a loss of power once this returns.

    Raises:
        OSError: there is no room, or the folder cannot be written; the old file is as it was.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for flag in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):  # not every system has each
        flags |= getattr(os, flag, 0)
    try:
        with os.fdopen(os.open(part, flags, 0o666), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):  # the first error counts
            part.unlink()
        raise
    if durable:
        fsync_path(path.parent)


def open_nofollow(path: str, flags: int) -> int:
    """Open a file unless it is a symbolic link: an `opener` for `open`, for files that are changed in place."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def fsync_path(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk.

    Raises:
        OSError: they cannot be written there.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # there are file systems that cannot do so for a folder
            raise
    finally:
        os.close(descriptor)


def line(what: object, most: int = 200) -> str:
    """Return a text on one line of at most `most` characters, with what cannot be seen made visible."""
    text = str(what)
    joined = escape_invisible(" ".join(SPACES.split(text[: 8 * most])).strip(" "))  # what is beyond has no bound
    return joined if len(joined) <= most and len(text) <= 8 * most else f"{joined[: most - 3]}..."


def escape_invisible(text: str) -> str:
    r"""Return a text with its unseen characters as escapes such as `\u202e`; line breaks and tabs stay.

    Control characters command a terminal, bidirectional ones reorder what stands around them, zero-width ones and
    fillers make two names look alike. Letters of all languages, accents and emoji stay as they are. A zero-width
    joiner stays between two symbols, where it makes them one emoji; in text, where some scripts use it, it is shown.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(
        letter if _is_seen(letter) or (letter == JOINER and _joins(text, at)) else _escaped(letter)
        for at, letter in enumerate(text)
    )


def _is_seen(letter: str) -> bool:
    return letter in "\n\t" or ((letter.isprintable() or letter.isspace()) and not BLANK.match(letter))


def _joins(text: str, at: int) -> bool:
    """Whether a zero-width joiner stands between two symbols, as within an emoji."""
    before = text[max(0, at - 3) : at].rstrip(VARIANTS)[-1:]
    after = text[at + 1 : at + 2]
    return all(letter and unicodedata.category(letter) == "So" for letter in (before, after))


def _escaped(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


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
