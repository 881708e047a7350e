"""Read a CSV or Parquet file of daily prices, or a shipped series, into a table of text and then into a series.

Text that can have two meanings is an error, not a guess. `cleaning` checks the values.
"""

import csv
import importlib.util
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stockrnn.io.files import FileError, line, read_bytes, suggest_path
from stockrnn.prices.readers.columns import Table, count_columns, is_header, is_row_of_prices, table_to_prices
from stockrnn.prices.readers.encoding import MAX_FILE_BYTES, decode, decompress
from stockrnn.prices.series import FRAME, PRICE_COLUMNS, Finding, PriceError, Prices

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_content", "read_file", "read_frame", "read_shipped"]

PARQUET_MAGIC = b"PAR1"  # first bytes of a Parquet file
DELIMITERS = (",", ";", "\t", "|")
DATE_NAMES = ("date", "datetime", "timestamp", "일자", "날짜")  # of the index, in the header of yfinance and in a frame
MAX_TITLE_LINES = 30  # above the header


def read_shipped(name: str) -> Prices:
    """Return a series that the package arch ships, unchecked: 5,031 sessions, 1999-01-04 to 2018-12-31."""
    # Importing arch.data takes a second (it imports statsmodels), so only its file is located and read.
    spec = importlib.util.find_spec("arch")
    if spec is None or not spec.submodule_search_locations:
        raise PriceError(f"data.source: {name}: is part of the package arch, which is not installed; pip install arch")
    path = Path(spec.submodule_search_locations[0]) / "data" / name / f"{name}.csv.gz"
    return table_to_prices(_read_text(name, decompress(name, path.read_bytes())), "%m/%d/%Y")


def read_file(source: str, date_format: str | None = None, source_names: Iterable[str] = ()) -> Prices:
    """Return the series in a file, unchecked.

    The file is Parquet, or CSV in Unicode or a code page of Windows, with commas, semicolons, tabs or bars between its
    columns; either may be gzipped. `names` lists the column names that are understood. The multi-line header of
    yfinance and lines above the header are read too.

    Args:
        source: the path.
        date_format: format of the dates, as for `datetime.strptime`; None: an unambiguous one.
        source_names: names of sources that are not files, for messages.

    Raises:
        PriceError: the file cannot be found or read, or its columns, dates or numbers are malformed.
    """
    path = os.path.expanduser(source)
    rule = f"a source is {', '.join((*source_names, ''))}or the path of one CSV or Parquet file"
    try:
        content = decompress(source, read_bytes(path, MAX_FILE_BYTES))
    except FileNotFoundError:
        raise PriceError(f"{source}: no such file; {rule}; {_suggestion(source, source_names)}") from None
    except FileError as error:
        if os.path.isdir(path):
            raise PriceError(f"{source}: is a folder; {rule}; give the file's path") from None
        raise PriceError(f"{source}: {error}; {rule}; check the file") from None
    return read_content(source, content, date_format)


def read_content(source: str, content: bytes, date_format: str | None = None) -> Prices:
    """Return the series in a file's bytes, as `read_file` does; `source` is its name in messages."""
    read = _read_parquet if content.startswith(PARQUET_MAGIC) else _read_text
    return table_to_prices(read(source, content), date_format)


def read_frame(frame: "pd.DataFrame", source: str = FRAME) -> Prices:
    """Return the series in a DataFrame, unchecked.

    Args:
        frame: one row per session, with the columns of a file (see `read_file`); the dates may be its index.
        source: name of the series in messages.

    Raises:
        PriceError: it is no DataFrame, or its columns, dates or numbers are malformed.
    """
    import pandas as pd

    if isinstance(frame, str | os.PathLike):
        path = line(os.fspath(frame), 200)
        raise PriceError(
            f"{path}: is a path; prices are a DataFrame; write stockrnn.load_prices({path!r}), which reads the file"
        )
    if not isinstance(frame, pd.DataFrame):
        raise PriceError(
            f"{source}: is a {type(frame).__name__}; prices are a DataFrame with dates and the columns Open, High, "
            f"Low, Close and Volume (optional); use for example pandas.DataFrame(...)"
        )
    return table_to_prices(_frame_table(source, frame), None)


def _suggestion(source: str, source_names: Iterable[str]) -> str:
    return f"for a ticker, write --ticker {source}" if source.startswith("^") else suggest_path(source, source_names)


