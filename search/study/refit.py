"""Retrain the finalists in parallel on Ray workers, each with the resources of its trial."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(kw_only=True)
class _Task:
    """A finalist's training on Ray.

    Attributes:
        share: of a GPU.
        worker, result: the actor, and the reference to its result.
        placed: whether the actor has its resources and a process, which may still be starting.
        stalled: the time limit for which its worker was killed, in seconds; None: it was not.
        failures: number of workers that it has lost.
    """

    finalist: Finalist
    share: float
    worker: Any = None
    result: Any = None
    placed: bool = False
    stalled: float | None = None
    failures: int = 0


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

    def start(task: _Task) -> None:
        finalist = task.finalist
        cpu = demand(finalist.point).cpu
        task.worker = ray.remote(num_cpus=cpu, num_gpus=task.share)(_Worker).remote()
        task.result = task.worker.call.remote(
            refit, finalist, *shared, validation[finalist.trial_id], threads=max(1, int(cpu)), share=task.share
        )
        task.placed, task.stalled = False, None

    limits, watch = StallLimits(context.space, context.splits), StallWatch()
    tasks = [_Task(finalist=finalist, share=float(demand(finalist.point).gpu)) for finalist in finalists]
    for task in tasks:
        start(task)
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
                ray.kill(task.worker)
                task.share = double_share(task.share)
                start(task)
                continue
            except ray.exceptions.RayTaskError as error:  # an error of its own
                failed[name] = error_message(error.cause)
            except ray.exceptions.RayError as error:
                wait_if_ray_died()
                task.failures += 1
                if task.failures <= context.space.search.max_failures:
                    context.progress.print_note(f"finalist {name}: {_reason(task, error)}; it is trained again")
                    start(task)
                    continue
                times = f" ({task.failures} times)" if task.failures > 1 else ""
                failed[name] = _reason(task, error) + times
            ray.kill(task.worker)
            tasks.remove(task)
        if watch.step():
            _kill_stalled(tasks, limits, watch)
    return remove_diverged(done, failed)


def _kill_stalled(tasks: Sequence[_Task], limits: StallLimits, watch: StallWatch) -> None:
    """Kill the workers that have exceeded their time limits; Ray ends the processes after a few seconds."""
    for task in tasks:
        task.placed = task.placed or bool(state.actor_table(task.worker._actor_id.hex()).get("Pid"))
    placed = {task.finalist.trial_id: task for task in tasks if task.placed}
    jobs = {
        name: Job(
            worker=task.worker._actor_id, limits=partial(limits.finalist, task.finalist.point, task.finalist.epochs)
        )
        for name, task in placed.items()
    }
    for name, limit in watch.find_stalled(jobs).items():
        placed[name].stalled = limit
        ray.kill(placed[name].worker)


def _reason(task: _Task, error: Exception) -> str:
    """Return why a task lost its worker."""
    if task.stalled is not None:
        return stall_message(task.stalled)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "the machine ran out of memory and its worker was killed"
    return "its worker died"
