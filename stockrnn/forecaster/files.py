"""Read the files of a saved forecaster and of its study, or raise an error that says how to get valid ones."""

from pathlib import Path
from typing import Any

from stockrnn.io.errors import UserError
from stockrnn.io.files import FileError, parse_json, read_bytes

__all__ = [
    "COPY_AGAIN",
    "DOCUMENT",
    "FOLDER_RULE",
    "ForecasterError",
    "get_value",
    "read_forecaster_file",
    "read_json_object",
]

DOCUMENT = "forecaster.json"  # of a saved forecaster: everything except its weights
FOLDER_RULE = "a forecaster is model.safetensors and forecaster.json of one study in one folder"
COPY_AGAIN = "copy the whole folder again, or run the study again"


class ForecasterError(UserError):
    """A forecaster cannot be used; the message is one line: `FILE: what is wrong; the rule; the fix`."""


def read_forecaster_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file, which must not be a symbolic link.

    Raises:
        ForecasterError: the file does not exist, is too large, or cannot be read.
    """
    try:
        return read_bytes(path, max_bytes, links=False)
    except FileNotFoundError:
        raise ForecasterError(f"{path}: no such file; {FOLDER_RULE}; check the folder") from None
    except FileError as error:
        raise ForecasterError(f"{path}: {error}; {FOLDER_RULE}; {COPY_AGAIN}") from None


def read_json_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ForecasterError: see `read_forecaster_file`; or the file has no JSON object.
    """
    try:
        found = parse_json(read_forecaster_file(path, max_bytes))
    except FileError as error:
        raise ForecasterError(f"{path}: {error}; {FOLDER_RULE}; {COPY_AGAIN}") from None
    if not isinstance(found, dict):
        raise ForecasterError(f"{path}: is not a JSON object; the file has names and values in braces; {COPY_AGAIN}")
    return found


def get_value(mapping: object, name: str) -> Any:
    """Return a value of a mapping in a file; None if it is missing, or if it is no mapping."""
    return mapping.get(name) if isinstance(mapping, dict) else None
