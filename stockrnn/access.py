"""What is asked of a source, and how downloads are made and kept."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

__all__ = ["Access", "Request"]


@dataclass(frozen=True, kw_only=True)
class Access:
    """How downloads are made and kept.

    Attributes:
        cache: folder of downloaded series; None: the user's cache folder.
        offline: only what the cache holds.
        refresh: download anew, whatever the cache holds.
        time_limit: of a whole download with its repetitions, seconds.
    """

    cache: Path | None = None
    offline: bool = False
    refresh: bool = False
    time_limit: float = 60.0

    def __post_init__(self) -> None:
        if self.offline and self.refresh:
            raise ValueError("offline and refresh exclude each other; one downloads nothing, the other always")
        if not self.time_limit > 0:
            raise ValueError(f"time_limit is {self.time_limit}; it is a number of seconds above 0")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A series that is asked for.

    Attributes:
        ticker: the source's symbol; empty for a source that is one series.
        start, end: first and last day wanted; None: all there are. A source may give more, which is cut off.
        adjust: whether prices are to be adjusted for dividends, where the source can.
        access: how downloads are made and kept.
    """

    ticker: str = ""
    start: date | None = None
    end: date | None = None
    adjust: bool = True
    access: Access = field(default_factory=Access)
