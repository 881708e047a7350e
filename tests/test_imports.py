"""Imports point one way. This reads the source of both packages and holds the rules of the design."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    f"{package}.{path.stem}": path
    for package in ("stockrnn", "search")
    for path in sorted((ROOT / package).glob("*.py"))
    if path.stem != "__init__"
}
NO_SIBLINGS = ("series", "folds", "metrics", "significance", "selection", "intervals", "recurrence")
REGISTRIES = ("architectures", "features", "heads")  # what a name in a space file means; they know little else
RAY, OPTUNA = (
    {
        "actors", "afresh", "gpus", "knock", "lean", "offers", "reach", "recorder", "scheduler", "searcher", "stop",
        "ray_watch", "trial", "tuner", "workers",
    },
    {"searcher", "samplers", "journal", "journal_file", "importance"},
)  # fmt: skip


def trees(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    """Every module a file imports, wherever in it; `from search import study` counts as search.study."""
    found = set()
    for node in ast.walk(trees(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write the package's name"
            assert node.module is not None
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


IMPORTS = {module: imports(path) for module, path in MODULES.items()}


def roots(module):
    return {name.partition(".")[0] for name in IMPORTS[module]}


def siblings(module):
    return IMPORTS[module] & MODULES.keys()


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("stockrnn.")])
def test_the_forecaster_knows_no_study(module):
    assert not roots(module) & {"search", "ray", "optuna", "yaml"}


@pytest.mark.parametrize("name", NO_SIBLINGS)
def test_the_first_modules_import_no_sibling_but_plain_configuration(name):
    assert siblings(f"stockrnn.{name}") <= {"stockrnn.configuration", "stockrnn.errors"}


@pytest.mark.parametrize("name", REGISTRIES)
def test_a_registry_imports_no_sibling_but_series(name):
    assert siblings(f"stockrnn.{name}") <= {"stockrnn.series"}


def test_the_configuration_imports_registries_alone_and_networks_little_more():
    registries = {f"stockrnn.{name}" for name in REGISTRIES}
    assert siblings("stockrnn.configuration") <= {"stockrnn.sources", *registries}
    assert siblings("stockrnn.networks") <= {"stockrnn.configuration", "stockrnn.stepping", *registries}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("search.")])
def test_ray_and_optuna_stay_in_the_modules_about_them(module):
    name = module.partition(".")[2]
    assert "ray" not in roots(module) or name in RAY
    assert "optuna" not in roots(module) or name in OPTUNA


def test_no_imports_run_in_a_circle():
    order = TopologicalSorter({module: siblings(module) for module in MODULES})
    assert set(order.static_order()) == MODULES.keys()  # raises CycleError, which names the circle


def test_the_reading_of_imports_sees_what_is_there():
    assert "stockrnn.folds" in siblings("search.space")
    assert "ray" in roots("search.tuner")
    assert "search.space" in siblings("search.run")  # imported inside a function


@pytest.mark.slow
@pytest.mark.parametrize("module", ["search.space", "search.leaderboard", "search.document"])
def test_reading_a_space_and_a_leaderboard_needs_neither_ray_nor_optuna_nor_torch(module):
    code = f"import sys, {module}; print(*{{'ray', 'optuna', 'torch'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == ""


def test_the_driver_starts_without_torch():
    code = "import sys, search.study; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "False"


def defined(tree):
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_public_names_exist_in_their_module(module):
    tree = trees(MODULES[module])
    public = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(public) == 1, f"{module} has no __all__"
    assert set(public[0]) <= defined(tree)
    assert len(set(public[0])) == len(public[0])
