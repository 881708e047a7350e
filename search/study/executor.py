"""The interface between a study and what runs its trials: Ray Tune, or this process."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

from search.study.context import StudyContext
from search.study.finalists import Finalist, RefittedFinalist
from search.study.trial_recorder import TrialRecorder
from search.tune.asha import FiniteASHA
from search.tune.optuna_searcher import OptunaSearcher
from search.tune.virtual_order import VirtualOrder

__all__ = ["ExecutorFactory", "TrialExecutor"]


class TrialExecutor(Protocol):
    """Run the trials of a study and retrain its finalists.

    `search.study.ray_executor` and `search.study.in_process_executor` implement it. Both give the same scores.
    """

    @property
    def workers(self) -> int:
        """Number of trials that run at the same time when the study starts."""

    @property
    def repeats(self) -> bool:
        """Whether decisions follow the virtual clock, so that the study can be repeated."""

    def concurrency_limit(self) -> int:
        """Return how many trials may be open now; the searcher proposes none beyond them."""

    def run_trials(
        self, searcher: OptunaSearcher, scheduler: FiniteASHA, recorder: TrialRecorder, order: VirtualOrder
    ) -> None:
        """Run trials until all have ended, or the study's `stop` ends them.

        Trials that are still open afterwards have no end in the log.

        Args:
            order: of the decisions, if `search.replay` is true.
        """

    def refit_finalists(
        self, finalists: Sequence[Finalist], validation: Mapping[str, np.ndarray]
    ) -> tuple[list[RefittedFinalist], dict[str, str]]:
        """Train the finalists on all sessions before the test block.

        Args:
            finalists: best first.
            validation: the forecasts of each trial on the validation days of all folds, (days,), by trial ID.

        Returns:
            The trained finalists, and the reasons why others failed by trial ID. Both are empty if the study was
            stopped meanwhile.
        """

    def stop_watching(self) -> None:
        """Expect no more work: from now on, it does not matter if workers die."""


ExecutorFactory = Callable[[StudyContext], AbstractContextManager[TrialExecutor]]
