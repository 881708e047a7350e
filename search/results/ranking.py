"""Rank trials, baselines and the average of the finalists into the rows of the leaderboard."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from search.results.event_log import DEFAULT, TrialEnd
from stockrnn.dataset.config import WindowConfig
from stockrnn.networks.config import NetworkConfig

__all__ = ["ALWAYS_SHOWN", "BASELINE", "ENSEMBLE", "Row", "network", "rank"]

DEFAULTS = {  # of parameters that the space does not name
    name: config.model_fields[name].default
    for config, names in ((NetworkConfig, ("head", "hidden_size", "num_layers")), (WindowConfig, ("sequence_length",)))
    for name in names
}
BASELINE, ENSEMBLE = "baseline", "ensemble"  # statuses of rows that are not trials; the second is also its trial id
ALWAYS_SHOWN = (BASELINE, ENSEMBLE, DEFAULT)  # rows that a table shows whatever their rank
Row = dict[str, Any]


def rank(
    ends: Iterable[TrialEnd],
    baselines: Mapping[str, Mapping[str, float]],
    *,
    metric: str,
    mode: str,
    test: Mapping[str, Mapping[str, Any]] | None = None,
    ensemble: Mapping[str, float] | None = None,
) -> list[Row]:
    """Return trials, baselines and the average of the finalists as rows, best first; rows without a score come last.

    Args:
        ends: how the trials ended.
        baselines: validation scores by name.
        metric, mode: what ranks them; always of validation.
        test: the test columns of finalists and baselines, by trial id or name, once the block was opened.
        ensemble: validation scores of the finalists' average, where there is one.
    """
    rows: list[Row] = [{"trial_id": name, "status": BASELINE, **scores} for name, scores in baselines.items()]
    rows += [{"trial_id": ENSEMBLE, "status": ENSEMBLE, **ensemble}] if ensemble else []
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


def network(row: Mapping[str, Any]) -> str:
    """Return a summary of a trial's network: architecture, head, hidden size x layers, sequence length."""
    if row["status"] == BASELINE:
        return ""
    if row["status"] == ENSEMBLE:
        return "average of the finalists"
    parts = [str(row.get(name)) for name in ("architecture", "head") if row.get(name)]
    if row.get("hidden_size"):
        parts.append(f"{row['hidden_size']}x{row.get('num_layers') or 1}")
    if row.get("sequence_length"):
        parts.append(f"seq {row['sequence_length']}")
    return " ".join(parts)


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
