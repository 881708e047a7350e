"""Many independent networks of one shape, trained step by step together.

One stacked set of parameters, (members, parameters), holds all networks. It serves two forms of the same
computation: `batched`, where each product of all members is one product, and `looped`, where each member's plain
`Network` works on views of its row. A snapshot of all members is one copy, and one optimiser step updates them all.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stockrnn.architectures import ARCHITECTURES
from stockrnn.configuration import NetworkConfig
from stockrnn.heads import HEADS
from stockrnn.networks import Network
from stockrnn.recurrence import CELLS, Workspace
from stockrnn.stepping import stepped
from stockrnn.weights import GROUP_STATES, width

__all__ = ["Form", "Loss", "Members", "form_for"]

Form = Literal["batched", "looped"]
Loss = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> elementwise losses, same shape


def form_for(
    config: NetworkConfig, sequence_length: int, batch_size: int, members: int, device: torch.device | str = "cpu"
) -> Form:
    """The faster form for a shape, by a rule on the shape, never by a clock: results do not depend on the moment.

    On the CPU the architecture has the rule, read off `python -m benchmarks.lockstep --forms`. On a GPU batching is
    the point.
    """
    architecture = ARCHITECTURES[config.architecture]
    on_cpu = torch.device(device).type == "cpu"
    if on_cpu and not architecture.is_faster_batched(sequence_length, batch_size, members, config.hidden_size):
        return "looped"
    return "batched"


class Members:
    """Networks that share a shape and nothing else.

    Args:
        config: the shape.
        input_size: features of a session.
        sequence_length: sessions of a window.
        seeds: one per member; it alone decides the member's initial parameters and its dropout.
        form: how they are computed; the results are the same but for rounding.
        group: members of the batched form whose products are one product; None decides by the shape.

    Attributes:
        parameters: shape (members, parameters).
        gradients: same shape.
        generators: one per member, of its dropout masks.
    """

    def __init__(
        self,
        config: NetworkConfig,
        input_size: int,
        sequence_length: int,
        seeds: Sequence[int],
        *,
        form: Form = "batched",
        group: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.form = form
        self.networks = [_drawn(config, input_size, sequence_length, seed).to(device, dtype) for seed in seeds]
        self.parameters = torch.stack([_flat(network) for network in self.networks])
        self.gradients = torch.zeros_like(self.parameters)
        for network, row, gradient in zip(self.networks, self.parameters, self.gradients, strict=True):
            _bind(network, row, gradient)
        self._group = group
        self._stacks: dict[tuple[int, int], _Stack] = {}
        # One for each layer and direction; groups are computed one after another and share them.
        self._workspaces: defaultdict[tuple[int, str], Workspace] = defaultdict(Workspace)
        self.generators = [torch.Generator(device).manual_seed(seed + 1) for seed in seeds]

    def __len__(self) -> int:
        return len(self.networks)

    def backward(self, windows: Tensor, targets: Tensor, counts: Sequence[int], loss: Loss) -> Tensor:
        """Write the gradients of the first members' mean losses into `gradients`.

        Args:
            windows: shape (active, batch, sequence, features); the first `active` members train.
            targets: shape (active, batch).
            counts: windows of each member that count; what lies behind them is padding.
            loss: elementwise, of (outputs, targets).

        Returns:
            The members' mean losses, shape (active,), detached.
        """
        active = len(windows)
        masks = self._masks(windows.shape[2], counts, windows)
        if self.form == "looped":
            return self._looped(windows, targets, counts, loss, masks)
        losses = []
        for first, last in self._groups(active, windows):
            dropout = None if masks is None else [_padded(layer[first:last], windows.shape[1]) for layer in masks]
            stack = self._stack(first, last)
            each = loss(stack.forward(windows[first:last], dropout), targets[first:last])
            means = _counted_means(each, counts[first:last])
            stack.write_gradients(means.sum())
            losses.append(means.detach())
        return torch.cat(losses)

    @torch.no_grad()
    def forecast(self, windows: Tensor) -> Tensor:
        """Scaled forecasts of all members: (members, batch, sequence, features) -> (members, batch)."""
        if self.form == "looped":
            return torch.stack([network(inputs) for network, inputs in zip(self.networks, windows, strict=True)])
        return torch.cat(
            [
                self._stack(first, last).forward(windows[first:last], None)
                for first, last in self._groups(len(self), windows)
            ]
        )

    def _looped(
        self, windows: Tensor, targets: Tensor, counts: Sequence[int], loss: Loss, masks: list[list[Tensor]] | None
    ) -> Tensor:
        self.gradients[: len(counts)].zero_()
        losses = []
        for member, count in enumerate(counts):
            dropout = None if masks is None else [layer[member].permute(2, 0, 1) for layer in masks]
            outputs = self.networks[member](windows[member, :count], dropout)
            value = loss(outputs, targets[member, :count]).mean()
            value.backward()
            losses.append(value.detach())
        return torch.stack(losses)

    def _groups(self, active: int, windows: Tensor) -> list[tuple[int, int]]:
        """The first and last members of the groups that are computed together."""
        config, (_, batch, sequence, _) = self.config, windows.shape
        states = batch * sequence * config.hidden_size * config.num_layers * ARCHITECTURES[config.architecture].gates
        group = self._group or max(
            1, GROUP_STATES[windows.device.type] // (states * (2 if config.bidirectional else 1))
        )
        return [(first, min(first + group, active)) for first in range(0, active, group)]

    def _stack(self, first: int, last: int) -> "_Stack":
        if (first, last) not in self._stacks:
            self._stacks[first, last] = _Stack(
                self.config, self.networks[0], self.parameters[first:last], self.gradients[first:last], self._workspaces
            )
        return self._stacks[first, last]

    def _masks(self, sequence: int, counts: Sequence[int], like: Tensor) -> list[list[Tensor]] | None:
        """Dropout between layers: per layer and member a mask (sequence, width, count) from the member's generator."""
        config = self.config
        if config.dropout == 0 or config.num_layers == 1:
            return None
        states, kept = width(config), 1 - config.dropout
        drawn = [
            _mask((config.num_layers - 1, sequence, states, count), kept, generator, like)
            for count, generator in zip(counts, self.generators, strict=False)
        ]
        return [[masks[layer] for masks in drawn] for layer in range(config.num_layers - 1)]


