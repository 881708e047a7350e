"""Write and read `trials.jsonl`, the event log: one line per start, epoch and end of a trial.

A trial starts once and ends once. An interruption has a line as well, which a later end replaces; so has the retry of a
trial whose worker died. Times are UTC in ISO 8601. Unknown numbers are null, never 0 or NaN.
"""

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from search.common.disk import LostLockError, read_lock_state
from search.common.errors import DamagedError
from search.results.schemas import (
    EVENTS,
    MAX_LINE_BYTES,
    MAX_LOG_BYTES,
    MAX_TRACEBACK,
    MAX_TRIALS,
    parse_event,
    to_json,
)
from stockrnn.io.files import FileError, open_nofollow, read_lines

__all__ = [
    "DEFAULT", "INTERRUPTED", "RUNNING", "STATUSES", "TRIAL_ID", "UNSCORED", "Record", "TrialEnd", "TrialLog",
    "cut_torn_line", "digest", "now", "read_events", "read_log",
]  # fmt: skip

INTERRUPTED, RUNNING = "interrupted", "running"
DEFAULT = "default"  # the default configuration, after a training like that of a complete trial
STATUSES = (DEFAULT, "complete", "stopped", "diverged", "failed", INTERRUPTED)
MAX_EPOCHS = 1_000_000  # of all trials together, as many as memory holds
CHUNK_BYTES = 1 << 20  # bytes
UNSCORED = ("diverged", "failed")  # such trials are not ranked; the scores of their epochs stay in the log
TRIAL_ID = re.compile(r"[0-9]{5,9}")  # a trial has a folder of this name


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """The end of a trial.

    Attributes:
        point: its parameters.
        scores: of its best epoch; empty without a score, and if the trial diverged or failed.
        parameters: weights of one member.
        form: how its members were computed, batched or looped.
        seconds: from its start on the worker to its last report.
        message: the error, if it failed.
        time: when it ended.
    """

    trial_id: str
    status: str
    point: Mapping[str, Any]
    scores: Mapping[str, float | None] = field(default_factory=dict)
    epochs: int = 0
    best_epoch: int | None = None
    parameters: int | None = None
    seconds: float | None = None
    worker: int | None = None
    form: str | None = None
    message: str | None = None
    time: str | None = None


def now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class TrialLog:
    """The trials of a study, from the events of `trials.jsonl`. It is small enough for a million epochs.

    Args:
        events: as `read_events` yields them.
        place: the file, for errors.

    Attributes:
        points: the parameters of every trial that started, by trial id.
        epochs: of all trials, in the order in which they were reported: trial id, epoch, score by the study's metric,
            and Theil's U on validation.
        ended: the last end of each trial, interruptions included, in the order in which they happened; by trial id.
        statuses: of every trial: that of its end, or `running`.
        ending: trials that the last epoch on file ends, and whose end is missing, because the study was killed between
            the two.
        time: of the last event.

    Raises:
        DamagedError: there are more trials or epochs than a study has.
    """

    def __init__(self, events: Iterable[Mapping[str, Any]] = (), place: str = "trials.jsonl") -> None:
        self.points: dict[str, Mapping[str, Any]] = {}
        self.epochs: list[tuple[str, int, float | None, float | None]] = []  # plain tuples: named ones take longer
        self.ended: dict[str, TrialEnd] = {}
        self.statuses: dict[str, str] = {}
        self.ending: set[str] = set()
        self.time: str | None = None
        names = TrialEnd.__dataclass_fields__.keys()
        epochs, statuses, time = self.epochs, self.statuses, ""
        for line in events:
            trial_id, event = line["trial_id"], line["event"]
            if line["time"] > time:
                time = line["time"]
            statuses[trial_id] = RUNNING
            if event == "epoch":
                epochs.append((trial_id, line["epoch"], line.get("score"), line["scores"].get("val_relative_loss")))
                self.ending.discard(trial_id)  # after a resume without a fixed order, ASHA may let a trial continue
                if line.get("last"):
                    self.ending.add(trial_id)
            elif event != "retry":
                self.points[trial_id] = line["point"]
            if event in ("end", INTERRUPTED):
                statuses[trial_id] = line["status"]
                if event == "end":
                    self.ending.discard(trial_id)
                self.ended.pop(trial_id, None)
                self.ended[trial_id] = TrialEnd(**{name: line[name] for name in names & line.keys()})
            if len(statuses) > MAX_TRIALS or len(epochs) > MAX_EPOCHS:
                raise DamagedError(
                    f"{place}: has more than {MAX_TRIALS} trials or {MAX_EPOCHS} epochs; a study has no more; "
                    "copy the study's folder again"
                )
        self.time = time or None

    @property
    def ends(self) -> list[TrialEnd]:
        """The trials that ended or were interrupted."""
        return list(self.ended.values())

    @property
    def finished(self) -> list[TrialEnd]:
        """The trials that ended; an interrupted trial has not."""
        return [end for end in self.ended.values() if end.status != INTERRUPTED]


