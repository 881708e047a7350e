"""Optuna behind `ray.tune.search.Searcher`: ask for a point, tell how the trial ended, keep all in a journal.

Our own instead of Tune's `OptunaSearch`, which tells a trial that ASHA stopped as complete with its last value and
leaves a trial with a non-finite score running for ever. Here: complete is COMPLETE, stopped by ASHA is PRUNED with
its value, diverged is PRUNED without one, failed and interrupted are FAIL.
"""

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from optuna.trial import Trial
from ray.tune.search import Searcher

from search.optuna_journal.journal import TRIAL_ID_KEY, batch_writes, fail, open_journal, reconcile, tell
from search.results.event_log import TrialEnd
from search.space.parameters import Parameter, Value, grid_points
from search.space.samplers import SAMPLERS
from search.space.space import Space

__all__ = ["OptunaSearcher"]

REPORTS_EVERY = 1.0  # seconds: what trials report meanwhile is written at once


def format_trial_id(number: int) -> str:
    """A trial's id on the leaderboard and in all files: its place in the order of beginning, zero-padded."""
    return f"{number:05d}"


class OptunaSearcher(Searcher):
    """Proposes the points of a space and records every trial in `journal`.

    Args:
        space: the space; its sampler, seed and initial points decide what is proposed.
        journal: path of the JournalStorage file, made where it does not exist. Nobody else of ours writes it.
        ends: the trials that ended before, where a study is resumed.
        unfinished: the points of those that had begun and did not, by id.
        concurrency_limit: how many trials may be under way when another is asked for; None: any number.

    Attributes:
        notes: what was wrong with the journal and was mended, one line each.
    """

    def __init__(
        self, space: Space, journal: Path, ends: Sequence[TrialEnd] = (),
        unfinished: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        concurrency_limit: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(metric="score", mode=space.mode)
        self.space, self._concurrency_limit = space, concurrency_limit
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study, self.notes = open_journal(space, journal, ends)
            # A sampler that began again with the same numbers would propose the same points again.
            self.study.sampler = _sampler(space, len(self.study.get_trials(deepcopy=False)))
            self._again = reconcile(self.study, space, ends, unfinished)
        self._open: dict[str, Trial] = {}  # by Tune's id
        self._steps: dict[str, int] = {}  # the last epoch reported, by Tune's id
        self._reports: list[tuple[Trial, int, float]] = []  # epochs and scores that are not in the journal yet
        self._reported = -math.inf  # when they last were
        self._known = {end.trial_id for end in ends} | self._again.keys()  # the ids that were given
        self._next = max(map(int, self._known), default=-1) + 1
        # The first points have the first ids, so those that were tried are known by their id.
        numbered = ((format_trial_id(number), point) for number, point in enumerate(_fixed_points(space)))
        self._first = ((name, point) for name, point in numbered if name not in self._known)

    @property
    def remaining_trials(self) -> int:
        """Trials to come, those that go on included."""
        return self.space.num_samples - len(self._known) + len(self._again)

    def suggest(self, tune_id: str) -> dict[str, Any] | None:
        """The next trial: its id and its complete point; those that were broken off come first. None: no room now."""
        if self._concurrency_limit is not None and len(self._open) >= self._concurrency_limit():
            return None
        with batch_writes(self.study), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._again:
                name, point = self._again.popitem(last=False)
                self.study.enqueue_trial(point, user_attrs={TRIAL_ID_KEY: name})
            elif (first := next(self._first, None)) is not None:  # one at a time: a grid may be large
                name, point = first
                self.study.enqueue_trial(point, user_attrs={TRIAL_ID_KEY: name})
            trial = self.study.ask()
            chosen: dict[str, Value] = {}
            for parameter in self.space.parameters:
                if not parameter.applies(chosen):
                    continue
                chosen[parameter.name] = _suggest(trial, parameter) if parameter.varies else parameter.values[0]
            name = trial.user_attrs.get(TRIAL_ID_KEY) or format_trial_id(self._next)
            trial.set_user_attr(TRIAL_ID_KEY, name)
        self._known.add(name)
        self._next = max(self._next, int(name) + 1)
        self._open[tune_id] = trial
        return {"trial_id": name, "point": self.space.point(chosen)}

    def on_trial_result(self, tune_id: str, result: dict[str, Any]) -> None:
        """One epoch's report: the best score so far, as an intermediate value."""
        self._report(tune_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing yet: a trial has ended once the record says so, and then `tell` is called."""

    def tell(self, tune_id: str, end: TrialEnd, result: Mapping[str, Any] | None) -> None:
        """A trial ended, and the record has it; `result` is its last report."""
        with batch_writes(self.study):
            if result and end.status != "failed":
                self._report(tune_id, result)
            self._write_reports()
            tell(self.study, self.space, self._open.pop(tune_id), end)
        self._steps.pop(tune_id, None)

    def close(self) -> None:
        """Tell every trial that is still open as failed: the study was interrupted or ran out of time."""
        with batch_writes(self.study):
            self._write_reports()
            for trial in self._open.values():
                fail(self.study, trial._trial_id)
        self._open.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; the journal is the state

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the journal is the state."""

    def _report(self, tune_id: str, result: Mapping[str, Any]) -> None:
        epoch = result.get("epoch", 0)
        if tune_id in self._open and epoch > self._steps.get(tune_id, 0):  # one that is done again is known
            self._steps[tune_id] = epoch
            score = result.get("score", math.nan)
            # A diverged epoch stands as NaN, so that the trial is pruned without a value.
            score = math.nan if result["status"] == "diverged" else score
            self._reports.append((self._open[tune_id], epoch, score))
            if time.monotonic() - self._reported >= REPORTS_EVERY:
                self._write_reports()

    def _write_reports(self) -> None:
        with batch_writes(self.study):
            for trial, epoch, score in self._reports:
                trial.report(score, step=epoch)
        self._reports, self._reported = [], time.monotonic()


def _fixed_points(space: Space) -> Iterator[dict[str, Value]]:
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


def _sampler(space: Space, begun: int) -> optuna.samplers.BaseSampler:
    """The space's sampler for a study in which so many trials were begun."""
    fresh = int(np.random.SeedSequence([space.seed, begun]).generate_state(1)[0]) if begun else space.seed
    return SAMPLERS[space.search.sampler].make(space.seed, fresh)
