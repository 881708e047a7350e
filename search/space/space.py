"""Load a space file as a `Space`: the configuration of a study, with its parameters and folds."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any, Literal

from search.space.document import SpaceDocument, SpaceError, find_space_file
from search.space.parameters import FIELDS, Parameter, Value, count_new_points
from search.space.parser import Contents, parse_document
from search.space.resources import ResourceRules
from search.space.yaml_reader import Key, yaml_text
from stockrnn.dataset.config import FEATURE_SETS, WindowConfig, features_label, parse_features
from stockrnn.dataset.features import columns_needed, missing_columns, warm_up
from stockrnn.dataset.walk_forward import FoldError, WalkForward, walk_forward
from stockrnn.evaluation.scores import METRICS
from stockrnn.networks.config import NetworkConfig
from stockrnn.prices.cleaning import unusable_volume_reason
from stockrnn.prices.series import Prices
from stockrnn.training.config import TrainingConfig

__all__ = ["Space", "SpaceError", "load_space"]

MAX_NAME_LENGTH = 100  # characters


@dataclass(frozen=True, kw_only=True)
class Space(Contents):
    """A validated space file. Spaces with the same contents are equal, even if they come from different files."""

    document: SpaceDocument = field(compare=False, repr=False)

    @property
    def varying(self) -> tuple[Parameter, ...]:
        """Parameters whose values the sampler chooses."""
        return tuple(parameter for parameter in self.parameters if parameter.varies)

    @cached_property
    def num_samples(self) -> int:
        """Number of trials: `search.num_samples`, or that of the different points if there are fewer."""
        return self.count_new_points((), self.requested_samples)

    @property
    def requested_samples(self) -> int:
        """Value of `search.num_samples`."""
        assert self.search.num_samples is not None
        return self.search.num_samples

    def count_new_points(self, points: Iterable[Mapping[str, Any]], limit: int) -> int:
        """Return the number of points that train other networks than `points`, at most `limit`."""
        return count_new_points(self.parameters, points, limit)

    @property
    def mode(self) -> str:
        """`min` if lower scores are better, otherwise `max`."""
        return METRICS[self.search.metric]

    @property
    def initial(self) -> tuple[dict[str, Value], ...]:
        """Points of the first trials, with the values of their varying parameters."""
        return tuple(self.search.initial)

    @property
    def resource_rules(self) -> ResourceRules:
        """Resources of the trials, by point."""
        return ResourceRules(self.resources, self.parameters)

    @property
    def execution_mode(self) -> Literal["batched", "looped"] | None:
        """How the networks of a trial are computed; None if their shape decides."""
        return None if self.training.lockstep == "auto" else self.training.lockstep

    def studies(self) -> list["Space"]:
        """Return this space; if it has several tickers or files, a copy for each of them."""
        changes: list[tuple[str, dict[str, Any]]] = [
            *((ticker, {"ticker": ticker, "tickers": ()}) for ticker in self.data.tickers),
            *((PurePath(file).name.partition(".")[0], {"source": file, "sources": ()}) for file in self.data.sources),
        ]
        names: list[str] = []
        for series, _ in changes:
            name = f"{self.name}-{re.sub('[^A-Za-z0-9]+', '-', series).strip('-') or 'series'}"[:MAX_NAME_LENGTH]
            names.append(name if name not in names else f"{name[: MAX_NAME_LENGTH - 6]}-{len(names) + 1}")
        return [
            replace(self, name=name, data=self.data.model_copy(update=update))
            for name, (_, update) in zip(names, changes, strict=True)
        ] or [self]

    def with_workers(self, workers: int) -> "Space":
        """Return this space with that value of `resources.workers`, unless it has one."""
        if self.resources.workers is not None:
            return self
        return replace(self, resources=self.resources.model_copy(update={"workers": workers}))

    def adapted_to(self, prices: Prices) -> "Space":
        """Return this space; without the default feature volume if the prices have no usable volume."""
        is_parameter = any(parameter.name == "features" for parameter in self.parameters)
        is_given = is_parameter or "features" in (self.document.data.get("data") or {})
        if is_given or unusable_volume_reason(prices) is None:
            return self
        return replace(self, data=self.data.model_copy(update={"features": FEATURE_SETS["ohlc"]}))

    def error(self, key: Key, text: str) -> SpaceError:
        """Return the error of a key that can be checked only with the prices or the machine."""
        return SpaceError([self.document.format_problem(key, text)])

    def point(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values of a sampler and the constants that exist at this point, in the order of the space."""
        complete: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.name in values:
                complete[parameter.name] = values[parameter.name]
            elif not parameter.varies and parameter.applies(complete):
                complete[parameter.name] = parameter.values[0]
        return complete

    def is_complete(self, values: Mapping[str, Value]) -> bool:
        """Return whether there is a value for every varying parameter that exists at this point."""
        point = self.point(values)
        return all(parameter.name in point for parameter in self.parameters if parameter.applies(point))

    def configurations(self, point: Mapping[str, Value]) -> tuple[WindowConfig, NetworkConfig, TrainingConfig]:
        """Return the configurations of one trial; parameters that the point lacks have their defaults.

        The other series of `data.also` are inputs of every trial.
        """
        values: dict[str, Value] = {"features": features_label(self.data.features), **point}
        window, network, training = (
            {name: value for name, value in values.items() if FIELDS[name] is owner}
            for owner in (WindowConfig, NetworkConfig, TrainingConfig)
        )
        return (
            WindowConfig.model_validate({**window, "others": tuple(other.name for other in self.data.also)}),
            NetworkConfig.model_validate(network),
            TrainingConfig.model_validate(training),
        )

    @property
    def max_sequence_length(self) -> int:
        """Sessions of the longest window of any trial."""
        default = WindowConfig.model_validate({}).sequence_length
        for parameter in self.parameters:
            if parameter.name == "sequence_length":
                longest = max(int(value or 0) for value in parameter.values or (parameter.high,))
                return max(longest, default) if parameter.when else longest
        return default

    @property
    def features(self) -> tuple[str, ...]:
        """Features of all trials, each once."""
        sets: list[Any] = [self.data.features]
        for parameter in self.parameters:
            if parameter.name == "features":
                sets = [*(sets if parameter.when else []), *(parse_features(value) for value in parameter.values)]
        return tuple(dict.fromkeys(name for features in sets for name in features))

    @property
    def max_warm_up(self) -> int:
        """Sessions at the start of a series without a value of some input of some trial."""
        return warm_up(self._longest_warm_up_input)

    @property
    def _longest_warm_up_input(self) -> str:
        """The input that needs the most earlier sessions."""
        return max((*self.features, *(other.name for other in self.data.also)), key=warm_up)

    def split(self, prices: Prices) -> WalkForward:
        """Return the folds and the test block of a series.

        Raises:
            SpaceError: the series lacks a column of a feature or a usable volume, or is too short for the folds, the
                longest window or the warm-up of a feature.
        """
        self._check_columns(prices)
        try:
            self._walk_forward(prices, max_sequence_length=1)
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
                f"{prices.source}: {error}; use a longer series, or a smaller train_size, fold_size or test_size, or "
                "fewer folds",
            ) from None
        try:
            self._walk_forward(prices, max_sequence_length=self.max_sequence_length)
        except FoldError as error:
            raise self.error(
                ("space", "sequence_length"),
                f"{self.max_sequence_length} does not fit into the training part of the first fold; {error}; "
                "use a smaller sequence_length, or fewer sessions for the folds and the test set",
            ) from None
        try:
            return self._walk_forward(prices, max_sequence_length=self.max_sequence_length, warm_up=self.max_warm_up)
        except FoldError as error:
            raise self.error(
                self._features_key,
                f"{self._longest_warm_up_input} has no value on the first {self.max_warm_up} sessions, which leaves "
                f"no window for the training part of the first fold; {error}; use features that need fewer earlier "
                "sessions, or a longer series",
            ) from None

    def _check_columns(self, prices: Prices) -> None:
        fix = "use features that do not need it, such as the sets ohlc, returns and technical"
        for feature, columns in missing_columns(prices, self.features).items():
            raise self.error(
                self._features_key,
                f"{feature} needs the column {columns[0]}, but {prices.source} has only {', '.join(prices.columns)}; "
                f"{fix}",
            )
        unusable = unusable_volume_reason(prices)
        for feature in self.features:
            if unusable and "volume" in columns_needed(feature):
                raise self.error(self._features_key, f"{feature} needs a volume; {prices.source}: {unusable}; {fix}")

    @property
    def _features_key(self) -> Key:
        is_parameter = any(parameter.name == "features" for parameter in self.parameters)
        return ("space", "features") if is_parameter else ("data", "features")

    def _walk_forward(self, prices: Prices, *, max_sequence_length: int, warm_up: int = 0) -> WalkForward:
        validation, data = self.validation, self.data
        return walk_forward(
            len(prices), folds=validation.folds, fold_size=validation.fold_size, test_size=data.test_size,
            horizon=data.horizon, train_size=validation.train_size, longest_sequence=max_sequence_length,
            warm_up=warm_up,
        )  # fmt: skip

    def as_yaml(self) -> str:
        """Return the space with all defaults as YAML; `load_space` reads it into an equal space."""
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


def load_space(path: str, overrides: Sequence[tuple[str, str, str]] = (), *, has_prices: bool = False) -> Space:
    """Return the space of a space file.

    Args:
        path: the YAML file; if it does not exist, the name of a built-in space.
        overrides: (dotted key, YAML text, the option as the user typed it), applied to the file in this order.
        has_prices: the prices are known already, so `data.source` need not exist. It is set for the space of an
            existing study, which has its own copy of the prices.

    Raises:
        SpaceError: with one line per error.
    """
    document = SpaceDocument(find_space_file(path))
    for name, text, option in overrides:
        document.override(name, text, option)
    return Space(**vars(parse_document(document, has_prices=has_prices)), document=document)
