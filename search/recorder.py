"""What Tune's events become: the record, the predictions, the leaderboard on disk and the terminal's view."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune

from search.leaderboard import write_csv
from search.predictions import Predictions
from search.progress import Progress
from search.ranking import Row, columns, rank
from search.record import Record
from search.space import Space
from search.tracking import Tracking
from stockrnn.folds import Fold

__all__ = ["Board", "Recorder"]

LEADERBOARD_EVERY = 1.0  # seconds between two rewrites while trials end


class Board:
    """The leaderboard on disk, rewritten as trials end."""

    def __init__(self, path: Path, space: Space, record: Record, baselines: Mapping[str, Mapping[str, float]]) -> None:
        self._path, self._space, self._record, self._baselines = path, space, record, baselines
        self._written = 0.0
        self.test: Mapping[str, Mapping[str, Any]] = {}  # the test columns, once the block was opened
        self.ensemble: Mapping[str, float] = {}

    def rows(self) -> list[Row]:
        search = self._space.search
        return rank(
            self._record.ends, self._baselines, metric=search.metric, mode=self._space.mode, test=self.test,
            ensemble=self.ensemble,
        )  # fmt: skip

    def write(self) -> None:
        write_csv(self._path, self.rows(), columns(self._space))
        self._written = time.monotonic()

    def refresh(self) -> None:
        if time.monotonic() - self._written >= LEADERBOARD_EVERY:
            self.write()


class Recorder(tune.Callback):
    """Turns Tune's events into the record, the predictions, the leaderboard and the terminal's view."""

    def __init__(
        self, record: Record, board: Board, progress: Progress, predictions: Predictions, folds: Sequence[Fold],
        tracking: Tracking,
    ) -> None:  # fmt: skip
        self._record, self._board, self._progress, self._tracking = record, board, progress, tracking
        self._predictions, self._folds = predictions, folds
        self._forecasts: dict[str, np.ndarray] = {}  # of running trials, at their best epoch

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; files and terminal do not travel in it

    def interrupt(self) -> None:
        """End every trial that is still running as `interrupted`."""
        for trial_id in list(self._record.running):
            self._ended(trial_id, "interrupted")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._progress.look()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._record.start(trial.config["trial_id"], trial.config["point"])
        self._tracking.start(trial.config["trial_id"], trial.config["point"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        trial_id = trial.config["trial_id"]
        if (forecast := result.pop("forecast", None)) is not None:
            self._forecasts[trial_id] = forecast
        self._record.epoch(trial_id, result)
        self._tracking.epoch(trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        status = trial.last_result["status"]
        self._end(trial, "stopped" if status == "running" else status)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_pickled_error()
        self._end(trial, "failed", " ".join(str(error).split())[:500] if error else "the worker died")

    def _end(self, trial: Any, status: str, message: str | None = None) -> None:
        self._ended(trial.config["trial_id"], status, message)
        self._board.refresh()

    def _ended(self, trial_id: str, status: str, message: str | None = None) -> None:
        end = self._record.end(trial_id, status, message)
        self._tracking.end(end)
        forecast = self._forecasts.pop(trial_id, None)
        if end.scores and forecast is not None:
            self._predictions.validation(trial_id, self._folds, forecast)
        self._progress.ended(end)
