"""What the files of a results folder say, read leniently: of a study that ran, still runs, or broke off."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from search.document import Document
from search.leaderboard import read_csv
from search.parameters import Parameter
from search.predictions import read_predictions
from search.record import INTERRUPTED, STATUSES, read_events
from search.settings import SECTIONS
from search.shapes import manifest
from search.space import SpaceError, load_space
from search.verdict import verdict
from stockrnn.scores import METRICS

__all__ = ["RUNNING", "Days", "Findings", "finite", "read_findings", "seconds_between"]

RUNNING = "running"
WIDE = 100  # a parameter whose largest value is so many times its smallest is shown on a logarithmic axis


@dataclass(frozen=True, kw_only=True)
class Days:
    """What one trial forecast, day by day, in price points; arrays of shape (days,), in the order of the dates."""

    dates: list[str]
    folds: np.ndarray
    forecast: np.ndarray
    actual: np.ndarray
    previous: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study's files.

    Attributes:
        names, rows: the leaderboard's columns, and its rows as texts.
        events: of `trials.jsonl`.
        ends: the event that ended a trial, by trial id.
        statuses: of every trial that reported, by trial id.
    """

    folder: Path
    manifest: Mapping[str, Any]
    space: Mapping[str, Any]
    space_text: str
    names: list[str]
    rows: list[dict[str, str]]
    events: list[dict[str, Any]]
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Trials by status, those statuses that occur."""
        counts = Counter(self.statuses.values())
        return [(status, counts[status]) for status in (*STATUSES, RUNNING) if counts[status]]

    @property
    def last(self) -> str | None:
        """The time of the last thing that happened."""
        times = (event["time"] for event in self.events)
        return self.manifest.get("end") or max(times, default=self.manifest.get("start"))

    @property
    def seconds(self) -> float:
        """How long the study took, or has taken so far."""
        return self.manifest.get("seconds") or seconds_between(self.manifest.get("start"), self.last)

    @property
    def verdict(self) -> str:
        """The manifest's, or what the leaderboard says so far."""
        rows = [
            {name: finite(text) if name.startswith(("val_", "test_")) else text for name, text in row.items()}
            for row in self.rows
        ]
        return str(self.manifest.get("verdict") or verdict(rows, self.manifest.get("proof")))

    @property
    def metric(self) -> str:
        """What the study ranks by."""
        return str(self.space["search"].get("metric") or "val_theils_u")

    @property
    def lower_is_better(self) -> bool:
        """Whether the best trial is the one with the smallest score."""
        return METRICS.get(self.metric, "min") == "min"

    @property
    def rungs(self) -> list[int]:
        """The epochs after which ASHA may stop a trial; none where the space cannot be read."""
        return list(self._read_space.scheduler.rungs) if self._read_space else []

    @cached_property
    def scored(self) -> list[dict[str, Any]]:
        """The trials that ended with a score of the metric: their ends with `score` beside, best first."""
        sign = 1 if self.lower_is_better else -1
        ends = [
            end | {"score": float(value)}
            for end in self.ends.values()
            if isinstance(value := (end.get("scores") or {}).get(self.metric), int | float) and math.isfinite(value)
        ]
        return sorted(ends, key=lambda end: (sign * end["score"], end["trial_id"]))

    @cached_property
    def varying(self) -> tuple[Parameter, ...]:
        """The parameters that vary: as the space has them, else as the trials' points show them."""
        if self._read_space:
            return self._read_space.varying
        points = [end.get("point") or {} for end in self.ends.values()]
        names = dict.fromkeys(name for point in points for name in point)
        return tuple(
            parameter
            for name in names
            if (parameter := _guessed(name, [point[name] for point in points if name in point]))
        )

    @cached_property
    def finalists(self) -> list[str]:
        """The trial ids of the finalists, best first; before the test block was opened, of the best three trials."""
        openings = self.manifest.get("test_openings") or [{}]
        chosen = [str(one["trial_id"]) for one in openings[-1].get("finalists") or [] if "trial_id" in one]
        return chosen or [end["trial_id"] for end in self.scored[:3]]

    @cached_property
    def validation(self) -> dict[str, Days]:
        """What the finalists forecast on validation, by trial id."""
        return self._days("validation")

    @cached_property
    def test(self) -> dict[str, Days]:
        """What finalists, their average and baselines forecast on the test block; empty before it was opened."""
        return self._days("test")

    def _days(self, split: str) -> dict[str, Days]:
        folder = self.folder / "predictions.parquet"
        if not folder.exists():
            return {}
        table = read_predictions(folder, split)
        ids = np.array(table["trial_id"].to_pylist(), dtype=object)
        arrays = {name: table[name].to_numpy() for name in ("fold", "date", "forecast", "actual", "previous")}
        wanted = self.finalists if split == "validation" else list(dict.fromkeys(ids.tolist()))
        days = {}
        for trial_id in wanted:
            own = np.flatnonzero(ids == trial_id)
            if not len(own):
                continue
            own = own[np.argsort(arrays["date"][own], kind="stable")]
            days[trial_id] = Days(
                dates=[str(day) for day in arrays["date"][own].astype("datetime64[D]")], folds=arrays["fold"][own],
                **{name: arrays[name][own].astype(float) for name in ("forecast", "actual", "previous")},
            )  # fmt: skip
        return days

    @cached_property
    def _read_space(self) -> Any:
        path = self.folder / "space.yaml"
        try:
            return load_space(str(path)) if path.exists() else None
        except SpaceError:
            return None


