"""A study's search as Ray Tune runs it: which trials, on what, stopped by whom."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from search.cluster.demands import ResourceDemands
from search.results.remote_lock import LeaseView
from search.results.resume import ResumeState
from search.space.space import Space
from search.tune.asha import FiniteASHA
from search.tune.callback import Recorder
from search.tune.optuna_searcher import OptunaSearcher
from search.tune.stopper import Stop
from search.tune.trainable import TrialTrainable
from stockrnn.dataset.walk_forward import WalkForward
from stockrnn.prices.series import Prices

__all__ = ["asked", "tuner"]


def tuner(
    space: Space, prices: Prices, splits: WalkForward, folder: Path, checkpoints: str,
    lease: LeaseView | None, needs: ResourceDemands,
    searcher: OptunaSearcher, begun: ResumeState, stop: Stop, recorder: Recorder,
) -> tune.Tuner:  # fmt: skip
    """The search, ready to run.

    Args:
        folder: the study's; Tune's own snapshots go into `ray` in it.
        checkpoints: where trials keep theirs, a folder or a URL.
        lease: on that URL.
        needs: what each trial asks for.
        begun: what is known of the study where it is resumed.
    """
    trainable = tune.with_resources(
        tune.with_parameters(
            TrialTrainable,
            prices=prices,
            folds=splits.folds,
            space=space,
            checkpoints=checkpoints,
            lease=lease,
        ),
        partial(asked, needs),
    )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=FiniteASHA(space, begun.log),
            num_samples=searcher.remaining_trials,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder.resolve()),
            stop=stop,
            callbacks=[recorder],
            failure_config=tune.FailureConfig(max_failures=space.search.max_failures),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )


def asked(needs: ResourceDemands, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Tune gives to a trial."""
    demand = needs.at(config["point"])
    return tune.PlacementGroupFactory([{"CPU": demand.cpu, "GPU": float(demand.gpu)}])


def _name(trial: Any) -> str:
    return str(trial.config["trial_id"])
