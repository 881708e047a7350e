"""Reword messages of the command line for Python."""

import ast
import re
from pathlib import Path

import pytest

from search.api.words import in_python_words

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train longer, with --set scheduler.max_epochs=60.",
         'train longer, with overrides={"scheduler.max_epochs": 60}.'),
        ('add --fit, which does the same as --set data.test_size=40 --set "validation.fold_size=30"',
         'add fit=True, which does the same as overrides={"data.test_size": 40, "validation.fold_size": 30}'),
        ("write --set 'data.sources=[\"a.csv\", b.csv]'", "write overrides={\"data.sources\": ['a.csv', 'b.csv']}"),
        ("write --set space.hidden_size=...", 'write overrides={"space.hidden_size": ...}'),
        ("exists already; continue it with --resume results/a.b, choose another name with --name, or remove the folder",
         "exists already; continue it with search.open_study('results/a.b').resume(), choose another name with "
         'overrides={"name": ...}, or remove the folder'),
        ("--resume results/all: seed is 1\n--resume results/all: undo the change, or add --force",
         "results/all: seed is 1\nresults/all: undo the change, or add force=True"),
        ("the disk is full; make room, and continue with --resume s3://bucket/all",
         "the disk is full; make room, and continue with search.open_study('s3://bucket/all').resume()"),
        ("for a ticker, write --ticker ^KS11", 'for a ticker, write overrides={"data.ticker": "^KS11"}'),
        ("a.csv:3: Close: 'x' is not a number; correct it", "a.csv:3: Close: 'x' is not a number; correct it"),
    ],
)  # fmt: skip
def test_options_become_arguments(text, expected):
    assert in_python_words(text) == expected


# Options whose messages do not reach a user of Python: of other commands, of clusters, and those without an argument.
APART = {
    "--insecure", "--calendar", "--date-format", "--prices", "--refit", "--output", "--language", "--version",
    "--refresh", "--address", "--download-limit", "--name",
}  # fmt: skip


def messages(path):
    """Return the texts of a module that are no docstrings; every value in them is `x=1`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "x=1" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts | docstrings:
            yield re.sub("{.*?}", "x=1", node.value)


def test_no_message_of_a_study_names_an_option_that_python_lacks():
    found = {
        (path.name, option)
        for folder in ("cli", "cluster", "results", "space", "study", "optuna_journal")
        for path in (ROOT / "search" / folder).rglob("*.py")
        if path.name not in ("options.py", "summary.py", "dry_run.py")
        for text in messages(path)
        if " " in text  # not the name of an option alone
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*\b", in_python_words(text))
    }
    assert {(name, option) for name, option in found if option not in APART} == set()
