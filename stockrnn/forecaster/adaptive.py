"""Give prediction intervals that follow the volatility and adapt their level day by day, from validation to today.

The errors are those of days on which the networks were not trained: the validation days, which a forecaster keeps, and
the sessions after the training. `search.study.test_block` scores such intervals on the test set.
"""

from typing import TYPE_CHECKING

import numpy as np

from stockrnn.evaluation.adaptive_intervals import CALIBRATION, adaptive_intervals, log_errors
from stockrnn.evaluation.conformal import Interval
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.forecaster.intervals import DayIntervals, is_same_series, static_intervals
from stockrnn.forecaster.outlook import make_outlook, rival_forecasts
from stockrnn.forecaster.validation import ValidationDays
from stockrnn.prices.series import Prices
from stockrnn.tasks.interval_scale import interval_scales
from stockrnn.tasks.task import Series

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster

__all__ = ["adapted_intervals", "extend_record"]


def adapted_intervals(forecaster: "Forecaster", prices: Prices, origins: np.ndarray) -> DayIntervals:
    """Return intervals for each origin, from errors that are known at it.

    Prices are scaled by the volatility that HAR forecasts, fitted to the sessions before the first validation day. An
    origin before or among the first validation days, or on a series that is not that of the study, has the forecaster's
    own intervals.

    Args:
        forecaster: its forecasts, and those of its rival.
        prices: the series.
        origins: int64, shape (origins,).
    """
    static = static_intervals(forecaster, origins)
    record = extend_record(forecaster, prices)
    if not forecaster.intervals or record is None:
        return static
    horizon, series = forecaster.horizon, _series(forecaster, prices)
    positions = np.searchsorted(prices.dates.astype("datetime64[D]"), np.array(record.dates, dtype="datetime64[D]"))
    known = np.concatenate([positions, np.arange(len(prices), len(prices) + horizon)])  # and the days to come
    targets = Fold(train=range(int(known[0])), validation=range(int(known[0]), len(prices) + horizon))
    (scale,) = interval_scales(forecaster.task, series, [targets])
    scale = scale[known - known[0]]
    places = np.searchsorted(known, origins + horizon)
    found = known[np.minimum(places, len(known) - 1)] == origins + horizon
    sides = []
    for forecast, own in ((record.forecast, static.forecast), (record.rival, static.rival)):
        errors = log_errors(np.array(forecast), np.array(record.actual))
        if not np.isfinite(errors).all():
            return static
        errors = np.append(errors, np.zeros(horizon))  # of the days to come; no interval here depends on them
        widths = {
            one.level: adaptive_intervals(errors, scale, one.level, horizon=horizon)[0] for one in forecaster.intervals
        }
        sides.append(
            tuple(
                tuple(
                    _interval(one, widths[one.level][place], int(place) - horizon + 1) if there else one for one in each
                )
                for place, there, each in zip(np.minimum(places, len(known) - 1), found, own, strict=True)
            )
        )
    return DayIntervals(forecast=sides[0], rival=sides[1], adapted=bool(found[-1]))


def extend_record(forecaster: "Forecaster", prices: Prices) -> ValidationDays | None:
    """Return the validation days with the sessions after them on which the networks were not trained.

    None: the forecaster has no validation days, or the series lacks one of them or is not that of the study.
    """
    record = forecaster.validation
    series = _series(forecaster, prices)
    if not record.dates or not is_same_series(forecaster, series):
        return None
    days = prices.dates.astype("datetime64[D]")
    if not np.isin(np.array(record.dates, dtype="datetime64[D]"), days).all():
        return None
    last = max(np.datetime64(record.dates[-1]), np.datetime64(forecaster.facts.trained_to))
    later = np.arange(int(np.searchsorted(days, last, side="right")), len(prices))
    if not len(later):
        return record
    origins = later - forecaster.horizon
    parts = (
        (record.forecast, forecaster.forecast(prices, origins).mean(axis=0)),
        (record.actual, forecaster.task.actual(series)[later]),
        (record.rival, rival_forecasts(forecaster, make_outlook(forecaster, prices, origins))),
    )
    forecast, actual, rival = (np.concatenate([np.array(old), new]) for old, new in parts)
    if not (np.isfinite(forecast).all() and np.isfinite(rival).all()):
        return record
    dates = np.concatenate([np.array(record.dates, dtype="datetime64[D]"), days[later]])
    return ValidationDays.of(dates, forecast, actual, rival)


def _series(forecaster: "Forecaster", prices: Prices) -> Series:
    return Series(prices=prices, horizon=forecaster.horizon, estimator=forecaster.window.estimator)


def _interval(own: Interval, width: float, days: int) -> Interval:
    """Return an interval with another width; the same one if there are too few days for its level."""
    if not np.isfinite(width):
        return own
    return Interval(level=own.level, half_width=float(width), residuals=min(CALIBRATION, days))
