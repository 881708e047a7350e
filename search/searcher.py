"""Optuna behind `ray.tune.search.Searcher`: ask for a point, tell how the trial ended, keep all in a journal.

Our own instead of Tune's `OptunaSearch`, which tells a trial that ASHA stopped as complete with its last value and
leaves a trial with a non-finite score running for ever. Here: complete is COMPLETE, stopped by ASHA is PRUNED with
its value, diverged is PRUNED without one, failed and interrupted are FAIL.
"""

import itertools
import math
import secrets
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.tune.search import Searcher

from search.parameters import Parameter, Value, grid_points
from search.record import INTERRUPTED, DamagedError, TrialEnd, cut_torn_line
from search.space import Space

__all__ = ["OptunaSearcher", "first_points", "trial_id"]

NAME = "trial_id"  # the user attribute that holds a trial's id
STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "diverged": TrialState.PRUNED}


def trial_id(number: int) -> str:
    """A trial's id on the leaderboard and in all files: its place in the order of beginning, zero-padded."""
    return f"{number:05d}"


class OptunaSearcher(Searcher):
    """Proposes the points of a space and records every trial in `journal`.

    A trial has its id for ever; Optuna may know it under several numbers, one for each time it was begun, of which one
    ends it. The record of trials is the truth: what the journal lacks of it is added.

    Args:
        space: the space; its sampler, seed and initial points decide what is proposed.
        journal: path of the JournalStorage file, made where it does not exist.
        ends: the trials that ended before, where a study is resumed.

    Raises:
        DamagedError: the journal cannot be read.
    """

    def __init__(self, space: Space, journal: Path, ends: Sequence[TrialEnd] = ()) -> None:
        super().__init__(metric="score", mode=space.mode)
        self.space = space
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        cut_torn_line(journal)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study = _study(space, journal)
            begun = self.study.get_trials(deepcopy=False)
            # A sampler that began again with the same numbers would propose the same points again.
            self.study.sampler = _sampler(space, len(begun))
            self.study.set_metric_names([space.search.metric])
            self._open: dict[str, Trial] = {}  # by Tune's id
            self._steps: dict[str, int] = {}  # the last epoch reported, by Tune's id
            self._known = {end.trial_id for end in ends}  # the ids that were given
            self._again = self._reconciled(begun, ends)
        self._first = itertools.islice(first_points(space), len(self._known), None)

    @property
    def left(self) -> int:
        """Trials to come, those that go on included."""
        return self.space.num_samples - len(self._known) + len(self._again)

    def suggest(self, tune_id: str) -> dict[str, Any]:
        """The next trial: its id and its complete point; those that were broken off come first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._again:
                name, point = self._again.popitem(last=False)
                self.study.enqueue_trial(point, user_attrs={NAME: name})
            elif (first := next(self._first, None)) is not None:  # one at a time: a grid may be large
                self.study.enqueue_trial(first, user_attrs={NAME: self._new_name()})
            trial = self.study.ask()
            chosen: dict[str, Value] = {}
            for parameter in self.space.parameters:
                if not parameter.applies(chosen):
                    continue
                chosen[parameter.name] = _suggest(trial, parameter) if parameter.varies else parameter.values[0]
        name = trial.user_attrs.get(NAME) or self._new_name()
        trial.set_user_attr(NAME, name)
        self._known.add(name)
        self._open[tune_id] = trial
        return {"trial_id": name, "point": self.space.point(chosen)}

    def on_trial_result(self, tune_id: str, result: dict[str, Any]) -> None:
        """One epoch's report: the best score so far, as an intermediate value."""
        self._report(tune_id, result)

    def on_trial_complete(self, tune_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing yet: a trial has ended once the record says so, and then `tell` is called."""

    def tell(self, tune_id: str, end: TrialEnd, result: Mapping[str, Any] | None) -> None:
        """A trial ended, and the record has it; `result` is its last report."""
        if result and end.status != "failed":
            self._report(tune_id, result)
        self._told(self._open.pop(tune_id), end)

    def close(self) -> None:
        """Tell every trial that is still open as failed: the study was interrupted or ran out of time."""
        for trial in self._open.values():
            trial.set_user_attr("status", INTERRUPTED)
            self.study.tell(trial, state=TrialState.FAIL)
        self._open.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; the journal is the state

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the journal is the state."""

    def _new_name(self) -> str:
        return trial_id(max(map(int, self._known), default=-1) + 1)

    def _report(self, tune_id: str, result: Mapping[str, Any]) -> None:
        epoch = result.get("epoch", 0)
        if tune_id in self._open and epoch > self._steps.get(tune_id, 0):  # one that is done again is known
            self._steps[tune_id] = epoch
            score = result.get("score", math.nan)
            # A diverged epoch stands as NaN, so that the trial is pruned without a value.
            self._open[tune_id].report(score if result["status"] != "diverged" else math.nan, step=epoch)

    def _told(self, trial: Trial, end: TrialEnd) -> None:
        """Close a trial in the journal as the record says it ended."""
        state, value = self._outcome(end)
        trial.set_user_attr("status", end.status)
        self.study.tell(trial, values=value if state is TrialState.COMPLETE else None, state=state)

    def _outcome(self, end: TrialEnd) -> tuple[TrialState, float | None]:
        state, value = STATES.get(end.status, TrialState.FAIL), end.scores.get(self.space.search.metric)
        if state is TrialState.COMPLETE and value is None:  # no epoch had a score: Optuna completes numbers only
            state = TrialState.PRUNED
        return state, value

    def _reconciled(self, begun: Sequence[FrozenTrial], ends: Sequence[TrialEnd]) -> OrderedDict[str, dict[str, Any]]:
        """Bring the journal in line with the record; returns the points of trials that were broken off, by id."""
        ended = {end.trial_id: end for end in ends}
        again: dict[str, dict[str, Any]] = {}
        closed = set()
        for trial in begun:
            name = trial.user_attrs.get(NAME)
            if name is not None and trial.user_attrs.get("status") not in (None, INTERRUPTED):
                closed.add(name)
            if trial.state is TrialState.RUNNING and name in ended and name not in closed:
                self._told_late(trial, ended[name])
                closed.add(name)
            elif not trial.state.is_finished():
                self._fail(trial)
            if name is not None and name not in ended:
                fixed = trial.system_attrs.get("fixed_params", {})
                again[name] = {**again.get(name, {}), **fixed, **trial.params}
        for name in ended.keys() - closed:
            self._add(ended[name])
        self._known |= again.keys()
        return OrderedDict(sorted(again.items()))

    def _told_late(self, trial: FrozenTrial, end: TrialEnd) -> None:
        """Tell a trial whose end the record has, and the journal not."""
        begun = Trial(self.study, trial._trial_id)
        score = end.scores.get(self.space.search.metric)
        if end.epochs > (trial.last_step or 0):
            begun.report(math.nan if score is None else score, step=end.epochs)
        self._told(begun, end)

    def _fail(self, trial: FrozenTrial) -> None:
        storage = self.study._storage
        storage.set_trial_user_attr(trial._trial_id, "status", INTERRUPTED)
        if trial.state is TrialState.WAITING:  # only what runs can end
            storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _add(self, end: TrialEnd) -> None:
        """Add a trial that the journal has lost."""
        varying = {parameter.name: parameter for parameter in self.space.varying if parameter.name in end.point}
        state, value = self._outcome(end)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=value if state is not TrialState.FAIL else None,
                params={name: end.point[name] for name in varying},
                distributions={name: _distribution(parameter) for name, parameter in varying.items()},
                user_attrs={NAME: end.trial_id, "status": end.status},
                intermediate_values={end.epochs: value} if value is not None else {},
            )
        )


