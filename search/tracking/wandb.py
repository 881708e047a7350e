"""Track a study in offline runs of Weights & Biases, in `wandb/`: a run per trial, one for the study, in one group.

Nothing is sent to a server; `wandb sync` uploads the runs later.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.results.event_log import TrialEnd
from search.space.space import Space
from search.tracking.payload import read_test_scores, select_numbers

__all__ = ["WeightsAndBiases"]

PROJECT = "stockrnn-search"


class WeightsAndBiases:
    """The W&B runs of a study and its running trials."""

    def __init__(self, space: Space, folder: Path, description: Mapping[str, str]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb, self._folder, self._group = wandb, folder, space.name
        self._settings = wandb.Settings(
            mode="offline", silent=True, console="off", save_code=False, disable_code=True, disable_git=True,
            x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True, x_save_requirements=False,
        )  # fmt: skip
        self._study = self._start_run(space.name, "study", dict(description))
        self._running: dict[str, Any] = {}

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        self._running[trial_id] = self._start_run(trial_id, "trial", dict(point))

    def epoch(self, trial_id: str, epoch: int, scores: Mapping[str, float]) -> None:
        if run := self._running.get(trial_id):
            run.log({"epoch": epoch, **scores}, step=epoch)

    def end(self, end: TrialEnd) -> None:
        if run := self._running.pop(end.trial_id, None):
            costs = {"epochs": end.epochs, "best_epoch": end.best_epoch, "seconds": end.seconds,
                     "parameters": end.parameters}  # fmt: skip
            best = {f"best_{name}": value for name, value in end.scores.items()}
            run.summary.update({"status": end.status, "message": end.message or "", **select_numbers(costs | best)})
            run.finish(exit_code=0 if end.status in ("default", "complete", "stopped") else 1)

    def flush(self) -> None:
        """Do nothing: W&B buffers nothing here."""

    def close(self, manifest: Mapping[str, Any]) -> None:
        for name, scores in read_test_scores(manifest).items():
            self._study.summary.update({f"{column}/{name}": value for column, value in scores.items()})
        self._study.summary.update({"verdict": manifest["verdict"], **select_numbers(manifest.get("proof") or {})})
        self._study.finish(exit_code=1 if manifest["interrupted"] else 0)
        self._wandb.teardown()

    def _start_run(self, name: str, kind: str, config: dict[str, Any]) -> Any:
        return self._wandb.init(
            project=PROJECT, dir=str(self._folder), group=self._group, name=name, job_type=kind, config=config,
            reinit="create_new", settings=self._settings,
        )  # fmt: skip
