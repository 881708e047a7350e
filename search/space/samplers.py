"""List the samplers and the spaces that each can search.

A new sampler needs only an entry in SAMPLERS; the parser, the schema and the messages use it. Optuna is imported when a
sampler is made, so that a space can be read without Optuna.
"""

import importlib.util
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # nothing else of this project is imported, so that the modules of plug-ins can import this one
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from search.space.parameters import Parameter

__all__ = ["MAX_TRIALS", "SAMPLERS", "Sampler", "find_conflicts", "make_distribution", "suggest_sampler"]

MAX_TRIALS = 100_000  # the readers of a study's files have the same limit


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Properties of a sampler.

    Attributes:
        description: a few words for the schema and the reference of space files.
        make: makes Optuna's sampler from two seeds: that of the study, and one that changes with each resume. A sampler
            without state needs the second seed, because it would otherwise propose the same points again.
        stateless: whether each proposal follows from the trials before it and a seed, see `search.tune.proposals`.
        choices: whether it can search choices as well as ranges.
        conditions: whether it can search parameters with a condition.
        min_parameters: minimum number of varying parameters.
        package: package that it needs in addition to Optuna; the extra of this project has the sampler's name.
    """

    description: str
    make: Callable[[int, int], "BaseSampler"]
    stateless: bool = False
    choices: bool = True
    conditions: bool = True
    min_parameters: int = 0
    package: str | None = None


def _tpe(seed: int, resume_seed: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=resume_seed, multivariate=True, group=True, constant_liar=True)


def _random(seed: int, resume_seed: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=resume_seed)


def _qmc(seed: int, resume_seed: int) -> "BaseSampler":
    from optuna.samplers import QMCSampler

    return QMCSampler(seed=seed, scramble=True)  # the journal has its position in the sequence


def _gp(seed: int, resume_seed: int) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=resume_seed)


def _cmaes(seed: int, resume_seed: int) -> "BaseSampler":
    from optuna.samplers import CmaEsSampler

    sampler = CmaEsSampler(seed=resume_seed)
    # Its state is a pickle in the journal, which may come from a stranger. A random name lets it load only its own.
    sampler._attr_prefix = f"cma:{secrets.token_hex(16)}:"
    return sampler


SAMPLERS: dict[str, Sampler] = {
    "tpe": Sampler(
        description="tree-structured Parzen estimator, learns from earlier trials", make=_tpe, stateless=True
    ),
    "random": Sampler(description="uniform random points", make=_random, stateless=True),
    # All points of a grid are enqueued before its sampler proposes any.
    "grid": Sampler(description="every point once", make=_random, stateless=True),
    "qmc": Sampler(description="quasi-Monte Carlo, evenly spread points", make=_qmc, conditions=False),
    "gp": Sampler(
        description="Bayesian optimization with a Gaussian process", make=_gp, stateless=True, conditions=False
    ),
    "cmaes": Sampler(
        description="CMA-ES, an evolution strategy",
        make=_cmaes,
        choices=False,
        conditions=False,
        min_parameters=2,
        package="cmaes",
    ),
}


OTHER_NAMES = {  # beginnings of names that other tools and books use
    "bayes": ("gp", "tpe"), "bo": ("gp", "tpe"), "gauss": ("gp",), "krig": ("gp",), "hyperopt": ("tpe",),
    "parzen": ("tpe",), "optuna": ("tpe",), "exhaust": ("grid",), "uniform": ("random",), "sobol": ("qmc",),
    "halton": ("qmc",), "quasi": ("qmc",), "latin": ("qmc",), "evolution": ("cmaes",), "genetic": ("cmaes",),
}  # fmt: skip


def suggest_sampler(name: str) -> str | None:
    """Return `NAME, or NAME` of the samplers that users call by another name; None if no sampler has that name."""
    word = name.lower().replace("-", "").replace("_", "")
    found = next((samplers for other, samplers in OTHER_NAMES.items() if word.startswith(other)), None)
    return None if found is None else ", or ".join(found)


def find_conflicts(sampler: str, parameters: "tuple[Parameter, ...]") -> Iterator[str]:
    """Yield the reasons why a sampler cannot search these parameters, each as `problem; rule; fix`."""
    from search.space.parameters import grid_size

    properties, varying = SAMPLERS[sampler], [parameter for parameter in parameters if parameter.varies]
    infinite = ", ".join(parameter.name for parameter in parameters if parameter.size is None)
    choices = ", ".join(parameter.name for parameter in varying if parameter.kind == "choice")
    conditional = ", ".join(parameter.name for parameter in varying if parameter.when)
    if sampler == "grid":
        if infinite:
            yield f"it cannot search infinitely many values ({infinite}); use lists or int ranges, or add a step"
        elif (size := grid_size(parameters) or 0) > MAX_TRIALS:
            yield f"the grid has {size:,} points; the maximum is {MAX_TRIALS:,}; use larger steps or fewer values"
    if choices and not properties.choices:
        yield f"it cannot search choices ({choices}); use tpe, or give each choice a single value"
    if conditional and not properties.conditions:
        yield f"it cannot search parameters with a condition ({conditional}); use tpe, or remove 'when'"
    if len(varying) < properties.min_parameters:
        least = properties.min_parameters
        yield f"it needs at least {least} varying parameters; this space has {len(varying)}; use tpe"
    if properties.package is not None and importlib.util.find_spec(properties.package) is None:
        yield (
            f"it needs the package {properties.package}, which is not installed; "
            f"pip install 'stockrnn-search[{sampler}]'"
        )


def make_distribution(parameter: "Parameter") -> "BaseDistribution":
    """Return Optuna's distribution of a parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, step=parameter.step, log=parameter.log)
