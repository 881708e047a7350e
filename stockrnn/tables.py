"""Files of daily prices: the shipped Nasdaq and S&P 500 series, or a CSV or Parquet file as people have them.

Reading is strict about form: what may mean two things is refused. `quality` asks whether the series makes sense.
"""

import csv
import importlib.util
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stockrnn.columns import DATE_NAMES, KOREAN, PRICE_NAMES, Table, as_prices
from stockrnn.decoding import MOST_BYTES, decoded, unpacked
from stockrnn.files import FileError, line, meant, plain_bytes
from stockrnn.series import Finding, PriceError, Prices

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_content", "read_file", "read_shipped"]

PARQUET = b"PAR1"  # how these files begin, whatever their names
DELIMITERS = (",", ";", "\t")


def read_shipped(name: str) -> Prices:
    """One of the series that the arch wheel ships: 5,031 sessions, 1999-01-04 to 2018-12-31, unchecked."""
    # Importing arch.data costs a second (it imports statsmodels); finding its file costs nothing.
    spec = importlib.util.find_spec("arch")
    if spec is None or not spec.submodule_search_locations:
        raise PriceError(f"data.source: {name}: ships in the package arch, not installed; pip install arch")
    path = Path(spec.submodule_search_locations[0]) / "data" / name / f"{name}.csv.gz"
    return as_prices(_read_text(name, unpacked(name, path.read_bytes())), "%m/%d/%Y")


def read_file(source: str, date_format: str | None = None, known: Iterable[str] = ()) -> Prices:
    """A file of daily prices, unchecked.

    A CSV in UTF-8, UTF-16 or Korean CP949, its columns separated by commas, semicolons or tabs, or Parquet; either may
    be gzipped. The columns are Yahoo's, yfinance's (with its lines of header), investing.com's or, in Korean, KRX's.

    Args:
        source: the path.
        date_format: how the file writes dates, as `datetime.strptime` has it; None: so that they mean one day.
        known: the names that are no files, for messages.

    Raises:
        PriceError: the file cannot be found or read, or its columns, dates or numbers are malformed.
    """
    path, rule = (
        os.path.expanduser(source),
        f"a source is {', '.join((*known, ''))}or the path of one CSV or Parquet file",
    )
    try:
        content = unpacked(source, plain_bytes(path, MOST_BYTES))
    except FileNotFoundError:
        raise PriceError(f"{source}: no such file; {rule}; {_meant(source, known)}") from None
    except FileError as error:
        if os.path.isdir(path):
            raise PriceError(f"{source}: is a folder; {rule}; give the file's path") from None
        raise PriceError(f"{source}: {error}; {rule}; check the file") from None
    return read_content(source, content, date_format)


def read_content(source: str, content: bytes, date_format: str | None = None) -> Prices:
    """As `read_file`, of a file's bytes; `source` is what messages call it."""
    read = _read_parquet if content.startswith(PARQUET) else _read_text
    return as_prices(read(source, content), date_format)


def _meant(source: str, known: Iterable[str]) -> str:
    return f"a ticker is given by --ticker {source}" if source.startswith("^") else meant(source, known)


def _read_text(source: str, content: bytes) -> Table:
    text, encoding = decoded(source, content, tuple(KOREAN))
    delimiter = _delimiter(text)
    rows, lines = _rows(source, text, delimiter)
    if rows and rows[0][0].lower() == "sep=":
        del rows[0], lines[0]  # Excel's first line
    if not rows:
        raise PriceError(f"{source}: the file is empty; a header and a line per session are needed; add them")
    width = len(rows[0])
    for row, number in zip(rows, lines, strict=True):
        if len(row) < width or any(field.strip() for field in row[width:]):
            raise PriceError(
                f"{source}:{number}: {len(row)} fields where the header has {width}; all lines have as "
                f"many, and numbers with commas stand in quotes; mend the line"
            )
    findings = [] if encoding != "cp949" else [_repair("encoding", "read as Korean text (CP949), since it is no UTF-8")]
    names, headers = _header(source, rows)
    if headers > 1:
        findings.append(_repair("header", f"the {headers} header lines of yfinance read as one"))
    del rows[1:headers], lines[1:headers]
    return Table(
        source=source, names=names, cells=[[row[index] for row in rows[1:]] for index in range(width)],
        lines=lines, delimiter=delimiter, findings=tuple(findings),
    )  # fmt: skip


