"""Translate the events of Ray Tune's trials for the study's log."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune

from search.tune.patches.actors import MemoryLostError, StalledError
from search.tune.trial import MAX_MESSAGE, error_message

__all__ = ["TrialEvents", "TuneCallback", "failure_message"]

TUNE_KEYS = {"epoch", "score", "status", "done", "training_iteration", "node_ip", "pid"}  # Tune needs them in a report


class TrialEvents(Protocol):
    """What receives the events; see `search.study.trial_recorder.TrialRecorder`."""

    def check(self) -> None: ...
    def refresh(self) -> None: ...
    def start(self, trial_id: str, point: Mapping[str, Any]) -> None: ...
    def report(self, trial_id: str, report: Mapping[str, Any]) -> None: ...
    def retry(self, trial_id: str, reason: str, worker: str = ...) -> None: ...
    def end(
        self, tune_id: str, trial_id: str, status: str, last_report: Mapping[str, Any] | None,
        message: str | None = ...,
    ) -> None: ...  # fmt: skip


class TuneCallback(tune.Callback):
    """Passes Tune's events on to `events`."""

    def __init__(self, events: TrialEvents) -> None:
        self._events = events

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is not used; files and terminal cannot be pickled

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._events.check()  # before the sampler proposes a trial and writes its journal

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._events.refresh()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._events.start(trial.config["trial_id"], trial.config["point"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._events.report(trial.config["trial_id"], result)
        for name in result.keys() - TUNE_KEYS:  # Tune would keep statistics of every number
            del result[name]

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_trial_start(iteration, trials, trial)  # its worker may have died before Tune reported the start
        share = trial.placement_group_factory.required_resources.get("GPU", 0)
        gpu = f" and {share:g} of a GPU" if share else ""
        self._events.retry(trial.config["trial_id"], failure_message(trial), f"another worker{gpu}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        status = trial.last_result["status"]
        self._end(trial, "stopped" if status == "running" else status)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_trial_start(iteration, trials, trial)
        times = trial.run_metadata.num_failures
        self._end(trial, "failed", failure_message(trial) + (f" ({times} times)" if times > 1 else ""))

    def _end(self, trial: Any, status: str, message: str | None = None) -> None:
        self._events.end(trial.trial_id, trial.config["trial_id"], status, trial.last_result, message)


def failure_message(trial: Any) -> str:
    """Return in one line why a Tune trial raised an exception."""
    # Tune's `get_pickled_error` reads the study's storage, where the file arrives later.
    path = trial.pickled_error_file
    error = ray.cloudpickle.loads(Path(path).read_bytes()) if path else None
    match error:
        case StalledError():
            return str(error)
        case MemoryLostError():
            return "the machine ran out of memory and its worker was killed"
        case ray.exceptions.RayActorError(actor_init_failed=True):  # the text ends with the cause
            return " ".join(str(error).strip().splitlines()[-1].split())[:MAX_MESSAGE]
        case ray.exceptions.ActorDiedError() | ray.exceptions.ActorUnavailableError():
            return "its worker died"
        case ray.exceptions.RayTaskError():
            return error_message(error.cause)
    return " ".join(str(error).split())[:MAX_MESSAGE] if error else "its worker died"
