"""Files of daily prices: the shipped Nasdaq and S&P 500 series, or a CSV or Parquet file.

Reading is strict about form (columns, numbers, ISO dates); `quality` asks whether the series makes sense.
"""

import csv
import difflib
import gzip
import importlib.util
import io
import math
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

import numpy as np

from stockrnn.series import Finding, PriceError, Prices

__all__ = ["SHIPPED", "read_file", "read_shipped"]

SHIPPED = ("nasdaq", "sp500")
REQUIRED = ("open", "high", "low", "close", "volume")
IGNORED = {"adj close", "adjclose", "adj_close", "dividends", "stock splits", "capital gains"}
DATE_NAMES = ("date", "datetime", "timestamp")
NULL_WORDS = {"", "null", "nan", "none", "n/a", "-"}
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
A_DATE = "is not a date; dates are written YYYY-MM-DD, as in 2019-01-30"
A_NUMBER = "is not a number; numbers are digits and a point, as in 2183.49"
PARQUET, GZIP = b"PAR1", b"\x1f\x8b"  # how these files begin, whatever their names

Value = TypeVar("Value", date, float)


def read_shipped(name: str) -> Prices:
    """One of the series that the arch wheel ships: 5,031 sessions, 1999-01-04 to 2018-12-31, unchecked."""
    return _parse(_shipped(name))


def read_file(source: str) -> Prices:
    """A CSV (optionally gzipped) or Parquet file with the columns of a Yahoo download, unchecked.

    Raises:
        PriceError: the file cannot be found or read, or its columns, dates or numbers are malformed.
    """
    rule = "a source is nasdaq, sp500 or the path of one CSV or Parquet file"
    try:
        content = Path(os.path.expanduser(source)).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise PriceError(f"{source}: no such file; {rule}; {_suggestion(source)}") from None
    except IsADirectoryError:
        raise PriceError(f"{source}: is a folder; {rule}; give the file's path") from None
    except (OSError, ValueError) as error:
        raise PriceError(f"{source}: cannot be read ({_line(error)}); {rule}; check the file") from None
    read = _read_parquet if content.startswith(PARQUET) else _read_csv
    return _parse(read(source, content))


def _suggestion(source: str) -> str:
    folder, name = Path(source).parent, Path(source).name
    known = {shipped: shipped for shipped in SHIPPED}
    if os.path.isdir(os.path.expanduser(folder)):
        known |= {entry.lower(): str(folder / entry) for entry in os.listdir(os.path.expanduser(folder))}
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {known[close[0]]}?" if close else "check the path"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A file as text: `cells[i]` is the column `names[i]`; `lines` are of the header and each row, if any."""

    source: str
    names: list[str]
    cells: list[list[str]]
    lines: list[int]
    findings: tuple[Finding, ...] = ()

    def where(self, row: int) -> str:
        """`SOURCE:LINE` of a row, the header being row 0."""
        if self.lines:
            return f"{self.source}:{self.lines[row]}"
        return f"{self.source}: row {row}" if row else self.source


def _shipped(name: str) -> _Table:
    # Importing arch.data costs a second (it imports statsmodels); finding its file costs nothing.
    spec = importlib.util.find_spec("arch")
    if spec is None or not spec.submodule_search_locations:
        raise PriceError(f"data.source: {name}: ships in the package arch, not installed; pip install arch")
    path = Path(spec.submodule_search_locations[0]) / "data" / name / f"{name}.csv.gz"
    table = _read_csv(name, path.read_bytes())
    days = (day.split("/") for day in table.cells[0])  # the wheel writes 1/30/2019
    table.cells[0] = [f"{year}-{month:0>2}-{day:0>2}" for month, day, year in days]
    return table


