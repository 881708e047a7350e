"""Workers that die: Tune's own answers end the whole study over a worker killed for memory, and a trial over another.

Its actor manager takes what is neither the failure of an actor nor that of a task for a fault of its own. Its
controller is told twice of a worker that dies while it is made ready for the next trial, of the worker and of its task:
it gives the trial another worker, and then ends it as failed. And it goes on taking that trial for one whose worker is
being made ready, and never starts it. Here each death is what it is: one trial has lost its worker once. And a trial
that ran out of its share of a GPU's memory comes back with a larger one.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller

from search.lean import LeanController, replacements
from search.ray_watch import outlive_ray
from search.shares import larger
from search.stop import Ended
from search.trial import GpuMemoryError

__all__ = ["MemoryLostError", "workers_may_die"]

tune_tune = importlib.import_module("ray.tune.tune")  # `ray.tune` holds a function of a like name


class MemoryLostError(RayActorError):
    """A worker was killed because its machine ran out of memory."""


class _Manager(RayActorManager):
    """Tune's actor manager, to which every failure of Ray's is one of an actor."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            lost = MemoryLostError if isinstance(exception, OutOfMemoryError) else RayActorError
            exception = lost(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


class _Controller(LeanController):
    """Tune's controller, which hears of each failure once."""

    _heard: Exception | None = None

    def step(self) -> None:
        try:
            super().step()
        except Ended as ended:
            if ended.ray_lives:  # what its workers hold would be free only once Python forgets this study
                self._actor_manager.cleanup()
            raise

    def _process_trial_failure(self, trial: Any, exception: Any) -> None:
        outlive_ray()
        self._resetting_trials.discard(trial)  # else it waits for that worker for ever
        if exception is not self._heard:
            self._heard = exception
            if isinstance(exception, GpuMemoryError):
                trial.max_failures += 1  # it is not tried again as it was: `max_failures` is not for this
            super()._process_trial_failure(trial, exception)

    def _requeue_trial(self, trial: Any) -> None:
        # Here the trial is neither running nor waiting yet, so that it waits for what it asks for now.
        if isinstance(self._heard, GpuMemoryError):
            asked = trial.placement_group_factory.required_resources
            trial.update_resources({"cpu": asked.get("CPU", 0), "gpu": larger(asked["GPU"])})
        super()._requeue_trial(trial)


REPLACED = (
    (tune_controller, RayActorManager, _Manager),
    (tune_tune, tune_controller.TuneController, _Controller),
)


@contextmanager
def workers_may_die() -> Iterator[None]:
    """Within: a Tuner outlives whatever happens to its workers."""
    replaced = [*REPLACED, *replacements()]
    for module, theirs, ours in replaced:
        setattr(module, theirs.__name__, ours)
    try:
        yield
    finally:
        for module, theirs, _ in replaced:
            setattr(module, theirs.__name__, theirs)
