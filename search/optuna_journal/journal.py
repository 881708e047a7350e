"""Optuna's journal of a study: opened, held against the record of trials, and brought in line with it.

A trial has its id for ever; the journal may know it under several numbers, one for each time it was begun, of which one
ends it. The record is the truth: what the journal lacks of it is added, and one that contradicts it is set aside and
made anew.
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
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from search.common.errors import DamagedError
from search.common.messages import format_value
from search.optuna_journal.backend import JournalFile
from search.results.event_log import INTERRUPTED, TRIAL_ID, TrialEnd, cut_torn_line
from search.space.parameters import Parameter
from search.space.space import Space

__all__ = ["TRIAL_ID_KEY", "batch_writes", "fail", "open_journal", "reconcile", "tell"]

TRIAL_ID_KEY = "trial_id"  # the user attribute that holds a trial's id
STATUS_KEY = "status"  # the one that holds how it ended
STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "diverged": TrialState.PRUNED}


def open_journal(space: Space, path: Path, ends: Sequence[TrialEnd]) -> tuple[optuna.Study, list[str]]:
    """The study in a journal that no other process of ours writes; it is made where it does not exist.

    Args:
        space: metric, direction and name of the study, and what varies in it.
        path: of the JournalStorage file.
        ends: of the trials that ended before.

    Returns:
        The study, in a new journal where the old one is damaged, of another space, or contradicts the record; and what
        was mended, one line each.

    Raises:
        DamagedError: the file is a link.
    """
    if path.is_symlink():
        raise DamagedError(f"{path}: is a link; a study writes into its own folder only; put the file itself there")
    path = path.resolve()  # Optuna's lock is a link to this path, which must lead there from everywhere
    for lock in path.parent.glob(f"{path.name}.lock*"):  # of a process that died within
        lock.unlink(missing_ok=True)
    notes = [f"{path}: its last line was torn and is cut off ({torn} bytes)"] if (torn := cut_torn_line(path)) else []
    try:
        study = _study(space, path)
        why = _contradiction(space, study.get_trials(deepcopy=False), {end.trial_id: end for end in ends})
    except OSError:
        raise
    except Exception as error:  # whatever Optuna makes of damaged lines
        why = f"is damaged ({' '.join(f'{type(error).__name__} {error}'.split())[:100]})"
    if why is None:
        return study, notes
    aside = next(free for n in itertools.count(1) if not (free := path.with_name(f"{path.name}.{n}")).exists())
    os.replace(path, aside)
    return _study(space, path), [
        *notes, f"{path}: {why}; it is made anew from trials.jsonl, and the old one is {aside.name}"
    ]  # fmt: skip


def batch_writes(study: optuna.Study) -> AbstractContextManager[None]:
    """Within: what is written into the journal of `open_journal` is written at once, at the end."""
    backend: JournalFile = study._storage._backend  # type: ignore[attr-defined]
    return backend.batch_writes()


def reconcile(
    study: optuna.Study, space: Space, ends: Sequence[TrialEnd], unfinished: Mapping[str, Mapping[str, Any]]
) -> OrderedDict[str, dict[str, Any]]:
    """Bring a journal in line with the record: afterwards no trial runs, and every one that ended has ended.

    Args:
        unfinished: the points of trials that began and did not end, by id.

    Returns:
        By id, in order, what is to be begun again: those and what the journal alone knows of.
    """
    with batch_writes(study):
        return _reconcile(study, space, ends, unfinished)


def _reconcile(
    study: optuna.Study, space: Space, ends: Sequence[TrialEnd], unfinished: Mapping[str, Mapping[str, Any]]
) -> OrderedDict[str, dict[str, Any]]:
    begun = study.get_trials(deepcopy=False)
    ended = {end.trial_id: end for end in ends}
    again = {name: dict(point) for name, point in unfinished.items()}
    closed = {trial.user_attrs[TRIAL_ID_KEY] for trial in begun if _closed(trial)}
    for trial in begun:
        name = trial.user_attrs.get(TRIAL_ID_KEY)
        if trial.state is TrialState.RUNNING and name in ended and name not in closed:
            _tell_late(study, space, trial, ended[name])
            closed.add(name)
        elif not trial.state.is_finished():
            if trial.state is TrialState.WAITING:  # only what runs can end
                study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            fail(study, trial._trial_id)
        if name is not None and name not in ended:
            fixed = trial.system_attrs.get("fixed_params", {})
            again[name] = {**fixed, **trial.params, **again.get(name, {})}
    for name in sorted(ended.keys() - closed):
        _add(study, space, ended[name])
    return OrderedDict((name, _fitting(space, point)[0]) for name, point in sorted(again.items()))


def tell(study: optuna.Study, space: Space, trial: Trial, end: TrialEnd) -> None:
    """Close a trial as the record says it ended."""
    state, value = _outcome(space, end)
    with batch_writes(study):
        trial.set_user_attr(STATUS_KEY, end.status)
        study.tell(trial, values=value if state is TrialState.COMPLETE else None, state=state)


def fail(study: optuna.Study, number: int) -> None:
    """Close a trial, by Optuna's number, as interrupted."""
    storage = study._storage
    storage.set_trial_user_attr(number, STATUS_KEY, INTERRUPTED)
    storage.set_trial_state_values(number, TrialState.FAIL)


