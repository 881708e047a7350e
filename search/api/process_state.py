"""Leave the process of a caller as it was before a study: signal handlers, environment, log levels, PyTorch threads."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["preserve_process_state"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOGGERS = ("ray", "ray.tune", "ray.train", "optuna")


@contextmanager
def preserve_process_state() -> Iterator[None]:
    """Restore at the end what Ray, Optuna and a study change within the block.

    Signal handlers belong to the main thread; in another thread nothing changes them.
    """
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS} if is_main else {}
    environment = dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    threads = _torch_threads()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # None: it was not set from Python
                signal.signal(number, handler)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update({name: text for name, text in environment.items() if os.environ.get(name) != text})
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if threads is not None and threads != _torch_threads():
            sys.modules["torch"].set_num_threads(threads)


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()
