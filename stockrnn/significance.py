"""Tests that ask whether a forecast's lead over a rival is luck.

Each takes arrays of shape (days,), consecutive sessions in order of time, and returns a one-sided p-value:
small when the data speak for the forecast, near 1 when they speak for the rival. `horizon` is the sessions
between a forecast and its target: at more than one, neighbouring errors overlap and are correlated up to
`horizon - 1` sessions apart, which the variance allows for. With fewer than some twenty days to each session
of the horizon that variance is poorly known, and 5 % becomes up to 8 % (simulated random walks).

Where a test is not defined it is NaN, without a warning: fewer than `DAYS` days, or none beyond the horizon;
values that are not finite; differences that are the same every day but for rounding; a long-run variance that
is not positive, as the unweighted sum of autocovariances may be on few days.
"""

import math

import numpy as np

__all__ = ["DAYS", "clark_west", "diebold_mariano"]

DAYS = 8  # fewer say nothing
ROUNDING = 4 * np.finfo(float).eps


def diebold_mariano(loss_forecast: np.ndarray, loss_rival: np.ndarray, horizon: int = 1) -> float:
    """One-sided p-value of Diebold and Mariano: the forecast's expected loss is smaller than the rival's.

    Half the two-sided p-value where the forecast's mean loss is the smaller, one less that half where it is
    the larger. Meant for forecasts that do not nest one another; for a network against persistence see
    `clark_west`.

    Source: Diebold & Mariano (1995), doi 10.1080/07350015.1995.10524599; the small-sample factor and
    Student's t with days - 1 degrees of freedom are those of Harvey, Leybourne & Newbold (1997),
    doi 10.1016/S0169-2070(96)00719-4.

    Args:
        loss_forecast: shape (days,), any loss, such as the squared error in price points squared.
        loss_rival: the same loss of the rival on the same days.
        horizon: sessions between a forecast and its target.
    """
    from scipy.special import stdtr  # type: ignore[import-untyped]  # a third of a second, only here

    with np.errstate(over="ignore", invalid="ignore"):
        differences = np.asarray(loss_rival - loss_forecast, dtype=float)
        rounding = ROUNDING * max(np.max(np.abs(loss_forecast), initial=0), np.max(np.abs(loss_rival), initial=0))
        statistic = _statistic(differences, horizon, rounding)
    return float(stdtr(differences.size - 1, -statistic))


def clark_west(forecast: np.ndarray, actual: np.ndarray, previous: np.ndarray, horizon: int = 1) -> float:
    """One-sided p-value of Clark and West: the forecast knows something that persistence does not.

    Persistence is nested in a network (all weights zero), whose error is the larger in part for the noise of
    estimating weights that should be zero. The test takes that noise off, so a forecast may pass it with a
    Theil's U above 1: it then has a signal, drowned in noise. The mean of e_p^2 - (e_f^2 - (forecast -
    previous)^2), where e_p and e_f are the errors of persistence and of the forecast, is held against the
    standard normal; for this pair it is twice the mean product of the forecast change and the actual change.

    Source: Clark & West (2007), doi 10.1016/j.jeconom.2006.05.023. The variance and the small-sample factor
    are those of `diebold_mariano`; at a horizon of one that is the paper's ordinary t-statistic.

    Args:
        forecast, actual, previous: shape (days,), price points: the forecast close, the close that came, the
            close of the day the forecast was made.
        horizon: sessions between a forecast and its target.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        change = np.asarray(actual - previous, dtype=float)
        adjusted = 2 * (forecast - previous) * change
        rounding = ROUNDING * np.max(np.abs(forecast), initial=0) * np.max(np.abs(2 * change), initial=0)
        statistic = _statistic(adjusted, horizon, rounding)
    return 0.5 * math.erfc(statistic / math.sqrt(2))


def _statistic(differences: np.ndarray, horizon: int, rounding: float) -> float:
    """Mean over its standard error, with the small-sample factor of Harvey, Leybourne and Newbold.

    At a horizon of one this is the ordinary t-statistic. NaN where undefined.
    """
    assert horizon >= 1
    days = differences.size
    if days < DAYS or days <= horizon or not np.isfinite(differences).all():
        return math.nan
    mean = differences.mean()
    deviation = differences - mean
    variance = deviation @ deviation / days
    if not rounding**2 < variance < math.inf:
        return math.nan
    for lag in range(1, horizon):
        variance += 2 * (deviation[lag:] @ deviation[:-lag]) / days
    if variance <= 0:
        return math.nan
    factor = (days + 1 - 2 * horizon + horizon * (horizon - 1) / days) / days
    return float(mean / math.sqrt(variance / days) * math.sqrt(factor))
