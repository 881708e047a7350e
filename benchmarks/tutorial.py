"""Update the numbers and charts of docs/tutorial.md and docs/ko/tutorial.md from two studies.

The studies are the tutorial's four networks and a search.

    python -m benchmarks.tutorial [--ticker ^KS11 | --source prices.csv] [--search spaces/all.yaml] [--studies FOLDER]

Only the text between `<!-- NAME -->` and `<!-- end NAME -->` changes. A study that the folder of studies already has
is not run again.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from benchmarks.drawing import Panel, Series, picture
from search.common.durations import format_duration
from search.results.leaderboard import table
from search.results.predictions import read_predictions
from search.results.ranking import network
from search.results.reader import StudyData, read_study
from search.space.space import load_space

PAGES = {"en": Path("docs/tutorial.md"), "ko": Path("docs/ko/tutorial.md")}
IMAGES = Path("docs/images")
WORDS = {  # templates of the blocks that have words, by language
    "en": {
        "conditions": "Prices: {source}, {start} to {end}. The four networks took {networks}, the search {search}; "
        "{versions}; {day}. Command: `{command}`.",
        "network": "The chart shows the network with the best validation score of the four: {network}. Its {days} days "
        "are the test set.",
        "looks": ("| | R² of the price | mean error | RMSE, points |", "the network", "tomorrow equals today"),
        "late": "The RMSE between the forecast and its target is {from_actual:.1f} points. Between the forecast and "
        "the price of the day before it is {from_previous:.1f} points. On {worse} of {days} days, yesterday's price "
        "was closer to the actual price than the forecast.",
    },
    "ko": {
        "conditions": "가격: {source}, {start} ~ {end}. 신경망 4개에 {networks}, 탐색에 {search}가 걸렸습니다. "
        "{versions}; {day}. 명령: `{command}`.",
        "network": "그래프는 네 신경망 중 검증 점수가 가장 좋은 {network}의 것입니다. 그래프의 {days}일이 테스트 "
        "세트입니다.",
        "looks": ("| | 가격의 R² | 평균 오차 | RMSE, 포인트 |", "신경망", "내일은 오늘과 같다"),
        "late": "예측과 목표 사이의 RMSE는 {from_actual:.1f}포인트입니다. 예측과 하루 전 가격 사이의 RMSE는 "
        "{from_previous:.1f}포인트입니다. {days}일 중 {worse}일은 예측보다 어제 가격이 실제 가격에 더 가까웠습니다.",
    },
}
ZOOM = 30  # sessions
TUTORIAL = "spaces/tutorial.yaml"
PRICE, FORECAST, LATE = "#1f2937", "#d9480f", "#1971c2"


@dataclass(frozen=True, kw_only=True)
class Days:
    """Forecasts, actual closes and forecasts of persistence on the test set, price points, each (days,)."""

    dates: np.ndarray
    forecast: np.ndarray
    actual: np.ndarray
    rival: np.ndarray

    def last(self, count: int) -> "Days":
        return Days(**{name: getattr(self, name)[-count:] for name in ("dates", "forecast", "actual", "rival")})


def studied(path: str, studies: Path, market: Sequence[str]) -> StudyData:
    """Return the study of a space; run it first if the folder does not contain it."""
    folder = studies / load_space(path).name
    if not (folder / "manifest.json").exists():
        command = [sys.executable, "-m", "search.run", path, "--output", str(studies), *market]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)
    study = read_study(folder)
    if study.state != "done":
        sys.exit(f"{folder}: the study is {study.state}; the page needs a finished study; resume it with --resume")
    return study


def best(study: StudyData) -> dict:
    """Return the row of the finalist with the best validation score."""
    return next(row for row in study.rows if row.get("architecture") and row.get("test_relative_loss") is not None)


def days_of(study: StudyData, trial_id: str) -> Days:
    """Return the forecasts of a trial on the test set."""
    rows = read_predictions(study.folder / "predictions.parquet", "test")
    rows = rows.filter(pc.equal(rows["trial_id"], trial_id)).sort_by("date")
    columns = {name: rows[name].to_numpy().astype(float) for name in ("forecast", "actual", "rival")}
    return Days(dates=rows["date"].to_numpy(), **columns)


def rmse(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.sqrt(np.mean((ours - theirs) ** 2)))


def looks(days: Days, language: str) -> str:
    """Return a table of scores on price levels, for the network and for persistence."""
    head, ours, theirs = WORDS[language]["looks"]

    def row(name: str, forecast: np.ndarray) -> str:
        error = forecast - days.actual
        fit = 1 - np.sum(error**2) / np.sum((days.actual - days.actual.mean()) ** 2)
        away = 100 * np.mean(np.abs(error) / days.actual)
        return f"| {name} | {fit:.3f} | {away:.2f} % | {rmse(forecast, days.actual):.1f} |"

    return "\n".join((head, "|---|---:|---:|---:|", row(ours, days.forecast), row(theirs, days.rival)))


def late(days: Days, language: str) -> str:
    """Compare the distance of the forecast from its target with its distance from the price of the day before."""
    return WORDS[language]["late"].format(
        from_actual=rmse(days.forecast, days.actual), from_previous=rmse(days.forecast, days.rival),
        worse=int(np.sum(np.abs(days.forecast - days.actual) > np.abs(days.rival - days.actual))),
        days=len(days.dates),
    )  # fmt: skip


def overlay(days: Days) -> str:
    """Draw forecast and price over the whole test set, as tutorials do."""
    lines = [Series(name="price", values=days.actual, color=PRICE),
             Series(name="forecast", values=days.forecast, color=FORECAST)]  # fmt: skip
    return picture(days.dates, [Panel(title="The pretty chart: price and forecast", lines=lines, height=260)])


def zoomed(days: Days) -> str:
    """Draw the given days, with the price shifted by one day, and both errors below."""
    lines = [
        Series(name="price", values=days.actual, color=PRICE),
        Series(name="forecast", values=days.forecast, color=FORECAST),
        Series(name="price, one day late", values=days.rival, color=LATE, dashed=True),
    ]
    ours, theirs = np.abs(days.forecast - days.actual), np.abs(days.rival - days.actual)
    errors = [
        Series(name="error of the forecast", values=ours, color=FORECAST),
        Series(name='error of "tomorrow equals today"', values=theirs, color=LATE),
    ]
    panels = [
        Panel(title=f"The last {len(days.dates)} days", lines=lines, height=230),
        Panel(title="Absolute error, points", bars=errors, height=150),
    ]
    return picture(days.dates, panels)


def fenced(text: str) -> str:
    return f"```text\n{text}\n```"


def blocks(tutorial: StudyData, search: StudyData, market: Sequence[str], language: str = "en") -> Mapping[str, str]:
    """Return the text of each marked block of a page; the studies' own texts stay in English."""
    row, words = best(tutorial), WORDS[language]
    days, data = days_of(tutorial, row["trial_id"]), tutorial.manifest["data"]
    return {
        "conditions": words["conditions"].format(
            source=data["source"], start=data["start"], end=data["end"], day=tutorial.manifest["start"][:10],
            networks=format_duration(tutorial.manifest["seconds"]), search=format_duration(search.manifest["seconds"]),
            versions=", ".join(f"{name} {tutorial.manifest['versions'][name]}" for name in ("torch", "ray", "optuna")),
            command=" ".join(["python -m benchmarks.tutorial", *market]),
        ),
        "network": words["network"].format(network=network(row), days=len(days.dates)),
        "looks": looks(days, language),
        "late": late(days, language),
        "four": fenced(table(tutorial.rows, top=10)),
        "search": fenced(table(search.rows, top=5)),
        "verdict": fenced(textwrap.fill(search.manifest["verdict"], 80, break_on_hyphens=False)),
    }  # fmt: skip


