"""Downloads that are kept: Yahoo's series, from the cache while its copy is fresh."""

from pathlib import Path

from stockrnn import cache, yahoo
from stockrnn.access import Request
from stockrnn.series import Finding, Prices

__all__ = ["downloaded"]


def downloaded(request: Request) -> Prices:
    """A series of Yahoo's: the cache's copy while it is fresh, else a new download, which the cache then keeps.

    Raises:
        YahooError: there is neither.
    """
    ticker, access = request.ticker, request.access
    yahoo.check_ticker(ticker)
    key = cache.Key(ticker=ticker, start=request.start, end=request.end, adjust=request.adjust)
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
        new = yahoo.download(ticker, request.start, request.end, request.adjust, access.time_limit)
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
