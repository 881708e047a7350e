"""Start Ray on this machine or join a cluster, and compute how many trials run in parallel."""

import json
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]

from search.cluster.auth import ClusterError, check_access, ensure_token
from search.cluster.autoscaler import read_node_types
from search.cluster.ray_folder import private_folder
from search.common.messages import one_line, shorten
from search.space.resources import GPU_SHARES, Demand
from search.space.sections import AUTO
from search.space.space import Space
from search.space.yaml_reader import Key

__all__ = ["ConcurrencyLimit", "connect_ray", "connected_address", "count_slots"]

OBJECT_STORE_BYTES = 256 * 1024**2  # for the prices and for Ray itself
JOIN_TIMEOUT = 15.0  # seconds, in which nodes that start now join and an autoscaler reports its state
REFRESH_INTERVAL = 1.0  # seconds between two queries of a cluster's nodes
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # otherwise every worker logs a warning about it
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 the old output prints nothing, but the new one does
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # the searcher limits the trials instead
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files per trial
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # search.tune.stopper handles the signal
}


@contextmanager
def connect_ray(
    address: str | None, *, insecure: bool = False, niceness: int = 0, cpus: int = 0
) -> Iterator[None]:  # fmt: skip
    """Start Ray on this machine or join the cluster at an address; shut down or disconnect at the end.

    If this process is connected to Ray already, that connection is used. A local Ray listens on loopback only, requires
    the token, and stores its files in a private folder that is removed at the end.

    Args:
        insecure: also join a cluster that requires no token and that other machines can reach.
        niceness: of the workers of a local Ray, 0 to 19.
        cpus: a local Ray schedules trials on at least so many CPUs, also if this machine has fewer.

    Raises:
        ClusterError: the cluster does not answer, or must not be joined.
        FolderError: no place is suitable for the folder of a local Ray.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():  # several studies, one after another; or a Ray of the caller
        with _suppress_ray_logs():
            yield
        return
    with ExitStack() as stack:
        if address in (None, "local"):
            ensure_token()
            stack.enter_context(_set_auth_mode("token"))
            stack.enter_context(_listen_on_loopback())
            folder = stack.enter_context(private_folder())
            options: dict[str, Any] = {
                "address": "local", "num_cpus": max(cpus, os.cpu_count() or 1), "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "_temp_dir": str(folder / "r"),  # Ray gives all users access to this folder, but not to its parent
                "_system_config": {"worker_niceness": max(niceness, os.nice(0))},  # only root may lower it
            }  # fmt: skip
        else:
            assert address is not None
            host_port, mode = check_access(address, insecure=insecure)
            stack.enter_context(_set_auth_mode(mode))
            options = {"address": host_port}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _initialize_ray(address, options)
            stack.enter_context(_suppress_ray_logs())
            yield
        except SystemExit:  # Ray raises it for a SIGTERM while it starts
            raise KeyboardInterrupt from None
        finally:
            ray.shutdown()


def connected_address() -> str | None:
    """Return the address of the Ray that this process is connected to; None if it is not connected."""
    return str(ray.get_runtime_context().gcs_address) if ray.is_initialized() else None


def count_slots(space: Space, kinds: Sequence[Demand], address: str | None) -> int:
    """Return how many trials run in parallel: `resources.workers`, or as many as fit.

    With `search.replay`, so many trials of any kind must fit. Without it, the trials that fit on CPUs and those that
    fit on GPUs are added, so that neither kind waits for the other. On a cluster (with an address), nodes can join
    later, so `resources.workers` counts even if it is larger.

    Args:
        kinds: all demands that trials of the space can have.

    Raises:
        SpaceError: a trial needs more than any node has, and no such node can be started.
    """
    workers, replay = space.resources.workers, space.search.replay
    if address is not None:
        return workers or max(1, _count_on_cluster(space, kinds, replay=replay))
    total = ray.cluster_resources()
    for kind in kinds:
        for name, key, needed in _list_resources(kind):
            available = total.get(name, 0)
            if needed > available:
                raise space.error(
                    key,
                    f"{needed:g} per trial, but this machine has {available:g}; a trial must fit; lower the value or "
                    "join a cluster",
                )
    fitting = _count_fitting(kinds, [total], replay=replay)
    if workers is not None and workers > fitting and replay:
        raise space.error(
            ("resources", "workers"),
            f"{workers}, but this Ray runs only {fitting} of these trials side by side; with search.replay all workers "
            "must fit; lower the value",
        )
    return min(fitting, workers or fitting)


class ConcurrencyLimit:
    """How many trials may run or wait for a node. The searcher calls it before it proposes a trial.

    The limit is `workers`. On a cluster without `workers`, it is the number of trials that fit on the
    nodes of the moment, because nodes join and leave. An autoscaler starts nodes only for waiting trials. So with an
    autoscaler, the limit is larger by half of the trials that fit, at least by one. Then the cluster grows, and the
    sampler still proposes only a few points before it has the results of the earlier ones.

    Args:
        first: the result of `count_slots`.
    """

    def __init__(self, kinds: Sequence[Demand], first: int, workers: int | None, address: str | None) -> None:
        self._kinds, self._limit, self._updated = kinds, first, 0.0
        self._fixed = address is None or workers is not None
        self._grows = not self._fixed and _has_autoscaler()

    @property
    def grows(self) -> bool:
        """Whether an autoscaler starts nodes for waiting trials."""
        return self._grows

    def __call__(self) -> int:
        if not self._fixed and time.monotonic() - self._updated > REFRESH_INTERVAL:
            fitting = _count_fitting(self._kinds, _list_nodes())
            self._limit = max(1, fitting + (max(1, fitting // 2) if self._grows else 0))
            self._updated = time.monotonic()
        return self._limit


def _initialize_ray(address: str | None, options: Mapping[str, Any]) -> None:
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except Exception as error:  # Ray raises a plain Exception if its processes do not start in time
        reason = shorten(one_line(str(error)))
        if address in (None, "local"):
            raise ClusterError(
                f"Ray did not start on this machine ({reason}); a busy machine may be the cause; try again, or add "
                "--in-process, which needs no Ray"
            ) from None
        # For example, the cluster has another version of Ray or Python.
        raise ClusterError(f"--address {address}: cannot be joined ({reason}); check it") from None


@contextmanager
def _suppress_ray_logs() -> Iterator[None]:
    """Do not print what Ray logs about nodes and workers, for example dozens of lines when a raylet dies.

    The study itself prints one line about each event that matters.
    """
    module: Any = ray._private.worker
    before, module.print_to_stdstream = module.print_to_stdstream, lambda *_, **__: None
    try:
        yield
    finally:
        module.print_to_stdstream = before


@contextmanager
def _listen_on_loopback() -> Iterator[None]:
    """Let a Ray that starts meanwhile listen on the loopback address, which no other machine can reach.

    Ray does this on systems where it does not support clusters. Elsewhere it replaces a loopback address by the address
    of the machine.
    """
    name, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        os.environ.pop(name, None)  # who restores an environment may have removed it
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _set_auth_mode(mode: str) -> Iterator[None]:
    """Set Ray's authentication mode, `token` or `disabled`, for this process and those that it starts."""
    before = os.environ.get("RAY_AUTH_MODE")
    os.environ["RAY_AUTH_MODE"] = mode
    Config.initialize("")  # Ray has read the variable already, and must read it again
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("RAY_AUTH_MODE", None)
        else:
            os.environ["RAY_AUTH_MODE"] = before
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


