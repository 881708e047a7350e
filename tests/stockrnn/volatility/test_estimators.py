"""Test variance estimators on numbers worked by hand, their floor, and the target of volatility forecasts."""

import math

import numpy as np
import pytest

from stockrnn.io.errors import UserError
from stockrnn.volatility.estimators import (
    ESTIMATORS,
    FLOOR_SESSIONS,
    MIN_VARIANCE,
    available,
    check_columns,
    daily_variance,
    mean_future_variance,
    needs,
)

E = math.e


def of(estimator, prices):
    return daily_variance(prices["open"], prices["high"], prices["low"], prices["close"], estimator)


def test_estimates_worked_by_hand():
    """Logs of open, high, low, close over the open: 0, 2, -1, 1."""
    one = [np.array([price]) for price in (100.0, 100 * E**2, 100 / E, 100 * E)]
    assert daily_variance(*one, "parkinson")[0] == pytest.approx([9 / (4 * 0.6931471805599453)])
    assert daily_variance(*one, "garman_klass")[0] == pytest.approx([4.5 - 0.3862943611198906])
    assert daily_variance(*one, "rogers_satchell")[0] == pytest.approx([2 * (2 - 1) + -1 * (-1 - 1)])
    close = np.array([100.0, 100 * E, 100 / E])
    squared, floored = daily_variance(None, None, None, close, "squared_return")
    assert squared[1:] == pytest.approx([1, 4])
    assert math.isnan(squared[0])
    assert floored == 0


@pytest.mark.parametrize("estimator", ["parkinson", "garman_klass", "rogers_satchell", "squared_return"])
def test_estimates_of_a_random_walk_average_its_variance(stormy, estimator):
    """A walk of 1 % a day in 40 steps; the extremes of steps lie inside those of a continuous path."""
    random = np.random.default_rng(3)
    paths = np.cumsum(random.normal(0, 0.01 / math.sqrt(400), 4000 * 400)).reshape(4000, 400)
    opens = np.concatenate([[0.0], paths[:-1, -1]])
    paths = np.column_stack([opens, paths])
    prices = [np.exp(column) for column in (opens, paths.max(axis=1), paths.min(axis=1), paths[:, -1])]
    variance, _ = daily_variance(*prices, estimator)
    assert np.nanmean(variance) == pytest.approx(1e-4, rel=0.12)


def test_sessions_without_a_range_are_raised_to_one_percent_of_the_mean_before():
    high = np.array([100.0, 110, 100, 120, 100])
    low = np.array([100.0, 100, 100, 100, 100])
    variance, floored = daily_variance(None, high, low, None, "parkinson")
    second, fourth = (math.log(ratio) ** 2 / (4 * math.log(2)) for ratio in (1.1, 1.2))
    assert variance == pytest.approx([MIN_VARIANCE, second, 0.01 * second / 2, fourth, 0.01 * (second + fourth) / 4])
    assert floored == 3


def test_the_floor_agrees_with_a_plain_loop(stormy):
    prices = stormy(700)
    prices["high"][::7] = prices["low"][::7] = prices["close"][::7]
    raw = [
        math.log(high / low) ** 2 / (4 * math.log(2)) for high, low in zip(prices["high"], prices["low"], strict=True)
    ]
    expected = []
    for session, value in enumerate(raw):
        before = raw[max(0, session - FLOOR_SESSIONS) : session]
        expected.append(max(value, 0.01 * sum(before) / len(before) if before else 0, MIN_VARIANCE))
    variance, floored = of("parkinson", prices)
    assert variance == pytest.approx(expected)
    assert floored == sum(new > old for new, old in zip(expected, raw, strict=True)) >= 100


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_future_changes_no_estimate(stormy, estimator):
    prices = stormy(400)
    prices["high"][::9] = prices["low"][::9] = prices["open"][::9] = prices["close"][::9]
    changed = {name: np.where(np.arange(400) <= 300, column, column * 7.3) for name, column in prices.items()}
    changed["high"] = np.where(np.arange(400) <= 300, changed["high"], changed["high"] * 2)
    before, after = of(estimator, prices)[0], of(estimator, changed)[0]
    np.testing.assert_array_equal(before[:301], after[:301])
    assert (before[301:] != after[301:]).any()


def test_estimators_by_column():
    assert available(["close"]) == ("squared_return",)
    assert available(["high", "low", "close"]) == ("parkinson", "squared_return")
    assert available(["open", "high", "low", "close", "volume"]) == tuple(ESTIMATORS)
    assert needs("parkinson") == ("high", "low")


def test_bad_input_is_one_clear_line():
    with pytest.raises(UserError, match=r"estimator: parkinson: needs high, low; the series has no high, low; "
                                        r"write squared_return$"):  # fmt: skip
        check_columns("parkinson", ["close"])
    with pytest.raises(UserError, match=r"has no open; write parkinson or squared_return$"):
        daily_variance(None, np.ones(3), np.ones(3), np.ones(3), "garman_klass")
    with pytest.raises(UserError, match=r"estimator: yang_zhang: must be one of parkinson, garman_klass"):
        daily_variance(None, None, None, np.ones(3), "yang_zhang")
    with pytest.raises(UserError, match="low: 0 in session 1: a price must be a number above 0"):
        daily_variance(None, np.ones(3), np.array([1.0, 0, 1]), None, "parkinson")
    with pytest.raises(UserError, match="different lengths"):
        daily_variance(None, np.ones(3), np.ones(2), None, "parkinson")
    with pytest.raises(UserError, match="no estimator fits"):
        check_columns("parkinson", ["volume"])


@pytest.mark.parametrize("horizon", [1, 2, 5, 9, 10, 12])
def test_the_target_agrees_with_a_plain_loop(horizon):
    variance = np.random.default_rng(0).uniform(1, 2, 10)
    variance[0] = math.nan
    expected = [
        sum(variance[day + 1 : day + 1 + horizon]) / horizon if day + horizon < 10 else math.nan for day in range(10)
    ]
    assert mean_future_variance(variance, horizon) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_short_series(estimator):
    for sessions in (0, 1, 2):
        variance, _ = daily_variance(*(np.ones(sessions),) * 4, estimator)
        assert np.isnan(variance).sum() == min(sessions, ESTIMATORS[estimator].warm_up)
        assert len(variance) == sessions
