"""Check that every node of a cluster can read the folder of a study, because trials write their checkpoints there."""

import uuid
from contextlib import suppress
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.common.errors import UserError
from search.common.messages import one_line

__all__ = ["SharedFolderError", "check_shared_folder"]

CHECK_TIMEOUT = 30.0  # seconds; a node that does not answer in time is not checked


class SharedFolderError(UserError):
    """A node cannot read the folder, or cannot run a trial; the message is one line."""


def check_shared_folder(folder: Path) -> None:
    """Check that all other nodes of the cluster can read a folder of this node.

    Raises:
        SharedFolderError: a node cannot read the folder, or cannot run this project.
        OSError: this node cannot write into the folder.
    """
    own = ray.get_runtime_context().get_node_id()
    others = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    others.pop(own, None)
    if not others:
        return
    mark = folder.resolve() / f".{uuid.uuid4().hex}"
    mark.touch()
    try:
        tasks = {
            _exists.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(mark): host
            for node, host in others.items()
        }
        answered, late = ray.wait([*tasks], num_returns=len(tasks), timeout=CHECK_TIMEOUT)
        for task in late:
            ray.cancel(task)
        for task in answered:
            _check_answer(task, tasks[task], folder)
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def _check_answer(task: "ray.ObjectRef[bool]", host: str, folder: Path) -> None:
    try:
        exists = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise SharedFolderError(
            f"{host}: cannot run a trial ({one_line(str(error.cause))}); every machine of a cluster needs this project "
            "and its dependencies; install them there"
        ) from None
    except ray.exceptions.RayError:  # the node has left the cluster
        return
    if not exists:
        raise SharedFolderError(
            f"--output {folder}: machine {host} does not see this folder; trials write their checkpoints there, so all "
            "machines must share it; name a shared folder, or a bucket, for example s3://bucket/results"
        )


@ray.remote(num_cpus=0, max_retries=0)
def _exists(mark: Path) -> bool:
    return mark.exists()
