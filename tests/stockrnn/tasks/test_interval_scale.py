"""Test the scale of intervals: volatility that is known at the origins, and one where errors are of logarithms."""

from dataclasses import replace

import numpy as np
import pytest

from stockrnn.evaluation.walk_forward import walk_forward
from stockrnn.tasks.interval_scale import interval_scales
from stockrnn.tasks.price import PRICE
from stockrnn.tasks.task import Series
from stockrnn.tasks.volatility import VOLATILITY
from stockrnn.volatility.har import har

SESSIONS = 900


@pytest.fixture(scope="module")
def prices(synthetic):
    return synthetic(SESSIONS)


def cut(horizon):
    return walk_forward(SESSIONS, folds=2, fold_size=60, test_size=60, horizon=horizon)


@pytest.mark.parametrize("horizon", [1, 5])
def test_the_scale_of_prices_is_the_volatility_that_har_forecasts(prices, horizon):
    series, splits = Series(prices=prices, horizon=horizon), cut(horizon)
    folds = [*splits.folds, splits.final]
    for fold, scale in zip(folds, interval_scales(PRICE, series, folds), strict=True):
        forecast = har(series.variance, series.closes, fold.train, horizon, leverage=True).variance
        expected = [np.sqrt(horizon * forecast[day - horizon]) for day in fold.validation]
        np.testing.assert_allclose(scale, expected)


def test_without_high_and_low_it_is_a_weighted_mean_of_squared_returns(prices):
    closes = replace(prices, columns=("close",), values=prices.column("close")[:, None])
    splits = cut(1)
    (scale,) = interval_scales(PRICE, Series(prices=closes), [splits.final])
    returns = np.diff(np.log(prices.column("close")))
    mean = returns[0] ** 2
    plain = [mean]
    for one in returns[1:]:
        mean = 0.94 * mean + 0.06 * one**2
        plain.append(mean)
    expected = [np.sqrt(plain[day - 2]) for day in splits.test]  # the return of day t stands at t - 1
    np.testing.assert_allclose(scale, expected, rtol=0.05)  # squares below the floor are raised


def test_errors_of_log_volatility_have_one_scale(prices):
    (scale,) = interval_scales(VOLATILITY, Series(prices=prices), [cut(1).final])
    assert (scale == 1).all()


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_scale_of_a_day_does_not_depend_on_later_prices(prices, poisoned, horizon):
    fold = cut(horizon).final
    day = fold.validation[10]  # its forecast is made `horizon` sessions before
    dirty = poisoned(prices, day - horizon)
    (clean,), (same,) = (
        interval_scales(PRICE, Series(prices=series, horizon=horizon), [fold]) for series in (prices, dirty)
    )
    assert np.array_equal(clean[:11], same[:11])
    assert (clean[11:] != same[11:]).any()
