"""Compute prediction intervals whose width follows a volatility forecast and whose level adapts day by day.

Scaled split conformal prediction: a day's score is its absolute error over the volatility that was forecast for it, and
the half width of the next day is a quantile of the last scores times the volatility forecast for it. Adaptive conformal
inference then moves the level of this quantile: up after a day outside the interval, down after a day inside, so that
the coverage stays near the level while volatility and errors change. Errors are in any unit, usually natural logs.

Sources: Lei et al. (2018), section 5.2, doi 10.1080/01621459.2017.1307116 (scaled scores); Gibbs & Candes (2021),
Adaptive conformal inference under distribution shift, arXiv 2106.00170, equation 2; Gneiting & Raftery (2007), section
6.2, doi 10.1198/016214506000001437 (interval score, after Winkler, 1972).
"""

import math

import numpy as np
from pydantic import Field

from stockrnn.configuration import Configuration

__all__ = ["CALIBRATION", "GAMMA", "AdaptiveInterval", "adaptive_intervals", "log_errors", "winkler_score"]

CALIBRATION = 750  # days whose scores give the quantile
GAMMA = 0.02  # step of the level for a horizon of one session
MAX_DAYS = 10_000


class AdaptiveInterval(Configuration):
    """State of an adaptive interval of one level, which goes on from day to day in production.

    Each day, `issue` gives the half width of a new forecast, and `observe` takes the score of the oldest forecast whose
    actual value is known by then. The state is saved with a forecaster as JSON.

    Attributes:
        level: target share of days inside, above 0 and below 1.
        gamma: step of the adaptation; 0 keeps the level fixed.
        calibration: number of last scores that give the quantile.
        miscoverage: adapted share of days outside at which the quantile is taken; starts at 1 - level. It may leave 0
            to 1; the quantile is then the largest or smallest score.
        scores: last scores |error| / scale, oldest first, at most `calibration`.
        issued: quantiles of the forecasts whose actual values are not known yet, oldest first; None for an unbounded
            interval.
    """

    level: float = Field(gt=0, lt=1, allow_inf_nan=False)
    gamma: float = Field(ge=0, le=1, allow_inf_nan=False)
    calibration: int = Field(ge=1, le=MAX_DAYS)
    miscoverage: float = Field(allow_inf_nan=False)
    scores: tuple[float, ...] = Field(max_length=MAX_DAYS)
    issued: tuple[float | None, ...] = Field(max_length=MAX_DAYS)

    @classmethod
    def start(
        cls, level: float, *, calibration: int = CALIBRATION, gamma: float = GAMMA, horizon: int = 1
    ) -> "AdaptiveInterval":
        """Return the state without any score; see `adaptive_intervals` for the arguments."""
        step = gamma / horizon
        return cls(level=level, gamma=step, calibration=calibration, miscoverage=1 - level, scores=(), issued=())

    @property
    def quantile(self) -> float | None:
        """Quantile of the scores at the adapted level; None if there are too few scores for the target level."""
        return _quantile(np.array(self.scores), self.level, self.miscoverage)

    def issue(self, scale: float) -> tuple[float | None, "AdaptiveInterval"]:
        """Return the half width of a new forecast, None if unbounded, and the state after it.

        Args:
            scale: volatility forecast for the forecast's target, known when the forecast is made, above 0.
        """
        quantile = self.quantile
        width = None if quantile is None else quantile * scale
        return width, self.model_copy(update={"issued": (*self.issued, quantile)})

    def observe(self, error: float, scale: float) -> "AdaptiveInterval":
        """Return the state after the actual value of the oldest issued forecast is known.

        Args:
            error: actual minus forecast.
            scale: the scale that the forecast was issued with.
        """
        assert self.issued, "no forecast was issued"
        score = _scores(np.array([error]), np.array([scale]))[0]
        changed = {
            "issued": self.issued[1:],
            "miscoverage": _adapt(self.miscoverage, self.level, self.gamma, self.issued[0], score),
            "scores": (*self.scores, float(score))[-self.calibration :],
        }
        return self.model_copy(update=changed)


