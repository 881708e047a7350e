"""What a study's trials ask for on the machines that there are: `gpu: auto` becomes a share."""

from collections.abc import Mapping
from dataclasses import replace

from search.space.parameters import Value
from search.space.resources import Demand, smallest_share
from search.space.sections import AUTO
from search.space.space import Space
from stockrnn.dataset.walk_forward import Fold, WalkForward
from stockrnn.training.memory import TrainingShape, gpu_bytes

__all__ = ["ResourceDemands"]


class ResourceDemands:
    """What each trial asks for, by its point alone: never by what else runs.

    Args:
        space, splits: the study's.
        sessions: of its prices.
        memory: bytes of the smallest GPU that a trial may land on; None where there is none, and `auto` is the CPU.
    """

    def __init__(self, space: Space, splits: WalkForward, sessions: int, memory: int | None) -> None:
        self._space, self._rules, self._memory = space, space.resource_rules, memory
        self._shapes = [_shape(splits.folds, space.validation.seeds, sessions)]
        if space.search.finalists:
            self._shapes.append(_shape((splits.final,), space.search.finalist_seeds, sessions))

    @property
    def kinds(self) -> tuple[Demand, ...]:
        """All that its points may ask for; a share `auto` stands for any that holds a trial."""
        return tuple(dict.fromkeys(self._known(kind) for kind in self._rules.demands))

    def at(self, point: Mapping[str, Value]) -> Demand:
        """What the trial of a complete point asks for, in numbers."""
        demand = self._known(self._rules.at(point))
        if demand.gpu != AUTO:
            return demand
        assert self._memory is not None
        return replace(demand, gpu=smallest_share(self.gpu_memory(point), self._memory))

    def gpu_memory(self, point: Mapping[str, Value]) -> int:
        """Bytes of a GPU that the trial of a point takes, and its training as a finalist."""
        configurations, batched = self._space.configurations(point), self._space.execution_mode != "looped"
        return max(gpu_bytes(*configurations, shape, batched=batched) for shape in self._shapes)

    def _known(self, demand: Demand) -> Demand:
        return replace(demand, gpu=0.0) if demand.gpu == AUTO and self._memory is None else demand


def _shape(folds: tuple[Fold, ...], seeds: int, sessions: int) -> TrainingShape:
    return TrainingShape(
        train=tuple(len(fold.train) for fold in folds), days=max(len(fold.validation) for fold in folds), seeds=seeds,
        sessions=sessions,
    )  # fmt: skip
