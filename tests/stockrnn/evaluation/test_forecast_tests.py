"""Test the significance tests against statsmodels, slow loops, and simulated markets with a known truth."""

import math
import statistics
import subprocess
import sys
import warnings

import numpy as np
import pytest

from stockrnn.evaluation.forecast_tests import MIN_DAYS, clark_west, diebold_mariano

SIZES = ((MIN_DAYS, 1), (30, 2), (120, 1), (120, 2), (120, 5))  # days, horizon


def market(seed, days=120, horizon=1, signal=0.0):
    """Return forecast, rival, actual and previous closes of a random walk that the forecast partly knows."""
    rng = np.random.default_rng(seed)
    known = rng.normal(size=days + horizon)
    closes = 1_000 + np.cumsum(signal * known + rng.normal(size=days + horizon))
    previous, actual = closes[:days], closes[horizon:]
    forecast = previous + signal * known[horizon:] + 0.3 * rng.normal(size=days)
    rival = previous + 0.3 * rng.normal(size=days)
    return forecast, rival, actual, previous


def slow_statistic(differences, horizon):
    days = len(differences)
    mean = sum(differences) / days
    total = 0.0
    for one in range(days):
        for other in range(days):
            if abs(one - other) < horizon:
                total += (differences[one] - mean) * (differences[other] - mean)
    correction = (days + 1 - 2 * horizon + horizon * (horizon - 1) / days) / days
    return mean / math.sqrt(total / days**2) * math.sqrt(correction)


@pytest.fixture(scope="module")
def statsmodels_test():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # statsmodels', on import
        from statsmodels.tsa.stattools import diebold_mariano_test
    return diebold_mariano_test


@pytest.mark.parametrize("seed", range(5))
def test_diebold_mariano_agrees_with_statsmodels(seed, statsmodels_test):
    forecast, rival, actual, _ = market(seed, signal=0.2)
    theirs = statsmodels_test(actual, forecast, rival, lags=0, harvey_adj=True)  # negative where forecast leads
    expected = theirs.pvalue / 2 if theirs.statistic < 0 else 1 - theirs.pvalue / 2
    ours = diebold_mariano((actual - forecast) ** 2, (actual - rival) ** 2)
    assert ours == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("days", "horizon"), SIZES)
def test_diebold_mariano_agrees_with_a_slow_loop(days, horizon, statsmodels_test):
    from scipy import stats

    forecast, rival, actual, _ = market(9, days, horizon, signal=0.2)
    losses, rival_losses = np.abs(actual - forecast), np.abs(actual - rival)
    expected = stats.t.sf(slow_statistic(list(rival_losses - losses), horizon), days - 1)
    assert diebold_mariano(losses, rival_losses, horizon) == pytest.approx(expected, rel=1e-9)
    # Of statsmodels only the factor can be compared: its variance weighs the lags.
    theirs = statsmodels_test(actual, forecast, rival, harvey_adj=True, horizon=horizon)
    correction = (days + 1 - 2 * horizon + horizon * (horizon - 1) / days) / days
    assert theirs.harvey_adj_factor == pytest.approx(math.sqrt(correction))


@pytest.mark.parametrize(("days", "horizon"), SIZES)
def test_clark_west_agrees_with_the_formula_of_the_paper(days, horizon):
    forecast, _, actual, previous = market(9, days, horizon, signal=0.2)
    adjusted = [
        (came - before) ** 2 - ((came - one) ** 2 - (before - one) ** 2)
        for one, came, before in zip(forecast, actual, previous, strict=True)
    ]
    expected = 1 - statistics.NormalDist().cdf(slow_statistic(adjusted, horizon))
    assert clark_west(forecast, actual, previous, horizon) == pytest.approx(expected, rel=1e-9)


def test_known_values():
    from scipy import stats

    # Eight differences with mean 1 and sample variance 8/7: t = 1 / sqrt(1/7) = sqrt(7).
    losses = np.array([0.0, 2.0] * 4)
    assert diebold_mariano(np.zeros(8), losses) == pytest.approx(stats.t.sf(math.sqrt(7), 7))
    # The forecast moves by 1/2 and the price by 0 or 2: twice their product is 0 or 2 as well.
    previous = np.full(8, 10.0)
    expected = 1 - statistics.NormalDist().cdf(math.sqrt(7))
    assert clark_west(previous + 0.5, previous + losses, previous) == pytest.approx(expected)


