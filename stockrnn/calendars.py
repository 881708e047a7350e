"""Exchanges' calendars, from the optional package exchange_calendars: sessions that a series lacks, or has too many.

They are consulted for warnings only: calendars have gaps of their own, and the series stays as it is.
"""

import difflib
import importlib.util
import re
import warnings
from datetime import date

import numpy as np

from stockrnn.files import line
from stockrnn.series import Finding, PriceError, Prices

__all__ = ["against_calendar", "exchange_of", "installed"]

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
SHARE = re.compile(r"[A-Z]{1,5}(-[A-Z])?", re.ASCII)  # of the United States, whose tickers have no suffix


def exchange_of(ticker: str) -> str | None:
    """The exchange (its ISO 10383 code) of a ticker as Yahoo writes it; None for currencies, crypto and the unknown."""
    ticker = ticker.upper()
    if ticker in INDICES:
        return INDICES[ticker]
    name, point, suffix = ticker.rpartition(".")
    if point:
        return SUFFIXES.get(suffix) if name else None
    return NEW_YORK if SHARE.fullmatch(ticker) else None


def installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("exchange_calendars") is not None


def against_calendar(prices: Prices, exchange: str) -> tuple[Finding, ...]:
    """What differs between a series and an exchange's sessions over the same days; nothing without the package.

    Args:
        prices: sorted, one row a day.
        exchange: its ISO 10383 code, as XKRX.

    Raises:
        PriceError: the package has no such exchange.
    """
    if not installed() or len(prices) < 2:
        return ()
    try:
        sessions = _sessions(exchange, prices.dates[0].item(), prices.dates[-1].item())
    except _UnknownDaysError as error:
        return (_finding(f"the calendar {exchange} cannot be consulted: {error}"),)
    if not len(sessions):
        return ()
    own = prices.dates[(prices.dates >= sessions[0]) & (prices.dates <= sessions[-1])]
    missing, foreign = np.setdiff1d(sessions, own), np.setdiff1d(own, sessions)
    found = []
    if len(missing):
        found.append(_finding(f"{_count(missing)} of {exchange} missing: {_first(missing)}", missing))
    if len(foreign):
        found.append(_finding(f"{_count(foreign)} on days without one at {exchange}: {_first(foreign)}", foreign))
    return tuple(found)


class _UnknownDaysError(ValueError):
    """A calendar that does not know the days asked for."""


def _sessions(exchange: str, start: date, end: date) -> np.ndarray:
    """Sessions from `start` to `end`, or to where the calendar is known; datetime64[D]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the package's own, from pandas 3.1 on
        import exchange_calendars
        from exchange_calendars.errors import CalendarError

        known = exchange_calendars.get_calendar_names(include_aliases=True)
        if exchange not in known:
            near = difflib.get_close_matches(exchange.upper(), known, n=1)
            raise PriceError(
                f"--calendar {exchange}: no such exchange; it is an ISO 10383 code, as in XKRX or XNYS; "
                + (f"did you mean {near[0]}?" if near else "correct it")
            )
        try:
            try:
                calendar = exchange_calendars.get_calendar(exchange, start=str(start), end=str(end))
            except (ValueError, CalendarError):  # it begins later or ends earlier; which, only a calendar tells
                some = type(exchange_calendars.get_calendar(exchange))
                first, last = some.bound_min(), some.bound_max()
                start = max(start, first.date()) if first is not None else start
                end = min(end, last.date()) if last is not None else end
                calendar = exchange_calendars.get_calendar(exchange, start=str(start), end=str(end))
        except (ValueError, CalendarError) as error:
            raise _UnknownDaysError(line(error)) from None
    return np.asarray(calendar.sessions.to_numpy(), dtype="datetime64[D]")


def _finding(text: str, dates: np.ndarray | None = None) -> Finding:
    days = () if dates is None else tuple(dates[:5].astype(str).tolist())
    return Finding(check="calendar", severity="warning", text=text, rows=0 if dates is None else len(dates), dates=days)


def _count(dates: np.ndarray) -> str:
    return f"{len(dates):,} session{'' if len(dates) == 1 else 's'}"


def _first(dates: np.ndarray) -> str:
    more = f" and {len(dates) - 3:,} more" if len(dates) > 3 else ""
    return ", ".join(dates[:3].astype(str).tolist()) + more
