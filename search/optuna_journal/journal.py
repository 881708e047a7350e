"""Open Optuna's journal of a study, compare it with the event log, and repair it.

A trial has one id. Optuna numbers each start of a trial, so a resumed trial has several numbers, and only one of them
has its result. If the journal and the event log differ, the event log is right. Missing trials are added to the
journal. A journal that contradicts the event log is renamed and replaced by a new one.
"""

import itertools
import math
import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from search.common.errors import DamagedError
from search.common.messages import format_value
from search.optuna_journal.backend import JournalFile
from search.results.event_log import INTERRUPTED, TRIAL_ID, TrialEnd, cut_torn_line
from search.space.samplers import make_distribution
from search.space.space import Space

__all__ = [
    "TRIAL_ID_KEY", "batch_writes", "contains", "convert_end", "discard", "fail", "open_journal", "reconcile",
    "restrict", "tell",
]  # fmt: skip

TRIAL_ID_KEY = "trial_id"  # user attribute with the id of a trial
STATUS_KEY = "status"  # user attribute with the status at the end of a trial
STATES = {
    "default": TrialState.COMPLETE, "complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
}  # fmt: skip


def open_journal(space: Space, path: Path, ends: Sequence[TrialEnd]) -> tuple[optuna.Study, list[str]]:
    """Open the journal of a study, or create it. No other process of this project may write it.

    Args:
        space: gives the study's name, metric, direction and varying parameters.
        path: of the journal file.
        ends: trials that have ended.

    Returns:
        The study, and one line for each repair. If the journal is damaged, belongs to another space or contradicts the
        event log, the study has a new journal.

    Raises:
        DamagedError: the file is a link.
    """
    if path.is_symlink():
        raise DamagedError(f"{path}: is a link; a study writes only into its own folder; copy the file itself there")
    path = path.resolve()  # Optuna's lock is a symbolic link to this path
    for lock in path.parent.glob(f"{path.name}.lock*"):  # of a process that was killed while it held the lock
        lock.unlink(missing_ok=True)
    notes = [f"{path}: its last line was torn and is cut off ({torn} bytes)"] if (torn := cut_torn_line(path)) else []
    try:
        study = _load_study(space, path)
        problem = _find_contradiction(space, study.get_trials(deepcopy=False), {end.trial_id: end for end in ends})
    except OSError:
        raise
    except Exception as error:  # Optuna raises many types for damaged lines
        problem = f"is damaged ({' '.join(f'{type(error).__name__} {error}'.split())[:100]})"
    if problem is None:
        return study, notes
    backup = next(free for n in itertools.count(1) if not (free := path.with_name(f"{path.name}.{n}")).exists())
    os.replace(path, backup)
    return _load_study(space, path), [
        *notes, f"{path}: {problem}; it is rebuilt from trials.jsonl, and the old file is now {backup.name}"
    ]  # fmt: skip


def batch_writes(study: optuna.Study) -> AbstractContextManager[None]:
    """Collect the journal's writes in this context, and write them at its end."""
    backend: JournalFile = study._storage._backend  # type: ignore[attr-defined]
    return backend.batch_writes()


def reconcile(
    study: optuna.Study, space: Space, ends: Sequence[TrialEnd], unfinished: Mapping[str, Mapping[str, Any]]
) -> OrderedDict[str, dict[str, Any]]:
    """Bring a journal in line with the event log. Afterwards no trial of the journal is running.

    Args:
        unfinished: points of the trials that started and did not end, by trial id.

    Returns:
        The points of the trials to run again, by trial id, in order: `unfinished`, and those that only the journal has.
    """
    with batch_writes(study):
        return _reconcile(study, space, ends, unfinished)


def _reconcile(
    study: optuna.Study, space: Space, ends: Sequence[TrialEnd], unfinished: Mapping[str, Mapping[str, Any]]
) -> OrderedDict[str, dict[str, Any]]:
    trials = study.get_trials(deepcopy=False)
    ended = {end.trial_id: end for end in ends}
    again = {trial_id: dict(point) for trial_id, point in unfinished.items()}
    final = {trial.user_attrs[TRIAL_ID_KEY] for trial in trials if _is_final(trial)}
    for trial in trials:
        trial_id = trial.user_attrs.get(TRIAL_ID_KEY)
        if trial.state is TrialState.RUNNING and trial_id in ended and trial_id not in final:
            _tell_late(study, space, trial, ended[trial_id])
            final.add(trial_id)
        elif not trial.state.is_finished():
            if trial.state is TrialState.WAITING:  # Optuna ends only running trials
                study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            fail(study, trial._trial_id)
        if trial_id is not None and trial_id not in ended:
            fixed = trial.system_attrs.get("fixed_params", {})
            again[trial_id] = {**fixed, **trial.params, **again.get(trial_id, {})}
    for trial_id in sorted(ended.keys() - final):
        _add_trial(study, space, ended[trial_id])
    return OrderedDict((trial_id, restrict(space, point)[0]) for trial_id, point in sorted(again.items()))


