"""Detect trials and finalists that make no progress, such as a suspended worker or a kernel that never returns."""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from search.cost.workload import TrainingSizes, Workload, finalist_workload, training_sizes, trial_workload
from search.space.space import Space
from stockrnn.evaluation.walk_forward import WalkForward

__all__ = ["Job", "Limits", "StallLimits", "StallWatch", "stall_message"]

MARGIN = 20  # a limit is at least this multiple of the predicted seconds of an epoch
MIN_FIRST_REPORT = 60.0  # seconds; a worker may compile before its first report
MIN_WORKER_START = 600.0  # seconds; a worker imports PyTorch when it starts, maybe from a remote disk
MAX_STEP = 1.0  # seconds; a longer step of the driver's loop counts as this
CHECK_INTERVAL = 1.0  # seconds
SHOW_AFTER = 60.0  # seconds without progress after which the terminal shows a job; half the limit if that is less


class Limits(NamedTuple):
    """Seconds without progress after which a job is stalled: until its first report, and later. None: never."""

    first: float | None
    later: float | None


class Job(NamedTuple):
    """A trial or finalist that runs at the moment.

    Attributes:
        worker: identifies the worker and its task; the time without progress restarts when this changes.
        limits: called once per worker.
    """

    worker: Hashable
    limits: Callable[[], Limits]


class StallLimits:
    """Limits of a study's jobs: `search.stall_timeout`, or `MARGIN` times the predicted seconds if that is longer.

    `search.cost.workload` predicts the seconds on one CPU core. A job with a tenth of a core has ten times as long.
    """

    def __init__(self, space: Space, splits: WalkForward) -> None:
        self._space, self._timeout = space, space.search.stall_timeout
        self._sizes = training_sizes(space, splits)

    def trial(self, point: Mapping[str, Any]) -> Limits:
        """Return the limits of a running trial, which reports every epoch."""
        limit = self._at_least(self._predict(point, trial_workload))
        return Limits(first=limit and max(limit, MIN_FIRST_REPORT), later=limit)

    def worker_start(self) -> Limits:
        """Return the limits of a worker that has its resources and starts."""
        limit = self._at_least(MIN_WORKER_START)
        return Limits(first=limit, later=limit)

    def finalist(self, point: Mapping[str, Any], epochs: int) -> Limits:
        """Return the limits of a finalist's training, which reports only at its end."""
        predicted = epochs * self._predict(point, finalist_workload)
        limit = self._at_least(max(predicted, MIN_FIRST_REPORT))
        return Limits(first=limit, later=limit)

    def _predict(
        self, point: Mapping[str, Any], workload: Callable[[Space, TrainingSizes, Mapping[str, Any]], Workload]
    ) -> float:
        """Return `MARGIN` times the predicted seconds of an epoch."""
        cores = min(1.0, self._space.resource_rules.at(point).cpu)
        return MARGIN * workload(self._space, self._sizes, point).seconds / cores

    def _at_least(self, seconds: float) -> float | None:
        return None if self._timeout is None else max(seconds, self._timeout)


@dataclass(kw_only=True)
class _WatchedJob:
    worker: Hashable
    limits: Limits
    since: float
    has_reported: bool

    @property
    def limit(self) -> float | None:
        return self.limits.later if self.has_reported else self.limits.first


class StallWatch:
    """Measure the time without progress of each job, by a clock that runs only while the driver's loop runs.

    A step of that loop counts as one second at most. So no job stalls because the driver or the whole machine was
    suspended.

    Args:
        clock: returns seconds, from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last_step = clock, clock()
        self._now = self._last_check = 0.0
        self._watched: dict[str, _WatchedJob] = {}
        self._reported: set[str] = set()  # since the last check

    def step(self) -> bool:
        """Advance the clock by a step of the driver's loop; return whether it is time to call `find_stalled`."""
        now = self._clock()
        self._now += min(now - self._last_step, MAX_STEP)
        self._last_step = now
        return self._now - self._last_check >= CHECK_INTERVAL

    def record_progress(self, trial_id: str) -> None:
        """Record that a job has reported."""
        self._reported.add(trial_id)
        if (watched := self._watched.get(trial_id)) is not None:
            watched.since, watched.has_reported = self._now, True

    def find_stalled(self, jobs: Mapping[str, Job]) -> dict[str, float]:
        """Return the limits of the jobs that are stalled, by trial id, and restart their time.

        Args:
            jobs: all jobs that run now, by trial id.
        """
        self._last_check = self._now
        before, self._watched = self._watched, {}
        stalled = {}
        for trial_id, job in jobs.items():
            watched = before.get(trial_id)
            if watched is None or watched.worker != job.worker:
                watched = _WatchedJob(
                    worker=job.worker, limits=job.limits(), since=self._now, has_reported=trial_id in self._reported
                )
            elif watched.limit is not None and self._now - watched.since > watched.limit:
                stalled[trial_id] = watched.limit
                watched.since = self._now
            self._watched[trial_id] = watched
        self._reported.clear()
        return stalled

    def silent_jobs(self) -> dict[str, float]:
        """Return the seconds without progress of the jobs to show on the terminal, by trial id."""
        return {
            trial_id: seconds
            for trial_id, watched in sorted(self._watched.items())
            if (seconds := self._now - watched.since) >= min(SHOW_AFTER, (watched.limit or math.inf) / 2)
        }


def stall_message(limit: float) -> str:
    """Return the error of a stalled job."""
    return f"no progress for {limit:.0f} s"
