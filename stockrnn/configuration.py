"""What can be configured: the data, the folds, and the window, network and training of a trial.

Every class is frozen and keyword-only, and refuses a wrong value where it is made. Nothing heavy is
imported here, so a space is checked (and its JSON Schema printed) without PyTorch.
"""

import difflib
import re
from collections.abc import Mapping
from datetime import date
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stockrnn.architectures import ARCHITECTURES, Architecture
from stockrnn.features import COLUMNS, DERIVED, LONGEST, ROLLING, SHORTEST, rolling
from stockrnn.heads import HEADS, Head
from stockrnn.sources import SOURCES, YAHOO, with_tickers

__all__ = [
    "FEATURE_SETS",
    "NAMES",
    "Configuration",
    "DataConfig",
    "NetworkConfig",
    "OtherConfig",
    "SourceConfig",
    "TrainingConfig",
    "ValidationConfig",
    "WindowConfig",
    "features_label",
    "parse_features",
]

DAY_OF_WEEK = ("weekday_sin", "weekday_cos")
# `returns` and `technical` do without the volume, which currencies and some indices lack: write
# [returns, volume_change] where there is one.
FEATURE_SETS: dict[str, tuple[str, ...]] = {
    "ohlcv": ("open", "high", "low", "close", "volume"),
    "ohlc": ("open", "high", "low", "close"),
    "ohlv": ("open", "high", "low", "volume"),  # the tutorial's inputs, in its order
    "close_volume": ("close", "volume"),
    "close_only": ("close",),
    "returns": ("log_return", "range", "gap", *DAY_OF_WEEK),
    "technical": ("log_return", "range", "volatility_5", "volatility_20", "ma_ratio_5", "ma_ratio_20", "ma_ratio_60"),
}
GROUPS = {**FEATURE_SETS, "day_of_week": DAY_OF_WEEK}
NAMES = (*COLUMNS, *DERIVED, "day_of_week")  # of features, but for the rolling ones


def parse_features(value: object) -> object:
    """A set's name, a comma-separated label or a list of features and sets -> a tuple of features; else ValueError."""
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(f"must be a list of features ({', '.join(NAMES)}, ...) or one of {', '.join(FEATURE_SETS)}")
    features = tuple(feature for name in value for feature in GROUPS.get(name, (name,)))
    for name in features:
        if name not in COLUMNS and name not in DERIVED:
            _check_rolling(name)
    if len(set(features)) != len(features):
        raise ValueError(f"{', '.join(value)} repeats a feature; each is one input; name each once")
    return features


def features_label(features: tuple[str, ...]) -> str:
    """The short name of a tuple of features: its set's, or the features joined by commas."""
    for name, known in FEATURE_SETS.items():
        if known == features:
            return name
    return ",".join(features).replace(",".join(DAY_OF_WEEK), "day_of_week")


def _check_rolling(name: str) -> None:
    """Raise ValueError for what is no rolling feature, with the nearest name that is a feature."""
    if found := rolling(name):
        base, sessions = found
        if not SHORTEST <= sessions <= LONGEST:
            raise ValueError(
                f"{name!r} looks back over {sessions} sessions; N in {base}_N is a whole number from {SHORTEST} to "
                f"{LONGEST}; write {base}_{min(max(sessions, SHORTEST), LONGEST)}"
            )
        return
    sessions_named = "".join(re.findall("[0-9]", name)).lstrip("0") or "20"
    known = (*NAMES, *FEATURE_SETS, *(f"{base}_{sessions_named}" for base in ROLLING))
    near = difflib.get_close_matches(name, known, n=1)
    raise ValueError(
        f"{name!r} is no feature and no set; features are {', '.join(NAMES)}, "
        f"{', '.join(f'{base}_N' for base in ROLLING)} (as in volatility_20), sets are {', '.join(FEATURE_SETS)}; "
        + (f"did you mean {near[0]}?" if near else "write one of them")
    )


Features = Annotated[tuple[str, ...], BeforeValidator(parse_features)]


def parse_day(value: object) -> object:
    """`2019-01-30`, as YAML and JSON write it, -> a date; else ValueError."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("is no day; a day is YYYY-MM-DD, as in 2019-01-30") from None
    return value


Day = Annotated[date, BeforeValidator(parse_day)]


class Configuration(BaseModel):
    """Base of all configurations: frozen, no unknown fields, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


LONGEST_TICKER = 30
SOURCE_RULE = f"{', '.join(SOURCES)}, or the path of a CSV or Parquet file"


