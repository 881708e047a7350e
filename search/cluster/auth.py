"""Who may join which cluster: a token goes with every cluster, or the user says in so many words that none is needed.

Whoever reaches a cluster without a token can run any code on it.
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

TIMEOUT = 28.0  # seconds
WHERE = "RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"


class ClusterError(ConnectionError, UserError):
    """A cluster that is not joined, and why, in one line."""


def check_access(address: str, *, insecure: bool) -> tuple[str, str]:
    """Whether a cluster may be joined; nothing of Ray runs in this process for it, and no token goes to an open one.

    Args:
        address: HOST:PORT, or `auto`.
        insecure: join one that asks for no token even if others can reach it.

    Returns:
        Its HOST:PORT, and what RAY_AUTH_MODE must be: `token` or `disabled`.

    Raises:
        ClusterError: nothing answers, it takes no token of ours, or anybody may join it.
    """
    if address.startswith("ray://"):
        raise ClusterError(
            f"--address {address}: is an address for Ray clients; a study runs on a machine of the cluster, next to "
            "its results; submit it there: ray job submit -- python -m search.run SPACE.yaml --address auto"
        )
    answer = _knock(address)
    if answer["silent"]:
        raise ClusterError(f"--address {address}: no Ray cluster answers ({answer['silent']}); check it")
    where = str(answer["address"])
    if answer["open"]:
        if not insecure and not _loopback(where):
            raise ClusterError(
                f"--address {address}: asks for no token, so whoever reaches {where} runs code on it; a cluster others "
                "can reach must ask for one; start it with RAY_AUTH_MODE=token, or add --insecure"
            )
        return where, "disabled"
    if not answer["token"]:
        raise ClusterError(
            f"--address {address}: asks for a token, and there is none here; it must be the cluster's own; put it "
            f"into {WHERE}"
        )
    if not answer["known"]:
        raise ClusterError(
            f"--address {address}: does not take the token that is here; it must be the cluster's own; put that into "
            f"{WHERE}"
        )
    return where, "token"


def ensure_token() -> None:
    """See that there is a token for a Ray of our own; a new one is for this user's eyes only.

    Raises:
        ClusterError: the file can be neither read nor made.
    """
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        if path.exists() and path.read_text(encoding="utf-8").strip():
            return
        if named:
            raise ClusterError(f"RAY_AUTH_TOKEN_PATH {path}: holds no token; it names a file with one; correct it")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(part, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
        _put(part, path)
    except ClusterError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ClusterError(
            f"{path}: cannot be used ({why}); Ray's token is kept there; make it readable, or name another file in "
            "RAY_AUTH_TOKEN_PATH"
        ) from None


def _put(part: Path, path: Path) -> None:
    """Put a new token in its place; one that another study has made meanwhile stays, its workers read it."""
    try:
        os.link(part, path)
    except FileExistsError:
        if not path.read_text(encoding="utf-8").strip():
            part.replace(path)
    except OSError:  # a file system without hard links
        part.replace(path)
    part.unlink(missing_ok=True)


def _knock(address: str) -> dict[str, str | bool | None]:
    path = Path(__file__).with_name("auth_probe.py")
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(path), address],
            capture_output=True, text=True, timeout=TIMEOUT, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        answer: dict[str, str | bool | None] = json.loads(done.stdout.splitlines()[-1])
        return answer
    except (subprocess.SubprocessError, IndexError, ValueError):  # what answers may be anything
        raise ClusterError(f"--address {address}: what listens there is no Ray; name a cluster's HOST:PORT") from None


def _loopback(where: str) -> bool:
    """Whether only this machine reaches an address, HOST:PORT; a name counts by what it stands for."""
    host = where.rpartition(":")[0].strip("[]")
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(info[4][0]).partition("%")[0]).is_loopback for info in found)
