"""Configuration of a network."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field

from stockrnn.configuration import Configuration
from stockrnn.networks.cells import ARCHITECTURES, Architecture
from stockrnn.networks.heads import HEADS, Head
from stockrnn.plugins import load_plugins

__all__ = [
    "NetworkConfig",
]

ARCHITECTURES |= load_plugins("stockrnn.architectures", ARCHITECTURES, lambda entry: isinstance(entry, Architecture))
HEADS |= load_plugins("stockrnn.heads", HEADS, lambda entry: isinstance(entry, Head))

if TYPE_CHECKING:
    ArchitectureName: TypeAlias = str
    HeadName: TypeAlias = str
else:
    ArchitectureName, HeadName = Literal[tuple(ARCHITECTURES)], Literal[tuple(HEADS)]


def _describe(entries: Mapping[str, Architecture] | Mapping[str, Head]) -> str:
    return "; ".join(f"{name}: {entry.description}" for name, entry in entries.items())


class NetworkConfig(Configuration):
    """A recurrent network and its head."""

    architecture: ArchitectureName = Field(description=f"recurrent cell; {_describe(ARCHITECTURES)}")
    head: HeadName = Field("last", description=f"how the hidden states of all steps are combined; {_describe(HEADS)}")
    hidden_size: int = Field(16, ge=1, le=4096, description="hidden units per layer")
    num_layers: int = Field(1, ge=1, le=16, description="number of recurrent layers")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a layer's outputs dropped before the next layer; no effect with one layer",
    )
    bidirectional: bool = Field(False, description="whether a second set of layers reads the window backwards")
    output: Literal["linear", "sigmoid"] = Field(
        "linear", description="output activation; sigmoid limits the output to 0..1, the range of scaling: minmax"
    )
    output_init: Literal["zero", "uniform"] = Field(
        "zero",
        description="initial weights of the output layer; zero: with scaling: relative, training starts from the "
        "persistence forecast; uniform: PyTorch's random weights",
    )