class SourceConfig(Configuration):
    """Which prices."""

    source: str = Field("nasdaq", min_length=1, description=f"where prices come from: {SOURCE_RULE}")
    ticker: str | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_TICKER,
        description=f"a source's symbol, with source: {' or '.join(with_tickers())}",
    )
    start: Day | None = Field(None, description="the first day used; null: the first there is")
    end: Day | None = Field(None, description="the last day used; null: the last there is")
    adjust: bool = Field(True, description="Yahoo's prices adjusted for dividends too; for splits they always are")
    date_format: str | None = Field(
        None,
        min_length=1,
        description="how a file writes its dates, as in %d/%m/%Y; null: so that each means one day, as 2019-01-30 does",
    )


class OtherConfig(SourceConfig):
    """Another series, an input: the log return of its last close that is known at the forecast market's close."""

    source: str = Field(min_length=1, description=f"where the prices come from: {SOURCE_RULE}")
    lag: int = Field(
        1,
        ge=0,
        le=10,
        description="calendar days until a close of it counts. 1: from the next date on, since a market elsewhere may "
        "close later on the same date; 0: on the same date, for one that closes no later than the forecast one",
    )

    @property
    def name(self) -> str:
        """Its name as an input: the ticker, or the file's name without folder and endings."""
        return (self.ticker or "").upper() or PurePath(self.source).name.partition(".")[0] or self.source

    @model_validator(mode="after")
    def _ticker_goes_with_its_source(self) -> "OtherConfig":
        source = SOURCES.get(self.source)
        example = source.ticker if source else None
        if source and example and self.ticker is None:
            raise ValueError(
                f"source: {self.source} names no ticker; {source.whose} series have one; add ticker: {example}, say"
            )
        if self.ticker is not None and example is None:
            others = " or ".join(with_tickers())
            raise ValueError(
                f"ticker {self.ticker} stands beside source: {self.source}; it goes with source: {others}; drop one"
            )
        return self


def parse_tickers(value: object) -> object:
    """A list of texts, none of them twice -> a tuple; else ValueError."""
    if not isinstance(value, list | tuple):
        return value
    for ticker in value:
        if not isinstance(ticker, str) or not 1 <= len(ticker) <= LONGEST_TICKER:
            raise ValueError(f"{str(ticker)[:40]!r} is no ticker; a ticker is Yahoo's symbol, as in ^KS11")
        if [str(other).upper() for other in value].count(ticker.upper()) > 1:
            raise ValueError(f"{ticker} stands twice; each ticker becomes one study; name it once")
    return tuple(value)


def parse_also(value: object) -> object:
    """A list of mappings and of texts: `nasdaq`, `sp500`, a path (a slash, .csv, .gz, .parquet) or Yahoo's ticker."""
    if not isinstance(value, list | tuple):
        return value
    return tuple({"source": entry, **_place(entry)} if isinstance(entry, str) else entry for entry in value)


def _place(entry: str) -> dict[str, str]:
    """What a text of `also` means beside `source: entry`: for a ticker, that Yahoo has it."""
    is_series = entry in SOURCES and SOURCES[entry].ticker is None
    is_file = "/" in entry or entry.lower().endswith((".csv", ".gz", ".parquet"))
    return {} if not entry or is_series or is_file else {"source": YAHOO, "ticker": entry}


class DataConfig(SourceConfig):
    """Which prices, which inputs, how far ahead, and how many sessions are held out."""

    tickers: Annotated[tuple[str, ...], BeforeValidator(parse_tickers)] = Field(
        (), description="several of Yahoo's symbols: each becomes a study, and all of them one comparison"
    )
    features: Features = Field(
        FEATURE_SETS["ohlcv"],
        description="inputs, in order, or the name of a set",
        validate_default=True,
    )
    also: Annotated[tuple[OtherConfig, ...], BeforeValidator(parse_also)] = Field(
        (),
        description="other series, inputs of every trial: each gives the log return of its last close of an earlier "
        "date (see lag). A shipped name, a file's path, a Yahoo ticker, or {source: ..., lag: ...}",
    )
    horizon: int = Field(1, ge=1, le=250, description="sessions ahead that are forecast")
    test_size: int = Field(250, ge=1, description="last sessions, held out: untouched by the search")

    @model_validator(mode="after")
    def _other_names_are_their_own(self) -> "DataConfig":
        taken = {*NAMES, *FEATURE_SETS}
        for other in self.also:
            if other.name in taken or rolling(other.name):
                raise ValueError(
                    f"also: {other.name} stands twice, or is a feature's name; each input has a name of its own "
                    f"(a ticker, or a file's name without its ending); drop it or rename the file"
                )
            taken.add(other.name)
        return self


