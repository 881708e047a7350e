"""Turn a table of text into a series: recognize the columns, parse dates and numbers, and report unused columns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stockrnn.io.files import line
from stockrnn.prices.readers.clock import check_one_row_a_day, local_dates, read_times
from stockrnn.prices.readers.dates import is_date, read_dates
from stockrnn.prices.readers.names import (
    ADJUSTED_CLOSES,
    IGNORED,
    PLAIN,
    TICKERS,
    has_chinese_dates,
    match_columns,
    normalize,
)  # fmt: skip
from stockrnn.prices.readers.numbers import is_null, looks_like_number, read_numbers
from stockrnn.prices.series import PRICE_COLUMNS, Finding, PriceError, Prices, count

__all__ = ["Table", "count_columns", "is_header", "is_row_of_prices", "table_to_prices"]

INDEX_NAMES = ("", "unnamed0", "index", "none", "price")  # of the first column, where a frame's index has lost its name
SIGNED = normalize("현재가")  # its sign is the direction of the change since the session before
MIN_NUMBERS = 2  # beside a date, in a row of prices


@dataclass(frozen=True, kw_only=True)
class Table:
    """The content of a file as text.

    Attributes:
        source: the source as the user wrote it.
        names: the column names as the file has them.
        cells: the columns; `cells[i]` has the name `names[i]`.
        lines: line numbers of the header and of each row; empty for a Parquet file.
        delimiter: delimiter of the columns; "" for a Parquet file.
        has_dates: whether the date column contains dates, not text.
        findings: repairs made while the file was read.
    """

    source: str
    names: list[str]
    cells: list[list[str]]
    lines: list[int]
    delimiter: str = ","
    has_dates: bool = False
    findings: tuple[Finding, ...] = ()

    def location(self, row: int) -> str:
        """Return `SOURCE:LINE` of a row; row 0 is the header."""
        if self.lines:
            return f"{self.source}:{self.lines[row]}"
        return f"{self.source}: row {row}" if row else self.source

    def data_location(self, row: int) -> str:
        """Return `SOURCE:LINE` of a data row; row 0 is the one below the header."""
        return self.location(row + 1)


def count_columns(names: list[str]) -> int:
    """Return how many standard columns a line of names has; 0 without a date or a close."""
    found = match_columns(names)
    return sum(bool(indices) for indices in found.values()) if found["date"] and found["close"] else 0


def is_header(names: list[str]) -> bool:
    """Return whether a line names at least a date and a close; an index without a name counts as a date."""
    found = match_columns(names)
    return bool(found["close"] and (found["date"] or _is_index(names, found)))


def is_row_of_prices(cells: list[str]) -> bool:
    """Return whether a line has a date and numbers."""
    dates = [index for index, cell in enumerate(cells) if is_date(cell)]
    numbers = [index for index, cell in enumerate(cells) if looks_like_number(cell) and index not in dates[:1]]
    return bool(dates) and len(numbers) >= MIN_NUMBERS


def table_to_prices(table: Table, date_format: str | None) -> Prices:
    """Return the table as a series, neither sorted nor checked. Columns may be in any order, upper or lower case.

    Raises:
        PriceError: the date or the close is missing, a column is repeated, a date or number is invalid or ambiguous, or
            the table has several rows a day.
    """
    columns = _find_columns(table)
    if not table.cells[0]:
        raise PriceError(f"{table.location(0)}: no rows below the header; each session is one line; add the sessions")
    table = _drop_rows_without_date(table, columns)
    cells = {name: table.cells[index] for name, index in columns.items()}
    stamps, date_findings = read_dates(
        cells["date"], None if table.has_dates else date_format, table.data_location,
        short_years=not has_chinese_dates(table.names[columns["date"]]),
    )  # fmt: skip
    if "time" in cells:
        stamps = read_times(stamps, cells.pop("time"))
    unused = {index: name for index, name in enumerate(table.names) if index not in columns.values()}
    ticker_findings = check_one_row_a_day(
        stamps,
        {name: table.cells[index] for index, name in unused.items() if normalize(name) in TICKERS},
        {name: table.cells[index] for index, name in unused.items() if not all(map(_is_value, table.cells[index]))},
        table.source,
    )
    dates, clock_findings = local_dates(stamps, table.source)
    names = [name for name in (*PRICE_COLUMNS, "volume") if name in cells]
    sign_findings = _remove_signs(cells, table.names[columns["close"]])
    numbers = read_numbers({name: cells[name] for name in names}, table.delimiter, table.data_location)
    return Prices(
        source=table.source,
        dates=dates,
        columns=tuple(names),
        values=numbers.values,
        lines=np.array(table.lines[1:], dtype=int),
        findings=(
            *table.findings, *_translated_columns(table, columns), *date_findings, *clock_findings, *ticker_findings,
            *sign_findings, *_currency(numbers.currency), *_rounded_volumes(numbers.rounded),
            *_unused_columns(table, columns),
        ),
    )  # fmt: skip


def _drop_rows_without_date(table: Table, columns: Mapping[str, int]) -> Table:
    """Drop the rows that have neither a date nor a price, such as totals; all rows are kept if none has a date."""
    used = [table.cells[columns[name]] for name in ("date", *PRICE_COLUMNS) if name in columns]
    kept = [row for row, cells in enumerate(zip(*used, strict=True)) if not all(map(is_null, cells))]
    dropped = len(table.cells[0]) - len(kept)
    if not dropped or not kept:
        return table
    text = f"dropped {count(dropped, 'row')} without a date and without prices"
    return replace(
        table, cells=[[cells[row] for row in kept] for cells in table.cells],
        lines=[table.lines[0], *(table.lines[row + 1] for row in kept)] if table.lines else [],
        findings=(*table.findings, Finding(check="empty rows", severity="repair", text=text, rows=dropped)),
    )  # fmt: skip


def _is_value(cell: str) -> bool:
    return is_null(cell) or looks_like_number(cell)


def _is_index(names: list[str], found: Mapping[str, list[int]]) -> bool:
    return normalize(names[0]) in INDEX_NAMES and (0 not in found["close"] or len(found["close"]) > 1)


def _find_columns(table: Table) -> dict[str, int]:
    """Return the index of each column by its standard name; all but the date and the close may be missing."""
    found = match_columns(table.names)
    if not found["date"] and _is_index(table.names, found):
        found["date"] = [0]
        found["close"] = [index for index in found["close"] if index]
    _choose_volume(table, found)
    missing = [name.capitalize() for name in ("date", "close") if not found[name]]
    if missing and is_row_of_prices(table.names):
        names = ", ".join(repr(line(name, 40)) for name in table.names[:10])
        raise PriceError(
            f"{table.location(0)}: no header line: the first row looks like prices ({names}); a header names the "
            f"columns; add one in their order, for example Date,Open,High,Low,Close,Volume"
        )
    if missing:
        raise PriceError(f"{table.location(0)}: {', '.join(missing)}: missing; {_describe_columns(table, found)}")
    for standard, indices in found.items():
        if len(indices) > 1:
            names = " and ".join(repr(line(table.names[index], 40)) for index in indices[:2])
            if len({normalize(table.names[index]) for index in indices}) == 1:
                problem = "is the name of two columns"
            else:
                problem = f"could be {names}"
            raise PriceError(
                f"{table.location(0)}: {standard.capitalize()}: {problem}; only one can be used; rename the other"
            )
    return {name: indices[0] for name, indices in found.items() if indices}


def _choose_volume(table: Table, found: dict[str, list[int]]) -> None:
    """Use the tick volume of MetaTrader where its traded volume is mostly 0, and `volume` where two could be it."""
    indices = found["volume"]
    ticks = [index for index, name in enumerate(table.names) if normalize(name) in ("tickvol", "tickvolume")]
    empty = [cell.strip() in ("0", "") for index in indices for cell in table.cells[index]]
    if ticks and 2 * sum(empty) >= len(empty):
        found["volume"] = ticks
    elif len(indices) > 1 and (exact := [index for index in indices if normalize(table.names[index]) == "volume"]):
        found["volume"] = exact


def _describe_columns(table: Table, found: Mapping[str, list[int]]) -> str:
    """Return the rule about columns, those that were recognized, those of the file, and the fix."""
    names = ", ".join(repr(line(name, 40)) for name in table.names[:10])
    recognized = ", ".join(
        f"{standard.capitalize()} ({line(table.names[indices[0]], 40)!r})"
        for standard, indices in found.items()
        if indices
    )
    return (
        f"Date and Close are required, Open, High, Low and Volume are optional; the file has {names}, of which "
        f"{recognized or 'none'} {'are' if ', ' in recognized else 'is'} recognized; rename its columns or add the "
        f"missing ones"
    )


def _remove_signs(cells: dict[str, list[str]], close: str) -> list[Finding]:
    """Remove the signs of prices beside a close whose sign is the direction of the change, in place."""
    if normalize(close) != SIGNED:
        return []
    signed = 0
    for name in PRICE_COLUMNS:
        if name in cells:
            signed += sum(cell.strip().startswith("-") for cell in cells[name] if not is_null(cell))
            cells[name] = [cell if is_null(cell) else cell.strip().lstrip("+-") for cell in cells[name]]
    text = f"removed the minus signs of {signed} prices: with {close}, they show a fall since the session before"
    return [Finding(check="signs", severity="repair", text=text, rows=signed)] if signed else []


def _translated_columns(table: Table, columns: Mapping[str, int]) -> list[Finding]:
    translated = {
        line(table.names[index], 40): standard.capitalize()
        for standard, index in columns.items()
        if normalize(table.names[index]) not in PLAIN | {standard}
    }
    text = "renamed columns: " + ", ".join(f"{name} to {standard}" for name, standard in translated.items())
    return [Finding(check="columns", severity="repair", text=text)] if translated else []


def _currency(currency: str) -> list[Finding]:
    text = f"read prices without their currency, {currency}"
    return [Finding(check="currency", severity="repair", text=text)] if currency else []


def _rounded_volumes(volumes: int) -> list[Finding]:
    text = f"expanded {volumes} volumes that end in K, M or B (1.2M to 1,200,000); they are rounded"
    return [Finding(check="volume", severity="repair", text=text, rows=volumes)] if volumes else []


def _unused_columns(table: Table, columns: Mapping[str, int]) -> list[Finding]:
    unused = {index: normalize(name) for index, name in enumerate(table.names) if index not in columns.values()}
    unknown = sorted({line(table.names[index], 40) for index, name in unused.items() if name not in IGNORED})
    findings = []
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        text = f"columns not used: {', '.join(unknown[:8])}{more}"
        findings.append(Finding(check="columns", severity="warning", text=text))
    adjusted = next((index for index, name in unused.items() if name in ADJUSTED_CLOSES), None)
    if adjusted is not None:
        pairs = zip(table.cells[adjusted], table.cells[columns["close"]], strict=True)
        rows = sum(one.strip() != other.strip() and not is_null(one) for one, other in pairs)
        text = f"Close is used, not Adj Close, which differs on {rows} rows; check whether Close includes dividends"
        findings += [Finding(check="adjusted close", severity="warning", text=text, rows=rows)] if rows else []
    return findings
