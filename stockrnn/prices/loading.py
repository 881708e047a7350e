"""Load daily prices: the shipped Nasdaq and S&P 500 series, Yahoo's by ticker (cached), or a file."""

import numpy as np

from stockrnn.prices.config import SourceConfig
from stockrnn.prices.readers.table import read_file
from stockrnn.prices.request import Access, Request
from stockrnn.prices.series import PriceError, Prices
from stockrnn.prices.sources import SOURCES, sources_with_tickers

__all__ = ["Access", "limit_dates", "load"]


def load(source: SourceConfig | str, access: Access | None = None) -> Prices:
    """Return the daily prices from `start` to `end`, both included, without quality checks.

    Args:
        source: the source; as text, a name without tickers (`nasdaq`, `sp500`) or the path of a CSV or Parquet file.
        access: how downloads are made and cached.

    Raises:
        PriceError: there are no prices, or they are malformed.
    """
    config = SourceConfig.model_validate({"source": source}) if isinstance(source, str) else source
    _check_config(config)
    named = SOURCES.get(config.source)
    if named is None:
        prices = read_file(config.source, config.date_format, source_names=SOURCES)
    else:
        request = Request(
            ticker=config.ticker or "", start=config.start, end=config.end, adjust=config.adjust,
            access=access or Access(),
        )  # fmt: skip
        prices = named.read(request)
    return limit_dates(prices, config)


def _check_config(config: SourceConfig) -> None:
    source = SOURCES.get(config.source)
    example = source.example_ticker if source else None
    if source and example and config.ticker is None:
        raise PriceError(
            f"data.ticker: missing; source: {config.source} needs one of {source.owner} tickers; "
            f"add one, for example ticker: {example}"
        )
    if config.ticker is not None and example is None:
        others = " or ".join(sources_with_tickers())
        raise PriceError(
            f"data.ticker: {config.ticker} is set, but source: {config.source} has no tickers; a ticker needs "
            f"source: {others}; set data.source to {others} or remove the ticker"
        )
    if config.date_format is not None and source is not None:
        raise PriceError(
            f"data.date_format: {config.date_format} is set, but source: {config.source} is not a file; it is the "
            f"format of the dates in a file; remove it"
        )
    if config.start and config.end and config.start > config.end:
        raise PriceError(
            f"data.start: {config.start} is after data.end, {config.end}; the first day must not come after the last; "
            f"change one of them"
        )


def limit_dates(prices: Prices, config: SourceConfig) -> Prices:
    """Return the sessions from `start` to `end`, both included.

    Raises:
        PriceError: the series has no session in this period.
    """
    if config.start is None and config.end is None:
        return prices
    inside = np.ones(len(prices), dtype=bool)
    if config.start is not None:
        inside &= prices.dates >= np.datetime64(config.start)
    if config.end is not None:
        inside &= prices.dates <= np.datetime64(config.end)
    if not inside.any():
        limits = [f"data.{name}: {day}" for name in ("start", "end") if (day := getattr(config, name))]
        raise PriceError(
            f"{', '.join(limits)}: {prices.source} has no sessions in this period; its sessions are from "
            f"{prices.dates.min()} to {prices.dates.max()}; choose days in that range"
        )
    return prices.rows(inside)
