"""Workers that Ray kills: Tune knows a worker that died, but ends the whole study over one that was killed for memory.

Its actor manager takes what is neither the failure of an actor nor that of a task for a fault of its own. Here it is
what it is: one trial has lost its worker.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller

__all__ = ["MemoryLostError", "workers_may_die"]

NAME = "RayActorManager"  # as Tune's controller knows it


class MemoryLostError(RayActorError):
    """A worker was killed because its machine ran out of memory."""


class _Manager(RayActorManager):
    """Tune's actor manager, to which every failure of Ray's is one of an actor."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            lost = MemoryLostError if isinstance(exception, OutOfMemoryError) else RayActorError
            exception = lost(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


@contextmanager
def workers_may_die() -> Iterator[None]:
    """Within: a Tuner outlives whatever Ray does to its workers."""
    setattr(tune_controller, NAME, _Manager)
    try:
        yield
    finally:
        setattr(tune_controller, NAME, RayActorManager)
