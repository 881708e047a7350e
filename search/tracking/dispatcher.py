"""Send every trial of a running study to the trackers: MLflow, TensorBoard, Weights & Biases.

Each tracker has its own thread and a bounded queue. A tracker that fails, hangs or is too slow is dropped with one line
on stderr. The study waits for the trackers only at its end, for a few seconds.
"""

import importlib.util
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from search.common.credentials import strip_credentials
from search.common.messages import one_line
from search.results.event_log import TrialEnd
from search.space.space import Space, SpaceError
from search.tracking.payload import describe_study, select_numbers

__all__ = ["Tracker", "Tracking", "check_installed"]

PACKAGES = {"mlflow": "mlflow", "tensorboard": "tensorboardX", "wandb": "wandb"}  # Python package of each tracker
MAX_QUEUED_REPORTS = 10_000  # per tracker; further reports are dropped
MAX_CALL_SECONDS = 30.0  # a tracker that needs longer for one report is dropped
MAX_FINAL_WAIT = 5.0  # seconds for all trackers together, at the end of the study


class Tracker(Protocol):
    """The interface of a tracker; its methods run in one thread, may block and may raise.

    The constructor connects to the tracker and starts the run of the study.
    """

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        """Record the start of a trial."""

    def epoch(self, trial_id: str, epoch: int, scores: Mapping[str, float]) -> None:
        """Record the scores of a trial after an epoch; may buffer them until `flush` or `end`."""

    def end(self, end: TrialEnd) -> None:
        """Record the end of a trial."""

    def flush(self) -> None:
        """Send the buffered scores; called when the queue is empty."""

    def close(self, manifest: Mapping[str, Any]) -> None:
        """Record the end of the study."""


def check_installed(space: Space) -> None:
    """Check that the packages of the space's trackers are installed.

    Raises:
        SpaceError: one line per missing package.
    """
    problems = [
        space.document.format_problem(
            ("tracking", name),
            f"the package {PACKAGES[name]} is not installed; a tracker needs its package; pip install -e '.[{name}]'",
        )
        for name in _list_trackers(space)
        if not _is_installed(PACKAGES[name])
    ]
    if problems:
        raise SpaceError(problems)


class Tracking:
    """Sends the trials of a study to the trackers of its space; the methods neither block nor raise.

    Args:
        space: the space of the study.
        folder: the results folder.
    """

    def __init__(self, space: Space, folder: Path) -> None:
        self._space, self._folder = space, folder
        self._workers: list[_Worker] = []

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """Connect to the trackers."""
        for name in _list_trackers(self._space):
            label = f"{name} ({strip_credentials(self._space.tracking.mlflow or '')})" if name == "mlflow" else name
            worker = _Worker(label, partial(_connect, name, self._space, self._folder, manifest))
            self._workers.append(worker)
            worker.start()

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        """Send the start of a trial."""
        self._send("start", trial_id, dict(point))

    def epoch(self, trial_id: str, report: Mapping[str, Any]) -> None:
        """Send the scores of an epoch; ignore a report without an epoch.

        Args:
            trial_id: the id of the trial.
            report: a report of the trial, see `search.tune.trial`.
        """
        if self._workers and "epoch" in report:
            values = {**report["scores"], "loss": report["loss"], "score": report["score"]}
            self._send("epoch", trial_id, report["epoch"], select_numbers(values))

    def end(self, end: TrialEnd) -> None:
        """Send the end of a trial."""
        self._send("end", end)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Send the end of the study, and wait a few seconds until the trackers are done."""
        self._send("close", manifest)
        deadline = time.monotonic() + MAX_FINAL_WAIT
        for worker in self._workers:
            worker.wait(max(0.0, deadline - time.monotonic()))

    def _send(self, method: str, *arguments: Any) -> None:
        for worker in self._workers:
            worker.put(method, *arguments)


class _Worker(threading.Thread):
    """The thread and the queue of one tracker."""

    def __init__(self, label: str, connect: Callable[[], Tracker]) -> None:
        super().__init__(name=f"tracking {label}", daemon=True)
        self._label, self._connect = label, connect
        self._queue: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._changed = threading.Condition()
        self._busy_since: float | None = None
        self._dropped = 0
        self._stopped = False

    def put(self, method: str, *arguments: Any) -> None:
        """Queue a call of a method of the tracker; if the queue is full, drop and count it."""
        busy = self._busy_since
        if busy is not None and time.monotonic() - busy > MAX_CALL_SECONDS:
            self._drop(f"no answer for {MAX_CALL_SECONDS:.0f} seconds")
        with self._changed:
            if self._stopped:
                return
            limit = MAX_QUEUED_REPORTS if method == "epoch" else 2 * MAX_QUEUED_REPORTS  # epochs are dropped first
            if len(self._queue) < limit or method == "close":
                self._queue.append((method, arguments))
                self._changed.notify()
            else:
                self._dropped += 1

    def wait(self, seconds: float) -> None:
        """Wait until the queue is empty, at most so many seconds; then drop the tracker."""
        if not self._stopped:  # the thread of a dropped tracker can hang
            self.join(seconds)
        if self.is_alive():
            self._drop(
                f"not finished {MAX_FINAL_WAIT:.0f} seconds after the end of the study, {len(self._queue)} reports left"
            )
        elif self._dropped:
            self._drop(f"slower than the study, {self._dropped} reports were dropped")

    def run(self) -> None:
        try:
            self._busy_since = time.monotonic()
            tracker = self._connect()
            method = ""
            while method != "close":
                if not self._queue:
                    tracker.flush()
                self._busy_since = None
                with self._changed:
                    self._changed.wait_for(lambda: self._queue or self._stopped)
                    if self._stopped:
                        return
                    method, arguments = self._queue.popleft()
                self._busy_since = time.monotonic()
                getattr(tracker, method)(*arguments)
        except Exception as error:
            self._drop(_shorten_error(error))

    def _drop(self, reason: str) -> None:
        """Stop, and print the reason once, in one write so that it does not break the live view of the terminal."""
        with self._changed:
            if self._stopped:
                return
            self._stopped = True
            self._queue.clear()
            self._changed.notify()
        sys.stderr.write(f"tracking: {self._label}: {reason}; the study continues without it\n")
        sys.stderr.flush()


def _list_trackers(space: Space) -> list[str]:
    return [name for name in PACKAGES if getattr(space.tracking, name)]


def _is_installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None  # a plain folder of the same name has no origin


def _connect(name: str, space: Space, folder: Path, manifest: Mapping[str, Any]) -> Tracker:
    if name == "mlflow":
        from search.tracking.mlflow import MLflow

        return MLflow(space, describe_study(space, manifest))
    if name == "wandb":
        from search.tracking.wandb import WeightsAndBiases

        return WeightsAndBiases(space, folder, describe_study(space, manifest))
    from search.tracking.tensorboard import TensorBoard

    return TensorBoard(space, folder / "tensorboard", describe_study(space, manifest))


def _shorten_error(error: BaseException) -> str:
    """Return an error message of at most 160 characters; those of the libraries can fill a page."""
    text = one_line(strip_credentials(str(error))) or type(error).__name__
    for summary, sign in (("connection refused", "refused"), ("no answer in time", "timed out")):
        if sign in text.lower():
            return summary
    return text if len(text) <= 160 else text[:157] + "..."
