"""Several studies side by side in one page: their verdicts, their best rows, the curves of their best trials."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.common.durations import duration
from search.report.charts.learning_curves import best_curves
from search.report.html import write_page
from search.results.leaderboard import parse_number
from search.results.ranking import BASELINE, ENSEMBLE, network
from search.results.reader import StudyData, read_study

__all__ = ["write_comparison"]


def write_comparison(folders: Sequence[Path], output: Path | None = None) -> Path:
    """Write one page about several studies; without `output` it is `comparison.html` beside the first folder.

    Raises:
        ValueError: a folder is no study, or a file of it is damaged.
    """
    studies = [read_study(folder) for folder in folders]
    names = _names(folders)
    curves = best_curves([*zip(names, studies, strict=True)])
    rows = [_row(name, study) for name, study in zip(names, studies, strict=True)]
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"]))
    return write_page(
        output or folders[0].resolve().parent / "comparison.html",
        "comparison.html.j2",
        [curves],
        studies=[
            {"name": name, "verdict": study.verdict, "running": not study.manifest.get("end")}
            for name, study in zip(names, studies, strict=True)
        ],
        rows=rows,
        differences=_differences(studies),
        curves=curves,
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names; with what stands before them where two have the same."""
    own = [folder.resolve() for folder in folders]
    counts = Counter(folder.name for folder in own)
    return [folder.name if counts[folder.name] == 1 else f"{folder.parent.name}/{folder.name}" for folder in own]


def _row(name: str, study: StudyData) -> dict[str, Any]:
    """A study and its best trial in one row of texts; `rank` sorts."""
    trials = [row for row in study.csv_board[1] if row.get("status") not in (BASELINE, ENSEMBLE) and row.get("rank")]
    best = trials[0] if trials else {}

    def number(column: str) -> str:
        value = parse_number(best.get(column, ""))
        return "" if value is None else f"{value:.4f}"

    return {
        "rank": parse_number(best.get("val_theils_u", "")),
        "study": name,
        "trials": f"{len(study.ends)} of {study.sections['search'].get('num_samples', '?')}",
        "best": best.get("trial_id", ""),
        "network": network(best) if best.get("architecture") else "",
        "val_theils_u": number("val_theils_u"),
        "val_worst_fold": number("val_worst_fold"),
        "test_theils_u": number("test_theils_u"),
        "test_dm_p": number("test_dm_p"),
        "took": duration(study.seconds),
        "source": study.manifest["data"].get("source") or "",
        "start": (study.manifest.get("start") or "")[:16].replace("T", " "),
    }


def _differences(studies: Sequence[StudyData]) -> list[str]:
    """In what the studies differ, so that their scores are not compared blindly."""
    facts = {
        "prices": lambda study: study.manifest["data"].get("sha256"),
        "folds": lambda study: study.manifest["folds"],
        "test block": lambda study: study.manifest["test"],
        "horizon": lambda study: (study.sections.get("data") or {}).get("horizon"),
    }
    return [name for name, fact in facts.items() if any(fact(study) != fact(studies[0]) for study in studies[1:])]
