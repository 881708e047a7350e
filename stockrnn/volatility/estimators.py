"""Estimate a session's variance from its open, high, low and close: Parkinson, Garman-Klass, Rogers-Satchell.

A variance is that of a daily log return, for example 1e-4 for a volatility of 1 % a day. The range estimators measure
the time from the open to the close; they miss the move from the last close to the open. To add an estimator, add an
entry to ESTIMATORS.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from stockrnn.io.errors import UserError

__all__ = [
    "ESTIMATORS", "FLOOR_SESSIONS", "FLOOR_SHARE", "MIN_VARIANCE", "Estimator", "EstimatorError", "available",
    "check_columns", "daily_variance", "mean_future_variance", "needs",
]  # fmt: skip

FLOOR_SHARE = 0.01  # of the mean variance of the sessions before: a tenth of their volatility
FLOOR_SESSIONS = 250  # sessions before, whose mean variance gives the floor
MIN_VARIANCE = 1e-10  # lowest floor: a volatility of 0.001 % a day


class EstimatorError(UserError):
    """A variance cannot be estimated from a series."""


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """An estimator of a session's variance.

    Attributes:
        needs: columns of a series that the estimator uses.
        values: function of open, high, low and close, each (sessions,) in price points or None if not needed; it
            returns the variance of each session, shape (sessions,).
        warm_up: number of sessions at the start of a series for which the variance is NaN.
    """

    needs: tuple[str, ...]
    values: Callable[..., np.ndarray]
    warm_up: int = 0


def daily_variance(
    open: np.ndarray | None, high: np.ndarray | None, low: np.ndarray | None, close: np.ndarray | None, estimator: str
) -> tuple[np.ndarray, int]:
    """Return the variance of each session, shape (sessions,), and the number of sessions whose variance was raised.

    A session without a range (high = low, or close = last close for `squared_return`) has an estimate of zero, which
    has no logarithm. An estimate below the floor is raised to it. The floor of a session is 1 % of the mean estimate of
    the 250 sessions before (of fewer at the start of the series), and at least 1e-10. It uses no later session.

    Args:
        open, high, low, close: shape (sessions,), price points; None for a column that the estimator does not need.
        estimator: a name of ESTIMATORS.

    Raises:
        EstimatorError: the estimator is unknown, a column is missing, the lengths differ, or a price is not a finite
            number above 0.
    """
    given = {"open": open, "high": high, "low": low, "close": close}
    check_columns(estimator, [name for name, column in given.items() if column is not None])
    columns: dict[str, np.ndarray | None] = dict.fromkeys(given)
    for name in needs(estimator):
        columns[name] = column = np.asarray(given[name], dtype=float)
        if not (np.isfinite(column) & (column > 0)).all():
            session = int(np.argmin(np.isfinite(column) & (column > 0)))
            raise EstimatorError(f"{name}: {column[session]:g} in session {session}: a price must be a number above 0")
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) != 1:
        raise EstimatorError(f"columns have different lengths: {lengths}; each must have one price per session")
    raw = ESTIMATORS[estimator].values(**columns)
    floor = _floor(raw)
    low_days = raw < floor  # False for NaN
    return np.where(low_days, floor, raw), int(low_days.sum())


def needs(estimator: str) -> tuple[str, ...]:
    """Return the columns that an estimator uses; raise EstimatorError if it is unknown."""
    if estimator not in ESTIMATORS:
        raise EstimatorError(f"estimator: {estimator}: must be one of {', '.join(ESTIMATORS)}")
    return ESTIMATORS[estimator].needs


def available(columns: Collection[str]) -> tuple[str, ...]:
    """Return the estimators that can be computed from the columns of a series."""
    return tuple(name for name, one in ESTIMATORS.items() if set(one.needs) <= set(columns))


def check_columns(estimator: str, columns: Collection[str]) -> None:
    """Raise EstimatorError if the estimator is unknown or needs a column that is not there; it names the others."""
    missing = [name for name in needs(estimator) if name not in columns]
    if missing:
        others = available(columns)
        raise EstimatorError(
            f"estimator: {estimator}: needs {', '.join(needs(estimator))}; the series has no {', '.join(missing)}; "
            + (f"write {' or '.join(others)}" if others else "no estimator fits, because all need prices")
        )


def mean_future_variance(variance: np.ndarray, horizon: int) -> np.ndarray:
    """Return the mean variance of the sessions t + 1 to t + horizon at each session t, shape (sessions,).

    This is the target of a volatility forecast. It is NaN for the last `horizon` sessions.
    """
    assert horizon >= 1
    variance = np.asarray(variance, dtype=float)
    result = np.full(len(variance), np.nan)
    if len(variance) > horizon:
        result[:-horizon] = np.lib.stride_tricks.sliding_window_view(variance[1:], horizon).mean(axis=1)
    return result


def _floor(raw: np.ndarray) -> np.ndarray:
    """Return the lowest variance that a session may have, shape (sessions,), from the sessions before it alone."""
    padded = np.concatenate([np.full(FLOOR_SESSIONS, np.nan), raw])[:-1]
    before = np.lib.stride_tricks.sliding_window_view(padded, FLOOR_SESSIONS) if len(raw) else np.empty((0, 1))
    known = np.isfinite(before)
    means = np.where(known, before, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    floor: np.ndarray = np.maximum(FLOOR_SHARE * means, MIN_VARIANCE)
    return floor


def _parkinson(open: None, high: np.ndarray, low: np.ndarray, close: None) -> np.ndarray:
    """Squared log range, (ln H/L)^2 / (4 ln 2). Source: Parkinson (1980), doi 10.1086/296071."""
    variance: np.ndarray = np.log(high / low) ** 2 / (4 * np.log(2))
    return variance


def _garman_klass(open: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Difference 0.5 (ln H/L)^2 - (2 ln 2 - 1) (ln C/O)^2. Source: Garman & Klass (1980), doi 10.1086/296072."""
    variance: np.ndarray = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * np.log(close / open) ** 2
    return variance


def _rogers_satchell(open: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Product ln H/C ln H/O + ln L/C ln L/O, which drift does not bias.

    Source: Rogers & Satchell (1991), doi 10.1214/aoap/1177005835.
    """
    variance: np.ndarray = np.log(high / close) * np.log(high / open) + np.log(low / close) * np.log(low / open)
    return variance


def _squared_return(open: None, high: None, low: None, close: np.ndarray) -> np.ndarray:
    """Square of the log return from the last close; NaN for the first session."""
    return np.concatenate([np.full(min(1, len(close)), np.nan), np.log(close[1:] / close[:-1]) ** 2])


ESTIMATORS: dict[str, Estimator] = {
    "parkinson": Estimator(needs=("high", "low"), values=_parkinson),
    "garman_klass": Estimator(needs=("open", "high", "low", "close"), values=_garman_klass),
    "rogers_satchell": Estimator(needs=("open", "high", "low", "close"), values=_rogers_satchell),
    "squared_return": Estimator(needs=("close",), values=_squared_return, warm_up=1),
}
