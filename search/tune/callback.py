"""What Tune's events become: the record, the predictions, the leaderboard on disk and the terminal's view."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune

from search.common.disk import check_present
from search.results.event_log import INTERRUPTED, UNSCORED, Record, TrialEnd
from search.results.leaderboard import write_csv
from search.results.predictions import Predictions
from search.results.ranking import Row, columns, rank
from search.space.space import Space
from search.terminal.progress import Progress
from search.tracking.dispatcher import Tracking
from search.tune.optuna_searcher import OptunaSearcher
from search.tune.patches.actors import MemoryLostError, StalledError
from search.tune.stopper import Stop
from stockrnn.dataset.walk_forward import Fold

__all__ = ["Board", "Recorder"]

TUNES_OWN = {"epoch", "score", "status", "done", "training_iteration", "node_ip", "pid"}  # what it needs of a report
SAME_FAILURES = 5  # with one message, before any trial succeeds: they end the study
LEADERBOARD_EVERY, LEADERBOARD_LONGEST = 1.0, 60.0  # seconds between two rewrites while trials end
LEADERBOARD_COST = 50  # times as long as a rewrite took, until the next: 2 % of the time


class Board:
    """The leaderboard on disk, rewritten as trials end."""

    def __init__(self, path: Path, space: Space, record: Record, baselines: Mapping[str, Mapping[str, float]]) -> None:
        self._path, self._space, self._record, self._baselines = path, space, record, baselines
        self._ends = 0  # of trials that are written
        self._next = 0.0  # when it may be written again
        self.test: Mapping[str, Mapping[str, Any]] = {}  # the test columns, once the block was opened
        self.ensemble: Mapping[str, float] = {}

    def rows(self) -> list[Row]:
        search = self._space.search
        return rank(
            self._record.ends, self._baselines, metric=search.metric, mode=self._space.mode, test=self.test,
            ensemble=self.ensemble,
        )  # fmt: skip

    def write(self) -> None:
        self._record.check()
        began = time.monotonic()
        write_csv(self._path, self.rows(), columns(self._space))
        now = time.monotonic()
        self._ends = len(self._record.ends)
        wait = max(LEADERBOARD_EVERY, LEADERBOARD_COST * (now - began))
        self._next = now + min(wait, LEADERBOARD_LONGEST)

    def refresh(self) -> None:
        """Write it if trials have ended since, and it is time to.

        Raises:
            OSError: the study's folder is gone, or cannot be written.
        """
        check_present(self._path.parent)
        if len(self._record.ends) != self._ends and time.monotonic() >= self._next:
            self.write()


class Recorder(tune.Callback):
    """Turns Tune's events into the record, the predictions, the leaderboard and the terminal's view."""

    def __init__(
        self, record: Record, board: Board, progress: Progress, predictions: Predictions, folds: Sequence[Fold],
        tracking: Tracking, searcher: OptunaSearcher, forget: Callable[[str], None], stop: Stop,
    ) -> None:  # fmt: skip
        self._record, self._board, self._progress, self._tracking = record, board, progress, tracking
        self._predictions, self._folds, self._searcher = predictions, folds, searcher
        self._forget, self._stop = forget, stop
        self._forecasts: dict[str, np.ndarray] = {}  # of running trials, at their best epoch

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; files and terminal do not travel in it

    def interrupt(self) -> None:
        """End every trial that is still running as `interrupted`."""
        for trial_id in list(self._record.running):
            self._ended(trial_id, INTERRUPTED)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._record.check()  # before the sampler proposes, which writes its journal

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._progress.look()
        self._board.refresh()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._stop.note_trial_start()
        trial_id, point = trial.config["trial_id"], trial.config["point"]
        if trial_id not in self._record.running:
            self._record.start(trial_id, point)
            self._tracking.start(trial_id, point)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        trial_id = trial.config["trial_id"]
        if (forecast := result.pop("forecast", None)) is not None:
            self._forecasts[trial_id] = forecast
        self._record.epoch(trial_id, result)
        self._tracking.epoch(trial_id, result)
        if epoch := result.get("resumed_from"):
            self._progress.say(f"{trial_id}: goes on from epoch {epoch}")
        if error := result.get("checkpoint_error"):
            self._progress.say(f"{trial_id}: {error}")
        for name in result.keys() - TUNES_OWN:  # it would keep statistics of every number, for ever
            del result[name]

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_trial_start(iteration, trials, trial)  # where its worker died before it told of it
        said = _why(trial)
        self._record.retry(trial.config["trial_id"], said)
        share = trial.placement_group_factory.required_resources.get("GPU", 0)
        of_gpu = f" and {share:g} of a GPU" if share else ""
        self._progress.say(f"{trial.config['trial_id']}: {said}; it goes on with another worker{of_gpu}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        status = trial.last_result["status"]
        self._end(trial, "stopped" if status == "running" else status)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_trial_start(iteration, trials, trial)
        times = trial.run_metadata.num_failures
        self._end(trial, "failed", _why(trial) + (f" ({times} times)" if times > 1 else ""))

    def _end(self, trial: Any, status: str, message: str | None = None) -> None:
        end = self._ended(trial.config["trial_id"], status, message)
        self._searcher.tell(trial.trial_id, end, trial.last_result)
        self._forget(end.trial_id)
        self._count(end)

    def _ended(self, trial_id: str, status: str, message: str | None = None) -> TrialEnd:
        """Its forecast first, then its end: a trial that has ended has lost nothing."""
        self._record.check()
        forecast = self._forecasts.pop(trial_id, None)
        if forecast is not None and status not in UNSCORED and self._record.running[trial_id].get("best"):
            self._predictions.validation(trial_id, self._folds, forecast)
        end = self._record.end(trial_id, status, message)
        self._tracking.end(end)
        self._progress.ended(end)
        return end

    def _count(self, end: TrialEnd) -> None:
        """Stop a study that cannot succeed: what fails every trial in the same way is not the trial's fault."""
        if any(other.status != "failed" for other in self._record.ends):
            return
        last = [other.message for other in self._record.ends[-SAME_FAILURES:]]
        if len(last) == SAME_FAILURES and len(set(last)) == 1:
            self._stop.request_stop(f"the first {SAME_FAILURES} trials failed alike: {end.message}")


def _why(trial: Any) -> str:
    """What a trial that raised died of, in one line."""
    # Beside the driver: Tune's `get_pickled_error` looks in the storage, to which it is copied only later.
    path = trial.pickled_error_file
    error = ray.cloudpickle.loads(Path(path).read_bytes()) if path else None
    match error:
        case StalledError():
            return str(error)
        case MemoryLostError():
            return "the machine ran out of memory and its worker was killed"
        case ray.exceptions.RayActorError(actor_init_failed=True):  # the text ends with the cause
            return " ".join(str(error).strip().splitlines()[-1].split())[:300]
        case ray.exceptions.ActorDiedError() | ray.exceptions.ActorUnavailableError():
            return "its worker died"
        case ray.exceptions.RayTaskError():
            cause = error.cause
            return f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
    return " ".join(str(error).split())[:300] if error else "its worker died"
