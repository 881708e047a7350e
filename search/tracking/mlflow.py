"""MLflow: the study as a run of the experiment `stockrnn-search`, its trials as runs nested in it."""

import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from search.results.event_log import TrialEnd
from search.space.space import Space
from search.tracking.payload import numbers, test_scores

__all__ = ["MLflow"]

ENVIRONMENT = {  # what the user set stands
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds; its own are 120, seven times
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # for file: addresses
    "GIT_PYTHON_REFRESH": "quiet",
}
RUN_STATUS = {"complete": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED"}  # others: FAILED
MOST_METRICS = 1000  # of one request
LONGEST = 5000  # characters of a parameter or tag


class MLflow:
    """The study's run, and those of its trials."""

    def __init__(self, space: Space, facts: Mapping[str, str]) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        for name in ("mlflow", "alembic", "urllib3.connectionpool"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._metric, self._param = Metric, Param
        self._client = MlflowClient(tracking_uri=space.tracking.mlflow)
        self._experiment = self._find(os.environ.get("MLFLOW_EXPERIMENT_NAME", "stockrnn-search"))
        self._study = self._client.create_run(self._experiment, run_name=space.name).info.run_id
        self._client.log_batch(self._study, params=self._params(facts))
        self._runs: dict[str, str] = {}
        self._held: dict[str, list[Any]] = {}  # metrics, by run

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        tags = {"mlflow.parentRunId": self._study, "status": "running"}
        run = self._client.create_run(self._experiment, run_name=trial_id, tags=tags).info.run_id
        self._runs[trial_id] = run
        self._client.log_batch(run, params=self._params(point))

    def epoch(self, trial_id: str, epoch: int, scores: Mapping[str, float]) -> None:
        if run := self._runs.get(trial_id):
            self._hold(run, scores, step=epoch)

    def end(self, end: TrialEnd) -> None:
        if run := self._runs.get(end.trial_id):
            costs = {"epochs": end.epochs, "best_epoch": end.best_epoch, "seconds": end.seconds,
                     "parameters": end.parameters}  # fmt: skip
            best = {f"best_{name}": value for name, value in end.scores.items()}
            self._hold(run, numbers(costs | best), step=end.epochs)
            self._pass_on(run)
            self._client.set_tag(run, "status", end.status)
            if end.message:
                self._client.set_tag(run, "message", end.message[:LONGEST])
            self._client.set_terminated(run, RUN_STATUS.get(end.status, "FAILED"))

    def flush(self) -> None:
        for run in list(self._held):
            self._pass_on(run)

    def close(self, manifest: Mapping[str, Any]) -> None:
        self.flush()
        for name, scores in test_scores(manifest).items():
            self._hold(self._study, {f"{column}/{name}": value for column, value in scores.items()})
            if run := self._runs.get(name):
                self._hold(run, scores)
        known = {name: manifest.get(name) for name in ("seconds",)} | dict(manifest.get("proof") or {})
        self._hold(self._study, numbers(known))
        self.flush()
        verdict = manifest["verdict"][:LONGEST]
        self._client.set_tag(self._study, "verdict", verdict)
        self._client.set_tag(self._study, "mlflow.note.content", verdict)  # what its pages show as description
        self._client.set_terminated(self._study, "KILLED" if manifest["interrupted"] else "FINISHED")

    def _find(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if found := self._client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException:  # another study made it meanwhile
            if found := self._client.get_experiment_by_name(name):
                return str(found.experiment_id)
            raise

    def _params(self, values: Mapping[str, Any]) -> list[Any]:
        return [self._param(name, str(value)[:LONGEST]) for name, value in values.items()]

    def _hold(self, run: str, values: Mapping[str, float], step: int = 0) -> None:
        when = round(time.time() * 1000)
        held = self._held.setdefault(run, [])
        held += [self._metric(name, value, when, step) for name, value in values.items()]
        if len(held) > MOST_METRICS // 2:
            self._pass_on(run)

    def _pass_on(self, run: str) -> None:
        held = self._held.pop(run, [])
        for first in range(0, len(held), MOST_METRICS):
            self._client.log_batch(run, metrics=held[first : first + MOST_METRICS])
