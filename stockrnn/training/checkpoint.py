"""Checkpoints of one training in a folder of their own: the newest and the one before, each whole or not there.

A checkpoint is a safetensors file with JSON in its metadata: neither can carry code. It may be torn, of another
training or from a stranger, so it is believed only when its size, hash, facts and shapes are the expected ones.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from stockrnn.io.files import TEMPORARY_NAME, FileError, line, parse_json
from stockrnn.io.storage import open_folder

__all__ = ["Checkpoint", "Checkpoints", "delete_checkpoints"]

FORMAT = 1
NAME = re.compile(r"\d{9}\.safetensors")
MAX_HEADER_BYTES = 1_000_000  # bytes of a file that are not arrays
DTYPES = {"F64": "float64", "F32": "float32", "I64": "int64", "U8": "uint8"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A training after `epoch` epochs.

    Attributes:
        notes: what JSON holds of it.
        arrays: what it does not, by name.
    """

    epoch: int
    notes: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: theirs alone, a path or a URL; it is made by the first, its parent is not.
        facts: whatever decides how the training goes on, as JSON takes it; a checkpoint of other facts is refused.
        check: raises an OSError where this process must not write any more; called before and after a write.

    Attributes:
        refused: of the files that `read` passed over, why: one line each.
    """

    def __init__(self, folder: str | Path, facts: Mapping[str, Any], check: Callable[[], None] | None = None) -> None:
        self.folder = folder
        self._files = open_folder(folder)
        self._check = check or (lambda: None)
        self.refused: list[str] = []
        self._facts = json.loads(json.dumps(facts))
        self._last: str | None = None

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and remove all but it and the one before.

        A crash at any moment leaves a whole one. The data are on the disk when this returns.

        Raises:
            OSError: there is no room, or no folder to write to; those before are as they were.
        """
        name = f"{checkpoint.epoch:09d}.safetensors"
        content = _content(checkpoint, self._facts)
        self._check()
        self._files.write(name, content)
        try:
            self._check()
        except OSError:  # the study became another process's while this one wrote
            self._files.remove(name)
            raise
        kept = {name, self._last}
        self._last = name
        for other in self._files.names():
            if other not in kept and (NAME.fullmatch(other) or TEMPORARY_NAME.fullmatch(other)):
                self._check()
                self._files.remove(other)

    def read(self, like: Mapping[str, np.ndarray]) -> Iterator[Checkpoint]:
        """The checkpoints that are whole and of these facts, the newest first.

        Args:
            like: arrays of the names, dtypes and shapes that a checkpoint must have.
        """
        # What a file says of its sizes costs no memory before it is what they must be.
        most = sum(array.nbytes for array in like.values()) + MAX_HEADER_BYTES
        for name in self._found():
            try:
                checkpoint = _checkpoint(self._files.read(name, most), self._facts, like)
            except (FileNotFoundError, FileError) as error:
                self.refuse(name, error)
                continue
            self._last = name
            yield checkpoint

    def refuse(self, what: object, why: object) -> None:
        """Note why a checkpoint was passed over."""
        self.refused.append(f"{line(what)}: {line(why)}")

    def _found(self) -> list[str]:
        try:
            return sorted(filter(NAME.fullmatch, self._files.names()), reverse=True)
        except OSError as error:
            self.refuse(self.folder, error.strerror or error)
            return []


def delete_checkpoints(folder: str | Path) -> str | None:
    """Remove the checkpoints of a training that has ended, if there are any.

    Returns:
        Why they could not be removed, else None.
    """
    try:
        open_folder(folder).clear()
    except OSError as error:
        return f"{folder}: cannot be removed ({line(error.strerror or error)})"
    return None


def _content(checkpoint: Checkpoint, facts: Mapping[str, Any]) -> bytes:
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.arrays.items()}
    document = json.dumps(
        {"format": FORMAT, "epoch": checkpoint.epoch, "facts": facts, "notes": checkpoint.notes}, allow_nan=False
    )
    return safetensors.numpy.save(arrays, {"document": document, "sha256": _digest(document, arrays)})


def _checkpoint(content: bytes, facts: Mapping[str, Any], like: Mapping[str, np.ndarray]) -> Checkpoint:
    """A checkpoint from a file's content; FileError where it is none of these facts and shapes."""
    header = _header(content)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(text := metadata.get("document"), str):
        raise FileError("is no checkpoint")
    document = parse_json(text)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileError(f"is no checkpoint of format {FORMAT}")
    if (found := document.get("facts")) != facts:
        raise FileError(f"is of another training: other {_differing(found, facts)}")
    _check_shapes(header, like)
    try:
        arrays = safetensors.numpy.load(content)
    except Exception as error:  # whatever the reader makes of a stranger's bytes
        raise FileError(f"cannot be read as safetensors ({line(error)})") from None
    if metadata.get("sha256") != _digest(text, arrays):
        raise FileError("is damaged: its content has another hash than it had")
    epoch, notes = document.get("epoch"), document.get("notes")
    if type(epoch) is not int or not 1 <= epoch < 10**9 or not isinstance(notes, dict):
        raise FileError("is no checkpoint: it has no epoch or no notes")
    return Checkpoint(epoch=epoch, notes=notes, arrays=arrays)


def _header(content: bytes) -> dict[str, Any]:
    """The header of a safetensors file: its length in eight bytes, and JSON."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 + length or length > MAX_HEADER_BYTES:
        raise FileError("is cut off")
    header = parse_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise FileError("is no checkpoint")
    return header


def _check_shapes(header: Mapping[str, Any], like: Mapping[str, np.ndarray]) -> None:
    if header.keys() != like.keys():
        raise FileError("has other arrays than this training")
    for name, array in like.items():
        entry = header[name] if isinstance(header[name], dict) else {}
        if DTYPES.get(str(entry.get("dtype"))) != array.dtype.name or entry.get("shape") != list(array.shape):
            raise FileError(f"{name}: has another type or shape than in this training")


def _differing(found: Any, facts: Mapping[str, Any]) -> str:
    """The names of facts that differ."""
    if not isinstance(found, dict):
        return "facts"
    names = [name for name in {**facts, **found} if found.get(name, math.nan) != facts.get(name, math.nan)]
    return ", ".join(names[:5])


def _digest(document: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of the document and of the arrays' names, dtypes, shapes and bytes."""
    digest = hashlib.sha256(document.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
