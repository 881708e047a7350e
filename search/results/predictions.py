"""Write and read `predictions.parquet`, the daily forecasts of trials and finalists: a folder of parts.

One row per day: `trial_id` (a baseline's name for a baseline), `split` (validation or test), `fold` (from 1; 0 for the
test block), `date` of the target, and in the task's unit `forecast`, `actual` and `rival`, the forecast of the rival
(for prices the close of the day on which the forecast was made). The split `earlier` has the forecasts of another
study's trials on validation days of this one, see `search.results.warm_start`. A validation forecast is the seed
average at the trial's best epoch; a test forecast is the finalist's.
"""

import os
import struct
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.common.errors import DamagedError
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.io.files import TEMPORARY_NAME, FileError, line, open_nofollow, read_bytes, write_atomic
from stockrnn.io.parquet_pages import check_pages
from stockrnn.tasks.scoring import FoldDays, fold_days
from stockrnn.tasks.task import Series, Task

__all__ = [
    "EARLIER",
    "MAX_ROWS",
    "MAX_TEXT",
    "Predictions",
    "read_forecasts",
    "read_predictions",
    "read_validation_forecasts",
]

SCHEMA = pa.schema(
    [
        ("trial_id", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int16()),
        ("date", pa.date32()),
        ("forecast", pa.float32()),
        ("actual", pa.float32()),
        ("rival", pa.float32()),
    ]
)
EARLIER = "earlier"  # a split
PART_ROWS = 100_000
PART_SECONDS = 30.0
PARTS = f"part-{5 * '[0-9]'}.parquet"
STREAM = ".stream.arrows"  # readers of Parquet folders skip names with a dot
TEXTS = ("trial_id", "split")
SCHEMA_READ = pa.schema(
    [pa.field(one.name, pa.dictionary(pa.int32(), pa.string()) if one.name in TEXTS else one.type) for one in SCHEMA]
)  # texts as their dictionaries: a long one counts once
AGAIN = "copy the study's folder again"
MAX_PART_BYTES, MAX_PART_ROWS = (
    20_000_000,
    1_000_000,
)  # of a part; ours have PART_ROWS and one trial more
MAX_STREAM_BYTES = 100_000_000  # bytes
MAX_ROWS = 100_000_000  # of all parts
MAX_DAYS = 2_000_000  # of the forecasts that a report shows
BATCH_ROWS = 1 << 17  # rows decoded at once
MAX_TEXT = 200  # letters


