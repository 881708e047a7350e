"""The columns of the leaderboard: one declaration for the CSV file, the tables, the report and the documentation."""

import math
from dataclasses import dataclass
from typing import Literal

from search.common.text import Text
from search.space.parameters import FIELDS
from search.space.space import Space
from stockrnn.evaluation.scores import METRICS

__all__ = ["COLUMNS", "FIRST", "LAST", "OWN_TEST_METRICS", "Column", "find_column", "format_number", "list_columns"]

RIVALS = {"val_relative_loss": 1.0, "val_worst_fold": 1.0, "test_relative_loss": 1.0}  # of persistence
Format = Literal["text", "number", "score", "percent"]


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
        rival: the value of persistence, which separates better scores from worse ones; None if there is no such value.
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
        what = Text(self.meaning)
        if self.format == "percent":
            what = Text("{meaning} ({unit}, tables show per cent)", meaning=what, unit=Text(self.unit))
        elif self.unit:
            what = Text("{meaning} ({unit})", meaning=what, unit=Text(self.unit))
        if self.better == "min":
            return Text("{what}; lower is better", what=what)
        return Text("{what}; higher is better", what=what) if self.better else what


def _trial(name: str, label: str, meaning: str, format: Format = "text") -> Column:
    return Column(name=name, label=label, group="Trial", meaning=meaning, format=format)


def _study(name: str, meaning: str) -> Column:
    return Column(name=name, label=name, group="Study", meaning=meaning, format="text")


def _parameter(name: str, meaning: str, unit: str = "", format: Format = "number") -> Column:
    label = name.replace("_", " ")
    return Column(name=name, label=label, group="Parameters", meaning=meaning, unit=unit, format=format)


def _validation(name: str, label: str, unit: str, meaning: str) -> Column:
    metric = METRICS.get(name)
    return Column(
        name=name, label=label, group="Validation", meaning=meaning, unit=unit, format=_score_format(unit),
        better=metric.better if metric else None, rival=RIVALS.get(name),
    )  # fmt: skip


def _other_score(name: str) -> Column:
    return _validation(name, _label(name), "", "score of validation")


def _label(name: str) -> str:
    return name.removeprefix("val_").removeprefix("test_").replace("_", " ")


def _training(name: str, label: str, unit: str, meaning: str, format: Format = "number") -> Column:
    return Column(name=name, label=label, group="Training", meaning=meaning, unit=unit, format=format)


