"""Unroll a cell's step equations into a recurrent layer, for looped and batched mode; PyTorch does the backward pass.

These layers are several times slower than those of PyTorch and of `batched_cells`, and serve only architectures
that have none there.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stockrnn.networks.cells import Architecture

__all__ = ["UnrolledLayer", "unroll_cell"]


class UnrolledLayer(nn.Module):
    """One layer of one network; its parameters have the names, shapes and initialization of `nn.GRU`.

    Args:
        architecture: the cell.
        input_size: features per step.
        hidden_size: units.
        bidirectional: whether a second set of weights reads the window backwards.
    """

    def __init__(self, architecture: Architecture, input_size: int, hidden_size: int, bidirectional: bool) -> None:
        super().__init__()
        self._architecture = architecture
        self._directions = ("", "_reverse") if bidirectional else ("",)
        rows = architecture.gates * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size), "bias_ih": (rows,)}
        for direction in self._directions:
            for name, shape in {**shapes, "bias_hh": (rows,)}.items():
                weight = torch.empty(shape).uniform_(-(hidden_size**-0.5), hidden_size**-0.5)
                self.register_parameter(f"{name}_l0{direction}", nn.Parameter(weight))

    def forward(self, windows: Tensor) -> tuple[Tensor, None]:
        """Return the states of all steps like PyTorch's layers: (batch, sequence, n) -> (batch, sequence, width)."""
        read = [self._read(windows, ""), *(self._read(windows.flip(1), way).flip(1) for way in self._directions[1:])]
        return torch.cat(read, dim=2), None

    def _read(self, windows: Tensor, direction: str) -> Tensor:
        w_ih, w_hh, b_ih, b_hh = (
            self.get_parameter(f"{name}_l0{direction}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        carried = (windows.new_zeros(len(windows), w_hh.shape[1]),) * self._architecture.carried
        states = []
        for x in F.linear(windows, w_ih, b_ih).unbind(1):
            h = F.linear(carried[0], w_hh, b_hh)
            carried = _step(self._architecture, x, h, carried)
            states.append(carried[0])
        return torch.stack(states, dim=1)


def unroll_cell(architecture: Architecture) -> Callable[..., Tensor]:
    """Return one layer of many members, a function with the signature of the cells in `batched_cells`."""

    def cell(
        inputs: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, last: bool, workspace: object
    ) -> Tensor:
        state = inputs.new_zeros(w_hh.shape[0], w_hh.shape[2], inputs.shape[3])
        carried = (state,) * architecture.carried
        states = []
        for x in (w_ih.matmul(inputs) + b_ih[:, :, None]).unbind(0):
            h = torch.baddbmm(b_hh[:, :, None], w_hh, carried[0])
            carried = _step(architecture, x, h, carried)
            states.append(carried[0])
        return states[-1] if last else torch.stack(states)

    return cell


def _step(architecture: Architecture, x: Tensor, h: Tensor, before: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Split the second dimension into gates and compute one step."""
    return architecture.step(x.chunk(architecture.gates, 1), h.chunk(architecture.gates, 1), before)
