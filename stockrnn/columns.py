"""Columns of a table of text -> a series: which column is which, whoever named them, and what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stockrnn.dates import read_dates
from stockrnn.decimals import is_null, read_numbers
from stockrnn.files import line
from stockrnn.series import Finding, PriceError, Prices

__all__ = ["DATE_NAMES", "KOREAN", "PRICE_NAMES", "Table", "as_prices"]

PRICE_NAMES = ("open", "high", "low", "close")
DATE_NAMES = ("date", "datetime", "timestamp", "일자", "날짜")
KOREAN = {
    "일자": "date", "날짜": "date", "시가": "open", "고가": "high", "저가": "low", "종가": "close", "거래량": "volume",
}  # fmt: skip
SYNONYMS = {
    **KOREAN, "datetime": "date", "timestamp": "date", "vol.": "volume", "vol": "volume", "close/last": "close",
}  # fmt: skip
NAMELESS = ("", "unnamed: 0", "none", "price")  # of a frame's index that lost its name
ADJUSTED = ("adj close", "adjclose")
IGNORED = {
    "", "adj close", "adj_close", "adjclose", "dividends", "stock splits", "capital gains", "repaired?", "change %",
    "대비", "등락률", "변동 %", "거래대금", "시가총액", "상장시가총액", "상장주식수",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file as text: `cells[i]` is the column `names[i]`; `lines` are of the header and each row, if any.

    Attributes:
        delimiter: what separates the columns; "" in a Parquet file.
        dated: the date column holds dates rather than text.
    """

    source: str
    names: list[str]
    cells: list[list[str]]
    lines: list[int]
    delimiter: str = ","
    dated: bool = False
    findings: tuple[Finding, ...] = ()

    def where(self, row: int) -> str:
        """`SOURCE:LINE` of a row, the header being row 0."""
        if self.lines:
            return f"{self.source}:{self.lines[row]}"
        return f"{self.source}: row {row}" if row else self.source

    def of_row(self, row: int) -> str:
        """`SOURCE:LINE` of a row, the one below the header being row 0."""
        return self.where(row + 1)


def as_prices(table: Table, date_format: str | None) -> Prices:
    """Columns in any order, case and of several languages -> a series as it comes: unsorted, unchecked.

    Raises:
        PriceError: a column is missing or stands twice, or a date or a number is none, or may mean two.
    """
    names = _known(table)
    if not table.cells[0]:
        raise PriceError(f"{table.where(0)}: no rows below the header; a session is a line; add the sessions")
    by_name = {name: table.cells[index] for name, index in names.items()}
    dates, read = read_dates(by_name["date"], None if table.dated else date_format, table.of_row)
    wanted = [name for name in (*PRICE_NAMES, "volume") if name in by_name]
    values, rounded = read_numbers({name: by_name[name] for name in wanted}, table.delimiter, table.of_row)
    return Prices(
        source=table.source,
        dates=dates,
        columns=tuple(wanted),
        values=values,
        lines=np.array(table.lines[1:], dtype=int),
        findings=(*table.findings, *_renamed(table, names), *read, *_rounded(rounded), *_unused(table, names)),
    )


def _known(table: Table) -> dict[str, int]:
    """Where each column is, by its name here; the volume may be missing."""
    written = [_plain(name) for name in table.names]
    places: dict[str, list[int]] = {}
    for wanted in ("date", *PRICE_NAMES, "volume"):
        exact = [index for index, name in enumerate(written) if name == wanted]
        places[wanted] = exact or [index for index, name in enumerate(written) if SYNONYMS.get(name) == wanted]
    if not places["close"] and all(places[name] for name in ("open", "high", "low")):
        places["close"] = [index for index, name in enumerate(written) if name == "price"]  # investing.com's
    if not places["date"] and written[0] in NAMELESS and 0 not in places["close"]:
        places["date"] = [0]
    missing = [name.capitalize() for name, found in places.items() if not found and name != "volume"]
    if missing:
        here = ", ".join(repr(line(name, 40)) for name in table.names[:10])
        raise PriceError(
            f"{table.where(0)}: {', '.join(missing)}: missing; Date, Open, High, Low and Close are needed, in any "
            f"order and case, and Volume where there is one; the file has {here}; rename its columns, or add these"
        )
    twice = [name.capitalize() for name, found in places.items() if len(found) > 1]
    if twice:
        raise PriceError(f"{table.where(0)}: {twice[0]}: names two columns; one is needed; rename the other")
    return {name: found[0] for name, found in places.items() if found}


def _renamed(table: Table, names: Mapping[str, int]) -> list[Finding]:
    foreign = {
        line(table.names[index], 40): name.capitalize()
        for name, index in names.items()
        if (written := _plain(table.names[index])) in KOREAN or written == "price"
    }
    text = "columns read by other names: " + ", ".join(f"{theirs} as {ours}" for theirs, ours in foreign.items())
    return [Finding(check="columns", severity="repair", text=text)] if foreign else []


def _rounded(volumes: int) -> list[Finding]:
    text = f"{volumes} volumes end in K, M or B (1.2M read as 1,200,000), so they are rounded"
    return [Finding(check="volume", severity="repair", text=text, rows=volumes)] if volumes else []


def _unused(table: Table, names: Mapping[str, int]) -> list[Finding]:
    left = [index for index in range(len(table.names)) if index not in names.values()]
    unused = sorted({line(table.names[index], 40) for index in left if _plain(table.names[index]) not in IGNORED})
    found = []
    if unused:
        more = f" and {len(unused) - 8} more" if len(unused) > 8 else ""
        text = f"columns not used: {', '.join(unused[:8])}{more}"
        found.append(Finding(check="columns", severity="warning", text=text))
    adjusted = next((index for index in left if _plain(table.names[index]).replace("_", " ") in ADJUSTED), None)
    if adjusted is not None:
        pairs = zip(table.cells[adjusted], table.cells[names["close"]], strict=True)
        rows = sum(one.strip() != other.strip() and not is_null(one) for one, other in pairs)
        text = f"Adj Close, which differs from Close on {rows} rows, is not used: Close is, dividends or not"
        found += [Finding(check="adjusted close", severity="warning", text=text, rows=rows)] if rows else []
    return found


def _plain(name: str) -> str:
    return " ".join(name.lower().split())
