"""The checks a daily series must pass before anything is trained on it.

`clean` repairs what can be repaired without a guess and says so (`repairs`), refuses what cannot be right, and notes
what a user should look at (`doubts`).
"""

from datetime import UTC, datetime

import numpy as np

from stockrnn.doubts import contradictions, doubts, usable_volume
from stockrnn.repairs import repaired
from stockrnn.series import PriceError, Prices

__all__ = ["clean", "usable_volume"]

MOST_CONTRADICTIONS = 0.01  # share of sessions whose high or low contradicts open and close
LEAST_SPREAD = 1e-6  # of the closes, as a share of the first
SMALLEST_PRICE, LARGEST_PRICE, LARGEST_VOLUME = 1e-12, 1e15, 1e18  # beyond, arithmetic on them overflows
OLDEST = np.datetime64("1700-01-01")


def clean(prices: Prices) -> Prices:
    """Sort, deduplicate and check a series; cleaning it again changes nothing.

    Raises:
        PriceError: a price that is missing, infinite, not above 0 or absurdly large, a volume that is missing,
            infinite or negative; dates that conflict, or lie in the future; highs and lows that contradict open and
            close on more than 1 % of sessions; a series that never moves.
    """
    prices = repaired(prices)
    for check in (_check_dates, _check_numbers, _check_movement, _check_ranges):
        check(prices)
    return prices.noting(*(found for found in doubts(prices) if found not in prices.findings))


def _check_dates(prices: Prices) -> None:
    # Somewhere it is tomorrow already.
    latest = np.datetime64(datetime.now(UTC).date()) + 1
    wrong = (prices.dates > latest) | (prices.dates < OLDEST)
    if wrong.any():
        position = int(wrong.argmax())
        kind = "lies in the future" if prices.dates[position] > latest else "is older than any exchange's prices"
        raise PriceError(
            f"{prices.where(position)}: Date: {prices.dates[position]} {kind}; sessions lie between {OLDEST} and "
            f"today; check how dates are written ({wrong.sum()} such rows)"
        )


def _check_numbers(prices: Prices) -> None:
    for name in prices.columns:
        column = prices.column(name)
        if name == "volume":
            low, high, rule = 0.0, LARGEST_VOLUME, "a volume is a finite number, 0 or more"
        else:
            low, high, rule = SMALLEST_PRICE, LARGEST_PRICE, "a price is a finite number above 0"
        bad = ~((column >= low) & (column <= high))
        if bad.any():
            position = int(bad.argmax())
            value = column[position]
            shown = "missing" if np.isnan(value) else f"{value:g}"
            absurd = np.isfinite(value) and value > 0
            raise PriceError(
                f"{prices.where(position)}: {name.capitalize()}: {shown} on {prices.dates[position]}; "
                f"{rule}{f', from {low:g} to {high:g}' if absurd else ''}; "
                f"mend or delete the row ({bad.sum()} such row{'' if bad.sum() == 1 else 's'})"
            )


def _check_movement(prices: Prices) -> None:
    closes = prices.column("close")
    if np.ptp(closes) <= LEAST_SPREAD * closes[0]:
        raise PriceError(
            f"{prices.source}: Close: is {closes[0]:g} on every session; a series that never moves cannot be "
            f"forecast or scored; check the column"
        )


def _check_ranges(prices: Prices) -> None:
    bad = contradictions(prices)
    if bad.mean() > MOST_CONTRADICTIONS:
        position = int(bad.argmax())
        raise PriceError(
            f"{prices.where(position)}: High, Low: contradict Open and Close on {bad.sum()} of {len(prices)} "
            f"sessions, first on {prices.dates[position]}; at most 1 % may; check the columns' names"
        )