class _Stack:
    """The batched form of the first members: weights (members, ...) that are views of the stacked parameters."""

    def __init__(
        self,
        config: NetworkConfig,
        network: Network,
        parameters: Tensor,
        gradients: Tensor,
        workspaces: Mapping[tuple[int, str], Workspace],
    ) -> None:
        self.config = config
        self._workspaces = workspaces
        self._head = HEADS[config.head]
        self._cell = CELLS.get(config.architecture) or stepped(ARCHITECTURES[config.architecture])
        self.weights: dict[str, Tensor] = {}
        self._gradients: list[Tensor] = []
        offset = 0
        for name, parameter in network.named_parameters():
            stop, shape = offset + parameter.numel(), (len(parameters), *parameter.shape)
            self.weights[name] = parameters[:, offset:stop].view(shape).requires_grad_()
            self._gradients.append(gradients[:, offset:stop].view(shape))
            offset = stop
        sequence = network.sequence_length
        self._of_head = {name: self.weights[name] for name in self._head.weights(width(config), sequence)}

    def write_gradients(self, loss: Tensor) -> None:
        """Write the gradients of a loss into the stacked gradients."""
        found = torch.autograd.grad(loss, list(self.weights.values()))
        for gradient, value in zip(self._gradients, found, strict=True):
            gradient.copy_(value)

    def forward(self, windows: Tensor, dropout: list[Tensor] | None) -> Tensor:
        """As `Network.forward`, for all: (members, batch, sequence, features) -> (members, batch)."""
        states = windows.permute(2, 0, 3, 1)  # (sequence, members, features, batch), as products may read it
        for layer in range(self.config.num_layers):
            states = self._layer(layer, states)
            if dropout is not None and layer < len(dropout):
                states = states * dropout[layer]
        scaled = self._head.weighed(self.weights["output.weight"], states, self._of_head).squeeze(1)
        scaled = scaled + self.weights["output.bias"]
        return torch.sigmoid(scaled) if self.config.output == "sigmoid" else scaled

    def _layer(self, layer: int, states: Tensor) -> Tensor:
        """States of all steps; of the last alone where nothing else is read: (1, members, width, batch)."""
        config = self.config
        last = self._head.reads_last and layer == config.num_layers - 1 and not config.bidirectional

        def run(states: Tensor, direction: str) -> Tensor:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [self.weights[f"layers.{layer}.{name}_l0{direction}"] for name in names]
            outputs: Tensor = self._cell(states, *weights, last, self._workspaces[layer, direction])
            return outputs

        forwards = run(states, "")
        if last:
            return forwards[None]
        if not config.bidirectional:
            return forwards
        backwards = run(states.flip(0), "_reverse").flip(0)
        return torch.cat([forwards, backwards], dim=2)


def _counted_means(each: Tensor, counts: Sequence[int]) -> Tensor:
    """Means over the first `counts` of each row: (members, batch) -> (members,)."""
    if min(counts) == each.shape[1]:
        return each.mean(1)
    sizes = torch.tensor(counts, device=each.device)
    counted = torch.arange(each.shape[1], device=each.device) < sizes[:, None]
    return torch.where(counted, each, 0).sum(1) / sizes


def _mask(shape: tuple[int, ...], kept: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Zeros, and 1 / kept with probability `kept` (to the nearest 1/65536).

    Sixteen random bits an element: a quarter of the time of `bernoulli_`, which took a third of a small step.
    """
    size = math.prod(shape)
    bits = torch.empty((size + 3) // 4, dtype=torch.int64, device=like.device)
    bits.random_(-(2**63), None, generator=generator)
    threshold = min(round(kept * 65536), 65535) - 32768
    return (bits.view(torch.int16)[:size] < threshold).to(like.dtype).div_(kept).view(shape)


def _padded(masks: list[Tensor], batch: int) -> Tensor:
    """Masks of the members (sequence, width, count) -> (sequence, members, width, batch), ones behind the counts."""
    return torch.stack([F.pad(mask, (0, batch - mask.shape[-1]), value=1.0) for mask in masks], dim=1)


def _drawn(config: NetworkConfig, input_size: int, sequence_length: int, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config, input_size, sequence_length)


def _flat(network: Network) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])


def _bind(network: Network, row: Tensor, gradient: Tensor) -> None:
    """Make a network's parameters and their gradients views of a row of the stacked tensors."""
    offset = 0
    for parameter in network.parameters():
        stop = offset + parameter.numel()
        parameter.data = row[offset:stop].view_as(parameter)
        parameter.grad = gradient[offset:stop].view_as(parameter)
        offset = stop