class Predictions:
    """Write forecasts in parts, so that memory stays constant. A stream file has those since the last part.

    Args:
        folder: `predictions.parquet` of the study; made at the first forecast.
        task, series: what the forecasts are of.
    """

    def __init__(self, folder: Path, task: Task, series: Series) -> None:
        self._folder, self._task, self._series = folder, task, series
        self._days: dict[Fold, FoldDays] = {}
        self._tables: list[pa.Table] = []
        self._rows, self._written = 0, time.monotonic()
        self._file: BinaryIO | None = None
        self._stream: pa.RecordBatchStreamWriter | None = None

    def keep(self, trial_ids: Collection[str], *, folds: int, test: bool) -> None:
        """Resume: keep the validation forecasts of these trials, each once, and remove all others.

        Args:
            trial_ids: the trials that ended with a score.
            folds: how many there are.
            test: whether the forecasts of the test block are kept too.

        Raises:
            DamagedError: forecasts of these trials are missing.
        """
        wanted = pc.field("trial_id").isin(pa.array(list(trial_ids), pa.string())) & (pc.field("split") == "validation")
        wanted = wanted | (pc.field("split") == EARLIER)
        wanted = wanted | (pc.field("split") == "test") if test else wanted
        have: set[tuple[str, str, int]] = set()
        for torn in self._folder.glob(".*"):
            if TEMPORARY_NAME.fullmatch(torn.name):
                torn.unlink()
        for path, table in self._parts():
            kept = _drop_known(table.filter(wanted), have)
            if len(kept) < len(table):
                _write(kept, path)
        for table in _read_stream(self._folder / STREAM):
            kept = _drop_known(table.filter(wanted), have)
            self._tables.append(kept)
        self.flush()
        lost = {name for name in trial_ids if any((name, "validation", fold + 1) not in have for fold in range(folds))}
        if lost:
            raise DamagedError(
                f"{self._folder}: forecasts of {len(lost)} ended trials are missing ({', '.join(sorted(lost)[:3])}); "
                "the tests for luck need all of them; restore the folder, or start a new study"
            )

    def validation(self, trial_id: str, folds: Sequence[Fold], forecast: np.ndarray) -> None:
        """Add the forecasts of a trial on the validation blocks of all folds, one after another, shape (days,)."""
        ends = np.cumsum([len(fold.validation) for fold in folds])
        parts = enumerate(zip(folds, np.split(forecast, ends[:-1]), strict=True), start=1)
        self._append([self._fold_table(trial_id, "validation", number, fold, days) for number, (fold, days) in parts])
        if self._rows >= PART_ROWS or time.monotonic() - self._written >= PART_SECONDS:
            self.flush()

    def test(self, trial_id: str, final: Fold, forecast: np.ndarray) -> None:
        """Add the forecasts of a finalist or a baseline on the test set, shape (days,)."""
        self._append([self._fold_table(trial_id, "test", 0, final, forecast)])

    def earlier(self, name: str, targets: np.ndarray, forecast: np.ndarray) -> None:
        """Add the forecasts of another study's trial, shape (days,), on days at these positions in the prices."""
        task, series = self._task, self._series
        origins = targets - series.horizon
        rival = task.baselines[task.rival](series, range(int(targets.min())), origins)
        known = FoldDays(actual=task.actual(series)[targets], rival=rival)
        self._append([self._table(name, EARLIER, 0, targets, known, forecast)])
        if self._rows >= PART_ROWS:
            self.flush()

    def remove_test(self) -> None:
        """Remove the forecasts of the test set before it is opened again."""
        self.flush()
        for path, table in self._parts():
            if len(kept := table.filter(pc.field("split") != "test")) < len(table):
                _write(kept, path)

    def flush(self) -> None:
        """Write the forecasts since the last part as a new part, atomically."""
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
        for path in _paths(self._folder):
            yield path, pa.Table.from_batches(list(_batches(path)), SCHEMA_READ).cast(SCHEMA)

    def _fold_table(self, trial_id: str, split: str, number: int, fold: Fold, forecast: np.ndarray) -> pa.Table:
        if fold not in self._days:
            (self._days[fold],) = fold_days(self._task, self._series, [fold])
        targets = np.arange(fold.validation.start, fold.validation.stop)
        return self._table(trial_id, split, number, targets, self._days[fold], forecast)

    def _table(
        self, trial_id: str, split: str, number: int, targets: np.ndarray, known: FoldDays, forecast: np.ndarray
    ) -> pa.Table:
        days = len(targets)
        columns = [
            pa.array([trial_id] * days),
            pa.array([split] * days),
            pa.array([number] * days, pa.int16()),
            pa.array(self._series.prices.dates[targets].astype("datetime64[D]")),
            *(pa.array(np.asarray(values, dtype=np.float32)) for values in (forecast, known.actual, known.rival)),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def _append(self, tables: Sequence[pa.Table]) -> None:
        if not (tables := [table for table in tables if len(table)]):
            return
        if self._stream is None or self._file is None:
            self._folder.mkdir(exist_ok=True)
            (self._folder / STREAM).unlink(missing_ok=True)
            self._file = open(self._folder / STREAM, "xb", opener=open_nofollow)  # noqa: SIM115  # until flush
            self._stream = pa.ipc.new_stream(self._file, SCHEMA)
        for table in tables:
            self._stream.write_table(table)
        self._file.flush()
        os.fsync(self._file.fileno())  # before the log says that the trial has ended
        self._tables += tables
        self._rows += sum(map(len, tables))


def _write(table: pa.Table, path: Path) -> None:
    content = pa.BufferOutputStream()
    pq.write_table(table, content)
    write_atomic(path, memoryview(content.getvalue()), durable=True)


def _paths(folder: Path) -> list[Path]:
    """Return the parts in the order in which they were written."""
    return sorted(folder.glob(PARTS))


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part, with texts as dictionaries; nothing is decoded before its size is known.

    Raises:
        DamagedError: it is not a part that `Predictions` wrote.
    """
    try:
        content = read_bytes(path, MAX_PART_BYTES, links=False)
        check_pages(content, MAX_PART_ROWS)
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(TEXTS))
        if file.schema_arrow.remove_metadata() != SCHEMA_READ:
            raise FileError("has other columns than those of forecasts")
        for batch in file.iter_batches(BATCH_ROWS):
            batch.validate(full=True)
            _check_rows(batch)
            yield batch
    except (pa.ArrowException, OSError, LookupError, UnicodeDecodeError, FileError) as error:
        raise DamagedError(
            f"{path}: is damaged ({line(error, 100)}); the tests for luck need all forecasts; "
            "restore the file, or start a new study"
        ) from None


def _check_rows(batch: pa.RecordBatch) -> None:
    if any(column.null_count for column in batch.columns):
        raise FileError("has rows without a value")
    for name in TEXTS:
        longest = pc.max(pc.binary_length(batch[name].dictionary)).as_py() or 0
        if longest > MAX_TEXT:
            raise FileError(f"{name} is longer than {MAX_TEXT} letters")


def _read_stream(path: Path) -> list[pa.Table]:
    """Return the complete tables of a stream.

    Raises:
        DamagedError: it is not a plain file, or too large.
    """
    tables: list[pa.Table] = []
    try:
        content = read_bytes(path, MAX_STREAM_BYTES, links=False)
    except FileNotFoundError:
        return tables
    except FileError as error:
        raise DamagedError(f"{path}: {error}; it contains forecasts; copy the study's folder again") from None
    try:
        source = pa.BufferReader(content)
        schema = pa.ipc.read_schema(source)
        if schema != SCHEMA:
            return tables
        for message in pa.ipc.MessageReader.open_stream(source):
            if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
                return tables  # this project writes none, and its size would be unbounded
            batch = pa.ipc.read_record_batch(message, SCHEMA)
            batch.validate(full=True)
            tables.append(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError, struct.error, EOFError):
        return tables
    return tables


def _is_compressed(metadata: bytes) -> bool:
    """Return whether the body of a record batch is compressed; see Arrow's Message.fbs."""

    def field(table: int, number: int) -> int:
        """Return the position of a field of a flatbuffer's table; 0 if the table lacks it."""
        about = table - struct.unpack_from("<i", metadata, table)[0]
        if 4 + 2 * number >= struct.unpack_from("<H", metadata, about)[0]:
            return 0
        offset = int(struct.unpack_from("<H", metadata, about + 4 + 2 * number)[0])
        return table + offset if offset else 0

    message = struct.unpack_from("<I", metadata, 0)[0]
    header = field(message, 2)
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    return bool(field(batch, 3))


def _drop_known(table: pa.Table, have: set[tuple[str, str, int]]) -> pa.Table:
    """Return a table without the forecasts (trial, split, fold) in `have`, and add the others to `have`."""
    if not len(table):
        return table
    trials, splits = (table[name].combine_chunks().dictionary_encode() for name in TEXTS)
    folds = table["fold"].to_numpy().astype(np.int64)
    codes = trials.indices.to_numpy().astype(np.int64) * len(splits.dictionary) + splits.indices.to_numpy()
    _, first, own = np.unique(codes * 2**16 + folds + 2**15, return_index=True, return_inverse=True)
    names = [(trials[row].as_py(), splits[row].as_py(), int(folds[row])) for row in first.tolist()]
    new = np.array([name not in have for name in names])
    have.update(names)
    return table.filter(pa.array(new[own]))


def read_predictions(folder: Path, split: str | None = None) -> pa.Table:
    """Return the rows of `predictions.parquet`; an empty table if there are none yet.

    Raises:
        DamagedError: a part is damaged, or there are more rows than a study has.
    """
    return pa.concat_tables([SCHEMA_READ.empty_table(), *_select_rows(folder, split)]).unify_dictionaries().cast(SCHEMA)


def read_forecasts(
    folder: Path, split: str, trials: Collection[str] | None = None, *, max_days: int = MAX_DAYS
) -> dict[str, dict[str, np.ndarray]]:
    """Return forecasts by trial ID: `fold`, `date`, `forecast`, `actual` and `rival`, each (days,), by date.

    Args:
        folder: `predictions.parquet` of a study.
        split: validation or test.
        trials: those wanted; None: all.
        max_days: of all trials together.

    Raises:
        DamagedError: a part is damaged, or there are more days.
    """
    found, rows = [], 0
    for table in _select_rows(folder, split, trials):
        found.append(table)
        if (rows := rows + len(table)) > max_days:
            raise DamagedError(f"{folder}: has more than {max_days} days of forecasts of the {split} split; {AGAIN}")
    if not rows:
        return {}
    table = pa.concat_tables(found).unify_dictionaries().combine_chunks()
    ids = table["trial_id"].chunk(0)
    codes, dates = ids.indices.to_numpy(), table["date"].to_numpy()
    order = np.lexsort((dates, codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    arrays = {name: table[name].to_numpy()[order] for name in ("fold", "date", "forecast", "actual", "rival")}
    names = [ids.dictionary[code].as_py() for code in codes[order][starts].tolist()]
    ends = [*starts[1:].tolist(), len(order)]
    own = {
        name: {column: values[start:end] for column, values in arrays.items()}
        for name, start, end in zip(names, starts.tolist(), ends, strict=True)
    }
    return {name: own[name] for name in (names if trials is None else trials) if name in own}


def _select_rows(folder: Path, split: str | None, trials: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a split and of some trials, part by part: memory holds one part beside what is selected."""
    rows = 0
    for path in _paths(folder):
        for batch in _batches(path):
            if (rows := rows + len(batch)) > MAX_ROWS:
                raise DamagedError(f"{folder}: has more than {MAX_ROWS} rows; {AGAIN}")
            selected = np.ones(len(batch), dtype=bool)
            for name, wanted in (("split", None if split is None else (split,)), ("trial_id", trials)):
                if wanted is not None:
                    column = batch[name]
                    known = np.array([text in wanted for text in column.dictionary.to_pylist()], dtype=bool)
                    selected &= known[column.indices.to_numpy()]
            if selected.any():
                # pa.array would import pandas
                bits = pa.py_buffer(np.packbits(selected, bitorder="little"))
                mask = pa.Array.from_buffers(pa.bool_(), len(selected), [None, bits])
                yield pa.Table.from_batches([batch]).filter(mask)


def read_validation_forecasts(folder: Path) -> tuple[list[str], np.ndarray]:
    """Return trial IDs and their forecasts on all validation days, (trials, days), in the order of writing.

    Raises:
        DamagedError: a part is damaged, or the trials have different numbers of days.
    """
    table = read_predictions(folder, "validation")
    ids = table["trial_id"].combine_chunks()
    names = list(dict.fromkeys(ids.to_pylist()))
    forecasts = table["forecast"].to_numpy().astype(float)
    if names and len(forecasts) % len(names):
        raise DamagedError(f"{folder}: trials have different numbers of days; they must be equal; {AGAIN}")
    return names, forecasts.reshape(len(names), -1) if names else np.empty((0, 0))
