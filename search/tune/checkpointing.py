"""Track a trial's progress and decide when to checkpoint it."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stockrnn.io.files import FileError, line
from stockrnn.tasks.scoring import Scores
from stockrnn.training.checkpoint import Checkpoint, Checkpoints

if TYPE_CHECKING:
    from stockrnn.training.trainer import Trainer

__all__ = ["CHECKPOINT_INTERVAL", "CheckpointPolicy", "TrialProgress"]

CHECKPOINT_INTERVAL = 30.0  # seconds of training that a crash may cost; shorter trials write no checkpoint
RUNG_FRACTION = 1 / 6  # of the interval is enough at a rung, because the trials that pass a rung train for much longer
COST_FACTOR = 50  # a trial trains this many times as long as a checkpoint takes: checkpoints take 2 % of its time
MAX_COST_INTERVALS = 20  # limit of that time, in intervals


@dataclass(frozen=True, kw_only=True)
class TrialProgress:
    """The progress of a trial after an epoch.

    Attributes:
        forecast: of the best epoch, float32, (days of all folds,): the average over seeds; NaN before the first epoch.
        epoch: number of the last epoch; 0 before the first.
        scores, loss: of the last epoch; None if it diverged.
        best, best_epoch: scores and number of the best epoch; None and 0 if no epoch has a score.
        seconds: training time up to the end of the last epoch.
    """

    forecast: np.ndarray
    epoch: int = 0
    scores: Scores | None = None
    loss: float = math.nan
    best: Scores | None = None
    best_epoch: int = 0
    seconds: float = 0.0

    def arrays(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the values for a checkpoint as arrays, which also store NaN and infinity exactly.

        Args:
            names: of the scores.
        """
        return {
            "forecast": self.forecast,
            "scores": _to_array(self.scores, names),
            "best": _to_array(self.best, names),
            "loss": np.array(self.loss),
        }

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, names: Sequence[str]) -> "TrialProgress":
        """Return the progress at a checkpoint, whose scores have these names.

        Raises:
            FileError: the notes of the checkpoint are invalid.
        """
        best_epoch, seconds = checkpoint.notes.get("best_epoch"), checkpoint.notes.get("seconds")
        if type(best_epoch) is not int or not 0 <= best_epoch <= checkpoint.epoch:
            raise FileError(f"best_epoch must be an integer from 0 to {checkpoint.epoch}")
        if type(seconds) is not float or not 0 <= seconds < math.inf:
            raise FileError("seconds must be a number of at least 0")
        arrays = checkpoint.arrays
        return cls(
            forecast=arrays["forecast"], epoch=checkpoint.epoch, scores=_to_scores(arrays["scores"], names),
            loss=float(arrays["loss"]), best=_to_scores(arrays["best"], names) if best_epoch else None,
            best_epoch=best_epoch, seconds=seconds,
        )  # fmt: skip


class CheckpointPolicy:
    """Restores a trial from its newest valid checkpoint, and writes checkpoints at intervals.

    A checkpoint is written when Tune has taken the report of an epoch and the trial continues. So no report is lost,
    and a trial that ends after a report writes no checkpoint.

    Args:
        checkpoints: of this trial.
        rungs: epochs after which ASHA may stop a trial.
        interval: seconds between two checkpoints, and before the first; at a rung, a sixth of it.
        clock: returns seconds since any fixed time.
    """

    def __init__(
        self, checkpoints: Checkpoints, names: Sequence[str], rungs: Collection[int],
        interval: float = CHECKPOINT_INTERVAL, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._checkpoints, self._names, self._rungs = checkpoints, names, rungs
        self._interval, self._clock = interval, clock
        self._last = clock()
        self._cost = 0.0  # seconds that the last checkpoint took
        self._errors: list[str] = []

    def restore(self, training: "Trainer", initial: TrialProgress) -> TrialProgress:
        """Load the newest valid checkpoint into a training, and return its progress; `initial` if there is none."""
        progress = initial
        for checkpoint in self._checkpoints.read(training.state() | initial.arrays(self._names)):
            try:
                found = TrialProgress.from_checkpoint(checkpoint, self._names)
                training.restore(checkpoint.epoch, checkpoint.arrays)
            except ValueError as error:
                self._checkpoints.reject(f"epoch {checkpoint.epoch}", error)
            else:
                progress = found
                break
        if self._checkpoints.rejected:
            effect = f"continues from epoch {progress.epoch}" if progress.epoch else "starts again"
            self._errors.append(f"{'; '.join(self._checkpoints.rejected)}; the trial {effect}")
        return progress

    def write_if_due(self, training: "Trainer", progress: TrialProgress) -> None:
        """Write a checkpoint if the interval has passed. An OSError is noted for `take_errors`."""
        if self._clock() - self._last < self._wait(progress.epoch):
            return
        start = self._clock()
        notes: dict[str, Any] = {"best_epoch": progress.best_epoch, "seconds": float(progress.seconds)}
        arrays = training.state() | progress.arrays(self._names)
        try:
            self._checkpoints.write(Checkpoint(epoch=progress.epoch, notes=notes, arrays=arrays))
        except OSError as error:
            self._errors.append(
                f"{self._checkpoints.folder}: the checkpoint of epoch {progress.epoch} could not be written "
                f"({line(error.strerror or error)}); the trial continues"
            )
        self._last = self._clock()
        self._cost = self._last - start

    def take_errors(self) -> str | None:
        """Return the errors since the last call in one line, or None."""
        errors, self._errors = "; ".join(self._errors), []
        return errors or None

    def _wait(self, epoch: int) -> float:
        wait = self._interval * (RUNG_FRACTION if epoch in self._rungs else 1)
        return max(wait, min(self._cost * COST_FACTOR, self._interval * MAX_COST_INTERVALS))


def _to_scores(numbers: np.ndarray, names: Sequence[str]) -> Scores:
    return dict(zip(names, numbers.tolist(), strict=True))


def _to_array(scores: Scores | None, names: Sequence[str]) -> np.ndarray:
    return np.array([(scores or {}).get(name, math.nan) for name in names], dtype=np.float64)
