"""Repair a daily series where no guess is needed: order, repeated rows, rows and newest bars without prices.

Each repair adds a finding. Missing values are never filled in: their row or column is dropped.
"""

from dataclasses import replace

import numpy as np

from stockrnn.prices.series import PRICE_COLUMNS, Finding, PriceError, Prices, count

__all__ = ["MAX_FINDING_DATES", "first_dates", "repair"]

MAX_FINDING_DATES = 5  # dates in a finding


def repair(prices: Prices) -> Prices:
    """Return the series sorted by date, with one row per day and a finding for each repair.

    Raises:
        PriceError: no row has a price, or rows of the same day differ.
    """
    for step in (_drop_empty_rows, _sort, _drop_repeated_rows, _drop_incomplete_newest_bar, _drop_empty_volume):
        prices = step(prices)
    return prices


def first_dates(prices: Prices, selected: np.ndarray) -> tuple[str, ...]:
    """Return the first few dates of the sessions where `selected`, shape (sessions,), is true."""
    return tuple(prices.dates[selected][:MAX_FINDING_DATES].astype(str).tolist())


def _with_repair(repaired: Prices, before: Prices, check: str, text: str, changed: np.ndarray) -> Prices:
    dates, rows = first_dates(before, changed), int(changed.sum())
    return repaired.with_findings(Finding(check=check, severity="repair", text=text, rows=rows, dates=dates))


def _drop_empty_rows(prices: Prices) -> Prices:
    quotes = np.column_stack([prices.column(name) for name in PRICE_COLUMNS])
    empty = np.isnan(quotes).all(axis=1)
    if empty.all():
        raise PriceError(
            f"{prices.source}: Open, High, Low, Close: no row has a price; a session needs these numbers; "
            f"check the file"
        )
    if not empty.any():
        return prices
    text = f"dropped {count(empty.sum(), 'row')} without prices"
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
    for position in np.flatnonzero(same_day).tolist():
        if not np.array_equal(prices.values[position], prices.values[position - 1], equal_nan=True):
            raise PriceError(
                f"{prices.location(position)}: Date: {prices.dates[position]} has two rows with different values; "
                f"a session has one row; delete the wrong one"
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


def _drop_empty_volume(prices: Prices) -> Prices:
    if not _has_empty_volume(prices):
        return prices
    names = tuple(name for name in prices.columns if name != "volume")
    without = replace(prices, columns=names, values=np.column_stack([prices.column(name) for name in names]))
    text = "dropped the column Volume, which is empty"
    return _with_repair(without, prices, "empty volume", text, np.ones(len(prices), bool))


def _has_empty_volume(prices: Prices) -> bool:
    return "volume" in prices.columns and bool(np.isnan(prices.column("volume")).all())
