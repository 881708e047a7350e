"""List the internals of Ray, Optuna and PyTorch that this project replaces or uses.

These names are private, so an upgrade may change them. `tests/search/tune/patches/test_registry.py` compares each entry
with the installed version, and names what differs. Then read the new source of `target`, adapt `used_by`, run
`tested_by`, and correct the entry here.
"""

from dataclasses import dataclass

__all__ = ["INTERNALS", "VERSIONS", "Internal"]

VERSIONS = {"ray": "2.60", "optuna": "5.0"}  # for which the entries are correct

CONTROLLER = "ray.tune.execution.tune_controller"
ACTORS = "ray.air.execution._internal.actor_manager"
TRIAL = "ray.tune.experiment.trial"
TEST_PATCHES = "tests/search/tune/patches/test_actors.py"
TEST_KILLED = "tests/faults/test_killed_workers.py"
TEST_STALLED = "tests/faults/test_stalled.py"
TEST_RAY_DIES = "tests/faults/test_ray_dies.py"
TEST_ADDRESSES = "tests/faults/test_addresses.py"
TEST_SESSION = "tests/search/cluster/test_ray_session.py"
TEST_OWN_RAY = "tests/faults/test_own_ray.py"


@dataclass(frozen=True, kw_only=True)
class Internal:
    """An internal name of a library.

    Attributes:
        target: module, colon, name in the module.
        parameters: names of the parameters of a function, in order; None if the target is not a function.
        attributes: names of attributes that the module of the target uses, and this project too.
        looked_up_in: only of a replaced name: the module that must look it up when it runs.
        reason: why it is replaced or used.
        issue: of the library, if there is one.
        used_by: module of this project.
        tested_by: test of this project.
    """

    target: str
    parameters: tuple[str, ...] | None = None
    attributes: tuple[str, ...] = ()
    looked_up_in: str | None = None
    reason: str
    issue: str | None = None
    used_by: str
    tested_by: str


