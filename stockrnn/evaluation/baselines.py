"""Compute baseline forecasts (persistence, drift, AR(1)) to compare networks with.

Each baseline is fitted on a fold's training sessions and forecasts the close `horizon` sessions after each origin. The
arguments are `closes` (sessions,) in price points, `train` (positions to fit on) and `origins` (positions at which the
forecasts are made); the result has shape (origins,), in price points.
"""

import numpy as np

__all__ = ["ar1", "drift", "persistence"]

ROUNDING = 1e-12  # smaller differences of log returns are rounding errors


def persistence(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast the last close."""
    forecasts: np.ndarray = closes[origins]
    return forecasts


def drift(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast a random walk with drift: the last close grows by the mean log return of the training sessions."""
    forecasts: np.ndarray = closes[origins] * np.exp(horizon * np.mean(_log_returns(closes, train)))
    return forecasts


def ar1(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast log returns by r(t+1) = a + b r(t), fitted by least squares and iterated to the horizon.

    The slope b is clipped to -1..1, because iterated forecasts diverge outside. With fewer than three returns, or
    returns that do not vary, the result is that of `drift`.
    """
    returns = _log_returns(closes, train)
    if len(returns) < 3 or np.ptp(returns[:-1]) < ROUNDING:
        return drift(closes, train, origins, horizon)
    before, after = returns[:-1], returns[1:]
    deviation = before - before.mean()
    slope = np.clip(deviation @ after / (deviation @ deviation), -1, 1)
    intercept = after.mean() - slope * before.mean()
    ahead = np.log(closes[origins] / closes[origins - 1])
    total = np.zeros(len(origins))
    for _ in range(horizon):
        ahead = intercept + slope * ahead
        total += ahead
    forecasts: np.ndarray = closes[origins] * np.exp(total)
    return forecasts


def _log_returns(closes: np.ndarray, train: range) -> np.ndarray:
    return np.diff(np.log(closes[train.start : train.stop]))
