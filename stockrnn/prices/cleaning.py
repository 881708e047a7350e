"""Clean and check a daily series before training.

`clean` makes the repairs that need no guess (`repairs`), raises an error for what cannot be right, and adds warnings
for what the user should check (`anomalies`).
"""

from datetime import UTC, datetime

import numpy as np

from stockrnn.prices.anomalies import contradictory_ranges, unusable_volume_reason, warnings_for
from stockrnn.prices.repairs import repair
from stockrnn.prices.series import PriceError, Prices, count

__all__ = ["clean", "unusable_volume_reason"]

MAX_CONTRADICTORY_SHARE = 0.01  # of the sessions, where the high or low contradicts open and close
MIN_RELATIVE_RANGE = 1e-6  # highest minus lowest close, as a share of the first close
MIN_PRICE, MAX_PRICE, MAX_VOLUME = 1e-12, 1e15, 1e18  # beyond these, arithmetic overflows
MIN_DATE = np.datetime64("1700-01-01")


def clean(prices: Prices) -> Prices:
    """Return the series sorted, without duplicates, and checked. Cleaning it again changes nothing.

    Raises:
        PriceError: a price is missing, infinite, not above 0 or absurdly large; a volume is missing, infinite or
            negative; dates conflict or lie in the future; highs and lows contradict open and close on more than 1 %
            of the sessions; the close never changes.
    """
    prices = repair(prices)
    for check in (_check_dates, _check_numbers, _check_movement, _check_ranges):
        check(prices)
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


def _check_numbers(prices: Prices) -> None:
    for name in prices.columns:
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
            raise PriceError(
                f"{prices.location(position)}: {name.capitalize()}: {shown} on {prices.dates[position]}; "
                f"{rule}{f', from {low:g} to {high:g}' if out_of_bounds else ''}; "
                f"correct or delete the row ({count(bad.sum(), 'such row')})"
            )


def _check_movement(prices: Prices) -> None:
    closes = prices.column("close")
    if np.ptp(closes) <= MIN_RELATIVE_RANGE * closes[0]:
        raise PriceError(
            f"{prices.source}: Close: is {closes[0]:g} on every session; a series that never changes cannot be "
            f"forecast or scored; check the column"
        )


def _check_ranges(prices: Prices) -> None:
    bad = contradictory_ranges(prices)
    if bad.mean() > MAX_CONTRADICTORY_SHARE:
        position = int(bad.argmax())
        raise PriceError(
            f"{prices.location(position)}: High, Low: contradict Open and Close on {bad.sum()} of {len(prices)} "
            f"sessions, first on {prices.dates[position]}; at most 1 % of the sessions may; check the column names"
        )
