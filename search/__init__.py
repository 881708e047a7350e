"""Search hyperparameters of recurrent forecasters, from the command line or from Python.

A study reads a space, runs its trials on Ray Tune as Optuna proposes them, and ranks them. The names below are imported
when they are first used, so `import search` costs nothing. They are described in docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api.run import StudyError, run_study
    from search.api.study import Study, open_study
    from search.common.errors import UserError

__all__ = ["Study", "StudyError", "UserError", "open_study", "run_study"]

_MODULES = {
    "Study": "search.api.study",
    "StudyError": "search.api.run",
    "UserError": "search.common.errors",
    "open_study": "search.api.study",
    "run_study": "search.api.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
