"""Test daily losses on numbers worked by hand."""

import math

import numpy as np
import pytest

from stockrnn.evaluation.losses import brier, log_loss, qlike, qlike_of_logs


def test_qlike_worked_by_hand():
    """v/f - ln(v/f) - 1: ratios 1, 2, 1/2, e."""
    variance, forecast = np.array([3.0, 2.0, 1.0, math.e]), np.array([3.0, 1.0, 2.0, 1.0])
    expected = [0, 1 - 0.6931471805599453, 0.6931471805599453 - 0.5, math.e - 2]
    assert qlike(variance, forecast) == pytest.approx(expected)
    assert qlike(variance * 1e-8, forecast * 1e-8) == pytest.approx(expected, abs=1e-12)  # no unit


def test_qlike_is_smallest_for_the_mean():
    """The mean loss over noisy estimates is smallest if the forecast is their mean, not their median."""
    noisy = np.random.default_rng(0).chisquare(1, 10_000)
    scales = np.linspace(0.3, 2, 171)
    best = scales[np.argmin([qlike(noisy, np.full(len(noisy), scale)).mean() for scale in scales])]
    assert best == pytest.approx(noisy.mean(), abs=0.011)


def test_qlike_is_exact_near_a_perfect_forecast_and_far_from_it():
    assert qlike_of_logs(np.array([1e-6]), np.array([0.0])) == pytest.approx([5e-13], rel=1e-3)
    assert qlike_of_logs(np.array([-2000.0, -2000.0]), np.array([-2000.0, -1000.0])) == pytest.approx([0, 999])
    assert qlike_of_logs(np.zeros(1), np.array([-1000.0]))[0] == math.inf
    assert qlike(np.ones(2), np.array([0.0, math.inf])).tolist() == [math.inf, math.inf]
    assert math.isnan(qlike(np.ones(1), np.array([math.nan]))[0])


def test_losses_of_probabilities_worked_by_hand():
    up, probability = np.array([True, False, True, False]), np.array([0.5, 0.25, 1.0, 1.0])
    assert log_loss(up, probability) == pytest.approx([math.log(2), -math.log(0.75), 0, -math.log(1e-12)], abs=1e-4)
    assert brier(up, probability) == pytest.approx([0.25, 0.0625, 0, 1])
    assert math.isnan(log_loss(up[:1], np.array([math.nan]))[0])
    assert math.isnan(brier(up[:1], np.array([math.nan]))[0])
