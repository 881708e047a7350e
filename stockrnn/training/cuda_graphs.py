"""Capture training steps as CUDA graphs, so that a step of small networks needs one launch instead of many."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["CudaGraphs"]

Work = Callable[[Tensor], None]  # function of an input tensor that runs on the GPU without synchronization

logger = logging.getLogger(__name__)


class CudaGraphs:
    """Runs functions repeatedly, from the second call on as captured CUDA graphs.

    The first call with a key runs the function itself, which also initializes the libraries; the second call captures
    it. If a capture fails, no further function is captured.

    Args:
        generators: random generators on the GPU that the functions use.
    """

    def __init__(self, generators: Sequence[torch.Generator] = ()) -> None:
        self._generators = generators
        self._seen: set[object] = set()
        self._graphs: dict[object, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._can_capture = True

    def run(self, key: object, work: Work, argument: Tensor) -> None:
        """Run `work` with an argument; calls with the same key may differ only in the argument's values."""
        if key in self._graphs:
            graph, static = self._graphs[key]
            static.copy_(argument)
            graph.replay()
        elif self._can_capture and key in self._seen and self._capture(key, work, argument):
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
            logger.warning("training runs without CUDA graphs, because a step could not be captured: %s", error)
            self._can_capture = False
            return False
        self._graphs[key] = graph, static
        return True
