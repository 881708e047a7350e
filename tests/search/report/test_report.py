"""Write reports of hand-made results folders: in every state of a study, the page is complete and safe."""

import base64
import csv
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search.common.errors import UserError
from search.report.writer import main, write_final_report, write_report
from search.results.event_log import read_events, read_log
from search.results.predictions import SCHEMA
from stockrnn.prices.series import Prices
from stockrnn.prices.snapshot import write_prices

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
EVIL = "<script>alert(1)</script>"
EVIL_FINDINGS = [{"severity": "repair", "text": EVIL}, {"severity": EVIL, "text": EVIL}]
VOID = {"meta", "br", "hr", "img", "input", "link"}
NAMES = (
    "rank", "trial_id", "status", "architecture", "hidden_size", "num_layers", "learning_rate",
    "val_relative_loss", "val_rmse", "epochs", "best_epoch", "parameters", "seconds",
)  # fmt: skip
MANIFEST = {
    "name": "small", "command": "python -m search.run spaces/small.yaml", "host": "here", "platform": "Linux",
    "start": "2026-01-02T03:04:05.678+00:00", "end": "2026-01-02T03:06:10.000+00:00", "seconds": 124.3,
    "interrupted": False, "versions": {"python": "3.12.1", "torch": None}, "seed": 7,
    "data": {
        "source": "nasdaq", "start": "2010-01-04", "end": "2018-12-31", "sessions": 2264, "sha256": "abc123",
        "findings": [
            {"check": "empty rows", "severity": "repair", "text": "3 rows without any price dropped", "rows": 3},
            {"check": "volume", "severity": "warning", "text": "volume is 0 on 12 sessions", "rows": 12},
        ],
    },
    "folds": [
        {"train": ["2010-01-04", "2015-12-31"], "validation": ["2016-01-04", "2016-12-30"]},
        {"train": ["2010-01-04", "2016-12-30"], "validation": ["2017-01-03", "2017-12-29"]},
    ],
    "test": ["2018-01-02", "2018-12-31"], "test_openings": [],
    "baselines": {
        "persistence": {"val_relative_loss": 1.0, "val_direction_accuracy": None},
        "drift": {"val_relative_loss": 0.995},
    },
}  # fmt: skip
SPACE = (
    "name: small\nvalidation: {folds: 2, seeds: 3}\nsearch: {num_samples: 2, metric: val_relative_loss, sampler: tpe}\n"
)
BASELINES = (
    {"rank": 2, "trial_id": "drift", "status": "baseline", "val_relative_loss": "0.995", "val_rmse": "38.24"},
    {"rank": 3, "trial_id": "persistence", "status": "baseline", "val_relative_loss": "1", "val_rmse": "38.627"},
)


def row(trial_id="00000", status="complete", score=0.9876543, **others):
    return {
        "rank": 1 if score else "", "trial_id": trial_id, "status": status, "architecture": "gru", "hidden_size": 16,
        "learning_rate": "0.00123456", "val_relative_loss": score or "", "epochs": 3, "best_epoch": 3 if score else "",
        "parameters": 1234567, "seconds": "12.3456789", **others,
    }  # fmt: skip


def trial(trial_id="00000", status="complete", scores=(1.01, 0.99, 0.9876543), message=None):
    """Return the events of one trial; with `status` None, the trial has not ended."""
    time = "2026-01-02T03:05:00.000+00:00"
    events = [
        {"event": "epoch", "trial_id": trial_id, "time": time, "epoch": number,
         "scores": {} if score is None else {"val_relative_loss": score}}
        for number, score in enumerate(scores, start=1)
    ]  # fmt: skip
    kind = status if status == "interrupted" else "end"
    end = {"event": kind, "time": time, "trial_id": trial_id, "status": status, "point": {}, "message": message}
    return events + [end] * (status is not None)


