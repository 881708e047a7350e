"""Build one recurrent network with its head: the plain implementation that the batched one in `ensemble` must equal."""

from collections.abc import Callable

import torch
from torch import nn

from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.heads import HEADS
from stockrnn.networks.parameter_shapes import state_width
from stockrnn.networks.unrolled import UnrolledLayer

__all__ = ["Network"]

TORCH_LAYERS: dict[str, Callable[..., nn.Module]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Network(nn.Module):
    """A stack of recurrent layers, a head over the steps, and one linear output.

    The layers are PyTorch's where PyTorch has the architecture. Parameters are initialized in the order of
    `nn.RNN(num_layers=n)` followed by `nn.Linear`, so that equal seeds give the same networks as PyTorch.

    Args:
        config: architecture, head and sizes.
        input_size: features per session.
        sequence_length: sessions in a window; a head may have weights for each.
    """

    def __init__(self, config: NetworkConfig, input_size: int, sequence_length: int) -> None:
        super().__init__()
        self.config, self.sequence_length = config, sequence_length
        width = state_width(config)
        self.layers = nn.ModuleList(
            _layer(config, width if index else input_size) for index in range(config.num_layers)
        )
        head = HEADS[config.head]
        self.output = nn.Linear(head.size(width, sequence_length), 1)
        if config.output_init == "zero":
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)
        self._head_shapes = head.weights(width, sequence_length)
        for name, shape in self._head_shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape) / shape[-1] ** 0.5))

    def forward(self, windows: torch.Tensor, dropout: list[torch.Tensor] | None = None) -> torch.Tensor:
        """Forecast scaled targets.

        Args:
            windows: shape (batch, sequence, features).
            dropout: one mask per layer except the last, shape (batch, sequence, width), already divided by the
                share of kept outputs; None when not training.

        Returns:
            Shape (batch,).
        """
        states = windows
        for index, layer in enumerate(self.layers):
            states, _ = layer(states)
            if dropout is not None and index < len(dropout):
                states = states * dropout[index]
        pooled = HEADS[self.config.head].pool(states, {name: self.get_parameter(name) for name in self._head_shapes})
        scaled = self.output(pooled).squeeze(-1)
        return torch.sigmoid(scaled) if self.config.output == "sigmoid" else scaled


def _layer(config: NetworkConfig, input_size: int) -> nn.Module:
    if torch_layer := TORCH_LAYERS.get(config.architecture):
        return torch_layer(input_size, config.hidden_size, batch_first=True, bidirectional=config.bidirectional)
    return UnrolledLayer(ARCHITECTURES[config.architecture], input_size, config.hidden_size, config.bidirectional)
