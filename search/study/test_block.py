"""Score the forecasts of the finalists, their average and the baselines on the test block."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search.results.ranking import ENSEMBLE
from search.space.space import Space
from search.study.finalists import RefittedFinalist, validation_days
from stockrnn.evaluation import forecast_tests
from stockrnn.evaluation.adaptive_intervals import adaptive_intervals, log_errors, winkler_score
from stockrnn.evaluation.conformal import Interval, conformal_intervals
from stockrnn.evaluation.multiple_testing import UndefinedTestError, model_confidence_set
from stockrnn.evaluation.walk_forward import Fold, WalkForward
from stockrnn.io.errors import UserError
from stockrnn.prices.series import Prices
from stockrnn.tasks.interval_scale import interval_scales
from stockrnn.tasks.scoring import FoldDays, fold_days, forecast_baseline, score
from stockrnn.tasks.task import BlockDays, Series, Task, relative_loss

__all__ = ["TestBlockResult", "score_test_block"]

LEVELS = (0.80, 0.95)


@dataclass(frozen=True, kw_only=True)
class TestBlockResult:
    """Forecasts and scores of the test block by trial ID, name of a baseline, or `ensemble`.

    Attributes:
        forecasts: of the block, shape (days,), in the task's unit.
        scores: values of the leaderboard's test columns.
        reasons: why a column has no value, by column.
        ensemble: validation scores of the finalists' average; empty if there is only one finalist.
        unfitted: why a baseline has no forecasts, by name.
    """

    __test__ = False  # pytest must not collect it

    forecasts: Mapping[str, np.ndarray]
    scores: Mapping[str, Mapping[str, Any]]
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    ensemble: Mapping[str, float] = field(default_factory=dict)
    unfitted: Mapping[str, str] = field(default_factory=dict)


def score_test_block(
    refitted: Sequence[RefittedFinalist], validation: Mapping[str, np.ndarray], space: Space, prices: Prices,
    splits: WalkForward,
) -> TestBlockResult:  # fmt: skip
    """Score the finalists' seed-average forecasts, their average and every baseline.

    Args:
        refitted: the finalists, best first.
        validation: the forecasts of their trials on the validation days of all folds, (days,), by trial ID.
        space: the study's space.
        prices: the study's prices.
        splits: the study's folds and test block.
    """
    task, series, fold = space.task, space.series(prices), splits.final
    forecasts = {one.finalist.trial_id: one.forecasts.mean(axis=0) for one in refitted}
    earlier_forecasts = {name: validation[name] for name in forecasts}
    ensemble: Mapping[str, float] = {}
    if len(refitted) > 1:
        forecasts[ENSEMBLE] = np.mean([*forecasts.values()], axis=0)
        together = np.stack([*earlier_forecasts.values()])
        ensemble = score(task, _by_fold(together, splits.folds), fold_days(task, series, splits.folds))
        earlier_forecasts[ENSEMBLE] = together.mean(axis=0)
    unfitted: dict[str, str] = {}
    for name in task.baselines:
        try:
            found = [forecast_baseline(task, name, series, each) for each in (fold, *splits.folds)]
        except UserError as error:
            unfitted[name] = str(error)
            continue
        forecasts[name], earlier_forecasts[name] = found[0], np.concatenate(found[1:])
    earlier_actual, _ = validation_days(space, prices, splits.folds)
    (days,) = fold_days(task, series, [fold])
    scale = np.concatenate(interval_scales(task, series, [*splits.folds, fold])) if task.has_intervals else np.empty(0)
    errors = {
        name: np.concatenate([log_errors(earlier_forecasts[name], earlier_actual), log_errors(forecast, days.actual)])
        for name, forecast in forecasts.items()
    }
    scores: dict[str, dict[str, Any]] = {}
    result = TestBlockResult(forecasts=forecasts, scores=scores, ensemble=ensemble, unfitted=unfitted)
    for name, forecast in forecasts.items():
        scores[name] = _columns(task, series, fold, days, forecast)
        if task.has_intervals:
            static = conformal_intervals(earlier_forecasts[name], earlier_actual, LEVELS)
            scores[name] |= _score_intervals(errors[name], scale, static, len(splits.test), series.horizon)
    relative_loss = task.metrics["val_relative_loss"].value
    for one in refitted:
        singles = [relative_loss(forecast, days.actual, days.rival) for forecast in one.forecasts]
        scores[one.finalist.trial_id]["seeds_sd"] = float(np.std(singles))
    inside = _confidence_set(task, forecasts, days, series.horizon)
    for index, (name, columns) in enumerate(scores.items()):
        reasons = {
            column: _reason(forecasts[name], days, task.rival)
            for column, value in columns.items()
            if not math.isfinite(value)
        }
        if isinstance(inside, UndefinedTestError):
            reasons["in_mcs"] = str(inside)
        else:
            columns["in_mcs"] = bool(inside[index])
        if reasons:
            result.reasons[name] = reasons
    return result


def _score_intervals(
    errors: np.ndarray, scale: np.ndarray, static: Sequence[Interval], days: int, horizon: int
) -> dict[str, float]:
    """Return coverage and relative Winkler score of the intervals on the last `days` days, the test set, by column.

    The intervals are scaled and adapt their level day by day, from the validation days on. The rival of the Winkler
    score is `static`, the interval of one width for all days from the validation days.
    """
    columns: dict[str, float] = {}
    finite = bool(np.isfinite(errors).all())
    for interval in static:
        level, width, percent = interval.level, interval.half_width, round(100 * interval.level)
        inside = relative = math.nan
        if finite:
            widths, _ = adaptive_intervals(errors, scale, level, horizon=horizon)
            actual, own = errors[-days:], widths[-days:]
            inside = float(np.mean(np.abs(actual) <= own))
            if width is not None and np.isfinite(own).all():
                rival = winkler_score(actual, np.full(days, -width), np.full(days, width), level)
                relative = relative_loss(winkler_score(actual, -own, own, level), rival)
        columns |= {f"test_coverage_{percent}": inside, f"test_winkler_{percent}": relative}
    return columns


def _by_fold(forecasts: np.ndarray, folds: Sequence[Fold]) -> list[np.ndarray]:
    ends = np.cumsum([len(fold.validation) for fold in folds])
    return np.split(forecasts, ends[:-1], axis=1)


def _columns(task: Task, series: Series, fold: Fold, days: FoldDays, forecast: np.ndarray) -> dict[str, Any]:
    block = BlockDays(forecast=forecast, actual=days.actual, rival=days.rival, series=series, block=fold.validation)
    own, rival = task.loss(forecast, days.actual), task.loss(days.rival, days.actual)
    return {
        **{
            f"test_{name.removeprefix('val_')}": metric.value(forecast, days.actual, days.rival)
            for name, metric in task.metrics.items()
            if metric.over == "days"
        },
        **{name: metric.value(block) for name, metric in task.block_metrics.items()},
        "test_dm_p": forecast_tests.diebold_mariano(own, rival, series.horizon),
    }


def _confidence_set(
    task: Task, forecasts: Mapping[str, np.ndarray], days: FoldDays, horizon: int
) -> np.ndarray | UndefinedTestError:
    """Return which forecasts are in the model confidence set, or why that is not defined."""
    try:
        losses = np.stack([task.loss(forecast, days.actual) for forecast in forecasts.values()])
        return model_confidence_set(losses, horizon=horizon)
    except UndefinedTestError as reason:
        return reason


def _reason(forecast: np.ndarray, days: FoldDays, rival: str) -> str:
    """Return why a column is not defined for a forecast of these days."""
    if not np.isfinite(forecast).all():
        return "the forecast is not a finite number"
    if np.array_equal(forecast, days.rival):
        return f"the forecast is {rival} itself"
    if np.array_equal(days.actual, days.rival):
        return "the rival makes no error in the test block"
    if len(days.actual) < forecast_tests.MIN_DAYS:
        return f"{len(days.actual)} days, at least {forecast_tests.MIN_DAYS} are needed"
    if np.ptp(forecast - days.rival) < 1e-9 * np.abs(forecast).max():
        return "the forecast change is the same every day"
    return "not defined on these days"
