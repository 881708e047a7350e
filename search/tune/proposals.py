"""Propose the point of a trial from the trials before it, so that a proposal depends on nothing else.

Optuna's samplers draw from one stream of random numbers, and read a study in the order in which its trials were
written. Both change with a kill, and with the order in which workers happen to end. Here, each proposal has a seed and
a study in memory of its own, with the trials in the order of their numbers.
"""

import copy
import math
import warnings
from bisect import insort
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from search.optuna_journal.journal import contains, convert_end, restrict
from search.results.event_log import TrialEnd
from search.space.parameters import Parameter, Value
from search.space.samplers import SAMPLERS
from search.space.space import Space

__all__ = ["History", "choose_values", "propose"]

MAX_HISTORY = 500  # trials that a sampler reads: its time grows with their number


class History:
    """The trials that have ended, in the form that Optuna reads; each is converted once.

    Args:
        ends: in any order.
    """

    def __init__(self, space: Space, ends: Iterable[TrialEnd] = ()) -> None:
        self._space = space
        self._trials: dict[str, FrozenTrial] = {}
        self._ranked: list[tuple[float, str]] = []  # losses and ids, the best first
        for end in ends:
            self.add(end)

    def add(self, end: TrialEnd) -> None:
        """Add a trial, unless it lies outside of the space: it would hide parameters from the samplers."""
        if not contains(self._space, end.point):
            return
        self._trials[end.trial_id] = _ended(self._space, end)
        score, sign = end.scores.get(self._space.search.metric), 1 if self._space.mode == "min" else -1
        loss = math.inf if score is None or math.isnan(score) else sign * score
        insort(self._ranked, (loss, end.trial_id))

    def select(self, seed: int) -> dict[str, FrozenTrial]:
        """Return at most MAX_HISTORY trials: the best quarter of that number, and a random choice of the others."""
        if len(self._ranked) <= MAX_HISTORY:
            return dict(self._trials)
        best = MAX_HISTORY // 4
        chosen = self._ranked[:best] + Random(seed).sample(self._ranked[best:], MAX_HISTORY - best)
        return {trial_id: self._trials[trial_id] for _, trial_id in chosen}


def propose(
    space: Space, history: History, running: Mapping[str, Mapping[str, Any]], number: int, attempt: int = 0,
    fixed: Mapping[str, Value] | None = None,
) -> dict[str, Value]:  # fmt: skip
    """Return the values of the varying parameters that the space's sampler proposes for a trial.

    Args:
        history: the trials that have ended.
        running: points of the trials that run, by trial id.
        number: of the trial to propose; with `attempt`, it gives the seed.
        attempt: another one gives another proposal.
        fixed: values that the sampler does not choose.
    """
    seeds = np.random.SeedSequence([space.seed, number, attempt]).generate_state(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = SAMPLERS[space.search.sampler].make(space.seed, int(seeds[0]))
    storage = InMemoryStorage()
    study = optuna.create_study(
        storage=storage, direction="minimize" if space.mode == "min" else "maximize", sampler=sampler,
        study_name="proposal",
    )  # fmt: skip
    inside = {trial_id: point for trial_id, point in running.items() if contains(space, point)}
    known = history.select(int(seeds[1])) | {trial_id: _running(space, point) for trial_id, point in inside.items()}
    study_id = storage.get_study_id_from_name("proposal")
    for trial_id in sorted(known):
        storage.create_new_trial(study_id, known[trial_id])  # Study.add_trial would check each of them again
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


class _Known(FrozenTrial):
    """A trial that no study changes, so that a study in memory needs no deep copy of its points."""

    def __deepcopy__(self, _: object) -> "_Known":
        return copy.copy(self)


def _ended(space: Space, end: TrialEnd) -> FrozenTrial:
    params, distributions = restrict(space, end.point)
    state, value = convert_end(space, end)
    return _trial(
        state, params, distributions, value if state is not TrialState.FAIL else None,
        {end.epochs: value} if value is not None else {},
    )  # fmt: skip


def _running(space: Space, point: Mapping[str, Any]) -> FrozenTrial:
    return _trial(TrialState.RUNNING, *restrict(space, point))


def _trial(
    state: TrialState, params: dict[str, Any], distributions: dict[str, BaseDistribution], value: float | None = None,
    intermediate_values: dict[int, float] | None = None,
) -> FrozenTrial:  # fmt: skip
    """Return a trial; the storage gives it its number."""
    return _Known(
        number=-1, trial_id=-1, state=state, value=value, values=None, datetime_start=None, datetime_complete=None,
        params=params, distributions=distributions, user_attrs={}, system_attrs={},
        intermediate_values=intermediate_values or {},
    )  # fmt: skip


def _suggest(trial: Trial, parameter: Parameter) -> Value:
    if parameter.kind == "choice":
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
