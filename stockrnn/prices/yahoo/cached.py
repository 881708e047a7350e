"""Return Yahoo's series from the cache, or download and cache them."""

from pathlib import Path

from stockrnn.prices.request import Request
from stockrnn.prices.series import Finding, Prices
from stockrnn.prices.yahoo import cache, client

__all__ = ["load_cached"]


def load_cached(request: Request) -> Prices:
    """Return the cache's copy of a Yahoo series while it is fresh; otherwise download it and write it to the cache.

    Raises:
        YahooError: there is no copy and the download failed.
    """
    ticker, access = request.ticker, request.access
    client.check_ticker(ticker)
    key = cache.Key(ticker=ticker, start=request.start, end=request.end, adjust=request.adjust)
    folder = access.cache if access.cache is not None else cache.default_folder()
    findings: list[Finding] = []
    try:
        copy = cache.read(folder, key)
    except cache.DamagedError as damage:
        copy = None
        if access.offline:
            raise client.YahooError(
                f"{client.source_name(ticker)}: {damage}; --offline uses the cache only; run once without --offline"
            ) from None
        findings.append(_warning(f"{damage}; the series was downloaded again"))
    if access.offline:
        return _offline_copy(copy, folder, key)
    if copy is not None and not access.refresh and cache.is_fresh(key, copy.fetched or ""):
        return copy
    try:
        new = client.download(ticker, request.start, request.end, request.adjust, access.time_limit)
    except client.YahooError as error:
        if copy is None:
            raise
        raise type(error)(f"{error}; or use --offline, which takes the copy of {cache.download_day(copy)}") from None
    if copy is not None and (change := cache.history_change(copy, new)):
        findings.append(change)
    try:
        cache.write(folder, key, new)
    except OSError as error:
        findings.append(_warning(f"{folder} cannot be written ({error.strerror}): the download was not cached"))
    return new.with_findings(*findings)


def _offline_copy(copy: Prices | None, folder: Path, key: cache.Key) -> Prices:
    if copy is not None:
        return copy.with_findings(_warning(f"offline: used the copy of {cache.download_day(copy)}"))
    periods = ", ".join(cache.other_periods(folder, key)) or "nothing"
    raise client.YahooUnavailableError(
        f"{client.source_name(key.ticker)}: {key.period} is not in the cache {folder}; --offline uses the cache only, "
        f"which has {periods} of {key.ticker}; run once without --offline, or use a file with data.source"
    )


def _warning(text: str) -> Finding:
    return Finding(check="cache", severity="warning", text=text)
