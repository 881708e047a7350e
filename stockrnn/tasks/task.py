"""Define the parts of a task: what is forecast, what a day's loss is, and which rival a forecast must beat.

A forecast and the value that it forecasts are in the task's unit: price points, volatility in per cent a day, or a
probability. Arrays of sessions have one value per session of the series. A position is that of the session that is
forecast; its forecast is made `horizon` sessions earlier, at its origin.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from stockrnn.prices.series import Prices
from stockrnn.tasks.outlook import Show
from stockrnn.volatility.estimators import daily_variance

__all__ = [
    "Baseline",
    "BlockDays",
    "BlockMetric",
    "Metric",
    "Series",
    "Target",
    "Task",
    "Words",
    "on_closes",
    "relative_loss",
]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series of prices, and how it is forecast.

    Attributes:
        horizon: sessions between an origin and the session that is forecast.
        estimator: of a day's variance; only the volatility task uses it.
    """

    prices: Prices
    horizon: int = 1
    estimator: str = "parkinson"

    @cached_property
    def closes(self) -> np.ndarray:
        """Closes, shape (sessions,), price points."""
        return self.prices.column("close")

    @property
    def variance(self) -> np.ndarray:
        """Variance of each session's log return by the estimator, shape (sessions,).

        Raises:
            UserError: the prices lack a column that the estimator needs.
        """
        return self._estimates[0]

    @property
    def raised(self) -> int:
        """Number of sessions whose variance was raised to the floor, for example because high = low."""
        return self._estimates[1]

    @cached_property
    def _estimates(self) -> tuple[np.ndarray, int]:
        columns = {
            name: self.prices.column(name) if name in self.prices.columns else None
            for name in ("open", "high", "low", "close")
        }
        return daily_variance(**columns, estimator=self.estimator)


