"""Check the READMEs: spaces, commands, files and links exist, and both languages have the same code and figures."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from benchmarks.tutorial import rewritten
from search.space.space import load_space

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.ko.md")
PAIRS = [READMES, ("docs/tutorial.md", "docs/ko/tutorial.md"), ("docs/reading.md", "docs/ko/reading.md")]
PAGES = (*READMES, "CONTRIBUTING.md", "docs/tutorial.md", "docs/ko/tutorial.md", "docs/ko/reading.md")
SMOKE = "python -m search.run spaces/smoke.yaml"
NUMBER = re.compile(r"\d+(?:[.,:]\d+)+|\d{2,}")


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def fences(page):
    """Language and text of a page's code blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", read(page), re.S | re.M)


def bare(text):
    """A code block without its comments, which are in the page's language."""
    return [re.sub(r"(?<=\S)\s{2,}#.*", "", line).rstrip() for line in text.splitlines()]


def commands(page):
    """Every `python -m MODULE ...` of a page, split into words."""
    found = re.findall(r"python3? -m ([a-z][^`\n|;&]*)", read(page))
    return [shlex.split(command, comments=True) for command in found]


SPACES = [
    pytest.param(text, id=f"{page}-{number}")
    for page in PAGES
    for number, (language, text) in enumerate(fences(page))
    if language == "yaml" and re.search(r"^space:", text, re.M)
]
COMMANDS = sorted({shlex.join(words) for page in PAGES for words in commands(page)})


@cache
def options(module):
    """The options of a module, as its own --help prints them."""
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][\w-]*", shown.stdout))


@pytest.mark.parametrize("text", SPACES)
def test_a_space_on_a_page_is_read(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("prices.csv").write_text("Date,Open,High,Low,Close,Volume\n", encoding="utf-8")
    Path("mine.yaml").write_text(text, encoding="utf-8")
    assert load_space("mine.yaml").parameters


def test_the_mistake_that_is_shown_is_told_as_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = next(text for language, text in fences("README.md") if language == "yaml").splitlines()
    told = re.search(r"`(mine\.yaml:(\d+): space\.hidden_sise: [^`]*)`", read("README.md"))
    at = int(told[2]) - 1
    assert "hidden_size" in lines[at]
    lines[at] = lines[at].replace("hidden_size", "hidden_sise")
    Path("mine.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match=r"hidden_sise") as caught:
        load_space("mine.yaml")
    assert told[1] in str(caught.value)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_on_a_page_exists(command):
    module, *words = shlex.split(command)
    if importlib.util.find_spec(module.partition(".")[0]).origin is None or module == "venv":
        pytest.skip("a part of Python")
    assert importlib.util.find_spec(module) is not None
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= options(module)
    for word in words:
        if word.startswith(("spaces/", "benchmarks/")):
            assert (ROOT / word).is_file()


def test_the_pages_name_the_commands_that_people_start_with():
    assert {words.split()[0] for words in COMMANDS} >= {
        "search.run", "search.leaderboard", "search.report", "stockrnn.forecast", "stockrnn.prices", "pytest",
    }  # fmt: skip


@pytest.mark.parametrize("page", READMES)
def test_the_files_of_the_tree_exist(page):
    (tree,) = (text for _, text in fences(page) if text.startswith("spaces/"))
    folder, seen = ROOT, 0
    for line in bare(tree):
        folder = ROOT if not line.startswith(" ") else folder
        for name in line.strip().split(", "):
            assert (folder / name).exists(), name
            seen += 1
        folder = folder / line.strip() if not line.startswith(" ") and line.endswith("/") else folder
    assert seen > 10


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_no_link_is_dead(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", read(page))
    for target in targets:
        if not target.startswith(("http:", "https:", "#")):
            assert ((ROOT / page).parent / target.partition("#")[0]).exists(), target


def test_the_picture_of_the_report_is_small():
    assert (ROOT / "docs/images/report.png").stat().st_size < 300_000


@pytest.mark.parametrize("pair", PAIRS, ids=[english for english, _ in PAIRS])
def test_both_languages_show_the_same_code(pair):
    english, korean = ([(language, bare(text)) for language, text in fences(page)] for page in pair)
    assert english == korean


@pytest.mark.parametrize("pair", PAIRS, ids=[english for english, _ in PAIRS])
def test_both_languages_give_the_same_figures(pair):
    english, korean = (
        sorted(NUMBER.findall(re.sub(r"^```.*?^```$", "", read(page), flags=re.S | re.M))) for page in pair
    )
    assert english == korean


@pytest.mark.parametrize("pair", PAIRS[1:], ids=[english for english, _ in PAIRS[1:]])
def test_both_languages_have_the_same_sections_lists_and_tables(pair):
    english, korean = (re.findall(r"^(#+ |- |\||!\[|<!--.*-->)", read(page), re.M) for page in pair)
    assert english == korean


def test_the_verdict_on_the_front_page_is_that_of_its_table():
    table, verdict = (
        text for _, text in fences("README.md") if "persistence  baseline" in text or "Do not trade" in text
    )
    rows = [line.split() for line in table.splitlines()[1:]]
    (best,) = (row for row in rows if f"({row[1]}) is" in verdict.replace("\n", " "))
    assert f"Theil's U {best[-3]}" in verdict.replace("\n", " ")
    assert f"has Theil's U {best[-1]}" in verdict.replace("\n", " ")


@pytest.mark.parametrize("page", ["docs/tutorial.md", "docs/ko/tutorial.md"])
def test_no_block_of_the_tutorial_is_empty(page):
    found = re.findall(r"<!-- (\w+) -->\n(.*?)<!-- end \1 -->", read(page), re.S)
    assert {name for name, _ in found} == {"conditions", "network", "looks", "late", "four", "search", "verdict"}
    assert all(text.strip() for _, text in found)


def test_writing_the_tutorial_anew_keeps_what_people_wrote():
    page = "before\n<!-- late -->\nold\n<!-- end late -->\nafter\n"
    assert rewritten(page, {"late": r"new \1"}) == page.replace("old", r"new \1")
    assert rewritten(page.replace("old\n", ""), {"late": "old"}) == page
    with pytest.raises(ValueError, match="search"):
        rewritten(page, {"search": "new"})


@pytest.mark.ray
def test_the_smoke_command_runs_as_written(tmp_path):
    assert SMOKE in read("README.md")
    shutil.copytree(ROOT / "spaces", tmp_path / "spaces")
    command = [sys.executable, *shlex.split(SMOKE)[1:]]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert "persistence" in done.stdout
    assert (tmp_path / "results/smoke/report.html").is_file()
