"""Test metrics and scores against slow loops and values computed by hand."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockrnn.dataset.walk_forward import Fold
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
from stockrnn.evaluation.scores import METRICS, SPREAD, score

CLOSES = np.array([10.0, 11.0, 9.0, 9.0, 12.0])
PREVIOUS, ACTUAL = CLOSES[:-1], CLOSES[1:]
FORECAST = np.array([12.0, 12.0, 10.0, 10.0])  # errors 1, 3, 1, -2; moves forecast up, up, up, up


def test_known_values():
    assert rmse(FORECAST, ACTUAL) == pytest.approx(math.sqrt((1 + 9 + 1 + 4) / 4))
    assert mae(FORECAST, ACTUAL) == pytest.approx((1 + 3 + 1 + 2) / 4)
    # Persistence errs by 1, 2, 0 and 3.
    assert theils_u(FORECAST, ACTUAL, PREVIOUS) == pytest.approx(math.sqrt(15 / 14))
    # The price moved on three days: up, down, up.
    assert direction_accuracy(FORECAST, ACTUAL, PREVIOUS) == pytest.approx(2 / 3)
    assert always_up(ACTUAL, PREVIOUS) == pytest.approx(2 / 3)
    assert mape(FORECAST, ACTUAL) == pytest.approx((1 / 11 + 3 / 9 + 1 / 9 + 2 / 12) / 4)


def test_known_log_returns_and_lags():
    previous, actual = np.array([1.0, 2.0, 1.0]), np.array([2.0, 2.0, 4.0])
    forecast = np.array([1.0, 4.0, 2.0])
    # In doublings: the price moves by 1, 0, 2 and the forecast by 0, 1, 1, so it errs by 1, -1, 1.
    assert r2_oos(forecast, actual, previous) == pytest.approx(1 - 3 / 5)
    # The forecast moves by 0, 2, 1, and the day before the price moved by 1, 0, -1: deviations -1, 1, 0 and
    # 1, 0, -1.
    earlier = np.array([0.0, 2.0, 2.0])
    assert lag_correlation(forecast, previous, earlier) == pytest.approx(-1 / 2)


def test_persistence_scores_one_and_forecasts_no_direction():
    assert theils_u(PREVIOUS, ACTUAL, PREVIOUS) == 1
    assert r2_oos(PREVIOUS, ACTUAL, PREVIOUS) == 0
    assert math.isnan(direction_accuracy(PREVIOUS, ACTUAL, PREVIOUS))
    assert math.isnan(lag_correlation(PREVIOUS[1:], PREVIOUS[1:], PREVIOUS[:-1]))


def test_a_perfect_forecast_explains_every_return():
    assert r2_oos(ACTUAL, ACTUAL, PREVIOUS) == 1
    assert mape(ACTUAL, ACTUAL) == 0


def test_repeating_yesterday_shows_in_the_lag_correlation():
    splits = 100 + np.cumsum(np.random.default_rng(1).normal(size=300))
    earlier, previous, actual = splits[:-2], splits[1:-1], splits[2:]
    assert lag_correlation(earlier, previous, earlier) == pytest.approx(-1)  # yesterday's close
    assert lag_correlation(2 * previous - earlier, previous, earlier) == pytest.approx(1)  # yesterday's move
    assert abs(lag_correlation(actual, previous, earlier)) < 0.15  # the next change is independent


@pytest.mark.parametrize("step", [0.1, -0.3])
def test_a_steady_change_has_no_lag_correlation_despite_rounding(step):
    rng = np.random.default_rng(2)
    previous, earlier = rng.uniform(5_000, 20_000, (2, 50))
    assert math.isnan(lag_correlation(previous + step, previous, earlier))
    assert math.isnan(lag_correlation(earlier, previous, previous + step))


def test_always_up_is_what_forecasting_up_scores():
    rng = np.random.default_rng(3)
    previous = rng.integers(5, 9, 100).astype(float)
    actual = rng.integers(5, 9, 100).astype(float)
    assert always_up(actual, previous) == direction_accuracy(previous + 1, actual, previous)


def test_a_price_without_a_logarithm_has_no_out_of_sample_r2():
    for bad in (0.0, -1.0, math.nan):
        assert math.isnan(r2_oos(np.array([bad, 9.0]), np.array([9.0, 10.0]), np.array([8.0, 9.0])))


def test_a_close_of_zero_has_no_percentage_error():
    assert math.isnan(mape(np.array([1.0, 2.0]), np.array([0.0, 2.0])))


def test_a_diverged_forecast_scores_without_a_warning():
    forecast, actual = np.array([1e308, 5.0, -1e308]), np.array([1e-3, 5.0, 6.0])
    assert mape(forecast, actual) == math.inf
    assert r2_oos(np.full(3, math.inf), actual, actual[::-1]) == -math.inf
    for wild in (forecast, np.array([math.inf, 5.0, 6.0]), np.array([math.nan, 5.0, 6.0])):
        assert math.isnan(lag_correlation(wild, actual, actual[::-1]))


def test_a_forecast_of_no_change_misses_on_a_day_that_moved():
    forecast = np.array([10.0, 10.0, 9.0, 10.0])  # none, down, none, up
    assert direction_accuracy(forecast, ACTUAL, PREVIOUS) == pytest.approx(2 / 3)


def test_there_is_no_score_where_the_price_never_moves():
    flat = np.full(3, 7.0)
    assert math.isnan(theils_u(flat + 1, flat, flat))
    assert math.isnan(direction_accuracy(flat + 1, flat, flat))
    assert math.isnan(r2_oos(flat + 1, flat, flat))
    assert math.isnan(always_up(flat, flat))
    assert math.isnan(lag_correlation(np.array([8.0, 7.0, 9.0]), flat, flat))


def slow_rmse(forecast, actual):
    total = 0.0
    for one, other in zip(forecast, actual, strict=True):
        total += (one - other) ** 2
    return math.sqrt(total / len(actual))


def slow_mae(forecast, actual):
    total = 0.0
    for one, other in zip(forecast, actual, strict=True):
        total += abs(one - other)
    return total / len(actual)


def slow_direction(forecast, actual, previous):
    right = moved = forecast_moves = 0
    for one, came, before in zip(forecast, actual, previous, strict=True):
        forecast_moves += one != before
        if came == before:
            continue
        moved += 1
        right += (one > before and came > before) or (one < before and came < before)
    return right / moved if moved and forecast_moves else math.nan


def slow_mape(forecast, actual):
    total = 0.0
    for one, came in zip(forecast, actual, strict=True):
        total += abs(one - came) / came
    return total / len(actual)


def slow_r2(forecast, actual, previous):
    error = naive = 0.0
    for one, came, before in zip(forecast, actual, previous, strict=True):
        error += (math.log(came) - math.log(one)) ** 2
        naive += (math.log(came) - math.log(before)) ** 2
    return 1 - error / naive if naive else math.nan


def slow_always_up(actual, previous):
    up = moved = 0
    for came, before in zip(actual, previous, strict=True):
        up += came > before
        moved += came != before
    return up / moved if moved else math.nan


def slow_lag_correlation(forecast, previous, earlier):
    changes = [one - before for one, before in zip(forecast, previous, strict=True)]
    lagged = [before - older for before, older in zip(previous, earlier, strict=True)]
    if len(set(changes)) == 1 or len(set(lagged)) == 1:
        return math.nan
    return statistics.correlation(changes, lagged)


PRICE = st.one_of(st.integers(1, 5).map(float), st.floats(0.5, 1e5))


@settings(deadline=None)
@given(st.lists(st.tuples(PRICE, PRICE, PRICE), min_size=1, max_size=30))
def test_metrics_equal_plain_loops(days):
    forecast, actual, previous = np.array(days).T
    naive = slow_rmse(previous, actual)
    assert rmse(forecast, actual) == pytest.approx(slow_rmse(forecast, actual))
    assert mae(forecast, actual) == pytest.approx(slow_mae(forecast, actual))
    assert direction_accuracy(forecast, actual, previous) == pytest.approx(
        slow_direction(forecast, actual, previous), nan_ok=True
    )
    expected = slow_rmse(forecast, actual) / naive if naive > 0 else math.nan
    assert theils_u(forecast, actual, previous) == pytest.approx(expected, nan_ok=True)
    assert mape(forecast, actual) == pytest.approx(slow_mape(forecast, actual))
    assert r2_oos(forecast, actual, previous) == pytest.approx(
        slow_r2(forecast, actual, previous), rel=1e-4, nan_ok=True
    )
    assert always_up(actual, previous) == pytest.approx(slow_always_up(actual, previous), nan_ok=True)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(1, 100_000)] * 3), min_size=1, max_size=30))
def test_the_lag_correlation_equals_a_plain_loop(days):
    ticks = np.array(days).T / 64  # steps a float holds exactly: no change is mere rounding
    assert lag_correlation(*ticks) == pytest.approx(slow_lag_correlation(*ticks), abs=1e-6, nan_ok=True)


FOLDS = (
    Fold(train=range(2), validation=range(2, 4)),
    Fold(train=range(4), validation=range(4, 6)),
)
SERIES = np.array([10.0, 10.0, 11.0, 13.0, 12.0, 15.0])


def test_a_score_is_that_of_the_mean_over_seeds_and_all_folds():
    # Two seeds whose mean is 12, 12 in the first fold and 13, 14 in the second.
    forecasts = [np.array([[11.0, 13.0], [13.0, 11.0]]), np.array([[12.0, 14.0], [14.0, 14.0]])]
    scores = score(forecasts, SERIES, FOLDS, 1)
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
    scores = score([np.array([[12.0, 15.0]])], SERIES, [fold], 2)
    assert scores["val_relative_loss"] == 0
    persistence = score([SERIES[None, 2:4]], SERIES, [fold], 2)
    assert persistence["val_relative_loss"] == 1
    assert persistence["val_rmse"] == pytest.approx(math.sqrt((1 + 4) / 2))


@pytest.mark.parametrize("flat_fold", [0, 1])
def test_a_fold_that_never_moves_has_no_part_in_the_worst_fold(flat_fold):
    series = SERIES.copy()
    block = FOLDS[flat_fold].validation
    series[block.start - 1 : block.stop] = 10
    forecasts = [series[None, fold.validation.start - 1 : fold.validation.stop - 1] + 1 for fold in FOLDS]
    scores = score(forecasts, series, FOLDS, 1)
    moving = 1 - flat_fold
    alone = score([forecasts[moving]], series, [FOLDS[moving]], 1)
    assert scores["val_worst_fold"] == alone["val_worst_fold"]
    assert scores["val_relative_loss_sd"] == 0


def test_a_forecast_that_explodes_scores_infinity_without_a_warning():
    forecasts = [np.array([[1e300, 11.0], [1e308, 11.0]]), np.array([[np.inf, 14.0], [14.0, 14.0]])]
    assert score(forecasts, SERIES, FOLDS, 1)["val_relative_loss"] == math.inf


def test_every_metric_is_a_score():
    scores = score([SERIES[None, fold.validation.start : fold.validation.stop] for fold in FOLDS], SERIES, FOLDS, 1)
    assert set(scores) == {*METRICS, SPREAD}
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
    assert score([forecast[None]], series, [fold], 1)[name] == pytest.approx(PLAIN[name](days))
