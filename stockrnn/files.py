"""Files that may come from a stranger: read with a bound on their size, and refused in one line."""

import json
import os
import stat
from pathlib import Path
from typing import Any

__all__ = ["AGAIN", "COMPLETE", "ForecasterError", "line", "read_object", "read_plain", "write_whole"]

COMPLETE = "a forecaster is model.safetensors and forecaster.json of one study in one folder"
AGAIN = "copy the whole folder again, or run the study again"


class ForecasterError(ValueError):
    """A forecaster that cannot be used: `FILE: what is wrong; the rule; the fix` in one line."""


def read_object(path: Path, most: int) -> dict[str, Any]:
    """Read a JSON object from a plain file of at most `most` bytes; it has no NaN and no infinities.

    Raises:
        ForecasterError: there is no such file, or it holds something else.
    """
    try:
        found = json.loads(read_plain(path, most).decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ForecasterError):
            raise
        raise ForecasterError(f"{path}: cannot be read as JSON ({line(error)}); {AGAIN}") from None
    if not isinstance(found, dict):
        raise ForecasterError(f"{path}: is no JSON object; it holds names and values in braces; {AGAIN}")
    return found


def read_plain(path: Path, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes.

    Raises:
        ForecasterError: there is no such file, or it is none to read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would never end
            raise ForecasterError(f"{path}: is no plain file; {COMPLETE}; {AGAIN}")
        if found.st_size > most:
            raise ForecasterError(f"{path}: is larger than the {most} bytes it may have; {COMPLETE}; {AGAIN}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ForecasterError(f"{path}: no such file; {COMPLETE}; check the folder") from None
    except OSError as error:
        raise ForecasterError(f"{path}: cannot be read ({line(error)}); check the file") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that a reader sees whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def line(what: object, most: int = 200) -> str:
    """A text on one line, at most this long; what a stranger wrote gets no control over the terminal."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(what))
    return " ".join(text.split())[:most]


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