def rewritten(page: str, blocks: Mapping[str, str]) -> str:
    """Return the page with its marked blocks replaced.

    Raises:
        ValueError: the page lacks a block's markers.
    """
    for name, text in blocks.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)"
        page, count = re.subn(pattern, lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page, flags=re.S)
        if count != 1:
            raise ValueError(f"<!-- {name} --> found {count} times; a page has each block once; write its two markers")
    return page


def main() -> None:
    """Run the studies and update the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--ticker", help="Yahoo symbol, for example ^KS11 (default: the built-in Nasdaq series)")
    place.add_argument("--source", help="sp500, or the path of a CSV or Parquet file")
    parser.add_argument("--search", default="spaces/all.yaml", metavar="SPACE", help="space to search")
    parser.add_argument("--studies", type=Path, metavar="FOLDER", help="folder for the studies (default: temporary)")
    options = parser.parse_args()
    market = ["--ticker", options.ticker] if options.ticker else []
    set_source = ["--set", f"data.source={options.source}"] if options.source else market
    named = ["--source", options.source] if options.source else market
    with tempfile.TemporaryDirectory() as folder:
        studies = options.studies or Path(folder)
        tutorial, search = (studied(path, studies, set_source) for path in (TUTORIAL, options.search))
        days = days_of(tutorial, best(tutorial)["trial_id"])
        for language, path in PAGES.items():
            page = rewritten(path.read_text(encoding="utf-8"), blocks(tutorial, search, named, language))
            path.write_text(page, encoding="utf-8")
        (IMAGES / "tutorial-chart.svg").write_text(overlay(days), encoding="utf-8")
        (IMAGES / "tutorial-zoom.svg").write_text(zoomed(days.last(ZOOM)), encoding="utf-8")
    print(*PAGES.values())


if __name__ == "__main__":
    main()
