"""One clean series as a Parquet file: exactly the same numbers, source and findings when it is read back."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stockrnn.series import Finding, PriceError, Prices

__all__ = ["read_prices", "write_prices"]

KEY = b"stockrnn"


def write_prices(path: Path, prices: Prices) -> None:
    """Write a series; a reader sees the file that was there before, or the whole new one.

    Raises:
        OSError: there is no room, or no such folder.
    """
    facts = {
        "source": prices.source, "sha256": prices.sha256, "findings": [asdict(found) for found in prices.findings]
    }  # fmt: skip
    arrays = [pa.array(prices.dates.astype("datetime64[D]")), *map(pa.array, prices.values.T)]
    table = pa.table(arrays, names=["date", *prices.columns]).replace_schema_metadata({KEY: json.dumps(facts)})
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_prices(path: Path) -> Prices:
    """Read what `write_prices` wrote.

    Raises:
        PriceError: there is no such file, it is damaged, or it is not what was written.
    """
    try:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[KEY])
        prices = Prices(
            source=facts["source"],
            dates=table["date"].to_numpy().astype("datetime64[D]"),
            columns=tuple(table.column_names[1:]),
            values=np.column_stack([table[name].to_numpy() for name in table.column_names[1:]]),
            lines=np.array([], dtype=int),
            findings=tuple(
                Finding(**{**found, "dates": tuple(found["dates"])}) for found in facts["findings"]
            ),
        )  # fmt: skip
        whole = facts["sha256"] == prices.sha256
    except FileNotFoundError:
        raise PriceError(f"{path}: no such file; a series was kept there; copy it back") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = " ".join(str(error).split())[:200]
        raise PriceError(f"{path}: is damaged ({what}); it holds one series; copy it back") from None
    if not whole:
        raise PriceError(f"{path}: was changed since it was written; its hash must fit; copy it back")
    return prices
