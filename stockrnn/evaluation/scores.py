"""Score a trial or a baseline on the validation blocks of all folds, by the mean forecast over seeds.

To add a metric that a study can rank by, add an entry to METRICS: spaces, their schema and error messages, and the
leaderboard read this dictionary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stockrnn.dataset.walk_forward import Fold
from stockrnn.evaluation.metrics import direction_accuracy, mae, rmse, theils_u

__all__ = ["METRICS", "SPREAD", "Metric", "Scores", "score", "score_names"]

SPREAD = "val_relative_loss_sd"  # standard deviation of Theil's U over single members (each fold, each seed)
Scores = dict[str, float]  # by name; NaN for an undefined score


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score on validation that a study can rank by. Its name begins with `val_`.

    Attributes:
        value: function of `forecast`, `actual` and `previous`, each (days,) in price points (see `metrics`); it returns
            NaN if the score is undefined.
        better: whether lower (min) or higher (max) scores are better.
        over: the days of all folds together; or the worst fold: the worst of the folds' scores, without undefined ones.
        meaning, unit: description for the leaderboard.
    """

    value: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    better: Literal["min", "max"] = "min"
    over: Literal["days", "worst fold"] = "days"
    meaning: str = "score of validation"
    unit: str = ""


METRICS: dict[str, Metric] = {  # search/results/columns.py describes them
    "val_relative_loss": Metric(value=theils_u),
    "val_worst_fold": Metric(value=theils_u, over="worst fold"),
    "val_rmse": Metric(value=lambda forecast, actual, previous: rmse(forecast, actual)),
    "val_mae": Metric(value=lambda forecast, actual, previous: mae(forecast, actual)),
    "val_direction_accuracy": Metric(value=direction_accuracy, better="max"),
}


def score_names() -> tuple[str, ...]:
    """Return the names of all scores, in the order of checkpoints: the metrics, and the spread of Theil's U."""
    first, *others = METRICS
    return (first, SPREAD, *others)


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
    by_fold = [*zip(averages, actuals, previous, strict=True)]
    together = [np.concatenate(days) for days in (averages, actuals, previous)]
    scores: Scores = {}
    for name, metric in METRICS.items():
        if metric.over == "days":
            scores[name] = metric.value(*together)
        else:
            worst = max if metric.better == "min" else min
            scores[name] = worst(_drop_nan([metric.value(*days) for days in by_fold]))
    by_member = [
        theils_u(one, actual, before)
        for seeds, actual, before in zip(forecasts, actuals, previous, strict=True)
        for one in seeds
    ]
    return scores | {SPREAD: float(np.std(_drop_nan(by_member)))}


def _drop_nan(values: list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)] or [math.nan]
