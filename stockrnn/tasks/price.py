"""Forecast the close `horizon` sessions ahead; the rival is persistence, "tomorrow equals today".

To add a metric that a study can rank by, add an entry to METRICS; to add a baseline, one to BASELINES. Spaces, their
schema and error messages, and the leaderboard read these dictionaries.
"""

import numpy as np

from stockrnn.evaluation.baselines import ar1, drift, persistence
from stockrnn.evaluation.forecast_tests import clark_west
from stockrnn.evaluation.metrics import (
    always_up,
    direction_accuracy,
    lag_correlation,
    mae,
    mape,
    r2_oos,
    rmse,
    theils_u,
)
from stockrnn.tasks.outlook import Headline, Outlook, Quantity, Sentence, Show, format_price
from stockrnn.tasks.task import (
    Baseline,
    BlockDays,
    BlockMetric,
    Metric,
    Series,
    Target,
    Task,
    Words,
    on_closes,
)

__all__ = ["BASELINES", "METRICS", "PRICE"]

PERCENT = 100.0


BASELINES: dict[str, Baseline] = {
    "persistence": on_closes(persistence),
    "drift": on_closes(drift),
    "ar1": on_closes(ar1),
}

METRICS: dict[str, Metric] = {
    "val_relative_loss": Metric(
        value=theils_u, unit="ratio", meaning="Theil's U: RMSE over that of persistence; below 1 is better"
    ),
    "val_worst_fold": Metric(
        value=theils_u, over="worst fold", unit="ratio",
        meaning="largest U of a single fold; above 1, the forecast was worse than persistence in at least one period",
    ),
    "val_rmse": Metric(
        value=lambda forecast, actual, rival: rmse(forecast, actual), unit="price points",
        meaning="root mean squared error",
    ),
    "val_mae": Metric(
        value=lambda forecast, actual, rival: mae(forecast, actual), unit="price points", meaning="mean absolute error"
    ),
    "val_direction_accuracy": Metric(
        value=direction_accuracy, better="max", unit="fraction",
        meaning="days with a correctly forecast direction, of those on which the price moved",
    ),
}  # fmt: skip

BLOCK_METRICS = {
    "test_mape": BlockMetric(
        value=lambda days: mape(days.forecast, days.actual), better="min", unit="fraction",
        meaning="mean absolute error divided by the close; persistence has about 1 % on a daily index, so a small "
        "value means little",
    ),
    "test_r2_oos": BlockMetric(
        value=lambda days: r2_oos(days.forecast, days.actual, days.rival), better="max", unit="fraction",
        meaning="out-of-sample R²: 1 − squared error of the log return ÷ that of persistence; above 0 is better than "
        "persistence, and a few thousandths are already a lot",
    ),
    "test_always_up": BlockMetric(
        value=lambda days: always_up(days.actual, days.rival), unit="fraction",
        meaning="direction accuracy of the forecast \"always up\"; compare it with the direction accuracy, above all "
        "in a rising market",
    ),
    "test_lag_correlation": BlockMetric(
        value=lambda days: lag_correlation(days.forecast, days.rival, _earlier(days)), unit="−1 to 1",
        meaning="correlation of the forecast change with the price change of the day before: near −1 the network "
        "repeats the close before the last one, near 1 it repeats the last price change",
    ),
    "test_cw_p": BlockMetric(
        value=lambda days: clark_west(days.forecast, days.actual, days.rival, days.series.horizon), better="min",
        unit="p-value",
        meaning="Clark-West test: like the Diebold-Mariano test, with a correction for the estimation noise of a model "
        "that nests persistence",
    ),
}  # fmt: skip


def _earlier(days: BlockDays) -> np.ndarray:
    """Return the closes one session before the origins."""
    positions = np.arange(days.block.start, days.block.stop) - days.series.horizon - 1
    return days.series.closes[positions]


