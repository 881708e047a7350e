"""Collect everything about one forecast as JSON data: network, prices, forecast and rival with intervals, warnings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stockrnn.evaluation.conformal import Interval
from stockrnn.forecaster.intervals import DayIntervals
from stockrnn.forecaster.outlook import check_forecasts, make_outlook, rival_forecasts
from stockrnn.prices.series import Finding, Prices
from stockrnn.tasks.outlook import Outlook
from stockrnn.tasks.task import Task

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Data, Facts, Forecaster

__all__ = ["forecast_report"]

LEVELS = (0.8, 0.95)  # of ranges of the close that a forecast implies


def forecast_report(
    forecaster: "Forecaster", prices: Prices, forecasts: np.ndarray, intervals: DayIntervals
) -> dict[str, Any]:
    """Return a forecast from the last session of a series, without the study's results.

    Args:
        forecaster: made the forecasts.
        prices: the series.
        forecasts: of the seeds, shape (seeds,), in the task's unit.
        intervals: for one origin, the last session.

    Raises:
        ForecasterError: a forecast is not valid, or the rival cannot be fitted.
    """
    facts, network, provenance, task = forecaster.facts, forecaster.network, prices.provenance, forecaster.task
    check_forecasts(forecaster, forecasts[:, None], prices.source)
    outlook = make_outlook(forecaster, prices, np.array([len(prices) - 1]))
    rival = rival_forecasts(forecaster, outlook)
    newer = _newer_sessions(prices, facts.data)
    unseen = None if newer is None else int((prices.dates.astype(str) > facts.trained_to).sum())
    return {
        "task": task.name,
        "forecaster": {
            "rank": facts.rank,
            "trial_id": facts.trial_id,
            "architecture": network.architecture,
            "head": network.head,
            "hidden_size": network.hidden_size,
            "num_layers": network.num_layers,
            "sequence_length": forecaster.window.sequence_length,
            "seeds": forecaster.seeds,
            "epochs": facts.epochs,
            "trained_from": facts.trained_from,
            "trained_to": facts.trained_to,
        },
        "prices": {
            "source": prices.source,
            "start": provenance.start,
            "end": provenance.end,
            "sessions": len(prices),
            "sha256": provenance.sha256,
            "as_in_the_study": provenance.sha256 == facts.data.sha256,
            "newer_sessions": newer,
            "unseen_sessions": unseen,
        },
        "study_prices": facts.data.model_dump(),
        "horizon": forecaster.horizon,
        "last_close": {"date": provenance.end, "close": float(outlook.last_closes[0])},
        "forecast": _side(task, forecasts.mean(keepdims=True), outlook, intervals.forecast[0])
        | {"seeds": forecasts.tolist()},
        "rival": {"name": task.rival} | _side(task, rival, outlook, intervals.rival[0]),
        "adapted_intervals": intervals.adapted,
        **task.show.facts(outlook),
        "warnings": _warnings(facts, prices, newer),
    }


def _side(task: Task, forecast: np.ndarray, outlook: Outlook, intervals: Sequence[Interval]) -> dict[str, Any]:
    """Return the numbers of a forecast, shape (1,), and its intervals; unbounded intervals have null bounds."""
    numbers = {name: float(one.value(forecast, outlook)[0]) for name, one in task.show.quantities.items()}
    bounds = [(interval, interval.bounds(float(forecast[0])) or (None, None)) for interval in intervals]
    side: dict[str, Any] = numbers | {
        "intervals": [
            {"level": interval.level, "low": low, "high": high, "residuals": interval.residuals}
            for interval, (low, high) in bounds
        ],
    }
    if task.show.close_range:
        ranges = [(level, *task.show.close_range(forecast, outlook, level)) for level in LEVELS]
        side["close_ranges"] = [
            {"level": level, "low": float(low[0]), "high": float(high[0])}
            if np.isfinite(high[0])
            else {"level": level, "low": None, "high": None}
            for level, low, high in ranges
        ]
    return side


def _warnings(facts: "Facts", prices: Prices, newer: int | None) -> list[str]:
    provenance = prices.provenance
    same = provenance.sha256 == facts.data.sha256

    def is_new(finding: Finding) -> bool:  # the study reports the other findings of its own series
        return not same or finding.severity == "repair" or finding.check == "cache"

    warnings = [f"{prices.source}: {finding.text}" for finding in prices.findings if is_new(finding)]
    if provenance.end < facts.trained_to:
        warnings.append(
            f"{prices.source}: ends on {provenance.end}, before the end of the training data ({facts.trained_to}); "
            f"the forecaster was trained on the days that it forecasts"
        )
    elif provenance.end < facts.data.end:
        warnings.append(
            f"{prices.source}: ends on {provenance.end}, before the end of the study's prices ({facts.data.end}); "
            f"the study has already used the days that are forecast"
        )
    elif not same and newer is None:
        warnings.append(
            f"{prices.source}: differs from the study's prices ({facts.data.source}) on the same days; "
            f"the forecaster was not trained on this series, nor were its intervals calibrated on it"
        )
    return warnings


def _newer_sessions(prices: Prices, data: "Data") -> int | None:
    """Return the number of sessions after the study's last one; None if the series differ before that session."""
    known = (prices.dates >= np.datetime64(data.start)) & (prices.dates <= np.datetime64(data.end))
    if not known.any() or prices.rows(known).sha256 != data.sha256:
        return None
    return int((prices.dates > np.datetime64(data.end)).sum())
