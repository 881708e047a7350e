"""What can be configured: the data, the folds, and the window, network and training of a trial.

Every class is frozen and keyword-only, and refuses a wrong value where it is made. Nothing heavy is
imported here, so a space is checked (and its JSON Schema printed) without PyTorch.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = [
    "COLUMNS",
    "FEATURE_SETS",
    "Configuration",
    "DataConfig",
    "NetworkConfig",
    "SourceConfig",
    "TrainingConfig",
    "ValidationConfig",
    "WindowConfig",
    "features_label",
    "parse_features",
]

COLUMNS = ("open", "high", "low", "close", "volume")

FEATURE_SETS: dict[str, tuple[str, ...]] = {
    "ohlcv": ("open", "high", "low", "close", "volume"),
    "ohlc": ("open", "high", "low", "close"),
    "ohlv": ("open", "high", "low", "volume"),  # the tutorial's inputs, in its order
    "close_volume": ("close", "volume"),
    "close_only": ("close",),
}


def parse_features(value: object) -> object:
    """A named set, a comma-separated label or a list of columns -> a tuple of columns; else ValueError."""
    if isinstance(value, str):
        value = FEATURE_SETS.get(value) or tuple(name.strip() for name in value.split(","))
    if isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, tuple) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(f"must be a list of columns ({', '.join(COLUMNS)}) or one of {', '.join(FEATURE_SETS)}")
    for name in value:
        if name not in COLUMNS:
            raise ValueError(
                f"{name!r} is no column and no set; columns are {', '.join(COLUMNS)}, "
                f"sets are {', '.join(FEATURE_SETS)}"
            )
    if len(set(value)) != len(value):
        raise ValueError(f"{', '.join(value)} repeats a column; name each once")
    return value


def features_label(features: tuple[str, ...]) -> str:
    """The short name of a tuple of columns: its named set's, or the columns joined by commas."""
    return next((name for name, columns in FEATURE_SETS.items() if columns == features), ",".join(features))


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


class SourceConfig(Configuration):
    """Which prices."""

    source: str = Field(
        "nasdaq", min_length=1, description="nasdaq, sp500, yahoo, or the path of a CSV or Parquet file"
    )
    ticker: str | None = Field(None, min_length=1, max_length=30, description="Yahoo's symbol, with source: yahoo")
    start: Day | None = Field(None, description="the first day used; null: the first there is")
    end: Day | None = Field(None, description="the last day used; null: the last there is")
    adjust: bool = Field(True, description="Yahoo's prices adjusted for dividends, as for splits")
    date_format: str | None = Field(
        None, min_length=1, description="how a file writes its dates, as in %d/%m/%Y; null: YYYY-MM-DD"
    )


class DataConfig(SourceConfig):
    """Which prices, which inputs, how far ahead, and how many sessions are held out."""

    features: Features = Field(
        FEATURE_SETS["ohlcv"],
        description="input columns, in order, or the name of a set",
        validate_default=True,
    )
    horizon: int = Field(1, ge=1, le=250, description="sessions ahead that are forecast")
    test_size: int = Field(250, ge=1, description="last sessions, held out: untouched by the search")


class ValidationConfig(Configuration):
    """The walk-forward folds and the seeds of each: a trial is folds x seeds networks."""

    folds: int = Field(3, ge=1, le=100, description="validation blocks, one after the other, before the test block")
    fold_size: int = Field(250, ge=2, description="sessions in each validation block")
    window: Literal["expanding", "sliding"] = Field(
        "expanding", description="train on everything before a block, or on the last train_size sessions"
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

    features: Features = Field(FEATURE_SETS["ohlcv"], description="input columns, in order, or a set's name")
    target: Literal["close", "log_return"] = Field("log_return", description="what the network is trained to give")
    scaling: Literal["minmax", "standard", "relative"] = Field(
        "relative",
        description="minmax, standard: fitted on a fold's training part; relative: prices in per cent of log "
        "ratio to the window's last close, volume as log ratio to the window's mean, nothing fitted",
    )
    sequence_length: int = Field(20, ge=1, le=5000, description="sessions in a window")


class NetworkConfig(Configuration):
    """A recurrent network and its head."""

    architecture: Literal["rnn", "gru", "lstm"] = Field(description="the recurrent cell")
    head: Literal["last", "flatten", "mean", "attention"] = Field(
        "last",
        description="from the steps' states to one number: the last, all side by side, their mean, or "
        "a learned query's attention over them",
    )
    hidden_size: int = Field(16, ge=1, le=4096, description="units of a layer")
    num_layers: int = Field(1, ge=1, le=16, description="recurrent layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="between layers; of no effect with one layer")
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
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = Field("adam", description="PyTorch's, with its defaults")
    loss: Literal["mse", "mae", "huber"] = Field("mse", description="on the scaled target")
    gradient_clip: float | None = Field(None, gt=0, description="largest norm of a network's gradient; null: none")
