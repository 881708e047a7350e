"""ASHA over our epochs: a score that is not finite never enters a rung and stops its trial."""

import math
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from search.space import Space

__all__ = ["FiniteASHA"]


class FiniteASHA(AsyncHyperBandScheduler):
    """Tune's asynchronous successive halving, which by itself never stops NaN and is spoilt by infinities."""

    def __init__(self, space: Space) -> None:
        super().__init__(
            time_attr="epoch",
            metric="score",
            mode=space.mode,
            max_t=space.scheduler.max_epochs,
            grace_period=space.scheduler.grace_period,
            reduction_factor=space.scheduler.reduction_factor,
            brackets=1,
        )

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP after an epoch."""
        if not _finite(result):
            return str(TrialScheduler.STOP)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Enter the last result into its rung, if it is a number."""
        if _finite(result):
            super().on_trial_complete(tune_controller, trial, result)


def _finite(result: dict[str, Any]) -> bool:
    score = result.get("score")
    return score is not None and math.isfinite(score)
