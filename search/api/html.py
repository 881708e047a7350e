"""Show a study in a notebook: its verdict and the best rows of its leaderboard as HTML."""

from collections.abc import Sequence
from html import escape

from search.api.words import in_python_words
from search.common.messages import one_line
from search.results.columns import find_column
from search.results.leaderboard import format_cell
from search.results.ranking import ALWAYS_SHOWN, Row, network
from search.results.reader import StudyData
from stockrnn.tasks.task import Task

__all__ = ["study_html"]

MAX_ROWS = 10
COLUMNS = ("rank", "trial_id", "status", "network", "val_relative_loss", "val_relative_loss_sd", "test_relative_loss")


def study_html(study: StudyData, place: str) -> str:
    """Return the verdict, the best trials, all baselines and the default configuration."""
    rows = [
        {**row, "network": network(row)}
        for position, row in enumerate(study.rows)
        if position < MAX_ROWS or row["status"] in ALWAYS_SHOWN
    ]
    names = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    if study.metric not in names:
        names.append(study.metric)
    trials = f"{len(study.ends)} trials" if len(study.ends) != 1 else "1 trial"
    return (
        f"<div><p><b>{_text(place)}</b> ({_text(study.state)}, {trials})</p>"
        f"<p>{_text(in_python_words(study.verdict))}</p>"
        f"{_table(rows, names, study.task)}</div>"
    )


def _table(rows: Sequence[Row], names: Sequence[str], task: Task) -> str:
    columns = [find_column(name, task) for name in names]
    heads = "".join(f'<th title="{_text(column.description)}">{_text(column.label)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(format_cell(name, row.get(name)))}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    return escape(one_line(text))
