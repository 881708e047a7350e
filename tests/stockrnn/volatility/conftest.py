"""Fixture of the volatility tests: prices with changing volatility, as arrays."""

from collections.abc import Callable

import numpy as np
import pytest


def stormy_prices(sessions: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return open, high, low and close of sessions whose log volatility is an AR(1) around 1 % a day."""
    random = np.random.default_rng(seed)
    logs = np.empty(sessions)
    logs[0] = np.log(0.01)
    for session in range(1, sessions):
        logs[session] = 0.97 * logs[session - 1] + 0.03 * np.log(0.01) + random.normal(0, 0.12)
    steps = random.normal(0, 1, (sessions, 40)) * np.exp(logs)[:, None] / np.sqrt(40)
    paths = np.cumsum(steps.ravel()).reshape(sessions, 40)
    opens = np.concatenate([[0.0], paths[:-1, -1]])
    paths = np.column_stack([opens, paths])
    columns = {"open": opens, "high": paths.max(axis=1), "low": paths.min(axis=1), "close": paths[:, -1]}
    return {name: 100 * np.exp(column) for name, column in columns.items()}


@pytest.fixture(scope="session")
def stormy() -> Callable[..., dict[str, np.ndarray]]:
    """Create a series: `stormy(sessions, seed=0)`."""
    return stormy_prices
