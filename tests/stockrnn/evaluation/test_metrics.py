"""Test metrics against slow loops and values computed by hand."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_metrics import slow_direction, slow_mae, slow_rmse

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
