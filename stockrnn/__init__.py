"""Recurrent forecasters of daily prices: from prices to folds, networks, training and forecasts.

This package does not import Ray, Optuna or YAML. Data flows one way through its folders: `prices` ->
`evaluation` -> `tasks` -> `dataset` -> `networks` -> `training`, and on to `forecaster` and `forecast`. The names below
are imported when they are first used; they are described in docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster
    from stockrnn.io.errors import UserError
    from stockrnn.prices.frame import load_prices

__all__ = ["Forecaster", "UserError", "load_prices"]

_MODULES = {
    "Forecaster": "stockrnn.forecaster.forecaster",
    "UserError": "stockrnn.io.errors",
    "load_prices": "stockrnn.prices.frame",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
