"""Define the sections of a space file; `stockrnn.dataset.config` defines `data` and `validation`."""

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from search.common.credentials import check_mlflow_address, strip_credentials
from search.common.messages import format_value
from search.space.samplers import MAX_TRIALS, SAMPLERS, Sampler, suggest_sampler
from stockrnn.configuration import Configuration
from stockrnn.dataset.config import DataConfig, ValidationConfig
from stockrnn.plugins import load_plugins
from stockrnn.tasks.registry import METRIC_NAMES

__all__ = [
    "AUTO", "NAME", "SECTIONS", "TOP_LEVEL", "LockstepConfig", "ResourcesConfig", "SchedulerConfig", "SearchConfig",
    "TrackingConfig", "WarmStartConfig", "WhenConfig",
]  # fmt: skip

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
DEFAULT_SAMPLES = 40
AUTO: Literal["auto"] = "auto"
MIN_SHARE = 0.01  # of a CPU core or of a GPU
MAX_ENTRIES = 8  # of resources.when


SAMPLERS |= load_plugins("search.samplers", SAMPLERS, lambda entry: isinstance(entry, Sampler))

if TYPE_CHECKING:
    SamplerName: TypeAlias = str
    MetricName: TypeAlias = str
else:
    MetricName = Literal[METRIC_NAMES]
    SamplerName = Literal[tuple(SAMPLERS)]


class WarmStartConfig(Configuration):
    """An earlier study whose best configurations are tried first."""

    study: str = Field(
        min_length=1, max_length=1000, description="folder or URL of the earlier study, of the same market or another"
    )
    top: int = Field(5, ge=1, le=1000, description="maximum number of its best different configurations to try")
    points: list[dict[str, Any]] | None = Field(
        None,
        max_length=1000,
        description="these configurations, which a new study writes into its own space.yaml; null: the best ones of "
        "the earlier study that fit this space",
    )


def parse_warm_start(value: object) -> object:
    """Return a mapping for the path of a study; other values unchanged."""
    return {"study": value} if isinstance(value, str) else value


class SearchConfig(Configuration):
    """The sampler, the number of trials, the metric, and the finalists."""

    sampler: SamplerName = Field(
        "tpe",
        description="method that proposes the points. "
        + "; ".join(f"{name}: {each.description}" for name, each in SAMPLERS.items()),
    )
    num_samples: int | None = Field(
        None,
        ge=1,
        le=MAX_TRIALS,
        description="number of trials, including the default configuration and those of initial; "
        f"null: {DEFAULT_SAMPLES}, or all points of a smaller space or of a grid. No point is tried twice, so the "
        "search of a finite space ends when all its points have been tried. The first trial is the default "
        "configuration, even outside of the space: constants of the space, and otherwise the default of each parameter",
    )
    metric: MetricName = Field(
        "val_relative_loss", description="score that ranks the trials and selects the best epoch of each"
    )
    mode: Literal["min", "max"] | None = Field(
        None, description="whether lower (min) or higher (max) scores are better; null: as the metric requires"
    )
    finalists: int = Field(
        3,
        ge=0,
        le=100,
        description="number of best trials that are retrained and scored on the test set; 0: none",
    )
    replay: bool = Field(
        True,
        description="whether the same space, prices, seed and workers give the same trials and scores. Decisions then "
        "follow the predicted durations of epochs, and sometimes wait; false: they follow the order in which trials "
        "happen to report",
    )
    max_failures: int = Field(
        2, ge=0, le=100, description="how often a trial may continue from its checkpoint after its worker died"
    )
    stall_timeout: float | None = Field(
        600,
        ge=1,
        le=8_640_000,
        description="seconds without a report after which a trial's worker is killed. The trial then continues on "
        "another worker, and max_failures counts this. The limit is at least 20 times the predicted seconds per epoch. "
        "null: no limit",
    )
    finalist_seeds: int = Field(
        5, ge=1, le=100, description="networks per finalist, each with its own seed; their forecasts are averaged"
    )
    initial: list[dict[str, Any]] = Field(
        default_factory=list,
        description="points of the first trials after the default configuration; a sampler chooses the parameters "
        "that a point leaves out",
    )
    warm_start: Annotated[WarmStartConfig | None, BeforeValidator(parse_warm_start)] = Field(
        None,
        description="folder or URL of an earlier study, or a mapping with the keys below. Its best configurations that "
        "fit this space are tried first, after the default configuration; null: none",
    )

    @field_validator("sampler", mode="before")
    @classmethod
    def _check_other_name(cls, name: object) -> object:
        if isinstance(name, str) and name not in SAMPLERS and (meant := suggest_sampler(name)):
            raise ValueError(f"{format_value(name)} is not one of {', '.join(SAMPLERS)}; did you mean {meant}?")
        return name


