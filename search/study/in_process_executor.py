"""Run a study's trials in this process, without Ray: for debuggers and tests."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
from search.tune.virtual_order import VirtualOrder
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
    """A trial that runs, as the scheduler sees it; `config` holds `trial_id` and `point`."""

    config: Mapping[str, Any]
    tune_id: str
    reports: Generator[dict[str, Any]]


class InProcessExecutor:
    """A `TrialExecutor` without processes of its own.

    With several workers, the trials take turns. A signal stops the study after the current epoch. A training that hangs
    is not detected.
    """

    def __init__(self, context: StudyContext, demands: ResourceDemands, train: Callable[..., TrialReports]) -> None:
        self._context, self._demands, self._train = context, demands, train
        self.workers = context.space.resources.workers or 1
        self.repeats = True

    def concurrency_limit(self) -> int:
        """Return the number of workers: so many trials take turns."""
        return self.workers

    def stop_watching(self) -> None:
        """Do nothing: there are no workers to watch."""

    def run_trials(
        self, searcher: OptunaSearcher, scheduler: FiniteASHA, recorder: TrialRecorder, order: VirtualOrder
    ) -> None:
        """See `TrialExecutor`. The trials take turns in the order of the virtual clock."""
        searcher.follow(order)
        running: dict[str, _Trial] = {}
        left = searcher.remaining_trials
        with suppress(StudyStopped), _closing_reports(running):
            while not self._context.stop.stop_all():
                recorder.check()
                while left and isinstance(config := searcher.suggest(str(left)), dict):
                    reports = self._reports(config, recorder)
                    trial = running[config["trial_id"]] = _Trial(config=config, tune_id=str(left), reports=reports)
                    scheduler.on_trial_add(None, trial)
                    recorder.start(config["trial_id"], config["point"])
                    left -= 1
                if (trial_id := order.next_trial()) is None:
                    return
                if self._step(running[trial_id], searcher, scheduler, recorder, order):
                    running.pop(trial_id).reports.close()  # frees the networks of a trial that ASHA stopped

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

    def _step(
        self, trial: "_Trial", searcher: OptunaSearcher, scheduler: FiniteASHA, recorder: TrialRecorder,
        order: VirtualOrder,
    ) -> bool:  # fmt: skip
        """Train a trial for an epoch; call searcher, scheduler and recorder as Ray Tune does. Return if it ended."""
        trial_id, report = trial.config["trial_id"], next(trial.reports)
        status = report["status"]
        waited = order.report(trial_id, report)
        if not report["done"] and scheduler.on_trial_result(None, trial, report) == TrialScheduler.STOP:
            status = "stopped"
        if status == "running":
            searcher.on_trial_result(trial.tune_id, report)
        recorder.report(trial_id, report | {"done": status != "running"})
        if status != "running":
            scheduler.on_trial_complete(None, trial, report)
            recorder.end(trial.tune_id, trial_id, status, report)
            order.end(trial_id)
        elif waited:
            order.proceed(trial_id)
        recorder.refresh()
        return bool(status != "running")

    def _reports(self, config: Mapping[str, Any], recorder: TrialRecorder) -> Generator[dict[str, Any]]:
        """Yield a trial's reports; after a transient error the trial continues from its newest checkpoint."""
        context, trial_id, point = self._context, config["trial_id"], config["point"]
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


@contextmanager
def _closing_reports(running: Mapping[str, _Trial]) -> Iterator[None]:
    """Close the reports of the trials that still run at the end of the block."""
    try:
        yield
    finally:
        for trial in running.values():
            trial.reports.close()


def _gpu_memory() -> int | None:
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
