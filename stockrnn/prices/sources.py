"""List the named sources of daily prices, the values of `data.source`. Any other value is the path of a file.

Space files, their schema, messages and commands take the names from SOURCES. The code that reads a source is imported
when the source is read.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stockrnn.prices.request import Request
from stockrnn.prices.series import Prices

__all__ = ["SHIPPED", "SOURCES", "YAHOO", "Source", "sources_with_tickers"]

YAHOO = "yahoo"
SHIPPED = ("nasdaq", "sp500")  # series that the package arch ships


@dataclass(frozen=True, kw_only=True)
class Source:
    """A named source of prices.

    Attributes:
        owner: owner of the tickers, in messages: `Yahoo's`.
        read: returns the unchecked series, or raises `PriceError`.
        example_ticker: a valid ticker, for messages; None for a source that is a single series without tickers.
    """

    owner: str
    read: Callable[[Request], Prices]
    example_ticker: str | None = None


def _shipped_source(name: str) -> Source:
    def read(request: Request) -> Prices:
        from stockrnn.prices.readers.table import read_shipped

        return read_shipped(name)

    return Source(owner=f"{name}'s", read=read)


def _read_yahoo(request: Request) -> Prices:
    from stockrnn.prices.yahoo.cached import load_cached

    return load_cached(request)


SOURCES: dict[str, Source] = {
    **{name: _shipped_source(name) for name in SHIPPED},
    YAHOO: Source(owner="Yahoo's", read=_read_yahoo, example_ticker="^KS11"),
}


def sources_with_tickers() -> tuple[str, ...]:
    """Return the names of the sources that have tickers."""
    return tuple(name for name, source in SOURCES.items() if source.example_ticker is not None)
