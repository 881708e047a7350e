"""Check the pages under docs/: spaces, columns, keys, verdicts, exit codes and links match the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from search.common.text import Text, translate
from search.results.columns import FIRST, as_text, task_columns
from search.results.verdict import conclude, verdict
from search.space.domains import parse_parameter
from search.space.parameters import FIELDS
from search.space.reference import entries, reference_text
from search.space.sections import SECTIONS, WarmStartConfig
from search.space.space import SpaceError, load_space
from stockrnn.dataset.config import FEATURE_NAMES
from stockrnn.dataset.features import ROLLING
from stockrnn.tasks.price import BASELINES, PRICE
from stockrnn.tasks.registry import TASKS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
KEYS = [entry for section in ("top", *SECTIONS, "data.also", "resources.when", "space") for entry in entries(section)]
SPACE = "space: {architecture: [rnn, gru, lstm], num_layers: [1, 2, 3], hidden_size: {int: [4, 128]}}"


def read(name):
    return (DOCS / name).read_text(encoding="utf-8")


def fences(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M)


def tables(name):
    """Rows of a page's tables as lists of cells, without heads and rules."""
    for head, body in re.findall(r"^(\|.*)\n\|[-:| ]+\|\n((?:\|.*\n)+)", read(name), re.M):
        first = head.strip("| ").partition("|")[0].strip()
        yield first, [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]


def column(name, head):
    """The first cells of the table whose first column has that head, without backticks."""
    (rows,) = (rows for first, rows in tables(name) if first == head)
    return [row[0].strip("`") for row in rows]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the files that the pages' spaces name."""
    monkeypatch.chdir(tmp_path)
    for name in ("prices.csv", "won.csv"):
        Path(name).write_text("Date,Open,High,Low,Close,Volume\n", encoding="utf-8")
    return tmp_path


def test_the_reference_is_the_generated_one():
    assert read("space.md") == reference_text(), "run: python -m search.space.reference > docs/space.md"


def test_the_reference_has_every_key():
    named = re.findall(r"^### `(.*)`$", read("space.md"), re.M)
    sections = [f"{section}.{key}" for section, config in SECTIONS.items() for key in config.model_fields]
    entry = [f"search.warm_start.{key}" for key in WarmStartConfig.model_fields]
    entry += ["data.also.lag", "resources.when.if", "resources.when.cpu", "resources.when.gpu"]
    assert sorted(named) == sorted(["name", "seed", *sections, *entry, *(f"space.{name}" for name in FIELDS)])


@pytest.mark.parametrize("entry", KEYS, ids=lambda entry: entry.key)
def test_the_example_of_a_key_is_read_and_sets_that_key(entry, folder):
    section, _, name = entry.key.partition(".")
    given = yaml.safe_load(SPACE)
    if section == "space":
        own = yaml.safe_load(entry.example)
        given["space"] = {**{key: value for key, value in given["space"].items() if key not in own}, **own}
    text = "\n".join([yaml.safe_dump(given, sort_keys=False), entry.example if section != "space" else ""])
    Path("space.yaml").write_text(text, encoding="utf-8")
    space = load_space("space.yaml")
    if section == "space":
        assert name in {parameter.name for parameter in space.parameters}
    elif not name:
        assert getattr(space, section) != {"name": "study", "seed": 0}[section]
    else:
        assert name.partition(".")[0] in getattr(space, section).model_fields_set


BOUNDED = [
    pytest.param(entry.key, *(yaml.safe_load(end.replace(",", "")) for end in ends.groups()), id=entry.key)
    for entry in KEYS
    if entry.key.count(".") < 2 and (ends := re.search(r"number from ([\d.,]+) to ([\d.,]*\d)", entry.values))
]


@pytest.mark.parametrize(("key", "low", "high"), BOUNDED)
def test_the_bounds_of_a_key_are_those_of_the_reader(key, low, high, folder):
    Path("space.yaml").write_text(SPACE, encoding="utf-8")

    def complaints(value):
        """What the reader says of the size of a value."""
        try:
            load_space("space.yaml", [(key, str(value), "--set")])
        except SpaceError as error:
            sizes = ("too small", "too large", "is not a seed", "is not a share")
            return [line for line in error.problems if f" {key}: {value} " in line and any(map(line.count, sizes))]
        return []

    assert not complaints(low)
    assert not complaints(high)
    assert complaints(low - 1)
    assert complaints(high + 1)


