"""Test baselines of variance against slow plain forms and arch, with a poisoned future, and on bad input."""

import math

import numpy as np
import pytest

from stockrnn.evaluation.losses import qlike
from stockrnn.io.errors import UserError
from stockrnn.volatility.baselines import BASELINES, RIVAL
from stockrnn.volatility.estimators import daily_variance, mean_future_variance
from stockrnn.volatility.features import FEATURES, WARM_UP, volatility_features
from stockrnn.volatility.forecasts import exponential_mean, smearing, training_origins
from stockrnn.volatility.garch import fit_garch
from stockrnn.volatility.har import fit_har

TRAIN, SESSIONS = range(0, 900), 1200


@pytest.fixture(scope="module")
def series(stormy):
    prices = stormy(SESSIONS, seed=5)
    return daily_variance(None, prices["high"], prices["low"], None, "parkinson")[0], prices["close"]


def test_features_agree_with_a_plain_loop(series):
    variance, close = series
    found = volatility_features(variance, close)
    assert tuple(found) == FEATURES
    for day in (WARM_UP - 1, WARM_UP, 500, SESSIONS - 1):
        change = math.log(close[day] / close[day - 1])
        logs = [math.log(value) for value in variance[: day + 1]]
        expected = (logs[-1], sum(logs[-5:]) / 5, sum(logs[-22:]) / 22, change, abs(change))
        assert [found[name][day] for name in FEATURES] == pytest.approx(expected)
    assert not any(np.isnan(column[WARM_UP:]).any() for column in found.values())
    assert np.isnan(found["log_variance_22"][: WARM_UP - 1]).all()


def normal_equations(rows, targets):
    """Solve the least squares problem by loops: sums of products, then Gauss-Jordan elimination."""
    terms = len(rows[0])
    system = [
        [sum(row[i] * row[j] for row in rows) for j in range(terms)]
        + [sum(row[i] * target for row, target in zip(rows, targets, strict=True))]
        for i in range(terms)
    ]
    for i in range(terms):
        pivot = max(range(i, terms), key=lambda row: abs(system[row][i]))
        system[i], system[pivot] = system[pivot], system[i]
        system[i] = [value / system[i][i] for value in system[i]]
        for j in range(terms):
            if j != i:
                system[j] = [a - system[j][i] * b for a, b in zip(system[j], system[i], strict=True)]
    return [row[-1] for row in system]


@pytest.mark.parametrize("leverage", [False, True])
@pytest.mark.parametrize("horizon", [1, 5])
def test_har_agrees_with_normal_equations_by_loop(series, leverage, horizon):
    variance, close = series
    logs = [math.log(value) for value in variance]

    def terms(day):
        row = [1.0, logs[day], sum(logs[day - 4 : day + 1]) / 5, sum(logs[day - 21 : day + 1]) / 22]
        change = 100 * math.log(close[day] / close[day - 1])
        return row + ([min(change, 0), abs(change)] if leverage else [])

    days = range(21, TRAIN.stop - horizon)
    targets = [math.log(sum(variance[day + 1 : day + 1 + horizon]) / horizon) for day in days]
    slow = normal_equations([terms(day) for day in days], targets)
    fitted = fit_har(variance, close, TRAIN, horizon, leverage=leverage)
    assert fitted.coefficients == pytest.approx(slow, rel=1e-6, abs=1e-8)
    residuals = [
        target - sum(a * b for a, b in zip(slow, terms(day), strict=True))
        for day, target in zip(days, targets, strict=True)
    ]
    assert fitted.smearing == pytest.approx(sum(map(math.exp, residuals)) / len(residuals))
    forecast = fitted.forecast(variance, close)
    for day in (500, 900, SESSIONS - 1):
        expected = sum(a * b for a, b in zip(slow, terms(day), strict=True))
        assert forecast.log_variance[day] == pytest.approx(expected)
        assert forecast.variance[day] == pytest.approx(math.exp(expected) * fitted.smearing)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_garch_agrees_with_a_plain_recursion_and_with_arch(series, asymmetric):
    from arch import arch_model

    _, close = series
    fitted = fit_garch(close, TRAIN, asymmetric=asymmetric)
    returns = 100 * np.diff(np.log(close))
    state, slow = fitted.initial, []
    for change in returns:
        error = change - fitted.mu
        state = fitted.omega + (fitted.alpha + (fitted.gamma if error < 0 else 0)) * error**2 + fitted.beta * state
        slow.append(state / 1e4)
    assert fitted.next_variance(close)[1:] == pytest.approx(slow)

    model = arch_model(returns, mean="Constant", vol="GARCH", p=1, o=int(asymmetric), q=1, dist="t", rescale=False)
    theirs = model.fit(last_obs=len(TRAIN) - 1, disp="off")
    forecast = theirs.forecast(horizon=5, start=0, reindex=False).variance.to_numpy() / 1e4
    later = slice(200, None)  # arch's filter starts at a slightly different variance than its fit
    assert fitted.next_variance(close)[1:][later] == pytest.approx(forecast[later, 0], rel=1e-9)
    assert fitted.mean_variance(close, 5)[1:][later] == pytest.approx(forecast[later].mean(axis=1), rel=1e-9)
    assert (fitted.gamma != 0) == asymmetric


