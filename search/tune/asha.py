"""ASHA over our epochs: a score that is not finite never enters a rung and stops its trial.

Tune never saves its rungs. Ours are rebuilt from the record: a trial is known to its rung by the id it keeps for ever,
not by the one that Tune gives it anew each time.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from search.space.space import Space

__all__ = ["FiniteASHA"]


class FiniteASHA(AsyncHyperBandScheduler):
    """Tune's asynchronous successive halving, which by itself never stops NaN and is spoilt by infinities.

    Args:
        space: metric, rungs and reduction factor.
        events: the record's, of a study that is resumed: its rungs are as they were. The last epoch of a trial that
            has not ended counts as not reported, since what was decided on it is not known.
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
        for epoch in _decided(list(events)):
            if _finite(epoch) and epoch["epoch"] < space.scheduler.max_epochs:
                known: Any = _Known(epoch["trial_id"])
                self._brackets[0].on_result(known, epoch["epoch"], self._metric_op * epoch["score"])

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial begins, or begins again."""
        super().on_trial_add(tune_controller, _known(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP after an epoch."""
        if not _finite(result):
            return str(TrialScheduler.STOP)
        return str(super().on_trial_result(tune_controller, _known(trial), result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Enter the last result into its rung, if it is a number."""
        if _finite(result):
            super().on_trial_complete(tune_controller, _known(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A trial goes before it began."""
        super().on_trial_remove(tune_controller, _known(trial))


@dataclass(frozen=True)
class _Known:
    trial_id: str


def _known(trial: Any) -> Any:
    """All that ASHA asks of a trial: its id, here the one it keeps."""
    return _Known(trial.config["trial_id"])


def _decided(events: list[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The epochs on which it is known what was decided."""
    last = {event["trial_id"]: event["epoch"] for event in events if event["event"] == "epoch"}
    ended = {event["trial_id"] for event in events if event["event"] == "end"}
    for event in events:
        if event["event"] == "epoch":
            trial_id = event["trial_id"]
            if trial_id in ended or event["epoch"] < last[trial_id]:
                yield event


def _finite(result: Mapping[str, Any]) -> bool:
    score = result.get("score")
    return score is not None and math.isfinite(score)
