"""The epoch loop over a trial's members: a generator of epoch results."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from stockrnn.configuration import NetworkConfig, TrainingConfig
from stockrnn.graphs import Graphs
from stockrnn.lockstep import Form, Loss, Members, form_for
from stockrnn.optimizer import Optimizer
from stockrnn.windows import Windows

__all__ = ["Epoch", "member_seed", "train"]

LOSSES: dict[str, Loss] = {
    "mse": partial(F.mse_loss, reduction="none"),
    "mae": partial(F.l1_loss, reduction="none"),
    "huber": partial(F.huber_loss, reduction="none"),
}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch gave.

    Attributes:
        number: from 1.
        losses: mean training loss of each member over the epoch, shape (folds, seeds), on scaled targets.
        forecasts: for each fold the forecast closes of its validation sessions, (seeds, days), price points.
        members: the networks themselves, as they stand now; the next epoch changes them.
    """

    number: int
    losses: np.ndarray
    forecasts: list[np.ndarray]
    members: Members

    @property
    def finite(self) -> bool:
        """Whether every member's loss and every forecast is a finite number."""
        return bool(np.isfinite(self.losses).all() and all(np.isfinite(day).all() for day in self.forecasts))


def member_seed(study_seed: int, fold: int, seed_index: int) -> int:
    """The seed of a member: from the study's seed, its fold and its index alone, never from the trial's number."""
    return int(np.random.SeedSequence([study_seed, fold, seed_index]).generate_state(1, np.uint32)[0])


def train(
    windows: Windows,
    network: NetworkConfig,
    training: TrainingConfig,
    *,
    seeds: int,
    max_epochs: int,
    study_seed: int = 0,
    forecast_from: int = 1,
    form: Form | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Epoch]:
    """Train folds x seeds networks in lockstep and forecast every fold's validation block after each epoch.

    An epoch of a member is one pass over its own fold's training windows, in an order drawn from its own seed. A
    member's result does not depend on which members train beside it.

    Args:
        windows: of all folds, on the device to train on.
        network, training: the trial's configuration.
        seeds: networks per fold.
        max_epochs: epochs to train.
        study_seed: what member seeds derive from.
        form: how the members are computed; None decides by the shape.
        forecast_from: the first epoch after which forecasts are made; those before have none.

    Yields:
        One Epoch per epoch; a caller that has seen enough stops iterating.
    """
    device = windows.device
    if device.type == "cuda":  # TF32 keeps 10 bits of a number; cuDNN would use it unasked
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # Longest first: the members that still have windows at a step are always the first ones.
    order = sorted(
        ((fold, index) for fold in range(len(windows.folds)) for index in range(seeds)),
        key=lambda member: -len(windows.train_origins(member[0])),
    )
    member_seeds = [member_seed(study_seed, fold, index) for fold, index in order]
    length = windows.config.sequence_length
    form = form or form_for(network, length, training.batch_size, len(order), device)
    members = Members(
        network, len(windows.config.features), length, member_seeds, form=form, dtype=dtype, device=device
    )
    optimizer = Optimizer(members.parameters, members.gradients, training)
    shuffles = [torch.Generator().manual_seed(seed) for seed in member_seeds]
    folds = torch.tensor([fold for fold, _ in order], device=device)
    ranges = [windows.train_origins(fold) for fold, _ in order]
    sizes = [len(origins) for origins in ranges]
    schedule = _schedule(sizes, training.batch_size, device, dtype)
    loss = LOSSES[training.loss]
    totals = torch.zeros(len(order), dtype=dtype, device=device)
    share = torch.tensor(sizes, dtype=dtype, device=device)

    def run(step: _Step, batch: torch.Tensor) -> None:
        active = folds[: step.active]
        losses = members.backward(windows.inputs(active, batch), windows.targets(active, batch), step.counts, loss)
        totals[: step.active] += losses * step.sizes
        optimizer.step(step.active)

    # The looped form serves networks too large to wait for launches, and its cuDNN layers need no capture.
    graphs = Graphs(members.generators) if device.type == "cuda" and form == "batched" else None
    for number in range(1, max_epochs + 1):
        origins = _shuffled(ranges, shuffles).to(device)
        totals.zero_()
        for step in schedule:
            batch = origins[: step.active, step.start : step.start + step.counts[0]]
            if graphs and step.full:
                graphs.run(step.active, partial(run, step), batch)
            else:
                run(step, batch)
        # The losses and the forecasts come back from the device together: an epoch waits for it once.
        outputs = _outputs(windows, members, folds, order) if number >= forecast_from else totals.new_empty(0)
        back = torch.cat([totals / share, outputs.flatten()]).cpu().numpy()
        losses, forecasts = back[: len(order)], back[len(order) :].reshape(len(order), -1)
        yield Epoch(
            number=number,
            losses=_by_fold(losses, order, len(windows.folds), seeds),
            forecasts=_prices(windows, _by_fold(forecasts, order, len(windows.folds), seeds)) if len(outputs) else [],
            members=members,
        )


@dataclass(frozen=True)
class _Step:
    """One batch of an epoch; all epochs have the same.

    Attributes:
        start: where the batch begins in the members' shuffled windows.
        counts: windows of each member that still has some.
        sizes: the same on the device, shape (active,).
        full: whether every count is the batch size.
    """

    start: int
    counts: tuple[int, ...]
    sizes: torch.Tensor
    full: bool

    @property
    def active(self) -> int:
        return len(self.counts)


def _schedule(sizes: list[int], batch_size: int, device: torch.device, dtype: torch.dtype) -> list[_Step]:
    """The steps of an epoch for members of these many windows, largest first."""
    steps = []
    for start in range(0, max(sizes), batch_size):
        counts = tuple(min(size - start, batch_size) for size in sizes if size > start)
        steps.append(_Step(start, counts, torch.tensor(counts, dtype=dtype, device=device), min(counts) == batch_size))
    return steps


def _shuffled(ranges: list[range], generators: list[torch.Generator]) -> torch.Tensor:
    """Each member's training origins in the order of this epoch, (members, most origins), padded behind."""
    origins = torch.zeros((len(ranges), max(map(len, ranges))), dtype=torch.int64)
    for row, own, generator in zip(origins, ranges, generators, strict=True):
        row[: len(own)] = torch.randperm(len(own), generator=generator) + own.start
        row[len(own) :] = own.start  # never counted
    return origins


def _by_fold(values: np.ndarray, order: list[tuple[int, int]], folds: int, seeds: int) -> np.ndarray:
    """Values in the members' order (members, ...) -> (folds, seeds, ...)."""
    arranged = np.empty((folds, seeds, *values.shape[1:]), dtype=values.dtype)
    for value, (fold, index) in zip(values, order, strict=True):
        arranged[fold, index] = value
    return arranged


def _outputs(windows: Windows, members: Members, folds: torch.Tensor, order: list[tuple[int, int]]) -> torch.Tensor:
    """Scaled forecasts of every member's validation sessions, (members, days)."""
    origins = torch.tensor([list(windows.validation_origins(fold)) for fold, _ in order], device=windows.device)
    return members.forecast(windows.inputs(folds, origins))


def _prices(windows: Windows, outputs: np.ndarray) -> list[np.ndarray]:
    """Scaled forecasts (folds, seeds, days) -> for each fold forecast closes, (seeds, days)."""
    return [windows.to_prices(fold, windows.validation_origins(fold), each) for fold, each in enumerate(outputs)]
