"""One recurrent network and its head: the plain form, which the batched form in `lockstep` must equal."""

import torch
from torch import nn

from stockrnn.configuration import NetworkConfig

__all__ = ["Network"]

LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Network(nn.Module):
    """A stack of `nn.RNN`, `nn.GRU` or `nn.LSTM` layers, a head over the steps, and one linear output.

    Parameters are drawn in the order in which `nn.RNN(num_layers=n)` and the output `nn.Linear` draw theirs, so equal
    seeds give PyTorch's own networks.

    Args:
        config: architecture, head and sizes.
        input_size: features of a session.
        sequence_length: sessions of a window; the `flatten` head has weights for each.
    """

    def __init__(self, config: NetworkConfig, input_size: int, sequence_length: int) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size * (2 if config.bidirectional else 1)
        self.layers = nn.ModuleList(
            LAYERS[config.architecture](
                input_size if index == 0 else width,
                config.hidden_size,
                batch_first=True,
                bidirectional=config.bidirectional,
            )
            for index in range(config.num_layers)
        )
        self.output = nn.Linear(width * sequence_length if config.head == "flatten" else width, 1)
        if config.output_init == "zero":
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)
        if config.head == "attention":
            self.query = nn.Parameter(torch.randn(width) / width**0.5)

    def forward(self, windows: torch.Tensor, dropout: list[torch.Tensor] | None = None) -> torch.Tensor:
        """Forecast scaled targets.

        Args:
            windows: shape (batch, sequence, features).
            dropout: one mask per layer but the last, shape (batch, sequence, width), already divided by the share
                kept; None when not training.

        Returns:
            Shape (batch,).
        """
        states = windows
        for index, layer in enumerate(self.layers):
            states, _ = layer(states)
            if dropout is not None and index < len(dropout):
                states = states * dropout[index]
        scaled = self.output(self._pooled(states)).squeeze(-1)
        return torch.sigmoid(scaled) if self.config.output == "sigmoid" else scaled

    def _pooled(self, states: torch.Tensor) -> torch.Tensor:
        """States of the steps (batch, sequence, width) -> what the output layer reads (batch, ...)."""
        match self.config.head:
            case "last":
                return states[:, -1]
            case "flatten":
                return states.flatten(1)
            case "mean":
                return states.mean(1)
            case _:
                attention = torch.softmax(states @ self.query, dim=1)
                return (attention.unsqueeze(-1) * states).sum(1)
