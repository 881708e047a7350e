"""Train one trial: a point of the space becomes networks, and every epoch becomes a report.

PyTorch is imported when a trial trains: the driver does without and starts a second sooner.
"""

import math
import os
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.results.schemas import is_storable
from search.space.space import Space
from search.tune.checkpointing import CHECKPOINT_INTERVAL, CheckpointPolicy, TrialProgress
from stockrnn.configuration import Configuration
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.prices.series import Prices
from stockrnn.tasks.scoring import FoldDays, Scores, fold_days, score, score_names
from stockrnn.training.checkpoint import Checkpoints
from stockrnn.training.memory import claim_gpu

if TYPE_CHECKING:
    from stockrnn.training.trainer import Trainer

__all__ = ["GpuMemoryError", "TrialReports", "error_message", "is_out_of_gpu_memory", "next_report", "train_trial"]

TrialReports = Generator[dict[str, Any]]

# A RuntimeError with one of these words comes from a GPU or from memory, and a new worker may not meet it.
TRANSIENT = ("CUDA", "CUBLAS", "CUDNN", "NCCL", "OUT OF MEMORY", "DEFAULTCPUALLOCATOR")
OUT_OF_GPU_MEMORY = ("CUDA OUT OF MEMORY", "CUDA ERROR: OUT OF MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")


MAX_MESSAGE = 300  # characters


class GpuMemoryError(RuntimeError):
    """A trial's share of a GPU is too small for it; a larger one may be enough."""


def next_report(reports: TrialReports, share: float) -> dict[str, Any]:
    """Return the next report of a trial; if an exception ends the trial, a report with the status `failed`.

    Args:
        reports: of `train_trial`.
        share: of a GPU that the trial has.

    Raises:
        GpuMemoryError: the share was too small, and there are larger ones.
        Exception: of memory, the GPU or files: the trial may continue from its checkpoint on another worker.
    """
    try:
        return next(reports)
    except Exception as error:
        if is_out_of_gpu_memory(error):
            if share < 1:
                raise GpuMemoryError(f"{error}") from None
        elif _is_transient(error):
            raise
        return {
            "status": "failed",
            "message": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
            "done": True,
        }


def train_trial(
    space: Space, prices: Prices, folds: tuple[Fold, ...], point: Mapping[str, Any],
    checkpoints: str | Path | None = None, checkpoint_interval: float = CHECKPOINT_INTERVAL, *,
    threads: int | None = None, share: float = 0, check: Callable[[], None] | None = None,
) -> TrialReports:  # fmt: skip
    """Train one trial, from its newest checkpoint if there is one, and report each epoch.

    Args:
        space: the study's space.
        prices: the study's prices.
        folds: of the walk-forward validation.
        point: the trial's parameters.
        checkpoints: folder or URL of the trial's checkpoints, made with the first one; its parent must exist. None: no
            checkpoints.
        checkpoint_interval: see `CheckpointPolicy`.
        threads: of PyTorch on the CPU; None: as they are.
        share: of a GPU on which the trial trains; 0: on the CPU.
        check: see `Checkpoints`.

    Raises:
        GpuError: PyTorch cannot use that share.

    Yields:
        A dictionary for each epoch: `epoch`; `status` (`running`, at the end `complete` or `diverged`); `done`; `score`
        (the metric at the best epoch so far), `best_epoch` and `best` (all scores of that epoch); `forecast` (if this
        epoch is the best so far, and in the first report from a checkpoint: the seed averages of the best epoch on the
        days of all folds, float32; else None); `scores` (of this epoch); `loss`; `form` (batched or looped);
        `parameters` (weights of one member); `seconds` of training, including the time before a checkpoint; `worker`
        (a process ID); `resumed_from` (in the first report from a checkpoint its epoch, else None); and
        `checkpoint_error` (in one line what went wrong with checkpoints since the last report, else None).

        A trial that continues after its last epoch, because the space now allows fewer, reports that epoch again.
    """
    from stockrnn.dataset.windows import Windows
    from stockrnn.training.trainer import Trainer

    start = time.perf_counter()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    window, network, training_config = space.configurations(point)
    windows = Windows(prices, folds, window, space.data.horizon, device=claim_gpu(share))
    training = Trainer(
        windows, network, training_config, seeds=space.validation.seeds, study_seed=space.seed,
        mode=space.execution_mode,
    )  # fmt: skip
    days = fold_days(space.task, windows.series, folds)
    progress = TrialProgress(forecast=np.full(sum(len(fold.validation) for fold in folds), np.nan, dtype=np.float32))
    policy = None
    if checkpoints is not None:
        identity = _identity(space, prices, folds, (window, network, training_config), training)
        policy = CheckpointPolicy(
            Checkpoints(checkpoints, identity, check),
            score_names(space.task),
            space.scheduler.rungs,
            checkpoint_interval,
        )
        progress = policy.restore(training, progress)
    resumed, before = progress.epoch or None, progress.seconds
    while True:
        if _status(progress, space) == "running":
            progress = _train_epoch(training, days, progress, space)
        progress = replace(progress, seconds=before + time.perf_counter() - start)
        status = _status(progress, space)
        report_forecast = progress.best_epoch and (resumed or progress.epoch == progress.best_epoch)
        yield {
            "epoch": progress.epoch,
            "status": status,
            "done": status != "running",
            "score": progress.best[space.search.metric] if progress.best else math.nan,
            "best_epoch": progress.best_epoch,
            "best": progress.best or {},
            "forecast": progress.forecast if report_forecast else None,
            "scores": progress.scores or {},
            "loss": progress.loss,
            "form": training.members.mode,
            "parameters": training.members.parameters.shape[1],
            "seconds": progress.seconds,
            "worker": os.getpid(),
            "resumed_from": resumed,
            "checkpoint_error": policy.take_errors() if policy else None,
        }
        if status != "running":
            return
        resumed = None
        if policy:
            policy.write_if_due(training, progress)


