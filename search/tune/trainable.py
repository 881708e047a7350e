"""One trial on a Ray worker: a point of the space -> stockrnn -> one report an epoch.

The worker is reused from trial to trial; the prices come once from Ray's object store. A trial whose worker or driver
died goes on from its newest checkpoint. PyTorch is imported on the worker alone: the driver, which names this class,
does without and starts a second sooner.
"""

import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import tune

from search.results.remote_lock import LeaseView
from search.results.schemas import measured
from search.space.space import Space
from search.tune.checkpointing import CHECKPOINT_INTERVAL, CheckpointPolicy, TrialProgress
from stockrnn.configuration import Configuration
from stockrnn.dataset.walk_forward import Fold
from stockrnn.evaluation.scores import Scores, score
from stockrnn.io.storage import join_path
from stockrnn.prices.series import Prices
from stockrnn.training.checkpoint import Checkpoints
from stockrnn.training.memory import claim_gpu

if TYPE_CHECKING:
    from stockrnn.dataset.windows import Windows
    from stockrnn.training.trainer import Trainer

__all__ = ["GpuMemoryError", "TrialTrainable", "lost_for_memory", "reports"]

# What a fresh worker may get over: of the GPU, or of memory. Its type alone does not tell a RuntimeError's cause.
PASSING = ("CUDA", "CUBLAS", "CUDNN", "NCCL", "OUT OF MEMORY", "DEFAULTCPUALLOCATOR")
TOO_SMALL = ("CUDA OUT OF MEMORY", "CUDA ERROR: OUT OF MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")


class GpuMemoryError(RuntimeError):
    """A trial's share of a GPU was too small for it; a larger one may do."""


class TrialTrainable(tune.Trainable):
    """Tune's view of a trial: one `step` is one epoch of all members."""

    def setup(
        self,
        config: dict[str, Any],
        prices: Prices | None = None,
        folds: tuple[Fold, ...] = (),
        space: Space | None = None,
        checkpoints: str | None = None,
        every: float = CHECKPOINT_INTERVAL,
        lease: LeaseView | None = None,
    ) -> None:
        """Take what all trials of the study share, and begin the first.

        Args:
            config: `trial_id` and `point`.
            prices, folds, space: the study's.
            checkpoints: the folder, or its URL, that holds a folder for each trial's; None: none are written or read.
            every: seconds between two of a trial's, and before its first.
            lease: on that URL: checkpoints are written as long as it is the study's.
        """
        assert prices is not None
        assert space is not None
        self._prices, self._folds, self._space = prices, folds, space
        self._checkpoints, self._every, self._lease = checkpoints, every, lease
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial on this warm worker."""
        self._release()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and report it.

        An exception of its own ends this trial alone, as `failed` with its message. One that another worker may get
        over (of memory, of the GPU, of files) is raised: Tune gives the trial a new worker, as often as the study
        allows, and it goes on from its checkpoint. One of the GPU's memory is raised while there are larger shares.
        """
        try:
            report = next(self._reports)
        except Exception as error:
            if lost_for_memory(error):
                if self._share < 1:
                    raise GpuMemoryError(f"{error}") from None
            elif _may_pass(error):
                raise
            report = {
                "status": "failed",
                "message": f"{type(error).__name__}: {error}",
                "traceback": traceback.format_exc(),
                "done": True,
            }
        if report.get("done"):
            self._release()
        return report

    def cleanup(self) -> None:
        """Let go of the last trial."""
        self._release()

    def _begin(self, config: dict[str, Any]) -> None:
        # Nothing is read or built before the first step, where an error is told from another.
        import torch

        granted = self.trial_resources.required_resources if self.trial_resources else {}  # none without Tune
        self._share = granted.get("GPU", 0)
        torch.set_num_threads(max(1, int(granted.get("CPU", 1))))
        folder = join_path(self._checkpoints, config["trial_id"]) if self._checkpoints else None
        self._reports = reports(
            self._space,
            self._prices,
            self._folds,
            config["point"],
            folder,
            self._every,
            share=self._share,
            check=self._lease.check if self._lease else None,
        )

    def _release(self) -> None:
        """Free what a trial held: a warm worker keeps nothing of it."""
        self._reports.close()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def reports(
    space: Space, prices: Prices, folds: tuple[Fold, ...], point: dict[str, Any],
    checkpoints: str | Path | None = None,
    every: float = CHECKPOINT_INTERVAL, *, share: float = 0, check: Callable[[], None] | None = None,
) -> Generator[dict[str, Any]]:  # fmt: skip
    """Train one trial, from its newest checkpoint where it has one, and report each epoch.

    Args:
        checkpoints: the trial's own folder of them, which is made when the first is written; its parent must exist.
        every: see `CheckpointPolicy`.
        share: of a GPU, on which the trial then trains.
        check: see `Checkpoints`.

    Raises:
        GpuError: PyTorch cannot use that share.

    Yields:
        epoch; status (`running`, at the end `complete` or `diverged`); done; score (the metric at its best epoch so
        far), best_epoch and best (all scores of that epoch); forecast (where this epoch is the best so far, and in
        the first report from a checkpoint: the seed averages of the best epoch on the days of all folds, float32;
        else None); scores (of this epoch); loss; form (batched or looped); parameters (weights of one member);
        seconds that the trial trained, those before a checkpoint included; the worker; resumed_from (in the first
        report from a checkpoint its epoch, else None) and checkpoint_error (what went wrong with checkpoints since
        the report before, one line, else None).

        A trial restored behind its last epoch, because the space allows fewer now, reports that epoch again as its end.
    """
    from stockrnn.dataset.windows import Windows
    from stockrnn.training.trainer import Trainer

    began = time.perf_counter()
    window, network, training_config = space.configurations(point)
    windows = Windows(prices, folds, window, space.data.horizon, device=claim_gpu(share))
    training = Trainer(
        windows,
        network,
        training_config,
        seeds=space.validation.seeds,
        study_seed=space.seed,
        mode=space.execution_mode,
    )
    standing = TrialProgress(forecast=np.full(sum(len(fold.validation) for fold in folds), np.nan, dtype=np.float32))
    keeper = None
    if checkpoints is not None:
        facts = _facts(space, prices, folds, (window, network, training_config), training)
        keeper = CheckpointPolicy(Checkpoints(checkpoints, facts, check), space.scheduler.rungs, every)
        standing = keeper.restore(training, standing)
    resumed, before = standing.epoch or None, standing.seconds
    while True:
        if _status(standing, space) == "running":
            _train_epoch(training, windows, standing, space)
        standing.seconds = before + time.perf_counter() - began
        status = _status(standing, space)
        told_now = standing.best_epoch and (resumed or standing.epoch == standing.best_epoch)
        yield {
            "epoch": standing.epoch,
            "status": status,
            "done": status != "running",
            "score": getattr(standing.best, space.search.metric) if standing.best else math.nan,
            "best_epoch": standing.best_epoch,
            "best": standing.best.as_dict() if standing.best else {},
            "forecast": standing.forecast if told_now else None,
            "scores": standing.scores.as_dict() if standing.scores else {},
            "loss": standing.loss,
            "form": training.members.mode,
            "parameters": training.members.parameters.shape[1],
            "seconds": standing.seconds,
            "worker": os.getpid(),
            "resumed_from": resumed,
            "checkpoint_error": keeper.take_errors() if keeper else None,
        }
        if status != "running":
            return
        resumed = None
        if keeper:
            keeper.write_if_due(training, standing)


