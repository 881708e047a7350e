"""Forecast the log variance by a heterogeneous autoregression (HAR), with or without leverage.

The log variance of the next sessions is regressed on today's, on its 5- and 22-day means, and with leverage on the
negative part and the absolute value of today's log return. Ordinary least squares on the training part.

Sources: Corsi (2009), doi 10.1093/jjfinec/nbp001; leverage: Corsi & Reno (2012), doi 10.1080/07350015.2012.663261.
"""

from dataclasses import dataclass

import numpy as np

from stockrnn.volatility.estimators import mean_future_variance
from stockrnn.volatility.features import (
    ABSOLUTE_RETURN,
    LOG_RETURN,
    LOG_VARIANCE,
    LOG_VARIANCE_MONTH,
    LOG_VARIANCE_WEEK,
    volatility_features,
)
from stockrnn.volatility.forecasts import VarianceForecast, VolatilityError, smearing, training_origins

__all__ = ["MIN_ROWS", "Har", "fit_har", "har", "har_terms"]

MIN_ROWS = 50  # training sessions with all terms and a target
PERCENT = 100.0  # returns in per cent are of order one, which keeps the regression well-conditioned


@dataclass(frozen=True, kw_only=True)
class Har:
    """A fitted HAR.

    Attributes:
        coefficients: shape (terms,), in the order of `har_terms`.
        smearing: factor that corrects the exponential of a forecast, see `forecasts.smearing`.
        leverage: whether the terms contain today's return.
    """

    coefficients: np.ndarray
    smearing: float
    leverage: bool

    def forecast(self, variance: np.ndarray, close: np.ndarray) -> VarianceForecast:
        """Forecast at each session, from its variance and close and earlier ones; NaN in the first sessions."""
        terms = har_terms(variance, close, leverage=self.leverage)
        # A product by rows, not BLAS: a session's forecast is the same to the last bit whatever sessions follow.
        logs = (terms * self.coefficients).sum(axis=1)
        return VarianceForecast(log_variance=logs, smearing=self.smearing)


def har_terms(variance: np.ndarray, close: np.ndarray, *, leverage: bool) -> np.ndarray:
    """Return the terms of the regression, shape (sessions, 4) or (sessions, 6) with leverage; rows have NaN at first.

    Args:
        variance: shape (sessions,), of daily log returns, above 0; NaN in the first sessions.
        close: shape (sessions,), price points.
        leverage: add the negative part and the absolute value of the log return, in per cent.
    """
    features = volatility_features(variance, close)
    columns = [
        np.ones(len(variance)),
        *(features[name] for name in (LOG_VARIANCE, LOG_VARIANCE_WEEK, LOG_VARIANCE_MONTH)),
    ]
    if leverage:
        columns += [PERCENT * np.minimum(features[LOG_RETURN], 0), PERCENT * features[ABSOLUTE_RETURN]]
    return np.column_stack(columns)


def fit_har(variance: np.ndarray, close: np.ndarray, train: range, horizon: int, *, leverage: bool) -> Har:
    """Fit a HAR by ordinary least squares on the sessions of the training part whose target lies in it.

    Args:
        variance, close: see `har_terms`.
        train: sessions of the training part.
        horizon: number of sessions whose mean variance is forecast.
        leverage: see `har_terms`.

    Raises:
        VolatilityError: fewer than MIN_ROWS training sessions have all terms and a target.
    """
    origins = training_origins(train, horizon)
    known = slice(0, train.stop)  # what follows the training part is not read
    terms = har_terms(variance[known], close[known], leverage=leverage)[origins.start : origins.stop]
    target = np.log(mean_future_variance(variance[known], horizon))[origins.start : origins.stop]
    rows = np.isfinite(terms).all(axis=1) & np.isfinite(target)
    if rows.sum() < MIN_ROWS:
        raise VolatilityError(
            f"HAR: {rows.sum()} of {len(train)} training sessions have 22 past variances and a target; "
            f"at least {MIN_ROWS} are needed"
        )
    coefficients = np.linalg.lstsq(terms[rows], target[rows], rcond=None)[0]
    residuals = target[rows] - terms[rows] @ coefficients
    return Har(coefficients=coefficients, smearing=smearing(residuals), leverage=leverage)


def har(
    variance: np.ndarray, close: np.ndarray, train: range, horizon: int, *, leverage: bool = True
) -> VarianceForecast:
    """Fit a HAR on the training part and forecast at every session; see `fit_har` and `Har.forecast`."""
    return fit_har(variance, close, train, horizon, leverage=leverage).forecast(variance, close)
