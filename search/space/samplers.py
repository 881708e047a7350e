"""The samplers: what proposes points of a space, which spaces each can search, and how many trials a grid has.

A sampler is an entry of SAMPLERS: spaces, their schema and messages know it from there. Optuna is imported where a
sampler is made, so that a space is read without it.
"""

import importlib.util
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.space.parameters import Parameter, Value, grid_size

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

__all__ = ["MAX_TRIALS", "SAMPLERS", "Sampler", "count_grid_trials", "find_conflicts", "make_distribution"]

MAX_TRIALS = 100_000  # as many as a study's files are read with


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """What proposes points.

    Attributes:
        means: the sampler in a few words, for the schema of space files.
        make: Optuna's sampler from two seeds: the study's, and one that is another after each resume, for samplers
            that would otherwise propose the same points again.
        choices: whether it searches choices, beside ranges.
        conditions: whether it searches parameters that exist only beside some values of others.
        least: how many parameters must vary.
        package: what it needs beside Optuna, an extra of this project named as the sampler.
    """

    means: str
    make: Callable[[int, int], "BaseSampler"]
    choices: bool = True
    conditions: bool = True
    least: int = 0
    package: str | None = None


def _tpe(seed: int, fresh: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=fresh, multivariate=True, group=True, constant_liar=True)


def _random(seed: int, fresh: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=fresh)


def _qmc(seed: int, fresh: int) -> "BaseSampler":
    from optuna.samplers import QMCSampler

    return QMCSampler(seed=seed, scramble=True)  # counts in the journal


def _gp(seed: int, fresh: int) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=fresh)


def _cmaes(seed: int, fresh: int) -> "BaseSampler":
    from optuna.samplers import CmaEsSampler

    sampler = CmaEsSampler(seed=fresh)
    # Its state is a pickle in the journal, which may be a stranger's: it finds only what it wrote itself.
    sampler._attr_prefix = f"cma:{secrets.token_hex(16)}:"
    return sampler


SAMPLERS: dict[str, Sampler] = {
    "tpe": Sampler(means="learns from the trials before", make=_tpe),
    "random": Sampler(means="evenly at random", make=_random),
    "grid": Sampler(means="every point once", make=_random),  # enqueued whole: none is left for the sampler
    "qmc": Sampler(means="evenly spread", make=_qmc, choices=False, conditions=False),
    "gp": Sampler(means="Gaussian process", make=_gp, conditions=False),
    "cmaes": Sampler(
        means="evolution strategy", make=_cmaes, choices=False, conditions=False, least=2, package="cmaes"
    ),
}


def find_conflicts(sampler: str, parameters: tuple[Parameter, ...]) -> Iterator[str]:
    """Why a sampler cannot search these parameters: what is wrong; the rule; the fix."""
    its, varying = SAMPLERS[sampler], [parameter for parameter in parameters if parameter.varies]
    endless = ", ".join(parameter.name for parameter in parameters if parameter.size is None)
    choices = ", ".join(parameter.name for parameter in varying if parameter.kind == "choice")
    conditional = ", ".join(parameter.name for parameter in varying if parameter.when)
    if sampler == "grid":
        if endless:
            yield f"endlessly many values of {endless}; a grid needs lists, int ranges or steps; add a step"
        elif (size := grid_size(parameters) or 0) > MAX_TRIALS:
            yield f"it has {size:,} points; a grid has at most {MAX_TRIALS:,}; widen a step"
    if choices and not its.choices:
        yield f"choices of {choices}; it searches ranges only; use tpe, or fix each choice to one value"
    if conditional and not its.conditions:
        yield f"conditions of {conditional}; it searches unconditional spaces only; use tpe, or drop 'when'"
    if len(varying) < its.least:
        yield f"{len(varying)} parameters vary; it needs {its.least} or more; use tpe"
    if its.package is not None and importlib.util.find_spec(its.package) is None:
        yield f"the package {its.package} is not installed; it needs it; pip install 'stockrnn-search[{sampler}]'"


def count_grid_trials(parameters: tuple[Parameter, ...], initial: Sequence[dict[str, Value]]) -> int:
    """Trials of a grid: its points, and the initial ones that leave something to chance."""
    complete = {frozenset(point.items()) for point in initial if _is_complete(point, parameters)}
    return (grid_size(parameters) or 0) + len(initial) - len(complete)


def make_distribution(parameter: Parameter) -> "BaseDistribution":
    """Return Optuna's distribution of a parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, step=parameter.step, log=parameter.log)


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
