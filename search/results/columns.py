"""The columns of the leaderboard: one declaration for the CSV file, the tables, the report and the documentation."""

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from search.common.text import Text
from search.results.verdict import name_rival
from search.space.parameters import FIELDS
from search.space.space import Space
from stockrnn.tasks.price import PRICE
from stockrnn.tasks.registry import TASKS
from stockrnn.tasks.task import Task

__all__ = ["FIRST", "Column", "as_text", "find_column", "format_number", "list_columns", "task_columns"]

LABELS = {  # of scores, without val_ or test_
    "brier": "Brier score", "cw_p": "CW p", "mae": "MAE", "mape": "MAPE", "qlike": "QLIKE", "r2_oos": "R² oos",
    "relative_rmse": "relative RMSE", "rmse": "RMSE",
}  # fmt: skip
Format = Literal["text", "number", "score", "percent"]


def as_text(words: str) -> Text:
    """Return words as a text that can be translated."""
    return words if isinstance(words, Text) else Text(words)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the leaderboard.

    Attributes:
        label: its head in the report.
        group: `Trial`, `Parameters`, `Validation`, `Training`, `Test set`; `Study` in the list of studies.
        unit: of its numbers; empty if they have none.
        format: `text`; `number`, with four significant digits; `score`, with four decimals; or `percent`, a fraction
            that tables show in per cent.
        better: whether lower (min) or higher (max) values are better; None if neither is.
        rival: the value of the rival, which separates better scores from worse ones; None if there is no such value.
    """

    name: str
    label: str
    group: str
    meaning: str
    unit: str = ""
    format: Format = "number"
    better: Literal["min", "max"] | None = None
    rival: float | None = None

    @property
    def description(self) -> Text:
        """The meaning, the unit, and which values are better."""
        what = as_text(self.meaning)
        if self.format == "percent":
            what = Text("{meaning} ({unit}, tables show per cent)", meaning=what, unit=Text(self.unit))
        elif self.unit:
            what = Text("{meaning} ({unit})", meaning=what, unit=Text(self.unit))
        if self.better == "min":
            return Text("{what}; lower is better", what=what)
        return Text("{what}; higher is better", what=what) if self.better else what

    @property
    def title(self) -> Text:
        """The label, for a page in another language."""
        return as_text(self.label)


def _trial(name: str, label: str, meaning: str, format: Format = "text") -> Column:
    return Column(name=name, label=label, group="Trial", meaning=meaning, format=format)


def _study(name: str, meaning: str) -> Column:
    return Column(name=name, label=name, group="Study", meaning=meaning, format="text")


def _parameter(name: str, meaning: str, unit: str = "", format: Format = "number") -> Column:
    label = name.replace("_", " ")
    return Column(name=name, label=label, group="Parameters", meaning=meaning, unit=unit, format=format)


def _validation(
    name: str, label: str, unit: str, meaning: str, better: Literal["min", "max"] | None = None,
    rival: float | None = None,
) -> Column:  # fmt: skip
    return Column(
        name=name, label=label, group="Validation", meaning=meaning, unit=unit, format=_score_format(unit),
        better=better, rival=rival,
    )  # fmt: skip


def _label(name: str) -> str:
    plain = name.removeprefix("val_").removeprefix("test_")
    return LABELS.get(plain, plain.replace("_", " "))


def _training(name: str, label: str, unit: str, meaning: str, format: Format = "number") -> Column:
    return Column(name=name, label=label, group="Training", meaning=meaning, unit=unit, format=format)


def _test(
    name: str, label: str, unit: str, meaning: str, better: Literal["min", "max"] | None = None,
    rival: float | None = None,
) -> Column:  # fmt: skip
    return Column(
        name=name, label=label, group="Test set", meaning=meaning, unit=unit, better=better, rival=rival,
        format="text" if name == "in_mcs" else _score_format(unit),
    )  # fmt: skip


def _score_format(unit: str) -> Format:
    return "percent" if unit == "fraction" else "score"


FIRST = (
    _trial("rank", "rank", "rank by the metric of the study on validation; empty without a score", "number"),
    _trial(
        "trial_id",
        "trial",
        "number of the trial, in the order of their starts; or the name of the baseline; or ensemble",
    ),
    _trial("status", "status", "default, complete, stopped, diverged, failed, interrupted; baseline; ensemble"),
    _parameter("architecture", "recurrent cell", format="text"),
    _parameter("head", "how the states of all steps become the input of the output layer", format="text"),
    _parameter("hidden_size", "units per layer", "units"),
    _parameter("num_layers", "number of recurrent layers"),
    _parameter("sequence_length", "length of a window", "sessions"),
)
NETWORK = _trial("network", "network", "architecture, head, hidden size × layers, and sequence length")
TRAINING = (
    _training("epochs", "epochs", "epochs", "trained epochs"),
    _training(
        "best_epoch", "best epoch", "epoch",
        "epoch with the best score; the scores of the row belong to it, and a finalist trains as long",
    ),
    _training("parameters", "parameters", "weights", "number of weights of one network"),
    _training(
        "seconds", "seconds", "seconds", "time from the start of the trial on its worker to its last report", "score"
    ),
)  # fmt: skip
COVERAGE = (
    _test(
        "test_coverage_80", "in 80 %", "fraction",
        "test days inside the 80 % interval, which follows the volatility and adapts its level day by day",
    ),
    _test("test_coverage_95", "in 95 %", "fraction", "test days inside the 95 % interval"),
    _test(
        "test_winkler_80", "Winkler 80 %", "ratio",
        "interval (Winkler) score of the 80 % interval over that of an interval with one width for all days", "min",
    ),
    _test(
        "test_winkler_95", "Winkler 95 %", "ratio",
        "interval (Winkler) score of the 95 % interval over that of an interval with one width for all days", "min",
    ),
)  # fmt: skip
STUDIES = (  # of the list of studies, beside the scores of the best trial
    _study("study", "name of the folder"),
    _study("start", "date and time of the start"),
    _study("state", "done, interrupted, timed out or running"),
    _study("trials", "trials that ended, of all"),
    _study("source", "where the prices come from"),
    _study("best", "number of the best trial"),
)


@cache
def task_columns(task: Task) -> tuple[Column, ...]:
    """Return the columns of a task's scores, in the order of the leaderboard."""
    words, name = task.words, Text(task.words.score)
    validation = [
        _validation(
            name, _label(name), metric.unit, metric.meaning, metric.better, _rival(name)
        )
        for name, metric in task.metrics.items()
    ]  # fmt: skip
    spread = _validation(
        "val_relative_loss_sd", Text("{score} sd", score=Text(words.short_score)), "ratio",
        Text(
            "standard deviation of {name} over the individual members; a smaller difference between two trials is not "
            "meaningful",
            name=name,
        ),
    )  # fmt: skip
    validation[0] = replace(validation[0], label=Text("validation {score}", score=Text(words.short_score)))
    test = [
        _test(name, _label(name), metric.unit, metric.meaning, metric.better, _rival(name))
        for name, metric in ((f"test_{name.removeprefix('val_')}", each) for name, each in task.metrics.items())
        if metric.over == "days"
    ]
    test[0] = replace(test[0], label=Text("test {score}", score=Text(words.short_score)))
    test += [
        _test(name, _label(name), each.unit, each.meaning, each.better) for name, each in task.block_metrics.items()
    ]
    return (
        validation[0], spread, *validation[1:], *TRAINING, *test,
        _test(
            "test_dm_p", "DM p", "p-value",
            Text(
                "Diebold-Mariano test: probability of such an advantage over {rival} if there is no true advantage",
                rival=name_rival(task),
            ),
            "min",
        ),
        *(COVERAGE if task.has_intervals else ()),
        _test(
            "in_mcs", "in MCS", "true, false",
            "whether the row is in the model confidence set: not significantly worse than the best row on the test set",
        ),
        _test(
            "seeds_sd", "seeds sd", "ratio",
            Text("standard deviation of {name} on the test set over the seeds of the finalist", name=name),
        ),
    )  # fmt: skip


