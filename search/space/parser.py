"""Parse a document into the checked contents of a space.

Each error becomes one line `FILE:LINE: KEY: problem; rule; fix`. All errors are reported together, except those that
only follow from another one.
"""

import glob
import json
import os
import re
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from search.common.credentials import strip_credentials
from search.common.messages import explain, find_nearest, format_value, one_line, suggest
from search.space.document import MAX_PROBLEMS, SpaceDocument, SpaceError
from search.space.domains import DomainError, parse_parameter, parse_value
from search.space.parameters import FIELDS, Parameter, Value, default_point, grid_size
from search.space.resources import ResourceRules
from search.space.samplers import MAX_TRIALS, find_conflicts
from search.space.sections import (
    DEFAULT_SAMPLES,
    NAME,
    TOP_LEVEL,
    LockstepConfig,
    ResourcesConfig,
    SchedulerConfig,
    SearchConfig,
    TrackingConfig,
)
from search.space.suggestions import suggest_key, suggest_key_within
from search.space.yaml_reader import Key
from stockrnn.configuration import Configuration
from stockrnn.dataset.config import DataConfig, ValidationConfig
from stockrnn.io.files import suggest_path
from stockrnn.prices.sources import SOURCES, YAHOO, sources_with_tickers
from stockrnn.tasks.registry import find_task
from stockrnn.tasks.task import Task

__all__ = ["Contents", "parse_document"]

