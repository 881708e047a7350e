"""Disable Tune's snapshots, result formatting and statistics, which this project does not use.

Tune writes a snapshot of all trials every ten seconds, but no study resumes from it. It formats every result, with all
forecasts, for a log that is off. It stores statistics of every number that a trial reports. It reads the trainable
from Ray's key-value store for every trial. It imports every tracker that it supports, to list those in use.
"""

import importlib
from functools import cache
from typing import Any

import numpy as np
from ray.air._internal import usage
from ray.tune import ExperimentAnalysis
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.experiment import trial as experiment
from ray.tune.registry import get_trainable_cls

__all__ = ["LeanController", "list_lean_patches"]

tune_tune = importlib.import_module("ray.tune.tune")  # `ray.tune.tune` as an attribute is a function


class LeanController(TuneController):
    """Tune's controller without snapshots, formatted results and statistics of ended trials."""

    def step(self) -> None:
        """Process one event; arrays are formatted as the word "array"."""
        with np.printoptions(override_repr=lambda array: "array"):
            super().step()  # type: ignore[no-untyped-call]

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Write no snapshot."""

    def _maybe_reuse_cached_actor(self, trial: Trial) -> bool:
        # Tune assigns a free worker to any waiting trial. If the trial's own worker is starting, Tune stops that one.
        # Then the next trial finds no free worker, and Tune starts another one. If trials are shorter than the start
        # of a worker, this repeats without end.
        own = self._trial_to_actor.get(trial)
        if own is not None and trial not in self._resetting_trials and self._actor_manager.is_actor_started(own):
            return False
        return bool(super()._maybe_reuse_cached_actor(trial))

    def _set_trial_status(self, trial: Trial, status: str) -> None:
        super()._set_trial_status(trial, status)
        if status == Trial.TERMINATED:
            trial.run_metadata.metric_analysis.clear()
            trial.run_metadata.metric_n_steps.clear()
            trial._default_result_or_future = None


def list_lean_patches() -> list[tuple[Any, Any, Any]]:
    """Return (module, original, replacement) for each patch that replaces a name in a module."""
    return [
        (tune_tune, ExperimentAnalysis, _NoAnalysis),
        (usage, usage.tag_callbacks, _skip_tags),
        (experiment, get_trainable_cls, cache(get_trainable_cls)),
    ]


class _NoAnalysis:
    """In place of the analysis that a Tuner makes from its snapshot: no results."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.trials: list[Trial] = []


def _skip_tags(*_: Any) -> bool:
    return False
