"""Align other series with the forecast series: at each session, use their last closes that are already known.

A close of another series is known from `lag` calendar days after its date. The default lag is 1, because New York
closes after Seoul on the same date, so only closes of earlier dates are known. Use 0 for markets that close earlier.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stockrnn.dataset.config import DataConfig
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import Access, limit_dates, load
from stockrnn.prices.series import Finding, PriceError, Prices, count

__all__ = ["align", "prepare"]

MAX_CLOSE_AGE = 12  # calendar days; no market closes for holidays this long
BAR_CHECKS = (
    "missing columns",
    "flat bars",
    "opens",
    "stale",
    "volume",
)  # findings about bars, not closes
MAX_END_GAP = 5  # calendar days; longer than a weekend with a holiday


def prepare(data: DataConfig, access: Access | None = None, given: Prices | None = None) -> Prices:
    """Load and clean a series and its other series, and add the closes of the others as columns.

    Args:
        data: the series and its other series.
        access: how downloads are made and cached.
        given: the series, unchecked; None: it is loaded from its source.

    Raises:
        PriceError: a series cannot be loaded or used, or another series has no close before the last session.
    """
    prices = clean(load(data, access) if given is None else limit_dates(given, data))
    return align(prices, [(other.name, _clean_closes(load(other, access)), other.lag) for other in data.also])


def align(prices: Prices, others: Sequence[tuple[str, Prices, int]]) -> Prices:
    """Add a column for each other series: at each session, its last close at least `lag` days old.

    Sessions before the first known close of any other series are dropped and reported as a finding. The result also
    has the findings of the other series, and findings for outdated closes.

    Args:
        prices: the forecast series, clean.
        others: column name, clean series and lag in calendar days of each other series.

    Raises:
        PriceError: another series has no known close at the last session.
        ValueError: two columns have the same name.
    """
    names = [name for name, _, _ in others]
    if len({*prices.columns, *names}) != len(prices.columns) + len(names):
        raise ValueError(f"columns {', '.join(prices.columns)} and others {', '.join(names)}: a name is used twice")
    if not others:
        return prices
    known = [_last_known(prices, other, lag) for _, other, lag in others]
    unknown = [int((positions < 0).sum()) for positions in known]
    latest = int(np.argmax(unknown))
    first = unknown[latest]
    if first == len(prices):
        name, other, lag = others[latest]
        raise PriceError(
            f"{other.source}: Date: begins on {other.dates[0]}, too late for the last session of {prices.source}, "
            f"{prices.dates[-1]}; the input {name} needs closes {lag} or more days before sessions; "
            f"use series of the same years"
        )
    closes = [other.column("close")[positions] for (_, other, _), positions in zip(others, known, strict=True)]
    aligned = replace(
        prices,
        columns=(*prices.columns, *names),
        values=np.column_stack([prices.values, *closes]),
    ).rows(np.arange(first, len(prices)))
    if first:
        aligned = aligned.with_findings(_dropped_sessions(prices, first, others[latest][0]))
    for (name, other, lag), positions in zip(others, known, strict=True):
        aligned = aligned.with_findings(
            *(replace(finding, text=f"{name}: {finding.text}") for finding in other.findings),
            *_old_closes(aligned.dates, name, other, lag, positions[first:]),
        )
    return aligned


def _last_known(prices: Prices, other: Prices, lag: int) -> np.ndarray:
    """Return the position of the other series' last known close at each session, shape (sessions,); -1 for none."""
    days = prices.dates.astype("datetime64[D]") - np.timedelta64(lag, "D")
    return np.searchsorted(other.dates.astype("datetime64[D]"), days, side="right") - 1


def _clean_closes(other: Prices) -> Prices:
    """Clean the closes of another series; its open, high, low and volume are not used and not checked."""
    bars = clean(replace(other, columns=("close",), values=other.column("close")[:, np.newaxis]))
    return replace(bars, findings=tuple(found for found in bars.findings if found.check not in BAR_CHECKS))


def _dropped_sessions(prices: Prices, first: int, name: str) -> Finding:
    return Finding(
        check="first known close",
        severity="repair",
        text=f"{count(first, 'session')} before {prices.dates[first]} dropped: {name} has no known close for them",
        rows=first,
        dates=_examples(prices.dates[:first]),
    )


def _old_closes(dates: np.ndarray, name: str, other: Prices, lag: int, positions: np.ndarray) -> list[Finding]:
    """Return warnings for sessions in a gap or after the end of another series."""
    findings = []
    ages = (dates - other.dates[positions]).astype("timedelta64[D]").astype(int)
    ended = positions == len(other) - 1
    stale = (ages > MAX_CLOSE_AGE) & ~ended
    if stale.any():
        text = (
            f"{name}: its last known close is more than {MAX_CLOSE_AGE} days old on {count(stale.sum(), 'session')}, "
            f"first on {dates[stale][0]}"
        )
        findings.append(_warning("old closes", text, dates[stale]))
    after = ended & (ages > lag)
    if ages[-1] > MAX_END_GAP + lag and after[-1]:
        text = f"{name}: ends on {other.dates[-1]}; {count(after.sum(), 'session')} after that use this last close"
        findings.append(_warning("early end", text, dates[after]))
    return findings


def _warning(check: str, text: str, dates: np.ndarray) -> Finding:
    return Finding(check=check, severity="warning", text=text, rows=len(dates), dates=_examples(dates))


def _examples(dates: np.ndarray) -> tuple[str, ...]:
    return tuple(map(str, dates[:3]))
