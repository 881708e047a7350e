"""One series as a Parquet file: exactly the same numbers, source and findings when it is read back.

PyArrow is imported where it is used: a study of a CSV file starts without it, and nothing here needs pandas.
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

METADATA_KEY = "stockrnn"  # of the file's metadata
MAX_FILE_BYTES = 40_000_000  # of a file: a century of days has two
MAX_ROWS, MAX_COLUMNS = 200_000, 100


def write_prices(path: Path, prices: Prices, more: Mapping[str, Any] | None = None) -> None:
    """Write a series; a reader sees the file that was there before, or the whole new one, also when several write.

    Args:
        path: the file, in a folder that exists.
        prices: the series.
        more: facts to keep beside it, as JSON takes them.

    Raises:
        OSError: there is no room, or the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = {
        **(more or {}), "source": prices.source, "fetched": prices.fetched, "sha256": prices.sha256,
        "findings": [asdict(finding) for finding in prices.findings],
    }  # fmt: skip
    arrays = {"date": _array(pa.date32(), prices.dates.astype("datetime64[D]").astype("<i4"))}
    arrays |= {name: _array(pa.float64(), prices.column(name)) for name in prices.columns}
    table = pa.table(arrays).replace_schema_metadata({METADATA_KEY: json.dumps(facts)})
    content = pa.BufferOutputStream()
    pq.write_table(table, content)
    write_atomic(path, memoryview(content.getvalue()))


def read_prices(path: Path) -> tuple[Prices, dict[str, Any]]:
    """The series that `write_prices` wrote, and the facts that were kept beside it.

    Raises:
        FileNotFoundError: there is none.
        PriceError: it cannot be read, is damaged, or is not as it was written.
    """
    import pyarrow as pa

    file, facts = _opened(path)
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
        whole = len(prices) > 0 and facts["sha256"] == prices.sha256
        for text in prices.source, prices.fetched or "", *(finding.text for finding in prices.findings):
            if not isinstance(text, str):
                raise TypeError
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise PriceError(f"{path}: is damaged ({type(error).__name__}); a series is kept there; copy it back") from None
    if not whole:
        raise PriceError(f"{path}: is not as it was written; a series is kept there; copy it back")
    return prices, facts


def read_facts(path: Path) -> dict[str, Any]:
    """The facts beside a series, without the series.

    Raises:
        PriceError: the file is none that `write_prices` wrote.
    """
    return _opened(path)[1]


def _opened(path: Path) -> tuple[Any, dict[str, Any]]:
    """A series' file, of which no column is decoded yet, and its facts; see `read_prices`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = read_bytes(path, MAX_FILE_BYTES)
        check_pages(content, MAX_ROWS)
        file = pq.ParquetFile(pa.BufferReader(content))
        names, kinds = file.schema_arrow.names, file.schema_arrow.types
        if kinds != [pa.date32(), *[pa.float64()] * (len(kinds) - 1)] or not 2 <= len(kinds) <= MAX_COLUMNS:
            raise FileError("holds no dates and numbers")
        if names[0] != "date" or len(set(names)) < len(names):
            raise FileError("has no dates, or two columns of one name")
        facts = parse_json((file.schema_arrow.metadata or {})[METADATA_KEY.encode()])
        if not isinstance(facts, dict):
            raise FileError("has no facts")
    except FileError as error:
        raise PriceError(f"{path}: {error}; a series is kept there; copy it back") from None
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, LookupError, UnicodeDecodeError) as error:
        raise PriceError(f"{path}: is damaged ({type(error).__name__}); a series is kept there; copy it back") from None
    return file, facts


def _array(kind: Any, values: np.ndarray) -> Any:
    import pyarrow as pa

    # pa.array would import pandas, to see whether it was given something of it
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
