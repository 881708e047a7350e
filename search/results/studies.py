"""Studies on disk: their leaderboards from the record, finished or not, and the list of all in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.common.errors import UserError
from search.common.messages import one_line
from search.results.event_log import TrialEnd, read_ends
from search.results.manifest import scored_opening
from search.results.ranking import BASELINE, ENSEMBLE, Row, columns, rank
from search.results.schemas import MOST_TRIALS, manifest
from search.space.space import Space, SpaceError, load_space

__all__ = ["Study", "StudyError", "read_studies", "read_study"]

MOST_STUDIES = 500  # of a folder


class StudyError(UserError):
    """A folder that is no study, or a damaged one, in one line."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a results folder says, at this moment."""

    folder: Path
    manifest: dict[str, Any]
    space: Space
    ends: Sequence[TrialEnd]
    rows: list[Row]  # the leaderboard, from the record: nothing waits for the next rewrite of the CSV file

    @property
    def columns(self) -> tuple[str, ...]:
        """The leaderboard's."""
        return columns(self.space)

    @property
    def state(self) -> str:
        """`done`, `interrupted`, `timed out`, or `running`: which a study that broke off also says."""
        if not self.manifest.get("end"):
            return "running"
        if self.manifest.get("interrupted"):
            return "interrupted"
        return "done" if len(self.ends) >= self.space.num_samples else "timed out"

    def summary(self) -> Row:
        """The study in one row: name, start, state, trials, and the best trial's scores."""
        trials = [row for row in self.rows if row["status"] not in (BASELINE, ENSEMBLE) and row.get("rank")]
        best = trials[0] if trials else {}
        return {
            "study": self.folder.name,
            "start": str(self.manifest.get("start") or "")[:16].replace("T", " "),
            "state": self.state,
            "trials": f"{len(self.ends)}/{self.space.num_samples}",
            "source": str((self.manifest.get("data") or {}).get("source", "")),
            "best": best.get("trial_id", ""),
            "val_theils_u": best.get("val_theils_u"),
            "test_theils_u": best.get("test_theils_u"),
        }


def read_study(folder: Path) -> Study:
    """A study's folder.

    Raises:
        StudyError: it is none, or one of its files is damaged.
    """
    record = folder / "trials.jsonl"
    try:
        known = manifest(folder / "manifest.json")
        space = load_space(str(folder / "space.yaml"))
        ends = read_ends(record) if record.exists() else []
        if len(ends) > MOST_TRIALS:
            raise StudyError(f"{record}: has more than {MOST_TRIALS} trials; copy the study's folder again")
    except SpaceError as error:
        raise StudyError(error.problems[0]) from None
    except (OSError, UserError) as error:
        raise StudyError(one_line(str(error))) from None
    opening = scored_opening(known)
    rows = rank(
        ends, known.get("baselines") or {}, metric=space.search.metric, mode=space.mode,
        test=opening.get("scores"), ensemble=opening.get("ensemble"),
    )  # fmt: skip
    return Study(folder=folder, manifest=known, space=space, ends=ends, rows=rows)


def read_studies(folder: Path) -> tuple[list[Study], list[StudyError]]:
    """The studies in a folder of studies, oldest first, and what is wrong with those that cannot be read."""
    studies: list[Study] = []
    wrong: list[StudyError] = []
    paths = sorted(folder.glob("*/manifest.json"))
    if len(paths) > MOST_STUDIES:
        wrong.append(StudyError(f"{folder}: has {len(paths)} studies; the first {MOST_STUDIES} are listed; move some"))
    for path in paths[:MOST_STUDIES]:
        try:
            studies.append(read_study(path.parent))
        except StudyError as error:
            wrong.append(error)
    return sorted(studies, key=lambda study: str(study.manifest.get("start"))), wrong
