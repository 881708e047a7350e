"""Simulate several machines with network namespaces: each has its own address, and a bridge connects them."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager


class NoNetworkError(Exception):
    """Namespaces cannot be made here, and why."""


@contextmanager
def machines(*names):
    """As many machines, each with an address; yields the address and the command's beginning of each by its name.

    Nothing outside of the namespaces is touched: no address, no route and no bridge of the machine's own.
    """
    spaces = {name: f"stockrnn-{os.getpid()}-{name}" for name in names}
    addresses = {name: f"10.213.0.{number}" for number, name in enumerate(names, 1)}
    made = []
    try:
        for name in spaces.values():
            _ip("netns", "add", name)
            made.append(name)
            _ip("-n", name, "link", "set", "lo", "up")
        first, *others = names
        hub = spaces[first]
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _up(hub, "bridge", addresses[first])
        for number, name in enumerate(others):
            port = f"port{number}"
            _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", spaces[name])
            _ip("-n", hub, "link", "set", port, "master", "bridge", "up")
            _up(spaces[name], "eth0", addresses[name])
        yield {name: (addresses[name], ["ip", "netns", "exec", spaces[name]]) for name in names}
    finally:
        for name in made:
            _end(name)
            _ip("netns", "delete", name)


def _up(space, link, address):
    _ip("-n", space, "address", "add", f"{address}/24", "dev", link)
    _ip("-n", space, "link", "set", link, "up")
    _ip("-n", space, "route", "add", "default", "dev", link)  # Ray asks by a route what its own address is


def _end(name):
    """End what still runs there, and nothing else."""
    while pids := _ip("netns", "pids", name).split():
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def _ip(*words):
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise NoNetworkError("there is no ip command; Debian's package iproute2 has it") from None
    except subprocess.CalledProcessError as error:
        raise NoNetworkError(f"ip {' '.join(words)}: {error.stderr.strip()}") from None
    return done.stdout
