"""Score the forecasts of the finalists, their average and the baselines on the test block."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search.results.columns import OWN_TEST_METRICS
from search.results.ranking import ENSEMBLE
from search.study.finalists import RefittedFinalist, validation_days
from stockrnn.dataset.walk_forward import Fold, WalkForward
from stockrnn.evaluation import forecast_tests, metrics
from stockrnn.evaluation.baselines import BASELINES, forecast_baseline
from stockrnn.evaluation.conformal import conformal_intervals, interval_coverage
from stockrnn.evaluation.multiple_testing import UndefinedTestError, model_confidence_set
from stockrnn.evaluation.scores import score
from stockrnn.prices.series import Prices

__all__ = ["TestBlockResult", "score_test_block"]

LEVELS = (0.80, 0.95)


@dataclass(frozen=True, kw_only=True)
class TestBlockResult:
    """Forecasts and scores of the test block by trial ID, name of a baseline, or `ensemble`.

    Attributes:
        forecasts: of the block, shape (days,), price points.
        scores: values of the leaderboard's test columns.
        reasons: why a column has no value, by column.
        ensemble: validation scores of the finalists' average; empty if there is only one finalist.
    """

    __test__ = False  # pytest must not collect it

    forecasts: Mapping[str, np.ndarray]
    scores: Mapping[str, Mapping[str, Any]]
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    ensemble: Mapping[str, float] = field(default_factory=dict)


def score_test_block(
    refitted: Sequence[RefittedFinalist], validation: Mapping[str, np.ndarray], prices: Prices, splits: WalkForward,
    horizon: int,
) -> TestBlockResult:  # fmt: skip
    """Score the finalists' seed-average forecasts, their average and every baseline.

    Args:
        refitted: the finalists, best first.
        validation: the forecasts of their trials on the validation days of all folds, (days,), by trial ID.
        prices: the study's prices.
        splits: the study's folds and test block.
        horizon: sessions from a forecast to its target.
    """
    closes, fold = prices.column("close"), splits.final
    actual, previous, earlier = _closes(closes, fold.validation, horizon)
    forecasts = {one.finalist.trial_id: one.forecasts.mean(axis=0) for one in refitted}
    earlier_forecasts = {name: validation[name] for name in forecasts}
    ensemble: Mapping[str, float] = {}
    if len(refitted) > 1:
        forecasts[ENSEMBLE] = np.mean([*forecasts.values()], axis=0)
        together = np.stack([*earlier_forecasts.values()])
        ensemble = score(_by_fold(together, splits.folds), closes, splits.folds, horizon)
        earlier_forecasts[ENSEMBLE] = together.mean(axis=0)
    for name in BASELINES:

        def forecast_fold(fold: Fold, name: str = name) -> np.ndarray:
            origins = np.arange(fold.validation.start, fold.validation.stop) - horizon
            return forecast_baseline(name, closes, fold.train, origins, horizon)

        forecasts[name] = forecast_fold(fold)
        earlier_forecasts[name] = np.concatenate([forecast_fold(each) for each in splits.folds])
    validation_closes, _ = validation_days(prices, splits.folds, horizon)
    scores: dict[str, dict[str, Any]] = {}
    result = TestBlockResult(forecasts=forecasts, scores=scores, ensemble=ensemble)
    for name, forecast in forecasts.items():
        intervals = conformal_intervals(earlier_forecasts[name], validation_closes, LEVELS)
        scores[name] = {
            **_columns(forecast, actual, previous, earlier, horizon),
            **{
                f"test_coverage_{round(100 * interval.level)}": interval_coverage(forecast, actual, interval)
                for interval in intervals
            },
        }
    for one in refitted:
        singles = [metrics.theils_u(forecast, actual, previous) for forecast in one.forecasts]
        scores[one.finalist.trial_id]["seeds_sd"] = float(np.std(singles))
    inside = _confidence_set(forecasts, actual, horizon)
    for index, (name, columns) in enumerate(scores.items()):
        reasons = {
            column: _reason(forecasts[name], actual, previous)
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


def _closes(closes: np.ndarray, block: range, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the block's closes, the closes on the days of the forecasts, and those one session earlier."""
    targets = np.arange(block.start, block.stop)
    return closes[targets], closes[targets - horizon], closes[targets - horizon - 1]


def _by_fold(forecasts: np.ndarray, folds: Sequence[Fold]) -> list[np.ndarray]:
    ends = np.cumsum([len(fold.validation) for fold in folds])
    return np.split(forecasts, ends[:-1], axis=1)


def _columns(
    forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray, earlier: np.ndarray, horizon: int
) -> dict[str, Any]:
    return {
        "test_relative_loss": metrics.theils_u(forecast, actual, previous),
        "test_rmse": metrics.rmse(forecast, actual),
        "test_mae": metrics.mae(forecast, actual),
        "test_mape": metrics.mape(forecast, actual),
        "test_r2_oos": metrics.r2_oos(forecast, actual, previous),
        "test_direction_accuracy": metrics.direction_accuracy(forecast, actual, previous),
        "test_always_up": metrics.always_up(actual, previous),
        "test_lag_correlation": metrics.lag_correlation(forecast, previous, earlier),
        "test_dm_p": forecast_tests.diebold_mariano((forecast - actual) ** 2, (previous - actual) ** 2, horizon),
        "test_cw_p": forecast_tests.clark_west(forecast, actual, previous, horizon),
        **{name: metric.value(forecast, actual, previous) for name, metric in OWN_TEST_METRICS.items()},
    }


def _confidence_set(
    forecasts: Mapping[str, np.ndarray], actual: np.ndarray, horizon: int
) -> np.ndarray | UndefinedTestError:
    """Return which forecasts are in the model confidence set, or why that is not defined."""
    try:
        return model_confidence_set(
            np.stack([(forecast - actual) ** 2 for forecast in forecasts.values()]), horizon=horizon
        )
    except UndefinedTestError as reason:
        return reason


def _reason(forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray) -> str:
    """Return why a column is not defined for a forecast of these days."""
    if not np.isfinite(forecast).all():
        return "the forecast is not a finite number"
    if np.array_equal(forecast, previous):
        return "the forecast is persistence itself"
    if np.array_equal(actual, previous):
        return "the price never moves in the test block"
    if len(actual) < forecast_tests.MIN_DAYS:
        return f"{len(actual)} days, at least {forecast_tests.MIN_DAYS} are needed"
    if np.ptp(forecast - previous) < 1e-9 * np.abs(forecast).max():
        return "the forecast change is the same every day"
    return "not defined on these days"
