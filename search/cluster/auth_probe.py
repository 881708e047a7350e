"""Probe a Ray cluster's authentication in a subprocess: its address, and whether it requires and accepts the token.

A subprocess is needed because Ray logs for 20 seconds after a wrong token, and may abort the process if a token is
missing.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["probe"]

TIMEOUT = 5.0  # seconds per request
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def probe(address: str) -> dict[str, str | bool | None]:
    """Connect to the cluster at an address; `auto` is the one on this machine, or at RAY_ADDRESS.

    Returns:
        `address`: HOST:PORT, or the given address if no cluster was found. `error`: why there was no answer, or None.
        `open`: the cluster answers without a token. `has_token`: this machine has a token. `accepted`: the cluster
        accepts this token. No token is sent to an open cluster.
    """
    found: dict[str, str | bool | None] = {
        "address": address, "error": None, "open": False, "has_token": False, "accepted": False,
    }  # fmt: skip
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address

        try:
            found["address"] = canonicalize_bootstrap_address(address)
        except ConnectionError:
            return found | {"error": "none runs on this machine, and RAY_ADDRESS is not set"}
    host, _, port = str(found["address"]).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT).close()
    except (OSError, OverflowError, ValueError) as error:
        return found | {"error": str(error)}
    from ray.exceptions import AuthenticationError, RpcError

    try:
        found["has_token"] = _has_token()
        with _without_token():
            found["open"] = _answers(found["address"], "disabled")
        if found["has_token"] and not found["open"]:
            found["accepted"] = _answers(found["address"], "token")
    except AuthenticationError:
        return found  # the file at RAY_AUTH_TOKEN_PATH cannot be read
    except RpcError:
        return found | {"error": "this server is not Ray"}
    return found


@contextmanager
def _without_token() -> Iterator[None]:
    """Remove the token from the environment meanwhile, because the server may belong to anyone."""
    saved = {name: os.environ.pop(name) for name in TOKEN_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(saved)


def _has_token() -> bool:
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    return bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))


def _answers(address: object, mode: str) -> bool:
    from ray._raylet import AuthenticationTokenLoader, Config, InnerGcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    os.environ["RAY_AUTH_MODE"] = mode
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        InnerGcsClient.standalone(str(address), None, int(1000 * TIMEOUT))
    except AuthenticationError:
        return False
    return True


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1])))
