"""Write one page that compares several studies: verdicts, best trials and their learning curves."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search.common.durations import format_duration
from search.common.text import Text, translate
from search.report.charts.learning_curves import draw_best_curves, name_score
from search.report.html import write_page
from search.report.summary import short_source
from search.results.leaderboard import parse_number
from search.results.ranking import BASELINE, ENSEMBLE, network
from search.results.reader import StudyData, read_study

__all__ = ["write_comparison"]


def write_comparison(folders: Sequence[Path], output: Path | None = None, language: str = "en") -> Path:
    """Write the page and return its path, by default `comparison.html` next to the first folder.

    Raises:
        UserError: a folder is not a study, or a file in it is damaged.
    """
    studies = [read_study(folder) for folder in folders]
    names = _name_studies(folders)
    curves = draw_best_curves([*zip(names, studies, strict=True)])
    rows = [_build_row(name, study) for name, study in zip(names, studies, strict=True)]
    tasks = {study.task for study in studies}
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"]))
    return write_page(
        output or folders[0].resolve().parent / "comparison.html",
        "comparison.html.j2",
        [curves],
        language,
        studies=[
            {"name": name, "verdict": study.describe_verdict(language), "running": not study.manifest.get("end")}
            for name, study in zip(names, studies, strict=True)
        ],
        rows=rows,
        score=name_score(tasks.pop() if len(tasks) == 1 else None),
        differences=translate(_find_differences(studies), language),
        curves=curves,
    )


def _name_studies(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders, with the parent folder where two names are the same."""
    own = [folder.resolve() for folder in folders]
    counts = Counter(folder.name for folder in own)
    return [folder.name if counts[folder.name] == 1 else f"{folder.parent.name}/{folder.name}" for folder in own]


def _build_row(name: str, study: StudyData) -> dict[str, Any]:
    """Return a study and its best trial as one row of texts; `rank` is the sort key."""
    trials = [row for row in study.csv_board[1] if row.get("status") not in (BASELINE, ENSEMBLE) and row.get("rank")]
    best = trials[0] if trials else {}

    def number(column: str) -> str:
        value = parse_number(best.get(column, ""))
        return "" if value is None else f"{value:.4f}"

    return {
        "rank": parse_number(best.get("val_relative_loss", "")),
        "study": name,
        "trials": Text("{n} of {all}", n=len(study.ends), all=study.planned or "?"),
        "best": best.get("trial_id", ""),
        "network": network(best) if best.get("architecture") else "",
        "val_relative_loss": number("val_relative_loss"),
        "val_worst_fold": number("val_worst_fold"),
        "test_relative_loss": number("test_relative_loss"),
        "test_dm_p": number("test_dm_p"),
        "duration": format_duration(study.seconds),
        "source": short_source(str(study.manifest["data"].get("source") or "")),
        "start": (study.manifest.get("start") or "")[:16].replace("T", " "),
    }


def _find_differences(studies: Sequence[StudyData]) -> list[str]:
    """Return the settings in which the studies differ, which make their scores incomparable."""
    settings: dict[str, Callable[[StudyData], Any]] = {
        Text("prices"): lambda study: study.manifest["data"].get("sha256"),
        Text("folds"): lambda study: study.manifest["folds"],
        Text("test set"): lambda study: study.manifest["test"],
        Text("task"): lambda study: study.task.name,
        Text("horizon"): lambda study: (study.sections.get("data") or {}).get("horizon"),
    }
    return [
        name
        for name, setting in settings.items()
        if any(setting(study) != setting(studies[0]) for study in studies[1:])
    ]
