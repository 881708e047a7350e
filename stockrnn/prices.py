"""Daily prices by name: the shipped Nasdaq and S&P 500 series, Yahoo's by ticker (kept in a cache), or a file."""

import runpy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stockrnn import cache, yahoo
from stockrnn.configuration import SourceConfig
from stockrnn.series import Finding, PriceError, Prices
from stockrnn.tables import SHIPPED, read_file, read_shipped

__all__ = ["YAHOO", "Access", "load"]

YAHOO = "yahoo"


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


def load(source: SourceConfig | str, access: Access | None = None) -> Prices:
    """Read daily prices from `start` to `end`, both included, otherwise unchecked.

    Args:
        source: where from; as text `nasdaq` or `sp500` (shipped), or the path of a CSV or Parquet file.
        access: how downloads are made and kept.

    Raises:
        PriceError: there are none, or they are malformed.
    """
    config = SourceConfig.model_validate({"source": source}) if isinstance(source, str) else source
    _check(config)
    if config.source == YAHOO:
        prices = _downloaded(config, access or Access())
    elif config.source in SHIPPED:
        prices = read_shipped(config.source)
    else:
        prices = read_file(config.source, config.date_format)
    return _cut(prices, config)


def _check(config: SourceConfig) -> None:
    if config.source == YAHOO and config.ticker is None:
        raise PriceError("data.ticker: missing; source: yahoo needs Yahoo's symbol; add ticker: ^KS11, say")
    if config.source != YAHOO and config.ticker is not None:
        raise PriceError(
            f"data.ticker: {config.ticker} beside source: {config.source}; a ticker goes with source: yahoo; "
            f"set data.source to yahoo or remove the ticker"
        )
    if config.date_format is not None and config.source in (YAHOO, *SHIPPED):
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


def _downloaded(config: SourceConfig, access: Access) -> Prices:
    """A series of Yahoo's: the cache's copy while it is fresh, else a new download, which the cache then keeps."""
    ticker = config.ticker or ""
    yahoo.check_ticker(ticker)
    key = cache.Key(ticker=ticker, start=config.start, end=config.end, adjust=config.adjust)
    folder = access.cache if access.cache is not None else cache.default_folder()
    notes: list[Finding] = []
    try:
        copy = cache.read(folder, key)
    except cache.DamagedError as damage:
        copy = None
        if access.offline:
            raise yahoo.YahooError(
                f"{yahoo.source_name(ticker)}: {damage}; --offline uses the cache only; leave --offline out once"
            ) from None
        notes.append(_warning(f"{damage}; downloaded again"))
    if access.offline:
        return _kept(copy, folder, key)
    if copy is not None and not access.refresh and cache.is_fresh(key, copy.fetched or ""):
        return copy
    try:
        new = yahoo.download(ticker, config.start, config.end, config.adjust, access.time_limit)
    except yahoo.YahooError as error:
        if copy is None:
            raise
        raise type(error)(f"{error}; --offline uses the copy of {cache.day(copy)}") from None
    if copy is not None and (change := cache.rewritten(copy, new)):
        notes.append(change)
    try:
        cache.write(folder, key, new)
    except OSError as error:
        notes.append(_warning(f"{folder} cannot be written ({error.strerror}): the download is not kept"))
    return new.noting(*notes)


def _kept(copy: Prices | None, folder: Path, key: cache.Key) -> Prices:
    if copy is not None:
        return copy.noting(_warning(f"offline: the copy of {cache.day(copy)} is used"))
    there = cache.others(folder, key)
    held = f"of {key.ticker} it holds {', '.join(there)}" if there else f"it holds nothing of {key.ticker}"
    raise yahoo.AwayError(
        f"{yahoo.source_name(key.ticker)}: {key.span} is not in the cache {folder}; --offline uses the cache only, and "
        f"{held}; leave --offline out once, or use a file with data.source"
    )


def _warning(text: str) -> Finding:
    return Finding(check="cache", severity="warning", text=text)


if __name__ == "__main__":
    runpy.run_module("stockrnn.inspection", run_name="__main__")  # which imports this module, by its own name
