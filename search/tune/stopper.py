"""Stop a study early: after a signal, at the end of its time budget, or for another reason."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray.tune.stopper import Stopper

from search.terminal.tty import Terminal, abort

__all__ = ["Stop", "StudyStopped", "ignore_hangups"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StudyStopped(BaseException):
    """Leaves Tune at once.

    Tune itself would tell Ray to stop every trial, and wait for the answers. If a service manager or `timeout` has
    ended all processes, there is no Ray that answers, and after a minute Ray aborts this process.

    Attributes:
        ray_lives: whether Ray is expected to continue, because no signal stopped the study.
    """

    def __init__(self, *, ray_lives: bool) -> None:
        super().__init__()
        self.ray_lives = ray_lives


class Stop(Stopper):
    """Makes Tune stop the study. Times are measured by a clock that nobody can set.

    Args:
        time_budget: seconds from the start of the first trial, or None.
        acknowledge: is called at the first signal.
        embedded: this process is not the study's own: a second signal raises KeyboardInterrupt and does not end it.
        clock: returns seconds since any fixed time.

    Attributes:
        startup: seconds from the construction of this object to the start of the first trial; None before it.
        signalled: whether a signal has stopped the study.
        reason: why the study cannot continue; None while it can.
    """

    def __init__(
        self, time_budget: float | None, acknowledge: Callable[[], None], clock: Callable[[], float] = time.monotonic,
        *, embedded: bool = False,
    ) -> None:  # fmt: skip
        self.signalled = False
        self.reason: str | None = None
        self.startup: float | None = None
        self._time_budget, self._acknowledge, self._embedded = time_budget, acknowledge, embedded
        self._clock, self._began = clock, clock()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its stopper; a terminal cannot be pickled

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def request_stop(self, reason: str) -> None:
        """Stop the study because it cannot continue. Only the first reason is stored."""
        self.reason = self.reason or reason

    def note_trial_start(self) -> None:
        """Start the time budget, if this is the first trial: the starts of Ray and of nodes do not count."""
        if self.startup is None:
            self.startup = self._clock() - self._began

    @property
    def seconds_left(self) -> float | None:
        """Seconds that remain of the time budget; None if there is no budget."""
        if self._time_budget is None:
            return None
        spent = 0.0 if self.startup is None else self._clock() - self._began - self.startup
        return max(0.0, self._time_budget - spent)

    @property
    def requested(self) -> bool:
        """Whether a signal or `request_stop` stops the study. Then no finalists are trained."""
        return self.signalled or self.reason is not None

    def stop_all(self) -> bool:
        if self.requested:
            raise StudyStopped(ray_lives=not self.signalled)
        return self.seconds_left == 0.0

    @contextmanager
    def handle_signals(self, *, nohup: bool = False) -> Iterator[None]:
        """Handle SIGINT, SIGTERM and SIGHUP: the first one stops the study, the second one ends the process at once.

        A SIGHUP because the terminal was closed is ignored, and with `nohup` every SIGHUP is. In a thread other than
        the main thread, nothing is handled, because Python does not allow it.
        """
        if not _in_main_thread():
            yield
            return
        former = {number: signal.getsignal(number) for number in SIGNALS}
        terminal = Terminal()

        def handle(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGHUP and terminal.has_closed():
                return
            if self.signalled and self._embedded:
                raise KeyboardInterrupt
            if self.signalled:
                abort()
            self.signalled = True
            self._acknowledge()

        for number in (number for number in SIGNALS if number != signal.SIGHUP or not nohup):
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


@contextmanager
def ignore_hangups() -> Iterator[bool]:
    """Ignore SIGHUP in this process and those that it starts; yield whether it was ignored before (`nohup`).

    In a thread other than the main thread, SIGHUP keeps its handler.
    """
    if not _in_main_thread():
        yield signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        return
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield former is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
