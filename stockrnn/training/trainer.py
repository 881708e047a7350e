"""Train a trial's networks epoch by epoch, and save and restore the training state."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from stockrnn.dataset.windows import Windows
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.ensemble import Loss, NetworkEnsemble
from stockrnn.networks.execution import ExecutionMode, choose_mode
from stockrnn.tasks.registry import find_target
from stockrnn.training.config import TrainingConfig
from stockrnn.training.cuda_graphs import CudaGraphs
from stockrnn.training.optimizer import Optimizer

__all__ = ["Epoch", "Trainer", "member_seed", "train"]

CUDA_STATE_BYTES = 16  # of a GPU generator; a CPU generator's state has 5056 bytes

MAX_CORRECTED = 2000  # windows: the correction is accurate to about 2 %, which costs a thousandth of QLIKE
CORRECTED_BATCH = 250  # windows at once, as many as of a validation block

LOSSES: dict[str, Loss] = {
    "mse": partial(F.mse_loss, reduction="none"),
    "mae": partial(F.l1_loss, reduction="none"),
    "huber": partial(F.huber_loss, reduction="none"),
    "qlike": lambda outputs, targets: torch.expm1(targets - outputs) - (targets - outputs),  # both are logs
    "log_loss": partial(F.binary_cross_entropy_with_logits, reduction="none"),  # outputs are logits
}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Results of one epoch.

    Attributes:
        number: starts at 1.
        losses: mean training loss of each member over the epoch, shape (folds, seeds), on scaled targets.
        forecasts: for each fold the forecasts of its validation sessions, shape (seeds, days), in the task's unit.
        members: the networks; the next epoch changes them.
        corrections: what the forecasts of each fold add to the networks' outputs, shape (folds,); 0 but for targets
            that are logarithms (see `Target.is_log`).
    """

    number: int
    losses: np.ndarray
    forecasts: list[np.ndarray]
    members: NetworkEnsemble
    corrections: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether all losses and forecasts are finite."""
        return bool(np.isfinite(self.losses).all() and all(np.isfinite(day).all() for day in self.forecasts))


def member_seed(study_seed: int, fold: int, seed_index: int) -> int:
    """Return the seed of a member; it depends on the study's seed, the fold and the index, not on the trial."""
    return int(np.random.SeedSequence([study_seed, fold, seed_index]).generate_state(1, np.uint32)[0])


