"""Train many independent networks of one shape together, step by step.

One tensor of parameters, (members, parameters), stores all networks. There are two modes of the same computation. In
`batched` mode, one matrix product serves all members. In `looped` mode, each member's plain `Network` uses views of
its row. One copy is a snapshot of all members, and one optimizer step updates all of them.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stockrnn.networks.batched_cells import CELLS, Workspace
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.execution import ExecutionMode
from stockrnn.networks.heads import HEADS
from stockrnn.networks.network import Network
from stockrnn.networks.parameter_shapes import group_size, state_width
from stockrnn.networks.unrolled import unroll_cell

__all__ = ["Loss", "NetworkEnsemble"]

Loss = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> elementwise losses, same shape


class NetworkEnsemble:
    """Independent networks of one shape.

    Args:
        config: architecture, head and sizes.
        input_size: features per session.
        sequence_length: sessions in a window.
        seeds: one per member; it alone determines the member's initial parameters and its dropout.
        mode: batched or looped; the results are equal except for rounding.
        group: number of members that share one product in batched mode; None chooses by the shape.

    Attributes:
        parameters: shape (members, parameters).
        gradients: shape (members, parameters).
        generators: random generators of the dropout masks, one per member.
    """

    def __init__(
        self,
        config: NetworkConfig,
        input_size: int,
        sequence_length: int,
        seeds: Sequence[int],
        *,
        mode: ExecutionMode = "batched",
        group: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.mode = mode
        self.networks = [_new_network(config, input_size, sequence_length, seed).to(device, dtype) for seed in seeds]
        self.parameters = torch.stack([_flat_parameters(network) for network in self.networks])
        self.gradients = torch.zeros_like(self.parameters)
        for network, row, gradient in zip(self.networks, self.parameters, self.gradients, strict=True):
            _bind(network, row, gradient)
        self._group = group
        self._batches: dict[tuple[int, int], _BatchedNetworks] = {}
        # One per layer and direction; the groups run one after another and share them.
        self._workspaces: defaultdict[tuple[int, str], Workspace] = defaultdict(Workspace)
        self.generators = [torch.Generator(device).manual_seed(seed + 1) for seed in seeds]

    def __len__(self) -> int:
        return len(self.networks)

    def backward(self, windows: Tensor, targets: Tensor, counts: Sequence[int], loss: Loss) -> Tensor:
        """Compute the mean losses of the first members and write their gradients into `gradients`.

        Args:
            windows: shape (active, batch, sequence, features); the first `active` members train.
            targets: shape (active, batch).
            counts: number of windows of each member; the rest of its row is padding.
            loss: elementwise function of (outputs, targets).

        Returns:
            The members' mean losses, shape (active,), detached.
        """
        active = len(windows)
        masks = self._draw_masks(windows.shape[2], counts, windows)
        if self.mode == "looped":
            return self._backward_looped(windows, targets, counts, loss, masks)
        losses = []
        for first, last in self._groups(active, windows):
            dropout = (
                None if masks is None else [_pad_and_stack(layer[first:last], windows.shape[1]) for layer in masks]
            )
            batch = self._batched_networks(first, last)
            elements = loss(batch.forward(windows[first:last], dropout), targets[first:last])
            means = _masked_means(elements, counts[first:last])
            batch.write_gradients(means.sum())
            losses.append(means.detach())
        return torch.cat(losses)

    @torch.no_grad()
    def forecast(self, windows: Tensor) -> Tensor:
        """Return the scaled forecasts of all members: (members, batch, sequence, features) -> (members, batch)."""
        if self.mode == "looped":
            return torch.stack([network(inputs) for network, inputs in zip(self.networks, windows, strict=True)])
        return torch.cat(
            [
                self._batched_networks(first, last).forward(windows[first:last], None)
                for first, last in self._groups(len(self), windows)
            ]
        )

    def _backward_looped(
        self, windows: Tensor, targets: Tensor, counts: Sequence[int], loss: Loss, masks: list[list[Tensor]] | None
    ) -> Tensor:
        self.gradients[: len(counts)].zero_()
        losses = []
        for member, count in enumerate(counts):
            dropout = None if masks is None else [layer[member].permute(2, 0, 1) for layer in masks]
            outputs = self.networks[member](windows[member, :count], dropout)
            mean = loss(outputs, targets[member, :count]).mean()
            torch.autograd.backward(mean)
            losses.append(mean.detach())
        return torch.stack(losses)

    def _groups(self, active: int, windows: Tensor) -> list[tuple[int, int]]:
        """Return the first (included) and last (excluded) member of each group that shares its products."""
        _, batch, sequence, _ = windows.shape
        group = self._group or group_size(self.config, batch, sequence, windows.device.type)
        return [(first, min(first + group, active)) for first in range(0, active, group)]

    def _batched_networks(self, first: int, last: int) -> "_BatchedNetworks":
        if (first, last) not in self._batches:
            self._batches[first, last] = _BatchedNetworks(
                self.config, self.networks[0], self.parameters[first:last], self.gradients[first:last], self._workspaces
            )
        return self._batches[first, last]

    def _draw_masks(self, sequence: int, counts: Sequence[int], like: Tensor) -> list[list[Tensor]] | None:
        """Draw a dropout mask (sequence, width, count) for each layer except the last and each member."""
        config = self.config
        if config.dropout == 0 or config.num_layers == 1:
            return None
        states, keep = state_width(config), 1 - config.dropout
        by_member = [
            _draw_mask((config.num_layers - 1, sequence, states, count), keep, generator, like)
            for count, generator in zip(counts, self.generators, strict=False)
        ]
        return [[masks[layer] for masks in by_member] for layer in range(config.num_layers - 1)]


class _BatchedNetworks:
    """A group of members in batched mode; its weights (members, ...) are views of the ensemble's parameters."""

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
        self._cell = CELLS.get(config.architecture) or unroll_cell(ARCHITECTURES[config.architecture])
        self.weights: dict[str, Tensor] = {}
        self._gradients: list[Tensor] = []
        offset = 0
        for name, parameter in network.named_parameters():
            stop, shape = offset + parameter.numel(), (len(parameters), *parameter.shape)
            self.weights[name] = parameters[:, offset:stop].view(shape).requires_grad_()
            self._gradients.append(gradients[:, offset:stop].view(shape))
            offset = stop
        sequence = network.sequence_length
        self._head_weights = {name: self.weights[name] for name in self._head.weights(state_width(config), sequence)}

    def write_gradients(self, loss: Tensor) -> None:
        """Write the gradients of a loss into the ensemble's gradients."""
        gradients = torch.autograd.grad(loss, list(self.weights.values()))
        for target, gradient in zip(self._gradients, gradients, strict=True):
            target.copy_(gradient)

    def forward(self, windows: Tensor, dropout: list[Tensor] | None) -> Tensor:
        """Compute `Network.forward` for all members: (members, batch, sequence, features) -> (members, batch)."""
        states = windows.permute(2, 0, 3, 1)  # (sequence, members, features, batch)
        for layer in range(self.config.num_layers):
            states = self._layer(layer, states)
            if dropout is not None and layer < len(dropout):
                states = states * dropout[layer]
        scaled = self._head.batched_output(self.weights["output.weight"], states, self._head_weights).squeeze(1)
        scaled = scaled + self.weights["output.bias"]
        return torch.sigmoid(scaled) if self.config.output == "sigmoid" else scaled

    def _layer(self, layer: int, states: Tensor) -> Tensor:
        """Return the states of all steps, or only of the last, (1, members, width, batch), if no other is read."""
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


