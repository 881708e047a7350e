"""Run a study's trials in this process, one after another, without Ray: for debuggers and tests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import TrialScheduler

from search.cluster.demands import ResourceDemands
from search.study.context import StudyContext
from search.study.finalists import Finalist, RefittedFinalist, refit, remove_diverged
from search.study.trial_recorder import TrialRecorder
from search.tune.asha import FiniteASHA
from search.tune.optuna_searcher import OptunaSearcher
from search.tune.stopper import StudyStopped
from search.tune.trial import TrialReports, error_message, next_report, train_trial
from stockrnn.io.storage import join_path

__all__ = ["InProcessExecutor", "in_process_executor"]


@contextmanager
def in_process_executor(
    context: StudyContext, *, train: Callable[..., TrialReports] = train_trial
) -> Iterator["InProcessExecutor"]:
    """Yield the executor of a study that runs in this process.

    Args:
        context: the study.
        train: trains one trial; see `search.tune.trial.train_trial`.

    Raises:
        SpaceError: a trial needs a GPU, and PyTorch finds none.
    """
    space = context.space
    uses_gpus = any(demand.gpu for demand in space.resource_rules.demands)
    memory = _gpu_memory() if uses_gpus else None
    demands = ResourceDemands(space, context.splits, len(context.prices), memory)
    if memory is None and (needy := next((kind for kind in demands.kinds if kind.gpu), None)):
        raise space.error(needy.gpu_key, f"{needy.gpu:g} a trial, but PyTorch finds no GPU here; write 0")
    yield InProcessExecutor(context, demands, train)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A trial as the scheduler sees it; `config` holds `trial_id` and `point`."""

    config: Mapping[str, Any]


class InProcessExecutor:
    """A `TrialExecutor` without processes of its own.

    A signal stops the study after the current epoch. A training that hangs is not detected.
    """

    def __init__(self, context: StudyContext, demands: ResourceDemands, train: Callable[..., TrialReports]) -> None:
        self._context, self._demands, self._train = context, demands, train
        self.workers = 1

    def concurrency_limit(self) -> int:
        """Return 1: the next trial is proposed when the last one has ended."""
        return 1

    def stop_watching(self) -> None:
        """Do nothing: there are no workers to watch."""

    def run_trials(self, searcher: OptunaSearcher, scheduler: FiniteASHA, recorder: TrialRecorder) -> None:
        """See `TrialExecutor`."""
        with suppress(StudyStopped):
            for number in range(searcher.remaining_trials):
                if self._context.stop.stop_all():
                    return
                recorder.check()
                config = searcher.suggest(str(number))
                assert config is not None  # there is room: the last trial has ended
                if isinstance(config, str):  # FINISHED
                    return
                self._run_trial(str(number), _Trial(config=config), searcher, scheduler, recorder)

    def refit_finalists(
        self, finalists: Sequence[Finalist], validation: Mapping[str, np.ndarray]
    ) -> tuple[list[RefittedFinalist], dict[str, str]]:
        """See `TrialExecutor`."""
        context = self._context
        refitted: list[RefittedFinalist] = []
        failed: dict[str, str] = {}
        for finalist in finalists:
            context.progress.refresh()
            if context.stop.requested:
                return [], {}
            threads, share = self._resources(finalist.point)
            try:
                done = refit(
                    finalist, context.space, context.prices, context.splits, validation[finalist.trial_id],
                    threads=threads, share=share,
                )  # fmt: skip
            except Exception as error:  # the others continue, as on Ray
                failed[finalist.trial_id] = error_message(error)
            else:
                refitted.append(done)
        return remove_diverged(refitted, failed)

    def _run_trial(
        self, tune_id: str, trial: _Trial, searcher: OptunaSearcher, scheduler: FiniteASHA, recorder: TrialRecorder
    ) -> None:
        """Train a trial to its end; searcher, scheduler and recorder are called in the same order as by Ray Tune."""
        trial_id, point = trial.config["trial_id"], trial.config["point"]
        scheduler.on_trial_add(None, trial)
        recorder.start(trial_id, point)
        for report in self._reports(trial_id, point, recorder):
            status = report["status"]
            if not report["done"] and scheduler.on_trial_result(None, trial, report) == TrialScheduler.STOP:
                status = "stopped"
            if status == "running":
                searcher.on_trial_result(tune_id, report)
            recorder.report(trial_id, report)
            if status != "running":
                scheduler.on_trial_complete(None, trial, report)
                recorder.end(tune_id, trial_id, status, report)
            recorder.refresh()
            if status != "running" or self._context.stop.stop_all():
                return

    def _reports(self, trial_id: str, point: Mapping[str, Any], recorder: TrialRecorder) -> Iterator[dict[str, Any]]:
        """Yield a trial's reports; after a transient error the trial continues from its newest checkpoint."""
        context = self._context
        threads, share = self._resources(point)
        failures = 0
        while True:
            reports = self._train(
                context.space, context.prices, context.splits.folds, point, join_path(context.checkpoints, trial_id),
                threads=threads, share=share, check=context.lease.check if context.lease else None,
            )  # fmt: skip
            with closing(reports):
                try:
                    while True:
                        report = next_report(reports, share)
                        yield report
                        if report["done"]:
                            return
                except (MemoryError, OSError, RuntimeError) as error:
                    message, failures = error_message(error), failures + 1
            if failures > context.space.search.max_failures:
                times = f" ({failures} times)" if failures > 1 else ""
                yield {"status": "failed", "message": message + times, "done": True}
                return
            recorder.retry(trial_id, message, "the same process")

    def _resources(self, point: Mapping[str, Any]) -> tuple[int, float]:
        """Return the CPU threads of a trial and its share of a GPU, which is all of it or nothing."""
        demand = self._demands.at(point)
        return max(1, int(demand.cpu)), 1.0 if demand.gpu else 0.0


def _gpu_memory() -> int | None:
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