class Trainer:
    """Trains folds x seeds networks in lockstep, and forecasts every fold's validation block after each epoch.

    An epoch of a member is one pass over its fold's training windows, in a random order from the member's seed. The
    result of a member does not depend on the other members.

    Args:
        windows: of all folds, on the device to train on.
        network, training: the trial's configuration.
        seeds: networks per fold.
        study_seed: base of the members' seeds.
        mode: batched or looped; None chooses by the shape.

    Attributes:
        epoch: number of epochs trained.
        members: the networks.
    """

    def __init__(
        self,
        windows: Windows,
        network: NetworkConfig,
        training: TrainingConfig,
        *,
        seeds: int,
        study_seed: int = 0,
        mode: ExecutionMode | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        device = windows.device
        if device.type == "cuda":  # TF32 has only 10 bits of precision; cuDNN uses it by default
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        # Longest first, so that the members that still have windows at a step are always the first ones.
        self._order = sorted(
            ((fold, index) for fold in range(len(windows.folds)) for index in range(seeds)),
            key=lambda member: -len(windows.train_origins(member[0])),
        )
        self.epoch = 0
        self._windows, self._seeds = windows, seeds
        member_seeds = [member_seed(study_seed, fold, index) for fold, index in self._order]
        length = windows.config.sequence_length
        mode = mode or choose_mode(network, length, training.batch_size, len(self._order), device.type)
        self.members = NetworkEnsemble(
            network, len(windows.config.inputs), length, member_seeds, mode=mode, dtype=dtype, device=device
        )
        self._optimizer = Optimizer(self.members.parameters, self.members.gradients, training)
        self._shuffles = [torch.Generator().manual_seed(seed) for seed in member_seeds]
        self._folds = torch.tensor([fold for fold, _ in self._order], device=device)
        self._ranges = [windows.train_origins(fold) for fold, _ in self._order]
        sizes = [len(origins) for origins in self._ranges]
        self._schedule = _schedule(sizes, training.batch_size, device, dtype)
        self._loss = LOSSES[training.loss]
        self._corrects = find_target(windows.config.target).is_log and training.loss != "qlike"
        self._totals = torch.zeros(len(self._order), dtype=dtype, device=device)
        self._share = torch.tensor(sizes, dtype=dtype, device=device)
        # Looped mode is for large networks, for which kernel launches are cheap, so it does not use CUDA graphs.
        self._graphs = CudaGraphs(self.members.generators) if device.type == "cuda" and mode == "batched" else None

    def train_epoch(self, *, forecast: bool = True) -> Epoch:
        """Train one epoch and return its results; without `forecast`, the list of forecasts is empty."""
        windows, order, folds = self._windows, self._order, len(self._windows.folds)
        origins = _shuffle(self._ranges, self._shuffles).to(windows.device)
        self._totals.zero_()
        for step in self._schedule:
            batch = origins[: step.active, step.start : step.start + step.counts[0]]
            if self._graphs and step.full:
                self._graphs.run(step.active, partial(self._step, step), batch)
            else:
                self._step(step, batch)
        self.epoch += 1
        # One copy from the device returns losses and forecasts, so an epoch waits for the device once.
        corrections, outputs = self._totals.new_zeros(folds), self._totals.new_empty(0)
        if forecast:
            outputs = _forecast_validation(windows, self.members, self._folds, order)
            if self._corrects:
                corrections = self._log_corrections()
                outputs = outputs + corrections[self._folds][:, None]
        copied = torch.cat([self._totals / self._share, corrections, outputs.flatten()]).cpu().numpy()
        losses, forecasts = copied[: len(order)], copied[len(order) + folds :].reshape(len(order), -1)
        return Epoch(
            number=self.epoch,
            losses=_arrange_by_fold(losses, order, folds, self._seeds),
            forecasts=_to_forecasts(windows, _arrange_by_fold(forecasts, order, folds, self._seeds))
            if forecast
            else [],
            members=self.members,
            corrections=copied[len(order) : len(order) + folds].astype(float),
        )

    def state(self) -> dict[str, np.ndarray]:
        """Return the training state as arrays by name, with the same dtypes and shapes for one configuration.

        Together with the configuration, the windows and `epoch` it determines all further epochs. The arrays may share
        memory with the trainer: write or copy them before the next epoch.
        """
        tensors = self._tensors() | {
            name: torch.stack([generator.get_state() for generator in generators])
            for name, generators in self._generators().items()
        }
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def restore(self, epoch: int, state: Mapping[str, np.ndarray]) -> None:
        """Restore a state, so that training continues as if it had never stopped.

        Args:
            epoch: number of epochs trained.
            state: result of `state` for the same configuration and windows.

        Raises:
            ValueError: a random state is invalid; nothing was changed.
        """
        random_states = {name: [_random_state(row) for row in state[name]] for name in self._generators()}
        for name, tensor in self._tensors().items():
            tensor.copy_(torch.tensor(state[name]))
        for name, generators in self._generators().items():
            for generator, random_state in zip(generators, random_states[name], strict=True):
                generator.set_state(random_state)
        self.epoch = epoch

    def _log_corrections(self) -> torch.Tensor:
        """Return the log of the mean of exp(target - output) on the last training windows of each fold, (folds,)."""
        count = min(MAX_CORRECTED, *map(len, self._ranges))
        origins = torch.tensor([list(own[-count:]) for own in self._ranges], device=self._windows.device)
        ratios = [
            torch.exp(
                self._windows.targets(self._folds, part)
                - self.members.forecast(self._windows.inputs(self._folds, part))
            )
            for part in torch.split(origins, CORRECTED_BATCH, dim=1)
        ]
        means = torch.cat(ratios, dim=1).mean(dim=1)
        sums = means.new_zeros(len(self._windows.folds)).index_add(0, self._folds, means)
        return torch.log(sums / self._seeds)

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
    mode: ExecutionMode | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Epoch]:
    """Train from the beginning and yield the results of each epoch.

    Args:
        windows, network, training, seeds, study_seed, mode, dtype: see `Trainer`.
        max_epochs: epochs to train.
        forecast_from: first epoch with forecasts.
    """
    trainer = Trainer(windows, network, training, seeds=seeds, study_seed=study_seed, mode=mode, dtype=dtype)
    for number in range(1, max_epochs + 1):
        yield trainer.train_epoch(forecast=number >= forecast_from)


