"""Collect the top of the report: key figures, significance tests, and the forecast of the next session."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from search.common.text import Text
from search.report.board import compare_with_rival, describe_network
from search.results.leaderboard import parse_number
from search.results.ranking import BASELINE, ENSEMBLE
from search.results.reader import StudyData
from search.results.verdict import LEVEL, name_rival
from stockrnn.io.errors import UserError
from stockrnn.prices.snapshot import read_prices
from stockrnn.tasks.task import Task

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster
    from stockrnn.prices.series import Prices

__all__ = ["KeyFigure", "SignificanceTest", "find_docs", "list_key_figures", "list_tests", "short_source"]

PATH = re.compile(r"([A-Za-z]:)?[\\/]|~")
DOCS = Path(__file__).parents[2] / "docs"
OVERFITTING = Text("probability of backtest overfitting")
EVEN = 0.5  # the probability of backtest overfitting if all trials are equally good


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A large number at the top of the report.

    Attributes:
        sign: `better` or `worse` than the rival, or empty.
        notes: small lines below it.
    """

    label: Text
    value: str
    sign: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class SignificanceTest:
    """A row of the table of significance tests.

    Attributes:
        question: what the value is the answer to.
        value: as text.
        reading: whether it is evidence of skill.
        good: whether the reading is good; None if the value is not known.
    """

    name: Text
    question: Text
    value: str
    reading: str
    good: bool | None = None


def list_key_figures(study: StudyData) -> list[KeyFigure]:
    """Return the scores that decide, and the forecast of the next session."""
    trials = [row for row in study.csv_board[1] if row.get("status") not in (BASELINE, ENSEMBLE)]
    score = Text(study.task.words.score)
    figures = [
        KeyFigure(
            label=label, value=f"{float(row[name]):.4f}", sign=compare_with_rival(name, row[name], study.task),
            notes=(
                _compare(float(row[name]), study.task),
                Text("{who} {trial}", who=who, trial=f"{row['trial_id']}, {describe_network(row)}".rstrip(", ")),
            ),
        )
        for label, name, who in (
            (Text("{score} on validation", score=score), "val_relative_loss", Text("best trial")),
            (Text("{score} on the test set", score=score), "test_relative_loss", Text("first finalist")),
        )
        if (row := next((row for row in trials if parse_number(row.get(name, "")) is not None), None))
    ]  # fmt: skip
    return figures + list(filter(None, [_forecast_next(study)]))


def list_tests(study: StudyData) -> list[SignificanceTest]:
    """Return the tests of the first finalist and of the whole study; empty before there are any."""
    proof: Mapping[str, Any] = study.manifest.get("proof") or {}
    if not proof:
        return []
    row = next((row for row in study.csv_board[1] if row.get("trial_id") in study.finalists[:1]), {})
    reasons = proof.get("reasons") or {}
    first: list[tuple[Text, Text, float | None, str]] = [
        (name, question, parse_number(row[column]), "")
        for name, column, question in (
            (
                Text("Diebold-Mariano"), "test_dm_p",
                Text("probability of such an advantage of the first finalist on the test set if it has none"),
            ),
            (
                Text("Clark-West"), "test_cw_p",
                Text("the same, with a correction for the noise of a network that has to learn to forecast no change"),
            ),
        )
        if row.get(column)
    ]  # fmt: skip
    study_tests = [
        (name, question, proof.get(key), reasons.get(key, Text("not tested")))
        for name, key, question in (
            (
                Text("SPA p on the test set"), "test_spa_p",
                Text(
                    "Hansen's test of superior predictive ability: probability of such a good best finalist if none is "
                    "better than {rival}",
                    rival=name_rival(study.task),
                ),
            ),
            (
                Text("SPA p on validation"), "spa_p",
                Text(
                    "the same for the best of {n} trials on validation",
                    n=proof["trials"] + (proof.get("earlier_trials") or 0) if "trials" in proof else "?",
                ),
            ),
            (
                OVERFITTING, "pbo",
                Text(
                    "how often the best trial on one half of the validation days is in the worse half of the trials on "
                    "the other days"
                ),
            ),
        )
    ]  # fmt: skip
    return [_read_test(*test) for test in (*first, *study_tests)]


