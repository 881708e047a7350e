"""Downloaded series, kept as Parquet files: a folder with a file for each ticker, span and adjustment.

A file is the whole of one download and is replaced by the whole of another, never prolonged: adjusted prices are
rewritten back to the first day at each dividend and split, so the days of two downloads do not belong together.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from stockrnn.parquet import facts_of, read_prices, write_prices
from stockrnn.series import Finding, PriceError, Prices

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
    path = folder / key.file
    try:
        prices, facts = read_prices(path)
    except FileNotFoundError:
        return None
    except PriceError as error:
        raise DamagedError(str(error).partition(";")[0]) from None
    try:
        datetime.fromisoformat(prices.fetched or "")
    except (TypeError, ValueError):
        raise DamagedError(f"{path}: is not as it was written") from None
    if {name: facts.get(name) for name in ("form", *key.facts)} != {"form": FORM, **key.facts}:
        raise DamagedError(f"{path}: is not as it was written")
    return prices


def write(folder: Path, key: Key, prices: Prices) -> None:
    """Keep a download; other processes see the old file or the new one, also when several write.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_prices(folder / key.file, prices, {"form": FORM, **key.facts})


def others(folder: Path, key: Key) -> list[str]:
    """What else the cache holds of a ticker, in words."""
    found = []
    for path in sorted(folder.glob(f"{_readable(key.ticker)}-*.parquet")):
        try:
            facts = facts_of(path)
            if facts["ticker"] == key.ticker and path.name != key.file:
                days = (None if facts[name] is None else date.fromisoformat(facts[name]) for name in ("start", "end"))
                start, end = days
                span = Key(ticker=key.ticker, start=start, end=end, adjust=facts["adjust"]).span
                found.append(
                    span if facts["adjust"] == key.adjust else f"{span} with adjust: {facts['adjust']}".lower()
                )
        except (PriceError, LookupError, TypeError, ValueError):
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
