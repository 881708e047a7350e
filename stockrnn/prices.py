"""Daily prices by name: the shipped Nasdaq and S&P 500 series, or a file."""

from dataclasses import dataclass
from pathlib import Path

from stockrnn.configuration import SourceConfig
from stockrnn.series import Prices
from stockrnn.tables import SHIPPED, read_file, read_shipped

__all__ = ["Access", "load"]


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


def load(source: SourceConfig | str, access: Access | None = None) -> Prices:
    """Read daily prices, unchecked.

    Args:
        source: where from; as text `nasdaq` or `sp500` (shipped), or the path of a CSV or Parquet file.
        access: how downloads are made and kept.

    Raises:
        PriceError: there are none, or they are malformed.
    """
    config = SourceConfig.model_validate({"source": source}) if isinstance(source, str) else source
    return read_shipped(config.source) if config.source in SHIPPED else read_file(config.source)
