"""Compute error and accuracy metrics of forecasts, as pure functions on arrays in price points.

`forecast`, `actual` and `previous` are float arrays of shape (days,): the forecast close, the actual close, and the
close of the day on which the forecast was made (the forecast of persistence). Undefined metrics are NaN, without a
warning.
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

ROUNDING = 4 * np.finfo(float).eps  # changes smaller than this share of the price are rounding errors


def rmse(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Return the root mean squared error in price points."""
    return float(np.sqrt(np.mean((forecast - actual) ** 2)))


def mae(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Return the mean absolute error in price points."""
    return float(np.mean(np.abs(forecast - actual)))


def mape(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Return the mean absolute error as a share of the actual close; 0.01 is one per cent, NaN if a close is zero.

    Compare it with persistence, which has about 0.01 on a daily index. Source: Hyndman & Koehler (2006), doi
    10.1016/j.ijforecast.2006.03.001, in per cent there.
    """
    if not np.all(actual):
        return float("nan")
    with np.errstate(over="ignore"):
        return float(np.mean(np.abs((forecast - actual) / actual)))


def r2_oos(forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray) -> float:
    """Return the out-of-sample R2 of log returns; persistence has 0, better forecasts more, a perfect one 1.

    1 - sum (log actual - log forecast)^2 / sum (log actual - log previous)^2. Source: Campbell & Thompson
    (2008), doi 10.1093/rfs/hhm055, with a return of zero instead of the historical mean as the benchmark, as in
    Gu, Kelly & Xiu (2020), doi 10.1093/rfs/hhaa009. NaN if the price never changes, or if a price is not positive.
    """
    if not all(np.all(prices > 0) for prices in (forecast, actual, previous)):
        return float("nan")
    naive = np.sum((np.log(actual) - np.log(previous)) ** 2)
    error = np.sum((np.log(actual) - np.log(forecast)) ** 2)
    return float(1 - error / naive) if naive > 0 else float("nan")


def theils_u(forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray) -> float:
    """Return the RMSE of the forecast over that of persistence; below 1 it beats "tomorrow equals today".

    Source: Theil (1966), Applied Economic Forecasting, U2 with price levels. NaN if the price never changes.
    """
    naive = rmse(previous, actual)
    return rmse(forecast, actual) / naive if naive > 0 else float("nan")


def direction_accuracy(forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray) -> float:
    """Return the share of days with a correctly forecast direction, among the days on which the price changed.

    A forecast of no change is wrong. NaN if every forecast is "no change" (persistence), or if the price never changes.
    """
    moved = actual != previous
    if not moved.any() or np.array_equal(forecast, previous):
        return float("nan")
    return float(np.mean(np.sign(forecast - previous)[moved] == np.sign(actual - previous)[moved]))


def always_up(actual: np.ndarray, previous: np.ndarray) -> float:
    """Return the share of days with a rise, among the days on which the price changed; NaN if it never changes.

    This is the direction accuracy of forecasting "up" every day, the benchmark to beat on a rising market.
    """
    moved = actual != previous
    return float(np.mean((actual > previous)[moved])) if moved.any() else float("nan")


def lag_correlation(forecast: np.ndarray, previous: np.ndarray, earlier: np.ndarray) -> float:
    """Return the Pearson correlation of the forecast change with the previous change, both in price points.

    The forecast change is `forecast - previous`, the previous change `previous - earlier`. Near -1 the network repeats
    yesterday's close (forecast = earlier), near 1 it repeats yesterday's change; in both cases it uses nothing but
    yesterday. NaN for persistence, and if either change is the same every day except for rounding.

    Args:
        forecast: shape (days,), price points.
        previous: shape (days,), close of the day on which the forecast was made.
        earlier: shape (days,), close one session before `previous`, for any horizon.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged forecast has no correlation
        return float(np.clip(_deviation(forecast, previous) @ _deviation(previous, earlier), -1, 1))


def _deviation(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the changes minus their mean, scaled to length one; NaN if they do not vary."""
    changes = after - before
    deviation = changes - changes.mean()
    length = np.linalg.norm(deviation)
    rounding = ROUNDING * np.sqrt(changes.size) * max(np.abs(after).max(), np.abs(before).max())
    return deviation / length if rounding < length < np.inf else np.full(changes.shape, np.nan)
