"""Format the summary of a finished study: the leaderboard, the verdict, and where the files are."""

import textwrap
from importlib.util import find_spec
from pathlib import Path

from search.common.durations import format_duration
from search.common.text import Text, translate
from search.results.leaderboard import table
from search.results.ranking import BASELINE, ENSEMBLE
from search.space.space import Space
from search.study.study import Outcome
from stockrnn.io.storage import join_path

__all__ = ["summary"]

MAX_ROWS = 10
WIDTHS = {"en": 80, "ko": 44}  # characters of a line; a Korean letter is twice as wide
MAX_RUNNING = 4  # running trials that are named


def summary(space: Space, outcome: Outcome, folder: Path, place: str, language: str = "en") -> str:
    """Return the best trials, the verdict, how the study ended, and its files.

    Args:
        space: the study's space.
        outcome: its result.
        folder: the results folder on this machine.
        place: the folder or URL of the results, as the user names it.
        language: of the text; the head of the table is in English.
    """
    parts: list[str] = [table(outcome.rows, top=MAX_ROWS, metric=space.search.metric, task=space.task)]
    if more := sum(row["status"] not in (BASELINE, ENSEMBLE) for row in outcome.rows[MAX_ROWS:]):
        parts.append(Text("and {n} more: {command}", n=more, command=f"python -m search.leaderboard {place}"))
    parts.append("")
    said = " ".join(translate(list(outcome.sentences), language)) if outcome.sentences else outcome.verdict
    parts.append(textwrap.fill(said, WIDTHS[language]))
    parts += translate(_describe_end(space, outcome, place), language)
    parts.append("")
    ended, seconds = _count_ended(outcome), format_duration(outcome.seconds)
    if outcome.before:
        parts.append(
            Text("{n} trials ({before} before the resume) in {time}", n=ended, before=outcome.before, time=seconds)
        )
    else:
        parts.append(Text("{n} trials in {time}", n=ended, time=seconds))
    for what, name in (("report", "report.html"), ("leaderboard", "leaderboard.csv"), ("every epoch", "trials.jsonl")):
        if (folder / name).exists():
            parts.append(f"{what:13}{join_path(place, name)}")
    if place != str(folder):
        parts.append(f"{'copy':13}{folder}")
    missing = "" if find_spec("optuna_dashboard") else "  (pip install optuna-dashboard)"
    parts.append(f"{'dashboard':13}optuna-dashboard {folder / 'study.journal'}{missing}")
    return "\n".join(translate(parts, language))


def _count_ended(outcome: Outcome) -> int:
    return sum(end.status != "interrupted" for end in outcome.ends)


def _describe_end(space: Space, outcome: Outcome, place: str) -> list[str]:
    """Return how the study ended, if it did not run all trials, and the command that continues it."""
    ended = _count_ended(outcome)
    resume = f"python -m search.run --resume {place}"
    parts: list[str] = []
    if outcome.before == ended >= space.num_samples:
        parts.append(Text("All {n} trials had already ended; leaderboard and report are written again.", n=ended))
    if outcome.interrupted:
        parts.append(
            Text("Interrupted after {n} of {all} trials; all ended trials are saved.", n=ended, all=space.num_samples)
        )
        parts.append(Text("To continue: {command}", command=resume))
    elif ended == 0 and not outcome.failure:
        parts.append(textwrap.fill(_nothing_ended(space, outcome), 80))
        parts.append(Text("To continue: {command}", command=f"{resume} --time-budget TIME"))
    elif ended < space.requested_samples and not outcome.failure:
        exhausted = not space.count_new_points((end.point for end in outcome.ends), 1)
        if exhausted:
            parts.append(
                Text(
                    "All {n} different points of the space were tried, so the search ended before search.num_samples, "
                    "{requested}.",
                    n=space.num_samples, requested=space.requested_samples,
                )
            )  # fmt: skip
        else:
            parts.append(
                Text("The time budget ended the search after {n} of {all} trials.", n=ended, all=space.num_samples)
            )
    return parts


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
