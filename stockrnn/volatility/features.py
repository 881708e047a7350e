"""Compute features of past ranges and returns, the inputs of volatility forecasts.

A feature of session t uses prices up to the close of t. It is NaN in its warm-up, the first sessions of a series.
"""

import numpy as np

__all__ = [
    "ABSOLUTE_RETURN", "FEATURES", "LOG_RETURN", "LOG_VARIANCE", "LOG_VARIANCE_MONTH", "LOG_VARIANCE_WEEK", "MONTH",
    "WARM_UP", "WEEK", "log_return", "past_mean", "volatility_features",
]  # fmt: skip

WEEK, MONTH = 5, 22  # sessions
WARM_UP = MONTH  # sessions at the start of a series in which a feature is NaN, if the variance is NaN in the first one

LOG_VARIANCE = "log_variance"
LOG_VARIANCE_WEEK = "log_variance_5"
LOG_VARIANCE_MONTH = "log_variance_22"
LOG_RETURN = "log_return"
ABSOLUTE_RETURN = "absolute_return"
FEATURES = (LOG_VARIANCE, LOG_VARIANCE_WEEK, LOG_VARIANCE_MONTH, LOG_RETURN, ABSOLUTE_RETURN)


def volatility_features(variance: np.ndarray, close: np.ndarray) -> dict[str, np.ndarray]:
    """Return the features by name, in the order of FEATURES, each of shape (sessions,).

    They are the natural log of the variance, the means of this log over the last 5 and 22 sessions, the log return from
    the last close, and its absolute value.

    Args:
        variance: shape (sessions,), of daily log returns; above 0, or NaN in the first sessions.
        close: shape (sessions,), price points.
    """
    logs, returns = np.log(variance), log_return(close)
    columns = (logs, past_mean(logs, WEEK), past_mean(logs, MONTH), returns, np.abs(returns))
    return dict(zip(FEATURES, columns, strict=True))


def log_return(close: np.ndarray) -> np.ndarray:
    """Return the log return from the last close, shape (sessions,); NaN for the first session."""
    close = np.asarray(close, dtype=float)
    return np.concatenate([np.full(min(1, len(close)), np.nan), np.diff(np.log(close))])


def past_mean(values: np.ndarray, sessions: int) -> np.ndarray:
    """Return the mean of the last `sessions` values at each position, shape (sessions,); NaN if there are fewer."""
    result = np.full(len(values), np.nan)
    if len(values) >= sessions:
        result[sessions - 1 :] = np.lib.stride_tricks.sliding_window_view(values, sessions).mean(axis=1)
    return result
