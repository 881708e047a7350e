"""Test the scores of trials and baselines of the price task against slow loops and values computed by hand."""

import math

import numpy as np
import pytest
from slow_metrics import slow_direction, slow_mae, slow_rmse

from stockrnn.evaluation.walk_forward import Fold, walk_forward
from stockrnn.io.errors import UserError
from stockrnn.prices.series import Prices
from stockrnn.tasks.price import BASELINES, METRICS, PRICE
from stockrnn.tasks.scoring import SPREAD, BaselineError, fold_days, score, score_baselines, score_names
from stockrnn.tasks.task import Series


def series_of(closes, horizon=1):
    prices = Prices(
        source="synthetic", dates=np.datetime64("2020-01-01") + np.arange(len(closes)), columns=("close",),
        values=np.asarray(closes, dtype=float)[:, None], lines=np.array([], dtype=int),
    )  # fmt: skip
    return Series(prices=prices, horizon=horizon)


def scored(forecasts, closes, folds, horizon=1):
    return score(PRICE, forecasts, fold_days(PRICE, series_of(closes, horizon), folds))


def scored_baselines(series, folds):
    return score_baselines(PRICE, series, folds, fold_days(PRICE, series, folds))


@pytest.mark.parametrize("horizon", [1, 4])
def test_every_baseline_is_scored_like_a_trial(synthetic, horizon):
    prices = synthetic(200)
    closes = prices.column("close")
    folds = walk_forward(200, folds=3, fold_size=20, test_size=20, horizon=horizon).folds
    scores, reasons = scored_baselines(Series(prices=prices, horizon=horizon), folds)
    assert reasons == {}
    assert list(scores) == list(BASELINES)
    assert scores["persistence"]["val_relative_loss"] == 1
    assert scores["persistence"]["val_worst_fold"] == 1
    assert scores["persistence"]["val_relative_loss_sd"] == 0
    assert math.isnan(scores["persistence"]["val_direction_accuracy"])
    errors = []
    for fold in folds:
        growth = math.log(closes[fold.train[-1]] / closes[fold.train[0]]) / (len(fold.train) - 1)
        errors += [closes[day] - closes[day - horizon] * math.exp(horizon * growth) for day in fold.validation]
    assert scores["drift"]["val_mae"] == pytest.approx(np.mean(np.abs(errors)))
    assert scores["drift"]["val_rmse"] == pytest.approx(math.sqrt(np.mean(np.square(errors))))


def test_a_baseline_with_a_result_of_another_shape_is_named(monkeypatch):
    monkeypatch.setitem(BASELINES, "mine", lambda series, train, origins: series.closes[-1])
    splits = walk_forward(60, folds=2, fold_size=10, test_size=10, horizon=1, train_size=20)
    with pytest.raises(BaselineError, match=r"baseline mine: its result has shape \(\); it must have \(10,\)"):
        scored_baselines(series_of(np.linspace(1, 2, 60)), splits.folds)


def test_a_baseline_that_cannot_be_fitted_has_no_scores_and_a_reason(monkeypatch):
    def unfitted(series, train, origins):
        raise UserError("it needs 500 sessions")

    monkeypatch.setitem(BASELINES, "mine", unfitted)
    splits = walk_forward(60, folds=2, fold_size=10, test_size=10, horizon=1, train_size=20)
    scores, reasons = scored_baselines(series_of(np.linspace(1, 2, 60)), splits.folds)
    assert scores["mine"] == {}
    assert reasons == {"mine": "it needs 500 sessions"}
    assert scores["persistence"]["val_relative_loss"] == 1


FOLDS = (
    Fold(train=range(2), validation=range(2, 4)),
    Fold(train=range(4), validation=range(4, 6)),
)
SERIES = np.array([10.0, 10.0, 11.0, 13.0, 12.0, 15.0])


