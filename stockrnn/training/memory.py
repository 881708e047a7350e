"""Estimate the GPU memory of a training from its shape, and limit a process to a share of a GPU.

The formulas count bytes for `dtype` float32, with M members of P parameters, of which g share one product:

    fixed      = 4 x (6 M P + series)           parameters, gradients, two moments, two optimizer temporaries
    batch      = 4 x (2 M B T F + masks)        windows, copied once for the floor; dropout masks
    activation = 4 x g B (T + 1) x layers       forward and backward pass of the g members
    training   = fixed + max of (batch + activation) over a training step and a forecast
    on a GPU   = training + K (batch + activation of a step) + context

Here B is the number of windows of T sessions and F inputs, and K the number of steps of different shapes, each captured
as a CUDA graph with its own memory pool (`cuda_graphs`). `stockrnn.networks.cells` counts the tensors that a layer's
forward and backward passes store, in units of (T + 1) x B x hidden. The context is CUDA's kernels and libraries, about
0.5 GB per process outside PyTorch's allocator.

Only `claim_gpu` imports PyTorch, so that machines without it can estimate a trial's memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stockrnn.dataset.config import WindowConfig
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.heads import HEADS
from stockrnn.networks.parameter_shapes import group_size, parameter_shapes, state_width
from stockrnn.training.config import TrainingConfig

__all__ = ["CONTEXT_BYTES", "GpuError", "TrainingShape", "claim_gpu", "gpu_bytes", "training_bytes"]

LOOPED_FACTOR = 3  # PyTorch's layers store up to this many times the tensors of the batched layers, per member
BYTES_PER_NUMBER = 4
CONTEXT_BYTES = 512 * 2**20  # per process, outside PyTorch's allocator
GRAPH_BYTES = 64 * 2**20  # per captured graph: cuBLAS' workspace and partly filled blocks of 20 MB
FRAGMENTATION = 1.2  # allocated over requested memory, because blocks have fixed sizes


class GpuError(Exception):
    """A process has a share of a GPU that it cannot use."""


@dataclass(frozen=True, kw_only=True)
class TrainingShape:
    """The part of a training's size that is not in its configuration.

    Attributes:
        train: number of training windows of each fold.
        days: number of sessions forecast after an epoch, maximum over the folds.
        seeds: networks per fold.
        sessions: length of the series.
    """

    train: tuple[int, ...]
    days: int
    seeds: int
    sessions: int

    @property
    def members(self) -> int:
        """Total number of networks."""
        return len(self.train) * self.seeds


def training_bytes(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, shape: TrainingShape, *,
    device: str = "cuda", batched: bool = True,
) -> int:  # fmt: skip
    """Return an upper bound of the bytes of all tensors of a training, without CUDA graphs and context."""
    numbers = _fixed(window, network, shape) + max(_steps(window, network, training, shape, device, batched))
    return round(BYTES_PER_NUMBER * numbers)


def gpu_bytes(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, shape: TrainingShape, *,
    batched: bool = True,
) -> int:  # fmt: skip
    """Return an upper bound of the GPU bytes of a training process, including CUDA graphs and context."""
    step, _ = _steps(window, network, training, shape, "cuda", batched)
    # Only steps of full batches are captured; their number of members takes at most one value per fold length.
    graphs = sum(size >= training.batch_size for size in set(shape.train)) if batched else 0
    tensors = training_bytes(window, network, training, shape, batched=batched) + graphs * BYTES_PER_NUMBER * step
    return round(FRAGMENTATION * tensors) + graphs * GRAPH_BYTES + CONTEXT_BYTES


def claim_gpu(share: float) -> str:
    """Limit this process to a share of a GPU's memory and return the device to train on.

    The share includes the CUDA context, so PyTorch's limit is smaller by its size. A later call changes the share. A
    process with a whole GPU has no limit.

    Args:
        share: of one GPU, 0 to 1; 0 for the CPU.

    Returns:
        `cuda` or `cpu`.

    Raises:
        GpuError: PyTorch finds no GPU, or the share is smaller than the context.
    """
    if not share:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"its build {torch.__version__} is for the CPU only" if built is None else f"its CUDA {built} finds none"
        raise GpuError(f"a share of {share:g} of a GPU was given, but PyTorch finds no GPU: {why}")
    total = torch.cuda.get_device_properties(0).total_memory
    limit = 1.0 if share >= 1 else share - CONTEXT_BYTES / total
    if limit <= 0:
        raise GpuError(
            f"a share of {share:g} of a GPU of {total / 1e9:.1f} GB is smaller than CUDA's own memory of "
            f"{CONTEXT_BYTES / 1e9:.1f} GB"
        )
    torch.cuda.set_per_process_memory_fraction(limit, 0)
    return "cuda"


def _fixed(window: WindowConfig, network: NetworkConfig, shape: TrainingShape) -> float:
    """Return the count of numbers that stay in memory during the whole training."""
    inputs, folds = len(window.inputs), len(shape.train)
    copies = 1 if window.scaling == "relative" else folds
    series = shape.sessions * (2 * inputs * (copies + 1) + 2 * folds)  # computed in double precision
    origins = 2 * shape.members * (max(shape.train) + shape.days) * 2  # integers of 8 bytes, of two epochs
    return 6 * shape.members * _parameters(window, network) + series + origins


def _parameters(window: WindowConfig, network: NetworkConfig) -> int:
    """Return the number of parameters of a member."""
    return sum(map(math.prod, parameter_shapes(network, len(window.inputs), window.sequence_length).values()))


def _steps(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, shape: TrainingShape, device: str,
    batched: bool,
) -> Sequence[float]:  # fmt: skip
    """Return the count of numbers that a training step and a forecast of all days allocate."""
    sequence, states = window.sequence_length, state_width(network)
    counts = []
    for batch, masked in ((min(training.batch_size, max(shape.train)), True), (shape.days, False)):
        group = min(shape.members, group_size(network, batch, sequence, device)) if batched else 1
        activation = group * batch * (sequence + 1) * _layers(window, network, device, batched)
        gradients = 4 * group * _parameters(window, network)  # including doubled and transposed weights
        masks = (
            shape.members * (network.num_layers - 1) * sequence * states * batch if masked and network.dropout else 0
        )
        windows = 2 * shape.members * batch * (sequence + 1) * (len(window.inputs) + 1)
        counts.append(activation + gradients + 1.5 * masks + windows)
    return counts


def _layers(window: WindowConfig, network: NetworkConfig, device: str, batched: bool) -> float:
    """Return the count of numbers that layers and head store at once for one session of a window."""
    states, count, architecture = state_width(network), network.num_layers, ARCHITECTURES[network.architecture]
    below = max(len(window.inputs), states)
    forward = architecture.forward_tensors * states * count * (1 if batched else LOOPED_FACTOR)
    # On the CPU each layer keeps the buffers of its backward pass; on a GPU they are freed after the pass.
    backward = (architecture.backward_tensors * states + below) * (count if device == "cpu" else 1)
    reversed_states = count * (2 * states + below) if network.bidirectional else 0
    dropout = 3 * states * (count - 1) if network.dropout else 0
    return forward + backward + reversed_states + dropout + HEADS[network.head].peak_tensors * states