def _train_epoch(training: "Trainer", windows: "Windows", standing: TrialProgress, space: Space) -> None:
    epoch, metric = training.train_epoch(), space.search.metric
    scores = score(epoch.forecasts, windows.closes, windows.folds, space.data.horizon) if epoch.finite else None
    scores = scores if scores and _within(scores, epoch.forecasts) else None  # an exploding trial has diverged, too
    standing.epoch, standing.scores, standing.loss = epoch.number, scores, float(np.mean(epoch.losses))
    best = getattr(standing.best, metric) if standing.best else None
    if scores and _better(getattr(scores, metric), best, space.mode):
        standing.best, standing.best_epoch = scores, epoch.number
        standing.forecast = np.concatenate([fold.mean(axis=0) for fold in epoch.forecasts]).astype(np.float32)


def _within(scores: Scores, forecasts: Sequence[np.ndarray]) -> bool:
    """Whether the scores, and the forecasts as float32, are numbers that a study's files hold; NaN is unknown."""
    with np.errstate(over="ignore"):
        held = all(np.isfinite(fold.mean(axis=0).astype(np.float32)).all() for fold in forecasts)
    return held and all(math.isnan(value) or measured(value) for value in scores.as_dict().values())


def _status(standing: TrialProgress, space: Space) -> str:
    if standing.epoch == 0:
        return "running"
    if standing.scores is None:
        return "diverged"
    patience = space.scheduler.patience
    tired = patience is not None and standing.epoch - standing.best_epoch >= patience
    return "complete" if tired or standing.epoch >= space.scheduler.max_epochs else "running"


def _better(value: float, best: float | None, mode: str) -> bool:
    if not math.isfinite(value):
        return False  # a metric may be unknown where the forecasts are numbers: no direction was forecast
    return best is None or (value < best if mode == "min" else value > best)


def lost_for_memory(error: Exception) -> bool:
    """Whether the memory of a GPU, or a process's share of it, was not enough."""
    return isinstance(error, RuntimeError) and any(word in str(error).upper() for word in TOO_SMALL)


def _may_pass(error: Exception) -> bool:
    """Whether a fresh worker may get over it."""
    if isinstance(error, MemoryError | OSError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).upper() for word in PASSING)


def _facts(
    space: Space, prices: Prices, folds: tuple[Fold, ...], configurations: tuple[Configuration, ...],
    training: "Trainer",
) -> dict[str, Any]:  # fmt: skip
    """All that decides how a trial goes on; epochs and patience only decide when it ends."""
    parameters = training.members.parameters
    return {
        "prices": prices.sha256,
        "folds": [[part.start, part.stop] for fold in folds for part in (fold.train, fold.validation)],
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