class Record:
    """Append events to `trials.jsonl`, and keep the end of every trial in memory.

    Args:
        path: the file.
        log: what the file holds already, of a study that is resumed.

    Attributes:
        ends: of the trials that ended, and of those interrupted since this record was opened.
    """

    def __init__(self, path: Path, log: TrialLog | None = None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._running: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {}
        log = log or TrialLog()
        self._epochs = {trial_id: epoch for trial_id, epoch, *_ in log.epochs}  # the last epoch on file
        self._started = set(log.points)
        self.ends = log.finished
        self._left = self._state() if path.exists() else None

    @property
    def running(self) -> dict[str, dict[str, Any]]:
        """The last report of each running trial, by trial id; empty before the first epoch."""
        return {trial_id: report for trial_id, (_, report) in self._running.items()}

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        """Write the start of a trial, unless the log has it."""
        self._running.setdefault(trial_id, (point, {}))
        if trial_id not in self._started:
            self._started.add(trial_id)
            self._append({"event": "start", "trial_id": trial_id, "time": now(), "point": point})

    def retry(self, trial_id: str, message: str) -> None:
        """Write that the worker of a trial failed and another worker continues it."""
        self._append({"event": "retry", "trial_id": trial_id, "time": now(), "message": message})

    def epoch(self, trial_id: str, report: Mapping[str, Any]) -> None:
        """Write the report of an epoch, unless the log has it from before a resume or a retry.

        Args:
            report: as `search.tune.trial.train_trial` yields it; `done` also if ASHA stops the trial after this epoch.
        """
        point, last = self._running[trial_id]
        if "epoch" not in report:  # a failure's report: the epochs before it still count
            self._running[trial_id] = (point, {**last, **report})
            return
        self._running[trial_id] = (point, dict(report))
        if report["epoch"] <= self._epochs.get(trial_id, 0):
            return
        self._epochs[trial_id] = report["epoch"]
        line = {"event": "epoch", "trial_id": trial_id, "time": now()}
        keys = ("epoch", "score", "best_epoch", "scores", "loss", "seconds", "worker")
        last = {"last": True} if report["done"] else {}
        self._append(line | {key: report[key] for key in keys} | last)

    def end(self, trial_id: str, status: str, message: str | None = None) -> TrialEnd:
        """Write the end of a trial with the scores of its last report."""
        point, report = self._running.pop(trial_id)
        if status in UNSCORED:
            report = {**report, "best": {}, "best_epoch": None}
        end = TrialEnd(
            trial_id=trial_id, time=now(), status=status, point=point, scores=report.get("best", {}),
            epochs=report.get("epoch", 0), best_epoch=report.get("best_epoch") or None,
            parameters=report.get("parameters"), seconds=report.get("seconds"), worker=report.get("worker"),
            form=report.get("form"),
            message=message or report.get("message"),
        )  # fmt: skip
        self.ends.append(end)
        line = {
            "event": INTERRUPTED if status == INTERRUPTED else "end",
            "time": end.time,
            **{name: getattr(end, name) for name in TrialEnd.__dataclass_fields__},
        }
        if "traceback" in report:
            line["traceback"] = report["traceback"][-MAX_TRACEBACK:]  # its end is most informative
        self._append(line, durable=True)
        return end

    def check(self) -> None:
        """Check that no other process has written the file or has taken the lock on the folder.

        Raises:
            LostLockError: another process may write there.
        """
        state = self._state()
        if self._left not in (None, state):
            raise LostLockError(
                f"{self._path}: was changed by another process, or moved, or its lock was removed; a study has one "
                "writer; check the folder, and continue with --resume"
            )
        self._left = state

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _state(self) -> tuple[int | None, ...]:
        try:
            found = os.stat(self._path)
        except OSError:
            return (None, 0, *read_lock_state(self._path.parent))
        return (found.st_ino, found.st_size, *read_lock_state(self._path.parent))

    def _append(self, line: Mapping[str, Any], *, durable: bool = False) -> None:
        self.check()
        if self._file is None:
            self._file = open(self._path, "ab", buffering=0, opener=open_nofollow)  # noqa: SIM115  # until close
        content = to_json(EVENTS[line["event"]], line) + b"\n"
        before = self._file.seek(0, os.SEEK_END)
        if before + len(content) > MAX_LOG_BYTES:  # nobody could read it
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(self._path))
        try:
            if self._file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        except OSError:
            self._file.truncate(before)
            raise
        assert self._left
        self._left = (os.fstat(self._file.fileno()).st_ino, before + len(content), *self._left[2:])
        if durable:
            os.fsync(self._file.fileno())


