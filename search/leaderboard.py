"""The leaderboard as a CSV file and as text; and at any moment, of a study that runs or has ended:

    python -m search.leaderboard results/all [--top 20] [--columns trial_id,val_theils_u] [--sort seconds]
    python -m search.leaderboard results/

A folder of studies is listed, one line a study.

A CSV file may be opened in a spreadsheet, which computes a cell that begins with `=`, `+`, `-` or `@`. A text that does
has an apostrophe before it, as is usual; so has one that begins with an apostrophe, so that `read_csv` gives each back
as it was. Texts stand on one line, and control characters in them as escapes. Numbers stay numbers, negative ones too.
"""

import argparse
import csv
import io
import json
import math
import re
import sys
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from search.errors import DamagedError
from search.ranking import BASELINE, ENSEMBLE, Row, network
from search.shapes import MOST_TRIALS, plain
from search.studies import Study, StudyError, read_studies, read_study
from search.wording import one_line, shortened, suggestion
from stockrnn.files import FileError, plain_lines, write_atomic
from stockrnn.storage import StorageError, copied

__all__ = ["main", "read_csv", "table", "write_csv"]

DONE, WRONG_INPUT = 0, 2
FORMATS = ("table", "csv", "json", "markdown")
TOP = 10
NEEDED = ("manifest.json", "space.yaml", "trials.jsonl")  # of a study, for its leaderboard
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "'")  # a spreadsheet takes wide letters for narrow ones
MOST_CSV, MOST_LINE = 200_000_000, 100_000  # bytes of a file and of its lines
MOST_ROWS, MOST_COLUMNS = MOST_TRIALS + 1000, 200
KEPT = {"rank", "trial_id", "status", "val_theils_u", "test_theils_u", "test_dm_p", "test_rmse"}  # what verdicts are of
LEFT = {"trial_id", "status", "network", "study", "state", "source", "start"}  # columns of words


