"""Compare the estimated cost of a study with the real ASHA and with PyTorch's count of operations."""

import math
import random
import statistics
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from search.cli.dry_run import plan
from search.cost.estimate import estimate_cost, estimate_epochs
from search.cost.workload import epoch_workload
from search.tune.asha import FiniteASHA
from stockrnn.dataset.windows import Windows
from stockrnn.prices.loading import load
from stockrnn.training.trainer import train

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Named:
    name: str
    point: dict

    @property
    def config(self):
        return {"trial_id": self.name, "point": self.point}


def trained(space, seed, *, lasting):
    """Epochs that trials train, one after another, by the real ASHA.

    Args:
        lasting: a trial is as good at every rung as at the first; else its place at each is drawn anew.
    """
    rng, scheduler, total = random.Random(seed), FiniteASHA(space), 0
    for number in range(space.num_samples):
        trial, score = Named(f"{number}", {"hidden_size": 1} if number else space.default_point), rng.random()
        scheduler.on_trial_add(None, trial)
        for epoch in range(1, space.scheduler.max_epochs + 1):
            total += 1
            score = score if lasting else rng.random()
            if scheduler.on_trial_result(None, trial, {"epoch": epoch, "score": score}) == "STOP":
                break
    return total


@pytest.mark.parametrize(
    ("trials", "scheduler"),
    [
        (40, {"max_epochs": 30, "grace_period": 3}),
        (200, {"max_epochs": 27, "grace_period": 1}),
        (60, {"max_epochs": 20, "grace_period": 2, "reduction_factor": 2}),
        (12, {"max_epochs": 5, "grace_period": 5}),
    ],
)
def test_the_expected_epochs_are_those_of_asha(small_space, trials, scheduler):
    space = small_space(search={"num_samples": trials}, scheduler=scheduler)
    found = estimate_epochs(space)
    anew, lasting = ([trained(space, seed, lasting=lasts) for seed in range(60)] for lasts in (False, True))
    assert found.expected == pytest.approx(statistics.mean(anew), rel=0.05)
    # If good trials stay good, more trials pass.
    assert found.expected == pytest.approx(statistics.mean(lasting), rel=0.25)
    assert found.minimum <= min(anew + lasting)
    assert max(anew + lasting) <= found.maximum


def test_patience_may_end_trials_before_the_first_rung(small_space):
    space = small_space(search={"num_samples": 10}, scheduler={"max_epochs": 30, "grace_period": 9, "patience": 3})
    assert estimate_epochs(space).minimum == 40
    assert estimate_epochs(space).maximum == 300


@pytest.mark.parametrize("head", ["last", "flatten", "mean", "attention"])
@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm"])
def test_operations_are_those_that_pytorch_counts(small_space, architecture, head):
    space = small_space(space={"architecture": architecture, "head": head, "hidden_size": 24, "num_layers": 2})
    prices = load("nasdaq").rows(np.arange(600))
    splits = space.split(prices)
    window, network, training = space.configurations(
        {"architecture": architecture, "head": head, "hidden_size": 24, "num_layers": 2}
    )
    windows = Windows(prices, splits.folds, window, space.data.horizon)
    said = epoch_workload(
        window, network, training, [len(fold.train) for fold in splits.folds], 30, 2, space.data.horizon, "batched"
    )
    in_place = {torch.ops.aten.baddbmm_: lambda _, left, right, **__: 2 * math.prod(left) * right[2]}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counted:
        next(train(windows, network, training, seeds=2, max_epochs=1, mode="batched"))
    assert said.operations == pytest.approx(counted.get_total_flops(), rel=0.25)


def test_without_prices_the_cost_needs_known_sizes(small_space):
    sliding = small_space()
    assert estimate_cost(sliding, None) is not None
    text = plan(sliding, None, None)
    assert "not available: no dates" in text
    assert "each trained on the 120 sessions before it" in text
    assert "of one CPU core" in text
    assert "of one GPU" not in text
    growing = small_space(validation={"window": "expanding", "train_size": None})
    assert estimate_cost(growing, None) is None
    assert "unknown without prices" in plan(growing, None, None)


def test_the_dry_run_names_the_assumption_about_gpus(small_space):
    text = plan(small_space(resources={"gpu": 0.5}), None, None)
    assert "of one GPU at 10 to 1 TFLOP/s, which is assumed, not measured" in text


def test_more_of_anything_costs_more(small_space):
    base = estimate_cost(small_space(), None).operations
    for changes in (
        {"search": {"num_samples": 12}},
        {"validation": {"seeds": 4}},
        {"validation": {"train_size": 240}},
        {"scheduler": {"max_epochs": 8, "grace_period": 8}},
    ):
        assert estimate_cost(small_space(**changes), None).operations > 1.3 * base, changes
