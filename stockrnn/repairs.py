"""What is mended in a daily series without a guess, and said: order, repeated rows, rows and bars without a price.

Nothing is ever filled in: a value that is missing stays away, with its row or its column.
"""

from dataclasses import replace

import numpy as np

from stockrnn.series import Finding, PriceError, Prices

__all__ = ["FEW", "PRICE_COLUMNS", "days", "repaired"]

PRICE_COLUMNS = ("open", "high", "low", "close")
FEW = 5  # dates that a finding names


def repaired(prices: Prices) -> Prices:
    """The series in order of time, one row a day, with what was mended among its findings.

    Raises:
        PriceError: no row has a price, or rows of one day differ.
    """
    for repair in (_without_empty_rows, _sorted, _without_repetitions, _without_unfinished_bar, _without_empty_volume):
        prices = repair(prices)
    return prices


def days(prices: Prices, chosen: np.ndarray) -> tuple[str, ...]:
    """The first few dates of the sessions where `chosen`, shape (sessions,), is true."""
    return tuple(prices.dates[chosen][:FEW].astype(str).tolist())


def _mended(prices: Prices, before: Prices, check: str, text: str, chosen: np.ndarray) -> Prices:
    dates, rows = days(before, chosen), int(chosen.sum())
    return prices.noting(Finding(check=check, severity="repair", text=text, rows=rows, dates=dates))


def _without_empty_rows(prices: Prices) -> Prices:
    empty = np.isnan(_quotes(prices)).all(axis=1)
    if empty.all():
        raise PriceError(
            f"{prices.source}: Open, High, Low, Close: no row has a price; a session has numbers there; check the file"
        )
    if not empty.any():
        return prices
    text = f"{_rows(empty)} without any price dropped"
    if prices.dates[empty].max() >= prices.dates.max():
        text += f", the newest among them ({prices.dates.max()})"
    return _mended(prices.rows(~empty), prices, "empty rows", text, empty)


def _sorted(prices: Prices) -> Prices:
    steps = np.diff(prices.dates)
    if (steps >= np.timedelta64(0, "D")).all():
        return prices
    moved = np.r_[False, steps < np.timedelta64(0, "D")]
    return _mended(
        prices.rows(np.argsort(prices.dates, kind="stable")), prices, "order", "rows sorted by date",
        np.ones(len(prices), dtype=bool) if moved[1:].all() else moved,
    )  # fmt: skip


def _without_repetitions(prices: Prices) -> Prices:
    same_day = np.r_[False, prices.dates[1:] == prices.dates[:-1]]
    if not same_day.any():
        return prices
    for position in np.flatnonzero(same_day).tolist():
        if not np.array_equal(prices.values[position], prices.values[position - 1], equal_nan=True):
            raise PriceError(
                f"{prices.where(position)}: Date: {prices.dates[position]} stands twice with "
                f"different values; a session has one row; delete the wrong one"
            )
    text = f"{_rows(same_day, 'repeated ')} dropped"
    return _mended(prices.rows(~same_day), prices, "duplicates", text, same_day)


def _without_unfinished_bar(prices: Prices) -> Prices:
    last = np.arange(len(prices)) == len(prices) - 1
    missing = [name.capitalize() for name in prices.columns if np.isnan(prices.column(name)[-1])]
    no_volume = "volume" in prices.columns and np.isnan(prices.column("volume")).all()
    if len(prices) == 1 or not missing or (no_volume and missing == ["Volume"]):
        return prices
    text = f"the newest bar, {prices.dates[-1]}, dropped: it has no {', '.join(missing)}"
    return _mended(prices.rows(~last), prices, "newest bar", text, last)


def _without_empty_volume(prices: Prices) -> Prices:
    if "volume" not in prices.columns or not np.isnan(prices.column("volume")).all():
        return prices
    kept = tuple(name for name in prices.columns if name != "volume")
    without = replace(prices, columns=kept, values=np.column_stack([prices.column(name) for name in kept]))
    return _mended(without, prices, "empty volume", "Volume, empty on every row, dropped", np.ones(len(prices), bool))


def _quotes(prices: Prices) -> np.ndarray:
    return np.column_stack([prices.column(name) for name in PRICE_COLUMNS])


def _rows(chosen: np.ndarray, kind: str = "") -> str:
    return f"{chosen.sum()} {kind}row{'' if chosen.sum() == 1 else 's'}"
