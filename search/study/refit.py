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
from search.space.space import Space
from search.study.finalists import Finalist, Refitted, refit
from search.tune.trainable import GpuMemoryError, lost_for_memory
from stockrnn.dataset.walk_forward import WalkForward
from stockrnn.prices.series import Prices
from stockrnn.training.memory import claim_gpu

__all__ = ["train_afresh"]

LOOK = 0.5  # seconds between two looks


class _Worker:
    """Calls a function on a worker of its own, which Ray can kill whatever it does, and whose start Ray knows."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


@dataclass(kw_only=True)
class _Task:
    """A finalist's training on Ray.

    Attributes:
        share: of a GPU.
        worker, result: the actor, and what it will return.
        stalled: the limit that it exceeded, for which its worker was killed.
        failures: how often its worker was lost.
    """

    finalist: Finalist
    share: float
    worker: Any = None
    result: Any = None
    placed: bool = False
    stalled: float | None = None
    failures: int = 0

    def has_worker(self) -> bool:
        """Whether it has its resources and a worker, which need not have started; else it waits for them."""
        self.placed = self.placed or bool(state.actor_table(self.worker._actor_id.hex()).get("Pid"))
        return self.placed


def train_afresh(
    finalists: Sequence[Finalist], demand: Callable[[Mapping[str, Any]], Demand], validation: Mapping[str, np.ndarray],
    space: Space, prices: Prices, splits: WalkForward, *, go_on: Callable[[], bool], say: Callable[[str], None],
) -> tuple[list[Refitted], dict[str, str]]:  # fmt: skip
    """Train the finalists on everything before the test block.

    One whose share of a GPU is too small begins again with a larger one. One whose worker dies or makes no progress
    begins again, `search.max_failures` times.

    Args:
        demand: what the trial of a point asks for.
        validation: what each trial forecast on the validation days of all folds, by its id.
        go_on: asked again and again while they train; False breaks off.
        say: shows a line to the user.

    Returns:
        The finalists, and why some could not be trained, by their trials' ids; neither where it was broken off.
    """
    wait_if_ray_died()  # Ray's core ends this process where it finds no object store
    shared = ray.put(space), ray.put(prices), ray.put(splits)

    def begin(task: _Task) -> None:
        finalist = task.finalist
        cpu = demand(finalist.point).cpu
        task.worker = ray.remote(num_cpus=cpu, num_gpus=task.share)(_Worker).remote()
        task.result = task.worker.call.remote(_refit, finalist, *shared, validation[finalist.trial_id], cpu, task.share)
        task.placed, task.stalled = False, None

    limits, watch = StallLimits(space, splits), StallWatch()
    tasks = [_Task(finalist=finalist, share=float(demand(finalist.point).gpu)) for finalist in finalists]
    for task in tasks:
        begin(task)
    done: dict[str, Refitted] = {}
    failed: dict[str, str] = {}
    while tasks:
        if not go_on():
            for task in tasks:
                ray.kill(task.worker)
            return [], {}
        wait_if_ray_died()
        ready, _ = ray.wait([task.result for task in tasks], num_returns=len(tasks), timeout=LOOK)
        for task in [task for task in tasks if task.result in ready]:
            name = task.finalist.trial_id
            try:
                done[name] = ray.get(task.result)
            except GpuMemoryError:
                ray.kill(task.worker)
                task.share = double_share(task.share)
                begin(task)
            except ray.exceptions.RayTaskError as error:  # its own: the others go on
                cause = error.cause
                failed[name] = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
            except ray.exceptions.RayError as error:
                wait_if_ray_died()
                task.failures += 1
                if task.failures <= space.search.max_failures:
                    say(f"finalist {name}: {_lost(task, error)}; it is trained again")
                    begin(task)
                else:
                    times = f" ({task.failures} times)" if task.failures > 1 else ""
                    failed[name] = _lost(task, error) + times
            if name in done or name in failed:
                ray.kill(task.worker)
                tasks.remove(task)
        if watch.step():
            _kill_stalled(tasks, limits, watch)
    for name, one in list(done.items()):
        if not np.isfinite(one.forecasts).all():
            failed[name] = "diverged on the longer training part"
            del done[name]
    return [done[finalist.trial_id] for finalist in finalists if finalist.trial_id in done], failed


def _kill_stalled(tasks: Sequence[_Task], limits: StallLimits, watch: StallWatch) -> None:
    """Kill the workers that take longer than they may; their machines end the processes after a few seconds."""
    placed = {task.finalist.trial_id: task for task in tasks if task.has_worker()}
    jobs = {
        name: Job(
            worker=task.worker._actor_id, limits=partial(limits.finalist, task.finalist.point, task.finalist.epochs)
        )
        for name, task in placed.items()
    }
    for name, limit in watch.find_stalled(jobs).items():
        placed[name].stalled = limit
        ray.kill(placed[name].worker)


def _lost(task: _Task, error: Exception) -> str:
    """Return why a task lost its worker."""
    if task.stalled is not None:
        return stall_message(task.stalled)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "the machine ran out of memory and its worker was killed"
    return "its worker died"


def _refit(
    finalist: Finalist, space: Space, prices: Prices, splits: WalkForward, validation: np.ndarray, cpu: float,
    share: float,
) -> Refitted:  # fmt: skip
    import torch

    torch.set_num_threads(max(1, int(cpu)))
    try:
        return refit(finalist, space, prices, splits, validation, device=claim_gpu(share))
    except RuntimeError as error:
        if share < 1 and lost_for_memory(error):
            raise GpuMemoryError(f"{error}") from None
        raise
