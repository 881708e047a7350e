"""Test the range of the close that a volatility implies, on simulated prices with and without an overnight move."""

import numpy as np
import pytest

from stockrnn.volatility.close_range import close_range, overnight_factor
from stockrnn.volatility.estimators import daily_variance
from stockrnn.volatility.forecasts import VolatilityError

STEPS = 400  # of a session: few steps miss its true high and low


def simulated(sessions, overnight, seed=0):
    """Return open, high, low and close of a random walk with a variance of 1e-4 a session and `overnight` before it."""
    random = np.random.default_rng(seed)
    moves = random.normal(scale=0.01 / np.sqrt(STEPS), size=(sessions, STEPS)).cumsum(axis=1)
    gaps = random.normal(scale=np.sqrt(overnight), size=sessions)
    before = np.concatenate([[0], (gaps + moves[:, -1]).cumsum()[:-1]])
    opens = before + gaps
    path = np.column_stack([np.zeros(sessions), moves]) + opens[:, None]
    return tuple(100 * np.exp(each) for each in (opens, path.max(axis=1), path.min(axis=1), path[:, -1]))


@pytest.mark.parametrize("overnight", [0.0, 0.5e-4])
def test_the_factor_adds_the_overnight_move_and_the_ranges_hold_their_shares(overnight):
    opens, high, low, close = simulated(2000, overnight)
    variance, _ = daily_variance(opens, high, low, close, "parkinson")
    factor = overnight_factor(variance, close, range(1000))
    assert factor == pytest.approx(1 + overnight / 1e-4, rel=0.15)  # parkinson is a little low on discrete steps
    truth = np.full(1000, variance[:1000].mean())
    for horizon, level, tolerance in ((1, 0.8, 0.04), (1, 0.95, 0.02), (5, 0.8, 0.08)):
        lower, upper = close_range(close[1000 - horizon : -horizon], truth, level, horizon=horizon, factor=factor)
        assert np.mean((lower <= close[1000:]) & (close[1000:] <= upper)) == pytest.approx(level, abs=tolerance)


def test_the_factor_reads_nothing_after_the_training_part():
    opens, high, low, close = simulated(300, 0.5e-4)
    variance, _ = daily_variance(opens, high, low, close, "parkinson")
    known = overnight_factor(variance, close, range(50, 200))
    variance[200:], close[200:] = 9.0, 1e6
    assert overnight_factor(variance, close, range(50, 200)) == known


def test_too_few_sessions_are_refused():
    with pytest.raises(VolatilityError, match="overnight move: 9 of 10 training sessions have a return and a variance"):
        overnight_factor(np.ones(10), np.arange(1.0, 11.0), range(10))


def test_an_absurd_volatility_has_an_infinite_range():
    lower, upper = close_range(np.array([100.0]), np.array([1e8]), 0.95, horizon=1, factor=1.0)
    assert (lower[0], upper[0]) == (0, np.inf)
