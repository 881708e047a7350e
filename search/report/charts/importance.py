"""Which parameters mattered: Optuna's PED-ANOVA over the trials of a study, rebuilt in memory."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from search.space.parameters import Parameter

__all__ = ["QUANTILE", "importances"]

QUANTILE = 0.25  # what the best trials are: with a tenth, forty trials would leave four


def importances(
    trials: Sequence[tuple[Mapping[str, Any], float]], parameters: Sequence[Parameter], *, lower_is_better: bool
) -> dict[str, float]:
    """How much each parameter decides whether a trial is among the best quarter; shares of 1, largest first.

    Args:
        trials: points and scores.
        parameters: those that vary; a value outside a parameter's domain counts as absent.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize" if lower_is_better else "maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a condition that few trials meet is said by the page, not by a warning
        for point, score in trials:
            here = [one for one in parameters if one.name in point and one.contains(point[one.name])]
            study.add_trial(
                optuna.trial.create_trial(
                    params={one.name: point[one.name] for one in here},
                    distributions={one.name: _distribution(one) for one in here},
                    value=score,
                )
            )
        found = PedAnovaImportanceEvaluator(target_quantile=QUANTILE).evaluate(study)
    whole = sum(found.values())
    shares = {name: value / whole if whole else 0.0 for name, value in found.items()}
    return dict(sorted(shares.items(), key=lambda share: (-share[1], share[0])))


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, step=parameter.step, log=parameter.log)