Baseline = Callable[[Series, range, np.ndarray], np.ndarray]
"""Forecast without a network: a function of the series, the positions to fit on, and origins, int64, shape (origins,).

It returns one forecast per origin, in the task's unit, and uses no value that is not known at that origin. It raises
UserError, with a short reason, if it cannot be fitted.
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What networks are trained on, and how their outputs become forecasts.

    Attributes:
        values: function of the series and of whether `scaling` is `relative`; it returns the unscaled target of every
            origin, shape (sessions,), NaN if it is after the series.
        forecasts: function of the series, origins, shape (origins,), unscaled outputs, shape (..., origins), and of
            whether `scaling` is `relative`; it returns forecasts in the task's unit, with the shape of the outputs.
        known: function of the series that returns the values to which the scaling is fitted, shape (sessions,) by
            session; None: the targets of the training part.
        fit: which part of the scaling is fitted to the training part: offset and scale, the offset only (the mean), or
            none.
        relative_scale: scale of the target with `scaling: relative`, which fits nothing.
        is_log: the target is a logarithm. A network that is not trained on QLIKE forecasts its mean or median, so its
            forecasts are corrected: the mean of exp(target - output) becomes 1 on training days (Duan's smearing).
    """

    values: Callable[[Series, bool], np.ndarray]
    forecasts: Callable[[Series, np.ndarray, np.ndarray, bool], np.ndarray]
    known: Callable[[Series], np.ndarray] | None = None
    fit: Literal["offset and scale", "offset", "nothing"] = "offset and scale"
    relative_scale: float = 1.0
    is_log: bool = False


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score of forecasts, by which a study can rank. On validation its name begins with `val_`, else with `test_`.

    Attributes:
        value: function of `forecast`, `actual` and `rival`, each (days,) in the task's unit; it returns NaN if the
            score is undefined.
        better: whether lower (min) or higher (max) scores are better.
        over: the days of all folds together; or the worst fold: the worst of the folds' scores, without undefined ones.
        meaning, unit: description for the leaderboard.
    """

    value: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    better: Literal["min", "max"] = "min"
    over: Literal["days", "worst fold"] = "days"
    meaning: str = "score"
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class BlockDays:
    """Forecasts of the test set: `forecast`, `actual` and `rival`, each (days,) in the task's unit.

    Attributes:
        block: positions of the days.
    """

    forecast: np.ndarray
    actual: np.ndarray
    rival: np.ndarray
    series: Series
    block: range


@dataclass(frozen=True, kw_only=True)
class BlockMetric:
    """A score of the test set only, such as a correlation with past prices. Its name begins with `test_`."""

    value: Callable[[BlockDays], float]
    better: Literal["min", "max"] | None = None
    meaning: str = "score of the test set"
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Words:
    """Words of a task in the verdict, the report and the terminal.

    Attributes:
        quantity: what is forecast, with an article: "the close".
        label: the same at an axis: "close".
        curve: kind of a curve of it: "price"; empty: label.
        actual: name of the values that came true, in the plural: "actual closes".
        unit: of forecasts.
        score: name of the relative loss: "Theil's U".
        short_score: the same in a column head: "U".
        loss: what a smaller value of is better: "error".
        daily_loss: name of a day's loss: "squared error".
        rival_name: name of the rival in a sentence; a code name is the same in all languages.
        rival: the rival's forecast in words, for one session ahead.
        rival_ahead: the same for several, with {n}.
        rival_meaning: the rival and how it forecasts; empty: its name.
        caution: a sentence below the chart of the forecasts.
        refused: conclusion without evidence of skill.
        proven: caution after evidence of skill.
    """

    quantity: str
    label: str
    curve: str = ""
    actual: str
    unit: str
    score: str
    short_score: str
    loss: str
    daily_loss: str
    rival_name: str
    rival: str
    rival_ahead: str
    rival_meaning: str = ""
    caution: str = ""
    refused: str
    proven: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What a study forecasts. See docs/extending.md for a task of one's own.

    Attributes:
        description: of the task, for the documentation of spaces.
        targets: what networks can be trained on, by name; the first is the default.
        losses: training losses that fit, by name (see `stockrnn.training.trainer`); the first is the default.
        scalings: values of `scaling` that fit; the first is the default.
        features: name of the default set of features.
        features_of_closes: name of the default set for a series that lacks a column of the other one.
        columns: function of the series' estimator that returns the columns of prices that the task needs.
        actual: function of the series that returns the values that are forecast, shape (sessions,); NaN for the first
            sessions if they are undefined.
        loss: function of `forecast` and `actual`, each (days,); it returns each day's loss, 0 or more.
        rival: name of the baseline that a forecast must beat.
        baselines: by name.
        metrics: by name; `val_relative_loss` is the first.
        block_metrics: of the test set only, by name.
        has_intervals: whether forecasts have prediction intervals, from errors of the logarithm.
        scale: of the charts of forecasts; on a log scale, forecasts are above 0; a probability has a reliability table
            instead of a curve of the actual values.
        rival_is_last_value: the rival forecasts the last known value, so that a forecast is a change from it.
        scales_intervals: whether errors of the logarithm grow with the volatility, which then scales the intervals.
        show: how forecasts are shown.
        words: how texts name its parts.
    """

    name: str
    description: str
    targets: Mapping[str, Target]
    losses: tuple[str, ...]
    scalings: tuple[str, ...]
    features: str
    features_of_closes: str = "close_only"
    columns: Callable[[str], tuple[str, ...]]
    actual: Callable[[Series], np.ndarray]
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray]
    rival: str
    baselines: dict[str, Baseline]
    metrics: dict[str, Metric]
    block_metrics: dict[str, BlockMetric] = field(default_factory=dict)
    has_intervals: bool = True
    scale: Literal["linear", "log", "probability"] = "linear"
    rival_is_last_value: bool = False
    scales_intervals: bool = False
    show: Show
    words: Words

    def __reduce__(self) -> Any:
        """Return how to unpickle the task: by its name."""
        from stockrnn.tasks.registry import find_task

        return find_task, (self.name,)


def on_closes(baseline: Callable[[np.ndarray, range, np.ndarray, int], np.ndarray]) -> Baseline:
    """Return the baseline that a function of closes, training part, origins and horizon computes."""
    return lambda series, train, origins: baseline(series.closes, train, origins, series.horizon)


def relative_loss(losses: np.ndarray, rival: np.ndarray) -> float:
    """Return the mean loss over that of the rival; below 1 is better than the rival. NaN if the rival's is zero.

    Args:
        losses, rival: losses of the days, shape (days,).
    """
    mean = float(np.mean(rival))
    return float(np.mean(losses)) / mean if mean > 0 else float("nan")
