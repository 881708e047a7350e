"""Start a Ray of our own on this machine, or join a cluster; and say how many trials run side by side."""

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
from search.common.messages import one_line
from search.space.resources import GPU_SHARES, NICENESS, Demand
from search.space.sections import AUTO
from search.space.space import Space
from search.space.yaml_reader import Key

__all__ = ["ConcurrencyLimit", "connect_ray", "count_slots"]

OBJECT_STORE_BYTES = 256 * 1024**2  # bytes: the prices and Ray's own needs
JOINING = 15.0  # seconds: nodes that are starting by hand join, an autoscaler says that it is there
LOOK = 1.0  # seconds between two looks at a cluster's machines
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else every worker warns of it
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 the older output is silent, the newer is not
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # the searcher says when it is enough
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files per trial
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours ends the study through the stopper
}


@contextmanager
def connect_ray(address: str | None, *, insecure: bool = False, niceness: int = NICENESS) -> Iterator[None]:
    """Within: a Ray of our own on this machine, or the cluster at an address; disconnected or gone afterwards.

    Within another one nothing happens: it is the same Ray. Our own listens on loopback alone, whoever talks to it must
    have the token, and its files are in a folder that nobody else enters and that is removed.

    Args:
        insecure: join a cluster that others can reach and that asks for no token.
        niceness: of the workers of our own, 0 to 19.

    Raises:
        ClusterError: the cluster does not answer, or must not be joined.
        FolderError: there is no place for the folder of our own.
    """
    if ray.is_initialized():  # several studies, one after another
        yield
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        if address in (None, "local"):
            ensure_token()
            stack.enter_context(_authentication("token"))
            stack.enter_context(_loopback())
            folder = stack.enter_context(private_folder())
            where: dict[str, Any] = {
                "address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES,
                "_temp_dir": str(folder / "r"),  # Ray opens that to everybody
                "_system_config": {"worker_niceness": max(niceness, os.nice(0))},  # only root may lower it
            }  # fmt: skip
        else:
            assert address is not None
            joined, mode = check_access(address, insecure=insecure)
            stack.enter_context(_authentication(mode))
            where = {"address": joined}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _start(address, where)
            stack.enter_context(_silence())
            yield
        except SystemExit:  # Ray's own answer to SIGTERM while it starts
            raise KeyboardInterrupt from None
        finally:
            ray.shutdown()


def count_slots(space: Space, kinds: Sequence[Demand], max_concurrent: int | None, address: str | None) -> int:
    """Trials that run side by side: as many as fit, or as `max_concurrent` says.

    There is a slot for each trial that the CPUs hold and one for each that the GPUs hold, so that neither waits while
    trials of the other kind are proposed.

    A cluster (an address) may grow when trials wait for it, so there `max_concurrent` counts, not what is up now.

    Args:
        kinds: all that trials of the space may ask for.

    Raises:
        SpaceError: a trial asks for more than any machine has, and none can come.
    """
    most = max_concurrent
    if address is not None:
        return min(most or max(1, _room(space, kinds)), space.num_samples)
    have = ray.cluster_resources()
    for kind in kinds:
        for name, key, needed in _wanted(kind):
            available = have.get(name, 0)
            if needed > available:
                raise space.error(
                    key,
                    f"{needed:g} a trial, but there are {available:g} here; a trial must fit; lower it or join a "
                    "cluster",
                )
    fits = _fitting(kinds, [have])
    return min(fits, most or fits, space.num_samples)


