"""Many independent networks of one shape, trained step by step together.

One stacked set of parameters, (members, parameters), holds all networks; each member's plain `Network` works on
views of its row. So a snapshot of all members is one copy, and one optimiser step updates all of them.
"""

from collections.abc import Callable, Sequence

import torch

from stockrnn.configuration import NetworkConfig
from stockrnn.networks import Network

__all__ = ["Members"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Members:
    """Networks that share a shape and nothing else.

    Args:
        config: the shape.
        input_size: features of a session.
        sequence_length: sessions of a window.
        seeds: one per member; it alone decides the member's initial parameters and its dropout.

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
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.networks = [_drawn(config, input_size, sequence_length, seed).to(device, dtype) for seed in seeds]
        self.parameters = torch.stack([_flat(network) for network in self.networks])
        self.gradients = torch.zeros_like(self.parameters)
        for network, row, gradient in zip(self.networks, self.parameters, self.gradients, strict=True):
            _bind(network, row, gradient)
        self._dropout = [torch.Generator(device).manual_seed(seed + 1) for seed in seeds]

    def __len__(self) -> int:
        return len(self.networks)

    def backward(
        self, windows: torch.Tensor, targets: torch.Tensor, counts: Sequence[int], loss: Loss
    ) -> torch.Tensor:
        """Write the gradients of the first members' mean losses into `gradients`.

        Args:
            windows: shape (active, batch, sequence, features); the first `active` members train.
            targets: shape (active, batch).
            counts: windows of each member that count; what lies behind them is padding.
            loss: of (outputs, targets), its mean.

        Returns:
            The members' losses, shape (active,), detached.
        """
        active = len(windows)
        self.gradients[:active].zero_()
        losses = []
        for member, count in enumerate(counts):
            network, inputs = self.networks[member], windows[member, :count]
            value = loss(network(inputs, self._masks(member, inputs)), targets[member, :count])
            value.backward()
            losses.append(value.detach())
        return torch.stack(losses)

    @torch.no_grad()
    def forecast(self, windows: torch.Tensor) -> torch.Tensor:
        """Scaled forecasts of all members: (members, batch, sequence, features) -> (members, batch)."""
        return torch.stack([network(inputs) for network, inputs in zip(self.networks, windows, strict=True)])

    def _masks(self, member: int, inputs: torch.Tensor) -> list[torch.Tensor] | None:
        config = self.config
        if config.dropout == 0 or config.num_layers == 1:
            return None
        kept = 1 - config.dropout
        shape = (*inputs.shape[:2], config.hidden_size * (2 if config.bidirectional else 1))
        return [
            torch.empty(shape, dtype=inputs.dtype, device=inputs.device)
            .bernoulli_(kept, generator=self._dropout[member])
            .div_(kept)
            for _ in range(config.num_layers - 1)
        ]


def _drawn(config: NetworkConfig, input_size: int, sequence_length: int, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config, input_size, sequence_length)


def _flat(network: Network) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])


def _bind(network: Network, row: torch.Tensor, gradient: torch.Tensor) -> None:
    """Make a network's parameters and their gradients views of a row of the stacked tensors."""
    offset = 0
    for parameter in network.parameters():
        stop = offset + parameter.numel()
        parameter.data = row[offset:stop].view_as(parameter)
        parameter.grad = gradient[offset:stop].view_as(parameter)
        offset = stop
