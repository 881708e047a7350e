"""Many independent networks of one shape, trained step by step together.

One stacked set of parameters, (members, parameters), holds all networks. It serves two forms of the same
computation: `batched`, where each product of all members is one product, and `looped`, where each member's plain
`Network` works on views of its row. A snapshot of all members is one copy, and one optimiser step updates them all.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from stockrnn.configuration import NetworkConfig
from stockrnn.networks import Network
from stockrnn.recurrence import CELLS

__all__ = ["Form", "Loss", "Members", "form_for"]

Form = Literal["batched", "looped"]
Loss = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> elementwise losses, same shape


def form_for(config: NetworkConfig, members: int, batch_size: int) -> Form:
    """The faster form for a shape, by a rule read off measurements, never off a clock."""
    return "batched"


class Members:
    """Networks that share a shape and nothing else.

    Args:
        config: the shape.
        input_size: features of a session.
        sequence_length: sessions of a window.
        seeds: one per member; it alone decides the member's initial parameters and its dropout.
        form: how they are computed; the results are the same but for rounding.

    Attributes:
        parameters: shape (members, parameters).
        gradients: same shape.
    """

    def __init__(
        self,
        config: NetworkConfig,
        input_size: int,
        sequence_length: int,
        seeds: Sequence[int],
        *,
        form: Form = "batched",
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
        self._stacks: dict[int, _Stack] = {}
        self._dropout = [torch.Generator(device).manual_seed(seed + 1) for seed in seeds]

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
            self.gradients[:active].zero_()
            losses = []
            for member, count in enumerate(counts):
                dropout = None if masks is None else [layer[member] for layer in masks]
                outputs = self.networks[member](windows[member, :count], dropout)
                value = loss(outputs, targets[member, :count]).mean()
                value.backward()  # type: ignore[no-untyped-call]
                losses.append(value.detach())
            return torch.stack(losses)
        stack = self._stack(active)
        outputs = stack.forward(windows, None if masks is None else [_padded(layer) for layer in masks])
        each = loss(outputs, targets)
        if min(counts) == windows.shape[1]:
            means = each.mean(1)
        else:
            sizes = torch.tensor(counts, device=each.device)
            counted = torch.arange(windows.shape[1], device=each.device) < sizes[:, None]
            means = torch.where(counted, each, 0).sum(1) / sizes
        stack.write_gradients(means.sum())
        return means.detach()

    @torch.no_grad()
    def forecast(self, windows: Tensor) -> Tensor:
        """Scaled forecasts of all members: (members, batch, sequence, features) -> (members, batch)."""
        if self.form == "batched":
            return self._stack(len(self)).forward(windows, None)
        return torch.stack([network(inputs) for network, inputs in zip(self.networks, windows, strict=True)])

    def _stack(self, active: int) -> "_Stack":
        if active not in self._stacks:
            self._stacks[active] = _Stack(
                self.config, self.networks[0], self.parameters[:active], self.gradients[:active]
            )
        return self._stacks[active]

    def _masks(self, sequence: int, counts: Sequence[int], like: Tensor) -> list[list[Tensor]] | None:
        """Dropout between layers: per layer and member a mask (count, sequence, width) from the member's generator."""
        config = self.config
        if config.dropout == 0 or config.num_layers == 1:
            return None
        width, kept = config.hidden_size * (2 if config.bidirectional else 1), 1 - config.dropout
        drawn = [
            torch.empty((config.num_layers - 1, count, sequence, width), dtype=like.dtype, device=like.device)
            .bernoulli_(kept, generator=generator)
            .div_(kept)
            for count, generator in zip(counts, self._dropout, strict=False)
        ]
        return [[masks[layer] for masks in drawn] for layer in range(config.num_layers - 1)]


class _Stack:
    """The batched form of the first members: weights (members, ...) that are views of the stacked parameters."""

    def __init__(self, config: NetworkConfig, network: Network, parameters: Tensor, gradients: Tensor) -> None:
        self.config = config
        self.weights: dict[str, Tensor] = {}
        self._gradients: list[Tensor] = []
        offset = 0
        for name, parameter in network.named_parameters():
            stop, shape = offset + parameter.numel(), (len(parameters), *parameter.shape)
            self.weights[name] = parameters[:, offset:stop].view(shape).requires_grad_()
            self._gradients.append(gradients[:, offset:stop].view(shape))
            offset = stop

    def write_gradients(self, loss: Tensor) -> None:
        """Write the gradients of a loss into the stacked gradients."""
        found = torch.autograd.grad(loss, list(self.weights.values()))
        for gradient, value in zip(self._gradients, found, strict=True):
            gradient.copy_(value)

    def forward(self, windows: Tensor, dropout: list[Tensor] | None) -> Tensor:
        """As `Network.forward`, for all: (members, batch, sequence, features) -> (members, batch)."""
        states = windows.transpose(1, 2).contiguous()
        for layer in range(self.config.num_layers):
            states = self._layer(layer, states)
            if dropout is not None and layer < len(dropout):
                states = states * dropout[layer]
        pooled = self._pooled(states)
        weight, bias = self.weights["output.weight"], self.weights["output.bias"]
        scaled = torch.baddbmm(bias[:, None], pooled, weight.transpose(1, 2)).squeeze(-1)
        return torch.sigmoid(scaled) if self.config.output == "sigmoid" else scaled

    def _layer(self, layer: int, states: Tensor) -> Tensor:
        cell = CELLS[self.config.architecture]

        def weights(direction: str) -> list[Tensor]:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            return [self.weights[f"layers.{layer}.{name}_l0{direction}"] for name in names]

        forwards: Tensor = cell(states, *weights(""))
        if not self.config.bidirectional:
            return forwards
        backwards = cell(states.flip(1), *weights("_reverse")).flip(1)
        return torch.cat([forwards, backwards], dim=-1)

    def _pooled(self, states: Tensor) -> Tensor:
        """(members, sequence, batch, width) -> (members, batch, ...)."""
        match self.config.head:
            case "last":
                return states[:, -1]
            case "flatten":
                return states.transpose(1, 2).flatten(2)
            case "mean":
                return states.mean(1)
            case _:
                scores = torch.einsum("mtbw,mw->mtb", states, self.weights["query"])
                return torch.einsum("mtb,mtbw->mbw", torch.softmax(scores, dim=1), states)


def _padded(masks: list[Tensor]) -> Tensor:
    """Masks of the members (count, sequence, width) -> (members, sequence, batch, width), ones behind the counts."""
    largest = max(len(mask) for mask in masks)
    return torch.stack(
        [torch.nn.functional.pad(mask, (0, 0, 0, 0, 0, largest - len(mask)), value=1.0) for mask in masks]
    ).transpose(1, 2)


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
