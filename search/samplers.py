"""Which sampler can search which space, and how many trials a grid has."""

import importlib.util
from collections.abc import Iterator, Sequence

from search.parameters import Parameter, Value, grid_size
from search.settings import MOST_SAMPLES

__all__ = ["grid_trials", "misfits"]

PACKAGES = {"cmaes": "cmaes"}  # what a sampler needs beside Optuna


def misfits(sampler: str, parameters: tuple[Parameter, ...]) -> Iterator[str]:
    """Why a sampler cannot search these parameters: what is wrong; the rule; the fix."""
    varying = [parameter for parameter in parameters if parameter.varies]
    endless = ", ".join(parameter.name for parameter in parameters if parameter.size is None)
    choices = ", ".join(parameter.name for parameter in varying if parameter.kind == "choice")
    conditional = ", ".join(parameter.name for parameter in varying if parameter.when)
    if sampler == "grid":
        if endless:
            yield f"endlessly many values of {endless}; a grid needs lists, int ranges or steps; add a step"
        elif (size := grid_size(parameters) or 0) > MOST_SAMPLES:
            yield f"it has {size:,} points; a grid has at most {MOST_SAMPLES:,}; widen a step"
    if sampler in ("qmc", "cmaes") and choices:
        yield f"choices of {choices}; it searches ranges only; use tpe, or fix each choice to one value"
    if sampler in ("qmc", "cmaes", "gp") and conditional:
        yield f"conditions of {conditional}; it searches unconditional spaces only; use tpe, or drop 'when'"
    if sampler == "cmaes" and len(varying) < 2:
        yield f"{len(varying)} parameters vary; it needs two or more; use tpe"
    if sampler in PACKAGES and importlib.util.find_spec(PACKAGES[sampler]) is None:
        package = PACKAGES[sampler]
        yield f"the package {package} is not installed; it needs it; pip install 'stockrnn-search[{sampler}]'"


def grid_trials(parameters: tuple[Parameter, ...], initial: Sequence[dict[str, Value]]) -> int:
    """Trials of a grid: its points, and the initial ones that leave something to chance."""
    complete = {frozenset(point.items()) for point in initial if _is_complete(point, parameters)}
    return (grid_size(parameters) or 0) + len(initial) - len(complete)


def _is_complete(point: dict[str, Value], parameters: tuple[Parameter, ...]) -> bool:
    seen: dict[str, Value] = {}
    for parameter in parameters:
        if not parameter.applies(seen):
            continue
        if not parameter.varies:
            seen[parameter.name] = parameter.values[0]
        elif parameter.name in point:
            seen[parameter.name] = point[parameter.name]
        else:
            return False
    return True
