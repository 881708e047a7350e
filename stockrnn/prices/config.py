"""Configuration of a price source."""

from pydantic import Field

from stockrnn.configuration import Configuration, Day
from stockrnn.plugins import load_plugins
from stockrnn.prices.sources import SOURCES, Source, sources_with_tickers

__all__ = [
    "MAX_TICKER_LENGTH",
    "SOURCE_RULE",
    "SourceConfig",
]

MAX_TICKER_LENGTH = 30


SOURCES |= load_plugins("stockrnn.sources", SOURCES, lambda entry: isinstance(entry, Source))
SOURCE_RULE = f"{', '.join(SOURCES)}, or the path of a CSV or Parquet file"


class SourceConfig(Configuration):
    """The source of a series and the days to use."""

    source: str = Field("nasdaq", min_length=1, description=f"source of the prices: {SOURCE_RULE}")
    ticker: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_TICKER_LENGTH,
        description=f"ticker of the series, only with source: {' or '.join(sources_with_tickers())}",
    )
    start: Day | None = Field(None, description="first day to use; null: the first day of the series")
    end: Day | None = Field(None, description="last day to use; null: the last day of the series")
    adjust: bool = Field(
        True, description="whether Yahoo's prices are adjusted for dividends; they are always adjusted for splits"
    )
    date_format: str | None = Field(
        None,
        min_length=1,
        description="format of the dates in a file, as in %d/%m/%Y; null: any unambiguous format, such as YYYY-MM-DD",
    )
