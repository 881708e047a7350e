"""Select what trackers receive about a study: its settings, the scores of the test block, numbers."""

import math
from collections.abc import Mapping
from typing import Any

from search.results.manifest import find_scored_opening
from search.space.space import Space

__all__ = ["describe_study", "read_test_scores", "select_numbers"]


def describe_study(space: Space, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return settings, data, folds and versions of a study, as texts by name."""
    data = manifest["data"]
    return {
        "study": space.name,
        "command": manifest["command"],
        "start": manifest["start"],
        "seed": str(manifest["seed"]),
        "metric": space.search.metric,
        "sampler": space.search.sampler,
        "trials": str(space.num_samples),
        **{f"data.{name}": str(data[name]) for name in ("source", "start", "end", "sessions", "sha256")},
        "test": " to ".join(manifest["test"]),
        **{f"fold {number}": " to ".join(fold["validation"]) for number, fold in enumerate(manifest["folds"], start=1)},
        **{f"version.{name}": str(version) for name, version in manifest["versions"].items()},
    }


def read_test_scores(manifest: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the scores of the test block by trial id or baseline, finalists first; empty before it is opened."""
    return {
        name: select_numbers(scores) for name, scores in (find_scored_opening(manifest).get("scores") or {}).items()
    }


def select_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers among the values."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value) and not isinstance(value, bool)
    }
