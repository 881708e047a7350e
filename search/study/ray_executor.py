"""Run a study's trials with Ray Tune, and its finalists as Ray tasks, on this machine or a cluster."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from ray import tune

from search.cluster.demands import ResourceDemands
from search.cluster.gpus import smallest_gpu_memory
from search.cluster.ray_session import ConcurrencyLimit, connect_ray, count_slots
from search.cluster.ray_watch import watch_ray
from search.cluster.shared_folder import check_shared_folder
from search.cost.stalls import StallLimits, StallWatch
from search.study.context import StudyContext
from search.study.finalists import Finalist, RefittedFinalist
from search.study.refit import refit_finalists
from search.study.restart import Restarter
from search.study.trial_recorder import TrialRecorder
from search.tune.asha import FiniteASHA
from search.tune.callback import TuneCallback
from search.tune.optuna_searcher import OptunaSearcher
from search.tune.patches.actors import patch_tune
from search.tune.stopper import StudyStopped
from search.tune.trainable import TrialTrainable
from search.tune.virtual_order import VirtualOrder

__all__ = ["RayExecutor", "ray_executor", "resource_request"]


@contextmanager
def ray_executor(
    context: StudyContext, *, address: str | None = None, insecure: bool = False, niceness: int = 0,
    restarter: Restarter | None = None,
    trainable: type[tune.Trainable] | None = None,
) -> Iterator["RayExecutor"]:  # fmt: skip
    """Start Ray on this machine or join a cluster, and yield the executor of a study.

    Args:
        address: of a cluster; None: this machine.
        insecure: join a cluster that other machines can reach and that requires no token.
        niceness: of the workers on this machine.
        restarter: restarts this command if Ray dies; None: nothing watches Ray.
        trainable: trains one trial; None: `TrialTrainable`.

    Raises:
        ClusterError: the cluster cannot be joined, or must not be.
        SharedFolderError: a machine of the cluster does not see the study's folder.
        SpaceError: a trial needs more than any machine has.
    """
    space, folder = context.space, context.folder
    context.progress.show_waiting("Ray to start")
    cpus = math.ceil((space.resources.workers or 0) * max(demand.cpu for demand in space.resource_rules.demands))
    with connect_ray(address, insecure=insecure, niceness=niceness, cpus=cpus), ExitStack() as watching:
        if restarter is not None:
            watching.enter_context(_watch(restarter, context))
        gpu_memory = smallest_gpu_memory(space, context.progress.print_note)
        demands = ResourceDemands(space, context.splits, len(context.prices), gpu_memory)
        slots = count_slots(space, demands.kinds, address)
        if address and context.mirror is None:
            check_shared_folder(folder if folder.exists() else folder.parent)
        limit = ConcurrencyLimit(demands.kinds, slots, space.resources.workers, address)
        if grows := space.search.replay and limit.grows:
            context.progress.print_note(
                "the cluster grows and shrinks, so this study does not repeat exactly; --workers N would make it repeat"
            )
        yield RayExecutor(
            context, demands, slots, limit, watching.close, trainable or TrialTrainable,
            repeats=space.search.replay and not grows,
        )  # fmt: skip


class RayExecutor:
    """A `TrialExecutor` on a running Ray.

    Args:
        demands: the resources of each trial.
        workers: see `TrialExecutor`.
        concurrency_limit: see `TrialExecutor`.
        stop_watching: see `TrialExecutor`.
        trainable: trains one trial.
        repeats: see `TrialExecutor`.
    """

    def __init__(
        self, context: StudyContext, demands: ResourceDemands, workers: int, concurrency_limit: Callable[[], int],
        stop_watching: Callable[[], None], trainable: type[tune.Trainable], *, repeats: bool,
    ) -> None:  # fmt: skip
        self._context, self._demands, self._trainable = context, demands, trainable
        self.workers, self.concurrency_limit, self.stop_watching = workers, concurrency_limit, stop_watching
        self.repeats = repeats

    def run_trials(
        self, searcher: OptunaSearcher, scheduler: FiniteASHA, recorder: TrialRecorder, order: VirtualOrder
    ) -> None:
        """See `TrialExecutor`."""
        context = self._context
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        context.progress.show_waiting(f"{workers} to start")
        replay = order if self.repeats else None
        if replay is not None:
            searcher.follow(replay)
        tuner = self._tuner(searcher, scheduler, recorder)
        watch = StallWatch()
        limits = StallLimits(context.space, context.splits)
        with context.progress.show_stalls(watch), suppress(StudyStopped), patch_tune(limits, watch, replay):
            tuner.fit()
        if order.abandoned:
            context.progress.print_note(
                "a trial found no free place for half a minute: this study does not repeat exactly"
            )

    def refit_finalists(
        self, finalists: Sequence[Finalist], validation: Mapping[str, np.ndarray]
    ) -> tuple[list[RefittedFinalist], dict[str, str]]:
        """See `TrialExecutor`."""
        return refit_finalists(self._context, finalists, self._demands.at, validation)

    def _tuner(self, searcher: OptunaSearcher, scheduler: FiniteASHA, recorder: TrialRecorder) -> tune.Tuner:
        context = self._context
        trainable = tune.with_parameters(
            self._trainable, prices=context.prices, folds=context.splits.folds, space=context.space,
            checkpoints=context.checkpoints, lease=context.lease,
        )  # fmt: skip
        return tune.Tuner(
            tune.with_resources(trainable, partial(resource_request, self._demands)),
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=scheduler, num_samples=searcher.remaining_trials, reuse_actors=True,
                trial_name_creator=_trial_name, trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="ray",  # a folder of this name in the study's folder, for Tune's own files
                storage_path=str(context.folder.resolve()),
                stop=context.stop,
                callbacks=[TuneCallback(recorder)],
                failure_config=tune.FailureConfig(max_failures=context.space.search.max_failures),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )  # fmt: skip


@contextmanager
def _watch(restarter: Restarter, context: StudyContext) -> Iterator[None]:
    """Replace this process by a new one that continues the study if Ray dies within the block."""

    def restart(reason: str, ray_folder: Path) -> NoReturn:
        context.progress.close()
        restarter.restart(reason, context.stop.seconds_left, ray_folder)

    with watch_ray(restart, lambda: context.stop.requested):
        yield


def resource_request(demands: ResourceDemands, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """Return the resources that Tune reserves for a trial."""
    demand = demands.at(config["point"])
    return tune.PlacementGroupFactory([{"CPU": demand.cpu, "GPU": float(demand.gpu)}])


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial_id"])
