"""Features of a session: what a network may see of it, all known at the day's close.

A feature looks back and never ahead. Where it looks back beyond the first session it has no value; those sessions are
its warm-up, and no window holds one. A new one is an entry of DERIVED or ROLLING: spaces, their schema and messages
know it from there.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from stockrnn.series import Prices

__all__ = [
    "COLUMNS", "DERIVED", "LEVELS", "LONGEST", "ROLLING", "SHORTEST", "Feature", "RollingFeature", "change",
    "columns_needed", "missing_columns", "relative_factor", "rolling", "values", "warm_up",
]  # fmt: skip

COLUMNS = ("open", "high", "low", "close", "volume")  # of a series; features as they are
LEVELS = ("open", "high", "low", "close")  # prices, which relative scaling states against the window's last close
SHORTEST, LONGEST = 2, 500  # sessions of a rolling feature
PERCENT = 100.0
MOST_CHANGE = float(np.log(100))  # a volume that grows or shrinks a hundredfold, as to or from 0, reads as that
LOG_OF_ZERO = -1e4  # stands for log(0) before the clipping, finite so that 0 after 0 is no change


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature by its name.

    Attributes:
        needs: columns of a series that it is made of.
        values: of every session, float64, shape (sessions,); NaN in the warm-up and nowhere else.
        warm_up: sessions at the start of a series for which it is not defined.
        factor: what brings it to order one without any fitting.
    """

    needs: tuple[str, ...]
    values: Callable[[Prices], np.ndarray]
    warm_up: int = 0
    factor: float = PERCENT


@dataclass(frozen=True, kw_only=True)
class RollingFeature:
    """A feature over the last N sessions, named NAME_N; as `Feature`, but `values` and `warm_up` are told N."""

    needs: tuple[str, ...]
    values: Callable[[Prices, int], np.ndarray]
    warm_up: Callable[[int], int]
    factor: float = PERCENT


def rolling(feature: str) -> tuple[str, int] | None:
    """`volatility_20` -> (volatility, 20); None for a feature that does not look back over N sessions."""
    base, _, sessions = feature.rpartition("_")
    if base not in ROLLING or not re.fullmatch(r"[1-9][0-9]{0,8}", sessions):
        return None
    return base, int(sessions)


def columns_needed(feature: str) -> tuple[str, ...]:
    """The columns of a series that a feature is made of."""
    if feature in COLUMNS:
        return (feature,)
    found = rolling(feature)
    return ROLLING[found[0]].needs if found else DERIVED[feature].needs


def missing_columns(prices: Prices, features: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The features that a series has not all columns for, each with the columns it lacks."""
    lacking = {
        feature: tuple(name for name in columns_needed(feature) if name not in prices.columns) for feature in features
    }
    return {feature: names for feature, names in lacking.items() if names}


def warm_up(feature: str) -> int:
    """Sessions at the start of a series for which a feature, or the change of another series, is not defined."""
    if found := rolling(feature):
        return ROLLING[found[0]].warm_up(found[1])
    if feature in COLUMNS:
        return 0
    return DERIVED[feature].warm_up if feature in DERIVED else 1


def relative_factor(feature: str) -> float:
    """What brings a feature that is no price or volume to order one without any fitting: mostly to per cent."""
    if found := rolling(feature):
        return ROLLING[found[0]].factor
    return DERIVED[feature].factor if feature in DERIVED else PERCENT


def values(feature: str, prices: Prices) -> np.ndarray:
    """A feature of every session, float64, shape (sessions,); NaN in the warm-up and nowhere else."""
    if feature in COLUMNS:
        return prices.column(feature)
    if found := rolling(feature):
        return ROLLING[found[0]].values(prices, found[1])
    return DERIVED[feature].values(prices)


def change(column: np.ndarray) -> np.ndarray:
    """Log return of a column from session to session, shape (sessions,); NaN for the first."""
    return np.r_[np.nan, np.log(column[1:] / column[:-1])]


def _log_return(prices: Prices) -> np.ndarray:
    """Log of close over the previous close."""
    return change(prices.column("close"))


def _range(prices: Prices) -> np.ndarray:
    """Log of high over low."""
    return np.log(prices.column("high") / prices.column("low"))


def _gap(prices: Prices) -> np.ndarray:
    """Log of open over the previous close."""
    return np.r_[np.nan, np.log(prices.column("open")[1:] / prices.column("close")[:-1])]


def _volume_change(prices: Prices) -> np.ndarray:
    """Log of volume over the previous volume, at most a hundredfold either way; 0 from 0 to 0."""
    volume = prices.column("volume")
    logs = np.log(volume, out=np.full(len(volume), LOG_OF_ZERO), where=volume > 0)
    return np.r_[np.nan, np.diff(logs).clip(-MOST_CHANGE, MOST_CHANGE)]


def _weekday(prices: Prices) -> np.ndarray:
    """The day of the week as an angle: Monday 0, 7 days a turn."""
    days = (prices.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    return 2 * np.pi / 7 * days


def _volatility(prices: Prices, sessions: int) -> np.ndarray:
    """Standard deviation (over N, not N - 1) of the last N log returns."""
    return _over_last(change(prices.column("close")), sessions, np.std)


def _ma_ratio(prices: Prices, sessions: int) -> np.ndarray:
    """Log of close over the mean of the last N closes."""
    close = prices.column("close")
    return np.log(close / _over_last(close, sessions, np.mean))


def _over_last(column: np.ndarray, sessions: int, of: Callable[..., np.ndarray]) -> np.ndarray:
    """`of` (mean or std) the last `sessions` values up to each position; NaN where there are fewer."""
    found = np.full(len(column), np.nan)
    if len(column) >= sessions:
        found[sessions - 1 :] = of(np.lib.stride_tricks.sliding_window_view(column, sessions), axis=1)
    return found


DERIVED: dict[str, Feature] = {
    "log_return": Feature(needs=("close",), values=_log_return, warm_up=1),
    "range": Feature(needs=("high", "low"), values=_range),
    "gap": Feature(needs=("open", "close"), values=_gap, warm_up=1),
    "volume_change": Feature(needs=("volume",), values=_volume_change, warm_up=1, factor=1.0),
    "weekday_sin": Feature(needs=(), values=lambda prices: np.sin(_weekday(prices)), factor=1.0),
    "weekday_cos": Feature(needs=(), values=lambda prices: np.cos(_weekday(prices)), factor=1.0),
}
ROLLING: dict[str, RollingFeature] = {
    "volatility": RollingFeature(needs=("close",), values=_volatility, warm_up=lambda sessions: sessions),
    "ma_ratio": RollingFeature(needs=("close",), values=_ma_ratio, warm_up=lambda sessions: sessions - 1),
}