INTERNALS = (
    Internal(
        target=f"{ACTORS}:RayActorManager", attributes=("_live_actors_to_ray_actors_resources",),
        looked_up_in=CONTROLLER, used_by="search.tune.patches.actors",
        reason="ends the whole study if a worker is killed for memory", tested_by=TEST_KILLED,
    ),
    Internal(
        target=f"{ACTORS}:RayActorManager._actor_task_failed",
        parameters=("self", "tracked_actor_task", "exception"), used_by="search.tune.patches.actors",
        reason="raises every error except those of actors and tasks", tested_by=TEST_KILLED,
    ),
    Internal(
        target=f"{ACTORS}:RayActorManager.is_actor_started", parameters=("self", "tracked_actor"),
        used_by="search.tune.patches.actors", reason="shows whether a worker has its resources",
        tested_by=TEST_STALLED,
    ),
    Internal(
        target=f"{ACTORS}:RayActorManager.cleanup", parameters=("self",), used_by="search.tune.patches.actors",
        reason="frees the workers of a study that stops early", tested_by="tests/faults/test_disk.py",
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController",
        attributes=("_actor_manager", "_resetting_trials", "_started_actors", "_trial_to_actor"),
        looked_up_in="ray.tune.tune", used_by="search.tune.patches.actors",
        reason="counts the death of a worker twice during a reset, and waits forever for a worker that hangs",
        tested_by=TEST_KILLED,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._process_trial_failure", parameters=("self", "trial", "exception"),
        used_by="search.tune.patches.actors", reason="counts one death twice", tested_by=TEST_KILLED,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._requeue_trial", parameters=("self", "trial"),
        used_by="search.tune.patches.actors", reason="retries a trial without more GPU memory",
        tested_by="tests/search/cluster/test_gpu_trials.py",
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._on_training_result", parameters=("self", "trial", "result"),
        used_by="search.tune.patches.actors", reason="shows that a trial makes progress", tested_by=TEST_STALLED,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController.step", parameters=("self",), used_by="search.tune.patches.lean",
        reason="formats every result for a log that is off", tested_by=TEST_PATCHES,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController.checkpoint", parameters=("self", "force", "wait"),
        used_by="search.tune.patches.lean", reason="writes snapshots, from which no study resumes",
        issue="ray-project/ray#30838", tested_by="tests/search/study/test_study.py",
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._maybe_reuse_cached_actor", parameters=("self", "trial"),
        used_by="search.tune.patches.lean", reason="stops workers that are starting", tested_by=TEST_PATCHES,
    ),
    Internal(
        target=f"{CONTROLLER}:TuneController._set_trial_status", parameters=("self", "trial", "status"),
        used_by="search.tune.patches.lean", reason="stores statistics of every ended trial", tested_by=TEST_PATCHES,
    ),
    Internal(
        target=f"{TRIAL}:Trial",
        attributes=("_default_result_or_future", "max_failures", "metric_analysis", "metric_n_steps", "run_metadata"),
        used_by="search.tune.patches.lean", reason="has the statistics of an ended trial", tested_by=TEST_PATCHES,
    ),
    Internal(
        target=f"{TRIAL}:get_trainable_cls", parameters=("trainable_name",), looked_up_in=TRIAL,
        used_by="search.tune.patches.lean", reason="queries Ray's key-value store for every trial",
        tested_by=TEST_PATCHES,
    ),
    Internal(
        target="ray.tune.analysis.experiment_analysis:ExperimentAnalysis", looked_up_in="ray.tune.tune",
        used_by="search.tune.patches.lean", reason="reads a snapshot, which is not written", tested_by=TEST_PATCHES,
    ),
    Internal(
        target="ray.air._internal.usage:tag_callbacks", parameters=("callbacks",), looked_up_in="ray.tune.tune",
        used_by="search.tune.patches.lean", reason="imports every tracker that Ray supports", tested_by=TEST_PATCHES,
    ),
    Internal(
        target="ray.tune.schedulers.async_hyperband:AsyncHyperBandScheduler",
        attributes=("_brackets", "_metric_op", "trial_id"), used_by="search.tune.asha",
        reason="has the rungs, which a resumed study restores", tested_by="tests/search/tune/test_asha.py",
    ),
    Internal(
        target="ray._private.worker:_global_node", used_by="search.cluster.ray_watch",
        reason="has the processes of Ray on this machine", tested_by=TEST_RAY_DIES,
    ),
    Internal(
        target="ray._private.node:Node.get_temp_dir_path", parameters=("self",),
        attributes=("all_processes", "gcs_address", "raylet_socket_name"), used_by="search.cluster.ray_watch",
        reason="has the processes, the folder and the addresses of a Ray", tested_by=TEST_RAY_DIES,
    ),
    Internal(
        target="ray._private.worker:print_to_stdstream", parameters=("data", "ignore_prefix"),
        looked_up_in="ray._private.worker", used_by="search.cluster.ray_session",
        reason="prints logs of nodes and workers into the output of the study", tested_by=TEST_RAY_DIES,
    ),
    Internal(
        target="ray._private.ray_constants:ENABLE_RAY_CLUSTER", used_by="search.cluster.ray_session",
        reason="decides whether a local Ray listens on loopback only", tested_by=TEST_OWN_RAY,
    ),
    Internal(
        target="ray._private.ray_constants:ENABLE_RAY_CLUSTERS_ENV_VAR", used_by="search.cluster.ray_session",
        reason="passes that decision on to Ray's other processes", tested_by=TEST_OWN_RAY,
    ),
    Internal(
        target="ray._private.worker:global_worker", attributes=("gcs_client",), used_by="search.cluster.ray_session",
        reason="gives the state of the autoscaler", tested_by=TEST_SESSION,
    ),
    Internal(
        target="ray.autoscaler.v2.utils:is_autoscaler_v2", parameters=("fetch_from_server", "gcs_client"),
        used_by="search.cluster.ray_session", reason="shows how the autoscaler reports", tested_by=TEST_SESSION,
    ),
    Internal(
        target="ray.core.generated.autoscaler_pb2:GetClusterStatusReply", used_by="search.cluster.ray_session",
        reason="parses the report of the autoscaler", tested_by=TEST_SESSION,
    ),
    Internal(
        target="ray._private.services:canonicalize_bootstrap_address", parameters=("addr", "temp_dir"),
        used_by="search.cluster.auth_probe", reason="finds the cluster of `--address auto`", tested_by=TEST_ADDRESSES,
    ),
    Internal(
        target="ray._raylet:AuthenticationTokenLoader.instance", used_by="search.cluster.auth_probe",
        reason="reads the token again after the mode has changed", tested_by=TEST_ADDRESSES,
    ),
    Internal(
        target="ray._raylet:Config.initialize", used_by="search.cluster.ray_session",
        reason="reads the environment again after the mode has changed", tested_by=TEST_SESSION,
    ),
    Internal(
        target="ray._raylet:InnerGcsClient.standalone", used_by="search.cluster.auth_probe",
        reason="connects to a cluster without joining it", tested_by=TEST_ADDRESSES,
    ),
    Internal(
        target="ray._private.state:GlobalState.actor_table",
        parameters=("self", "actor_id", "job_id", "actor_state_name"),
        used_by="search.study.refit", reason="shows whether a finalist's worker has started", tested_by=TEST_STALLED,
    ),
    Internal(
        target="ray._private.state:state", used_by="search.study.refit", reason="has the table of actors",
        tested_by=TEST_STALLED,
    ),
    Internal(
        target="optuna.storages.journal._storage:JournalStorage.set_trial_state_values",
        parameters=("self", "trial_id", "state", "values"), attributes=("_backend",),
        used_by="search.optuna_journal.journal", reason="ends trials that no process runs any more",
        tested_by="tests/search/tune/test_optuna_searcher.py",
    ),
    Internal(
        target="torch:_fused_adam_", used_by="stockrnn.training.optimizer",
        reason="updates all members in one call, without the import of torch._dynamo",
        tested_by="tests/stockrnn/training/test_trainer.py",
    ),
)  # fmt: skip
