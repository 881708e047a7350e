"""Read a results folder: of a study that ended, still runs or was interrupted, also one of another version.

`read_study` reads the manifest and the event log. The other files are read when they are needed. Whatever is read is
checked: a folder may come from a stranger.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from search.common.errors import DamagedError
from search.common.text import Text, translate
from search.results.columns import list_columns
from search.results.event_log import RUNNING, STATUSES, TrialEnd, TrialLog, read_log
from search.results.leaderboard import parse_number, read_csv
from search.results.manifest import find_scored_opening
from search.results.predictions import read_forecasts
from search.results.ranking import Row, rank
from search.results.schemas import read_manifest
from search.results.verdict import VERDICT_COLUMNS, conclude
from search.space.document import SpaceDocument
from search.space.parameters import Parameter
from search.space.sections import SECTIONS
from search.space.space import Space, SpaceError, load_space
from stockrnn.tasks.price import PRICE
from stockrnn.tasks.registry import TASKS
from stockrnn.tasks.task import Task

__all__ = ["MAX_SHOWN_TRIALS", "Days", "ScoredTrial", "StudyData", "read_study", "seconds_between"]

MAX_SHOWN_TRIALS = 1000  # rows of the leaderboard that are read in full: a browser does not show more of them well
DEFAULTS: dict[str, Any] = {"data": {}, "folds": [], "test": [], "versions": {}}  # of a manifest
TYPES: dict[str, dict[str, type]] = {  # keys that are read from the space of another version, with their types
    "search": {"metric": str, "mode": str, "num_samples": int, "sampler": str},
    "validation": {"folds": int, "seeds": int, "window": str, "train_size": int},
    "data": {"horizon": int, "task": str, "estimator": str},
}
TYPE_NAMES = {str: "text", int: "whole number"}
MIN_LOG_RATIO = 100  # a parameter whose largest value is so many times its smallest is shown on a logarithmic axis
NUM_BEST = 3  # trials that are shown as finalists before there are any


@dataclass(frozen=True, kw_only=True)
class Days:
    """Daily forecasts of one trial, in the task's unit; arrays of shape (days,), in the order of the dates."""

    dates: list[str]
    folds: np.ndarray
    forecast: np.ndarray
    actual: np.ndarray
    rival: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ScoredTrial:
    """A trial that ended with a score: that of its best epoch, by the study's metric."""

    trial_id: str
    status: str
    point: Mapping[str, Any]
    score: float


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """The files of a results folder.

    Attributes:
        manifest: its keys `name`, `data`, `folds`, `test` and `versions` are never missing.
        log: the trials.
    """

    folder: Path
    manifest: Mapping[str, Any]
    log: TrialLog

    @property
    def ends(self) -> list[TrialEnd]:
        """The trials that ended or were interrupted, in the order in which they did."""
        return self.log.ends

    @cached_property
    def space(self) -> Space:
        """The search space.

        Raises:
            DamagedError: `space.yaml` cannot be read, or is that of another version.
        """
        try:
            return load_space(str(self.folder / "space.yaml"), has_prices=True)
        except SpaceError as error:
            raise DamagedError(error.problems[0]) from None

    @property
    def planned(self) -> int | None:
        """Number of trials of the search: `search.num_samples`, or the points of a smaller space; None if unknown."""
        planned: int | None = self.sections["search"].get("num_samples")
        return self.known_space.num_samples if self.known_space and planned else planned

    @cached_property
    def known_space(self) -> Space | None:
        """The search space, or None if `space.yaml` cannot be read."""
        try:
            return self.space if (self.folder / "space.yaml").exists() else None
        except DamagedError:
            return None

    @cached_property
    def space_text(self) -> str:
        """The text of `space.yaml`; empty if there is none."""
        return self._document.text if self._document else ""

    @cached_property
    def sections(self) -> dict[str, Any]:
        """The sections of `space.yaml` as plain data; it may be that of another version.

        Raises:
            DamagedError: it is no YAML, or a value that is read has another type.
        """
        path = self.folder / "space.yaml"
        data = self._document.data if self._document else {}
        sections = {name: section for name, section in data.items() if section or section == 0}
        for name in SECTIONS:
            section = sections.get(name, {})
            if not isinstance(section, dict):
                raise DamagedError(
                    f"{path}: {name}: is no section; a section holds keys; copy the study's folder again"
                )
            for key, kind in TYPES.get(name, {}).items():
                if not isinstance(section.get(key), kind | None) or isinstance(section.get(key), bool):
                    raise DamagedError(f"{path}: {name}.{key}: is no {TYPE_NAMES[kind]}; copy the study's folder again")
        return {"validation": {}, "search": {}} | sections

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the leaderboard."""
        return list_columns(self.space)

    @cached_property
    def rows(self) -> list[Row]:
        """The leaderboard, computed from the event log, so that it is up to date."""
        opening = find_scored_opening(self.manifest)
        return rank(
            self.ends, self.manifest.get("baselines") or {}, metric=self.space.search.metric, mode=self.space.mode,
            test=opening.get("scores"), ensemble=opening.get("ensemble"),
        )  # fmt: skip

    @cached_property
    def csv_board(self) -> tuple[list[str], list[dict[str, str]]]:
        """The columns and the rows of `leaderboard.csv`, as texts; those of no trial if there is no such file."""
        path = self.folder / "leaderboard.csv"
        return read_csv(path, MAX_SHOWN_TRIALS, VERDICT_COLUMNS) if path.exists() else ([], [])

    @property
    def state(self) -> str:
        """`done`, `interrupted`, `timed out` or `running`. A study whose process was killed is `running` as well."""
        if not self.manifest.get("end"):
            return RUNNING
        if self.manifest.get("interrupted"):
            return "interrupted"
        is_complete = len(self.ends) >= self.space.num_samples
        return "done" if is_complete or not self.space.count_new_points(self.log.points.values(), 1) else "timed out"

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Number of trials by status, for statuses that occur."""
        counts = Counter(self.log.statuses.values())
        return [(status, counts[status]) for status in (*STATUSES, RUNNING) if counts[status]]

    @property
    def last(self) -> str | None:
        """The time of the last event or of the end."""
        return self.manifest.get("end") or self.log.time or self.manifest.get("start")

    @property
    def seconds(self) -> float:
        """How long the study took, or has taken so far."""
        return self.manifest.get("seconds") or seconds_between(self.manifest.get("start"), self.last)

    @cached_property
    def verdict(self) -> str:
        """The manifest's verdict, or that of the leaderboard so far."""
        return str(self.manifest.get("verdict") or " ".join(self.conclusion))

    @cached_property
    def conclusion(self) -> list[Text]:
        """The sentences of the verdict of the leaderboard so far."""
        rows = [
            {name: text if name in ("trial_id", "status") else parse_number(text) for name, text in row.items()}
            for row in self.csv_board[1]
        ]
        return conclude(
            rows, self.manifest.get("proof"), task=self.task, horizon=self.horizon, max_epochs=self.max_epochs
        )

    def describe_verdict(self, language: str) -> str:
        """Return the verdict in a language; the manifest has it in English only."""
        return self.verdict if language == "en" else " ".join(translate(self.conclusion, language))

    @property
    def horizon(self) -> int:
        """Sessions from a forecast to its target."""
        return int(self.sections.get("data", {}).get("horizon") or 1)

    @property
    def max_epochs(self) -> int | None:
        """Maximum number of epochs of a trial; None if the space cannot be read."""
        return self.known_space.scheduler.max_epochs if self.known_space else None

    @property
    def metric(self) -> str:
        """The column by which the study ranks."""
        return str(self.sections["search"].get("metric") or "val_relative_loss")

    @property
    def lower_is_better(self) -> bool:
        """Whether the best trial has the smallest score."""
        metric = self.task.metrics.get(self.metric)
        return metric is None or metric.better == "min"

    @property
    def task(self) -> Task:
        """What is forecast; the price if the task is not known."""
        return TASKS.get(str(self.sections.get("data", {}).get("task")), PRICE)

    @property
    def rungs(self) -> list[int]:
        """The epochs after which ASHA may stop a trial; empty if the space cannot be read."""
        return list(self.known_space.scheduler.rungs) if self.known_space else []

    @cached_property
    def curves(self) -> dict[str, dict[int, float]]:
        """Relative loss on validation by trial id and epoch."""
        curves: dict[str, dict[int, float]] = {}
        for trial_id, epoch, _, relative_loss in self.log.epochs:
            if relative_loss is not None:
                curves.setdefault(trial_id, {})[epoch] = relative_loss
        return curves

    @cached_property
    def scored(self) -> list[ScoredTrial]:
        """The trials that ended with a score, best first."""
        sign = 1 if self.lower_is_better else -1
        trials = [
            ScoredTrial(trial_id=end.trial_id, status=end.status, point=end.point, score=float(value))
            for end in self.ends
            if (value := end.scores.get(self.metric)) is not None and math.isfinite(value)
        ]
        return sorted(trials, key=lambda trial: (sign * trial.score, trial.trial_id))

    @cached_property
    def varying(self) -> tuple[Parameter, ...]:
        """The parameters that vary: those of the space, or of the trials if the space cannot be read."""
        if self.known_space:
            return self.known_space.varying
        points = [end.point for end in self.ends]
        names = dict.fromkeys(name for point in points for name in point)
        found = (_guess_parameter(name, [point[name] for point in points if name in point]) for name in names)
        return tuple(parameter for parameter in found if parameter)

    @cached_property
    def finalists(self) -> list[str]:
        """The trial ids of the finalists, best first; the best three trials before the test set was opened."""
        openings = self.manifest.get("test_openings") or [{}]
        chosen = [one["trial_id"] for one in openings[-1].get("finalists") or [] if one.get("trial_id")]
        return chosen or [trial.trial_id for trial in self.scored[:NUM_BEST]]

    @cached_property
    def validation(self) -> dict[str, Days]:
        """Forecasts of the finalists on validation, by trial id."""
        return self._days("validation", self.finalists)

    @cached_property
    def test(self) -> dict[str, Days]:
        """Forecasts of finalists, their average and baselines on the test set; empty before it was opened."""
        return self._days("test")

    def _days(self, split: str, trials: Collection[str] | None = None) -> dict[str, Days]:
        return {
            trial_id: Days(
                dates=days["date"].astype("datetime64[D]").astype(str).tolist(), folds=days["fold"],
                **{name: days[name].astype(float) for name in ("forecast", "actual", "rival")},
            )
            for trial_id, days in read_forecasts(self.folder / "predictions.parquet", split, trials).items()
        }  # fmt: skip

    @cached_property
    def _document(self) -> SpaceDocument | None:
        path = self.folder / "space.yaml"
        return SpaceDocument(str(path)) if path.exists() else None


