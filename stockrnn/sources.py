"""The sources: where daily prices come from, by the name that stands in `data.source`; any other text is a file's path.

A source is an entry of SOURCES: spaces, their schema and messages, and every command know it from there. What reads it
is imported when it is read.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stockrnn.access import Request
from stockrnn.series import Prices

__all__ = ["SHIPPED", "SOURCES", "YAHOO", "Source", "with_tickers"]

YAHOO = "yahoo"
SHIPPED = ("nasdaq", "sp500")  # series that come with a package


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where prices come from.

    Attributes:
        whose: the owner of its symbols, in messages: `Yahoo's`.
        read: the series, otherwise unchecked. It raises `PriceError`, one line of what is wrong; the rule; the fix.
        ticker: a symbol it knows, for messages; None: it is one series and has no symbols.
    """

    whose: str
    read: Callable[[Request], Prices]
    ticker: str | None = None


def _shipped(name: str) -> Source:
    def read(request: Request) -> Prices:
        from stockrnn.tables import read_shipped

        return read_shipped(name)

    return Source(whose=f"{name}'s", read=read)


def _yahoo(request: Request) -> Prices:
    from stockrnn.downloads import downloaded

    return downloaded(request)


SOURCES: dict[str, Source] = {
    **{name: _shipped(name) for name in SHIPPED},
    YAHOO: Source(whose="Yahoo's", read=_yahoo, ticker="^KS11"),
}


def with_tickers() -> tuple[str, ...]:
    """Names of the sources that have symbols."""
    return tuple(name for name, source in SOURCES.items() if source.ticker is not None)
