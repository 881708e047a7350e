"""Forecast the volatility of the next `horizon` sessions; the rival is HAR on logs with leverage.

The volatility is the square root of the mean variance of these sessions, in per cent a day. A day's loss is QLIKE,
which is robust to the noise of the variance's estimate.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from stockrnn.evaluation.losses import qlike
from stockrnn.evaluation.metrics import mae, rmse
from stockrnn.prices.series import count
from stockrnn.tasks.outlook import Headline, Outlook, Quantity, Sentence, Show, describe_fit, format_digits
from stockrnn.tasks.task import Baseline, Metric, Series, Target, Task, Words, relative_loss
from stockrnn.volatility import baselines
from stockrnn.volatility.close_range import close_range, overnight_factor
from stockrnn.volatility.estimators import mean_future_variance, needs

__all__ = ["VOLATILITY"]

PERCENT = 100.0


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


def _headline(forecast: float, outlook: Outlook) -> Headline:
    annual = forecast * float(np.sqrt(outlook.sessions_a_year))
    return Headline(
        value=f"{forecast:.2f} %",
        notes=(
            Sentence("volatility a day, forecast by {trial}"),
            Sentence("annualised {volatility:.1f} %", {"volatility": annual}),
        ),
    )


BASELINES: dict[str, Baseline] = {name: partial(_baseline, name) for name in baselines.BASELINES}


def _is_volatility(forecast: np.ndarray) -> np.ndarray:
    valid: np.ndarray = np.isfinite(forecast) & (forecast > 0)
    return valid


def _overnight_factor(outlook: Outlook) -> float:
    return overnight_factor(outlook.series.variance, outlook.series.closes, outlook.train)


def _close_range(forecast: np.ndarray, outlook: Outlook, level: float) -> tuple[np.ndarray, np.ndarray]:
    return close_range(
        outlook.last_closes, (forecast / PERCENT) ** 2, level, horizon=outlook.series.horizon,
        factor=_overnight_factor(outlook),
    )  # fmt: skip


def _facts(outlook: Outlook) -> dict[str, Any]:
    return {
        "estimator": outlook.series.estimator,
        "sessions_a_year": outlook.sessions_a_year,
        "overnight_factor": _overnight_factor(outlook),
        "raised_sessions": outlook.series.raised,
        "rival_fitted_on": outlook.rival_fitted_on,
    }


def _notes(report: Mapping[str, Any]) -> list[str]:
    steps = report["horizon"]
    mean = "" if steps == 1 else f"The volatility is that of the mean variance of the next {steps} sessions. "
    times = "" if steps == 1 else f", over {steps} sessions"
    raised = report["raised_sessions"]
    floor = (
        f"The variance of {count(raised, 'session')} was raised to 1 % of the mean of the 250 sessions before, for "
        "example because high = low."
    )
    return [
        f"{mean}Estimator of a session's variance: {report['estimator']}. Annualised: times the square root of "
        f"{report['sessions_a_year']}, the sessions in a year of this series. "
        + describe_fit(report, "HAR with leverage"),
        f"Close: the range that this volatility implies, for a normal log return without drift{times}. The variance is "
        f"multiplied by {report['overnight_factor']:.2f}, the variance from close to close over the mean estimate on "
        "the sessions to which HAR is fitted, because the estimate may miss the move from the last close to the open.",
        *([floor] if raised else []),
    ]


SHOW = Show(
    quantities={
        "volatility": Quantity(
            label="volatility, % a day", value=lambda forecast, outlook: forecast,
            text=lambda value, close: format_digits(value),
        ),
        "annualised": Quantity(
            label="annualised, %", value=lambda forecast, outlook: forecast * np.sqrt(outlook.sessions_a_year),
            text=lambda value, close: format_digits(value),
        ),
    },
    columns=("rival", "annualised"),
    is_valid=_is_volatility,
    valid="a finite volatility above 0",
    rival_label="HAR with leverage",
    close_range=_close_range,
    facts=_facts,
    notes=_notes,
    headline=_headline,
)  # fmt: skip

VOLATILITY = Task(
    name="volatility",
    description="the volatility of the next `horizon` sessions, by a range estimator",
    targets={
        "log_variance": Target(values=_log_variance, forecasts=_from_log_variance, fit="offset", is_log=True),
    },
    losses=("qlike", "mse", "mae", "huber"),
    scalings=("standard", "minmax"),
    features="volatility",
    features_of_closes="volatility_close",
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
    show=SHOW,
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
