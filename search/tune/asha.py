"""ASHA over epochs that stops trials whose score is not finite, and rebuilds its rungs when a study resumes.

Tune does not save the rungs, and gives a trial a new id at each start. So the rungs are rebuilt from the event log, and
a trial is known by the id that the study gave it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from search.space.space import Space

__all__ = ["FiniteASHA"]


class FiniteASHA(AsyncHyperBandScheduler):
    """Tune's asynchronous successive halving, without NaN and infinity in its rungs.

    Tune's own never stops a trial with NaN, and its cutoffs are wrong after an infinite score.

    Args:
        space: metric, rungs and reduction factor.
        events: of a resumed study; its rungs are restored. The last epoch of a trial that has not ended is ignored,
            because the log does not show what ASHA decided after it.
    """

    def __init__(self, space: Space, events: Iterable[Mapping[str, Any]] = ()) -> None:
        super().__init__(
            time_attr="epoch",
            metric="score",
            mode=space.mode,
            max_t=space.scheduler.max_epochs,
            grace_period=space.scheduler.grace_period,
            reduction_factor=space.scheduler.reduction_factor,
            brackets=1,
        )
        for epoch in _select_decided(list(events)):
            if _is_finite(epoch) and epoch["epoch"] < space.scheduler.max_epochs:
                trial: Any = _TrialId(epoch["trial_id"])
                self._brackets[0].on_result(trial, epoch["epoch"], self._metric_op * epoch["score"])

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Register a trial that starts, or starts again."""
        super().on_trial_add(tune_controller, _study_id(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return CONTINUE or STOP after an epoch."""
        if not _is_finite(result):
            return str(TrialScheduler.STOP)
        return str(super().on_trial_result(tune_controller, _study_id(trial), result))

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


def _select_decided(events: list[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Yield the epochs after which the trial continued or ended."""
    last = {event["trial_id"]: event["epoch"] for event in events if event["event"] == "epoch"}
    ended = {event["trial_id"] for event in events if event["event"] == "end"}
    for event in events:
        if event["event"] == "epoch":
            trial_id = event["trial_id"]
            if trial_id in ended or event["epoch"] < last[trial_id]:
                yield event


def _is_finite(result: Mapping[str, Any]) -> bool:
    score = result.get("score")
    return score is not None and math.isfinite(score)