def _read_csv(source: str, content: bytes) -> _Table:
    try:
        text = (gzip.decompress(content) if content.startswith(GZIP) else content).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise PriceError(
            f"{source}: cannot be unpacked ({_line(error)}); a gzip file is whole; pack it again"
        ) from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise PriceError(f"{source}: is not text; a source is a CSV in UTF-8, or Parquet; export it as one")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(field and not field.isspace() for field in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise PriceError(
            f"{source}:{reader.line_num}: cannot be read as CSV ({_line(error)}); "
            f"a quoted field is quoted from its first character to its last; mend the quotes"
        ) from None
    if not rows:
        raise PriceError(f"{source}: the file is empty; a header and a line per session are needed; add them")
    names = [" ".join(name.split()) for name in rows[0]]
    for row, line in zip(rows, lines, strict=True):
        if len(row) < len(names) or any(field.strip() for field in row[len(names) :]):
            raise PriceError(
                f"{source}:{line}: {len(row)} fields where the header has {len(names)}; all lines have as "
                f"many, and numbers no thousands separators; mend the line"
            )
    findings: tuple[Finding, ...] = ()
    if [row[0].strip().lower() for row in rows[:3]] == ["price", "ticker", "date"]:
        text = "the three header lines of yfinance read as one"
        names[0], findings = "Date", (Finding(check="header", severity="repair", text=text),)
        del rows[1:3], lines[1:3]
    cells = [[row[index] for row in rows[1:]] for index in range(len(names))]
    return _Table(source=source, names=names, cells=cells, lines=lines, findings=findings)


def _read_parquet(source: str, content: bytes) -> _Table:
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:
        raise PriceError(
            f"{source}: cannot be read as Parquet ({_line(error)}); a Parquet file is whole; write it again"
        ) from None
    names, columns = [str(name).strip() for name in frame.columns], [frame[name] for name in frame.columns]
    dated = isinstance(frame.index, pd.DatetimeIndex) or str(frame.index.name).lower() in DATE_NAMES
    if dated and not any(name.lower() in DATE_NAMES for name in names):
        names, columns = ["Date", *names], [frame.index.to_series(), *columns]
    # As text, exactly (17 digits tell any two floats apart), so that every file goes the same way from here.
    cells = [
        ["" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
        for column in columns
    ]
    return _Table(source=source, names=names, cells=cells, lines=[])


def _parse(table: _Table) -> Prices:
    """Columns in any order and case -> Prices, as they come (unsorted, unchecked)."""
    names = [name.lower() for name in table.names]
    date_name = next((name for name in DATE_NAMES if name in names), "date")
    wanted = (date_name, *REQUIRED)
    missing = [name.capitalize() for name in wanted if name not in names]
    if missing:
        here = ", ".join(repr(name) for name in table.names[:10])
        raise PriceError(
            f"{table.where(0)}: {', '.join(missing)}: missing; Date, Open, High, Low, Close and Volume are "
            f"needed in any order and case, separated by commas; the columns are {here}"
        )
    twice = [name.capitalize() for name in wanted if names.count(name) > 1]
    if twice:
        raise PriceError(f"{table.where(0)}: {twice[0]}: names two columns; one is needed; rename the other")
    if not table.cells[0]:
        raise PriceError(f"{table.where(0)}: no rows below the header; a session is a line; add the sessions")
    known = {*wanted, *IGNORED, ""}
    unused = sorted({name for name in table.names if name.lower() not in known})
    return Prices(
        source=table.source,
        dates=np.array(_values(table, date_name, _day, A_DATE), dtype="datetime64[D]"),
        columns=REQUIRED,
        values=np.column_stack([np.array(_values(table, name, _number, A_NUMBER), dtype=float) for name in REQUIRED]),
        lines=np.array(table.lines[1:], dtype=int),
        findings=(*table.findings, *_unused(unused)),
    )


def _unused(names: list[str]) -> list[Finding]:
    text = f"columns not used: {', '.join(names)}"
    return [Finding(check="columns", severity="warning", text=text)] if names else []


def _values(table: _Table, name: str, parse: Callable[[str], Value | None], rule: str) -> list[Value | None]:
    cells = table.cells[[other.lower() for other in table.names].index(name)]
    values = [parse(cell.strip()) for cell in cells]
    if wrong := values.count(None):
        row = values.index(None)
        raise PriceError(
            f"{table.where(row + 1)}: {name.capitalize()}: {cells[row][:40]!r} {rule}; "
            f"rewrite it ({wrong} of {len(values)} rows differ)"
        )
    return values


def _day(text: str) -> date | None:
    if not ISO_DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text[:10])  # as written, in the exchange's own time: never shifted to UTC
    except ValueError:
        return None


def _number(text: str) -> float | None:
    if text.lower() in NULL_WORDS:
        return math.nan
    return float(text) if NUMBER.fullmatch(text) else None
