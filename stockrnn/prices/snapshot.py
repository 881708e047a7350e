"""Write a series to a Parquet file, and read it back with exactly the same values, source and findings.

PyArrow is imported inside the functions, so a study of a CSV file starts without it. Nothing here imports pandas.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stockrnn.io.files import FileError, parse_json, read_bytes, write_atomic
from stockrnn.io.parquet_pages import check_pages
from stockrnn.prices.series import Finding, PriceError, Prices

__all__ = ["read_facts", "read_prices", "write_prices"]

METADATA_KEY = "stockrnn"
MAX_FILE_BYTES = 40_000_000  # a century of daily prices needs 2 MB
MAX_ROWS, MAX_COLUMNS = 200_000, 100
RULE = "this file has the prices of a study; restore it from a copy"


def write_prices(path: Path, prices: Prices, extra_facts: Mapping[str, object] | None = None) -> None:
    """Write a series atomically; several processes may write the same file.

    Args:
        path: the file; its folder must exist.
        prices: the series.
        extra_facts: JSON data to store in the file, in addition to source, download time, hash and findings.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = {
        **(extra_facts or {}), "source": prices.source, "fetched": prices.fetched, "sha256": prices.sha256,
        "findings": [asdict(finding) for finding in prices.findings],
    }  # fmt: skip
    arrays = {"date": _to_arrow(pa.date32(), prices.dates.astype("datetime64[D]").astype("<i4"))}
    arrays |= {name: _to_arrow(pa.float64(), prices.column(name)) for name in prices.columns}
    table = pa.table(arrays).replace_schema_metadata({METADATA_KEY: json.dumps(facts)})
    content = pa.BufferOutputStream()
    pq.write_table(table, content)
    write_atomic(path, memoryview(content.getvalue()))


def read_prices(path: Path) -> tuple[Prices, dict[str, Any]]:
    """Return a series that `write_prices` wrote, and all facts in its file.

    Raises:
        FileNotFoundError: the file does not exist.
        PriceError: the file cannot be read, is damaged, or was changed.
    """
    import pyarrow as pa

    file, facts = _open(path)
    try:
        table = pa.Table.from_batches(list(file.iter_batches()), file.schema_arrow)
        table.validate(full=True)
        columns = tuple(table.column_names[1:])
        prices = Prices(
            source=facts["source"],
            dates=table.column("date").to_numpy().astype("datetime64[D]"),
            columns=columns,
            values=np.column_stack([table.column(name).to_numpy() for name in columns]),
            lines=np.array([], dtype=int),
            findings=tuple(Finding(**{**each, "dates": tuple(each["dates"])}) for each in facts["findings"]),
            fetched=facts["fetched"],
        )
        is_unchanged = len(prices) > 0 and facts["sha256"] == prices.sha256
        for text in prices.source, prices.fetched or "", *(finding.text for finding in prices.findings):
            if not isinstance(text, str):
                raise TypeError
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise PriceError(f"{path}: is damaged ({type(error).__name__}); {RULE}") from None
    if not is_unchanged:
        raise PriceError(f"{path}: was changed after it was written; {RULE}")
    return prices, facts


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts in the file of a series, without reading the series.

    Raises:
        FileNotFoundError: the file does not exist.
        PriceError: the file cannot be read, or `write_prices` did not write it.
    """
    return _open(path)[1]


def _open(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return a `pyarrow.parquet.ParquetFile`, with no column decoded, and the facts in it; see `read_prices`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = read_bytes(path, MAX_FILE_BYTES)
        check_pages(content, MAX_ROWS)
        file = pq.ParquetFile(pa.BufferReader(content))
        names, kinds = file.schema_arrow.names, file.schema_arrow.types
        if kinds != [pa.date32(), *[pa.float64()] * (len(kinds) - 1)] or not 2 <= len(kinds) <= MAX_COLUMNS:
            raise FileError("does not have one column of dates and others of numbers")
        if names[0] != "date" or len(set(names)) < len(names):
            raise FileError("has no column date, or two columns with the same name")
        facts = parse_json((file.schema_arrow.metadata or {})[METADATA_KEY.encode()])
        if not isinstance(facts, dict):
            raise FileError("has no facts")
    except FileError as error:
        raise PriceError(f"{path}: {error}; {RULE}") from None
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, LookupError, UnicodeDecodeError) as error:
        raise PriceError(f"{path}: is damaged ({type(error).__name__}); {RULE}") from None
    return file, facts


def _to_arrow(kind: Any, values: np.ndarray) -> Any:
    import pyarrow as pa

    # pa.array would import pandas, to check for pandas objects
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
