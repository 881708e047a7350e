"""Write the HTML report of a study from its results folder, also while the study runs.

The texts of the page are in `templates/report.html.j2`; this module supplies the variables. With several folders, the
command `python -m search.report` writes a comparison.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from search.common.durations import format_duration
from search.common.errors import UserError
from search.common.messages import one_line
from search.common.text import LANGUAGES, Text
from search.report.board import build_board
from search.report.charts.changes import draw_changes
from search.report.charts.learning_curves import draw_learning_curves
from search.report.charts.parameters import (
    MIN_DRAWN_TRIALS,
    MIN_SCORED_TRIALS,
    draw_importance,
    draw_parallel_coordinates,
    draw_slices,
)
from search.report.charts.reliability import draw_reliability
from search.report.charts.test_block import draw_cumulative_advantage, draw_forecasts, draw_spread
from search.report.charts.timeline import draw_folds, draw_worker_timeline
from search.report.comparison import write_comparison
from search.report.html import write_page
from search.report.summary import find_docs, list_key_figures, list_tests, short_source
from search.results.columns import find_column
from search.results.folder.links import check_folder
from search.results.reader import read_study
from search.results.verdict import name_rival, select_facts, split_verdict
from search.space.document import SpaceError
from stockrnn.io.storage import RemoteFolder, is_url, join_path, local_copy, parent_url
from stockrnn.io.terminal import escape_unencodable

__all__ = ["main", "write_final_report", "write_report"]

DONE, NO_REPORT = 0, 2
MAX_MESSAGES = 100


def write_report(folder: Path, language: str = "en") -> Path:
    """Write `report.html` into a results folder and return its path; an older report is replaced atomically.

    Args:
        folder: the study's.
        language: of the page, one of `search.common.text.LANGUAGES`.

    Raises:
        UserError: the folder is not a study, or a file in it is damaged.
    """
    study = read_study(folder)
    headline: str
    facts: str | list[Text]
    headline, facts = split_verdict(study.verdict)  # in English it is that of the manifest, also of another version
    if language != "en":
        headline, facts = study.conclusion[0], select_facts(study.conclusion)
    forecasts, changes, advantage = draw_forecasts(study), draw_changes(study), draw_cumulative_advantage(study)
    curves, importance, slices = draw_learning_curves(study), draw_importance(study), draw_slices(study)
    coordinates, folds, spread = draw_parallel_coordinates(study), draw_folds(study), draw_spread(study)
    workers, reliability = draw_worker_timeline(study), draw_reliability(study)
    messages = [(end.trial_id, end.message) for end in study.ends if end.message]
    return write_page(
        folder / "report.html",
        "report.html.j2",
        [forecasts, changes, advantage, reliability, curves, importance, coordinates, *slices, folds, spread, workers],
        language,
        headline=headline,
        facts=facts,
        tests=list_tests(study),
        figures_on_top=list_key_figures(study),
        docs=find_docs(folder),
        source=short_source(str(study.manifest["data"].get("source") or "?")),
        find_column=partial(find_column, task=study.task), rival=name_rival(study.task),
        manifest={name: value for name, value in study.manifest.items() if value is not None},
        space=study.sections, planned=study.planned,
        space_text=study.space_text,
        counts=study.counts,
        ended=len(study.log.finished),
        scored=len(study.scored),
        varying=len(study.varying),
        min_scored=MIN_SCORED_TRIALS,
        min_drawn=MIN_DRAWN_TRIALS,
        last=study.last,
        duration=format_duration(study.seconds),
        board=build_board(*study.csv_board, study.metric, study.task),
        messages=messages[:MAX_MESSAGES], more_messages=len(messages[MAX_MESSAGES:]),
        forecasts=forecasts, changes=changes, advantage=advantage, curves=curves, importance=importance,
        reliability=reliability, coordinates=coordinates, slices=slices, folds=folds, spread=spread, workers=workers,
    )  # fmt: skip


def write_final_report(folder: Path, language: str = "en") -> None:
    """Write the report at the end of a study; a bug in the report is printed in one line and does not end the study."""
    try:
        write_report(folder, language)
    except (OSError, UserError):
        raise
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        print(
            f"{folder / 'report.html'}: internal error ({reason}); all other results are saved; "
            f"python -m search.report {folder} shows the traceback",
            file=sys.stderr,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    escape_unencodable()
    parser = argparse.ArgumentParser(
        prog="python -m search.report",
        description="Write the report.html of a study, also while it runs, or one page that compares several studies.",
    )
    parser.add_argument(
        "places", nargs="+", metavar="FOLDER",
        help="the folder of a study, for example results/smoke or s3://bucket/results/smoke; or several folders",
    )  # fmt: skip
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file of the comparison (default: comparison.html next to the first folder)",
    )
    parser.add_argument(
        "--language", choices=LANGUAGES, default="en", help="language of the page: English or Korean (default: en)"
    )
    given = parser.parse_args(arguments)
    if given.output and len(given.places) == 1:
        parser.error("--output: needs several studies; the report of one study is report.html in its folder")
    try:
        with ExitStack() as stack:
            folders = [stack.enter_context(local_copy(place)) for place in given.places]
            for folder in folders:
                check_folder(folder)
            print(_write(given.places, folders, given.output, given.language))
        return DONE
    except SpaceError as error:
        print(f"{error.problems[0]}; no report was written", file=sys.stderr)
    except (OSError, UserError) as error:
        print(f"{one_line(str(error))}; no report was written", file=sys.stderr)
    return NO_REPORT


def _write(places: Sequence[str], folders: Sequence[Path], output: Path | None, language: str) -> str:
    """Write the page and return its path, or its URL if the first study has one."""
    page = write_report(folders[0], language) if len(places) == 1 else write_comparison(folders, output, language)
    if output or not is_url(places[0]):
        return str(page)
    parent = places[0] if len(places) == 1 else parent_url(places[0])
    RemoteFolder(parent).write(page.name, page.read_bytes())
    return join_path(parent, page.name)
