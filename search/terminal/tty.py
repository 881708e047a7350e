"""The terminal that a study was started from, which may be closed while the study goes on."""

import os
import time
from contextlib import suppress
from typing import NoReturn, TextIO

__all__ = ["AT_ONCE", "INTERRUPTED", "Lasting", "Terminal", "leave", "leave_at_once"]

INTERRUPTED = 130  # a shell's exit code for what SIGINT ended
AT_ONCE = "interrupted at once; if the study had begun, its folder holds what had ended"
SHOW_CURSOR = "\x1b[?25h"  # a live view hides it
SETTLES = 0.3  # seconds that a terminal that is being closed may still be there after its SIGHUP


class Lasting:
    """A stream for what may be read by nobody any more: once it fails, what is written to it goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = False

    def __getattr__(self, name: str) -> object:  # isatty, fileno, encoding: what Rich asks of a stream
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write if somebody may read."""
        if not self._lost:
            try:
                return self._stream.write(text)
            except OSError:
                self._lost = True
        return len(text)

    def flush(self) -> None:
        """Flush if somebody may read."""
        if not self._lost:
            try:
                self._stream.flush()
            except OSError:
                self._lost = True


class Terminal:
    """The terminal that this process belongs to when this is made, if any."""

    def __init__(self) -> None:
        self._there = _there()
        self._shown_on = [number for number in (1, 2) if os.isatty(number)]

    def lost(self) -> bool:
        """Whether there was one, and it is gone; what is written to it from now on goes nowhere."""
        if self._there and _there():
            time.sleep(SETTLES)
        if not self._there or _there():
            return False
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in self._shown_on:
            os.dup2(nowhere, number)
        os.close(nowhere)
        return True


def leave_at_once() -> NoReturn:
    """End this process, which was interrupted twice, as it is."""
    leave(AT_ONCE, INTERRUPTED)


def leave(line: str, code: int) -> NoReturn:
    """End this process as it is, in the midst of anything, with a line and an exit code.

    An exception would go through whatever runs just then, and be shown and forgotten where that is a destructor. A
    study's files may be left at any moment, and its other processes end when they miss this one.
    """
    cursor = SHOW_CURSOR if os.isatty(2) else ""
    with suppress(OSError):  # nobody reads it any more
        os.write(2, f"{cursor}{line}\n".encode())
    os._exit(code)


def _there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
