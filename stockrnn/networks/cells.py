"""Define the recurrent cells (RNN, GRU, LSTM) by the equations of one step.

To add an architecture, write a class and add it to ARCHITECTURES: spaces, their schema and error messages, networks,
forecasters, and the estimates of memory and cost read this dictionary. The equations are enough: `unrolled` loops over
them. Some cells have faster implementations: PyTorch's layers (`network`) and hand-written backward passes
(`batched_cells`). This module does not import PyTorch, so spaces can be read without it.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ARCHITECTURES", "Architecture"]


class Architecture(ABC):
    """A recurrent cell.

    Attributes:
        description: the cell in a few words, for the schema of space files.
        gates: number of gates; each has one product with the input and one with the state.
        carried: number of tensors passed from step to step; the first is the state that the next layer reads.
        forward_tensors: upper bound of the state-sized tensors that a layer's forward pass stores per step.
        backward_tensors: upper bound of the state-sized tensors that its backward pass allocates per step.
    """

    description: str
    gates: int
    carried = 1
    forward_tensors = 24  # for four gates with PyTorch's backward pass
    backward_tensors = 16

    @abstractmethod
    def step(
        self, x: tuple["Tensor", ...], h: tuple["Tensor", ...], before: tuple["Tensor", ...]
    ) -> tuple["Tensor", ...]:
        """Compute one step elementwise; all tensors have the shape of the state.

        Args:
            x: for each gate, the product of its weights and the input, plus bias.
            h: for each gate, the product of its weights and the previous state, plus bias.
            before: the tensors passed from the previous step; zeros at the first step.

        Returns:
            The tensors passed to the next step.
        """

    def is_faster_batched(self, sequence: int, batch: int, members: int, hidden: int) -> bool:
        """Return whether batched mode is faster than looped mode on a CPU, by `benchmarks.lockstep --modes`."""
        return True


class RNN(Architecture):
    """PyTorch's RNN."""

    description, gates, forward_tensors, backward_tensors = "tanh of input and state", 1, 1, 2

    def step(
        self, x: tuple["Tensor", ...], h: tuple["Tensor", ...], before: tuple["Tensor", ...]
    ) -> tuple["Tensor", ...]:
        return ((x[0] + h[0]).tanh(),)

    def is_faster_batched(self, sequence: int, batch: int, members: int, hidden: int) -> bool:
        """Return False only for a single small network on a short sequence."""
        return members > 1 or sequence >= 10 or batch * hidden >= 4096


class GRU(Architecture):
    """PyTorch's GRU; its gates are r, z and n. Batched mode is always faster."""

    description, gates, forward_tensors, backward_tensors = "gated recurrent unit", 3, 5, 7

    def step(
        self, x: tuple["Tensor", ...], h: tuple["Tensor", ...], before: tuple["Tensor", ...]
    ) -> tuple["Tensor", ...]:
        r, z = (x[0] + h[0]).sigmoid(), (x[1] + h[1]).sigmoid()
        new = (x[2] + r * h[2]).tanh()
        return ((1 - z) * new + z * before[0],)


class LSTM(Architecture):
    """PyTorch's LSTM; its gates are i, f, g and o."""

    description, gates, carried, forward_tensors, backward_tensors = "long short-term memory", 4, 2, 7, 6

    def step(
        self, x: tuple["Tensor", ...], h: tuple["Tensor", ...], before: tuple["Tensor", ...]
    ) -> tuple["Tensor", ...]:
        i, f, g, o = (a + b for a, b in zip(x, h, strict=True))
        cell = f.sigmoid() * before[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell

    def is_faster_batched(self, sequence: int, batch: int, members: int, hidden: int) -> bool:
        """Return True for many members; PyTorch's looped LSTM (oneDNN) has no overhead per step on long sequences."""
        return members > 1 and members * batch >= sequence * (2 if hidden < 16 else 6)


ARCHITECTURES: dict[str, Architecture] = {"rnn": RNN(), "gru": GRU(), "lstm": LSTM()}
