"""Estimate the cost of a study before it starts: epochs, floating-point operations, hours.

ASHA's rule gives the number of trials that pass each rung, if good and bad trials come in random order. The cost of an
epoch is the mean over points sampled from the space.
"""

import math
from dataclasses import dataclass
from random import Random

from search.cost.workload import finalist_workload, training_sizes, trial_workload
from search.space.parameters import Parameter, Value
from search.space.space import Space
from stockrnn.evaluation.walk_forward import WalkForward

__all__ = ["Cost", "Epochs", "estimate_cost", "estimate_epochs", "sample_point"]

SAMPLED_POINTS = 200
MAX_LISTED_VALUES = 10_000  # domains with more values are sampled without listing their values
UNCERTAINTY = 1.5  # factor between the predicted seconds and both ends of their range
GPU_RATES = (1e12, 10e12)  # operations per second; assumed, no GPU was measured


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """Total epochs of all trials.

    Attributes:
        minimum: every trial stops at the first rung, or as early as its patience allows.
        expected: good and bad trials come in random order. If the best trials of one rung are also the best of the
            next, more trials pass: up to a quarter more epochs.
        maximum: no trial stops early.
    """

    minimum: int
    expected: float
    maximum: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Estimated cost of a study.

    Attributes:
        epochs: of all trials.
        operations: floating-point operations of the expected epochs and of the finalists at `scheduler.max_epochs`.
        seconds: predicted seconds of the same computation on one CPU core.
    """

    epochs: Epochs
    operations: float
    seconds: float

    @property
    def core_seconds(self) -> tuple[float, float]:
        """Range of the seconds on one CPU core."""
        return self.seconds / UNCERTAINTY, self.seconds * UNCERTAINTY

    @property
    def gpu_seconds(self) -> tuple[float, float]:
        """Range of the seconds on one GPU, at the assumed rates."""
        slow, fast = GPU_RATES
        return self.operations / fast, self.operations / slow


def estimate_cost(space: Space, splits: WalkForward | None) -> Cost | None:
    """Return the estimated cost of a study.

    Args:
        splits: None without prices.

    Returns:
        None if the sizes of the training parts depend on prices that are not there.
    """
    if splits is None and space.validation.train_size is None:
        return None
    sizes = training_sizes(space, splits)
    random, epochs = Random(space.seed), estimate_epochs(space)
    finalist_epochs = space.search.finalists * space.scheduler.max_epochs
    operations = seconds = 0.0
    for _ in range(SAMPLED_POINTS):
        point = sample_point(space, random)
        trial, finalist = trial_workload(space, sizes, point), finalist_workload(space, sizes, point)
        operations += epochs.expected * trial.operations + finalist_epochs * finalist.operations
        seconds += epochs.expected * trial.seconds + finalist_epochs * finalist.seconds
    return Cost(epochs=epochs, operations=operations / SAMPLED_POINTS, seconds=seconds / SAMPLED_POINTS)


def estimate_epochs(space: Space) -> Epochs:
    """Return the total epochs of a study's trials.

    ASHA lets the first trial at each rung continue. That is usually the default configuration, which it never stops.
    """
    scheduler, trials = space.scheduler, space.num_samples
    stages = [*scheduler.rungs, scheduler.max_epochs]
    expected, running, previous = 0.0, float(trials), 0
    for epoch in stages:
        expected += running * (epoch - previous)
        running, previous = _survivors(running, scheduler.reduction_factor), epoch
    first = min(stages[0], scheduler.max_epochs if scheduler.patience is None else scheduler.patience + 1)
    return Epochs(minimum=trials * first, expected=expected, maximum=trials * scheduler.max_epochs)


def sample_point(space: Space, random: Random) -> dict[str, Value]:
    """Return a random point of the space, from the distribution of the random sampler."""
    point: dict[str, Value] = {}
    for parameter in space.parameters:
        if parameter.applies(point):
            point[parameter.name] = _sample_value(parameter, random)
    return point


def _sample_value(parameter: Parameter, random: Random) -> Value:
    if parameter.kind in ("constant", "choice"):
        return random.choice(parameter.values)
    low, high = parameter.low, parameter.high
    if parameter.log:
        value = math.exp(random.uniform(math.log(low), math.log(high)))
    elif (parameter.size or math.inf) <= MAX_LISTED_VALUES:
        return random.choice(parameter.all_values() or ())
    else:
        value = random.uniform(low, high)
    value = min(max(value, low), high)
    return round(value) if parameter.kind == "int" else value


def _survivors(trials: float, factor: float) -> float:
    """Return the expected number of trials that pass a rung, if their order is random.

    The first trial passes. A trial that follows n others passes if it is above their (1 - 1/factor) quantile; the
    probability of that is (1 + (n - 1) / factor) / (n + 1). Harmonic numbers give the sum over all trials.
    """
    if trials <= 1:
        return trials
    harmonic = math.log(trials) + 0.5772156649 + 1 / (2 * trials) - 1 / (12 * trials**2)
    return 1 + (trials - 1) / factor + (1 - 2 / factor) * (harmonic - 1)