def short_source(source: str) -> str:
    """Return the file name of an absolute path, and any other source as it is."""
    return PureWindowsPath(source).name or source if PATH.match(source) else source


def find_docs(folder: Path) -> str:
    """Return the relative path from a study to the docs of the checkout that contains both; empty if none does."""
    root, place = DOCS.parent.resolve(), folder.resolve()
    return Path(os.path.relpath(DOCS, place)).as_posix() if DOCS.is_dir() and place.is_relative_to(root) else ""


def _compare(score: float, task: Task) -> Text:
    values = {"size": 100 * abs(score - 1), "loss": Text(task.words.loss), "rival": name_rival(task)}
    if score == 1:
        return Text("as good as {rival}", **values)
    if score < 1:
        return Text("{loss} {size:.2f} % smaller than that of {rival}", **values)
    return Text("{loss} {size:.2f} % larger than that of {rival}", **values)


def _read_test(name: Text, question: Text, value: float | None, reason: str) -> SignificanceTest:
    if value is None:
        return SignificanceTest(name=name, question=question, value=Text("unknown"), reading=reason)
    if name == OVERFITTING:
        good = value < EVEN
        reading = Text("as bad as chance, or worse (below {level} is good)", level=EVEN)
        if good:
            reading = Text("no sign of overfitting (below {level} is good)", level=EVEN)
    else:
        good = value <= LEVEL
        reading = Text("no evidence: luck is possible (up to {level} is good)", level=LEVEL)
        if good:
            reading = Text("evidence of skill (up to {level} is good)", level=LEVEL)
    text = Text("below 0.01") if value < 0.01 else f"{value:.2f}"
    return SignificanceTest(name=name, question=question, value=text, reading=reading, good=good)


def _forecast_next(study: StudyData) -> KeyFigure | None:
    """Return the forecast of the first finalist after the study's prices; None if the study has no such forecaster."""
    folder, copy = study.folder / "forecasters" / "1", study.folder / "prices.parquet"
    if not folder.is_dir() or not copy.exists():
        return None
    from stockrnn.forecaster.forecaster import Forecaster  # imports PyTorch, which takes seconds

    try:
        forecaster, (prices, _) = Forecaster.load(folder), read_prices(copy)
        return _describe_forecast(forecaster, prices, study)
    except UserError as error:
        reason = str(error).replace(f"{study.folder}{os.sep}", "")
        return KeyFigure(label=Text("Next forecast"), value=Text("none"), notes=(reason,))


def _describe_forecast(forecaster: "Forecaster", prices: "Prices", study: StudyData) -> KeyFigure:
    from stockrnn.forecaster.adaptive import adapted_intervals
    from stockrnn.forecaster.outlook import make_outlook

    origins, steps = np.array([len(prices) - 1]), forecaster.horizon
    forecast = float(forecaster.forecast(prices, origins).mean())
    label = Text("Next session") if steps == 1 else Text("In {n} sessions", n=steps)
    if not math.isfinite(forecast):
        return KeyFigure(label=label, value=Text("none"), notes=(Text("the forecast is not a finite number"),))
    headline = study.task.show.headline(forecast, make_outlook(forecaster, prices, origins))
    notes = [Text(note.template, **{"trial": forecaster.facts.trial_id, **note.values}) for note in headline.notes]
    intervals = [
        Text("{level:g} % interval {low:,.2f} to {high:,.2f}", level=100 * one.level, low=bounds[0], high=bounds[1])
        for one in adapted_intervals(forecaster, prices, origins).forecast[0][:1]
        if study.task.has_intervals and (bounds := one.bounds(forecast))
    ]
    return KeyFigure(label=label, value=headline.value, notes=[*notes[:1], *intervals, *notes[1:]])
