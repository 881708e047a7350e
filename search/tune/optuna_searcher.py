"""A Ray Tune searcher that proposes points with Optuna and writes every trial into Optuna's journal.

Tune's own `OptunaSearch` reports a trial that ASHA stopped as complete with its last value, and never ends a trial with
a non-finite score. Here, complete trials are COMPLETE, trials that ASHA stopped are PRUNED with their value, diverged
trials are PRUNED without a value, and failed and interrupted trials are FAIL.

The first trial is the default configuration. If the space does not contain it, the journal has the values that the
space contains, and the trial is FAIL there, so that no sampler learns from it.

No point is trained twice. A sampler that proposes the point of an earlier trial is asked again, and what it proposed is
FAIL in the journal. When it repeats itself further, random points take its place, and then those of a grid.
"""

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from optuna.trial import Trial
from ray.tune.search import Searcher

from search.cost.estimate import sample_point
from search.optuna_journal.journal import (
    TRIAL_ID_KEY,
    batch_writes,
    contains,
    discard,
    fail,
    open_journal,
    reconcile,
    restrict,
    tell,
)
from search.results.event_log import TrialEnd
from search.space.parameters import MAX_ENUMERATED, Value, effective_point, grid_points, grid_size
from search.space.samplers import SAMPLERS
from search.space.space import Space
from search.tune.proposals import History, choose_values, propose
from search.tune.virtual_order import VirtualOrder

__all__ = ["OptunaSearcher"]

START_POINTS = 10  # random ones, before TPE and the Gaussian process learn
MAX_ASKS = 5  # proposals of the sampler for one trial
LAST_ASKS = 2  # proposals for a trial after which its worker gets no other; the one with shorter epochs is tried
MAX_DRAWS = 100  # random points for one trial
REPORT_INTERVAL = 1.0  # seconds; the reports of this time are written together


def format_trial_id(number: int) -> str:
    """Return the id of a trial on the leaderboard and in all files: its number in order of start, zero-padded."""
    return f"{number:05d}"


