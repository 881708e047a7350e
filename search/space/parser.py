"""A document -> the checked contents of a space.

Every mistake becomes one line `FILE:LINE: KEY: what is wrong; the rule; the fix`. All mistakes are reported
together; what only follows from another is not reported.
"""

import os
import re
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from search.common.credentials import strip_credentials
from search.common.messages import explain, find_nearest, format_value, one_line, suggest
from search.space.document import MAX_PROBLEMS, SpaceDocument, SpaceError
from search.space.domains import DomainError, parse_parameter, parse_value
from search.space.parameters import FIELDS, Parameter, Value, grid_size
from search.space.resources import ResourceRules
from search.space.samplers import MAX_TRIALS, count_grid_trials, find_conflicts
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
from stockrnn.evaluation.scores import METRICS
from stockrnn.io.files import suggest_path
from stockrnn.prices.sources import SOURCES, YAHOO, sources_with_tickers

__all__ = ["Contents", "parse_document"]

Section = TypeVar("Section", bound=Configuration)
Point = dict[str, Value]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a space file says, defaults filled in: those of `search` too, its initial points checked."""

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


def parse_document(document: SpaceDocument) -> Contents:
    """Check a document.

    Raises:
        SpaceError: with a line for every mistake found.
    """
    return _Reader(document).contents()


class _Reader:
    """One reading of a document: collects every problem before it gives up."""

    def __init__(self, document: SpaceDocument) -> None:
        self.document = document
        self._problems: list[tuple[int, str]] = []

    def contents(self) -> Contents:
        for key in self.document.data:
            if key not in TOP_LEVEL:
                self._problem(
                    (key,), f"unknown key{suggest_key(key, TOP_LEVEL, option=not self.document.line((key,)))}"
                )
        name, seed = self._name(), self._seed()
        self._complete_source()
        data = self._section("data", DataConfig)
        validation = self._section("validation", ValidationConfig)
        parameters = self._parameters()
        search = self._section("search", SearchConfig)
        scheduler = self._section("scheduler", SchedulerConfig)
        training = self._section("training", LockstepConfig)
        resources = self._section("resources", ResourcesConfig)
        tracking = self._section("tracking", TrackingConfig)
        if data:
            self._check_source(data)
        if search and (better := METRICS[search.metric]) != (search.mode or better):
            self._problem(
                ("search", "mode"),
                f"{search.mode} is the wrong way; {search.metric} is better when "
                f"{'smaller' if better == 'min' else 'larger'}; write mode: {better} or leave it out",
            )
        if search and parameters:
            search = self._planned(search, parameters)
        if resources and parameters:
            self._check_demands(resources, parameters)
        if scheduler and scheduler.grace_period > scheduler.max_epochs:
            self._problem_with_grace(scheduler)
        if self._problems:
            raise self._error()
        assert data
        assert validation
        assert search
        assert scheduler
        assert training
        assert resources
        assert tracking
        if tracking.mlflow:  # a password stays in the section, which does not travel with it
            self.document.data["tracking"]["mlflow"] = strip_credentials(tracking.mlflow)
        return Contents(
            name=name, data=data, validation=validation, parameters=parameters, search=search,
            scheduler=scheduler, training=training, resources=resources, tracking=tracking, seed=seed,
        )  # fmt: skip

    def _problem(self, key: Key, text: str) -> None:
        self._problems.append((self.document.line(key), self.document.problem(key, text)))
        if len(self._problems) > MAX_PROBLEMS:
            raise self._error()

    def _error(self) -> SpaceError:
        """All that was found, options first, then line by line."""
        return SpaceError(text for _, text in sorted(self._problems, key=lambda problem: problem[0]))

    def _name(self) -> str:
        raw = self.document.data.get("name", "study")
        if isinstance(raw, str) and re.fullmatch(NAME, raw):
            return raw
        self._problem(
            ("name",),
            f"{format_value(raw)} is no name; it is a folder's too: letters, digits, dots, dashes and underscores, "
            "at most 100, the first a letter or digit; rename the study, or write a number in quotes",
        )
        return ""

    def _seed(self) -> int:
        raw = self.document.data.get("seed", 0)
        if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**32:
            return raw
        self._problem(
            ("seed",), f"{format_value(raw)} is no seed; it is a whole number from 0 to {2**32 - 1}; write 0, say"
        )
        return 0

    def _section(self, name: str, config: type[Section]) -> Section | None:
        raw = self.document.data.get(name)
        if not isinstance(raw, dict | None):
            self._problem(
                (name,), f"{format_value(raw)} is no section; a section holds keys; write them below it, indented"
            )
            return None
        try:
            return config.model_validate(raw or {})
        except ValidationError as error:
            for key, text in explain(error):
                if text == "unknown key":
                    text += suggest_key_within(key, config)
                first, _, rest = text.partition(" ")
                if not key and first.rstrip(":") in config.model_fields:  # a rule between keys names its own first
                    key, text = (first.rstrip(":"),), rest
                self._problem((name, *key), text)
            return None

    def _complete_source(self) -> None:
        """A ticker without a source is Yahoo's."""
        data = self.document.data.get("data")
        if isinstance(data, dict) and "source" not in data and (data.get("ticker") or data.get("tickers")):
            data["source"] = YAHOO

    def _check_source(self, data: DataConfig) -> None:
        key, source = ("data", "source"), data.source
        rule = f"a source is {', '.join(SOURCES)} or the path of a CSV or Parquet file"
        path, its = os.path.expanduser(source), SOURCES.get(source)
        if its and its.example_ticker:
            if not data.ticker and not data.tickers:
                self._problem(
                    key, f"{source} names no ticker; it needs {its.owner} symbol; add ticker: {its.example_ticker}, say"
                )
            if data.ticker and data.tickers:
                self._problem(("data", "tickers"), "stand beside a ticker; one of them names the prices; drop one")
        elif data.ticker or data.tickers:
            key = ("data", "ticker" if data.ticker else "tickers")
            others = " or ".join(sources_with_tickers())
            self._problem(key, f"stands beside source: {source}; it goes with source: {others}; drop one of them")
        elif its is None and os.path.isdir(path):
            self._problem(key, f"{format_value(source)} is a folder; {rule}; name a file in it")
        elif its is None and not os.path.exists(path):
            hint = suggest_path(source, SOURCES).replace(
                "check the path", "check the path, or name a market by --ticker"
            )
            self._problem(key, f"{format_value(source)}: no such file; {rule}; {one_line(hint)}")

    def _parameters(self) -> tuple[Parameter, ...]:
        """The parameters, or none where any is wrong."""
        data = self.document.data
        raw = data.get("space")
        if not isinstance(raw, dict) or not raw:
            if "space" in data or not any(key in FIELDS or find_nearest(key, TOP_LEVEL) == "space" for key in data):
                what = "is missing" if "space" not in data else f"is {'empty' if not raw else format_value(raw)}"
                self._problem(
                    ("space",),
                    f"{what}; it holds the parameters to vary, architecture at least; "
                    "write space: {architecture: [rnn, gru, lstm]}",
                )
            return ()
        parameters: dict[str, Parameter | None] = {}
        for name, entry in raw.items():
            parameters[name] = None
            if name not in FIELDS:
                self._problem(("space", name), f"unknown parameter{suggest_key(name, FIELDS)}")
                continue
            try:
                parameters[name] = parse_parameter(name, entry, parameters)
            except DomainError as error:
                self._problem(("space", name, *error.key), str(error))
        if not any(name == "architecture" or find_nearest(name, FIELDS) == "architecture" for name in raw):
            self._problem(
                ("space",),
                "architecture is missing; it is the one parameter without a default; "
                "write architecture: [rnn, gru, lstm]",
            )
            return ()
        good = tuple(parameter for parameter in parameters.values() if parameter)
        return good if len(good) == len(raw) else ()

    def _planned(self, search: SearchConfig, parameters: tuple[Parameter, ...]) -> SearchConfig:
        """The section with its points checked, its number of trials and its mode filled in."""
        before = len(self._problems)
        points = [self._point(index, raw, parameters) for index, raw in enumerate(search.initial)]
        for rule in find_conflicts(search.sampler, parameters):
            self._problem(("search", "sampler"), f"{search.sampler} does not fit this space: {rule}")
        if len(self._problems) > before:
            return search
        samples = search.num_samples
        if samples is not None and samples < len(points):
            self._problem(
                ("search", "num_samples"),
                f"{samples} is less than the {len(points)} points of search.initial, and those are trials; "
                f"write at least {len(points)}",
            )
        most = count_grid_trials(parameters, points) if search.sampler == "grid" else MAX_TRIALS
        if samples is not None and samples > most:
            self._problem(
                ("search", "num_samples"),
                f"{samples} is more than the grid's {most} points; each is tried once; leave it out",
            )
        default = most
        if search.sampler != "grid":  # no more trials than there are points
            default = max(min(DEFAULT_SAMPLES, grid_size(parameters) or DEFAULT_SAMPLES), len(points))
        plan = {"initial": points, "num_samples": samples or default, "mode": METRICS[search.metric]}
        return search.model_copy(update=plan)

    def _point(self, index: int, raw: dict[str, object], parameters: tuple[Parameter, ...]) -> Point:
        """One of search.initial: its values of the parameters that vary."""
        key: Key = ("search", "initial", index)
        known = [parameter.name for parameter in parameters]
        wrong: set[str | None] = set()  # what hangs on these is not complained of
        for name in raw:
            if name not in known:
                wrong.add(find_nearest(name, known))
                hint = suggest(name, known) or f"; it has {', '.join(known)}"
                self._problem((*key, name), f"is no parameter of this space{hint}")
        point: Point = {}
        complete: Point = {}
        for parameter in parameters:
            name = parameter.name
            if not parameter.applies(complete):
                if name in raw and not parameter.when.keys() & wrong:
                    condition = " and ".join(
                        f"{other} in {format_value(values)}" for other, values in parameter.when.items()
                    )
                    self._problem(
                        (*key, name),
                        f"does not exist at this point; its condition is {condition}; remove it or meet that",
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
                self._problem((*key, name), str(error))
                continue
            if not parameter.contains(value):
                wrong.add(name)
                self._problem(
                    (*key, name),
                    f"{format_value(raw[name])} is not in the domain of space.{name}; a point lies in the space; "
                    "widen the domain or change the point",
                )
            complete[name] = value
            if parameter.varies:
                point[name] = value
        return point

    def _check_demands(self, resources: ResourcesConfig, parameters: tuple[Parameter, ...]) -> None:
        try:
            ResourceRules(resources, parameters)
        except DomainError as error:
            self._problem(("resources", "when", *error.key), str(error))

    def _problem_with_grace(self, scheduler: SchedulerConfig) -> None:
        grace, most = scheduler.grace_period, scheduler.max_epochs
        rule = f"a trial may be stopped from its grace period on; write grace_period: {most} to stop none early"
        if "grace_period" in scheduler.model_fields_set:
            self._problem(("scheduler", "grace_period"), f"{grace} is above max_epochs {most}; {rule}")
        else:
            self._problem(("scheduler", "max_epochs"), f"{most} is below grace_period, {grace} by default; {rule}")