def test_the_forms_of_a_parameter_are_read():
    shown = [form.strip("`") for form in column("space.md", "YAML")]
    known = {}
    for form in shown:
        ((name, raw),) = yaml.safe_load(form).items()
        layers = parse_parameter("num_layers", [1, 2, 3], {})
        known[form] = parse_parameter(name, raw, {"num_layers": layers})
    assert [parameter.kind for parameter in known.values()] == [
        "constant", "choice", "int", "int", "int", "float", "choice", "float",
    ]  # fmt: skip


def test_the_features_of_the_reference_are_all_there_are():
    shown = {name for cell in (rows for first, rows in tables("space.md") if first == "feature") for row in cell
             for name in re.findall(r"`(\w+)`", row[0])}  # fmt: skip
    assert shown == {*FEATURE_NAMES, *(f"{name}_N" for name in ROLLING)} - {"weekday_sin", "weekday_cos"}


SPACES = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in PAGES
    if page.name != "extending.md"  # its space names what its blocks add: tests/test_extending.py
    for number, text in enumerate(fences(page, "yaml"))
    if re.search(r"^[a-z]+:", text, re.M)
]


@pytest.mark.parametrize("text", SPACES)
def test_yaml_on_a_page_is_a_space_or_part_of_one(text, folder):
    if not re.search(r"^space:", text, re.M):
        text += "\nspace: {architecture: [rnn, gru, lstm], hidden_size: {int: [4, 512]}}\n"
    Path("space.yaml").write_text(text, encoding="utf-8")
    assert load_space("space.yaml").parameters


def test_the_columns_of_the_leaderboard_are_all_explained_in_order():
    (rows,) = (rows for first, rows in tables("reading.md") if first == "column")
    plain = [[re.sub(r"\[(.*?)\]\(.*?\)", r"\1", cell).replace("`", "") for cell in row] for row in rows]
    declared = [[column.name, column.unit, column.meaning] for column in (*FIRST, *task_columns(PRICE))]
    assert [row for row in plain if row[0] != "*other parameters*"] == declared


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task is not PRICE], ids=lambda task: task.name)
def test_the_columns_of_another_task_are_all_explained_in_order(task):
    (rows,) = (rows for first, rows in tables("reading.md") if first == f"column of {task.name}")
    own = [column for column in task_columns(task) if column not in task_columns(PRICE)]
    assert [[cell.replace("`", "") for cell in row] for row in rows] == [
        [column.name, column.unit, column.meaning] for column in own
    ]


def test_the_baselines_are_all_explained():
    assert column("scoring.md", "row") == list(BASELINES)
    for task in TASKS.values():
        assert task is PRICE or column("scoring.md", f"baseline of {task.name}") == list(task.baselines)


def test_the_tasks_are_all_explained():
    assert column("scoring.md", "task") == list(TASKS)


def row(name, val, test=None, status="complete", **more):
    return {
        "trial_id": name,
        "status": status,
        "val_relative_loss": val,
        "test_relative_loss": test,
        "test_dm_p": None,
        **more,
    }


LUCKY = {"test_days": 250, "test_spa_p": 0.22, "spa_p": 0.07}
SURE = {"test_days": 250, "test_spa_p": 0.01, "spa_p": 0.01}
SAID = [
    ([row("1", 0.99, 1.01)], LUCKY),
    ([row("1", 0.99, 0.998, seeds_sd=0.01)], SURE),
    ([row("1", 0.99, 0.998, test_dm_p=0.4)], LUCKY),
    ([row("1", 0.99, 0.95, test_dm_p=0.01)], SURE),
    ([row("1", 0.99)], None),
    ([row("1", 0.99), row("2", 1.0)], None),
    ([row("1", 1.1)], None),
    ([row("00028", 0.99), *(row(str(number), 1.0) for number in range(39))], None),
    ([row("1", 0.99, val_relative_loss_sd=0.0118)], None),
    ([row("1", 0.999), row("drift", 0.998, status="baseline")], None),
    ([row("1", 1.003, status="default"), row("2", 0.994, val_relative_loss_sd=0.005)], None),
    ([row("1", 1.003, status="default"), row("2", 0.994, val_relative_loss_sd=0.02)], None),
    ([row("1", 0.99, status="default"), row("2", 0.994)], None),
    ([row(name, 0.99, 1.01) for name in "123"], LUCKY),
    ([row("1", 0.99, 1.01)], SURE),
    ([row("1", 0.99, 1.01), row("ar1", 1.0, 0.99, status="baseline")], LUCKY),
    ([row("1", 0.99, best_epoch=30)], None),
    ([row("1", 0.99, 1.01, test_coverage_80=0.62)], LUCKY),
    ([], None),
]


