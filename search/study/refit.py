"""Retrain the finalists in parallel on Ray workers, each with the resources of its trial."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import ray
from ray._private.state import state

from search.cluster.ray_watch import wait_if_ray_died
from search.cost.stalls import Job, StallLimits, StallWatch, stall_message
from search.space.resources import Demand, double_share
from search.study.context import StudyContext
from search.study.finalists import Finalist, RefittedFinalist, refit, remove_diverged
from search.tune.trial import GpuMemoryError, error_message

__all__ = ["refit_finalists"]

POLL_SECONDS = 0.5  # between two looks at the workers


class _Worker:
    """An actor that calls one function: Ray can kill it at any time, and reports when it has started."""

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)


class _Task:
    """A finalist's training on Ray.

    Args:
        finalist: the configuration.
        demand: its resources.
        shared: references to the study's space, prices and splits.
        validation: the forecasts of its trial on the validation days of all folds, (days,).

    Attributes:
        worker, result: the actor, and the reference to its result.
        stalled: the time limit for which its worker was killed, in seconds; None: it was not.
        failures: number of workers that it has lost.
    """

    def __init__(
        self, finalist: Finalist, demand: Demand, shared: Sequence[ray.ObjectRef], validation: np.ndarray
    ) -> None:
        self.finalist, self._shared, self._validation = finalist, shared, validation
        self._cpu, self._share = demand.cpu, float(demand.gpu)
        self._placed, self.failures = False, 0
        self.stalled: float | None = None
        self.worker: Any = None
        self.result: Any = None
        self.start()

    def start(self) -> None:
        """Start the training, or start it again on another worker."""
        self.worker = ray.remote(num_cpus=self._cpu, num_gpus=self._share)(_Worker).remote()
        self.result = self.worker.call.remote(
            refit, self.finalist, *self._shared, self._validation, threads=max(1, int(self._cpu)), share=self._share
        )
        self._placed, self.stalled = False, None

    def enlarge_share(self) -> None:
        """Start again with a larger share of a GPU."""
        ray.kill(self.worker)
        self._share = double_share(self._share)
        self.start()

    def restart(self, max_failures: int) -> bool:
        """Start again after the worker was lost; return False if that has happened too often."""
        self.failures += 1
        if self.failures > max_failures:
            return False
        self.start()
        return True

    def kill_stalled(self, limit: float) -> None:
        """Kill the worker, which has exceeded a time limit in seconds; Ray ends its process after a few seconds."""
        self.stalled = limit
        ray.kill(self.worker)

    def is_placed(self) -> bool:
        """Return whether the worker has its resources and a process, which may still be starting."""
        self._placed = self._placed or bool(state.actor_table(self.worker._actor_id.hex()).get("Pid"))
        return self._placed

    def loss_reason(self, error: Exception) -> str:
        """Return why the worker was lost."""
        if self.stalled is not None:
            return stall_message(self.stalled)
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            return "the machine ran out of memory and its worker was killed"
        return "its worker died"


def refit_finalists(
    context: StudyContext, finalists: Sequence[Finalist], demand: Callable[[Mapping[str, Any]], Demand],
    validation: Mapping[str, np.ndarray],
) -> tuple[list[RefittedFinalist], dict[str, str]]:  # fmt: skip
    """Train the finalists on everything before the test block.

    A finalist whose share of a GPU is too small starts again with a larger one. A finalist whose worker dies or makes
    no progress starts again, `search.max_failures` times.

    Args:
        context: the study.
        finalists: best first.
        demand: returns the resources of a point's trial.
        validation: the forecasts of each trial on the validation days of all folds, (days,), by trial ID.

    Returns:
        The trained finalists, and the reasons why others failed by trial ID. Both are empty if the study was stopped.
    """
    wait_if_ray_died()  # without an object store, Ray's core would end this process
    shared = ray.put(context.space), ray.put(context.prices), ray.put(context.splits)

    limits, watch = StallLimits(context.space, context.splits), StallWatch()
    tasks = [_Task(finalist, demand(finalist.point), shared, validation[finalist.trial_id]) for finalist in finalists]
    done: list[RefittedFinalist] = []
    failed: dict[str, str] = {}
    while tasks:
        context.progress.refresh()
        if context.stop.requested:
            for task in tasks:
                ray.kill(task.worker)
            return [], {}
        wait_if_ray_died()
        ready, _ = ray.wait([task.result for task in tasks], num_returns=len(tasks), timeout=POLL_SECONDS)
        for task in [task for task in tasks if task.result in ready]:
            name = task.finalist.trial_id
            try:
                done.append(ray.get(task.result))
            except GpuMemoryError:
                task.enlarge_share()
                continue
            except ray.exceptions.RayTaskError as error:  # an error of its own
                failed[name] = error_message(error.cause)
            except ray.exceptions.RayError as error:
                wait_if_ray_died()
                reason = task.loss_reason(error)
                if task.restart(context.space.search.max_failures):
                    context.progress.print_note(f"finalist {name}: {reason}; it is trained again")
                    continue
                times = f" ({task.failures} times)" if task.failures > 1 else ""
                failed[name] = reason + times
            ray.kill(task.worker)
            tasks.remove(task)
        if watch.step():
            _kill_stalled(tasks, limits, watch)
    return remove_diverged(done, failed)


def _kill_stalled(tasks: Sequence[_Task], limits: StallLimits, watch: StallWatch) -> None:
    """Kill the workers that have exceeded their time limits."""
    placed = {task.finalist.trial_id: task for task in tasks if task.is_placed()}
    jobs = {
        name: Job(
            worker=task.worker._actor_id, limits=partial(limits.finalist, task.finalist.point, task.finalist.epochs)
        )
        for name, task in placed.items()
    }
    for name, limit in watch.find_stalled(jobs).items():
        placed[name].kill_stalled(limit)
