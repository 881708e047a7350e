"""The report: a results folder as one self-contained HTML file, at any time, also of a study that still runs.

It reads only the folder's files: `python -m search.report results/<study>`; several folders are put side by side in
one page. The words are in `report.html.j2`; here are the facts.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from search.common.durations import duration
from search.common.errors import UserError
from search.common.messages import one_line
from search.report.charts.learning_curves import learning_curves
from search.report.charts.parameters import TOO_FEW, important, points, slices
from search.report.charts.test_block import advantages, forecasts, spread
from search.report.charts.timeline import dates, spent
from search.report.comparison import write_comparison
from search.report.html import write_page
from search.results.leaderboard import parse_number
from search.results.links import check_folder
from search.results.ranking import BASELINE, ENSEMBLE, network
from search.results.reader import MAX_SHOWN_TRIALS, read_study
from search.results.verdict import headline
from search.space.document import SpaceError
from search.space.parameters import FIELDS
from stockrnn.io.storage import RemoteFolder, beside, copied, is_url, joined

__all__ = ["main", "write_report"]

DONE, NO_REPORT = 0, 2
MOST_OTHERS = 100  # messages, or rows behind MAX_SHOWN_TRIALS, that are shown
DECIMALS = ("val_", "test_", "seeds_sd", "seconds")  # columns of these names have 4 decimals


def write_report(folder: Path) -> Path:
    """Write `report.html` from the files of a results folder; a reader sees the old file or the new one.

    Raises:
        UserError: the folder is no study, or a file of it is damaged.
    """
    findings = read_study(folder)
    names, rows = findings.csv_board
    curves, timeline, time, sliced = learning_curves(findings), dates(findings), spent(findings), slices(findings)
    test, ahead, scatter = forecasts(findings), advantages(findings), spread(findings)
    importance, lines = important(findings), points(findings)
    failures = [(end.trial_id, end.message) for end in findings.ends if end.message]
    return write_page(
        folder / "report.html",
        "report.html.j2",
        [test, ahead, curves, importance, lines, *sliced, timeline, scatter, time],
        headline=headline(findings.verdict),
        verdict=findings.verdict,
        manifest={name: value for name, value in findings.manifest.items() if value is not None},
        space=findings.sections,
        space_text=findings.space_text,
        counts=findings.counts,
        ended=len(findings.log.finished),
        scored=len(findings.scored),
        varying=len(findings.varying),
        too_few=TOO_FEW,
        last=findings.last,
        took=duration(findings.seconds),
        board=_board(
            _with_network(names),
            [{**row, "network": _network(row)} for row in _drawn(rows)],
            len(rows),
        ),
        failures=failures[:MOST_OTHERS], more_failures=len(failures[MOST_OTHERS:]),
        curves=curves, timeline=timeline, time=time, sliced=sliced, test_chart=test, ahead=ahead, scatter=scatter,
        importance=importance, lines=lines,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m search.report",
        description="Write the report.html of a study, at any time; or several studies side by side in one page.",
    )
    parser.add_argument(
        "places", nargs="+", metavar="FOLDER",
        help="a study's folder, as in results/smoke or s3://bucket/results/smoke; or several",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="of several: the page (default: comparison.html beside the first)"
    )
    given = parser.parse_args(arguments)
    if given.output and len(given.places) == 1:
        parser.error("--output: is for several studies; the report of one is report.html in its folder")
    try:
        with ExitStack() as stack:
            folders = [stack.enter_context(copied(place)) for place in given.places]
            for folder in folders:
                check_folder(folder)
            print(_written(given.places, folders, given.output))
        return DONE
    except SpaceError as error:
        print(f"{error.problems[0]}; no report was written", file=sys.stderr)
    except (OSError, UserError) as error:
        print(f"{one_line(str(error))}; no report was written", file=sys.stderr)
    return NO_REPORT


def _written(places: Sequence[str], folders: Sequence[Path], output: Path | None) -> str:
    """Write the page and say where it is: behind the first's URL, where it has one."""
    page = write_report(folders[0]) if len(places) == 1 else write_comparison(folders, output)
    if output or not is_url(places[0]):
        return str(page)
    where = places[0] if len(places) == 1 else beside(places[0])
    RemoteFolder(where).write(page.name, page.read_bytes())
    return joined(where, page.name)


def _drawn(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The first rows, and of those behind them the first that are no trials."""
    others = [row for row in rows[MAX_SHOWN_TRIALS:] if row.get("status") in (BASELINE, ENSEMBLE)]
    return [*rows[:MAX_SHOWN_TRIALS], *others[:MOST_OTHERS]]


def _with_network(names: Sequence[str]) -> list[str]:
    """The columns with the network in a few words behind the status, so that it is seen without scrolling."""
    behind = names.index("status") + 1 if "status" in names else len(names)
    return [*names[:behind], "network", *names[behind:]]


def _network(row: Mapping[str, str]) -> str:
    return network(row) if row.get("architecture") else ""


def _board(names: Sequence[str], rows: Sequence[Mapping[str, str]], total: int) -> dict[str, Any]:
    """The leaderboard: the columns that some row fills, those that none does, and rows of readable texts.

    `exact` are the numbers behind the texts, which is what columns are sorted by.
    """
    used = [name for name in names if any(row.get(name) for row in rows)]
    filled = {name: [text for row in rows if (text := row.get(name))] for name in used if name != "trial_id"}
    numbers = {name for name, texts in filled.items() if all(parse_number(text) is not None for text in texts)}
    return {
        "columns": used,
        "empty": [name for name in names if name not in used],
        "numbers": numbers,
        "fields": {name: owner.model_fields[name].description for name, owner in FIELDS.items()},
        "rows": [
            {name: _number(name, row.get(name, "")) if name in numbers else row.get(name, "") for name in used}
            for row in rows
        ],
        "exact": [{name: row.get(name, "") for name in numbers} for row in rows],
        "left_out": total - len(rows),
        "statuses": list(dict.fromkeys(row.get("status", "") for row in rows)),
    }


def _number(name: str, text: str) -> str:
    """Scores with 4 decimals, other numbers with 4 significant digits, whole ones whole."""
    value = parse_number(text)
    if value is None:
        return text
    if not name.startswith(DECIMALS):
        return text if text.lstrip("-").isdigit() else f"{value:.4g}"
    if value and not 5e-5 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
