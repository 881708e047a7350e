"""Downloaded series, kept as Parquet files: a folder with a file for each ticker, span and adjustment.

A file is the whole of one download and is replaced by the whole of another, never prolonged: adjusted prices are
rewritten back to the first day at each dividend and split, so the days of two downloads do not belong together.
"""

import hashlib
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from stockrnn.series import Finding, Prices

__all__ = ["DamagedError", "Key", "default_folder", "is_fresh", "others", "read", "rewritten", "write"]

FORM = 1  # of the files: one of another form is not read
SETTLED, YOUNG = timedelta(days=7), timedelta(hours=12)
SAME = 1e-5  # closes that differ by less, relatively, are the same: Yahoo rounds


class DamagedError(ValueError):
    """A file of the cache that is not what was written; one line."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a download asked for; `start` and `end` are included, None where the series has its own."""

    ticker: str
    start: date | None
    end: date | None
    adjust: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "ticker", self.ticker.upper())  # Yahoo knows no other

    @property
    def span(self) -> str:
        """The days in words."""
        if self.start is None and self.end is None:
            return "the whole history"
        return f"{self.start or 'the first day'} to {self.end or 'the last day'}"

    @property
    def facts(self) -> dict[str, Any]:
        """The same for JSON."""
        start, end = (None if day is None else str(day) for day in (self.start, self.end))
        return {"ticker": self.ticker, "start": start, "end": end, "adjust": self.adjust}

    @property
    def file(self) -> str:
        """A name that any disk takes, and takes for no other key's."""
        digest = hashlib.sha256(json.dumps(self.facts).encode()).hexdigest()
        return f"{_readable(self.ticker)}-{digest[:16]}.parquet"


def _readable(ticker: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", ticker, flags=re.ASCII)[:30]


def default_folder() -> Path:
    """The user's cache folder, where the operating system wants it."""
    import platformdirs

    return platformdirs.user_cache_path("stockrnn-search", appauthor=False)


def is_fresh(key: Key, fetched: str, now: datetime | None = None) -> bool:
    """Whether a copy still serves.

    One that was fetched 7 days or more after its `end` serves for ever: those sessions are over and settled. Any
    other, with later sessions to come, serves for 12 hours.
    """
    moment, now = datetime.fromisoformat(fetched), now or datetime.now(UTC)
    if key.end is not None and moment.date() >= key.end + SETTLED:
        return True
    return timedelta(0) <= now - moment < YOUNG


def read(folder: Path, key: Key) -> Prices | None:
    """The copy of a series as it was downloaded, with its findings and `fetched`; None: there is none.

    Raises:
        DamagedError: there is a file, but it was torn, changed, or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / key.file
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror})") from None
    try:
        table = pq.read_table(pa.BufferReader(content))
        facts = json.loads(table.schema.metadata[b"stockrnn"])
        columns = tuple(table.column_names[1:])
        prices = Prices(
            source=facts["source"],
            dates=table.column("date").to_numpy().astype("datetime64[D]"),
            columns=columns,
            values=np.column_stack([table.column(name).to_numpy() for name in columns]),
            lines=np.array([], dtype=int),
            findings=tuple(Finding(**{**each, "dates": tuple(each["dates"])}) for each in facts["findings"]),
            fetched=facts["fetched"],
        )
        datetime.fromisoformat(facts["fetched"])
        intact = facts["form"] == FORM and facts["sha256"] == prices.sha256
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        raise DamagedError(f"{path} is damaged ({type(error).__name__})") from None
    if not intact or {name: facts.get(name) for name in key.facts} != key.facts:
        raise DamagedError(f"{path} is not as it was written")
    return prices


def write(folder: Path, key: Key, prices: Prices) -> None:
    """Keep a download; other processes see the old file or the new one, also when several write.

    Raises:
        OSError: the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = {
        "form": FORM, **key.facts, "source": prices.source, "fetched": prices.fetched, "sha256": prices.sha256,
        "findings": [asdict(finding) for finding in prices.findings],
    }  # fmt: skip
    arrays = {"date": _array(pa.date32(), prices.dates.astype("datetime64[D]").astype("<i4"))}
    arrays |= {name: _array(pa.float64(), prices.column(name)) for name in prices.columns}
    table = pa.table(arrays).replace_schema_metadata({"stockrnn": json.dumps(facts)})
    folder.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(table, file)
        os.replace(part, folder / key.file)
    finally:
        Path(part).unlink(missing_ok=True)


def _array(kind: Any, values: np.ndarray) -> Any:
    import pyarrow as pa

    # pa.array would import pandas, to see whether it was given something of it
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def others(folder: Path, key: Key) -> list[str]:
    """What else the cache holds of a ticker, in words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for path in sorted(folder.glob(f"{_readable(key.ticker)}-*.parquet")):
        try:
            facts = json.loads(pq.read_schema(path).metadata[b"stockrnn"])
            if facts["ticker"] == key.ticker and path.name != key.file:
                days = (None if facts[name] is None else date.fromisoformat(facts[name]) for name in ("start", "end"))
                start, end = days
                span = Key(ticker=key.ticker, start=start, end=end, adjust=facts["adjust"]).span
                found.append(
                    span if facts["adjust"] == key.adjust else f"{span} with adjust: {facts['adjust']}".lower()
                )
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError):
            continue  # a damaged file is no offer
    return found


def rewritten(old: Prices, new: Prices) -> Finding | None:
    """What a new download changed in the past of an old one; None: nothing."""
    days, at, now_at = np.intersect1d(old.dates, new.dates, return_indices=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = new.column("close")[now_at] / old.column("close")[at]
    changed = np.abs(factors - 1) > SAME
    if not changed.any():
        return None
    factor = np.median(factors[changed])
    text = (
        f"history was rewritten: {changed.sum()} of {len(days)} closes differ from the copy of {day(old)}, by a factor "
        f"of {factor:.6g} (median), as dividends and splits do; earlier studies had other prices"
    )
    dates = tuple(str(each) for each in days[changed][:3])
    return Finding(check="history", severity="warning", text=text, rows=int(changed.sum()), dates=dates)


def day(prices: Prices) -> str:
    """The day (UTC) of a download."""
    return (prices.fetched or "")[:10]
