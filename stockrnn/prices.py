"""Daily prices by name: the shipped Nasdaq and S&P 500 series, Yahoo's by ticker (kept in a cache), or a file."""

import runpy

import numpy as np

from stockrnn.access import Access, Request
from stockrnn.configuration import SourceConfig
from stockrnn.series import PriceError, Prices
from stockrnn.sources import SOURCES, with_tickers
from stockrnn.tables import read_file

__all__ = ["Access", "load"]


def load(source: SourceConfig | str, access: Access | None = None) -> Prices:
    """Read daily prices from `start` to `end`, both included, otherwise unchecked.

    Args:
        source: where from; as text a source without tickers (`nasdaq`, `sp500`), or the path of a CSV or Parquet file.
        access: how downloads are made and kept.

    Raises:
        PriceError: there are none, or they are malformed.
    """
    config = SourceConfig.model_validate({"source": source}) if isinstance(source, str) else source
    _check(config)
    named = SOURCES.get(config.source)
    if named is None:
        prices = read_file(config.source, config.date_format, known=SOURCES)
    else:
        request = Request(
            ticker=config.ticker or "", start=config.start, end=config.end, adjust=config.adjust,
            access=access or Access(),
        )  # fmt: skip
        prices = named.read(request)
    return _cut(prices, config)


def _check(config: SourceConfig) -> None:
    source = SOURCES.get(config.source)
    example = source.ticker if source else None
    if source and example and config.ticker is None:
        raise PriceError(
            f"data.ticker: missing; source: {config.source} needs {source.whose} symbol; add ticker: {example}, say"
        )
    if config.ticker is not None and example is None:
        others = " or ".join(with_tickers())
        raise PriceError(
            f"data.ticker: {config.ticker} beside source: {config.source}; a ticker goes with source: {others}; "
            f"set data.source to {others} or remove the ticker"
        )
    if config.date_format is not None and source is not None:
        raise PriceError(
            f"data.date_format: {config.date_format} beside source: {config.source}; it says how a file writes its "
            f"dates; remove it"
        )
    if config.start and config.end and config.start > config.end:
        raise PriceError(
            f"data.start: {config.start} is after data.end, {config.end}; the first day used comes before the last; "
            f"change one"
        )


def _cut(prices: Prices, config: SourceConfig) -> Prices:
    if config.start is None and config.end is None:
        return prices
    kept = np.ones(len(prices), dtype=bool)
    if config.start is not None:
        kept &= prices.dates >= np.datetime64(config.start)
    if config.end is not None:
        kept &= prices.dates <= np.datetime64(config.end)
    if not kept.any():
        given = [f"data.{name}: {day}" for name in ("start", "end") if (day := getattr(config, name))]
        raise PriceError(
            f"{', '.join(given)}: no session of {prices.source} is left; it has those from {prices.dates.min()} to "
            f"{prices.dates.max()}; choose days among them"
        )
    return prices.rows(kept)


if __name__ == "__main__":
    runpy.run_module("stockrnn.inspection", run_name="__main__")  # which imports this module, by its own name
