"""Weights & Biases, offline: a group a study, a run a trial and one for the study itself, under wandb/.

`wandb sync` sends them to a server later; nothing is sent from here.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.results.event_log import TrialEnd
from search.space.space import Space
from search.tracking.payload import numbers, test_scores

__all__ = ["WeightsAndBiases"]

PROJECT = "stockrnn-search"


class WeightsAndBiases:
    """The study's run, and those of its running trials."""

    def __init__(self, space: Space, folder: Path, facts: Mapping[str, str]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb, self._folder, self._group = wandb, folder, space.name
        self._settings = wandb.Settings(
            mode="offline", silent=True, console="off", save_code=False, disable_code=True, disable_git=True,
            x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True, x_save_requirements=False,
        )  # fmt: skip
        self._study = self._begin(space.name, "study", dict(facts))
        self._running: dict[str, Any] = {}

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        self._running[trial_id] = self._begin(trial_id, "trial", dict(point))

    def epoch(self, trial_id: str, epoch: int, scores: Mapping[str, float]) -> None:
        if run := self._running.get(trial_id):
            run.log({"epoch": epoch, **scores}, step=epoch)

    def end(self, end: TrialEnd) -> None:
        if run := self._running.pop(end.trial_id, None):
            costs = {"epochs": end.epochs, "best_epoch": end.best_epoch, "seconds": end.seconds,
                     "parameters": end.parameters}  # fmt: skip
            best = {f"best_{name}": value for name, value in end.scores.items()}
            run.summary.update({"status": end.status, "message": end.message or "", **numbers(costs | best)})
            run.finish(exit_code=0 if end.status in ("complete", "stopped") else 1)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self, manifest: Mapping[str, Any]) -> None:
        for name, scores in test_scores(manifest).items():
            self._study.summary.update({f"{column}/{name}": value for column, value in scores.items()})
        self._study.summary.update({"verdict": manifest["verdict"], **numbers(manifest.get("proof") or {})})
        self._study.finish(exit_code=1 if manifest["interrupted"] else 0)
        self._wandb.teardown()

    def _begin(self, name: str, kind: str, config: dict[str, Any]) -> Any:
        return self._wandb.init(
            project=PROJECT, dir=str(self._folder), group=self._group, name=name, job_type=kind, config=config,
            reinit="create_new", settings=self._settings,
        )  # fmt: skip
