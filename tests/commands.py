"""Run the project's commands in this process, which takes a tenth of a new process's time."""

import contextlib
import io
import subprocess
from collections.abc import Callable

__all__ = ["call"]


def call(main: Callable[[list[str]], int], *arguments: object) -> subprocess.CompletedProcess:
    """Return exit code and output of a command, as `subprocess.run` does."""
    out, err = io.StringIO(), io.StringIO()
    words = [str(argument) for argument in arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
