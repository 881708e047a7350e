"""Tune without what nobody reads here: it took more of the driver's time than all else together.

Tune takes a snapshot of all trials every ten seconds, from which no study of ours goes on. It makes a text of every
report for a log that is off, forecasts and all. It keeps statistics of every number for ever. Five times a trial it
looks up its trainable in a table that Ray keeps elsewhere. And to say which trackers are used it imports all it knows.
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

__all__ = ["LeanController", "replacements"]

tune_tune = importlib.import_module("ray.tune.tune")  # `ray.tune` holds a function of a like name


class LeanController(TuneController):
    """Tune's controller, which writes nothing, keeps little, and lets a worker that is starting start."""

    def step(self) -> None:
        """Handle one event."""
        with np.printoptions(override_repr=lambda array: "array"):
            super().step()

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """No snapshot."""

    def _maybe_reuse_cached_actor(self, trial: Trial) -> bool:
        # Tune gives a free worker to any trial that waits, also to one whose own worker is starting, which it stops.
        # The next trial then finds none free, so that another one is started; where trials are shorter than a start
        # takes, this never ends.
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


def replacements() -> list[tuple[Any, Any, Any]]:
    """What takes the place of what: the module that names it, what is there, what comes there, for one Tuner."""
    return [
        (tune_tune, ExperimentAnalysis, _NoAnalysis),
        (usage, usage.tag_callbacks, _untold),
        (experiment, experiment.get_trainable_cls, cache(experiment.get_trainable_cls)),
        (experiment, experiment.validate_trainable, cache(experiment.validate_trainable)),
    ]


class _NoAnalysis:
    """What a Tuner makes of its snapshot at the end, of a Tuner that wrote none: no results."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.trials: list[Trial] = []


def _untold(*_: Any) -> bool:
    """Which callbacks there are is told to nobody."""
    return False