@pytest.mark.parametrize(("phrase", "case"), [*zip(column("reading.md", "it says"), SAID, strict=True)])
def test_a_verdict_is_said_as_the_page_has_it(phrase, case):
    rows, proof = case
    assert phrase in verdict(rows, proof, max_epochs=30)


@pytest.mark.parametrize(("phrase", "case"), [*zip(column("ko/reading.md", "판정의 말"), SAID, strict=True)])
def test_a_verdict_is_said_as_the_korean_page_has_it(phrase, case):
    rows, proof = case
    assert phrase in " ".join(translate(conclude(rows, proof, max_epochs=30), "ko"))


def test_the_korean_page_explains_the_columns_in_the_words_of_the_report():
    (rows,) = (rows for first, rows in tables("ko/reading.md") if first == "열")
    translated = [
        [f"`{each.name}`", *translate([Text(each.unit), as_text(each.meaning)], "ko")]
        for each in (*FIRST, *task_columns(PRICE))
    ]
    assert [row for row in rows if row[0] != "*다른 파라미터*"] == translated
    for task in TASKS.values():
        if task is not PRICE:
            (rows,) = (rows for first, rows in tables("ko/reading.md") if first == f"{task.name}의 열")
            own = [each for each in task_columns(task) if each not in task_columns(PRICE)]
            assert rows == [
                [f"`{each.name}`", *translate([Text(each.unit), as_text(each.meaning)], "ko")] for each in own
            ]


def test_the_statuses_of_trials_are_all_explained():
    from search.results.event_log import STATUSES

    assert column("scoring.md", "status") == list(STATUSES)


def test_the_exit_codes_are_those_of_the_command():
    from search.run import DONE, INTERRUPTED, NOTHING_FINISHED, WRONG_INPUT

    assert column("faults.md", "code") == [str(code) for code in (DONE, NOTHING_FINISHED, WRONG_INPUT, INTERRUPTED)]


def test_what_may_change_in_a_study_that_goes_on_is_named():
    from search.results.resume import FREE

    page = read("faults.md")
    (sentence,) = re.findall(r"^You can change `search\.num_samples`.*?score of a trial\.", page, re.S | re.M)
    assert set(re.findall(r"`([\w.]+)`", sentence)) == set(FREE)


def test_the_levels_that_honesty_names_are_those_of_the_tests():
    from search.results.verdict import LEVEL
    from stockrnn.evaluation import forecast_tests, multiple_testing

    page = read("honesty.md")
    assert f"fewer than {multiple_testing.MIN_DAYS} days, or than 8 × H" in page
    assert f"fewer than {forecast_tests.MIN_DAYS} days" in page
    assert f"each {LEVEL} or less" in page
    assert f"{multiple_testing.REPLICATIONS:,} times" in page


def test_links_to_source_files_lead_to_files():
    """MkDocs does not check them: docs/source_links.py makes them plain text in the site."""
    found = [
        page.parent / target
        for page in DOCS.rglob("*.md")
        for target in re.findall(
            r"\]\(((?:\.\./)+(?:search|stockrnn|tests|benchmarks|spaces)\b[^)#]*)", page.read_text("utf-8")
        )
    ]
    assert found
    assert not [path for path in found if not path.exists()]


def test_every_page_is_in_the_navigation_and_no_link_is_dead(tmp_path):
    pytest.importorskip("mkdocs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path], cwd=ROOT, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert {page.stem for page in PAGES} <= {page.stem for page in tmp_path.glob("*.html")}


def test_a_page_needs_nothing_from_other_hosts(tmp_path):
    pytest.importorskip("mkdocs")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", tmp_path], cwd=ROOT, capture_output=True, check=True
    )
    for page in tmp_path.glob("*.html"):
        fetched = re.findall(r'<(?:link|script|img|iframe)\b[^>]*(?:src|href)="([^"]*)"', page.read_text("utf-8"))
        assert fetched
        assert not [address for address in fetched if re.match(r"(?:https?:)?//", address)], page.name


def test_the_architecture_names_what_exists():
    """`NAME` (`path`): the file defines the name; every other path exists; every folder has its line."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)`\s+\(`((?:search|stockrnn)/[\w/]+\.py)`\)", text)
    assert len(named) > 20
    missing = [
        (name, path)
        for name, path in named
        if not re.search(rf"^(?:class|def) {name}\b", (ROOT / path).read_text(), re.M)
    ]
    assert missing == []
    paths = re.findall(r"`((?:search|stockrnn)/[\w/.]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    folders = {f"{path.parent.parent.name}/{path.parent.name}/" for path in ROOT.glob("s*/*/__init__.py")}
    assert folders <= set(paths)
