"""What a trial has reached, and its checkpoints: when they are written, and how a trial goes on from one."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from stockrnn.evaluation.scores import Scores
from stockrnn.io.files import FileError, line
from stockrnn.training.checkpoint import Checkpoint, Checkpoints

if TYPE_CHECKING:
    from stockrnn.training.trainer import Trainer

__all__ = ["CHECKPOINT_INTERVAL", "CheckpointPolicy", "TrialProgress"]

CHECKPOINT_INTERVAL = 30.0  # seconds that a crash may cost a trial; shorter trials never write a checkpoint
AT_RUNG = 1 / 6  # of that already justify one at a rung: who survives it trains on for several times as long
COST = 50  # times as long as a checkpoint took, a trial trains before the next: 2 % of its time at most
LONGEST = 20  # times CHECKPOINT_INTERVAL is the longest that such a wait may become


@dataclass(kw_only=True)
class TrialProgress:
    """What a trial has reached.

    Attributes:
        forecast: of the best epoch, float32, shape (days,): seed averages on the days of all folds; NaN before the
            first.
        epoch: the last one trained; 0 before the first.
        scores, loss: of that epoch; None where it diverged.
        best, best_epoch: the scores of the best epoch and its number; None and 0 where none has a score.
        seconds: trained up to the end of the last epoch.
    """

    forecast: np.ndarray
    epoch: int = 0
    scores: Scores | None = None
    loss: float = math.nan
    best: Scores | None = None
    best_epoch: int = 0
    seconds: float = 0.0

    def add_epoch(self, epoch: int, scores: Scores | None, loss: float, seconds: float) -> None:
        """Set what is known after an epoch."""
        self.epoch, self.scores, self.loss, self.seconds = epoch, scores, loss, seconds

    def set_best(self, scores: Scores, epoch: int, forecast: np.ndarray) -> None:
        """Set the best epoch so far."""
        self.best, self.best_epoch, self.forecast = scores, epoch, forecast

    def arrays(self) -> dict[str, np.ndarray]:
        """Its numbers as a checkpoint holds them: exact, also where they are not finite."""
        return {
            "forecast": self.forecast,
            "scores": _numbers(self.scores),
            "best": _numbers(self.best),
            "loss": np.array(self.loss),
        }

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "TrialProgress":
        """Where a checkpoint was written.

        Raises:
            FileError: its notes are none of a trial.
        """
        best_epoch, seconds = checkpoint.notes.get("best_epoch"), checkpoint.notes.get("seconds")
        if type(best_epoch) is not int or not 0 <= best_epoch <= checkpoint.epoch:
            raise FileError("best_epoch is no epoch up to its own")
        if type(seconds) is not float or not 0 <= seconds < math.inf:
            raise FileError("seconds is no time")
        arrays = checkpoint.arrays
        return cls(
            forecast=arrays["forecast"], epoch=checkpoint.epoch, scores=_scores(arrays["scores"]),
            loss=float(arrays["loss"]), best=_scores(arrays["best"]) if best_epoch else None, best_epoch=best_epoch,
            seconds=seconds,
        )  # fmt: skip


class CheckpointPolicy:
    """Keeps a trial's checkpoints.

    A checkpoint is written after a report was taken, when the trial is about to train on: no report is lost with one,
    and a trial that ends or is stopped after a report writes none.

    Args:
        checkpoints: of this trial.
        rungs: epochs at which trials are stopped.
        every: seconds between checkpoints, and before the first; at a rung a sixth of it.
        clock: seconds, of any origin.
    """

    def __init__(
        self, checkpoints: Checkpoints, rungs: Collection[int], every: float = CHECKPOINT_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._checkpoints, self._rungs, self._every, self._clock = checkpoints, rungs, every, clock
        self._last = clock()
        self._cost = 0.0
        self._errors: list[str] = []

    def restore(self, training: "Trainer", beginning: TrialProgress) -> TrialProgress:
        """Bring a training to the newest checkpoint that is whole, if there is one, and say where it stands then."""
        standing = beginning
        for checkpoint in self._checkpoints.read(training.state() | beginning.arrays()):
            try:
                found = TrialProgress.from_checkpoint(checkpoint)
                training.restore(checkpoint.epoch, checkpoint.arrays)
            except ValueError as error:
                self._checkpoints.reject(f"epoch {checkpoint.epoch}", error)
            else:
                standing = found
                break
        if self._checkpoints.rejected:
            on = f"goes on from epoch {standing.epoch}" if standing.epoch else "begins again"
            self._errors.append(f"{'; '.join(self._checkpoints.rejected)}; the trial {on}")
        return standing

    def write_if_due(self, training: "Trainer", standing: TrialProgress) -> None:
        """Write a checkpoint if it is time for one; what goes wrong is noted, and the trial trains on."""
        if self._clock() - self._last < self._wait(standing.epoch):
            return
        began = self._clock()
        notes: dict[str, Any] = {"best_epoch": standing.best_epoch, "seconds": float(standing.seconds)}
        arrays = training.state() | standing.arrays()
        try:
            self._checkpoints.write(Checkpoint(epoch=standing.epoch, notes=notes, arrays=arrays))
        except OSError as error:
            folder = self._checkpoints.folder
            self._errors.append(
                f"{folder}: epoch {standing.epoch} could not be kept ({line(error.strerror or error)}); "
                "the trial goes on"
            )
        self._last = self._clock()
        self._cost = self._last - began

    def take_errors(self) -> str | None:
        """What went wrong with checkpoints since this was last asked, one line; None where nothing did."""
        said, self._errors = "; ".join(self._errors), []
        return said or None

    def _wait(self, epoch: int) -> float:
        wait = self._every * (AT_RUNG if epoch in self._rungs else 1)
        return max(wait, min(self._cost * COST, self._every * LONGEST))


def _scores(numbers: np.ndarray) -> Scores:
    return Scores(**{field.name: float(number) for field, number in zip(fields(Scores), numbers, strict=True)})


def _numbers(scores: Scores | None) -> np.ndarray:
    return np.array(astuple(scores) if scores else [math.nan] * len(fields(Scores)), dtype=np.float64)
