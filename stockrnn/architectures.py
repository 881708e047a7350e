"""The architectures: the recurrent cells, each by the equations of one step.

An architecture is a class, and an entry of ARCHITECTURES: spaces, their schema and messages, networks in both forms,
forecasters, and the sums of memory and cost know it from there. The equations alone make it work, by the loops of
`stockrnn.stepping`; PyTorch's own layers (`stockrnn.networks`) and cells with a backward pass written by hand
(`stockrnn.recurrence`) are faster forms of some. PyTorch is not imported here, so that a space is read without it.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ARCHITECTURES", "Architecture"]


class Architecture(ABC):
    """A recurrent cell.

    Attributes:
        means: the cell in a few words, for the schema of space files.
        gates: products of the input, and as many of the state, that a step takes.
        carried: tensors that go from step to step; the first is the state, what is read and multiplied.
        kept: tensors of a state's size that the forward pass of a layer keeps for each step, at most.
        spent: such tensors that its backward pass takes, at most.
    """

    means: str
    gates: int
    carried = 1
    kept = 24  # of four gates, if PyTorch's own backward pass is used
    spent = 16

    @abstractmethod
    def step(
        self, x: tuple["Tensor", ...], h: tuple["Tensor", ...], before: tuple["Tensor", ...]
    ) -> tuple["Tensor", ...]:
        """One step, elementwise: all tensors have the state's shape, whatever that is.

        Args:
            x: of each gate, its weights times the input, and bias.
            h: of each gate, its weights times the state before, and bias.
            before: what is carried, zeros before the first step.

        Returns:
            What is carried on.
        """

    def is_faster_batched(self, sequence: int, batch: int, members: int, hidden: int) -> bool:
        """Whether the batched form of a shape outruns the looped one on a CPU, by `benchmarks.lockstep --forms`."""
        return True


class RNN(Architecture):
    """PyTorch's RNN."""

    means, gates, kept, spent = "tanh of input and state", 1, 1, 2

    def step(
        self, x: tuple["Tensor", ...], h: tuple["Tensor", ...], before: tuple["Tensor", ...]
    ) -> tuple["Tensor", ...]:
        return ((x[0] + h[0]).tanh(),)

    def is_faster_batched(self, sequence: int, batch: int, members: int, hidden: int) -> bool:
        """Always, but for a single small one on a short sequence."""
        return members > 1 or sequence >= 10 or batch * hidden >= 4096


class GRU(Architecture):
    """PyTorch's GRU; its gates are r, z and n. Always faster batched."""

    means, gates, kept, spent = "gated recurrent unit", 3, 5, 7

    def step(
        self, x: tuple["Tensor", ...], h: tuple["Tensor", ...], before: tuple["Tensor", ...]
    ) -> tuple["Tensor", ...]:
        r, z = (x[0] + h[0]).sigmoid(), (x[1] + h[1]).sigmoid()
        new = (x[2] + r * h[2]).tanh()
        return ((1 - z) * new + z * before[0],)


class LSTM(Architecture):
    """PyTorch's LSTM; its gates are i, f, g and o."""

    means, gates, carried, kept, spent = "long short-term memory", 4, 2, 7, 6

    def step(
        self, x: tuple["Tensor", ...], h: tuple["Tensor", ...], before: tuple["Tensor", ...]
    ) -> tuple["Tensor", ...]:
        i, f, g, o = (a + b for a, b in zip(x, h, strict=True))
        cell = f.sigmoid() * before[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell

    def is_faster_batched(self, sequence: int, batch: int, members: int, hidden: int) -> bool:
        """Of many members: PyTorch's own is oneDNN's, which pays no overhead a step on long sequences."""
        return members > 1 and members * batch >= sequence * (2 if hidden < 16 else 6)


ARCHITECTURES: dict[str, Architecture] = {"rnn": RNN(), "gru": GRU(), "lstm": LSTM()}