def first_points(space: Space) -> Iterator[dict[str, Value]]:
    """The points that are tried before the sampler proposes any: `initial`, then for `grid` all others."""
    yield from (dict(point) for point in space.initial)
    if space.search.sampler == "grid":
        rest = (point for point in grid_points(space.parameters) if point not in space.initial)
        yield from itertools.islice(rest, space.num_samples - len(space.initial))


def _study(space: Space, journal: Path) -> optuna.Study:
    try:
        return optuna.create_study(
            study_name=space.name,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            direction="minimize" if space.mode == "min" else "maximize",
            load_if_exists=True,
        )
    except (ValueError, KeyError, TypeError) as error:
        what = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise DamagedError(
            f"{journal}: is damaged ({what}); it is as Optuna wrote it; remove it, and it is made anew from the record"
        ) from None


def _suggest(trial: Trial, parameter: Parameter) -> Value:
    if parameter.kind == "choice":
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, step=parameter.step, log=parameter.log)


def _sampler(space: Space, begun: int) -> optuna.samplers.BaseSampler:
    """The space's sampler for a study in which so many trials were begun."""
    seed = int(np.random.SeedSequence([space.seed, begun]).generate_state(1)[0]) if begun else space.seed
    match space.search.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
        case "qmc":
            return optuna.samplers.QMCSampler(seed=space.seed, scramble=True)  # counts in the journal
        case "gp":
            return optuna.samplers.GPSampler(seed=seed)
        case "cmaes":
            sampler = optuna.samplers.CmaEsSampler(seed=seed)
            # Its state is a pickle in the journal, which may be a stranger's: it finds only what it wrote itself.
            sampler._attr_prefix = f"cma:{secrets.token_hex(16)}:"
            return sampler
        case _:  # random; a grid is enqueued whole and never reaches the sampler
            return optuna.samplers.RandomSampler(seed=seed)
