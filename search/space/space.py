"""A space: what a space file says, and what a study asks of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from search.space.document import SpaceDocument, SpaceError, find_space_file
from search.space.parameters import FIELDS, Parameter, Value
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
    """A validated space file; two are equal that say the same, whatever files they came from."""

    document: SpaceDocument = field(compare=False, repr=False)

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
    def resource_rules(self) -> ResourceRules:
        """What its trials ask for, by their points."""
        return ResourceRules(self.resources, self.parameters)

    @property
    def execution_mode(self) -> Literal["batched", "looped"] | None:
        """How members are computed, or None where the shape decides."""
        return None if self.training.lockstep == "auto" else self.training.lockstep

    def studies(self) -> list["Space"]:
        """This space, or where it names several tickers the same space for each of them."""
        if not self.data.tickers:
            return [self]
        names: list[str] = []
        for ticker in self.data.tickers:
            own = f"{self.name}-{re.sub('[^A-Za-z0-9]+', '-', ticker).strip('-') or 'ticker'}"[:MAX_NAME_LENGTH]
            names.append(own if own not in names else f"{own}-{len(names) + 1}")
        return [
            replace(self, name=name, data=self.data.model_copy(update={"ticker": ticker, "tickers": ()}))
            for name, ticker in zip(names, self.data.tickers, strict=True)
        ]

    def adapted_to(self, prices: Prices) -> "Space":
        """This space; where it names no features, and the prices have no volume to speak of, without the volume."""
        named = any(parameter.name == "features" for parameter in self.parameters)
        if named or "features" in (self.document.data.get("data") or {}) or unusable_volume_reason(prices) is None:
            return self
        return replace(self, data=self.data.model_copy(update={"features": FEATURE_SETS["ohlc"]}))

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
        """The configurations of one trial; what the point leaves out keeps its default.

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
        """The longest window that any trial may ask for, in sessions."""
        default = WindowConfig.model_validate({}).sequence_length
        for parameter in self.parameters:
            if parameter.name == "sequence_length":
                longest: Any = max(parameter.values or (parameter.high,))  # type: ignore[type-var]
                return max(longest, default) if parameter.when else int(longest)
        return default

    @property
    def features(self) -> tuple[str, ...]:
        """Every feature that any trial may see, each once."""
        chosen: list[Any] = [self.data.features]
        for parameter in self.parameters:
            if parameter.name == "features":
                chosen = [*(chosen if parameter.when else []), *map(parse_features, parameter.values)]
        return tuple(dict.fromkeys(name for features in chosen for name in features))

    @property
    def max_warm_up(self) -> int:
        """Sessions at the start of a series for which not every input of every trial is defined."""
        return warm_up(self._deepest)

    @property
    def _deepest(self) -> str:
        """The input that looks back the furthest."""
        return max((*self.features, *(other.name for other in self.data.also)), key=warm_up)

    def split(self, prices: Prices) -> WalkForward:
        """The folds and test block of a series.

        Raises:
            SpaceError: the series lacks a column of a feature or a usable volume, or is too short for the folds, the
                longest window or the feature that looks back the furthest.
        """
        self._check_columns(prices)
        try:
            self._cut(prices, max_sequence_length=1)
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
            self._cut(prices, max_sequence_length=self.max_sequence_length)
        except FoldError as error:
            raise self.error(
                ("space", "sequence_length"),
                f"{self.max_sequence_length} does not fit into the first fold's training part; {error}; "
                f"shorten it or give the folds fewer sessions",
            ) from None
        try:
            return self._cut(prices, max_sequence_length=self.max_sequence_length, warm_up=self.max_warm_up)
        except FoldError as error:
            raise self.error(
                self._features_key,
                f"{self._deepest} is not defined on the first {self.max_warm_up} sessions, and no window fits "
                f"between them and the first fold's validation; {error}; choose features that look back less, or a "
                f"longer series",
            ) from None

    def _check_columns(self, prices: Prices) -> None:
        instead = "; choose features without it, such as the sets ohlc, returns and technical"
        for feature, columns in missing_columns(prices, self.features).items():
            raise self.error(
                self._features_key,
                f"{feature} needs a column {columns[0]}, which {prices.source} lacks; the series has "
                f"{', '.join(prices.columns)}{instead}",
            )
        unusable = unusable_volume_reason(prices)
        for feature in self.features:
            if unusable and "volume" in columns_needed(feature):
                raise self.error(
                    self._features_key,
                    f"{feature} needs a volume; {prices.source}: {unusable}{instead}",
                )

    @property
    def _features_key(self) -> Key:
        varied = any(parameter.name == "features" for parameter in self.parameters)
        return ("space", "features") if varied else ("data", "features")

    def _cut(self, prices: Prices, *, max_sequence_length: int, warm_up: int = 0) -> WalkForward:
        validation, data = self.validation, self.data
        return walk_forward(
            len(prices), folds=validation.folds, fold_size=validation.fold_size, test_size=data.test_size,
            horizon=data.horizon, train_size=validation.train_size, longest_sequence=max_sequence_length,
            warm_up=warm_up,
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
        path: the YAML file, or the name of a shipped one where there is no such file.
        overrides: (dotted key, YAML text, the option as the user typed it), laid over the file in order.

    Raises:
        SpaceError: with a line for every mistake found.
    """
    document = SpaceDocument(find_space_file(path))
    for name, text, option in overrides:
        document.set(name, text, option)
    return Space(**vars(parse_document(document)), document=document)