class OptunaSearcher(Searcher):
    """Proposes points of a space, and writes every trial into a journal.

    Args:
        space: the space, with its sampler, seed and initial points.
        journal: path of the journal file, which is created if it does not exist. No other process may write it.
        ends: trials that have ended, of a resumed study.
        unfinished: points of the trials that started and did not end, by trial id.
        concurrency_limit: returns how many trials may run or wait; None: any number.
        epoch_seconds: predicts the seconds of an epoch from a point; None: the first points are in no order.

    Attributes:
        notes: one line for each repair of the journal.
    """

    def __init__(
        self, space: Space, journal: Path, ends: Sequence[TrialEnd] = (),
        unfinished: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        concurrency_limit: Callable[[], int] | None = None,
        epoch_seconds: Callable[[Mapping[str, Any]], float] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(metric="score", mode=space.mode)
        self.space, self._concurrency_limit, self._epoch_seconds = space, concurrency_limit, epoch_seconds
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study, self.notes = open_journal(space, journal, ends)
            # With the same random numbers, the sampler would propose the same points again.
            self.study.sampler = _make_sampler(space, len(self.study.get_trials(deepcopy=False)))
            self._again = reconcile(self.study, space, ends, unfinished)
        self._running: dict[str, Trial] = {}  # by Tune's id
        self._steps: dict[str, int] = {}  # the last epoch reported, by Tune's id
        self._reports: list[tuple[Trial, int, float]] = []  # epochs and scores that are not in the journal yet
        self._reported = -math.inf  # time of the last write of reports
        self._known = {end.trial_id for end in ends} | self._again.keys()  # ids in use
        self._points = {  # that are trials, and their ids
            effective_point(space.point(point)): trial_id
            for trial_id, point in self._again.items() if space.is_complete(point)
        } | {effective_point(end.point): end.trial_id for end in ends}  # fmt: skip
        self._default_id = self._find_default(unfinished)
        if self._default_id is not None and self._default_id in self._again:
            self._points[effective_point(space.default_point)] = self._default_id
        self._rest = _grid(space)
        self._history = History(space, ends)
        self._order: VirtualOrder | None = None
        self._next = max(map(int, self._known), default=-1) + 1
        # The fixed points have the first ids, so a resumed study finds the ones already tried by id.
        first = _first_points(space)
        self._num_first = len(first)
        numbered = ((format_trial_id(number), point) for number, point in enumerate(_fixed_points(space, first)))
        self._fixed = ((trial_id, point) for trial_id, point in numbered if trial_id not in self._known)

    def follow(self, order: VirtualOrder) -> None:
        """Propose trials in the order of a virtual clock, whatever the concurrency limit."""
        self._order = order

    @property
    def remaining_trials(self) -> int:
        """Number of trials that still have to run, with those that run again."""
        wanted = self.space.requested_samples - len(self._known)
        known = [dict(point) for point in self._points]
        return len(self._again) + self.space.count_new_points(known, wanted)

    def suggest(self, tune_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a text
        """Return the id and complete point of the next trial, unfinished ones first.

        Returns:
            None if the limit is reached; `FINISHED` if every point of the space has been a trial.
        """
        if self._is_full():
            return None
        with batch_writes(self.study), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            begun = bool(self._again)
            # Fixed points are enqueued one at a time, because a grid may be large.
            queued = self._again.popitem(last=False) if begun else next(self._fixed, None)
            trial_id, fixed = queued or (format_trial_id(self._next), None)
            found = self._ask_default(trial_id) or self._ask(trial_id, fixed, begun=begun)
            if found is None:
                if self._order is not None:
                    self._order.finish()
                return self.FINISHED
            trial, point = found
            trial.set_user_attr(TRIAL_ID_KEY, trial_id)
        if self._order is not None:
            self._order.start(trial_id, point)
        self._known.add(trial_id)
        self._next = max(self._next, int(trial_id) + 1)
        self._running[tune_id] = trial
        return {"trial_id": trial_id, "point": point}

    def _ask(
        self, trial_id: str, fixed: dict[str, Value] | None, *, begun: bool
    ) -> tuple[Trial, dict[str, Value]] | None:
        """Return the trial of the journal with the next point that is no trial yet, and its complete point.

        Args:
            trial_id: of the trial.
            fixed: values of an initial or unfinished point.
            begun: whether the trial started before.
        """
        for proposal in self._proposals(int(trial_id), fixed):
            if proposal is not None:
                if not begun and self._is_known(proposal):
                    continue
                self.study.enqueue_trial(proposal)
            trial = self.study.ask()
            point = choose_values(self.space, trial)
            is_new = self._points.setdefault(effective_point(point), trial_id) == trial_id
            if is_new or (begun and trial.params == fixed):  # an older version may have begun it as a repetition
                return trial, point
            discard(self.study, trial._trial_id)
        return None

    def _ask_default(self, trial_id: str) -> tuple[Trial, dict[str, Value]] | None:
        """Return the trial of the default configuration and its point if the space does not contain it."""
        point = dict(self.space.default_point)
        if trial_id != self._default_id or contains(self.space, point):
            return None
        inside, distributions = restrict(self.space, point)
        self.study.enqueue_trial(inside)
        self._points[effective_point(point)] = trial_id
        return self.study.ask(distributions), point

    def _find_default(self, unfinished: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Return the id of the trial of the default configuration; None if it has ended."""
        begun = (trial_id for trial_id, point in unfinished.items() if self.space.is_default(point))
        if (trial_id := next(begun, None)) is not None:
            return trial_id
        first = format_trial_id(0)
        ended = first in self._known and first not in self._again
        return None if ended or first in unfinished else first

    def on_trial_result(self, tune_id: str, result: dict[str, Any]) -> None:
        """Add the best score so far to the journal, as an intermediate value."""
        self._report(tune_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: `tell` ends the trial in the journal once the event log has its end."""

    def tell(self, tune_id: str, end: TrialEnd, result: Mapping[str, Any] | None) -> None:
        """Write the end of a trial into the journal; the event log already has it.

        Args:
            result: the last report of the trial.
        """
        with batch_writes(self.study):
            if result and end.status != "failed":
                self._report(tune_id, result)
            self._write_reports()
            tell(self.study, self.space, self._running.pop(tune_id), end)
        self._history.add(end)
        self._steps.pop(tune_id, None)

    def close(self) -> None:
        """End every trial that still runs as interrupted, because the study stops."""
        with batch_writes(self.study):
            self._write_reports()
            for trial in self._running.values():
                fail(self.study, trial._trial_id)
        self._running.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; the journal has the state

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal has the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the journal has the state."""

    def _is_full(self) -> bool:
        """Return whether no further trial may run or wait now."""
        if self._order is not None:
            return not self._order.may_start(next(iter(self._again), format_trial_id(self._next)))
        return self._concurrency_limit is not None and len(self._running) >= self._concurrency_limit()

    def _is_known(self, values: Mapping[str, Value]) -> bool:
        """Return whether the values are those of a trial."""
        return self.space.is_complete(values) and effective_point(self.space.point(values)) in self._points

    def _proposals(self, number: int, fixed: dict[str, Value] | None) -> Iterator[dict[str, Value] | None]:
        """Yield the values to try for the next trial, in order; the journal's sampler chooses those that are missing.

        Args:
            number: of the trial.
            fixed: values of an initial or unfinished point.
        """
        stateless = SAMPLERS[self.space.search.sampler].stateless
        if fixed is not None and self.space.is_complete(fixed):
            yield fixed
        elif fixed is not None:
            for attempt in range(MAX_ASKS):
                yield self._propose(number, attempt, fixed) if stateless else fixed
        start = number - self._num_first
        if stateless and self._epoch_seconds is not None and 0 <= start < len(self._start_points):
            yield self._start_points[start]
        elif stateless and self._epoch_seconds is not None and self._order is not None and self._order.is_last(number):
            seconds = self._epoch_seconds
            asked = [self._propose(number, attempt) for attempt in range(MAX_ASKS, MAX_ASKS + LAST_ASKS)]
            yield from sorted(asked, key=lambda point: seconds(self.space.point(point)))
        for attempt in range(MAX_ASKS, 2 * MAX_ASKS):
            yield self._propose(number, attempt) if stateless else None
        random = Random(f"{self.space.seed} {number}")
        drawn = (sample_point(self.space, random) for _ in range(MAX_DRAWS))
        for point in itertools.chain(drawn, self._rest):
            if effective_point(self.space.point(point)) not in self._points:
                yield {
                    parameter.name: point[parameter.name] for parameter in self.space.varying if parameter.name in point
                }

    @cached_property
    def _start_points(self) -> list[dict[str, Value]]:
        """The random points with which the sampler begins, those with short epochs first.

        So the first scores come soon, and the rungs of ASHA are filled when the long trials reach them.
        """
        seconds = self._epoch_seconds
        assert seconds is not None
        points = [propose(self.space, History(self.space), {}, number, MAX_ASKS) for number in range(START_POINTS)]
        return sorted(points, key=lambda point: seconds(self.space.point(point)))

    def _propose(self, number: int, attempt: int, fixed: Mapping[str, Value] | None = None) -> dict[str, Value]:
        running = {trial.user_attrs[TRIAL_ID_KEY]: trial.params for trial in self._running.values()}
        return propose(self.space, self._history, running, number, attempt, fixed)

    def _report(self, tune_id: str, result: Mapping[str, Any]) -> None:
        epoch = result.get("epoch", 0)
        if tune_id in self._running and epoch > self._steps.get(tune_id, 0):  # a restored trial may repeat an epoch
            self._steps[tune_id] = epoch
            score = result.get("score", math.nan)
            # NaN, so that Optuna prunes a diverged trial without a value.
            score = math.nan if result["status"] == "diverged" else score
            self._reports.append((self._running[tune_id], epoch, score))
            if time.monotonic() - self._reported >= REPORT_INTERVAL:
                self._write_reports()

    def _write_reports(self) -> None:
        with batch_writes(self.study):
            for trial, epoch, score in self._reports:
                trial.report(score, step=epoch)
        self._reports, self._reported = [], time.monotonic()


def _first_points(space: Space) -> list[dict[str, Value]]:
    """Return the values of the first points: the default configuration, warm start and `initial`, each once."""
    varying = {parameter.name for parameter in space.varying}
    points = [{name: value for name, value in space.default_point.items() if name in varying}]
    seen = {effective_point(space.default_point)}
    for point in (*space.warm_points, *space.initial):
        effective = effective_point(space.point(point))
        if not space.is_complete(point) or effective not in seen:
            points.append(dict(point))
            seen |= {effective} if space.is_complete(point) else set()
    return points


def _fixed_points(space: Space, first: Sequence[dict[str, Value]]) -> Iterator[dict[str, Value]]:
    """Yield the points that come before those of the sampler: `first`, and for `grid` all other points."""
    yield from first
    if space.search.sampler == "grid":
        seen = {effective_point(space.point(point)) for point in first if space.is_complete(point)}
        wanted = space.requested_samples - len(first)
        for point in grid_points(space.parameters):
            if wanted <= 0:
                return
            if (effective := effective_point(space.point(point))) not in seen:
                seen.add(effective)
                wanted -= 1
                yield point


def _grid(space: Space) -> Iterator[dict[str, Value]]:
    """Yield the points of a finite space, as far as they are looked at."""
    finite = grid_size(space.parameters) is not None
    return itertools.islice(grid_points(space.parameters), MAX_ENUMERATED if finite else 0)


def _make_sampler(space: Space, started: int) -> optuna.samplers.BaseSampler:
    """Return the space's sampler for a study in which `started` trials have started."""
    fresh = int(np.random.SeedSequence([space.seed, started]).generate_state(1)[0]) if started else space.seed
    return SAMPLERS[space.search.sampler].make(space.seed, fresh)
