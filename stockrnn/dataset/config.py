"""Configuration of the data: series and inputs, walk-forward folds, windows."""

import difflib
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from stockrnn.configuration import Configuration
from stockrnn.dataset.features import (
    COLUMNS,
    DERIVED,
    MAX_ROLLING_SESSIONS,
    MIN_ROLLING_SESSIONS,
    ROLLING,
    Feature,
    RollingFeature,
    parse_rolling,
)
from stockrnn.plugins import load_plugins
from stockrnn.prices.config import MAX_TICKER_LENGTH, SOURCE_RULE, SourceConfig
from stockrnn.prices.sources import SOURCES, YAHOO, sources_with_tickers
from stockrnn.tasks.registry import TARGET_NAMES, TASKS

__all__ = [
    "FEATURE_NAMES",
    "FEATURE_SETS",
    "DataConfig",
    "OtherConfig",
    "ValidationConfig",
    "WindowConfig",
    "features_label",
    "parse_features",
]

for _name, _entry in load_plugins(
    "stockrnn.features", (*COLUMNS, *DERIVED, *ROLLING), lambda entry: isinstance(entry, Feature | RollingFeature)
).items():
    if isinstance(_entry, Feature):
        DERIVED[_name] = _entry
    else:
        ROLLING[_name] = _entry

if TYPE_CHECKING:
    TargetName: TypeAlias = str
    TaskName: TypeAlias = str
else:
    TargetName = Literal[TARGET_NAMES]
    TaskName = Literal[tuple(TASKS)]
Estimator = Literal["parkinson", "garman_klass", "rogers_satchell", "squared_return"]

DAY_OF_WEEK = ("weekday_sin", "weekday_cos")


# `returns` and `technical` do not use the volume, since currencies and some indices have none. Where there is one,
# write [returns, volume_change].
FEATURE_SETS: dict[str, tuple[str, ...]] = {
    "ohlcv": ("open", "high", "low", "close", "volume"),
    "ohlc": ("open", "high", "low", "close"),
    "ohlv": ("open", "high", "low", "volume"),  # the tutorial's inputs, in its order
    "close_volume": ("close", "volume"),
    "close_only": ("close",),
    "returns": ("log_return", "range", "gap", *DAY_OF_WEEK),
    "volatility": ("log_range", "log_range_5", "log_range_22", "log_return", "absolute_return"),
    "volatility_close": ("log_return", "absolute_return", "volatility_5", "volatility_22"),
    "technical": ("log_return", "range", "volatility_5", "volatility_20", "ma_ratio_5", "ma_ratio_20", "ma_ratio_60"),
}


GROUPS = {**FEATURE_SETS, "day_of_week": DAY_OF_WEEK}


FEATURE_NAMES = (*COLUMNS, *DERIVED, "day_of_week")  # without the rolling features


def parse_features(value: object) -> object:
    """Return a tuple of features from a set's name, a comma-separated label, or a list of features and sets.

    Raises:
        ValueError: the value is something else, or names an unknown or repeated feature.
    """
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(
            f"must be a list of features ({', '.join(FEATURE_NAMES)}, ...) or one of {', '.join(FEATURE_SETS)}"
        )
    features = tuple(feature for name in value for feature in GROUPS.get(name, (name,)))
    for name in features:
        if name not in COLUMNS and name not in DERIVED:
            _check_rolling(name)
    if len(set(features)) != len(features):
        raise ValueError(f"{', '.join(value)} repeats a feature; each feature is one input; list each only once")
    return features


def features_label(features: tuple[str, ...]) -> str:
    """Return the name of the set with these features, or the features joined by commas."""
    for name, members in FEATURE_SETS.items():
        if members == features:
            return name
    return ",".join(features).replace(",".join(DAY_OF_WEEK), "day_of_week")


