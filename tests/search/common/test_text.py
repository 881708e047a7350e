"""Test that every text of the report and of the verdict is translated, with the same placeholders."""

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from string import Formatter

import numpy as np
import pytest
from jinja2 import Environment, nodes

from search.common.korean import KOREAN, choose_particles
from search.common.text import Text, translate
from search.report.charts.base import capitalize
from search.results.columns import FIRST, NETWORK, find_column, task_columns
from search.results.verdict import baseline_label
from search.space.parameters import FIELDS
from stockrnn.prices.readers.table import read_shipped
from stockrnn.tasks.outlook import Outlook
from stockrnn.tasks.registry import TASKS
from stockrnn.tasks.task import Series

ROOT = Path(__file__).parents[3]


def in_python() -> Iterator[str]:
    """Return the templates of every `Text("...")`."""
    for path in (
        ROOT / "search/cli/summary.py",
        *ROOT.glob("search/results/*.py"),
        *ROOT.glob("search/report/**/*.py"),
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Text":
                (template, *_) = node.args
                if isinstance(template, ast.Constant):
                    yield template.value


def in_pages() -> Iterator[str]:
    """Return the templates of every `_("...")`."""
    for path in ROOT.glob("search/report/templates/*.html.j2"):
        for call in Environment().parse(path.read_text(encoding="utf-8")).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "_" and isinstance(call.args[0], nodes.Const):
                yield call.args[0].value


def in_text(text: str) -> Iterator[str]:
    """Return the templates of a text and of its values."""
    yield text.template if isinstance(text, Text) else text
    for value in text.values.values() if isinstance(text, Text) else ():
        if isinstance(value, Text):
            yield from in_text(value)


def in_columns() -> Iterator[str]:
    for column in (*FIRST, NETWORK, *(column for task in TASKS.values() for column in task_columns(task))):
        for text in filter(None, (column.label, column.meaning, column.unit)):
            yield from in_text(text)
    for name in (*FIELDS, "own_parameter", "test_own"):  # the columns of parameters and of another version
        column = find_column(name)
        yield from (text for text in (column.label, column.meaning, column.unit) if text and "own" not in text)


def in_tasks() -> Iterator[str]:
    """Return the words of all tasks, and the notes of their forecasts."""
    yield "Relative loss"  # of studies with different tasks
    series, last = Series(prices=read_shipped("nasdaq")), len(read_shipped("nasdaq")) - 1
    outlook = Outlook(
        series=series, origins=np.array([last]), train=range(last), trained_alike=True, sessions_a_year=252
    )  # fmt: skip
    for task in TASKS.values():
        words = asdict(task.words)
        yield from filter(None, (words[name] for name in words if words[name] != task.rival))
        yield from (capitalize(words[name]) for name in ("score", "daily_loss"))
        yield from (baseline_label(task.rival), *(note.template for note in task.show.headline(0.5, outlook).notes))


def has_words(template: str) -> bool:
    """Return whether a template has more than placeholders and signs."""
    return re.search(r"[a-z]", re.sub(r"{.*?}|%[12]", "", template), re.IGNORECASE) is not None


USED = {template for template in (*in_python(), *in_pages(), *in_columns(), *in_tasks()) if has_words(template)}


def placeholders(template: str) -> list[tuple[str, str]]:
    """Return names and formats, and the marks that the script of the page replaces."""
    fields = [(name, spec or "") for _, name, spec, _ in Formatter().parse(template) if name]
    return sorted({*fields, *((mark, "") for mark in re.findall("%[12]", template))})


def test_every_text_is_translated_and_no_translation_is_left_over():
    assert len(USED) > 200
    assert sorted(USED - set(KOREAN)) == []
    assert sorted(set(KOREAN) - USED) == []


@pytest.mark.parametrize("template", KOREAN)
def test_a_translation_has_the_same_placeholders(template):
    assert placeholders(KOREAN[template]) == placeholders(template)
    assert KOREAN[template].strip() == KOREAN[template] != ""


def test_a_text_is_a_string_and_its_values_are_translated_as_well():
    text = Text("{name}: {score:.4f}", name=Text("persistence"), score=1)
    assert text == "persistence: 1.0000"
    assert translate({"name": [text, "persistence", 3]}, "en") == {"name": [text, "persistence", 3]}
    assert translate({"name": [text, "persistence", 3]}, "ko") == {
        "name": [f"{KOREAN['persistence']}: 1.0000", "persistence", 3]
    }
    assert translate(Text("{n} words that nobody translated", n=2), "ko") == "2 words that nobody translated"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("오차이(가) 작음", "오차가 작음"),
        ("QLIKE 손실이(가) 작음", "QLIKE 손실이 작음"),
        ("'내일은 오늘과 같다'와(과) 같음", "'내일은 오늘과 같다'와 같음"),
        ("persistence와(과) 같음", "persistence와 같음"),
        ("기저율을(를) 낮춤", "기저율을 낮춤"),
        ("7은(는) 크고 5은(는) 작음", "7은 크고 5는 작음"),
        ("(이)(가)", "(이)(가)"),
    ],
)
def test_a_particle_agrees_with_the_sound_before_it(text, chosen):
    assert choose_particles(text) == chosen
