"""Give the prediction intervals of forecasts at any session, with one width for all days or scaled by a volatility.

Scaled intervals: a validation day's score is |ln(actual / forecast)| over the volatility forecast for that day, and the
half width of a new forecast is a quantile of these scores times the volatility forecast for its day. To add other
intervals, write a function that returns `DayIntervals`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stockrnn.dataset.alignment import prepare
from stockrnn.evaluation.conformal import Interval, conformal_quantile, log_residuals
from stockrnn.forecaster.files import ForecasterError
from stockrnn.prices.request import Access
from stockrnn.prices.series import Prices
from stockrnn.tasks.registry import find_task
from stockrnn.tasks.task import Series

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster

__all__ = ["DayIntervals", "Scale", "check_scale", "is_same_series", "scaled_intervals", "static_intervals"]

LEVELS = (0.8, 0.95)
MIN_DAYS = 4  # common validation days; fewer give no interval of the level 0.8
MAX_DIFFERENCE = 1e-3  # of actual values of the same prices, relative
MIN_COMMON = 0.5  # share of the validation days that a series must have
MIN_EQUAL = 0.95  # share of days on which they are equal: the first sessions of a series have another floor


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What scaled intervals are scaled by.

    Attributes:
        volatility: forecast at each origin, shape (origins,), in per cent a day.
        mean: mean forecast on the validation days.
        days: number of these days.
        relative_loss: of the volatility forecasts on them; above 1, they are worse than their rival's; NaN: undefined.
    """

    volatility: np.ndarray
    mean: float
    days: int
    relative_loss: float


@dataclass(frozen=True, kw_only=True)
class DayIntervals:
    """Intervals of forecasts.

    Attributes:
        forecast, rival: intervals of the forecast and of the rival at each origin, with the same levels in one order.
        scale: of intervals that another study scales; else None.
        adapted: whether those of the last origin follow the volatility and adapt their level.
    """

    forecast: tuple[tuple[Interval, ...], ...]
    rival: tuple[tuple[Interval, ...], ...]
    scale: Scale | None = None
    adapted: bool = False


def static_intervals(forecaster: "Forecaster", origins: Sequence[int] | np.ndarray) -> DayIntervals:
    """Return the forecaster's own intervals for each origin."""
    count = len(origins)
    return DayIntervals(forecast=(forecaster.intervals,) * count, rival=(forecaster.rival_intervals,) * count)


def scaled_intervals(
    forecaster: "Forecaster",
    volatility: "Forecaster",
    prices: Prices,
    origins: np.ndarray,
    access: Access | None = None,
) -> DayIntervals:
    """Return intervals that are scaled by the forecasts of a volatility network, which are known at the origins.

    The scores use the forecasts of both studies on the validation days that they have in common, on which neither
    network was trained.

    Args:
        forecaster: of prices.
        volatility: of volatility; see `check_scale`.
        prices: the series of the forecasts.
        origins: int64, shape (origins,).
        access: how other series of the volatility study are loaded.

    Raises:
        UserError: the two do not fit together, or the volatility cannot be forecast.
    """
    check_scale(forecaster, volatility)
    ours, theirs = forecaster.validation, volatility.validation
    _, mine, other = np.intersect1d(ours.dates, theirs.dates, return_indices=True)
    if len(mine) < MIN_DAYS:
        raise ForecasterError(
            f"{len(mine)} validation days in common; the volatility study has {_days(theirs.dates)}, the price study "
            f"{_days(ours.dates)}; the scaled intervals need at least {MIN_DAYS}; use the same folds in both studies"
        )
    _check_prices(forecaster, volatility, prices)
    past = np.array(theirs.forecast)[other]
    own = _own_inputs(volatility, prices, access)
    ahead = volatility.forecast(own, origins - len(prices) + len(own)).mean(axis=0)
    task = find_task("volatility")
    if not (task.show.is_valid(ahead).all() and task.show.is_valid(past).all()):
        raise ForecasterError(f"{prices.source}: a volatility forecast is not {task.show.valid}; use another study")
    levels = [interval.level for interval in forecaster.intervals] or LEVELS
    actual = np.array(ours.actual)[mine]

    def sides(forecast: Sequence[float]) -> tuple[tuple[Interval, ...], ...]:
        scores = log_residuals(np.array(forecast)[mine], actual) / past
        quantiles = [(level, conformal_quantile(scores, level)) for level in levels]
        return tuple(
            tuple(
                Interval(level=level, half_width=None if one is None else one * float(scale), residuals=len(mine))
                for level, one in quantiles
            )
            for scale in ahead
        )

    outcome = (past, np.array(theirs.actual)[other], np.array(theirs.rival)[other])
    relative_loss = task.metrics["val_relative_loss"].value(*outcome)
    scale = Scale(volatility=ahead, mean=float(past.mean()), days=len(mine), relative_loss=relative_loss)
    return DayIntervals(forecast=sides(ours.forecast), rival=sides(ours.rival), scale=scale)