def _test(name: str, label: str, unit: str, meaning: str, better: Literal["min", "max"] | None = None) -> Column:
    return Column(
        name=name, label=label, group="Test set", meaning=meaning, unit=unit, better=better, rival=RIVALS.get(name),
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
VALIDATION = (
    _validation(
        "val_relative_loss", "validation U", "ratio", "Theil's U on validation; below 1 is better than persistence"
    ),
    _validation(
        "val_relative_loss_sd", "U sd", "ratio",
        "standard deviation of U over the individual members; a smaller difference between two trials is not "
        "meaningful",
    ),
    _validation(
        "val_worst_fold", "worst fold", "ratio",
        "largest U of a single fold; above 1, the forecast was worse than persistence in at least one period",
    ),
    _validation("val_rmse", "RMSE", "price points", "root mean squared error on validation"),
    _validation("val_mae", "MAE", "price points", "mean absolute error on validation"),
    _validation(
        "val_direction_accuracy", "direction accuracy", "fraction",
        "validation days with a correctly forecast direction, of those on which the price moved",
    ),
)  # fmt: skip
TRAINING_AND_TEST = (
    _training("epochs", "epochs", "epochs", "trained epochs"),
    _training(
        "best_epoch", "best epoch", "epoch",
        "epoch with the best score; the scores of the row belong to it, and a finalist trains as long",
    ),
    _training("parameters", "parameters", "weights", "number of weights of one network"),
    _training(
        "seconds", "seconds", "seconds", "time from the start of the trial on its worker to its last report", "score"
    ),
    _test("test_relative_loss", "test U", "ratio", "Theil's U on the test set; the most important number", "min"),
    _test("test_rmse", "RMSE", "price points", "root mean squared error on the test set", "min"),
    _test("test_mae", "MAE", "price points", "mean absolute error on the test set", "min"),
    _test(
        "test_mape", "MAPE", "fraction",
        "mean absolute error divided by the close; persistence has about 1 % on a daily index, so a small value means "
        "little", "min",
    ),
    _test(
        "test_r2_oos", "R² oos", "fraction",
        "out-of-sample R²: 1 − squared error of the log return ÷ that of persistence; above 0 is better than "
        "persistence, and a few thousandths are already a lot", "max",
    ),
    _test(
        "test_direction_accuracy", "direction accuracy", "fraction",
        "test days with a correctly forecast direction, of those on which the price moved", "max",
    ),
    _test(
        "test_always_up", "always up", "fraction",
        "direction accuracy of the forecast \"always up\"; compare it with the column before, above all in a rising "
        "market",
    ),
    _test(
        "test_lag_correlation", "lag correlation", "−1 to 1",
        "correlation of the forecast change with the price change of the day before: near −1 the network repeats the "
        "close before the last one, near 1 it repeats the last price change",
    ),
    _test(
        "test_dm_p", "DM p", "p-value",
        "Diebold-Mariano test: probability of such an advantage over persistence if there is no true advantage", "min",
    ),
    _test(
        "test_cw_p", "CW p", "p-value",
        "Clark-West test: the same, with a correction for the estimation noise of a model that nests persistence",
        "min",
    ),
    _test(
        "test_coverage_80", "in 80 %", "fraction",
        "test days inside the 80 % interval; far below 0.8, the test set was more volatile than validation",
    ),
    _test("test_coverage_95", "in 95 %", "fraction", "test days inside the 95 % interval"),
    _test(
        "in_mcs", "in MCS", "true, false",
        "whether the row is in the model confidence set: not significantly worse than the best row on the test set",
    ),
    _test(
        "seeds_sd", "seeds sd", "ratio", "standard deviation of U on the test set over the seeds of the finalist"
    ),
)  # fmt: skip
OWN_METRICS = {name: metric for name, metric in METRICS.items() if name not in [column.name for column in VALIDATION]}
OWN_TEST_METRICS = {  # the same metrics on the test set
    f"test_{name.removeprefix('val_')}": metric
    for name, metric in OWN_METRICS.items()
    if f"test_{name.removeprefix('val_')}" not in [column.name for column in TRAINING_AND_TEST]
}
LAST = (
    *VALIDATION,
    *(_validation(name, _label(name), metric.unit, metric.meaning) for name, metric in OWN_METRICS.items()),
    *TRAINING_AND_TEST,
    *(_test(name, _label(name), each.unit, each.meaning, each.better) for name, each in OWN_TEST_METRICS.items()),
)
STUDIES = (  # of the list of studies, beside Theil's U of the best trial
    _study("study", "name of the folder"),
    _study("start", "date and time of the start"),
    _study("state", "done, interrupted, timed out or running"),
    _study("trials", "trials that ended, of all"),
    _study("source", "where the prices come from"),
    _study("best", "number of the best trial"),
)
COLUMNS = {column.name: column for column in (*FIRST, NETWORK, *LAST, *STUDIES)}


def list_columns(space: Space) -> tuple[str, ...]:
    """Return the columns of `leaderboard.csv` in order; other parameters of the space stand before the scores."""
    first, last = ([column.name for column in part] for part in (FIRST, LAST))
    parameters = [parameter.name for parameter in space.parameters if parameter.name not in first]
    return (*first, *parameters, *last)


def find_column(name: str) -> Column:
    """Return a column by name; one that is not declared is a parameter of a space."""
    if name in COLUMNS:
        return COLUMNS[name]
    if name.startswith("val_"):  # of another version
        return _other_score(name)
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
