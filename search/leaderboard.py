"""Print the leaderboard of a study, running or ended; or list the studies of a folder, one line a study:

python -m search.leaderboard results/all [--top 20] [--columns trial_id,val_relative_loss] [--sort seconds]
python -m search.leaderboard results/
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from search.common.errors import UserError
from search.common.messages import one_line, shorten, suggest
from search.results.columns import find_column
from search.results.leaderboard import aligned, escape_markdown, format_cell, table, to_csv
from search.results.ranking import BASELINE, ENSEMBLE, Row, network
from search.results.reader import StudyData, read_study
from search.results.schemas import to_plain
from stockrnn.io.files import suggest_folder
from stockrnn.io.storage import StorageError, local_copy
from stockrnn.io.terminal import escape_unencodable

__all__ = ["main"]

DONE, WRONG_INPUT = 0, 2
FORMATS = ("table", "csv", "json", "markdown")
TOP = 10
MAX_STUDIES = 500  # of a folder
NEEDED = ("manifest.json", "space.yaml", "trials.jsonl")  # of a study, for its leaderboard


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    escape_unencodable()
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
        with local_copy(options.place, _needed) as folder:
            try:
                print(_board(folder, options))
            except UserError as error:
                raise UserError(str(error).replace(str(folder), options.place)) from None
        return DONE
    except StorageError as error:
        print(f"{one_line(str(error))}; check the URL, its keys and the way to it", file=sys.stderr)
    except UserError as error:
        print(one_line(str(error)), file=sys.stderr)
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


def _leaderboard(study: StudyData, options: argparse.Namespace) -> str:
    rows, top = study.rows, _top(options.top)
    for row in rows:
        row["network"] = network(row)
    names = _names(options.columns, (*study.columns, "network"), study.columns)
    if options.sort is None and options.columns is None and options.format == "table":
        return table(rows, top=TOP if top is None else top, metric=study.space.search.metric, task=study.task)
    rows = _sorted(rows, options, (*study.columns, "network"))
    if options.format == "table" and options.columns is None:
        names = ("rank", "trial_id", "status", "network", "val_relative_loss", options.sort)
        names = tuple(dict.fromkeys(names))
    return _formatted(rows[:top], names, options.format)


def _list(folder: Path, options: argparse.Namespace) -> str:
    found: list[tuple[str, Row]] = []
    paths = sorted(folder.glob("*/manifest.json"))
    if len(paths) > MAX_STUDIES:
        text = f"{folder}: has {len(paths)} studies; the first {MAX_STUDIES} are listed; move some"
        print(one_line(text), file=sys.stderr)
    for path in paths[:MAX_STUDIES]:
        try:
            study = read_study(path.parent)
            found.append((str(study.manifest.get("start")), _summary(study)))
        except (OSError, UserError) as error:
            print(one_line(str(error)), file=sys.stderr)
    if not found:
        near = suggest_folder(str(folder), "manifest.json")
        fix = near if near.startswith("did") else "name a folder as in results/ or results/smoke"
        raise UserError(f"{folder}: holds no study; {fix}")
    rows = [row for _, row in sorted(found, key=lambda pair: pair[0])]
    names = tuple(rows[0])
    return _formatted(
        _sorted(rows, options, names)[: _top(options.top)], _names(options.columns, names, names), options.format
    )


def _summary(study: StudyData) -> Row:
    """Return the row of a study: name, start, state, trials, and the scores of the best trial."""
    trials = [row for row in study.rows if row["status"] not in (BASELINE, ENSEMBLE) and row.get("rank")]
    best = trials[0] if trials else {}
    return {
        "study": study.folder.name,
        "start": str(study.manifest.get("start") or "")[:16].replace("T", " "),
        "state": study.state,
        "trials": f"{len(study.ends)}/{study.space.num_samples}",
        "source": str(study.manifest["data"].get("source", "")),
        "best": best.get("trial_id", ""),
        "val_relative_loss": best.get("val_relative_loss"),
        "test_relative_loss": best.get("test_relative_loss"),
    }


def _top(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise UserError(f"--top {shorten(text)}: is no number of rows; write a whole number, at least 1")
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
        choice = suggest(name, known) or f"; choose from {', '.join(known)}"
        raise UserError(f"{option} {shorten(name)}: there is no such column{choice}")


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
        return json.dumps(
            to_plain([{name: row.get(name) for name in names} for row in rows]), indent=2, allow_nan=False
        )
    if form == "csv":
        return to_csv(rows, names).rstrip("\n")
    cells = [[format_cell(name, row.get(name)) for name in names] for row in rows]
    left = [index for index, name in enumerate(names) if find_column(name).format == "text"]
    if form == "markdown":
        lines = [
            names,
            ["---" if index in left else "---:" for index in range(len(names))],
            *(map(escape_markdown, line) for line in cells),
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return aligned([list(names), *cells], left)


if __name__ == "__main__":
    sys.exit(main())