def _check_rolling(name: str) -> None:
    """Raise ValueError unless `name` is a rolling feature such as volatility_20."""
    if found := parse_rolling(name):
        base, sessions = found
        if not MIN_ROLLING_SESSIONS <= sessions <= MAX_ROLLING_SESSIONS:
            raise ValueError(
                f"{name!r} uses {sessions} sessions; N in {base}_N must be a whole number from "
                f"{MIN_ROLLING_SESSIONS} to {MAX_ROLLING_SESSIONS}; "
                f"write {base}_{min(max(sessions, MIN_ROLLING_SESSIONS), MAX_ROLLING_SESSIONS)}"
            )
        return
    digits = "".join(re.findall("[0-9]", name)).lstrip("0") or "20"
    known = (*FEATURE_NAMES, *FEATURE_SETS, *(f"{base}_{digits}" for base in ROLLING))
    matches = difflib.get_close_matches(name, known, n=1)
    raise ValueError(
        f"{name!r} is not a feature or a set; features are {', '.join(FEATURE_NAMES)}, "
        f"{', '.join(f'{base}_N' for base in ROLLING)} (as in volatility_20), sets are {', '.join(FEATURE_SETS)}; "
        + (f"did you mean {matches[0]}?" if matches else "write one of them")
    )


Features = Annotated[tuple[str, ...], BeforeValidator(parse_features)]


class OtherConfig(SourceConfig):
    """Another series as an input: the log return of its last close known when the forecast market closes."""

    source: str = Field(min_length=1, description=f"source of the prices: {SOURCE_RULE}")
    lag: int = Field(
        1,
        ge=0,
        le=10,
        description="calendar days after which a close of this series is used. 1: from the next date, for markets that "
        "close after the forecast market; 0: on the same date, for markets that close at the same time or earlier",
    )

    @property
    def name(self) -> str:
        """Name of the input: the ticker, or the file's name without folder and extensions."""
        return (self.ticker or "").upper() or PurePath(self.source).name.partition(".")[0] or self.source

    @model_validator(mode="after")
    def _ticker_goes_with_its_source(self) -> "OtherConfig":
        source = SOURCES.get(self.source)
        example = source.example_ticker if source else None
        if source and example and self.ticker is None:
            raise ValueError(
                f"source: {self.source} needs a ticker; it selects one of {source.owner} series; "
                f"add one, for example ticker: {example}"
            )
        if self.ticker is not None and example is None:
            others = " or ".join(sources_with_tickers())
            raise ValueError(
                f"ticker {self.ticker} is set, but source: {self.source} has no tickers; a ticker needs "
                f"source: {others}; remove one of them"
            )
        return self


def parse_tickers(value: object) -> object:
    """Return a list of tickers as a tuple, or raise ValueError if one is invalid or repeated."""
    if not isinstance(value, list | tuple):
        return value
    for ticker in value:
        if not isinstance(ticker, str) or not 1 <= len(ticker) <= MAX_TICKER_LENGTH:
            raise ValueError(f"{str(ticker)[:40]!r} is not a ticker; write a Yahoo ticker, as in ^KS11")
        if [str(other).upper() for other in value].count(ticker.upper()) > 1:
            raise ValueError(f"{ticker} is repeated; each ticker becomes one study; list it only once")
    return tuple(value)


def parse_sources(value: object) -> object:
    """Return a list of paths and patterns as a tuple, or raise ValueError if one is invalid or repeated."""
    if not isinstance(value, list | tuple):
        return value
    for source in value:
        if not isinstance(source, str) or not source or source in sources_with_tickers():
            fix = "write tickers" if source in sources_with_tickers() else "write a path, as in prices.csv"
            raise ValueError(f"{str(source)[:40]!r} is not a file; each file becomes one study; {fix}")
        if list(value).count(source) > 1:
            raise ValueError(f"{source} is repeated; each file becomes one study; list it only once")
    return tuple(value)


