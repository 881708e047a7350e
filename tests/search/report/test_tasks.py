"""Test that report, terminal and Python API speak the words of the task: of volatility and of direction."""

import json
import re

import numpy as np
import pytest
import yaml
from browsers import CHROMIUM, reading
from test_report import opened

import search
from search.common.korean import KOREAN
from search.leaderboard import main as leaderboard
from search.report.writer import main as report
from search.results.leaderboard import read_csv
from search.results.predictions import read_forecasts
from search.run import main as run
from stockrnn.tasks.direction import reliability
from stockrnn.tasks.registry import TASKS

SPACE = {
    "data": {"source": "nasdaq", "test_size": 80, "start": "2013-01-01"},
    "validation": {"folds": 2, "fold_size": 60, "window": "sliding", "train_size": 400, "seeds": 2},
    "space": {"architecture": "gru", "hidden_size": [2, 3], "sequence_length": 4, "learning_rate": 0.01},
    "search": {"sampler": "random", "num_samples": 2, "finalists": 1, "finalist_seeds": 2},
    "scheduler": {"max_epochs": 2, "grace_period": 2, "patience": None},
}
OTHER = (
    r"Theil|persistence itself|last close|close forecast|price curve|price points|squared error (saved|of persistence)"
)
WRONG = {"volatility": rf"{OTHER}|log loss", "direction": rf"{OTHER}|QLIKE"}  # words of other tasks
CLOSE = {"volatility": 0, "direction": 1}  # "probability of a higher close"


@pytest.fixture(scope="module", params=["volatility", "direction"])
def study(request, tmp_path_factory):
    """Return the name of a task, and the folder of a small study of it."""
    folder = tmp_path_factory.mktemp(request.param)
    space = folder / "space.yaml"
    space.write_text(yaml.safe_dump(SPACE | {"data": SPACE["data"] | {"task": request.param}}), encoding="utf-8")
    place = folder / "results"
    assert run([str(space), "--name", "small", "--output", str(place), "--in-process", "--quiet"]) == 0
    return request.param, place / "small"


def write(folder, language):
    """Return the report in a language, without its scripts, styles and space file."""
    assert report([str(folder), "--language", language]) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r"<(script|style|pre)\b.*?</\1>", "", page, flags=re.S), page


def figures(page):
    (text,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    return {figure["id"]: figure for figure in json.loads(text)}


def test_the_report_has_the_words_of_its_task_and_of_no_other(study):
    name, folder = study
    words = TASKS[name].words
    page, whole = write(folder, "en")
    for text in (page, json.dumps(figures(whole))):
        assert not re.findall(WRONG[name], text)
        assert not re.findall(r"Close curves", text)
    assert len(re.findall(r"\bclose\b", page.partition("<nav")[0])) == CLOSE[name]
    for text in (f"{words.score} on the test set", f"better than {words.rival}", f"advantage over {words.rival}"):
        assert text in page
    assert words.label in json.dumps(figures(whole)["chart-forecasts"])


def test_the_report_in_korean_has_the_words_of_its_task(study):
    name, folder = study
    words = TASKS[name].words
    page, _ = write(folder, "ko")
    for text in (words.score, words.loss, words.rival, words.rival_meaning, words.actual):
        assert KOREAN[text] in page
    assert not re.findall(r"\w\(가\)|\w\(과\)|\w\(를\)|\w\(는\)", page)  # particles in both forms


def test_the_next_session_is_forecast_in_the_units_of_the_task(study):
    name, folder = study
    page, _ = write(folder, "en")
    value = float(re.search(r'Next session</dt><dd class="">([\d.]+) %</dd>', page)[1])
    if name == "volatility":
        annual = float(re.search(r"annualised ([\d.]+) %", page)[1])
        assert annual == pytest.approx(value * 252**0.5, abs=0.1)
        low, high = map(float, re.search(r"80 % interval ([\d.]+) to ([\d.]+)", page).groups())
        assert low < value < high
    else:
        assert 0 < value < 100
        assert "% interval" not in page


def test_the_charts_show_what_is_forecast(study):
    name, folder = study
    _, page = write(folder, "en")
    drawn = figures(page)
    days = read_forecasts(folder / "predictions.parquet", "test")
    trial = next(trial_id for trial_id in days if trial_id.isdigit())
    forecast = days[trial]["forecast"].astype(float)
    (line,) = (each for each in drawn["chart-forecasts"]["data"] if each.get("name") == f"forecast of {trial}")
    assert line["y"] == pytest.approx(forecast * (100 if name == "direction" else 1), rel=1e-4)
    assert "chart-changes" not in drawn
    task, columns = TASKS[name], days[trial]
    own, rival = (
        task.loss(columns[each].astype(float), columns["actual"].astype(float)) for each in ("forecast", "rival")
    )
    assert drawn["chart-cumulative-advantage"]["data"][0]["y"][-1] == pytest.approx(
        100 * (1 - own.sum() / rival.sum()), abs=1e-3
    )
    if name == "volatility":
        assert drawn["chart-forecasts"]["layout"]["yaxis"]["type"] == "log"
        assert drawn["chart-folds"]["data"][-1]["name"] == "volatility"
    else:
        groups = reliability(forecast, columns["actual"].astype(float), 4)
        points = drawn["chart-reliability"]["data"][-1]
        assert points["x"] == pytest.approx([100 * mean for mean, _, _ in groups], rel=1e-4)
        assert points["y"] == pytest.approx([100 * share for _, share, _ in groups], rel=1e-4)
        for mean, share, count in groups:
            assert f"<td>{100 * share:.1f} %</td><td>{count}</td>" in page
            assert f'<th scope="row">{100 * mean:.1f} %</th>' in page


def test_the_scores_of_the_leaderboard_have_the_names_of_the_task(study, capsys):
    name, folder = study
    short = TASKS[name].words.short_score
    assert leaderboard([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    if name == "volatility":  # for direction, the names are too wide
        assert "val QLIKE" in lines[0]
        assert "test QLIKE" in lines[0]
    else:
        assert lines[0].split()[4:] == ["val", "sd", "test"]
    page = search.open_study(folder)._repr_html_()
    assert f"validation {short}" in page
    assert "Theil" not in page
    assert {row["trial_id"] for row in read_csv(folder / "leaderboard.csv")[1]} >= {*TASKS[name].baselines}


def test_studies_of_different_tasks_are_compared_by_their_relative_losses(study, tmp_path, capsys):
    name, folder = study
    other = opened(tmp_path / "prices")
    page = tmp_path / "comparison.html"
    assert report([str(folder), str(other), "--output", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "relative loss on validation" in text
    assert "task" in re.search(r"The studies differ in ([^<]*), so", text)[1]
    assert f"{TASKS[name].words.score} on validation" not in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_charts_fit_the_screen_and_the_view(study, browser, width):
    name, folder = study
    write(folder, "en")
    with reading(browser, folder / "report.html", width) as page:
        whole = page.locator("figure", has=page.locator("#chart-forecasts")).get_by_role(
            "button", name="Whole test set"
        )
        whole.click()
        assert whole.get_attribute("aria-pressed") == "true"
        low, high = page.evaluate("document.getElementById('chart-forecasts')._fullLayout.yaxis.range")
        values = read_forecasts(folder / "predictions.parquet", "test")
        forecast = next(values[trial]["forecast"] for trial in values if trial.isdigit()).astype(float)
        shown = np.log10(forecast) if name == "volatility" else 100 * forecast
        assert low < shown.min()
        assert shown.max() < high
