"""Compute baseline forecasts (persistence, drift, AR(1)) to compare networks with.

Each baseline is fitted on a fold's training sessions and forecasts the close `horizon` sessions after each origin. The
arguments are `closes` (sessions,) in price points, `train` (positions to fit on) and `origins` (positions at which the
forecasts are made); the result has shape (origins,), in price points.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stockrnn.dataset.walk_forward import Fold
from stockrnn.evaluation.scores import Scores, score
from stockrnn.io.errors import UserError
from stockrnn.io.files import line

__all__ = ["BASELINES", "BaselineError", "ar1", "drift", "forecast_baseline", "persistence", "score_baselines"]

MAX_REASON = 200  # characters of an error of a baseline
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


BASELINES: dict[str, Callable[[np.ndarray, range, np.ndarray, int], np.ndarray]] = {
    "persistence": persistence,
    "drift": drift,
    "ar1": ar1,
}


class BaselineError(UserError):
    """A baseline, which may be the user's own, fails or returns something else than forecasts."""


def forecast_baseline(name: str, closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Return the forecasts of a baseline, (origins,), in price points.

    Raises:
        BaselineError: the baseline raises an exception, or does not return one number per origin.
    """
    try:
        found = np.asarray(BASELINES[name](closes, train, origins, horizon), dtype=float)
    except Exception as error:  # the code may be the user's, and raise anything
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        at = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}: " if place else ""
        raise BaselineError(
            f"{at}baseline {name}: {type(error).__name__}: {line(error, MAX_REASON)}; it must return one forecast per "
            f"origin, {origins.shape}; correct the function"
        ) from error
    if found.shape != origins.shape:
        raise BaselineError(
            f"baseline {name}: its result has shape {found.shape}; it must have {origins.shape}, one forecast per "
            "origin; correct the function"
        )
    return found


def score_baselines(closes: np.ndarray, folds: Sequence[Fold], horizon: int) -> dict[str, Scores]:
    """Score every baseline on the folds' validation sessions, in the same way as a trial.

    Raises:
        BaselineError: a baseline does not return one forecast per origin.
    """
    scores = {}
    for name in BASELINES:
        forecasts = []
        for fold in folds:
            origins = np.arange(fold.validation.start, fold.validation.stop) - horizon
            forecasts.append(forecast_baseline(name, closes, fold.train, origins, horizon)[None])
        scores[name] = score(forecasts, closes, folds, horizon)
    return scores