def adaptive_intervals(
    errors: np.ndarray,
    scale: np.ndarray,
    level: float,
    *,
    calibration: int = CALIBRATION,
    gamma: float = GAMMA,
    horizon: int = 1,
) -> tuple[np.ndarray, AdaptiveInterval]:
    """Return the half width of each day's interval, shape (days,), and the state after the last day.

    The interval of day i is forecast - half width to forecast + half width. It uses scales up to day i, and errors up
    to day i - horizon, which are the ones known when the forecast is made. It is infinite while there are fewer than
    ceil(level / (1 - level)) scores; such days do not change the level. Pass the days of validation first, then
    those of the test set, and go on with the state in production.

    Args:
        errors: actual minus forecast of the forecasts of consecutive days, shape (days,).
        scale: volatility forecast for each of them, known when it was made, shape (days,), above 0.
        level: target share of days inside, above 0 and below 1.
        calibration: number of last scores that give the quantile.
        gamma: step of the adaptation for a horizon of one session; 0 keeps the level fixed. With a longer horizon, the
            step is gamma / horizon: errors overlap and are known late, so that a full step swings between too narrow
            and too wide.
        horizon: sessions between a forecast and its target.

    Raises:
        ValueError: the shapes differ, an error is not finite, a scale is not a finite number above 0, or the level is
            out of range.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level:g}; a level must be above 0 and below 1")
    assert horizon >= 1
    state = AdaptiveInterval.start(level, calibration=calibration, gamma=gamma, horizon=horizon)
    scores = _scores(errors, scale)
    days = len(scores)
    quantiles: list[float | None] = []
    miscoverage, known = state.miscoverage, 0
    for day in range(days):
        if day >= horizon:
            miscoverage = _adapt(miscoverage, level, state.gamma, quantiles[known], scores[known])
            known += 1
        quantiles.append(_quantile(scores[max(0, known - calibration) : known], level, miscoverage))
    # After the last day, the forecasts of the last `horizon` days still wait for their actual values, but `errors` has
    # them all: the state is that of a day on which they are known.
    for day in range(known, days):
        miscoverage = _adapt(miscoverage, level, state.gamma, quantiles[day], scores[day])
    recent = tuple(scores[max(0, days - calibration) :].tolist())
    widths = np.array([math.inf if quantile is None else quantile for quantile in quantiles]) * scale
    return widths, state.model_copy(update={"miscoverage": miscoverage, "scores": recent})


def log_errors(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Return ln(actual / forecast), shape (days,); not finite where the forecast is not a finite number above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        errors: np.ndarray = np.log(actual / forecast)
    return errors


def winkler_score(actual: np.ndarray, lower: np.ndarray, upper: np.ndarray, level: float) -> np.ndarray:
    """Return the interval (Winkler) score of each day, shape (days,), in the unit of `actual`; smaller is better.

    It is the width, plus 2 / (1 - level) times the distance of the actual value from an interval that misses it. Its
    mean is smallest for the true quantiles. An unbounded interval has an infinite score.

    Args:
        actual, lower, upper: shape (days,).
        level: target share of days inside, above 0 and below 1.
    """
    penalty = 2 / (1 - level)
    score: np.ndarray = upper - lower + penalty * (np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0))
    return score


def _quantile(scores: np.ndarray, level: float, miscoverage: float) -> float | None:
    """Return the ceil((n + 1) (1 - miscoverage))-th smallest of n scores, at least the first and at most the last.

    Adaptive conformal inference has an unbounded interval where the rank is above n. The largest score is used instead:
    an unbounded interval is of no use to anybody.
    """
    if len(scores) < math.ceil(level / (1 - level) - 1e-9):
        return None
    rank = math.ceil((len(scores) + 1) * (1 - miscoverage) - 1e-9)
    place = min(max(rank, 1), len(scores)) - 1
    return float(np.partition(scores, place)[place])


def _adapt(miscoverage: float, level: float, gamma: float, quantile: float | None, score: float) -> float:
    """Return the miscoverage after a day: higher by gamma (1 - level) if inside, lower by gamma level if outside."""
    if quantile is None:
        return miscoverage
    return miscoverage + gamma * ((1 - level) - float(score > quantile))


def _scores(errors: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return |errors| / scale, shape (days,)."""
    errors, scale = np.asarray(errors, dtype=float), np.asarray(scale, dtype=float)
    if errors.shape != scale.shape or errors.ndim != 1:
        raise ValueError(f"errors and scale have shapes {errors.shape} and {scale.shape}; both must be (days,)")
    if not np.isfinite(errors).all():
        raise ValueError("errors must be finite numbers")
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError("scales must be finite numbers above 0")
    scores: np.ndarray = np.abs(errors) / scale
    return scores
