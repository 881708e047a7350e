"""What the terminal shows when a study has ended: the leaderboard, the verdict, and where everything is."""

import textwrap
from importlib.util import find_spec
from pathlib import Path

from search.common.durations import format_duration
from search.results.leaderboard import table
from search.results.ranking import BASELINE, ENSEMBLE
from search.space.space import Space
from search.study.study import Outcome
from stockrnn.io.storage import join_path

__all__ = ["summary"]

TOP = 10
SHOWN = 4  # running trials


def summary(space: Space, outcome: Outcome, folder: Path, place: str) -> str:
    """The leaderboard's head, the verdict, how the study ended, and its files.

    Args:
        folder: the study's on this machine.
        place: where its user put it, a folder or a URL.
    """
    parts = [table(outcome.rows, top=TOP, metric=space.search.metric)]
    if more := sum(row["status"] not in (BASELINE, ENSEMBLE) for row in outcome.rows[TOP:]):
        parts.append(f"and {more} more: python -m search.leaderboard {place}")
    parts.append("")
    parts.append(textwrap.fill(outcome.verdict, 80))
    ended = sum(end.status != "interrupted" for end in outcome.ends)
    if outcome.before == ended >= space.num_samples:
        parts.append(f"All {ended} trials had ended before; leaderboard and report are written anew.")
    if outcome.interrupted:
        parts.append(f"Interrupted after {ended} of {space.num_samples} trials; all that had ended is kept.")
        parts.append(f"To go on: python -m search.run --resume {place}")
    elif ended == 0 and not outcome.failure:
        parts.append(textwrap.fill(_nothing_ended(space, outcome), 80))
        parts.append(f"To go on: python -m search.run --resume {place} --time-budget TIME")
    elif ended < space.num_samples and not outcome.failure:
        parts.append(f"The time budget ended the study after {ended} of {space.num_samples} trials.")
    parts.append("")
    before = f" ({outcome.before} before it was resumed)" if outcome.before else ""
    parts.append(f"{ended} trials{before} in {format_duration(outcome.seconds)}")
    for what, name in (("report", "report.html"), ("leaderboard", "leaderboard.csv"), ("every epoch", "trials.jsonl")):
        if (folder / name).exists():
            parts.append(f"{what:13}{join_path(place, name)}")
    if place != str(folder):
        parts.append(f"{'copy':13}{folder}")
    missing = "" if find_spec("optuna_dashboard") else "  (pip install optuna-dashboard)"
    parts.append(f"{'dashboard':13}optuna-dashboard {folder / 'study.journal'}{missing}")
    return "\n".join(parts)


def _nothing_ended(space: Space, outcome: Outcome) -> str:
    """Return what the start took and what the trials had reached when the time budget was over."""
    running = [
        f"{end.trial_id} had reached epoch {end.epochs}" if end.epochs else f"{end.trial_id} was in its first epoch"
        for end in outcome.ends[:SHOWN]
    ]
    if more := len(outcome.ends[SHOWN:]):
        running.append(f"{more} more were running")
    return (
        f"The time budget ended the study before any of its {space.num_samples} trials had ended. It counts from the "
        f"first trial's start, {format_duration(outcome.startup or 0)} after the study's; by its end "
        f"{', '.join(running)}, of at most {space.scheduler.max_epochs} epochs. Give it more time."
    )
