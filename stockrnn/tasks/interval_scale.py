"""Forecast the scale of errors for prediction intervals: the volatility that is known when a forecast is made.

The scale of a price forecast is the volatility of the log return from the origin to the session that is forecast: HAR
with leverage on the series' ranges, or an exponentially weighted mean of squared returns where there is no high and low
or too little history. Other tasks have a scale of one: their errors of the logarithm do not grow with the volatility.
"""

from collections.abc import Sequence

import numpy as np

from stockrnn.evaluation.walk_forward import Fold
from stockrnn.tasks.task import Series, Task
from stockrnn.volatility.estimators import daily_variance
from stockrnn.volatility.forecasts import VolatilityError, exponential_mean
from stockrnn.volatility.har import har

__all__ = ["interval_scales"]

RANGE = "parkinson"


def interval_scales(task: Task, series: Series, folds: Sequence[Fold]) -> list[np.ndarray]:
    """Return for each fold the scale of the forecast of each validation day, shape (days,), above 0.

    The model is fitted on the fold's training part, and a day's scale uses prices up to the day's origin.
    """
    origins = [np.arange(fold.validation.start, fold.validation.stop) - series.horizon for fold in folds]
    if not task.scales_intervals:
        return [np.ones(len(own)) for own in origins]
    prices = series.prices
    if {"high", "low"} <= {*prices.columns}:
        variance, _ = daily_variance(None, prices.column("high"), prices.column("low"), None, RANGE)
        try:
            forecasts = [har(variance, series.closes, fold.train, series.horizon, leverage=True) for fold in folds]
        except VolatilityError:  # too few sessions for HAR
            pass
        else:
            return [np.sqrt(series.horizon * one.variance[own]) for one, own in zip(forecasts, origins, strict=True)]
    squares, _ = daily_variance(None, None, None, series.closes, "squared_return")
    mean = exponential_mean(squares)
    return [np.sqrt(series.horizon * mean[own]) for own in origins]
