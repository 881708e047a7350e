"""The file of Optuna's journal, into which lines that belong together are written at once.

Optuna's own backend locks the file, writes, and waits for the disk at each line, and a trial has dozens of them. Here
whoever writes several lines holds the lock from the first to the last, and waits for the disk once. Other programs read
and write the same file as ever.
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
    """Optuna's backend on a file, for one storage: it reads on from where it was, and never goes back.

    Args:
        path: of the file, made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        open(path, "ab", opener=open_nofollow).close()
        self._path = path
        self._lock = JournalFileSymlinkLock(str(path))
        self._read = 0  # bytes of the file that the storage has
        self._held: list[bytes] | None = None  # lines not written yet; None outside of `batch_writes`
        self._given = 0  # of those the storage has

    @contextmanager
    def batch_writes(self) -> Iterator[None]:
        """Within: what is appended is read back as ever, and written at the end, whatever happens.

        Raises:
            OSError: it could not be written, nothing of it.
        """
        if self._held is not None:
            yield
            return
        self._lock.acquire()
        try:
            self._held = []
            try:
                yield
            finally:
                lines, given = self._held, self._given
                self._held, self._given = None, 0
                self._write(lines)
                self._read += sum(map(len, lines[:given]))
        finally:
            self._lock.release()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The lines that the storage has not had; `log_number_from` is always the first of them."""
        if self._path.stat().st_size > self._read:
            yield from self._new_lines()
        while self._held is not None and self._given < len(self._held):
            self._given += 1
            yield json.loads(self._held[self._given - 1])

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Append lines, now or at the end of what stands together."""
        with self.batch_writes():
            assert self._held is not None
            self._held += [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        with open(self._path, "rb", opener=open_nofollow) as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # another program is writing it
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
