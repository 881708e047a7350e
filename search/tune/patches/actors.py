"""Patch Tune so that a worker's death costs its trial one retry, and kill workers that hang.

Without these patches:

- Tune ends the whole study if a worker is killed for memory, because its actor manager only expects errors of actors
  and tasks.
- Tune counts the death twice if a worker dies while it is reset for the next trial: once for the worker, once for its
  task. It gives the trial a new worker, and then ends the trial as failed. It also still lists the trial as being
  reset, so the trial never starts.
- Tune waits forever for a worker that hangs. Here, the worker is killed, and the trial continues as after any death.

A trial that runs out of its fraction of a GPU's memory gets a larger fraction.
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
from search.tune.patches.lean import LeanController, list_lean_patches
from search.tune.stopper import StudyStopped
from search.tune.trial import GpuMemoryError
from search.tune.virtual_order import VirtualOrder

__all__ = ["MemoryLostError", "StalledError", "list_patches", "patch_tune"]

MAX_BLOCKED_STEPS = 300  # of the controller, a tenth of a second each while nothing happens

tune_tune = importlib.import_module("ray.tune.tune")  # `ray.tune.tune` as an attribute is a function


class MemoryLostError(RayActorError):
    """A worker was killed because its machine ran out of memory."""


class StalledError(RayActorError):
    """A worker was killed because its trial made no progress."""


class _Manager(RayActorManager):
    """Tune's actor manager, which handles every error of Ray as the death of an actor."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            kind = MemoryLostError if isinstance(exception, OutOfMemoryError) else RayActorError
            exception = kind(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


class _Controller(LeanController):
    """Tune's controller, which handles each failure once, kills workers that hang, and decides in a virtual order.

    Args:
        limits: how long a trial may make no progress.
        watch: measures how long each trial has made no progress.
        order: of the decisions; None: in the order in which reports arrive.
    """

    def __init__(
        self, *args: Any, limits: StallLimits, watch: StallWatch, order: VirtualOrder | None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._limits, self._watch, self._order = limits, watch, order
        self._waiting: dict[str, tuple[Any, Any]] = {}  # trials and reports that wait for their turn, by trial id
        self._blocked_steps = 0
        self._stalled: dict[Any, float] = {}  # the limits of trials whose workers were killed
        self._last_failure: Exception | None = None

    def step(self) -> None:
        try:
            super().step()
            if self._order is not None:
                self._take_turns(self._order)
            if self._watch.step():
                self._kill_stalled()
        except StudyStopped as stopped:
            if stopped.ray_lives:  # otherwise the workers keep their resources until Python deletes this object
                self._actor_manager.cleanup()
            raise

    def _kill_stalled(self) -> None:
        """Kill the workers of stalled trials; Ray then reports their deaths.

        After a few seconds, Ray ends the process with SIGKILL. This also ends a process that was stopped by SIGSTOP.
        """
        busy = {
            trial.config["trial_id"]: (trial, actor)
            for trial, actor in self._trial_to_actor.items()
            if self._actor_manager.is_actor_started(actor)  # otherwise it waits for resources
            and trial.config["trial_id"] not in self._waiting
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
        trial_id = trial.config["trial_id"]
        self._watch.record_progress(trial_id)
        if self._order is not None and self._order.report(trial_id, result):
            self._waiting[trial_id] = (trial, result)
        else:
            super()._on_training_result(trial, result)  # type: ignore[no-untyped-call]

    def _take_turns(self, order: VirtualOrder) -> None:
        """Process the reports whose turn has come."""
        while (trial_id := order.next_turn()) is not None:
            trial, result = self._waiting.pop(trial_id)
            super()._on_training_result(trial, result)  # type: ignore[no-untyped-call]
            order.end(trial_id) if trial.is_finished() else order.proceed(trial_id)
        self._blocked_steps = self._blocked_steps + 1 if self._is_blocked() else 0
        if self._blocked_steps > MAX_BLOCKED_STEPS:
            order.abandon()

    def _is_blocked(self) -> bool:
        """Return whether all trials wait: some for their turn, and the others for resources that these hold."""
        started = [
            trial for trial, actor in self._trial_to_actor.items() if self._actor_manager.is_actor_started(actor)
        ]
        return bool(self._waiting) and all(trial.config["trial_id"] in self._waiting for trial in started)

    def _process_trial_failure(self, trial: Any, exception: Any) -> None:
        wait_if_ray_died()
        self._resetting_trials.discard(trial)  # otherwise it waits forever for the dead worker
        if trial.config["trial_id"] in self._waiting and self._order is not None:
            del self._waiting[trial.config["trial_id"]]
            self._order.withdraw(trial.config["trial_id"])
        if exception is not self._last_failure:
            self._last_failure = exception
            if (limit := self._stalled.pop(trial, None)) is not None and isinstance(exception, RayActorError):
                exception = StalledError(error_msg=stall_message(limit))
            if isinstance(exception, GpuMemoryError):
                trial.max_failures += 1  # the retry has more memory, so it does not count
            super()._process_trial_failure(trial, exception)
            if self._order is not None and trial.is_finished():
                self._order.end(trial.config["trial_id"])

    def _requeue_trial(self, trial: Any) -> None:
        # The trial neither runs nor waits at this moment, so its resources can change.
        if isinstance(self._last_failure, GpuMemoryError):
            request = trial.placement_group_factory.required_resources
            trial.update_resources({"cpu": request.get("CPU", 0), "gpu": double_share(request["GPU"])})
        super()._requeue_trial(trial)  # type: ignore[no-untyped-call]


def list_patches(
    limits: StallLimits, watch: StallWatch, order: VirtualOrder | None = None
) -> list[tuple[Any, Any, Any]]:
    """Return (module, original, replacement) for each patch that replaces a name in a module."""
    return [
        (tune_controller, RayActorManager, _Manager),
        (tune_tune, tune_controller.TuneController, partial(_Controller, limits=limits, watch=watch, order=order)),
        *list_lean_patches(),
    ]


@contextmanager
def patch_tune(limits: StallLimits, watch: StallWatch, order: VirtualOrder | None = None) -> Iterator[None]:
    """Apply all patches, for a Tuner that runs in this context; restore Tune at the end.

    Args:
        limits: how long a trial may make no progress.
        watch: measures how long each trial has made no progress.
        order: of the decisions; None: in the order in which reports arrive.
    """
    patches = list_patches(limits, watch, order)
    for module, original, replacement in patches:
        setattr(module, original.__name__, replacement)
    try:
        yield
    finally:
        for module, original, _ in patches:
            setattr(module, original.__name__, original)
