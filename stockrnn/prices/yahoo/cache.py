"""Cache downloaded series in a folder, one Parquet file for each ticker, period and adjustment.

A file is one complete download, and the next download replaces it. It is never extended, since each dividend and split
changes the adjusted prices of all earlier days.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from stockrnn.prices.series import Finding, PriceError, Prices
from stockrnn.prices.snapshot import read_facts, read_prices, write_prices

__all__ = [
    "DamagedError", "Key", "default_folder", "download_day", "history_change", "is_fresh", "other_periods", "read",
    "write",
]  # fmt: skip

FORMAT = 1  # version of the file format; files of other versions are not read
SETTLING_TIME, MAX_AGE = timedelta(days=7), timedelta(hours=12)
MIN_RELATIVE_CHANGE = 1e-5  # of a close; smaller differences come from Yahoo's rounding


class DamagedError(ValueError):
    """A cached file is damaged or was changed; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """Identify a download by its parameters; `start` and `end` are included, None means no limit."""

    ticker: str
    start: date | None
    end: date | None
    adjust: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "ticker", self.ticker.upper())  # as Yahoo writes tickers

    @property
    def period(self) -> str:
        """The period in words."""
        if self.start is None and self.end is None:
            return "the whole history"
        return f"{self.start or 'the first day'} to {self.end or 'the last day'}"

    @property
    def facts(self) -> dict[str, Any]:
        """The key as JSON data."""
        start, end = (None if day is None else str(day) for day in (self.start, self.end))
        return {"ticker": self.ticker, "start": start, "end": end, "adjust": self.adjust}

    @property
    def file(self) -> str:
        """File name, unique to the key and valid on every file system."""
        digest = hashlib.sha256(json.dumps(self.facts).encode()).hexdigest()
        return f"{_safe_name(self.ticker)}-{digest[:16]}.parquet"


def _safe_name(ticker: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", ticker, flags=re.ASCII)[:30]


def default_folder() -> Path:
    """Return this project's folder in the user's cache folder."""
    import platformdirs

    return platformdirs.user_cache_path("stockrnn-search", appauthor=False)


def is_fresh(key: Key, fetched: str, now: datetime | None = None) -> bool:
    """Return whether a copy can still be used.

    A copy that was downloaded 7 days or more after its `end` does not expire, since its prices are final. All others
    expire after 12 hours.
    """
    downloaded, now = datetime.fromisoformat(fetched), now or datetime.now(UTC)
    if key.end is not None and downloaded.date() >= key.end + SETTLING_TIME:
        return True
    return timedelta(0) <= now - downloaded < MAX_AGE


def read(folder: Path, key: Key) -> Prices | None:
    """Return the copy of a series with its findings and `fetched`; None if there is no copy.

    Raises:
        DamagedError: the file is incomplete, was changed, or cannot be read.
    """
    path = folder / key.file
    try:
        prices, metadata = read_prices(path)
    except FileNotFoundError:
        return None
    except PriceError as error:
        raise DamagedError(str(error).partition(";")[0]) from None
    try:
        datetime.fromisoformat(prices.fetched or "")
    except (TypeError, ValueError):
        raise DamagedError(f"{path}: was changed after it was written") from None
    if {name: metadata.get(name) for name in ("form", *key.facts)} != {"form": FORMAT, **key.facts}:
        raise DamagedError(f"{path}: was changed after it was written")
    return prices


def write(folder: Path, key: Key, prices: Prices) -> None:
    """Keep a download; other processes see the old file or the new one, also when several write.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_prices(folder / key.file, prices, {"form": FORMAT, **key.facts})


def other_periods(folder: Path, key: Key) -> list[str]:
    """Return the other cached periods of the same ticker, in words."""
    found = []
    for path in sorted(folder.glob(f"{_safe_name(key.ticker)}-*.parquet")):
        try:
            data = read_facts(path)
            if data["ticker"] == key.ticker and path.name != key.file:
                days = (None if data[name] is None else date.fromisoformat(data[name]) for name in ("start", "end"))
                start, end = days
                period = Key(ticker=key.ticker, start=start, end=end, adjust=data["adjust"]).period
                other = f"{period} with adjust: {data['adjust']}".lower()
                found.append(period if data["adjust"] == key.adjust else other)
        except (PriceError, LookupError, TypeError, ValueError):
            continue  # a damaged file cannot be used
    return found


def history_change(old: Prices, new: Prices) -> Finding | None:
    """Return a warning if a new download changes closes of an old one; otherwise None."""
    days, old_positions, new_positions = np.intersect1d(old.dates, new.dates, return_indices=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = new.column("close")[new_positions] / old.column("close")[old_positions]
    changed = np.abs(factors - 1) > MIN_RELATIVE_CHANGE
    if not changed.any():
        return None
    factor = np.median(factors[changed])
    text = (
        f"Yahoo changed the history: {changed.sum()} of {len(days)} closes differ from the copy of "
        f"{download_day(old)}, by a factor of {factor:.6g} (median); a dividend or a split does this; earlier studies "
        f"used the old prices"
    )
    dates = tuple(str(day) for day in days[changed][:3])
    return Finding(check="history", severity="warning", text=text, rows=int(changed.sum()), dates=dates)


def download_day(prices: Prices) -> str:
    """Return the day (UTC) of a download."""
    return (prices.fetched or "")[:10]
