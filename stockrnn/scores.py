"""The score of a trial or a baseline: the seed-average forecast of every fold, in price units."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from stockrnn.folds import Fold
from stockrnn.metrics import direction_accuracy, mae, rmse, theils_u

__all__ = ["METRICS", "Scores", "score"]

METRICS = {  # what a study may rank by, and which way is better
    "val_theils_u": "min",
    "val_worst_fold": "min",
    "val_rmse": "min",
    "val_mae": "min",
    "val_direction_accuracy": "max",
}


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Validation scores.

    Attributes:
        val_theils_u: RMSE over that of persistence, on the days of all folds together.
        val_theils_u_sd: standard deviation of the Theil's U of the single members (each fold, each seed).
        val_worst_fold: the largest Theil's U of a single fold. Folds without a Theil's U, on whose days the
            price never moves, count in neither.
        val_rmse, val_mae: in price points, over the days of all folds.
        val_direction_accuracy: share of days whose direction was forecast; NaN for persistence.
    """

    val_theils_u: float
    val_theils_u_sd: float
    val_worst_fold: float
    val_rmse: float
    val_mae: float
    val_direction_accuracy: float

    def as_dict(self) -> dict[str, float]:
        """The scores by name."""
        return asdict(self)


def score(forecasts: Sequence[np.ndarray], closes: np.ndarray, folds: Sequence[Fold], horizon: int) -> Scores:
    """Score the forecasts of all folds.

    Args:
        forecasts: per fold, shape (seeds, days), price points; the mean over seeds is what is scored.
        closes: the series, shape (sessions,).
        folds: their validation positions.
        horizon: sessions between a forecast and its target.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an exploding forecast scores inf; the caller names it
        return _score(forecasts, closes, folds, horizon)


def _score(forecasts: Sequence[np.ndarray], closes: np.ndarray, folds: Sequence[Fold], horizon: int) -> Scores:
    averages = [fold.mean(axis=0) for fold in forecasts]
    actuals = [closes[fold.validation.start : fold.validation.stop] for fold in folds]
    previous = [closes[fold.validation.start - horizon : fold.validation.stop - horizon] for fold in folds]
    by_fold = [theils_u(*days) for days in zip(averages, actuals, previous, strict=True)]
    by_member = [
        theils_u(one, actual, before)
        for seeds, actual, before in zip(forecasts, actuals, previous, strict=True)
        for one in seeds
    ]
    forecast, actual, before = (np.concatenate(days) for days in (averages, actuals, previous))
    return Scores(
        val_theils_u=theils_u(forecast, actual, before),
        val_theils_u_sd=float(np.std(_defined(by_member))),
        val_worst_fold=max(_defined(by_fold)),
        val_rmse=rmse(forecast, actual),
        val_mae=mae(forecast, actual),
        val_direction_accuracy=direction_accuracy(forecast, actual, before),
    )


def _defined(values: list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)] or [math.nan]
