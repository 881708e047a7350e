"""Turn a forecast of volatility into a range of the close, with the move from the last close to the open.

Range estimators measure a session from its open to its close. The ratio of the variance of close-to-close returns to
the mean estimate, on past sessions, scales a forecast to the time from close to close.
"""

from statistics import NormalDist

import numpy as np

from stockrnn.volatility.features import log_return
from stockrnn.volatility.forecasts import VolatilityError

__all__ = ["close_range", "overnight_factor"]

MIN_SESSIONS = 20  # for the ratio of two variances


def overnight_factor(variance: np.ndarray, close: np.ndarray, train: range) -> float:
    """Return the variance of log returns from close to close over the mean variance of sessions, on training sessions.

    Args:
        variance: estimates, shape (sessions,), of daily log returns; NaN in the first sessions.
        close: shape (sessions,), price points.
        train: sessions that are used.

    Raises:
        VolatilityError: fewer than 20 of these sessions have a return and an estimate.
    """
    returns, estimates = (values[train.start : train.stop] for values in (log_return(close[: train.stop]), variance))
    known = np.isfinite(returns) & np.isfinite(estimates)
    if known.sum() < MIN_SESSIONS:
        raise VolatilityError(
            f"overnight move: {known.sum()} of {len(train)} training sessions have a return and a variance; "
            f"at least {MIN_SESSIONS} are needed"
        )
    return float(np.var(returns[known]) / np.mean(estimates[known]))


def close_range(
    last_close: np.ndarray, variance: np.ndarray, level: float, *, horizon: int, factor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the close `horizon` sessions later, each of the shape of `variance`, price points.

    The log return is assumed to be normal, without drift, with the variance horizon x factor x variance.

    Args:
        last_close: price points.
        variance: forecast of the mean variance of the next `horizon` sessions.
        level: probability of the range, above 0 and below 1.
        horizon: sessions.
        factor: result of `overnight_factor`.
    """
    with np.errstate(over="ignore"):  # an absurd volatility has an infinite range
        width = np.exp(NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(horizon * factor * variance))
        return last_close / width, last_close * width
