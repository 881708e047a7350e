"""`trials.jsonl`: one line an epoch report and one a trial's end, appended; the study's record of truth.

Times are UTC in ISO 8601. Unknown numbers are null, never 0 and never NaN.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

__all__ = ["STATUSES", "Record", "TrialEnd", "now", "plain", "read_ends", "read_events"]

STATUSES = ("complete", "stopped", "diverged", "failed", "interrupted")


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """How a trial ended.

    Attributes:
        point: its parameters.
        scores: of its best epoch; empty where it has none, and where the trial diverged or failed.
        parameters: weights of one member.
        form: how its members were computed, batched or looped.
        seconds: from its beginning on the worker to its last report.
        message: why it failed.
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


def now() -> str:
    """The time, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Record:
    """Appends to `trials.jsonl`, made at the first line, and keeps every trial's end in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._running: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {}
        self.ends: list[TrialEnd] = []

    @property
    def running(self) -> dict[str, dict[str, Any]]:
        """The last report of each trial that has not ended, by trial id; empty before the first."""
        return {trial_id: report for trial_id, (_, report) in self._running.items()}

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        """A trial began."""
        self._running[trial_id] = (point, {})

    def epoch(self, trial_id: str, report: Mapping[str, Any]) -> None:
        """An epoch's report, as `trial.reports` yields it."""
        point, last = self._running[trial_id]
        if "epoch" not in report:  # a failure's report: the epochs before it still count
            self._running[trial_id] = (point, {**last, **report})
            return
        self._running[trial_id] = (point, dict(report))
        line = {"event": "epoch", "trial_id": trial_id, "time": now()}
        keys = ("epoch", "score", "best_epoch", "scores", "loss", "seconds", "worker")
        self._append(line | {key: report[key] for key in keys})

    def end(self, trial_id: str, status: str, message: str | None = None) -> TrialEnd:
        """A trial ended; its last report holds what it reached."""
        point, report = self._running.pop(trial_id)
        if status in ("diverged", "failed"):  # what it reached before stands in its epochs' lines, and ranks nowhere
            report = {**report, "best": {}, "best_epoch": None}
        end = TrialEnd(
            trial_id=trial_id, status=status, point=point, scores=report.get("best", {}),
            epochs=report.get("epoch", 0), best_epoch=report.get("best_epoch") or None,
            parameters=report.get("parameters"), seconds=report.get("seconds"), worker=report.get("worker"),
            form=report.get("form"),
            message=message or report.get("message"),
        )  # fmt: skip
        self.ends.append(end)
        line = {
            "event": "end",
            "time": now(),
            **{name: getattr(end, name) for name in TrialEnd.__dataclass_fields__},
        }
        self._append(line | ({"traceback": report["traceback"]} if "traceback" in report else {}))
        return end

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps(plain(line), allow_nan=False) + "\n")
        self._file.flush()


def read_events(path: Path) -> list[dict[str, Any]]:
    """Every line of the record, without the last where it is torn: still being written, or cut off.

    Raises:
        ValueError: another line is no event.
    """
    events = []
    *whole, last = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate([*whole, last], start=1):
        try:
            event = json.loads(line)
            known = event["event"] in ("epoch", "end")
        except (ValueError, TypeError, KeyError):
            known = False
        if known:
            events.append(event)
        elif number <= len(whole):
            raise ValueError(f"{path}:{number}: is no event of a trial: {line[:60]!r}; remove the line")
    return events


def read_ends(path: Path) -> list[TrialEnd]:
    """The trials that ended, in the order in which they did."""
    names = set(TrialEnd.__dataclass_fields__)
    return [
        TrialEnd(**{name: value for name, value in event.items() if name in names})
        for event in read_events(path)
        if event["event"] == "end"
    ]


def plain(value: Any) -> Any:
    """Nested data as JSON takes it: numbers that are not finite become null, tuples lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