def study(folder, *, rows=None, events=None, torn="", names=NAMES, space=SPACE, **manifest):
    """Write a results folder, by default with one complete trial; a manifest value of None removes the key."""
    folder.mkdir(exist_ok=True)
    kept = {key: value for key, value in (MANIFEST | manifest).items() if value is not None}
    (folder / "manifest.json").write_text(json.dumps(kept))
    (folder / "space.yaml").write_text(space)
    lines = [json.dumps(event) + "\n" for event in (trial() if events is None else events)]
    (folder / "trials.jsonl").write_text("".join(lines) + torn)
    with (folder / "leaderboard.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows([row(), *BASELINES] if rows is None else rows)
    return folder


class Page(HTMLParser):
    """A strict parser: every element must be closed in order. Collects tags, texts, scripts and table rows."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.rows, self.scripts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"<{tag}> repeats an attribute"
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts.append(data)
            return
        self.texts.append(data)
        if "tr" in self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def report(folder):
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert_self_contained(page)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        assert set(attributes.get("aria-labelledby", "").split()) <= set(ids)
    return page


def assert_self_contained(page):
    """Check that the page loads nothing, and that its policy has the hash of every script."""
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not {"src", "xlink:href", "srcset", "style"} & attributes.keys(), (tag, attributes)
        assert attributes.get("href", "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", "".join(page.texts))
    (style,) = [text for text in page.scripts if text.lstrip().startswith(":root")]
    assert not re.search(r"url\(|@import|https?://", style)
    (policy,) = [tag["content"] for tag in page.all("meta") if "http-equiv" in tag]
    assert "default-src 'none'" in policy
    for text in page.scripts:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert text == style or text.startswith("[{") or f"'sha256-{digest}'" in policy
    assert page.all("script").count({"type": "application/json", "id": "figures"}) <= 1


STATES = {
    "finished": {},
    "still running": {
        "end": None, "seconds": None, "interrupted": None,
        "events": trial() + trial("00001", None, (1.2,)), "torn": '{"event": "epoch", "trial_id": "000',
    },
    "interrupted": {"interrupted": True, "events": trial() + trial("00001", "interrupted", (1.1, 1.05))},
    "all diverged": {
        "rows": [row(status="diverged", score=None), *BASELINES],
        "events": trial(status="diverged", scores=(None,)) + trial("00001", "diverged", ()),
    },
    "diverged after a score": {"events": trial(status="diverged", scores=(1.5, 1e30, None))},
    "a gap in the scores": {"events": trial(scores=(1.0, None, 0.9))},
    "no trial yet": {"rows": BASELINES, "events": [], "end": None, "seconds": None},
    "no baseline, no fold, no data": {
        "baselines": None, "folds": None, "test": None, "data": None, "versions": None, "rows": [row()],
    },
    "failed": {
        "rows": [row(status="failed", score=None)],
        "events": trial(status="failed", scores=(), message=f"ValueError: {EVIL}"),
    },
    "one day long": {"folds": [], "test": ["2018-01-02", "2018-01-02"]},
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_study_gives_a_complete_page(tmp_path, state):
    page = report(study(tmp_path / "study", **STATES[state]))
    headings = [tag for tag, _ in page.tags if tag in ("h1", "h2")]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert "Learning curves" in page.text
    for figure in page.all("svg"):
        assert figure.get("role") == "img" or "aria-hidden" in figure or figure.get("class")
    assert not [path.name for path in (tmp_path / "study").iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("missing", ["space.yaml", "trials.jsonl", "leaderboard.csv"])
def test_a_file_can_be_missing(tmp_path, missing):
    folder = study(tmp_path / "study")
    (folder / missing).unlink()
    assert "small" in report(folder).text


def test_the_verdict_comes_first_and_that_of_the_manifest_has_priority(tmp_path):
    ours = report(study(tmp_path / "ours")).text
    assert "beats 'tomorrow equals today': Theil's U 0.9877" in ours
    theirs = report(study(tmp_path / "theirs", verdict="Nothing beats it.")).text
    assert "Nothing beats it." in theirs
    assert "0.9877, an error" not in theirs
    assert ours.index("tomorrow equals today") < ours.index("Leaderboard")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("finished", "The time budget ended the study after 1 of 2 trials."),
        ("still running", "Not finished: 1 of 2 trials have ended."),
        ("still running", "54s so far"),
        ("still running", "1 complete, 1 running"),
        ("interrupted", "Interrupted after 1 of 2 trials"),
        ("all diverged", "No trial has a score, so the study has no result."),
        ("all diverged", "2 diverged"),
        ("all diverged", "No epoch has a score."),
        ("no trial yet", "none yet"),
        ("no trial yet", "No epoch has a score yet."),
        ("failed", f"ValueError: {EVIL}"),
    ],
)
def test_the_page_shows_the_state_of_the_study(tmp_path, state, words):
    assert words in report(study(tmp_path / "study", **STATES[state])).text


def test_the_page_shows_settings_and_data(tmp_path):
    text = report(study(tmp_path / "study")).text
    for fact in (
        "2m 04s", "2026-01-02 03:04:05 UTC", "nasdaq", "2264 sessions", "2010-01-04 to 2018-12-31", "abc123",
        "Test set not opened 2018-01-02 to 2018-12-31", "2 folds × 3 seeds per trial", "Seed 7",
        "Repaired: 3 rows without any price dropped", "Warning: volume is 0 on 12 sessions", "num_samples: 2",
        "python 3.12.1", "torch not installed", "python -m search.run spaces/small.yaml",
        "fold 2 2010-01-04 to 2016-12-30 2017-01-03 to 2017-12-29",
    ):  # fmt: skip
        assert fact in text


@pytest.mark.parametrize(("times", "words"), [(1, "opened once"), (2, "opened twice"), (3, "opened 3 times")])
def test_an_opened_test_set(tmp_path, times, words):
    openings = [{"time": "2026-01-02T03:06:00.000+00:00", "ranked_by": "val_relative_loss", "trials": 40}] * times
    finalist = row(test_relative_loss="1.0021", test_dm_p="0.0000123", in_mcs="true")
    names = (*NAMES, "test_relative_loss", "test_dm_p", "in_mcs")
    page = report(study(tmp_path / "study", names=names, rows=[finalist, *BASELINES], test_openings=openings))
    assert words in page.text
    assert page.text.count("finalists of 40 trials, ranked by val_relative_loss") == times
    assert "The test set follows the last fold; it was opened." in page.text
    assert "00000finalist" in page.rows[2]
    assert {"1.0021", "1.23e-05", "true"} <= set(page.rows[2])
    assert "Test set" in page.rows[0]


def test_the_significance_tests_are_folded_with_what_is_good_and_why_one_is_unknown(tmp_path):
    proof = {"trials": 40, "spa_p": 0.613, "test_spa_p": None, "pbo": 0.0, "reasons": {"test_spa_p": "12 days only"}}
    finalist = row(test_relative_loss="1.0021", test_dm_p="0.0123", test_cw_p="0.7")
    names = (*NAMES, "test_relative_loss", "test_dm_p", "test_cw_p")
    openings = [{"finalists": [{"rank": 1, "trial_id": "00000"}]}]
    page = report(
        study(tmp_path / "study", proof=proof, names=names, rows=[finalist, *BASELINES], test_openings=openings)
    )
    assert [cells[:3] for cells in page.rows[1:6]] == [
        ["Diebold-Mariano", "0.01", "evidence of skill (up to 0.05 is good)"],
        ["Clark-West", "0.70", "no evidence: luck is possible (up to 0.05 is good)"],
        ["SPA p on the test set", "unknown", "12 days only"],
        ["SPA p on validation", "0.61", "no evidence: luck is possible (up to 0.05 is good)"],
        ["probability of backtest overfitting", "below 0.01", "no sign of overfitting (below 0.5 is good)"],
    ]
    assert "Hansen's test of superior predictive ability" in page.text
    assert "Significance tests" not in report(study(tmp_path / "running", proof=None)).text


def test_the_scores_that_decide_are_large_and_signed(tmp_path):
    names = (*NAMES, "test_relative_loss", "test_r2_oos", "test_mape")
    finalist = row(test_relative_loss="1.0021", test_r2_oos="-0.003", test_mape="0.00961")
    page = report(study(tmp_path / "study", names=names, rows=[finalist, *BASELINES]))
    assert "Theil's U on validation 0.9877 error 1.23 % smaller than that of persistence best trial 00000" in page.text
    assert "Theil's U on the test set 1.0021 error 0.21 % larger" in page.text
    assert [found["class"] for found in page.all("dd") if found.get("class") in ("better", "worse")] == [
        "better", "worse",
    ]  # fmt: skip
    cells = dict(zip(page.rows[1], [{}, *page.all("td")][: len(page.rows[1])], strict=True))  # the trial is no td
    signs = {name: [word for word in ("better", "worse") if word in (cell.get("class") or "").split()]
             for name, cell in cells.items()}  # fmt: skip
    assert (signs["validation U"], signs["test U"], signs["R² oos"]) == (["better"], ["worse"], [])
    assert {"0.96 %", "-0.30 %"} <= set(page.rows[2])
    persistence = page.rows[4]
    assert persistence[:3] == ["3", "persistence", "1.0000"]


def test_a_damaged_forecaster_is_said_and_does_not_prevent_the_report(tmp_path):
    folder = study(tmp_path / "study")
    prices = Prices(
        source="nasdaq", dates=np.arange("2018-12-01", "2018-12-31", dtype="datetime64[D]"), columns=("close",),
        values=np.full((30, 1), 100.0), lines=np.array([], dtype=int),
    )  # fmt: skip
    write_prices(folder / "prices.parquet", prices)
    assert "Next" not in report(folder).text  # without a forecaster there is no forecast
    (folder / "forecasters" / "1").mkdir(parents=True)
    (folder / "forecasters" / "1" / "forecaster.json").write_text("{")
    text = report(folder).text
    assert "Next forecast none forecasters/1/forecaster.json: " in text
    assert str(tmp_path) not in text


def test_a_file_is_named_without_its_folder(tmp_path):
    for number, source in enumerate(("/home/me/prices.csv", r"C:\Users\me\prices.csv", "~/prices.csv")):
        text = report(study(tmp_path / str(number), data={"source": source})).text
        assert "Prices prices.csv" in text
        assert source not in text
    assert "Prices data/prices.csv" in report(study(tmp_path / "relative", data={"source": "data/prices.csv"})).text


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        ("window: sliding, train_size: 1000", "is trained on the 1,000 sessions (a sliding window) before its"),
        ("window: expanding", "is trained on all sessions (an expanding window) before its validation period."),
    ],
)
def test_the_caption_of_the_folds_names_the_window(tmp_path, validation, words):
    space = SPACE.replace("folds: 2", f"folds: 2, {validation}")
    assert words in report(study(tmp_path / "study", space=space)).text


def test_the_leaderboard_shows_scores_first_and_every_column_with_its_meaning(tmp_path):
    page = report(study(tmp_path / "study"))
    groups, heads, first, drift = page.rows[:4]
    assert groups == ["Trial", "Score", "Network", "Validation", "Parameters", "Training"]
    assert heads[:5] == ["rank", "trial", "validation U", "status", "network"]
    assert first == [
        "1",
        "00000",
        "0.9877",
        "complete",
        "gru 16x1",
        "",
        "gru",
        "16",
        "0.001235",
        "3",
        "3",
        "1234567",
        "12.3457",
    ]
    assert drift[:5] == ["2", "drift", "0.9950", "baseline", ""]
    titles = [attributes["title"] for attributes in page.all("th") if attributes.get("scope") == "col"
              and "title" in attributes]  # fmt: skip
    assert {title.partition(":")[0] for title in titles} == {*NAMES, "network"} - {"num_layers"}
    assert "learning_rate: step size of the optimizer" in titles
    assert "omitted: num_layers" in page.text  # empty in every row
    assert [attributes.get("class") for attributes in page.all("tr")[2:5]] == ["trial", "baseline", "baseline"]
    assert {attributes["scope"] for attributes in page.all("th")} == {"col", "row", "colgroup"}
    assert page.all("td")[1]["class"].split() == ["n", "better", "first"]


def test_hostile_texts_are_escaped(tmp_path):
    folder = study(
        tmp_path / "study", name=EVIL, command=EVIL, verdict=EVIL, platform=EVIL, host=EVIL,
        versions={EVIL: EVIL}, data={"source": EVIL, "sha256": EVIL, "findings": EVIL_FINDINGS},
        baselines={EVIL: {"val_relative_loss": 0.99}}, names=(*NAMES, EVIL),
        rows=[row(EVIL, architecture=EVIL, **{EVIL: EVIL})], events=trial(EVIL, message=EVIL),
        space=f'name: "{EVIL}"\nsearch: {{sampler: "{EVIL}"}}\n',
    )  # fmt: skip
    page = report(folder)
    assert "<script>alert" not in (folder / "report.html").read_text()
    assert page.text.count(EVIL) > 15
    quote = report(study(tmp_path / "quote", rows=[row('" onload="alert(1)')]))  # in a title
    assert '" onload="alert(1)' in quote.text


def figures(page):
    """Return the figures of the page by id."""
    texts = [text for text in page.scripts if text.startswith("[{")]
    return {figure["id"]: figure for figure in (json.loads(texts[0]) if texts else [])}


def best_line(page):
    (trace,) = [trace for trace in figures(page)["chart-learning-curves"]["data"] if trace["name"].startswith("best")]
    return list(zip(trace["x"], trace["y"], strict=True))


def test_a_curve_has_a_gap_where_an_epoch_has_no_score(tmp_path):
    assert best_line(report(study(tmp_path / "one"))) == [(1, 1.01), (2, 0.99), (3, 0.987654)]
    events = trial(scores=(1.02, 1.01, None, 1.0, 0.99))
    gap = best_line(report(study(tmp_path / "gap", events=events)))
    assert gap == [(1, 1.02), (2, 1.01), (3, None), (4, 1.0), (5, 0.99)]


def test_scores_above_the_axis_are_counted_in_the_caption(tmp_path):
    events = trial(scores=(400.0, 1.01, 0.98)) + trial("00001", "diverged", (1.5, 80.0))
    page = report(study(tmp_path / "study", events=events))
    assert "Epochs with a score above" in page.text
    assert "the highest score is 400." in page.text
    chart = figures(page)["chart-learning-curves"]
    low, high = chart["layout"]["yaxis"]["range"]
    assert low < 0.98 < 1 < high < 2
    (above,) = [trace for trace in chart["data"] if trace["name"] == "last epoch above the axis"]
    assert above["hovertext"] == ["00001, last epoch: 80"]
    assert low < above["y"][0] < high
    assert "Epochs with a score above" not in report(study(tmp_path / "near")).text


def test_charts_have_names_and_captions(tmp_path):
    page = report(study(tmp_path / "study"))
    charts = [attributes for attributes in page.all("div") if attributes.get("class") == "chart"]
    assert {chart["id"] for chart in charts} == set(figures(page))
    ids = {attributes.get("id") for attributes in page.all("figcaption")}
    for chart in charts:
        assert chart["role"] == "img"
        assert chart["aria-label"]
        assert chart["aria-describedby"] in ids


SPACE_OF_TWO = """name: small
validation: {folds: 2, seeds: 3}
space:
  architecture: gru
  hidden_size: {int: [4, 64], log: true}
  num_layers: [1, 2]
  dropout: {float: [0.0, 0.4], when: {num_layers: [2]}}
search: {num_samples: 30, metric: val_relative_loss, sampler: tpe}
scheduler: {max_epochs: 9, grace_period: 2, reduction_factor: 2}
"""


def many(count=30):
    """Return the events of trials whose score grows with the hidden size; ASHA stopped some of them."""
    events = []
    for number in range(count):
        hidden = 4 + 2 * number
        point = {"hidden_size": hidden, "num_layers": 1 + number % 2} | ({"dropout": 0.1} if number % 2 else {})
        score = 0.98 + hidden / 1000
        *epochs, end = trial(f"{number:05}", "complete" if number % 3 else "stopped", (1.1, score))
        end |= {
            "point": point,
            "scores": {"val_relative_loss": score},
            "seconds": 5.0,
            "worker": 70 + number % 2,
            "epochs": 2,
        }
        events += [*epochs, end]
    return events


def test_parameter_importance(tmp_path):
    page = report(study(tmp_path / "study", space=SPACE_OF_TWO, events=many()))
    drawn = figures(page)
    importance = dict(
        zip(
            drawn["chart-importance"]["layout"]["yaxis"]["ticktext"],
            drawn["chart-importance"]["data"][0]["x"],
            strict=True,
        )
    )
    assert importance["hidden_size"] > 60
    assert sum(importance.values()) == pytest.approx(100, abs=0.01)
    assert "The most important parameter is hidden_size" in page.text
    assert {f"chart-slice-{number}" for number in range(3)} <= set(drawn)
    coordinates = drawn["chart-parallel-coordinates"]
    assert coordinates["layout"]["yaxis"]["ticktext"] == ["hidden_size", "num_layers", "dropout"]
    assert "not used" in {label["text"] for label in coordinates["layout"]["annotations"]}
    rungs = [label["text"] for label in drawn["chart-learning-curves"]["layout"]["annotations"]]
    assert "rung 2" in rungs  # those of epochs that some trial reached
    assert "rung 4" not in rungs


@pytest.mark.parametrize(
    ("count", "words"),
    [(19, "at least 20 trials with a score; this study has 19."), (9, "this study has 9.")],
)
def test_too_few_trials_are_not_drawn_by_parameter(tmp_path, count, words):
    page = report(study(tmp_path / "study", space=SPACE_OF_TWO, events=many(count)))
    assert words in page.text
    drawn = figures(page)
    assert "chart-importance" not in drawn
    by_parameter = {"chart-parallel-coordinates", "chart-slice-0"}
    assert by_parameter & set(drawn) == (by_parameter if count >= 10 else set())
    assert ("need at least 10 trials with a score" in page.text) == (count < 10)


def test_worker_timeline(tmp_path):
    text = report(study(tmp_path / "study", events=many(20))).text
    assert "Workers: 2. They trained for 1m 40s of the 1m 49s worker time" in text
    assert "worker 1 70 10 50s 92 %" in text
    chart = figures(report(tmp_path / "study"))["chart-worker-timeline"]
    assert chart["layout"]["xaxis"]["title"]["text"] == "seconds since the start of the first trial"
    assert min(min(trace["base"]) for trace in chart["data"]) == 0
    assert "No finished trial has a training time." in report(study(tmp_path / "bare")).text


def forecast(folder, trial_ids, *, test=True):
    """Write forecasts for two folds and the test set; each trial forecasts a fixed share of the true change."""
    rng, tables = np.random.default_rng(0), []
    closes = np.exp(np.cumsum(rng.normal(0, 0.01, 331))) * 1000
    days = np.arange(np.datetime64("2016-01-04"), np.datetime64("2016-01-04") + 331)
    for number, trial_id in enumerate(trial_ids):
        knows = 0.3 / (number + 1)
        blocks = [("validation", 1, 1, 101), ("validation", 2, 101, 201), *([("test", 0, 201, 331)] if test else [])]
        for split, fold, first, last in blocks:
            actual, previous = closes[first:last], closes[first - 1 : last - 1]
            size = last - first
            tables.append(
                pa.Table.from_arrays(
                    [
                        pa.array([trial_id] * size), pa.array([split] * size), pa.array([fold] * size, pa.int16()),
                        pa.array(days[first:last]),
                        *(pa.array(values.astype(np.float32))
                          for values in (previous + knows * (actual - previous), actual, previous)),
                    ],
                    schema=SCHEMA,
                )
            )  # fmt: skip
    (folder / "predictions.parquet").mkdir()
    pq.write_table(pa.concat_tables(tables), folder / "predictions.parquet" / "part-00000.parquet")


def opened(folder, trial_ids=("00000", "00001"), **manifest):
    openings = [{
        "time": "2026-01-02T03:06:00.000+00:00", "ranked_by": "val_relative_loss", "trials": 2,
        "finalists": [{"rank": place, "trial_id": name} for place, name in enumerate(trial_ids, start=1)],
    }]  # fmt: skip
    rows = [
        row(name, val_relative_loss_sd="0.01", test_relative_loss="0.7", seeds_sd="0.02", rank=place)
        for place, name in enumerate(trial_ids, start=1)
    ]
    names = (*NAMES, "val_relative_loss_sd", "test_relative_loss", "seeds_sd")
    events = [event for name in trial_ids for event in trial(name)]
    study(folder, names=names, rows=[*rows, *BASELINES], events=events, test_openings=openings, **manifest)
    forecast(folder, trial_ids)
    return folder


def test_the_test_set_is_drawn(tmp_path):
    page = report(opened(tmp_path / "study"))
    drawn = figures(page)
    traces = {trace["name"]: trace for trace in drawn["chart-forecasts"]["data"] if "name" in trace}
    assert set(traces) == {"80 % interval", "persistence", "forecast of 00000", "actual"}
    assert len(traces["actual"]["y"]) == 130
    assert [words for words, _ in drawn["chart-forecasts"]["views"]] == ["Last 60 days", "Whole test set"]
    assert "The forecast of 00000 has Theil's U 0.7000" in page.text
    changes = {trace["name"]: trace for trace in drawn["chart-changes"]["data"]}
    actual, forecast = changes["actual change"]["y"], changes["forecast change of 00000"]["y"]
    assert forecast == pytest.approx([0.3 * change for change in actual], abs=1e-3)  # in per cent
    assert len(changes["closer than persistence"]["y"]) == 130
    assert max(changes["closer than persistence"]["y"]) < 0
    assert "Their correlation is +1.00." in page.text
    assert "The forecast was closer on 100 % of the 130 days." in page.text
    ends = [trace["y"][-1] for trace in drawn["chart-cumulative-advantage"]["data"]]
    assert ends == pytest.approx([100 * (1 - 0.7**2), 100 * (1 - 0.85**2)], abs=0.01)
    assert "00000: +51.00 %." in page.text
    assert "00000 0.7000 0.7000 0.9877 0.0100 0.7000 0.0200" in page.text
    assert "The curve shows the close" in page.text


def test_a_chart_without_forecasts_is_replaced_by_a_reason(tmp_path):
    text = report(study(tmp_path / "closed")).text
    assert "The test set has not been opened: no finalist has been scored on it." in text
    assert "predictions.parquet has no validation forecasts of finalists." in text
    openings = [{"time": "2026-01-02T03:06:00.000+00:00"}]
    assert (
        "predictions.parquet has no forecasts for it" in report(study(tmp_path / "lost", test_openings=openings)).text
    )


def test_a_comparison_of_several_studies(tmp_path, capsys):
    first, second = study(tmp_path / "first"), study(tmp_path / "second", data={"sha256": "other"})
    assert main([str(first), str(second)]) == 0
    page = Page((tmp_path / "comparison.html").read_text(encoding="utf-8"))
    assert_self_contained(page)
    assert capsys.readouterr().out == f"{tmp_path / 'comparison.html'}\n"
    assert [cells[0] for cells in page.rows] == ["study", "first", "second"]
    assert "The studies differ in prices, so their scores are not comparable." in page.text
    assert page.text.count("beats 'tomorrow equals today'") >= 2
    assert [trace["name"] for trace in figures(page)["chart-best-curves"]["data"]] == ["first, 00000", "second, 00000"]
    assert main([str(first), str(second), "--output", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").exists()


def test_a_report_in_korean(tmp_path, capsys):
    folder = opened(tmp_path / "study", name="{evil}", proof={"spa_p": 0.4, "test_spa_p": 0.2, "test_days": 130})
    assert main([str(folder), "--language", "ko"]) == 0
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert_self_contained(page)
    assert page.all("html") == [{"lang": "ko"}]
    assert (
        "스터디 {evil} 예측력의 증거가 없습니다. 테스트 오차가 '내일은 오늘과 같다'보다 30.00 % 작지만, 우연일"
        in page.text
    )
    english = ["Leaderboard", "Test set", "Worker timeline", "better than", "Do not trade", "Significance", " trials"]
    assert [words for words in english if words in page.text] == []
    plain = re.sub(r"name: small.*?val_relative_loss, sampler: tpe", "", page.text)  # the space file
    for finding in MANIFEST["data"]["findings"]:  # they are the words of the price reader
        plain = plain.replace(finding["text"], "")
    plain = plain.replace("learning_rate epochs best_epoch parameters seconds", "")  # names of columns in a row
    assert re.findall(r"(?:[A-Za-z][a-z'-]+[ ,]+){3,}[A-Za-z][a-z'-]+", plain) == []  # no sentence is in English
    names = {trace["name"] for trace in figures(page)["chart-forecasts"]["data"] if "name" in trace}
    assert names == {"80 % 구간", "persistence(변화 없음)", "00000의 예측", "실제"}
    assert main([str(folder), str(study(tmp_path / "other")), "--language", "ko"]) == 0
    page = Page((tmp_path / "comparison.html").read_text(encoding="utf-8"))
    assert "스터디 2개의 비교" in page.text
    assert "best trial" not in page.text
    with pytest.raises(SystemExit):
        main([str(folder), "--language", "tlh"])
    assert "--language: invalid choice: 'tlh'" in capsys.readouterr().err


def test_a_comparison_with_an_invalid_folder_is_refused_in_one_line(tmp_path, capsys):
    assert main([str(study(tmp_path / "study")), str(tmp_path / "none")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "none: is no study" in err
    assert not (tmp_path / "comparison.html").exists()


def test_a_new_report_replaces_the_old_one(tmp_path):
    folder = study(tmp_path / "study")
    first = write_report(folder)
    study(folder, name="renamed")
    assert write_report(folder) == first == folder / "report.html"
    assert "renamed" in first.read_text()


def test_the_command_line_prints_the_path(tmp_path, capsys):
    folder = study(tmp_path / "study")
    assert main([str(folder)]) == 0
    assert capsys.readouterr() == (f"{folder / 'report.html'}\n", "")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (None, None, "is no study, it has no manifest.json"),
        ("manifest.json", '{"name": ', "is no study's manifest"),
        ("manifest.json", "[1]", "is no study's manifest"),
        ("trials.jsonl", '{"event": "epoch"\n{}\n', "trials.jsonl:1: is no event of a trial"),
    ],
)
def test_an_invalid_folder_is_refused_in_one_line(tmp_path, capsys, file, content, words):
    folder = tmp_path / "study"
    if file:
        (study(folder) / file).write_text(content)
    assert main([str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert str(folder) in err


def test_the_report_imports_neither_ray_nor_optuna_nor_torch(tmp_path):
    code = (
        "import sys; from search.report.writer import main; main(sys.argv[1:]); "
        "assert not {'ray', 'optuna', 'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, study(tmp_path / "study")], check=True, cwd=ROOT)


def test_an_incomplete_last_line_of_the_event_log_is_ignored_another_is_an_error(tmp_path):
    folder = study(tmp_path / "study", torn='{"event": "end", "trial_id": "00001", "sta')
    record = folder / "trials.jsonl"
    assert [event["event"] for event in read_events(record)] == ["epoch"] * 3 + ["end"]
    assert [end.trial_id for end in read_log(record).ends] == ["00000"]
    record.write_text(record.read_text() + "\n")
    with pytest.raises(ValueError, match=r"trials.jsonl:5: is no event of a trial: .*; remove the line"):
        read_log(record)


def test_a_bug_in_a_chart_is_not_reported_as_a_mistake_of_the_user(tmp_path, monkeypatch, capsys):
    folder = study(tmp_path / "study")

    def fail(_):
        raise ValueError("a bug")

    monkeypatch.setattr("search.report.writer.draw_folds", fail)
    with pytest.raises(ValueError, match="a bug"):
        main([str(folder)])
    write_final_report(folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"{folder / 'report.html'}: internal error (ValueError: a bug); all other results are saved;"
    )
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError):
        write_final_report(folder)
