"""Test conformal intervals: half widths against a plain count, coverage, and invalid arguments."""

import math

import numpy as np
import pytest

from stockrnn.evaluation.conformal import Interval, conformal_intervals, interval_coverage
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load


def slow_half_width(forecast, actual, level_in_thousandths):
    """Find the smallest residual that enough residuals do not exceed, by counting in integers."""
    residuals = [abs(math.log(close / expected)) for expected, close in zip(forecast, actual, strict=True)]
    for width in sorted(residuals):
        if 1000 * sum(residual <= width for residual in residuals) >= level_in_thousandths * (len(residuals) + 1):
            return width
    return None


@pytest.mark.parametrize("days", [0, 1, 2, 3, 4, 5, 9, 18, 19, 20, 39, 99, 100, 251])
def test_half_widths_equal_a_plain_count(days):
    random = np.random.default_rng(days)
    actual = 100 * np.exp(random.normal(0, 0.1, days))
    forecast = actual * np.exp(random.normal(0, 0.01, days))
    levels = (0.5, 0.8, 0.9, 0.95, 0.999)
    for level, interval in zip(levels, conformal_intervals(forecast, actual, levels), strict=True):
        expected = slow_half_width(forecast, actual, round(1000 * level))
        assert (interval.level, interval.residuals) == (level, days)
        assert interval.half_width == (None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-15))


def test_the_fewest_days_that_bound_an_interval():
    ones = np.ones(19)
    assert [interval.half_width for interval in conformal_intervals(ones, ones)] == [0.0, 0.0]
    assert [interval.half_width for interval in conformal_intervals(ones[:18], ones[:18])] == [0.0, None]
    assert [interval.half_width for interval in conformal_intervals(ones[:4], ones[:4])] == [0.0, None]
    assert [interval.half_width for interval in conformal_intervals(ones[:3], ones[:3])] == [None, None]
    assert [interval.half_width for interval in conformal_intervals(ones[:0], ones[:0])] == [None, None]


@pytest.mark.parametrize("days", [19, 40, 250])
def test_exchangeable_days_are_covered_as_often_as_the_level(days):
    """The coverage of one more day, averaged over 4,000 draws: k / (n + 1) exactly, to within 4 standard errors."""
    random = np.random.default_rng(days)
    draws = 4000
    hits = np.zeros(2)
    for _ in range(draws):
        actual = 100 * np.exp(random.standard_t(3, days + 1) * 0.01)
        forecast = np.full(days + 1, 100.0)
        intervals = conformal_intervals(forecast[:-1], actual[:-1])
        hits += [interval_coverage(forecast[-1:], actual[-1:], interval) for interval in intervals]
    for level, share in zip((0.8, 0.95), hits / draws, strict=True):
        expected = math.ceil((days + 1) * level - 1e-9) / (days + 1)
        assert level - 1e-9 <= expected <= level + 1 / (days + 1)
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / draws)


def test_persistence_covers_its_own_days():
    closes = clean(load("nasdaq")).column("close")
    previous, actual = closes[-751:-1], closes[-750:]
    for interval in conformal_intervals(previous, actual):
        share = interval_coverage(previous, actual, interval)
        assert interval.level <= share <= interval.level + 2 / 750
        low, high = interval.bounds(100.0)
        assert low == pytest.approx(100 * math.exp(-interval.half_width))
        assert high == pytest.approx(100 * math.exp(interval.half_width))


def test_coverage_by_hand():
    interval = Interval(level=0.8, half_width=math.log(1.1), residuals=10)
    forecast = np.full(5, 100.0)
    actual = np.array([109.9, 110.1, 91.0, 90.8, 100.0])
    assert interval_coverage(forecast, actual, interval) == 0.6
    assert interval_coverage(forecast, actual, Interval(level=0.8, half_width=None, residuals=1)) == 1
    assert math.isnan(interval_coverage(forecast[:0], actual[:0], interval))
    assert interval_coverage(forecast, forecast, Interval(level=0.8, half_width=0.0, residuals=9)) == 1  # bounds count


def test_an_invalid_forecast_price_is_an_infinite_residual():
    actual = np.full(9, 100.0)
    forecast = actual.copy()
    forecast[:2] = (-1, np.inf)
    assert conformal_intervals(forecast, actual, (0.7, 0.8))[0].half_width == 0
    assert conformal_intervals(forecast, actual, (0.7, 0.8))[1].half_width is None
    forecast[2] = np.nan
    assert interval_coverage(forecast, actual, Interval(level=0.5, half_width=1.0, residuals=9)) == pytest.approx(6 / 9)
    tiny = conformal_intervals(np.full(9, 1e-300), np.full(9, 1e300), (0.5,))[0]
    assert tiny.half_width == pytest.approx(600 * math.log(10))
    assert tiny.bounds(1e10) is None  # its upper bound overflows


def test_conformal_intervals_refuse_invalid_arguments():
    with pytest.raises(ValueError, match="shapes"):
        conformal_intervals(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="shapes"):
        conformal_intervals(np.ones((2, 2)), np.ones((2, 2)))
    for close in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite numbers above 0"):
            conformal_intervals(np.ones(1), np.array([close]))
    for level in (0.0, 1.0, -1.0, 2.0):
        with pytest.raises(ValueError, match="level"):
            conformal_intervals(np.ones(3), np.ones(3), (level,))
