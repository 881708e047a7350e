"""Load prices as a pandas DataFrame, and convert a series to one. pandas is imported when a function is called."""

from datetime import date
from os import PathLike, fspath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stockrnn.io.files import line
from stockrnn.prices.cleaning import clean
from stockrnn.prices.config import SourceConfig
from stockrnn.prices.loading import Access, load
from stockrnn.prices.series import PRICE_COLUMNS, PriceError, Prices
from stockrnn.prices.sources import YAHOO

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_prices", "to_frame"]

COLUMNS = (*PRICE_COLUMNS, "volume")


def load_prices(
    source: str | PathLike[str] | None = None, *, ticker: str | None = None, start: date | str | None = None,
    end: date | str | None = None, adjust: bool = True, date_format: str | None = None, offline: bool = False,
) -> "pd.DataFrame":  # fmt: skip
    """Return checked and repaired daily prices.

    Args:
        source: `nasdaq` or `sp500` (shipped), `yahoo`, or the path of a CSV or Parquet file; None: `yahoo` with a
            ticker, otherwise `nasdaq`.
        ticker: a ticker of the source, for example `^KS11`.
        start, end: first and last day, both included; a date, or text as `YYYY-MM-DD`.
        adjust: whether Yahoo's prices are adjusted for dividends.
        date_format: format of the dates in a file, as in `%d/%m/%Y`; None: any unambiguous format.
        offline: use only downloads that are in the cache.

    Returns:
        One row per session. The index `Date` is datetime64; the columns Open, High, Low, Close and, if there is one,
        Volume are float64, in price points and as traded. `attrs["findings"]` lists repairs and warnings.

    Raises:
        PriceError: the prices cannot be loaded or used; the message is one line.
    """
    name = (YAHOO if ticker else "nasdaq") if source is None else fspath(source)
    try:
        config = SourceConfig.model_validate(
            {
                "source": name, "ticker": ticker, "start": start, "end": end, "adjust": adjust,
                "date_format": date_format,
            }
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = line(first["msg"]).removeprefix("Value error, ")
        raise PriceError(f"load_prices: {first['loc'][0]}: {problem}") from None
    return to_frame(clean(load(config, Access(offline=offline))))


def to_frame(prices: Prices) -> "pd.DataFrame":
    """Return a series as a DataFrame, as `load_prices` does; other series are columns with their own names."""
    import pandas as pd

    names = [name.capitalize() if name in COLUMNS else name for name in prices.columns]
    index = pd.DatetimeIndex(prices.dates.astype("datetime64[us]"), name="Date")
    frame = pd.DataFrame(prices.values.copy(), index=index, columns=names)
    frame.attrs["findings"] = [finding.text for finding in prices.findings]
    return frame
