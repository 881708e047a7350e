"""Forecast from a DataFrame of prices with a saved forecaster."""

from typing import TYPE_CHECKING

import numpy as np

from stockrnn.dataset.alignment import prepare
from stockrnn.evaluation.conformal import Interval
from stockrnn.forecaster.adaptive import adapted_intervals
from stockrnn.forecaster.files import ForecasterError
from stockrnn.forecaster.intervals import scaled_intervals
from stockrnn.forecaster.next_sessions import find_exchange, next_sessions
from stockrnn.forecaster.outlook import check_forecasts, make_outlook, rival_forecasts
from stockrnn.forecaster.report import LEVELS
from stockrnn.prices.readers.table import read_frame
from stockrnn.prices.request import Access

if TYPE_CHECKING:
    import pandas as pd

    from stockrnn.forecaster.forecaster import Forecaster

__all__ = ["predict"]


def predict(
    forecaster: "Forecaster",
    frame: "pd.DataFrame",
    *,
    sessions: int = 1,
    offline: bool = False,
    also: "Forecaster | None" = None,
) -> "pd.DataFrame":
    """Forecast from the last sessions of a series; see `Forecaster.predict`."""
    import pandas as pd

    asked, horizon, show = forecaster.facts.asked, forecaster.horizon, forecaster.task.show
    open_ended = {"start": None, "end": None}
    others = tuple(other.model_copy(update=open_ended) for other in asked.also)
    data = asked.model_copy(update={**open_ended, "also": others})
    access = Access(offline=offline)
    prices = prepare(data, access, read_frame(frame))
    if type(sessions) is not int or not 1 <= sessions <= len(prices):
        raise ForecasterError(
            f"sessions={sessions!r}: must be a whole number from 1 to {len(prices)}, the number of sessions; write 1"
        )
    origins = np.arange(len(prices) - sessions, len(prices))
    forecasts = forecaster.forecast(prices, origins)
    check_forecasts(forecaster, forecasts, prices.source)
    mean = forecasts.mean(axis=0)
    outlook = make_outlook(forecaster, prices, origins)
    dates = prices.dates.astype("datetime64[D]")
    after, _ = next_sessions(dates, horizon, find_exchange(asked))
    targets = np.concatenate([dates, after])[origins + horizon]
    columns: dict[str, np.ndarray] = {
        "origin": dates[origins].astype("datetime64[us]"), "date": targets.astype("datetime64[us]"),
        "last_close": outlook.last_closes, "forecast": mean,
    }  # fmt: skip
    for name in show.columns:
        columns[name] = (
            rival_forecasts(forecaster, outlook)
            if name == "rival"
            else show.quantities[name].value(mean, outlook)
        )  # fmt: skip
    intervals = adapted_intervals(forecaster, prices, origins)
    if also is not None:
        try:
            intervals = scaled_intervals(forecaster, also, prices, origins, access)
        except ForecasterError as error:
            raise ForecasterError(f"also: {error}") from None
    for place, interval in enumerate(intervals.forecast[0]):
        bounds = [_bounds(each[place], value) for each, value in zip(intervals.forecast, mean, strict=True)]
        columns[f"low_{_percent(interval.level)}"], columns[f"high_{_percent(interval.level)}"] = np.array(bounds).T
    if show.close_range:
        for level in LEVELS:
            low, high = show.close_range(mean, outlook, level)
            columns[f"close_low_{_percent(level)}"], columns[f"close_high_{_percent(level)}"] = low, high
    columns["in_training"] = targets <= np.datetime64(forecaster.facts.trained_to)
    return pd.DataFrame(columns)


def _bounds(interval: Interval, forecast: float) -> tuple[float, float]:
    return interval.bounds(float(forecast)) or (np.nan, np.nan)


def _percent(level: float) -> str:
    return f"{100 * level:g}"
