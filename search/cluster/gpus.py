"""How much memory the GPUs of a cluster have: what `gpu: auto` measures shares by."""

from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.space.sections import AUTO, MIN_SHARE
from search.space.space import Space

__all__ = ["BusyError", "query_gpu_memory", "smallest_gpu_memory"]

WITHIN = 20.0  # seconds, for a worker to start and import PyTorch


class BusyError(RuntimeError):
    """There are GPUs, and none has room for a question."""


def query_gpu_memory() -> int | None:
    """Bytes of memory of the smallest GPU that PyTorch can use; None where it can use none.

    Every machine that Ray counts GPUs on is asked.

    Raises:
        BusyError: none answered.
    """
    machines = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    asked = [_asked(node["NodeID"]) for node in machines]
    if not asked:
        return None
    answered, late = ray.wait(asked, num_returns=len(asked), timeout=WITHIN)
    for task in late:
        ray.cancel(task, force=True)
    if not answered:
        raise BusyError(f"none of {len(asked)} machines with GPUs answered within {WITHIN:g} s")
    return min((memory for memory in ray.get(answered) if memory), default=None)


def smallest_gpu_memory(space: Space, say: Callable[[str], None]) -> int | None:
    """What `gpu: auto` is measured by: bytes of the smallest GPU, or None; says which, where it matters.

    Raises:
        SpaceError: there are GPUs, and others use them all.
    """
    automatic = [kind for kind in space.resource_rules.demands if kind.gpu == AUTO]
    if not automatic:
        return None
    try:
        memory = query_gpu_memory()
    except BusyError as error:
        raise space.error(
            automatic[0].gpu_key, f"auto: {error}; a share is measured by a GPU; wait, or write a number"
        ) from None
    found = f"a share of GPUs of {memory / 1e9:.1f} GB" if memory else "the CPU, since PyTorch finds no GPU"
    say(f"resources.gpu: auto is {found}")
    return memory


def _asked(node: str) -> Any:
    there: Any = NodeAffinitySchedulingStrategy(node, soft=False)
    # Ray ends the process of a task that is defined with a GPU: nothing of it stays on the GPU.
    task = ray.remote(num_cpus=0, num_gpus=MIN_SHARE, scheduling_strategy=there, max_retries=0)(_memory)
    return task.remote()


def _memory() -> int | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return min(torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count()))
