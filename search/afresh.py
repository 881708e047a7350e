"""The finalists' trainings on Ray, side by side: each asks for what its trial asked for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ray

from search.finalists import Finalist, Refitted, refit
from search.shares import Demand, larger
from search.space import Space
from search.trial import GpuMemoryError, lost_for_memory
from stockrnn.folds import WalkForward
from stockrnn.memory import claim_gpu
from stockrnn.series import Prices

__all__ = ["train_afresh"]

LOOK = 0.5  # seconds between two looks


def train_afresh(
    finalists: Sequence[Finalist], demand: Callable[[Mapping[str, Any]], Demand], validation: Mapping[str, np.ndarray],
    space: Space, prices: Prices, splits: WalkForward, *, go_on: Callable[[], bool],
) -> tuple[list[Refitted], dict[str, str]]:  # fmt: skip
    """Train the finalists on everything before the test block.

    One whose share of a GPU is too small begins again with a larger one.

    Args:
        demand: what the trial of a point asks for.
        validation: what each trial forecast on the validation days of all folds, by its id.
        go_on: asked again and again while they train; False breaks off.

    Returns:
        The finalists, and why some could not be trained, by their trials' ids; neither where it was broken off.
    """
    shared = ray.put(space), ray.put(prices), ray.put(splits)

    def begin(finalist: Finalist, share: float) -> Any:
        cpu = demand(finalist.point).cpu
        # Ray ends the process of a task that is defined with a GPU, and keeps the others warm.
        task = ray.remote(num_cpus=cpu, num_gpus=share)(_refit)
        return task.remote(finalist, *shared, validation[finalist.trial_id], cpu, share)

    waiting = {}
    for finalist in finalists:
        share = float(demand(finalist.point).gpu)
        waiting[begin(finalist, share)] = finalist, share
    done: dict[str, Refitted] = {}
    failed: dict[str, str] = {}
    while waiting:
        if not go_on():
            return [], {}
        ended, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=LOOK)
        for task in ended:
            finalist, share = waiting.pop(task)
            try:
                done[finalist.trial_id] = ray.get(task)
            except GpuMemoryError:
                waiting[begin(finalist, larger(share))] = finalist, larger(share)
            except ray.exceptions.RayError as error:  # its own: the others go on
                cause = getattr(error, "cause", None) or error
                failed[finalist.trial_id] = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
    for name, one in list(done.items()):
        if not np.isfinite(one.forecasts).all():
            failed[name] = "diverged on the longer training part"
            del done[name]
    return [done[finalist.trial_id] for finalist in finalists if finalist.trial_id in done], failed


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
