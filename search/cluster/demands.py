"""Compute the resources of each trial for the GPUs of this cluster: `gpu: auto` becomes a fraction of a GPU."""

from collections.abc import Mapping
from dataclasses import replace

from search.space.parameters import Value
from search.space.resources import Demand, smallest_share
from search.space.sections import AUTO
from search.space.space import Space
from stockrnn.evaluation.walk_forward import Fold, WalkForward
from stockrnn.training.memory import TrainingShape, gpu_bytes

__all__ = ["ResourceDemands"]


class ResourceDemands:
    """The resources of each trial. They depend only on the trial's point, never on other trials.

    Args:
        space, splits: of the study.
        sessions: number of sessions in the prices.
        memory: bytes of the smallest GPU that a trial can get. None: there is no GPU, and `auto` is the CPU.
    """

    def __init__(self, space: Space, splits: WalkForward, sessions: int, memory: int | None) -> None:
        self._space, self._rules, self._memory = space, space.resource_rules, memory
        self._shapes = [_training_shape(splits.folds, space.validation.seeds, sessions)]
        if space.search.finalists:
            self._shapes.append(_training_shape((splits.final,), space.search.finalist_seeds, sessions))

    @property
    def kinds(self) -> tuple[Demand, ...]:
        """All demands of points of the space and of the default configuration.

        `auto` stays where the fraction depends on the point.
        """
        demands = (*self._rules.demands, self._rules.at(self._space.default_point))
        return tuple(dict.fromkeys(self._without_missing_gpu(kind) for kind in demands))

    def at(self, point: Mapping[str, Value]) -> Demand:
        """Return the demand of a trial, given its complete point; all values are numbers."""
        demand = self._without_missing_gpu(self._rules.at(point))
        if demand.gpu != AUTO:
            return demand
        assert self._memory is not None
        return replace(demand, gpu=smallest_share(self.gpu_memory(point), self._memory))

    def gpu_memory(self, point: Mapping[str, Value]) -> int:
        """Return the bytes of GPU memory for the training of a trial, and for its training as a finalist."""
        configurations, batched = self._space.configurations(point), self._space.execution_mode != "looped"
        return max(gpu_bytes(*configurations, shape, batched=batched) for shape in self._shapes)

    def _without_missing_gpu(self, demand: Demand) -> Demand:
        return replace(demand, gpu=0.0) if demand.gpu == AUTO and self._memory is None else demand


def _training_shape(folds: tuple[Fold, ...], seeds: int, sessions: int) -> TrainingShape:
    return TrainingShape(
        train=tuple(len(fold.train) for fold in folds), days=max(len(fold.validation) for fold in folds), seeds=seeds,
        sessions=sessions,
    )  # fmt: skip
