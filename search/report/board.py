"""Build the leaderboard of the report: rows as formatted texts, and which scores are better than the rival."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.common.text import Text
from search.results.columns import find_column, format_number
from search.results.leaderboard import parse_number
from search.results.ranking import ALWAYS_SHOWN, network
from search.results.reader import MAX_SHOWN_TRIALS
from stockrnn.tasks.task import Task

__all__ = ["build_board", "compare_with_rival", "describe_network"]

MAX_BASELINES = 100  # rows of baselines after the first MAX_SHOWN_TRIALS rows
SCORE, NETWORK = Text("Score"), Text("Network")
GROUPS = (
    Text("Trial"), SCORE, NETWORK, Text("Test set"), Text("Validation"), Text("Parameters"), Text("Training"),
)  # fmt: skip
OWN_GROUPS = {"status": NETWORK, "network": NETWORK}


def build_board(names: Sequence[str], rows: Sequence[Mapping[str, str]], metric: str, task: Task) -> dict[str, Any]:
    """Return the leaderboard: its columns by group, columns without values, and its rows as formatted texts.

    `exact` has the unrounded numbers, by which the page sorts; `signs` tells which scores are better than the rival.

    Args:
        names: the columns of `leaderboard.csv`.
        rows: its rows, best first.
        metric: the column by which the study ranks.
        task: what the study forecasts.
    """
    place = names.index("status") + 1 if "status" in names else len(names)
    names = [*names[:place], "network", *names[place:]]
    shown = [{**row, "network": describe_network(row)} for row in _select_rows(rows)]
    used = [name for name in names if any(row.get(name) for row in shown)]
    filled = {name: [text for row in shown if (text := row.get(name))] for name in used if name != "trial_id"}
    numbers = {name for name, texts in filled.items() if all(parse_number(text) is not None for text in texts)}
    return {
        "groups": _group(used, metric, task),
        "columns": used,
        "empty": [name for name in names if name not in used],
        "numbers": numbers,
        "rows": [
            {name: _format(name, row.get(name, ""), task) if name in numbers else row.get(name, "") for name in used}
            for row in shown
        ],
        "exact": [{name: row.get(name, "") for name in numbers} for row in shown],
        "signs": [{name: compare_with_rival(name, row.get(name, ""), task) for name in numbers} for row in shown],
        "omitted": len(rows) - len(shown),
        "statuses": list(dict.fromkeys(row.get("status", "") for row in shown)),
    }


def compare_with_rival(name: str, text: str, task: Task) -> str:
    """Return `better` or `worse` than the rival for a score; empty if it is equal or the column has no such level."""
    column, value = find_column(name, task), parse_number(text)
    if column.rival is None or value is None or value == column.rival:
        return ""
    return "better" if (value < column.rival) == (column.better == "min") else "worse"


def describe_network(row: Mapping[str, str]) -> str:
    """Return the summary of a row's network; empty without a network."""
    return network(row) if row.get("architecture") else ""


def _select_rows(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the first rows, and the first baselines after them."""
    others = [row for row in rows[MAX_SHOWN_TRIALS:] if row.get("status") in ALWAYS_SHOWN]
    return [*rows[:MAX_SHOWN_TRIALS], *others[:MAX_BASELINES]]


def _group(names: Sequence[str], metric: str, task: Task) -> list[tuple[str, list[str]]]:
    """Return the columns by group. The scores that decide come first, so that a narrow screen shows them."""
    scores = dict.fromkeys((metric, "val_relative_loss", "test_relative_loss", "val_relative_loss_sd"))
    groups: dict[str, list[str]] = {title: [] for title in GROUPS}
    groups[SCORE] += [name for name in scores if name in names]
    for name in names:
        if name not in scores:
            groups.setdefault(OWN_GROUPS.get(name) or find_column(name, task).group, []).append(name)
    return [(title, own) for title, own in groups.items() if own]


def _format(name: str, text: str, task: Task) -> str:
    value = parse_number(text)
    return text if value is None else format_number(value, find_column(name, task).format)
