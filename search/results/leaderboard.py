"""Write the leaderboard as a CSV file or as a table of text, and read the CSV file.

A spreadsheet computes a cell that begins with `=`, `+`, `-` or `@`. So an apostrophe precedes a text that begins with
one of them, or with an apostrophe; `read_csv` removes it. A text has one line; control characters are escaped. Numbers
are written as they are, also negative ones.
"""

import csv
import io
import math
import re
from collections.abc import Collection, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from search.common.errors import DamagedError
from search.common.messages import one_line, shorten
from search.results.columns import find_column, format_number
from search.results.ranking import ALWAYS_SHOWN, Row, network
from search.results.schemas import MAX_TRIALS
from stockrnn.io.files import FileError, read_lines, write_atomic
from stockrnn.tasks.price import PRICE
from stockrnn.tasks.task import Task

__all__ = [
    "aligned",
    "escape_markdown",
    "format_cell",
    "parse_number",
    "read_csv",
    "table",
    "to_csv",
    "write_csv",
]

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "'")  # a spreadsheet treats wide characters as narrow ones
MAX_CSV_BYTES, MAX_LINE_BYTES = 200_000_000, 100_000  # bytes of a file and of its lines
IDENTITY = {"rank", "trial_id", "status"}
MAX_WIDTH = 80  # characters of a line of the table, if all fits into them
MAX_ROWS, MAX_COLUMNS = MAX_TRIALS + 1000, 200


def write_csv(path: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Write the leaderboard; a reader sees the old file or the new one, never a part."""
    write_atomic(path, to_csv(rows, names).encode())


def read_csv(
    path: Path, full_rows: int = MAX_ROWS, needed: Collection[str] = ()
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns of a leaderboard that `write_csv` wrote, and its rows as texts.

    Args:
        path: the file.
        full_rows: number of rows that are returned with all columns.
        needed: the columns of the rows after them, beside rank, trial id and status.

    Raises:
        DamagedError: there is no such file, or it is damaged.
    """
    again = "it is as search.run wrote it; copy the study's folder again"
    rows: list[dict[str, str]] = []
    try:
        reader = csv.reader(
            (line.decode("utf-8") for line in read_lines(path, MAX_CSV_BYTES, MAX_LINE_BYTES)), strict=True
        )
        names = next(reader, [])
        if len(set(names)) < len(names) or len(names) > MAX_COLUMNS:
            raise FileError(f"two columns have a name, or there are more than {MAX_COLUMNS}")
        if names and (missing := IDENTITY - set(names)):
            raise FileError(f"has no column {min(missing)}")
        kept = [name in IDENTITY or name in needed for name in names]
        for number, cells in enumerate(reader):
            if len(cells) != len(names):
                raise FileError("its lines are not all as long")
            if number == MAX_ROWS:
                raise FileError(f"has more than {MAX_ROWS} rows")
            pairs = zip(names, map(_unescape_formula, cells), strict=True)
            rows.append(dict(pairs if number < full_rows else compress(pairs, kept)))
    except FileNotFoundError:
        raise DamagedError(f"{path}: no such file; {again}") from None
    except (csv.Error, ValueError) as error:
        what = str(error) if isinstance(error, FileError) else f"is no CSV file ({one_line(str(error))})"
        raise DamagedError(f"{path}: {what}; {again}") from None
    return names, rows


def table(rows: Sequence[Row], *, top: int, metric: str = "val_relative_loss", task: Task = PRICE) -> str:
    """Return the best rows, baselines, the average of the finalists and the default as a text of 80 columns or less.

    The relative losses have the short name of the task: `val U` and `test U` are Theil's U. Without it, they are `val`
    and `test`, if the table would be too wide.
    """
    shown = [row for position, row in enumerate(rows) if position < top or row["status"] in ALWAYS_SHOWN]
    heads: tuple[str, ...] = ("#", "trial", "status", "network", "val", "sd")
    extra = [name for name in (metric,) if name not in ("val_relative_loss", "val_worst_fold")]
    if any("test_relative_loss" in row for row in rows):
        extra.append("test_relative_loss")
    heads = (*heads, *("test" if name == "test_relative_loss" else name.removeprefix("val_") for name in extra))
    cells = [heads]
    for row in shown:
        line = (
            str(row.get("rank") or "-"), *(format_cell(name, row[name]) for name in ("trial_id", "status")),
            format_cell("network", network(row)),
            *(format_cell(name, row.get(name)) for name in ("val_relative_loss", "val_relative_loss_sd")),
        )  # fmt: skip
        cells.append((*line, *(format_cell(name, row.get(name)) for name in extra)))
    named = tuple(f"{head} {task.words.short_score}" if head in ("val", "test") else head for head in heads)
    text = aligned([named, *cells[1:]], (1, 2, 3))
    too_wide = max(map(len, text.splitlines())) > MAX_WIDTH
    return aligned(cells, (1, 2, 3)) if too_wide else text


def aligned(cells: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Return lines of cells in columns; the columns in `left` are aligned left, the others right."""
    widths = [max(len(line[index]) for line in cells) for index in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def parse_number(text: str) -> float | None:
    """Return the finite number in a text, or None if there is none."""
    try:
        return value if math.isfinite(value := float(text)) else None
    except ValueError:
        return None


def to_csv(rows: Sequence[Row], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_escape_formula(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def _escape_formula(value: Any) -> Any:
    """Return the cell of a CSV file; an apostrophe precedes a text that a spreadsheet would compute."""
    cell = to_plain_cell(value)
    return f"'{cell}" if isinstance(value, str) and cell.startswith(FORMULA) else cell


def _unescape_formula(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def to_plain_cell(value: Any) -> Any:
    """Return a value on one line, with invisible characters escaped; empty if it is unknown."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if not math.isfinite(value) else f"{value:.10g}"
    return one_line(value) if isinstance(value, str) else "" if value is None else value


def escape_markdown(cell: str) -> str:
    """Escape a cell of a Markdown table: HTML, links, images, code and the end of the cell."""
    return re.sub(r"([\\`|\[\]*~])", r"\\\1", cell.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def format_cell(name: str, value: Any) -> str:
    """Return the cell of a column as text for a table."""
    if isinstance(value, float):
        return format_number(value, find_column(name).format)
    return shorten(str(to_plain_cell(value)))
