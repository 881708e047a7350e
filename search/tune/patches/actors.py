"""Workers that die: Tune's own answers end the whole study over a worker killed for memory, and a trial over another.

Its actor manager takes what is neither the failure of an actor nor that of a task for a fault of its own. Its
controller is told twice of a worker that dies while it is made ready for the next trial, of the worker and of its task:
it gives the trial another worker, and then ends it as failed. And it goes on taking that trial for one whose worker is
being made ready, and never starts it. Here each death is what it is: one trial has lost its worker once. And a trial
that ran out of its share of a GPU's memory comes back with a larger one.

Tune waits for ever for a worker that hangs. Here it is killed, and its trial goes on as if it had died.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller

from search.cluster.ray_watch import wait_if_ray_died
from search.cost.stalls import Job, StallLimits, StallWatch, stall_message
from search.space.resources import double_share
from search.tune.patches.lean import LeanController, replacements
from search.tune.stopper import StudyStopped
from search.tune.trial import GpuMemoryError

__all__ = ["MemoryLostError", "StalledError", "list_patches", "patch_tune"]

tune_tune = importlib.import_module("ray.tune.tune")  # `ray.tune` holds a function of a like name


class MemoryLostError(RayActorError):
    """A worker was killed because its machine ran out of memory."""


class StalledError(RayActorError):
    """A worker was killed because its trial made no progress."""


class _Manager(RayActorManager):
    """Tune's actor manager, to which every failure of Ray's is one of an actor."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            lost = MemoryLostError if isinstance(exception, OutOfMemoryError) else RayActorError
            exception = lost(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


class _Controller(LeanController):
    """Tune's controller, which hears of each failure once and kills workers that hang.

    Args:
        limits, watch: how long trials may make no progress, and what measures it.
    """

    def __init__(self, *args: Any, limits: StallLimits, watch: StallWatch, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits, self._watch = limits, watch
        self._stalled: dict[Any, float] = {}  # trials whose workers were killed, and their limits
        self._heard: Exception | None = None

    def step(self) -> None:
        try:
            super().step()
            if self._watch.step():
                self._kill_stalled()
        except StudyStopped as stopped:
            if stopped.ray_lives:  # what its workers hold would be free only once Python forgets this study
                self._actor_manager.cleanup()
            raise

    def _kill_stalled(self) -> None:
        """Kill the workers of stalled trials; Ray then reports their deaths.

        The worker's machine ends the process by SIGKILL after a few seconds, also one that was stopped.
        """
        busy = {
            trial.config["trial_id"]: (trial, actor)
            for trial, actor in self._trial_to_actor.items()
            if self._actor_manager.is_actor_started(actor)  # else it waits for resources
        }
        jobs = {trial_id: self._job(*each) for trial_id, each in busy.items()}
        for trial_id, limit in self._watch.find_stalled(jobs).items():
            trial, actor = busy[trial_id]
            self._stalled[trial] = limit
            ray.kill(self._actor_manager._live_actors_to_ray_actors_resources[actor][0])
        self._stalled = {trial: limit for trial, limit in self._stalled.items() if trial in self._trial_to_actor}

    def _job(self, trial: Any, actor: Any) -> Job:
        if actor not in self._started_actors:
            return Job(worker=(actor.actor_id, "starting"), limits=self._limits.worker_start)
        return Job(worker=(actor.actor_id, "running"), limits=partial(self._limits.trial, trial.config["point"]))

    def _on_training_result(self, trial: Any, result: Any) -> None:
        self._watch.record_progress(trial.config["trial_id"])
        super()._on_training_result(trial, result)

    def _process_trial_failure(self, trial: Any, exception: Any) -> None:
        wait_if_ray_died()
        self._resetting_trials.discard(trial)  # else it waits for that worker for ever
        if exception is not self._heard:
            self._heard = exception
            if (limit := self._stalled.pop(trial, None)) is not None and isinstance(exception, RayActorError):
                exception = StalledError(error_msg=stall_message(limit))
            if isinstance(exception, GpuMemoryError):
                trial.max_failures += 1  # it is not tried again as it was: `max_failures` is not for this
            super()._process_trial_failure(trial, exception)

    def _requeue_trial(self, trial: Any) -> None:
        # Here the trial is neither running nor waiting yet, so that it waits for what it asks for now.
        if isinstance(self._heard, GpuMemoryError):
            asked = trial.placement_group_factory.required_resources
            trial.update_resources({"cpu": asked.get("CPU", 0), "gpu": double_share(asked["GPU"])})
        super()._requeue_trial(trial)


def list_patches(limits: StallLimits, watch: StallWatch) -> list[tuple[Any, Any, Any]]:
    """What takes the place of what: the module that names it, what is there, what comes there."""
    return [
        (tune_controller, RayActorManager, _Manager),
        (tune_tune, tune_controller.TuneController, partial(_Controller, limits=limits, watch=watch)),
        *replacements(),
    ]


@contextmanager
def patch_tune(limits: StallLimits, watch: StallWatch) -> Iterator[None]:
    """Within: a Tuner outlives whatever happens to its workers, and kills those whose trials make no progress."""
    places = list_patches(limits, watch)
    for module, theirs, ours in places:
        setattr(module, theirs.__name__, ours)
    try:
        yield
    finally:
        for module, theirs, _ in places:
            setattr(module, theirs.__name__, theirs)
