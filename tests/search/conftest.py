"""Fixtures with small spaces, for tests that run trials or whole studies."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from search.space.space import Space, load_space

SMALL = {
    "name": "small",
    "data": {"source": "nasdaq", "test_size": 40},
    "validation": {"folds": 2, "fold_size": 30, "window": "sliding", "train_size": 120, "seeds": 2},
    "space": {
        "architecture": ["rnn", "gru", "lstm"],
        "hidden_size": {"int": [4, 8]},
        "sequence_length": [3, 5],
        "learning_rate": {"float": [1e-3, 1e-2], "log": True},
    },
    "search": {"sampler": "random", "num_samples": 6, "finalists": 2, "finalist_seeds": 2},
    "scheduler": {"max_epochs": 4, "grace_period": 4, "patience": None},
}


def merged(base: dict, changes: dict) -> dict:
    """A copy of nested data with changes laid over it; None deletes a key."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@pytest.fixture
def space_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small space, with sections changed or replaced, and returns its path."""

    def write(**changes: object) -> Path:
        path = tmp_path / "small.yaml"
        content = merged(SMALL, changes)
        if (
            isinstance(changes.get("space"), dict)
            and changes["space"].get("architecture") != SMALL["space"]["architecture"]
        ):
            content["space"] = changes["space"]  # another architecture: another space altogether
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def small_space(space_file: Callable[..., Path]) -> Callable[..., Space]:
    """The small space, read: `small_space(search={...})`."""
    return lambda **changes: load_space(str(space_file(**changes)))
