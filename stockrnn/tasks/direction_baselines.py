"""Compute baseline probabilities that the close is higher `horizon` sessions ahead.

The arguments are `closes` (sessions,) in price points, `train` (positions to fit on) and `origins` (positions at which
the forecasts are made); the result has shape (origins,). Probabilities are at least one observation away from 0 and 1.
"""

from collections.abc import Callable

import numpy as np

__all__ = ["Probabilities", "base_rate", "logistic", "persistence"]

Probabilities = Callable[[np.ndarray, range, np.ndarray, int], np.ndarray]
LAGS = 5  # last returns that the logistic regression uses
PENALTY = 1e-2  # of the squared coefficients of standardized returns, per session
MAX_ITERATIONS = 100
TOLERANCE = 1e-10


def base_rate(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast the share of rises among the targets of the training part."""
    return np.full(len(origins), _rate(_rises(closes, train, horizon)))


def persistence(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast the training part's share of rises after a rise, or after no rise, over the last `horizon` sessions.

    The first sessions of a series, whose last direction is unknown, have the base rate.
    """
    known = _origins(train, horizon, first=horizon)
    before, after = closes[known] > closes[known - horizon], closes[known + horizon] > closes[known]
    overall = _rate(_rises(closes, train, horizon))
    rates = {rise: _rate(after[before == rise]) if (before == rise).any() else overall for rise in (False, True)}
    return np.array(
        [overall if t < horizon else rates[bool(closes[t] > closes[t - horizon])] for t in origins], dtype=float
    )


def logistic(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast by a logistic regression on the last five log returns, fitted by Newton's method with an L2 penalty.

    The penalty makes the fit unique and finite. With fewer than 50 targets the result is the base rate.
    """
    known = _origins(train, horizon, first=LAGS)
    if len(known) < 10 * LAGS:
        return base_rate(closes, train, origins, horizon)
    returns = np.concatenate(([np.nan], np.diff(np.log(closes))))
    lagged = np.column_stack([_shift(returns, lag) for lag in range(LAGS)])
    mean, deviation = lagged[known].mean(axis=0), lagged[known].std(axis=0)
    design = np.column_stack([np.ones(len(closes)), (lagged - mean) / np.where(deviation > 0, deviation, 1)])
    weights = _fit(design[known], (closes[known + horizon] > closes[known]).astype(float))
    found = 1 / (1 + np.exp(-design[origins] @ weights))
    rate = base_rate(closes, train, origins, horizon)
    probabilities: np.ndarray = np.where(np.isfinite(found), found, rate)
    return probabilities


def _fit(design: np.ndarray, rises: np.ndarray) -> np.ndarray:
    """Return the coefficients of a penalized logistic regression; the first column's has no penalty."""
    penalty = PENALTY * len(rises) * np.ones(design.shape[1])
    penalty[0] = 0
    weights = np.zeros(design.shape[1])
    for _ in range(MAX_ITERATIONS):
        probability = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (probability - rises) + penalty * weights
        hessian = (design * (probability * (1 - probability))[:, None]).T @ design + np.diag(penalty + TOLERANCE)
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < TOLERANCE:
            break
    return weights


def _origins(train: range, horizon: int, first: int) -> np.ndarray:
    """Return the origins of the training part whose targets are in it, from position `first` of the series on."""
    return np.arange(max(train.start, first), train.stop - horizon)


def _rises(closes: np.ndarray, train: range, horizon: int) -> np.ndarray:
    known = _origins(train, horizon, first=0)
    rises: np.ndarray = closes[known + horizon] > closes[known]
    return rises


def _rate(rises: np.ndarray) -> float:
    """Return the share of rises, with one more rise and one more fall (Laplace's rule of succession)."""
    return float((rises.sum() + 1) / (len(rises) + 2))


def _shift(values: np.ndarray, lag: int) -> np.ndarray:
    return np.concatenate([np.full(lag, np.nan), values[: len(values) - lag]])
