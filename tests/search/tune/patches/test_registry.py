"""After an upgrade of Ray, Optuna or PyTorch these tests name what has changed, before anything hangs."""

import ast
import importlib
import importlib.metadata
import inspect
from pathlib import Path

import pytest

from search.tune.patches.actors import list_patches
from search.tune.patches.registry import INTERNALS, VERSIONS

ROOT = Path(__file__).parents[4]


def resolved(target):
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        assert hasattr(found, name), f"{target}: {name} is no longer there"
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: internal.target)
def test_an_internal_is_as_it_was(internal):
    found = resolved(internal.target)
    if internal.parameters is not None:
        assert tuple(inspect.signature(found).parameters) == internal.parameters
    importlib.import_module(internal.used_by)
    assert (ROOT / internal.tested_by).exists()


def names_used(module):
    """The names and attributes that a module looks up when it runs."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    loads = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return loads | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


REPLACED = [internal for internal in INTERNALS if internal.looked_up_in]


@pytest.mark.parametrize("internal", REPLACED, ids=lambda internal: internal.target)
def test_a_replaced_name_is_still_looked_up(internal):
    assert internal.target.rpartition(":")[2] in names_used(internal.looked_up_in)


def test_every_replacement_has_an_entry():
    listed = {internal.target.rpartition(":")[2] for internal in REPLACED}
    assert {theirs.__name__ for _, theirs, _ in list_patches(None, None)} == listed


@pytest.mark.parametrize("package", VERSIONS)
def test_the_entries_were_compared_with_the_installed_version(package):
    installed = importlib.metadata.version(package).split("+")[0]
    assert ".".join(installed.split(".")[:2]) == VERSIONS[package], "compare the entries with the new version"
