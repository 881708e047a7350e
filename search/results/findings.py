"""What the files of a results folder say, read leniently: of a study that ran, still runs, or broke off."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from search.common.errors import DamagedError
from search.results.event_log import INTERRUPTED, STATUSES, events_in
from search.results.leaderboard import read_csv
from search.results.predictions import forecast_days
from search.results.schemas import MOST_TRIALS, manifest
from search.results.verdict import verdict
from search.space.document import SpaceDocument
from search.space.parameters import Parameter
from search.space.sections import SECTIONS
from search.space.space import SpaceError, load_space
from stockrnn.evaluation.scores import METRICS

__all__ = ["MOST_DRAWN", "RUNNING", "Days", "Findings", "drawn", "finite", "read_findings", "seconds_between"]

RUNNING = "running"
MOST_DRAWN = 1000  # trials that a chart or a table shows: a browser shows no more of them well
MOST_POINTS = 1_000_000  # epochs with a score of all trials together, as many as memory holds
READ: dict[str, dict[str, type]] = {  # what is read from a space that need not be one of this version, and what it is
    "search": {"metric": str, "mode": str, "num_samples": int, "sampler": str},
    "validation": {"folds": int, "seeds": int},
    "data": {"horizon": int},
}
NAMES = {str: "text", int: "whole number"}
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
        curves: Theil's U on validation by epoch, by trial id.
        time: of the last event of `trials.jsonl`.
        ends: the event that ended a trial, by trial id.
        statuses: of every trial that reported, by trial id.
    """

    folder: Path
    manifest: Mapping[str, Any]
    space: Mapping[str, Any]
    space_text: str
    names: list[str]
    rows: list[dict[str, str]]
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    time: str | None = None
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
        return self.manifest.get("end") or self.time or self.manifest.get("start")

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
        chosen = [one["trial_id"] for one in openings[-1].get("finalists") or [] if one.get("trial_id")]
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
        found = forecast_days(folder, split, self.finalists if split == "validation" else None)
        return {
            trial_id: Days(
                dates=days["date"].astype("datetime64[D]").astype(str).tolist(), folds=days["fold"],
                **{name: days[name].astype(float) for name in ("forecast", "actual", "previous")},
            )
            for trial_id, days in found.items()
        }  # fmt: skip

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
    names, rows = read_csv(board, MOST_DRAWN) if (board := folder / "leaderboard.csv").exists() else ([], [])
    found = Findings(folder=folder, manifest=known, space=space, space_text=text, names=names, rows=rows)
    record = folder / "trials.jsonl"
    return _with_events(found, record) if record.exists() else found


def _with_events(found: Findings, record: Path) -> Findings:
    """Findings with what the record says, read once from its first line to its last."""
    time, points = "", 0
    for event in events_in(record):
        trial_id = event["trial_id"]
        time = max(time, event["time"])
        found.statuses[trial_id] = event.get("status", RUNNING)
        if event["event"] in ("end", INTERRUPTED):
            found.ends[trial_id] = event
        elif event["event"] == "epoch" and isinstance(value := event["scores"].get("val_theils_u"), float | int):
            found.curves.setdefault(trial_id, {})[event["epoch"]] = value
            points += 1
        if len(found.statuses) > MOST_TRIALS or points > MOST_POINTS:
            raise DamagedError(
                f"{record}: has more than {MOST_TRIALS} trials or {MOST_POINTS} epochs; a study has no more; "
                "copy the study's folder again"
            )
    return replace(found, time=time or None)


def drawn(items: Sequence[Any]) -> Sequence[Any]:
    """MOST_DRAWN of the items at most, evenly from the first to the last, both included."""
    if len(items) <= MOST_DRAWN:
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, MOST_DRAWN).round().astype(int).tolist()]


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
    document = SpaceDocument(str(path))
    sections = {name: section for name, section in document.data.items() if section or section == 0}
    for name in SECTIONS:
        section = sections.get(name, {})
        if not isinstance(section, dict):
            raise DamagedError(f"{path}: {name}: is no section; a section holds keys; copy the study's folder again")
        for key, kind in READ.get(name, {}).items():
            if not isinstance(section.get(key), kind | None) or isinstance(section.get(key), bool):
                raise DamagedError(f"{path}: {name}.{key}: is no {NAMES[kind]}; copy the study's folder again")
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
