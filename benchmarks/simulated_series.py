"""Simulate daily series whose volatility is forecast best by a known model, or has a term that no HAR knows.

The residuals of the log variance and the returns of the same sessions are drawn in pairs from the Nasdaq, so that tails
and leverage are those of a market. Many series are simulated side by side.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from stockrnn.prices.readers.table import read_shipped
from stockrnn.volatility.estimators import daily_variance
from stockrnn.volatility.features import MONTH, WEEK, log_return
from stockrnn.volatility.garch import Garch, fit_garch
from stockrnn.volatility.har import fit_har

__all__ = [
    "GarchProcess",
    "HarProcess",
    "Process",
    "Series",
    "fit_garch_process",
    "fit_har_process",
    "ohlc",
    "simulate",
]

BURN_IN = 500
MAX_DISTANCE, MEAN_DISTANCE = 2.0, 0.7  # of the log variance from its 22-day mean, in the planted term
BOUNDS = math.log(1e-8), math.log(0.1)  # of a log variance
MAX_RETURN = 0.3


@dataclass(frozen=True, kw_only=True)
class Process(ABC):
    """What a session is drawn from.

    Attributes:
        residuals: log variance minus its conditional mean, shape (sessions,).
        shocks: the log return of the same session over its volatility, shape (sessions,).
    """

    residuals: np.ndarray
    shocks: np.ndarray

    @abstractmethod
    def conditional_mean(self, logs: np.ndarray, returns: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return the mean of the next log variance, shape (series,), without a planted term.

        Args:
            logs, returns: log variance and log return of the last 22 sessions, (22, series).
            before: the conditional mean of the last session's log variance, (series,).
        """


@dataclass(frozen=True, kw_only=True)
class HarProcess(Process):
    """HAR with leverage; `coefficients` are in the order of `stockrnn.volatility.har.har_terms`."""

    coefficients: np.ndarray

    def conditional_mean(self, logs: np.ndarray, returns: np.ndarray, before: np.ndarray) -> np.ndarray:
        """See `Process`; the conditional mean of before has no effect."""
        constant, day, week, month, negative, absolute = self.coefficients
        mean: np.ndarray = constant + day * logs[-1] + week * logs[-WEEK:].mean(axis=0) + month * logs.mean(axis=0)
        return mean + 100 * (negative * np.minimum(returns[-1], 0) + absolute * np.abs(returns[-1]))


@dataclass(frozen=True, kw_only=True)
class GarchProcess(Process):
    """GJR-GARCH(1,1) with the parameters `garch`; its variance plays the part of the mean of the log variance."""

    garch: Garch

    def conditional_mean(self, logs: np.ndarray, returns: np.ndarray, before: np.ndarray) -> np.ndarray:
        """See `Process`."""
        errors = 100 * returns[-1] - self.garch.mu
        own = (self.garch.alpha + self.garch.gamma * (errors < 0)) * errors**2
        mean: np.ndarray = np.log((self.garch.omega + own) / 100**2 + self.garch.beta * np.exp(before))
        return mean


@dataclass(frozen=True, kw_only=True)
class Series:
    """Simulated series, each array (series, sessions).

    Attributes:
        variance: of the daily log return, as Parkinson's estimator sees it.
        close: in price points.
        mean: the true mean of the next session's log variance, as known at each session; NaN at the last.
    """

    variance: np.ndarray
    close: np.ndarray
    mean: np.ndarray = field(repr=False)


def fit_har_process() -> HarProcess:
    """Fit HAR with leverage on the Nasdaq's Parkinson variance."""
    variance, close = _nasdaq()
    fitted = fit_har(variance, close, range(len(close)), 1, leverage=True)
    residuals, shocks = _drawn_from(variance, close, fitted.forecast(variance, close).log_variance)
    return HarProcess(residuals=residuals, shocks=shocks, coefficients=fitted.coefficients)


