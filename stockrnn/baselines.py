"""Forecasts that cost nothing: what every network must be compared with.

Each baseline is fitted on a fold's training sessions and forecasts the close `horizon` sessions after each
origin. All take `closes` (sessions,) in price points, `train` (positions fitted on) and `origins` (positions
at which the forecasts are made), and return forecasts of shape (origins,) in price points.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stockrnn.folds import Fold
from stockrnn.scores import Scores, score

__all__ = ["BASELINES", "ar1", "baseline_scores", "drift", "persistence"]

ROUNDING = 1e-12  # log returns closer together than this are equal but for rounding


def persistence(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """The close stays where it is."""
    return closes[origins]


def drift(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """The close grows by the training sessions' mean log return: a random walk with drift."""
    return closes[origins] * np.exp(horizon * np.mean(_log_returns(closes, train)))


def ar1(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Log returns follow r(t+1) = a + b r(t), fitted by least squares and iterated to the horizon.

    The slope b is kept within -1..1, beyond which an iterated forecast explodes. Where there are fewer than
    three returns, or they do not vary, there is no slope to fit and the forecast is that of `drift`.
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
    return closes[origins] * np.exp(total)


def _log_returns(closes: np.ndarray, train: range) -> np.ndarray:
    return np.diff(np.log(closes[train.start : train.stop]))


BASELINES: dict[str, Callable[[np.ndarray, range, np.ndarray, int], np.ndarray]] = {
    "persistence": persistence,
    "drift": drift,
    "ar1": ar1,
}


def baseline_scores(closes: np.ndarray, folds: Sequence[Fold], horizon: int) -> dict[str, Scores]:
    """Every baseline scored on the validation sessions of the folds, as a trial is."""
    scores = {}
    for name, baseline in BASELINES.items():
        forecasts = []
        for fold in folds:
            origins = np.arange(fold.validation.start, fold.validation.stop) - horizon
            forecasts.append(baseline(closes, fold.train, origins, horizon)[None])
        scores[name] = score(forecasts, closes, folds, horizon)
    return scores
