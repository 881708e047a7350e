"""Other series beside the one that is forecast: at each of its sessions, the close of theirs that was known by then.

A close of another series counts from `lag` calendar days after its date on. The rule is 1: a close in New York comes
after the close in Seoul of the same date, so only earlier dates are known. 0 is for markets that close no later.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stockrnn.configuration import DataConfig
from stockrnn.prices import Access, load
from stockrnn.quality import clean
from stockrnn.series import Finding, PriceError, Prices

__all__ = ["align", "prepare"]

STALE = 12  # calendar days: longer than any market is closed for holidays
PRICE_COLUMNS = ("close", "open", "high", "low")  # in the order in which they are complained of
OF_BARS = ("flat bars", "opens", "stale", "volume")  # findings of whole bars, which say nothing of closes
ENDED = 5  # calendar days: longer than a weekend with a holiday


def prepare(data: DataConfig, access: Access | None = None) -> Prices:
    """Load and clean a series and those beside it, and put their closes into columns of their own.

    Raises:
        PriceError: a series cannot be loaded or used, or another has no close before the last session.
    """
    prices = clean(load(data, access))
    return align(prices, [(other.name, _clean_closes(load(other, access)), other.lag) for other in data.also])


def align(prices: Prices, others: Sequence[tuple[str, Prices, int]]) -> Prices:
    """Add a column for each other series: at each session its last close of a date `lag` days before, or earlier.

    Sessions before the first close of any of them are dropped, which a finding says; so do findings of the others,
    and of closes that are old.

    Args:
        prices: the series that is forecast, clean.
        others: name of the column, series (clean) and lag in calendar days, of each.

    Raises:
        PriceError: another series begins after the last session, less its lag.
        ValueError: a name stands twice.
    """
    names = [name for name, _, _ in others]
    if len({*prices.columns, *names}) != len(prices.columns) + len(names):
        raise ValueError(f"columns {', '.join(prices.columns)} and others {', '.join(names)}: a name stands twice")
    if not others:
        return prices
    known = [_last_known(prices, other, lag) for _, other, lag in others]
    begins = [int((positions < 0).sum()) for positions in known]
    latest = int(np.argmax(begins))
    first = begins[latest]
    if first == len(prices):
        name, other, lag = others[latest]
        raise PriceError(
            f"{other.source}: Date: begins on {other.dates[0]}, and no close of it is known by the last session of "
            f"{prices.source}, {prices.dates[-1]}; the input {name} needs closes {lag} or more days before sessions; "
            f"use series of the same years"
        )
    closes = [other.column("close")[positions] for (_, other, _), positions in zip(others, known, strict=True)]
    aligned = replace(
        prices,
        columns=(*prices.columns, *names),
        values=np.column_stack([prices.values, *closes]),
    ).rows(np.arange(first, len(prices)))
    if first:
        aligned = aligned.with_findings(_dropped(prices, first, others[latest][0]))
    for (name, other, lag), positions in zip(others, known, strict=True):
        aligned = aligned.with_findings(
            *(replace(finding, text=f"{name}: {finding.text}") for finding in other.findings),
            *_old_closes(aligned.dates, name, other, lag, positions[first:]),
        )
    return aligned


def _last_known(prices: Prices, other: Prices, lag: int) -> np.ndarray:
    """At each session the position of the other's last close known by then, shape (sessions,); -1 before its first."""
    days = prices.dates.astype("datetime64[D]") - np.timedelta64(lag, "D")
    return np.searchsorted(other.dates.astype("datetime64[D]"), days, side="right") - 1


def _clean_closes(other: Prices) -> Prices:
    """Another series, checked as far as it is used: its volume is not, nor what its high and low contradict."""
    close = other.column("close")
    bars = clean(replace(other, columns=PRICE_COLUMNS, values=np.column_stack([close] * len(PRICE_COLUMNS))))
    return replace(bars, findings=tuple(found for found in bars.findings if found.check not in OF_BARS))


def _dropped(prices: Prices, first: int, name: str) -> Finding:
    return Finding(
        check="first known close",
        severity="repair",
        text=f"{_sessions(first)} before {prices.dates[first]} dropped: no close of {name} was known then",
        rows=first,
        dates=_some(prices.dates[:first]),
    )


def _old_closes(dates: np.ndarray, name: str, other: Prices, lag: int, positions: np.ndarray) -> list[Finding]:
    """Warnings of a gap in another series, and of its end before the sessions' end; all by the sessions' dates."""
    findings = []
    ages = (dates - other.dates[positions]).astype("timedelta64[D]").astype(int)
    ended = positions == len(other) - 1
    stale = (ages > STALE) & ~ended
    if stale.any():
        text = (
            f"{name}: its last known close is more than {STALE} days old on {_sessions(stale.sum())}, "
            f"first on {dates[stale][0]}"
        )
        findings.append(_warning("old closes", text, dates[stale]))
    after = ended & (ages > lag)
    if ages[-1] > ENDED + lag and after[-1]:
        text = f"{name}: ends on {other.dates[-1]}; {_sessions(after.sum())} after that see no newer close"
        findings.append(_warning("early end", text, dates[after]))
    return findings


def _warning(check: str, text: str, dates: np.ndarray) -> Finding:
    return Finding(check=check, severity="warning", text=text, rows=len(dates), dates=_some(dates))


def _sessions(number: int) -> str:
    return f"{number:,} session{'' if number == 1 else 's'}"


def _some(dates: np.ndarray) -> tuple[str, ...]:
    return tuple(map(str, dates[:3]))