def fit_garch_process() -> GarchProcess:
    """Fit GJR-GARCH on the Nasdaq's returns; its residuals are those of the log Parkinson variance."""
    variance, close = _nasdaq()
    fitted = fit_garch(close, range(len(close)), asymmetric=True)
    residuals, shocks = _drawn_from(variance, close, np.log(fitted.next_variance(close)))
    return GarchProcess(residuals=residuals, shocks=shocks, garch=fitted)


def simulate(process: Process, sessions: int, gain: float, generators: Sequence[np.random.Generator]) -> Series:
    """Simulate a series with each generator; a series depends on its own generator alone.

    Args:
        process: what is simulated.
        sessions: of a series.
        gain: strength of the planted term. The log variance of a session also contains gain times the absolute distance
            of the last log variance from its 22-day mean (at most 2, less 0.7, which is about its mean). It is not
            linear, so that no HAR knows it. The process itself does not see the term, so that it remains stationary.
        generators: one for each series.
    """
    total, count = sessions + BURN_IN, len(generators)
    drawn = np.stack([one.integers(len(process.residuals), size=total) for one in generators], axis=1)
    residuals, shocks = process.residuals[drawn], process.shocks[drawn]
    own, own_returns = np.full((total, count), math.log(1e-4)), np.zeros((total, count))  # without the planted term
    logs, returns, means = own.copy(), own_returns.copy(), np.full((total, count), math.nan)
    mean = own[0]
    for session in range(MONTH, total):
        last = slice(session - MONTH, session)
        mean = process.conditional_mean(own[last], own_returns[last], mean)
        distance = np.abs(logs[session - 1] - logs[last].mean(axis=0))
        planted = gain * (np.minimum(distance, MAX_DISTANCE) - MEAN_DISTANCE)
        means[session - 1] = mean + planted
        own[session] = np.clip(mean + residuals[session], *BOUNDS)
        own_returns[session] = np.clip(np.exp(own[session] / 2) * shocks[session], -MAX_RETURN, MAX_RETURN)
        logs[session] = own[session] + planted
        returns[session] = own_returns[session] * np.exp(planted / 2)
    kept = slice(BURN_IN, total)
    close = 100 * np.exp(np.cumsum(returns[kept], axis=0))
    return Series(variance=np.exp(logs[kept]).T, close=close.T, mean=means[kept].T)


def ohlc(variance: np.ndarray, close: np.ndarray, random: np.random.Generator) -> pd.DataFrame:
    """Return prices whose Parkinson variance and closes are the given ones, one row per working day since 2010.

    The range of a session is that of its variance, and contains open and close at a random height. If the return is
    larger than the range, the rest of it is a gap between the last close and the open.

    Args:
        variance, close: shape (sessions,), a series of `simulate`.
        random: draws the heights.
    """
    logs, width = np.log(close), np.sqrt(4 * math.log(2) * variance)
    change = np.diff(logs, prepend=logs[0])
    inside = np.clip(change, -width, width)
    start = logs - inside
    low = np.minimum(start, logs) - random.uniform(size=len(logs)) * (width - np.abs(inside))
    columns = {"Open": start, "High": low + width, "Low": low, "Close": logs}
    dates = pd.bdate_range("2010-01-04", periods=len(logs), name="Date")
    frame = pd.DataFrame({name: np.exp(column) for name, column in columns.items()}, index=dates)
    frame["High"] = frame[["Open", "High", "Close"]].max(axis=1)  # rounding, if the range is the session's return
    frame["Low"] = frame[["Open", "Low", "Close"]].min(axis=1)
    return frame


def _nasdaq() -> tuple[np.ndarray, np.ndarray]:
    """Return Parkinson variance and close of the built-in Nasdaq, each (sessions,)."""
    prices = read_shipped("nasdaq")
    variance, _ = daily_variance(None, prices.column("high"), prices.column("low"), None, "parkinson")
    return variance, prices.column("close")


def _drawn_from(variance: np.ndarray, close: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals and shocks of the sessions that have a forecast, which is made at the session before."""
    residuals = (np.log(variance[1:]) - forecast[:-1])[MONTH - 1 :]
    shocks = (log_return(close) / np.sqrt(variance))[MONTH:]
    return residuals, shocks