def test_the_exponential_mean_agrees_with_its_weights():
    values = np.array([math.nan, 1, 5, 2, 8])
    found = exponential_mean(values, 0.9)
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([1, 0.9 + 0.5, 0.81 + 0.45 + 0.2, 0.729 + 0.405 + 0.18 + 0.8])


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("horizon", [1, 5])
def test_baselines_are_unbiased_on_the_training_part(series, name, horizon):
    """The log forecast has no mean error and the mean ratio of variance to forecast is 1."""
    variance, close = series
    forecast = BASELINES[name](variance, close, TRAIN, horizon)
    origins = training_origins(TRAIN, horizon, first=WARM_UP)
    target = mean_future_variance(variance, horizon)[origins.start : origins.stop]
    mine = slice(origins.start, origins.stop)
    assert np.mean(np.log(target) - forecast.log_variance[mine]) == pytest.approx(0, abs=0.02)
    assert np.mean(target / forecast.variance[mine]) == pytest.approx(1, abs=0.03)
    assert np.isfinite(forecast.log_variance[WARM_UP:]).all()


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("last_known", [TRAIN.stop - 1, 1000])
def test_the_future_changes_no_forecast(series, name, horizon, last_known):
    variance, close = series
    expected = BASELINES[name](variance, close, TRAIN, horizon)
    factors = np.where(np.arange(SESSIONS) <= last_known, 1, np.random.default_rng(1).uniform(1, 50, SESSIONS))
    found = BASELINES[name](variance * factors, close * factors, TRAIN, horizon)
    np.testing.assert_array_equal(found.log_variance[: last_known + 1], expected.log_variance[: last_known + 1])
    assert found.smearing == expected.smearing
    assert (found.log_variance[last_known + 1 :] != expected.log_variance[last_known + 1 :]).any()


def test_the_rival_is_the_best_baseline_on_both_shipped_series():
    from stockrnn.prices.readers.table import read_shipped

    for name in ("nasdaq", "sp500"):
        prices = read_shipped(name)
        variance, floored = daily_variance(None, prices.column("high"), prices.column("low"), None, "parkinson")
        assert floored == 0
        train, target = range(0, len(variance) - 1000), mean_future_variance(variance, 1)
        days = slice(train.stop - 1, -1)
        losses = {
            one: qlike(target, baseline(variance, prices.column("close"), train, 1).variance)[days].mean()
            for one, baseline in BASELINES.items()
        }
        assert min(losses, key=losses.__getitem__) == RIVAL
        assert max(losses, key=losses.__getitem__) == "persistence"


def test_bad_input_is_one_clear_line(series):
    variance, close = series
    with pytest.raises(UserError, match="HAR: 48 of 70 training sessions have 22 past variances and a target"):
        BASELINES["har"](variance, close, range(0, 70), 1)
    with pytest.raises(UserError, match=r"GARCH\(1,1\): 199 returns in the training part; at least 250 are needed"):
        BASELINES["garch"](variance, close, range(0, 200), 1)
    with pytest.raises(UserError, match="GJR-GARCH: the returns of the training part must be finite and must vary"):
        BASELINES["gjr_garch"](variance, np.ones(SESSIONS), TRAIN, 1)
    with pytest.raises(UserError, match="calibration: 0 of 4 training sessions have a forecast and a target"):
        BASELINES["persistence"](variance, close, range(0, 4), 5)
    with pytest.raises(UserError, match="smearing: 0 residuals"):
        smearing(np.array([math.nan]))
    with pytest.raises(UserError, match=r"a mean of exp\(residual\) of inf"):
        smearing(np.array([1e4]))


def test_a_garch_that_does_not_converge_is_one_clear_line():
    """Returns of 1e-7 per cent are too small for the optimizer."""
    close = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 1e-9, 300)))
    with pytest.raises(UserError, match=r"^GARCH\(1,1\): the fit on 299 returns did not converge: .*$"):
        BASELINES["garch"](np.ones(300), close, range(0, 300), 1)
