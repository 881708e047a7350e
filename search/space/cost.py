"""What a study will cost, estimated before it begins: epochs, floating-point operations, and hours by measured rates.

How many trials survive a rung follows from ASHA's rule, if the order in which good and bad ones come is random; what
an epoch costs is the mean over points drawn from the space. Nothing is trained, and PyTorch is not imported.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from search.space.parameters import Parameter, Value
from search.space.space import Space
from stockrnn.dataset.config import WindowConfig
from stockrnn.dataset.walk_forward import WalkForward
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.heads import HEADS
from stockrnn.training.config import TrainingConfig

__all__ = [
    "Cost", "Epochs", "TrainingParts", "Work", "draw", "epochs", "estimate", "finalist_work", "training_parts",
    "trial_work", "work",
]  # fmt: skip

POINTS = 200  # drawn from the space
LISTED = 10_000  # values of a domain that are listed to draw one
BACKWARD = 2  # times the forward pass: gradients of the inputs and of the weights

# Seconds on one core of an AMD EPYC with AVX-512 that a cell's step takes, a gate value and a multiply-add: fitted by
# `python -m benchmarks.cost`, 2026-11-24, where eight of ten shapes took 0.83 to 1.46 times what these say.
CELL, VALUE, PRODUCT = 70e-6, 3.5e-9, 0.03e-9
SPREAD = 1.5
GPU_RATES = (1e12, 10e12)  # operations a second: assumed, no GPU was measured


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """Epochs of all trials together.

    Attributes:
        least: every trial stops at the first rung, or as soon as its patience may end.
        likely: as many pass each rung as would if good and bad trials came to it in random order. More do where the
            best of one rung are the best of the next: up to a quarter more epochs.
        most: none stops.
    """

    least: int
    likely: float
    most: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an epoch of a trial computes, all of its members together.

    Attributes:
        cells: steps of recurrent cells, one after another.
        values: gate values.
        products: multiply-adds of the forward and the backward pass.
    """

    cells: float
    values: float
    products: float

    @property
    def operations(self) -> float:
        """Floating-point operations."""
        return 2 * self.products

    @property
    def seconds(self) -> float:
        """On one core, about."""
        return CELL * self.cells + VALUE * self.values + PRODUCT * self.products


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a study will cost.

    Attributes:
        epochs: of all trials.
        operations, seconds: floating-point operations and seconds on one core, of the likely epochs and of the
            finalists, where each trains as long as a trial may.
    """

    epochs: Epochs
    operations: float
    seconds: float

    @property
    def core_seconds(self) -> tuple[float, float]:
        """On one core, from and to."""
        return self.seconds / SPREAD, self.seconds * SPREAD

    @property
    def gpu_seconds(self) -> tuple[float, float]:
        """On one GPU, from and to, at the rates that are assumed."""
        slow, fast = GPU_RATES
        return self.operations / fast, self.operations / slow


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """Sessions that networks train on: of each fold, and before the test block."""

    folds: Sequence[int]
    before_test: int


def estimate(space: Space, splits: WalkForward | None) -> Cost | None:
    """What a study will cost; None where its training parts are not known without the prices.

    Args:
        splits: the folds; None where there are no prices.
    """
    if splits is None and space.validation.train_size is None:
        return None
    parts = training_parts(space, splits)
    random, found = Random(space.seed), epochs(space)
    finalists = space.search.finalists * space.scheduler.max_epochs
    operations = seconds = 0.0
    for _ in range(POINTS):
        point = draw(space, random)
        trial, finalist = trial_work(space, parts, point), finalist_work(space, parts, point)
        operations += found.likely * trial.operations + finalists * finalist.operations
        seconds += found.likely * trial.seconds + finalists * finalist.seconds
    return Cost(epochs=found, operations=operations / POINTS, seconds=seconds / POINTS)


def epochs(space: Space) -> Epochs:
    """How many epochs the trials of a study train in all."""
    scheduler, trials = space.scheduler, space.num_samples
    stages = [*scheduler.rungs, scheduler.max_epochs]
    likely, left, before = 0.0, float(trials), 0
    for epoch in stages:
        likely += left * (epoch - before)
        left, before = _survivors(left, scheduler.reduction_factor), epoch
    first = min(stages[0], scheduler.max_epochs if scheduler.patience is None else scheduler.patience + 1)
    return Epochs(least=trials * first, likely=likely, most=trials * scheduler.max_epochs)


def training_parts(space: Space, splits: WalkForward | None) -> TrainingParts:
    """Return the training parts of the folds, or those that the space declares where there are no prices yet."""
    if splits is not None:
        return TrainingParts(folds=[len(fold.train) for fold in splits.folds], before_test=len(splits.before_test))
    size = space.validation.train_size
    assert size is not None
    return TrainingParts(folds=[size] * space.validation.folds, before_test=size)


def trial_work(space: Space, parts: TrainingParts, point: Mapping[str, Value]) -> Work:
    """Return what an epoch of a point's trial computes."""
    validation = space.validation
    shape = space.configurations(point)
    return work(*shape, parts.folds, validation.fold_size, validation.seeds, space.data.horizon)


