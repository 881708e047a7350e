"""Format the summary of a finished study: the leaderboard, the verdict, and where the files are."""

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

MAX_ROWS = 10
MAX_RUNNING = 4  # running trials that are named


def summary(space: Space, outcome: Outcome, folder: Path, place: str) -> str:
    """Return the best trials, the verdict, how the study ended, and its files.

    Args:
        space: the study's space.
        outcome: its result.
        folder: the results folder on this machine.
        place: the folder or URL of the results, as the user names it.
    """
    parts = [table(outcome.rows, top=MAX_ROWS, metric=space.search.metric)]
    if more := sum(row["status"] not in (BASELINE, ENSEMBLE) for row in outcome.rows[MAX_ROWS:]):
        parts.append(f"and {more} more: python -m search.leaderboard {place}")
    parts.append("")
    parts.append(textwrap.fill(outcome.verdict, 80))
    exhausted = not space.count_new_points((end.point for end in outcome.ends), 1)
    ended = sum(end.status != "interrupted" for end in outcome.ends)
    if outcome.before == ended >= space.num_samples:
        parts.append(f"All {ended} trials had already ended; leaderboard and report are written again.")
    if outcome.interrupted:
        parts.append(f"Interrupted after {ended} of {space.num_samples} trials; all ended trials are saved.")
        parts.append(f"To continue: python -m search.run --resume {place}")
    elif ended == 0 and not outcome.failure:
        parts.append(textwrap.fill(_nothing_ended(space, outcome), 80))
        parts.append(f"To continue: python -m search.run --resume {place} --time-budget TIME")
    elif ended < space.requested_samples and not outcome.failure and exhausted:
        parts.append(
            f"All {space.num_samples} different points of the space were tried, so the search ended before "
            f"search.num_samples, {space.requested_samples}."
        )
    elif ended < space.requested_samples and not outcome.failure:
        parts.append(f"The time budget ended the search after {ended} of {space.num_samples} trials.")
    parts.append("")
    before = f" ({outcome.before} before the resume)" if outcome.before else ""
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
    """Return how long the start took and how far the trials were when the time budget ended."""
    running = [
        f"{end.trial_id} had reached epoch {end.epochs}" if end.epochs else f"{end.trial_id} was in its first epoch"
        for end in outcome.ends[:MAX_RUNNING]
    ]
    if more := len(outcome.ends[MAX_RUNNING:]):
        running.append(f"and {more} more trials were running")
    return (
        f"The time budget ended the search before any of its {space.num_samples} trials had ended. It started with the "
        f"first trial, {format_duration(outcome.startup or 0)} after the study. At its end {', '.join(running)}, of at "
        f"most {space.scheduler.max_epochs} epochs. Use a larger time budget."
    )