SERIES_KEYS = {  # keys of `data` that name the series, and the keys that each of them replaces
    "source": ("sources", "ticker", "tickers"), "sources": ("source", "ticker", "tickers"),
    "ticker": ("source", "sources", "tickers"), "tickers": ("source", "sources", "ticker"),
}  # fmt: skip
Section = TypeVar("Section", bound=Configuration)
Point = dict[str, Value]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Contents of a space file with all defaults filled in; the initial points of `search` are checked."""

    name: str
    data: DataConfig
    validation: ValidationConfig
    parameters: tuple[Parameter, ...]
    search: SearchConfig
    scheduler: SchedulerConfig
    training: LockstepConfig
    resources: ResourcesConfig
    tracking: TrackingConfig
    seed: int


def parse_document(document: SpaceDocument, *, has_prices: bool = False) -> Contents:
    """Return the contents of a document.

    Args:
        has_prices: the prices are known already, so `data.source` need not exist.

    Raises:
        SpaceError: with one line per error.
    """
    return _Parser(document, has_prices).parse()


class _Parser:
    """Parser of one document, which collects all errors before it raises."""

    def __init__(self, document: SpaceDocument, has_prices: bool) -> None:
        self.document, self._has_prices = document, has_prices
        self._problems: list[tuple[int, str]] = []

    def parse(self) -> Contents:
        for key in self.document.data:
            if key not in TOP_LEVEL:
                is_option = not self.document.line((key,))
                self._add_problem((key,), f"unknown key{suggest_key(key, TOP_LEVEL, option=is_option)}")
        name, seed = self._parse_name(), self._parse_seed()
        self._set_default_source()
        data = self._parse_section("data", DataConfig)
        validation = self._parse_section("validation", ValidationConfig)
        parameters = self._parse_parameters()
        search = self._parse_section("search", SearchConfig)
        scheduler = self._parse_section("scheduler", SchedulerConfig)
        training = self._parse_section("training", LockstepConfig)
        resources = self._parse_section("resources", ResourcesConfig)
        tracking = self._parse_section("tracking", TrackingConfig)
        if data and not self._has_prices:
            data = self._expand_sources(data) if data.sources else data
            self._check_source(data)
        task = find_task(data.task) if data else None
        if task:
            self._check_task(task, search, parameters)
        if search and parameters and data:
            search = self._complete_search(search, parameters, data)
        if resources and parameters:
            self._check_resources(resources, parameters)
        if scheduler and scheduler.grace_period > scheduler.max_epochs:
            self._add_grace_problem(scheduler)
        if self._problems:
            raise self._error()
        assert data
        assert validation
        assert search
        assert scheduler
        assert training
        assert resources
        assert tracking
        if tracking.mlflow:  # only the section keeps a password; it removes it when it is pickled
            self.document.data["tracking"]["mlflow"] = strip_credentials(tracking.mlflow)
        return Contents(
            name=name, data=data, validation=validation, parameters=parameters, search=search,
            scheduler=scheduler, training=training, resources=resources, tracking=tracking, seed=seed,
        )  # fmt: skip

    def _add_problem(self, key: Key, text: str) -> None:
        self._problems.append((self.document.line(key), self.document.format_problem(key, text)))
        if len(self._problems) > MAX_PROBLEMS:
            raise self._error()

    def _error(self) -> SpaceError:
        """Return all problems, those of options first, then by line."""
        return SpaceError(text for _, text in sorted(self._problems, key=lambda problem: problem[0]))

    def _parse_name(self) -> str:
        raw = self.document.data.get("name", "study")
        if isinstance(raw, str) and re.fullmatch(NAME, raw):
            return raw
        fix = f'write name: "{format_value(raw)}"' if isinstance(raw, int | float) else "change it"
        self._add_problem(
            ("name",),
            f"{format_value(raw)} is not a valid name; a name is 1 to 100 letters, digits, dots, dashes and "
            f"underscores, and starts with a letter or digit; {fix}",
        )
        return ""

    def _parse_seed(self) -> int:
        raw = self.document.data.get("seed", 0)
        if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**32:
            return raw
        self._add_problem(("seed",), f"{format_value(raw)} is not a seed; write a whole number from 0 to {2**32 - 1}")
        return 0

    def _parse_section(self, name: str, config: type[Section]) -> Section | None:
        raw = self.document.data.get(name)
        if not isinstance(raw, dict | None):
            self._add_problem(
                (name,), f"{format_value(raw)} is not a section; write its keys on the next lines, indented"
            )
            return None
        try:
            return config.model_validate(raw or {})
        except ValidationError as error:
            for key, text in explain(error):
                if text == "unknown key":
                    text += suggest_key_within(key, config)
                first, _, rest = text.partition(" ")
                if not key and first.rstrip(":") in config.model_fields:  # a check of several keys names one of them
                    key, text = (first.rstrip(":"),), rest
                self._add_problem((name, *key), self._plural_key(name, key, raw) or text)
            return None

    def _plural_key(self, section: str, key: Key, raw: object) -> str | None:
        """Return the problem of a list of series where one series is expected; None if it is something else."""
        plural = {"source": "sources", "ticker": "tickers"}.get(str(key[0])) if len(key) == 1 else None
        value = raw.get(key[0]) if section == "data" and plural and isinstance(raw, dict) else None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            return None
        items = "[" + ", ".join(value) + "]"
        option = not self.document.line((section, *key))
        fix = f'--set "data.{plural}={items}"' if option else f"{plural}: {items}"
        return f"{format_value(value)} is a list; {key[0]} is one series, and {plural} are several; write {fix}"

    def _set_default_source(self) -> None:
        """Set Yahoo as the source of a ticker without a source. A series that an option names replaces the file's."""
        data = self.document.data.get("data")
        if not isinstance(data, dict):
            return
        options = {name for name in SERIES_KEYS if data.get(name) and not self.document.line(("data", name))}
        goes_with_ticker = data.get("source") in sources_with_tickers()
        for name in {key for option in options for key in SERIES_KEYS[option]} - options:
            pair = {name, *options}
            if name in data and not (goes_with_ticker and "source" in pair and "sources" not in pair):
                del data[name]
        if "source" not in data and (data.get("ticker") or data.get("tickers")):
            data["source"] = YAHOO

    def _expand_sources(self, data: DataConfig) -> DataConfig:
        """Return the section with the files that `sources` names, in the order of the list, then of their names."""
        for name in ("source", "ticker", "tickers"):
            if name in data.model_fields_set and getattr(data, name):
                self._add_problem(("data", "sources"), f"cannot be combined with {name}; remove one of them")
        files: list[str] = []
        for source in data.sources:
            path = os.path.expanduser(source)
            found = [source]
            if source not in SOURCES and not os.path.exists(path):
                found = sorted(each for each in glob.glob(path, recursive=True) if os.path.isfile(each))
            if not found or os.path.isdir(path):
                fix = "write a pattern of its files, such as " + os.path.join(source, "*.csv")
                if not os.path.isdir(path):
                    fix = "check the pattern" if glob.has_magic(source) else one_line(suggest_path(source, SOURCES))
                self._add_problem(("data", "sources"), f"{format_value(source)} is not a file, nor matches any; {fix}")
            files += found
        return data.model_copy(update={"sources": tuple(dict.fromkeys(files))})

    def _check_source(self, data: DataConfig) -> None:
        if data.sources:
            return
        key, name = ("data", "source"), data.source
        rule = f"a source is {', '.join(SOURCES)}, or the path of a CSV or Parquet file"
        path, source = os.path.expanduser(name), SOURCES.get(name)
        if source and source.example_ticker:
            if not data.ticker and not data.tickers:
                self._add_problem(
                    key,
                    f"{name} needs a ticker; it selects one of {source.owner} series; add one, for example "
                    f"ticker: {source.example_ticker}",
                )
            if data.ticker and data.tickers:
                self._add_problem(("data", "tickers"), "cannot be combined with ticker; remove one of them")
        elif data.ticker or data.tickers:
            key = ("data", "ticker" if data.ticker else "tickers")
            others = " or ".join(sources_with_tickers())
            self._add_problem(
                key, f"cannot be combined with source: {name}; a ticker needs source: {others}; remove one of them"
            )
        elif source is None and os.path.isdir(path):
            pattern = one_line(os.path.join(name, "*.csv"))
            self._add_problem(
                key,
                f"{format_value(name)} is a folder; {rule}; write the path of a file in it, or all its files as "
                f"{self._sources_key(pattern)}",
            )
        elif source is None and not os.path.exists(path) and (glob.has_magic(name) or "," in name):
            kind = "a pattern" if glob.has_magic(name) else "a list"
            files = self._sources_key(one_line(name))
            self._add_problem(key, f"{format_value(name)} is {kind}; source is one file; write {files}")
        elif source is None and not os.path.exists(path):
            fix = suggest_path(name, SOURCES).replace("check the path", "check the path, or name a market by --ticker")
            self._add_problem(key, f"{format_value(name)}: no such file; {rule}; {one_line(fix)}")

    def _sources_key(self, names: str) -> str:
        """Return the text that sets `data.sources`, as an option if an option has set `data.source`."""
        items = "[" + ", ".join(json.dumps(name.strip(), ensure_ascii=False) for name in names.split(",")) + "]"
        return f"sources: {items}" if self.document.line(("data", "source")) else f"--set 'data.sources={items}'"

    def _parse_parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters, or none if one has an error."""
        data = self.document.data
        raw = data.get("space")
        if not isinstance(raw, dict) or not raw:
            if "space" in data or not any(key in FIELDS or find_nearest(key, TOP_LEVEL) == "space" for key in data):
                problem = "is missing"
                if "space" in data:
                    problem = f"{format_value(raw)} is not a mapping" if raw else "is empty"
                self._add_problem(
                    ("space",),
                    f"{problem}; it must have the parameters of the search, at least architecture; "
                    "write space: {architecture: [rnn, gru, lstm]}",
                )
            return ()
        parameters: dict[str, Parameter | None] = {}
        for name, entry in raw.items():
            parameters[name] = None
            if name not in FIELDS:
                self._add_problem(("space", name), f"unknown parameter{suggest_key(name, FIELDS)}")
                continue
            try:
                parameters[name] = parse_parameter(name, entry, parameters)
            except DomainError as error:
                self._add_problem(("space", name, *error.key), str(error))
        if not any(name == "architecture" or find_nearest(name, FIELDS) == "architecture" for name in raw):
            self._add_problem(
                ("space",), "architecture is missing; it has no default; write architecture: [rnn, gru, lstm]"
            )
            return ()
        valid = tuple(parameter for parameter in parameters.values() if parameter)
        return valid if len(valid) == len(raw) else ()

    def _complete_search(
        self, search: SearchConfig, parameters: tuple[Parameter, ...], data: DataConfig
    ) -> SearchConfig:  # fmt: skip
        """Return the section with its points checked, and its number of trials and mode filled in."""
        task = find_task(data.task)
        before = len(self._problems)
        points = [
            self._parse_point(("search", "initial", index), raw, parameters) for index, raw in enumerate(search.initial)
        ]
        warm_start = search.warm_start
        if warm_start and warm_start.points is not None:
            key: Key = ("search", "warm_start", "points")
            tried = [self._parse_point((*key, index), raw, parameters) for index, raw in enumerate(warm_start.points)]
            warm_start = warm_start.model_copy(update={"points": tried})
        for conflict in find_conflicts(search.sampler, parameters):
            self._add_problem(("search", "sampler"), f"{search.sampler} does not fit this space: {conflict}")
        if len(self._problems) > before or search.metric not in task.metrics:
            return search
        samples = search.num_samples
        default = default_point(parameters, data)
        fixed = len(points) + (default not in [_complete(point, parameters) for point in points])
        if samples is not None and samples < fixed:
            self._add_problem(
                ("search", "num_samples"),
                f"{samples} is too small; the default configuration and each of the {len(points)} points of "
                f"search.initial is a trial; write at least {fixed}",
            )
        size = grid_size(parameters)
        if size is not None and not all(one.contains(default[one.name]) for one in parameters if one.name in default):
            size += 1
        max_trials = size or 0 if search.sampler == "grid" else MAX_TRIALS
        if samples is not None and samples > max_trials:
            self._add_problem(
                ("search", "num_samples"),
                f"{samples} is too large; the grid has {max_trials} points, with the default configuration, and each "
                "is one trial; remove num_samples",
            )
        trials = max_trials
        if search.sampler != "grid":  # not more trials than points
            trials = max(min(DEFAULT_SAMPLES, size or DEFAULT_SAMPLES), fixed)
        update = {
            "initial": points, "warm_start": warm_start, "num_samples": samples or trials,
            "mode": task.metrics[search.metric].better,
        }  # fmt: skip
        return search.model_copy(update=update)

    def _check_task(self, task: Task, search: SearchConfig | None, parameters: tuple[Parameter, ...]) -> None:
        """Report a metric, a target or a training loss that does not fit the task."""
        if search and (metric := task.metrics.get(search.metric)) is None:
            self._add_problem(
                ("search", "metric"),
                f"{search.metric} is not a metric of data.task: {task.name}; its metrics are "
                f"{', '.join(task.metrics)}; write one of them",
            )
        elif search and metric and metric.better != (search.mode or metric.better):
            self._add_problem(
                ("search", "mode"),
                f"{search.mode} is the wrong direction; {'lower' if metric.better == 'min' else 'higher'} values of "
                f"{search.metric} are better; write mode: {metric.better} or remove it",
            )
        for parameter in parameters:
            allowed = {"target": tuple(task.targets), "loss": task.losses, "scaling": task.scalings}.get(
                parameter.name, parameter.values
            )
            for value in parameter.values:
                if value not in allowed:
                    self._add_problem(
                        ("space", parameter.name),
                        f"{value} does not fit data.task: {task.name}, whose choices are "
                        f"{', '.join(map(str, allowed))}; write one of them, or change the task",
                    )

    def _parse_point(self, key: Key, raw: dict[str, object], parameters: tuple[Parameter, ...]) -> Point:
        """Return the values of the varying parameters at one point of a list of points."""
        known = [parameter.name for parameter in parameters]
        wrong: set[str | None] = set()  # errors that follow from these parameters are not reported
        for name in raw:
            if name not in known:
                wrong.add(find_nearest(name, known))
                fix = suggest(name, known) or f"; the space has {', '.join(known)}"
                self._add_problem((*key, name), f"is not a parameter of this space{fix}")
        point: Point = {}
        complete: Point = {}
        for parameter in parameters:
            name = parameter.name
            if not parameter.applies(complete):
                if name in raw and not parameter.when.keys() & wrong:
                    condition = " and ".join(
                        f"{other} in {format_value(values)}" for other, values in parameter.when.items()
                    )
                    self._add_problem(
                        (*key, name),
                        f"does not exist at this point; its condition is {condition}; remove it or change the point",
                    )
                continue
            if not parameter.varies:
                complete[name] = parameter.values[0]
            if name not in raw:
                continue
            try:
                value = parse_value(name, raw[name])
            except DomainError as error:
                wrong.add(name)
                self._add_problem((*key, name), str(error))
                continue
            if not parameter.contains(value):
                wrong.add(name)
                self._add_problem(
                    (*key, name),
                    f"{format_value(raw[name])} is not in the domain of space.{name}; change the domain or the point",
                )
            complete[name] = value
            if parameter.varies:
                point[name] = value
        return point

    def _check_resources(self, resources: ResourcesConfig, parameters: tuple[Parameter, ...]) -> None:
        try:
            ResourceRules(resources, parameters)
        except DomainError as error:
            self._add_problem(("resources", "when", *error.key), str(error))

    def _add_grace_problem(self, scheduler: SchedulerConfig) -> None:
        grace, epochs = scheduler.grace_period, scheduler.max_epochs
        fix = f"write grace_period: {epochs}, which stops no trial early, or change max_epochs"
        if "grace_period" in scheduler.model_fields_set:
            self._add_problem(("scheduler", "grace_period"), f"{grace} is larger than max_epochs, {epochs}; {fix}")
        else:
            self._add_problem(
                ("scheduler", "max_epochs"), f"{epochs} is smaller than the default grace_period, {grace}; {fix}"
            )


def _complete(values: Point, parameters: tuple[Parameter, ...]) -> Point:
    """Return the values of a point with the constants that exist there."""
    complete: Point = {}
    for parameter in parameters:
        if parameter.name in values:
            complete[parameter.name] = values[parameter.name]
        elif not parameter.varies and parameter.applies(complete):
            complete[parameter.name] = parameter.values[0]
    return complete
