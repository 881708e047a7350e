"""List the internals of Ray, Optuna and PyTorch that this project replaces or uses, so that an upgrade fails in words.

`tests/search/tune/patches/test_registry.py` compares each entry with the installed version. When it fails after an
upgrade, read the new source of the target, adapt what `used_by` names, run the test that `tested_by` names, and write
down the new parameters here.
"""

from dataclasses import dataclass

__all__ = ["INTERNALS", "VERSIONS", "Internal"]

VERSIONS = {"ray": "2.60", "optuna": "5.0"}  # that the entries were compared with

CONTROLLER = "ray.tune.execution.tune_controller"
ACTORS = "ray.air.execution._internal.actor_manager"
LEAN = "tests/search/tune/patches/test_actors.py"
KILLED = "tests/faults/test_killed_workers.py"
STALLED = "tests/faults/test_stalled.py"


@dataclass(frozen=True, kw_only=True)
class Internal:
    """One internal name of a library.

    Attributes:
        target: the module, a colon and the name in it.
        parameters: the names of the parameters of a function, in order; None: it is not a function.
        looked_up_in: of a replaced name, the module that must still look it up when it runs.
        reason: what would go wrong without the replacement, or what the name is used for.
        issue: of the library, where there is one.
        used_by: our module.
        tested_by: our test.
    """

    target: str
    parameters: tuple[str, ...] | None = None
    looked_up_in: str | None = None
    reason: str
    issue: str | None = None
    used_by: str
    tested_by: str


INTERNALS = (
    Internal(
        target=f"{ACTORS}:RayActorManager", looked_up_in=CONTROLLER, used_by="search.tune.patches.actors",
        reason="a worker killed for memory ends the whole study", tested_by=KILLED,
    ),
    Internal(
        target=f"{ACTORS}:RayActorManager._actor_task_failed",
        parameters=("self", "tracked_actor_task", "exception"), used_by="search.tune.patches.actors",
        reason="takes every failure that is not of an actor or a task for its own", tested_by=KILLED,
    ),
    Internal(
        target=f"{ACTORS}:RayActorManager.is_actor_started", parameters=("self", "tracked_actor"),
        used_by="search.tune.patches.actors", reason="tells a worker that trains from one that waits",
        tested_by=STALLED,
    ),
    Internal(
        target=f"{ACTORS}:RayActorManager.cleanup", parameters=("self",), used_by="search.tune.patches.actors",
        reason="frees the workers of a study that ends for its own reason", tested_by="tests/faults/test_disk.py",
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController", looked_up_in="ray.tune.tune", used_by="search.tune.patches.actors",
        reason="hears twice of a worker that dies while it is reset, and waits for ever for one that hangs",
        tested_by=KILLED,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._process_trial_failure", parameters=("self", "trial", "exception"),
        used_by="search.tune.patches.actors", reason="counts one death twice", tested_by=KILLED,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._requeue_trial", parameters=("self", "trial"),
        used_by="search.tune.patches.actors", reason="a trial that ran out of GPU memory needs a larger share",
        tested_by="tests/search/cluster/test_gpu_trials.py",
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._on_training_result", parameters=("self", "trial", "result"),
        used_by="search.tune.patches.actors", reason="notes that a trial makes progress", tested_by=STALLED,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController.step", parameters=("self",), used_by="search.tune.patches.lean",
        reason="formats every result for a log that is off", tested_by=LEAN,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController.checkpoint", parameters=("self", "force", "wait"),
        used_by="search.tune.patches.lean", reason="writes snapshots that no study resumes from",
        issue="ray-project/ray#30838", tested_by="tests/search/study/test_study.py",
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._maybe_reuse_cached_actor", parameters=("self", "trial"),
        used_by="search.tune.patches.lean", reason="stops workers that are starting", tested_by=LEAN,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._set_trial_status", parameters=("self", "trial", "status"),
        used_by="search.tune.patches.lean", reason="keeps statistics of every result of every trial", tested_by=LEAN,
    ),
    Internal(
        target="ray.tune.analysis.experiment_analysis:ExperimentAnalysis", looked_up_in="ray.tune.tune",
        used_by="search.tune.patches.lean", reason="reads a snapshot that is not written", tested_by=LEAN,
    ),
    Internal(
        target="ray.air._internal.usage:tag_callbacks", parameters=("callbacks",), looked_up_in="ray.tune.tune",
        used_by="search.tune.patches.lean", reason="imports every tracker that Ray supports", tested_by=LEAN,
    ),
    Internal(
        target="ray.tune.experiment.trial:get_trainable_cls", parameters=("trainable_name",),
        looked_up_in="ray.tune.experiment.trial", used_by="search.tune.patches.lean",
        reason="asks Ray's key-value store five times a trial", tested_by=LEAN,
    ),
    Internal(
        target="ray.tune.experiment.trial:validate_trainable", parameters=("trainable_name",),
        looked_up_in="ray.tune.experiment.trial", used_by="search.tune.patches.lean",
        reason="asks Ray's key-value store five times a trial", tested_by=LEAN,
    ),
    Internal(
        target="ray._private.worker:_global_node", used_by="search.cluster.ray_watch",
        reason="has the processes of Ray on this machine", tested_by="tests/faults/test_ray_dies.py",
    ),
    Internal(
        target="ray._private.state:GlobalState.actor_table",
        parameters=("self", "actor_id", "job_id", "actor_state_name"),
        used_by="search.study.refit", reason="tells whether a finalist's worker has started", tested_by=STALLED,
    ),
    Internal(
        target="ray._raylet:AuthenticationTokenLoader", used_by="search.cluster.auth_probe",
        reason="loads the token again after the mode has changed", tested_by="tests/faults/test_addresses.py",
    ),
    Internal(
        target="optuna.storages:JournalStorage.set_trial_state_values",
        parameters=("self", "trial_id", "state", "values"),
        used_by="search.optuna_journal.journal", reason="ends trials that no process holds any more",
        tested_by="tests/search/tune/test_optuna_searcher.py",
    ),
    Internal(
        target="torch:_fused_adam_", used_by="stockrnn.training.optimizer",
        reason="Adam for all members in one call, without the import of torch._dynamo",
        tested_by="tests/stockrnn/training/test_trainer.py",
    ),
)  # fmt: skip
