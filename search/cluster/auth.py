"""Check whether a Ray cluster may be joined, and create a token for a local Ray.

Anyone who can connect to a cluster without a token can run any code on it. So a study joins only clusters that require
a token, unless the user allows others with `--insecure`.
"""

import ipaddress
import json
import os
import secrets
import socket
import subprocess
import sys
import uuid
from pathlib import Path

from search.common.errors import UserError

__all__ = ["ClusterError", "check_access", "ensure_token"]

PROBE_TIMEOUT = 28.0  # seconds
TOKEN_PLACES = "RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"


class ClusterError(ConnectionError, UserError):
    """A cluster cannot be joined; the message is one line."""


def check_access(address: str, *, insecure: bool) -> tuple[str, str]:
    """Check that a cluster may be joined. This process does not start Ray, and no token is sent to an open cluster.

    Args:
        address: HOST:PORT, or `auto`.
        insecure: also accept a cluster that requires no token and that other machines can reach.

    Returns:
        The cluster's HOST:PORT, and the value for RAY_AUTH_MODE: `token` or `disabled`.

    Raises:
        ClusterError: no cluster answers, it rejects the token, or it requires no token.
    """
    if address.startswith("ray://"):
        raise ClusterError(
            f"--address {address}: ray:// is for Ray clients; a study runs on a machine of the cluster; submit it "
            "there: ray job submit -- python -m search.run SPACE.yaml --address auto"
        )
    found = _probe(address)
    if found["error"]:
        raise ClusterError(f"--address {address}: no Ray cluster answers ({found['error']}); check the address")
    host_port = str(found["address"])
    if found["open"]:
        if not insecure and not _is_loopback(host_port):
            raise ClusterError(
                f"--address {address}: requires no token, so anyone who can connect to {host_port} can run code on it; "
                "start the cluster with RAY_AUTH_MODE=token, or add --insecure"
            )
        return host_port, "disabled"
    if not found["has_token"]:
        raise ClusterError(
            f"--address {address}: requires a token, and none was found; write the token of the cluster to "
            f"{TOKEN_PLACES}"
        )
    if not found["accepted"]:
        raise ClusterError(
            f"--address {address}: rejects your token; it must be the token of the cluster; write that to "
            f"{TOKEN_PLACES}"
        )
    return host_port, "token"


def ensure_token() -> None:
    """Create a token for a local Ray if there is none. Only this user can read a new token.

    Raises:
        ClusterError: the token file cannot be read or created.
    """
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        if path.exists() and path.read_text(encoding="utf-8").strip():
            return
        if named:
            raise ClusterError(f"RAY_AUTH_TOKEN_PATH {path}: contains no token; name a file with a token")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(part, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
        _install_token(part, path)
    except ClusterError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ClusterError(
            f"{path}: cannot be used ({reason}); Ray stores its token there; make the file readable, or name another "
            "one in RAY_AUTH_TOKEN_PATH"
        ) from None


def _install_token(part: Path, path: Path) -> None:
    """Move a new token to its path, unless another study has created one there: the workers of that study use it."""
    try:
        os.link(part, path)
    except FileExistsError:
        if not path.read_text(encoding="utf-8").strip():
            part.replace(path)
    except OSError:  # the file system has no hard links
        part.replace(path)
    part.unlink(missing_ok=True)


def _probe(address: str) -> dict[str, str | bool | None]:
    path = Path(__file__).with_name("auth_probe.py")
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(path), address],
            capture_output=True, text=True, timeout=PROBE_TIMEOUT, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        found: dict[str, str | bool | None] = json.loads(done.stdout.splitlines()[-1])
        return found
    except (subprocess.SubprocessError, IndexError, ValueError):  # the server may not be a Ray at all
        raise ClusterError(f"--address {address}: this server is not Ray; name the HOST:PORT of a cluster") from None


def _is_loopback(host_port: str) -> bool:
    """Return whether only this machine can reach HOST:PORT. A host name is resolved first."""
    host = host_port.rpartition(":")[0].strip("[]")
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(info[4][0]).partition("%")[0]).is_loopback for info in found)
