"""Detect that Ray has died, because calls into Ray may then wait forever."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, NoReturn

import ray

__all__ = ["wait_if_ray_died", "watch_ray"]

CORE_PROCESSES = ("gcs_server", "raylet")  # Ray stops working if one of them ends
LOCAL_INTERVAL = 0.1  # seconds between two checks of a local Ray
CLUSTER_INTERVAL = 5.0  # seconds between two checks of a cluster; each adds a line to its log
CONNECT_TIMEOUT = 2.0  # seconds
MAX_SILENCE = 40.0  # seconds without an answer of a cluster; after 60 seconds Ray itself ends this process
SIGNAL_DELAY = 1.0  # seconds until a signal that was sent to all processes has also reached this one


class _Watch(threading.Thread):
    """A thread that checks at intervals whether Ray is alive.

    Args:
        find_death: returns why Ray died, or None while it is alive.
        on_death: is called in this thread with that reason, and does not return.
        is_stopping: returns whether the study ends anyway; then a death of Ray is expected.
        interval: seconds between two checks.
    """

    def __init__(
        self, find_death: Callable[[], str | None], on_death: Callable[[str], NoReturn],
        is_stopping: Callable[[], bool], interval: float,
    ) -> None:  # fmt: skip
        super().__init__(name="ray watch", daemon=True)
        self.find_death, self._on_death = find_death, on_death
        self._is_stopping, self._interval = is_stopping, interval
        self.closed = threading.Event()

    def run(self) -> None:
        while not self.closed.wait(self._interval):
            if reason := self.find_death():
                deadline = time.monotonic() + SIGNAL_DELAY
                while not (self._is_stopping() or self.closed.is_set()):
                    if time.monotonic() > deadline:
                        self._on_death(reason)
                    time.sleep(LOCAL_INTERVAL / 2)
                return


@contextmanager
def watch_ray(on_death: Callable[[str, Path], NoReturn], is_stopping: Callable[[], bool]) -> Iterator[None]:
    """Call `on_death` in another thread if Ray dies within this context.

    Args:
        on_death: is called with the reason and the folder of a local Ray. It must replace or end this process, because
            calls into the dead Ray may wait forever.
        is_stopping: returns whether the study ends anyway; then a death of Ray is expected.
    """
    node: Any = ray._private.worker._global_node
    folder = Path(node.get_temp_dir_path())
    own = {name: info[0].process for name, info in node.all_processes.items() if name in CORE_PROCESSES}
    find_death = (lambda: _find_ended(own)) if own else _ClusterCheck(node)
    interval = LOCAL_INTERVAL if own else CLUSTER_INTERVAL
    watch = _Watch(find_death, lambda reason: on_death(reason, folder), is_stopping, interval)
    watch.start()
    try:
        yield
    finally:
        watch.closed.set()


def wait_if_ray_died() -> None:
    """Wait until this process is replaced if Ray has died; else return. A trial's error is then not its own fault."""
    for thread in threading.enumerate():
        if isinstance(thread, _Watch) and not thread.closed.is_set() and thread.find_death():
            thread.join()


def _find_ended(processes: dict[str, Popen[bytes]]) -> str | None:
    """Return which process ended, and why; None if all of them run."""
    for name, process in processes.items():
        if (code := process.poll()) is not None:
            return f"{name} was ended by {signal.Signals(-code).name}" if code < 0 else f"{name} ended with code {code}"
    return None


class _ClusterCheck:
    """Check whether a cluster still answers: its GCS, and the raylet of this machine."""

    def __init__(self, node: Any) -> None:
        host, _, port = str(node.gcs_address).rpartition(":")
        self._gcs, self._raylet = (host.strip("[]"), int(port)), str(node.raylet_socket_name)
        self._answered = time.monotonic()

    def __call__(self) -> str | None:
        with socket.socket(socket.AF_UNIX) as raylet:
            raylet.settimeout(CONNECT_TIMEOUT)
            try:
                raylet.connect(self._raylet)
            except TimeoutError:
                pass  # the raylet is busy, or suspended
            except OSError as error:
                return f"its raylet on this machine is gone: {error.strerror}"
        try:
            socket.create_connection(self._gcs, timeout=CONNECT_TIMEOUT).close()
            self._answered = time.monotonic()
        except OSError:
            if time.monotonic() - self._answered > MAX_SILENCE:
                return f"its head has not answered for {MAX_SILENCE:g} s"
        return None
