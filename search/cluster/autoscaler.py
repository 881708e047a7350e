"""The machines that a cluster's autoscaler may start, as far as its configuration lies on this machine.

Ray's autoscaler tells which machines it has and is starting, not which it could start. `ray up` leaves what it was
given in the head's home, and studies run on the head.
"""

from collections.abc import Mapping
from pathlib import Path

import ray
import yaml

from stockrnn.io.files import FileError, read_bytes

__all__ = ["read_node_types"]

CONFIGURATION = "~/ray_bootstrap_config.yaml"
MOST_BYTES = 1_000_000
HEAD = "node:__internal_head__"


def read_node_types() -> list[Mapping[str, float]] | None:
    """What each kind of machine has that may be started, by Ray's names; None where that is not known here."""
    own = ray.util.get_node_ip_address()
    if not any(
        node["Alive"] and HEAD in node["Resources"] and node["NodeManagerAddress"] == own for node in ray.nodes()
    ):
        return None
    try:
        kinds = yaml.safe_load(read_bytes(str(Path(CONFIGURATION).expanduser()), MOST_BYTES))["available_node_types"]
        machines = [kind["resources"] for kind in kinds.values() if kind.get("max_workers", 1)]
        known = all(isinstance(number, int | float) for machine in machines for number in machine.values())
    except (FileNotFoundError, FileError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None  # another cluster's way, or an older one's: whatever is asked for may come
    return machines if known and all(machines) else None
