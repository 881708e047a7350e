"""Fixtures of several tests: synthetic daily series, clean or with their future overwritten."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stockrnn.prices.series import Prices


def synthetic_prices(sessions: int, seed: int = 0, zero_volumes: tuple[int, ...] = ()) -> Prices:
    """Return a random walk of 1.5 % per day with consistent opens, highs and lows, on weekdays from 2001-01-01."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.015, sessions)))
    opens = close * np.exp(random.normal(0, 0.005, sessions))
    high = np.maximum(opens, close) * (1 + random.uniform(0, 0.01, sessions))
    low = np.minimum(opens, close) * (1 - random.uniform(0, 0.01, sessions))
    volume = np.round(np.exp(random.normal(14, 0.3, sessions)))
    volume[list(zero_volumes)] = 0
    return Prices(
        source="synthetic",
        dates=np.busday_offset("2001-01-01", np.arange(sessions)),
        columns=("open", "high", "low", "close", "volume"),
        values=np.column_stack([opens, high, low, close, volume]),
        lines=np.array([], dtype=int),
    )


def poisoned_prices(prices: Prices, last_known: int) -> Prices:
    """Return the same series, but all prices and volumes after session `last_known` are up to 1000 times larger."""
    values = prices.values.copy()
    future = values[last_known + 1 :]
    future *= np.random.default_rng(1).uniform(1, 1000, future.shape)
    return replace(prices, values=values)


@pytest.fixture(scope="session")
def synthetic() -> Callable[..., Prices]:
    """Create a synthetic series: `synthetic(sessions, seed=0, zero_volumes=())`."""
    return synthetic_prices


@pytest.fixture(scope="session")
def poisoned() -> Callable[[Prices, int], Prices]:
    """Overwrite the future of a series: `poisoned(prices, last_known)`."""
    return poisoned_prices
