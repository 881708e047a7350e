"""Describe a request for a series, and how downloads are made and cached."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

__all__ = ["Access", "Request"]


@dataclass(frozen=True, kw_only=True)
class Access:
    """How downloads are made and cached.

    Attributes:
        cache: folder of the cached downloads; None: the user's cache folder.
        offline: use the cache only.
        refresh: download even if the cache has a copy.
        time_limit: seconds for a whole download, retries included.
    """

    cache: Path | None = None
    offline: bool = False
    refresh: bool = False
    time_limit: float = 60.0

    def __post_init__(self) -> None:
        if self.offline and self.refresh:
            raise ValueError("offline and refresh exclude each other; offline never downloads, refresh always does")
        if not self.time_limit > 0:
            raise ValueError(f"time_limit is {self.time_limit}; it must be a number of seconds above 0")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request for a series.

    Attributes:
        ticker: ticker of the series; empty for a source that is a single series.
        start, end: first and last day; None: no limit. A source may return more days, which are then removed.
        adjust: whether the source adjusts prices for dividends, if it can.
        access: how downloads are made and cached.
    """

    ticker: str = ""
    start: date | None = None
    end: date | None = None
    adjust: bool = True
    access: Access = field(default_factory=Access)
