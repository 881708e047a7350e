"""Compare a series with an exchange's calendar, from the optional package exchange_calendars; find its next sessions.

The comparison only adds warnings, since calendars have errors too. The series is not changed.
"""

import difflib
import importlib.util
import re
import warnings
from datetime import date, timedelta

import numpy as np

from stockrnn.io.files import line
from stockrnn.prices.series import Finding, PriceError, Prices, count

__all__ = ["NEW_YORK", "compare_with_calendar", "exchange_of", "is_installed", "sessions_after"]

NEW_YORK = "XNYS"
SUFFIXES = {
    "KS": "XKRX", "KQ": "XKRX", "T": "XTKS", "HK": "XHKG", "SS": "XSHG", "SZ": "XSHG", "TW": "XTAI", "L": "XLON",
    "DE": "XETR", "F": "XFRA", "PA": "XPAR", "AS": "XAMS", "BR": "XBRU", "LS": "XLIS", "MI": "XMIL", "MC": "XMAD",
    "SW": "XSWX", "VI": "XWBO", "ST": "XSTO", "HE": "XHEL", "CO": "XCSE", "OL": "XOSL", "TO": "XTSE", "AX": "XASX",
    "NZ": "XNZE", "SA": "BVMF", "MX": "XMEX", "BO": "XBOM", "NS": "XBOM", "SI": "XSES", "BK": "XBKK", "JK": "XIDX",
    "KL": "XKLS", "IS": "XIST", "JO": "XJSE", "WA": "XWAR",
}  # fmt: skip
INDICES = {
    "^KS11": "XKRX", "^KQ11": "XKRX", "^KS200": "XKRX", "^N225": "XTKS", "^HSI": "XHKG", "^TWII": "XTAI",
    "^FTSE": "XLON", "^GDAXI": "XETR", "^FCHI": "XPAR", "^AEX": "XAMS", "^BFX": "XBRU", "^SSMI": "XSWX",
    "^IBEX": "XMAD", "^GSPTSE": "XTSE", "^AXJO": "XASX", "^BVSP": "BVMF", "^MXX": "XMEX", "^BSESN": "XBOM",
    "^NSEI": "XBOM", "^STI": "XSES", "^GSPC": NEW_YORK, "^IXIC": NEW_YORK, "^DJI": NEW_YORK, "^NDX": NEW_YORK,
    "^RUT": NEW_YORK, "^NYA": NEW_YORK,
}  # fmt: skip
US_STOCK = re.compile(r"[A-Z]{1,5}(-[A-Z])?", re.ASCII)  # tickers of the United States have no suffix


def exchange_of(ticker: str) -> str | None:
    """Return the exchange (its ISO 10383 code) of a Yahoo ticker; None for currencies, crypto and unknown ones."""
    ticker = ticker.upper()
    if ticker in INDICES:
        return INDICES[ticker]
    name, dot, suffix = ticker.rpartition(".")
    if dot:
        return SUFFIXES.get(suffix) if name else None
    return NEW_YORK if US_STOCK.fullmatch(ticker) else None


def is_installed() -> bool:
    """Return whether exchange_calendars is installed."""
    return importlib.util.find_spec("exchange_calendars") is not None


def compare_with_calendar(prices: Prices, exchange: str) -> tuple[Finding, ...]:
    """Return warnings of missing and unexpected sessions; none if exchange_calendars is not installed.

    Args:
        prices: the series, sorted, with one row per day.
        exchange: ISO 10383 code, as in XKRX.

    Raises:
        PriceError: the package does not have this exchange.
    """
    if not is_installed() or len(prices) < 2:
        return ()
    try:
        expected = _sessions(exchange, prices.dates[0].item(), prices.dates[-1].item())
    except _UnknownDaysError as error:
        return (_warning(f"the calendar {exchange} cannot be used: {error}"),)
    if not len(expected):
        return ()
    actual = prices.dates[(prices.dates >= expected[0]) & (prices.dates <= expected[-1])]
    missing, unexpected = np.setdiff1d(expected, actual), np.setdiff1d(actual, expected)
    found = []
    if len(missing):
        found.append(_warning(f"{count(len(missing), 'session')} of {exchange} missing: {_first(missing)}", missing))
    if len(unexpected):
        text = f"{count(len(unexpected), 'session')} on days when {exchange} was closed: {_first(unexpected)}"
        found.append(_warning(text, unexpected))
    return tuple(found)


def sessions_after(exchange: str, day: date, count: int) -> np.ndarray | None:
    """Return the next sessions of an exchange after a day, datetime64[D], shape (count,).

    None if exchange_calendars is not installed, or if its calendar does not reach so far.

    Raises:
        PriceError: the package does not have this exchange.
    """
    if not is_installed():
        return None
    try:
        sessions = _sessions(exchange, day, day + timedelta(days=2 * count + 30))
    except _UnknownDaysError:
        return None
    later = sessions[sessions > np.datetime64(day)][:count]
    return later if len(later) == count else None


class _UnknownDaysError(ValueError):
    """The calendar does not cover the requested days."""


def _sessions(exchange: str, start: date, end: date) -> np.ndarray:
    """Return the sessions from `start` to `end`, as far as the calendar covers them; datetime64[D]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # raised by the package with pandas 3.1 and later
        import exchange_calendars
        from exchange_calendars.errors import CalendarError

        known = exchange_calendars.get_calendar_names(include_aliases=True)
        if exchange not in known:
            matches = difflib.get_close_matches(exchange.upper(), known, n=1)
            raise PriceError(
                f"--calendar {exchange}: unknown exchange; an exchange is an ISO 10383 code, as in XKRX or XNYS; "
                + (f"did you mean {matches[0]}?" if matches else "correct it")
            )
        try:
            try:
                calendar = exchange_calendars.get_calendar(exchange, start=str(start), end=str(end))
            except (ValueError, CalendarError):  # the calendar starts later or ends earlier
                calendar_class = type(exchange_calendars.get_calendar(exchange))
                first, last = calendar_class.bound_min(), calendar_class.bound_max()
                start = max(start, first.date()) if first is not None else start
                end = min(end, last.date()) if last is not None else end
                calendar = exchange_calendars.get_calendar(exchange, start=str(start), end=str(end))
        except (ValueError, CalendarError) as error:
            raise _UnknownDaysError(line(error)) from None
    return np.asarray(calendar.sessions.to_numpy(), dtype="datetime64[D]")


def _warning(text: str, dates: np.ndarray | None = None) -> Finding:
    rows, first = (0, ()) if dates is None else (len(dates), tuple(dates[:5].astype(str).tolist()))
    return Finding(check="calendar", severity="warning", text=text, rows=rows, dates=first)


def _first(dates: np.ndarray) -> str:
    more = f" and {len(dates) - 3:,} more" if len(dates) > 3 else ""
    return ", ".join(dates[:3].astype(str).tolist()) + more
