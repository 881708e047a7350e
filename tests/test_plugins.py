"""Entries of installed packages: studies find them, name them, and are not read without them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import search
import stockrnn

ROOT = Path(__file__).parents[1]
CODE = """
from dataclasses import replace

import numpy as np
from optuna.samplers import RandomSampler

from search.space.samplers import Sampler
from stockrnn.dataset.features import Feature, RollingFeature
from stockrnn.networks.cells import Architecture
from stockrnn.networks.heads import Head
from stockrnn.prices.readers.table import read_shipped
from stockrnn.prices.sources import Source
from stockrnn.tasks.price import PRICE


class First(Head):
    description = "the first state"

    def pool(self, states, weights):
        return states[:, 0]


class Tanh(Architecture):
    description, gates = "a plain cell", 1

    def step(self, x, h, before):
        return ((x[0] + h[0]).tanh(),)


def body(prices):
    return np.log(prices.column("close") / prices.column("open"))


def lagged(prices, sessions):
    logs = np.log(prices.column("close"))
    return np.concatenate([np.full(sessions, np.nan), logs[sessions:] - logs[:-sessions]])


def middle(series, train, origins):
    return (series.closes[origins] + series.closes[origins - 1]) / 2


first, plain = First(), Tanh()
candle = Feature(needs=("open", "close"), values=body)
change = RollingFeature(needs=("close",), values=lagged, warm_up=lambda sessions: sessions)
uniform = Sampler(description="uniform", make=lambda seed, resume_seed: RandomSampler(seed=resume_seed))
quote = replace(PRICE, description="a close")
shop = Source(owner="the shop's", read=lambda request: read_shipped(request.ticker), example_ticker="nasdaq")
"""
POINTS = """
[stockrnn.heads]
first = own:first
last = own:first
broken = own:nothing
wrong = own:body
[stockrnn.architectures]
plain = own:plain
[stockrnn.features]
candle = own:candle
change = own:change
[stockrnn.baselines]
middle = own:middle
[stockrnn.sources]
shop = own:shop
[stockrnn.tasks]
quote = own:quote
[search.samplers]
uniform = own:uniform
"""
SPACE = """
name: own
data: {task: quote, source: shop, ticker: nasdaq, features: [candle, change_3], test_size: 40}
validation: {folds: 2, fold_size: 30, train_size: 120, window: sliding, seeds: 1}
space: {architecture: plain, head: [first, last], hidden_size: 4, sequence_length: 3}
search: {sampler: uniform, num_samples: 1, finalists: 1, finalist_seeds: 1}
scheduler: {max_epochs: 1, grace_period: 1}
"""
USED = {"plain", "quote", "first", "candle", "change", "middle", "shop", "uniform"}


def python(folder, *arguments, plugins=True):
    paths = [str(ROOT), *([str(folder / "site")] if plugins else [])]
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an installed package of plug-ins, and a study that used it."""
    folder = tmp_path_factory.mktemp("plugins")
    site, facts = folder / "site", folder / "site" / "own_entries-1.2.dist-info"
    facts.mkdir(parents=True)
    (site / "own.py").write_text(CODE, encoding="utf-8")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: own-entries\nVersion: 1.2\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    (folder / "own.yaml").write_text(SPACE, encoding="utf-8")
    done = python(folder, "-m", "search.run", "own.yaml", "--in-process", "--quiet")
    assert done.returncode == 0, done.stderr
    for name, problem in (("last", "exists already"), ("broken", "AttributeError"), ("wrong", "is a function")):
        assert f"PluginWarning: head {name} of the package own-entries 1.2: cannot be used: " in done.stderr
        assert problem in done.stderr
    return folder


def test_a_study_names_its_plugins(place):
    manifest = json.loads((place / "results/own/manifest.json").read_text(encoding="utf-8"))
    assert {plugin["name"] for plugin in manifest["plugins"]} == USED
    assert {(plugin["package"], plugin["version"]) for plugin in manifest["plugins"]} == {("own-entries", "1.2")}
    assert "middle" in manifest["baselines"]
    done = python(place, "-m", "stockrnn.forecast", "results/own")
    assert done.returncode == 0, done.stderr
    assert "head first" in done.stdout or "head last" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("search.run", "--resume", "results/own"), ("search.leaderboard", "results/own"),
        ("search.report", "results/own"), ("stockrnn.forecast", "results/own"),
    ],
)  # fmt: skip
def test_a_study_is_not_read_without_its_plugins(place, command):
    done = python(place, "-m", *command, plugins=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("results/own: uses the ")
    assert "of the package own-entries 1.2, which is not installed" in line


def test_a_study_is_not_opened_without_its_plugins(place):
    with pytest.raises(stockrnn.UserError, match=r"uses the .* of the package own-entries 1\.2"):
        search.open_study(place / "results/own")


def test_a_study_without_plugins_names_none(place):
    (place / "plain.yaml").write_text(
        SPACE.replace("task: quote, source: shop, ticker: nasdaq, features: [candle, change_3]", "source: nasdaq")
        .replace("architecture: plain, head: [first, last]", "architecture: rnn")
        .replace("sampler: uniform", "sampler: random").replace("finalists: 1", "finalists: 0")
        .replace("name: own", "name: plain"), encoding="utf-8",
    )  # fmt: skip
    done = python(place, "-m", "search.run", "plain.yaml", "--in-process", "--quiet", plugins=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((place / "results/plain/manifest.json").read_text(encoding="utf-8"))["plugins"] == []
    # A baseline that was installed later would be missing from the study's scores.
    done = python(place, "-W", "ignore", "-m", "search.run", "--resume", "results/plain", "--num-samples", "2")
    assert done.returncode == 2
    assert "baseline middle is 1.2, and was None" in done.stderr
