"""Intervals around a forecast close by split conformal prediction, and how often they hold it."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from pydantic import Field

from stockrnn.configuration import Configuration

__all__ = ["Interval", "conformal", "coverage"]

MOST = 10**9  # days


class Interval(Configuration):
    """An interval around a forecast close F, from F exp(-half_width) to F exp(half_width).

    Attributes:
        level: the share of days that it is meant to hold, above 0 and below 1.
        half_width: in natural log units; None is unbounded: the residuals are too few for the level.
        residuals: how many days it was read from.
    """

    level: float = Field(gt=0, lt=1, allow_inf_nan=False)
    half_width: float | None = Field(ge=0, allow_inf_nan=False)
    residuals: int = Field(ge=0, le=MOST)

    def bounds(self, forecast: float) -> tuple[float, float] | None:
        """The lowest and the highest close in price points; None where it is unbounded."""
        if self.half_width is None:
            return None
        with np.errstate(over="ignore"):
            width = float(np.exp(self.half_width))
        return (forecast / width, forecast * width) if math.isfinite(forecast * width) else None


def conformal(forecast: np.ndarray, actual: np.ndarray, levels: Sequence[float] = (0.8, 0.95)) -> tuple[Interval, ...]:
    """Intervals by split conformal prediction, from days on which the forecaster was not trained.

    The half width is the ceil((n + 1) level)-th smallest of the n residuals |ln(actual / forecast)|. On one more day
    exchangeable with these, the interval then holds the close with a probability of at least `level`. Days of a
    market are not quite exchangeable: calm and stormy months alternate. Source: Lei et al. (2018), algorithm 2,
    doi 10.1080/01621459.2017.1307116.

    Args:
        forecast: closes forecast, shape (days,), price points; one that is no price is infinitely wrong.
        actual: closes that came, shape (days,), price points.
        levels: shares of days, each above 0 and below 1.

    Raises:
        ValueError: the shapes differ, an actual close is not a finite number above 0, or a level is no such share.
    """
    residuals = np.sort(_residuals(forecast, actual))
    intervals = []
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"level: {level:g}; a level is above 0 and below 1")
        rank = math.ceil((len(residuals) + 1) * Fraction(str(float(level))))  # exact: 0.95 is 19/20
        width = float(residuals[rank - 1]) if rank <= len(residuals) else math.inf
        half_width = width if math.isfinite(width) else None
        intervals.append(Interval(level=float(level), half_width=half_width, residuals=len(residuals)))
    return tuple(intervals)


def coverage(forecast: np.ndarray, actual: np.ndarray, interval: Interval) -> float:
    """Share of days whose close lies in the interval; an unbounded one holds all. NaN without days.

    Args:
        forecast, actual: as for `conformal`.
    """
    residuals = _residuals(forecast, actual)
    if not len(residuals):
        return math.nan
    return float(np.mean(residuals <= (math.inf if interval.half_width is None else interval.half_width)))


def _residuals(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """|ln(actual / forecast)|, shape (days,), infinite where the forecast is not a finite number above 0."""
    forecast, actual = np.asarray(forecast, dtype=float), np.asarray(actual, dtype=float)
    if forecast.shape != actual.shape or forecast.ndim != 1:
        raise ValueError(f"forecast and actual have shapes {forecast.shape} and {actual.shape}; each is (days,)")
    if not (np.isfinite(actual) & (actual > 0)).all():
        raise ValueError("actual closes are finite numbers above 0")
    price = np.isfinite(forecast) & (forecast > 0)
    residuals = np.full(len(actual), np.inf)
    residuals[price] = np.abs(np.log(actual[price]) - np.log(forecast[price]))
    return residuals
