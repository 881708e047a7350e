"""Resume a study: read what it has done, and check that it is still the same study."""

import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from search.common.errors import DamagedError
from search.common.messages import format_value
from search.results.event_log import TRIAL_ID, TrialEnd, TrialLog, cut_torn_line
from search.results.folder.links import check_folder
from search.results.manifest import read_versions
from search.results.ranking import ENSEMBLE
from search.results.reader import read_study
from search.results.schemas import NEEDED
from search.space.plugins import used_plugins
from search.space.space import Space
from stockrnn.plugins import KINDS
from stockrnn.prices.series import Prices
from stockrnn.tasks.registry import TASKS

__all__ = ["ResumeState", "list_changes", "read_resume_state"]

FREE = (  # keys that may change on a resume, because they do not change the score of a trial
    "search.num_samples", "search.max_failures", "search.stall_timeout", "search.finalists", "search.finalist_seeds",
    "resources", "tracking",
)  # fmt: skip
COMPARED_VERSIONS = ("python", "torch", "ray", "optuna", "numpy", "stockrnn-search")


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """What a study that is resumed has done; empty for a new study.

    Attributes:
        log: its trials.
        notes: what was damaged and is repaired, one line each.
    """

    manifest: Mapping[str, Any] = field(default_factory=dict)
    log: TrialLog = field(default_factory=TrialLog)
    notes: Sequence[str] = ()

    @property
    def ends(self) -> list[TrialEnd]:
        """The trials that ended; those that were interrupted have not."""
        return self.log.finished

    @property
    def unfinished(self) -> dict[str, Mapping[str, Any]]:
        """The points of the trials that started and did not end, by trial id."""
        finished = {end.trial_id for end in self.ends}
        return {trial_id: point for trial_id, point in self.log.points.items() if trial_id not in finished}

    def resumed(self, start: str, command: str, space: Space, prices: Prices) -> dict[str, Any]:
        """Return the manifest of the resumed study, which lists what has changed; empty for a new study."""
        if not self.manifest:
            return {}
        resume = {
            "time": start, "command": command, "trials": len(self.ends),
            "changes": list_changes(self.manifest, space, prices),
        }  # fmt: skip
        return {
            **self.manifest, "test_openings": self.manifest.get("test_openings") or [],
            "end": None, "seed": space.seed, "versions": read_versions(),
            "plugins": [asdict(plugin) for plugin in used_plugins(space)],
            "space": yaml.safe_load(space.as_yaml()), "resumes": [*(self.manifest.get("resumes") or []), resume],
        }  # fmt: skip


def read_resume_state(folder: Path) -> ResumeState:
    """Read the folder of a study that is to be resumed; remove Ray's cache and an incomplete last line of the log.

    The folder must be locked.

    Raises:
        DamagedError: another part of a file is damaged.
    """
    check_folder(folder)
    log_file = folder / "trials.jsonl"
    torn = cut_torn_line(log_file)
    notes = [f"{log_file}: its last line was torn and is cut off ({torn} bytes)"] if torn else []
    study = read_study(folder, NEEDED)
    for trial_id in study.log.statuses:
        if not TRIAL_ID.fullmatch(trial_id):
            raise DamagedError(
                f"{log_file}: {format_value(trial_id)} is no trial of a study that was begun here; they have numbers; "
                "copy the study's folder again"
            )
    known = (*(name for task in TASKS.values() for name in task.baselines), ENSEMBLE)
    for opening in study.manifest.get("test_openings") or []:
        for name in opening.get("scores") or {}:
            if not TRIAL_ID.fullmatch(name) and name not in known:  # TensorBoard makes it a folder
                raise DamagedError(
                    f"{folder / 'manifest.json'}: test_openings: {format_value(name)} is neither a trial nor a "
                    "baseline; the test block scores those; copy the study's folder again"
                )
    shutil.rmtree(folder / "ray", ignore_errors=True)
    return ResumeState(manifest=study.manifest, log=study.log, notes=notes)


def list_changes(manifest: Mapping[str, Any], space: Space, prices: Prices) -> list[str]:
    """Return a line for each setting, price or version that differs from the start of the study; empty if none does.

    Raises:
        DamagedError: the study's prices are damaged.
    """
    ordered = (np.diff(prices.dates) > np.timedelta64(0)).all()
    if "close" not in prices.columns or not ordered or not np.isfinite(prices.values).all():
        raise DamagedError(f"{prices.source}: the study's prices are damaged; copy the study's folder again")
    was = dict(_flat(manifest.get("space") or {}))
    now = dict(_flat(yaml.safe_load(space.as_yaml())))
    lines = [
        f"{key} is {_format_value(now, key)}, and was {_format_value(was, key)}"
        for key in dict.fromkeys(itertools.chain(was, now))
        if was.get(key) != now.get(key) and not key.startswith(FREE)
    ]
    data = manifest.get("data") or {}
    if data.get("sha256") != prices.sha256:
        lines.append(f"the prices differ: {prices.source}, {len(prices)} sessions to {prices.dates[-1]}")
    before = (manifest.get("versions") or {}) | _plugin_versions(manifest.get("plugins") or [])
    here = read_versions() | _plugin_versions(map(asdict, used_plugins(space)))
    return lines + [
        f"{name} is {here.get(name)}, and was {before.get(name)}"
        for name in (*COMPARED_VERSIONS, *sorted({*before, *here} - {*COMPARED_VERSIONS}))
        if _minor(before.get(name)) != _minor(here.get(name))
    ]


def _flat(value: Mapping[str, Any], *above: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and len(above) < 1:
            yield from _flat(item, *above, str(key))
        else:
            yield ".".join((*above, str(key))), item


def _format_value(values: Mapping[str, Any], key: str) -> str:
    return str(values[key])[:60] if key in values else "not there"


def _minor(version: str | None) -> str:
    return ".".join((version or "").split("+")[0].split(".")[:2])


def _plugin_versions(plugins: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
    """Return the versions of plug-ins by a name that says what each of them is."""
    return {f"{KINDS.get(str(one.get('group')), 'entry')} {one.get('name')}": one.get("version") for one in plugins}
