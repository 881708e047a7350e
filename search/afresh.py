"""Retrain the finalists in parallel Ray tasks, each with the resources of its trial."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import ray

from search.finalists import Finalist, Refitted, refit
from search.ray_watch import outlive_ray
from search.shares import Demand, larger
from search.space import Space
from search.stalls import Job, StallLimits, StallWatch, no_progress
from search.trial import GpuMemoryError, lost_for_memory
from stockrnn.folds import WalkForward
from stockrnn.memory import claim
from stockrnn.series import Prices

__all__ = ["train_afresh"]

LOOK = 0.5  # seconds between two looks


@dataclass(kw_only=True)
class _Task:
    """A finalist's training on Ray.

    Attributes:
        share: of a GPU.
        reports: what the task yields: None when it has started, then the finalist.
        stalled: the limit that it exceeded, for which it was cancelled.
        failures: how often its worker was lost.
    """

    finalist: Finalist
    share: float
    reports: Any = None
    started: bool = False
    stalled: float | None = None
    failures: int = 0


def train_afresh(
    finalists: Sequence[Finalist], demand: Callable[[Mapping[str, Any]], Demand], validation: Mapping[str, np.ndarray],
    space: Space, prices: Prices, walk: WalkForward, *, go_on: Callable[[], bool], say: Callable[[str], None],
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
    shared = ray.put(space), ray.put(prices), ray.put(walk)

    def begin(task: _Task) -> None:
        finalist = task.finalist
        cpu = demand(finalist.point).cpu
        # Ray ends the process of a task that is defined with a GPU, and keeps the others warm.
        remote = ray.remote(num_cpus=cpu, num_gpus=task.share, max_retries=0)(_refit)
        task.reports = remote.remote(finalist, *shared, validation[finalist.trial_id], cpu, task.share)
        task.started, task.stalled = False, None

    limits, watch = StallLimits(space, walk), StallWatch()
    tasks = [_Task(finalist=finalist, share=float(demand(finalist.point).gpu)) for finalist in finalists]
    for task in tasks:
        begin(task)
    done: dict[str, Refitted] = {}
    failed: dict[str, str] = {}
    while tasks:
        if not go_on():
            return [], {}
        ready, _ = ray.wait([task.reports for task in tasks], num_returns=len(tasks), timeout=LOOK)
        for task in [task for task in tasks if task.reports in ready]:
            name = task.finalist.trial_id
            try:
                refitted = ray.get(next(task.reports))
                if refitted is None:
                    task.started = True
                else:
                    done[name] = refitted
            except GpuMemoryError:
                task.share = larger(task.share)
                begin(task)
            except ray.exceptions.RayTaskError as error:  # its own: the others go on
                cause = error.cause
                failed[name] = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
            except ray.exceptions.RayError as error:
                outlive_ray()
                task.failures += 1
                if task.failures <= space.search.max_failures:
                    say(f"finalist {name}: {_lost(task, error)}; it is trained again")
                    begin(task)
                else:
                    times = f" ({task.failures} times)" if task.failures > 1 else ""
                    failed[name] = _lost(task, error) + times
        tasks = [task for task in tasks if task.finalist.trial_id not in done.keys() | failed.keys()]
        if watch.step():
            _cancel_stalled(tasks, limits, watch)
    for name, one in list(done.items()):
        if not np.isfinite(one.forecasts).all():
            failed[name] = "diverged on the longer training part"
            del done[name]
    return [done[finalist.trial_id] for finalist in finalists if finalist.trial_id in done], failed


def _cancel_stalled(tasks: Sequence[_Task], limits: StallLimits, watch: StallWatch) -> None:
    """Cancel the tasks that take longer than they may; their machine ends the processes after a few seconds."""
    started = {task.finalist.trial_id: task for task in tasks if task.started}
    jobs = {
        name: Job(worker=task.reports, limits=partial(limits.finalist, task.finalist)) for name, task in started.items()
    }
    for name, limit in watch.stalled(jobs).items():
        started[name].stalled = limit
        ray.cancel(started[name].reports, force=True)


def _lost(task: _Task, error: Exception) -> str:
    """Return why a task lost its worker."""
    if task.stalled is not None:
        return no_progress(task.stalled)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "the machine ran out of memory and its worker was killed"
    return "its worker died"


def _refit(
    finalist: Finalist, space: Space, prices: Prices, walk: WalkForward, validation: np.ndarray, cpu: float,
    share: float,
) -> Iterator[Refitted | None]:  # fmt: skip
    yield None  # it has its resources and runs

    import torch

    torch.set_num_threads(max(1, int(cpu)))
    try:
        yield refit(finalist, space, prices, walk, validation, device=claim(share))
    except RuntimeError as error:
        if share < 1 and lost_for_memory(error):
            raise GpuMemoryError(f"{error}") from None
        raise
