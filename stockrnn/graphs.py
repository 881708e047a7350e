"""A training step as a CUDA graph: small networks on a GPU wait for kernel launches, and a graph is one launch."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["Graphs"]

Work = Callable[[Tensor], None]  # of an input tensor, on the GPU, without returning to the host

logger = logging.getLogger(__name__)


class Graphs:
    """Runs a piece of work of one shape again and again: first as it is, then as the graph captured from it.

    The first call of a key runs the work itself, which also warms up the libraries; the second captures it. Where
    capture fails, everything runs as it is from then on.

    Args:
        generators: random generators on the GPU that the work draws from.
    """

    def __init__(self, generators: Sequence[torch.Generator] = ()) -> None:
        self._generators = generators
        self._seen: set[object] = set()
        self._graphs: dict[object, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._works = True

    def run(self, key: object, work: Work, argument: Tensor) -> None:
        """Do the work with this argument; calls of one key differ in the argument's values alone."""
        if key in self._graphs:
            graph, static = self._graphs[key]
            static.copy_(argument)
            graph.replay()
        elif self._works and key in self._seen and self._capture(key, work, argument):
            self._graphs[key][0].replay()
        else:
            self._seen.add(key)
            work(argument)

    def _capture(self, key: object, work: Work, argument: Tensor) -> bool:
        static = argument.clone()
        try:
            graph = torch.cuda.CUDAGraph()
            for generator in self._generators:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph):
                work(static)
        except RuntimeError as error:
            logger.warning("this step cannot be captured as a CUDA graph and runs without: %s", error)
            self._works = False
            return False
        self._graphs[key] = graph, static
        return True
