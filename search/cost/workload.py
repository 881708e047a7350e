"""Predict the computation of one training epoch: floating-point operations, and seconds on one CPU core.

This is the cost model of the whole project. The virtual clock of a study, the order of its first trials, `--dry-run`
and the limits of stalled trials use it. An epoch is described by counts, for example of optimizer steps and of
multiply-adds. Each count has a constant number of seconds, which depends on the architecture and on the form of the
computation. `python -m benchmarks.cost_model` measures epochs and fits the constants in `seconds.json`. They are the
same on every machine, so that a study does not depend on the machine.

An architecture without constants of its own, such as that of a plug-in, has those of the `unrolled` layers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.space.parameters import Value
from search.space.space import Space
from stockrnn.dataset.config import WindowConfig
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.execution import ExecutionMode, choose_mode
from stockrnn.networks.heads import HEADS
from stockrnn.networks.parameter_shapes import group_size, parameter_shapes, state_width
from stockrnn.training.config import TrainingConfig

__all__ = [
    "SECONDS_FILE", "TrainingSizes", "Workload", "epoch_workload", "finalist_workload", "training_sizes",
    "trial_workload",
]  # fmt: skip

BACKWARD_FACTOR = 2  # the backward pass computes the gradients of the inputs and of the weights
SECONDS_FILE = Path(__file__).with_name("seconds.json")
SECONDS: dict[str, dict[str, float]] = json.loads(SECONDS_FILE.read_text(encoding="utf-8"))["seconds"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Computation of one epoch of a trial, all of its networks together.

    Attributes:
        form: architecture and mode, a key of the constants.
        counts: what the seconds are proportional to. A forecast counts as a third of a training step of its windows.

            - epochs: 1.
            - steps: of the optimizer.
            - passes: forward and backward passes; the members of a group share one.
            - layers: layers of all passes; the two directions of a layer count as two.
            - recurrent: time steps of all layers.
            - gates: gates of all time steps.
            - values: computed values of all gates.
            - products: multiply-adds.
            - parameters: updated parameters.
            - inputs: copied input values.
            - masks: values of the dropout masks.
            - states: states that the head reads, if it reads all steps.
            - attention: states that the head weighs by attention.
    """

    form: str
    counts: Mapping[str, float]

    @property
    def operations(self) -> float:
        """Floating-point operations."""
        return 2 * self.counts["products"]

    @property
    def seconds(self) -> float:
        """Predicted seconds on one CPU core."""
        return sum(seconds * self.counts[name] for name, seconds in SECONDS[self.form].items())


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
        *space.configurations(point), sizes.folds, validation.fold_size, validation.seeds, space.data.horizon,
        space.execution_mode,
    )  # fmt: skip


def finalist_workload(space: Space, sizes: TrainingSizes, point: Mapping[str, Value]) -> Workload:
    """Return the workload of one epoch of the finalist with this point."""
    return epoch_workload(
        *space.configurations(point), [sizes.finalist], 0, space.search.finalist_seeds, space.data.horizon,
        space.execution_mode,
    )  # fmt: skip


def epoch_workload(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, train_sizes: Sequence[int],
    forecast_size: int, seeds: int, horizon: int, mode: ExecutionMode | None = None,
) -> Workload:  # fmt: skip
    """Return the workload of one epoch of folds x seeds networks.

    Args:
        train_sizes: training sessions of each fold.
        forecast_size: sessions of each fold that are forecast after the epoch.
        seeds: networks per fold.
        mode: None chooses by the shape.
    """
    length, layers, inputs = window.sequence_length, network.num_layers, len(window.inputs)
    members = len(train_sizes) * seeds
    mode = mode or choose_mode(network, length, training.batch_size, members)
    # The folds with most windows first; members train together until their windows are used up.
    windows = sorted((max(1, sessions - horizon - length + 1) for sessions in train_sizes), reverse=True)
    steps = [math.ceil(count / training.batch_size) for count in windows]
    if mode == "batched":  # short batches are padded
        trained = seeds * sum(min(count * training.batch_size, windows[0]) for count in steps)
    else:
        trained = seeds * sum(windows)
    forecast = forecast_size * members
    passes: float = sum(
        (count - shorter) * _groups(network, mode, active * seeds, min(training.batch_size, windows[0]), length)
        for active, (count, shorter) in enumerate(zip(steps, [*steps[1:], 0], strict=True), start=1)
    )
    if forecast_size:
        passes += _groups(network, mode, members, forecast_size, length) / (1 + BACKWARD_FACTOR)
    rows = trained + forecast / (1 + BACKWARD_FACTOR)

    hidden, width, gates = network.hidden_size, state_width(network), ARCHITECTURES[network.architecture].gates
    head = HEADS[network.head]
    below = sum(size + hidden for size in [inputs, *[width] * (layers - 1)])
    products = length * gates * width * below + head.multiply_adds(width, length)  # of a window's forward pass
    directions = width // hidden
    recurrent, states = length * layers * directions, length * width
    parameters = sum(map(math.prod, parameter_shapes(network, inputs, length).values()))
    masked = network.dropout > 0 and layers > 1
    form = f"{network.architecture} {mode}"
    return Workload(
        form=form if form in SECONDS else f"unrolled {mode}",
        counts={
            "epochs": 1,
            "steps": steps[0],
            "passes": passes,
            "layers": passes * layers * directions,
            "recurrent": passes * recurrent,
            "gates": passes * recurrent * gates,
            "values": rows * recurrent * gates * hidden,
            "products": (1 + BACKWARD_FACTOR) * rows * products,
            "parameters": seeds * sum(steps) * parameters,
            "inputs": rows * length * inputs,
            "masks": trained * states * (layers - 1) if masked else 0,
            "states": 0 if head.reads_last else rows * states,
            "attention": rows * states if head.weights(width, length) else 0,
        },
    )  # fmt: skip


def _groups(network: NetworkConfig, mode: ExecutionMode, members: int, batch: int, length: int) -> int:
    """Return the number of passes that the members need for one batch."""
    return math.ceil(members / (group_size(network, batch, length, "cpu") if mode == "batched" else 1))
