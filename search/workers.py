"""Ray, quietly: one of our own on this machine, or a cluster's; and how many trials run side by side."""

import logging
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

from search.space import Space

__all__ = ["ray_running", "slots"]

OBJECT_STORE = 256 * 1024**2  # bytes: the prices and Ray's own needs
CONNECT_TIMEOUT = 10.0  # seconds
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else every worker warns of it
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 the older output is silent, the newer is not
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files per trial
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours ends the study through the stopper
}


@contextmanager
def ray_running(address: str | None) -> Iterator[None]:
    """A Ray of our own on this machine, or the cluster at an address; disconnected or gone afterwards.

    Within another one nothing happens: it is the same Ray.

    Raises:
        ConnectionError: no cluster answers at the address.
    """
    if ray.is_initialized():  # several studies, one after another
        yield
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    where: dict[str, Any] = {"address": address}
    if address is not None:
        _knock(address)
    else:
        where = {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **where)
        yield
    except SystemExit:  # Ray's own answer to SIGTERM while it starts
        raise KeyboardInterrupt from None
    finally:
        ray.shutdown()


def slots(space: Space, max_concurrent: int | None, address: str | None) -> int:
    """Trials that run side by side: as many as fit, or as `max_concurrent` says.

    A cluster (an address) may grow when trials wait for it, so there `max_concurrent` counts, not what is up now.

    Raises:
        SpaceError: on this machine, a trial asks for more than there is.
    """
    have, want = ray.cluster_resources(), space.resources
    if address is not None:
        return min(max_concurrent or max(1, _fitting(space, have)), space.num_samples)
    for key, needed in (("cpu", want.cpu), ("gpu", want.gpu)):
        available = have.get(key.upper(), 0)
        if needed > available:
            raise space.error(
                ("resources", key),
                f"{needed:g} a trial, but there are {available:g} here; a trial must fit; lower it or join a cluster",
            )
    fits = _fitting(space, have)
    return min(fits, max_concurrent or fits, space.num_samples)


def _knock(address: str) -> None:
    """Ray waits minutes for a host that does not answer; a connection tells at once."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(str(error)) from None


def _fitting(space: Space, have: Mapping[str, float]) -> int:
    want = space.resources
    fits = int(have.get("CPU", 0) / want.cpu)
    return min(fits, int(have.get("GPU", 0) / want.gpu)) if want.gpu else fits
