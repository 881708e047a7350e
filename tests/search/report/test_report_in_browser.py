"""Open reports in headless Chromium: sort, filter, zoom and print."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from browsers import CHROMIUM, reading
from playwright.sync_api import Page
from test_report import SPACE_OF_TWO, many, opened, row, study, trial

from search.report.writer import main, write_report
from search.run import main as run

HACK = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a study with an opened test set and trials of every status."""
    folder = opened(tmp_path_factory.mktemp("ordinary") / "study", space=SPACE_OF_TWO)
    ends = ("complete", "stopped", "diverged", "failed")
    more = [event for place, status in enumerate(ends) for event in trial(f"1000{place}", status, (1.02, 1.01))]
    with (folder / "trials.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in [*more, *many()[6:]])
    board = folder / "leaderboard.csv"
    columns = board.read_text(encoding="utf-8").partition("\n")[0].count(",") + 1
    with board.open("a") as file:
        for place, status in enumerate(ends):
            row = f"{place + 5},1000{place},{status},lstm,{2**place},,0.01,{1.01 + place / 10},,3,3,99,{100 - place}"
            file.write(row + "," * (columns - 1 - row.count(",")) + "\n")
    return write_report(folder)


def column(page: Page, name: str) -> list[str]:
    """Return the texts of a column in the visible rows."""
    return page.evaluate(
        """name => {
          const heads = [...document.querySelectorAll(".board thead tr:last-child th")];
          const place = heads.findIndex(head => head.textContent.trim() === name);
          return [...document.querySelectorAll(".board tbody tr:not([hidden])")]
            .map(row => row.cells[place].textContent.trim());
        }""",
        name,
    )


def head(page: Page, name: str):
    return page.locator(".board thead tr:last-child th", has=page.get_by_role("button", name=name, exact=True))


def test_the_leaderboard_is_sorted_by_click_and_by_key(browser, ordinary):
    with reading(browser, ordinary) as page:
        assert head(page, "rank").get_attribute("aria-sort") == "ascending"
        button = head(page, "hidden size").get_by_role("button")
        button.click()
        known = [int(text) for text in column(page, "hidden size") if text]
        assert known == sorted(known)
        assert column(page, "hidden size")[len(known) :] == [""] * 2  # baselines have none: last
        button.focus()
        page.keyboard.press("Enter")
        assert [int(text) for text in column(page, "hidden size") if text] == known[::-1]
        assert column(page, "hidden size")[-1] == ""
        assert head(page, "hidden size").get_attribute("aria-sort") == "descending"
        assert head(page, "rank").get_attribute("aria-sort") == "none"
        assert "largest first" in page.locator("#board-status").inner_text()
        described = button.get_attribute("aria-describedby")
        assert page.locator(f"#{described}").text_content()
        assert head(page, "hidden size").get_attribute("title").startswith("hidden_size:")


def test_the_leaderboard_is_filtered_by_text_and_status(browser, ordinary):
    with reading(browser, ordinary) as page:
        everything = len(column(page, "trial"))
        page.get_by_label("Filter").fill("LSTM dive")
        assert column(page, "trial") == ["10002"]
        assert page.locator("#board-status").inner_text() == f"1 of {everything} rows."
        page.get_by_label("Filter").fill("")
        page.get_by_role("checkbox", name="baseline").uncheck()
        assert not {"drift", "persistence"} & set(column(page, "trial"))
        page.get_by_role("checkbox", name="complete").uncheck()
        assert set(column(page, "status")) == {"stopped", "diverged", "failed"}


def view(page: Page, name: str):
    """Return the button of a view of the chart of forecasts."""
    return page.locator("figure", has=page.locator("#chart-forecasts")).get_by_role("button", name=name)


CHANGED = """([chart, axis, before]) =>
  JSON.stringify(document.getElementById(chart)._fullLayout[axis].range) !== JSON.stringify(before)"""


def wait_until(page: Page, condition: str, argument: object = None) -> None:
    """Wait until a JavaScript function of the argument returns true."""
    page.wait_for_function(condition, arg=argument, timeout=120_000)


def shown_range(page: Page, chart: str, axis: str) -> list:
    return page.evaluate("([id, axis]) => document.getElementById(id)._fullLayout[axis].range", [chart, axis])


def test_a_chart_zooms_by_drag_and_by_button_and_adapts_its_y_range(browser, ordinary):
    with reading(browser, ordinary) as page:
        days, heights = (shown_range(page, "chart-forecasts", axis) for axis in ("xaxis", "yaxis"))
        plot = page.locator("#chart-forecasts .nsewdrag").first
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * 0.4, y)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=5)
        page.mouse.up()
        wait_until(page, CHANGED, ["chart-forecasts", "xaxis", days])
        wait_until(page, CHANGED, ["chart-forecasts", "yaxis", heights])
        zoomed = shown_range(page, "chart-forecasts", "xaxis")
        assert days[0] < zoomed[0] < zoomed[1] < days[1]
        view(page, "Whole test set").click()
        assert shown_range(page, "chart-forecasts", "xaxis")[0] < days[0]
        assert view(page, "Whole test set").get_attribute("aria-pressed") == "true"
        assert view(page, "Last 60 days").get_attribute("aria-pressed") == "false"
        assert page.locator(".modebar, .plotlyjsicon").count() == 0


COLOR = "document.getElementById('chart-forecasts')._fullLayout.legend.font.color"


def drawn_color(page: Page) -> str:
    return page.evaluate(COLOR)


