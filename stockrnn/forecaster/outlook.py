"""Forecast with a forecaster's networks and its rival at the same sessions, and check that the forecasts are usable."""

from typing import TYPE_CHECKING

import numpy as np

from stockrnn.forecaster.files import ForecasterError
from stockrnn.forecaster.next_sessions import sessions_a_year
from stockrnn.io.errors import UserError
from stockrnn.prices.series import Prices
from stockrnn.tasks.outlook import Outlook
from stockrnn.tasks.task import Series

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster

__all__ = ["check_forecasts", "make_outlook", "rival_forecasts"]


def make_outlook(forecaster: "Forecaster", prices: Prices, origins: np.ndarray) -> Outlook:
    """Return where forecasts are made, and the sessions to which the rival is fitted.

    The rival is fitted to the sessions on which the networks were trained, so that both know the same. If the series
    begins after the first of them, or has none of them before the first origin, the rival is fitted to all sessions up
    to the first origin.
    """
    facts = forecaster.facts
    days = prices.dates.astype("datetime64[D]")
    known = int(origins.min()) + 1
    first, last = np.datetime64(facts.trained_from), np.datetime64(facts.trained_to)
    train = range(int(np.searchsorted(days, first)), min(int(np.searchsorted(days, last, side="right")), known))
    alike = bool(days[0] <= first) and len(train) > 0
    return Outlook(
        series=Series(prices=prices, horizon=forecaster.horizon, estimator=forecaster.window.estimator),
        origins=origins,
        train=train if alike else range(known),
        trained_alike=alike,
        sessions_a_year=sessions_a_year(prices.dates),
    )


def rival_forecasts(forecaster: "Forecaster", outlook: Outlook) -> np.ndarray:
    """Return the rival's forecasts, shape (origins,), in the task's unit.

    Raises:
        ForecasterError: the rival cannot be fitted, for example to too few sessions.
    """
    task, source = forecaster.task, outlook.series.prices.source
    try:
        forecasts = np.asarray(task.baselines[task.rival](outlook.series, outlook.train, outlook.origins))
    except UserError as error:
        raise ForecasterError(f"{source}: {error}; use a longer series") from None
    if not task.show.is_valid(forecasts).all():
        raise ForecasterError(
            f"{source}: {task.show.rival_label}: a forecast is not {task.show.valid}; use a longer series"
        )
    return forecasts


def check_forecasts(forecaster: "Forecaster", forecasts: np.ndarray, source: str) -> None:
    """Raise ForecasterError unless the mean forecast of each origin is valid and those of all seeds are finite.

    Args:
        forecasts: shape (seeds, origins).
        source: of the prices.
    """
    facts, show = forecaster.facts, forecaster.task.show
    mean = forecasts.mean(axis=0)
    valid = np.isfinite(forecasts).all(axis=0) & show.is_valid(mean)
    if not valid.all():
        raise ForecasterError(
            f"{source}: the forecast is {mean[np.argmin(valid)]:g}, not {show.valid}; these prices differ too much "
            f"from the training prices ({facts.trained_from} to {facts.trained_to}); run a study on them"
        )
