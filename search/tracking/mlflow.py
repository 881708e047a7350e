"""Track a study in MLflow: one run of the experiment `stockrnn-search`, with a nested run per trial."""

import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from search.results.event_log import TrialEnd
from search.space.space import Space
from search.tracking.payload import read_test_scores, select_numbers

__all__ = ["MLflow"]

ENVIRONMENT = {  # defaults; variables that the user has set are kept
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds; MLflow's defaults are 120 seconds and 7 retries
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # for file: addresses
    "GIT_PYTHON_REFRESH": "quiet",
}
RUN_STATUS = {
    "default": "FINISHED",
    "complete": "FINISHED",
    "stopped": "FINISHED",
    "interrupted": "KILLED",
}  # all others: FAILED
MAX_METRICS = 1000  # per request
MAX_TEXT = 5000  # characters of a parameter or tag


class MLflow:
    """The MLflow runs of a study and its trials."""

    def __init__(self, space: Space, description: Mapping[str, str]) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        for name in ("mlflow", "alembic", "urllib3.connectionpool"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._metric, self._param = Metric, Param
        self._client = MlflowClient(tracking_uri=space.tracking.mlflow)
        self._experiment = self._find_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "stockrnn-search"))
        self._study = self._client.create_run(self._experiment, run_name=space.name).info.run_id
        self._client.log_batch(self._study, params=self._params(description))
        self._runs: dict[str, str] = {}
        self._buffered: dict[str, list[Any]] = {}  # metrics by run

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        tags = {"mlflow.parentRunId": self._study, "status": "running"}
        run = self._client.create_run(self._experiment, run_name=trial_id, tags=tags).info.run_id
        self._runs[trial_id] = run
        self._client.log_batch(run, params=self._params(point))

    def epoch(self, trial_id: str, epoch: int, scores: Mapping[str, float]) -> None:
        if run := self._runs.get(trial_id):
            self._buffer(run, scores, step=epoch)

    def end(self, end: TrialEnd) -> None:
        if run := self._runs.get(end.trial_id):
            costs = {"epochs": end.epochs, "best_epoch": end.best_epoch, "seconds": end.seconds,
                     "parameters": end.parameters}  # fmt: skip
            best = {f"best_{name}": value for name, value in end.scores.items()}
            self._buffer(run, select_numbers(costs | best), step=end.epochs)
            self._send(run)
            self._client.set_tag(run, "status", end.status)
            if end.message:
                self._client.set_tag(run, "message", end.message[:MAX_TEXT])
            self._client.set_terminated(run, RUN_STATUS.get(end.status, "FAILED"))

    def flush(self) -> None:
        for run in list(self._buffered):
            self._send(run)

    def close(self, manifest: Mapping[str, Any]) -> None:
        self.flush()
        for name, scores in read_test_scores(manifest).items():
            self._buffer(self._study, {f"{column}/{name}": value for column, value in scores.items()})
            if run := self._runs.get(name):
                self._buffer(run, scores)
        known = {name: manifest.get(name) for name in ("seconds",)} | dict(manifest.get("proof") or {})
        self._buffer(self._study, select_numbers(known))
        self.flush()
        verdict = manifest["verdict"][:MAX_TEXT]
        self._client.set_tag(self._study, "verdict", verdict)
        self._client.set_tag(self._study, "mlflow.note.content", verdict)  # MLflow shows it as the description
        self._client.set_terminated(self._study, "KILLED" if manifest["interrupted"] else "FINISHED")

    def _find_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if found := self._client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException:  # another study created it at the same time
            if found := self._client.get_experiment_by_name(name):
                return str(found.experiment_id)
            raise

    def _params(self, values: Mapping[str, Any]) -> list[Any]:
        return [self._param(name, str(value)[:MAX_TEXT]) for name, value in values.items()]

    def _buffer(self, run: str, values: Mapping[str, float], step: int = 0) -> None:
        when = round(time.time() * 1000)
        buffered = self._buffered.setdefault(run, [])
        buffered += [self._metric(name, value, when, step) for name, value in values.items()]
        if len(buffered) > MAX_METRICS // 2:
            self._send(run)

    def _send(self, run: str) -> None:
        metrics = self._buffered.pop(run, [])
        for first in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(run, metrics=metrics[first : first + MAX_METRICS])
