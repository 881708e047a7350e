"""Other programs that are told of every trial while a study runs: MLflow, TensorBoard, Weights & Biases.

Each works in a thread of its own behind a bounded queue. What fails, hangs or is slow is given up with one line on
stderr; the study waits for none of them, but for a few seconds at its end.
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
from search.tracking.payload import facts, numbers

__all__ = ["Tracker", "Tracking", "check_installed"]

PACKAGES = {"mlflow": "mlflow", "tensorboard": "tensorboardX", "wandb": "wandb"}  # what each is reached through
MOST_WAITING = 10_000  # reports that wait for a slow tracker; more are dropped
LONGEST_CALL = 30.0  # seconds; a tracker that is busy longer with one report has hung
FINISH = 5.0  # seconds that all trackers together are given when the study has ended


class Tracker(Protocol):
    """One tracker's own API; called from one thread, may take its time and may raise.

    Its making connects, and begins the study's run.
    """

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        """A trial began."""

    def epoch(self, trial_id: str, epoch: int, scores: Mapping[str, float]) -> None:
        """A trial's scores after an epoch; may be held back until `flush` or `end`."""

    def end(self, end: TrialEnd) -> None:
        """A trial ended."""

    def flush(self) -> None:
        """Nothing else waits: pass on what was held back."""

    def close(self, manifest: Mapping[str, Any]) -> None:
        """The study ended."""


def check_installed(space: Space) -> None:
    """Check that the space's trackers can be reached.

    Raises:
        SpaceError: with a line for every one whose package is not installed.
    """
    problems = [
        space.document.problem(
            ("tracking", name),
            f"the package {PACKAGES[name]} is not installed; each tracker has an extra; pip install -e '.[{name}]'",
        )
        for name in _chosen(space)
        if not _installed(PACKAGES[name])
    ]
    if problems:
        raise SpaceError(problems)


class Tracking:
    """Tells the trackers that a space names; none of its methods blocks or raises.

    Args:
        space: the study's.
        folder: its results folder.
    """

    def __init__(self, space: Space, folder: Path) -> None:
        self._space, self._folder = space, folder
        self._feeds: list[_Feed] = []

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """The study begins."""
        for name in _chosen(self._space):
            label = f"{name} ({strip_credentials(self._space.tracking.mlflow or '')})" if name == "mlflow" else name
            feed = _Feed(label, partial(_tracker, name, self._space, self._folder, manifest))
            self._feeds.append(feed)
            feed.start()

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        """A trial began."""
        self._tell("start", trial_id, dict(point))

    def epoch(self, trial_id: str, report: Mapping[str, Any]) -> None:
        """An epoch's report, as `trial.reports` yields it."""
        if self._feeds and "epoch" in report:
            values = {**report["scores"], "loss": report["loss"], "score": report["score"]}
            self._tell("epoch", trial_id, report["epoch"], numbers(values))

    def end(self, end: TrialEnd) -> None:
        """A trial ended."""
        self._tell("end", end)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """The study ended; waits a few seconds for what the trackers were told."""
        self._tell("close", manifest)
        deadline = time.monotonic() + FINISH
        for feed in self._feeds:
            feed.wait(max(0.0, deadline - time.monotonic()))

    def _tell(self, kind: str, *what: Any) -> None:
        for feed in self._feeds:
            feed.put(kind, *what)


class _Feed(threading.Thread):
    """One tracker's thread and the queue before it."""

    def __init__(self, label: str, connect: Callable[[], Tracker]) -> None:
        super().__init__(name=f"tracking {label}", daemon=True)
        self._label, self._connect = label, connect
        self._waiting: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._changed = threading.Condition()
        self._busy_since: float | None = None
        self._lost = 0
        self._over = False

    def put(self, kind: str, *what: Any) -> None:
        """Hand over a report; where too many wait, it is dropped and counted."""
        busy = self._busy_since
        if busy is not None and time.monotonic() - busy > LONGEST_CALL:
            self._give_up(f"no answer for {LONGEST_CALL:.0f} seconds")
        with self._changed:
            if self._over:
                return
            most = MOST_WAITING if kind == "epoch" else 2 * MOST_WAITING  # epochs are dropped first
            if len(self._waiting) < most or kind == "close":
                self._waiting.append((kind, what))
                self._changed.notify()
            else:
                self._lost += 1

    def wait(self, seconds: float) -> None:
        """Wait until all is handed on, and give up then."""
        if not self._over:  # else its thread may hang for long
            self.join(seconds)
        if self.is_alive():
            self._give_up(f"not ready {FINISH:.0f} seconds after the study's end, {len(self._waiting)} reports wait")
        elif self._lost:
            self._give_up(f"slower than the study, {self._lost} reports were dropped")

    def run(self) -> None:
        try:
            self._busy_since = time.monotonic()
            tracker = self._connect()
            kind = ""
            while kind != "close":
                if not self._waiting:
                    tracker.flush()
                self._busy_since = None
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._over)
                    if self._over:
                        return
                    kind, what = self._waiting.popleft()
                self._busy_since = time.monotonic()
                getattr(tracker, kind)(*what)
        except Exception as error:
            self._give_up(_reason(error))

    def _give_up(self, reason: str) -> None:
        """Say so once, in one write, so that a live view on the terminal is not torn."""
        with self._changed:
            if self._over:
                return
            self._over = True
            self._waiting.clear()
            self._changed.notify()
        sys.stderr.write(f"tracking: {self._label}: {reason}; the study goes on without it\n")
        sys.stderr.flush()


def _chosen(space: Space) -> list[str]:
    return [name for name in PACKAGES if getattr(space.tracking, name)]


def _installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None  # a mere folder of that name, as of runs, has no origin


def _tracker(name: str, space: Space, folder: Path, manifest: Mapping[str, Any]) -> Tracker:
    if name == "mlflow":
        from search.tracking.mlflow import MLflow

        return MLflow(space, facts(space, manifest))
    if name == "wandb":
        from search.tracking.wandb import WeightsAndBiases

        return WeightsAndBiases(space, folder, facts(space, manifest))
    from search.tracking.tensorboard import TensorBoard

    return TensorBoard(space, folder / "tensorboard", facts(space, manifest))


def _reason(error: BaseException) -> str:
    """An error in a few words; the libraries' own fill a page."""
    text = one_line(strip_credentials(str(error))) or type(error).__name__
    for words, sign in (("connection refused", "refused"), ("no answer in time", "timed out")):
        if sign in text.lower():
            return words
    return text if len(text) <= 160 else text[:157] + "..."
