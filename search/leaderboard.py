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
from stockrnn.configuration import NetworkConfig, WindowConfig

__all__ = ["columns", "network", "rank", "table", "verdict", "write_csv"]

FIRST = ("rank", "trial_id", "status", "architecture", "head", "hidden_size", "num_layers", "sequence_length")
LAST = (
    "val_theils_u", "val_theils_u_sd", "val_worst_fold", "val_rmse", "val_mae", "val_direction_accuracy",
    "epochs", "best_epoch", "parameters", "seconds",
    "test_theils_u", "test_rmse", "test_mae", "test_mape", "test_r2_oos", "test_direction_accuracy",
    "test_always_up", "test_lag_correlation", "test_dm_p", "test_cw_p", "seeds_sd",
)  # fmt: skip
DEFAULTS = {  # what a trial whose space does not name these parameters has
    name: config.model_fields[name].default
    for config, names in ((NetworkConfig, ("head", "hidden_size", "num_layers")), (WindowConfig, ("sequence_length",)))
    for name in names
}
BASELINE = "baseline"
Row = dict[str, Any]


def columns(space: Space) -> tuple[str, ...]:
    """The columns: the named ones first, the space's other parameters in its order, then scores and costs."""
    others = tuple(parameter.name for parameter in space.parameters if parameter.name not in FIRST)
    return (*FIRST, *others, *LAST)


def rank(
    ends: Iterable[TrialEnd],
    baselines: Mapping[str, Mapping[str, float]],
    *,
    metric: str,
    mode: str,
    test: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Row]:
    """Trials and baselines as rows, best first; those without a score follow, without a rank.

    Args:
        ends: how the trials ended.
        baselines: validation scores by name.
        metric, mode: what ranks them; always of validation.
        test: the test columns of finalists and baselines, by trial id or name, once the block was opened.
    """
    rows: list[Row] = [{"trial_id": name, "status": BASELINE, **scores} for name, scores in baselines.items()]
    rows += [
        {
            "trial_id": end.trial_id, "status": end.status, **DEFAULTS, **end.point, **end.scores, "epochs": end.epochs,
            "best_epoch": end.best_epoch, "parameters": end.parameters, "seconds": end.seconds,
        }
        for end in ends
    ]  # fmt: skip
    for row in rows:
        row.update((test or {}).get(row["trial_id"], {}))
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
    """The best rows, with every baseline among them, as text of at most 80 columns (val U, test U: Theil's U)."""
    shown = [row for position, row in enumerate(rows) if position < top or row["status"] == BASELINE]
    heads: tuple[str, ...] = ("#", "trial", "status", "network", "val U", "sd")
    extra = [name for name in (metric,) if name not in ("val_theils_u", "val_worst_fold")]
    if any("test_theils_u" in row for row in rows):
        extra.append("test_theils_u")
    heads = (*heads, *(name.removeprefix("val_").replace("test_theils_u", "test U") for name in extra))
    cells = [heads]
    for row in shown:
        line = (
            str(row.get("rank") or "-"), row["trial_id"], row["status"], network(row),
            _number(row.get("val_theils_u")), _number(row.get("val_theils_u_sd")),
        )  # fmt: skip
        cells.append((*line, *(_number(row.get(name)) for name in extra)))
    widths = [max(len(line[index]) for line in cells) for index in range(len(heads))]
    left = (1, 2, 3)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def network(row: Mapping[str, Any]) -> str:
    """A trial's network in a few words: architecture, head, hidden size x layers, sequence length."""
    if row["status"] == BASELINE:
        return ""
    parts = [str(row.get(name)) for name in ("architecture", "head") if row.get(name)]
    if row.get("hidden_size"):
        parts.append(f"{row['hidden_size']}x{row.get('num_layers') or 1}")
    if row.get("sequence_length"):
        parts.append(f"seq {row['sequence_length']}")
    return " ".join(parts)


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
    """In words: whether the search found anything that beats persistence, on validation and on the test block."""
    trials = [row for row in rows if row["status"] != BASELINE and _known(row.get("val_theils_u"))]
    if not trials:
        return "No trial has a score, so nothing is known of this space."
    return " ".join([*_on_validation(rows, trials), *_on_test(rows, trials)])


def _on_validation(rows: Sequence[Row], trials: Sequence[Row]) -> list[str]:
    best = min(trials, key=lambda row: row["val_theils_u"])
    score = best["val_theils_u"]
    whose = f"the best of {len(trials)} trials" if len(trials) > 1 else "the only trial"
    if score >= 1:
        return [
            f"On validation nothing beats 'tomorrow equals today': {whose} ({best['trial_id']}) has "
            f"Theil's U {score:.4f}."
        ]
    said = [
        f"On validation {whose} ({best['trial_id']}) beats 'tomorrow equals today': Theil's U {score:.4f}, an error "
        f"{100 * (1 - score):.2f} % smaller."
    ]
    rivals = [row for row in rows if row["status"] == BASELINE and _known(row.get("val_theils_u"))]
    rival = min(rivals, key=lambda row: row["val_theils_u"], default=None)
    if rival is not None and rival["val_theils_u"] <= score:
        said.append(f"The baseline {rival['trial_id']} does as well without a network ({rival['val_theils_u']:.4f}).")
    return said


def _on_test(rows: Sequence[Row], trials: Sequence[Row]) -> list[str]:
    """What the test block says, of the finalist that validation ranked first: the best of several would be lucky."""
    finalists = [row for row in trials if _known(row.get("test_theils_u"))]
    if not finalists and any("test_rmse" in row for row in rows):
        return ["The test block was opened, but prices do not move in it: Theil's U is undefined there."]
    if not finalists:
        return ["The best of many is partly lucky; the test block has not been opened."] if len(trials) > 1 else []
    first, score = finalists[0]["trial_id"], finalists[0]["test_theils_u"]
    better = sum(row["test_theils_u"] < 1 for row in finalists)
    if not better:
        best = min(row["test_theils_u"] for row in finalists)
        none = f"none of {len(finalists)} finalists beats" if len(finalists) > 1 else "the finalist does not beat"
        return [f"On the test block {none} it (best Theil's U {best:.4f}): do not trade on this."]
    said = f"On the test block {better} of {len(finalists)} finalists beat it; "
    said += f"the first ({first}) has Theil's U {score:.4f}"
    p_value = finalists[0].get("test_dm_p")
    if _known(p_value):
        said += f", Diebold-Mariano p {p_value:.2f}"
    if score >= 1 or p_value is None or not p_value <= 0.05:  # NaN is not enough either
        return [f"{said}: not enough to tell from luck. Do not trade on this."]
    return [f"{said}: unlikely to be luck in a single comparison, though {len(trials)} trials were tried."]
