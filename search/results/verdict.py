"""Write the verdict of a study: whether a finalist has skill, in plain sentences, and the p-values behind it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.results.ranking import BASELINE, ENSEMBLE, Row

__all__ = ["LEVEL", "VERDICT_COLUMNS", "baseline_label", "describe_rival", "split_verdict", "verdict"]

VERDICT_COLUMNS = {
    "best_epoch", "seeds_sd", "status", "test_coverage_80", "test_coverage_95", "test_cw_p", "test_dm_p", "test_rmse",
    "test_theils_u", "trial_id", "val_theils_u", "val_theils_u_sd",
}  # fmt: skip
LEVEL = 0.05  # a larger p-value is not significant
PERSISTENCE = "persistence"  # the rival
LABELS = {"ar1": "AR(1)"}
REFUSED = "Do not trade on this."
COSTS = "Trading costs are not included, and the future may differ from the past."
TESTS = "Significance tests:"
NUM_BEST = 3  # trials that are examined for the last epoch
COVERAGES = {"test_coverage_80": 0.80, "test_coverage_95": 0.95}
MIN_MISS = 0.06  # of a coverage that is far off; a 95 % interval with all days in it is not


def verdict(
    rows: Sequence[Row], proof: Mapping[str, Any] | None = None, *, horizon: int = 1, max_epochs: int | None = None
) -> str:
    """Return the conclusion about the first finalist in one sentence, and then the facts behind it.

    Args:
        rows: the leaderboard, best first.
        proof: results of the significance tests; None if the study still runs.
        horizon: sessions from a forecast to its target.
        max_epochs: of a trial; None if it is not known.
    """
    trials = [row for row in rows if row["status"] not in (BASELINE, ENSEMBLE) and _known(row.get("val_theils_u"))]
    if not trials:
        return "No trial has a score, so the study has no result."
    rival = describe_rival(horizon)
    finalists = [row for row in trials if _known(row.get("test_theils_u"))]
    facts = _judge_validation(rows, trials, rival)
    training = _judge_training(finalists or trials[:NUM_BEST], max_epochs)
    if finalists:
        conclusion, tested, p_values = _judge_test(rows, trials, finalists, proof or {}, rival)
        return " ".join(filter(None, [*conclusion, *facts, *tested, training, p_values]))
    headline = "Undecided: the test set has not been opened."
    if any(_known(row.get("test_rmse")) for row in rows):
        headline = "No result: the price never changes in the test set, so Theil's U is undefined."
    elif len(trials) > 1:
        facts.append("The best of many trials is partly lucky.")
    return " ".join(filter(None, [headline, *facts, training]))


def split_verdict(text: str) -> tuple[str, str]:
    """Return the first sentence of a verdict, and the others without the p-values."""
    headline, _, facts = text.partition(". ")
    return (f"{headline}." if facts else headline), facts.partition(TESTS)[0].strip()


def describe_rival(horizon: int) -> str:
    """Return the forecast of persistence in words."""
    return "'tomorrow equals today'" if horizon == 1 else f"'no change over {horizon} sessions'"


def baseline_label(name: str) -> str:
    """Return the name of a baseline as a text shows it."""
    return LABELS.get(name, name)


def _judge_validation(rows: Sequence[Row], trials: Sequence[Row], rival: str) -> list[str]:
    best = min(trials, key=lambda row: row["val_theils_u"])
    score, spread = best["val_theils_u"], _number(best, "val_theils_u_sd")
    whose = f"the best of {len(trials)} trials" if len(trials) > 1 else "the only trial"
    whose += f" ({best['trial_id']})"
    if score >= 1:
        return [f"On validation nothing beats {rival}: {whose} has Theil's U {score:.4f}."]
    if 1 - score <= spread:
        said = f"On validation {whose} is practically equal to {rival}: Theil's U {score:.4f}, and its networks differ "
        said += f"by {spread:.4f} (sd)."
    else:
        said = f"On validation {whose} beats {rival}: Theil's U {score:.4f}, an error {_percent(score)} smaller."
    rivals = [row for row in rows if row["status"] == BASELINE and _known(row.get("val_theils_u"))]
    other = min(rivals, key=lambda row: row["val_theils_u"], default=None)
    if other is None or other["val_theils_u"] > score:
        return [said]
    name = baseline_label(other["trial_id"])
    return [said, f"The baseline {name} is as good without a network ({other['val_theils_u']:.4f})."]


def _judge_test(
    rows: Sequence[Row], trials: Sequence[Row], finalists: Sequence[Row], proof: Mapping[str, Any], rival: str
) -> tuple[list[str], list[str], str]:
    """Judge the finalist that is first on validation: the best of several on the test set would be partly lucky.

    Returns:
        The conclusion, the facts behind it, and the p-values.
    """
    first, many = finalists[0], f" over {len(trials)} trials" if len(trials) > 1 else ""
    score, ahead = first["test_theils_u"], first["test_theils_u"] < 1 and not _equal(first)
    p_values = {
        "Diebold-Mariano p": first.get("test_dm_p"), "SPA p over the finalists": proof.get("test_spa_p"),
        f"SPA p{many} on validation": proof.get("spa_p"),
    }  # fmt: skip
    proven = ahead and all(value is not None and value <= LEVEL for value in p_values.values())
    without, other = _judge_baselines(rows, score, _number(first, "seeds_sd"))
    error = _compare(first, rival) + (", unlikely to be luck" if proven else ", but this may be luck" if ahead else "")
    headline = f"{'Evidence' if proven else 'No evidence'} of skill: test error {error}"
    headline += f"; but {without}." if proven and without else "."
    facts = [_count_finalists(finalists, proof, rival)]
    if not ahead and _known(proof.get("spa_p")) and proof["spa_p"] <= LEVEL:
        facts.append("Validation was significant, and the test set does not confirm it.")
    if without:
        facts.append(f"{without[0].upper()}{without[1:]} (Theil's U {other:.4f} on the test set).")
    facts.append(_judge_intervals(first, proof.get("test_days")))
    known = ", ".join(f"{name} {_p(value)}" for name, value in p_values.items() if value is not None and _known(value))
    tests = f"{TESTS} {known} ({LEVEL} or less is evidence of skill)." if known else ""
    return [headline, COSTS if proven else REFUSED], facts, tests


def _compare(row: Row, rival: str) -> str:
    score = row["test_theils_u"]
    if score == 1:
        return f"equal to {rival}"
    difference = f"{_percent(score)} {'smaller' if score < 1 else 'larger'}"
    if _equal(row):
        return f"practically equal to {rival} ({difference}, less than its seeds differ)"
    return f"{difference} than {rival}"


def _count_finalists(finalists: Sequence[Row], proof: Mapping[str, Any], rival: str) -> str:
    days = f"{proof['test_days']} unseen days" if proof.get("test_days") else "the test set"
    beat = sum(row["test_theils_u"] < 1 and not _equal(row) for row in finalists)
    equal = sum(map(_equal, finalists))
    verb = "beat" if beat > 1 else "beats"
    if len(finalists) == 1:
        who = f"the finalist ({finalists[0]['trial_id']})"
        did = f"beats {rival}" if beat else f"is practically equal to {rival}" if equal else f"does not beat {rival}"
        return f"On {days} {who} {did}: Theil's U {finalists[0]['test_theils_u']:.4f}."
    who = f"{beat} of {len(finalists)} finalists {verb}" if beat else f"none of {len(finalists)} finalists beats"
    also = f", {equal} {'are' if equal > 1 else 'is'} practically equal to it" if equal else ""
    first = f"the first ({finalists[0]['trial_id']}) has Theil's U {finalists[0]['test_theils_u']:.4f}"
    return f"On {days} {who} {rival}{also}; {first}."


def _judge_baselines(rows: Sequence[Row], score: float, spread: float) -> tuple[str, float]:
    """Return what the best baseline except persistence did on the test set, empty if it was worse, and its U."""
    others = [
        row for row in rows
        if row["status"] == BASELINE and row["trial_id"] != PERSISTENCE and _known(row.get("test_theils_u"))
    ]  # fmt: skip
    if not others:
        return "", math.nan
    best = min(others, key=lambda row: row["test_theils_u"])
    name, other = baseline_label(best["trial_id"]), best["test_theils_u"]
    if other < score - spread:
        return f"{name} did better without a network", other
    return (f"{name} is practically as good without a network" if other <= score + spread else ""), other


def _judge_training(best: Sequence[Row], max_epochs: int | None) -> str:
    late = sum(row.get("best_epoch") == max_epochs for row in best)
    if max_epochs is None or 2 * late <= len(best):
        return ""
    who = "The best trial was" if len(best) == 1 else f"{late} of the {len(best)} best trials were"
    return f"{who} still improving at the last epoch ({max_epochs}): train longer (scheduler.max_epochs)."


def _judge_intervals(first: Row, days: int | None) -> str:
    """Return whether an interval was far too narrow or too wide: by half of what it leaves out, and beyond chance."""
    for column, level in COVERAGES.items():
        share = first.get(column)
        chance = 3 * math.sqrt(level * (1 - level) / days) if days else 0
        if share is not None and _known(share) and abs(share - level) > max((1 - level) / 2, MIN_MISS, chance):
            how = "narrow" if share < level else "wide"
            return f"The {level:.0%} interval was far too {how}: {share:.0%} of the test days were in it.".replace(
                "%", " %"
            )
    return ""


def _equal(row: Row) -> bool:
    """Return whether a finalist differs from persistence by no more than its seeds differ."""
    return bool(abs(row["test_theils_u"] - 1) <= _number(row, "seeds_sd"))


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    return value if value is not None and _known(value) else 0.0


def _percent(score: float) -> str:
    share = 100 * abs(score - 1)
    return "less than 0.01 %" if 0 < share < 0.01 else f"{share:.2f} %"


def _p(value: float) -> str:
    return "below 0.01" if value < 0.01 else f"{value:.2f}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
