"""Notice that Ray has died, while Ray itself still waits for an answer."""

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

CORE = ("gcs_server", "raylet")  # without either of them Ray does nothing any more
LOOK = 0.1  # seconds between two looks at processes of our own
KNOCK = 5.0  # seconds between two connections to a cluster's, each of which is a line in its log
TIMEOUT = 2.0  # seconds that one may take
SILENT = 40.0  # seconds without an answer of a cluster; after 60 Ray ends this process with a line of its own
SIGNALS = 1.0  # seconds in which a signal that was sent to all processes alike reaches this one


class _Watch(threading.Thread):
    """A thread that looks whether Ray lives.

    Args:
        dead: why Ray is dead, or None while it lives.
        died: called in this thread when it is; does not return.
        leaving: whether the study ends for another reason, so that Ray may die.
        every: seconds between two looks.
    """

    def __init__(
        self, dead: Callable[[], str | None], died: Callable[[str], NoReturn], leaving: Callable[[], bool], every: float
    ) -> None:
        super().__init__(name="ray watch", daemon=True)
        self.dead, self._died, self._leaving, self._every = dead, died, leaving, every
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(self._every):
            if why := self.dead():
                deadline = time.monotonic() + SIGNALS
                while not (self._leaving() or self.over.is_set()):
                    if time.monotonic() > deadline:
                        self._died(why)
                    time.sleep(LOOK / 2)
                return


@contextmanager
def watch_ray(died: Callable[[str, Path], NoReturn], leaving: Callable[[], bool]) -> Iterator[None]:
    """Within: if Ray dies, `died` is called in a thread of its own.

    Args:
        died: given why Ray died, and the folder of a Ray of our own; replaces or ends this process, since Ray may never
            answer in it again.
        leaving: whether the study ends for another reason, so that Ray may die.
    """
    node: Any = ray._private.worker._global_node
    folder = Path(node.get_temp_dir_path())
    own = {name: info[0].process for name, info in node.all_processes.items() if name in CORE}
    dead = (lambda: _dead(own)) if own else _Cluster(node)
    watch = _Watch(dead, lambda why: died(why, folder), leaving, LOOK if own else KNOCK)
    watch.start()
    try:
        yield
    finally:
        watch.over.set()


def wait_if_ray_died() -> None:
    """Return while Ray lives. Where it died, what failed is no trial's fault: wait until this process is replaced."""
    for thread in threading.enumerate():
        if isinstance(thread, _Watch) and not thread.over.is_set() and thread.dead():
            thread.join()


def _dead(processes: dict[str, Popen[bytes]]) -> str | None:
    for name, process in processes.items():
        if (code := process.poll()) is not None:
            return f"{name} was ended by {signal.Signals(-code).name}" if code < 0 else f"{name} ended with code {code}"
    return None


class _Cluster:
    """Tells whether a cluster that was joined still answers: its GCS, and the raylet of this machine."""

    def __init__(self, node: Any) -> None:
        host, _, port = str(node.gcs_address).rpartition(":")
        self._gcs, self._raylet = (host.strip("[]"), int(port)), str(node.raylet_socket_name)
        self._answered = time.monotonic()

    def __call__(self) -> str | None:
        with socket.socket(socket.AF_UNIX) as raylet:
            raylet.settimeout(TIMEOUT)
            try:
                raylet.connect(self._raylet)
            except TimeoutError:
                pass  # it is busy, or stopped
            except OSError as error:
                return f"its raylet on this machine is gone: {error.strerror}"
        try:
            socket.create_connection(self._gcs, timeout=TIMEOUT).close()
            self._answered = time.monotonic()
        except OSError:
            if time.monotonic() - self._answered > SILENT:
                return f"its head has not answered for {SILENT:g} s"
        return None
