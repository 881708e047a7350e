"""Daily prices: the shipped Nasdaq and S&P 500 series, or a CSV or Parquet file, with their provenance.

Reading is strict about form (columns, numbers, ISO dates); whether the series makes sense is asked in `quality`.
"""

import difflib
import hashlib
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SHIPPED", "PriceError", "Prices", "Provenance", "load"]

SHIPPED = ("nasdaq", "sp500")
REQUIRED = ("open", "high", "low", "close", "volume")
IGNORED = {"adj close", "adjclose", "adj_close", "dividends", "stock splits", "capital gains"}
DATE_NAMES = ("date", "datetime", "timestamp")
NULL_WORDS = {"", "null", "nan", "none", "n/a", "-"}
ISO_DATE = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"


class PriceError(ValueError):
    """Prices that cannot be used: `SOURCE:LINE: what is wrong; the rule; the fix` in one line."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a series comes from and what was done to it on the way."""

    source: str
    start: str
    end: str
    sessions: int
    sha256: str
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prices:
    """A daily series.

    Attributes:
        source: what it was loaded from, as the user wrote it.
        dates: datetime64[D], shape (sessions,).
        columns: names of the columns of `values`.
        values: float64, shape (sessions, columns); prices in price points, volume as traded.
        lines: the file's line of each session, shape (sessions,); empty where there is no text file.
        repairs, warnings: what was mended, and what a user should know, in words.
    """

    source: str
    dates: np.ndarray
    columns: tuple[str, ...]
    values: np.ndarray
    lines: np.ndarray
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.dates)

    def column(self, name: str) -> np.ndarray:
        """One column, shape (sessions,)."""
        return self.values[:, self.columns.index(name)]

    def rows(self, chosen: np.ndarray) -> "Prices":
        """The sessions at positions `chosen` (indices or a mask), in that order."""
        lines = self.lines[chosen] if len(self.lines) else self.lines
        return replace(self, dates=self.dates[chosen], values=self.values[chosen], lines=lines)

    def where(self, position: int) -> str:
        """`SOURCE:LINE` of a session, or `SOURCE` where there are no lines."""
        return f"{self.source}:{self.lines[position]}" if len(self.lines) else self.source

    @property
    def sha256(self) -> str:
        """Hash of dates, column names and values: the same series has the same hash whatever file held it."""
        digest = hashlib.sha256(",".join(self.columns).encode())
        digest.update(np.ascontiguousarray(self.dates.astype("datetime64[D]").astype("<i8")).tobytes())
        digest.update(np.ascontiguousarray(self.values.astype("<f8")).tobytes())
        return digest.hexdigest()

    @property
    def provenance(self) -> Provenance:
        """Source, span, rows and hash, for the manifest."""
        return Provenance(
            source=self.source, start=str(self.dates[0]), end=str(self.dates[-1]), sessions=len(self),
            sha256=self.sha256, repairs=self.repairs, warnings=self.warnings,
        )  # fmt: skip


def load(source: str) -> Prices:
    """Read daily prices.

    Args:
        source: `nasdaq` or `sp500` (shipped in the arch wheel: 5,031 sessions, 1999-01-04 to 2018-12-31),
            or the path of a CSV (optionally gzipped) or Parquet file with the columns of a Yahoo download.

    Raises:
        PriceError: the file cannot be found or read, or its columns, dates or numbers are malformed.
    """
    import pandas as pd

    if source == "yahoo":
        raise PriceError(
            "data.source: yahoo: not yet supported; use nasdaq, sp500 or a file; "
            "download the ticker as a CSV and give its path"
        )
    if source in SHIPPED:
        frame = _read_csv(source, _shipped(source))
        frame["Date"] = pd.to_datetime(frame["Date"], format="%m/%d/%Y").astype(str)  # the wheel's own spelling
        return _parse(source, frame)
    path = Path(source).expanduser()
    if not path.exists():
        close = difflib.get_close_matches(source, SHIPPED, n=1)
        hint = f"did you mean {close[0]}?" if close else "check the path"
        raise PriceError(f"{source}: no such file; a source is nasdaq, sp500 or the path of a CSV or Parquet file; {hint}")
    if path.is_dir():
        raise PriceError(f"{source}: is a folder; a source is one CSV or Parquet file; give the file's path")
    if path.suffix.lower() in (".parquet", ".pq"):
        return _parse(source, _read_parquet(source, path))
    return _parse(source, _read_csv(source, path))