def _read_text(source: str, content: bytes) -> Table:
    text, code_page = decode(source, content, lambda text: max(map(_count_columns, _samples(text).values())))
    delimiter = _delimiter(text)
    rows, lines = _split_rows(source, text, delimiter)
    if all(len(row) == 1 for row in rows) and any(len(row[0].split(",")) > 1 and '"' in row[0] for row in rows[:1]):
        delimiter, rows = ",", list(csv.reader(row[0] for row in rows))  # each line was quoted as a whole
    if rows and rows[0][0].lower() == "sep=":
        del rows[0], lines[0]  # Excel's first line
    if not rows:
        raise PriceError(f"{source}: the file is empty; it needs a header and one line per session; add them")
    findings = []
    if code_page:
        findings.append(_repair("encoding", f"read as {code_page}, since the file is not UTF-8"))
    titles = _count_title_lines(rows)
    if titles:
        shown = line(delimiter.join(rows[0]).strip(delimiter), 60)
        findings.append(_repair("header", f"the header is on line {lines[titles]}; not read above it: {shown}"))
        del rows[:titles], lines[:titles]
    has_row_names = all(len(row) == len(rows[0]) + 1 and is_row_of_prices(row) for row in rows[1:])
    if len(rows) > 1 and has_row_names and not count_columns(rows[0]):
        rows[0] = ["", *rows[0]]  # R writes row names, here dates, without a name
    width = len(rows[0])
    notes = _count_notes(rows)
    if notes:
        shown = line(" ".join(rows[-notes]), 60)
        findings.append(_repair("notes", f"not read at the end, from line {lines[-notes]} on: {shown}"))
        del rows[-notes:], lines[-notes:]
    wrong = [at for at, row in enumerate(rows) if len(row) < width or any(field.strip() for field in row[width:])]
    if wrong:
        raise PriceError(
            f"{source}:{lines[wrong[0]]}: has {len(rows[wrong[0]])} fields, but the header has {width}; all lines need "
            f"the same number, and numbers with commas need quotes; correct the line ({len(wrong)} such lines)"
        )
    names, header_lines = _header(source, rows)
    if header_lines > 1:
        findings.append(_repair("header", f"read the {header_lines} header lines of yfinance as one"))
    del rows[1:header_lines], lines[1:header_lines]
    return Table(
        source=source, names=names, cells=[[row[index] for row in rows[1:]] for index in range(width)],
        lines=lines, delimiter=delimiter, findings=tuple(findings),
    )  # fmt: skip


def _repair(check: str, text: str) -> Finding:
    return Finding(check=check, severity="repair", text=text)


def _delimiter(text: str) -> str:
    """Return the delimiter with which most columns are recognized, else the most frequent one of the first line."""
    first = text.lstrip("\r\n ").partition("\n")[0].partition("\r")[0]
    if first.lower().startswith("sep=") and first[4:5] in DELIMITERS:
        return first[4]
    samples = _samples(text)
    return max(DELIMITERS, key=lambda delimiter: (_count_columns(samples[delimiter]), first.count(delimiter)))


def _samples(text: str) -> dict[str, list[list[str]]]:
    """Return the fields of the first lines for each delimiter."""
    lines = [part for part in text[: 1 << 16].lstrip().splitlines()[: 2 * MAX_TITLE_LINES] if part.strip()]
    return {
        delimiter: list(csv.reader(lines[:MAX_TITLE_LINES], delimiter=delimiter, skipinitialspace=True))
        for delimiter in DELIMITERS
    }


def _count_columns(rows: Iterable[list[str]]) -> int:
    return max(map(count_columns, rows), default=0)


def _count_title_lines(rows: list[list[str]]) -> int:
    """Return how many lines are above the header; 0 if the first line is the header, or none is."""
    if is_header(rows[0]) or is_row_of_prices(rows[0]):
        return 0
    for at, row in enumerate(rows[: MAX_TITLE_LINES + 1]):
        known, filled = count_columns(row), sum(bool(field.strip()) for field in row)
        if known > 2 or (known and (known == filled or is_row_of_prices(rows[min(at + 1, len(rows) - 1)]))):
            return at
    return 0


