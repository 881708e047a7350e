"""Whether every machine of a cluster sees the folder of a study: trials keep their checkpoints in it."""

import uuid
from contextlib import suppress
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.common.errors import UserError
from search.common.messages import one_line

__all__ = ["SharedFolderError", "check_shared_folder"]

LIMIT = 30.0  # seconds; a machine that does not answer by then is not asked


class SharedFolderError(UserError):
    """A folder that some machine does not see, in one line."""


def check_shared_folder(folder: Path) -> None:
    """See that all machines of the cluster that is joined see a folder of this one, which exists.

    Raises:
        SharedFolderError: one does not, or it cannot run this project.
        OSError: the folder cannot be written.
    """
    here = ray.get_runtime_context().get_node_id()
    others = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    others.pop(here, None)
    if not others:
        return
    sign = folder.resolve() / f".{uuid.uuid4().hex}"
    sign.touch()
    try:
        asked = {
            _sees.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(str(sign)): host
            for node, host in others.items()
        }
        answered, silent = ray.wait([*asked], num_returns=len(asked), timeout=LIMIT)
        for task in silent:
            ray.cancel(task)
        for task in answered:
            _check(task, asked[task], folder)
    finally:
        with suppress(OSError):
            sign.unlink(missing_ok=True)


def _check(task: ray.ObjectRef, host: str, folder: Path) -> None:
    try:
        seen = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise SharedFolderError(
            f"{host}: cannot run a trial ({one_line(str(error.cause))}); every machine of a cluster has this project "
            "and what it needs; install it there"
        ) from None
    except ray.exceptions.RayError:  # it is gone, or on its way
        return
    if not seen:
        raise SharedFolderError(
            f"--output {folder}: machine {host} does not see this folder; trials keep their checkpoints there, so all "
            "machines share it; name a folder they share, or a bucket, as in s3://bucket/results"
        )


@ray.remote(num_cpus=0, max_retries=0)
def _sees(sign: str) -> bool:
    return Path(sign).exists()