def _count_on_cluster(space: Space, kinds: Sequence[Demand], *, replay: bool) -> int:
    """Return how many trials fit on the nodes of a cluster now; an autoscaler may start nodes for other trials.

    Raises:
        SpaceError: no node has the resources of a trial, and none can be started.
    """
    deadline = time.monotonic() + JOIN_TIMEOUT
    while lacking := [kind for kind in kinds if not _count_fitting([kind], nodes := _list_nodes())]:
        if _has_autoscaler():
            types = read_node_types()
            impossible = [kind for kind in lacking if types is not None and not _count_fitting([kind], types)]
            if impossible:
                raise space.error(*_explain_lack(impossible[0], [*nodes, *(types or ())]))
            break
        if time.monotonic() > deadline:
            raise space.error(*_explain_lack(lacking[0], nodes))
        time.sleep(0.5)
    return _count_fitting(kinds, nodes, replay=replay)


def _explain_lack(kind: Demand, nodes: Sequence[Mapping[str, float]]) -> tuple[Key, str]:
    """Return the key of the resource that no node has enough of, and the text of the error."""
    fix = "lower the value, or add such machines to the cluster"
    for name, key, needed in reversed(_list_resources(kind)):
        most = max((node.get(name, 0) for node in nodes), default=0)
        if needed > most:
            return key, (
                f"{needed:g} per trial, but no machine of the cluster has more than {most:g}, and no larger one can be "
                f"started; a trial must fit on one machine; {fix}"
            )
    resources = " and ".join(f"{needed:g} {name}s" for name, _, needed in _list_resources(kind))
    return kind.gpu_key, (
        f"no machine of the cluster has {resources}, and none can be started; a trial must fit on one machine; {fix}"
    )


def _list_resources(kind: Demand) -> list[tuple[str, Key, float]]:
    """Return Ray's name, the key in the space, and the amount of each resource; for `auto`, the smallest fraction."""
    gpu = GPU_SHARES[0] if kind.gpu == AUTO else float(kind.gpu)
    return [("CPU", kind.cpu_key, kind.cpu), ("GPU", kind.gpu_key, gpu)]


def _list_nodes() -> list[Mapping[str, float]]:
    """Return the resources of each node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _has_autoscaler() -> bool:
    """Return whether an autoscaler starts nodes for waiting trials.

    Ray runs an autoscaler on every cluster. It cannot start nodes if it has no configuration. Then it reports the node
    ID as the type of each node, or no type.
    """
    gcs: Any = ray._private.worker.global_worker.gcs_client  # type: ignore[attr-defined]
    if is_autoscaler_v2(fetch_from_server=True, gcs_client=gcs):
        status = GetClusterStatusReply.FromString(gcs.get_cluster_status(timeout_s=5))
        return any(node.ray_node_type_name for node in status.cluster_resource_state.node_states)
    status_v1 = json.loads(gcs.internal_kv_get(b"__autoscaling_status", None) or "{}")
    report = status_v1.get("autoscaler_report") or {}
    own = {f"node_{node['NodeID']}" for node in ray.nodes()}
    types = set(report.get("active_nodes") or ()) | set(report.get("idle_nodes") or ())
    return bool(types - own or report.get("pending_nodes") or report.get("pending_launches"))


def _count_fitting(kinds: Sequence[Demand], nodes: Sequence[Mapping[str, float]], *, replay: bool = False) -> int:
    """Return how many trials fit in parallel, on CPUs plus on GPUs; with `replay`, of every kind.

    A trial runs on one node.
    """
    if replay:
        return min(sum(map(kind.count_fitting, nodes)) for kind in kinds)
    most = {False: 0, True: 0}
    for kind in kinds:
        fitting = sum(map(kind.count_fitting, nodes))
        most[bool(kind.gpu)] = max(most[bool(kind.gpu)], fitting)
    return sum(most.values())
