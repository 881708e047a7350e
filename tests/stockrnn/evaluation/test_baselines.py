"""Test baselines against values by hand, slow loops, and simulated series with known parameters."""

import math

import numpy as np
import pytest

from stockrnn.dataset.walk_forward import walk_forward
from stockrnn.evaluation.baselines import BASELINES, BaselineError, ar1, drift, persistence, score_baselines


def closes_of(returns, first=100.0):
    return first * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))


def simulated_ar1(intercept, slope, sessions, seed=0):
    random = np.random.default_rng(seed)
    returns = [0.0]
    for shock in random.normal(0, 0.01, sessions - 2):
        returns.append(intercept + slope * returns[-1] + shock)
    return closes_of(returns)


def test_persistence_stays_at_the_last_close():
    closes = np.array([3.0, 4.0, 5.0, 6.0])
    assert persistence(closes, range(2), np.array([1, 3]), 5).tolist() == [4.0, 6.0]


@pytest.mark.parametrize("horizon", [1, 2])
def test_drift_by_hand(horizon):
    closes = np.array([100.0, 110.0, 121.0, 500.0, 200.0])  # 10 % a session while training
    forecast = drift(closes, range(3), np.array([3, 4]), horizon)
    np.testing.assert_allclose(forecast, [500 * 1.1**horizon, 200 * 1.1**horizon])


def test_ar1_by_hand():
    # Returns 1, 2, 4, 8 per cent: each is twice the one before, but the slope is clipped to 1.
    closes = closes_of([0.01, 0.02, 0.04, 0.08])
    # The line through (1, 2), (2, 4), (4, 8) has slope 2; at slope 1 the intercept is the mean change, 7/3.
    forecast = ar1(closes, range(5), np.array([4]), 1)
    np.testing.assert_allclose(forecast, closes[4] * np.exp(0.08 + 0.07 / 3))
    # Returns 4, 1, 2, 3: through (4, 1), (1, 2), (2, 3) slope -3/7 and intercept 2 + 3/7 * 7/3 = 3.
    closes = closes_of([0.04, 0.01, 0.02, 0.03])
    first = 0.03 - 3 / 7 * 0.03
    second = 0.03 - 3 / 7 * first
    np.testing.assert_allclose(ar1(closes, range(5), np.array([4]), 1), closes[4] * np.exp(first))
    np.testing.assert_allclose(ar1(closes, range(5), np.array([4]), 2), closes[4] * np.exp(first + second))


@pytest.mark.parametrize("slope", [-0.4, 0.0, 0.6])
def test_ar1_recovers_the_process_it_was_drawn_from(slope):
    intercept = 0.002
    closes = simulated_ar1(intercept, slope, 20_000)
    origins = np.array([100, 5000])
    ahead = np.log(ar1(closes, range(20_000), origins, 1) / closes[origins])
    last = np.log(closes[origins] / closes[origins - 1])
    recovered = (ahead[1] - ahead[0]) / (last[1] - last[0])
    assert recovered == pytest.approx(slope, abs=0.02)
    assert ahead[0] - recovered * last[0] == pytest.approx(intercept, abs=3e-4)


@pytest.mark.parametrize("horizon", [1, 5])
def test_ar1_equals_a_plain_loop(horizon):
    closes = simulated_ar1(0.001, 0.3, 300, seed=3)
    train, origins = range(40, 200), np.arange(190, 260)
    returns = [math.log(closes[day] / closes[day - 1]) for day in range(train.start + 1, train.stop)]
    slope, intercept = np.polyfit(returns[:-1], returns[1:], 1)
    expected = []
    for origin in origins:
        value, log_close = math.log(closes[origin] / closes[origin - 1]), math.log(closes[origin])
        for _ in range(horizon):
            value = intercept + slope * value
            log_close += value
        expected.append(math.exp(log_close))
    np.testing.assert_allclose(ar1(closes, train, origins, horizon), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "closes",
    [np.full(10, 5.0), closes_of(np.full(9, 0.01)), closes_of([*np.full(8, 0.01), 0.3])],
    ids=["flat", "steady growth", "steady growth and a jump"],
)
def test_ar1_is_drift_where_there_is_no_slope_to_fit(closes):
    origins = np.array([8, 9])
    expected = drift(closes, range(10), origins, 3)
    np.testing.assert_array_equal(ar1(closes, range(10), origins, 3), expected)
    np.testing.assert_array_equal(ar1(closes, range(3), origins, 3), drift(closes, range(3), origins, 3))


def test_ar1_does_not_diverge_over_a_long_horizon():
    closes = closes_of([0.01, 0.02, 0.04, 0.08])
    assert np.isfinite(ar1(closes, range(5), np.array([4]), 50)).all()


@pytest.mark.parametrize("horizon", [1, 4])
def test_every_baseline_is_scored_like_a_trial(synthetic, horizon):
    closes = synthetic(200).column("close")
    folds = walk_forward(200, folds=3, fold_size=20, test_size=20, horizon=horizon).folds
    scores = score_baselines(closes, folds, horizon)
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
    monkeypatch.setitem(BASELINES, "mine", lambda closes, train, origins, horizon: closes[-1])
    splits = walk_forward(60, folds=2, fold_size=10, test_size=10, horizon=1, train_size=20)
    with pytest.raises(BaselineError, match=r"^baseline mine: its result has shape \(\); it must have \(10,\)"):
        score_baselines(np.linspace(1, 2, 60), splits.folds, 1)


@pytest.mark.parametrize(
    ("mine", "reason"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda closes: closes, "TypeError: "),  # it does not have the arguments of a baseline
        (lambda *_: ["up"] * 10, "ValueError: could not convert string to float: 'up'"),
    ],
)
def test_a_baseline_that_fails_is_named_in_one_line(mine, reason, monkeypatch):
    monkeypatch.setitem(BASELINES, "mine", mine)
    splits = walk_forward(60, folds=2, fold_size=10, test_size=10, horizon=1, train_size=20)
    with pytest.raises(BaselineError, match=r"^[^\n]+\.py:[0-9]+: baseline mine: [^\n]*$") as raised:
        score_baselines(np.linspace(1, 2, 60), splits.folds, 1)
    assert reason in str(raised.value)
    assert "one forecast per origin, (10,); correct the function" in str(raised.value)
