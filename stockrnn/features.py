"""Features of a session: what a network may see of it, all known at the day's close.

A feature looks back and never ahead. Where it looks back beyond the first session it has no value; those sessions are
its warm-up, and no window holds one.
"""

from collections.abc import Callable, Iterable

import numpy as np

from stockrnn.configuration import COLUMNS, rolling
from stockrnn.series import Prices

__all__ = ["LEVELS", "change", "columns_needed", "missing_columns", "relative_factor", "values", "warm_up"]

LEVELS = ("open", "high", "low", "close")  # prices, which relative scaling states against the window's last close
PERCENT = 100.0
MOST_CHANGE = float(np.log(100))  # a volume that grows or shrinks a hundredfold, as to or from 0, reads as that
LOG_OF_ZERO = -1e4  # stands for log(0) before the clipping, finite so that 0 after 0 is no change
AS_THEY_ARE = ("volume_change", "weekday_sin", "weekday_cos")
NEEDED = {
    "log_return": ("close",),
    "range": ("high", "low"),
    "gap": ("open", "close"),
    "volume_change": ("volume",),
    "weekday_sin": (),
    "weekday_cos": (),
}


def columns_needed(feature: str) -> tuple[str, ...]:
    """The columns of a series that a feature is made of."""
    if feature in COLUMNS:
        return (feature,)
    return ("close",) if rolling(feature) else NEEDED[feature]


def missing_columns(prices: Prices, features: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The features that a series has not all columns for, each with the columns it lacks."""
    lacking = {
        feature: tuple(name for name in columns_needed(feature) if name not in prices.columns) for feature in features
    }
    return {feature: names for feature, names in lacking.items() if names}


def warm_up(feature: str) -> int:
    """Sessions at the start of a series for which a feature, or the change of another series, is not defined."""
    if found := rolling(feature):
        base, sessions = found
        return sessions if base == "volatility" else sessions - 1
    return 0 if feature in (*COLUMNS, "range", "weekday_sin", "weekday_cos") else 1


def relative_factor(feature: str) -> float:
    """What brings a feature that is no price or volume to order one without any fitting: mostly to per cent."""
    return 1.0 if feature in AS_THEY_ARE else PERCENT


def values(feature: str, prices: Prices) -> np.ndarray:
    """A feature of every session, float64, shape (sessions,); NaN in the warm-up and nowhere else.

    - open, high, low, close, volume: as they are.
    - log_return: log of close over the previous close.
    - range: log of high over low.
    - gap: log of open over the previous close.
    - volume_change: log of volume over the previous volume, at most a hundredfold either way; 0 from 0 to 0.
    - weekday_sin, weekday_cos: the day of the week as an angle, Monday 0, 7 days a turn.
    - volatility_N: standard deviation (over N, not N - 1) of the last N log returns.
    - ma_ratio_N: log of close over the mean of the last N closes.
    """
    if feature in COLUMNS:
        return prices.column(feature)
    if found := rolling(feature):
        base, sessions = found
        close = prices.column("close")
        if base == "volatility":
            return _over_last(change(close), sessions, np.std)
        return np.log(close / _over_last(close, sessions, np.mean))
    match feature:
        case "log_return":
            return change(prices.column("close"))
        case "range":
            return np.log(prices.column("high") / prices.column("low"))
        case "gap":
            return np.r_[np.nan, np.log(prices.column("open")[1:] / prices.column("close")[:-1])]
        case "volume_change":
            volume = prices.column("volume")
            logs = np.log(volume, out=np.full(len(volume), LOG_OF_ZERO), where=volume > 0)
            return np.r_[np.nan, np.diff(logs).clip(-MOST_CHANGE, MOST_CHANGE)]
    turn = np.sin if feature == "weekday_sin" else np.cos
    return turn(2 * np.pi / 7 * _weekdays(prices.dates))


def change(column: np.ndarray) -> np.ndarray:
    """Log return of a column from session to session, shape (sessions,); NaN for the first."""
    return np.r_[np.nan, np.log(column[1:] / column[:-1])]


def _over_last(column: np.ndarray, sessions: int, of: Callable[..., np.ndarray]) -> np.ndarray:
    """`of` (mean or std) the last `sessions` values up to each position; NaN where there are fewer."""
    found = np.full(len(column), np.nan)
    if len(column) >= sessions:
        found[sessions - 1 :] = of(np.lib.stride_tricks.sliding_window_view(column, sessions), axis=1)
    return found


def _weekdays(dates: np.ndarray) -> np.ndarray:
    """0 for Monday to 6 for Sunday."""
    return (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