def write_csv(path: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Write the leaderboard; a reader sees the old file or the new one, never a part."""
    write_atomic(path, _csv(rows, names).encode())


def read_csv(path: Path, whole: int = MOST_ROWS) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns of a leaderboard that `write_csv` wrote, and its rows as texts.

    Args:
        path: the file.
        whole: rows that have all columns; of those behind them trials have the columns KEPT only.

    Raises:
        DamagedError: it is none, in one line.
    """
    again = "it is as search.run wrote it; copy the study's folder again"
    rows: list[dict[str, str]] = []
    try:
        reader = csv.reader((line.decode("utf-8") for line in plain_lines(path, MOST_CSV, MOST_LINE)), strict=True)
        names = next(reader, [])
        if len(set(names)) < len(names) or len(names) > MOST_COLUMNS:
            raise FileError(f"two columns have a name, or there are more than {MOST_COLUMNS}")
        if names and (missing := {"rank", "trial_id", "status"} - set(names)):
            raise FileError(f"has no column {min(missing)}")
        kept = [name in KEPT for name in names]
        for number, cells in enumerate(reader):
            if len(cells) != len(names):
                raise FileError("its lines are not all as long")
            if number == MOST_ROWS:
                raise FileError(f"has more than {MOST_ROWS} rows")
            pairs = zip(names, map(_read, cells), strict=True)
            rows.append(dict(pairs if number < whole else compress(pairs, kept)))
    except FileNotFoundError:
        raise DamagedError(f"{path}: no such file; {again}") from None
    except (csv.Error, ValueError) as error:
        what = str(error) if isinstance(error, FileError) else f"is no CSV file ({one_line(str(error))})"
        raise DamagedError(f"{path}: {what}; {again}") from None
    return names, rows


def table(rows: Sequence[Row], *, top: int, metric: str = "val_theils_u") -> str:
    """The best rows, every baseline and the finalists' average, as text of at most 80 columns.

    val U and test U are Theil's U.
    """
    shown = [row for position, row in enumerate(rows) if position < top or row["status"] in (BASELINE, ENSEMBLE)]
    heads: tuple[str, ...] = ("#", "trial", "status", "network", "val U", "sd")
    extra = [name for name in (metric,) if name not in ("val_theils_u", "val_worst_fold")]
    if any("test_theils_u" in row for row in rows):
        extra.append("test_theils_u")
    heads = (*heads, *(name.removeprefix("val_").replace("test_theils_u", "test U") for name in extra))
    cells = [heads]
    for row in shown:
        line = (
            str(row.get("rank") or "-"), *map(_shown, (row["trial_id"], row["status"], network(row))),
            _number(row.get("val_theils_u")), _number(row.get("val_theils_u_sd")),
        )  # fmt: skip
        cells.append((*line, *(_number(row.get(name)) for name in extra)))
    return _aligned(cells, (1, 2, 3))


def _aligned(cells: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Lines of cells in columns; those in `left` start at the left, the others end at the right."""
    widths = [max(len(line[index]) for line in cells) for index in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


def _csv(rows: Sequence[Row], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_guarded(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def _guarded(value: Any) -> Any:
    """A value as it stands in a CSV file: a text that a spreadsheet would compute has an apostrophe before it."""
    cell = _cell(value)
    return f"'{cell}" if isinstance(value, str) and cell.startswith(FORMULA) else cell


def _read(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _cell(value: Any) -> Any:
    """A value on one line, its unseen characters visible; empty where it is unknown."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if not math.isfinite(value) else f"{value:.10g}"
    return one_line(value) if isinstance(value, str) else "" if value is None else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m search.leaderboard",
        description="Print the leaderboard of a study, running or ended; or the studies of a folder.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "place", metavar="FOLDER", help="a study, as in results/all or s3://bucket/results/all, or a folder of studies"
    )
    parser.add_argument("--top", metavar="N", help="trials at most, baselines beside (table: 10; else all)")
    parser.add_argument("--columns", metavar="NAMES", help="columns, with commas between; see those of leaderboard.csv")
    parser.add_argument("--sort", metavar="COLUMN", help="sort by a column, smallest first (default: rank)")
    parser.add_argument("--reverse", action="store_true", help="with --sort: largest first")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    options = parser.parse_args(arguments)
    try:
        with copied(options.place, _needed) as folder:
            try:
                print(_board(folder, options))
            except StudyError as error:
                raise StudyError(str(error).replace(str(folder), options.place)) from None
        return DONE
    except StudyError as error:
        print(one_line(str(error)), file=sys.stderr)
    except StorageError as error:
        print(f"{one_line(str(error))}; check the URL, its keys and the way to it", file=sys.stderr)
    except OSError as error:
        print(f"{one_line(options.place)}: cannot be read ({error.strerror}); check the path", file=sys.stderr)
    return WRONG_INPUT


def _needed(name: str) -> bool:
    *folders, file = name.split("/")
    return len(folders) <= 1 and file in NEEDED


def _board(folder: Path, options: argparse.Namespace) -> str:
    if (folder / "manifest.json").exists():
        return _leaderboard(read_study(folder), options)
    return _list(folder, options)


def _leaderboard(study: Study, options: argparse.Namespace) -> str:
    rows, top = study.rows, _top(options.top)
    for row in rows:
        row["network"] = network(row)
    names = _names(options.columns, (*study.columns, "network"), study.columns)
    if options.sort is None and options.columns is None and options.format == "table":
        return table(rows, top=TOP if top is None else top, metric=study.space.search.metric)
    rows = _sorted(rows, options, (*study.columns, "network"))
    if options.format == "table" and options.columns is None:
        names = ("rank", "trial_id", "status", "network", "val_theils_u", options.sort)
        names = tuple(dict.fromkeys(names))
    return _formatted(rows[:top], names, options.format)


def _list(folder: Path, options: argparse.Namespace) -> str:
    studies, wrong = read_studies(folder)
    for error in wrong:
        print(one_line(str(error)), file=sys.stderr)
    if not studies:
        raise StudyError(f"{folder}: holds no study; name a folder as in results/ or results/smoke")
    rows = [study.summary() for study in studies]
    every = tuple(rows[0])
    return _formatted(
        _sorted(rows, options, every)[: _top(options.top)], _names(options.columns, every, every), options.format
    )


def _top(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise StudyError(f"--top {shortened(text)}: is no number of rows; write a whole number, at least 1")
    return int(text)


def _names(text: str | None, known: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    if text is None:
        return tuple(default)
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        _check(name, known, "--columns")
    return names


def _check(name: str, known: Sequence[str], option: str) -> None:
    if name not in known:
        choice = suggestion(name, known) or f"; choose from {', '.join(known)}"
        raise StudyError(f"{option} {shortened(name)}: there is no such column{choice}")


def _sorted(rows: Sequence[Row], options: argparse.Namespace, known: Sequence[str]) -> list[Row]:
    """By a column; rows without a value are last in either direction."""
    name = options.sort
    if name is None:
        return list(rows)
    _check(name, known, "--sort")
    filled = [row for row in rows if row.get(name) not in (None, "") and row[name] == row[name]]  # NaN is not itself
    numbers = all(isinstance(row[name], int | float) for row in filled)
    filled.sort(key=lambda row: row[name] if numbers else str(row[name]), reverse=options.reverse)
    return filled + [row for row in rows if all(row is not other for other in filled)]


def _formatted(rows: Sequence[Row], names: Sequence[str], form: str) -> str:
    if form == "json":
        return json.dumps(plain([{name: row.get(name) for name in names} for row in rows]), indent=2, allow_nan=False)
    if form == "csv":
        return _csv(rows, names).rstrip("\n")
    cells = [[_shown(row.get(name)) for name in names] for row in rows]
    if form == "markdown":
        lines = [
            names,
            ["---" if name in LEFT else "---:" for name in names],
            *(map(_markdown, line) for line in cells),
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return _aligned([list(names), *cells], [index for index, name in enumerate(names) if name in LEFT])


def _markdown(cell: str) -> str:
    """A cell of a Markdown table as text: nothing in it is HTML, a link, an image, code or the end of the cell."""
    return re.sub(r"([\\`|\[\]*~])", r"\\\1", cell.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _shown(value: Any) -> str:
    return _number(value) if isinstance(value, float) else shortened(str(_cell(value)))


if __name__ == "__main__":
    sys.exit(main())
