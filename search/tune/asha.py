"""ASHA over epochs that stops trials whose score is not finite, and rebuilds its rungs when a study resumes.

Tune does not save the rungs, and gives a trial a new id at each start. So the rungs are rebuilt from the event log, and
a trial is known by the id that the study gave it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from search.results.event_log import TrialLog
from search.space.space import Space

__all__ = ["FiniteASHA"]


class FiniteASHA(AsyncHyperBandScheduler):
    """Tune's asynchronous successive halving, without NaN and infinity in its rungs.

    Tune's own never stops a trial with NaN, and its cutoffs are wrong after an infinite score. The default
    configuration counts at the rungs and is not stopped there, so that the others are compared with its full training.

    Args:
        space: metric, rungs and reduction factor.
        log: the trials of a resumed study; its rungs are restored. An epoch that ends a trial whose end is missing is
            ignored: the trial reports it again, and ASHA decides again.
    """

    def __init__(self, space: Space, log: TrialLog | None = None) -> None:
        self._space = space
        super().__init__(
            time_attr="epoch",
            metric="score",
            mode=space.mode,
            max_t=space.scheduler.max_epochs,
            grace_period=space.scheduler.grace_period,
            reduction_factor=space.scheduler.reduction_factor,
            brackets=1,
        )
        sign = 1 if space.mode == "max" else -1
        for trial_id, epoch, score in _select_decided(log or TrialLog()):
            if math.isfinite(score) and epoch < space.scheduler.max_epochs:
                trial: Any = _TrialId(trial_id)
                self._brackets[0].on_result(trial, epoch, sign * score)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Register a trial that starts, or starts again."""
        super().on_trial_add(tune_controller, _study_id(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return CONTINUE or STOP after an epoch."""
        if not _is_finite(result):
            return str(TrialScheduler.STOP)
        decision = str(super().on_trial_result(tune_controller, _study_id(trial), result))
        return str(TrialScheduler.CONTINUE) if self._space.is_default(trial.config["point"]) else decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Add the last result to its rung if it is finite."""
        if _is_finite(result):
            super().on_trial_complete(tune_controller, _study_id(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget a trial that ended before it started."""
        super().on_trial_remove(tune_controller, _study_id(trial))


@dataclass(frozen=True)
class _TrialId:
    """In place of Tune's trial: ASHA only uses its id."""

    trial_id: str


def _study_id(trial: Any) -> Any:
    return _TrialId(trial.config["trial_id"])


def _select_decided(log: TrialLog) -> Iterator[tuple[str, int, float]]:
    """Yield trial id, epoch and score of the epochs after which the trial continued or ended."""
    last = {trial_id: epoch for trial_id, epoch, *_ in log.epochs}
    for trial_id, epoch, score, _ in log.epochs:
        undecided = trial_id in log.ending and epoch == last[trial_id]
        if score is not None and not undecided:
            yield trial_id, epoch, score


def _is_finite(result: Mapping[str, Any]) -> bool:
    score = result.get("score")
    return score is not None and math.isfinite(score)
