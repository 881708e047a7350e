"""Define the heads, which pool the states of a window's steps into the input of the output layer.

To add a head, write a class and add it to HEADS: spaces, their schema and error messages, networks, forecasters, and
the estimates of memory and cost read this dictionary. This module does not import PyTorch, so spaces can be read
without it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HEADS", "Head"]


class Head(ABC):
    """Pools the states of all steps into one vector.

    Attributes:
        description: the head in a few words, for the schema of space files.
        reads_last: whether only the last step's states are read, so that batched mode can skip the others.
        peak_tensors: upper bound of the state-sized tensors that forward and backward pass hold at the same time.
    """

    description: str
    reads_last = False
    peak_tensors = 4

    def size(self, width: int, sequence: int) -> int:
        """Return the length of the vector; `width` is the width of a state, both directions together."""
        return width

    def weights(self, width: int, sequence: int) -> Mapping[str, tuple[int, ...]]:
        """Return names and shapes of the head's weights; their initial values are normal, variance 1 / last length."""
        return {}

    def multiply_adds(self, width: int, sequence: int) -> int:
        """Return the number of multiply-adds per window, including the output layer."""
        return 2 * width * sequence if self.weights(width, sequence) else self.size(width, sequence)

    @abstractmethod
    def pool(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        """Pool the states of one network: (batch, sequence, width) -> (batch, size)."""

    def batched_output(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        """Pool the states of all members and apply the output layer; a head may override this with a faster version.

        Args:
            output: weights of the output layer, shape (members, 1, size).
            states: shape (sequence, members, width, batch).
            weights: each (members, *shape).

        Returns:
            Shape (members, 1, batch).
        """
        from torch import vmap

        vectors = vmap(self.pool)(states.permute(1, 3, 0, 2), dict(weights))
        return output.bmm(vectors.transpose(1, 2))


class Last(Head):
    """State of the last step."""

    description, reads_last, peak_tensors = "the last state", True, 2

    def pool(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return states[:, -1]

    def batched_output(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return output.bmm(states[-1])


class Flatten(Head):
    """Concatenation of all steps' states, so that the output layer has weights for each step."""

    description, peak_tensors = "all states, concatenated", 2

    def size(self, width: int, sequence: int) -> int:
        return width * sequence

    def pool(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return states.flatten(1)

    def batched_output(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        by_step = output.view(output.shape[0], 1, len(states), -1).permute(2, 0, 1, 3)
        return by_step.matmul(states).sum(0)


class Mean(Head):
    """Mean of all steps' states."""

    description, peak_tensors = "the mean of all states", 2

    def pool(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return states.mean(1)

    def batched_output(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        return output.bmm(states.mean(0))


class Attention(Head):
    """Mean of the steps' states, weighted by the softmax of their products with a learned query."""

    description = "the mean of all states, weighted by attention with a learned query"

    def weights(self, width: int, sequence: int) -> Mapping[str, tuple[int, ...]]:
        return {"query": (width,)}

    def pool(self, states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        attention = (states @ weights["query"]).softmax(1)
        return (attention.unsqueeze(-1) * states).sum(1)

    def batched_output(self, output: "Tensor", states: "Tensor", weights: Mapping[str, "Tensor"]) -> "Tensor":
        scores = weights["query"][:, None].matmul(states)
        return output.bmm((scores.softmax(0) * states).sum(0))


HEADS: dict[str, Head] = {"last": Last(), "flatten": Flatten(), "mean": Mean(), "attention": Attention()}
