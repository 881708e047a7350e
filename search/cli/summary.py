"""Format the summary of a finished study: the leaderboard, the verdict, and where the files are."""

import shlex
import textwrap
import unicodedata
from importlib.util import find_spec
from pathlib import Path

from search.common.durations import format_duration
from search.common.text import Text, translate
from search.results.leaderboard import table
from search.results.ranking import ALWAYS_SHOWN
from search.results.verdict import longer_training, needs_longer_training
from search.space.space import Space
from search.study.study import Outcome
from stockrnn.io.storage import join_path

__all__ = ["summary"]

MAX_ROWS = 10
LABEL_WIDTH = 13  # columns, of the labels of files
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
    if more := sum(row["status"] not in ALWAYS_SHOWN for row in outcome.rows[MAX_ROWS:]):
        parts.append(Text("and {n} more: {command}", n=more, command=f"python -m search.leaderboard {place}"))
    parts.append("")
    said = " ".join(translate(list(outcome.sentences), language)) if outcome.sentences else outcome.verdict
    parts.append(textwrap.fill(said, WIDTHS[language]))
    parts += _describe_end(space, outcome, place, language)
    parts += _suggest_longer_training(space, outcome, folder)
    parts.append("")
    ended, seconds = _count_ended(outcome), format_duration(outcome.seconds)
    if outcome.before:
        parts.append(
            Text("{n} trials ({before} before the resume) in {time}", n=ended, before=outcome.before, time=seconds)
        )
    else:
        parts.append(Text("{n} trials in {time}", n=ended, time=seconds))
    files = (
        (Text("report"), "report.html"), (Text("leaderboard"), "leaderboard.csv"), (Text("every epoch"), "trials.jsonl")
    )  # fmt: skip
    lines: list[tuple[Text, str]] = [(what, join_path(place, name)) for what, name in files if (folder / name).exists()]
    if place != str(folder):
        lines.append((Text("copy"), str(folder)))
    missing = "" if find_spec("optuna_dashboard") else "  (pip install optuna-dashboard)"
    lines.append((Text("dashboard"), f"optuna-dashboard {folder / 'study.journal'}{missing}"))
    parts += [_pad(translate(what, language), LABEL_WIDTH) + where for what, where in lines]
    return "\n".join(translate(parts, language))


def _pad(text: str, width: int) -> str:
    """Return a text with spaces up to a width of a terminal, in which a Korean letter has two columns."""
    columns = sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)
    return text + " " * max(1, width - columns)


def _count_ended(outcome: Outcome) -> int:
    return sum(end.status != "interrupted" for end in outcome.ends)


def _describe_end(space: Space, outcome: Outcome, place: str, language: str) -> list[str]:
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
        said = translate(_nothing_ended(space, outcome), language)
        parts.append(textwrap.fill(" ".join(said), WIDTHS[language]))
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
    if outcome.test_kept and not outcome.interrupted and not outcome.failure:
        parts.append(
            Text(
                "The test set was not evaluated again: its results are those of the earlier finalists. To evaluate the "
                "finalists of now, which makes the test set less independent: {command}",
                command=f"{resume} --reopen-test",
            )
        )
    return parts


def _suggest_longer_training(space: Space, outcome: Outcome, folder: Path) -> list[str]:
    """Return the command that trains longer, if most of the best trials were still improving."""
    max_epochs = space.scheduler.max_epochs
    if outcome.interrupted or outcome.failure or not needs_longer_training(outcome.rows, max_epochs):
        return []
    command = (
        f"python -m search.run {shlex.quote(str(folder / 'space.yaml'))} --name {space.name}-longer "
        f"--set {longer_training(max_epochs)}"
    )
    return [Text("To train longer: {command}", command=command)]


def _nothing_ended(space: Space, outcome: Outcome) -> list[Text]:
    """Return how long the start took and how far the trials were when the time budget ended, in sentences."""
    running = [
        Text("{trial} had reached epoch {epoch}.", trial=end.trial_id, epoch=end.epochs)
        if end.epochs
        else Text("{trial} was in its first epoch.", trial=end.trial_id)
        for end in outcome.ends[:MAX_RUNNING]
    ]
    if more := len(outcome.ends[MAX_RUNNING:]):
        running.append(Text("{n} more trials were running.", n=more))
    return [
        Text("The time budget ended the search before any of its {n} trials had ended.", n=space.num_samples),
        Text("It started with the first trial, {time} after the study.", time=format_duration(outcome.startup or 0)),
        *running,
        Text("A trial has at most {n} epochs. Use a larger time budget.", n=space.scheduler.max_epochs),
    ]