def test_a_score_is_that_of_the_mean_over_seeds_and_all_folds():
    # Two seeds whose mean is 12, 12 in the first fold and 13, 14 in the second.
    forecasts = [np.array([[11.0, 13.0], [13.0, 11.0]]), np.array([[12.0, 14.0], [14.0, 14.0]])]
    scores = scored(forecasts, SERIES, FOLDS)
    # Errors of the mean 1, -1 | 1, -1; of persistence -1, -2 | 1, -3.
    assert scores["val_rmse"] == pytest.approx(1)
    assert scores["val_mae"] == pytest.approx(1)
    assert scores["val_relative_loss"] == pytest.approx(math.sqrt(4 / 15))
    assert scores["val_worst_fold"] == pytest.approx(math.sqrt(2 / 5))
    # Member by member: errors 0, 0 | 2, -2 and 0, -1 | 2, -1.
    members = [0, math.sqrt(8 / 5), math.sqrt(1 / 10), math.sqrt(5 / 10)]
    assert scores["val_relative_loss_sd"] == pytest.approx(np.std(members))
    # From 10, 11 | 13, 12 the forecasts go up, up | level, up; the price goes up, up | down, up.
    assert scores["val_direction_accuracy"] == pytest.approx(3 / 4)


def test_a_score_ahead_is_held_against_persistence_over_the_same_horizon():
    fold = Fold(train=range(3), validation=range(4, 6))
    scores = scored([np.array([[12.0, 15.0]])], SERIES, [fold], 2)
    assert scores["val_relative_loss"] == 0
    persistence = scored([SERIES[None, 2:4]], SERIES, [fold], 2)
    assert persistence["val_relative_loss"] == 1
    assert persistence["val_rmse"] == pytest.approx(math.sqrt((1 + 4) / 2))


@pytest.mark.parametrize("flat_fold", [0, 1])
def test_a_fold_that_never_moves_has_no_part_in_the_worst_fold(flat_fold):
    series = SERIES.copy()
    block = FOLDS[flat_fold].validation
    series[block.start - 1 : block.stop] = 10
    forecasts = [series[None, fold.validation.start - 1 : fold.validation.stop - 1] + 1 for fold in FOLDS]
    scores = scored(forecasts, series, FOLDS)
    moving = 1 - flat_fold
    alone = scored([forecasts[moving]], series, [FOLDS[moving]])
    assert scores["val_worst_fold"] == alone["val_worst_fold"]
    assert scores["val_relative_loss_sd"] == 0


def test_a_forecast_that_explodes_scores_infinity_without_a_warning():
    forecasts = [np.array([[1e300, 11.0], [1e308, 11.0]]), np.array([[np.inf, 14.0], [14.0, 14.0]])]
    assert scored(forecasts, SERIES, FOLDS)["val_relative_loss"] == math.inf


def test_every_metric_is_a_score():
    scores = scored([SERIES[None, fold.validation.start : fold.validation.stop] for fold in FOLDS], SERIES, FOLDS)
    assert set(scores) == {*METRICS, SPREAD} == set(score_names(PRICE))
    assert {metric.better for metric in METRICS.values()} == {"min", "max"}


def plain_theils_u(days):
    forecast, actual, previous = zip(*days, strict=True)
    return slow_rmse(forecast, actual) / slow_rmse(previous, actual)


PLAIN = {  # of (forecast, actual, previous) of each day
    "val_relative_loss": plain_theils_u,
    "val_worst_fold": plain_theils_u,
    "val_rmse": lambda days: slow_rmse(*list(zip(*days, strict=True))[:2]),
    "val_mae": lambda days: slow_mae(*list(zip(*days, strict=True))[:2]),
    "val_direction_accuracy": lambda days: slow_direction(*zip(*days, strict=True)),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_a_fold_equals_the_plain_one(name):
    generator = np.random.default_rng(0)
    series = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, 40)))
    fold = Fold(train=range(20), validation=range(20, 40))
    forecast = series[20:] * np.exp(generator.normal(0, 0.005, 20))
    days = [*zip(forecast.tolist(), series[20:].tolist(), series[19:39].tolist(), strict=True)]
    assert scored([forecast[None]], series, [fold])[name] == pytest.approx(PLAIN[name](days))