def test_charts_follow_the_colour_scheme_and_printing_and_keep_their_zoom(browser, ordinary):
    with reading(browser, ordinary) as page:
        light = drawn_color(page)
        view(page, "Whole test set").click()
        days = shown_range(page, "chart-forecasts", "xaxis")
        page.emulate_media(color_scheme="dark")
        wait_until(page, f"light => {COLOR} !== light", light)
        dark = drawn_color(page)
        assert shown_range(page, "chart-forecasts", "xaxis") == days
        page.emulate_media(color_scheme="dark", media="print")
        wait_until(page, f"() => {COLOR} === '#000'")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="dark", media="screen")
        wait_until(page, f"dark => {COLOR} === dark", dark)
        assert page.pdf().startswith(b"%PDF")


CUT_LABELS = """() => [...document.querySelectorAll(".chart")].flatMap(chart => {
  const box = chart.getBoundingClientRect();
  return [...chart.querySelectorAll("svg text")].filter(text => {
    const { left, right, top, bottom, width } = text.getBoundingClientRect();
    return width && (left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1);
  }).map(text => `${chart.id}: ${text.textContent}`);
})"""


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (375, "dark"), (1280, "light"),
        *(pytest.param(*each, marks=pytest.mark.nightly) for each in (
            (375, "light"), (800, "light"), (800, "dark"), (1280, "dark"),
        )),
    ],
)  # fmt: skip
def test_every_chart_is_drawn_and_fits(browser, ordinary, width, scheme):
    with reading(browser, ordinary, width, scheme, reduced_motion="reduce") as page:
        wrong = page.evaluate(
            """() => [...document.querySelectorAll(".chart")].filter(chart => {
              const plot = chart.querySelector(".main-svg");
              return plot?.getBoundingClientRect().width !== chart.clientWidth || !chart.querySelector(".trace");
            }).map(chart => chart.id)"""
        )
        assert wrong == []
        assert page.evaluate(CUT_LABELS) == []
        assert page.locator(".chart").count() >= 9
        page.set_viewport_size({"width": 700, "height": 900})
        wait_until(page, "() => document.getElementById('chart-learning-curves')._fullLayout.width < 700")


def test_rank_trial_and_score_are_visible_on_a_narrow_screen_and_rank_and_trial_stay(browser, ordinary):
    with reading(browser, ordinary, 390) as page:
        row = page.locator(".board tbody tr").first
        cells = [row.locator("td, th").nth(place) for place in range(3)]
        before = [cell.bounding_box() for cell in cells]
        assert "▼" in cells[2].evaluate("cell => getComputedStyle(cell, '::before').content")
        assert before[2]["x"] + before[2]["width"] < 390
        page.locator(".scroll").evaluate("box => { box.scrollLeft = 400; }")
        after = [cell.bounding_box() for cell in cells]
        assert [box["x"] for box in after[:2]] == [box["x"] for box in before[:2]]
        assert after[2]["x"] < before[2]["x"]
        assert before[0]["x"] + before[0]["width"] == pytest.approx(before[1]["x"], abs=0.5)


STUDIES = {
    "one trial": {"rows": [row()]},
    "all diverged": {
        "rows": [row(status="diverged", score=None)],
        "events": trial(status="diverged", scores=(None,)) + trial("00001", "diverged", ()),
    },
    "no trial yet": {"rows": [], "events": [], "end": None, "seconds": None},
}  # fmt: skip


@pytest.mark.parametrize("kind", STUDIES)
def test_studies_with_little_to_show(browser, tmp_path, kind):
    with reading(browser, write_report(study(tmp_path / "study", **STUDIES[kind])), 375) as page:
        assert page.locator("h1").count() == 1
        assert "The test set has not been opened" in page.locator("main").inner_text()


def test_hostile_names_are_text(browser, tmp_path):
    manifest = {
        "name": HACK,
        "command": HACK,
        "verdict": HACK,
        "data": {"source": HACK, "findings": [{"severity": "warning", "text": HACK}]},
    }
    baselines, space = {HACK: {"val_relative_loss": 0.99}}, f"name: {json.dumps(HACK)}\n"
    folder = opened(tmp_path / "study", (HACK, "00001"), baselines=baselines, space=space, **manifest)
    events = many()
    for event in events:
        if event["event"] == "end":
            event |= {
                "point": {"evil": HACK if event["trial_id"] > "00010" else "<b>", **event["point"]},
                "message": HACK,
            }
    with (folder / "trials.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    with reading(browser, write_report(folder)) as page:
        assert page.evaluate("window.hacked") is None
        assert page.locator("img").count() == 0
        labels = page.locator("#chart-importance .ytick").all_text_contents()
        assert "evil" in labels
        assert HACK in page.locator("h1").inner_text()


@pytest.mark.slow
def test_the_report_of_a_real_study(browser, space_file, tmp_path):
    path = space_file(search={"num_samples": 2, "finalists": 1})
    assert run([str(path), "--output", str(tmp_path / "results"), "--quiet", "--in-process"]) == 0
    folder = tmp_path / "results" / "small"
    with reading(browser, folder / "report.html") as page:
        assert page.locator("#chart-forecasts .main-svg").count() > 0
        assert page.locator("#chart-worker-timeline .main-svg").count() > 0
        figures = page.locator("dl.key").inner_text()
        assert "Next session" in figures
        assert "last close 6,635.28 on 2018-12-31" in figures
    assert main([str(folder), str(study(tmp_path / "other"))]) == 0
    with reading(browser, tmp_path / "results" / "comparison.html", 375) as page:
        assert page.locator("#chart-best-curves .main-svg").count() > 0


def test_the_screenshot_of_the_readmes_can_be_made(ordinary: Path, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    command = [sys.executable, "-m", "benchmarks.screenshot", str(ordinary.parent), "--output", str(picture)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])  # a process has one Playwright at a time
    header = picture.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(header[at : at + 4], "big") for at in (16, 20)] == [1080, 1100]
    assert picture.stat().st_size < 300_000
