"""Propose the point of a trial from the trials before it, so that a proposal depends on nothing else.

Optuna's samplers draw from one stream of random numbers, and read a study in the order in which its trials were
written. Both change with a kill, and with the order in which workers happen to end. Here, each proposal has a seed and
a study in memory of its own, with the trials in the order of their numbers.
"""

import warnings
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from search.optuna_journal.journal import contains, convert_end, restrict
from search.results.event_log import TrialEnd
from search.space.parameters import Parameter, Value
from search.space.samplers import SAMPLERS
from search.space.space import Space

__all__ = ["choose_values", "propose"]

MAX_HISTORY = 1000  # trials that a sampler reads: its time grows with their number


def propose(
    space: Space, ends: Iterable[TrialEnd], running: Mapping[str, Mapping[str, Any]], number: int, attempt: int = 0,
    fixed: Mapping[str, Value] | None = None,
) -> dict[str, Value]:  # fmt: skip
    """Return the values of the varying parameters that the space's sampler proposes for a trial.

    Args:
        ends: the trials that have ended, in any order.
        running: points of the trials that run, by trial id.
        number: of the trial to propose; with `attempt`, it gives the seed.
        attempt: another one gives another proposal.
        fixed: values that the sampler does not choose.
    """
    seeds = np.random.SeedSequence([space.seed, number, attempt]).generate_state(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = SAMPLERS[space.search.sampler].make(space.seed, int(seeds[0]))
    study = optuna.create_study(direction="minimize" if space.mode == "min" else "maximize", sampler=sampler)
    # A default configuration outside of the space would hide parameters from the samplers.
    inside = [end for end in ends if contains(space, end.point)]
    known = {end.trial_id: _ended(space, end) for end in _select(space, inside, int(seeds[1]))}
    known |= {trial_id: _running(space, point) for trial_id, point in running.items() if contains(space, point)}
    study.add_trials([known[trial_id] for trial_id in sorted(known)])
    if fixed:
        study.enqueue_trial(dict(fixed))
    trial = study.ask()
    choose_values(space, trial)
    return dict(trial.params)


def choose_values(space: Space, trial: Trial) -> dict[str, Value]:
    """Let Optuna choose the values of a trial, and return the complete point."""
    chosen: dict[str, Value] = {}
    for parameter in space.parameters:
        if parameter.applies(chosen):
            chosen[parameter.name] = _suggest(trial, parameter) if parameter.varies else parameter.values[0]
    return chosen


def _select(space: Space, ends: list[TrialEnd], seed: int) -> list[TrialEnd]:
    """Return at most MAX_HISTORY trials: the best quarter of that number, and a random choice of the others."""
    if len(ends) <= MAX_HISTORY:
        return ends
    metric, worst = space.search.metric, float("inf")
    sign = 1 if space.mode == "min" else -1

    def loss(end: TrialEnd) -> tuple[float, str]:
        score = end.scores.get(metric)
        return (worst if score is None or score != score else sign * score, end.trial_id)

    ranked = sorted(ends, key=loss)
    best = MAX_HISTORY // 4
    return ranked[:best] + Random(seed).sample(ranked[best:], MAX_HISTORY - best)


def _ended(space: Space, end: TrialEnd) -> FrozenTrial:
    params, distributions = restrict(space, end.point)
    state, value = convert_end(space, end)
    return optuna.trial.create_trial(
        state=state, value=value if state is not TrialState.FAIL else None, params=params, distributions=distributions,
        intermediate_values={end.epochs: value} if value is not None else {},
    )  # fmt: skip


def _running(space: Space, point: Mapping[str, Any]) -> FrozenTrial:
    params, distributions = restrict(space, point)
    return optuna.trial.create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)


def _suggest(trial: Trial, parameter: Parameter) -> Value:
    if parameter.kind == "choice":
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