def tell(study: optuna.Study, space: Space, trial: Trial, end: TrialEnd) -> None:
    """Write the end of a trial into the journal."""
    state, value = convert_end(space, end)
    with batch_writes(study):
        trial.set_user_attr(STATUS_KEY, end.status)
        study.tell(trial, values=value if state is TrialState.COMPLETE else None, state=state)


def fail(study: optuna.Study, number: int) -> None:
    """End a trial, given by Optuna's number, as interrupted."""
    storage = study._storage
    storage.set_trial_user_attr(number, STATUS_KEY, INTERRUPTED)
    storage.set_trial_state_values(number, TrialState.FAIL)


def discard(study: optuna.Study, number: int) -> None:
    """End a proposal, given by Optuna's number, that never became a trial because its point is already a trial."""
    study._storage.set_trial_user_attr(number, STATUS_KEY, "repeated")
    study._storage.set_trial_state_values(number, TrialState.FAIL)


def _load_study(space: Space, path: Path) -> optuna.Study:
    study = optuna.create_study(
        study_name=space.name,
        storage=JournalStorage(JournalFile(path)),
        direction="minimize" if space.mode == "min" else "maximize",
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([space.search.metric])  # raises an error if the journal belongs to another study
    return study


def _find_contradiction(space: Space, trials: Sequence[FrozenTrial], ends: Mapping[str, TrialEnd]) -> str | None:
    """Return how a journal contradicts the space or the event log, or None."""
    distributions = {parameter.name: make_distribution(parameter) for parameter in space.varying}
    for trial in trials:
        trial_id = trial.user_attrs.get(TRIAL_ID_KEY, "00000")
        if not isinstance(trial_id, str) or not TRIAL_ID.fullmatch(trial_id):  # it becomes part of a path
            return f"has {format_value(trial_id)} in place of a trial id"
        for name, old in trial.distributions.items():
            if name in distributions and not _are_compatible(old, distributions[name]):
                return f"belongs to another space: {name} had other values"
        end = ends.get(trial.user_attrs[TRIAL_ID_KEY]) if _is_final(trial) else None
        if _is_final(trial) and (
            end is None
            or (trial.state, trial.value) != convert_end(space, end)
            or any(end.point.get(name) != value for name, value in trial.params.items())
        ):
            return f"contradicts trials.jsonl about trial {trial.user_attrs[TRIAL_ID_KEY]}"
    return None


def _is_final(trial: FrozenTrial) -> bool:
    """Return whether this entry has the result of a trial; a trial that was interrupted has further entries."""
    status = trial.user_attrs.get(STATUS_KEY)
    return trial.state.is_finished() and status not in (None, INTERRUPTED) and TRIAL_ID_KEY in trial.user_attrs


def convert_end(space: Space, end: TrialEnd) -> tuple[TrialState, float | None]:
    """Return Optuna's state and value for the end of a trial.

    A trial outside of the space, such as a default configuration, is FAIL: samplers assume that all trials of a study
    have values for all parameters.
    """
    if not contains(space, end.point):
        return TrialState.FAIL, None
    state, value = STATES.get(end.status, TrialState.FAIL), end.scores.get(space.search.metric)
    if state is TrialState.COMPLETE and value is None:  # Optuna does not accept a complete trial without a value
        state = TrialState.PRUNED
    return state, value


def _tell_late(study: optuna.Study, space: Space, trial: FrozenTrial, end: TrialEnd) -> None:
    """Write the end of a trial that the event log has and the journal lacks."""
    running = Trial(study, trial._trial_id)
    score = end.scores.get(space.search.metric)
    if end.epochs > (trial.last_step or 0):
        running.report(math.nan if score is None else score, step=end.epochs)
    tell(study, space, running, end)


def _add_trial(study: optuna.Study, space: Space, end: TrialEnd) -> None:
    """Add a trial that the journal lacks."""
    point, distributions = restrict(space, end.point)
    state, value = convert_end(space, end)
    study.add_trial(
        optuna.trial.create_trial(
            state=state,
            value=value if state is not TrialState.FAIL else None,
            params=point,
            distributions=distributions,
            user_attrs={TRIAL_ID_KEY: end.trial_id, STATUS_KEY: end.status},
            intermediate_values={end.epochs: value} if value is not None else {},
        )
    )


def restrict(space: Space, point: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Return the values of a point that are in the space's varying parameters, and the distributions of these."""
    distributions = {parameter.name: make_distribution(parameter) for parameter in space.varying}
    inside = {name: each for name, each in distributions.items() if name in point and _contains(each, point[name])}
    return {name: point[name] for name in inside}, inside


def contains(space: Space, point: Mapping[str, Any]) -> bool:
    """Return whether the domains of the space's varying parameters contain the values of a point."""
    return space.is_complete(restrict(space, point)[0])


def _are_compatible(old: BaseDistribution, new: BaseDistribution) -> bool:
    try:
        check_distribution_compatibility(old, new)
    except ValueError:
        return False
    return True


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