def _masked_means(elements: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the mean of the first `counts` elements of each row: (members, batch) -> (members,)."""
    if min(counts) == elements.shape[1]:
        return elements.mean(1)
    sizes = torch.tensor(counts, device=elements.device)
    counted = torch.arange(elements.shape[1], device=elements.device) < sizes[:, None]
    return torch.where(counted, elements, 0).sum(1) / sizes


def _draw_mask(shape: tuple[int, ...], keep: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Return a mask of 1 / keep with probability `keep` (to the nearest 1/65536), else 0.

    It uses sixteen random bits per element: a quarter of the time of `bernoulli_`, which took a third of a small step.
    """
    size = math.prod(shape)
    bits = torch.empty((size + 3) // 4, dtype=torch.int64, device=like.device)
    bits.random_(-(2**63), None, generator=generator)
    threshold = min(round(keep * 65536), 65535) - 32768
    return (bits.view(torch.int16)[:size] < threshold).to(like.dtype).div_(keep).view(shape)


def _pad_and_stack(masks: list[Tensor], batch: int) -> Tensor:
    """Stack masks (sequence, width, count) to (sequence, members, width, batch), padded with ones."""
    return torch.stack([F.pad(mask, (0, batch - mask.shape[-1]), value=1.0) for mask in masks], dim=1)


def _new_network(config: NetworkConfig, input_size: int, sequence_length: int, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config, input_size, sequence_length)


def _flat_parameters(network: Network) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])


def _bind(network: Network, row: Tensor, gradient: Tensor) -> None:
    """Make a network's parameters and gradients views of a row of the ensemble's tensors."""
    offset = 0
    for parameter in network.parameters():
        stop = offset + parameter.numel()
        parameter.data = row[offset:stop].view_as(parameter)
        parameter.grad = gradient[offset:stop].view_as(parameter)
        offset = stop
