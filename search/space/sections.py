"""The sections of a space file; those on data and folds are in `stockrnn.configuration`."""

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from search.common.credentials import check_mlflow_address, strip_credentials
from search.common.messages import format_value
from search.space.samplers import MAX_TRIALS, SAMPLERS
from stockrnn.configuration import Configuration
from stockrnn.dataset.config import DataConfig, ValidationConfig

__all__ = [
    "AUTO", "NAME", "SECTIONS", "TOP_LEVEL", "LockstepConfig", "ResourcesConfig", "SchedulerConfig", "SearchConfig",
    "TrackingConfig", "WhenConfig",
]  # fmt: skip

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
DEFAULT_SAMPLES = 40
AUTO: Literal["auto"] = "auto"
MIN_SHARE = 0.01  # of a CPU core or a GPU
MAX_ENTRIES = 8  # of resources.when


if TYPE_CHECKING:
    SamplerName: TypeAlias = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]


class SearchConfig(Configuration):
    """How points of the space are proposed and compared."""

    sampler: SamplerName = Field(
        "tpe", description="; ".join(f"{name}: {sampler.means}" for name, sampler in SAMPLERS.items())
    )
    num_samples: int | None = Field(
        None,
        ge=1,
        le=MAX_TRIALS,
        description="trials in all, those of initial included; "
        f"null: {DEFAULT_SAMPLES}, or a smaller space's size, or the whole grid",
    )
    metric: Literal["val_theils_u", "val_worst_fold", "val_rmse", "val_mae", "val_direction_accuracy"] = Field(
        "val_theils_u", description="what trials are compared by, and what decides their best epoch"
    )
    mode: Literal["min", "max"] | None = Field(None, description="which way is better; null: the metric's own")
    finalists: int = Field(
        3,
        ge=0,
        le=100,
        description="best trials that are trained afresh and scored on the test block; 0: none",
    )
    max_failures: int = Field(
        2, ge=0, le=100, description="times that a trial goes on, from its checkpoint, after its worker died"
    )
    stall_timeout: float | None = Field(
        600,
        ge=1,
        le=8_640_000,
        description="seconds without a report after which a trial's worker is killed and the trial goes on with "
        "another, as after a death that max_failures counts; at least 20 times what its epoch is predicted to take; "
        "null: never",
    )
    finalist_seeds: int = Field(5, ge=1, le=100, description="networks that each finalist averages")
    initial: list[dict[str, Any]] = Field(default_factory=list, description="points tried first, one trial each")


class SchedulerConfig(Configuration):
    """ASHA: at the rungs grace_period x reduction_factor^k, all but the best 1/reduction_factor stop."""

    max_epochs: int = Field(30, ge=1, le=100_000, description="epochs of a trial that is never stopped")
    grace_period: int = Field(
        3, ge=1, description="epochs before a trial may be stopped: the first rung; max_epochs stops none"
    )
    reduction_factor: float = Field(
        3, ge=1.1, le=100, description="of how many trials one survives a rung; each rung is so many times as late"
    )
    patience: int | None = Field(
        8, ge=1, description="epochs without a better score after which a trial is complete; null: never"
    )

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which trials may be stopped."""
        epochs = itertools.takewhile(
            lambda epoch: epoch < self.max_epochs,
            (math.ceil(self.grace_period * self.reduction_factor**power) for power in itertools.count()),
        )
        return tuple(dict.fromkeys(epochs))


class LockstepConfig(Configuration):
    """How a trial's members are computed; what they learn is the same but for rounding."""

    lockstep: Literal["auto", "batched", "looped"] = Field(
        "auto",
        description="how members are computed: batched, all as one product; looped, one after the other by PyTorch's "
        "own layers; auto, by a rule on the shape",
    )


def parse_gpu(value: object) -> object:
    """A share of one GPU, 0 for none, or `auto`; else ValueError."""
    rule = f"a share is {AUTO}, 0 or a number from {MIN_SHARE} to 1, part of one GPU"
    if isinstance(value, bool) or not isinstance(value, int | float):
        if value != AUTO:
            raise ValueError(f"{format_value(value)} is no share of a GPU; {rule}; write gpu: 0.25, say")
    elif not (value == 0 or MIN_SHARE <= value <= 1):
        more = "a trial trains on one GPU" if value > 1 else "less holds nothing"
        raise ValueError(f"{value:g} is no share of a GPU; {rule}: {more}; write gpu: 0.25, say")
    return value


Cpu = Annotated[float, Field(ge=MIN_SHARE, le=1024)]
Gpu = Annotated[
    Annotated[float, Field(ge=0, le=1)] | Literal["auto"],
    BeforeValidator(parse_gpu),
]


class WhenConfig(Configuration):
    """What the trials are given that meet a condition."""

    if_: dict[str, Any] = Field(
        alias="if",
        description="parameters of the space, and for each a value, a list of values, or {min: ..., max: ...}; "
        "all must hold",
    )
    cpu: Cpu | None = Field(None, description="CPU cores of such trials; null: as without this entry")
    gpu: Gpu | None = Field(None, description="share of a GPU of such trials; null: as without this entry")

    @model_validator(mode="after")
    def _says_something(self) -> "WhenConfig":
        if not self.if_:
            raise ValueError("if: holds no condition; a condition names a parameter; add hidden_size: {min: 128}, say")
        if self.cpu is None and self.gpu is None:
            raise ValueError("gives neither cpu nor gpu; an entry gives one of them at least; add gpu: 0.5, say")
        return self


class ResourcesConfig(Configuration):
    """What each trial is given."""

    cpu: Cpu = Field(1, description="CPU cores, and threads of PyTorch")
    gpu: Gpu = Field(
        0.0,
        description="share of one GPU, 0.01 to 1, of whose memory a trial takes no more; 0: trains on the CPU; "
        "auto: as much as the trial's networks need, and the CPU where there is no GPU",
    )
    when: list[WhenConfig] = Field(
        default_factory=list,
        max_length=MAX_ENTRIES,
        description="other demands of some trials, as in {if: {hidden_size: {min: 128}}, gpu: 0.5}; each entry that "
        "matches lays its values over those before",
    )

    @field_serializer("when")
    def _as_written(self, entries: list[WhenConfig]) -> list[dict[str, Any]]:
        return [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in entries]


class TrackingConfig(Configuration):
    """Other programs that are told of every trial; each but TensorBoard needs the extra of its name."""

    mlflow: str | None = Field(
        None,
        repr=False,
        description="where MLflow keeps its runs: http://host:port, file:FOLDER or sqlite:///FILE; null: not told",
    )
    tensorboard: bool = Field(False, description="event files for TensorBoard in the study's folder, tensorboard/")
    wandb: bool = Field(False, description="Weights & Biases, offline: runs in the study's folder, wandb/")

    @field_validator("mlflow")
    @classmethod
    def _address(cls, address: str | None) -> str | None:
        return None if address is None else check_mlflow_address(address)

    @field_serializer("mlflow")
    def _safe(self, address: str | None) -> str | None:
        return None if address is None else strip_credentials(address)

    def __getstate__(self) -> dict[Any, Any]:  # no password travels to the workers, or into Ray's files
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
