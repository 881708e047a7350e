"""Test adaptive intervals: against a plain loop, day by day as in production, with a poisoned future, bad input."""

import math

import numpy as np
import pytest

from stockrnn.evaluation.adaptive_intervals import AdaptiveInterval, adaptive_intervals, winkler_score


def stormy_errors(days, seed=0):
    """Return errors whose volatility triples in the middle third, and a scale that knows half of it."""
    random = np.random.default_rng(seed)
    volatility = np.where((np.arange(days) // max(1, days // 3)) == 1, 0.03, 0.01)
    return random.normal(0, volatility), 0.01 * np.sqrt(volatility / 0.01)


def slow_widths(errors, scale, level, calibration, gamma, horizon):
    """Compute the half widths from the definition: sorted lists, one day after another."""
    quantiles, widths = [], []
    alpha = 1 - level
    for day in range(len(errors)):
        known = day - horizon  # the newest forecast whose actual value is known
        if known >= 0 and quantiles[known] < math.inf:
            missed = abs(errors[known]) / scale[known] > quantiles[known]
            alpha += gamma / horizon * (1 - level - (1 if missed else 0))
        scores = sorted(abs(errors[one]) / scale[one] for one in range(max(0, known + 1 - calibration), known + 1))
        if (len(scores) + 1) * level > len(scores) + 1e-9:
            quantiles.append(math.inf)
        else:
            rank = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
            quantiles.append(scores[max(1, min(rank, len(scores))) - 1])
        widths.append(quantiles[-1] * scale[day])
    return widths


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize(("calibration", "gamma"), [(50, 0.02), (50, 0.2), (1000, 0.0), (7, 0.02)])
def test_half_widths_agree_with_a_plain_loop(level, horizon, calibration, gamma):
    errors, scale = stormy_errors(200)
    found, _ = adaptive_intervals(errors, scale, level, calibration=calibration, gamma=gamma, horizon=horizon)
    assert found == pytest.approx(slow_widths(errors, scale, level, calibration, gamma, horizon), rel=1e-12)


@pytest.mark.parametrize("horizon", [1, 3])
def test_production_goes_on_day_by_day(horizon):
    """A state that is saved and read every day issues the widths of one pass over all days."""
    errors, scale = stormy_errors(150, seed=1)
    expected, last = adaptive_intervals(errors, scale, 0.8, calibration=60, horizon=horizon)
    state = AdaptiveInterval.start(0.8, calibration=60, horizon=horizon)
    for day in range(len(errors)):
        if day >= horizon:
            state = state.observe(errors[day - horizon], scale[day - horizon])
        width, state = state.issue(scale[day])
        assert (math.inf if width is None else width) == pytest.approx(expected[day], rel=1e-12)
        state = AdaptiveInterval.model_validate_json(state.model_dump_json())
    for day in range(len(errors) - horizon, len(errors)):
        state = state.observe(errors[day], scale[day])
    assert state == last
    assert len(state.scores) == 60


@pytest.mark.parametrize("horizon", [1, 5])
def test_the_future_changes_no_half_width(horizon):
    errors, scale = stormy_errors(300)
    before, _ = adaptive_intervals(errors, scale, 0.8, calibration=100, horizon=horizon)
    last_known = 200  # the day of the last known price: errors of later targets are unknown
    errors[last_known - horizon + 1 :] *= 1e3
    scale[last_known + 1 :] *= 7
    after, _ = adaptive_intervals(errors, scale, 0.8, calibration=100, horizon=horizon)
    np.testing.assert_array_equal(before[: last_known + 1], after[: last_known + 1])
    assert (before[last_known + 1 :] != after[last_known + 1 :]).all()


def test_adaptation_keeps_the_coverage_when_volatility_changes():
    """In blocks of 250 days, a interval of fixed level covers 40 to 100 % of the days, an adaptive one 78 to 87 %."""
    errors, _ = stormy_errors(6000)
    ones = np.ones(6000)
    blocks = {}
    for gamma in (0.0, 0.02):
        widths, _ = adaptive_intervals(errors, ones, 0.8, gamma=gamma)
        inside = np.abs(errors) <= widths
        blocks[gamma] = np.abs(inside[750:6000].reshape(-1, 250).mean(axis=1) - 0.8)
    assert blocks[0.02].max() < 0.08
    assert blocks[0.0].max() > 0.2


def test_the_long_run_coverage_is_bounded():
    """Of T days, the misses differ from T (1 - level) by (change of the miscoverage) / gamma exactly."""
    errors, scale = stormy_errors(2000, seed=4)
    widths, state = adaptive_intervals(errors, scale, 0.95)
    bounded = np.isfinite(widths)
    assert (~bounded).sum() == 19
    misses = (np.abs(errors) > widths)[bounded].sum()
    assert misses - 0.05 * bounded.sum() == pytest.approx((0.05 - state.miscoverage) / 0.02, abs=1e-6)


def test_without_adaptation_the_width_is_the_split_conformal_one():
    from stockrnn.evaluation.conformal import conformal_intervals

    errors = np.random.default_rng(2).normal(0, 0.01, 101)
    for level in (0.8, 0.95):
        widths, _ = adaptive_intervals(errors, np.ones(101), level, gamma=0)
        (static,) = conformal_intervals(np.ones(100), np.exp(errors[:100]), [level])
        assert widths[-1] == pytest.approx(static.half_width, rel=1e-9)


def test_winkler_scores_worked_by_hand():
    actual = np.array([0.0, 3.0, -2.0, 1.0])
    lower, upper = np.full(4, -1.0), np.full(4, 1.0)
    assert winkler_score(actual, lower, upper, 0.8) == pytest.approx([2, 2 + 10 * 2, 2 + 10 * 1, 2])
    assert winkler_score(actual[:1], np.array([-math.inf]), np.array([math.inf]), 0.8)[0] == math.inf


def test_bad_input_is_one_clear_line():
    ones = np.ones(5)
    for level in (0.0, 1.0, -1, 2):
        with pytest.raises(ValueError, match="a level must be above 0 and below 1"):
            adaptive_intervals(ones, ones, level)
    with pytest.raises(ValueError, match=r"shapes \(5,\) and \(4,\); both must be \(days,\)"):
        adaptive_intervals(ones, ones[:4], 0.8)
    with pytest.raises(ValueError, match="errors must be finite numbers"):
        adaptive_intervals(ones * math.nan, ones, 0.8)
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="scales must be finite numbers above 0"):
            adaptive_intervals(ones, ones * scale, 0.8)
    assert adaptive_intervals(ones[:0], ones[:0], 0.8)[0].shape == (0,)