class ConcurrencyLimit:
    """How many trials may be under way, those that wait for a machine included; asked before each is proposed.

    As many as `max_concurrent` says. Where it says nothing, on a cluster, as many as fit the machines that are there at
    that moment: they come and go. An autoscaler starts machines only for trials that wait: there half as many wait as
    fit, at least one, so that the cluster grows and the sampler is not far ahead of what it knows.

    Args:
        first: what `count_slots` said.
    """

    def __init__(self, kinds: Sequence[Demand], first: int, max_concurrent: int | None, address: str | None) -> None:
        self._kinds, self._now, self._looked = kinds, first, 0.0
        self._fixed = address is None or max_concurrent is not None
        self._grows = not self._fixed and _autoscaled()

    def __call__(self) -> int:
        if not self._fixed and time.monotonic() - self._looked > LOOK:
            fits = _fitting(self._kinds, _machines())
            self._now = max(1, fits + (max(1, fits // 2) if self._grows else 0))
            self._looked = time.monotonic()
        return self._now


def _start(address: str | None, where: Mapping[str, Any]) -> None:
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **where)
    except (RuntimeError, ConnectionError) as error:  # another Ray or Python there, say
        if address is None:
            raise
        raise ClusterError(f"--address {address}: cannot be joined ({one_line(str(error))}); check it") from None


@contextmanager
def _silence() -> Iterator[None]:
    """Within: what Ray reports of its machines and workers is not printed: the study says in its own words what counts.

    Dozens of lines of its log would follow, for one where a raylet dies.
    """
    module: Any = ray._private.worker
    before, module.print_to_stdstream = module.print_to_stdstream, lambda *_, **__: None
    try:
        yield
    finally:
        module.print_to_stdstream = before


@contextmanager
def _loopback() -> Iterator[None]:
    """Within: a Ray that starts listens on this machine's own address, which no other machine reaches.

    Ray has this for systems on which it supports no clusters, and else replaces a loopback address by a real one.
    """
    name, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        del os.environ[name]
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _authentication(mode: str) -> Iterator[None]:
    """Ray's mode of authentication, in this process and those it starts: `token` or `disabled`."""
    before = os.environ.get("RAY_AUTH_MODE")
    os.environ["RAY_AUTH_MODE"] = mode
    Config.initialize("")  # Ray has read it already
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAY_AUTH_MODE"]
        else:
            os.environ["RAY_AUTH_MODE"] = before


def _room(space: Space, kinds: Sequence[Demand]) -> int:
    """Trials that fit a cluster's machines now; those of a kind for which machines will come do not yet.

    Raises:
        SpaceError: no machine has what a trial asks for, and there is no autoscaler to start one.
    """
    deadline = time.monotonic() + JOINING
    while lacking := [kind for kind in kinds if not _fitting([kind], machines := _machines())]:
        if _autoscaled():
            startable = read_node_types()
            hopeless = [kind for kind in lacking if startable is not None and not _fitting([kind], startable)]
            if hopeless:
                raise space.error(*_lacking(hopeless[0], [*machines, *(startable or ())]))
            break
        if time.monotonic() > deadline:
            raise space.error(*_lacking(lacking[0], machines))
        time.sleep(0.5)
    return _fitting(kinds, machines)


def _lacking(kind: Demand, machines: Sequence[Mapping[str, float]]) -> tuple[Key, str]:
    """What no machine has: the key, and the sentence."""
    fix = "lower it, or let the cluster have such machines"
    for name, key, needed in reversed(_wanted(kind)):
        most = max((machine.get(name, 0) for machine in machines), default=0)
        if needed > most:
            return key, (
                f"{needed:g} a trial, but no machine of the cluster has more than {most:g}, and none can come; a "
                f"trial must fit one machine; {fix}"
            )
    together = " and ".join(f"{needed:g} {name}s" for name, _, needed in _wanted(kind))
    return kind.gpu_key, f"no machine of the cluster has {together}, and none can come; a trial must fit one; {fix}"


def _wanted(kind: Demand) -> list[tuple[str, Key, float]]:
    """What Ray calls it, the key of the space and how much; of a share that is not known yet the smallest."""
    gpu = GPU_SHARES[0] if kind.gpu == AUTO else float(kind.gpu)
    return [("CPU", kind.cpu_key, kind.cpu), ("GPU", kind.gpu_key, gpu)]


def _machines() -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _autoscaled() -> bool:
    """Whether an autoscaler starts machines for trials that wait.

    Ray runs its autoscaler on every cluster, read-only where no one gave it kinds of machines: then the kind of each
    machine is named after the machine, or not at all.
    """
    gcs: Any = ray._private.worker.global_worker.gcs_client  # type: ignore[attr-defined]
    if is_autoscaler_v2(fetch_from_server=True, gcs_client=gcs):
        status = GetClusterStatusReply.FromString(gcs.get_cluster_status(timeout_s=5))
        return any(node.ray_node_type_name for node in status.cluster_resource_state.node_states)
    said = json.loads(gcs.internal_kv_get(b"__autoscaling_status", None) or "{}")
    report = said.get("autoscaler_report") or {}
    own = {f"node_{node['NodeID']}" for node in ray.nodes()}
    kinds = set(report.get("active_nodes") or ()) | set(report.get("idle_nodes") or ())
    return bool(kinds - own or report.get("pending_nodes") or report.get("pending_launches"))


def _fitting(kinds: Sequence[Demand], machines: Sequence[Mapping[str, float]]) -> int:
    """Trials that fit side by side, on CPUs and on GPUs; a trial does not span machines."""
    most = {False: 0, True: 0}
    for kind in kinds:
        fits = sum(map(kind.count_fitting, machines))
        most[bool(kind.gpu)] = max(most[bool(kind.gpu)], fits)
    return sum(most.values())
