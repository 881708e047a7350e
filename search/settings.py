"""The sections of a space file; those on data and folds are in `stockrnn.configuration`."""

import itertools
import math
from typing import Any, Literal

from pydantic import Field, field_serializer, field_validator

from search.tracking_address import check_address, without_credentials
from stockrnn.configuration import Configuration, DataConfig, ValidationConfig

__all__ = [
    "NAME", "SECTIONS", "TOP_LEVEL", "LockstepConfig", "ResourcesConfig", "SchedulerConfig", "SearchConfig",
    "TrackingConfig",
]  # fmt: skip

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
DEFAULT_SAMPLES = 40
MOST_SAMPLES = 1_000_000


class SearchConfig(Configuration):
    """How points of the space are proposed and compared."""

    sampler: Literal["tpe", "random", "grid", "qmc", "gp", "cmaes"] = Field(
        "tpe",
        description="tpe: learns from the trials before; random; grid: every point once; qmc: evenly spread; "
        "gp: Gaussian process; cmaes: evolution strategy",
    )
    num_samples: int | None = Field(
        None,
        ge=1,
        le=MOST_SAMPLES,
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
    finalist_seeds: int = Field(5, ge=1, le=100, description="networks that each finalist averages")
    initial: list[dict[str, Any]] = Field(default_factory=list, description="points tried first, one trial each")


class SchedulerConfig(Configuration):
    """ASHA: at the rungs grace_period x reduction_factor^k, all but the best 1/reduction_factor stop."""

    max_epochs: int = Field(30, ge=1, le=100_000, description="epochs of a trial that is never stopped")
    grace_period: int = Field(3, ge=1, description="epochs before a trial may be stopped; max_epochs: never")
    reduction_factor: float = Field(3, ge=1.1, le=100, description="of how many trials one survives a rung")
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
        description="batched: all members as one product; looped: one after the other by PyTorch's own layers; "
        "auto: by a rule on the shape",
    )


class ResourcesConfig(Configuration):
    """What each trial is given."""

    cpu: float = Field(1, gt=0, le=1024, description="CPU cores, and threads of PyTorch")
    gpu: float = Field(0, ge=0, le=64, description="GPUs; a fraction shares one")


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
        return None if address is None else check_address(address)

    @field_serializer("mlflow")
    def _safe(self, address: str | None) -> str | None:
        return None if address is None else without_credentials(address)

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
