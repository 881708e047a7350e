"""Repair a daily series where no guess is needed: order, repeated rows, halts, rows and newest bars without prices.

Each repair adds a finding. Missing values are never filled in: their row or column is dropped.
"""

import numpy as np

from stockrnn.prices.series import PRICE_COLUMNS, Finding, PriceError, Prices, count

__all__ = ["MAX_FINDING_DATES", "first_dates", "repair"]

MAX_FINDING_DATES = 5  # dates in a finding
MIN_SEVERAL_SERIES = 0.2  # of the rows, whose day has other rows, in a file of several series
MAX_HALT_SHARE = 0.2  # of the rows, without a trade beside a close; more are a column without values


def repair(prices: Prices) -> Prices:
    """Return the series sorted by date, with one row per day and a finding for each repair.

    Raises:
        PriceError: no row has a price, or rows of the same day differ.
    """
    for step in (
        _drop_empty_rows, _sort, _drop_repeated_rows, _drop_incomplete_newest_bar, _drop_halts, _drop_empty_volume,
    ):  # fmt: skip
        prices = step(prices)
    return prices


def first_dates(prices: Prices, selected: np.ndarray) -> tuple[str, ...]:
    """Return the first few dates of the sessions where `selected`, shape (sessions,), is true."""
    return tuple(prices.dates[selected][:MAX_FINDING_DATES].astype(str).tolist())


def _with_repair(repaired: Prices, before: Prices, check: str, text: str, changed: np.ndarray) -> Prices:
    dates, rows = first_dates(before, changed), int(changed.sum())
    return repaired.with_findings(Finding(check=check, severity="repair", text=text, rows=rows, dates=dates))


def _drop_empty_rows(prices: Prices) -> Prices:
    empty = (_is_empty(prices, "close") & ~_is_traded(prices)) if len(prices) else np.array([], dtype=bool)
    if empty.all():
        names = ", ".join(name.capitalize() for name in PRICE_COLUMNS if name in prices.columns)
        raise PriceError(f"{prices.source}: {names}: no row has a price; a session needs these numbers; check the file")
    if not empty.any():
        return prices
    zeros = empty & (prices.column("close") == 0)
    text = f"dropped {count(empty.sum(), 'row')} without prices"
    text += f" ({zeros.sum()} with zeros, as on holidays)" if zeros.any() else ""
    if prices.dates[empty].max() >= prices.dates.max():
        text += f", among them the newest ({prices.dates.max()})"
    return _with_repair(prices.rows(~empty), prices, "empty rows", text, empty)


def _sort(prices: Prices) -> Prices:
    steps = np.diff(prices.dates)
    if (steps >= np.timedelta64(0, "D")).all():
        return prices
    moved = np.r_[False, steps < np.timedelta64(0, "D")]
    return _with_repair(
        prices.rows(np.argsort(prices.dates, kind="stable")), prices, "order", "sorted the rows by date",
        np.ones(len(prices), dtype=bool) if moved[1:].all() else moved,
    )  # fmt: skip


def _drop_repeated_rows(prices: Prices) -> Prices:
    same_day = np.r_[False, prices.dates[1:] == prices.dates[:-1]]
    if not same_day.any():
        return prices
    differing = [
        position
        for position in np.flatnonzero(same_day).tolist()
        if not np.array_equal(prices.values[position], prices.values[position - 1], equal_nan=True)
    ]
    if differing:
        position, days = differing[0], len(np.unique(prices.dates[differing]))
        fix = "delete the wrong one" if days < MIN_SEVERAL_SERIES * len(prices) else "write each series to its own file"
        raise PriceError(
            f"{prices.location(position)}: Date: {prices.dates[position]} has two rows with different values; "
            f"a session has one row; {fix} ({count(days, 'such day')})"
        )
    text = f"dropped {count(same_day.sum(), 'repeated row')}"
    return _with_repair(prices.rows(~same_day), prices, "duplicates", text, same_day)


def _drop_incomplete_newest_bar(prices: Prices) -> Prices:
    last = np.arange(len(prices)) == len(prices) - 1
    missing = [name.capitalize() for name in prices.columns if np.isnan(prices.column(name)[-1])]
    if len(prices) == 1 or not missing or (missing == ["Volume"] and _has_empty_volume(prices)):
        return prices
    text = f"dropped the newest bar, {prices.dates[-1]}: it has no {', '.join(missing)}"
    return _with_repair(prices.rows(~last), prices, "newest bar", text, last)


def _drop_halts(prices: Prices) -> Prices:
    """Drop the sessions without a trade: a close beside no open, high, low and volume, all 0 or missing."""
    if not {"open", "high", "low"} <= {*prices.columns}:
        return prices
    halts = ~_is_traded(prices)
    if not halts.any() or halts.mean() > MAX_HALT_SHARE:
        return prices
    dates = first_dates(prices, halts)
    more = f" and {halts.sum() - 3} more" if halts.sum() > 3 else ""
    text = (
        f"dropped {count(halts.sum(), 'session')} without a trade (a halt or holiday: Open, High and Low are 0 or "
        f"missing): {', '.join(dates[:3])}{more}"
    )
    return _with_repair(prices.rows(~halts), prices, "halts", text, halts)


def _is_empty(prices: Prices, name: str) -> np.ndarray:
    """Return whether a column is 0 or missing, or does not exist: bool, shape (sessions,)."""
    if name not in prices.columns:
        return np.ones(len(prices), dtype=bool)
    column = prices.column(name)
    empty: np.ndarray = np.isnan(column) | (column == 0)
    return empty


def _is_traded(prices: Prices) -> np.ndarray:
    """Return whether a session has an open, high or low, or a volume beside a close: bool, shape (sessions,)."""
    quotes = ~(_is_empty(prices, "open") & _is_empty(prices, "high") & _is_empty(prices, "low"))
    traded: np.ndarray = quotes | ~(_is_empty(prices, "volume") | _is_empty(prices, "close"))
    return traded


def _drop_empty_volume(prices: Prices) -> Prices:
    if not _has_empty_volume(prices):
        return prices
    text = "dropped the column Volume, which is empty"
    return _with_repair(prices.without("volume"), prices, "empty volume", text, np.ones(len(prices), bool))


def _has_empty_volume(prices: Prices) -> bool:
    return "volume" in prices.columns and bool(np.isnan(prices.column("volume")).all())
