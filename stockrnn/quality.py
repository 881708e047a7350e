"""The checks a daily series must pass before anything is trained on it.

`clean` repairs what can be repaired without a guess (order, identical duplicates, rows without any price) and
says so, refuses what cannot be right, and warns about nothing else yet.
"""

import numpy as np

from stockrnn.series import Finding, PriceError, Prices

__all__ = ["clean"]

PRICE_COLUMNS = ("open", "high", "low", "close")
MOST_CONTRADICTIONS = 0.01  # share of sessions whose high or low contradicts open and close


def clean(prices: Prices) -> Prices:
    """Sort, deduplicate and check a series.

    Raises:
        PriceError: a price that is missing, infinite or not above 0, a volume that is missing, infinite or
            negative; dates that conflict; highs and lows that contradict open and close on more than 1 % of
            sessions; a series that never moves.
    """
    for repair in (_drop_empty, _sort, _drop_duplicates):
        prices = repair(prices)
    for check in (_check_numbers, _check_movement):
        check(prices)
    return _check_ranges(prices)


def _repaired(prices: Prices, check: str, what: str, rows: int) -> Prices:
    return prices.noting(Finding(check=check, severity="repair", text=what, rows=rows))


def _drop_empty(prices: Prices) -> Prices:
    price_columns = np.column_stack([prices.column(name) for name in PRICE_COLUMNS])
    empty = np.isnan(price_columns).all(axis=1)
    if empty.all():
        raise PriceError(
            f"{prices.source}: Open, High, Low, Close: no row has a price; a session has numbers there; check the file"
        )
    if not empty.any():
        return prices
    return _repaired(
        prices.rows(~empty), "empty rows", f"{empty.sum()} rows without any price dropped", int(empty.sum())
    )


def _sort(prices: Prices) -> Prices:
    if (np.diff(prices.dates) >= np.timedelta64(0, "D")).all():
        return prices
    return _repaired(prices.rows(np.argsort(prices.dates, kind="stable")), "order", "rows sorted by date", len(prices))


def _drop_duplicates(prices: Prices) -> Prices:
    same_day = np.r_[False, prices.dates[1:] == prices.dates[:-1]]
    if not same_day.any():
        return prices
    for position in np.flatnonzero(same_day).tolist():
        if not np.array_equal(prices.values[position], prices.values[position - 1], equal_nan=True):
            raise PriceError(
                f"{prices.where(position)}: Date: {prices.dates[position]} stands twice with "
                f"different values; a session has one row; delete the wrong one"
            )
    return _repaired(
        prices.rows(~same_day), "duplicates", f"{same_day.sum()} repeated rows dropped", int(same_day.sum())
    )


def _check_numbers(prices: Prices) -> None:
    for name in prices.columns:
        column = prices.column(name)
        if name == "volume":
            bad, rule = ~np.isfinite(column) | (column < 0), "a volume is a finite number, 0 or more"
        else:
            bad, rule = ~np.isfinite(column) | (column <= 0), "a price is a finite number above 0"
        if bad.any():
            position = int(bad.argmax())
            value = "missing" if np.isnan(column[position]) else f"{column[position]:g}"
            raise PriceError(
                f"{prices.where(position)}: {name.capitalize()}: {value} on {prices.dates[position]}; "
                f"{rule}; mend or delete the row ({bad.sum()} such rows)"
            )


def _check_ranges(prices: Prices) -> Prices:
    opens, highs, lows, closes = (prices.column(name) for name in PRICE_COLUMNS)
    tolerance = 1e-6 * closes  # files round to different digits
    bad = (highs < np.maximum(opens, closes) - tolerance) | (lows > np.minimum(opens, closes) + tolerance)
    if bad.mean() > MOST_CONTRADICTIONS:
        position = int(bad.argmax())
        raise PriceError(
            f"{prices.where(position)}: High, Low: contradict Open and Close on {bad.sum()} of {len(prices)} "
            f"sessions, first on {prices.dates[position]}; at most 1 % may; check the columns' names"
        )
    if not bad.any():
        return prices
    where = [prices.where(position) for position in np.flatnonzero(bad)[:3]]
    more = f" and {bad.sum() - 3} more" if bad.sum() > 3 else ""
    warning = f"High or Low contradicts Open or Close, kept as it is: {', '.join(where)}{more}"
    return prices.noting(Finding(check="range", severity="warning", text=warning, rows=int(bad.sum())))


def _check_movement(prices: Prices) -> None:
    closes = prices.column("close")
    if np.ptp(closes) <= 1e-9 * closes[0]:
        raise PriceError(
            f"{prices.source}: Close: is {closes[0]:g} on every session; a series that never moves cannot be "
            f"forecast or scored; check the column"
        )
