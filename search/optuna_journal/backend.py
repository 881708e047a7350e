"""A file backend for Optuna's journal storage that writes several lines at once.

Optuna's own backend locks the file, writes and waits for the disk once per line, and a trial has dozens of lines. This
backend does so once per batch of lines. Other programs can read and write the file meanwhile.
"""

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileSymlinkLock

from stockrnn.io.files import open_nofollow

__all__ = ["JournalFile"]


class JournalFile(BaseJournalBackend):
    """A journal backend for one storage; each call of `read_logs` continues where the last one ended.

    Args:
        path: of the file, which is created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        open(path, "ab", opener=open_nofollow).close()
        self._path = path
        self._lock = JournalFileSymlinkLock(str(path))
        self._read = 0  # bytes of the file that the storage has read
        self._batch: list[bytes] | None = None  # lines to be written; None outside of `batch_writes`
        self._batch_read = 0  # number of them that the storage has read

    @contextmanager
    def batch_writes(self) -> Iterator[None]:
        """Collect the lines that are appended in this context, and write them at its end, also after an error.

        The storage reads them at once. Contexts can be nested; the outermost one writes.

        Raises:
            OSError: the lines could not be written; the file is unchanged.
        """
        if self._batch is not None:
            yield
            return
        self._lock.acquire()
        try:
            self._batch = []
            try:
                yield
            finally:
                lines, count = self._batch, self._batch_read
                self._batch, self._batch_read = None, 0
                self._write(lines)
                self._read += sum(map(len, lines[:count]))
        finally:
            self._lock.release()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the lines that the storage has not read; the first of them always has the number `log_number_from`."""
        if self._path.stat().st_size > self._read:
            yield from self._read_new_lines()
        while self._batch is not None and self._batch_read < len(self._batch):
            self._batch_read += 1
            yield json.loads(self._batch[self._batch_read - 1])

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Append lines, at once or at the end of `batch_writes`."""
        with self.batch_writes():
            assert self._batch is not None
            self._batch += [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]

    def _read_new_lines(self) -> Iterator[dict[str, Any]]:
        with open(self._path, "rb", opener=open_nofollow) as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # another program has not finished writing it
                    return
                self._read += len(line)
                yield json.loads(line)

    def _write(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        content = b"".join(lines)
        with open(self._path, "ab", buffering=0, opener=open_nofollow) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            except OSError:
                file.truncate(before)
                raise
            os.fsync(file.fileno())
