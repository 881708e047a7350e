"""Compute parameter importance with Optuna's PED-ANOVA over the trials of a study."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator

from search.space.parameters import Parameter
from search.space.samplers import make_distribution

__all__ = ["compute_importance"]

TARGET_QUANTILE = 0.25  # share of the trials that count as the best; of 40 trials, a tenth would be 4 only


def compute_importance(
    trials: Sequence[tuple[Mapping[str, Any], float]], parameters: Sequence[Parameter], *, lower_is_better: bool
) -> dict[str, float]:
    """Return how much each parameter decides whether a trial is among the best quarter, as shares of 1, largest first.

    Args:
        trials: points and scores.
        parameters: the parameters that vary; a value outside the domain of its parameter is ignored.
        lower_is_better: whether a small score is good.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize" if lower_is_better else "maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns if few trials have a conditional parameter
        for point, score in trials:
            here = [one for one in parameters if one.name in point and one.contains(point[one.name])]
            study.add_trial(
                optuna.trial.create_trial(
                    params={one.name: point[one.name] for one in here},
                    distributions={one.name: make_distribution(one) for one in here},
                    value=score,
                )
            )
        found = PedAnovaImportanceEvaluator(target_quantile=TARGET_QUANTILE).evaluate(study)
    whole = sum(found.values())
    shares = {name: value / whole if whole else 0.0 for name, value in found.items()}
    return dict(sorted(shares.items(), key=lambda share: (-share[1], share[0])))
