"""Scores of forecasts, as pure functions on arrays in price units.

`forecast`, `actual` and `previous` are float arrays of shape (days,): the forecast close, the close that
came, and the close of the day the forecast was made (which is also what persistence forecasts). Where a score
is not defined it is NaN, without a warning.
"""

import numpy as np

__all__ = [
    "always_up",
    "direction_accuracy",
    "lag_correlation",
    "mae",
    "mape",
    "r2_oos",
    "rmse",
    "theils_u",
]

ROUNDING = 4 * np.finfo(float).eps  # changes smaller than this share of the price are rounding, not forecasts


def rmse(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Root mean squared error, in price points."""
    return float(np.sqrt(np.mean((forecast - actual) ** 2)))


def mae(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Mean absolute error, in price points."""
    return float(np.mean(np.abs(forecast - actual)))


def mape(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Mean absolute error as a share of the actual close: 0.01 is one per cent.

    Says little alone: persistence itself scores about 0.01 on a daily index. Source: Hyndman & Koehler
    (2006), doi 10.1016/j.ijforecast.2006.03.001, who give it in per cent. NaN where a close is zero.
    """
    if not np.all(actual):
        return float("nan")
    with np.errstate(over="ignore"):
        return float(np.mean(np.abs((forecast - actual) / actual)))


def r2_oos(forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray) -> float:
    """Out-of-sample R2 of the log return against persistence, which scores 0; above 0 beats it, 1 is perfect.

    1 - sum (log actual - log forecast)^2 / sum (log actual - log previous)^2. Source: Campbell & Thompson
    (2008), doi 10.1093/rfs/hhm055, with a return of zero in place of the historical mean as the rival, as in
    Gu, Kelly & Xiu (2020), doi 10.1093/rfs/hhaa009. NaN where the price moves on none of the days, and where
    a price is not positive and so has no logarithm.
    """
    if not all(np.all(prices > 0) for prices in (forecast, actual, previous)):
        return float("nan")
    naive = np.sum((np.log(actual) - np.log(previous)) ** 2)
    error = np.sum((np.log(actual) - np.log(forecast)) ** 2)
    return float(1 - error / naive) if naive > 0 else float("nan")


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


def always_up(actual: np.ndarray, previous: np.ndarray) -> float:
    """Share of days that went up, among the days on which the price moved.

    The direction accuracy of forecasting "up" every day: on a rising market this is the rival to beat, not
    one half. NaN where the price moves on none of the days.
    """
    moved = actual != previous
    return float(np.mean((actual > previous)[moved])) if moved.any() else float("nan")


def lag_correlation(forecast: np.ndarray, previous: np.ndarray, earlier: np.ndarray) -> float:
    """Pearson correlation of the forecast change with the change of the day before, both in price points.

    The forecast change is `forecast - previous`, the change of the day before `previous - earlier`. Near -1
    the network repeats yesterday's close (forecast = earlier), near 1 yesterday's move; either way it knows
    nothing but yesterday. NaN for persistence, and wherever either change is the same every day but for
    rounding.

    Args:
        forecast: shape (days,), price points.
        previous: shape (days,), the close of the day the forecast was made.
        earlier: shape (days,), the close one session before `previous`, whatever the horizon.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an exploding forecast has no correlation
        return float(np.clip(_deviation(forecast, previous) @ _deviation(previous, earlier), -1, 1))


def _deviation(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The changes less their mean, scaled to length one; NaN where they do not vary."""
    changes = after - before
    deviation = changes - changes.mean()
    length = np.linalg.norm(deviation)
    rounding = ROUNDING * np.sqrt(changes.size) * max(np.abs(after).max(), np.abs(before).max())
    return deviation / length if rounding < length < np.inf else np.full(changes.shape, np.nan)
