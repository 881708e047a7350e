"""Check that the files for contributors agree: workflows, Makefile, hooks, versions, changelog."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def jobs(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_targets_of_the_makefile_with_read_permission(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    commands = [step["run"] for job in jobs(path) for step in job["steps"] if "run" in step]
    targets = [target for command in commands for target in re.findall(r"^make (\w+)", command, re.M)]
    assert "setup" in targets
    assert set(targets) <= TARGETS


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", ".github/pull_request_template.md", ".ci/run", ".ci/nightly"])
def test_a_page_and_a_script_name_targets_of_the_makefile(name):
    assert set(re.findall(r"(?:^ *|`)make (\w+)", read(name), re.M)) <= TARGETS


def test_actions_have_a_major_version():
    uses = [step["uses"] for path in WORKFLOWS for job in jobs(path) for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in uses)


def test_each_python_of_the_classifiers_is_tested():
    declared = re.findall(r"Python :: (\d\.\d+)", "\n".join(PROJECT["classifiers"]))
    tests = yaml.safe_load(read(".github/workflows/tests.yml"))
    assert set(declared) == set(tests["jobs"]["python"]["strategy"]["matrix"]["python"])


def test_the_hooks_run_tools_of_the_project():
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repository["hooks"])


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == PROJECT["version"]
    assert f"## {PROJECT['version']} ({citation['date-released']})" in read("CHANGELOG.md")
    assert set(re.findall(r"stockrnn-search:([\d.]+)", read("docs/rayjob.yaml"))) == {PROJECT["version"]}


def test_the_changelog_has_a_section_for_the_next_version_on_top():
    assert re.findall(r"^## (.*)", read("CHANGELOG.md"), re.M)[0] == "Unreleased"


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.stem)
def test_a_file_for_github_is_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_no_link_of_the_security_page_is_dead():
    for target in re.findall(r"\]\(([^)#\s]+)", read("SECURITY.md")):
        assert (ROOT / target).is_file(), target
