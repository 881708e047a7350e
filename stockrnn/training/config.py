"""Configuration of training."""

from typing import Literal

from pydantic import Field

from stockrnn.configuration import Configuration

__all__ = [
    "TrainingConfig",
]


class TrainingConfig(Configuration):
    """Training of each network."""

    learning_rate: float = Field(1e-3, gt=0, le=10, description="step size of the optimizer")
    weight_decay: float = Field(0.0, ge=0, le=10, description="L2 penalty; decoupled weight decay with adamw")
    batch_size: int = Field(64, ge=1, le=1_000_000, description="windows per step")
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = Field(
        "adam", description="PyTorch optimizer, with its default settings"
    )
    loss: Literal["mse", "mae", "huber", "qlike", "log_loss"] = Field(
        "mse",
        description="training loss, on the scaled target. qlike is for data.task: volatility and its default; log_loss "
        "for data.task: direction, which has no other",
    )
    gradient_clip: float | None = Field(
        None, gt=0, le=1e12, description="maximum norm of a network's gradient; null: no limit"
    )
