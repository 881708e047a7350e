"""The leaderboard: trials and baselines in one ranking, as rows, as a CSV file and as text."""

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from search.record import TrialEnd
from search.space import Space

__all__ = ["columns", "rank", "table", "verdict", "write_csv"]

FIRST = ("rank", "trial_id", "status", "architecture", "head", "hidden_size", "num_layers", "sequence_length")
LAST = (
    "val_theils_u", "val_theils_u_sd", "val_worst_fold", "val_rmse", "val_mae", "val_direction_accuracy",
    "epochs", "best_epoch", "parameters", "seconds",
)  # fmt: skip
BASELINE = "baseline"
Row = dict[str, Any]


def columns(space: Space) -> tuple[str, ...]:
    """The columns: the named ones first, the space's other parameters in its order, then scores and costs."""
    others = tuple(parameter.name for parameter in space.parameters if parameter.name not in FIRST)
    return (*FIRST, *others, *LAST)


def rank(
    ends: Iterable[TrialEnd], baselines: Mapping[str, Mapping[str, float]], *, metric: str, mode: str
) -> list[Row]:
    """Trials and baselines as rows, best first; those without a score follow, without a rank."""
    rows: list[Row] = [{"trial_id": name, "status": BASELINE, **scores} for name, scores in baselines.items()]
    rows += [
        {
            "trial_id": end.trial_id, "status": end.status, **end.point, **end.scores, "epochs": end.epochs,
            "best_epoch": end.best_epoch, "parameters": end.parameters, "seconds": end.seconds,
        }
        for end in ends
    ]  # fmt: skip
    scored = [row for row in rows if _known(row.get(metric))]
    scored.sort(key=lambda row: (row[metric] if mode == "min" else -row[metric], str(row["trial_id"])))
    for position, row in enumerate(scored, start=1):
        row["rank"] = position
    return scored + sorted((row for row in rows if not _known(row.get(metric))), key=lambda row: str(row["trial_id"]))


def write_csv(path: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Write the leaderboard; a reader sees the old file or the new one, never a part."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    part = path.with_suffix(".part")
    part.write_text(text.getvalue(), encoding="utf-8")
    os.replace(part, path)


def table(rows: Sequence[Row], *, top: int, metric: str = "val_theils_u") -> str:
    """The best rows, with every baseline among them, as text of at most 80 columns."""
    shown = [row for position, row in enumerate(rows) if position < top or row["status"] == BASELINE]
    heads = ("rank", "trial", "status", "network", "Theil's U", "sd", "worst", "epochs")
    own_column = metric not in ("val_theils_u", "val_worst_fold")
    if own_column:
        heads = (*heads, metric.removeprefix("val_"))
    cells = [heads]
    for row in shown:
        line = (
            str(row.get("rank") or "-"), row["trial_id"], row["status"], _network(row), _number(row.get("val_theils_u")),
            _number(row.get("val_theils_u_sd")), _number(row.get("val_worst_fold")), _epochs(row),
        )  # fmt: skip
        cells.append((*line, _number(row.get(metric))) if own_column else line)
    widths = [max(len(line[index]) for line in cells) for index in range(len(heads))]
    right = (0, 4, 5, 6, 7, 8)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _network(row: Row) -> str:
    if row["status"] == BASELINE:
        return ""
    parts = [str(row.get(name)) for name in ("architecture", "head") if row.get(name)]
    if row.get("hidden_size"):
        parts.append(f"{row['hidden_size']}x{row.get('num_layers') or 1}")
    if row.get("sequence_length"):
        parts.append(f"seq {row['sequence_length']}")
    return " ".join(parts)


def _epochs(row: Row) -> str:
    return f"{row['best_epoch'] or '-'}/{row['epochs']}" if "epochs" in row else ""


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if not math.isfinite(value) else f"{value:.10g}"
    return "" if value is None else value


def verdict(rows: Sequence[Row]) -> str:
    """In words: whether the best trial beats persistence on validation, and what that is worth."""
    scored = [row for row in rows if row["status"] != BASELINE and _known(row.get("val_theils_u"))]
    if not scored:
        return "No trial has a score, so nothing is known of this space."
    best = min(scored, key=lambda row: row["val_theils_u"])
    score, count = best["val_theils_u"], len(scored)
    trials = f"the best of {count} trials" if count > 1 else "the only trial"
    if score >= 1:
        return (
            f"On validation nothing beats 'tomorrow equals today': {trials} ({best['trial_id']}) has Theil's U {score:.4f}."
        )
    return (
        f"On validation {trials} ({best['trial_id']}) beats 'tomorrow equals today': Theil's U {score:.4f}, "
        f"an error {100 * (1 - score):.2f} % smaller. "
        + ("The best of many is partly lucky; the test block has not been opened." if count > 1 else
           "The test block has not been opened.")
    )  # fmt: skip