def _ahead(series: Series) -> np.ndarray:
    """Return the close that is forecast at each origin; NaN after the series."""
    ahead = np.full(len(series.closes), np.nan)
    ahead[: -series.horizon] = series.closes[series.horizon :]
    return ahead


def _log_returns(series: Series, relative: bool) -> np.ndarray:
    returns: np.ndarray = np.log(_ahead(series) / series.closes)
    return returns


def _from_log_returns(series: Series, origins: np.ndarray, values: np.ndarray, relative: bool) -> np.ndarray:
    with np.errstate(over="ignore"):  # a diverged output gives an infinite price, which the caller reports
        forecasts: np.ndarray = series.closes[origins] * np.exp(values)
    return forecasts


def _close_values(series: Series, relative: bool) -> np.ndarray:
    # Relative scaling expresses every price, including the target, as a log ratio to the window's last close.
    return _log_returns(series, relative) if relative else _ahead(series)


def _from_closes(series: Series, origins: np.ndarray, values: np.ndarray, relative: bool) -> np.ndarray:
    return _from_log_returns(series, origins, values, relative) if relative else values


def _squared_error(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        squares: np.ndarray = (forecast - actual) ** 2
    return squares


def _headline(forecast: float, outlook: Outlook) -> Headline:
    last, day = float(outlook.last_closes[0]), outlook.series.prices.dates[outlook.origins[0]]
    return Headline(
        value=f"{forecast:,.2f}",
        notes=(
            Sentence("close forecast by {trial}, {change:+.2f} %", {"change": PERCENT * (forecast / last - 1)}),
            Sentence(
                "last close {close:,.2f} on {day}",
                {"close": last, "day": day},
            ),
        ),
    )


def _is_price(forecast: np.ndarray) -> np.ndarray:
    valid: np.ndarray = np.isfinite(forecast) & (forecast > 0)
    return valid


SHOW = Show(
    quantities={
        "close": Quantity(label="close", value=lambda forecast, outlook: forecast, text=format_price),
        "change": Quantity(
            label="change", value=lambda forecast, outlook: forecast - outlook.last_closes,
            text=lambda value, close: format_price(value, close, "+"),
        ),
        "change_percent": Quantity(
            label="change, %", value=lambda forecast, outlook: PERCENT * (forecast / outlook.last_closes - 1),
            text=lambda value, close: f"{value:+.3f}",
        ),
    },
    columns=(),  # the rival's forecast is the last close
    is_valid=_is_price,
    valid="a finite price above 0",
    rival_label="persistence",
    headline=_headline,
)  # fmt: skip

PRICE = Task(
    name="price",
    description="the close `horizon` sessions ahead",
    targets={
        "log_return": Target(values=_log_returns, forecasts=_from_log_returns, relative_scale=1 / PERCENT),
        "close": Target(
            values=_close_values, forecasts=_from_closes, known=lambda series: series.closes,
            relative_scale=1 / PERCENT,
        ),
    },
    losses=("mse", "mae", "huber"),
    scalings=("relative", "minmax", "standard"),
    features="ohlcv",
    columns=lambda estimator: ("close",),
    actual=lambda series: series.closes,
    loss=_squared_error,
    rival="persistence",
    baselines=BASELINES,
    metrics=METRICS,
    block_metrics=BLOCK_METRICS,
    rival_is_last_value=True,
    scales_intervals=True,
    show=SHOW,
    words=Words(
        quantity="the close",
        label="close",
        curve="price",
        actual="actual closes",
        unit="price points",
        score="Theil's U",
        short_score="U",
        loss="error",
        daily_loss="squared error",
        rival_name="persistence",
        rival="'tomorrow equals today'",
        rival_ahead="'no change over {n} sessions'",
        rival_meaning="persistence, the last known close",
        caution="Close curves do not mean a good forecast: persistence looks the same.",
        refused="Do not trade on this.",
        proven="Trading costs are not included, and the future may differ from the past.",
    ),
)  # fmt: skip
