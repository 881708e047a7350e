"""Build the wheel and the sdist: check their files, and run the commands from the wheel alone."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SPACES = sorted(path.name for path in (ROOT / "spaces").glob("*.yaml"))
SCHEMA = re.compile(r"\$schema=(\S+)")
SMALL = (
    "--set",
    "search.num_samples=2",
    "--set",
    "scheduler.max_epochs=2",
    "--set",
    "search.finalists=1",
    "--in-process",
)


def requirements():
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        yield from map(Requirement, group)


def constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    return {canonicalize_name(name): Version(version) for name, version in pins.items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist of this tree, and the wheel that is built from what the sdist holds; no network is asked."""
    folder = tmp_path_factory.mktemp("built")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("search", "stockrnn", "spaces", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=unwanted)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder / "tree")
    build = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
    call([sys.executable, "-c", build, str(folder)], folder / "tree")
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # 3.11.4 and newer
        archive.extractall(folder / "unpacked", **safe)
    (unpacked,) = (folder / "unpacked").iterdir()
    command = [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps", "-w"]
    call([*command, str(folder), str(unpacked)], folder)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The commands of a fresh environment that holds the wheel, and what it depends on from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps"]
    call([*install, str(built[1])], folder)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin", packages


def call(command, folder):
    """What a command says; it must succeed, and sees no package of the tree that these tests run in."""
    done = ask(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(command, folder):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_both_packages_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    kinds = ("*.py", "*.j2", "*.json", "py.typed")
    expected = {
        path.relative_to(ROOT).as_posix() for package in ("search", "stockrnn")
        for kind in kinds for path in (ROOT / package).rglob(kind)
    } | {f"search/spaces/{name}" for name in SPACES}  # fmt: skip
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_a_space_of_the_wheel_points_at_the_schema_beside_it(built):
    with zipfile.ZipFile(built[1]) as wheel:
        for name in SPACES:
            space = PurePosixPath("search/spaces", name)
            target = SCHEMA.search(wheel.read(str(space)).decode())[1]
            assert os.path.normpath(space.parent / target) in wheel.namelist()
            assert (ROOT / "spaces" / SCHEMA.search((ROOT / "spaces" / name).read_text(encoding="utf-8"))[1]).is_file()


def test_the_sdist_holds_what_the_tests_need(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"spaces/{name}" for name in SPACES} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")} <= names
    assert {"search/space.schema.json", "constraints.txt", "cluster.yaml", "docs/rayjob.yaml", "LICENSE"} <= names


def test_a_shipped_space_is_found_by_name_from_another_folder(installed, tmp_path):
    commands, _ = installed
    for name in SPACES:
        if name not in ("gpu.yaml", "tutorial.yaml"):  # prices that do not come with a package
            said = call([commands / "stockrnn-search", f"spaces/{name}", "--dry-run", "--quiet"], tmp_path)
            assert f"name: {Path(name).stem}\n" in said
    said = call([commands / "stockrnn-search", "smoke.yaml", "--dry-run", "--quiet"], tmp_path)
    assert "name: smoke\n" in said


def test_a_file_of_the_users_own_comes_before_a_shipped_one(installed, tmp_path):
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "smoke.yaml").write_text("name: smoke\nspaec: {}\n", encoding="utf-8")
    done = ask([installed[0] / "stockrnn-search", "spaces/smoke.yaml", "--dry-run"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("spaces/smoke.yaml:2: spaec: unknown key")


def test_a_space_that_is_nowhere_is_told_with_those_that_are_shipped(installed, tmp_path):
    done = ask([installed[0] / "stockrnn-search", "spaces/none.yaml"], tmp_path)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("spaces/none.yaml: no such file")
    assert all(f"spaces/{name}" in said for name in SPACES)


def test_a_study_and_its_forecast_from_another_folder(installed, tmp_path):
    commands, packages = installed
    said = call([commands / "stockrnn-search", "spaces/smoke.yaml", "--quiet", *SMALL], tmp_path)
    assert "2 trials" in said
    assert (tmp_path / "results/smoke/report.html").stat().st_size > 100_000
    assert "persistence" in call([commands / "stockrnn-forecast", "results/smoke"], tmp_path)

    again = ask([commands / "stockrnn-search", "spaces/smoke.yaml", "--quiet"], tmp_path)
    assert again.returncode == 2
    assert again.stderr.startswith(f"{packages / 'search/spaces/smoke.yaml'}:3: name: results/smoke exists already")


def test_the_third_command_answers(installed, tmp_path):
    assert "sessions" in call([installed[0] / "stockrnn-prices", "nasdaq"], tmp_path)


def test_the_constraints_are_plain_versions_within_what_is_asked_for():
    pinned = constraints()
    assert all(version.local is None for version in pinned.values())
    for requirement in requirements():
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_no_constraint_allows_a_pytorch_that_was_not_tried():
    (torch,) = (each for each in requirements() if each.name == "torch")
    assert not torch.specifier.contains("2.14.0")
    assert constraints()["torch"] == Version("2.13.0")
