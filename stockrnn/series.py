"""A daily series of prices: its dates and numbers, where it comes from, and what was found in it."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from stockrnn.errors import UserError

__all__ = ["Finding", "PriceError", "Prices", "Provenance"]


class PriceError(UserError):
    """Prices that cannot be used: `SOURCE:LINE: COLUMN: what is wrong; the rule; the fix` in one line."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found in a series; errors are raised, so those kept are repairs and warnings.

    Attributes:
        check: the check's name, as in `duplicate dates`.
        severity: a repair was made, a warning left the series as it was.
        text: what was found and what was done, one line.
        rows: sessions concerned.
        dates: the first few of them, YYYY-MM-DD.
    """

    check: str
    severity: Literal["repair", "warning"]
    text: str
    rows: int = 0
    dates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a series comes from and what was done to it on the way."""

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
        source: what it was loaded from, as the user wrote it.
        dates: datetime64[D], shape (sessions,).
        columns: names of the columns of `values`.
        values: float64, shape (sessions, columns); prices in price points, volume as traded.
        lines: the file's line of each session, shape (sessions,); empty where there is no text file.
        findings: what was mended, and what a user should know.
        fetched: when it was downloaded, ISO 8601 in UTC; None: it was not.
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
        """One column, shape (sessions,)."""
        return self.values[:, self.columns.index(name)]

    def noting(self, *findings: Finding) -> "Prices":
        """The same series with more findings."""
        return replace(self, findings=(*self.findings, *findings))

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
            sha256=self.sha256, fetched=self.fetched, findings=self.findings,
        )  # fmt: skip
