"""Write the verdict of a study: whether a finalist has skill, in plain sentences, and the p-values behind it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.common.text import Text
from search.results.event_log import DEFAULT
from search.results.ranking import BASELINE, ENSEMBLE, Row
from stockrnn.tasks.price import PRICE
from stockrnn.tasks.task import Task

__all__ = [
    "LEVEL", "VERDICT_COLUMNS", "baseline_label", "conclude", "describe_rival", "longer_training", "name_rival",
    "needs_longer_training", "select_facts", "split_verdict", "verdict",
]  # fmt: skip

VERDICT_COLUMNS = {
    "best_epoch", "seeds_sd", "status", "test_coverage_80", "test_coverage_95", "test_cw_p", "test_dm_p", "test_rmse",
    "test_relative_loss", "trial_id", "val_relative_loss", "val_relative_loss_sd",
}  # fmt: skip
LEVEL = 0.05  # a larger p-value is not significant
LABELS = {
    "ar1": "AR(1)", "base_rate": "base rate", "ewma": "EWMA", "garch": "GARCH(1,1)", "gjr_garch": "GJR-GARCH",
    "har": "HAR", "har_leverage": "HAR with leverage", "logistic": "logistic regression",
}  # fmt: skip
TESTS = "Significance tests:"
MAX_EPOCHS = 100_000  # of scheduler.max_epochs
NUM_BEST = 3  # trials that are examined for the last epoch
COVERAGES = {"test_coverage_80": 0.80, "test_coverage_95": 0.95}
MIN_MISS = 0.06  # of a coverage that is far off; a 95 % interval with all days in it is not


def verdict(
    rows: Sequence[Row], proof: Mapping[str, Any] | None = None, *, task: Task = PRICE, horizon: int = 1,
    max_epochs: int | None = None,
) -> str:  # fmt: skip
    """Return the conclusion about the first finalist in one sentence, then the facts behind it, and the p-values.

    See `conclude` for the arguments.
    """
    return " ".join(conclude(rows, proof, task=task, horizon=horizon, max_epochs=max_epochs))


def conclude(
    rows: Sequence[Row], proof: Mapping[str, Any] | None = None, *, task: Task = PRICE, horizon: int = 1,
    max_epochs: int | None = None,
) -> list[Text]:  # fmt: skip
    """Return the sentences of the verdict: the conclusion first, the p-values last, if they are known.

    Args:
        rows: the leaderboard, best first.
        proof: results of the significance tests; None if the study still runs.
        task: what is forecast.
        horizon: sessions from a forecast to its target.
        max_epochs: of a trial; None if it is not known.
    """
    trials = _scored_trials(rows)
    if not trials:
        return [Text("No trial has a score, so the study has no result.")]
    rival = describe_rival(task, horizon)
    finalists = [row for row in trials if _known(row.get("test_relative_loss"))]
    facts = [*_judge_validation(task, rows, trials, rival), *_judge_default(task, trials)]
    training = _judge_training(_best_trials(rows), max_epochs)
    if finalists:
        conclusion, tested, p_values = _judge_test(task, rows, trials, finalists, proof or {}, rival)
        return [*conclusion, *facts, *tested, *training, *p_values]
    headline = Text("Undecided: the test set has not been opened.")
    if any(_known(row.get("test_rmse")) for row in rows):
        headline = Text(
            "No result: {name} is undefined in the test set, because the rival makes no error.",
            name=Text(task.words.score),
        )
    elif len(trials) > 1:
        facts.append(Text("The best of many trials is partly lucky."))
    return [headline, *facts, *training]


def needs_longer_training(rows: Sequence[Row], max_epochs: int) -> bool:
    """Return whether most of the best trials were still improving at their last epoch."""
    return _improve_late(_best_trials(rows), max_epochs)


def longer_training(max_epochs: int) -> str:
    """Return the setting of a space, as in `KEY=VALUE`, with twice as many epochs as now."""
    return f"scheduler.max_epochs={min(2 * max_epochs, MAX_EPOCHS)}"


def split_verdict(text: str) -> tuple[str, str]:
    """Return the first sentence of a verdict, and the others without the p-values."""
    headline, _, facts = text.partition(". ")
    return (f"{headline}." if facts else headline), facts.partition(TESTS)[0].strip()


def select_facts(sentences: Sequence[Text]) -> list[Text]:
    """Return the sentences of a verdict after the conclusion, without the p-values."""
    return [sentence for sentence in sentences[1:] if not sentence.startswith(TESTS)]


def describe_rival(task: Task, horizon: int) -> Text:
    """Return the forecast of the rival in words."""
    return Text(task.words.rival) if horizon == 1 else Text(task.words.rival_ahead, n=horizon)


def name_rival(task: Task) -> str:
    """Return the name of the rival in a sentence; a code name is the same in every language."""
    name = task.words.rival_name
    return name if name == task.rival else Text(name)


def baseline_label(name: str) -> str:
    """Return the name of a baseline as a text shows it."""
    return LABELS.get(name, name)


def _scored_trials(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["status"] not in (BASELINE, ENSEMBLE) and _known(row.get("val_relative_loss"))]


def _best_trial(trials: Sequence[Row]) -> Row:
    """Return the trial that the study ranks first; without ranks, the one with the smallest relative loss."""
    return min(trials, key=lambda row: (row.get("rank") or math.inf, row["val_relative_loss"]))


def _best_trials(rows: Sequence[Row]) -> list[Row]:
    """Return the finalists; before there are finalists, the first trials."""
    trials = _scored_trials(rows)
    return trials[: sum(_known(row.get("test_relative_loss")) for row in trials) or NUM_BEST]


def _judge_validation(task: Task, rows: Sequence[Row], trials: Sequence[Row], rival: Text) -> list[Text]:
    best, name = _best_trial(trials), Text(task.words.score)
    score, spread = best["val_relative_loss"], _number(best, "val_relative_loss_sd")
    who = Text("the only trial ({trial})", trial=best["trial_id"])
    if len(trials) > 1:
        who = Text("the best of {n} trials ({trial})", n=len(trials), trial=best["trial_id"])
    if score >= 1:
        return [
            Text(
                "On validation no trial beats {rival}: {who} has {name} {score:.4f}.", rival=rival, who=who,
                score=score, name=name,
            )
        ]  # fmt: skip
    said = Text(
        "On validation {who} beats {rival}: {name} {score:.4f}, {loss} {size} smaller.",
        who=who, rival=rival, score=score, size=_percent(score), name=name, loss=Text(task.words.loss),
    )  # fmt: skip
    if 1 - score <= spread:
        said = Text(
            "On validation {who} is practically equal to {rival}: {name} {score:.4f}, and its networks differ by "
            "{spread:.4f} (sd).",
            who=who, rival=rival, score=score, spread=spread, name=name,
        )  # fmt: skip
    rivals = [row for row in rows if row["status"] == BASELINE and _known(row.get("val_relative_loss"))]
    other = min(rivals, key=lambda row: row["val_relative_loss"], default=None)
    if other is None or other["val_relative_loss"] > score:
        return [said]
    also = Text(
        "The baseline {name} is as good without a network ({score:.4f}).", name=baseline_label(other["trial_id"]),
        score=other["val_relative_loss"],
    )  # fmt: skip
    return [said, also]


def _judge_default(task: Task, trials: Sequence[Row]) -> list[Text]:
    """Return whether the search found something better than the default configuration on validation."""
    default = next((row for row in trials if row["status"] == DEFAULT), None)
    if default is None or len(trials) == 1:
        return []
    best = _best_trial(trials)
    if best is default:
        return [_no_better(task, default)]
    values: dict[str, Any] = {
        "score": best["val_relative_loss"],
        "default": default["val_relative_loss"],
        "name": Text(task.words.score),
    }
    if values["default"] <= values["score"]:
        return [_no_better(task, default)]
    if values["default"] - values["score"] <= _number(best, "val_relative_loss_sd"):
        return [
            Text(
                "The default configuration did practically as well as the best trial: {name} {default:.4f} against "
                "{score:.4f}.",
                **values,
            )
        ]
    return [
        Text("The search improved on the default configuration: {name} {score:.4f} against {default:.4f}.", **values)
    ]


def _no_better(task: Task, default: Row) -> Text:
    return Text(
        "No trial is better than the default configuration: {name} {default:.4f}.", name=Text(task.words.score),
        default=default["val_relative_loss"],
    )  # fmt: skip


def _judge_test(
    task: Task, rows: Sequence[Row], trials: Sequence[Row], finalists: Sequence[Row], proof: Mapping[str, Any],
    rival: Text,
) -> tuple[list[Text], list[Text], list[Text]]:  # fmt: skip
    """Judge the finalist that is first on validation: the best of several on the test set would be partly lucky.

    Returns:
        The conclusion, the facts behind it, and the p-values.
    """
    first = finalists[0]
    score, ahead = first["test_relative_loss"], first["test_relative_loss"] < 1 and not _equal(first)
    earlier = proof.get("earlier_trials") or 0
    overall = Text("SPA p over {n} trials on validation", n=len(trials) + earlier)
    p_values = {
        Text("Diebold-Mariano p"): first.get("test_dm_p"), Text("SPA p over the finalists"): proof.get("test_spa_p"),
        overall if len(trials) + earlier > 1 else Text("SPA p on validation"): proof.get("spa_p"),
    }  # fmt: skip
    proven = ahead and all(value is not None and value <= LEVEL for value in p_values.values())
    baseline = _judge_baselines(task, rows, score, _number(first, "seeds_sd"))
    facts = [_count_finalists(task, finalists, proof, rival)]
    if not ahead and _known(proof.get("spa_p")) and proof["spa_p"] <= LEVEL:
        facts.append(Text("Validation was significant, and the test set does not confirm it."))
    facts += [*baseline, *_judge_intervals(first, proof.get("test_days"))]
    if earlier:
        facts.append(
            Text("The SPA test includes the trials of the study from which this one started ({n}).", n=earlier)
        )
    known = [
        Text("{name} {p}", name=name, p=_p(value))
        for name, value in p_values.items()
        if value is not None and _known(value)
    ]
    headline = _write_headline(task, first, rival, ahead=ahead, proven=proven, baseline=bool(baseline))
    return [headline, Text(task.words.proven if proven else task.words.refused)], facts, _write_tests(known)


def _write_headline(task: Task, row: Row, rival: Text, *, ahead: bool, proven: bool, baseline: bool) -> Text:
    score = row["test_relative_loss"]
    values: dict[str, Any] = {"size": _percent(score), "rival": rival, "loss": Text(task.words.loss)}
    if proven and baseline:
        return Text(
            "Evidence of skill: test {loss} {size} smaller than {rival}, unlikely to be luck; but a baseline is as "
            "good without a network.",
            **values,
        )
    if proven:
        return Text("Evidence of skill: test {loss} {size} smaller than {rival}, unlikely to be luck.", **values)
    if ahead:
        return Text("No evidence of skill: test {loss} {size} smaller than {rival}, but this may be luck.", **values)
    if score == 1:
        return Text("No evidence of skill: test {loss} equal to {rival}.", **values)
    if _equal(row) and score < 1:
        return Text(
            "No evidence of skill: test {loss} practically equal to {rival} ({size} smaller, less than its seeds "
            "differ).",
            **values,
        )
    if _equal(row):
        return Text(
            "No evidence of skill: test {loss} practically equal to {rival} ({size} larger, less than its seeds "
            "differ).",
            **values,
        )
    return Text("No evidence of skill: test {loss} {size} larger than {rival}.", **values)


def _write_tests(p_values: Sequence[Text]) -> list[Text]:
    """Return a sentence with the p-values, of which there are at most three."""
    values: dict[str, Any] = dict(zip("abc", p_values, strict=False)) | {"level": LEVEL}
    if not p_values:
        return []
    if len(p_values) == 1:
        return [Text("Significance tests: {a} ({level} or less is evidence of skill).", **values)]
    if len(p_values) == 2:
        return [Text("Significance tests: {a}, {b} ({level} or less is evidence of skill).", **values)]
    return [Text("Significance tests: {a}, {b}, {c} ({level} or less is evidence of skill).", **values)]


def _count_finalists(task: Task, finalists: Sequence[Row], proof: Mapping[str, Any], rival: Text) -> Text:
    beat = sum(row["test_relative_loss"] < 1 and not _equal(row) for row in finalists)
    equal = sum(map(_equal, finalists))
    values: dict[str, Any] = {
        "trial": finalists[0]["trial_id"], "score": finalists[0]["test_relative_loss"], "rival": rival, "beat": beat,
        "equal": equal, "n": len(finalists), "name": Text(task.words.score),
        "days": Text("{n} unseen days", n=proof["test_days"]) if proof.get("test_days") else Text("the test set"),
    }  # fmt: skip
    if len(finalists) == 1:
        if beat:
            return Text("On {days} the finalist ({trial}) beats {rival}: {name} {score:.4f}.", **values)
        if equal:
            return Text(
                "On {days} the finalist ({trial}) is practically equal to {rival}: {name} {score:.4f}.", **values
            )
        return Text("On {days} the finalist ({trial}) does not beat {rival}: {name} {score:.4f}.", **values)
    who = Text("none of {n} finalists beats {rival}", **values)
    if beat:
        who = Text("{beat} of {n} finalists beats {rival}", **values)
    if beat > 1:
        who = Text("{beat} of {n} finalists beat {rival}", **values)
    values["who"] = who
    if equal == 1:
        return Text(
            "On {days} {who}, 1 is practically equal to it; the first ({trial}) has {name} {score:.4f}.", **values
        )
    if equal:
        return Text(
            "On {days} {who}, {equal} are practically equal to it; the first ({trial}) has {name} {score:.4f}.",
            **values,
        )
    return Text("On {days} {who}; the first ({trial}) has {name} {score:.4f}.", **values)


def _judge_baselines(task: Task, rows: Sequence[Row], score: float, spread: float) -> list[Text]:
    """Return what the best baseline except the rival did on the test set; nothing if it was worse."""
    others = [
        row for row in rows
        if row["status"] == BASELINE and row["trial_id"] != task.rival and _known(row.get("test_relative_loss"))
    ]  # fmt: skip
    best = min(others, key=lambda row: row["test_relative_loss"], default=None)
    if best is None or best["test_relative_loss"] > score + spread:
        return []
    name = baseline_label(best["trial_id"])
    values: dict[str, Any] = {
        "name": f"{name[0].upper()}{name[1:]}", "score": best["test_relative_loss"], "measure": Text(task.words.score),
    }  # fmt: skip
    if best["test_relative_loss"] < score - spread:
        return [Text("{name} did better without a network ({measure} {score:.4f} on the test set).", **values)]
    return [Text("{name} is practically as good without a network ({measure} {score:.4f} on the test set).", **values)]


def _judge_training(best: Sequence[Row], max_epochs: int | None) -> list[Text]:
    if max_epochs is None or not _improve_late(best, max_epochs):
        return []
    late, setting = _count_late(best, max_epochs), longer_training(max_epochs)
    if len(best) == 1:
        return [
            Text(
                "The best trial was still improving at the last epoch ({epoch}): train longer, with --set {setting}.",
                epoch=max_epochs,
                setting=setting,
            )
        ]
    return [
        Text(
            "{late} of the {n} best trials were still improving at the last epoch ({epoch}): train longer, with --set "
            "{setting}.",
            late=late, n=len(best), epoch=max_epochs, setting=setting,
        )
    ]  # fmt: skip


def _count_late(best: Sequence[Row], max_epochs: int) -> int:
    return len([row for row in best if row.get("best_epoch") == max_epochs])


def _improve_late(best: Sequence[Row], max_epochs: int) -> bool:
    return 2 * _count_late(best, max_epochs) > len(best)


def _judge_intervals(first: Row, days: int | None) -> list[Text]:
    """Return whether an interval was far too narrow or too wide: by half of what it leaves out, and beyond chance."""
    for column, level in COVERAGES.items():
        share = first.get(column)
        chance = 3 * math.sqrt(level * (1 - level) / days) if days else 0
        if share is None or not _known(share) or abs(share - level) <= max((1 - level) / 2, MIN_MISS, chance):
            continue
        values: dict[str, Any] = {"level": 100 * level, "share": 100 * share}
        if share < level:
            return [
                Text(
                    "The {level:.0f} % interval was far too narrow: {share:.0f} % of the test days were in it.",
                    **values,
                )
            ]
        return [
            Text("The {level:.0f} % interval was far too wide: {share:.0f} % of the test days were in it.", **values)
        ]
    return []


def _equal(row: Row) -> bool:
    """Return whether a finalist differs from the rival by no more than its seeds differ."""
    return bool(abs(row["test_relative_loss"] - 1) <= _number(row, "seeds_sd"))


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    return value if value is not None and _known(value) else 0.0


def _percent(score: float) -> Text:
    share = 100 * abs(score - 1)
    return Text("less than 0.01 %") if 0 < share < 0.01 else Text("{share:.2f} %", share=share)


def _p(value: float) -> Text:
    return Text("below 0.01") if value < 0.01 else Text("{value:.2f}", value=value)


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
