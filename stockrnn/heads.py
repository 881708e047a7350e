"""The heads: how the states of a window's steps become what the output layer reads.

A head is a class, and an entry of HEADS: spaces, their schema and messages, networks in both forms, forecasters, and
the sums of memory and cost know it from there. PyTorch is not imported here, so that a space is read without it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HEADS", "Head"]


class Head(ABC):
    """From the states of all steps to a vector, which the output layer weighs.

    Attributes:
        means: the head in a few words, for the schema of space files.
        reads_last: only the last step's states are read, so that the batched form may leave out the others.
        held: numbers of the states' size that forward and backward pass hold at once, at most.
    """

    means: str
    reads_last = False
    held = 4

    def size(self, width: int, sequence: int) -> int:
        """Length of the vector; `width` is that of a state, both directions together."""
        return width

    def weights(self, width: int, sequence: int) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the head's own weights; each is drawn normal, with variance 1 / its last length."""
        return {}

    def products(self, width: int, sequence: int) -> int:
        """Multiply-adds of a window, the output layer's included."""
        return 2 * width * sequence if self.weights(width, sequence) else self.size(width, sequence)

    @abstractmethod
    def pooled(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        """The plain form, of one network: states (batch, sequence, width) -> (batch, size)."""

    def weighed(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        """The batched form, with the output layer's weights; a head may have a faster one of its own.

        Args:
            output: shape (members, 1, size).
            states: shape (sequence, members, width, batch).
            weights: each (members, *shape).

        Returns:
            Shape (members, 1, batch).
        """
        from torch import vmap

        vectors = vmap(self.pooled)(states.permute(1, 3, 0, 2), dict(weights))
        return output.bmm(vectors.transpose(1, 2))


class Last(Head):
    """The last step's states."""

    means, reads_last, held = "the last step's states", True, 2

    def pooled(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return states[:, -1]

    def weighed(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return output.bmm(states[-1])


class Flatten(Head):
    """All steps' states side by side, so that the output layer has weights for each step."""

    means, held = "all side by side", 2

    def size(self, width: int, sequence: int) -> int:
        return width * sequence

    def pooled(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return states.flatten(1)

    def weighed(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        by_step = output.view(output.shape[0], 1, len(states), -1).permute(2, 0, 1, 3)
        return by_step.matmul(states).sum(0)


class Mean(Head):
    """The mean of all steps' states."""

    means, held = "their mean", 2

    def pooled(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return states.mean(1)

    def weighed(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return output.bmm(states.mean(0))


class Attention(Head):
    """A mean of the steps' states, weighted by the softmax of their products with a learned query."""

    means = "a learned query's attention over them"

    def weights(self, width: int, sequence: int) -> Mapping[str, tuple[int, ...]]:
        return {"query": (width,)}

    def pooled(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        attention = (states @ weights["query"]).softmax(1)
        return (attention.unsqueeze(-1) * states).sum(1)

    def weighed(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        scores = weights["query"][:, None].matmul(states)
        return output.bmm((scores.softmax(0) * states).sum(0))


HEADS: dict[str, Head] = {"last": Last(), "flatten": Flatten(), "mean": Mean(), "attention": Attention()}
