"""Finalists: the best configurations, trained afresh on everything before the test block, which is opened once.

Nothing here runs before the ranking is fixed, and nothing of the test block flows back into it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.record import TrialEnd
from search.space import Space
from stockrnn import metrics, significance
from stockrnn.baselines import BASELINES
from stockrnn.folds import Fold, WalkForward
from stockrnn.prices import Prices
from stockrnn.training import train
from stockrnn.windows import Windows

__all__ = ["Finalist", "choose", "final_fold", "refit", "score_baselines"]


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A configuration that goes to the test block: the trial it comes from and the epochs it trains."""

    rank: int
    trial_id: str
    point: Mapping[str, Any]
    epochs: int


def choose(ends: Sequence[TrialEnd], space: Space) -> list[Finalist]:
    """The best distinct configurations by the study's metric; each trains as long as its best epoch."""
    metric, sign = space.search.metric, 1 if space.mode == "min" else -1
    scored = [(sign * value, end.trial_id, end) for end in ends if (value := end.scores.get(metric)) is not None]
    chosen: list[Finalist] = []
    for _, trial_id, end in sorted(scored, key=lambda item: item[:2]):
        if len(chosen) == space.search.finalists:
            break
        if end.best_epoch and all(end.point != finalist.point for finalist in chosen):
            chosen.append(Finalist(rank=len(chosen) + 1, trial_id=trial_id, point=end.point, epochs=end.best_epoch))
    return chosen


def final_fold(walk: WalkForward) -> Fold:
    """Train on everything before the test block, forecast the test block."""
    return Fold(train=walk.before_test, validation=walk.test)


def refit(finalist: Finalist, space: Space, prices: Prices, walk: WalkForward) -> dict[str, float]:
    """Train a finalist on everything before the test block and score its seed-average forecast on that block.

    Returns:
        The test columns of the leaderboard.
    """
    window, network, training = space.configurations(finalist.point)
    fold = final_fold(walk)
    windows = Windows(prices, [fold], window, space.data.horizon, device=space.device)
    *_, last = train(
        windows, network, training, seeds=space.search.finalist_seeds, max_epochs=finalist.epochs,
        study_seed=space.seed, forecast_from=finalist.epochs,
        form=space.form,
    )  # fmt: skip
    forecasts = last.forecasts[0]
    actual, previous, _ = _known(prices, fold, space.data.horizon)
    singles = [metrics.theils_u(one, actual, previous) for one in forecasts]
    return {
        **_columns(forecasts.mean(axis=0), prices, fold, space.data.horizon),
        "seeds_sd": float(np.std(singles)),
    }


def score_baselines(prices: Prices, walk: WalkForward, horizon: int) -> dict[str, dict[str, float]]:
    """The test columns of every baseline, fitted on everything before the test block."""
    fold = final_fold(walk)
    origins = np.arange(fold.validation.start, fold.validation.stop) - horizon
    return {
        name: _columns(baseline(prices.column("close"), fold.train, origins, horizon), prices, fold, horizon)
        for name, baseline in BASELINES.items()
    }


def _known(prices: Prices, fold: Fold, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actual closes of the block, closes on the days of the forecasts, and one session before those."""
    closes = prices.column("close")
    start, stop = fold.validation.start, fold.validation.stop
    return (
        closes[start:stop],
        closes[start - horizon : stop - horizon],
        closes[start - horizon - 1 : stop - horizon - 1],
    )


def _columns(forecast: np.ndarray, prices: Prices, fold: Fold, horizon: int) -> dict[str, float]:
    actual, previous, earlier = _known(prices, fold, horizon)
    return {
        "test_theils_u": metrics.theils_u(forecast, actual, previous),
        "test_rmse": metrics.rmse(forecast, actual),
        "test_mae": metrics.mae(forecast, actual),
        "test_mape": metrics.mape(forecast, actual),
        "test_r2_oos": metrics.r2_oos(forecast, actual, previous),
        "test_direction_accuracy": metrics.direction_accuracy(forecast, actual, previous),
        "test_always_up": metrics.always_up(actual, previous),
        "test_lag_correlation": metrics.lag_correlation(forecast, previous, earlier),
        "test_dm_p": significance.diebold_mariano((forecast - actual) ** 2, (previous - actual) ** 2, horizon),
        "test_cw_p": significance.clark_west(forecast, actual, previous, horizon),
    }
