"""Forecast the log variance without a regression (persistence, EWMA), and correct a forecast's bias on training days.

All forecasts are of the mean variance of the sessions t + 1 to t + horizon, the target of `mean_future_variance`, made
at the close of session t.
"""

import math
from dataclasses import dataclass

import numpy as np

from stockrnn.io.errors import UserError
from stockrnn.volatility.estimators import mean_future_variance

__all__ = [
    "DECAY", "VarianceForecast", "VolatilityError", "calibrate", "ewma", "exponential_mean",
    "persistence", "smearing", "training_origins",
]  # fmt: skip

DECAY = 0.94  # RiskMetrics (1996), for daily data


class VolatilityError(UserError):
    """A volatility model cannot be fitted; the message is one line: `model: value: the rule`."""


@dataclass(frozen=True, kw_only=True)
class VarianceForecast:
    """A forecast of log variance, with the correction that turns it into a forecast of variance.

    The exponential of an unbiased forecast of a log is too small as a forecast of the variance. Losses on logs, such as
    the squared error, use `log_variance`; QLIKE uses `variance`.

    Attributes:
        log_variance: natural log, shape (sessions,); NaN where it is undefined.
        smearing: factor of the variance, see `smearing`.
    """

    log_variance: np.ndarray
    smearing: float

    @property
    def variance(self) -> np.ndarray:
        """Forecast variance, shape (sessions,)."""
        variance: np.ndarray = np.exp(self.log_variance) * self.smearing
        return variance


def training_origins(train: range, horizon: int, first: int = 0) -> range:
    """Return the sessions of the training part whose target is known at its end, from session `first` on."""
    start = max(train.start, first)
    return range(start, max(start, train.stop - horizon))


def smearing(residuals: np.ndarray) -> float:
    """Return the mean of exp(residual), the factor that corrects the exponential of a log forecast for its bias.

    With this factor, the mean ratio of variance to forecast is 1 on the same days, which is also the scale with the
    smallest mean QLIKE. Source: Duan (1983), Smearing estimate, doi 10.1080/01621459.1983.10478017.

    Args:
        residuals: log variance minus its forecast, shape (days,), on training days; NaN are left out.

    Raises:
        VolatilityError: no residual is a finite number, or the mean is too large.
    """
    known = np.asarray(residuals, dtype=float)
    known = known[np.isfinite(known)]
    with np.errstate(over="ignore"):
        factor = float(np.mean(np.exp(known))) if len(known) else math.nan
    if not math.isfinite(factor):
        raise VolatilityError(f"smearing: {len(known)} residuals on training days with a mean of exp(residual) of "
                              f"{factor:g}; the forecast must be finite there")  # fmt: skip
    return factor


def calibrate(log_forecast: np.ndarray, variance: np.ndarray, train: range, horizon: int) -> VarianceForecast:
    """Return a log forecast without its mean error on the training part, and its smearing factor.

    Args:
        log_forecast: shape (sessions,), up to a constant: a GARCH forecast of close-to-close variance, for example,
            becomes a forecast of a range estimate.
        variance: shape (sessions,), of daily log returns.
        train: sessions of the training part.
        horizon: number of sessions whose mean variance is forecast.
    """
    origins = training_origins(train, horizon)
    target = np.log(mean_future_variance(variance, horizon))
    residuals = (target - log_forecast)[origins.start : origins.stop]
    known = residuals[np.isfinite(residuals)]
    if not len(known):
        raise VolatilityError(
            f"calibration: 0 of {len(train)} training sessions have a forecast and a target; at least 1 is needed"
        )
    shift = float(known.mean())
    return VarianceForecast(log_variance=log_forecast + shift, smearing=smearing(known - shift))


def persistence(variance: np.ndarray, train: range, horizon: int) -> VarianceForecast:
    """Forecast that the next `horizon` sessions have the mean variance of the last `horizon` sessions, calibrated."""
    last = np.full(len(variance), np.nan)
    if len(variance) >= horizon:
        last[horizon - 1 :] = np.lib.stride_tricks.sliding_window_view(variance, horizon).mean(axis=1)
    return calibrate(np.log(last), variance, train, horizon)


def ewma(variance: np.ndarray, train: range, horizon: int, decay: float = DECAY) -> VarianceForecast:
    """Forecast the exponentially weighted mean of all variances so far, calibrated.

    s(t) = decay s(t - 1) + (1 - decay) v(t), which starts at the first variance. Source: RiskMetrics Technical Document
    (J.P. Morgan, 1996), with a range estimate in place of the squared return.
    """
    return calibrate(np.log(exponential_mean(variance, decay)), variance, train, horizon)


def exponential_mean(variance: np.ndarray, decay: float = DECAY) -> np.ndarray:
    """Return the exponentially weighted mean of the values up to each session, shape (sessions,); skips leading NaN."""
    assert 0 < decay < 1
    result = np.full(len(variance), np.nan)
    state = math.nan
    for session, value in enumerate(np.asarray(variance, dtype=float).tolist()):
        state = decay * state + (1 - decay) * value if math.isfinite(state) else value
        result[session] = state
    return result
