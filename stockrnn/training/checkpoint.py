"""Write and read the two newest checkpoints of a training, in a folder of its own.

A checkpoint is a safetensors file with JSON in its metadata; neither format can contain code. A checkpoint may be
incomplete, come from another training, or come from an untrusted source. So it is used only if its size, hash, facts
and array shapes are as expected.
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
FILE_NAME = re.compile(r"\d{9}\.safetensors")
MAX_HEADER_BYTES = 1_000_000  # of a file, before the arrays
DTYPES = {"F64": "float64", "F32": "float32", "I64": "int64", "U8": "uint8"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """State of a training.

    Attributes:
        epoch: number of epochs trained.
        notes: the part of the state that is stored as JSON.
        arrays: arrays of the state, by name.
    """

    epoch: int
    notes: Mapping[str, object]
    arrays: Mapping[str, np.ndarray]


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: path or URL of a folder for these checkpoints only. The first checkpoint creates it; its parent must
            exist.
        facts: everything that determines the rest of the training, as JSON data; a checkpoint with other facts is
            rejected.
        check: called before and after each write; raises OSError if this process must not write any more.

    Attributes:
        rejected: for each file that `read` rejected, one line with the reason.
    """

    def __init__(
        self, folder: str | Path, facts: Mapping[str, object], check: Callable[[], None] | None = None
    ) -> None:
        self.folder = folder
        self._files = open_folder(folder)
        self._check = check or (lambda: None)
        self.rejected: list[str] = []
        self._facts = json.loads(json.dumps(facts))
        self._last: str | None = None

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and remove all others except the previous one.

        If the process crashes, at least one complete checkpoint remains. The data are on the disk when this returns.

        Raises:
            OSError: the disk is full, or the folder cannot be written; earlier checkpoints are unchanged.
        """
        name = f"{checkpoint.epoch:09d}.safetensors"
        content = _encode(checkpoint, self._facts)
        self._check()
        self._files.write(name, content)
        try:
            self._check()
        except OSError:  # another process took over the study during the write
            self._files.remove(name)
            raise
        kept = {name, self._last}
        self._last = name
        for other in self._files.names():
            if other not in kept and (FILE_NAME.fullmatch(other) or TEMPORARY_NAME.fullmatch(other)):
                self._check()
                self._files.remove(other)

    def read(self, like: Mapping[str, np.ndarray]) -> Iterator[Checkpoint]:
        """Yield the valid checkpoints with these facts, newest first.

        Args:
            like: arrays with the names, dtypes and shapes that a checkpoint must have.
        """
        # The limit comes from the expected arrays, not from the sizes in the file, which may be wrong.
        max_bytes = sum(array.nbytes for array in like.values()) + MAX_HEADER_BYTES
        for name in self._file_names():
            try:
                checkpoint = _decode(self._files.read(name, max_bytes), self._facts, like)
            except (FileNotFoundError, FileError) as error:
                self.reject(name, error)
                continue
            self._last = name
            yield checkpoint

    def reject(self, name: object, reason: object) -> None:
        """Add a line to `rejected`."""
        self.rejected.append(f"{line(name)}: {line(reason)}")

    def _file_names(self) -> list[str]:
        try:
            return sorted(filter(FILE_NAME.fullmatch, self._files.names()), reverse=True)
        except OSError as error:
            self.reject(self.folder, error.strerror or error)
            return []


def delete_checkpoints(folder: str | Path) -> str | None:
    """Delete the folder of a training's checkpoints, if it exists.

    Returns:
        One line with the reason if the folder cannot be deleted, otherwise None.
    """
    try:
        open_folder(folder).clear()
    except OSError as error:
        return f"{folder}: cannot be deleted ({line(error.strerror or error)})"
    return None


def _encode(checkpoint: Checkpoint, facts: Mapping[str, object]) -> bytes:
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.arrays.items()}
    document = json.dumps(
        {"format": FORMAT, "epoch": checkpoint.epoch, "facts": facts, "notes": checkpoint.notes}, allow_nan=False
    )
    return safetensors.numpy.save(arrays, {"document": document, "sha256": _digest(document, arrays)})


def _decode(content: bytes, facts: Mapping[str, object], like: Mapping[str, np.ndarray]) -> Checkpoint:
    """Return the checkpoint in a file's content; raise FileError if it is invalid or has other facts or shapes."""
    header = _read_header(content)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(text := metadata.get("document"), str):
        raise FileError("is not a checkpoint")
    document = parse_json(text)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileError(f"is not a checkpoint of format {FORMAT}")
    if (found := document.get("facts")) != facts:
        raise FileError(f"belongs to another training, with other {_different_facts(found, facts)}")
    _check_shapes(header, like)
    try:
        arrays = safetensors.numpy.load(content)
    except Exception as error:  # safetensors does not document which errors damaged files raise
        raise FileError(f"cannot be read as safetensors ({line(error)})") from None
    if metadata.get("sha256") != _digest(text, arrays):
        raise FileError("is damaged: the hash of its content is wrong")
    epoch, notes = document.get("epoch"), document.get("notes")
    if type(epoch) is not int or not 1 <= epoch < 10**9 or not isinstance(notes, dict):
        raise FileError("is not a checkpoint: it has no epoch or no notes")
    return Checkpoint(epoch=epoch, notes=notes, arrays=arrays)


def _read_header(content: bytes) -> dict[str, Any]:
    """Return the header of a safetensors file: eight bytes with its length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 + length or length > MAX_HEADER_BYTES:
        raise FileError("is incomplete")
    header = parse_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise FileError("is not a checkpoint")
    return header


def _check_shapes(header: Mapping[str, object], like: Mapping[str, np.ndarray]) -> None:
    if header.keys() != like.keys():
        raise FileError("has other arrays than this training")
    for name, array in like.items():
        match header[name]:
            case {"dtype": str(dtype), "shape": shape}:
                fits = DTYPES.get(dtype) == array.dtype.name and shape == list(array.shape)
            case _:
                fits = False
        if not fits:
            raise FileError(f"{name}: has another type or shape than in this training")


def _different_facts(found: object, facts: Mapping[str, object]) -> str:
    """Return the names of at most five facts that differ."""
    if not isinstance(found, dict):
        return "facts"
    names = [name for name in {**facts, **found} if found.get(name, math.nan) != facts.get(name, math.nan)]
    return ", ".join(names[:5])


def _digest(document: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Return a hash of the document and of the names, dtypes, shapes and bytes of the arrays."""
    digest = hashlib.sha256(document.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
