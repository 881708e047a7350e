"""Start a command again whose Ray died: the same process, a new program, which goes on with the study.

Nothing of the dead Ray stays in the process, as it would if Ray were started again within: its core may wait for ever,
or end the process a minute later. A study's folder may be left at any moment, so that this is a `--resume`.
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
from search.terminal.tty import leave

__all__ = ["Restart", "Restarter", "restarted"]

VARIABLE = "STOCKRNN_RESTARTED"
MAX_RESTARTS = 2
FAILED = 1  # the exit code of a study that could not go on


@dataclass(frozen=True, kw_only=True)
class Restart:
    """What a command hands on to itself when its Ray dies.

    Attributes:
        times: how often it was started again.
        ended: the places of its studies that have ended.
        code: the highest exit code of those.
        running: the place of the one that ran.
        several: whether it runs several studies.
        budget: seconds that are left of the time budget of the one that ran, or None.
        alone: whether the process runs this command and nothing else, so that it may be replaced.
    """

    times: int = 0
    ended: tuple[str, ...] = ()
    code: int = 0
    running: str | None = None
    several: bool = False
    budget: float | None = None
    alone: bool = True


@dataclass(frozen=True, kw_only=True)
class Restarter:
    """Lets a study outlive its Ray.

    Attributes:
        now: what this command was handed, with the place of this study.
        environment: of this process before Ray changed it.
        address: of the cluster that was joined, or None.
        folder: of the study on this machine.
    """

    now: Restart
    environment: Mapping[str, str]
    address: str | None
    quiet: bool
    folder: Path

    def go_on(self, why: str, budget: float | None, rays: Path) -> NoReturn:
        """End all processes of a dead Ray and start this command again; where that is no use, leave it in one line.

        Args:
            why: Ray died.
            budget: seconds that are left of the time budget, or None.
            rays: the folder of a Ray of our own.
        """
        place = self.now.running
        begun = (self.folder / "manifest.json").exists()
        how = f"what had ended is kept; go on with --resume {place}" if begun else "nothing was begun; start it again"
        if self.address not in (None, "local"):
            leave(f"--address {self.address}: the cluster died ({why}); {how}, once the cluster is up", FAILED)
        end_processes(rays)
        if self.now.times == MAX_RESTARTS:
            leave(f"{place}: Ray died ({why}), and had been started again {MAX_RESTARTS} times; {how}", FAILED)
        times = self.now.times + 1
        if not self.quiet:
            with suppress(OSError):
                os.write(2, f"Ray died ({why}); it is started again and the study goes on\n".encode())
        handed = asdict(replace(self.now, times=times, budget=budget))
        _replace_process({**self.environment, VARIABLE: json.dumps(handed)})


def restarted(*, alone: bool) -> Restart:
    """What this command was handed by itself; nothing where somebody else started it.

    Args:
        alone: whether this process runs the command and nothing else.
    """
    try:
        found: dict[str, Any] = json.loads(os.environ.pop(VARIABLE, "{}"))
        return replace(Restart(**{**found, "ended": tuple(found.get("ended", ()))}), alone=alone)
    except (ValueError, TypeError, AttributeError):
        return Restart(alone=alone)


def _replace_process(environment: Mapping[str, str]) -> NoReturn:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # they would stay zombies
            pass
    for number in os.listdir("/dev/fd"):  # those of Ray's C++ code
        with suppress(OSError):
            if int(number) > 2:
                os.set_inheritable(int(number), False)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], dict(environment))
