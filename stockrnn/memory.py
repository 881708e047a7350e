"""The memory of a GPU that a training needs, from its shape alone; and a process's share of that memory.

Numbers are of `dtype` float32. A training holds, in bytes, with M members of P parameters in G groups' products:

    fixed      = 4 x (6 M P + series)           parameters, gradients, two moments, two temporaries of the optimiser
    batch      = 4 x (2 M B T F + masks)        windows, once more while a floor is applied; dropout's masks
    activation = 4 x g B (T + 1) x layers'      of the g members that are one product, forwards and backwards
    training   = fixed + max of (batch + activation) over a step and a forecast
    on a GPU   = training + K (batch + activation of a step) + context

with B windows of T sessions and F inputs, and K the steps of different shapes that are captured as CUDA graphs, each
with a memory pool of its own (`stockrnn.graphs`). What a layer keeps for its backward pass, and what that pass takes,
is counted in `stockrnn.architectures`, in states of (T + 1) x B x hidden: kept and spent. The context is CUDA's own:
kernels and libraries, about 0.5 GB a process and outside PyTorch's allocator.

PyTorch is imported by `claim` alone: what a trial needs is known on machines that do without.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stockrnn.architectures import ARCHITECTURES
from stockrnn.configuration import NetworkConfig, TrainingConfig, WindowConfig
from stockrnn.heads import HEADS
from stockrnn.weights import GROUP_STATES, shapes, width

__all__ = ["CONTEXT", "GpuError", "Shape", "claim", "gpu_bytes", "training_bytes"]

LOOPED = 3  # PyTorch's own layers keep up to this many times what ours do, of one member at a time
NUMBER = 4  # bytes
CONTEXT = 512 * 2**20  # bytes a process, outside PyTorch's allocator
GRAPH = 64 * 2**20  # bytes a captured graph: cuBLAS' workspace, and blocks of 20 MB that are not full
LOST = 1.2  # of what is asked for, to blocks of fixed sizes


class GpuError(Exception):
    """A share of a GPU was given, and there is none to be used."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is trained on: the part of a training's size that its configuration does not tell.

    Attributes:
        train: training windows of each fold.
        days: sessions that are forecast after an epoch, of the fold that has most.
        seeds: networks of each fold.
        sessions: of the whole series.
    """

    train: tuple[int, ...]
    days: int
    seeds: int
    sessions: int

    @property
    def members(self) -> int:
        """Networks in all."""
        return len(self.train) * self.seeds


def training_bytes(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, shape: Shape, *,
    device: str = "cuda", batched: bool = True,
) -> int:  # fmt: skip
    """An upper bound of the bytes that tensors of a training take at any moment, without graphs and context."""
    numbers = _fixed(window, network, shape) + max(_steps(window, network, training, shape, device, batched))
    return round(NUMBER * numbers)


def gpu_bytes(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, shape: Shape, *, batched: bool = True
) -> int:
    """An upper bound of the bytes of a GPU that the process of a training takes, context and all."""
    step, _ = _steps(window, network, training, shape, "cuda", batched)
    # A step is captured if all its members have whole batches: at most one number of members for each fold's length.
    graphs = sum(size >= training.batch_size for size in set(shape.train)) if batched else 0
    tensors = training_bytes(window, network, training, shape, batched=batched) + graphs * NUMBER * step
    return round(LOST * tensors) + graphs * GRAPH + CONTEXT


def claim(share: float) -> str:
    """Take a share of a GPU for this process: no more of its memory can be allocated from here on.

    The context lies beside what PyTorch allocates, so that much of the share is left to it. A later call sets another
    share. A whole GPU is nobody else's, and has no limit.

    Args:
        share: of one GPU, 0 to 1; 0 is none.

    Returns:
        The device to train on: `cuda` or `cpu`.

    Raises:
        GpuError: PyTorch sees no GPU, or the share does not hold the context.
    """
    if not share:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"its build {torch.__version__} is for the CPU only" if built is None else f"its CUDA {built} finds none"
        raise GpuError(f"a share of {share:g} of a GPU was given, but PyTorch sees none here: {why}")
    total = torch.cuda.get_device_properties(0).total_memory
    limit = 1.0 if share >= 1 else share - CONTEXT / total
    if limit <= 0:
        raise GpuError(
            f"a share of {share:g} of a GPU of {total / 1e9:.1f} GB holds not even CUDA's own {CONTEXT / 1e9:.1f} GB"
        )
    torch.cuda.set_per_process_memory_fraction(limit, 0)
    return "cuda"


def _fixed(window: WindowConfig, network: NetworkConfig, shape: Shape) -> float:
    """Numbers that are there all the time."""
    inputs, folds = len(window.inputs), len(shape.train)
    copies = 1 if window.scaling == "relative" else folds
    series = shape.sessions * (2 * inputs * (copies + 1) + 2 * folds)  # made in double precision
    origins = 2 * shape.members * (max(shape.train) + shape.days) * 2  # whole numbers of 8 bytes, old ones and new
    return 6 * shape.members * _parameters(window, network) + series + origins


def _parameters(window: WindowConfig, network: NetworkConfig) -> int:
    """Weights of a member."""
    return sum(map(math.prod, shapes(network, len(window.inputs), window.sequence_length).values()))


def _steps(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, shape: Shape, device: str, batched: bool
) -> Sequence[float]:
    """Numbers that a training step takes, and those that forecasts of all days take."""
    sequence, states = window.sequence_length, width(network)
    found = []
    for batch, masked in ((min(training.batch_size, max(shape.train)), True), (shape.days, False)):
        group = _group(window, network, batch, shape.members, device) if batched else 1
        activation = group * batch * (sequence + 1) * _layers(window, network, device, batched)
        gradients = 4 * group * _parameters(window, network)  # and weights that are doubled or transposed
        masks = (
            shape.members * (network.num_layers - 1) * sequence * states * batch if masked and network.dropout else 0
        )
        windows = 2 * shape.members * batch * (sequence + 1) * (len(window.inputs) + 1)
        found.append(activation + gradients + 1.5 * masks + windows)
    return found


def _group(window: WindowConfig, network: NetworkConfig, batch: int, members: int, device: str) -> int:
    """Members whose products are one product, as `stockrnn.lockstep` has it."""
    architecture = ARCHITECTURES[network.architecture]
    states = batch * window.sequence_length * width(network) * network.num_layers * architecture.gates
    return min(members, max(1, GROUP_STATES[device] // states))


def _layers(window: WindowConfig, network: NetworkConfig, device: str, batched: bool) -> float:
    """Numbers of one window's session that layers and head hold at once."""
    states, count, architecture = width(network), network.num_layers, ARCHITECTURES[network.architecture]
    below = max(len(window.inputs), states)
    kept = architecture.kept * states * count * (1 if batched else LOOPED)
    # On the CPU each layer keeps the room of its backward pass; on a GPU it is given back after it.
    spent = (architecture.spent * states + below) * (count if device == "cpu" else 1)
    turned = count * (2 * states + below) if network.bidirectional else 0
    dropped = 3 * states * (count - 1) if network.dropout else 0
    return kept + spent + turned + dropped + HEADS[network.head].held * states
