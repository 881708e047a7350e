"""The epoch loop over a trial's members, and the state from which it goes on."""

from collections.abc import Iterator, Mapping
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

__all__ = ["Epoch", "Training", "member_seed", "train"]

CUDA_STATE = 16  # bytes of a GPU generator's state; one of the CPU has 5056

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


class Training:
    """Folds x seeds networks, trained in lockstep, and forecasts of every fold's validation block after each epoch.

    An epoch of a member is one pass over its own fold's training windows, in an order drawn from its own seed. A
    member's result does not depend on which members train beside it.

    Args:
        windows: of all folds, on the device to train on.
        network, training: the trial's configuration.
        seeds: networks per fold.
        study_seed: what member seeds derive from.
        form: how the members are computed; None decides by the shape.

    Attributes:
        epoch: how many epochs were trained.
        members: the networks, as they stand.
    """

    def __init__(
        self,
        windows: Windows,
        network: NetworkConfig,
        training: TrainingConfig,
        *,
        seeds: int,
        study_seed: int = 0,
        form: Form | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        device = windows.device
        if device.type == "cuda":  # TF32 keeps 10 bits of a number; cuDNN would use it unasked
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        # Longest first: the members that still have windows at a step are always the first ones.
        self._order = sorted(
            ((fold, index) for fold in range(len(windows.folds)) for index in range(seeds)),
            key=lambda member: -len(windows.train_origins(member[0])),
        )
        self.epoch = 0
        self._windows, self._seeds = windows, seeds
        member_seeds = [member_seed(study_seed, fold, index) for fold, index in self._order]
        length = windows.config.sequence_length
        form = form or form_for(network, length, training.batch_size, len(self._order), device)
        self.members = Members(
            network, len(windows.config.inputs), length, member_seeds, form=form, dtype=dtype, device=device
        )
        self._optimizer = Optimizer(self.members.parameters, self.members.gradients, training)
        self._shuffles = [torch.Generator().manual_seed(seed) for seed in member_seeds]
        self._folds = torch.tensor([fold for fold, _ in self._order], device=device)
        self._ranges = [windows.train_origins(fold) for fold, _ in self._order]
        sizes = [len(origins) for origins in self._ranges]
        self._schedule = _schedule(sizes, training.batch_size, device, dtype)
        self._loss = LOSSES[training.loss]
        self._totals = torch.zeros(len(self._order), dtype=dtype, device=device)
        self._share = torch.tensor(sizes, dtype=dtype, device=device)
        # The looped form serves networks too large to wait for launches, and its cuDNN layers need no capture.
        self._graphs = Graphs(self.members.generators) if device.type == "cuda" and form == "batched" else None

    def advance(self, *, forecast: bool = True) -> Epoch:
        """Train an epoch.

        Args:
            forecast: whether forecasts are made after it; else the epoch has none.
        """
        windows, order, folds = self._windows, self._order, len(self._windows.folds)
        origins = _shuffled(self._ranges, self._shuffles).to(windows.device)
        self._totals.zero_()
        for step in self._schedule:
            batch = origins[: step.active, step.start : step.start + step.counts[0]]
            if self._graphs and step.full:
                self._graphs.run(step.active, partial(self._step, step), batch)
            else:
                self._step(step, batch)
        self.epoch += 1
        # The losses and the forecasts come back from the device together: an epoch waits for it once.
        outputs = _outputs(windows, self.members, self._folds, order) if forecast else self._totals.new_empty(0)
        back = torch.cat([self._totals / self._share, outputs.flatten()]).cpu().numpy()
        losses, forecasts = back[: len(order)], back[len(order) :].reshape(len(order), -1)
        return Epoch(
            number=self.epoch,
            losses=_by_fold(losses, order, folds, self._seeds),
            forecasts=_prices(windows, _by_fold(forecasts, order, folds, self._seeds)) if forecast else [],
            members=self.members,
        )

    def state(self) -> dict[str, np.ndarray]:
        """All that the next epochs depend on but the configuration, the windows and `epoch`.

        Arrays by name, of dtypes and shapes that are always the same for one configuration. They may share memory with
        the training: write or copy them before the next epoch.
        """
        tensors = self._tensors() | {
            name: torch.stack([generator.get_state() for generator in generators])
            for name, generators in self._generators().items()
        }
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def restore(self, epoch: int, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state after `epoch` epochs, as if training had never stopped.

        Args:
            epoch: how many were trained.
            state: as `state` gave it, for the same configuration and windows, with its dtypes and shapes.

        Raises:
            ValueError: a random state is none; nothing was changed.
        """
        states = {name: [_random_state(each) for each in state[name]] for name in self._generators()}
        for name, tensor in self._tensors().items():
            tensor.copy_(torch.tensor(state[name]))
        for name, generators in self._generators().items():
            for generator, each in zip(generators, states[name], strict=True):
                generator.set_state(each)
        self.epoch = epoch

    def _tensors(self) -> dict[str, torch.Tensor]:
        optimizer = self._optimizer
        return {
            "parameters": self.members.parameters, "first": optimizer.first, "second": optimizer.second,
            "steps": optimizer.steps,
        }  # fmt: skip

    def _generators(self) -> dict[str, list[torch.Generator]]:
        return {"shuffles": self._shuffles, "dropout": self.members.generators}

    def _step(self, step: "_Step", batch: torch.Tensor) -> None:
        active = self._folds[: step.active]
        inputs, targets = self._windows.inputs(active, batch), self._windows.targets(active, batch)
        losses = self.members.backward(inputs, targets, step.counts, self._loss)
        self._totals[: step.active] += losses * step.sizes
        self._optimizer.step(step.active)


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
    """A `Training` from its beginning: one Epoch per epoch; a caller that has seen enough stops iterating.

    Args:
        windows, network, training, seeds, study_seed, form, dtype: see `Training`.
        max_epochs: epochs to train.
        forecast_from: the first epoch after which forecasts are made; those before have none.
    """
    members = Training(windows, network, training, seeds=seeds, study_seed=study_seed, form=form, dtype=dtype)
    for number in range(1, max_epochs + 1):
        yield members.advance(forecast=number >= forecast_from)


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


def _random_state(state: np.ndarray) -> torch.Tensor:
    """A generator's state from bytes; ValueError where it is none."""
    tensor = torch.tensor(state)  # a copy: PyTorch crashes on a state that is a part of a larger tensor
    if len(state) == CUDA_STATE:  # seed and offset, each 64 bits
        if int.from_bytes(state[8:].tobytes(), "little") % 4:
            raise ValueError("a random state is none of a GPU's")
        return tensor
    try:
        torch.Generator().set_state(tensor)
    except RuntimeError as error:
        raise ValueError(f"a random state is none ({error})") from None
    # PyTorch believes both counters of its Mersenne Twister, even if they lead behind its 624 words.
    left, following = (int.from_bytes(state[part].tobytes(), "little") for part in (slice(8, 12), slice(16, 24)))
    if left + following != 625 and (left, following) != (1, 0):
        raise ValueError(f"a random state is none ({left} words left, at word {following})")
    return tensor


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
