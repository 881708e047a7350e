"""A study that began earlier: what it left, and whether it is still the same study."""

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from search.common.errors import DamagedError
from search.common.messages import format_value
from search.results.event_log import TRIAL_ID, TrialEnd, cut_torn_line, ends_of, events_in
from search.results.links import check_folder
from search.results.manifest import versions
from search.results.ranking import ENSEMBLE
from search.results.schemas import NEEDED, manifest
from search.space.space import Space
from stockrnn.evaluation.baselines import BASELINES
from stockrnn.prices.series import Prices

__all__ = ["Begun", "changes", "finished", "read_begun", "read_manifest"]

FREE = (  # what may change from one part of a study to the next: it changes no score of a trial
    "search.num_samples", "search.max_failures", "search.stall_timeout", "search.finalists", "search.finalist_seeds",
    "resources", "tracking",
)  # fmt: skip
TELLING = ("python", "torch", "ray", "optuna", "numpy", "stockrnn-search")


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What a study left behind.

    Attributes:
        events: of its record.
        notes: what was found damaged and could be mended, one line each.
    """

    manifest: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    notes: Sequence[str]

    @property
    def ends(self) -> list[TrialEnd]:
        """How its trials ended; those that were interrupted have not."""
        return finished(self.events)

    @property
    def unfinished(self) -> dict[str, Mapping[str, Any]]:
        """The points of the trials that have begun and not ended, by id."""
        ended = {event["trial_id"] for event in self.events if event["event"] == "end"}
        points = {event["trial_id"]: event["point"] for event in self.events if "point" in event}
        return {trial_id: point for trial_id, point in points.items() if trial_id not in ended}

    def resumed(self, start: str, command: str, space: Space, prices: Prices) -> dict[str, Any]:
        """The manifest as it is once the study goes on, with what has changed; empty where it has not begun."""
        if not self.manifest:
            return {}
        goes_on = {
            "time": start, "command": command, "trials": len(self.ends),
            "changes": changes(self.manifest, space, prices),
        }  # fmt: skip
        return {
            **self.manifest, "test_openings": self.manifest.get("test_openings") or [],
            "end": None, "seed": space.seed, "versions": versions(),
            "space": yaml.safe_load(space.as_yaml()), "resumes": [*(self.manifest.get("resumes") or []), goes_on],
        }  # fmt: skip


def finished(events: Sequence[Mapping[str, Any]]) -> list[TrialEnd]:
    """The trials that have ended for good, in the order in which they did."""
    return [end for end in ends_of(events) if end.status != "interrupted"]


def read_begun(folder: Path) -> Begun:
    """Read a study's folder, and clear away what is a cache or torn.

    The folder must be locked.

    Raises:
        ValueError: a file of it is damaged beyond that, in one line.
    """
    check_folder(folder)
    record = folder / "trials.jsonl"
    torn = cut_torn_line(record)
    notes = [f"{record}: its last line was torn and is cut off ({torn} bytes)"] if torn else []
    events = []
    for event in events_in(record) if record.exists() else ():
        if event["event"] == "epoch":
            event["scores"] = {}  # what ranks is in the ends; a million epochs fit into memory
        events.append(event)
        if not TRIAL_ID.fullmatch(event["trial_id"]):
            raise DamagedError(
                f"{record}: {format_value(event['trial_id'])} is no trial of a study that was begun here; they have "
                "numbers; copy the study's folder again"
            )
    document = read_manifest(folder / "manifest.json")
    for opening in document.get("test_openings") or []:
        for name in opening.get("scores") or {}:
            if not TRIAL_ID.fullmatch(name) and name not in (*BASELINES, ENSEMBLE):  # TensorBoard makes it a folder
                raise DamagedError(
                    f"{folder / 'manifest.json'}: test_openings: {format_value(name)} is neither a trial nor a "
                    "baseline; the test block scores those; copy the study's folder again"
                )
    shutil.rmtree(folder / "ray", ignore_errors=True)
    return Begun(manifest=document, events=events, notes=notes)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a study that is to go on.

    Raises:
        DamagedError: it is none, or lacks what a study needs to go on.
    """
    return manifest(path, NEEDED)


def changes(manifest: Mapping[str, Any], space: Space, prices: Prices) -> list[str]:
    """What is no longer as it was when the study began, one line each; empty where it is the same study.

    Raises:
        DamagedError: the study's prices are damaged.
    """
    ordered = (np.diff(prices.dates) > np.timedelta64(0)).all()
    if "close" not in prices.columns or not ordered or not np.isfinite(prices.values).all():
        raise DamagedError(f"{prices.source}: the study's prices are damaged; copy the study's folder again")
    was = dict(_flat(manifest.get("space") or {}))
    now = dict(_flat(yaml.safe_load(space.as_yaml())))
    lines = [
        f"{key} is {_shown(now, key)}, and was {_shown(was, key)}"
        for key in dict.fromkeys(itertools.chain(was, now))
        if was.get(key) != now.get(key) and not key.startswith(FREE)
    ]
    data = manifest.get("data") or {}
    if data.get("sha256") != prices.sha256:
        lines.append(f"the prices differ: {prices.source}, {len(prices)} sessions to {prices.dates[-1]}")
    before, here = manifest.get("versions") or {}, versions()
    return lines + [
        f"{name} is {here.get(name)}, and was {before.get(name)}"
        for name in TELLING
        if _minor(before.get(name)) != _minor(here.get(name))
    ]


def _flat(value: Mapping[str, Any], *above: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and len(above) < 1:
            yield from _flat(item, *above, str(key))
        else:
            yield ".".join((*above, str(key))), item


def _shown(values: Mapping[str, Any], key: str) -> str:
    return str(values[key])[:60] if key in values else "not there"


def _minor(version: str | None) -> str:
    return ".".join((version or "").split("+")[0].split(".")[:2])
