"""Score a trial or a baseline on the validation blocks of all folds, by the mean forecast over seeds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stockrnn.evaluation.walk_forward import Fold
from stockrnn.io.errors import UserError
from stockrnn.io.files import line
from stockrnn.tasks.task import Series, Task

__all__ = [
    "SPREAD",
    "BaselineError",
    "FoldDays",
    "Scores",
    "fold_days",
    "forecast_baseline",
    "score",
    "score_baselines",
    "score_names",
]  # fmt: skip

MAX_REASON = 200  # characters of an error of a baseline
RELATIVE_LOSS = "val_relative_loss"
SPREAD = "val_relative_loss_sd"  # standard deviation of the relative loss over single members (each fold, each seed)
Scores = dict[str, float]  # by name; NaN for an undefined score


class BaselineError(UserError):
    """A baseline, which may be the user's own, fails or returns something else than forecasts."""


@dataclass(frozen=True, kw_only=True)
class FoldDays:
    """Actual values and the rival's forecasts on a fold's validation block, each (days,), in the task's unit."""

    actual: np.ndarray
    rival: np.ndarray


def score_names(task: Task) -> tuple[str, ...]:
    """Return the names of all scores of a task, in the order of checkpoints: the metrics, and the spread."""
    first, *others = task.metrics
    return (first, SPREAD, *others)


def forecast_baseline(task: Task, name: str, series: Series, fold: Fold) -> np.ndarray:
    """Return the forecasts of a baseline on a fold's validation block, shape (days,), in the task's unit.

    Raises:
        UserError: the baseline cannot be fitted.
        BaselineError: it does not return one forecast per origin.
    """
    origins = np.arange(fold.validation.start, fold.validation.stop) - series.horizon
    try:
        found = np.asarray(task.baselines[name](series, fold.train, origins), dtype=float)
    except UserError:
        raise
    except Exception as error:  # the code may be the user's, and raise anything
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        at = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}: " if place else ""
        raise BaselineError(
            f"{at}baseline {name}: {type(error).__name__}: {line(error, MAX_REASON)}; it must return one forecast per "
            f"origin, {origins.shape}; correct the function"
        ) from error
    if found.shape != origins.shape:
        raise BaselineError(
            f"baseline {name}: its result has shape {found.shape}; it must have {origins.shape}, one forecast per "
            "origin; correct the function"
        )
    return found


def fold_days(task: Task, series: Series, folds: Iterable[Fold]) -> tuple[FoldDays, ...]:
    """Return the days on which forecasts are compared with the rival, by fold.

    Raises:
        UserError: the rival cannot be fitted.
    """
    actual = task.actual(series)
    return tuple(
        FoldDays(
            actual=actual[fold.validation.start : fold.validation.stop],
            rival=forecast_baseline(task, task.rival, series, fold),
        )
        for fold in folds
    )


def score_baselines(
    task: Task, series: Series, folds: Sequence[Fold], days: Sequence[FoldDays]
) -> tuple[dict[str, Scores], dict[str, str]]:
    """Score every baseline on the folds' validation sessions, in the same way as a trial.

    Args:
        days: result of `fold_days`.

    Returns:
        The scores by name, empty for a baseline that cannot be fitted, and the reasons for that by name.

    Raises:
        BaselineError: a baseline does not return one forecast per origin.
    """
    scores: dict[str, Scores] = {}
    reasons: dict[str, str] = {}
    for name in task.baselines:
        try:
            scores[name] = score(task, [forecast_baseline(task, name, series, fold)[None] for fold in folds], days)
        except BaselineError:
            raise
        except UserError as error:
            scores[name], reasons[name] = {}, str(error)
    return scores, reasons


def score(task: Task, forecasts: Sequence[np.ndarray], days: Sequence[FoldDays]) -> Scores:
    """Score the forecasts of all folds.

    Args:
        task: its metrics are computed.
        forecasts: per fold, shape (seeds, days), in the task's unit; the mean over seeds is scored.
        days: result of `fold_days` for the same folds.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged forecast scores inf; the caller reports it
        return _score(task, forecasts, days)


def _score(task: Task, forecasts: Sequence[np.ndarray], days: Sequence[FoldDays]) -> Scores:
    averages = [fold.mean(axis=0) for fold in forecasts]
    by_fold = [(average, fold.actual, fold.rival) for average, fold in zip(averages, days, strict=True)]
    together = [np.concatenate(part) for part in zip(*by_fold, strict=True)]
    scores: Scores = {}
    for name, metric in task.metrics.items():
        if metric.over == "days":
            scores[name] = metric.value(*together)
        else:
            worst = max if metric.better == "min" else min
            scores[name] = worst(_drop_nan([metric.value(*fold) for fold in by_fold]))
    single = task.metrics[RELATIVE_LOSS].value
    by_member = [
        single(one, fold.actual, fold.rival) for seeds, fold in zip(forecasts, days, strict=True) for one in seeds
    ]
    return scores | {SPREAD: float(np.std(_drop_nan(by_member)))}


def _drop_nan(values: list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)] or [math.nan]
