"""Compute the shapes of a network's parameters and of a batched step, without building the network."""

from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.heads import HEADS

__all__ = ["group_size", "parameter_shapes", "state_width"]

MAX_GROUP_STATES = {"cpu": 16_000_000, "cuda": 512_000_000}  # gate values in a batched step; limits its memory


def state_width(config: NetworkConfig) -> int:
    """Return the width of a step's state, both directions together."""
    return config.hidden_size * (2 if config.bidirectional else 1)


def group_size(config: NetworkConfig, batch: int, sequence: int, device: str) -> int:
    """Return the number of members that may share one product on a device, `cpu` or `cuda`; at least 1."""
    gates = ARCHITECTURES[config.architecture].gates
    return max(1, MAX_GROUP_STATES[device] // (batch * sequence * state_width(config) * config.num_layers * gates))


def parameter_shapes(config: NetworkConfig, inputs: int, sequence: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the parameters of a `Network` for windows (sequence, inputs)."""
    hidden, head = config.hidden_size, HEADS[config.head]
    rows, width = hidden * ARCHITECTURES[config.architecture].gates, state_width(config)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(config.num_layers):
        for direction in ("", "_reverse") if config.bidirectional else ("",):
            shapes[f"layers.{layer}.weight_ih_l0{direction}"] = (rows, width if layer else inputs)
            shapes[f"layers.{layer}.weight_hh_l0{direction}"] = (rows, hidden)
            shapes[f"layers.{layer}.bias_ih_l0{direction}"] = (rows,)
            shapes[f"layers.{layer}.bias_hh_l0{direction}"] = (rows,)
    return shapes | {
        "output.weight": (1, head.size(width, sequence)), "output.bias": (1,), **head.weights(width, sequence)
    }  # fmt: skip
