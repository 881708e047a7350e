"""Handle a terminal that closes while the study runs, and end the process on a second Ctrl-C."""

import os
import time
from contextlib import suppress
from typing import NoReturn, TextIO

__all__ = ["ABORT_MESSAGE", "INTERRUPTED", "FailSafeStream", "Terminal", "abort", "exit_process"]

INTERRUPTED = 130  # exit code of a process that SIGINT ended
ABORT_MESSAGE = "stopped immediately; if the study had started, its folder has the finished trials"
SHOW_CURSOR = "\x1b[?25h"  # the live view hides the cursor
CLOSING_TIME = 0.3  # seconds after a SIGHUP for which a closing terminal can still be open


class FailSafeStream:
    """A stream that discards everything after its first error, for example when its terminal has closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failed = False

    def __getattr__(self, name: str) -> object:  # Rich needs isatty, fileno and encoding
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or discard the text."""
        if not self._failed:
            try:
                return self._stream.write(text)
            except OSError:
                self._failed = True
        return len(text)

    def flush(self) -> None:
        """Flush, unless the stream has failed."""
        if not self._failed:
            try:
                self._stream.flush()
            except OSError:
                self._failed = True


class Terminal:
    """The controlling terminal of this process, if it has one when the object is created."""

    def __init__(self) -> None:
        self._was_open = _is_open()
        self._outputs = [number for number in (1, 2) if os.isatty(number)]

    def has_closed(self) -> bool:
        """Return whether the terminal has closed; if so, redirect its outputs to the null device."""
        if self._was_open and _is_open():
            time.sleep(CLOSING_TIME)
        if not self._was_open or _is_open():
            return False
        null = os.open(os.devnull, os.O_WRONLY)
        for number in self._outputs:
            os.dup2(null, number)
        os.close(null)
        return True


def abort() -> NoReturn:
    """End this process immediately after a second interrupt."""
    exit_process(ABORT_MESSAGE, INTERRUPTED)


def exit_process(line: str, code: int) -> NoReturn:
    """Print a line and end this process immediately with an exit code.

    An exception could not do this: Python ignores exceptions in a destructor. The files of a study are valid at any
    moment, and its worker processes end when this process is gone.
    """
    cursor = SHOW_CURSOR if os.isatty(2) else ""
    with suppress(OSError):  # the terminal has closed
        os.write(2, f"{cursor}{line}\n".encode())
    os._exit(code)


def _is_open() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