@dataclass(frozen=True)
class _Step:
    """One batch of every epoch.

    Attributes:
        start: position of the batch in the members' shuffled windows.
        counts: number of windows of each active member, that is, of each member with windows left.
        sizes: the counts on the device, shape (active,).
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
    """Return a generator's state from its bytes; raise ValueError if it is invalid."""
    tensor = torch.tensor(state)  # a copy: PyTorch crashes on a state that is a part of a larger tensor
    if len(state) == CUDA_STATE_BYTES:  # seed and offset, each 64 bits
        if int.from_bytes(state[8:].tobytes(), "little") % 4:
            raise ValueError("invalid random state of a GPU")
        return tensor
    try:
        torch.Generator().set_state(tensor)
    except RuntimeError as error:
        raise ValueError(f"invalid random state ({error})") from None
    # PyTorch does not check the two counters of its Mersenne Twister, which may point beyond its 624 words.
    left, following = (int.from_bytes(state[part].tobytes(), "little") for part in (slice(8, 12), slice(16, 24)))
    if left + following != 625 and (left, following) != (1, 0):
        raise ValueError(f"invalid random state ({left} words left, at word {following})")
    return tensor


def _schedule(sizes: list[int], batch_size: int, device: torch.device, dtype: torch.dtype) -> list[_Step]:
    """Return the steps of an epoch for members with these numbers of windows, in descending order."""
    steps = []
    for start in range(0, max(sizes), batch_size):
        counts = tuple(min(size - start, batch_size) for size in sizes if size > start)
        steps.append(_Step(start, counts, torch.tensor(counts, dtype=dtype, device=device), min(counts) == batch_size))
    return steps


def _shuffle(ranges: list[range], generators: list[torch.Generator]) -> torch.Tensor:
    """Return each member's training origins in random order, shape (members, max origins), padded at the end."""
    origins = torch.zeros((len(ranges), max(map(len, ranges))), dtype=torch.int64)
    for row, own, generator in zip(origins, ranges, generators, strict=True):
        row[: len(own)] = torch.randperm(len(own), generator=generator) + own.start
        row[len(own) :] = own.start  # padding, not counted
    return origins


def _arrange_by_fold(values: np.ndarray, order: list[tuple[int, int]], folds: int, seeds: int) -> np.ndarray:
    """Rearrange values from the members' order (members, ...) to (folds, seeds, ...)."""
    arranged = np.empty((folds, seeds, *values.shape[1:]), dtype=values.dtype)
    for value, (fold, index) in zip(values, order, strict=True):
        arranged[fold, index] = value
    return arranged


def _forecast_validation(
    windows: Windows, members: NetworkEnsemble, folds: torch.Tensor, order: list[tuple[int, int]]
) -> torch.Tensor:
    """Return the scaled forecasts of every member's validation sessions, shape (members, days)."""
    origins = torch.tensor([list(windows.validation_origins(fold)) for fold, _ in order], device=windows.device)
    return members.forecast(windows.inputs(folds, origins))


def _to_forecasts(windows: Windows, outputs: np.ndarray) -> list[np.ndarray]:
    """Convert scaled forecasts (folds, seeds, days) to the task's unit, for each fold an array (seeds, days)."""
    return [windows.to_forecasts(fold, windows.validation_origins(fold), scaled) for fold, scaled in enumerate(outputs)]
