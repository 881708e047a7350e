"""The weights of a network: their names and shapes, told without making one, however large."""

from stockrnn.architectures import ARCHITECTURES
from stockrnn.configuration import NetworkConfig
from stockrnn.heads import HEADS

__all__ = ["GROUP_STATES", "shapes", "width"]

GROUP_STATES = {"cpu": 16_000_000, "cuda": 512_000_000}  # gate values of a batched step: they bound its memory


def width(config: NetworkConfig) -> int:
    """Numbers of a step's state, both directions together."""
    return config.hidden_size * (2 if config.bidirectional else 1)


def shapes(config: NetworkConfig, inputs: int, sequence: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters of a `Network`, of windows of (sequence, inputs)."""
    hidden, head = config.hidden_size, HEADS[config.head]
    rows, read = hidden * ARCHITECTURES[config.architecture].gates, width(config)
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(config.num_layers):
        for direction in ("", "_reverse") if config.bidirectional else ("",):
            found[f"layers.{layer}.weight_ih_l0{direction}"] = (rows, read if layer else inputs)
            found[f"layers.{layer}.weight_hh_l0{direction}"] = (rows, hidden)
            found[f"layers.{layer}.bias_ih_l0{direction}"] = (rows,)
            found[f"layers.{layer}.bias_hh_l0{direction}"] = (rows,)
    return found | {
        "output.weight": (1, head.size(read, sequence)), "output.bias": (1,), **head.weights(read, sequence)
    }  # fmt: skip
