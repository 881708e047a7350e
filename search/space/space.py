"""Load a space file as a `Space`: the configuration of a study, with its parameters and folds."""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any, Literal

from search.space.document import SpaceDocument, SpaceError, find_space_file
from search.space.parameters import (
    FIELDS,
    Parameter,
    Value,
    count_new_points,
    default_point,
    effective_point,
    task_defaults,
)
from search.space.parser import Contents, parse_document
from search.space.resources import ResourceRules
from search.space.yaml_reader import Key, yaml_text
from stockrnn.dataset.config import FEATURE_SETS, WindowConfig, parse_features
from stockrnn.dataset.features import columns_needed, missing_columns, warm_up
from stockrnn.evaluation.walk_forward import FoldError, FoldSizes, WalkForward, fit_sizes, walk_forward
from stockrnn.networks.config import NetworkConfig
from stockrnn.prices.cleaning import missing_column_reason, unusable_volume_reason
from stockrnn.prices.series import Prices, count
from stockrnn.tasks.registry import find_task
from stockrnn.tasks.task import Series, Task
from stockrnn.training.config import TrainingConfig
from stockrnn.volatility.estimators import available

__all__ = ["Space", "SpaceError", "format_settings", "load_space"]

MAX_NAME_LENGTH = 100  # characters
MIN_SESSIONS = 60  # of a series whose shortage is explained by sizes


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
        """Return the number of points, the default configuration included, that train other networks than `points`.

        It is at most `limit`.
        """
        return count_new_points(self.parameters, self.default_point, points, limit)

    @cached_property
    def default_point(self) -> dict[str, Value]:
        """Complete point of the default configuration, the first trial of every study."""
        return default_point(self.parameters, self.data)

    def is_default(self, point: Mapping[str, Any]) -> bool:
        """Return whether a point trains the same networks as the default configuration."""
        return effective_point(point) == self._effective_default

    @cached_property
    def _effective_default(self) -> frozenset[tuple[str, Any]]:
        return effective_point(self.default_point)

    @property
    def task(self) -> Task:
        """What is forecast."""
        return find_task(self.data.task)

    def series(self, prices: Prices) -> Series:
        """Return a series and how it is forecast."""
        return Series(prices=prices, horizon=self.data.horizon, estimator=self.data.estimator)

    @property
    def mode(self) -> str:
        """`min` if lower scores are better, otherwise `max`."""
        return self.task.metrics[self.search.metric].better

    @property
    def initial(self) -> tuple[dict[str, Value], ...]:
        """Points of the first trials, with the values of their varying parameters."""
        return tuple(self.search.initial)

    @property
    def warm_points(self) -> tuple[dict[str, Value], ...]:
        """Points of `search.warm_start`, with the values of their varying parameters; empty before they are read."""
        warm_start = self.search.warm_start
        return tuple(warm_start.points or ()) if warm_start else ()

    def with_warm_points(self, points: Sequence[Mapping[str, Value]]) -> "Space":
        """Return this space, which has a warm start, with its points."""
        assert self.search.warm_start
        warm_start = self.search.warm_start.model_copy(update={"points": [dict(point) for point in points]})
        return replace(self, search=self.search.model_copy(update={"warm_start": warm_start}))

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
        """Return this space; without the default features that the prices do not have, or have no usable volume for."""
        is_parameter = any(parameter.name == "features" for parameter in self.parameters)
        is_given = is_parameter or "features" in (self.document.data.get("data") or {})
        wanted = self.data.features
        absent = {
            name for name in FEATURE_SETS["ohlc"]
            if name not in prices.columns and missing_column_reason(prices, name).startswith("there is no")
        }  # fmt: skip
        absent |= {"volume"} if unusable_volume_reason(prices) else set()
        if is_given or not any(absent & {*columns_needed(name)} for name in wanted):
            return self
        features = tuple(name for name in wanted if name not in absent)
        if missing_columns(prices, features):  # they are computed from several columns
            features = FEATURE_SETS[self.task.features_of_closes]
        return replace(self, data=self.data.model_copy(update={"features": features}))

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
        values = {**task_defaults(self.data), **point}
        window, network, training = (
            {name: value for name, value in values.items() if FIELDS[name] is owner}
            for owner in (WindowConfig, NetworkConfig, TrainingConfig)
        )
        return (
            WindowConfig.model_validate(
                {**window, "others": tuple(other.name for other in self.data.also), "estimator": self.data.estimator}
            ),
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
            return self._walk_forward(len(prices), self._sizes, self.max_warm_up)
        except FoldError:
            key, problem = self._explain_shortage(prices)
        if settings := self.fitting_settings(prices):
            fix = f"use a longer series, or add --fit, which does the same as {format_settings(settings)}"
        elif len(prices) <= MIN_SESSIONS:
            raise self.error(
                ("data", "source"),
                f"{prices.source}: has {count(len(prices), 'session')}, {prices.dates[0]} to {prices.dates[-1]}, and a "
                "study needs hundreds; no smaller sizes fit either; use a longer series",
            )
        else:
            fix = "no smaller sizes fit either; use a longer series, or features that need fewer earlier sessions"
        raise self.error(key, f"{problem}; {fix}")

    def _explain_shortage(self, prices: Prices) -> tuple[Key, str]:
        """Return the key that is most to blame if a series is too short, and the problem."""
        sizes, sessions = self._sizes, len(prices)

        def problem(warm_up: int = 0, **changes: Any) -> FoldError | None:
            try:
                self._walk_forward(sessions, replace(sizes, **changes), warm_up)
            except FoldError as error:
                return error
            return None

        if error := problem(longest_sequence=1):
            blocks: dict[Key, int] = {
                ("validation", "folds"): sizes.folds * sizes.fold_size, ("data", "test_size"): sizes.test_size,
                ("validation", "train_size"): sizes.train_size or 0,
            }  # fmt: skip
            key = max(blocks, key=lambda key: blocks[key])
            if not problem(self.max_warm_up, train_size=None):
                key = ("validation", "train_size")
            whole = problem(self.max_warm_up)
            return key, f"{prices.source}: {whole if whole and whole.needed > sessions else error}"
        if error := problem():
            if sizes.train_size is not None and not problem(self.max_warm_up, train_size=None):
                return ("validation", "train_size"), f"{prices.source}: {error}"
            return ("space", "sequence_length"), (
                f"{sizes.longest_sequence} does not fit into the training part of the first fold; {prices.source}: "
                f"{error}"
            )
        return self._features_key, (
            f"{self._longest_warm_up_input} has no value on the first {self.max_warm_up} sessions, which leaves "
            f"no window for the training part of the first fold; {prices.source}: {problem(self.max_warm_up)}"
        )

    def fitting_settings(self, prices: Prices) -> list[tuple[str, str]]:
        """Return the settings, as (dotted key, YAML text), with which the folds fit a series that is too short.

        The list is empty if the series is long enough, or if no settings fit.
        """
        sessions = len(prices)
        with suppress(FoldError):
            self._walk_forward(sessions, self._sizes, self.max_warm_up)
            return []
        for sizes in fit_sizes(sessions, self._sizes, horizon=self.data.horizon, warm_up=self.max_warm_up):
            settings = self._settings(sizes)
            try:
                changed = self.with_settings(settings)
                changed._walk_forward(sessions, changed._sizes, changed.max_warm_up)
            except (SpaceError, FoldError):  # for example, an initial point has a longer window
                continue
            return settings
        return []

    def with_settings(self, settings: Sequence[tuple[str, str]]) -> "Space":
        """Return this space with some settings of folds, test set and windows changed.

        Raises:
            SpaceError: another part of the space contradicts them.
        """
        if not settings:
            return self
        document = copy.deepcopy(self.document)
        for name, text in settings:
            document.override(name, text)
        changed = parse_document(document, has_prices=True)
        return replace(
            self, data=self.data.model_copy(update={"test_size": changed.data.test_size}), search=changed.search,
            validation=changed.validation, parameters=changed.parameters, document=document,
        )  # fmt: skip

    @property
    def _sizes(self) -> FoldSizes:
        validation = self.validation
        return FoldSizes(
            folds=validation.folds, fold_size=validation.fold_size, test_size=self.data.test_size,
            train_size=validation.train_size, longest_sequence=self.max_sequence_length,
        )  # fmt: skip

    def _settings(self, sizes: FoldSizes) -> list[tuple[str, str]]:
        """Return the settings that change the sizes of this space to others."""
        names = {"folds": "validation", "fold_size": "validation", "train_size": "validation", "test_size": "data"}
        found = [
            (f"{section}.{name}", str(getattr(sizes, name)))
            for name, section in names.items()
            if getattr(sizes, name) != getattr(self._sizes, name)
        ]
        if sizes.longest_sequence != self._sizes.longest_sequence:
            domain = self._shorten_windows(sizes.longest_sequence)
            found.append(("space.sequence_length", yaml_text({"space": {"x": domain}}).partition("x: ")[2].strip()))
        return found

    def _shorten_windows(self, longest: int) -> Any:
        """Return the domain of `sequence_length` without longer windows, as plain data for a space file."""
        known = next((one for one in self.parameters if one.name == "sequence_length"), None)
        values = [value for value in (known and known.all_values()) or () if int(value or 0) <= longest]
        default = WindowConfig.model_fields["sequence_length"].default
        if known is None or not values or (known.when and default > longest):
            return longest
        if known.kind == "int" and len(values) > 1:
            return replace(known, high=int(values[-1] or 0)).as_yaml()
        return replace(known, kind="choice" if len(values) > 1 else "constant", values=tuple(values)).as_yaml()

    def _check_columns(self, prices: Prices) -> None:
        if missing := [name for name in self.task.columns(self.data.estimator) if name not in prices.columns]:
            others = " or ".join(available(prices.columns))
            raise self.error(
                ("data", "estimator"),
                f"{self.data.estimator} needs the column {missing[0]} ({missing_column_reason(prices, missing[0])}); "
                f"the columns of {prices.source} are enough for {others}; write estimator: {others}",
            )
        fix = "use features that do not need it, such as the sets ohlc, returns, technical and close_only"
        for feature, columns in missing_columns(prices, self.features).items():
            reason = missing_column_reason(prices, columns[0])  # names the file if a value of it is wrong
            reason = reason if reason.startswith(prices.source) else f"{prices.source}: {reason}"
            raise self.error(self._features_key, f"{feature} needs the column {columns[0]}; {reason}; {fix}")
        unusable = unusable_volume_reason(prices)
        for feature in self.features:
            if unusable and "volume" in columns_needed(feature):
                raise self.error(self._features_key, f"{feature} needs a volume; {prices.source}: {unusable}; {fix}")

    @property
    def _features_key(self) -> Key:
        is_parameter = any(parameter.name == "features" for parameter in self.parameters)
        return ("space", "features") if is_parameter else ("data", "features")

    def _walk_forward(self, sessions: int, sizes: FoldSizes, warm_up: int) -> WalkForward:
        return walk_forward(sessions, horizon=self.data.horizon, warm_up=warm_up, **vars(sizes))

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


def format_settings(settings: Sequence[tuple[str, str]]) -> str:
    """Return settings as options that can be pasted into a shell."""
    pairs = [f"{name}={value}" for name, value in settings]
    return " ".join(f"--set {pair}" if re.fullmatch(r"[\w.=]+", pair) else f'--set "{pair}"' for pair in pairs)


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
