"""Order the decisions of a study by a virtual clock, so that the same space, prices and seed give the same trials.

A study has a fixed number of virtual workers. An epoch of a trial takes the seconds that the cost model predicts, so
every report of a trial has a virtual time. Each decision, to propose a point, to stop a trial at a rung or to end it,
uses exactly the events that are earlier on the virtual clock. The real workers can be faster or slower: a decision
waits until everything earlier is known. Load, kills and resumes therefore change nothing but the real time.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from search.results.event_log import TrialLog

__all__ = ["VirtualOrder"]


@dataclass(kw_only=True)
class _Trial:
    """A trial on the virtual clock.

    Attributes:
        start: virtual time of its start, in predicted seconds.
        seconds: predicted for an epoch.
        reported: its last known epoch.
        decided: the last epoch after which the trial continued.
        waiting: virtual time of its report that waits for earlier events; None if no report waits.
    """

    start: float
    seconds: float
    reported: int = 0
    decided: int = 0
    waiting: float | None = None

    @property
    def next(self) -> float:
        """Virtual time of the report that waits, else the earliest time of the next report."""
        return self.time(self.reported + 1) if self.waiting is None else self.waiting

    def time(self, epoch: int) -> float:
        return self.start + epoch * self.seconds


class VirtualOrder:
    """The virtual clock of a study.

    The first trials start at time 0, one on each virtual worker. Every end frees a worker, on which the trial with the
    next number starts. Events at the same time are ordered by the number of the trial.

    Args:
        workers: number of virtual workers.
        rungs: epochs after which trials can be stopped.
        epoch_seconds: predicts the seconds of an epoch from a point.
        total: number of trials of the study, with those that have ended.
        log: of a resumed study.
    """

    def __init__(
        self, workers: int, rungs: Collection[int], epoch_seconds: Callable[[Mapping[str, Any]], float], total: int,
        log: TrialLog | None = None,
    ) -> None:  # fmt: skip
        self._workers, self._rungs, self._epoch_seconds, self._total = workers, frozenset(rungs), epoch_seconds, total
        self._running: dict[str, _Trial] = {}
        self._ends: list[float] = []  # virtual times, in order
        self._abandoned = False
        log = log or TrialLog()
        self._started = len(log.points)
        last = {trial_id: epoch for trial_id, epoch, *_ in log.epochs}
        for end in log.finished:
            # A trial that failed did so in the epoch after its last report. It may have failed while it trained epochs
            # again that the log already had.
            epochs = last.get(end.trial_id, 0) + 1 if end.status == "failed" else end.epochs
            self._ends.append(self._make(end.trial_id, end.point).time(epochs))
        finished = {end.trial_id for end in log.finished}
        for trial_id in log.points.keys() - finished:
            trial = self._make(trial_id, log.points[trial_id])
            # The trial reports an epoch that ends it again, and its end has the virtual time of that epoch.
            trial.reported = trial.decided = last.get(trial_id, 0) - (trial_id in log.ending)
            self._running[trial_id] = trial

    def may_start(self, trial_id: str) -> bool:
        """Return whether a virtual worker is free for a trial, or the trial has started before."""
        return trial_id in self._running or self._started < self._workers + len(self._ends)

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        """Start a trial; nothing changes if it has started before."""
        if trial_id not in self._running:
            self._running[trial_id] = self._make(trial_id, point)
            self._started += 1

    def is_last(self, number: int) -> bool:
        """Return whether the virtual worker of a trial gets no other one, if the trials end in their order."""
        return number >= self._total - self._workers

    @property
    def abandoned(self) -> bool:
        """Whether decisions have been made in another order."""
        return self._abandoned

    def abandon(self) -> None:
        """Wait for no event any more: a trial that is next has no worker, because the others hold the resources."""
        self._abandoned = True

    def finish(self) -> None:
        """Expect no more trials: the space has no other points."""
        self._total = self._started

    def report(self, trial_id: str, report: Mapping[str, Any]) -> bool:
        """Receive a report of a trial; return whether it has to wait for its turn, see `next_turn`.

        Reports wait that end their trial or can end it: the last one, those at rungs, and those without a finite score.
        """
        trial = self._running[trial_id]
        epoch = report.get("epoch", trial.reported + 1)
        ends = report["done"] or not math.isfinite(report["score"])
        if not ends and (epoch <= trial.decided or epoch not in self._rungs):
            trial.reported = max(trial.reported, epoch)
            return False
        trial.reported, trial.waiting = max(trial.reported, epoch), trial.time(epoch)
        return True

    def withdraw(self, trial_id: str) -> None:
        """Drop the report that waits: the worker died, and the trial will report this epoch again."""
        trial = self._running.get(trial_id)
        if trial is not None and trial.waiting is not None:
            trial.reported, trial.waiting = max(trial.decided, trial.reported - 1), None

    def next_trial(self) -> str | None:
        """Return the trial with the earliest next event; None if no trial runs or another one has to start first."""
        if self._must_start or not self._running:
            return None
        return min(self._running, key=lambda trial_id: (self._running[trial_id].next, int(trial_id)))

    def next_turn(self) -> str | None:
        """Return the trial whose report waits and has its turn; None if the next event is not known yet."""
        if self._abandoned:
            return next((trial_id for trial_id, trial in self._running.items() if trial.waiting is not None), None)
        trial_id = self.next_trial()
        return trial_id if trial_id is not None and self._running[trial_id].waiting is not None else None

    def proceed(self, trial_id: str) -> None:
        """Note that the report that waited is processed, and the trial continues."""
        trial = self._running[trial_id]
        trial.decided, trial.waiting = trial.reported, None

    def end(self, trial_id: str) -> None:
        """End a trial: its virtual worker is free for the next one."""
        trial = self._running.pop(trial_id)
        self._ends.append(trial.next)

    @property
    def _must_start(self) -> bool:
        """Whether a virtual worker is free and a trial is left that has to start on it."""
        return self._started < min(self._total, self._workers + len(self._ends))

    def _make(self, trial_id: str, point: Mapping[str, Any]) -> _Trial:
        number = int(trial_id)  # not its place in the log: several workers may write the starts in another order
        freed = min(number - self._workers, len(self._ends) - 1)  # less only if the number of workers was changed
        start = 0.0 if number < self._workers or freed < 0 else self._ends[freed]
        return _Trial(start=start, seconds=self._epoch_seconds(point))
