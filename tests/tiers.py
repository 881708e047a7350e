"""Sizes of repeated tests: small in the daily tier, ten times larger in the nightly tier (`pytest -m nightly`)."""

import os

__all__ = ["NIGHTLY", "count", "is_nightly"]

NIGHTLY = "STOCKRNN_NIGHTLY"  # set by conftest.py for the nightly tier
FACTOR = 10


def is_nightly() -> bool:
    """Return whether the nightly tier runs."""
    return NIGHTLY in os.environ


def count(name: str, daily: int) -> int:
    """Return how often a test repeats its case: `daily`, ten times that at night, or the variable STOCKRNN_{name}."""
    chosen = os.environ.get(f"STOCKRNN_{name}")
    if chosen is not None:
        return int(chosen)
    return FACTOR * daily if is_nightly() else daily