def test_the_p_values_of_both_directions_add_up_to_one():
    forecast, rival, actual, previous = market(4)
    losses, rival_losses = (actual - forecast) ** 2, (actual - rival) ** 2
    assert diebold_mariano(losses, rival_losses) + diebold_mariano(rival_losses, losses) == pytest.approx(1)
    contrary = 2 * previous - forecast  # moves the other way each day
    assert clark_west(forecast, actual, previous) + clark_west(contrary, actual, previous) == pytest.approx(1)


def rejections(horizon, signal, simulations):
    """Return the share of simulated markets in which each test finds the forecast better at 5 %."""
    found = np.zeros(2)
    for seed in range(simulations):
        forecast, rival, actual, previous = market(seed, 250, horizon, signal)
        found[0] += diebold_mariano((actual - forecast) ** 2, (actual - rival) ** 2, horizon) < 0.05
        found[1] += clark_west(forecast, actual, previous, horizon) < 0.05
    return found / simulations


@pytest.mark.parametrize("horizon", [1, 5])
def test_one_random_walk_in_twenty_looks_forecastable(horizon):
    # The share of 1,000 draws at 5 % has a standard deviation of 0.7 points.
    for share in rejections(horizon, signal=0.0, simulations=1_000):
        assert 0.03 < share < 0.075


def test_a_known_signal_is_significant():
    # The forecast knows a fifth of each day's variance.
    assert (rejections(1, signal=0.5, simulations=100) > 0.8).all()


def test_clark_west_finds_a_signal_below_the_noise():
    rng = np.random.default_rng(6)
    known = rng.normal(size=500)
    previous = 1_000 + np.cumsum(rng.normal(size=500))
    actual = previous + 0.3 * known + rng.normal(size=500)
    forecast = previous + 0.3 * known + 0.6 * rng.normal(size=500)
    errors, persistence = (actual - forecast) ** 2, (actual - previous) ** 2
    assert errors.mean() > persistence.mean()  # Theil's U above 1
    assert diebold_mariano(errors, persistence) > 0.5
    assert clark_west(forecast, actual, previous) < 0.01


def test_there_is_no_verdict_where_the_tests_are_undefined():
    forecast, rival, actual, previous = market(7, 40)
    losses, rival_losses = (actual - forecast) ** 2, (actual - rival) ** 2
    few = slice(MIN_DAYS - 1)
    wild = np.where(np.arange(40) == 3, math.inf, forecast)
    undefined = [
        diebold_mariano(losses, losses),
        diebold_mariano(losses, losses + 0.1),  # the same every day, but for rounding
        diebold_mariano(losses[few], rival_losses[few]),
        diebold_mariano(losses, rival_losses, horizon=40),
        diebold_mariano((actual - wild) ** 2, rival_losses),
        diebold_mariano(losses * 1e300, rival_losses * 1e300),
        diebold_mariano(np.zeros(0), np.zeros(0)),
        clark_west(previous, actual, previous),  # persistence itself
        clark_west(previous * (1 + 1e-16), actual, previous),
        clark_west(np.nextafter(previous, np.inf), actual, previous),  # persistence but for rounding
        clark_west(forecast, previous, previous),  # the price never moves
        clark_west(forecast[few], actual[few], previous[few]),
        clark_west(wild, actual, previous),
        clark_west(np.full(40, 1e308), actual, previous),
        clark_west(np.full(40, math.nan), actual, previous),
    ]
    assert all(math.isnan(verdict) for verdict in undefined), undefined


def test_a_variance_that_is_not_positive_gives_no_verdict():
    swinging = np.tile([0.0, 2.0], 20)  # each day makes up for the one before: at a lag of one, variance < 0
    assert math.isnan(diebold_mariano(np.zeros(40), swinging, horizon=2))
    assert not math.isnan(diebold_mariano(np.zeros(40), swinging, horizon=1))


def test_a_verdict_does_not_depend_on_the_price_s_unit():
    forecast, rival, actual, previous = market(8)
    for unit in (1e-6, 1e6):
        scaled = [unit * prices for prices in (forecast, actual, previous)]
        assert clark_west(*scaled) == pytest.approx(clark_west(forecast, actual, previous), rel=1e-6)
        losses = [(unit * (actual - one)) ** 2 for one in (forecast, rival)]
        plain = [(actual - one) ** 2 for one in (forecast, rival)]
        assert diebold_mariano(*losses) == pytest.approx(diebold_mariano(*plain), rel=1e-6)


def test_importing_the_module_is_cheap():
    code = (
        "import sys, stockrnn.evaluation.forecast_tests; print(*{'scipy', 'statsmodels', 'torch'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
