"""When a study ends before its trials do: a signal, its time budget, or a reason of its own."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray.tune.stopper import Stopper

from search.terminal.tty import Terminal, leave_at_once

__all__ = ["Stop", "StudyStopped", "ignore_hangups"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StudyStopped(BaseException):
    """Carries a study out of Tune at once.

    Tune's own way asks Ray to stop every trial and waits for the answers. Where a service manager or `timeout` has
    ended all processes together there is no Ray to answer, and after a minute of waiting it aborts the process.

    Attributes:
        ray_lives: whether the study ends for a reason of its own, so that Ray goes on, maybe with the next study.
    """

    def __init__(self, *, ray_lives: bool) -> None:
        super().__init__()
        self.ray_lives = ray_lives


class Stop(Stopper):
    """Tells Tune to end the study (the time budget is monotonic, so that clock jumps do no harm).

    Args:
        time_budget: seconds from the first trial's start, or None.
        acknowledge: called at the first signal.
        clock: seconds, of any origin.

    Attributes:
        startup: seconds from now to the first trial's start; None before it.
        signalled: whether a signal asked for the end.
        reason: why the study cannot go on, in words; None while it can.
    """

    def __init__(
        self, time_budget: float | None, acknowledge: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.signalled = False
        self.reason: str | None = None
        self.startup: float | None = None
        self._time_budget, self._acknowledge = time_budget, acknowledge
        self._clock, self._began = clock, clock()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; signals and the terminal do not travel in it

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def request_stop(self, reason: str) -> None:
        """The study cannot go on; the first reason counts."""
        self.reason = self.reason or reason

    def note_trial_start(self) -> None:
        """Note that a trial runs: the time budget counts from the first, and not while Ray or machines start."""
        if self.startup is None:
            self.startup = self._clock() - self._began

    @property
    def seconds_left(self) -> float | None:
        """Seconds of the time budget that are left, or None without one."""
        if self._time_budget is None:
            return None
        spent = 0.0 if self.startup is None else self._clock() - self._began - self.startup
        return max(0.0, self._time_budget - spent)

    @property
    def requested(self) -> bool:
        """Whether the study ends without its finalists."""
        return self.signalled or self.reason is not None

    def stop_all(self) -> bool:
        if self.requested:
            raise StudyStopped(ray_lives=not self.signalled)
        return self.seconds_left == 0.0

    @contextmanager
    def handle_signals(self, *, nohup: bool = False) -> Iterator[None]:
        """Within: the first SIGINT, SIGTERM or SIGHUP ends the study cleanly, a second one at once.

        A SIGHUP that only says that the terminal is gone ends nothing, and where `nohup` none does.
        """
        former = {number: signal.getsignal(number) for number in SIGNALS}
        terminal = Terminal()

        def note(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGHUP and terminal.lost():
                return
            if self.signalled:
                leave_at_once()
            self.signalled = True
            self._acknowledge()

        for number in (number for number in SIGNALS if number != signal.SIGHUP or not nohup):
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


@contextmanager
def ignore_hangups() -> Iterator[bool]:
    """Within: SIGHUP is ignored, also by the processes that are started; yields whether it was before (`nohup`)."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield former is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)
