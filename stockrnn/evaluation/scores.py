"""Score a trial or a baseline on the validation blocks of all folds, by the mean forecast over seeds."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from stockrnn.dataset.walk_forward import Fold
from stockrnn.evaluation.metrics import direction_accuracy, mae, rmse, theils_u

__all__ = ["METRICS", "Scores", "score"]

METRICS = {  # scores that a study can rank by, and whether lower or higher is better
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
        val_theils_u_sd: standard deviation of Theil's U over single members (each fold, each seed).
        val_worst_fold: largest Theil's U of a fold. This and the standard deviation leave out folds without a Theil's
            U, in which the price never changes.
        val_rmse, val_mae: in price points, on the days of all folds together.
        val_direction_accuracy: share of days with a correctly forecast direction; NaN for persistence.
    """

    val_theils_u: float
    val_theils_u_sd: float
    val_worst_fold: float
    val_rmse: float
    val_mae: float
    val_direction_accuracy: float

    def as_dict(self) -> dict[str, float]:
        """Return the scores by name."""
        return asdict(self)


def score(forecasts: Sequence[np.ndarray], closes: np.ndarray, folds: Sequence[Fold], horizon: int) -> Scores:
    """Score the forecasts of all folds.

    Args:
        forecasts: per fold, shape (seeds, days), price points; the mean over seeds is scored.
        closes: the series, shape (sessions,).
        folds: the folds; only their validation blocks are used.
        horizon: sessions between a forecast and its target.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged forecast scores inf; the caller reports it
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
        val_theils_u_sd=float(np.std(_drop_nan(by_member))),
        val_worst_fold=max(_drop_nan(by_fold)),
        val_rmse=rmse(forecast, actual),
        val_mae=mae(forecast, actual),
        val_direction_accuracy=direction_accuracy(forecast, actual, before),
    )


def _drop_nan(values: list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)] or [math.nan]
