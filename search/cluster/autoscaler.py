"""Read which node types a cluster's autoscaler can start.

Ray reports the nodes that run or start, but not the types that it could start. `ray up` leaves its configuration in the
home directory of the head node, where studies run.
"""

from collections.abc import Mapping
from pathlib import Path

import ray
import yaml

from stockrnn.io.files import FileError, read_bytes

__all__ = ["read_node_types"]

CONFIGURATION = "~/ray_bootstrap_config.yaml"
MAX_CONFIGURATION_BYTES = 1_000_000
HEAD_RESOURCE = "node:__internal_head__"


def read_node_types() -> list[Mapping[str, float]] | None:
    """Return the resources of each node type that can be started, by Ray's names; None if they are unknown."""
    own = ray.util.get_node_ip_address()
    if not any(
        node["Alive"] and HEAD_RESOURCE in node["Resources"] and node["NodeManagerAddress"] == own
        for node in ray.nodes()
    ):
        return None
    try:
        content = read_bytes(Path(CONFIGURATION).expanduser(), MAX_CONFIGURATION_BYTES)
        types = yaml.safe_load(content)["available_node_types"]
        nodes = [kind["resources"] for kind in types.values() if kind.get("max_workers", 1)]
        known = all(isinstance(number, int | float) for node in nodes for number in node.values())
    except (FileNotFoundError, FileError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None  # another kind of cluster, or another version of the format
    return nodes if known and all(nodes) else None
