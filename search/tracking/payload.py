"""What trackers are told beside the trials' own reports: facts of the study, scores of the test block."""

import math
from collections.abc import Mapping
from typing import Any

from search.results.manifest import scored_opening
from search.space.space import Space

__all__ = ["facts", "numbers", "test_scores"]


def facts(space: Space, manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a study was made of, a line each."""
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


def test_scores(manifest: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The test block's scores, by trial id or baseline, the finalists first; empty where it was not opened."""
    return {name: numbers(scores) for name, scores in (scored_opening(manifest).get("scores") or {}).items()}


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are known numbers."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value) and not isinstance(value, bool)
    }
