"""Load the prices to forecast from: newer or other prices, the study's source, or the study's own copy."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockrnn.dataset.alignment import prepare
from stockrnn.dataset.config import DataConfig
from stockrnn.forecaster.files import ForecasterError
from stockrnn.forecaster.next_sessions import find_exchange
from stockrnn.prices.config import SourceConfig
from stockrnn.prices.loading import Access
from stockrnn.prices.series import FRAME, PriceError, Prices
from stockrnn.prices.snapshot import read_prices
from stockrnn.prices.sources import SOURCES, YAHOO, sources_with_tickers

__all__ = ["COPY", "PriceRequest", "StudyPrices", "load_study_prices"]

COPY = "prices.parquet"  # a study's own copy of its prices


@dataclass(frozen=True, kw_only=True)
class PriceRequest:
    """Prices to use in place of those of the study, and how to read them.

    Attributes:
        prices: the value of `--prices`: a file, or a source without tickers; None: the study's own.
        ticker: a ticker in place of the study's own series; excludes `prices`.
        date_format: format of the dates in the file; None: that of the study, or any unambiguous one.
        access: how downloads are made and cached.
    """

    prices: str | None = None
    ticker: str | None = None
    date_format: str | None = None
    access: Access | None = None


@dataclass(frozen=True, kw_only=True)
class StudyPrices:
    """Clean prices with the columns of the other series.

    Attributes:
        exchange: ISO 10383 code of the exchange, if it is known.
        note: why the study's own copy is used; None if it is not.
    """

    prices: Prices
    exchange: str | None
    note: str | None = None


def load_study_prices(study: Path, asked: DataConfig, request: PriceRequest) -> StudyPrices:
    """Return the prices to forecast from.

    If a file of the study has moved, and no other prices are requested, these are the study's own copy.

    Args:
        study: the study's folder.
        asked: section `data` of its space.
        request: what replaces the study's prices.

    Raises:
        ForecasterError: the request contradicts itself, or a file is missing.
        PriceError: the prices cannot be loaded or used.
    """
    changes = _changes(asked, request)
    data = asked.model_copy(update=changes)
    if changes.keys() - {"date_format"}:  # the prices may end later than the study's, so the other series must, too
        data = data.model_copy(update={"also": tuple(other.model_copy(update={"end": None}) for other in asked.also)})
    if request.date_format is not None and data.source in SOURCES:
        raise ForecasterError(
            f"--date-format {request.date_format}: is set, but {data.source} is not a file; it is the format of the "
            "dates in a file; remove it, or add --prices FILE"
        )
    missing = next(_missing_files(data), None)
    if missing is not None and request.prices is None and request.ticker is None and (study / COPY).exists():
        prices, _ = read_prices(study / COPY)
        reason = "the study's prices came from Python" if missing.source == FRAME else f"{missing.source}: no such file"
        note = (
            f"{reason}; forecasts from the study's own copy, which ends on {prices.provenance.end}; give newer prices "
            "with --prices FILE"
        )
        return StudyPrices(prices=prices, exchange=find_exchange(asked), note=note)
    if missing is not None and missing is data and request.prices is None:
        raise ForecasterError(
            f"{missing.source}: no such file; the study read its prices from it; give prices with --prices FILE"
        )
    if missing is not None and missing is not data:
        name = next(other.name for other in data.also if other is missing)
        raise ForecasterError(
            f"{missing.source}: no such file; the forecaster reads its input {name} from it; restore the file"
        )
    try:
        prices = prepare(data, request.access)
    except PriceError as error:
        if request.prices is None or request.date_format is not None or data.date_format is None:
            raise ForecasterError(str(error).replace("data.date_format", "--date-format")) from None
        try:  # not in the format of the study's file, so perhaps in one that is recognized
            prices = prepare(data.model_copy(update={"date_format": None}), request.access)
        except PriceError:
            raise ForecasterError(str(error).replace("data.date_format", "--date-format")) from None
    return StudyPrices(prices=prices, exchange=find_exchange(data))


def _changes(asked: DataConfig, request: PriceRequest) -> dict[str, Any]:
    """Return the keys of the section `data` that differ from the study's own."""
    if request.prices is not None:
        if request.prices in sources_with_tickers():
            tickers = SOURCES[request.prices]
            raise ForecasterError(
                f"--prices {request.prices}: is not a series; {tickers.owner} series are selected by ticker; "
                f"use for example --ticker {tickers.example_ticker}"
            )
        date_format = None if request.prices in SOURCES else request.date_format or asked.date_format
        return {"source": request.prices, "ticker": None, "start": None, "end": None, "date_format": date_format}
    if request.ticker is not None:
        source = asked.source if asked.source in sources_with_tickers() else YAHOO
        return {"source": source, "ticker": request.ticker, "end": None, "date_format": None}
    if asked.source in sources_with_tickers():
        return {"end": None}
    return {} if request.date_format is None else {"date_format": request.date_format}


def _missing_files(data: DataConfig) -> Iterator[SourceConfig]:
    """Yield the series whose file does not exist; that of the forecast market first."""
    for source in (data, *data.also):
        if source.source not in SOURCES and not os.path.isfile(os.path.expanduser(source.source)):
            yield source