def parse_also(value: object) -> object:
    """Return a list of mappings; a text in it is a source (`nasdaq`), a path (/, .csv, .gz, .parquet) or a ticker."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(_source_of(entry) if isinstance(entry, str) else entry for entry in value)


def _source_of(entry: str) -> dict[str, str]:
    is_series = entry in SOURCES and SOURCES[entry].example_ticker is None
    is_file = "/" in entry or entry.lower().endswith((".csv", ".gz", ".parquet"))
    return {"source": entry} if not entry or is_series or is_file else {"source": YAHOO, "ticker": entry}


class DataConfig(SourceConfig):
    """The task, the series, the inputs, the forecast horizon and the size of the test block."""

    task: TaskName = Field(
        "price",
        description="what is forecast. " + "; ".join(f"{name}: {task.description}" for name, task in TASKS.items()),
    )
    estimator: Estimator = Field(
        "parkinson",
        description="estimator of a day's variance, with task: volatility. parkinson needs high and low, garman_klass "
        "and rogers_satchell also open and close, squared_return the close only",
    )
    tickers: Annotated[tuple[str, ...], BeforeValidator(parse_tickers)] = Field(
        (), description="several Yahoo tickers; each becomes one study, and one report compares them"
    )
    sources: Annotated[tuple[str, ...], BeforeValidator(parse_sources)] = Field(
        (),
        description="several files, or patterns of their paths such as prices/*.csv; each file becomes one study, and "
        "one report compares them",
    )
    features: Features = Field(
        FEATURE_SETS["ohlcv"],
        description="inputs in order, or the name of a set",
        validate_default=True,
    )
    also: Annotated[tuple[OtherConfig, ...], BeforeValidator(parse_also)] = Field(
        (),
        description="other series as inputs of every trial: the log return of the last close of an earlier date "
        "(see lag). Each is the name of a shipped series, a path, a Yahoo ticker, or {source: ..., lag: ...}",
    )
    horizon: int = Field(1, ge=1, le=250, description="forecast horizon, in sessions")
    test_size: int = Field(250, ge=1, description="sessions in the test block at the end, not used by the search")

    @model_validator(mode="before")
    @classmethod
    def _features_of_the_task(cls, values: Any) -> Any:
        if isinstance(values, dict) and "features" not in values and (task := TASKS.get(str(values.get("task")))):
            return {**values, "features": task.features}
        return values

    @model_validator(mode="after")
    def _other_names_are_unique(self) -> "DataConfig":
        taken = {*FEATURE_NAMES, *FEATURE_SETS}
        for other in self.also:
            if other.name in taken or parse_rolling(other.name):
                raise ValueError(
                    f"also: {other.name} is repeated, or is a feature's name; each input needs a unique name "
                    f"(a ticker, or a file's name without its extension); remove it or rename the file"
                )
            taken.add(other.name)
        return self


class ValidationConfig(Configuration):
    """Walk-forward folds and the seeds of each; a trial trains folds x seeds networks."""

    folds: int = Field(3, ge=1, le=100, description="validation blocks, in a row, before the test block")
    fold_size: int = Field(250, ge=2, description="sessions in each validation block")
    window: Literal["expanding", "sliding"] = Field(
        "expanding",
        description="training data of a fold; expanding: all sessions before its validation block; sliding: the "
        "train_size sessions before it",
    )
    train_size: int | None = Field(None, ge=2, description="training sessions of a fold, only with window: sliding")
    seeds: int = Field(2, ge=1, le=100, description="networks per fold, each with its own seed")

    @model_validator(mode="after")
    def _train_size_goes_with_sliding(self) -> "ValidationConfig":
        if self.window == "sliding" and self.train_size is None:
            raise ValueError("window: sliding needs train_size; add it, for example train_size: 1000")
        if self.window == "expanding" and self.train_size is not None:
            raise ValueError("train_size is only for window: sliding; remove it or set window: sliding")
        return self


class WindowConfig(Configuration):
    """Inputs and target of a network."""

    features: Features = Field(FEATURE_SETS["ohlcv"], description="inputs in order, or the name of a set")
    others: tuple[str, ...] = Field((), description="other series: columns of the prices whose log returns are inputs")
    estimator: Estimator = Field("parkinson", description="estimator of a day's variance, for the volatility task")
    target: TargetName = Field(
        "log_return",
        description="target of the training, by data.task. price: the close, or its log return since the window's last "
        "close; with scaling: relative it is always the log return",
    )
    scaling: Literal["minmax", "standard", "relative"] = Field(
        "relative",
        description="scaling of inputs and targets. minmax: to 0..1; standard: to mean 0 and standard deviation 1; "
        "both are fitted to the training data of a fold. relative: not fitted; prices are log ratios to the window's "
        "last close in per cent, volume is the log ratio to the window's mean, other features are in per cent or "
        "unscaled",
    )
    sequence_length: int = Field(20, ge=1, le=5000, description="sessions in a window")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs of a network at each session, in order: the features, then the other series."""
        return (*self.features, *self.others)
