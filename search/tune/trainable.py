"""Train trials on a Ray worker, one after another, for Ray Tune.

The worker is reused from trial to trial; the prices are copied once, through Ray's object store.
"""

import sys
from typing import Any

from ray import tune

from search.results.folder.remote_lock import LeaseView
from search.space.space import Space
from search.tune.checkpointing import CHECKPOINT_INTERVAL
from search.tune.trial import next_report, train_trial
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.io.storage import join_path
from stockrnn.prices.series import Prices

__all__ = ["TrialTrainable"]


class TrialTrainable(tune.Trainable):
    """A worker of Ray Tune: one `step` trains one epoch of all members of a trial."""

    def setup(
        self, config: dict[str, Any], prices: Prices | None = None, folds: tuple[Fold, ...] = (),
        space: Space | None = None, checkpoints: str | None = None,
        checkpoint_interval: float = CHECKPOINT_INTERVAL, lease: LeaseView | None = None,
    ) -> None:  # fmt: skip
        """Store what all trials of the study share, and start the first trial.

        Args:
            config: `trial_id` and `point`.
            prices, folds, space: of the study.
            checkpoints: folder or URL that holds a folder of checkpoints for each trial; None: no checkpoints.
            checkpoint_interval: seconds; see `CheckpointPolicy`.
            lease: on that URL; checkpoints are written only while the study holds it.
        """
        assert prices is not None
        assert space is not None
        self._prices, self._folds, self._space = prices, folds, space
        self._checkpoints, self._checkpoint_interval, self._lease = checkpoints, checkpoint_interval, lease
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial on this worker."""
        self._release()
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its report.

        An error of the trial itself ends this trial alone. A transient error is raised: Tune continues the trial on a
        new worker, `search.max_failures` times.
        """
        report = next_report(self._reports, self._share)
        if report.get("done"):
            self._release()
        return report

    def cleanup(self) -> None:
        """Release the last trial."""
        self._release()

    def _start(self, config: dict[str, Any]) -> None:
        # Nothing is read or built before the first step, which can report an error of the trial.
        resources = self.trial_resources.required_resources if self.trial_resources else {}  # none without Tune
        self._share = resources.get("GPU", 0)
        self._reports = train_trial(
            self._space, self._prices, self._folds, config["point"],
            join_path(self._checkpoints, config["trial_id"]) if self._checkpoints else None, self._checkpoint_interval,
            threads=max(1, int(resources.get("CPU", 1))), share=self._share,
            check=self._lease.check if self._lease else None,
        )  # fmt: skip

    def _release(self) -> None:
        """Free the memory of a trial, also on the GPU."""
        self._reports.close()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
