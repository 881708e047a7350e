"""Write the verdict of a study: whether a finalist beats persistence, in a sentence with its p-values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.results.ranking import BASELINE, ENSEMBLE, Row

__all__ = ["VERDICT_COLUMNS", "headline", "verdict"]

VERDICT_COLUMNS = {
    "status",
    "trial_id",
    "val_theils_u",
    "test_theils_u",
    "test_dm_p",
    "test_rmse",
}  # of the leaderboard, that the verdict reads
LEVEL = 0.05  # a larger p-value is not significant
RIVAL = "'tomorrow equals today'"
REFUSED, PROVEN = "Do not trade on this.", "unlikely to be luck"


def verdict(rows: Sequence[Row], proof: Mapping[str, Any] | None = None) -> str:
    """Return whether a trial beats persistence on validation, and a finalist on the test set.

    Args:
        rows: the leaderboard, best first.
        proof: results of the significance tests; None if the study still runs.
    """
    trials = [row for row in rows if row["status"] not in (BASELINE, ENSEMBLE) and _known(row.get("val_theils_u"))]
    if not trials:
        return "No trial has a score, so the study has no result."
    return " ".join([*_on_validation(rows, trials), *_on_test(rows, trials, proof or {})])


def headline(said: str) -> str:
    """Return the conclusion of a verdict; all of it if it has none."""
    for words in (REFUSED, f"{PROVEN[0].upper()}{PROVEN[1:]}."):
        if words.strip(".").lower() in said.lower():
            return words
    return said


def _on_validation(rows: Sequence[Row], trials: Sequence[Row]) -> list[str]:
    best = min(trials, key=lambda row: row["val_theils_u"])
    score = best["val_theils_u"]
    whose = f"the best of {len(trials)} trials" if len(trials) > 1 else "the only trial"
    if score >= 1:
        return [f"On validation nothing beats {RIVAL}: {whose} ({best['trial_id']}) has Theil's U {score:.4f}."]
    said = [
        f"On validation {whose} ({best['trial_id']}) beats {RIVAL}: Theil's U {score:.4f}, an error "
        f"{100 * (1 - score):.2f} % smaller."
    ]
    rivals = [row for row in rows if row["status"] == BASELINE and _known(row.get("val_theils_u"))]
    rival = min(rivals, key=lambda row: row["val_theils_u"], default=None)
    if rival is not None and rival["val_theils_u"] <= score:
        said.append(f"The baseline {rival['trial_id']} is as good without a network ({rival['val_theils_u']:.4f}).")
    return said


def _on_test(rows: Sequence[Row], trials: Sequence[Row], proof: Mapping[str, Any]) -> list[str]:
    """Judge the finalist that is first on validation: the best of several on the test set would be partly lucky."""
    finalists = [row for row in trials if _known(row.get("test_theils_u"))]
    if not finalists and any(_known(row.get("test_rmse")) for row in rows):
        return ["The test set was opened, but its price never changes, so Theil's U is undefined."]
    if not finalists:
        return ["The best of many trials is partly lucky; the test set has not been opened."] if len(trials) > 1 else []
    days = f"{proof['test_days']} unseen days" if proof.get("test_days") else "the test set"
    many = f" over {len(trials)} trials" if len(trials) > 1 else ""
    better = sum(row["test_theils_u"] < 1 for row in finalists)
    if not better:
        best = min(row["test_theils_u"] for row in finalists)
        none = f"none of {len(finalists)} finalists beats" if len(finalists) > 1 else "the finalist does not beat"
        p = proof.get("spa_p")
        promised = (
            f", although validation was significant (SPA p{many} {_p(p)})"
            if p is not None and _known(p) and p <= LEVEL
            else ""
        )
        return [f"On {days} {none} {RIVAL} (best Theil's U {best:.4f}){promised}. {REFUSED}"]
    first = finalists[0]
    score, p_values = first["test_theils_u"], (first.get("test_dm_p"), proof.get("test_spa_p"), proof.get("spa_p"))
    names = ("Diebold-Mariano p", "SPA p over the finalists", f"SPA p{many} on validation")
    known = [(name, value) for name, value in zip(names, p_values, strict=True) if value is not None]
    evidence = ", ".join(f"{name} {_p(value)}" for name, value in known if _known(value))
    some = f"{better} of {len(finalists)} finalists" if len(finalists) > 1 else "the finalist"
    said = f"On {days} {some} {'beat' if better > 1 else 'beats'} {RIVAL}; "
    said += f"the first ({first['trial_id']}) has Theil's U {score:.4f}"
    said += f" ({evidence})" if evidence else ""
    if score < 1 and all(value is not None and value <= LEVEL for value in p_values):
        return [f"{said}: {PROVEN}. Trading costs are not included, and the future may differ from the past."]
    return [f"{said}: the evidence does not rule out luck. {REFUSED}"]


def _p(value: float) -> str:
    return "below 0.01" if value < 0.01 else f"{value:.2f}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