class SchedulerConfig(Configuration):
    """Early stopping by ASHA: at each rung, only the best 1/reduction_factor of the trials continue."""

    max_epochs: int = Field(30, ge=1, le=100_000, description="maximum number of epochs of a trial")
    grace_period: int = Field(
        3,
        ge=1,
        description="epoch of the first rung; ASHA stops no trial before it. As large as max_epochs: stops no trial",
    )
    reduction_factor: float = Field(
        3,
        ge=1.1,
        le=100,
        description="at a rung, 1 of this many trials continues; each next rung is this many times as late",
    )
    patience: int | None = Field(
        8, ge=1, description="epochs without a better score after which a trial is complete; null: no limit"
    )

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which ASHA may stop trials."""
        epochs = itertools.takewhile(
            lambda epoch: epoch < self.max_epochs,
            (math.ceil(self.grace_period * self.reduction_factor**power) for power in itertools.count()),
        )
        return tuple(dict.fromkeys(epochs))


class LockstepConfig(Configuration):
    """How the networks of a trial are computed; the choice affects speed, and results only by rounding."""

    lockstep: Literal["auto", "batched", "looped"] = Field(
        "auto",
        description="batched: all networks of a trial in one matrix product; looped: one after another, with PyTorch's "
        "layers; auto: depends on the shape of the networks",
    )


def parse_gpu(value: object) -> object:
    """Return a share of a GPU unchanged; raise ValueError if it is not `auto`, 0 or from MIN_SHARE to 1."""
    reason = ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0 or MIN_SHARE <= value <= 1:
            return value
        reason = "; a trial uses at most one GPU" if value > 1 else ""
    elif value == AUTO:
        return value
    raise ValueError(
        f"{format_value(value)} is not a share of a GPU{reason}; "
        f"write {AUTO}, 0, or a number from {MIN_SHARE} to 1, such as 0.25"
    )


Cpu = Annotated[float, Field(ge=MIN_SHARE, le=1024)]
Gpu = Annotated[
    Annotated[float, Field(ge=0, le=1)] | Literal["auto"],
    BeforeValidator(parse_gpu),
]


class WhenConfig(Configuration):
    """Resources of the trials that meet a condition."""

    if_: dict[str, Any] = Field(
        alias="if",
        description="condition; for each parameter a value, a list of values, or {min: ..., max: ...}; a trial must "
        "meet all",
    )
    cpu: Cpu | None = Field(None, description="CPU cores of these trials; null: this entry does not change them")
    gpu: Gpu | None = Field(None, description="GPU share of these trials; null: this entry does not change it")

    @model_validator(mode="after")
    def _check_entry(self) -> "WhenConfig":
        if not self.if_:
            raise ValueError("if: has no condition; add one, for example hidden_size: {min: 128}")
        if self.cpu is None and self.gpu is None:
            raise ValueError("has neither cpu nor gpu; an entry needs at least one of them; for example gpu: 0.5")
        return self


class ResourcesConfig(Configuration):
    """CPU cores and GPU share of each trial, and the number of trials that run side by side."""

    workers: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="number of trials that run side by side; null: as many as fit when the study starts. The trials "
        "of a study depend on this number, so space.yaml of a study has it",
    )
    cpu: Cpu = Field(1, description="CPU cores of a trial; PyTorch uses as many threads")
    gpu: Gpu = Field(
        0.0,
        description="share of one GPU, 0.01 to 1, which also limits the trial's GPU memory; 0: train on the CPU; "
        "auto: as much as the trial's networks need, or the CPU if there is no GPU",
    )
    when: list[WhenConfig] = Field(
        default_factory=list,
        max_length=MAX_ENTRIES,
        description="other resources for some trials, as in {if: {hidden_size: {min: 128}}, gpu: 0.5}; a later entry "
        "that matches replaces the values of an earlier one",
    )

    @field_serializer("when")
    def _dump_when(self, entries: list[WhenConfig]) -> list[dict[str, Any]]:
        return [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in entries]


class TrackingConfig(Configuration):
    """Trackers that receive every trial; MLflow and Weights & Biases need the extra of their name."""

    mlflow: str | None = Field(
        None,
        repr=False,
        description="address of MLflow's runs: http://host:port, file:FOLDER or sqlite:///FILE; null: no MLflow",
    )
    tensorboard: bool = Field(
        False, description="whether to write TensorBoard event files to tensorboard/ in the study's folder"
    )
    wandb: bool = Field(
        False, description="whether to write offline runs of Weights & Biases to wandb/ in the study's folder"
    )

    @field_validator("mlflow")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        return None if address is None else check_mlflow_address(address)

    @field_serializer("mlflow")
    def _dump_address(self, address: str | None) -> str | None:
        return None if address is None else strip_credentials(address)

    def __getstate__(self) -> dict[Any, Any]:
        # A password must not reach the workers and Ray's files.
        return super().__getstate__() | {"__dict__": self.model_dump()}


SECTIONS: dict[str, type[Configuration]] = {
    "data": DataConfig,
    "validation": ValidationConfig,
    "search": SearchConfig,
    "scheduler": SchedulerConfig,
    "training": LockstepConfig,
    "resources": ResourcesConfig,
    "tracking": TrackingConfig,
}
TOP_LEVEL = ("name", "data", "validation", "space", "search", "scheduler", "training", "resources", "tracking", "seed")
