"""`predictions.parquet`: what every trial and finalist forecast, day by day; a folder of parts, read as one table.

One row a day: `trial_id` (a baseline's name for a baseline), `split` (validation or test), `fold` (from 1; 0 for the
test block), `date` of the target, and in price points `forecast`, `actual` and `previous`, the close of the day on
which the forecast was made. A validation forecast is the seed average at the trial's best epoch; a test forecast is
the finalist's.
"""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.record import DamagedError
from stockrnn.files import TEMPORARY, no_link, write_atomic
from stockrnn.folds import Fold
from stockrnn.series import Prices

__all__ = ["Predictions", "read_predictions", "validation_forecasts"]

SCHEMA = pa.schema(
    [
        ("trial_id", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int16()),
        ("date", pa.date32()),
        ("forecast", pa.float32()),
        ("actual", pa.float32()),
        ("previous", pa.float32()),
    ]
)
PART_ROWS = 100_000
PART_SECONDS = 30.0
PARTS = f"part-{5 * '[0-9]'}.parquet"
STREAM = ".stream.arrows"  # readers of Parquet folders skip names with a dot


class Predictions:
    """Writes predictions in parts: memory stays flat. What has come since the last part stands in a stream beside it.

    Args:
        folder: `predictions.parquet` of the study; made at the first forecast.
        prices, horizon: what the forecasts are of.
    """

    def __init__(self, folder: Path, prices: Prices, horizon: int) -> None:
        self._folder, self._prices, self._horizon = folder, prices, horizon
        self._closes = prices.column("close")
        self._tables: list[pa.Table] = []
        self._rows, self._written = 0, time.monotonic()
        self._file: BinaryIO | None = None
        self._stream: pa.RecordBatchStreamWriter | None = None

    def keep(self, trial_ids: Collection[str], *, folds: int, test: bool) -> None:
        """Go on where a study broke off: keep the validation forecasts of these trials, each once, and no others.

        Args:
            trial_ids: the trials that ended with a score.
            folds: how many there are.
            test: whether the forecasts of the test block are kept too.

        Raises:
            DamagedError: forecasts of these trials are missing.
        """
        wanted = pc.field("trial_id").isin(list(trial_ids)) & (pc.field("split") == "validation")
        wanted = wanted | (pc.field("split") == "test") if test else wanted
        have: set[tuple[str, str, int]] = set()
        for torn in self._folder.glob(".*"):
            if TEMPORARY.fullmatch(torn.name):
                torn.unlink()
        for path, table in self._parts():
            kept = _without(table.filter(wanted), have)
            have.update(_named(kept))
            if len(kept) < len(table):
                _write(kept, path)
        for table in _streamed(self._folder / STREAM):
            kept = _without(table.filter(wanted), have)
            have.update(_named(kept))
            self._tables.append(kept)
        self.flush()
        lost = {name for name in trial_ids if any((name, "validation", fold + 1) not in have for fold in range(folds))}
        if lost:
            raise DamagedError(
                f"{self._folder}: lacks forecasts of {len(lost)} trials that ended ({', '.join(sorted(lost)[:3])}); "
                "all are needed to ask whether the best is only lucky; copy the folder back, or begin the study anew"
            )

    def validation(self, trial_id: str, folds: Sequence[Fold], forecast: np.ndarray) -> None:
        """The forecasts of a trial on the validation blocks of all folds, one after another, shape (days,)."""
        ends = np.cumsum([len(fold.validation) for fold in folds])
        parts = enumerate(zip(folds, np.split(forecast, ends[:-1]), strict=True), start=1)
        self._append(
            [self._table(trial_id, "validation", number, fold.validation, days) for number, (fold, days) in parts]
        )
        if self._rows >= PART_ROWS or time.monotonic() - self._written >= PART_SECONDS:
            self.flush()

    def test(self, trial_id: str, block: range, forecast: np.ndarray) -> None:
        """The forecasts of a finalist or baseline on the test block, shape (days,)."""
        self._append([self._table(trial_id, "test", 0, block, forecast)])

    def forget_test(self) -> None:
        """Remove the forecasts of the test block: it is opened once more."""
        self.flush()
        for path, table in self._parts():
            if len(kept := table.filter(pc.field("split") != "test")) < len(table):
                _write(kept, path)

    def flush(self) -> None:
        """Write what has come since the last part; a reader never sees half of one."""
        self._written = time.monotonic()
        if self._tables:
            numbers = (int(path.stem.partition("-")[2]) for path in self._folder.glob(PARTS))
            _write(pa.concat_tables(self._tables), self._folder / f"part-{max(numbers, default=-1) + 1:05}.parquet")
            self._tables, self._rows = [], 0
        if self._file is not None:
            self._file.close()
            self._file = self._stream = None
        (self._folder / STREAM).unlink(missing_ok=True)

    def _parts(self) -> Iterator[tuple[Path, pa.Table]]:
        for path in sorted(self._folder.glob(PARTS)):
            try:
                yield path, pq.read_table(path, schema=SCHEMA)
            except (pa.ArrowException, OSError) as error:
                raise DamagedError(
                    f"{path}: is damaged ({' '.join(str(error).split())[:100]}); all forecasts are needed to ask "
                    "whether the best is only lucky; copy the file back, or begin the study anew"
                ) from None

    def _table(self, trial_id: str, split: str, fold: int, block: range, forecast: np.ndarray) -> pa.Table:
        days, horizon = len(block), self._horizon
        columns = [
            pa.array([trial_id] * days),
            pa.array([split] * days),
            pa.array([fold] * days, pa.int16()),
            pa.array(self._prices.dates[block.start : block.stop].astype("datetime64[D]")),
            *(
                pa.array(np.asarray(values, dtype=np.float32))
                for values in (
                    forecast,
                    self._closes[block.start : block.stop],
                    self._closes[block.start - horizon : block.stop - horizon],
                )
            ),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def _append(self, tables: Sequence[pa.Table]) -> None:
        if not (tables := [table for table in tables if len(table)]):
            return
        if self._stream is None or self._file is None:
            self._folder.mkdir(exist_ok=True)
            (self._folder / STREAM).unlink(missing_ok=True)
            self._file = open(self._folder / STREAM, "xb", opener=no_link)  # noqa: SIM115  # until flush
            self._stream = pa.ipc.new_stream(self._file, SCHEMA)
        for table in tables:
            self._stream.write_table(table)
        self._file.flush()
        os.fsync(self._file.fileno())  # what the record says has ended has its forecasts
        self._tables += tables
        self._rows += sum(map(len, tables))


def _write(table: pa.Table, path: Path) -> None:
    content = pa.BufferOutputStream()
    pq.write_table(table, content)
    write_atomic(path, memoryview(content.getvalue()), durable=True)


def _streamed(path: Path) -> list[pa.Table]:
    """The tables of a stream, to where it was broken off."""
    tables: list[pa.Table] = []
    if not path.exists():
        return tables
    try:
        for batch in pa.ipc.open_stream(path.read_bytes()):
            tables.append(pa.Table.from_batches([batch]))  # noqa: PERF401  # those before a torn one count
    except (pa.ArrowInvalid, OSError):
        return tables
    return tables


def _named(table: pa.Table) -> list[tuple[str, str, int]]:
    """Which forecast each row belongs to: its trial, split and fold."""
    columns = (table[name].to_pylist() for name in ("trial_id", "split", "fold"))
    return list(zip(*columns, strict=True))


def _without(table: pa.Table, have: set[tuple[str, str, int]]) -> pa.Table:
    """A table without the forecasts that are there already."""
    return table.filter(pa.array([name not in have for name in _named(table)], pa.bool_()))


def read_predictions(folder: Path, split: str | None = None) -> pa.Table:
    """The predictions of a study's `predictions.parquet`; an empty table where there are none yet."""
    if not folder.exists():
        return SCHEMA.empty_table()
    filters = None if split is None else pc.field("split") == split
    return pq.read_table(folder, schema=SCHEMA, filters=filters)


def validation_forecasts(folder: Path) -> tuple[list[str], np.ndarray]:
    """Trial ids and their forecasts on all validation days, shape (trials, days), in the order they were written."""
    table = read_predictions(folder, "validation")
    ids = table["trial_id"].combine_chunks()
    names = list(dict.fromkeys(ids.to_pylist()))
    forecasts = table["forecast"].to_numpy().astype(float)
    return names, forecasts.reshape(len(names), -1) if names else np.empty((0, 0))