def _repair(check: str, text: str) -> Finding:
    return Finding(check=check, severity="repair", text=text)


def _delimiter(text: str) -> str:
    """What separates most columns of the first line."""
    first = text.lstrip("\r\n ").partition("\n")[0].partition("\r")[0]
    if first.lower().startswith("sep=") and first[4:5] in DELIMITERS:
        return first[4]
    return max(DELIMITERS, key=first.count)


def _rows(source: str, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """The lines that are not blank, split, and their numbers in the file."""
    # Where columns are quoted, a delimiter of the first line may stand in a quoted name: it is then counted too.
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
            f"a quoted field is quoted from its first character to its last; mend the quotes"
        ) from None
    return rows, lines


def _header(source: str, rows: list[list[str]]) -> tuple[list[str], int]:
    """The columns' names and how many lines they take: yfinance writes up to three (Price, Ticker, Date)."""
    written = [[name.strip() for name in row] for row in rows[:3]]
    firsts = [row[0].lower() for row in written]
    dated = next((index for index in (1, 2) if index < len(firsts) and firsts[index] in DATE_NAMES), None)
    if dated is None or any(written[dated][1:]) or not {*firsts[:dated]} <= {"price", "ticker", ""}:
        return [" ".join(name.split()) for name in rows[0]], 1
    names = max(written[:dated], key=lambda row: sum(name.lower() in PRICE_NAMES for name in row))
    for other in written[:dated]:
        if other is not names:
            _check_one_ticker(source, other[1:])
    return ["Date", *names[1:]], dated + 1


def _check_one_ticker(source: str, tickers: list[str]) -> None:
    different = sorted({ticker for ticker in tickers if ticker})
    if len(different) > 1:
        shown = line(", ".join(different[:5]), 60)
        raise PriceError(f"{source}: holds {len(different)} tickers ({shown}); a series is one; export one of them")


def _read_parquet(source: str, content: bytes) -> Table:
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(content))
        names, columns = _of_frame(source, frame)
        # As text, exactly (17 digits tell any two floats apart), so that every file goes the same way from here.
        cells = [_as_text(column) for column in columns]
    except PriceError:
        raise
    except Exception as error:  # broken bytes make pyarrow and pandas raise almost anything
        raise PriceError(
            f"{source}: cannot be read as Parquet ({line(error)}); a Parquet file is whole; write it again"
        ) from None
    dated = any(
        name.lower() in DATE_NAMES and pd.api.types.is_datetime64_any_dtype(column.dtype)
        for name, column in zip(names, columns, strict=True)
    )
    if not names:
        raise PriceError(f"{source}: has no columns; Date, Open, High, Low and Close are needed; write it again")
    return Table(source=source, names=names, cells=cells, lines=[], delimiter="", dated=dated)


def _of_frame(source: str, frame: "pd.DataFrame") -> tuple[list[str], list["pd.Series"]]:
    """Names and columns of a frame, those of its index first where the date is there."""
    import pandas as pd

    labels = [name if isinstance(name, tuple) else (name,) for name in frame.columns]
    prices = max(range(frame.columns.nlevels), key=lambda level: _prices_at(labels, level))
    for level in range(frame.columns.nlevels):
        if level != prices:
            _check_one_ticker(source, [str(label[level]).strip() for label in labels])
    names = [" ".join(str(label[prices]).split()) for label in labels]
    columns = [frame.iloc[:, index] for index in range(len(labels))]
    if any(name.lower() in DATE_NAMES for name in names):
        return names, columns
    index = frame.index
    for level in range(index.nlevels):
        values = index.get_level_values(level)
        named = str(values.name).strip()
        if isinstance(values, pd.DatetimeIndex | pd.PeriodIndex) or named.lower() in DATE_NAMES:
            return ["Date", *names], [pd.Series(values), *columns]
    return names, columns


def _prices_at(labels: Sequence[tuple[object, ...]], level: int) -> int:
    return sum(str(label[level]).strip().lower() in PRICE_NAMES for label in labels)


def _as_text(column: "pd.Series") -> list[str]:
    if str(column.dtype) in ("float16", "float32"):
        column = column.astype("float64")  # the same number: 0.1 in 32 bits is 0.10000000149011612
    return ["" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