def finalist_work(space: Space, parts: TrainingParts, point: Mapping[str, Value]) -> Work:
    """Return what an epoch of a point's training as a finalist computes."""
    shape = space.configurations(point)
    return work(*shape, [parts.before_test], 0, space.search.finalist_seeds, space.data.horizon)


def work(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, trained: Sequence[int], forecast: int,
    seeds: int, horizon: int,
) -> Work:  # fmt: skip
    """What an epoch of folds x seeds networks computes.

    Args:
        trained: sessions of each fold's training part.
        forecast: sessions of each fold that are forecast after the epoch.
        seeds: networks of a fold.
    """
    length, hidden = window.sequence_length, network.hidden_size
    directions, gates = 1 + network.bidirectional, ARCHITECTURES[network.architecture].gates
    inputs = [len(window.inputs), *[hidden * directions] * (network.num_layers - 1)]
    width = hidden * directions
    head = HEADS[network.head].multiply_adds(width, length)
    a_window = length * directions * gates * hidden * sum(size + hidden for size in inputs) + head
    counts = [max(1, sessions - horizon - length + 1) for sessions in trained]
    batches = math.ceil(max(counts) / training.batch_size)
    seen = sum(counts) * seeds
    return Work(
        cells=batches * length * network.num_layers * directions,
        values=seen * length * network.num_layers * directions * gates * hidden,
        products=a_window * ((1 + BACKWARD) * seen + forecast * len(trained) * seeds),
    )


def draw(space: Space, random: Random) -> dict[str, Value]:
    """A point of the space at random, as the random sampler would propose one."""
    point: dict[str, Value] = {}
    for parameter in space.parameters:
        if parameter.applies(point):
            point[parameter.name] = _value(parameter, random)
    return point


def _value(parameter: Parameter, random: Random) -> Value:
    if parameter.kind in ("constant", "choice"):
        return random.choice(parameter.values)
    low, high = parameter.low, parameter.high
    if parameter.log:
        value = math.exp(random.uniform(math.log(low), math.log(high)))
    elif (parameter.size or math.inf) <= LISTED:
        return random.choice(parameter.all_values() or ())
    else:
        value = random.uniform(low, high)
    value = min(max(value, low), high)
    return round(value) if parameter.kind == "int" else value


def _survivors(trials: float, factor: float) -> float:
    """How many of these trials pass a rung, on average, if each is as likely as any other to be the better.

    The first passes. One that comes after n others passes if it is above their (1 - 1/factor) quantile, of which the
    chance is (1 + (n - 1) / factor) / (n + 1); the sum of that is written out with the harmonic numbers.
    """
    if trials <= 1:
        return trials
    harmonic = math.log(trials) + 0.5772156649 + 1 / (2 * trials) - 1 / (12 * trials**2)
    return 1 + (trials - 1) / factor + (1 - 2 / factor) * (harmonic - 1)
