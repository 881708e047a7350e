"""Test over all trials of a study whether the best one is only lucky."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from search.results.event_log import TrialEnd
from search.space.parameters import effective_point
from search.space.space import Space
from search.study.finalists import validation_days
from search.study.test_block import TestBlockResult
from stockrnn.evaluation.multiple_testing import UndefinedTestError, backtest_overfitting, spa
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.prices.series import Prices
from stockrnn.tasks.scoring import fold_days
from stockrnn.tasks.task import Task

__all__ = ["remove_repeats", "selection_tests"]


def remove_repeats(validation: Mapping[str, np.ndarray], ends: Iterable[TrialEnd]) -> dict[str, np.ndarray]:
    """Return the forecasts without those of trials that repeat the point of an earlier trial.

    A repetition tries nothing new, so the tests must not count it. Older versions of the samplers repeated points.

    Args:
        validation: by trial ID.
        ends: the ended trials.
    """
    points = {end.trial_id: effective_point(end.point) for end in ends}
    first = {points.get(trial_id): trial_id for trial_id in sorted(validation, reverse=True)}
    return {trial_id: forecast for trial_id, forecast in validation.items() if first[points.get(trial_id)] == trial_id}


def selection_tests(
    validation: Mapping[str, np.ndarray], result: TestBlockResult | None, finalists: list[str], space: Space,
    prices: Prices, splits: WalkForward, earlier: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> dict[str, Any]:  # fmt: skip
    """Test all trials against the rival on validation, and the finalists on the test block.

    Args:
        validation: the forecasts of the trials with different points on the validation days of all folds, (days,), by
            trial ID.
        result: of the test block; None if it was not opened.
        finalists: their trial IDs.
        space: the study's space.
        prices: the study's prices.
        splits: the study's folds and test block.
        earlier: the forecasts of another study's trials, from whose best ones this study started, (days,) by name.
            They have tried their luck on these days as well. A day without a forecast, NaN, counts as the rival's
            forecast.

    Returns:
        The manifest's `proof`: `trials` and `earlier_trials`, their numbers; `spa_p`, the p-value of Hansen's test of
        superior predictive ability of any trial over the rival on validation; `pbo`, the probability of backtest
        overfitting; `test_spa_p`, the p-value of the same test for the finalists on the test block; and the number of
        days of each. A value that is not defined is None, and `reasons` contains the reason.
    """
    horizon, task = space.data.horizon, space.task
    actual, rival_forecast = validation_days(space, prices, splits.folds)
    losses, rival = _losses(task, validation, actual, rival_forecast)
    others = {name: np.where(np.isnan(forecast), rival_forecast, forecast) for name, forecast in earlier.items()}
    all_losses = np.concatenate([losses, _losses(task, others, actual, rival_forecast)[0]])
    proof: dict[str, Any] = {
        "trials": len(validation), "earlier_trials": len(earlier), "validation_days": len(actual),
        "test_days": len(splits.test),
    }  # fmt: skip
    reasons: dict[str, str] = {}

    def add(name: str, test: Any) -> None:
        try:
            proof[name] = test()
        except UndefinedTestError as reason:
            proof[name], reasons[name] = None, str(reason)

    add("spa_p", lambda: spa(all_losses, rival, horizon=horizon))
    add("pbo", lambda: backtest_overfitting(all_losses))
    if result is None:
        proof["test_spa_p"], reasons["test_spa_p"] = None, "the test block was not opened"
    else:
        (days,) = fold_days(task, space.series(prices), [splits.final])
        forecasts = {name: result.forecasts[name] for name in finalists}
        test_losses, test_rival = _losses(task, forecasts, days.actual, days.rival)
        add("test_spa_p", lambda: spa(test_losses, test_rival, horizon=horizon))
    return proof | {"reasons": reasons}


def _losses(
    task: Task, forecasts: Mapping[str, np.ndarray], actual: np.ndarray, rival: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of the forecasts, (forecasts, days), and of the rival, (days,)."""
    own = task.loss(rival, actual)
    if not forecasts:
        return np.empty((0, len(actual))), own
    return np.stack([task.loss(forecast, actual) for forecast in forecasts.values()]), own
