"""Restart a command whose Ray died: the same process runs a new program, which resumes the study.

Ray cannot be restarted within the process: its core may wait forever, or end the process a minute later. A study's
folder can be left at any time, so that the new program resumes it as after any other crash.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from search.cluster.ray_folder import end_processes
from search.terminal.tty import exit_process

__all__ = ["RestartState", "Restarter", "read_restart_state"]

VARIABLE = "STOCKRNN_RESTARTED"
MAX_RESTARTS = 2
FAILED = 1  # the exit code of a study that could not continue


@dataclass(frozen=True, kw_only=True)
class RestartState:
    """The progress of a command that a restarted command needs.

    Attributes:
        times: number of restarts so far.
        ended: the places of the command's studies that have ended.
        code: the highest exit code of those.
        running: the place of the study that ran, or None.
        several: whether the command runs several studies.
        budget: seconds that are left of the time budget of the study that ran, or None.
    """

    times: int = 0
    ended: tuple[str, ...] = ()
    code: int = 0
    running: str | None = None
    several: bool = False
    budget: float | None = None


@dataclass(frozen=True, kw_only=True)
class Restarter:
    """Restarts this process when Ray dies.

    Attributes:
        state: of this command, with the place of this study.
        environment: of this process before Ray changed it.
        address: of the cluster that was joined, or None.
        quiet: print nothing about the restart.
        folder: of the study on this machine.
    """

    state: RestartState
    environment: Mapping[str, str]
    address: str | None
    quiet: bool
    folder: Path

    def restart(self, reason: str, budget: float | None, ray_folder: Path) -> NoReturn:
        """End all processes of a dead Ray and restart this command; exit with one line if that would not help.

        Args:
            reason: why Ray died.
            budget: seconds that are left of the time budget, or None.
            ray_folder: of the Ray that this process started.
        """
        place = self.state.running
        begun = (self.folder / "manifest.json").exists()
        fix = f"all ended trials are saved; continue with --resume {place}" if begun else "no trial has started; retry"
        if self.address not in (None, "local"):
            exit_process(
                f"--address {self.address}: the cluster died ({reason}); {fix}, when the cluster is up", FAILED
            )
        end_processes(ray_folder)
        if self.state.times == MAX_RESTARTS:
            exit_process(f"{place}: Ray died ({reason}) after {MAX_RESTARTS} restarts; {fix}", FAILED)
        if not self.quiet:
            with suppress(OSError):
                os.write(2, f"Ray died ({reason}); it is restarted and the study continues\n".encode())
        state = replace(self.state, times=self.state.times + 1, budget=budget)
        _replace_process({**self.environment, VARIABLE: json.dumps(asdict(state))})


def read_restart_state() -> RestartState:
    """Return the state that this command has left for itself, and remove it from the environment."""
    try:
        found: dict[str, Any] = json.loads(os.environ.pop(VARIABLE, "{}"))
        return RestartState(**{**found, "ended": tuple(found.get("ended", ()))})
    except (ValueError, TypeError, AttributeError):  # somebody else has set the variable
        return RestartState()


def _replace_process(environment: Mapping[str, str]) -> NoReturn:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # they would stay zombies
            pass
    for number in os.listdir("/dev/fd"):  # open files of Ray's C++ code
        with suppress(OSError):
            if int(number) > 2:
                os.set_inheritable(int(number), False)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], dict(environment))
