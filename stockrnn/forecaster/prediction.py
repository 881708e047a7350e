"""Forecast from a DataFrame of prices with a saved forecaster."""

from typing import TYPE_CHECKING

import numpy as np

from stockrnn.dataset.alignment import prepare
from stockrnn.forecaster.files import ForecasterError
from stockrnn.forecaster.next_sessions import find_exchange, next_sessions
from stockrnn.prices.readers.table import read_frame
from stockrnn.prices.request import Access

if TYPE_CHECKING:
    import pandas as pd

    from stockrnn.forecaster.forecaster import Forecaster

__all__ = ["predict"]


def predict(
    forecaster: "Forecaster", frame: "pd.DataFrame", *, sessions: int = 1, offline: bool = False
) -> "pd.DataFrame":
    """Forecast from the last sessions of a series; see `Forecaster.predict`."""
    import pandas as pd

    asked, horizon = forecaster.facts.asked, forecaster.horizon
    open_ended = {"start": None, "end": None}
    others = tuple(other.model_copy(update=open_ended) for other in asked.also)
    data = asked.model_copy(update={**open_ended, "also": others})
    prices = prepare(data, Access(offline=offline), read_frame(frame))
    if type(sessions) is not int or not 1 <= sessions <= len(prices):
        raise ForecasterError(
            f"sessions={sessions!r}: must be a whole number from 1 to {len(prices)}, the number of sessions; write 1"
        )
    origins = np.arange(len(prices) - sessions, len(prices))
    closes = forecaster.forecast(prices, origins).mean(axis=0)
    if not (np.isfinite(closes) & (closes > 0)).all():
        facts = forecaster.facts
        raise ForecasterError(
            f"{prices.source}: a forecast is not a finite price above 0; these prices differ too much from the "
            f"training prices ({facts.trained_from} to {facts.trained_to}); run a study on them"
        )
    dates = prices.dates.astype("datetime64[D]")
    after, _ = next_sessions(dates, horizon, find_exchange(asked))
    targets = np.concatenate([dates, after])[origins + horizon]
    columns: dict[str, np.ndarray] = {
        "origin": dates[origins].astype("datetime64[us]"), "date": targets.astype("datetime64[us]"),
        "last_close": prices.column("close")[origins], "forecast": closes,
    }  # fmt: skip
    for interval in forecaster.intervals:
        level = f"{100 * interval.level:g}"
        bounds = [interval.bounds(float(close)) or (np.nan, np.nan) for close in closes]
        columns[f"low_{level}"], columns[f"high_{level}"] = np.array(bounds).T
    columns["in_training"] = targets <= np.datetime64(forecaster.facts.trained_to)
    return pd.DataFrame(columns)
