"""Find the date of a session at its exchange from a date and a time of day, and recognize several rows a day.

A time such as 15:00 UTC is the midnight of Seoul's next day: if the dates as written fall on Sundays, and those of the
nearest midnight do not, the rows belong to the next day. Where the times do not decide it, the dates are refused.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stockrnn.io.files import line
from stockrnn.prices.series import FRAME, Finding, PriceError

__all__ = ["Stamps", "check_one_row_a_day", "local_dates", "read_times"]

MIN_MIDNIGHT = 13 * 3600  # seconds in UTC: at 11 hours ahead of UTC, the furthest of the large exchanges, it is 13:00
QUARTER = 900  # seconds: time zones are whole quarters of an hour apart
MIN_SHARE = 0.02  # of the sessions, on a day of the week on which an exchange opens
MAX_CLOSED_RATIO = 0.1  # sessions on a day of the week with a few special sessions, to those on an open day
MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6
MIN_REFUSED_TIME = 10 * 3600  # seconds: earlier times of day are in the session of every exchange
MAX_REPEATED_SHARE = 0.05  # of the rows, on the day of another row
MAX_SHOWN_TICKERS = 5


@dataclass(frozen=True, kw_only=True)
class Stamps:
    """Dates and times of the rows as written.

    Attributes:
        days: datetime64[D], shape (rows,).
        seconds: since midnight, shape (rows,); 0 without a time of day.
        is_utc: whether all times are stated to be in UTC.
        is_local: whether the user has stated the format of the dates, so that dates without a time zone are right.
    """

    days: np.ndarray
    seconds: np.ndarray
    is_utc: bool = False
    is_local: bool = False


def read_times(stamps: Stamps, cells: Sequence[str]) -> Stamps:
    """Return the stamps with the times of a column of their own, such as 09:30, 0930 or 093000; unchanged if unread."""
    seconds = []
    for cell in cells:
        digits = cell.strip().partition(".")[0].replace(":", "")
        if not digits.isdecimal() or len(digits) > 6:
            return stamps
        digits = digits.zfill(4).ljust(6, "0") if ":" in cell or len(digits) in (3, 4) else digits.zfill(6)
        seconds.append(3600 * int(digits[:2]) + 60 * int(digits[2:4]) + int(digits[4:]))
    times = np.array(seconds)
    return replace(stamps, seconds=times) if len(times) and times.max() < 86400 and not stamps.seconds.any() else stamps


def check_one_row_a_day(
    stamps: Stamps, tickers: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]], source: str
) -> list[Finding]:
    """Check that the rows are those of one daily series; return warnings.

    Args:
        stamps: dates and times of the rows.
        tickers: columns of tickers, by their names.
        others: columns of text that may be tickers, by their names.
        source: name of the file, for messages.

    Raises:
        PriceError: the rows are several bars a day, or belong to several tickers.
    """
    days, counts = np.unique(stamps.days, return_counts=True)
    repeated = len(stamps.days) - len(days)
    found = []
    for name, cells in (*tickers.items(), *(others.items() if repeated else ())):
        values = [line(cell, 30) for cell in cells]
        different = list(dict.fromkeys(values))
        rows = len(set(zip(stamps.days.tolist(), values, strict=True)))
        if rows > len(days) and (name in tickers or rows == len(values)):
            shown = ", ".join(different[:MAX_SHOWN_TICKERS]) + (", ..." if len(different) > MAX_SHOWN_TICKERS else "")
            kind = "DataFrame" if source == FRAME else "file"
            raise PriceError(
                f"{source}: has {len(different)} tickers ({line(name, 40)}: {shown}); a {kind} has one series; "
                f"{_split_by_ticker(source, name, different[0])}"
            )
        if len(different) > 1 and name in tickers:
            text = f"{line(name, 40)} changes from {different[0]} to {different[-1]}; all rows are used as one series"
            found.append(Finding(check="tickers", severity="warning", text=text, rows=len(values)))
    times = len(set(zip(stamps.days.tolist(), stamps.seconds.tolist(), strict=True)))
    if repeated > MAX_REPEATED_SHARE * len(stamps.days) and times > len(days) + repeated // 2:
        most = int(counts.max())
        raise PriceError(
            f"{source}: Date: several bars a day (up to {most}, on {(counts > 1).sum()} of {len(days)} days): the "
            f"prices are intraday; daily prices are needed; combine each day into one row (first Open, highest High, "
            f"lowest Low, last Close, total Volume)"
        )
    return found


def _split_by_ticker(source: str, column: str, example: str) -> str:
    """Return how to split a file or a DataFrame with several tickers."""
    if source == FRAME:
        return f"select one, for example prices[prices[{column!r}] == {example!r}]"
    read = f"pd.read_csv({source!r}, sep=None, engine='python', dtype=str)"
    if source.lower().endswith(".parquet"):
        read = f"pd.read_parquet({source!r})"
    code = (
        "import os, pandas as pd; os.makedirs('tickers', exist_ok=True); "
        f"[rows.to_csv(f'tickers/{{name}}.csv', index=False) for name, rows in {read}.groupby({column!r})]"
    )
    return (
        f"split the file with python -c {shlex.quote(code)} and name one of the new files with data.source, or all "
        "with data.sources: [tickers/*.csv]"
    )


def local_dates(stamps: Stamps, source: str) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the date of each row at its exchange, datetime64[D], shape (rows,), and findings.

    Args:
        stamps: dates and times of the rows.
        source: name of the file, for messages.

    Raises:
        PriceError: the dates may be a day early.
    """
    days, seconds = stamps.days, stamps.seconds
    if not seconds.any():
        return days, ()
    late = (seconds >= MIN_MIDNIGHT) & (seconds % QUARTER == 0)
    nearest = days + late
    written, rounded = _weekday_shares(days), _weekday_shares(nearest)
    early = any(_is_open_without(written[day], rounded[day]) for day in (SATURDAY, SUNDAY))
    times = sorted(set((seconds // 60).tolist()))
    shown = " and ".join(f"{minute // 60:02}:{minute % 60:02}" for minute in times[:2])
    changes = len(times) <= 2 and times[-1] - times[0] in (0, 60, 23 * 60)  # one time of day, or two with summer time
    row = int(late.argmax())
    if early and stamps.is_utc and changes:
        text = (
            f"read {int(late.sum())} UTC times ({shown}) as midnight of the next day at the exchange: {days[row]} is "
            f"{nearest[row]}; as written, there were sessions on weekends"
        )
        return nearest, (Finding(check="utc dates", severity="repair", text=text, rows=int(late.sum())),)
    shifted = early and stamps.is_utc
    if not stamps.is_local or shifted:
        fix = "write the dates of the exchange as YYYY-MM-DD"
        fix += "" if shifted else ", or set data.date_format, such as '%Y-%m-%d %H:%M:%S', if the dates are right"
        rule = f"sessions have the date of the exchange; {fix}"
        no_fridays = _is_open_without(written[SUNDAY], written[FRIDAY])
        if early or (no_fridays and seconds.min() >= MIN_REFUSED_TIME and not (seconds % QUARTER).any()):
            raise PriceError(
                f"{source}: Date: the dates may be a day early: the times are {shown}, and sessions fall on weekends, "
                f"as in the UTC times of an exchange in Asia; {rule}"
            )
        saturday, monday, sunday = (written[day] for day in (SATURDAY, MONDAY, SUNDAY))
        if _is_open_without(saturday, monday) and _is_open_without(saturday, sunday):
            raise PriceError(
                f"{source}: Date: the dates may be a day late: the times are {shown}, and there are sessions on "
                f"Saturdays and none on Mondays, as in Asian times of an exchange in America; {rule}"
            )
    if stamps.is_utc and late.all() and written[SUNDAY] >= MIN_SHARE:
        text = f"the dates are those in UTC: the times are {shown} UTC, also on weekends"
        return days, (Finding(check="utc dates", severity="warning", text=text, rows=len(days)),)
    return days, ()


def _is_open_without(one: float, other: float) -> bool:
    """Return whether there are sessions on one day of the week, from their shares, and almost none on another."""
    return one >= MIN_SHARE and other <= MAX_CLOSED_RATIO * one


def _weekday_shares(days: np.ndarray) -> np.ndarray:
    """Return the share of the rows on each day of the week, Monday first, shape (7,)."""
    weekdays = (days.astype("datetime64[D]").astype(int) + 3) % 7
    return np.asarray(np.bincount(weekdays, minlength=7) / len(weekdays))