def _study(space: Space, path: Path) -> optuna.Study:
    study = optuna.create_study(
        study_name=space.name,
        storage=JournalStorage(JournalFile(path)),
        direction="minimize" if space.mode == "min" else "maximize",
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([space.search.metric])  # refused where the journal is of another study
    return study


def _contradiction(space: Space, begun: Sequence[FrozenTrial], ends: Mapping[str, TrialEnd]) -> str | None:
    """What a journal says that is not so."""
    distributions = {parameter.name: _distribution(parameter) for parameter in space.varying}
    for trial in begun:
        own = trial.user_attrs.get(TRIAL_ID_KEY, "00000")
        if not isinstance(own, str) or not TRIAL_ID.fullmatch(own):  # it would become a path
            return f"holds {format_value(own)}, which is no id of a trial"
        for name, old in trial.distributions.items():
            if name in distributions and not _compatible(old, distributions[name]):
                return f"is of another space: {name} had other values"
        end = ends.get(trial.user_attrs[TRIAL_ID_KEY]) if _closed(trial) else None
        if _closed(trial) and (
            end is None
            or (trial.state, trial.value) != _outcome(space, end)
            or any(end.point.get(name) != value for name, value in trial.params.items())
        ):
            return f"says of trial {trial.user_attrs[TRIAL_ID_KEY]} what trials.jsonl does not"
    return None


def _closed(trial: FrozenTrial) -> bool:
    """Whether this is the time that a trial ended for good."""
    status = trial.user_attrs.get(STATUS_KEY)
    return trial.state.is_finished() and status not in (None, INTERRUPTED) and TRIAL_ID_KEY in trial.user_attrs


def _outcome(space: Space, end: TrialEnd) -> tuple[TrialState, float | None]:
    state, value = STATES.get(end.status, TrialState.FAIL), end.scores.get(space.search.metric)
    if state is TrialState.COMPLETE and value is None:  # no epoch had a score: Optuna completes numbers only
        state = TrialState.PRUNED
    return state, value


def _tell_late(study: optuna.Study, space: Space, trial: FrozenTrial, end: TrialEnd) -> None:
    """Tell a trial whose end the record has, and the journal not."""
    begun = Trial(study, trial._trial_id)
    score = end.scores.get(space.search.metric)
    if end.epochs > (trial.last_step or 0):
        begun.report(math.nan if score is None else score, step=end.epochs)
    tell(study, space, begun, end)


def _add(study: optuna.Study, space: Space, end: TrialEnd) -> None:
    """Add a trial that the journal lacks."""
    point, distributions = _fitting(space, end.point)
    state, value = _outcome(space, end)
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


def _fitting(space: Space, point: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Of a point what varies in the space and may have its value there, and how it varies."""
    distributions = {parameter.name: _distribution(parameter) for parameter in space.varying}
    fits = {name: each for name, each in distributions.items() if name in point and _contains(each, point[name])}
    return {name: point[name] for name in fits}, fits


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.values)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, step=parameter.step, log=parameter.log)


def _compatible(old: BaseDistribution, new: BaseDistribution) -> bool:
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
