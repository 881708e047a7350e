"""Check the internals of Ray, Optuna and PyTorch that the project uses, so that an upgrade fails here first."""

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
from pathlib import Path

import pytest

from search.tune.patches.actors import list_patches
from search.tune.patches.registry import INTERNALS, VERSIONS

ROOT = Path(__file__).parents[4]
INTERNAL_MODULES = ("ray._", "ray.air", "ray.autoscaler", "ray.core", "ray.tune.execution", "ray.tune.experiment")


def module_of(target):
    return importlib.import_module(target.partition(":")[0])


def resolve(target):
    found = module_of(target)
    for name in target.partition(":")[2].split("."):
        assert hasattr(found, name), f"{target}: {name} does not exist any more"
        found = getattr(found, name)
    return found


def names_used(module):
    """Return the names and attributes that a module uses."""
    tree = ast.parse(inspect.getsource(module))
    loads = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return loads | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: internal.target)
def test_an_internal_has_not_changed(internal):
    found = resolve(internal.target)
    if internal.parameters is not None:
        assert tuple(inspect.signature(found).parameters) == internal.parameters
    if internal.attributes:
        unused = sorted(set(internal.attributes) - names_used(module_of(internal.target)))
        assert not unused, f"{internal.target}: its module does not use {', '.join(unused)} any more"
    assert importlib.util.find_spec(internal.used_by)
    assert (ROOT / internal.tested_by).exists()


REPLACED = [internal for internal in INTERNALS if internal.looked_up_in]


@pytest.mark.parametrize("internal", REPLACED, ids=lambda internal: internal.target)
def test_a_replaced_name_is_still_looked_up(internal):
    assert internal.target.rpartition(":")[2] in names_used(importlib.import_module(internal.looked_up_in))


def test_every_patch_has_an_entry():
    patches = [internal for internal in REPLACED if internal.used_by.startswith("search.tune.patches")]
    listed = {internal.target.rpartition(":")[2] for internal in patches}
    assert {original.__name__ for _, original, _ in list_patches(None, None)} == listed


def test_every_import_of_an_internal_module_has_an_entry():
    owners = {internal.target.partition(":")[2].partition(".")[0] for internal in INTERNALS}
    modules = {internal.target.partition(":")[0] for internal in INTERNALS}
    for path in sorted((ROOT / "search").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(INTERNAL_MODULES):
                for name in (alias.name for alias in node.names):
                    assert name in owners or f"{node.module}.{name}" in modules, f"{path}: {name}"


@pytest.mark.parametrize("package", VERSIONS)
def test_the_entries_are_for_the_installed_version(package):
    installed = importlib.metadata.version(package).split("+")[0]
    expected = VERSIONS[package]
    assert ".".join(installed.split(".")[:2]) == expected, f"compare the entries with {package} {installed}"