def _rival(name: str) -> float | None:
    return 1.0 if name.removeprefix("val_").removeprefix("test_") in ("relative_loss", "worst_fold") else None


def list_columns(space: Space) -> tuple[str, ...]:
    """Return the columns of `leaderboard.csv` in order; other parameters of the space stand before the scores."""
    first = [column.name for column in FIRST]
    parameters = [parameter.name for parameter in space.parameters if parameter.name not in first]
    return (*first, *parameters, *(column.name for column in task_columns(space.task)))


def find_column(name: str, task: Task = PRICE) -> Column:
    """Return a column by name; one that is not declared is a parameter of a space.

    Args:
        name: of the column.
        task: of the study; scores that only other tasks have are found, too.
    """
    for columns in (FIRST, (NETWORK,), *map(task_columns, (task, *TASKS.values())), STUDIES):
        for column in columns:
            if column.name == name:
                return column
    if name.startswith("val_"):  # of another version
        return _validation(name, _label(name), "", "score of validation")
    if name.startswith("test_"):
        return _test(name, _label(name), "", "score of the test set")
    description = FIELDS[name].model_fields[name].description if name in FIELDS else None
    return _parameter(name, description or "parameter of the space")


def format_number(value: float, format: Format) -> str:
    """Return a number as text: a score with four decimals, a fraction in per cent, others with four digits."""
    if not math.isfinite(value):
        return ""
    if format == "percent":
        return f"{100 * value:.2f} %"
    if format != "score":
        return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    if value and not 5e-5 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
