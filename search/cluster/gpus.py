"""Read how much memory the GPUs of a cluster have, for `gpu: auto`."""

from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.space.sections import AUTO, MIN_SHARE
from search.space.space import Space

__all__ = ["BusyError", "query_gpu_memory", "smallest_gpu_memory"]

QUERY_TIMEOUT = 20.0  # seconds, in which a worker starts and imports PyTorch


class BusyError(RuntimeError):
    """The GPUs are all in use, so their memory cannot be read."""


def query_gpu_memory() -> int | None:
    """Return the bytes of memory of the smallest GPU that PyTorch can use on any node; None if there is none.

    Raises:
        BusyError: there are GPUs, but no node answered.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    tasks = [_start_query(node["NodeID"]) for node in nodes]
    if not tasks:
        return None
    answered, late = ray.wait(tasks, num_returns=len(tasks), timeout=QUERY_TIMEOUT)
    for task in late:
        ray.cancel(task, force=True)
    if not answered:
        raise BusyError(f"none of {len(tasks)} machines with GPUs answered within {QUERY_TIMEOUT:g} s")
    return min((memory for memory in ray.get(answered) if memory), default=None)


def smallest_gpu_memory(space: Space, say: Callable[[str], None]) -> int | None:
    """Return the bytes of memory of the smallest GPU if the space uses `gpu: auto`; None without `auto` or a GPU.

    Args:
        say: is called with the meaning of `auto` on this cluster.

    Raises:
        SpaceError: there are GPUs, but other programs use all of them.
    """
    automatic = [kind for kind in space.resource_rules.demands if kind.gpu == AUTO]
    if not automatic:
        return None
    try:
        memory = query_gpu_memory()
    except BusyError as error:
        raise space.error(
            automatic[0].gpu_key, f"auto: {error}; auto needs the memory of a GPU; wait, or write a number"
        ) from None
    meaning = f"a fraction of a GPU with {memory / 1e9:.1f} GB" if memory else "the CPU, because PyTorch finds no GPU"
    say(f"resources.gpu: auto is {meaning}")
    return memory


def _start_query(node: str) -> Any:
    on_node: Any = NodeAffinitySchedulingStrategy(node, soft=False)
    # Ray ends the process of a task that uses a GPU, so nothing remains in the GPU's memory.
    task = ray.remote(num_cpus=0, num_gpus=MIN_SHARE, scheduling_strategy=on_node, max_retries=0)(_read_gpu_memory)
    return task.remote()


def _read_gpu_memory() -> int | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return min(torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count()))