def is_out_of_gpu_memory(error: Exception) -> bool:
    """Return whether a GPU's memory, or a process's share of it, was too small."""
    return isinstance(error, RuntimeError) and any(word in str(error).upper() for word in OUT_OF_GPU_MEMORY)


def error_message(error: BaseException) -> str:
    """Return an exception's type and text in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MAX_MESSAGE]}"


def _is_transient(error: Exception) -> bool:
    if isinstance(error, MemoryError | OSError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).upper() for word in TRANSIENT)


def _train_epoch(
    training: "Trainer", days: Sequence[FoldDays], progress: TrialProgress, space: Space
) -> TrialProgress:  # fmt: skip
    epoch, metric = training.train_epoch(), space.search.metric
    scores = score(space.task, epoch.forecasts, days) if epoch.finite else None
    scores = scores if scores and _fit_in_files(scores, epoch.forecasts) else None  # huge numbers count as diverged
    progress = replace(progress, epoch=epoch.number, scores=scores, loss=float(np.mean(epoch.losses)))
    best = progress.best[metric] if progress.best else None
    if not scores or not _is_better(scores[metric], best, space.mode):
        return progress
    forecast = np.concatenate([fold.mean(axis=0) for fold in epoch.forecasts]).astype(np.float32)
    return replace(progress, best=scores, best_epoch=epoch.number, forecast=forecast)


def _fit_in_files(scores: Scores, forecasts: Sequence[np.ndarray]) -> bool:
    """Return whether a study's files can hold the scores, and the forecasts as float32; a score may be NaN."""
    with np.errstate(over="ignore"):
        finite = all(np.isfinite(fold.mean(axis=0).astype(np.float32)).all() for fold in forecasts)
    return finite and all(math.isnan(value) or is_storable(value) for value in scores.values())


def _status(progress: TrialProgress, space: Space) -> str:
    if progress.epoch == 0:
        return "running"
    if progress.scores is None:
        return "diverged"
    patience = space.scheduler.patience
    exhausted = patience is not None and progress.epoch - progress.best_epoch >= patience
    return "complete" if exhausted or progress.epoch >= space.scheduler.max_epochs else "running"


def _is_better(value: float, best: float | None, mode: str) -> bool:
    if not math.isfinite(value):
        return False  # a metric can be unknown although the forecasts are finite: no direction was forecast
    return best is None or (value < best if mode == "min" else value > best)


def _identity(
    space: Space, prices: Prices, folds: tuple[Fold, ...], configurations: tuple[Configuration, ...],
    training: "Trainer",
) -> dict[str, Any]:  # fmt: skip
    """Return everything that decides how a trial continues; epochs and patience only decide when it ends."""
    parameters = training.members.parameters
    return {
        "prices": prices.sha256,
        "folds": [[part.start, part.stop] for fold in folds for part in (fold.train, fold.validation)],
        "task": space.data.task,
        "horizon": space.data.horizon,
        **{name: value for each in configurations for name, value in each.model_dump(mode="json").items()},
        "seeds": space.validation.seeds,
        "seed": space.seed,
        "form": training.members.mode,
        "dtype": str(parameters.dtype),
        "device": parameters.device.type,
        "metric": space.search.metric,
        "mode": space.mode,
    }
