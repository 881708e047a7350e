"""A space: what a space file says, and what a study asks of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from search.document import Document, Key, SpaceError, yaml_text
from search.parameters import FIELDS, Parameter, Value
from search.reading import Contents, read
from stockrnn.configuration import NetworkConfig, TrainingConfig, WindowConfig, features_label
from stockrnn.folds import FoldError, WalkForward, walk_forward
from stockrnn.scores import METRICS
from stockrnn.series import Prices

__all__ = ["Space", "SpaceError", "load_space"]


@dataclass(frozen=True, kw_only=True)
class Space(Contents):
    """A validated space file; two are equal that say the same, whatever files they came from."""

    document: Document = field(compare=False, repr=False)

    @property
    def varying(self) -> tuple[Parameter, ...]:
        """The parameters that a sampler chooses."""
        return tuple(parameter for parameter in self.parameters if parameter.varies)

    @property
    def num_samples(self) -> int:
        """Trials in all."""
        assert self.search.num_samples is not None
        return self.search.num_samples

    @property
    def mode(self) -> str:
        """`min` or `max`: which way the metric is better."""
        return METRICS[self.search.metric]

    @property
    def initial(self) -> tuple[dict[str, Value], ...]:
        """The points tried first: their values of the parameters that vary."""
        return tuple(self.search.initial)

    @property
    def device(self) -> str:
        """Where trials train."""
        return "cuda" if self.resources.gpu else "cpu"

    @property
    def form(self) -> Literal["batched", "looped"] | None:
        """How members are computed, or None where the shape decides."""
        return None if self.training.lockstep == "auto" else self.training.lockstep

    def error(self, key: Key, text: str) -> SpaceError:
        """The error that a key of this space is wrong, for what only prices or the machine can tell."""
        return SpaceError([self.document.problem(key, text)])

    def point(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """A sampler's values, with the constants that apply beside them, in the space's order."""
        complete: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.name in values:
                complete[parameter.name] = values[parameter.name]
            elif not parameter.varies and parameter.applies(complete):
                complete[parameter.name] = parameter.values[0]
        return complete

    def configurations(self, point: Mapping[str, Value]) -> tuple[WindowConfig, NetworkConfig, TrainingConfig]:
        """The configurations of one trial; what the point leaves out keeps its default."""
        values: dict[str, Value] = {"features": features_label(self.data.features), **point}
        window, network, training = (
            {name: value for name, value in values.items() if FIELDS[name] is owner}
            for owner in (WindowConfig, NetworkConfig, TrainingConfig)
        )
        return (
            WindowConfig.model_validate(window),
            NetworkConfig.model_validate(network),
            TrainingConfig.model_validate(training),
        )

    @property
    def longest_sequence(self) -> int:
        """The longest window that any trial may ask for, in sessions."""
        default = WindowConfig.model_validate({}).sequence_length
        for parameter in self.parameters:
            if parameter.name == "sequence_length":
                longest: Any = max(parameter.values or (parameter.high,))  # type: ignore[type-var]
                return max(longest, default) if parameter.when else int(longest)
        return default

    def folds(self, prices: Prices) -> WalkForward:
        """The folds and test block of a series.

        Raises:
            SpaceError: the series is too short for them, or the longest window for the training part.
        """
        try:
            self._cut(prices, longest_sequence=1)
        except FoldError as error:
            if error.needed <= len(prices):
                raise self.error(("validation", "train_size"), f"{error}; write {error.needed} or more") from None
            blocks: dict[Key, int] = {
                ("validation", "folds"): self.validation.folds * self.validation.fold_size,
                ("validation", "train_size"): self.validation.train_size or 0,
                ("data", "test_size"): self.data.test_size,
            }
            raise self.error(
                max(blocks, key=lambda key: blocks[key]),
                f"{prices.source}: {error}; use a longer series, or smaller folds, fold_size or test_size",
            ) from None
        try:
            return self._cut(prices, longest_sequence=self.longest_sequence)
        except FoldError as error:
            raise self.error(
                ("space", "sequence_length"),
                f"{self.longest_sequence} does not fit into the first fold's training part; {error}; "
                f"shorten it or give the folds fewer sessions",
            ) from None

    def _cut(self, prices: Prices, *, longest_sequence: int) -> WalkForward:
        validation, data = self.validation, self.data
        return walk_forward(
            len(prices), folds=validation.folds, fold_size=validation.fold_size, test_size=data.test_size,
            horizon=data.horizon, train_size=validation.train_size, longest_sequence=longest_sequence,
        )  # fmt: skip

    def as_yaml(self) -> str:
        """The space with every default filled in, as YAML that `load_space` reads to an equal space."""
        return yaml_text(
            {
                "name": self.name,
                "data": self.data.model_dump(mode="json"),
                "validation": self.validation.model_dump(mode="json"),
                "space": {parameter.name: parameter.as_yaml() for parameter in self.parameters},
                "search": self.search.model_dump(mode="json"),
                "scheduler": self.scheduler.model_dump(mode="json"),
                "training": self.training.model_dump(mode="json"),
                "resources": self.resources.model_dump(mode="json"),
                "tracking": self.tracking.model_dump(mode="json"),
                "seed": self.seed,
            }
        )


def load_space(path: str, overrides: Sequence[tuple[str, str, str]] = ()) -> Space:
    """Read and check a space file.

    Args:
        path: the YAML file.
        overrides: (dotted key, YAML text, the option as the user typed it), laid over the file in order.

    Raises:
        SpaceError: with a line for every mistake found.
    """
    document = Document(path)
    for name, text, option in overrides:
        document.set(name, text, option)
    return Space(**vars(read(document)), document=document)
