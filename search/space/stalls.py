"""Detect trials and finalists that make no progress: a stopped worker, a kernel that never returns."""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from search.space.cost import Work, finalist_work, training_parts, trial_work
from search.space.space import Space
from stockrnn.dataset.walk_forward import WalkForward

__all__ = ["Job", "Limits", "StallLimits", "StallWatch", "no_progress"]

MARGIN = 20  # times what an epoch is predicted to take
FIRST_REPORT = 60.0  # seconds at least for the first report of a worker, which may compile
WORKER_START = 600.0  # seconds at least for a worker to start: it imports PyTorch, maybe from a remote disk
LONGEST_STEP = 1.0  # seconds of a step of the driver's loop that count at most
LOOK = 1.0  # seconds between two looks
SHOWN = 60.0  # seconds without progress that the terminal shows, or half the limit where that is less


class Limits(NamedTuple):
    """Seconds without progress after which a job is stalled, before its first progress and later; None: never."""

    first: float | None
    later: float | None


class Job(NamedTuple):
    """What a trial or finalist does at the moment.

    Attributes:
        worker: the worker and what it does there; the time of the job begins anew when this changes.
        limits: called once for each worker.
    """

    worker: Hashable
    limits: Callable[[], Limits]


class StallLimits:
    """Limits of a study's jobs: `search.stall_timeout`, or more where an epoch is predicted to take long.

    The predictions are those of `search.cost` for the CPU; a job that has a tenth of a core is given ten times as long.
    """

    def __init__(self, space: Space, splits: WalkForward) -> None:
        self._space, self._timeout = space, space.search.stall_timeout
        self._parts = training_parts(space, splits)

    def trial(self, point: Mapping[str, Any]) -> Limits:
        """Return the limits of a running trial, which reports every epoch."""
        limit = self._at_least(self._predicted(point, trial_work))
        return Limits(first=limit and max(limit, FIRST_REPORT), later=limit)

    def worker_start(self) -> Limits:
        """Return the limits of a worker that has its resources and starts."""
        limit = self._at_least(WORKER_START)
        return Limits(first=limit, later=limit)

    def finalist(self, point: Mapping[str, Any], epochs: int) -> Limits:
        """Return the limits of a finalist's training, which reports nothing before its end."""
        predicted = epochs * self._predicted(point, finalist_work)
        limit = self._at_least(max(predicted, FIRST_REPORT))
        return Limits(first=limit, later=limit)

    def _predicted(self, point: Mapping[str, Any], work: Callable[..., Work]) -> float:
        """Return `MARGIN` times the seconds that an epoch is predicted to take."""
        cores = min(1.0, self._space.demands.at(point).cpu)
        return MARGIN * work(self._space, self._parts, point).seconds / cores

    def _at_least(self, seconds: float) -> float | None:
        return None if self._timeout is None else max(seconds, self._timeout)


@dataclass(kw_only=True)
class _Watched:
    worker: Hashable
    limits: Limits
    since: float
    progressed: bool

    @property
    def limit(self) -> float | None:
        return self.limits.later if self.progressed else self.limits.first


class StallWatch:
    """Measure how long each job has made no progress, by a clock that runs only while the driver's loop does.

    A step of that loop counts as one second at most: where the driver or the whole machine was suspended, no job is
    blamed for that time.

    Args:
        clock: seconds, of any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last_step = clock, clock()
        self._now = self._looked = 0.0
        self._watched: dict[str, _Watched] = {}
        self._reported: set[str] = set()  # since the last look

    def step(self) -> bool:
        """Advance the clock by a step of the driver's loop; return whether it is time to ask for `stalled`."""
        now = self._clock()
        self._now += min(now - self._last_step, LONGEST_STEP)
        self._last_step = now
        return self._now - self._looked >= LOOK

    def progressed(self, trial_id: str) -> None:
        """Note that a job has reported."""
        self._reported.add(trial_id)
        if (watched := self._watched.get(trial_id)) is not None:
            watched.since, watched.progressed = self._now, True

    def stalled(self, jobs: Mapping[str, Job]) -> dict[str, float]:
        """Return the limits of the jobs that are beyond them, by trial id; the time of these begins anew.

        Args:
            jobs: all that run now, by trial id.
        """
        self._looked = self._now
        before, self._watched = self._watched, {}
        found = {}
        for trial_id, job in jobs.items():
            watched = before.get(trial_id)
            if watched is None or watched.worker != job.worker:
                watched = _Watched(
                    worker=job.worker, limits=job.limits(), since=self._now, progressed=trial_id in self._reported
                )
            elif watched.limit is not None and self._now - watched.since > watched.limit:
                found[trial_id] = watched.limit
                watched.since = self._now
            self._watched[trial_id] = watched
        self._reported.clear()
        return found

    def silent(self) -> dict[str, float]:
        """Return the seconds without progress of the jobs that have made none for a while, by trial id."""
        return {
            trial_id: seconds
            for trial_id, watched in sorted(self._watched.items())
            if (seconds := self._now - watched.since) >= min(SHOWN, (watched.limit or math.inf) / 2)
        }


def no_progress(limit: float) -> str:
    """Return why a job failed that was stalled."""
    return f"no progress for {limit:.0f} s"
