"""ASHA over our epochs: a score that is not finite never enters a rung and stops its trial.

Tune never saves its rungs. Ours are rebuilt from the record: a trial is known to its rung by the id it keeps for ever,
not by the one that Tune gives it anew each time.
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
    """Tune's asynchronous successive halving, which by itself never stops NaN and is spoilt by infinities.

    Args:
        space: metric, rungs and reduction factor.
        log: the trials of a study that is resumed: its rungs are as they were. The last epoch of a trial that has not
            ended counts as not reported, since the decision on it is not known.
    """

    def __init__(self, space: Space, log: TrialLog | None = None) -> None:
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
        for trial_id, epoch, score in _decided(log or TrialLog()):
            if math.isfinite(score) and epoch < space.scheduler.max_epochs:
                known: Any = _Known(trial_id)
                self._brackets[0].on_result(known, epoch, sign * score)

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


def _decided(log: TrialLog) -> Iterator[tuple[str, int, float]]:
    """Yield trial id, epoch and score of the epochs on which the decision is known."""
    last = {trial_id: epoch for trial_id, epoch, *_ in log.epochs}
    finished = {end.trial_id for end in log.finished}
    for trial_id, epoch, score, _ in log.epochs:
        if score is not None and (trial_id in finished or epoch < last[trial_id]):
            yield trial_id, epoch, score


def _finite(result: Mapping[str, Any]) -> bool:
    score = result.get("score")
    return score is not None and math.isfinite(score)
