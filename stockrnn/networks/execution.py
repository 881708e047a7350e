"""Choose how the networks of a trial are computed: all members at once, or one after another.

This module does not import PyTorch, so that the cost of a trial can be predicted without it.
"""

from typing import Literal

from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig

__all__ = ["ExecutionMode", "choose_mode"]

ExecutionMode = Literal["batched", "looped"]


def choose_mode(
    config: NetworkConfig, sequence_length: int, batch_size: int, members: int, device: str = "cpu"
) -> ExecutionMode:
    """Return the faster mode for a shape.

    A fixed rule decides, not a measurement, so that results are reproducible. On the CPU each architecture has its
    rule, taken from `python -m benchmarks.lockstep --modes`. On a GPU the mode is always batched.

    Args:
        device: type of the device, `cpu` or `cuda`.
    """
    architecture = ARCHITECTURES[config.architecture]
    if device == "cpu" and not architecture.is_faster_batched(sequence_length, batch_size, members, config.hidden_size):
        return "looped"
    return "batched"