def _shipped(name: str) -> Path:
    # Importing arch.data costs a second (it imports statsmodels); finding its file costs nothing.
    spec = importlib.util.find_spec("arch")
    if spec is None or not spec.submodule_search_locations:
        raise PriceError(f"data.source: {name}: ships in the package 'arch', which is not installed; pip install arch")
    return Path(spec.submodule_search_locations[0]) / "data" / name / f"{name}.csv.gz"


def _read_csv(source: str, path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise PriceError(f"{source}: the file is empty; expected a header line and one line per session") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise PriceError(f"{source}: cannot be read as CSV ({reason}); expected comma-separated UTF-8 text") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise PriceError(f"{source}:2: more fields than the header has columns; give each column a name")
    frame.index = pd.RangeIndex(2, len(frame) + 2)  # the line in the file: the header is line 1
    blank = (frame.map(str.strip) == "").all(axis=1)
    return frame[~blank]


def _read_parquet(source: str, path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PriceError(f"{source}: cannot be read as Parquet ({reason})") from None
    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.reset_index(names="date")
    return frame


def _parse(source: str, frame: "pd.DataFrame") -> Prices:
    """Text or typed columns in any order and case -> Prices, as they come (unsorted, unchecked)."""
    names = {str(name).strip().lower(): name for name in frame.columns}
    date_name = next((names[name] for name in DATE_NAMES if name in names), None)
    if date_name is None:
        raise PriceError(f"{source}:1: no column 'Date'; the columns are {', '.join(map(str, frame.columns))}")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise PriceError(
            f"{source}:1: missing column{'s' if len(missing) > 1 else ''} {', '.join(map(str.capitalize, missing))}; "
            f"Date, Open, High, Low, Close and Volume are needed, in any order and case"
        )
    if frame.empty:
        raise PriceError(f"{source}: the file has a header and no rows; expected one line per session")
    lines = np.asarray(frame.index) if _is_text(frame[date_name]) else np.array([], dtype=int)
    prices = Prices(
        source=source,
        dates=_dates(source, frame[date_name]),
        columns=REQUIRED,
        values=np.column_stack([_numbers(source, frame[names[name]], name) for name in REQUIRED]),
        lines=lines,
    )
    unused = sorted(str(names[name]) for name in names if name not in (*REQUIRED, *DATE_NAMES, *IGNORED))
    if unused:
        prices = replace(prices, warnings=(f"columns not used: {', '.join(unused)}",))
    return prices


def _is_text(column: "pd.Series") -> bool:
    return column.dtype == object or str(column.dtype).startswith("str")


def _dates(source: str, column: "pd.Series") -> np.ndarray:
    import pandas as pd

    if not _is_text(column):
        stamps = pd.DatetimeIndex(column)
        if stamps.hasnans:
            raise PriceError(f"{source}: {int(stamps.isna().sum())} rows have no date; every row needs one")
        return stamps.tz_localize(None).normalize().to_numpy().astype("datetime64[D]")
    text = column.astype(str).str.strip()
    # The day as written, in the exchange's own time: never shifted to another zone.
    parsed = pd.to_datetime(text.str[:10], format="%Y-%m-%d", errors="coerce")
    wrong = ~text.str.fullmatch(ISO_DATE) | parsed.isna()
    if wrong.any():
        line = wrong.idxmax()
        raise PriceError(
            f"{source}:{line}: Date: {text[line]!r} is not a date; dates are written YYYY-MM-DD, as in 2019-01-30; "
            f"rewrite the column ({int(wrong.sum())} of {len(text)} rows differ)"
        )
    return parsed.to_numpy().astype("datetime64[D]")


def _numbers(source: str, column: "pd.Series", name: str) -> np.ndarray:
    import pandas as pd

    if not _is_text(column):
        return column.to_numpy(dtype=float)
    text = column.astype(str).str.strip()
    null = text.str.lower().isin(NULL_WORDS)
    numbers = pd.to_numeric(text.mask(null), errors="coerce")
    wrong = numbers.isna() & ~null
    if wrong.any():
        line = wrong.idxmax()
        raise PriceError(
            f"{source}:{line}: {name.capitalize()}: {text[line]!r} is not a number; "
            f"write it with digits and a point, as in 2183.49"
        )
    return numbers.to_numpy(dtype=float)
