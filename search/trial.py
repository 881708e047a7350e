"""One trial on a Ray worker: a point of the space -> stockrnn -> one report an epoch.

The worker is reused from trial to trial; the prices come once from Ray's object store. PyTorch is imported on the
worker alone: the driver, which names this class, does without and starts a second sooner.
"""

import math
import os
import time
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import tune

from search.space import Space
from stockrnn.folds import Fold
from stockrnn.scores import Scores, score
from stockrnn.series import Prices

if TYPE_CHECKING:
    from stockrnn.training import Epoch

__all__ = ["TrialTrainable", "reports"]


class TrialTrainable(tune.Trainable):
    """Tune's view of a trial: one `step` is one epoch of all members."""

    def setup(
        self,
        config: dict[str, Any],
        prices: Prices | None = None,
        folds: tuple[Fold, ...] = (),
        space: Space | None = None,
    ) -> None:
        """Take what all trials of the study share, and begin the first."""
        import torch

        assert prices is not None
        assert space is not None
        self._prices, self._folds, self._space = prices, folds, space
        torch.set_num_threads(max(1, int(space.resources.cpu)))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial on this warm worker."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and report it; an exception ends this trial alone, as `failed` with its message."""
        try:
            return next(self._reports)
        except Exception as error:
            return {
                "status": "failed",
                "message": f"{type(error).__name__}: {error}",
                "traceback": traceback.format_exc(),
                "done": True,
            }

    def _begin(self, config: dict[str, Any]) -> None:
        self._reports = reports(self._space, self._prices, self._folds, config["point"])


def reports(space: Space, prices: Prices, folds: tuple[Fold, ...], point: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Train one trial and report each epoch.

    Yields:
        epoch; status (`running`, at the end `complete` or `diverged`); done; score (the metric at its best epoch so
        far), best_epoch and best (all scores of that epoch); forecast (where this epoch is the best so far the seed
        averages on the days of all folds, float32, else None); scores (of this epoch); loss; form (batched or
        looped); parameters (weights of one member); seconds since the trial began, and the worker.
    """
    from stockrnn.training import train
    from stockrnn.windows import Windows

    began = time.perf_counter()
    window, network, training = space.configurations(point)
    windows = Windows(prices, folds, window, space.data.horizon, device=space.device)
    best: Scores | None = None
    best_epoch = 0
    metric, last, patience = space.search.metric, space.scheduler.max_epochs, space.scheduler.patience
    epochs = train(
        windows, network, training, seeds=space.validation.seeds, max_epochs=last, study_seed=space.seed,
        form=space.form,
    )  # fmt: skip
    for epoch in epochs:
        scores = score(epoch.forecasts, windows.closes, folds, space.data.horizon) if epoch.finite else None
        forecast = None
        if scores and _better(getattr(scores, metric), getattr(best, metric) if best else None, space.mode):
            best, best_epoch = scores, epoch.number
            forecast = np.concatenate([fold.mean(axis=0) for fold in epoch.forecasts]).astype(np.float32)
        tired = patience is not None and epoch.number - best_epoch >= patience
        status = "diverged" if not scores else "complete" if epoch.number == last or tired else "running"
        yield {
            "epoch": epoch.number,
            "status": status,
            "done": status != "running",
            "score": getattr(best, metric) if best else math.nan,
            "best_epoch": best_epoch,
            "best": best.as_dict() if best else {},
            "forecast": forecast,
            "scores": scores.as_dict() if scores else {},
            "loss": _mean_loss(epoch),
            "form": epoch.members.form,
            "parameters": epoch.members.parameters.shape[1],
            "seconds": time.perf_counter() - began,
            "worker": os.getpid(),
        }
        if status != "running":
            return


def _better(value: float, best: float | None, mode: str) -> bool:
    if not math.isfinite(value):
        return False  # a metric may be unknown where the forecasts are numbers: no direction was forecast
    return best is None or (value < best if mode == "min" else value > best)


def _mean_loss(epoch: "Epoch") -> float:
    return float(np.mean(epoch.losses))
