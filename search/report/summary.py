"""Collect the top of the report: key figures, significance tests, and the forecast of the next session."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from search.report.board import compare_with_rival, describe_network
from search.results.leaderboard import parse_number
from search.results.ranking import BASELINE, ENSEMBLE
from search.results.reader import StudyData
from search.results.verdict import LEVEL
from stockrnn.io.errors import UserError
from stockrnn.prices.snapshot import read_prices

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster
    from stockrnn.prices.series import Prices

__all__ = ["KeyFigure", "SignificanceTest", "find_docs", "list_key_figures", "list_tests", "short_source"]

PATH = re.compile(r"([A-Za-z]:)?[\\/]|~")
DOCS = Path(__file__).parents[2] / "docs"
EVEN = 0.5  # the probability of backtest overfitting if all trials are equally good


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A large number at the top of the report.

    Attributes:
        sign: `better` or `worse` than persistence, or empty.
        notes: small lines below it.
    """

    label: str
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

    name: str
    question: str
    value: str
    reading: str
    good: bool | None = None


def list_key_figures(study: StudyData) -> list[KeyFigure]:
    """Return the scores that decide, and the forecast of the next session."""
    trials = [row for row in study.csv_board[1] if row.get("status") not in (BASELINE, ENSEMBLE)]
    figures = [
        KeyFigure(
            label=label, value=f"{float(row[name]):.4f}", sign=compare_with_rival(name, row[name]),
            notes=(_compare(float(row[name])), f"{who} {row['trial_id']}, {describe_network(row)}".rstrip(", ")),
        )
        for label, name, who in (
            ("Theil's U on validation", "val_theils_u", "best trial"),
            ("Theil's U on the test set", "test_theils_u", "first finalist"),
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
    trials = proof.get("trials", "?")
    first: list[tuple[str, str, float | None, str]] = [
        (name, question, parse_number(row[column]), "")
        for name, column, question in (
            (
                "Diebold-Mariano", "test_dm_p",
                "probability of such an advantage of the first finalist on the test set if it has none",
            ),
            (
                "Clark-West", "test_cw_p",
                "the same, with a correction for the noise of a network that has to learn to forecast no change",
            ),
        )
        if row.get(column)
    ]  # fmt: skip
    study_tests = [
        (name, question, proof.get(key), reasons.get(key, "not tested"))
        for name, key, question in (
            (
                "SPA p on the test set", "test_spa_p",
                "Hansen's test of superior predictive ability: probability of such a good best finalist if none is "
                "better than persistence",
            ),
            ("SPA p on validation", "spa_p", f"the same for the best of {trials} trials on validation"),
            (
                "probability of backtest overfitting", "pbo",
                "how often the best trial on one half of the validation days is in the worse half of the trials on the "
                "other days",
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


def _compare(score: float) -> str:
    if score == 1:
        return "as good as persistence"
    return f"error {100 * abs(score - 1):.2f} % {'smaller' if score < 1 else 'larger'} than that of persistence"


def _read_test(name: str, question: str, value: float | None, reason: str) -> SignificanceTest:
    if value is None:
        return SignificanceTest(name=name, question=question, value="unknown", reading=reason)
    limit, good = (EVEN, "no sign of overfitting") if "overfitting" in name else (LEVEL, "evidence of skill")
    bad = "as bad as chance, or worse" if limit == EVEN else "no evidence: luck is possible"
    is_good = value < limit if limit == EVEN else value <= limit
    return SignificanceTest(
        name=name, question=question, value="below 0.01" if value < 0.01 else f"{value:.2f}",
        reading=f"{good if is_good else bad} ({'below' if limit == EVEN else 'up to'} {limit} is good)", good=is_good,
    )  # fmt: skip


def _forecast_next(study: StudyData) -> KeyFigure | None:
    """Return the forecast of the first finalist after the study's prices; None if the study has no such forecaster."""
    folder, copy = study.folder / "forecasters" / "1", study.folder / "prices.parquet"
    if not folder.is_dir() or not copy.exists():
        return None
    from stockrnn.forecaster.forecaster import Forecaster  # imports PyTorch, which takes seconds

    try:
        forecaster, (prices, _) = Forecaster.load(folder), read_prices(copy)
        return _describe_forecast(forecaster, prices)
    except UserError as error:
        return KeyFigure(
            label="Next forecast", value="none", notes=(str(error).replace(f"{study.folder}{os.sep}", ""),)
        )


def _describe_forecast(forecaster: "Forecaster", prices: "Prices") -> KeyFigure:
    close, last = float(forecaster.forecast(prices, [len(prices) - 1]).mean()), float(prices.column("close")[-1])
    steps = forecaster.horizon
    label = "Next session" if steps == 1 else f"In {steps} sessions"
    if not math.isfinite(close):
        return KeyFigure(label=label, value="none", notes=("the forecast is not a finite price",))
    notes = [f"close forecast by {forecaster.facts.trial_id}, {100 * (close / last - 1):+.2f} %"]
    notes += [
        f"{100 * interval.level:g} % interval {bounds[0]:,.2f} to {bounds[1]:,.2f}"
        for interval in forecaster.intervals[:1]
        if (bounds := interval.bounds(close))
    ]
    return KeyFigure(
        label=label, value=f"{close:,.2f}", notes=(*notes, f"last close {last:,.2f} on {prices.dates[-1]}")
    )
