"""Compute prediction intervals of forecast closes by split conformal prediction, and their coverage."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from pydantic import Field

from stockrnn.configuration import Configuration

__all__ = ["Interval", "conformal_intervals", "conformal_quantile", "interval_coverage", "log_residuals"]

MAX_DAYS = 10**9


class Interval(Configuration):
    """An interval around a forecast close F, from F exp(-half_width) to F exp(half_width).

    Attributes:
        level: target share of days with the actual close inside, above 0 and below 1.
        half_width: in natural log units; None for an unbounded interval, if there are too few residuals for the level.
        residuals: number of days that the half width was computed from.
    """

    level: float = Field(gt=0, lt=1, allow_inf_nan=False)
    half_width: float | None = Field(ge=0, allow_inf_nan=False)
    residuals: int = Field(ge=0, le=MAX_DAYS)

    def bounds(self, forecast: float) -> tuple[float, float] | None:
        """Return the lower and upper bound in price points; None for an unbounded interval."""
        if self.half_width is None:
            return None
        with np.errstate(over="ignore"):
            width = float(np.exp(self.half_width))
        return (forecast / width, forecast * width) if math.isfinite(forecast * width) else None


def conformal_intervals(
    forecast: np.ndarray, actual: np.ndarray, levels: Sequence[float] = (0.8, 0.95)
) -> tuple[Interval, ...]:
    """Return split conformal intervals from days on which the forecaster was not trained.

    The half width is the ceil((n + 1) level)-th smallest of the n residuals |ln(actual / forecast)|. For a new day
    that is exchangeable with these days, the interval contains the close with a probability of at least `level`. Market
    days are not quite exchangeable, because volatility changes over time. Source: Lei et al. (2018), algorithm 2,
    doi 10.1080/01621459.2017.1307116.

    Args:
        forecast: forecast closes, shape (days,), price points; an invalid price counts as an infinite residual.
        actual: actual closes, shape (days,), price points.
        levels: target shares of days, each above 0 and below 1.

    Raises:
        ValueError: the shapes differ, an actual close is not a finite number above 0, or a level is out of range.
    """
    residuals = log_residuals(forecast, actual)
    return tuple(
        Interval(level=float(level), half_width=conformal_quantile(residuals, level), residuals=len(residuals))
        for level in levels
    )


def conformal_quantile(scores: np.ndarray, level: float) -> float | None:
    """Return the ceil((n + 1) level)-th smallest of n scores; None if there are too few, or if it is not finite.

    Args:
        scores: shape (days,).
        level: target share of days, above 0 and below 1.

    Raises:
        ValueError: the level is out of range.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level:g}; a level must be above 0 and below 1")
    rank = math.ceil((len(scores) + 1) * Fraction(str(float(level))))  # exact: 0.95 is 19/20
    quantile = float(np.partition(scores, rank - 1)[rank - 1]) if rank <= len(scores) else math.inf
    return quantile if math.isfinite(quantile) else None


def interval_coverage(forecast: np.ndarray, actual: np.ndarray, interval: Interval) -> float:
    """Return the share of days with the actual close inside the interval; 1 for an unbounded one, NaN without days.

    Args:
        forecast, actual: see `conformal_intervals`.
        interval: the interval to check.
    """
    residuals = log_residuals(forecast, actual)
    if not len(residuals):
        return math.nan
    return float(np.mean(residuals <= (math.inf if interval.half_width is None else interval.half_width)))


def log_residuals(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Return |ln(actual / forecast)|, shape (days,); infinite if the forecast is not a finite number above 0."""
    forecast, actual = np.asarray(forecast, dtype=float), np.asarray(actual, dtype=float)
    if forecast.shape != actual.shape or forecast.ndim != 1:
        raise ValueError(f"forecast and actual have shapes {forecast.shape} and {actual.shape}; both must be (days,)")
    if not (np.isfinite(actual) & (actual > 0)).all():
        raise ValueError("actual closes must be finite numbers above 0")
    valid = np.isfinite(forecast) & (forecast > 0)
    residuals = np.full(len(actual), np.inf)
    residuals[valid] = np.abs(np.log(actual[valid]) - np.log(forecast[valid]))
    return residuals
