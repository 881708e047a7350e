"""A knock at a cluster's door, in a process of its own: where it is, whether it asks for a token, and takes ours.

Ray answers a wrong token with 20 seconds of log lines, and a missing one may abort the process.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["main"]

TIMEOUT = 5.0  # seconds a question
TOKEN_SOURCES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def main(address: str) -> dict[str, str | bool | None]:
    """What a cluster at an address answers; `auto` is the one on this machine, or at RAY_ADDRESS.

    Returns:
        `address`: HOST:PORT, or the address as given where none was found. `silent`: why nothing answers, or None.
        `open`: it answers without a token. `token`: whether there is one here. `known`: it takes that token; one that
        is open is not asked.
    """
    found: dict[str, str | bool | None] = {
        "address": address, "silent": None, "open": False, "token": False, "known": False,
    }  # fmt: skip
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address

        try:
            found["address"] = canonicalize_bootstrap_address(address)
        except ConnectionError:
            return found | {"silent": "none runs on this machine, and RAY_ADDRESS names none"}
    host, _, port = str(found["address"]).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT).close()
    except (OSError, OverflowError, ValueError) as error:
        return found | {"silent": str(error)}
    from ray.exceptions import AuthenticationError, RpcError

    try:
        found["token"] = _has_token()
        with _no_token():
            found["open"] = _answers(found["address"], "disabled")
        if found["token"] and not found["open"]:  # who asks for none is shown none
            found["known"] = _answers(found["address"], "token")
    except AuthenticationError:
        return found  # RAY_AUTH_TOKEN_PATH names no file that can be read
    except RpcError:
        return found | {"silent": "what listens there is no Ray"}
    return found


@contextmanager
def _no_token() -> Iterator[None]:
    """Within, none is at hand: what answers may be anybody."""
    kept = {name: os.environ.pop(name) for name in TOKEN_SOURCES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


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
    print(json.dumps(main(sys.argv[1])))
