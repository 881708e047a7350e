"""The report, from results folders made by hand: whatever state a study is in, one file that is whole and safe."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from search.record import read_ends, read_events
from search.report import main, write_report

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert(1)</script>"
VOID = {"meta", "br", "hr", "img", "input", "link"}
NAMES = (
    "rank", "trial_id", "status", "architecture", "hidden_size", "num_layers", "learning_rate",
    "val_theils_u", "val_rmse", "epochs", "best_epoch", "parameters", "seconds",
)  # fmt: skip
MANIFEST = {
    "name": "small", "command": "python -m search.run spaces/small.yaml", "host": "here", "platform": "Linux",
    "start": "2026-01-02T03:04:05.678+00:00", "end": "2026-01-02T03:06:10.000+00:00", "seconds": 124.3,
    "interrupted": False, "versions": {"python": "3.12.1", "torch": None}, "seed": 7,
    "data": {
        "source": "nasdaq", "start": "2010-01-04", "end": "2018-12-31", "sessions": 2264, "sha256": "abc123",
        "repairs": ["3 rows without any price dropped"], "warnings": ["volume is 0 on 12 sessions"],
    },
    "folds": [
        {"train": ["2010-01-04", "2015-12-31"], "validation": ["2016-01-04", "2016-12-30"]},
        {"train": ["2010-01-04", "2016-12-30"], "validation": ["2017-01-03", "2017-12-29"]},
    ],
    "test": ["2018-01-02", "2018-12-31"], "test_openings": [],
    "baselines": {
        "persistence": {"val_theils_u": 1.0, "val_direction_accuracy": None}, "drift": {"val_theils_u": 0.995},
    },
}  # fmt: skip
SPACE = "name: small\nvalidation: {folds: 2, seeds: 3}\nsearch: {num_samples: 2, metric: val_theils_u, sampler: tpe}\n"
BASELINES = (
    {"rank": 2, "trial_id": "drift", "status": "baseline", "val_theils_u": "0.995", "val_rmse": "38.24"},
    {"rank": 3, "trial_id": "persistence", "status": "baseline", "val_theils_u": "1", "val_rmse": "38.627"},
)


def row(trial_id="00000", status="complete", score=0.9876543, **others):
    return {
        "rank": 1 if score else "", "trial_id": trial_id, "status": status, "architecture": "gru", "hidden_size": 16,
        "learning_rate": "0.00123456", "val_theils_u": score or "", "epochs": 3, "best_epoch": 3 if score else "",
        "parameters": 1234567, "seconds": "12.3456789", **others,
    }  # fmt: skip


def trial(trial_id="00000", status="complete", scores=(1.01, 0.99, 0.9876543), message=None):
    """The events of one trial; without an end where `status` is None."""
    time = "2026-01-02T03:05:00.000+00:00"
    events = [
        {"event": "epoch", "trial_id": trial_id, "time": time, "epoch": number,
         "scores": {} if score is None else {"val_theils_u": score}}
        for number, score in enumerate(scores, start=1)
    ]  # fmt: skip
    end = {"event": "end", "time": time, "trial_id": trial_id, "status": status, "point": {}, "message": message}
    return events + [end] * (status is not None)


def study(folder, *, rows=None, events=None, torn="", names=NAMES, space=SPACE, **manifest):
    """A results folder with one complete trial, or with what is given; a manifest's None drops the key."""
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
    """Reads a page strictly: every element is closed, in order; keeps tags, texts and table rows."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.rows = [], [], [], []
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
    assert not {"script", "link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not {"src", "href", "xlink:href", "srcset", "style"} & attributes.keys(), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", "".join(page.texts))


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
def test_every_state_of_a_study_gives_a_whole_page(tmp_path, state):
    page = report(study(tmp_path / "study", **STATES[state]))
    headings = [tag for tag, _ in page.tags if tag in ("h1", "h2")]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert "Learning curves" in page.text
    for figure in page.all("svg"):
        assert figure.get("role") == "img" or "aria-hidden" in figure or figure.get("class")
    assert not [path.name for path in (tmp_path / "study").iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("missing", ["space.yaml", "trials.jsonl", "leaderboard.csv"])
def test_a_file_that_is_not_there_yet_does_no_harm(tmp_path, missing):
    folder = study(tmp_path / "study")
    (folder / missing).unlink()
    assert "small" in report(folder).text


def test_the_verdict_comes_first_and_the_manifests_own_goes_before_ours(tmp_path):
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
        ("interrupted", "Interrupted after 2 of 2 trials"),
        ("all diverged", "No trial has a score, so nothing is known of this space."),
        ("all diverged", "2 diverged"),
        ("all diverged", "No epoch has a score."),
        ("no trial yet", "none yet"),
        ("no trial yet", "No epoch has a score yet."),
        ("failed", f"ValueError: {EVIL}"),
    ],
)
def test_the_page_says_how_things_stand(tmp_path, state, words):
    assert words in report(study(tmp_path / "study", **STATES[state])).text


def test_the_facts(tmp_path):
    text = report(study(tmp_path / "study")).text
    for fact in (
        "2m 04s", "2026-01-02 03:04:05 UTC", "nasdaq", "2264 sessions", "2010-01-04 to 2018-12-31", "abc123",
        "Test block not opened 2018-01-02 to 2018-12-31", "each 2 folds × 3 seeds", "Seed 7",
        "Repaired: 3 rows without any price dropped", "Warning: volume is 0 on 12 sessions", "num_samples: 2",
        "python 3.12.1", "torch not installed", "python -m search.run spaces/small.yaml",
        "fold 2 2010-01-04 to 2016-12-30 2017-01-03 to 2017-12-29",
    ):  # fmt: skip
        assert fact in text


@pytest.mark.parametrize(("times", "words"), [(1, "opened once"), (2, "opened twice"), (3, "opened 3 times")])
def test_an_opened_test_block_is_said_to_be(tmp_path, times, words):
    openings = [{"time": "2026-01-02T03:06:00.000+00:00", "ranked_by": "val_theils_u", "trials": 40}] * times
    finalist = row(test_theils_u="1.0021", test_dm_p="0.0000123", in_mcs="true")
    names = (*NAMES, "test_theils_u", "test_dm_p", "in_mcs")
    page = report(study(tmp_path / "study", names=names, rows=[finalist, *BASELINES], test_openings=openings))
    assert words in page.text
    assert page.text.count("by val_theils_u of 40 trials") == times
    assert "test block, opened" in page.text
    assert "00000finalist" in page.rows[2]
    assert {"1.0021", "1.23e-05", "true"} <= set(page.rows[2])
    assert "Test block" in page.rows[0]


def test_the_facts_of_luck_stand_at_the_head_and_unknown_ones_say_why(tmp_path):
    proof = {"trials": 40, "spa_p": 0.613, "test_spa_p": None, "pbo": 0.0, "reasons": {"test_spa_p": "12 days only"}}
    text = report(study(tmp_path / "study", proof=proof)).text
    assert "Is the best of 40 only lucky?" in text
    for fact in ("SPA p on validation: 0.61", "SPA p on test: unknown, 12 days only", "overfitting: 0.00"):
        assert fact in text
    assert "only lucky?" not in report(study(tmp_path / "running", proof=None)).text


def test_the_leaderboard_shows_scores_first_and_every_column_with_its_meaning(tmp_path):
    page = report(study(tmp_path / "study"))
    groups, heads, first, drift = page.rows[:4]
    assert groups == ["Trial", "Validation", "Parameters", "Training"]
    assert heads[:5] == ["rank", "trial", "status", "network", "Theil's U"]
    assert first == [
        "1",
        "00000",
        "complete",
        "gru 16x1",
        "0.9877",
        "",
        "gru",
        "16",
        "0.001235",
        "3",
        "3",
        "1234567",
        "12.3457",
    ]
    assert drift[:5] == ["2", "drift", "baseline", "", "0.9950"]
    titles = [attributes["title"] for attributes in page.all("th") if attributes.get("scope") == "col"
              and "title" in attributes]  # fmt: skip
    assert {title.partition(":")[0] for title in titles} == {*NAMES, "network"} - {"num_layers"}
    assert "learning_rate: step size of the optimiser" in titles
    assert "left out: num_layers" in page.text  # empty in every row
    assert [attributes.get("class") for attributes in page.all("tr")[2:5]] == ["trial", "baseline", "baseline"]
    assert {attributes["scope"] for attributes in page.all("th")} == {"col", "row", "colgroup"}
    assert page.all("td")[3]["class"].split() == ["n", "first"]


def test_a_parameter_that_is_not_ours_is_text(tmp_path):
    folder = study(
        tmp_path / "study", name=EVIL, command=EVIL, verdict=EVIL, platform=EVIL, host=EVIL, seed=EVIL,
        versions={EVIL: EVIL}, data={"source": EVIL, "sha256": EVIL, "repairs": [EVIL], "warnings": [EVIL]},
        baselines={EVIL: {"val_theils_u": 0.99}}, names=(*NAMES, EVIL),
        rows=[row(EVIL, architecture=EVIL, **{EVIL: EVIL})], events=trial(EVIL, message=EVIL),
        space=f'name: "{EVIL}"\nsearch: {{sampler: "{EVIL}"}}\n',
    )  # fmt: skip
    page = report(folder)
    assert "<script" not in (folder / "report.html").read_text()
    assert page.text.count(EVIL) > 15
    quote = report(study(tmp_path / "quote", rows=[row('" onload="alert(1)')]))  # in a title
    assert '" onload="alert(1)' in quote.text


def curve(page):
    return [
        [tuple(map(float, point.split(","))) for point in attributes["points"].split()]
        for attributes in page.all("polyline")
    ]


def test_a_curve_falls_where_the_score_does_and_breaks_where_there_is_none(tmp_path):
    (points,) = curve(report(study(tmp_path / "one")))
    assert [x for x, _ in points] == [20, 500, 980]
    assert points[0][1] < points[1][1] < points[2][1]
    events = trial(scores=(1.02, 1.01, None, 1.0, 0.99))
    assert [len(points) for points in curve(report(study(tmp_path / "gap", events=events)))] == [2, 2]


def test_a_score_far_above_is_cut_off_and_the_page_says_so(tmp_path):
    events = trial(scores=(400.0, 1.01, 0.98)) + trial("00001", "diverged", (1.5, 80.0))
    page = report(study(tmp_path / "study", events=events))
    assert "2 epochs score above" in page.text
    assert "the highest has 400." in page.text
    assert all(y <= 1000 for points in curve(page) for _, y in points)
    levels = [attributes for attributes in page.all("line") if attributes.get("class") == "level persistence"]
    assert 0 < float(levels[0]["y1"].rstrip("%")) < 100
    assert "epochs score above" not in report(study(tmp_path / "near")).text


def test_the_report_replaces_the_one_before(tmp_path):
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
def test_what_is_no_study_is_one_line_and_exit_code_2(tmp_path, capsys, file, content, words):
    folder = tmp_path / "study"
    if file:
        (study(folder) / file).write_text(content)
    assert main([str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert str(folder) in err


def test_it_needs_neither_ray_nor_optuna_nor_torch(tmp_path):
    code = (
        "import sys; from search.report import main; main(sys.argv[1:]); "
        "assert not {'ray', 'optuna', 'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, study(tmp_path / "study")], check=True, cwd=ROOT)


def test_a_torn_last_line_of_the_record_is_left_out_another_is_an_error(tmp_path):
    folder = study(tmp_path / "study", torn='{"event": "end", "trial_id": "00001", "sta')
    record = folder / "trials.jsonl"
    assert [event["event"] for event in read_events(record)] == ["epoch"] * 3 + ["end"]
    assert [end.trial_id for end in read_ends(record)] == ["00000"]
    record.write_text(record.read_text() + "\n")
    with pytest.raises(ValueError, match=r"trials.jsonl:5: is no event of a trial: '.*; remove the line"):
        read_events(record)
