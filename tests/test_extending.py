"""Follow docs/extending.md as a contributor: insert its blocks into a copy of the project, and run its commands."""

import ast
import contextlib
import csv
import http.server
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
import tomllib
from functools import partial
from pathlib import Path

import pytest

from stockrnn.plugins import KINDS
from stockrnn.prices.readers.table import read_shipped

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^At the end of `([\w/]+\.py)`:\n\n```python\n(.*?)^```$", PAGE, re.S | re.M)
COMMANDS = re.findall(r"^python -m (?:pytest|search\.run) .*$", PAGE, re.M)
CHECKS = [command for command in COMMANDS if " pytest " in command]
SPACES = re.findall(r"^```yaml\n(name: .*?)^```$", PAGE, re.S | re.M)
(SPACE,) = (space for space in SPACES if space.startswith("name: extended\n"))
(TASK_SPACE,) = (space for space in SPACES if space.startswith("name: ranges\n"))
((NEW_FILE, NEW_CODE),) = re.findall(r"^In the new file `([\w/]+\.py)`:\n\n```python\n(.*?)^```$", PAGE, re.S | re.M)


def python(folder, command, **environment):
    """Runs `python ...` as the page writes it, with the folder's packages and no other."""
    return subprocess.run(
        f"{shlex.quote(sys.executable)} {command.removeprefix('python ')}", shell=True, cwd=folder, text=True,
        capture_output=True, timeout=280, env={**os.environ, "PYTHONPATH": str(folder), **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with every block of the page at the end of its file."""
    folder = tmp_path_factory.mktemp("extended") / "project"
    folder.mkdir()
    for name in ("stockrnn", "search", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "test_extending.py"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, block in BLOCKS:
        path = folder / name
        path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{block}", encoding="utf-8")
    (folder / NEW_FILE).write_text(NEW_CODE, encoding="utf-8")
    registry = folder / "stockrnn/tasks/registry.py"
    text = registry.read_text(encoding="utf-8")
    for line, added in (
        ("from stockrnn.tasks.price import PRICE\n", "from stockrnn.tasks.range import RANGE\n"),
        ("VOLATILITY, DIRECTION", ", RANGE"),
    ):
        assert text.count(line) == 1
        text = text.replace(line, line + added)
    registry.write_text(text, encoding="utf-8")
    (folder / "ranges.yaml").write_text(TASK_SPACE, encoding="utf-8")
    (schema,) = (command for command in COMMANDS if "--json-schema" in command)
    done = python(folder, schema)
    assert done.returncode == 0, done.stderr
    (folder / "extended.yaml").write_text(SPACE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def quotes(tmp_path_factory):
    """The address of a web server with a CSV file of the last years of the Nasdaq series."""
    folder, series = tmp_path_factory.mktemp("quotes"), read_shipped("nasdaq")
    rows = [",".join(map(str, (day, *row))) for day, row in zip(series.dates, series.values.tolist(), strict=True)]
    (folder / "nasdaq.csv").write_text("\n".join([",".join(("Date", *series.columns)), *rows[-600:]]), encoding="utf-8")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_page_extends_all_there_is_to_extend():
    files = [name for name, _ in BLOCKS]
    assert set(re.findall(r"^\| \w+ \| `([\w/]+\.py)`", PAGE, re.M)) | {
        "tests/stockrnn/dataset/test_features.py", "tests/stockrnn/networks/test_heads.py",
        "tests/stockrnn/tasks/test_scoring.py",
    } == set(files)  # fmt: skip
    for name, block in BLOCKS:
        dictionary = {target.value.id for node in ast.parse(block).body if isinstance(node, ast.Assign)
                      for target in node.targets if isinstance(target, ast.Subscript)}  # fmt: skip
        assert dictionary
        for each in dictionary:
            assert re.search(rf"^{each}\b.* = {{", (ROOT / name).read_text(encoding="utf-8"), re.M), each
    assert len(CHECKS) >= 4


def test_the_blocks_are_in_the_style_of_the_house(project):
    for command in ("-m ruff check --no-cache stockrnn search", "-m ruff format --check --no-cache stockrnn search"):
        done = python(project, command)
        assert done.returncode == 0, done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize("command", CHECKS)
def test_the_checks_that_a_contributor_is_told_to_run_pass(project, command):
    done = python(project, f"{command} -n 0 -q -p no:cacheprovider --timeout=250")
    assert done.returncode == 0, done.stdout[-3000:]
    named = re.search(r"-k \"?([\w-]+)", command)[1]
    assert named in PAGE
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 1
    assert "skipped" not in done.stdout or "GPU" in done.stdout


@pytest.mark.nightly
def test_the_imports_and_the_schema_of_the_extended_project_are_in_order(project):
    done = python(
        project, "-m pytest -q -p no:cacheprovider tests/test_imports.py tests/search/space/test_json_schema.py"
    )
    assert done.returncode == 0, done.stdout[-3000:]
    schema = (project / "search/space.schema.json").read_text(encoding="utf-8")
    for name in ("weighted", "mgu", "upper_shadow", "momentum", "nsga", "quotes", "val_median_error"):
        assert name in schema


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("weighted", "wieghted"), ("mgu", "mug"), ("upper_shadow", "uper_shadow"), ("momentum_5", "momentm_5"),
        ("nsga", "nsag"), ("val_median_error", "val_medain_error"),
    ],
)  # fmt: skip
def test_a_misspelt_name_is_told_with_the_right_one(project, quotes, right, wrong):
    (project / "misspelt.yaml").write_text(SPACE.replace(right, wrong, 1), encoding="utf-8")
    done = python(project, "-m search.run misspelt.yaml --dry-run", QUOTES_URL=quotes)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("misspelt.yaml:")
    assert line.endswith(f"did you mean {right}?")


def test_a_source_that_does_not_answer_is_one_line(project, quotes):
    done = python(project, "-m search.run extended.yaml --dry-run --set data.ticker=nowhere", QUOTES_URL=quotes)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("quotes nowhere: cannot be read (HTTP Error 404")


@pytest.mark.nightly
def test_a_study_with_all_of_them_runs_and_its_forecaster_forecasts(project, quotes):
    done = python(project, "-m search.run extended.yaml --in-process", QUOTES_URL=quotes)
    assert done.returncode == 0, done.stderr
    board = (project / "results/extended/leaderboard.csv").read_text(encoding="utf-8")
    assert {"mgu", "gru"} & set(re.findall(r"\b(mgu|gru)\b", board))
    names, *rows = csv.reader(board.splitlines())
    (own,) = (dict(zip(names, row, strict=True)) for row in rows if "ma5" in row)
    assert own["status"] == "baseline"
    assert all(float(own[name]) > 0 for name in ("val_median_error", "test_median_error", "test_relative_loss"))
    ranked = [float(row[names.index("val_median_error")]) for row in rows]
    assert ranked == sorted(ranked)
    done = python(project, "-m stockrnn.forecast results/extended", QUOTES_URL=quotes)
    assert done.returncode == 0, done.stderr
    assert "persistence" in done.stdout


def test_a_study_of_the_added_task_speaks_its_words(project):
    done = python(project, "-m search.run ranges.yaml --in-process --quiet")
    assert done.returncode == 0, done.stderr
    assert re.search(r"val MAE +sd +test MAE", done.stdout)
    assert "absolute error" in done.stdout
    names, *rows = csv.reader((project / "results/ranges/leaderboard.csv").read_text(encoding="utf-8").splitlines())
    assert {"persistence", "mean"} <= {row[names.index("trial_id")] for row in rows}
    report = (project / "results/ranges/report.html").read_text(encoding="utf-8")
    assert "relative MAE on the test set" in report
    assert "Theil" not in report
    schema = (project / "search/space.schema.json").read_text(encoding="utf-8")
    assert "log_session_range" in schema


def test_the_example_reads_prices_from_a_database(tmp_path, monkeypatch):
    (example,) = re.findall(r"^```python\n(import sqlite3\n.*?)^```$", PAGE, re.S | re.M)
    monkeypatch.chdir(tmp_path)
    series = read_shipped("nasdaq")
    rows = [(str(day), *row, "KOSPI") for day, row in zip(series.dates, series.values.tolist(), strict=True)]
    with contextlib.closing(sqlite3.connect("market.db")) as database:
        database.execute("CREATE TABLE daily (day, open, high, low, close, volume, symbol)")
        database.executemany("INSERT INTO daily VALUES (?, ?, ?, ?, ?, ?, ?)", rows[-1500:])
        database.commit()
    names = {}
    exec(example, names)
    assert (tmp_path / "results/kospi/report.html").exists()
    assert names["forecast"]["last_close"].item() == series.column("close")[-1]


def test_the_groups_of_entry_points_are_all_there_are():
    assert set(re.findall(r"^\| `((?:stockrnn|search)\.\w+)` \|", PAGE, re.M)) == set(KINDS)
    points = tomllib.loads(re.search(r"^```toml\n(.*?)^```$", PAGE, re.S | re.M)[1])["project"]["entry-points"]
    assert set(points) <= set(KINDS)