class ValidationConfig(Configuration):
    """The walk-forward folds and the seeds of each: a trial is folds x seeds networks."""

    folds: int = Field(3, ge=1, le=100, description="validation blocks, one after the other, before the test block")
    fold_size: int = Field(250, ge=2, description="sessions in each validation block")
    window: Literal["expanding", "sliding"] = Field(
        "expanding",
        description="what a fold trains on: expanding, everything before its block; sliding, the train_size sessions "
        "before it",
    )
    train_size: int | None = Field(None, ge=2, description="sessions trained on; with window: sliding only")
    seeds: int = Field(2, ge=1, le=100, description="networks per fold, each with its own seed")

    @model_validator(mode="after")
    def _train_size_goes_with_sliding(self) -> "ValidationConfig":
        if self.window == "sliding" and self.train_size is None:
            raise ValueError("window: sliding needs train_size; add train_size: 1000, say")
        if self.window == "expanding" and self.train_size is not None:
            raise ValueError("train_size goes with window: sliding only; remove it or set window: sliding")
        return self


class WindowConfig(Configuration):
    """What a network sees and what it is asked for."""

    features: Features = Field(FEATURE_SETS["ohlcv"], description="inputs, in order, or a set's name")
    others: tuple[str, ...] = Field((), description="other series: columns of the prices whose log returns are inputs")
    target: Literal["close", "log_return"] = Field(
        "log_return",
        description="what the network is trained to give: the close, or its log return since the window's last close; "
        "with scaling: relative it is that return either way",
    )
    scaling: Literal["minmax", "standard", "relative"] = Field(
        "relative",
        description="how inputs and targets are brought to order one: minmax (0 to 1) and standard (mean 0, deviation "
        "1) are fitted on a fold's training part; relative: prices in per cent of log ratio to the window's last "
        "close, volume as log ratio to the window's mean, other features in per cent or as they are, nothing fitted",
    )
    sequence_length: int = Field(20, ge=1, le=5000, description="sessions in a window")

    @property
    def inputs(self) -> tuple[str, ...]:
        """What a network sees of a session, in order: the features, then the other series."""
        return (*self.features, *self.others)


if TYPE_CHECKING:
    ArchitectureName: TypeAlias = str
    HeadName: TypeAlias = str
else:
    ArchitectureName, HeadName = Literal[tuple(ARCHITECTURES)], Literal[tuple(HEADS)]


def _meanings(entries: Mapping[str, Architecture] | Mapping[str, Head]) -> str:
    return "; ".join(f"{name}: {entry.means}" for name, entry in entries.items())


class NetworkConfig(Configuration):
    """A recurrent network and its head."""

    architecture: ArchitectureName = Field(description=f"the recurrent cell; {_meanings(ARCHITECTURES)}")
    head: HeadName = Field("last", description=f"from the steps' states to one number; {_meanings(HEADS)}")
    hidden_size: int = Field(16, ge=1, le=4096, description="units of a layer")
    num_layers: int = Field(1, ge=1, le=16, description="recurrent layers")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a layer's outputs dropped before the next layer; of no effect with one layer",
    )
    bidirectional: bool = Field(False, description="a second set of layers reads the window backwards")
    output: Literal["linear", "sigmoid"] = Field(
        "linear", description="sigmoid squashes the output into 0..1, the training range of scaling: minmax"
    )
    output_init: Literal["zero", "uniform"] = Field(
        "zero",
        description="the output layer starts at zero (with relative scaling that is persistence) or as "
        "PyTorch draws it",
    )


class TrainingConfig(Configuration):
    """How each network is trained."""

    learning_rate: float = Field(1e-3, gt=0, le=10, description="step size of the optimiser")
    weight_decay: float = Field(0.0, ge=0, le=10, description="L2 penalty (adam, sgd, rmsprop), decoupled in adamw")
    batch_size: int = Field(64, ge=1, le=1_000_000, description="windows per step")
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = Field(
        "adam", description="how steps are made of gradients: PyTorch's, with its defaults"
    )
    loss: Literal["mse", "mae", "huber"] = Field("mse", description="what training makes small, on the scaled target")
    gradient_clip: float | None = Field(
        None, gt=0, le=1e12, description="largest norm of a network's gradient; null: none"
    )