def read_findings(folder: Path) -> Findings:
    """A results folder's files; one that is not there yet does no harm, but for the manifest.

    Raises:
        ValueError: the folder is no study, or a file of it is damaged.
    """
    known = {"name": folder.name, "data": {}, "folds": [], "test": [], "versions": {}}
    known |= {name: value for name, value in manifest(folder / "manifest.json").items() if value is not None}
    text, space = _space(folder / "space.yaml")
    events = read_events(record) if (record := folder / "trials.jsonl").exists() else []
    names, rows = read_csv(board) if (board := folder / "leaderboard.csv").exists() else ([], [])
    return Findings(
        folder=folder, manifest=known, space=space, space_text=text, names=names, rows=rows, events=events,
        ends={event["trial_id"]: event for event in events if event["event"] in ("end", INTERRUPTED)},
        statuses={event["trial_id"]: event.get("status", RUNNING) for event in events},
    )  # fmt: skip


def finite(text: str) -> float | None:
    """The finite number that a text is, else None."""
    try:
        return value if math.isfinite(value := float(text)) else None
    except ValueError:
        return None


def seconds_between(start: str | None, end: str | None) -> float:
    """Seconds between two times in ISO 8601; 0 where one is unknown."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() if start and end else 0


def _space(path: Path) -> tuple[str, dict[str, Any]]:
    """A space file's text, and its sections as they stand there: it may be that of another version."""
    if not path.exists():
        return "", {"validation": {}, "search": {}}
    document = Document(str(path))
    sections = {name: section for name, section in document.data.items() if section or section == 0}
    for name in SECTIONS:
        if not isinstance(sections.get(name, {}), dict):
            raise ValueError(f"{path}: {name}: is no section; a section holds keys; copy the study's folder again")
    return document.text, {"validation": {}, "search": {}} | sections


def _guessed(name: str, values: list[Any]) -> Parameter | None:
    """A parameter as its values show it, or None where they are all the same."""
    different = list(dict.fromkeys(value for value in values if isinstance(value, str | int | float | bool | None)))
    if len(different) < 2:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in different):
        return Parameter(name=name, kind="choice", values=tuple(different))
    numbers = [value for value in different if isinstance(value, int | float)]
    low, high = min(numbers), max(numbers)
    kind: Any = "int" if all(isinstance(value, int) for value in numbers) else "float"
    return Parameter(name=name, kind=kind, low=low, high=high, log=low > 0 and high / low >= WIDE)
