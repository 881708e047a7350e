"""Predict the computation of one training epoch: recurrent steps, gate values, multiply-adds, seconds on a CPU core."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.space.parameters import Value
from search.space.space import Space
from stockrnn.dataset.config import WindowConfig
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.heads import HEADS
from stockrnn.training.config import TrainingConfig

__all__ = ["TrainingSizes", "Workload", "epoch_workload", "finalist_workload", "training_sizes", "trial_workload"]

BACKWARD_FACTOR = 2  # the backward pass computes the gradients of the inputs and of the weights

# Seconds per recurrent step, gate value and multiply-add on one core of an AMD EPYC with AVX-512. `python -m
# benchmarks.cost` fitted them on 2026-11-24; eight of ten shapes took 0.83 to 1.46 times the predicted seconds.
SECONDS_PER_STEP, SECONDS_PER_VALUE, SECONDS_PER_PRODUCT = 70e-6, 3.5e-9, 0.03e-9


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Computation of one epoch of a trial, all of its networks together.

    Attributes:
        steps: recurrent steps that run one after another.
        values: gate values.
        products: multiply-adds of the forward and the backward pass.
    """

    steps: float
    values: float
    products: float

    @property
    def operations(self) -> float:
        """Floating-point operations."""
        return 2 * self.products

    @property
    def seconds(self) -> float:
        """Predicted seconds on one CPU core."""
        return SECONDS_PER_STEP * self.steps + SECONDS_PER_VALUE * self.values + SECONDS_PER_PRODUCT * self.products


@dataclass(frozen=True, kw_only=True)
class TrainingSizes:
    """Training sessions of each fold, and of a finalist, which trains on all sessions before the test block."""

    folds: Sequence[int]
    finalist: int


def training_sizes(space: Space, splits: WalkForward | None) -> TrainingSizes:
    """Return the sizes of the training parts; without splits, those that `validation.train_size` gives."""
    if splits is not None:
        return TrainingSizes(folds=[len(fold.train) for fold in splits.folds], finalist=len(splits.before_test))
    size = space.validation.train_size
    assert size is not None
    return TrainingSizes(folds=[size] * space.validation.folds, finalist=size)


def trial_workload(space: Space, sizes: TrainingSizes, point: Mapping[str, Value]) -> Workload:
    """Return the workload of one epoch of the trial with this point."""
    validation = space.validation
    return epoch_workload(
        *space.configurations(point), sizes.folds, validation.fold_size, validation.seeds, space.data.horizon
    )


def finalist_workload(space: Space, sizes: TrainingSizes, point: Mapping[str, Value]) -> Workload:
    """Return the workload of one epoch of the finalist with this point."""
    return epoch_workload(
        *space.configurations(point), [sizes.finalist], 0, space.search.finalist_seeds, space.data.horizon
    )


def epoch_workload(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, train_sizes: Sequence[int],
    forecast_size: int, seeds: int, horizon: int,
) -> Workload:  # fmt: skip
    """Return the workload of one epoch of folds x seeds networks.

    Args:
        train_sizes: training sessions of each fold.
        forecast_size: sessions of each fold that are forecast after the epoch.
        seeds: networks per fold.
    """
    length, hidden = window.sequence_length, network.hidden_size
    directions, gates = 1 + network.bidirectional, ARCHITECTURES[network.architecture].gates
    width = hidden * directions
    inputs = [len(window.inputs), *[width] * (network.num_layers - 1)]
    head = HEADS[network.head].multiply_adds(width, length)
    products_per_window = length * directions * gates * hidden * sum(size + hidden for size in inputs) + head
    windows = [max(1, sessions - horizon - length + 1) for sessions in train_sizes]
    batches = math.ceil(max(windows) / training.batch_size)
    trained = sum(windows) * seeds
    forecast = forecast_size * len(train_sizes) * seeds
    return Workload(
        steps=batches * length * network.num_layers * directions,
        values=trained * length * network.num_layers * directions * gates * hidden,
        products=products_per_window * ((1 + BACKWARD_FACTOR) * trained + forecast),
    )
