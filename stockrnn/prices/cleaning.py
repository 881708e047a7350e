"""Clean and check a daily series before training.

`clean` makes the repairs that need no guess (`repairs`), raises an error for what cannot be right, and adds warnings
for what the user should check (`anomalies`). A column other than the close with a wrong value is dropped, so that only
a study whose networks need it is refused.
"""

from datetime import UTC, datetime

import numpy as np

from stockrnn.prices.anomalies import (
    UNUSABLE,
    contradictory_ranges,
    missing_column_reason,
    unusable_volume_reason,
    warnings_for,
)  # fmt: skip
from stockrnn.prices.repairs import first_dates, repair
from stockrnn.prices.series import Finding, PriceError, Prices, count

__all__ = ["clean", "missing_column_reason", "unusable_volume_reason"]

MAX_CONTRADICTORY_SHARE = 0.01  # of the sessions, where the high or low contradicts open and close
MIN_MISLABELLED_SHARE = 0.1  # of the sessions, with such contradictions if columns have each other's names
MIN_RELATIVE_RANGE = 1e-6  # highest minus lowest close, as a share of the first close
MIN_PRICE, MAX_PRICE, MAX_VOLUME = 1e-12, 1e15, 1e18  # beyond these, arithmetic overflows
MIN_DATE = np.datetime64("1700-01-01")


def clean(prices: Prices) -> Prices:
    """Return the series sorted, without duplicates, and checked. Cleaning it again changes nothing.

    Raises:
        PriceError: a close is missing, infinite, not above 0 or absurdly large; dates conflict or lie in the future;
            highs or lows contradict open and close on more than 10 % of the sessions; the close never changes.
    """
    prices = repair(prices)
    _check_dates(prices)
    prices = _drop_wrong_columns(prices)
    _check_movement(prices)
    prices = _drop_contradictory_columns(prices)
    return prices.with_findings(*(found for found in warnings_for(prices) if found not in prices.findings))


def _check_dates(prices: Prices) -> None:
    latest = np.datetime64(datetime.now(UTC).date()) + 1  # in some time zones it is already tomorrow
    wrong = (prices.dates > latest) | (prices.dates < MIN_DATE)
    if wrong.any():
        position = int(wrong.argmax())
        problem = "is in the future" if prices.dates[position] > latest else "is older than any exchange's prices"
        raise PriceError(
            f"{prices.location(position)}: Date: {prices.dates[position]} {problem}; sessions must be between "
            f"{MIN_DATE} and today; check the format of the dates ({count(wrong.sum(), 'such row')})"
        )


def _drop_wrong_columns(prices: Prices) -> Prices:
    """Drop the columns with a value that is not a price or volume. If it is the close, raise PriceError."""
    clean = prices
    for name in sorted(prices.columns, key=lambda name: name != "close"):
        column = prices.column(name)
        if name == "volume":
            low, high, rule = 0.0, MAX_VOLUME, "a volume is a finite number, 0 or more"
        else:
            low, high, rule = MIN_PRICE, MAX_PRICE, "a price is a finite number above 0"
        bad = ~((column >= low) & (column <= high))
        if bad.any():
            position = int(bad.argmax())
            value = column[position]
            shown = "missing" if np.isnan(value) else f"{value:g}"
            out_of_bounds = np.isfinite(value) and value > 0
            problem = (
                f"{prices.location(position)}: {name.capitalize()}: {shown} on {prices.dates[position]}; "
                f"{rule}{f', from {low:g} to {high:g}' if out_of_bounds else ''}; "
                f"correct or delete the row ({count(bad.sum(), 'such row')})"
            )
            if name == "close":
                raise PriceError(problem)
            clean = _drop(clean, name, problem, bad)
    return clean


def _drop(prices: Prices, name: str, problem: str, bad: np.ndarray) -> Prices:
    finding = Finding(
        check="unusable column", severity="repair", text=f"{UNUSABLE.format(name.capitalize())}{problem}",
        rows=int(bad.sum()), dates=first_dates(prices, bad),
    )  # fmt: skip
    return prices.without(name).with_findings(finding)


def _check_movement(prices: Prices) -> None:
    closes = prices.column("close")
    if len(closes) < 2:
        raise PriceError(
            f"{prices.source}: has a single session, {prices.dates[0]}; a forecast needs hundreds, one row each; use a "
            "longer series"
        )
    if np.ptp(closes) <= MIN_RELATIVE_RANGE * closes[0]:
        raise PriceError(
            f"{prices.source}: Close: is {closes[0]:g} on every session; a series that never changes cannot be "
            f"forecast or scored; check the column"
        )


def _drop_contradictory_columns(prices: Prices) -> Prices:
    """Drop a high or low that contradicts open and close too often. If columns seem mislabelled, raise PriceError."""
    for name in ("high", "low"):
        if name not in prices.columns:
            continue
        bad = contradictory_ranges(prices.without("low" if name == "high" else "high"))
        if bad.mean() <= MAX_CONTRADICTORY_SHARE:
            continue
        position = int(bad.argmax())
        problem = (
            f"{prices.location(position)}: {name.capitalize()}: contradicts Open and Close on {bad.sum()} of "
            f"{len(prices)} sessions, first on {prices.dates[position]}; at most 1 % of the sessions may; "
        )
        if bad.mean() > MIN_MISLABELLED_SHARE:
            raise PriceError(f"{problem}check the column names")
        prices = _drop(prices, name, f"{problem}correct these rows", bad)
    return prices
