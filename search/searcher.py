"""Optuna behind `ray.tune.search.Searcher`: ask for a point, tell how the trial ended, keep all in a journal.

Our own instead of Tune's `OptunaSearch`, which tells a trial that ASHA stopped as complete with its last value and
leaves a trial with a non-finite score running for ever. Here: complete is COMPLETE, stopped by ASHA is PRUNED with
its value, diverged is PRUNED without one, failed and interrupted are FAIL.
"""

import itertools
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from search.parameters import Parameter, Value, grid_points
from search.space import Space

__all__ = ["OptunaSearcher", "first_points", "trial_id"]

STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "diverged": TrialState.PRUNED}


def trial_id(number: int) -> str:
    """A trial's id on the leaderboard and in all files: Optuna's number, zero-padded."""
    return f"{number:05d}"


class OptunaSearcher(Searcher):
    """Proposes the points of a space and records every trial in `journal`.

    Args:
        space: the space; its sampler, seed and initial points decide what is proposed.
        journal: path of the JournalStorage file, made where it does not exist.
    """

    def __init__(self, space: Space, journal: Path) -> None:
        super().__init__(metric="score", mode=space.mode)
        self.space = space
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study = optuna.create_study(
                study_name=space.name,
                storage=JournalStorage(JournalFileBackend(str(journal))),
                sampler=_sampler(space),
                direction="minimize" if space.mode == "min" else "maximize",
            )
            self.study.set_metric_names([space.search.metric])
        self._first = first_points(space)
        self._open: dict[str, Trial] = {}

    def suggest(self, tune_id: str) -> dict[str, Any]:
        """The next trial: its id and its complete point."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if (point := next(self._first, None)) is not None:  # one at a time: a grid may be large
                self.study.enqueue_trial(point)
            trial = self.study.ask()
            chosen: dict[str, Value] = {}
            for parameter in self.space.parameters:
                if not parameter.applies(chosen):
                    continue
                chosen[parameter.name] = _suggest(trial, parameter) if parameter.varies else parameter.values[0]
        trial.set_user_attr("tune_id", tune_id)
        self._open[tune_id] = trial
        return {"trial_id": trial_id(trial.number), "point": self.space.point(chosen)}

    def on_trial_result(self, tune_id: str, result: dict[str, Any]) -> None:
        """One epoch's report: the best score so far, as an intermediate value."""
        if (trial := self._open.get(tune_id)) is not None:
            self._report(trial, result)

    def on_trial_complete(self, tune_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended; a result that says `running` was stopped by the scheduler."""
        trial = self._open.pop(tune_id, None)
        if trial is None:
            return
        status = "failed" if error or not result else result["status"]
        status = "stopped" if status == "running" else status
        state = STATES.get(status, TrialState.FAIL)
        if result and not error:
            self._report(trial, result)
        value = result["score"] if result and state is TrialState.COMPLETE else None
        if value is not None and not math.isfinite(value):  # no epoch had a score: Optuna completes numbers only
            state, value = TrialState.PRUNED, None
        trial.set_user_attr("status", status)
        self.study.tell(trial, values=value, state=state)

    def close(self) -> None:
        """Tell every trial that is still open as failed: the study was interrupted or ran out of time."""
        for trial in self._open.values():
            trial.set_user_attr("status", "interrupted")
            self.study.tell(trial, state=TrialState.FAIL)
        self._open.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; the journal is the state

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the journal is the state."""

    def _report(self, trial: Trial, result: dict[str, Any]) -> None:
        if (epoch := result.get("epoch")) is not None:
            score = result.get("score", math.nan)
            # A diverged epoch stands as NaN, so that the trial is pruned without a value.
            trial.report(score if result["status"] != "diverged" else math.nan, step=epoch)


def first_points(space: Space) -> Iterator[dict[str, Value]]:
    """The points that are tried before the sampler proposes any: `initial`, then for `grid` all others."""
    yield from (dict(point) for point in space.initial)
    if space.search.sampler == "grid":
        rest = (point for point in grid_points(space.parameters) if point not in space.initial)
        yield from itertools.islice(rest, space.num_samples - len(space.initial))


def _suggest(trial: Trial, parameter: Parameter) -> Value:
    if parameter.kind == "choice":
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)


def _sampler(space: Space) -> optuna.samplers.BaseSampler:
    match space.search.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=space.seed, multivariate=True, group=True, constant_liar=True)
        case "qmc":
            return optuna.samplers.QMCSampler(seed=space.seed, scramble=True)
        case "gp":
            return optuna.samplers.GPSampler(seed=space.seed)
        case "cmaes":
            return optuna.samplers.CmaEsSampler(seed=space.seed)
        case _:  # random; a grid is enqueued whole and never reaches the sampler
            return optuna.samplers.RandomSampler(seed=space.seed)
