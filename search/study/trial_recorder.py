"""Write what trials report: events, forecasts, the leaderboard, trackers and the terminal."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from search.common.disk import check_present
from search.results.columns import list_columns
from search.results.event_log import DEFAULT, INTERRUPTED, UNSCORED, Record, TrialEnd
from search.results.leaderboard import write_csv
from search.results.predictions import Predictions
from search.results.ranking import Row, rank
from search.space.space import Space
from search.study.context import StudyContext
from search.tracking.dispatcher import Tracking
from search.tune.optuna_searcher import OptunaSearcher

__all__ = ["LeaderboardFile", "TrialRecorder"]

MAX_SAME_FAILURES = 5  # first trials that fail with the same message: they end the study
MIN_REWRITE_SECONDS, MAX_REWRITE_SECONDS = 1.0, 60.0  # between two rewrites of the leaderboard
REWRITE_COST = 50  # times the duration of a rewrite, until the next one: 2 % of the time


class LeaderboardFile:
    """The leaderboard on disk, rewritten as trials end.

    Args:
        path: `leaderboard.csv`.
        record: the trials.
        baselines: validation scores by baseline.
        test: test scores by row, if the test block was opened.
        ensemble: validation scores of the finalists' average.
    """

    def __init__(
        self, path: Path, space: Space, record: Record, baselines: Mapping[str, Mapping[str, float]],
        test: Mapping[str, Mapping[str, Any]] | None = None, ensemble: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self._path, self._space, self._record, self._baselines = path, space, record, baselines
        self._test, self._ensemble = test or {}, ensemble or {}
        self._written_ends = 0
        self._next_rewrite = 0.0

    def set_test_scores(self, test: Mapping[str, Mapping[str, Any]], ensemble: Mapping[str, float]) -> None:
        """Show the scores of an opening of the test block from now on."""
        self._test, self._ensemble = test, ensemble

    def rows(self) -> list[Row]:
        """Return the leaderboard as it is now."""
        search = self._space.search
        return rank(
            self._record.ends, self._baselines, metric=search.metric, mode=self._space.mode, test=self._test,
            ensemble=self._ensemble,
        )  # fmt: skip

    def write(self) -> None:
        """Write the file."""
        self._record.check()
        start = time.monotonic()
        write_csv(self._path, self.rows(), list_columns(self._space))
        now = time.monotonic()
        self._written_ends = len(self._record.ends)
        wait = max(MIN_REWRITE_SECONDS, REWRITE_COST * (now - start))
        self._next_rewrite = now + min(wait, MAX_REWRITE_SECONDS)

    def refresh(self) -> None:
        """Write the file if trials have ended since the last time and it is time for a rewrite.

        Raises:
            OSError: the study's folder is missing or cannot be written.
        """
        check_present(self._path.parent)
        if len(self._record.ends) != self._written_ends and time.monotonic() >= self._next_rewrite:
            self.write()


class TrialRecorder:
    """Receives the events of all trials from an executor and writes them.

    Args:
        delete_checkpoints: called with the ID of each trial that has ended.
    """

    def __init__(
        self, context: StudyContext, leaderboard: LeaderboardFile, predictions: Predictions, tracking: Tracking,
        searcher: OptunaSearcher, delete_checkpoints: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._record, self._progress, self._stop = context.record, context.progress, context.stop
        self._space, self._folds = context.space, context.splits.folds
        self._defaults: set[str] = set()  # trials of the default configuration, of which there is one
        self._leaderboard, self._predictions, self._tracking = leaderboard, predictions, tracking
        self._searcher, self._delete_checkpoints = searcher, delete_checkpoints
        self._forecasts: dict[str, np.ndarray] = {}  # of running trials, at their best epoch

    def check(self) -> None:
        """Raise an error if another process writes into the study's folder."""
        self._record.check()

    def refresh(self) -> None:
        """Update the terminal and the leaderboard if it is time to."""
        self._progress.refresh()
        self._leaderboard.refresh()

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        """Log that a trial starts; nothing is written if it has started before."""
        self._stop.note_trial_start()
        if self._space.is_default(point):
            self._defaults.add(trial_id)
        if trial_id not in self._record.running:
            self._record.start(trial_id, point)
            self._tracking.start(trial_id, point)

    def report(self, trial_id: str, report: Mapping[str, Any]) -> None:
        """Log a report as `search.tune.trial.train_trial` yields it; `done` also if ASHA stops the trial."""
        scores = dict(report)
        if (forecast := scores.pop("forecast", None)) is not None:
            self._forecasts[trial_id] = forecast
        self._record.epoch(trial_id, scores)
        self._tracking.epoch(trial_id, scores)
        if epoch := scores.get("resumed_from"):
            self._progress.print_note(f"{trial_id}: continues from epoch {epoch}")
        if error := scores.get("checkpoint_error"):
            self._progress.print_note(f"{trial_id}: {error}")

    def retry(self, trial_id: str, reason: str, worker: str = "another worker") -> None:
        """Log that a trial continues on another worker."""
        self._record.retry(trial_id, reason)
        self._progress.print_note(f"{trial_id}: {reason}; the trial continues with {worker}")

    def end(
        self, tune_id: str, trial_id: str, status: str, last_report: Mapping[str, Any] | None,
        message: str | None = None,
    ) -> None:  # fmt: skip
        """Log a trial's end.

        Args:
            tune_id: the ID with which the searcher proposed the trial.
        """
        is_default = status == "complete" and trial_id in self._defaults
        end = self._write_end(trial_id, DEFAULT if is_default else status, message)
        self._searcher.tell(tune_id, end, last_report)
        self._delete_checkpoints(trial_id)
        self._stop_if_all_fail(end)

    def interrupt(self) -> None:
        """Log every running trial as interrupted."""
        for trial_id in list(self._record.running):
            self._write_end(trial_id, INTERRUPTED)

    def _write_end(self, trial_id: str, status: str, message: str | None = None) -> TrialEnd:
        """Write the forecasts first, then the end: a trial that has ended has all its forecasts on disk."""
        self._record.check()
        forecast = self._forecasts.pop(trial_id, None)
        if forecast is not None and status not in UNSCORED and self._record.running[trial_id].get("best"):
            self._predictions.validation(trial_id, self._folds, forecast)
        end = self._record.end(trial_id, status, message)
        self._tracking.end(end)
        self._progress.print_result(end)
        return end

    def _stop_if_all_fail(self, end: TrialEnd) -> None:
        """Stop a study whose first trials all fail in the same way: the cause is not in the trials."""
        if any(other.status != "failed" for other in self._record.ends):
            return
        messages = [other.message for other in self._record.ends[-MAX_SAME_FAILURES:]]
        if len(messages) == MAX_SAME_FAILURES and len(set(messages)) == 1:
            self._stop.request_stop(f"the first {MAX_SAME_FAILURES} trials failed with the same error: {end.message}")
