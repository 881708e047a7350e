"""Forecast the volatility of the next `horizon` sessions; the rival is HAR on logs with leverage.

The volatility is the square root of the mean variance of these sessions, in per cent a day. A day's loss is QLIKE,
which is robust to the noise of the variance's estimate.
"""

from functools import partial

import numpy as np

from stockrnn.evaluation.losses import qlike
from stockrnn.evaluation.metrics import mae, rmse
from stockrnn.tasks.task import Baseline, Headline, Metric, Sentence, Series, Target, Task, Words, relative_loss
from stockrnn.volatility import baselines
from stockrnn.volatility.estimators import mean_future_variance, needs

__all__ = ["VOLATILITY"]

PERCENT = 100.0
SESSIONS_A_YEAR = 252


def _to_volatility(variance: np.ndarray) -> np.ndarray:
    """Return the volatility in per cent a day of variances of log returns."""
    volatility: np.ndarray = PERCENT * np.sqrt(variance)
    return volatility


def _qlike(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    return qlike(actual**2, forecast**2)


def _relative_qlike(forecast: np.ndarray, actual: np.ndarray, rival: np.ndarray) -> float:
    return relative_loss(_qlike(forecast, actual), _qlike(rival, actual))


def _baseline(name: str, series: Series, train: range, origins: np.ndarray) -> np.ndarray:
    """Return the volatility forecasts of a baseline, shape (origins,)."""
    forecast = baselines.BASELINES[name](series.variance, series.closes, train, series.horizon)
    return _to_volatility(forecast.variance[origins])


def _actual(series: Series) -> np.ndarray:
    values = np.full(len(series.closes), np.nan)
    values[series.horizon :] = mean_future_variance(series.variance, series.horizon)[: -series.horizon]
    return _to_volatility(values)


def _log_variance(series: Series, relative: bool) -> np.ndarray:
    logs: np.ndarray = np.log(mean_future_variance(series.variance, series.horizon))
    return logs


def _from_log_variance(series: Series, origins: np.ndarray, values: np.ndarray, relative: bool) -> np.ndarray:
    with np.errstate(over="ignore"):  # a diverged output gives an infinite volatility, which the caller reports
        return _to_volatility(np.exp(values))


def _headline(series: Series, forecast: float) -> Headline:
    annual = forecast * float(np.sqrt(SESSIONS_A_YEAR))
    return Headline(
        value=f"{forecast:.2f} %",
        notes=(
            Sentence("volatility a day, forecast by {trial}"),
            Sentence("annualised {volatility:.1f} %", {"volatility": annual}),
        ),
    )


BASELINES: dict[str, Baseline] = {name: partial(_baseline, name) for name in baselines.BASELINES}

VOLATILITY = Task(
    name="volatility",
    description="the volatility of the next `horizon` sessions, by a range estimator",
    targets={
        "log_variance": Target(values=_log_variance, forecasts=_from_log_variance, fit="offset", is_log=True),
    },
    losses=("qlike", "mse", "mae", "huber"),
    scalings=("standard", "minmax"),
    features="volatility",
    columns=lambda estimator: (*needs(estimator), "close"),
    actual=_actual,
    loss=_qlike,
    rival=baselines.RIVAL,
    baselines=BASELINES,
    metrics={
        "val_relative_loss": Metric(
            value=_relative_qlike, unit="ratio", meaning="mean QLIKE over that of HAR with leverage; below 1 is better"
        ),
        "val_worst_fold": Metric(
            value=_relative_qlike, over="worst fold", unit="ratio", meaning="largest relative QLIKE of a single fold"
        ),
        "val_qlike": Metric(
            value=lambda forecast, actual, rival: float(np.mean(_qlike(forecast, actual))), unit="nats",
            meaning="mean QLIKE loss of the variance, v/f - ln(v/f) - 1",
        ),
        "val_relative_rmse": Metric(
            value=lambda forecast, actual, rival: _ratio(_log_rmse(forecast, actual), _log_rmse(rival, actual)),
            unit="ratio",
            meaning="RMSE of the log variance over that of HAR with leverage, both without their mean error",
        ),
        "val_rmse": Metric(
            value=lambda forecast, actual, rival: rmse(forecast, actual), unit="% a day",
            meaning="root mean squared error of the volatility",
        ),
        "val_mae": Metric(
            value=lambda forecast, actual, rival: mae(forecast, actual), unit="% a day",
            meaning="mean absolute error of the volatility",
        ),
    },
    scale="log",
    headline=_headline,
    words=Words(
        quantity="the volatility",
        label="volatility",
        actual="actual volatilities",
        unit="% a day",
        score="relative QLIKE",
        short_score="QLIKE",
        loss="QLIKE loss",
        daily_loss="QLIKE loss",
        rival_name="HAR with leverage",
        rival="HAR with leverage",
        rival_ahead="HAR with leverage over {n} sessions",
        rival_meaning="HAR with leverage, a regression on the volatility of the last day, week and month",
        refused="Use HAR, which is simpler.",
        proven="A better volatility forecast is not a forecast of the price, and the future may differ from the past.",
    ),
)  # fmt: skip


def _log_rmse(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Return the standard deviation of the errors of the log variance.

    Forecasts are corrected to the mean of the variance, so their logs have a mean error by construction.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(np.std(2 * np.log(forecast / actual)))


def _ratio(value: float, rival: float) -> float:
    return value / rival if rival > 0 else float("nan")
