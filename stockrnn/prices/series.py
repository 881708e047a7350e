"""Hold a daily price series with its source, the repairs and warnings found in it, and its hash."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from stockrnn.io.errors import UserError

__all__ = ["FRAME", "PRICE_COLUMNS", "Finding", "PriceError", "Prices", "Provenance", "count"]

PRICE_COLUMNS = ("open", "high", "low", "close")
FRAME = "DataFrame"  # source of prices that are given from Python


class PriceError(UserError):
    """Prices that cannot be used: `SOURCE:LINE: COLUMN: what is wrong; the rule; the fix` in one line."""


def count(number: int, noun: str) -> str:
    """Return a number with its noun, as in `1 session` and `1,234 sessions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One repair or warning of a check. A check raises its errors.

    Attributes:
        check: name of the check, as in `duplicates`.
        severity: a repair changed the series, a warning did not.
        text: one line that says what was found or done.
        rows: number of sessions concerned.
        dates: the first few of them, YYYY-MM-DD.
    """

    check: str
    severity: Literal["repair", "warning"]
    text: str
    rows: int = 0
    dates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Source, dates, hash and findings of a series."""

    source: str
    start: str
    end: str
    sessions: int
    sha256: str
    fetched: str | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prices:
    """A daily series.

    Attributes:
        source: the source as the user wrote it.
        dates: datetime64[D], shape (sessions,).
        columns: names of the columns of `values`.
        values: float64, shape (sessions, columns); prices in price points, volume as traded.
        lines: line number of each session in its text file, shape (sessions,); empty if there is no text file.
        findings: repairs and warnings.
        fetched: time of the download, ISO 8601 in UTC; None if the series was not downloaded.
    """

    source: str
    dates: np.ndarray
    columns: tuple[str, ...]
    values: np.ndarray
    lines: np.ndarray
    findings: tuple[Finding, ...] = ()
    fetched: str | None = None

    def __len__(self) -> int:
        return len(self.dates)

    def column(self, name: str) -> np.ndarray:
        """Return one column, shape (sessions,)."""
        return self.values[:, self.columns.index(name)]

    def with_findings(self, *findings: Finding) -> "Prices":
        """Return the same series with more findings."""
        return replace(self, findings=(*self.findings, *findings))

    def rows(self, selected: np.ndarray) -> "Prices":
        """Return the sessions at the positions `selected` (indices or a mask), in that order."""
        lines = self.lines[selected] if len(self.lines) else self.lines
        return replace(self, dates=self.dates[selected], values=self.values[selected], lines=lines)

    def without(self, name: str) -> "Prices":
        """Return the series without a column, if it has it."""
        names = tuple(each for each in self.columns if each != name)
        return replace(self, columns=names, values=np.column_stack([self.column(each) for each in names]))

    def location(self, position: int) -> str:
        """Return `SOURCE:LINE` of a session, or `SOURCE` if there are no line numbers."""
        return f"{self.source}:{self.lines[position]}" if len(self.lines) else self.source

    @property
    def sha256(self) -> str:
        """Hash of dates, column names and values. It does not depend on the file format."""
        digest = hashlib.sha256(",".join(self.columns).encode())
        digest.update(np.ascontiguousarray(self.dates.astype("datetime64[D]").astype("<i8")).tobytes())
        digest.update(np.ascontiguousarray(self.values.astype("<f8")).tobytes())
        return digest.hexdigest()

    @property
    def provenance(self) -> Provenance:
        """Source, dates, hash and findings, for the manifest."""
        return Provenance(
            source=self.source, start=str(self.dates[0]), end=str(self.dates[-1]), sessions=len(self),
            sha256=self.sha256, fetched=self.fetched, findings=self.findings,
        )  # fmt: skip