def _count_notes(rows: list[list[str]]) -> int:
    """Return how many lines at the end are text in a single field, such as a source or a disclaimer."""
    count = 0
    for row in reversed(rows[1:]):
        filled = [field for field in row if field.strip()]
        if len(rows[0]) < 3 or len(filled) > 1 or is_row_of_prices(row) or not re.search(r"[^\W\d_]{2}", filled[0]):
            break
        count += 1
    return count


def _split_rows(source: str, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """Return the fields of the lines that are not blank, and their line numbers."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(field and not field.isspace() for field in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise PriceError(
            f"{source}:{reader.line_num}: cannot be read as CSV ({line(error)}); "
            f"the quotes of a field must enclose all of it; correct the quotes"
        ) from None
    return rows, lines


def _header(source: str, rows: list[list[str]]) -> tuple[list[str], int]:
    """Return the column names and the number of header lines: yfinance writes up to three (Price, Ticker, Date)."""
    header = [[name.strip() for name in row] for row in rows[:3]]
    first_cells = [row[0].lower() for row in header]
    date_line = next((index for index in (1, 2) if index < len(first_cells) and first_cells[index] in DATE_NAMES), None)
    if date_line is None or any(header[date_line][1:]) or not {*first_cells[:date_line]} <= {"price", "ticker", ""}:
        return [" ".join(name.split()) for name in rows[0]], 1
    names = max(header[:date_line], key=lambda row: sum(name.lower() in PRICE_COLUMNS for name in row))
    for other in header[:date_line]:
        if other is not names:
            _check_one_ticker(source, other[1:])
    return ["Date", *names[1:]], date_line + 1


def _check_one_ticker(source: str, tickers: list[str]) -> None:
    different = sorted({ticker for ticker in tickers if ticker})
    if len(different) > 1:
        shown = line(", ".join(different[:5]), 60)
        raise PriceError(f"{source}: has {len(different)} tickers ({shown}); a file has one series; export one ticker")


def _read_parquet(source: str, content: bytes) -> Table:
    import pandas as pd

    try:
        return _frame_table(source, pd.read_parquet(io.BytesIO(content)))
    except PriceError:
        raise
    except Exception as error:  # damaged files make pyarrow and pandas raise many kinds of errors
        raise PriceError(
            f"{source}: cannot be read as Parquet ({line(error)}); the file may be damaged; write it again"
        ) from None


def _frame_table(source: str, frame: "pd.DataFrame") -> Table:
    import pandas as pd

    names, columns = _frame_columns(source, frame)
    # Floats keep all their digits as text, so that CSV and Parquet share the code that follows.
    cells = [_to_text(column) for column in columns]
    has_dates = any(
        name.lower() in DATE_NAMES and pd.api.types.is_datetime64_any_dtype(column.dtype)
        for name, column in zip(names, columns, strict=True)
    )
    if not names:
        raise PriceError(f"{source}: has no columns; Date, Open, High, Low and Close are required; add them")
    return Table(source=source, names=names, cells=cells, lines=[], delimiter="", has_dates=has_dates)


def _frame_columns(source: str, frame: "pd.DataFrame") -> tuple[list[str], list["pd.Series"]]:
    """Return the names and columns of a frame; the date comes from the index if no column has it."""
    import pandas as pd

    labels = [name if isinstance(name, tuple) else (name,) for name in frame.columns]
    price_level = max(range(frame.columns.nlevels), key=lambda level: _count_price_names(labels, level))
    for level in range(frame.columns.nlevels):
        if level != price_level:
            _check_one_ticker(source, [str(label[level]).strip() for label in labels])
    names = [" ".join(str(label[price_level]).split()) for label in labels]
    columns = [frame.iloc[:, index] for index in range(len(labels))]
    if any(name.lower() in DATE_NAMES for name in names):
        return names, columns
    index = frame.index
    for level in range(index.nlevels):
        values = index.get_level_values(level)
        name = str(values.name).strip()
        if isinstance(values, pd.DatetimeIndex | pd.PeriodIndex) or name.lower() in DATE_NAMES:
            return ["Date", *names], [pd.Series(values), *columns]
    return names, columns


def _count_price_names(labels: Sequence[tuple[object, ...]], level: int) -> int:
    return sum(str(label[level]).strip().lower() in PRICE_COLUMNS for label in labels)


def _to_text(column: "pd.Series") -> list[str]:
    if str(column.dtype) in ("float16", "float32"):
        column = column.astype("float64")  # exact: 0.1 in 32 bits is 0.10000000149011612
    return ["" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