def check_scale(forecaster: "Forecaster", volatility: "Forecaster") -> None:
    """Raise ForecasterError unless the first forecasts prices, and the second their volatility, equally far ahead."""
    if forecaster.task.name != "price":
        raise ForecasterError(
            f"the study forecasts {forecaster.task.words.quantity}; only intervals of prices can be scaled by a "
            "volatility; use a study with task: price"
        )
    if volatility.task.name != "volatility":
        raise ForecasterError(
            f"forecasts {volatility.task.words.quantity}; the scale of the intervals is a volatility; use a study with "
            "task: volatility"
        )
    if forecaster.horizon != volatility.horizon:
        raise ForecasterError(
            f"forecasts with horizon {volatility.horizon}, the price study with horizon {forecaster.horizon}; both "
            "need the same horizon"
        )


def is_same_series(forecaster: "Forecaster", series: Series) -> bool:
    """Return whether a series has the actual values of the validation days of a study, on most of these days.

    They do not change with later sessions or other inputs.
    """
    record = forecaster.validation
    days = np.array(record.dates, dtype="datetime64[D]")
    _, here, there = np.intersect1d(series.prices.dates.astype("datetime64[D]"), days, return_indices=True)
    if MIN_COMMON * len(days) > len(here):
        return False
    ours, theirs = forecaster.task.actual(series)[here], np.array(record.actual)[there]
    return bool(np.mean(np.abs(ours - theirs) <= MAX_DIFFERENCE * np.abs(theirs)) >= MIN_EQUAL)


def _check_prices(forecaster: "Forecaster", volatility: "Forecaster", prices: Prices) -> None:
    """Raise ForecasterError unless both studies are on the series, by the actual volatilities of the validation days.

    These do not change with an adjustment of all prices by a factor either.
    """
    if forecaster.facts.data.sha256 == volatility.facts.data.sha256 == prices.sha256:
        return
    estimator = volatility.window.estimator
    series = Series(prices=prices, horizon=volatility.horizon, estimator=estimator)
    if missing := [name for name in volatility.task.columns(estimator) if name not in prices.columns]:
        raise ForecasterError(
            f"needs the columns {', '.join(missing)}, which {prices.source} lacks; both studies need the same series"
        )
    if not is_same_series(volatility, series):
        data = volatility.facts.data
        raise ForecasterError(
            f"was made on other prices ({data.source}, {data.start} to {data.end}) than those of the forecast "
            f"({prices.source}, {prices.dates[0]} to {prices.dates[-1]}); both need the same series"
        )


def _own_inputs(volatility: "Forecaster", prices: Prices, access: Access | None) -> Prices:
    """Return the series with the other series that the volatility network needs; it may begin later."""
    if set(volatility.window.others) <= set(prices.columns):
        return prices
    for name in set(prices.columns) - {"open", "high", "low", "close", "volume"}:
        prices = prices.without(name)
    asked = volatility.facts.asked
    open_ended = {"start": None, "end": None}
    others = tuple(other.model_copy(update=open_ended) for other in asked.also)
    return prepare(asked.model_copy(update={**open_ended, "also": others}), access, prices)


def _days(dates: Sequence[str]) -> str:
    return f"{len(dates)} from {dates[0]} to {dates[-1]}" if dates else "none"
