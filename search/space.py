"""A space file: YAML -> a validated Space.

Every mistake of a user becomes one line `FILE:LINE: KEY: what is wrong; the rule; the fix`; all that can be found
in one reading are reported together.
"""

import importlib.util
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError

from search.document import Document, Key, SpaceError
from search.parameters import (
    FIELDS,
    DomainError,
    Parameter,
    Value,
    explain,
    grid_size,
    parse_parameter,
    suggestion,
)
from stockrnn.configuration import (
    Configuration,
    DataConfig,
    NetworkConfig,
    TrainingConfig,
    ValidationConfig,
    WindowConfig,
    features_label,
)
from stockrnn.folds import FoldError, WalkForward, walk_forward
from stockrnn.prices import Prices
from stockrnn.scores import METRICS

__all__ = ["ResourcesConfig", "SchedulerConfig", "SearchConfig", "Space", "SpaceError", "load_space"]

SAMPLERS = ("tpe", "random", "grid", "qmc", "gp", "cmaes")
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
DEFAULT_SAMPLES = 40
Section = TypeVar("Section", bound=Configuration)


class SearchConfig(Configuration):
    """How points of the space are proposed and compared."""

    sampler: Literal["tpe", "random", "grid", "qmc", "gp", "cmaes"] = Field(
        "tpe", description="tpe: learns from the trials before; random; grid: every point once; qmc: evenly spread; "
        "gp: Gaussian process; cmaes: evolution strategy"
    )  # fmt: skip
    num_samples: int | None = Field(
        None, ge=1, description=f"trials in all, those of initial included; null: {DEFAULT_SAMPLES}, or the whole grid"
    )
    metric: Literal[
        "val_theils_u", "val_worst_fold", "val_rmse", "val_mae", "val_direction_accuracy"
    ] = Field("val_theils_u", description="what trials are compared by, and what decides their best epoch")  # fmt: skip
    mode: Literal["min", "max"] | None = Field(None, description="which way is better; null: the metric's own")
    initial: list[dict[str, Any]] = Field(default_factory=list, description="points tried first, one trial each")


