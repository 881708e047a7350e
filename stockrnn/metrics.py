"""Scores of forecasts, as pure functions on arrays in price units.

`forecast`, `actual` and `previous` are float arrays of shape (days,): the forecast close, the close that
came, and the close of the day the forecast was made (which is also what persistence forecasts).
"""

import numpy as np

__all__ = ["direction_accuracy", "mae", "rmse", "theils_u"]


def rmse(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Root mean squared error, in price points."""
    return float(np.sqrt(np.mean((forecast - actual) ** 2)))


def mae(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Mean absolute error, in price points."""
    return float(np.mean(np.abs(forecast - actual)))


def theils_u(forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray) -> float:
    """RMSE of the forecast over RMSE of persistence on the same days; below 1 beats "tomorrow equals today".

    Source: Theil (1966), Applied Economic Forecasting, the U2 form with price levels. NaN where the price
    does not move on any of the days.
    """
    naive = rmse(previous, actual)
    return rmse(forecast, actual) / naive if naive > 0 else float("nan")


def direction_accuracy(forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray) -> float:
    """Share of days whose direction was forecast, among the days on which the price moved.

    A forecast of no change misses; where every forecast is "no change" (persistence) there is no direction to
    judge and the result is NaN.
    """
    moved = actual != previous
    if not moved.any() or np.array_equal(forecast, previous):
        return float("nan")
    return float(np.mean(np.sign(forecast - previous)[moved] == np.sign(actual - previous)[moved]))
