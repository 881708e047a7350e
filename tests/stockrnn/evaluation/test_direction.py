"""Test baselines of the direction against plain forms, with a poisoned future, and on bad input."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from stockrnn.evaluation.direction import DIRECTION_BASELINES, closes_higher, fit_logistic, logistic_probability
from stockrnn.io.errors import UserError

TRAIN = range(10, 400)


def random_closes(sessions=500, seed=0, momentum=0.0):
    random = np.random.default_rng(seed)
    returns = random.normal(0.0005, 0.01, sessions)
    for session in range(1, sessions):
        returns[session] += momentum * returns[session - 1]
    return 100 * np.exp(np.cumsum(returns))


def test_targets_worked_by_hand():
    closes = np.array([1.0, 2, 2, 1, 3])
    np.testing.assert_array_equal(closes_higher(closes, 1), [1, 0, 0, 1, math.nan])
    np.testing.assert_array_equal(closes_higher(closes, 2), [1, 0, 1, math.nan, math.nan])
    np.testing.assert_array_equal(closes_higher(closes, 7), [math.nan] * 5)


@pytest.mark.parametrize("horizon", [1, 4])
def test_shares_agree_with_a_plain_count(horizon):
    closes = random_closes()
    origins = np.arange(400, 450)
    ups = [closes[day + horizon] > closes[day] for day in range(10, 400 - horizon)]
    expected = (sum(ups) + 0.5) / (len(ups) + 1)
    assert DIRECTION_BASELINES["base_rate"](closes, TRAIN, origins, horizon) == pytest.approx([expected] * 50)
    found = DIRECTION_BASELINES["direction_persistence"](closes, TRAIN, origins, horizon)
    for day, probability in zip(origins, found, strict=True):
        like = [
            closes[one + horizon] > closes[one]
            for one in range(10 + horizon, 400 - horizon)
            if (closes[one] > closes[one - horizon]) == (closes[day] > closes[day - horizon])
        ]
        assert probability == pytest.approx((sum(like) + 0.5) / (len(like) + 1))


@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_newton_agrees_with_a_general_optimizer(ridge):
    random = np.random.default_rng(1)
    inputs = random.normal(size=(300, 3))
    up = (random.uniform(size=300) < 1 / (1 + np.exp(-0.3 - inputs @ [1.0, -0.5, 0.0]))).astype(float)

    def objective(coefficients):
        logits = coefficients[0] + inputs @ coefficients[1:]
        probability = 1 / (1 + np.exp(-logits))
        likelihood = np.where(up == 1, probability, 1 - probability)
        return -np.log(likelihood).sum() + ridge / 2 * (coefficients[1:] ** 2).sum()

    expected = minimize(
        objective, np.zeros(4), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 9999}
    )
    assert fit_logistic(inputs, up, ridge) == pytest.approx(expected.x, abs=1e-5)


def test_separable_data_have_finite_coefficients():
    inputs = np.linspace(-1, 1, 100)[:, None]
    coefficients = fit_logistic(inputs, (inputs[:, 0] > 0).astype(float))
    assert np.isfinite(coefficients).all()
    probability = logistic_probability(coefficients, inputs)
    assert (probability > 0.5).tolist() == (inputs[:, 0] > 0).tolist()
    assert logistic_probability(np.array([0.0, 1.0]), np.array([[1e4], [-1e4]])) == pytest.approx([1, 0])


def test_the_logistic_regression_finds_momentum():
    closes = random_closes(3000, momentum=0.5)
    origins = np.arange(2000, 2998)
    probability = DIRECTION_BASELINES["logistic"](closes, range(0, 2000), origins, 1)
    up = closes_higher(closes, 1)[origins]
    assert np.mean((probability > 0.5) == up) > 0.6
    assert np.mean(probability) == pytest.approx(up.mean(), abs=0.05)


@pytest.mark.parametrize("name", DIRECTION_BASELINES)
@pytest.mark.parametrize("horizon", [1, 3])
def test_the_future_changes_no_probability(name, horizon):
    closes = random_closes()
    origins = np.arange(390, 480)
    expected = DIRECTION_BASELINES[name](closes, TRAIN, origins, horizon)
    changed = closes.copy()
    changed[431:] *= np.random.default_rng(2).uniform(0.1, 10, len(closes) - 431)
    found = DIRECTION_BASELINES[name](changed, TRAIN, origins, horizon)
    np.testing.assert_array_equal(found[:41], expected[:41])
    changed = np.concatenate([closes[:400], closes[400:] * np.random.default_rng(3).uniform(0.1, 10, 100)])
    found = DIRECTION_BASELINES[name](changed, TRAIN, origins, horizon)
    np.testing.assert_array_equal(found[:10], expected[:10])
    assert ((found >= 0) & (found <= 1)).all()


def test_bad_input_is_one_clear_line():
    closes = random_closes()
    origins = np.arange(400, 410)
    for name, baseline in DIRECTION_BASELINES.items():
        with pytest.raises(UserError, match=r"of 20 training sessions have .* earlier ones and a target; at least 50"):
            baseline(closes, range(10, 30), origins, 1)
        if name != "logistic":
            assert np.isfinite(baseline(np.arange(1.0, 501), TRAIN, origins, 1)).all()
    with pytest.raises(UserError, match="logistic regression: all 384 training sessions have the same direction"):
        DIRECTION_BASELINES["logistic"](np.arange(1.0, 501), TRAIN, origins, 1)