class SchedulerConfig(Configuration):
    """ASHA: at the rungs grace_period x reduction_factor^k, all but the best 1/reduction_factor stop."""

    max_epochs: int = Field(30, ge=1, le=100_000, description="epochs of a trial that is never stopped")
    grace_period: int = Field(3, ge=1, description="epochs before a trial may be stopped; max_epochs: never")
    reduction_factor: float = Field(3, gt=1, le=100, description="of how many trials one survives a rung")

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which trials may be stopped."""
        epochs = itertools.takewhile(
            lambda epoch: epoch < self.max_epochs,
            (math.ceil(self.grace_period * self.reduction_factor**power) for power in itertools.count()),
        )
        return tuple(epochs)


class ResourcesConfig(Configuration):
    """What each trial is given."""

    cpu: float = Field(1, gt=0, le=1024, description="CPU cores, and threads of PyTorch")
    gpu: float = Field(0, ge=0, le=64, description="GPUs; a fraction shares one")


SECTIONS: dict[str, type[Configuration]] = {
    "data": DataConfig,
    "validation": ValidationConfig,
    "search": SearchConfig,
    "scheduler": SchedulerConfig,
    "resources": ResourcesConfig,
}
TOP_LEVEL = ("name", "data", "validation", "space", "search", "scheduler", "resources", "seed")


@dataclass(frozen=True, kw_only=True)
class Space:
    """A validated space file."""

    name: str
    data: DataConfig
    validation: ValidationConfig
    parameters: tuple[Parameter, ...]
    search: SearchConfig
    scheduler: SchedulerConfig
    resources: ResourcesConfig
    seed: int
    initial: tuple[dict[str, Value], ...]
    document: Document

    @property
    def varying(self) -> tuple[Parameter, ...]:
        """The parameters that a sampler chooses."""
        return tuple(parameter for parameter in self.parameters if parameter.varies)

    @property
    def num_samples(self) -> int:
        """Trials in all."""
        if self.search.num_samples is not None:
            return self.search.num_samples
        if self.search.sampler == "grid":
            return grid_size(self.parameters, 1_000_000) or 1
        return max(DEFAULT_SAMPLES, len(self.initial))

    @property
    def mode(self) -> str:
        """`min` or `max`: which way the metric is better."""
        return METRICS[self.search.metric]

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
        return int(max(self._ends("sequence_length")))

    def _ends(self, name: str) -> Sequence[Any]:
        parameter = next((parameter for parameter in self.parameters if parameter.name == name), None)
        if parameter is None:
            return [FIELDS[name].model_fields[name].default]
        return parameter.values or (parameter.low, parameter.high)

    def folds(self, prices: Prices) -> WalkForward:
        """The folds and test block of a series.

        Raises:
            SpaceError: the series is too short for them, or the longest window for the training part.
        """
        validation, data = self.validation, self.data

        def cut(longest: int) -> WalkForward:
            return walk_forward(
                len(prices), folds=validation.folds, fold_size=validation.fold_size, test_size=data.test_size,
                horizon=data.horizon, train_size=validation.train_size, longest_sequence=longest,
            )  # fmt: skip

        try:
            cut(1)
        except FoldError as error:
            key: Key = ("validation", "train_size") if validation.train_size else ("validation", "folds")
            raise self.error(
                key, f"{prices.source}: {error}; use a longer series, or smaller folds, fold_size or test_size"
            ) from None
        try:
            return cut(self.longest_sequence)
        except FoldError as error:
            raise self.error(
                ("space", "sequence_length"),
                f"{self.longest_sequence} is longer than the training part of the first fold allows; {error}; "
                f"shorten it or give the folds fewer sessions",
            ) from None

    def as_yaml(self) -> str:
        """The space with every default filled in, as YAML that `load_space` reads to an equal space."""
        sections: dict[str, Any] = {"name": self.name}
        for name in ("data", "validation"):
            sections[name] = getattr(self, name).model_dump(mode="json")
        sections["space"] = {parameter.name: parameter.as_yaml() for parameter in self.parameters}
        sections["search"] = {
            **self.search.model_dump(mode="json"), "num_samples": self.num_samples, "mode": self.mode,
            "initial": list(self.initial),
        }  # fmt: skip
        for name in ("scheduler", "resources"):
            sections[name] = getattr(self, name).model_dump(mode="json")
        sections["seed"] = self.seed
        blocks = [
            yaml.dump({name: block}, default_flow_style=None, sort_keys=False, width=110)
            for name, block in sections.items()
        ]
        return "".join(blocks)


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
    return _Reader(document).space()


class _Reader:
    """One reading of a document: collects every problem before it gives up."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[str] = []

    def space(self) -> Space:
        data = self.document.data
        for key in data:
            if key not in TOP_LEVEL:
                hint = suggestion(key, TOP_LEVEL)
                if key in FIELDS:
                    hint = f"; a parameter stands under space; write space: {{{key}: ...}}"
                self._problem((key,), f"unknown key{hint or '; keys are ' + ', '.join(TOP_LEVEL)}")
        sections = {name: self._section(name, config) for name, config in SECTIONS.items()}
        parameters = self._parameters(data.get("space"))
        name, seed = self._name(data.get("name", "study")), self._seed(data.get("seed", 0))
        search, scheduler = sections["search"], sections["scheduler"]
        initial: tuple[dict[str, Value], ...] = ()
        if isinstance(search, SearchConfig):
            self._check_search(search)
            if parameters:
                initial = self._initial(search, parameters)
                self._check_sampler(search, parameters)
        if isinstance(scheduler, SchedulerConfig) and scheduler.grace_period > scheduler.max_epochs:
            self._problem(
                ("scheduler", "grace_period"),
                f"{scheduler.grace_period} is above max_epochs {scheduler.max_epochs}; a trial may be stopped "
                f"after its grace period and before max_epochs; write {scheduler.max_epochs} to stop nothing early",
            )
        if self.problems:
            raise SpaceError(self.problems)
        return Space(
            name=name, parameters=parameters, seed=seed, initial=initial, document=self.document,
            **sections,  # type: ignore[arg-type]
        )  # fmt: skip

    def _problem(self, key: Key, text: str) -> None:
        self.problems.append(self.document.problem(key, text))

    def _section(self, name: str, config: type[Section]) -> Section | None:
        raw = self.document.data.get(name)
        if not isinstance(raw, dict | None):
            self._problem((name,), f"{raw!r} is no section; a section holds keys; write them below it, indented")
            return None
        try:
            return config.model_validate(raw or {})
        except ValidationError as error:
            for key, text in explain(error):
                if text == "unknown key" and len(key) == 1:
                    known = list(config.model_fields)
                    text += suggestion(key[0], known) or f"; keys of {name} are {', '.join(known)}"
                self._problem((name, *key), text)
            return None

    def _parameters(self, raw: object) -> tuple[Parameter, ...]:
        if not isinstance(raw, dict) or not raw:
            self._problem(
                ("space",),
                "is missing or empty; it holds the parameters to vary, architecture at least; "
                "write space: {architecture: [rnn, gru, lstm]}",
            )
            return ()
        parameters: dict[str, Parameter] = {}
        for name, entry in raw.items():
            if name not in FIELDS:
                self._problem(
                    ("space", name),
                    f"unknown parameter{suggestion(name, FIELDS) or '; parameters are ' + ', '.join(FIELDS)}",
                )
                continue
            try:
                parameters[name] = parse_parameter(name, entry, parameters)
            except DomainError as error:
                self._problem(("space", name, *error.key), str(error))
        if "architecture" not in raw:
            self._problem(
                ("space",), "architecture is missing; it is the one parameter without a default; "
                "write architecture: [rnn, gru, lstm]",
            )  # fmt: skip
        return tuple(parameters.values())

    def _name(self, raw: object) -> str:
        if not isinstance(raw, str) or not re.fullmatch(NAME, raw):
            self._problem(
                ("name",), f"{raw!r} is no name; it becomes a folder's: letters, digits, dot, dash and underscore, "
                "at most 100, the first a letter or digit; rename the study",
            )  # fmt: skip
            return ""
        return raw

    def _seed(self, raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < 2**32:
            self._problem(("seed",), f"{raw!r} is no seed; it must be a whole number from 0 to {2**32 - 1}; write 0, say")
            return 0
        return raw

    def _check_search(self, search: SearchConfig) -> None:
        better = METRICS[search.metric]
        if search.mode not in (None, better):
            self._problem(
                ("search", "mode"),
                f"{search.mode} is the wrong way; {search.metric} is better when "
                f"{'smaller' if better == 'min' else 'larger'}; write mode: {better} or leave it out",
            )
        if search.num_samples is not None and search.num_samples < len(search.initial):
            self._problem(
                ("search", "num_samples"),
                f"{search.num_samples} is less than the {len(search.initial)} points of search.initial, which count "
                f"among the trials; write at least {len(search.initial)}",
            )

    def _initial(self, search: SearchConfig, parameters: tuple[Parameter, ...]) -> tuple[dict[str, Value], ...]:
        by_name = {parameter.name: parameter for parameter in parameters}
        points = []
        for index, raw in enumerate(search.initial):
            key: Key = ("search", "initial", index)
            point: dict[str, Value] = {}
            for name, value in raw.items():
                if name not in by_name:
                    self._problem((*key, name), f"is no parameter of this space{suggestion(name, by_name)}")
                    continue
                try:
                    value = parse_parameter(name, value, {}).values[0]
                except (DomainError, IndexError) as error:
                    self._problem((*key, name), str(error) if isinstance(error, DomainError) else "must be one value")
                    continue
                if not by_name[name].contains(value):
                    self._problem((*key, name), f"{value!r} is not in the domain of space.{name}; widen it or change the point")
                    continue
                point[name] = value
            constants = {parameter.name: parameter.values[0] for parameter in parameters if not parameter.varies}
            for name in point:
                if name in by_name and not by_name[name].applies({**constants, **point}):
                    self._problem(
                        (*key, name), f"does not exist at this point; its condition is {_condition(by_name[name])}; "
                        "remove it or set that parameter",
                    )  # fmt: skip
            points.append({name: value for name, value in point.items() if by_name[name].varies})
        return tuple(points)

    def _check_sampler(self, search: SearchConfig, parameters: tuple[Parameter, ...]) -> None:
        for rule in _misfits(search.sampler, parameters):
            self._problem(("search", "sampler"), f"{search.sampler} does not fit this space: {rule}")


def _misfits(sampler: str, parameters: tuple[Parameter, ...]) -> Iterator[str]:
    """Why a sampler cannot search these parameters: rule and fix."""
    varying = [parameter for parameter in parameters if parameter.varies]
    endless = [parameter.name for parameter in parameters if parameter.all_values() is None]
    choices = [parameter.name for parameter in varying if parameter.kind == "choice"]
    conditional = [parameter.name for parameter in varying if parameter.when]
    if sampler == "grid" and endless:
        yield f"{', '.join(endless)} has endlessly many values; a grid needs lists, int ranges or a step; add a step"
    if sampler in ("qmc", "cmaes") and choices:
        yield f"{', '.join(choices)} is a choice; it searches ranges only; use tpe, or fix each choice to one value"
    if sampler in ("qmc", "cmaes", "gp") and conditional:
        yield f"{', '.join(conditional)} has a condition; it searches unconditional spaces only; use tpe or drop 'when'"
    if sampler == "cmaes" and len(varying) < 2:
        yield "fewer than two parameters vary; it needs two; use tpe"
    packages = {"cmaes": "cmaes", "gp": "scipy"}
    if sampler in packages and importlib.util.find_spec(packages[sampler]) is None:
        yield f"it needs the package {packages[sampler]}, which is not installed; pip install 'stockrnn-search[{sampler}]'"


def _condition(parameter: Parameter) -> str:
    return " and ".join(f"{name} in {list(values)}" for name, values in parameter.when.items())