def digest(ends: Iterable[TrialEnd]) -> str:
    """Return the SHA-256 of points, statuses, epochs and scores, in the order of the ends; equal for equal searches."""
    found = hashlib.sha256()
    for end in ends:
        scores = {
            name: value if value is not None and math.isfinite(value) else None for name, value in end.scores.items()
        }
        facts = [end.trial_id, dict(end.point), end.status, end.epochs, end.best_epoch, scores]
        found.update(json.dumps(facts, sort_keys=True).encode() + b"\n")
    return found.hexdigest()


def read_log(path: Path) -> TrialLog:
    """Return what `trials.jsonl` holds; an empty log if there is no such file.

    Raises:
        DamagedError: a line is not an event, or there are more trials or epochs than a study has.
    """
    return TrialLog(read_events(path), str(path)) if path.exists() else TrialLog()


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of `trials.jsonl`, without a last line that is incomplete: still being written, or cut off.

    Raises:
        DamagedError: another line is not an event.
    """
    try:
        for number, line in enumerate(read_lines(path, MAX_LOG_BYTES, MAX_LINE_BYTES), start=1):
            try:
                found = parse_event(line)
            except ValueError as error:
                if line.endswith(b"\n"):
                    raise DamagedError(f"{path}:{number}: is no event of a trial: {error}; remove the line") from None
                return
            yield found
    except FileError as error:
        raise DamagedError(f"{path}: {error}; it is as search.run wrote it; copy the study's folder again") from None


def cut_torn_line(path: Path) -> int:
    """Cut an incomplete last line, which a crash leaves, and return its length in bytes.

    Raises:
        DamagedError: the path is a link or a folder, or the file is too large.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DamagedError(f"{path}: is no plain file; a study writes into its own folder only; put the file there")
    if not path.exists():
        return 0
    with open(path, "rb+", opener=open_nofollow) as file:
        size = file.seek(0, os.SEEK_END)
        if size > MAX_LOG_BYTES:
            raise DamagedError(
                f"{path}: is larger than the {MAX_LOG_BYTES} bytes it may have; a study's own is smaller; copy the "
                "study's folder again"
            )
        whole, found = size, -1
        while whole and found < 0:  # backwards: memory holds one piece
            start = max(0, whole - CHUNK_BYTES)
            file.seek(start)
            found = file.read(whole - start).rfind(b"\n")
            whole = start + found + 1 if found >= 0 else start
        file.truncate(whole)
    return size - whole
