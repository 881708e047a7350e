"""Compute features, the network inputs of a session, from a price series.

A feature of a session uses prices up to the close of that session, never later ones. It is undefined in its warm-up,
the first sessions of a series; no window contains a session of the warm-up. To add a feature, add an entry to DERIVED
or ROLLING: spaces, their schema and error messages read these dictionaries.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from stockrnn.prices.series import PRICE_COLUMNS, Prices
from stockrnn.volatility.estimators import daily_variance

__all__ = [
    "COLUMNS", "DERIVED", "MAX_ROLLING_SESSIONS", "MIN_ROLLING_SESSIONS", "PERCENT", "ROLLING", "Feature",
    "RollingFeature", "columns_needed", "feature_values", "finite_log", "log_change", "missing_columns", "over_last",
    "parse_rolling", "relative_factor", "warm_up",
]  # fmt: skip

COLUMNS = (*PRICE_COLUMNS, "volume")  # of a series; each is also a feature
MIN_ROLLING_SESSIONS, MAX_ROLLING_SESSIONS = 2, 500  # N of a rolling feature
PERCENT = 100.0  # relative prices and returns are in per cent, which is of order one without fitting
MAX_VOLUME_CHANGE = float(np.log(100))  # larger changes of volume, such as those from or to 0, are clipped to this
LOG_OF_ZERO = -1e4  # finite, so that the change from 0 to 0 is 0; callers clip large changes


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature with a fixed name.

    Attributes:
        needs: columns of a series that the feature is computed from.
        values: function that returns the feature of every session, float64, shape (sessions,); NaN in the warm-up only.
        warm_up: number of sessions at the start of a series for which the feature is undefined.
        factor: multiplier that scales the feature to order one without fitting.
    """

    needs: tuple[str, ...]
    values: Callable[[Prices], np.ndarray]
    warm_up: int = 0
    factor: float = PERCENT


@dataclass(frozen=True, kw_only=True)
class RollingFeature:
    """A feature of the last N sessions, named NAME_N; like `Feature`, but `values` and `warm_up` take N."""

    needs: tuple[str, ...]
    values: Callable[[Prices, int], np.ndarray]
    warm_up: Callable[[int], int]
    factor: float = PERCENT


def parse_rolling(feature: str) -> tuple[str, int] | None:
    """Split the name of a rolling feature, `volatility_20` -> (volatility, 20); None for any other name."""
    base, _, sessions = feature.rpartition("_")
    if base not in ROLLING or not re.fullmatch(r"[1-9][0-9]{0,8}", sessions):
        return None
    return base, int(sessions)


def columns_needed(feature: str) -> tuple[str, ...]:
    """Return the columns of a series that a feature is computed from."""
    if feature in COLUMNS:
        return (feature,)
    found = parse_rolling(feature)
    return ROLLING[found[0]].needs if found else DERIVED[feature].needs


