"""Find the sessions after a series, from an exchange's calendar or the rhythm of the series, and those in a year.

The rhythm is that of the last sessions: daily on five, seven or other days of the week, weekly, or monthly and longer.
"""

from collections.abc import Callable, Mapping

import numpy as np

from stockrnn.prices.calendars import NEW_YORK, exchange_of, sessions_after
from stockrnn.prices.config import SourceConfig
from stockrnn.prices.sources import SHIPPED

__all__ = ["find_exchange", "next_sessions", "sessions_a_year"]

RECENT = 60  # sessions that show the rhythm
FEW = 10  # with fewer sessions, Monday to Friday count as days of trading even if none of them occurred
RARE = 3  # a day of the week with a third of the sessions of the most frequent day is one of trading
EVERY_DAY, WEEKDAYS = [True] * 7, [True] * 5 + [False] * 2
DAYS_OF_MONTH = 30.44
FITTING = 0.8  # share of the months whose bars must be dated alike


def find_exchange(source: SourceConfig) -> str | None:
    """Return the ISO 10383 code of the exchange of a series; None if it is unknown, as for a file."""
    if source.ticker:
        return exchange_of(source.ticker)
    return NEW_YORK if source.source in SHIPPED else None


def next_sessions(dates: np.ndarray, count: int, exchange: str | None = None) -> tuple[np.ndarray, str]:
    """Return the dates of the sessions after a series.

    Args:
        dates: of the series, datetime64, in order; at least one.
        count: number of sessions.
        exchange: ISO 10383 code; its calendar is used for daily series that rest on weekends, if the package
            exchange_calendars is installed and its calendar reaches so far.

    Returns:
        datetime64[D], shape (count,), and in words how they were found.

    Raises:
        PriceError: the package does not have this exchange.
    """
    days, gap = _recent(dates)
    steps = np.arange(1, count + 1)
    if gap >= 25:
        months = max(1, round(gap / DAYS_OF_MONTH))
        return _months_after(days, months * steps), {1: "monthly bars"}.get(months, f"bars of {months} months")
    if gap >= 9:
        return days[-1] + round(gap) * steps, f"bars of {round(gap)} days"
    weekdays = _weekday(days)
    counts = np.bincount(weekdays, minlength=7)
    if gap >= 6:
        usual = days[-1] + (int(counts.argmax()) - int(weekdays[-1]) + 3) % 7 - 3  # an early bar before a holiday
        return usual + 7 * steps, "weekly bars"
    traded = _traded(days)
    if traded != EVERY_DAY and exchange is not None:
        sessions = sessions_after(exchange, days[-1].item(), count)
        if sessions is not None:
            return sessions, f"sessions of {exchange}"
    found = np.busday_offset(days[-1], steps, roll="backward", weekmask=traded)
    names = {tuple(EVERY_DAY): "every day", tuple(WEEKDAYS): "weekdays; holidays are ignored"}
    return found, names.get(tuple(traded), "the weekdays of this series; holidays are ignored")


def sessions_a_year(dates: np.ndarray) -> int:
    """Return the number of sessions in a year: 252 for five days a week, 365, 312 (six days), 52, 12 or fewer.

    Args:
        dates: of the series, datetime64, in order; at least one.
    """
    days, gap = _recent(dates)
    if gap >= 25:
        return max(1, round(12 / max(1, round(gap / DAYS_OF_MONTH))))
    if gap >= 9:
        return round(365 / round(gap))
    if gap >= 6:
        return 52
    traded = sum(_traded(days))
    return {7: 365, 5: 252}.get(traded, 52 * traded)  # five days a week: without holidays


def _recent(dates: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the last sessions, and the median number of days between them."""
    days = dates.astype("datetime64[D]")[-RECENT:]
    return days, float(np.median(np.diff(days).astype(int))) if len(days) > 1 else 1.0


def _traded(days: np.ndarray) -> list[bool]:
    """Return for each day of the week, from Monday, whether a daily series trades on it."""
    counts = np.bincount(_weekday(days), minlength=7)
    traded = [bool(one) for one in RARE * counts >= counts.max()]
    if len(days) < FEW:
        traded = [one or other for one, other in zip(traded, WEEKDAYS, strict=True)]
    return traded


def _weekday(days: np.ndarray) -> np.ndarray:
    """Return the days of the week; Monday is 0."""
    return (days.astype(int) + 3) % 7  # 1970-01-01 was a Thursday


def _months_after(days: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the days that date the bars of later months as those of the series are dated."""
    middle = int(np.median((days - days.astype("datetime64[M]")).astype(int)))
    styles: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
        "first day": lambda months: months.astype("datetime64[D]"),
        "last day": lambda months: (months + 1).astype("datetime64[D]") - 1,
        "first weekday": lambda months: np.busday_offset(months.astype("datetime64[D]"), 0, roll="forward"),
        "last weekday": lambda months: np.busday_offset((months + 1).astype("datetime64[D]") - 1, 0, roll="backward"),
        "same day": lambda months: np.minimum(
            months.astype("datetime64[D]") + middle, (months + 1).astype("datetime64[D]") - 1
        ),
    }
    months = days.astype("datetime64[M]")
    fitting = {name: float((style(months) == days).mean()) for name, style in styles.items()}
    best = max(fitting, key=lambda name: fitting[name])  # of equals, the first
    return styles[best if fitting[best] >= FITTING else "same day"](months[-1] + steps)