def read_study(folder: Path, needed: Iterable[str] = ()) -> StudyData:
    """Read the manifest and the event log of a study.

    Args:
        folder: the study's.
        needed: keys that the manifest must have.

    Raises:
        DamagedError: the folder is no study, or one of these files is damaged.
    """
    found = read_manifest(folder / "manifest.json", needed)
    missing = {name: value for name, value in ({"name": folder.name} | DEFAULTS).items() if found.get(name) is None}
    return StudyData(folder=folder, manifest=found | missing, log=read_log(folder / "trials.jsonl"))


def seconds_between(start: str | None, end: str | None) -> float:
    """Return the seconds between two times in ISO 8601; 0 if one is unknown."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() if start and end else 0


def _guess_parameter(name: str, values: list[Any]) -> Parameter | None:
    """Return a parameter with the range of its values, or None if they are all the same."""
    different = list(dict.fromkeys(value for value in values if isinstance(value, str | int | float | bool | None)))
    if len(different) < 2:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in different):
        return Parameter(name=name, kind="choice", values=tuple(different))
    numbers = [value for value in different if isinstance(value, int | float)]
    low, high = min(numbers), max(numbers)
    kind: Any = "int" if all(isinstance(value, int) for value in numbers) else "float"
    return Parameter(name=name, kind=kind, low=low, high=high, log=low > 0 and high / low >= MIN_LOG_RATIO)