def missing_columns(prices: Prices, features: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the features that cannot be computed from a series, each with the columns that are missing."""
    missing = {
        feature: tuple(name for name in columns_needed(feature) if name not in prices.columns) for feature in features
    }
    return {feature: names for feature, names in missing.items() if names}


def warm_up(feature: str) -> int:
    """Return the number of initial sessions for which a feature, or the change of another series, is undefined."""
    if found := parse_rolling(feature):
        return ROLLING[found[0]].warm_up(found[1])
    if feature in COLUMNS:
        return 0
    return DERIVED[feature].warm_up if feature in DERIVED else 1


def relative_factor(feature: str) -> float:
    """Return the multiplier that scales a feature other than a price or volume to order one, usually 100."""
    if found := parse_rolling(feature):
        return ROLLING[found[0]].factor
    return DERIVED[feature].factor if feature in DERIVED else PERCENT


def feature_values(feature: str, prices: Prices) -> np.ndarray:
    """Return a feature of every session, float64, shape (sessions,); NaN in the warm-up only."""
    if feature in COLUMNS:
        return prices.column(feature)
    if found := parse_rolling(feature):
        return ROLLING[found[0]].values(prices, found[1])
    return DERIVED[feature].values(prices)


def log_change(column: np.ndarray) -> np.ndarray:
    """Return the log change of a column from session to session, shape (sessions,); NaN for the first session."""
    return np.concatenate(([np.nan], np.log(column[1:] / column[:-1])))


def finite_log(column: np.ndarray) -> np.ndarray:
    """Return the natural log of a column without negative values; LOG_OF_ZERO for 0."""
    logs: np.ndarray = np.log(column, out=np.full(len(column), LOG_OF_ZERO), where=column > 0)
    return logs


def over_last(column: np.ndarray, sessions: int, statistic: Callable[..., np.ndarray]) -> np.ndarray:
    """Return the mean or std of the last `sessions` values at each position; NaN if there are fewer values."""
    result = np.full(len(column), np.nan)
    if len(column) >= sessions:
        result[sessions - 1 :] = statistic(np.lib.stride_tricks.sliding_window_view(column, sessions), axis=1)
    return result


def _log_return(prices: Prices) -> np.ndarray:
    """Log of close over the previous close."""
    return log_change(prices.column("close"))


def _range(prices: Prices) -> np.ndarray:
    """Log of high over low."""
    ranges: np.ndarray = np.log(prices.column("high") / prices.column("low"))
    return ranges


def _gap(prices: Prices) -> np.ndarray:
    """Log of open over the previous close."""
    return np.concatenate(([np.nan], np.log(prices.column("open")[1:] / prices.column("close")[:-1])))


def _volume_change(prices: Prices) -> np.ndarray:
    """Log of volume over the previous volume, clipped to a factor of 100; 0 from 0 to 0."""
    logs = finite_log(prices.column("volume"))
    return np.concatenate(([np.nan], np.diff(logs).clip(-MAX_VOLUME_CHANGE, MAX_VOLUME_CHANGE)))


def _weekday(prices: Prices) -> np.ndarray:
    """Day of the week as an angle: Monday is 0, a full turn is 7 days."""
    days = (prices.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    angles: np.ndarray = 2 * np.pi / 7 * days
    return angles


def _volatility(prices: Prices, sessions: int) -> np.ndarray:
    """Standard deviation (over N, not N - 1) of the last N log returns."""
    return over_last(log_change(prices.column("close")), sessions, np.std)


def _ma_ratio(prices: Prices, sessions: int) -> np.ndarray:
    """Log of close over the mean of the last N closes."""
    close = prices.column("close")
    ratios: np.ndarray = np.log(close / over_last(close, sessions, np.mean))
    return ratios


def _log_range(prices: Prices) -> np.ndarray:
    """Log of the variance of the session by its high and low (Parkinson)."""
    variance, _ = daily_variance(None, prices.column("high"), prices.column("low"), None, "parkinson")
    logs: np.ndarray = np.log(variance)
    return logs


DERIVED: dict[str, Feature] = {
    "log_return": Feature(needs=("close",), values=_log_return, warm_up=1),
    "range": Feature(needs=("high", "low"), values=_range),
    "log_range": Feature(needs=("high", "low"), values=_log_range, factor=1.0),
    "absolute_return": Feature(needs=("close",), values=lambda prices: np.abs(_log_return(prices)), warm_up=1),
    "gap": Feature(needs=("open", "close"), values=_gap, warm_up=1),
    "volume_change": Feature(needs=("volume",), values=_volume_change, warm_up=1, factor=1.0),
    "weekday_sin": Feature(needs=(), values=lambda prices: np.sin(_weekday(prices)), factor=1.0),
    "weekday_cos": Feature(needs=(), values=lambda prices: np.cos(_weekday(prices)), factor=1.0),
}
ROLLING: dict[str, RollingFeature] = {
    "volatility": RollingFeature(needs=("close",), values=_volatility, warm_up=lambda sessions: sessions),
    "log_range": RollingFeature(
        needs=("high", "low"),
        values=lambda prices, sessions: over_last(_log_range(prices), sessions, np.mean),
        warm_up=lambda sessions: sessions - 1,
        factor=1.0,
    ),
    "ma_ratio": RollingFeature(needs=("close",), values=_ma_ratio, warm_up=lambda sessions: sessions - 1),
}
