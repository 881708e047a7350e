"""Forecast the probability that the close is higher `horizon` sessions ahead; the rival is the base rate.

The base rate is the share of rises in the training part. A day's loss is the log loss.
"""

import numpy as np

from stockrnn.evaluation.direction import base_rate, closes_higher, direction_persistence, logistic
from stockrnn.evaluation.losses import brier, log_loss
from stockrnn.tasks.outlook import Headline, Outlook, Quantity, Sentence, Show, describe_fit
from stockrnn.tasks.task import (
    Baseline,
    BlockMetric,
    Metric,
    Series,
    Target,
    Task,
    Words,
    on_closes,
    relative_loss,
)

__all__ = ["DIRECTION", "calibration_error", "reliability"]

HALF = 0.5  # a higher probability forecasts a rise


def _actual(series: Series) -> np.ndarray:
    """Return 1 where the close is higher than `horizon` sessions before, else 0; NaN for the first sessions."""
    values = np.full(len(series.closes), np.nan)
    values[series.horizon :] = closes_higher(series.closes, series.horizon)[: -series.horizon]
    return values


def _up(series: Series, relative: bool) -> np.ndarray:
    return closes_higher(series.closes, series.horizon)


def _from_logits(series: Series, origins: np.ndarray, values: np.ndarray, relative: bool) -> np.ndarray:
    probabilities: np.ndarray = 0.5 * (1 + np.tanh(values / 2))
    return probabilities


def _log_loss(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    return log_loss(actual, forecast)


def _relative_log_loss(forecast: np.ndarray, actual: np.ndarray, rival: np.ndarray) -> float:
    return relative_loss(_log_loss(forecast, actual), _log_loss(rival, actual))


BASELINES: dict[str, Baseline] = {
    "base_rate": on_closes(base_rate),
    "persistence": on_closes(direction_persistence),
    "logistic": on_closes(logistic),
}


def _headline(forecast: float, outlook: Outlook) -> Headline:
    return Headline(
        value=f"{100 * forecast:.1f} %", notes=(Sentence("probability of a higher close, forecast by {trial}"),)
    )


def _is_probability(forecast: np.ndarray) -> np.ndarray:
    valid: np.ndarray = (forecast >= 0) & (forecast <= 1)
    return valid


SHOW = Show(
    quantities={
        "probability": Quantity(
            label="probability of a rise, %", value=lambda forecast, outlook: forecast,
            text=lambda value, close: f"{100 * value:.1f}",
        ),
    },
    is_valid=_is_probability,
    valid="a probability",
    rival_label="base rate",
    facts=lambda outlook: {"rival_fitted_on": outlook.rival_fitted_on},
    notes=lambda report: [
        "The base rate is the share of rises in the past. " + describe_fit(report, "It"),
    ],
    headline=_headline,
)  # fmt: skip

DIRECTION = Task(
    name="direction",
    description="the probability that the close is higher `horizon` sessions ahead",
    targets={"up": Target(values=_up, forecasts=_from_logits, fit="nothing")},
    losses=("log_loss",),
    scalings=("relative", "minmax", "standard"),
    features="returns",
    features_of_closes="volatility_close",
    columns=lambda estimator: ("close",),
    actual=_actual,
    loss=_log_loss,
    rival="base_rate",
    baselines=BASELINES,
    metrics={
        "val_relative_loss": Metric(
            value=_relative_log_loss, unit="ratio",
            meaning="mean log loss over that of the base rate; below 1 is better",
        ),
        "val_worst_fold": Metric(
            value=_relative_log_loss, over="worst fold", unit="ratio",
            meaning="largest relative log loss of a single fold",
        ),
        "val_log_loss": Metric(
            value=lambda forecast, actual, rival: float(np.mean(_log_loss(forecast, actual))), unit="nats",
            meaning="mean negative logarithm of the probability of what happened; ln 2 is 0.6931",
        ),
        "val_brier": Metric(
            value=lambda forecast, actual, rival: float(np.mean(brier(actual, forecast))), unit="0 to 1",
            meaning="Brier score, the mean squared error of the probability; 0.25 for a probability of one half",
        ),
        "val_direction_accuracy": Metric(
            value=lambda forecast, actual, rival: float(np.mean((forecast > HALF) == (actual > HALF))), better="max",
            unit="fraction", meaning="days on which the more probable direction came true",
        ),
    },
    block_metrics={
        "test_always_up": BlockMetric(
            value=lambda days: float(np.mean(days.actual)), unit="fraction",
            meaning="direction accuracy of the forecast \"always up\"",
        ),
        "test_calibration_error": BlockMetric(
            value=lambda days: calibration_error(days.forecast, days.actual), better="min", unit="fraction",
            meaning="mean distance between the probability and the share of rises, over ten groups of equal size",
        ),
    },
    has_intervals=False,
    scale="probability",
    show=SHOW,
    words=Words(
        quantity="the probability of a rise",
        label="probability of a rise",
        actual="actual directions",
        unit="per cent",
        score="relative log loss",
        short_score="log loss",
        loss="log loss",
        daily_loss="log loss",
        rival_name="the base rate",
        rival="the base rate",
        rival_ahead="the base rate over {n} sessions",
        rival_meaning="the base rate, the share of rises in the training part",
        refused="Do not trade on this.",
        proven="Trading costs are not included, and the future may differ from the past.",
    ),
)  # fmt: skip


def calibration_error(forecast: np.ndarray, actual: np.ndarray, groups: int = 10) -> float:
    """Return the expected calibration error over groups of days of equal size, by forecast.

    Source: Naeini, Cooper & Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning.
    """
    table = reliability(forecast, actual, groups)
    return float(sum(days * abs(mean - share) for mean, share, days in table) / len(forecast))


def reliability(forecast: np.ndarray, actual: np.ndarray, groups: int = 10) -> list[tuple[float, float, int]]:
    """Return the reliability table: mean probability, share of rises, and days, by group of similar forecasts."""
    order = np.argsort(forecast, kind="stable")
    return [
        (float(forecast[part].mean()), float(actual[part].mean()), len(part))
        for part in np.array_split(order, groups)
        if len(part)
    ]
