"""Turn a table of text into a series: recognize the columns, parse dates and numbers, and report unused columns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stockrnn.io.files import line
from stockrnn.prices.readers.dates import read_dates
from stockrnn.prices.readers.numbers import is_null, read_numbers
from stockrnn.prices.series import PRICE_COLUMNS, Finding, PriceError, Prices

__all__ = ["DATE_NAMES", "KOREAN", "Table", "table_to_prices"]

DATE_NAMES = ("date", "datetime", "timestamp", "일자", "날짜")
KOREAN = {
    "일자": "date", "날짜": "date", "시가": "open", "고가": "high", "저가": "low", "종가": "close", "거래량": "volume",
}  # fmt: skip
SYNONYMS = {
    **KOREAN, "datetime": "date", "timestamp": "date", "vol.": "volume", "vol": "volume", "close/last": "close",
}  # fmt: skip
INDEX_NAMES = ("", "unnamed: 0", "none", "price")  # of the first column, where a frame's index has lost its name
ADJUSTED_CLOSE_NAMES = ("adj close", "adjclose")
IGNORED_NAMES = {
    "", "adj close", "adj_close", "adjclose", "dividends", "stock splits", "capital gains", "repaired?", "change %",
    "대비", "등락률", "변동 %", "거래대금", "시가총액", "상장시가총액", "상장주식수",
}  # fmt: skip


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


def table_to_prices(table: Table, date_format: str | None) -> Prices:
    """Return the table as a series, neither sorted nor checked. Columns may be in any order, upper or lower case.

    Raises:
        PriceError: a column is missing or repeated, or a date or number is invalid or ambiguous.
    """
    columns = _find_columns(table)
    if not table.cells[0]:
        raise PriceError(f"{table.location(0)}: no rows below the header; each session is one line; add the sessions")
    cells = {name: table.cells[index] for name, index in columns.items()}
    dates, date_findings = read_dates(cells["date"], None if table.has_dates else date_format, table.data_location)
    names = [name for name in (*PRICE_COLUMNS, "volume") if name in cells]
    values, rounded = read_numbers({name: cells[name] for name in names}, table.delimiter, table.data_location)
    return Prices(
        source=table.source,
        dates=dates,
        columns=tuple(names),
        values=values,
        lines=np.array(table.lines[1:], dtype=int),
        findings=(
            *table.findings, *_translated_columns(table, columns), *date_findings, *_rounded_volumes(rounded),
            *_unused_columns(table, columns),
        ),
    )  # fmt: skip


def _find_columns(table: Table) -> dict[str, int]:
    """Return the index of each column by its standard name; the volume may be missing."""
    header = [_normalize(name) for name in table.names]
    found: dict[str, list[int]] = {}
    for standard in ("date", *PRICE_COLUMNS, "volume"):
        exact = [index for index, name in enumerate(header) if name == standard]
        found[standard] = exact or [index for index, name in enumerate(header) if SYNONYMS.get(name) == standard]
    if not found["close"] and all(found[name] for name in ("open", "high", "low")):
        found["close"] = [index for index, name in enumerate(header) if name == "price"]  # investing.com
    if not found["date"] and header[0] in INDEX_NAMES and 0 not in found["close"]:
        found["date"] = [0]
    missing = [name.capitalize() for name, indices in found.items() if not indices and name != "volume"]
    if missing:
        names = ", ".join(repr(line(name, 40)) for name in table.names[:10])
        raise PriceError(
            f"{table.location(0)}: {', '.join(missing)}: missing; Date, Open, High, Low and Close are required, "
            f"Volume is optional; the file has {names}; rename its columns or add the missing ones"
        )
    repeated = [name.capitalize() for name, indices in found.items() if len(indices) > 1]
    if repeated:
        raise PriceError(
            f"{table.location(0)}: {repeated[0]}: is the name of two columns; only one can be used; rename the other"
        )
    return {name: indices[0] for name, indices in found.items() if indices}


def _translated_columns(table: Table, columns: Mapping[str, int]) -> list[Finding]:
    translated = {
        line(table.names[index], 40): standard.capitalize()
        for standard, index in columns.items()
        if (name := _normalize(table.names[index])) in KOREAN or name == "price"
    }
    text = "renamed columns: " + ", ".join(f"{name} to {standard}" for name, standard in translated.items())
    return [Finding(check="columns", severity="repair", text=text)] if translated else []


def _rounded_volumes(volumes: int) -> list[Finding]:
    text = f"expanded {volumes} volumes that end in K, M or B (1.2M to 1,200,000); they are rounded"
    return [Finding(check="volume", severity="repair", text=text, rows=volumes)] if volumes else []


def _unused_columns(table: Table, columns: Mapping[str, int]) -> list[Finding]:
    unused = {index: _normalize(name) for index, name in enumerate(table.names) if index not in columns.values()}
    unknown = sorted({line(table.names[index], 40) for index, name in unused.items() if name not in IGNORED_NAMES})
    findings = []
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        text = f"columns not used: {', '.join(unknown[:8])}{more}"
        findings.append(Finding(check="columns", severity="warning", text=text))
    adjusted = next((index for index, name in unused.items() if name.replace("_", " ") in ADJUSTED_CLOSE_NAMES), None)
    if adjusted is not None:
        pairs = zip(table.cells[adjusted], table.cells[columns["close"]], strict=True)
        rows = sum(one.strip() != other.strip() and not is_null(one) for one, other in pairs)
        text = f"Close is used, not Adj Close, which differs on {rows} rows; check whether Close includes dividends"
        findings += [Finding(check="adjusted close", severity="warning", text=text, rows=rows)] if rows else []
    return findings


def _normalize(name: str) -> str:
    return " ".join(name.lower().split())
