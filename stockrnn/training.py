"""The epoch loop over a trial's members: a generator of epoch results."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from stockrnn.configuration import NetworkConfig, TrainingConfig
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
    # Longest first: the members that still have windows at a step are always the first ones.
    order = sorted(
        ((fold, index) for fold in range(len(windows.folds)) for index in range(seeds)),
        key=lambda member: -len(windows.train_origins(member[0])),
    )
    member_seeds = [member_seed(study_seed, fold, index) for fold, index in order]
    length = windows.config.sequence_length
    form = form or form_for(network, length, training.batch_size, len(order))
    members = Members(
        network, len(windows.config.features), length, member_seeds, form=form, dtype=dtype, device=device
    )
    optimizer = Optimizer(members.parameters, members.gradients, training)
    shuffles = [torch.Generator().manual_seed(seed) for seed in member_seeds]
    folds = torch.tensor([fold for fold, _ in order], device=device)
    sizes = [len(windows.train_origins(fold)) for fold, _ in order]
    firsts = [windows.train_origins(fold).start for fold, _ in order]
    loss = LOSSES[training.loss]
    for number in range(1, max_epochs + 1):
        origins = torch.zeros((len(order), max(sizes)), dtype=torch.int64)
        for member, (size, first) in enumerate(zip(sizes, firsts, strict=True)):
            origins[member, :size] = torch.randperm(size, generator=shuffles[member]) + first
            origins[member, size:] = first  # padding, never counted
        origins = origins.to(device)
        totals = torch.zeros(len(order), dtype=dtype, device=device)
        for start in range(0, max(sizes), training.batch_size):
            counts = [min(size - start, training.batch_size) for size in sizes if size > start]
            active = len(counts)
            batch = origins[:active, start : start + counts[0]]
            losses = members.backward(
                windows.inputs(folds[:active], batch), windows.targets(folds[:active], batch), counts, loss
            )
            totals[:active] += losses * torch.tensor(counts, dtype=dtype, device=device)
            optimizer.step(active)
        mean_losses = (totals / torch.tensor(sizes, dtype=dtype, device=device)).cpu().numpy()
        yield Epoch(
            number=number,
            losses=_by_fold(mean_losses, order, len(windows.folds), seeds),
            forecasts=_forecasts(windows, members, folds, order, seeds) if number >= forecast_from else [],
            members=members,
        )


def _by_fold(values: np.ndarray, order: list[tuple[int, int]], folds: int, seeds: int) -> np.ndarray:
    """Values in the members' order (members, ...) -> (folds, seeds, ...)."""
    arranged = np.empty((folds, seeds, *values.shape[1:]), dtype=values.dtype)
    for value, (fold, index) in zip(values, order, strict=True):
        arranged[fold, index] = value
    return arranged


def _forecasts(
    windows: Windows, members: Members, folds: torch.Tensor, order: list[tuple[int, int]], seeds: int
) -> list[np.ndarray]:
    """For each fold the forecast closes of its validation sessions, (seeds, days)."""
    ranges = [windows.validation_origins(fold) for fold in range(len(windows.folds))]
    origins = torch.tensor([list(ranges[fold]) for fold, _ in order], device=windows.device)
    outputs = members.forecast(windows.inputs(folds, origins)).cpu().numpy()
    arranged = _by_fold(outputs, order, len(ranges), seeds)
    return [windows.to_prices(fold, origins, arranged[fold]) for fold, origins in enumerate(ranges)]
