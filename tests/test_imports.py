"""Check that imports follow the contracts of `[tool.importlinter]` in pyproject.toml."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("stockrnn", "search") for path in (ROOT / package).rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in FILES
    if path.stem not in ("__init__", "__main__")
}
FOLDERS = sorted({path.parent.relative_to(ROOT).as_posix() for path in MODULES.values()} - {"stockrnn", "search"})


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_the_contracts_hold():
    """Layers without circles; Ray, Optuna and PyTorch where they belong."""
    command = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_it_is_for_and_is_neither_empty_nor_full(folder):
    lines = (ast.get_docstring(tree(ROOT / folder / "__init__.py")) or "").splitlines()
    assert len(lines) == 3
    assert lines[0].endswith(".")
    assert "mport" in lines[2]
    modules = [path for path in (ROOT / folder).glob("*.py") if path.stem != "__init__"]
    assert 2 <= len(modules) <= 15


@pytest.mark.parametrize("module", MODULES)
def test_imports_name_the_whole_module(module):
    relative = [
        node.lineno for node in ast.walk(tree(MODULES[module])) if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.slow
@pytest.mark.parametrize("module", ["search.space.space", "search.leaderboard", "search.space.document"])
def test_reading_a_space_and_a_leaderboard_needs_neither_ray_nor_optuna_nor_torch(module):
    code = f"import sys, {module}; print(*{{'ray', 'optuna', 'torch'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == ""


def test_the_driver_starts_without_torch():
    code = "import sys, search.study.study; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "False"


def defined(module):
    names = set()
    for node in module.body:
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
    body = tree(MODULES[module])
    public = [
        ast.literal_eval(node.value)
        for node in body.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(public) == 1, f"{module} has no __all__"
    assert set(public[0]) <= defined(body)
    assert len(set(public[0])) == len(public[0])
